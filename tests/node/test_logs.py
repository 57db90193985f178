"""Levels of the log: what `log.level` and `log.levels` let through."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher
from zope.interface import implementer

from gnutella.logs import LogLevels
from gnutella.settings import LogSettings


@implementer(ILogObserver)
class Log:
    """A publisher of its own, one observer, loggers of two rooms."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.publisher = LogPublisher(self)
        self.routing = Logger("gnutella.routing.router", observer=self.publisher)
        self.node = Logger("gnutella.node", observer=self.publisher)

    def __call__(self, event: LogEvent) -> None:
        self.heard.append(str(event["log_format"]))

    def speak(self) -> list[str]:
        self.heard.clear()
        for name, logger in (("routing", self.routing), ("node", self.node)):
            for level in ("debug", "info", "warn", "error"):
                getattr(logger, level)(f"{name} {level}")
        return list(self.heard)


def test_levels_hold_back_what_is_below_them_and_may_change() -> None:
    log = Log()
    levels = LogLevels(log.publisher)
    levels.install(LogSettings())
    assert log.speak() == [f"{name} {level}" for name in ("routing", "node") for level in ("info", "warn", "error")]
    levels.use(LogSettings(level="error", levels={"gnutella.routing": "debug"}))
    assert log.speak() == [*(f"routing {level}" for level in ("debug", "info", "warn", "error")), "node error"]


def test_removed_they_let_everything_pass_again() -> None:
    log = Log()
    levels = LogLevels(log.publisher)
    levels.install(LogSettings(level="critical"))
    assert log.speak() == []
    levels.remove()
    assert len(log.speak()) == 8
