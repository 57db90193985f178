"""Tests written as coroutines, each with a time limit of its own.

The one place that knows how a coroutine test is handed to the reactor of the test run, so that the plugin behind it can be
replaced here.  A Deferred that never fires fails its test by name and leaves the reactor usable for the next one.

    @async_test(timeout_s=5)
    async def test_a_peer_is_greeted(reactor): ...
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds; loopback tests end in milliseconds, so this is only met by a test that hangs.
DEFAULT_TIMEOUT_S = 15.0


class TestTimedOut(AssertionError):
    """The test's coroutine did not finish in its time."""

    __test__ = False


def current_reactor() -> Any:
    """The reactor of this test run, imported only now: at import time the choice would be taken from the command line."""
    from twisted.internet import reactor

    return reactor


def with_timeout(awaitable: Awaitable[T], timeout_s: float, what: str, reactor: IReactorTime) -> Deferred[T]:
    """`awaitable` as a Deferred that is cancelled after `timeout_s` seconds and then fails with TestTimedOut."""

    def explain(result: object, timeout: float) -> T:
        if isinstance(result, Failure) and result.check(CancelledError):
            raise TestTimedOut(f"{what} did not finish in {timeout:g} s")
        if isinstance(result, Failure):
            result.raiseException()
        raise TestTimedOut(f"{what} ended only when it was cancelled after {timeout:g} s")

    deferred: Deferred[T] = Deferred.fromCoroutine(_as_coroutine(awaitable))
    deferred.addTimeout(timeout_s, reactor, onTimeoutCancel=explain)
    return deferred


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


def async_test(
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, Coroutine[Any, Any, None]]]:
    """Mark a coroutine function as a test that runs in the reactor and fails after `timeout_s` seconds.

    Fixtures work as usual.  With Hypothesis, `@given` goes outside (above).
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Coroutine[Any, Any, None]]:
        import pytest_twisted

        @functools.wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> None:
            await with_timeout(function(*args, **kwargs), timeout_s, function.__qualname__, current_reactor())

        return cast("Callable[P, Coroutine[Any, Any, None]]", pytest_twisted.ensureDeferred(run))

    return decorate


async def turns(reactor: IReactorTime, count: int = 1) -> None:
    """Let the reactor go round `count` times: what was scheduled for "now" has happened then."""
    for _ in range(count):
        pause: Deferred[None] = Deferred()
        reactor.callLater(0, pause.callback, None)
        await pause


async def until(reactor: IReactorTime, claim: Callable[[], bool], poll_s: float = 0.005) -> None:
    """Wait until `claim()` holds; the test's own time limit ends a wait in vain."""
    while not claim():
        pause: Deferred[None] = Deferred()
        call = reactor.callLater(poll_s, pause.callback, None)
        try:
            await pause
        finally:
            if call.active():
                call.cancel()
