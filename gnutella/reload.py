"""SIGHUP for the daemon: read settings and blocklists again, and open the log files anew.

Without a handler the signal would end the process.  Settings that need a restart keep their old value until then; a file that
cannot be read leaves everything as it was, with the reason in the log.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.logfile import BaseLogFile

from gnutella.errors import UserError
from gnutella.settings_file import Loaded, keys

if TYPE_CHECKING:
    from gnutella.node import Node


#: Settings as they are now in file and environment, under the run-time changes given.
ReadAgain = Callable[[Mapping[str, object]], Loaded]


class Reload:
    """Handles SIGHUP for one node while it runs."""

    log = Logger()

    def __init__(self, node: Node, read: ReadAgain) -> None:
        self._node = node
        self._read = read
        self._old: Any = None

    def install(self) -> None:
        """Take the signal; main thread only."""
        self._old = signal.signal(signal.SIGHUP, self._ring)

    def remove(self) -> None:
        """Give it back to who had it."""
        if self._old is not None:
            signal.signal(signal.SIGHUP, self._old)
            self._old = None

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self._node.reactor.callFromThread(self.reload)

    def reload(self) -> None:
        """Settings, blocklists and logs; never raises for what a person wrote wrongly."""
        reopen_logs()
        if not self._node.is_ready:
            return  # starting, with settings just read, or stopping
        self._node.safety.blocklists.reload()
        try:
            loaded = self._read(self._node.config.runtime)
        except UserError as error:
            self.log.error("the settings stay as they were: {error}", error=str(error))
            return
        before = self._node.config
        self._node.use_settings(loaded)
        changed = [key for key in keys() if before.value(key) != loaded.value(key)]
        for key in changed:
            self._node.journal.add("config_changed", key=key, value=loaded.value(key))
        self.log.info("settings read again; changed: {changed}", changed=", ".join(changed) or "nothing")


def reopen_logs() -> None:
    """Open every log file of the process anew, as an outside log rotation needs.

    twistd makes its log file and keeps it to itself, so it is looked for among all objects; a signal comes seldom enough.
    """
    for thing in gc.get_objects():
        # Not isinstance: it asks the object too, and a dead weak reference answers with an exception.
        if issubclass(type(thing), BaseLogFile) and not thing.closed:
            thing.reopen()
