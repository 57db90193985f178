"""The log's levels, and its discretion: what stands before whatever observers the process has.

A fault is logged with its kind and the lines of our code that it came through, and never with the text of its exception: that
may name what somebody searched, a key, or an address, and logs are sent to others.

twistd chooses the observers (a file, standard output, the system's log) and has no option for levels, so the daemon wraps
them when it starts.  Programs that only use nodes as a library keep their logging as it is.
"""

from __future__ import annotations

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.settings import LogSettings


class Untold(Exception):
    """Stands for an exception in the log; its text is the name of that one's class."""


def bare(failure: Failure) -> Failure:
    """The same fault at the same place, without the text of its exception."""
    kind = failure.type
    name = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else "fault"
    return Failure(Untold(name), Untold, failure.getTracebackObject())


@implementer(ILogObserver)
class Discreet:
    """An observer that hears of faults as `bare` tells them."""

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        # The second is what Twisted's old way of logging gives, with a text that was made of it.
        failure = event.get("log_failure", event.get("failure"))
        if isinstance(failure, Failure):
            told = bare(failure)
            event = {**event, "log_failure": told}
            if "failure" in event:
                event |= {"failure": told, "log_text": "a fault", "log_format": "{log_text}"}
        self._observer(event)


@implementer(ILogFilterPredicate)
class LogLevels:
    """From `install` to `remove`, events below their namespace's level reach no observer that was there at `install`.

    Those that do are told to it discreetly; see the module text.
    """

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher
        self._predicate = LogLevelFilterPredicate()
        self._wrapped: list[tuple[ILogObserver, FilteringLogObserver]] = []

    def install(self, settings: LogSettings) -> None:
        """Begin, with these levels."""
        self.use(settings)
        # Twisted has no public way to ask a publisher for its observers.
        for observer in list(getattr(self._publisher, "_observers", ())):
            wrapper = FilteringLogObserver(Discreet(observer), [self])
            self._publisher.removeObserver(observer)
            self._publisher.addObserver(wrapper)
            self._wrapped.append((observer, wrapper))

    def remove(self) -> None:
        """Give every observer all events again."""
        for observer, wrapper in self._wrapped:
            self._publisher.removeObserver(wrapper)
            self._publisher.addObserver(observer)
        self._wrapped.clear()

    def use(self, settings: LogSettings) -> None:
        """Other levels from now on."""
        self._predicate = LogLevelFilterPredicate(LogLevel.levelWithName(settings.level))
        for namespace, level in settings.levels.items():
            self._predicate.setLogLevelForNamespace(namespace, LogLevel.levelWithName(level))

    def __call__(self, event: dict[str, object]) -> object:
        """The publisher's question whether an event may pass (ILogFilterPredicate)."""
        return self._predicate(event)
