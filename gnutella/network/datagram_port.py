"""Opening a UDP socket for a protocol of ours.

Twisted's own listenUDP loses the socket when its port is taken, to be found by the garbage collector; here it is closed.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol


def open_datagram_port(
    reactor: Any,
    host: str,
    port: int,
    protocol: DatagramProtocol,
    max_bytes: int,
    *,
    shared: bool = False,
    only_v6: bool = False,
) -> IListeningPort:
    """A bound port; OSError if there is none to be had.

    `shared`: other programs may have the same one open too.  `only_v6`: IPv4 has a socket of its own with this number.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.setblocking(False)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind((host, port))
        # It duplicates the descriptor, so ours is closed in any case.
        adopted: IListeningPort = reactor.adoptDatagramPort(opened.fileno(), family, protocol, max_bytes)
        return adopted
