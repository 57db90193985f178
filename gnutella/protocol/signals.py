"""The small messages: push, bye, the two halves of a route table update, horizon sizes, and kinds that are not read here.

Digest 2.6, 2.7, 2.8, 2.11.  What a route table update means is the matter of qrp.py; here are only its fields.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from gnutella.errors import RemoteViolation
from gnutella.protocol.addresses import ipv4_bytes, ipv4_text, ipv6_of, ipv6_value, sender_of
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import BYE, HSEP, PUSH, ROUTE_TABLE
from gnutella.protocol.ping import decode_extra, encode_extra
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

#: Largest Bye [gtk-gnutella].
MAX_BYE = 4096
#: Hops of which horizon sizes are told (digest 2.11).
MAX_HSEP_TRIPLES = 7
#: File index by which a push asks for a firewall-to-firewall transfer.
FIREWALL_TRANSFER_INDEX = 0x7FFFFFFD

_PUSH = struct.Struct("<16sI4sH")
_RESET = struct.Struct("<BIB")
_TRIPLE = struct.Struct("<QQQ")


@dataclass(frozen=True, slots=True)
class Push:
    """Asks the servent `servent_id` to connect to `address` and offer the file `index` (GIV)."""

    kind: ClassVar[int] = PUSH
    servent_id: Guid
    index: int
    address: Address
    ggep: Ggep | None = None
    trailing: bytes = b""

    @property
    def wants_firewall_transfer(self) -> bool:
        """Both sides are firewalled; asks for RUDP, which is not spoken here."""
        return self.index == FIREWALL_TRANSFER_INDEX

    @property
    def wants_tls(self) -> bool:
        """The connection back should use TLS."""
        return self.ggep is not None and "TLS" in self.ggep

    @property
    def ipv6(self) -> Address | None:
        """Where to connect over IPv6 (GGEP 6)."""
        return ipv6_of(self.ggep.get("6") if self.ggep is not None else None, self.address.port)

    @staticmethod
    def make(servent_id: Guid, index: int, address: Address) -> Push:
        """One of our own; an IPv6 address goes into GGEP 6."""
        ggep = Ggep.of({"6": ipv6_value(address.host)}) if ":" in address.host else None
        return Push(servent_id, index, address, ggep)

    def encode(self) -> bytes:
        """The payload."""
        host, port = self.address
        return _PUSH.pack(self.servent_id, self.index, ipv4_bytes(host), port) + encode_extra(self.ggep, self.trailing)

    @staticmethod
    def decode(payload: bytes) -> Push:
        """BAD_PUSH (also for port 0 and address 0.0.0.0) or BAD_GGEP."""
        size = len(payload)
        if size < _PUSH.size:
            raise RemoteViolation(DropReason.BAD_PUSH, f"{size} bytes")
        servent_id, index, ip, port = _PUSH.unpack_from(payload)
        if not port or not any(ip):
            raise RemoteViolation(DropReason.BAD_PUSH, "no address to connect to")
        if size == _PUSH.size:
            return Push(Guid(servent_id), index, Address(ipv4_text(ip), port))
        ggep, trailing = decode_extra(payload, _PUSH.size, DropReason.BAD_PUSH)
        address = sender_of(ip, port, ggep.get("6") if ggep is not None else None)
        return Push(Guid(servent_id), index, address, ggep, trailing)


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender closes the link: code, text for people, perhaps header lines (each ended by CRLF).

    `trailing` is the NUL that ends it, and whatever follows.
    """

    kind: ClassVar[int] = BYE
    code: int
    text: str
    headers: str = ""
    trailing: bytes = b"\0"

    def encode(self) -> bytes:
        """The payload."""
        text = f"{self.text}\r\n{self.headers}" if self.headers else self.text
        return self.code.to_bytes(2, "little") + text.encode("utf-8", "replace") + self.trailing

    @staticmethod
    def decode(payload: bytes) -> Bye:
        """BAD_BYE.  A text that is not UTF-8 is read as Latin-1; a missing NUL is forgiven."""
        if not 2 <= len(payload) <= MAX_BYE:
            raise RemoteViolation(DropReason.BAD_BYE, f"{len(payload)} bytes")
        body, nul, rest = payload[2:].partition(b"\0")
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            text = body.decode("latin-1")
        text, _, headers = text.partition("\r\n")
        return Bye(int.from_bytes(payload[:2], "little"), text, headers, nul + rest)


@dataclass(frozen=True, slots=True)
class RouteReset:
    """Starts a new table of `size` slots, all absent; `infinity` is the value that means absent."""

    kind: ClassVar[int] = ROUTE_TABLE
    size: int
    infinity: int

    def encode(self) -> bytes:
        """The payload."""
        return _RESET.pack(0, self.size, self.infinity)


@dataclass(frozen=True, slots=True)
class RoutePatch:
    """Chunk `sequence` (from 1) of `count` of a patch; `compressor` 0 none, 1 zlib; `bits` of each entry."""

    kind: ClassVar[int] = ROUTE_TABLE
    sequence: int
    count: int
    compressor: int
    bits: int
    data: bytes

    def encode(self) -> bytes:
        """The payload."""
        return bytes((1, self.sequence, self.count, self.compressor, self.bits)) + self.data


def decode_route_table(payload: bytes) -> RouteReset | RoutePatch:
    """BAD_ROUTE_TABLE for an unknown variant and for one cut short; numbers that make no sense are qrp.py's matter."""
    size = len(payload)
    variant = payload[0] if payload else -1
    if variant == 0 and size == _RESET.size:
        return RouteReset(*_RESET.unpack(payload)[1:])
    if variant == 1 and size >= 5:
        return RoutePatch(payload[1], payload[2], payload[3], payload[4], payload[5:])
    raise RemoteViolation(DropReason.BAD_ROUTE_TABLE, f"variant {variant} of {size} bytes")


@dataclass(frozen=True, slots=True)
class Hsep:
    """Horizon sizes: (hosts, files, kilobytes) within 0, 1, ... hops, cumulative."""

    kind: ClassVar[int] = HSEP
    triples: tuple[tuple[int, int, int], ...]

    def encode(self) -> bytes:
        """The payload."""
        return b"".join(_TRIPLE.pack(*triple) for triple in self.triples)

    @staticmethod
    def decode(payload: bytes) -> Hsep:
        """BAD_HSEP."""
        if len(payload) % _TRIPLE.size or not 0 < len(payload) <= MAX_HSEP_TRIPLES * _TRIPLE.size:
            raise RemoteViolation(DropReason.BAD_HSEP, f"{len(payload)} bytes")
        return Hsep(tuple((hosts, files, kbytes) for hosts, files, kbytes in _TRIPLE.iter_unpack(payload)))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind that is not read here; counted and ignored."""

    kind: int
    payload: bytes

    def encode(self) -> bytes:
        """The payload as it came."""
        return self.payload
