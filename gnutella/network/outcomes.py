"""One outcome, several who wait for it: Twisted's Deferred has one chain of callbacks, and whoever adds to it changes it."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def also(first: Deferred[T]) -> Deferred[T]:
    """A Deferred that fires as `first` does, and leaves its result to those who wait for it already."""
    other: Deferred[T] = Deferred()

    def succeeded(result: T) -> T:
        other.callback(result)
        return result

    def failed(failure: Failure) -> Failure:
        other.errback(failure)
        return failure

    first.addCallbacks(succeeded, failed)
    return other
