"""What a source's answer to a request means for the download.

Servents differ: LimeWire answers 206 to every range, gtk-gnutella omits it for whole files, both may serve less than was
asked; a busy one queues us (X-Queue) or names a time (Retry-After); one that does not know the URN may know the index.  An
answer that speaks of another size or another URN is another file, however friendly it looks.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.errors import RemoteViolation
from gnutella.protocol.http import ResponseHead, Span, parse_content_range
from gnutella.protocol.http_fields import parse_content_urns, parse_queue, parse_retry_after
from gnutella.reasons import DropReason

#: Statuses that say "not now": time-out, already fetching, too many requests, busy, and whatever broke over there.
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
#: Seconds before asking again when the source does not say; gtk-gnutella bans those who ask more often than every 12 s.
DEFAULT_WAIT_S = 60
MIN_WAIT_S = 1
#: Longest path that a redirection may name.
MAX_LOCATION = 1024


@dataclass(frozen=True, slots=True)
class Bytes:
    """The body is these bytes of the file, which has `total` bytes."""

    span: Span
    total: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Ask this path of the same host instead."""

    path: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Busy: again after `seconds`; with a `place` in its queue, on the same connection."""

    seconds: float
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It does not know the file by that form of request (404)."""


@dataclass(frozen=True, slots=True)
class NotThere:
    """A partial source has nothing of the requested range."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Never again for this file."""

    reason: DropReason
    detail: str


Meaning = Bytes | Moved | Wait | Unknown | NotThere | Unusable


def judge(response: ResponseHead, asked: Span | None, sha1: bytes, size: int | None) -> Meaning:
    """The meaning of an answer to a GET of `asked`, or to a HEAD if that is None."""
    claimed = parse_content_urns(response.headers).sha1
    if claimed is not None and claimed != sha1:
        return Unusable(DropReason.SOURCE_MISMATCH, "its URN differs")
    status = response.status
    if status in (200, 206):
        return _bytes(response, asked, size)
    if status in (301, 302, 307, 308):
        path = response.headers.get("location") or ""
        if not path.startswith("/") or path.startswith("//") or len(path) > MAX_LOCATION or not path.isascii():
            return Unusable(DropReason.SOURCE_REFUSED, "redirected elsewhere")
        return Moved(path)
    if status == 404:
        return Unknown()
    if status == 416:
        return NotThere()
    place = parse_queue(response.headers.get("x-queue"))
    if place is not None and status == 503:
        return Wait(place.poll_min_s, place.position)
    if status in _TRANSIENT:
        wait = parse_retry_after(response.headers.get("retry-after"))
        return Wait(max(DEFAULT_WAIT_S if wait is None else wait, MIN_WAIT_S))
    return Unusable(DropReason.SOURCE_REFUSED, f"status {status}")


def _bytes(response: ResponseHead, asked: Span | None, size: int | None) -> Meaning:
    try:
        span, total = _served(response, asked, size)
    except RemoteViolation as error:
        return Unusable(DropReason.SOURCE_REFUSED, error.detail)
    if total is None:
        return Unusable(DropReason.SOURCE_REFUSED, "it does not say the size of the file")
    if size is not None and total != size:
        return Unusable(DropReason.SOURCE_MISMATCH, "its size differs")
    if asked is None:
        return Bytes(span, total)
    if span == Span(0, total) != asked:
        return Unusable(DropReason.SOURCE_REFUSED, "it ignores ranges")
    if span.start != asked.start or span.stop > asked.stop or (span.stop == span.start) != (asked.stop == asked.start):
        return Unusable(DropReason.SOURCE_REFUSED, "it serves another range")
    if response.length is not None and response.length != span.stop - span.start:
        return Unusable(DropReason.SOURCE_REFUSED, "its lengths differ")
    return Bytes(span, total)


def _served(response: ResponseHead, asked: Span | None, size: int | None) -> tuple[Span, int | None]:
    """What the body covers, and the size of the whole file as far as the answer tells."""
    field = response.headers.get("content-range")
    if field is not None:
        span, total = parse_content_range(field)
        return span, size if total is None else total
    length = response.length
    if length is None:
        if response.is_chunked and asked is not None and size is not None:
            return asked, size
        raise RemoteViolation(DropReason.HEAD_BROKEN, "it does not say how much it sends")
    if asked is not None and size is not None and length == asked.stop - asked.start != size:
        return asked, size  # a part under status 200 or without Content-Range: old servents
    return Span(0, length), length
