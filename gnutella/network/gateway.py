"""The router that leads to the rest of the world: Linux tells it in /proc/net/route (proc(5))."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import NamedTuple

from gnutella.network.interfaces import local_host_towards

ROUTES = Path("/proc/net/route")
#: Bytes read of the table; beyond it lie routes of routers, not of hosts.
MAX_TABLE = 65536
_UP, _GATEWAY = 0x1, 0x2
#: Place and base of destination, gateway, flags, metric and mask.
_COLUMNS = ((1, 16), (2, 16), (3, 16), (6, 10), (7, 16))


class Gateway(NamedTuple):
    """A router, and our own IP on the way to it."""

    host: str
    own: str


def find_gateway() -> Gateway | None:
    """The default router; None when there is none, or the system does not tell."""
    try:
        with ROUTES.open("rb") as file:
            table = file.read(MAX_TABLE).decode("ascii", "replace")
    except OSError:
        return None
    host = default_route(table)
    own = local_host_towards(host) if host is not None else None
    return Gateway(host, own) if host is not None and own is not None else None


def default_route(table: str) -> str | None:
    """The router of the default route with the lowest metric in a table as /proc/net/route has it."""
    best: tuple[int, str] | None = None
    for line in table.splitlines()[1:]:
        fields = line.split()
        try:
            destination, gateway, flags, metric, mask = (int(fields[n], base) for n, base in _COLUMNS)
            # The table holds the four bytes of an address as one number of this machine.
            host = str(ipaddress.IPv4Address(gateway.to_bytes(4, sys.byteorder)))
        except (ValueError, IndexError, OverflowError):
            continue
        is_default = destination == 0 and mask == 0 and gateway and flags & _UP and flags & _GATEWAY
        if is_default and (best is None or metric < best[0]):
            best = metric, host
    return None if best is None else best[1]
