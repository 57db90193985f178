"""Vendor messages (kinds 31 and 32): four letters, selector, version, then data.  Digest 2.9.

`VendorMessage` is what every such message decodes to; `body_of` reads the data of those known here into a dataclass and gives
None for the others, which are to be ignored.  Errors: BAD_VENDOR, BAD_GGEP, BAD_URN.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gnutella.errors import RemoteViolation
from gnutella.protocol.addresses import decode_hosts
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import VENDOR, VENDOR_STANDARD
from gnutella.protocol.urn import parse_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

#: Entries read of the lists of messages and features; real servents list about 30.
MAX_LISTED = 128
#: HEAD ping flag: name other sources.
HEAD_ALTERNATES = 0x02
#: HEAD ping flag: a GGEP block follows the URN.
HEAD_HAS_GGEP = 0x10
_URN_CHARS = 41

_NULL = b"\0\0\0\0"
_PREFIX = struct.Struct("<4sHH")
_ENTRY = struct.Struct("<4sHH")
_FEATURE = struct.Struct("<4sH")


@dataclass(frozen=True, slots=True)
class VendorMessage:
    """Any vendor message; `is_standard` for kind 32."""

    vendor: bytes
    selector: int
    version: int
    data: bytes = b""
    is_standard: bool = False

    @property
    def kind(self) -> int:
        """VENDOR or VENDOR_STANDARD."""
        return VENDOR_STANDARD if self.is_standard else VENDOR

    @property
    def label(self) -> str:
        """As the digest writes it: `BEAR/4v1`, `null/0v0`."""
        vendor = "null" if self.vendor == _NULL else self.vendor.decode("ascii", "replace")
        return f"{vendor}/{self.selector}v{self.version}"

    def encode(self) -> bytes:
        """The payload."""
        return _PREFIX.pack(self.vendor, self.selector, self.version) + self.data

    @staticmethod
    def decode(payload: bytes, is_standard: bool = False) -> VendorMessage:
        """BAD_VENDOR for less than the 8 bytes that name it."""
        if len(payload) < _PREFIX.size:
            raise RemoteViolation(DropReason.BAD_VENDOR, f"{len(payload)} bytes")
        vendor, selector, version = _PREFIX.unpack_from(payload)
        return VendorMessage(vendor, selector, version, payload[_PREFIX.size :], is_standard)


@dataclass(frozen=True, slots=True)
class MessagesSupported:
    """null/0: the vendor messages that the sender reads, as (vendor, selector, version)."""

    messages: tuple[tuple[bytes, int, int], ...]


@dataclass(frozen=True, slots=True)
class FeaturesSupported:
    """null/10: names of four letters with versions."""

    features: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class HopsFlow:
    """BEAR/4: the sender wants queries of fewer hops than this; 0 is none."""

    max_hops: int


@dataclass(frozen=True, slots=True)
class TcpConnectBack:
    """BEAR/7: connect to this port of mine, so that I know whether I am reachable."""

    port: int


@dataclass(frozen=True, slots=True)
class UdpConnectBack:
    """GTKG/7: send a UDP ping there; without a GUID, that of the message is to be used."""

    port: int
    guid: Guid | None


@dataclass(frozen=True, slots=True)
class ConnectBackRedirect:
    """LIME/7 (TCP) and LIME/8 (UDP): connect back to somebody else's address."""

    address: Address


@dataclass(frozen=True, slots=True)
class QueryStatusRequest:
    """BEAR/11: how many results do you have of your query (its GUID is the message's)."""


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """BEAR/12: results kept; FFFF ends the query."""

    kept: int


@dataclass(frozen=True, slots=True)
class OobReplies:
    """LIME/12: hits wait for whoever asks; `takes_unsolicited` as told from version 2 on."""

    hits: int
    takes_unsolicited: bool | None


@dataclass(frozen=True, slots=True)
class OobAck:
    """LIME/11: send so many of the hits; the token of version 3."""

    wanted: int
    token: bytes | None


@dataclass(frozen=True, slots=True)
class OobProxyVeto:
    """LIME/13: do not proxy my queries up to this OOB version; without a byte, in no version."""

    version: int


@dataclass(frozen=True, slots=True)
class PushProxyRequest:
    """LIME/21: pass on pushes for the servent whose id is the message's GUID."""


@dataclass(frozen=True, slots=True)
class PushProxyCancel:
    """GTKG/21: pass on pushes for me no more; gtk-gnutella's has a GUID of zeros."""


@dataclass(frozen=True, slots=True)
class PushProxyAck:
    """LIME/22: agreed; reach me there."""

    address: Address


@dataclass(frozen=True, slots=True)
class HeadPing:
    """LIME/23: do you have this file; with the servent id of a firewalled target in GGEP PUSH."""

    flags: int
    urn: str
    ggep: Ggep | None


@dataclass(frozen=True, slots=True)
class HeadPong:
    """LIME/24v2: code, vendor, queue state and sources in a GGEP block."""

    ggep: Ggep

    @property
    def code(self) -> int | None:
        """0 not found, 1 complete, 2 partial; bit 2 firewalled, bit 3 downloading."""
        raw = self.ggep.get("C")
        return raw[0] if raw else None

    @property
    def queue(self) -> int | None:
        """Negative: free upload slots; positive: downloaders queued; 127 busy."""
        raw = self.ggep.get("Q")
        return int.from_bytes(raw[:1], "little", signed=True) if raw else None

    @property
    def alternates(self) -> tuple[Address, ...]:
        """Other sources; BAD_GGEP where they cannot be read."""
        return decode_hosts(self.ggep.get("A") or b"", 10)


Body = (
    MessagesSupported
    | FeaturesSupported
    | HopsFlow
    | TcpConnectBack
    | UdpConnectBack
    | ConnectBackRedirect
    | QueryStatusRequest
    | QueryStatus
    | OobReplies
    | OobAck
    | OobProxyVeto
    | PushProxyRequest
    | PushProxyCancel
    | PushProxyAck
    | HeadPing
    | HeadPong
)


def body_of(message: VendorMessage) -> Body | None:
    """The data of a message that is known here, else None."""
    known = KNOWN.get((message.vendor, message.selector))
    if known is None or message.version not in known.versions:
        return None
    return known.read(message.version, message.data)


def _bad(detail: str) -> RemoteViolation:
    return RemoteViolation(DropReason.BAD_VENDOR, detail)


def _need(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise _bad(f"{len(data)} bytes where {size} are due")
    return data[:size]


def _u16(data: bytes, pos: int = 0) -> int:
    return int.from_bytes(_need(data, pos + 2)[pos:], "little")


def _listed(data: bytes, entry: struct.Struct) -> Iterator[tuple[Any, ...]]:
    count = _u16(data)
    if count > MAX_LISTED:
        raise _bad(f"{count} entries")
    return entry.iter_unpack(_need(data, 2 + count * entry.size)[2:])


def _messages(version: int, data: bytes) -> Body:
    return MessagesSupported(tuple((v, s, n) for v, s, n in _listed(data, _ENTRY)))


def _features(version: int, data: bytes) -> Body:
    return FeaturesSupported(tuple((name, n) for name, n in _listed(data, _FEATURE)))


def _udp_back(version: int, data: bytes) -> Body:
    return UdpConnectBack(_u16(data), Guid(_need(data, 18)[2:]) if version == 1 else None)


def _address(data: bytes) -> Address:
    return decode_hosts(_need(data, 6))[0]


def _oob_replies(version: int, data: bytes) -> Body:
    hits = _need(data, 1)[0]
    return OobReplies(hits, bool(_need(data, 2)[1] & 1) if version > 1 else None)


def _oob_ack(version: int, data: bytes) -> Body:
    wanted = _need(data, 1)[0]
    if version == 2:
        return OobAck(wanted, None)
    token = Ggep.decode(data, 1)[0].get("SO")
    if not token or len(token) > 16:
        raise _bad("no token")
    return OobAck(wanted, token)


def _oob_veto(version: int, data: bytes) -> Body:
    return OobProxyVeto(data[0] if data else 0xFF)


def _head_ping(version: int, data: bytes) -> Body:
    raw = _need(data, 1 + _URN_CHARS)
    urn = raw[1:].decode("latin-1")
    parse_urn(urn)
    flags = raw[0]
    return HeadPing(flags, urn, Ggep.decode(data, 1 + _URN_CHARS)[0] if flags & HEAD_HAS_GGEP else None)


@dataclass(frozen=True, slots=True)
class Known:
    """One row of the table of messages that are read here."""

    name: str
    versions: tuple[int, ...]
    read: Callable[[int, bytes], Body]
    meaning: str


#: (vendor, selector) -> how it is read; the documentation's table is made from this.
KNOWN: dict[tuple[bytes, int], Known] = {
    (_NULL, 0): Known("Messages Supported", (0,), _messages, "vendor messages that the sender reads"),
    (_NULL, 10): Known("Features Supported", (0, 1), _features, "named abilities with versions"),
    (b"BEAR", 4): Known("Hops Flow", (1,), lambda v, d: HopsFlow(_need(d, 1)[0]), "wants queries of fewer hops"),
    (b"BEAR", 7): Known("TCP Connect Back", (1,), lambda v, d: TcpConnectBack(_u16(d)), "asks to be dialled"),
    (b"BEAR", 11): Known("Query Status Request", (1,), lambda v, d: QueryStatusRequest(), "how many results so far"),
    (b"BEAR", 12): Known("Query Status", (1,), lambda v, d: QueryStatus(_u16(d)), "results kept, FFFF ends"),
    (b"GTKG", 7): Known("UDP Connect Back", (1, 2), _udp_back, "asks for a UDP ping"),
    (b"GTKG", 21): Known("Push Proxy Cancel", (1,), lambda v, d: PushProxyCancel(), "pass on no more pushes for me"),
    (b"LIME", 7): Known(
        "TCP Connect Back Redirect", (1,), lambda v, d: ConnectBackRedirect(_address(d)), "dial somebody else"
    ),
    (b"LIME", 8): Known(
        "UDP Connect Back Redirect", (1,), lambda v, d: ConnectBackRedirect(_address(d)), "ping somebody else"
    ),
    (b"LIME", 11): Known("OOB Ack", (2, 3), _oob_ack, "send so many of the hits"),
    (b"LIME", 12): Known("OOB Replies", (1, 2, 3), _oob_replies, "so many hits wait"),
    (b"LIME", 13): Known("OOB Proxy Veto", (1,), _oob_veto, "do not proxy"),
    (b"LIME", 21): Known("Push Proxy Request", (1, 2), lambda v, d: PushProxyRequest(), "pass on pushes for me"),
    (b"LIME", 22): Known("Push Proxy Ack", (2,), lambda v, d: PushProxyAck(_address(d)), "agreed, reach me there"),
    (b"LIME", 23): Known("HEAD Ping", (2,), _head_ping, "do you have this file"),
    (b"LIME", 24): Known("HEAD Pong", (2,), lambda v, d: HeadPong(Ggep.decode(d)[0]), "state of that file"),
}
