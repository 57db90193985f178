"""The multicast group of the LAN: hearing the calls of others, and calling.

Every node of a machine opens the group's port (SO_REUSEADDR and SO_REUSEPORT), bound to the group's address, so that only calls
come in here.  Our own call leaves through the node's UDP port, which has the number of its TCP port, once for each interface
and with TTL 1: it never passes a router.  Interfaces are looked up anew for each call.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from gnutella.network.datagram_port import open_datagram_port
from gnutella.network.interfaces import Interface, is_neighbour, multicast_interfaces
from gnutella.network.sources import Source, reason
from gnutella.routing.lan import GROUP
from gnutella.units import Address

#: Networks that a call is sent to; beyond that they belong to containers (our own number).
MAX_NETWORKS = 8
#: Bytes that a call may have; a ping with a block is far smaller.
MAX_CALL = 2048


class LanGroup(DatagramProtocol):
    """Membership of the group.  `heard` gets each call, and whether its sender is on a network of ours."""

    noisy = False
    log = Logger()

    def __init__(
        self,
        reactor: Any,
        heard: Callable[[bytes, Address, bool], None],
        networks: Callable[[], list[Interface]] = multicast_interfaces,
    ) -> None:
        self._reactor = reactor
        self._heard = heard
        self._networks = networks
        self._port: Any = None
        #: Why the port is closed, why no network can be heard, and why the last call went nowhere; "" when all is well.
        self._closed_because = self._deaf_because = self._mute_because = ""
        self._interfaces: list[Interface] = []
        self._joined: set[Interface] = set()

    def open(self) -> bool:
        """Whether the group's port could be opened; without it nobody hears us or is heard, and the node runs on."""
        try:
            self._port = open_datagram_port(self._reactor, *GROUP, self, MAX_CALL, shared=True)
        except OSError as error:
            self._closed_because = str(error)
            self.log.warn("no multicast on this machine: {error!r}", error=str(error))
            return False
        self.refresh()
        return True

    def close(self) -> Deferred[Any]:
        """Leave."""
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)

    @property
    def interfaces(self) -> list[Interface]:
        """Networks as they were at the last `refresh`."""
        return self._interfaces

    def refresh(self) -> None:
        """Look at the interfaces again, and join the group on those that are new."""
        if self._port is None:
            return
        self._interfaces = self._networks()[:MAX_NETWORKS]
        self._joined.intersection_update(self._interfaces)
        for interface in self._interfaces:
            if interface not in self._joined and self._join(interface):
                self._joined.add(interface)

    def _join(self, interface: Interface) -> bool:
        member = socket.inet_aton(GROUP.host) + socket.inet_aton(interface.host)
        try:
            self._port.getHandle().setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        except OSError as error:
            self._deaf_because = f"{interface.name}: {error}"
            self.log.debug("cannot hear {name!r}: {error!r}", name=interface.name, error=str(error))
            return False
        return True

    def call(self, port: Any, data: bytes) -> int:
        """Send a call through `port` on every network; on how many it went out."""
        self.refresh()
        sent, why = 0, ""
        handle, bound = port.getHandle(), port.getHost().host
        for interface in self._interfaces:
            if bound not in ("0.0.0.0", interface.host):
                continue
            try:
                handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
                handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface.host))
                port.write(data, tuple(GROUP))
                sent += 1
            except OSError as error:
                why = f"{interface.name}: {error}"
                self.log.debug("cannot call on {name!r}: {error!r}", name=interface.name, error=str(error))
        self._mute_because = "" if sent else why
        return sent

    def source(self) -> Source:
        """Whether calls are heard and sent, and why not."""
        if self._port is None:
            return Source(
                "multicast",
                "failed",
                reason(f"port {GROUP.port} cannot be opened: {self._closed_because or 'it is closed'}"),
            )
        if not self._interfaces:
            return Source("multicast", "failed", "no network of this machine carries multicast")
        if not self._joined:
            return Source("multicast", "failed", reason(f"calls cannot be heard on {self._deaf_because}"))
        if self._mute_because:
            return Source("multicast", "failed", reason(f"calls cannot be sent on {self._mute_because}"))
        return Source("multicast", "good", "on " + ", ".join(sorted(one.name for one in self._joined)))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        source = Address(*addr[:2])
        self._heard(datagram, source, is_neighbour(source.host, self._interfaces))
