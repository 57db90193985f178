"""Small typed values that every room shares: identifiers, addresses, sizes and durations as people read them."""

from __future__ import annotations

import functools
import ipaddress
from typing import NamedTuple, NewType

#: 16 bytes; of a message, or of a servent (then called servent id).
Guid = NewType("Guid", bytes)
#: Number of a link within one node, never reused while the node runs.
LinkId = NewType("LinkId", int)

DEFAULT_PORT = 6346
#: What servents without IPv4 say in the field for it (protocol digest 2.3).
_NO_HOST = "127.0.0.0"


class Address(NamedTuple):
    """An IP address in text form and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int | None = DEFAULT_PORT) -> Address:
    """`1.2.3.4:6346`, `name:6346`, `[::1]:6346`; without a port, `default_port`.  ValueError says what is wrong."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no [IPv6]:port address")
        ipaddress.IPv6Address(host)
        port_text = rest[1:]
    elif text.count(":") > 1:
        raise ValueError(f"{text!r}: write IPv6 addresses as [address]:port")
    else:
        host, _, port_text = text.partition(":")
    if not host or any(c.isspace() or c in "/@?#" for c in host):
        raise ValueError(f"{text!r} has no host")
    if not port_text:
        if default_port is None:
            raise ValueError(f"{text!r} has no port")
        return Address(host, default_port)
    if not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise ValueError(f"{port_text!r} is no port between 1 and 65535")
    return Address(host, int(port_text))


def is_plausible_peer(address: Address, *, allow_private: bool) -> bool:
    """Whether a host can listen there: a literal IP that is neither unspecified, multicast nor reserved, port not 0.

    Private and loopback addresses pass only where `allow_private` (profiles lan and loopback).
    """
    return 0 < address.port < 65536 and _is_plausible_host(address.host, allow_private)


@functools.lru_cache(maxsize=4096)  # each hit and pong is asked, and the same hosts come again and again
def _is_plausible_host(host: str, allow_private: bool) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    if ip.is_unspecified or ip.is_multicast or host == _NO_HOST:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return False  # an IPv4 address in disguise, that rules for IPv4 would not see
    if ip.is_loopback or ip.is_private or ip.is_link_local:
        return allow_private and ip != ipaddress.ip_address("255.255.255.255")
    return not ip.is_reserved


def format_size(size: int) -> str:
    """Bytes as people read them: `999 B`, `1.5 KiB`, `1.0 GiB`."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            break
    return f"{value:.1f} {unit}"


def format_duration(seconds: float) -> str:
    """Seconds as people read them: `850 ms`, `12.3 s`, `4 min 05 s`, `3 h 07 min`, `2 d 04 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02d} h"
