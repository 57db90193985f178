"""HTTP/1.1 as Gnutella servents speak it: heads, targets and ranges.  Bytes in, values out.

`HeadReader` takes a request or response head in any pieces; `read_request` and `read_response` give it meaning; `Chunked`
undoes the chunked transfer coding.  The header fields that only Gnutella has are in `http_fields`.  What is not here: bodies
(the edge moves those), multipart ranges, trailers, compression.  Rules: RFC 9112 and docs/protocol, file transfer.

    reader = HeadReader()
    head = reader.feed(b"GET /get/3/a%20b.ogg HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n")
    read_request(head).target   # ByIndex(index=3, name="a b.ogg")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gnutella.errors import RemoteViolation
from gnutella.protocol.urn import parse_urn
from gnutella.reasons import DropReason

#: Sum of all head bytes.  Apache takes 8190 a line and 100 lines, nginx 32 KiB; servents send below 4 KiB.
MAX_HEAD_BYTES = 16384
#: Lines of a head, the first one included.
MAX_HEAD_LINES = 128
#: One line.  gtk-gnutella refuses beyond 1024; alternate locations of LimeWire reach 2 KiB.
MAX_LINE = 4096
#: Digits of a size or an index: 2**63 has 19.
MAX_DIGITS = 19
#: A line of the chunked coding: 16 hex digits and whatever extension, which is ignored.
MAX_CHUNK_LINE = 256

REASON_PHRASES = {
    200: "OK",
    202: "Accepted",
    206: "Partial Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    410: "Gone",
    413: "Content Too Large",
    416: "Requested Range Unavailable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Busy",
}

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Headers:
    """Header fields in order of arrival; names compare without case, values are stripped latin-1 text."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self.items: list[tuple[str, str]] = list(items)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of that name."""
        wanted = name.lower()
        for key, value in self.items:
            if key.lower() == wanted:
                return value
        return default

    def all(self, *names: str) -> list[str]:
        """Every value of these names, in order of arrival."""
        wanted = {name.lower() for name in names}
        return [value for key, value in self.items if key.lower() in wanted]

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma separated list of that name holds `token` (compared without case)."""
        return any(token == part.strip().lower() for value in self.all(name) for part in value.split(","))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Head(NamedTuple):
    """A complete head: its first line, its fields, and the bytes that came behind the blank line."""

    first_line: str
    headers: Headers
    surplus: bytes


class HeadReader:
    """Collects one head after another; feeding all at once or byte by byte gives the same.

    RemoteViolation HEAD_TOO_LARGE beyond the limits above, HEAD_BROKEN for lines that are no header fields.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # where the line begins that is not complete yet
        self._lines: list[bytes] = []

    @property
    def pending(self) -> int:
        """Bytes of an incomplete head."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Head | None:
        """Take more bytes; the head once it is complete, after which the reader is ready for the next one."""
        buffer = self._buffer
        buffer += data
        while (end := buffer.find(b"\n", self._scanned)) >= 0:
            if end >= MAX_HEAD_BYTES or end - self._scanned > MAX_LINE:
                raise RemoteViolation(DropReason.HEAD_TOO_LARGE, "a head beyond its bounds")
            line = bytes(buffer[self._scanned : end]).removesuffix(b"\r")
            self._scanned = end + 1
            if line:
                self._lines.append(line)
                if len(self._lines) > MAX_HEAD_LINES:
                    raise RemoteViolation(DropReason.HEAD_TOO_LARGE, "too many header lines")
            elif self._lines:  # blank lines before the first one are skipped, as RFC 9112 2.2 asks
                return self._complete()
        if len(buffer) > MAX_HEAD_BYTES or len(buffer) - self._scanned > MAX_LINE:
            raise RemoteViolation(DropReason.HEAD_TOO_LARGE, "a head beyond its bounds")
        return None

    def _complete(self) -> Head:
        surplus = bytes(self._buffer[self._scanned :])
        lines = self._lines
        self._buffer, self._scanned, self._lines = bytearray(), 0, []
        first_line = lines[0].decode("latin-1")
        items: list[tuple[str, str]] = []
        for raw in lines[1:]:
            text = raw.decode("latin-1")
            if "\0" in text or "\r" in text:
                raise RemoteViolation(DropReason.HEAD_BROKEN, "a control character in a header line")
            if text[0] in " \t":  # folded lines are obsolete, yet old servents send them
                if not items:
                    raise RemoteViolation(DropReason.HEAD_BROKEN, "a continuation of nothing")
                items[-1] = (items[-1][0], f"{items[-1][1]} {text.strip()}".strip())
                continue
            name, colon, value = text.partition(":")
            if not colon or not name or not _TOKEN.issuperset(name):
                raise RemoteViolation(DropReason.HEAD_BROKEN, "a line without a field name")
            items.append((name, value.strip()))
        return Head(first_line, Headers(items), surplus)


# -- targets -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ByUrn:
    """/uri-res/N2R?urn:...: the file with this SHA-1."""

    sha1: bytes


@dataclass(frozen=True, slots=True)
class ByIndex:
    """/get/<index>/<name>: the file with this index if its name is this; compared, never made into a path."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class TreeOf:
    """/uri-res/N2X?urn:...: the tiger tree of the file with this SHA-1."""

    sha1: bytes


@dataclass(frozen=True, slots=True)
class Root:
    """/: browse host, or a word of greeting."""


@dataclass(frozen=True, slots=True)
class PushProxy:
    """/gnutella/push-proxy?...: pass a push on to a leaf of ours; `query` is not interpreted here."""

    query: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Any other path: not here."""


Target = ByUrn | ByIndex | TreeOf | Root | PushProxy | Elsewhere


def parse_target(text: str) -> Target:
    """What a request target asks for; Elsewhere for all that we do not know, REQUEST_BROKEN for what cannot be one."""
    if text[:7].lower() == "http://":  # the absolute form, which servers must accept (RFC 9112 3.2.2)
        text = "/" + text[7:].partition("/")[2]
    if not text.startswith("/") or any(c < "!" or c == "\x7f" for c in text.replace(" ", "")):
        raise RemoteViolation(DropReason.REQUEST_BROKEN, "no request target")
    path, _, query = text.partition("?")
    if path == "/":
        return Root()
    lowered = path.lower()
    if lowered in ("/uri-res/n2r", "/uri-res/n2x"):
        return _urn_target(query, is_tree=lowered.endswith("x"))
    if lowered.startswith("/get/"):
        return _index_target(text[5:])
    if lowered in ("/gnutella/push-proxy", "/gnutella/pushproxy", "/gnet/push-proxy"):
        return PushProxy(query)
    return Elsewhere()


def _urn_target(query: str, *, is_tree: bool) -> Target:
    # LimeWire asks for the tree as N2X?urn:sha1:<32>;<root>; what follows the SHA-1 adds nothing.
    try:
        urn = parse_urn(unquote_to_bytes(query.partition(";")[0]).decode("ascii"))
    except (RemoteViolation, UnicodeDecodeError):
        return Elsewhere()
    if urn.sha1 is None:
        return Elsewhere()
    return TreeOf(urn.sha1) if is_tree else ByUrn(urn.sha1)


def _index_target(rest: str) -> Target:
    digits, slash, quoted = rest.partition("/")
    index = parse_number(digits)
    if not slash or index is None or not quoted:
        return Elsewhere()
    raw = unquote_to_bytes(quoted.encode("latin-1"))
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("latin-1")
    return ByIndex(index, name)


def parse_number(text: str) -> int | None:
    """A decimal number as HTTP writes it (ASCII digits only, at most MAX_DIGITS), or None."""
    if not text or len(text) > MAX_DIGITS or not text.isascii() or not text.isdigit():
        return None
    return int(text)


# -- requests and responses --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request that can be answered."""

    method: str
    raw_target: str
    target: Target
    headers: Headers
    #: Whether the peer lets us keep the connection open.
    keeps_alive: bool
    is_http11: bool


def read_request(head: Head) -> RequestHead:
    """RemoteViolation REQUEST_BROKEN, METHOD, or HEAD_BROKEN (a request with a body, whose end we would have to guess)."""
    parts = head.first_line.split(" ")
    version = parts[-1]
    if len(parts) < 3 or not parts[0] or not _TOKEN.issuperset(parts[0]) or version not in ("HTTP/1.0", "HTTP/1.1"):
        raise RemoteViolation(DropReason.REQUEST_BROKEN, "no HTTP/1.x request line")
    if parts[0] not in ("GET", "HEAD"):
        raise RemoteViolation(DropReason.METHOD, f"method {parts[0][:16]!r}")
    headers = head.headers
    if headers.get("transfer-encoding") is not None or headers.get("content-length", "0") != "0":
        raise RemoteViolation(DropReason.REQUEST_BROKEN, "a request with a body")
    # Very old servents send names with their blanks unescaped, so the target is all that stands between the two others.
    raw_target = " ".join(parts[1:-1])
    keeps_alive = _keeps_alive(headers, version)
    return RequestHead(parts[0], raw_target, parse_target(raw_target), headers, keeps_alive, version == "HTTP/1.1")


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A response up to its body.  `length` is None when the body ends with the connection or is chunked."""

    status: int
    phrase: str
    headers: Headers
    length: int | None
    is_chunked: bool
    keeps_alive: bool
    is_http11: bool


def read_response(head: Head) -> ResponseHead:
    """RemoteViolation HEAD_BROKEN for what is no HTTP response or has an ambiguous length."""
    version, _, rest = head.first_line.partition(" ")
    code, _, phrase = rest.partition(" ")
    # "HTTP" alone, without a version, is what Shareaza once sent.
    if not version.startswith("HTTP") or len(code) != 3 or not code.isascii() or not code.isdigit():
        raise RemoteViolation(DropReason.HEAD_BROKEN, "no HTTP status line")
    headers = head.headers
    is_chunked = headers.has_token("transfer-encoding", "chunked")
    if not is_chunked and headers.get("transfer-encoding", "identity") != "identity":
        raise RemoteViolation(DropReason.HEAD_BROKEN, "an unknown transfer coding")
    lengths = {value.strip() for value in headers.all("content-length")}
    length: int | None = None
    if lengths and not is_chunked:
        length = parse_number(lengths.pop())
        if length is None or lengths:
            raise RemoteViolation(DropReason.HEAD_BROKEN, "no usable Content-Length")
    status = int(code)
    if status in (204, 304) or status < 200:
        length, is_chunked = 0, False
    has_end = length is not None or is_chunked
    keeps_alive = _keeps_alive(headers, version) and has_end
    return ResponseHead(status, phrase[:64], headers, length, is_chunked, keeps_alive, version == "HTTP/1.1")


def _keeps_alive(headers: Headers, version: str) -> bool:
    if version == "HTTP/1.1":
        return not headers.has_token("connection", "close")
    return headers.has_token("connection", "keep-alive")


def format_head(first_line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A head with its blank line.  No value can break out of its line: control characters become blanks."""
    lines = [first_line, *(f"{name}: {_one_line(value)}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def format_status(status: int, headers: Iterable[tuple[str, str]], phrase: str = "") -> bytes:
    """The head of a response."""
    return format_head(f"HTTP/1.1 {status} {_one_line(phrase) or REASON_PHRASES.get(status, 'Unknown')}", headers)


def _one_line(value: str) -> str:
    return "".join(c if c >= " " and c != "\x7f" else " " for c in value)


# -- ranges ------------------------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """Bytes start..stop of a file, stop excluded."""

    start: int
    stop: int


def parse_range(value: str | None, size: int) -> Span | None:
    """The one span that a Range field asks of a file of `size` bytes, cut to the file; None when there is no such field.

    A field that is no byte range at all is ignored, as RFC 9110 14.2 wants.  Several ranges, a range beyond the end and an
    inverted one are RANGE (416), as LimeWire has it.
    """
    if value is None:
        return None
    unit, equals, spec = value.partition("=")
    # gtk-gnutella and old BearShare write "bytes a-b".
    if not equals:
        unit, _, spec = value.partition(" ")
    if unit.strip().lower() != "bytes":
        return None
    first, dash, last = (part.strip() for part in spec.partition("-"))
    if not dash or "," in spec:
        raise RemoteViolation(DropReason.RANGE, "several ranges, or none that can be read")
    start, end = parse_number(first), parse_number(last)
    if (first and start is None) or (last and end is None) or (start is None and end is None):
        raise RemoteViolation(DropReason.RANGE, "a range that cannot be read")
    if start is None:
        assert end is not None
        start, stop = max(size - end, 0), size
    else:
        stop = size if end is None else min(end + 1, size)
    if start >= stop:
        raise RemoteViolation(DropReason.RANGE, "nothing of the range exists")
    return Span(start, stop)


def format_range(span: Span) -> str:
    """The value of a Range field."""
    return f"bytes={span.start}-{span.stop - 1}"


def parse_content_range(value: str) -> tuple[Span, int | None]:
    """The span of a Content-Range field and the size of the whole file, None where the peer does not know it."""
    text = value.strip().lower().removeprefix("bytes").lstrip(" =")  # LimeWire once wrote "bytes="
    spec, _, total_text = text.partition("/")
    first, _, last = spec.partition("-")
    start, end = parse_number(first.strip()), parse_number(last.strip())
    total = None if total_text.strip() == "*" else parse_number(total_text.strip())
    if start is None or end is None or end < start or (total is None and total_text.strip() != "*"):
        raise RemoteViolation(DropReason.HEAD_BROKEN, "no usable Content-Range")
    if total is not None and end >= total:
        raise RemoteViolation(DropReason.HEAD_BROKEN, "a Content-Range beyond its file")
    return Span(start, end + 1), total


def format_content_range(span: Span, size: int) -> str:
    """The value of a Content-Range field."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


# -- the chunked transfer coding ---------------------------------------------------------------------------------------


class Chunked:
    """Undoes the chunked coding.  `feed` gives the pieces of body; `surplus` is None until the end was seen."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._left = 0  # of the chunk that is being read
        self._expects_blank = False
        self._in_trailer = False
        self._trailer_bytes = 0
        self.surplus: bytes | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Body bytes found in `data`; HEAD_BROKEN when the coding is not kept, HEAD_TOO_LARGE beyond its bounds."""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and self.surplus is None:
            if self._left:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                self._expects_blank = not self._left
                pieces.append(piece)
                continue
            end = data.find(b"\n", position)
            self._line += data[position : len(data) if end < 0 else end]
            if len(self._line) > MAX_CHUNK_LINE:
                raise RemoteViolation(DropReason.HEAD_TOO_LARGE, "a chunk line beyond its bound")
            if end < 0:
                return pieces
            position = end + 1
            self._take_line(bytes(self._line).strip())
            self._line.clear()
            if self._in_trailer and self._left < 0:
                self._left = 0
                self.surplus = data[position:]
        return pieces

    def _take_line(self, line: bytes) -> None:
        if self._in_trailer:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > MAX_HEAD_BYTES:
                raise RemoteViolation(DropReason.HEAD_TOO_LARGE, "a trailer beyond its bound")
            if not line:
                self._left = -1
            return
        if self._expects_blank:
            if line:
                raise RemoteViolation(DropReason.HEAD_BROKEN, "a chunk longer than announced")
            self._expects_blank = False
            return
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > 15 or not all(c in b"0123456789abcdefABCDEF" for c in digits):
            raise RemoteViolation(DropReason.HEAD_BROKEN, "no chunk size")
        self._left = int(digits, 16)
        self._in_trailer = not self._left
