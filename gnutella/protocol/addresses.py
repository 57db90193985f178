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
    return b"".join(_ENTRY6.pack(ipaddress.IPv6Address(host).packed, port) for host, port in hosts if ":" in host)
