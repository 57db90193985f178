"""Questions asked of a real servent's control socket while others run: sent now, read when something has come."""

from __future__ import annotations

import json
import re
import select
import time
from collections.abc import Callable
from typing import Any

from gnutella.control.client import connect
from gnutella.control.grammar import quote
from gnutella.errors import UserError
from gnutella.lab.live_nodes import LiveNode

_CHUNK = 65_536
#: Seconds that are waited for bytes at a time.
STEP_S = 0.1
#: A search without hits names its GUID in the hint of its reply.
_GUID = re.compile(r"\b[0-9a-f]{32}\b")


class LiveSearch:
    """One search of one node; `rows` and `first_at` (monotonic seconds) grow with `poll`."""

    def __init__(self, node: LiveNode, words: str, wait_s: float, ttl: int | None = None) -> None:
        self.node = node
        self.rows: list[dict[str, Any]] = []
        self.first_at: float | None = None
        self.guid = ""
        self.error = ""
        self.is_over = False
        self._starts = node.starts
        self._replies = 0
        self._buffer = b""
        self._socket = connect(node.socket_path)
        self._socket.setblocking(False)
        self.asked_at = time.monotonic()
        options = f"--wait {wait_s:g}" + (f" --ttl {ttl}" if ttl is not None else "")
        self._socket.sendall(f"mode machine\nsearch {options} -- {' '.join(map(quote, words.split()))}\n".encode())

    @property
    def is_cut_off(self) -> bool:
        """Whether the servent that asked has gone since, and its answers with it."""
        return not self.node.is_up or self.node.starts != self._starts

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


class Reading:
    """All conversations of a run: reads from them while time passes."""

    def __init__(self) -> None:
        self.searches: list[LiveSearch] = []
        #: Called now and then.
        self.often: list[Callable[[], object]] = []

    def wait_until(self, until: float) -> None:
        """Read until that monotonic time."""
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def finish(self, is_done: Callable[[], bool], patience_s: float, what: str) -> None:
        """Read until that is so; UserError when it never is."""
        deadline = time.monotonic() + patience_s
        while not is_done():
            if time.monotonic() > deadline:
                raise UserError(f"a servent does not end its {what}", "look into its log", 75)
            self._read(STEP_S)

    def _read(self, most_s: float) -> None:
        running = [search for search in self.searches if not search.is_over]
        for search in select.select(running, [], [], min(most_s, STEP_S))[0]:
            search.read()
        for call in self.often:
            call()
