"""What came before: openings and posts that go round in a circle end their stem there, and posts are delivered once.

Edges lead to edges by private draws, so a few of them may make a circle in which no coin ends the stem, and nothing in a cell
counts.  What comes by the same link for the second time has gone round: its stem ends here.  Whoever sends the same seal twice
by his own link learns no more than that he did.
"""

from __future__ import annotations

import hashlib
from typing import Final

#: Seals that are remembered, and for how long at least (design section 3.17).
MAX_SEEN: Final = 65_536
SEEN_S: Final = 600.0


class Seen:
    """How often seals came by which link, in two generations; when full, the older half goes."""

    __slots__ = ("_limit", "_new", "_old", "_until")

    def __init__(self, limit: int = MAX_SEEN) -> None:
        self._limit = limit
        self._new: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._until = 0.0

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def count(self, place: bytes, sealed: bytes, now: float) -> int:
        """How often it came to `place` (a link; empty: this node as pivot) before."""
        if now >= self._until or 2 * len(self._new) >= self._limit:
            is_past = now >= self._until + SEEN_S
            self._old, self._new = {} if is_past else self._new, {}
            self._until = now + SEEN_S
        key = hashlib.sha256(place + sealed).digest()[:16]
        before = max(self._new.get(key, 0), self._old.get(key, 0))
        self._new[key] = before + 1
        return before
