"""What an HTTP request gets: the answer as a value; and the slots and the pace of uploads.

`answer` decides by the catalog alone and never makes a path of anything a peer sent: a file is found by its SHA-1, or by its
index if the name is its name as well.  The edge opens the file, takes a slot, looks up trees and streams.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from gnutella.errors import RemoteViolation
from gnutella.networks import Shares, host_key
from gnutella.protocol.http import (
    ByIndex,
    ByUrn,
    PushProxy,
    RequestHead,
    Root,
    Span,
    TreeOf,
    format_content_range,
    parse_range,
)
from gnutella.protocol.http_fields import format_disposition, format_thex_uri
from gnutella.protocol.message import Push
from gnutella.protocol.push_http import read_push
from gnutella.protocol.urn import b32encode, bitprint_urn, sha1_urn
from gnutella.reasons import DropReason

#: What browsers of libraries ask for.
BROWSE_TYPE = "application/x-gnutella-packets"
#: Seconds a refused downloader is asked to wait: gtk-gnutella polls after 60.
BUSY_RETRY_S = 60
#: Bytes that a rate limited upload may send at once after a rest, in seconds of its rate.
BURST_S = 0.25


class Offered(Protocol):
    """A shared file, as far as uploads need it."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha1(self) -> bytes | None: ...
    @property
    def tth(self) -> bytes | None: ...
    @property
    def path(self) -> str: ...
    @property
    def mtime_ns(self) -> int: ...


class Offers(Protocol):
    """The catalog, as far as uploads need it."""

    def by_sha1(self, sha1: bytes) -> Offered | None: ...
    def by_index(self, index: int) -> Offered | None: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status without a file; `extra` are further header fields."""

    status: int
    reason: DropReason
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SendFile:
    """200 or 206 and these bytes of that file."""

    file: Offered
    status: int
    span: Span
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SendTree:
    """The tiger tree of that file, if the edge can find it."""

    file: Offered


@dataclass(frozen=True, slots=True)
class SendBrowse:
    """All shared files as query hits."""


@dataclass(frozen=True, slots=True)
class SendGreeting:
    """A line of text for whoever looks with a browser."""


@dataclass(frozen=True, slots=True)
class PassPush:
    """202: the push, passed on to a leaf of ours, if the asker may ask that."""

    push: Push


Answer = PassPush | Refusal | SendFile | SendTree | SendBrowse | SendGreeting


def answer(request: RequestHead, offers: Offers) -> Answer:
    """What a request gets, as long as slots and the disk allow."""
    target = request.target
    if isinstance(target, Root):
        wants = any(BROWSE_TYPE in value.lower() for value in request.headers.all("accept"))
        return SendBrowse() if wants else SendGreeting()
    if isinstance(target, PushProxy):
        try:
            return PassPush(read_push(target.query, request.headers, allow_private=True))
        except RemoteViolation as error:
            return Refusal(400, error.reason)
    if not isinstance(target, ByUrn | ByIndex | TreeOf):
        return Refusal(404, DropReason.NOT_HERE)
    if isinstance(target, ByIndex):
        file = offers.by_index(target.index)
        if file is not None and not _is_same_name(file.name, target.name):
            file = None
    else:
        file = offers.by_sha1(target.sha1)
    if file is None or file.sha1 is None:
        return Refusal(404, DropReason.NOT_SHARED)
    if isinstance(target, TreeOf):
        return SendTree(file)
    try:
        span = parse_range(request.headers.get("range"), file.size)
    except RemoteViolation as error:
        return Refusal(416, error.reason, (("Content-Range", f"bytes */{file.size}"),))
    whole = Span(0, file.size)
    status = 200 if span is None or span == whole else 206
    return SendFile(file, status, span or whole, tuple(_file_headers(file, span or whole, status)))


def _is_same_name(ours: str, asked: str) -> bool:
    return ours == asked or unicodedata.normalize("NFC", ours) == unicodedata.normalize("NFC", asked)


def _file_headers(file: Offered, span: Span, status: int) -> list[tuple[str, str]]:
    assert file.sha1 is not None
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(span.stop - span.start))]
    if status == 206:
        headers.append(("Content-Range", format_content_range(span, file.size)))
    headers.append(("Accept-Ranges", "bytes"))
    headers.append(("Content-Disposition", format_disposition(file.name)))
    if file.tth is None:
        headers.append(("X-Gnutella-Content-URN", sha1_urn(file.sha1)))
    else:
        # Both forms: LimeWire reads the first URN only.
        urns = f"{sha1_urn(file.sha1)}, {bitprint_urn(file.sha1, file.tth)}"
        headers.append(("X-Gnutella-Content-URN", urns))
        headers.append(("X-Thex-URI", format_thex_uri(file.sha1, b32encode(file.tth))))
    return headers


@dataclass(slots=True)
class UploadSlots:
    """Who may send at a time.  A slot is one connection's, from its first file request until it lets go."""

    max_total: int
    max_per_host: int
    #: How many of them one network may have.
    shares: Shares = field(default_factory=Shares)
    _by_host: Counter[str] = field(default_factory=Counter)
    taken: int = 0

    @property
    def is_full(self) -> bool:
        """Nobody else gets one at present."""
        return self.taken >= self.max_total

    def take(self, host: str) -> DropReason | None:
        """Take a slot, or the reason why there is none."""
        key = host_key(host)
        if self._by_host[key] >= self.max_per_host:
            return DropReason.UPLOAD_PER_HOST
        if self.is_full:
            return DropReason.UPLOAD_SLOTS
        if self.shares.crowded(host, self._by_host.elements(), self.max_total, self.max_per_host) is not None:
            return DropReason.NETWORK_FULL
        self._by_host[key] += 1
        self.taken += 1
        return None

    def release(self, host: str) -> None:
        """Give a slot back."""
        host = host_key(host)
        self.taken -= 1
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]


class TokenBucket:
    """Paces bytes: `rate` a second, 0 for no limit; after a rest, BURST_S of it at once."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._tokens = rate * BURST_S
        self._filled_at = now

    def _fill(self, now: float) -> None:
        self._tokens = min(self._tokens + (now - self._filled_at) * self.rate, self.rate * BURST_S)
        self._filled_at = now

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` bytes may be sent now; they are taken."""
        if not self.rate:
            return wanted
        self._fill(now)
        granted = max(0, min(wanted, int(self._tokens)))
        self._tokens -= granted
        return granted

    def spend(self, count: int, now: float) -> None:
        """Take bytes that are sent in any case; the bucket may go into debt."""
        if self.rate:
            self._fill(now)
            self._tokens -= count

    def wait_s(self, wanted: int, now: float) -> float:
        """Seconds until `wanted` bytes, or as many as the bucket ever holds, can be taken."""
        if not self.rate:
            return 0.0
        self._fill(now)
        return max(0.0, (min(wanted, self.rate * BURST_S) - self._tokens) / self.rate)
