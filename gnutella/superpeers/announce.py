"""Our own routing table, and what each peer was told of it (protocol digest 7.5 to 7.7).

A leaf tells its ultrapeers its own table, an ultrapeer its own merged with those of its leaves to the neighbours that announced
X-Ultrapeer-Query-Routing.  A new link gets RESET and a whole table, later only what changed, as four-bit patches, deflated
unless the link is.  A change after a quiet time goes out at once; further ones wait, twice as long each time, up to what
LimeWire's servents wait: MAX_WAIT_LEAF_S, MAX_WAIT_ULTRAPEER_S.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from gnutella.protocol import qrp
from gnutella.protocol.signals import RoutePatch, RouteReset
from gnutella.units import LinkId

#: Between two updates, when the table keeps changing (LimeWire; digest 7.7).
MAX_WAIT_LEAF_S = 300.0
MAX_WAIT_ULTRAPEER_S = 60.0
#: The first of these waits (our own number): files are often added one after the other.
FIRST_WAIT_S = 5.0
#: Slots of a merged table at most, as a power of two (gtk-gnutella, LimeWire; digest 7.5).
MERGED_BITS = 17

Messages = list[RouteReset | RoutePatch]
#: What the leaves have: (a number that changes with it, log2 of the largest table's slots, the merged table of 2**bits slots).
Merge = tuple[int, int, Callable[[int], bytes]]


@dataclass(slots=True)
class _Told:
    is_deflated: bool
    table: bytes | None = None
    at: float = float("-inf")
    wait_s: float = FIRST_WAIT_S


class Announcer:
    """Knows the table that is true now and those that peers have."""

    def __init__(self, max_wait_s: float = MAX_WAIT_ULTRAPEER_S) -> None:
        self.max_wait_s = max_wait_s
        self._own: Collection[int] | None = None
        self._own_version = 0
        self._told: dict[LinkId, _Told] = {}
        self._table = b""
        self._made_of: tuple[int, int] | None = None
        #: A merged table takes milliseconds, and leaves come and go.
        self._made_at = float("-inf")

    def set_own(self, hashes: Collection[int]) -> None:
        """What our files answer to (qrp.hashes_of).  Until this is called nobody is told anything."""
        self._own = hashes
        self._own_version += 1

    def opened(self, link: LinkId, *, is_deflated: bool) -> None:
        """A peer that reads our tables; `is_deflated`: what we send it is compressed anyway."""
        self._told[link] = _Told(is_deflated)

    def closed(self, link: LinkId) -> None:
        self._told.pop(link, None)

    def due(
        self, now: float, merge: Merge | None = None, busy: Collection[LinkId] = ()
    ) -> list[tuple[LinkId, Messages]]:
        """What is to be sent now; links that are `busy` wait.  `merge` is None for a leaf."""
        if self._own is None:
            return []
        ready = [
            (link, told)
            for link, told in self._told.items()
            if now - told.at >= (0.0 if told.table is None else told.wait_s) and link not in busy
        ]
        version = (self._own_version, merge[0] if merge is not None else 0)
        if ready and version != self._made_of and now - self._made_at >= FIRST_WAIT_S:
            self._make(self._own, merge)
            self._made_of, self._made_at = version, now
        return self._updates(ready, now)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _make(self, own: Collection[int], merge: Merge | None) -> None:
        """A table that is equal stays the same object, by which `due` knows that there is nothing to tell."""
        if merge is None:
            table = qrp.table_of(own, qrp.bits_for(len(own)))
        else:
            _, leaf_bits, merged = merge
            bits = min(MERGED_BITS, max(qrp.bits_for(len(own)), leaf_bits, self._table_bits))
            both = int.from_bytes(qrp.table_of(own, bits), "little") | int.from_bytes(merged(bits), "little")
            table = both.to_bytes(1 << bits, "little")
        if table != self._table:
            self._table = table

    @property
    def _table_bits(self) -> int:
        """A merged table does not shrink, since another size means a RESET for everybody."""
        return max(0, len(self._table).bit_length() - 1)

    def _updates(self, ready: Iterable[tuple[LinkId, _Told]], now: float) -> list[tuple[LinkId, Messages]]:
        made: dict[tuple[int, bool], Messages] = {}
        updates = []
        for link, told in ready:
            if told.table is self._table:
                continue
            key = id(told.table), told.is_deflated
            if key not in made:
                made[key] = self._messages(told.table, compress=not told.is_deflated)
            updates.append((link, made[key]))
            if now - told.at >= 2 * self.max_wait_s:
                told.wait_s = min(FIRST_WAIT_S, self.max_wait_s)
            else:
                told.wait_s = min(self.max_wait_s, told.wait_s * 2)
            told.table, told.at = self._table, now
        return updates

    def _messages(self, old: bytes | None, *, compress: bool) -> Messages:
        if old is None or len(old) != len(self._table):
            return list(qrp.full_table(self._table, compress=compress))
        return list(qrp.patches(old, self._table, compress=compress))
