"""What a test left behind in the reactor: the five kinds that would otherwise pass in silence.

Failures logged by code that had nobody to tell, Deferreds that failed without a consumer, delayed calls, open sockets and
ports, running child processes.  `LeakWatch` notes the state before a test and names what is new after it; the fixture in
tests/conftest.py makes a test fail for it.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from twisted.internet import process
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

#: Longest text of one complaint; tracebacks are cut to their end.
MAX_COMPLAINT = 4000
#: Reactor turns a closing socket may take until both of its ends are gone.
GRACE_TURNS = 25


def _described(event: LogEvent) -> str:
    failure = event.get("log_failure")
    text = formatEvent(event) or event.get("log_namespace", "an event")
    return f"{text}\n{failure.getTraceback()[-MAX_COMPLAINT:]}" if isinstance(failure, Failure) else str(text)


@implementer(ILogObserver)
class LeakWatch:
    """From `start` to `complaints`: one test."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._events: list[LogEvent] = []
        self._before: set[object] = set()

    def start(self) -> None:
        """Note what is there already, and listen for logged failures."""
        self._before = set(self._now())
        globalLogPublisher.addObserver(self)

    def stop(self) -> list[str]:
        """Stop listening; what the test left, one text each.  Collects garbage, so that lost Deferreds speak up."""
        gc.collect()
        globalLogPublisher.removeObserver(self)
        return [f"logged failure: {_described(event)}" for event in self._events] + self.left_open()

    def left_open(self) -> list[str]:
        """Delayed calls, selectables and child processes that were not there at `start`."""
        new = [(thing, kind) for thing, kind in self._now().items() if thing not in self._before]
        return [f"{kind}: {str(thing)[:MAX_COMPLAINT]}" for thing, kind in new]

    def flush(self, *kinds: type[BaseException]) -> list[Failure]:
        """Take out the logged failures of these kinds (all without any): a test that provokes one says so with this."""
        gc.collect()
        taken, kept = [], []
        for event in self._events:
            failure = event.get("log_failure")
            if isinstance(failure, Failure) and (not kinds or failure.check(*kinds)):
                taken.append(failure)
            else:
                kept.append(event)
        if taken:
            kept = [event for event in kept if event.get("log_failure") is not None or not event.get("isError")]
        self._events = kept
        return taken

    def __call__(self, event: LogEvent) -> None:
        """Keep an event that tells of a failure (the log publisher calls this)."""
        if event.get("log_failure") is not None or event.get("isError"):
            self._events.append(dict(event))

    def _now(self) -> Mapping[object, str]:
        found: dict[object, str] = dict.fromkeys(self._reactor.getDelayedCalls(), "delayed call")
        internal = getattr(self._reactor, "_internalReaders", ())
        for selectable in [*self._reactor.getReaders(), *self._reactor.getWriters()]:
            if selectable not in internal:
                found[selectable] = "open socket, port or pipe"
        for child in process.reapProcessHandlers.values():
            found[child] = "child process"
        return found
