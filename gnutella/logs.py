"""The log's levels: what `log.level` and `log.levels` say, put before whatever observers the process has.

twistd chooses the observers (a file, standard output, the system's log) and has no option for levels, so the daemon wraps
them when it starts.  Programs that only use nodes as a library keep their logging as it is.
"""

from __future__ import annotations

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    globalLogPublisher,
)
from zope.interface import implementer

from gnutella.settings import LogSettings


@implementer(ILogFilterPredicate)
class LogLevels:
    """From `install` to `remove`, events below their namespace's level reach no observer that was there at `install`."""

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher
        self._predicate = LogLevelFilterPredicate()
        self._wrapped: list[tuple[ILogObserver, FilteringLogObserver]] = []

    def install(self, settings: LogSettings) -> None:
        """Begin, with these levels."""
        self.use(settings)
        # Twisted has no public way to ask a publisher for its observers.
        for observer in list(getattr(self._publisher, "_observers", ())):
            wrapper = FilteringLogObserver(observer, [self])
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
