"""Query routing tables: which words a leaf (or a neighbour) can answer, as slots of a hash table.

A peer sends RESET (all slots absent), then patches: arrays with a signed number for each slot, cut into numbered chunks and
perhaps deflated as one stream.  Negative makes a slot present, positive absent, zero leaves it; with one bit an entry, a set
bit turns it over.  Every patch covers the whole table.  Rules: protocol digest 7.1 to 7.6; fields of the messages:
signals.py.  Decoding raises RemoteViolation(BAD_ROUTE_TABLE) only, and never holds more than one table and one patch.

    >>> slot("gnutella", 16)
    21293
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gnutella.errors import RemoteViolation
from gnutella.protocol.signals import RoutePatch, RouteReset
from gnutella.protocol.words import canonical, cut_forms, is_plain, route_words, stem_forms
from gnutella.reasons import DropReason

#: Slots of a table that is accepted (digest 7.5): what gtk-gnutella takes as it is.
MIN_SIZE, MAX_SIZE = 8, 1 << 21
#: Bytes of one chunk; LimeWire sends 4096, gtk-gnutella 512, and everybody takes 32 KiB (digest 7.5).
MAX_CHUNK = 32 * 1024
#: Chunks of one patch: their count is one byte.
MAX_CHUNKS = 255
#: Slots of a table of our own: it doubles until at most one slot in SPARSE is used, as gtk-gnutella's (digest 7.4), but ends
#: at 1 Mi as Shareaza's, half of what is taken from others: there gtk-gnutella's leaves go on to 2 Mi (digest 7.5).
OWN_MIN_BITS, OWN_MAX_BITS = 14, 20
SPARSE = 100
#: Our infinity and chunk size: LimeWire's (digest 7.5).
INFINITY = 7
CHUNK = 4096

NO_COMPRESSION, ZLIB = 0, 1
_MULTIPLIER = 0x4F1BBCDC
_ONE_BIT_INFINITY = 1
#: What a slot's number says: leave it, make it present, make it absent.
_LEAVE, _PRESENT, _ABSENT = 0, 1, 2
_CHANGED = re.compile(rb"[^\0]")
#: Of a slot that was absent (even) or present (odd) and has an order (times two): whether it is present then.
_OUTCOME = bytes((0, 1, 1, 1, 0, 0)) + bytes(250)


def hash32(word: str) -> int:
    """The 32-bit hash of a word; each character is lowered on its own, as LimeWire does.

    Of each UTF-16 unit of the lower-case word only the low byte counts.
    """
    return hash32_exact(word.lower() if word.isascii() else "".join(char.lower()[:1] for char in word))


def hash32_exact(word: str) -> int:
    """The same without lowering: what gtk-gnutella looks up for a URN in capitals."""
    mixed = 0
    for at, low in enumerate(word.encode("utf-16-le", "surrogatepass")[::2]):
        mixed ^= low << (8 * (at & 3))
    return mixed * _MULTIPLIER & 0xFFFFFFFF


def slot(word: str, bits: int) -> int:
    """The slot of a word in a table of 2**bits slots."""
    return hash32(word) >> (32 - bits)


def is_led_here(words: int, hits: int) -> bool:
    """gtk-gnutella's rule for a query of `words` words (>= 3 letters) of which `hits` are in the table (digest 7.4).

    All of one or two words, two thirds of more.  LimeWire asks for all.
    """
    return words > 0 and (hits == words if words < 3 else 3 * hits // words >= 2)


def hashes_of(names: Iterable[str], sha1_urns: Iterable[str] = ()) -> set[int]:
    """32-bit hashes of all that leads queries to these file names and URNs, in every client's spelling (digest 7.2).

    Takes some microseconds a file: call it in a worker.
    """
    plain: set[str] = set()
    words: set[str] = set()
    for name in names:
        if is_plain(name):
            plain.update(canonical(name).split())
        else:
            words.update(route_words(name))
    for word in plain:
        words.update(cut_forms(word), stem_forms(word))
    hashes = set(map(hash32, words))
    for urn in sha1_urns:
        hashes |= {hash32(urn), hash32_exact(urn)}
    return hashes


def bits_for(hashes: int) -> int:
    """How large a table of our own is for so many hashes, as a power of two."""
    bits = OWN_MIN_BITS
    while bits < OWN_MAX_BITS and hashes * SPARSE > 1 << bits:
        bits += 1
    return bits


def table_of(hashes: Iterable[int], bits: int) -> bytes:
    """A table of 2**bits slots: a byte 1 for each slot that is present."""
    slots = bytearray(1 << bits)
    shift = 32 - bits
    for value in hashes:
        slots[value >> shift] = 1
    return bytes(slots)


def words_table(words: Iterable[str], bits: int) -> bytes:
    """A table that holds exactly these words."""
    return table_of(map(hash32, words), bits)


def folded(slots: bytes, bits: int) -> bytes:
    """The table with 2**bits slots at most: slots that become one are present if any of them was."""
    factor = len(slots) >> bits
    if factor < 2:
        return slots
    merged = 0
    for at in range(factor):
        merged |= int.from_bytes(slots[at::factor], "little")
    return merged.to_bytes(1 << bits, "little")


def spread(slots: bytes, bits: int) -> bytes:
    """The table with 2**bits slots at least: each slot becomes several, present as it was."""
    factor = (1 << bits) // len(slots)
    if factor < 2:
        return slots
    wide = bytearray(1 << bits)
    for at in range(factor):
        wide[at::factor] = slots
    return bytes(wide)


def differences(before: bytes, after: bytes) -> Iterator[int]:
    """Slots in which two tables of one size differ, in order."""
    differing = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
    return (hit.start() for hit in _CHANGED.finditer(differing.to_bytes(len(after), "little")))


@dataclass(frozen=True, slots=True)
class Changed:
    """What a complete patch or a RESET did: the tables before and after, a byte 0 or 1 a slot.

    They are of one size, but for a RESET, after which all slots are absent.
    """

    before: bytes
    after: bytes

    @property
    def present(self) -> tuple[int, ...]:
        """Slots that became present."""
        return tuple(at for at in differences(self.before, self.after) if self.after[at])

    @property
    def absent(self) -> tuple[int, ...]:
        """Slots that became absent."""
        if not any(self.after):
            return tuple(hit.start() for hit in _CHANGED.finditer(self.before))
        return tuple(at for at in differences(self.before, self.after) if self.before[at])


class RouteTable:
    """A peer's table as it comes in; a bit a slot is all that is kept of it between two patches."""

    def __init__(self) -> None:
        #: Number of slots; 0 before the first RESET.
        self.size = 0
        #: True from the first complete patch after a RESET on: only then does the table say what the peer has.
        self.is_complete = False
        #: Slots, eight a byte and the first one highest; empty while none is present.
        self._packed = b""
        self._patch: _Incoming | None = None

    @property
    def bits(self) -> int:
        """log2 of the number of slots."""
        return self.size.bit_length() - 1

    @property
    def slots(self) -> bytes:
        """A byte for each slot: 1 if it is present."""
        if not self._packed:
            return bytes(self.size)
        slots = bytearray(self.size)
        for at, table in enumerate(_BIT_OF):
            slots[at::8] = self._packed.translate(table)
        return bytes(slots)

    @property
    def unfinished_bytes(self) -> int:
        """What is held of a patch whose last chunk has not come."""
        return 0 if self._patch is None else len(self._patch.array)

    @property
    def is_patching(self) -> bool:
        """Whether the next chunk belongs to a patch that has begun."""
        return self._patch is not None

    def has(self, word: str) -> bool:
        """Whether the word's slot is present."""
        return self.has_hash(hash32(word))

    def has_hash(self, value: int) -> bool:
        """Whether the slot of a 32-bit hash is present."""
        if not self._packed:
            return False
        at = value >> (32 - self.bits)
        return bool(self._packed[at >> 3] & 0x80 >> (at & 7))

    def present(self) -> list[int]:
        """Present slots, in order."""
        return [hit.start() for hit in _CHANGED.finditer(self.slots)]

    def receive(self, message: RouteReset | RoutePatch) -> Changed | None:
        """Take the next message; what changed, when it ends a patch or, by RESET, empties the table."""
        if isinstance(message, RouteReset):
            return self._reset(message)
        if not self.size:
            raise _bad("a patch before any reset")
        if self._patch is None:
            self._patch = _Incoming(message, self.size)
        try:
            array = self._patch.add(message)
        except RemoteViolation:
            self._patch = None
            raise
        if array is None:
            return None
        bits, self._patch = self._patch.bits, None
        self.is_complete = True
        return self._apply(array, bits)

    def _reset(self, message: RouteReset) -> Changed:
        size = message.size
        if not MIN_SIZE <= size <= MAX_SIZE or size & (size - 1) or message.infinity < 1:
            raise _bad(f"a table of {size} slots with infinity {message.infinity}")
        before = self.slots
        self.size = size
        self._packed = b""
        self.is_complete = False
        self._patch = None
        return Changed(before, bytes(size))

    def _apply(self, array: bytes, bits: int) -> Changed:
        before = self.slots
        orders = int.from_bytes(_TURN[bits](array, before), "little")
        states = int.from_bytes(before, "little") + 2 * orders
        after = states.to_bytes(self.size, "little").translate(_OUTCOME)
        packed = 0
        for at in range(8):
            packed |= int.from_bytes(after[at::8], "little") << (7 - at)
        self._packed = packed.to_bytes(self.size // 8, "little") if packed else b""
        return Changed(before, after)


class _Incoming:
    """The chunks of one patch, inflated as they come."""

    def __init__(self, first: RoutePatch, slots: int) -> None:
        if first.bits not in _TURN or first.compressor not in (NO_COMPRESSION, ZLIB) or not first.count:
            raise _bad(f"{first.bits} bits, compressor {first.compressor}, {first.count} chunks")
        self.bits = first.bits
        self._shape = (first.count, first.compressor, first.bits)
        self._expected = slots * first.bits // 8
        self._next = 1
        self.array = bytearray()
        self._stream = zlib.decompressobj() if first.compressor == ZLIB else None

    def add(self, chunk: RoutePatch) -> bytes | None:
        """The whole array after the last chunk."""
        if chunk.sequence != self._next or (chunk.count, chunk.compressor, chunk.bits) != self._shape:
            raise _bad(f"chunk {chunk.sequence} of {chunk.count} where {self._next} of {self._shape[0]} was due")
        if len(chunk.data) > MAX_CHUNK:
            raise _bad(f"a chunk of {len(chunk.data)} bytes")
        self._next += 1
        self.array += self._inflated(chunk.data)
        if len(self.array) > self._expected:
            raise _bad(f"more than the {self._expected} bytes of the table")
        if chunk.sequence < chunk.count:
            return None
        if len(self.array) != self._expected:
            raise _bad(f"{len(self.array)} of the {self._expected} bytes of the table")
        return bytes(self.array)

    def _inflated(self, data: bytes) -> bytes:
        if self._stream is None:
            return data
        try:
            return self._stream.decompress(data, self._expected - len(self.array) + 1)
        except zlib.error:
            raise _bad("a patch that cannot be inflated") from None


def _orders(entry: int, bits: int) -> int:
    """What one signed entry says."""
    if not entry:
        return _LEAVE
    return _PRESENT if entry >> (bits - 1) else _ABSENT


def _spread(bits: int) -> list[bytes]:
    """For each entry of a byte, highest first: a table from the byte to what that entry says."""
    mask = (1 << bits) - 1
    return [bytes(_orders(byte >> shift & mask, bits) for byte in range(256)) for shift in range(8 - bits, -1, -bits)]


def _signed(bits: int) -> Callable[[bytes, bytes], bytes]:
    tables = _spread(bits)

    def turn(array: bytes, slots: bytes) -> bytes:
        orders = bytearray(len(slots))
        for at, table in enumerate(tables):
            orders[at :: len(tables)] = array.translate(table)
        return bytes(orders)

    return turn


_BIT_OF = [bytes(byte >> shift & 1 for byte in range(256)) for shift in range(7, -1, -1)]
_OPPOSITE = bytes((_PRESENT, _ABSENT)) + bytes(254)


def _turned_over(array: bytes, slots: bytes) -> bytes:
    """One bit an entry, highest first: a set bit turns the slot over."""
    orders = bytearray(len(slots))
    for at, table in enumerate(_BIT_OF):
        flips = int.from_bytes(array.translate(table), "little") * 0xFF
        opposite = int.from_bytes(slots[at::8].translate(_OPPOSITE), "little")
        orders[at::8] = (flips & opposite).to_bytes(len(array), "little")
    return bytes(orders)


_TURN: dict[int, Callable[[bytes, bytes], bytes]] = {
    1: _turned_over,
    2: _signed(2),
    4: _signed(4),
    8: _signed(8),
}


def patches(
    old: bytes, new: bytes, *, bits: int = 4, infinity: int = INFINITY, compress: bool = True, chunk: int = CHUNK
) -> list[RoutePatch]:
    """The messages that turn table `old` into `new` (a byte 0 or 1 a slot), after a RESET with the same infinity.

    `bits` 4 or 8 for everybody, 1 only for peers that announced it (digest 7.6), 2 with infinity 2 for those of our own kind.
    `compress`: not on a deflated link.
    """
    array = _array(old, new, bits, infinity)
    compressor = NO_COMPRESSION
    if compress:
        deflated = zlib.compress(array)
        if len(deflated) < len(array):
            array, compressor = deflated, ZLIB
    chunk = max(chunk, -(-len(array) // MAX_CHUNKS))
    pieces = [array[at : at + chunk] for at in range(0, len(array), chunk)]
    return [RoutePatch(number, len(pieces), compressor, bits, piece) for number, piece in enumerate(pieces, 1)]


def full_table(
    table: bytes, *, bits: int = 4, infinity: int = INFINITY, compress: bool = True, chunk: int = CHUNK
) -> Iterator[RouteReset | RoutePatch]:
    """RESET and the patch that fills it: what a new link gets."""
    yield RouteReset(len(table), _ONE_BIT_INFINITY if bits == 1 else infinity)
    yield from patches(bytes(len(table)), table, bits=bits, infinity=infinity, compress=compress, chunk=chunk)


def _array(old: bytes, new: bytes, bits: int, infinity: int) -> bytes:
    # Bytes 0: absent before and after, 1: goes, 2: comes, 3: stays.
    both = int.from_bytes(old, "little") + 2 * int.from_bytes(new, "little")
    states = both.to_bytes(len(new), "little")
    if bits == 1:
        digits = states.translate(b"0110" + bytes(252))
        return int(digits, 2).to_bytes(len(new) // 8, "big")
    step = infinity - 1
    if step >= 1 << bits - 1:
        raise ValueError(f"infinity {infinity} does not fit entries of {bits} bits")
    entries = states.translate(bytes((0, step, -step & (1 << bits) - 1, 0)) + bytes(252))
    if bits == 8:
        return entries
    packed, a_byte = 0, 8 // bits
    for at in range(a_byte):
        packed = packed << bits | int.from_bytes(entries[at::a_byte], "little")
    return packed.to_bytes(len(new) // a_byte, "little")


def _bad(detail: str) -> RemoteViolation:
    return RemoteViolation(DropReason.BAD_ROUTE_TABLE, detail)
