"""Header blocks of the Gnutella handshake: a first line, header lines, an empty line.

Reading follows the liberal rules of the network (protocol digest 1.2): names in any case, bare LF, folded lines, blanks before
the colon, repeated headers joined with ", ".  Writing keeps the spelling that it is given, because LimeWire's relatives look
names up case by case.  A block may arrive in any pieces; what follows it is handed on untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

#: gtk-gnutella's limits for a block (digest 1.1, rule 6); LimeWire reads fewer, nobody sends more.
MAX_HEAD_BYTES = 16384
MAX_HEAD_LINES = 128
#: Without its line end.
MAX_LINE = 1024


class Headers:
    """Header fields in order, each name once; names keep their spelling and are found in any case."""

    __slots__ = ("_by_name",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._by_name: dict[str, tuple[str, str]] = {}
        for name, value in fields:
            key = name.lower()
            known = self._by_name.get(key)
            self._by_name[key] = (name, value) if known is None else (known[0], f"{known[1]}, {value}")

    def get(self, name: str, default: str = "") -> str:
        """The value of a field, or `default`."""
        return self._by_name.get(name.lower(), (name, default))[1]

    def tokens(self, name: str) -> list[str]:
        """A field's comma-separated list: trimmed, lower case, without empty entries."""
        return [token for part in self.get(name).lower().split(",") if (token := part.strip())]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_name

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"


@dataclass(frozen=True, slots=True)
class Head:
    """One block."""

    first_line: str
    headers: Headers


def format_head(first_line: str, fields: Iterable[tuple[str, str]], line_end: str = "\r\n") -> bytes:
    """A block as bytes.  A line break inside a value would be a new header, so it is a bug of the caller's."""
    lines = [first_line, *(f"{name}: {value}" for name, value in fields)]
    if any("\r" in line or "\n" in line for line in lines):
        raise LocalMisuse("a header value holds a line break")
    return (line_end.join(lines) + line_end * 2).encode("utf-8")


class HeadReader:
    """Collects one block from pieces.  `rest` is what came behind it."""

    __slots__ = ("_buffer", "_line_start", "_lines", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._line_start = 0
        self._scanned = 0

    def feed(self, data: bytes) -> Head | None:
        """The block once its empty line is there, else None.  RemoteViolation: HEAD_TOO_LARGE or HEAD_BROKEN."""
        buffer = self._buffer
        buffer += data
        while (end := buffer.find(b"\n", self._scanned)) >= 0:
            self._check(end - self._line_start, end + 1)
            line = bytes(buffer[self._line_start : end]).removesuffix(b"\r")
            self._line_start = self._scanned = end + 1
            if not line:
                return _parse_lines(self._lines)
            self._lines.append(line)
            if len(self._lines) > MAX_HEAD_LINES:
                raise RemoteViolation(DropReason.HEAD_TOO_LARGE, f"more than {MAX_HEAD_LINES} lines")
        self._scanned = len(buffer)
        self._check(len(buffer) - self._line_start, len(buffer) + 1)
        return None

    @property
    def rest(self) -> bytes:
        """Bytes behind the block; they belong to what comes next."""
        return bytes(self._buffer[self._line_start :])

    @staticmethod
    def _check(line_bytes: int, head_bytes: int) -> None:
        if line_bytes > MAX_LINE:
            raise RemoteViolation(DropReason.HEAD_TOO_LARGE, f"a line of more than {MAX_LINE} bytes")
        if head_bytes > MAX_HEAD_BYTES:
            raise RemoteViolation(DropReason.HEAD_TOO_LARGE, f"more than {MAX_HEAD_BYTES} bytes")


def _parse_lines(lines: list[bytes]) -> Head:
    if not lines:
        raise RemoteViolation(DropReason.HEAD_BROKEN, "an empty first line")
    text = [line.decode("utf-8", "replace").replace("\t", " ") for line in lines]
    # Refused as a whole: what is shown to people must not steer their terminal, and no servent sends such bytes.
    if any(not line.isprintable() and any(c < " " or "\x7f" <= c < "\xa0" for c in line) for line in text):
        raise RemoteViolation(DropReason.HEAD_BROKEN, "control characters")
    fields: list[tuple[str, str]] = []
    for line in text[1:]:
        if line[0] == " ":
            if not fields:
                raise RemoteViolation(DropReason.HEAD_BROKEN, "a folded line before the first header")
            name, value = fields[-1]
            fields[-1] = name, f"{value} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or not name or " " in name:
            raise RemoteViolation(DropReason.HEAD_BROKEN, "a header line without a name and a colon")
        fields.append((name, value.strip()))
    return Head(text[0].strip(), Headers(fields))
