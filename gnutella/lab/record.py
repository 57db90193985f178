"""What happened, in order: a hash over all of it, and, for those who ask, the events themselves.

Two runs with equal hashes had the same bytes arrive over the same links at the same times, the same links opened and closed,
the same nodes come and go.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

#: Events whose bytes are gathered before they are hashed at once.
_BATCH = 1024
_HEAD = struct.Struct("<dII")


@dataclass(frozen=True, slots=True)
class Event:
    """One event as people read it: when, which node, what, and the rest in words."""

    time: float
    node: str
    what: str
    detail: str = ""

    def row(self) -> dict[str, object]:
        """Keys time, node, what, detail."""
        return {"time": self.time, "node": self.node, "what": self.what, "detail": self.detail}


class Record:
    """The event trace of one run.  `events` is filled only when `keeps` is set."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.events: list[Event] = []
        self.count = 0
        self._hash = hashlib.sha256()
        self._parts: list[bytes] = []

    def arrival(self, time: float, end: int, content: bytes) -> None:
        """Bytes arrived at an end of a link."""
        parts = self._parts
        parts += (_HEAD.pack(time, end, len(content)), content)
        if len(parts) >= _BATCH:
            self._turn()

    def note(self, time: float, node: str, what: str, detail: str = "") -> None:
        """Anything else."""
        text = f"{node}\x1f{what}\x1f{detail}".encode()
        self._parts.append(_HEAD.pack(time, 0xFFFFFFFF, len(text)) + text)
        self.count += 1
        if self.keeps:
            self.events.append(Event(time, node, what, detail))

    def digest(self) -> str:
        """SHA-256 over everything so far, as 64 hexadecimal digits."""
        self._turn()
        return self._hash.hexdigest()

    def _turn(self) -> None:
        self._hash.update(b"".join(self._parts))
        self._parts.clear()
