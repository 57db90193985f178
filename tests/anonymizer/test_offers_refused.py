"""What cannot be offered is refused by name, as an answer: raised, it looked like a fault of the neighbour's cell."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.python.failure import Failure

from anonymizer.errors import QuotaExceeded
from anonymizer.service import RelayLayer
from anonymizer.shares import AnonymousShare, ShareIndex
from anonymizer.uri import ChkUri
from gnutella.errors import UserError


@pytest.mark.parametrize(("name", "limit"), [("a\\b.txt", 10), ("fine.txt", 0)], ids=["a name", "one too many"])
def test_an_offer_that_cannot_be_made_fails_and_nothing_is_raised(name: str, limit: int) -> None:
    layer = object.__new__(RelayLayer)
    layer.core = SimpleNamespace(shares=ShareIndex(limit))  # type: ignore[assignment]
    failures: list[Failure] = []
    share = AnonymousShare(name, 100, "text/plain", 0x10, ChkUri(bytes(32), bytes(32)), False)
    layer._offer(share).addErrback(failures.append)
    (failure,) = failures
    assert isinstance(failure.value, QuotaExceeded if not limit else UserError) and not list(layer.core.shares)
