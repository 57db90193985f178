"""What a user is told of a connection that failed: words, never the number of an error."""

from __future__ import annotations

import errno

import pytest
from twisted.internet import error
from twisted.python.failure import Failure

from gnutella.network.dial import _readable


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (error.ConnectError(errno.EHOSTUNREACH), "no route to host"),
        (error.ConnectError("something else"), "something else"),
        (error.ConnectionRefusedError(errno.ECONNREFUSED), "connection refused"),
        (error.TimeoutError(), "no answer in 3 s"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_a_failed_connection_is_told_in_words(cause: Exception, said: str) -> None:
    assert _readable(Failure(cause), 3.0) == said
