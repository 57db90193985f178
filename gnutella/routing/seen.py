"""Two-generation tables: what was seen, with a fixed bound and no entry ever walked.

New entries go to the young dict.  When it is full or its time is over, it becomes the old one and the old one is forgotten at
once.  So an entry lives for one to two generations, and a table never holds more than two times its bound.

    seen: Generations[Guid, LinkId] = Generations(GENERATION_SIZE, life_s=600.0, now=0.0)
    seen.put(guid, link, now)
    seen.get(guid)
"""

from __future__ import annotations

from typing import Generic, TypeVar

from gnutella.errors import LocalMisuse

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """A mapping that forgets: at most `size` entries a generation, each kept for `life_s` to 2 * `life_s` seconds.

    A full generation turns early, so under load entries live for shorter; what has no entry any more counts as never seen.
    The relay's loop works on `young` and `old` directly, after it asked `room` for the number of entries it may add.
    """

    __slots__ = ("_life_s", "_size", "_turned_at", "old", "young")

    def __init__(self, size: int, life_s: float, now: float = 0.0) -> None:
        if size < 1:
            raise LocalMisuse("a generation needs room for one entry")
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}
        self._size = size
        self._life_s = life_s
        self._turned_at = now

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def __contains__(self, key: K) -> bool:
        return key in self.young or key in self.old

    @property
    def bound(self) -> int:
        """Entries that the table can hold at most."""
        return 2 * self._size

    def get(self, key: K) -> V | None:
        """The value, or None when it was never put or is forgotten."""
        value = self.young.get(key)
        return self.old.get(key) if value is None else value

    def put(self, key: K, value: V, now: float) -> None:
        """Add or renew an entry."""
        if len(self.young) >= self._size and key not in self.young:
            self._turn(now)
        self.young[key] = value

    def discard(self, key: K) -> None:
        """Forget one entry, if it is there."""
        self.young.pop(key, None)
        self.old.pop(key, None)

    def room(self, entries: int, now: float) -> tuple[dict[K, V], dict[K, V]]:
        """Turn the generations if `entries` more (at most the size of one) would not fit; gives the young and the old one."""
        if len(self.young) + entries > self._size:
            self._turn(now)
        return self.young, self.old

    def tick(self, now: float) -> None:
        """Turn the generations when their time is over."""
        if now - self._turned_at >= self._life_s:
            self._turn(now)

    def _turn(self, now: float) -> None:
        self.old = self.young
        self.young = {}
        self._turned_at = now
