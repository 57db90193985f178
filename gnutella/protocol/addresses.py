"""IP addresses and ports as messages carry them: IPv4 in network order, ports little endian.

A host vector is a row of 6-byte entries (18 for IPv6).  An IPv6 address does not fit the fixed field of pongs, hits and
pushes; there 127.0.0.0 stands for it and the GGEP key `6` has the address (protocol digest 2.3).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason
from gnutella.units import Address

#: In the IPv4 field of a servent that has only IPv6 [gtk-gnutella].
NO_IPV4 = bytes((127, 0, 0, 0))
#: Entries read of one vector: gtk-gnutella packs at most 30 into IPP; the rest is ignored.
MAX_HOSTS = 30

_ENTRY4 = struct.Struct("<4sH")
_ENTRY6 = struct.Struct("<16sH")


def ipv4_text(raw: bytes) -> str:
    """Four bytes as a dotted quad."""
    a, b, c, d = raw
    return f"{a}.{b}.{c}.{d}"


def ipv4_bytes(host: str) -> bytes:
    """A dotted quad as four bytes; an IPv6 address gives NO_IPV4.  LocalMisuse for a host name."""
    if ":" in host:
        return NO_IPV4
    try:
        return bytes(map(int, host.split("."))) if host.count(".") == 3 else ipaddress.IPv4Address(host).packed
    except ValueError as error:
        raise LocalMisuse(f"{host!r} is no IP address") from error


def sender_of(ip: bytes, port: int, six: bytes | None) -> Address:
    """Where the sender of a pong, hit or push is, by its IPv4 field and its GGEP `6`: that one where the field says NO_IPV4."""
    return (ip == NO_IPV4 and ipv6_of(six, port)) or Address(ipv4_text(ip), port)


def ipv6_of(six: bytes | None, port: int) -> Address | None:
    """The address of a GGEP `6`; None for one that has none, as in a ping, where it only says that IPv6 is spoken."""
    return Address(str(ipaddress.IPv6Address(six)), port) if six is not None and len(six) == 16 else None


def ipv6_value(host: str) -> bytes:
    """The value of a GGEP `6`; the scope of a link-local address stays here."""
    return ipaddress.IPv6Address(host.partition("%")[0]).packed


def decode_hosts(raw: bytes, limit: int = MAX_HOSTS) -> tuple[Address, ...]:
    """The first `limit` entries of an IPv4 host vector; BAD_GGEP when it is no whole number of entries."""
    if len(raw) % 6:
        raise RemoteViolation(DropReason.BAD_GGEP, f"a host vector of {len(raw)} bytes")
    return tuple(Address(ipv4_text(ip), port) for ip, port in _ENTRY4.iter_unpack(raw[: 6 * limit]))


def decode_hosts6(raw: bytes, limit: int = MAX_HOSTS) -> tuple[Address, ...]:
    """The same for IPv6."""
    if len(raw) % 18:
        raise RemoteViolation(DropReason.BAD_GGEP, f"an IPv6 host vector of {len(raw)} bytes")
    return tuple(Address(str(ipaddress.IPv6Address(ip)), port) for ip, port in _ENTRY6.iter_unpack(raw[: 18 * limit]))


def encode_hosts(hosts: Iterable[Address]) -> bytes:
    """An IPv4 host vector; IPv6 hosts are left out, since they go into the companion key."""
    return b"".join(_ENTRY4.pack(ipv4_bytes(host), port) for host, port in hosts if ":" not in host)


def encode_hosts6(hosts: Iterable[Address]) -> bytes:
    """An IPv6 host vector of the IPv6 hosts among `hosts`."""
    return b"".join(_ENTRY6.pack(ipv6_value(host), port) for host, port in hosts if ":" in host)
