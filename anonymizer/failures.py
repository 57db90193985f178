"""Which keys were asked for in vain: by whom, whom we asked, and until when that need not be tried again.

A neighbour that did not find a key is passed over for it for three minutes; when the nearest few all failed, so is the key.
Who asked, or was asked, is remembered for an hour, so that the block can be offered when it comes after all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from anonymizer.wire import BlockType

#: Keys (design section 3.17): what was used least recently goes.
MAX_KEYS: Final = 20_000
#: A failure counts for so long, and who asked is remembered for so long.
REFUSE_S: Final = 180.0
LISTEN_S: Final = 3_600.0
#: Neighbours remembered of each key: as many as there can be links.
MAX_NODES: Final = 20
#: A key is refused when so many neighbours failed (or all that there are).
ENOUGH: Final = 3

#: A kind of block, its routing key, and whether it was asked for at its second place.
Key = tuple[BlockType, bytes, bool]


@dataclass(slots=True)
class Failure:
    """Of one key: whom we asked (until when that counts, with how many hops), and who waits for it since when."""

    failed: dict[bytes, tuple[float, int]] = field(default_factory=dict)
    waiting: dict[bytes, float] = field(default_factory=dict)
    #: Most hops that a request for it came with; a node as near to a pivot does not fetch it for its cache.
    came_htl: int = 0


class Failures:
    """See the module text."""

    __slots__ = ("_keys", "_limit")

    def __init__(self, limit: int = MAX_KEYS) -> None:
        self._keys: OrderedDict[Key, Failure] = OrderedDict()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: Key) -> Failure | None:
        return self._keys.get(key)

    def failed(self, key: Key, node: bytes, htl: int, until: float) -> None:
        """We asked this neighbour, with so many hops, in vain."""
        entry = self._entry(key)
        if node in entry.failed or len(entry.failed) < MAX_NODES:
            entry.failed[node] = (until, htl)

    def waits(self, key: Key, node: bytes, came_htl: int, now: float) -> None:
        """It asked us, or was asked by us, in vain: it may want the block later."""
        entry = self._entry(key)
        entry.came_htl = max(entry.came_htl, came_htl)
        if node in entry.waiting or len(entry.waiting) < MAX_NODES:
            entry.waiting[node] = now

    def passed_over(self, key: Key, htl: int, now: float) -> dict[bytes, float]:
        """Neighbours that failed recently with at least as many hops, and until when that counts."""
        if (entry := self._keys.get(key)) is None:
            return {}
        return {node: until for node, (until, had) in entry.failed.items() if until > now and had >= htl}

    def take_waiting(self, type: BlockType, routing: bytes, now: float) -> list[bytes]:
        """The block is here: who waits for it; all is forgotten about the key."""
        found: dict[bytes, None] = {}
        for second in (False, True):
            entry = self._keys.pop((type, routing, second), None)
            if entry is not None:
                found |= {node: None for node, since in entry.waiting.items() if now - since < LISTEN_S}
        return list(found)

    def _entry(self, key: Key) -> Failure:
        entry = self._keys.get(key)
        if entry is None:
            entry = self._keys[key] = Failure()
            if len(self._keys) > self._limit:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        return entry
