"""What this node's own user fetched, for this user only.

In memory, apart from everything that answers others: no module that serves a remote request may import this one (a test
holds it), so that nobody learns by asking us what our user has read.
"""

from __future__ import annotations

from collections import OrderedDict

#: Blocks, bytes and seconds (design section 3.17).
MAX_BLOCKS = 2_048
MAX_BYTES = 64 * 1024 * 1024
LIFETIME_S = 30 * 60.0


class ClientCache:
    """Bounded by number, bytes and age; the one unused for longest goes first.  `now` is any clock that never goes back."""

    def __init__(self, max_blocks: int = MAX_BLOCKS, max_bytes: int = MAX_BYTES) -> None:
        self._max_blocks = max_blocks
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[tuple[int, bytes], tuple[bytes, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def put(self, kind: int, routing: bytes, data: bytes, now: float) -> None:
        """Keep a block that was verified; one larger than the whole cache is not kept."""
        self._remove((kind, routing))
        if len(data) > self._max_bytes:
            return
        self._held[kind, routing] = data, now
        self._bytes += len(data)
        while len(self._held) > self._max_blocks or self._bytes > self._max_bytes:
            self._remove(next(iter(self._held)))

    def get(self, kind: int, routing: bytes, now: float) -> bytes | None:
        """The block, if it was put no longer than LIFETIME_S ago; being read does not prolong that."""
        data, since = self._held.get((kind, routing), (None, now))
        if data is None:
            return None
        if now - since > LIFETIME_S:
            self._remove((kind, routing))
            return None
        self._held.move_to_end((kind, routing))
        return data

    def expire(self, now: float) -> None:
        """Forget what is too old; call it every minute."""
        for key in [key for key, (_, since) in self._held.items() if now - since > LIFETIME_S]:
            self._remove(key)

    def clear(self) -> None:
        self._held.clear()
        self._bytes = 0

    def _remove(self, key: tuple[int, bytes]) -> None:
        data, _ = self._held.pop(key, (b"", 0.0))
        self._bytes -= len(data)
