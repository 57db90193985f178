"""GGEP, the extension blocks of Gnutella messages: `C3`, then keys with values, the last one marked.

A value may be COBS coded (no NUL inside, needed in the records of query hits) and deflated (zlib; GnutellaBun sends raw
deflate, which is read too).  A decoded block keeps its bytes, so that it is passed on as it came.  Framing and codings:
docs/protocol, digest section 3.  Decoding raises RemoteViolation(BAD_GGEP) only.  Example:

    Ggep.of({"BH": b""}).encode() == bytes.fromhex("c382424840")
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

MAGIC = 0xC3
FLAG_LAST = 0x80
FLAG_COBS = 0x40
FLAG_DEFLATE = 0x20
FLAG_RESERVED = 0x10
ID_MASK = 0x0F

#: Keys in one block; gtk-gnutella keeps about 32 and no servent sends half as many.
MAX_ITEMS = 32
#: Bytes of one value as coded: what three length bytes of 6 bits can say.
MAX_VALUE = 0x3FFFF
#: Inflated bytes of all values of one block together: half of the largest message, far above any PHC list or XML seen.
MAX_INFLATED = 32 * 1024
#: Bytes of a little-endian number.
MAX_LE_BYTES = 8


def _bad(detail: str) -> RemoteViolation:
    return RemoteViolation(DropReason.BAD_GGEP, detail)


@dataclass(frozen=True, slots=True)
class Ggep:
    """An immutable block.  Ids compare exactly; of a key that is there twice, the first counts.

    `items` are the decoded values in order; `wire` are the bytes that the block came as (empty for one of our own) and
    takes no part in comparisons.
    """

    items: tuple[tuple[str, bytes], ...]
    wire: bytes = field(default=b"", compare=False, repr=False)

    @staticmethod
    def of(values: Mapping[str, bytes]) -> Ggep:
        """A block of our own."""
        return Ggep(tuple(values.items()))

    def get(self, key: str) -> bytes | None:
        """The decoded value, or None."""
        for name, value in self.items:
            if name == key:
                return value
        return None

    def __contains__(self, key: object) -> bool:
        return any(name == key for name, _ in self.items)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items)

    def __len__(self) -> int:
        return len(self.items)

    def adding(self, values: Mapping[str, bytes]) -> Ggep:
        """A block with `values` in place of the keys of the same names, and after all others."""
        return Ggep(tuple(item for item in self.items if item[0] not in values) + tuple(values.items()))

    def encode(self, nul_free: bool = False, deflate: Container[str] = ()) -> bytes:
        """The block's bytes: those it came as, else built.  An empty block is no bytes at all.

        `nul_free`: values with a NUL are COBS coded, as the records of a hit need.  `deflate`: keys whose values are
        deflated where that makes them shorter; not for small values, nor for peers that expect raw deflate.
        """
        if self.wire and not (nul_free and b"\0" in self.wire):
            return self.wire
        if not self.items:
            return b""
        parts = [b"\xc3"]
        last = len(self.items) - 1
        for number, (key, value) in enumerate(self.items):
            flags = FLAG_LAST if number == last else 0
            parts.append(_encode_item(flags, key, value, nul_free, key in deflate))
        return b"".join(parts)

    @staticmethod
    def decode(buf: bytes, pos: int = 0, end: int | None = None) -> tuple[Ggep, int]:
        """The block that starts at `buf[pos]`, and where it ends; `end` bounds the reading (default: all of `buf`)."""
        stop = len(buf) if end is None else end
        if pos >= stop or buf[pos] != MAGIC:
            raise _bad("no magic byte")
        start = pos
        pos += 1
        budget = MAX_INFLATED
        items: list[tuple[str, bytes]] = []
        while True:
            if pos >= stop:
                raise _bad("cut short or without a last key")
            flags = buf[pos]
            size = flags & ID_MASK
            value_at = pos + 1 + size
            key = buf[pos + 1 : value_at]
            if not size or flags & FLAG_RESERVED or b"\0" in key:
                raise _bad("an impossible key")
            length, value_at = _read_length(buf, value_at, stop)
            pos = value_at + length
            if pos > stop:
                raise _bad("a value beyond the end")
            value = buf[value_at:pos]
            if flags & (FLAG_COBS | FLAG_DEFLATE):
                value = _decode_value(flags, value, budget)
                if flags & FLAG_DEFLATE:
                    budget -= len(value)
            items.append((key.decode("latin-1"), value))
            if flags & FLAG_LAST:
                return Ggep(tuple(items), buf[start:pos]), pos
            if len(items) == MAX_ITEMS:
                raise _bad(f"more than {MAX_ITEMS} keys")


def _read_length(buf: bytes, pos: int, stop: int) -> tuple[int, int]:
    length = 0
    for at in range(pos, min(pos + 3, stop)):
        byte = buf[at]
        length = length << 6 | byte & 0x3F
        mark = byte & 0xC0
        if mark == 0x40:
            return length, at + 1
        if mark != 0x80:
            break
    raise _bad("a length without its end")


def _decode_value(flags: int, value: bytes, budget: int) -> bytes:
    if flags & FLAG_COBS:
        value = cobs_decode(value)
    if flags & FLAG_DEFLATE:
        value = inflate(value, budget)
    return value


def _encode_item(flags: int, key: str, value: bytes, nul_free: bool, deflate: bool) -> bytes:
    raw_key = key.encode("latin-1")
    if not 0 < len(raw_key) <= ID_MASK or b"\0" in raw_key:
        raise LocalMisuse(f"{key!r} is no GGEP key")
    if deflate:
        packed = zlib.compress(value, 9)
        if len(packed) < len(value):
            flags |= FLAG_DEFLATE
            value = packed
    if nul_free and b"\0" in value:
        flags |= FLAG_COBS
        value = cobs_encode(value)
    return bytes((flags | len(raw_key),)) + raw_key + encode_length(len(value)) + value


def encode_length(length: int) -> bytes:
    """1 to 3 bytes with 6 bits each, most significant first; 80 marks that more follow, 40 the last."""
    if length < 0x40:
        return bytes((0x40 | length,))
    if length < 0x1000:
        return bytes((0x80 | length >> 6, 0x40 | length & 0x3F))
    if length <= MAX_VALUE:
        return bytes((0x80 | length >> 12, 0x80 | length >> 6 & 0x3F, 0x40 | length & 0x3F))
    raise LocalMisuse(f"a GGEP value of {length} bytes")


def cobs_encode(raw: bytes) -> bytes:
    """`raw` without NULs: a code byte and up to 254 bytes a block.  No 01 follows a final full block."""
    out = bytearray()
    pieces = raw.split(b"\0")
    last = len(pieces) - 1
    for number, piece in enumerate(pieces):
        pos = 0
        while len(piece) - pos >= 254:
            out.append(0xFF)
            out += piece[pos : pos + 254]
            pos += 254
        if pos == 0 or number != last or len(piece) > pos:
            out.append(len(piece) - pos + 1)
            out += piece[pos:]
    return bytes(out)


def cobs_decode(coded: bytes) -> bytes:
    """The reverse; BAD_GGEP for a NUL anywhere and for a block cut short."""
    if b"\0" in coded:
        raise _bad("COBS with a NUL")
    out = bytearray()
    size = len(coded)
    pos = 0
    while pos < size:
        code = coded[pos]
        if pos + code > size:
            raise _bad("COBS cut short")
        out += coded[pos + 1 : pos + code]
        pos += code
        if code != 0xFF and pos < size:
            out.append(0)
    return bytes(out)


def inflate(coded: bytes, limit: int) -> bytes:
    """Inflate a zlib stream, else a raw deflate one; BAD_GGEP beyond `limit` bytes, for bad and for unfinished streams."""
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        stream = zlib.decompressobj(window)
        try:
            value = stream.decompress(coded, limit + 1)
        except zlib.error:
            continue
        if len(value) > limit:
            raise _bad("inflates beyond its bound")
        if stream.eof:
            return value
    raise _bad("a deflated value that cannot be read")


def le_encode(number: int) -> bytes:
    """Little endian without high zero bytes; 0 is empty."""
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def le_decode(raw: bytes) -> int:
    """The reverse; at most 8 bytes."""
    if len(raw) > MAX_LE_BYTES:
        raise _bad(f"a number of {len(raw)} bytes")
    return int.from_bytes(raw, "little")
