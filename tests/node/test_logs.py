"""Levels of the log: what `log.level` and `log.levels` let through."""

from __future__ import annotations

import io

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, Logger, LogPublisher, eventAsText
from twisted.logger._legacy import publishToNewObserver
from twisted.python.failure import Failure
from twisted.python.log import textFromEventDict
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


SECRET = "what she searched for"


def fail() -> None:
    raise KeyError(SECRET)


def test_faults_are_logged_with_their_kind_and_place_and_nothing_of_what_they_say() -> None:
    heard: list[str] = []

    def hear(event: LogEvent) -> str:
        heard.append(eventAsText(event))
        return ""

    publisher = LogPublisher(FileLogObserver(io.StringIO(), hear))
    levels = LogLevels(publisher)
    levels.install(LogSettings(level="debug"))
    logger = Logger("gnutella.node", observer=publisher)
    for _ in range(2):
        try:
            fail()
        except KeyError:
            failure = Failure()
        logger.failure("a fault in {room}", failure, room="the attic")
        old = {"isError": 1, "failure": failure, "why": "old", "time": 1.0, "message": ()}
        publishToNewObserver(publisher, old, textFromEventDict)
        levels.remove()
    for text in heard[:2]:
        assert "KeyError" in text and "test_logs.py" in text and "in fail" in text and SECRET not in text
    assert "a fault in the attic" in heard[0]
    # Would it have been seen?
    assert all(SECRET in text for text in heard[2:4]) and len(heard) == 4
