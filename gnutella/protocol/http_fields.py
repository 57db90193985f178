"""Header fields, and the GIV line, that only Gnutella's file transfer has.  Text in, values out.

Parsers that read a peer's advice (alternate locations, queue places, available ranges) never raise: they return what can be
used of it, bounded.  Rules: docs/protocol, file transfer (X-Queue, X-Alt, X-Thex-URI, X-Available-Ranges, GIV).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from gnutella.errors import RemoteViolation
from gnutella.protocol.http import Headers, Span, TreeOf, parse_number, parse_target
from gnutella.protocol.urn import Urn, b32decode, parse_urn, sha1_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid, is_plausible_peer, parse_address

#: Alternate locations read from one response; LimeWire sends 10, gtk-gnutella up to 160.
MAX_ALTERNATES = 32
#: Spans read from one X-Available-Ranges field.
MAX_AVAILABLE = 128
#: Seconds that a peer can make us wait: a day.
MAX_WAIT_S = 86400
#: A GIV line: "GIV ", an index, a GUID, and a name of at most one file system entry, escaped or not.
MAX_GIV = 1024
#: Where a name cannot be told, servents write this.
GIV_NAME = "file"


@dataclass(frozen=True, slots=True)
class Giv:
    """GIV <index>:<servent id>/<name>: a push was heard, the next request on this connection is ours."""

    index: int
    servent_id: Guid
    name: str


def parse_giv(line: bytes) -> Giv:
    """Read a GIV line without its two line feeds; GARBAGE when it is none.  Letter case of the GUID does not matter."""
    text = line.decode("latin-1").strip()
    digits, colon, rest = text[4:].partition(":")
    index = parse_number(digits)
    try:
        servent_id = bytes.fromhex(rest[:32])
    except ValueError:
        servent_id = b""
    if text[:4] != "GIV " or not colon or index is None or len(servent_id) != 16 or rest[32:33] not in ("", "/"):
        raise RemoteViolation(DropReason.GARBAGE, "no GIV line")
    return Giv(index, Guid(servent_id), rest[33:])


def format_giv(giv: Giv) -> bytes:
    """The line with its two line feeds, as LimeWire and gtk-gnutella write it; a name with odd characters becomes `file`."""
    is_plain = giv.name.isascii() and giv.name.isprintable() and "/" not in giv.name and len(giv.name) < 256
    return (
        f"GIV {giv.index}:{giv.servent_id.hex().upper()}/{giv.name if is_plain and giv.name else GIV_NAME}\n\n".encode()
    )


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """X-Queue 0.1: our place at a busy source, and between how many seconds it wants to be asked again."""

    position: int
    poll_min_s: int
    poll_max_s: int


def parse_queue(value: str | None) -> QueuePlace | None:
    """`position=2, length=5, limit=1, pollMin=45, pollMax=120`; None without a position."""
    numbers: dict[str, int] = {}
    for part in (value or "").replace(";", ",").split(",")[:16]:
        key, _, text = part.partition("=")
        number = parse_number(text.strip().strip('"'))
        if number is not None:
            numbers[key.strip().lower()] = number
    if "position" not in numbers:
        return None
    poll_min = min(max(numbers.get("pollmin", 45), 1), MAX_WAIT_S)
    return QueuePlace(numbers["position"], poll_min, min(max(numbers.get("pollmax", 120), poll_min), MAX_WAIT_S))


def parse_retry_after(value: str | None) -> int | None:
    """Seconds; None for nothing and for the date form, which no servent sends."""
    number = parse_number((value or "").strip())
    return None if number is None else min(number, MAX_WAIT_S)


def parse_alternates(headers: Headers, *, allow_private: bool) -> list[Address]:
    """Other locations of the file, from X-Alt and Alt-Location fields: plausible ones, each once, at most MAX_ALTERNATES."""
    found: dict[Address, None] = {}
    for value in headers.all("x-alt"):
        for item in value.split(",")[: 4 * MAX_ALTERNATES]:
            address = _alternate(item.strip(), allow_private)
            if address is not None:
                found[address] = None
    for value in headers.all("x-gnutella-alternate-location", "alt-location"):
        for item in value.split(",")[:MAX_ALTERNATES]:
            # The old form: a URL and perhaps a date; useful only where it asks by URN.
            text = item.strip().partition(" ")[0]
            if text.lower().startswith("http://") and "/uri-res/n2r?" in text.lower():
                address = _alternate(text[7:].partition("/")[0], allow_private)
                if address is not None:
                    found[address] = None
    return list(found)[:MAX_ALTERNATES]


def _alternate(text: str, allow_private: bool) -> Address | None:
    if not text or len(text) > 64 or "=" in text:  # tls=<bitmap> may come first
        return None
    try:
        address = parse_address(text)
    except ValueError:
        return None
    return address if is_plausible_peer(address, allow_private=allow_private) else None


def parse_available(value: str | None, size: int) -> list[Span] | None:
    """X-Available-Ranges of a partial source, sorted as sent and cut to the file; None when it says nothing.

    `bytes` alone means that nothing is there yet.
    """
    if value is None:
        return None
    spans: list[Span] = []
    for part in value.strip().lower().removeprefix("bytes").lstrip(" =").split(",")[:MAX_AVAILABLE]:
        first, _, last = part.partition("-")
        start, end = parse_number(first.strip()), parse_number(last.strip())
        if start is not None and end is not None and start <= end and start < size:
            spans.append(Span(start, min(end + 1, size)))
    return spans


def parse_content_urns(headers: Headers) -> Urn:
    """SHA-1 and tiger root that X-Gnutella-Content-URN (or G2's X-Content-URN) claims; unreadable ones are skipped."""
    sha1: bytes | None = None
    tth: bytes | None = None
    for value in headers.all("x-gnutella-content-urn", "x-content-urn"):
        for item in value.split(",")[:8]:
            try:
                urn = parse_urn(item.strip())
            except RemoteViolation:
                continue
            sha1, tth = sha1 or urn.sha1, tth or urn.tth
    return Urn(sha1, tth)


def parse_thex_uri(value: str | None) -> tuple[str, bytes] | None:
    """Path and root of X-Thex-URI; None unless the path asks this very host for a tree by URN."""
    path, _, root = (value or "").strip().partition(";")
    try:
        if len(path) > 256 or not isinstance(parse_target(path), TreeOf):
            return None
        tth = b32decode(root.strip())
    except (RemoteViolation, ValueError):
        return None
    return (path, tth) if len(tth) == 24 else None


def format_thex_uri(sha1: bytes, root: str) -> str:
    """The value of an X-Thex-URI field; `root` is base32."""
    return f"/uri-res/N2X?{sha1_urn(sha1)};{root}"


def parse_features(headers: Headers) -> dict[str, str]:
    """X-Features as name -> version, lower case; at most 64."""
    features: dict[str, str] = {}
    for value in headers.all("x-features"):
        for part in value.split(",")[:64]:
            name, _, version = part.strip().partition("/")
            if name and len(features) < 64:
                features[name.lower()] = version
    return features


def format_disposition(name: str) -> str:
    """Content-Disposition for saving under `name`: an ASCII form that cannot end its quotes, and the exact one (RFC 8187)."""
    plain = "".join(c if " " <= c < "\x7f" and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def quote_name(name: str) -> str:
    """A name as the last part of /get/<index>/<name>."""
    return quote(name, safe="", errors="replace")
