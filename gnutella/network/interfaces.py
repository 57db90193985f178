"""This machine's IPv4 networks, and which of its addresses leads to a given host.

Asked of the kernel each time, since laptops change networks: `ioctl` for the interfaces (netdevice(7)), and a connected UDP
socket, which sends nothing, for the way to a host.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

#: Interfaces looked at; a machine with more has them for containers.
MAX_INTERFACES = 32
_SIOCGIFFLAGS, _SIOCGIFADDR, _SIOCGIFNETMASK = 0x8913, 0x8915, 0x891B
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING, _IFF_MULTICAST = 0x1, 0x8, 0x40, 0x1000
#: struct ifreq: the name, then an address (family, port, IPv4) or flags.
_REQUEST, _REQUEST_BYTES, _NAME_BYTES = "16s24x", 40, 16


class Interface(NamedTuple):
    """One network that this machine is on."""

    name: str
    host: str
    network: ipaddress.IPv4Network


def multicast_interfaces() -> list[Interface]:
    """Interfaces that are up, have an IPv4 address and carry multicast; without loopback."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex()[:MAX_INTERFACES]:
            with contextlib.suppress(OSError):  # no IPv4 address, or gone meanwhile
                interface = _look(probe, name)
                if interface is not None:
                    found.append(interface)
    return found


def _look(probe: socket.socket, name: str) -> Interface | None:
    request = struct.pack(_REQUEST, name.encode()[: _NAME_BYTES - 1])
    (flags,) = struct.unpack_from("=H", fcntl.ioctl(probe, _SIOCGIFFLAGS, request), _NAME_BYTES)
    if flags & _IFF_LOOPBACK or not all(flags & flag for flag in (_IFF_UP, _IFF_RUNNING, _IFF_MULTICAST)):
        return None
    host, mask = (
        socket.inet_ntoa(fcntl.ioctl(probe, number, request)[_NAME_BYTES + 4 : _NAME_BYTES + 8])
        for number in (_SIOCGIFADDR, _SIOCGIFNETMASK)
    )
    return Interface(name, host, ipaddress.IPv4Network((host, mask), strict=False))


def is_neighbour(host: str, interfaces: Iterable[Interface]) -> bool:
    """Whether an IPv4 address lies in a network of ours, so that no router was needed to come here."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return any(address in interface.network for interface in interfaces)


def local_host_towards(host: str) -> str | None:
    """Our IP on the way to `host` (an IP); None when there is no way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))  # any port: nothing is sent
        except OSError:
            return None
        return str(probe.getsockname()[0])
