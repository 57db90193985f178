"""Which peers' routing tables have what a query asks for: the transposed index, asked once a query on the relay path.

For each slot there is one int with a bit for each peer, so that a query's peers are the AND of a few ints, however many peers
there are (docs/explanation/query-routing.md).  Peers number up from 0, and numbers that were given back are used again.  There
is an index for each table size in use; tables beyond INDEX_BITS are folded into the largest, and its matches are looked up in
the table itself, so that folding costs no false positives.

    mile = LastMile()
    mile.receive(link, message, now)          # RouteReset or RoutePatch; RemoteViolation(BAD_ROUTE_TABLE)
    for link in mile.links(mile.match(asked_by(payload))): ...
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from gnutella.errors import RemoteViolation
from gnutella.protocol import qrp
from gnutella.protocol.signals import RoutePatch, RouteReset
from gnutella.reasons import DropReason
from gnutella.superpeers.lookup import Asked
from gnutella.units import LinkId

#: Slots of the largest index, as a power of two: LimeWire's table, and the largest that gtk-gnutella's ultrapeers send (digest
#: 7.5).  Indexes of all sizes for 2,000 peers cannot exceed some 80 MiB then, whatever the peers send.
INDEX_BITS = 17
#: Patches cost as much as their table has slots.  A peer may spend this many at once: four tables of the largest size ...
BURST_SLOTS = 4 * qrp.MAX_SIZE
#: ... and earns this many a second: one of the largest size a minute, which is how often anybody updates (digest 7.7).
SLOTS_A_SECOND = qrp.MAX_SIZE / 60.0
#: Slots of all tables beyond INDEX_BITS together: each is kept beside the index, as a bit a slot, so this is 128 MiB; room for
#: 512 of the largest (our own number; 2,000 leaves would have half a gigabyte).
MAX_LARGE_SLOTS = 512 * qrp.MAX_SIZE
#: Bytes of unfinished patches for tables beyond INDEX_BITS, of all peers together (our own number: eight large patches).
MAX_UNFINISHED = 16 << 20


@dataclass(slots=True)
class _Member:
    """One peer that sent something: its table, its number while the table is complete, and what it may spend on patches."""

    table: qrp.RouteTable = field(default_factory=qrp.RouteTable)
    number: int | None = None
    slots_left: float = BURST_SLOTS
    counted_at: float = 0.0
    unfinished: int = 0
    is_hushed: bool = False
    is_withheld: bool = False


class LastMile:
    """The tables of many peers."""

    def __init__(self) -> None:
        #: Changes whenever any peer's slots do.
        self.version = 0
        #: Peers with a complete table, as a bit for each number.
        self.complete = 0
        self._members: dict[LinkId, _Member] = {}
        self._links: list[LinkId] = []
        self._free: list[int] = []
        self._indexes: dict[int, list[int]] = {}
        self._counts: dict[int, int] = {}
        self._probes: tuple[tuple[int, list[int]], ...] = ()
        #: Peers whose tables are folded, those that want no queries, and those whose tables others are not told of.
        self._folded = 0
        self._hushed = 0
        self._withheld = 0
        self._unfinished = 0
        self._large_slots = 0

    # -- what peers tell -----------------------------------------------------------------------------------------------

    def receive(self, link: LinkId, message: RouteReset | RoutePatch, now: float) -> bool:
        """The next message of a peer; whether what the peer can answer has changed.  BAD_ROUTE_TABLE."""
        member = self._members.get(link)
        if member is None:
            member = self._members[link] = _Member(counted_at=now)
        if isinstance(message, RoutePatch) and member.table.size and not member.table.is_patching:
            _spend(member, now)
        if isinstance(message, RouteReset):
            self._forget(member)
            before = _large(member.table.size)
            member.table.receive(message)
            self._large_slots += _large(member.table.size) - before
            self._note_unfinished(member)
            if self._large_slots > MAX_LARGE_SLOTS:
                raise RemoteViolation(DropReason.BAD_ROUTE_TABLE, "too many large tables are here already")
            return True
        changed = member.table.receive(message)
        self._note_unfinished(member)
        if changed is None:
            return False
        self._change(link, member, changed)
        return True

    def leave(self, link: LinkId) -> None:
        """The peer is gone."""
        member = self._members.pop(link, None)
        if member is not None:
            self._forget(member)
            self._unfinished -= member.unfinished
            self._large_slots -= _large(member.table.size)

    def hush(self, link: LinkId, is_hushed: bool, *, is_withheld: bool | None = None) -> None:
        """A peer that is hushed matches nothing, though its table is kept for when it wants queries again.

        `is_withheld`: it is no part of the merged table; as `is_hushed` unless given.
        """
        member = self._members.get(link)
        if member is None:
            member = self._members[link] = _Member()
        wanted = is_hushed, is_hushed if is_withheld is None else is_withheld
        if (member.is_hushed, member.is_withheld) == wanted:
            return
        member.is_hushed, member.is_withheld = wanted
        if member.number is not None:
            self._mark(member, 1 << member.number)
            self.version += 1

    # -- what is asked -------------------------------------------------------------------------------------------------

    def match(self, asked: Asked) -> int:
        """The peers that have all hashes of one of the ways to satisfy a query, as a bit for each number."""
        found = 0
        for way in asked:
            for shift, index in self._probes:
                both = -1
                for value in way:
                    both &= index[value >> shift]
                    if not both:
                        break
                else:
                    found |= both
        if self._hushed:
            found &= ~self._hushed
        return self._exact(found, asked) if found & self._folded else found

    def links(self, peers: int) -> Iterator[LinkId]:
        """The links of peers given as bits."""
        while peers:
            lowest = peers & -peers
            yield self._links[lowest.bit_length() - 1]
            peers ^= lowest

    def bit(self, link: LinkId) -> int:
        """The bit of a peer; 0 if it has no complete table."""
        member = self._members.get(link)
        return 0 if member is None or member.number is None else 1 << member.number

    def merged(self, bits: int, without: int = 0) -> bytes:
        """What any peer has but `without` and those that are withheld, as a table of 2**bits slots (a byte 0 or 1 a slot).

        Milliseconds for large ones.
        """
        slots = 0
        without |= self._withheld
        for own_bits, index in self._indexes.items():
            if without:
                table = bytes([peers & ~without != 0 for peers in index])
            else:
                table = bytes([peers != 0 for peers in index])
            table = qrp.folded(table, bits) if own_bits > bits else qrp.spread(table, bits)
            slots |= int.from_bytes(table, "little")
        return slots.to_bytes(1 << bits, "little")

    @property
    def largest_bits(self) -> int:
        """log2 of the slots of the largest index in use; 0 without any."""
        return max(self._indexes, default=0)

    def __len__(self) -> int:
        """Peers with a complete table."""
        return self.complete.bit_count()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _exact(self, found: int, asked: Asked) -> int:
        """Those of `found` that also have it in the tables that were folded."""
        for link in list(self.links(found & self._folded)):
            table = self._members[link].table
            if not any(all(map(table.has_hash, way)) for way in asked):
                found ^= self.bit(link)
        return found

    def _change(self, link: LinkId, member: _Member, changed: qrp.Changed) -> None:
        bits = min(member.table.bits, INDEX_BITS)
        before, after = qrp.folded(changed.before, bits), qrp.folded(changed.after, bits)
        if member.number is None:
            self._enter(link, member, bits)
        assert member.number is not None
        bit, index = 1 << member.number, self._indexes[bits]
        # A bit that changes is the bit that is turned over.
        for at in qrp.differences(before, after):
            index[at] ^= bit
        self.version += 1

    def _enter(self, link: LinkId, member: _Member, bits: int) -> None:
        if self._free:
            member.number = heapq.heappop(self._free)
            self._links[member.number] = link
        else:
            member.number = len(self._links)
            self._links.append(link)
        bit = 1 << member.number
        self.complete |= bit
        if member.table.bits > INDEX_BITS:
            self._folded |= bit
        self._mark(member, bit)
        if bits not in self._indexes:
            self._indexes[bits] = [0] * (1 << bits)
            self._set_probes()
        self._counts[bits] = self._counts.get(bits, 0) + 1

    def _mark(self, member: _Member, bit: int) -> None:
        self._hushed = self._hushed | bit if member.is_hushed else self._hushed & ~bit
        self._withheld = self._withheld | bit if member.is_withheld else self._withheld & ~bit

    def _forget(self, member: _Member) -> None:
        """Clear a member's bits and give its number back."""
        if member.number is None:
            return
        bit, bits = 1 << member.number, min(member.table.bits, INDEX_BITS)
        self._counts[bits] -= 1
        if self._counts[bits]:
            index = self._indexes[bits]
            slots = qrp.folded(member.table.slots, bits)
            for at in qrp.differences(bytes(len(slots)), slots):
                index[at] &= ~bit
        else:
            del self._indexes[bits], self._counts[bits]
            self._set_probes()
        self.complete &= ~bit
        self._folded &= ~bit
        self._hushed &= ~bit
        self._withheld &= ~bit
        heapq.heappush(self._free, member.number)
        member.number = None
        self.version += 1

    def _set_probes(self) -> None:
        self._probes = tuple((32 - bits, index) for bits, index in self._indexes.items())

    def _note_unfinished(self, member: _Member) -> None:
        """Keep count of what unfinished patches of large tables hold."""
        held = member.table.unfinished_bytes if member.table.bits > INDEX_BITS else 0
        self._unfinished += held - member.unfinished
        member.unfinished = held
        if held and self._unfinished > MAX_UNFINISHED:
            raise RemoteViolation(DropReason.BAD_ROUTE_TABLE, "too many large patches are unfinished")


def _large(slots: int) -> int:
    return slots if slots > 1 << INDEX_BITS else 0


def _spend(member: _Member, now: float) -> None:
    earned = max(0.0, now - member.counted_at) * SLOTS_A_SECOND
    member.slots_left = min(BURST_SLOTS, member.slots_left + earned) - member.table.size
    member.counted_at = now
    if member.slots_left < 0:
        raise RemoteViolation(DropReason.BAD_ROUTE_TABLE, "more patches than anybody needs")
