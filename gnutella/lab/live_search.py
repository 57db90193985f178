"""Questions asked of a real servent's control socket while others run: sent now, read when something has come."""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import Sequence
from typing import Any

from gnutella.control.client import connect
from gnutella.errors import UserError

_CHUNK = 65_536
#: A search without hits names its GUID in the hint of its reply.
_GUID = re.compile(r"\b[0-9a-f]{32}\b")


class LiveSearch:
    """One search of one node; `rows` and `first_at` (monotonic seconds) grow with `poll`."""

    def __init__(self, path: str, words: str, wait_s: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self.first_at: float | None = None
        self.guid = ""
        self.error = ""
        self.is_over = False
        self._replies = 0
        self._buffer = b""
        self._socket = connect(path)
        self._socket.setblocking(False)
        self.asked_at = time.monotonic()
        self._socket.sendall(f"mode machine\nsearch {words} --wait {wait_s:g}\n".encode())

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._end("the servent closed the connection")
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace").rstrip("\r"))

    def _line(self, line: str) -> None:
        if self.is_over:
            return
        if line.startswith("250-") and self._replies:
            if self.first_at is None:
                self.first_at = time.monotonic()
            self.rows.append(json.loads(line[4:]))
        elif line.startswith("250 "):
            self._replies += 1
            if self._replies == 2:
                end = json.loads(line[4:])
                self.guid = str(end.get("guid", "")) if isinstance(end, dict) else ""
                self._end("")
        elif line.startswith("551"):
            named = _GUID.search(line)
            self.guid = named[0] if named else ""
            self._end("")
        elif line.startswith("5"):
            self._end(line)

    def _end(self, error: str) -> None:
        self.is_over = True
        self.error = error
        self._socket.close()


def wait_for(searches: Sequence[LiveSearch], until: float) -> None:
    """Read from all of them until that monotonic time, or until all are over."""
    while True:
        running = [search for search in searches if not search.is_over]
        left = until - time.monotonic()
        if left <= 0:
            return
        if not running:
            time.sleep(left)
            return
        for search in select.select(running, [], [], min(left, 0.5))[0]:
            search.read()


def finish(searches: Sequence[LiveSearch], patience_s: float) -> None:
    """Read all to their ends; UserError when one never comes to it."""
    deadline = time.monotonic() + patience_s
    while any(not search.is_over for search in searches):
        if time.monotonic() > deadline:
            raise UserError("a servent does not end its search", "look into its log", 75)
        wait_for([search for search in searches if not search.is_over], min(deadline, time.monotonic() + 0.2))
