"""Lists of addresses that we want nothing to do with: three formats of text in, sorted ranges out.

    CIDR   192.0.2.0/24, 2001:db8::/32, single addresses; `#` and `;` begin comments (Spamhaus, FireHOL)
    P2P    Some Company:192.0.2.0-192.0.2.255                        (PeerGuardian)
    DAT    192.000.002.000 - 192.000.002.255 , 100 , Some Company    (eMule; levels from 128 on are allowed)

The format is known line by line.  Lists are made by strangers and fetched by scripts: a file that is mostly something else is
broken as a whole (BrokenList), a few unreadable lines are counted and passed over.
"""

from __future__ import annotations

import ipaddress
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from gnutella.errors import GnutellaError

#: Ranges of one list; the largest public ones have about 800,000.
MAX_RANGES = 2_000_000
#: Longest line that is read; longer ones are cut there, and mostly become unreadable.  Names of companies have 100 bytes.
MAX_LINE = 1024
#: A list is broken when more of its lines than this are unreadable: then it is a web page, or another format.
MAX_BAD_PERCENT = 10
#: eMule's levels: what is at or above it is allowed.
ALLOWED_LEVEL = 128

_QUAD = rb"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})"
#: P2P and DAT in one: perhaps a name and a colon, a range, perhaps a level and a remark.
_RANGE4 = re.compile(rb"(?:.*:)?\s*" + _QUAD + rb"\s*-\s*" + _QUAD + rb"\s*(?:,\s*(\d{1,3})\s*(?:,.*)?)?$")
_CIDR4 = re.compile(_QUAD + rb"(?:/(\d{1,2}))?\s*(?:[#;].*)?$")
_COMMENTS = (b"#", b";", b"//")


class BrokenList(GnutellaError):
    """A file that is no list, or larger than a list may be; the text says why."""


class Range(NamedTuple):
    """First and last address as numbers, and the IP version."""

    version: int
    first: int
    last: int


class BlockList:
    """Disjoint ranges in order, each with the number of its line.

    12 bytes for each IPv4 range, 36 for each IPv6 range; a look-up is one search by halves.
    """

    __slots__ = ("_ends4", "_lines4", "_lines6", "_six", "_starts4", "bad_lines")

    def __init__(self, four: list[int], six: list[tuple[int, int, int]], bad_lines: int = 0) -> None:
        """`four`: first address, last address and line in one number of 96 bits; `six`: the same as tuples."""
        self.bad_lines = bad_lines
        self._starts4, self._ends4, self._lines4 = array("I"), array("I"), array("I")
        self._fill4(four)
        self._six = _Packed()
        self._lines6 = array("I")
        self._fill6(six)

    def __len__(self) -> int:
        return len(self._starts4) + len(self._lines6)

    def find(self, host: str) -> int | None:
        """The line that has this address; None for one that is not listed, and for text that is no IP."""
        if ":" not in host:
            number = _number4(host)
            if number is None:
                return None
            at = bisect_right(self._starts4, number) - 1
            return self._lines4[at] if at >= 0 and number <= self._ends4[at] else None
        try:
            ip = ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return None
        if ip.ipv4_mapped is not None:
            return self.find(str(ip.ipv4_mapped))
        at = bisect_right(self._six, ip.packed) - 1
        return self._lines6[at] if at >= 0 and ip.packed <= self._six.last(at) else None

    def _fill4(self, four: list[int]) -> None:
        four.sort()
        end = -1
        for packed in four:
            start, last = packed >> 64, packed >> 32 & 0xFFFFFFFF
            start = max(start, end + 1)  # what an earlier range has already stays with that one's line
            if last >= start:
                self._starts4.append(start)
                self._ends4.append(last)
                self._lines4.append(packed & 0xFFFFFFFF)
                end = last

    def _fill6(self, six: list[tuple[int, int, int]]) -> None:
        six.sort()
        end = -1
        for first, last, line in six:
            start = max(first, end + 1)
            if last >= start:
                self._six.append(start, last)
                self._lines6.append(line)
                end = last


class _Packed:
    """First and last IPv6 addresses side by side; a sequence of the first ones, for bisect."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // 32

    def __getitem__(self, at: int) -> bytes:
        return bytes(self._bytes[32 * at : 32 * at + 16])

    def last(self, at: int) -> bytes:
        return bytes(self._bytes[32 * at + 16 : 32 * at + 32])

    def append(self, first: int, last: int) -> None:
        self._bytes += first.to_bytes(16, "big") + last.to_bytes(16, "big")


def parse_blocklist(lines: Iterable[bytes]) -> BlockList:
    """The ranges of a list's lines.  BrokenList for too many ranges, or when it is mostly no list."""
    four: list[int] = []
    six: list[tuple[int, int, int]] = []
    count = bad = 0
    for number, line in enumerate(lines, 1):
        found = parse_line(line)
        if found is None:
            continue
        count += 1
        if isinstance(found, str):
            bad += 1
        elif found.version == 4:
            four.append(found.first << 64 | found.last << 32 | number)
        elif found.version == 6:
            six.append((found.first, found.last, number))
        if len(four) + len(six) > MAX_RANGES:
            raise BrokenList(f"more than {MAX_RANGES} ranges")
    if not count:
        return BlockList([], [])
    if bad * 100 > count * MAX_BAD_PERCENT:
        raise BrokenList(f"{bad} of {count} lines are no address range of a known format")
    return BlockList(four, six, bad)


def parse_line(line: bytes) -> Range | str | None:
    """What one line blocks; None for a comment and for what is allowed, a text for what cannot be read."""
    if not (line := line.strip()) or line.startswith(_COMMENTS):
        return None
    if (match := _RANGE4.match(line)) is not None:
        *quads, level = match.groups()
        first, last = _quad(quads[:4]), _quad(quads[4:])
        if first is None or last is None or first > last:
            return "no range"
        return None if level is not None and int(level) >= ALLOWED_LEVEL else Range(4, first, last)
    if (match := _CIDR4.match(line)) is not None:
        *quad, bits = match.groups()
        first = _quad(quad)
        prefix = int(bits) if bits is not None else 32
        if first is None or prefix > 32:
            return "no network"
        size = 1 << 32 - prefix
        return Range(4, first & -size, (first & -size) + size - 1)
    return _range6(line)


def _range6(line: bytes) -> Range | str:
    text = re.split(rb"[#;]", line, maxsplit=1)[0].decode("latin-1").strip()
    first_text, dash, last_text = text.partition("-")
    try:
        if dash:
            first, last = ipaddress.IPv6Address(first_text.strip()), ipaddress.IPv6Address(last_text.strip())
            return Range(6, int(first), int(last)) if first <= last else "no range"
        network = ipaddress.IPv6Network(text, strict=False)
    except ValueError:
        return "no address"
    return Range(6, int(network.network_address), int(network.broadcast_address))


def _quad(parts: Iterable[bytes]) -> int | None:
    """Four decimal numbers (with zeros before them, as in DAT) as one; None when one is above 255."""
    a, b, c, d = map(int, parts)
    return None if max(a, b, c, d) > 255 else a << 24 | b << 16 | c << 8 | d


def _number4(host: str) -> int | None:
    parts = host.split(".")
    if len(parts) != 4 or not all(part.isdigit() and part.isascii() and len(part) <= 3 for part in parts):
        return None
    a, b, c, d = map(int, parts)
    return None if max(a, b, c, d) > 255 else a << 24 | b << 16 | c << 8 | d
