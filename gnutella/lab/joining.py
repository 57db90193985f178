"""A link that begins as real ones do: the production handshake machines of both sides, over the virtual stream.

Bytes after the last block belong to the router.  A refused or broken handshake closes the link; `outcome` says what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.protocol.handshake import Acceptor, Established, HandshakeRefused, Initiator
from gnutella.protocol.peer import Offer, Peer
from gnutella.routing.router import LinkInfo

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: What nodes of the lab call themselves.
USER_AGENT = "PyGnutellaLab"


class Handshake:
    """One side's half of a handshake."""

    def __init__(self, net: Network, end: End, machine: Initiator | Acceptor) -> None:
        self._net = net
        self._machine = machine
        self._is_incoming = isinstance(machine, Acceptor)
        end.talk = self

    @classmethod
    def begin(cls, net: Network, dialler: End, listener: End) -> None:
        """The dialler's first block is on its way one connection set-up (a round trip) from now."""
        initiator = Initiator(_offer(dialler.node), listener.node.address.host)
        cls(net, dialler, initiator)
        cls(net, listener, Acceptor(_offer(listener.node), dialler.node.address.host, lambda peer: None))
        net.clock.after(2 * dialler.latency_s, cls._start, net, dialler, initiator)

    @staticmethod
    def _start(net: Network, dialler: End, initiator: Initiator) -> None:
        if dialler.is_open:
            net.transmit(dialler, initiator.start())

    def receive(self, end: End, data: bytes) -> None:
        """Bytes of the other side, cut anywhere."""
        net = self._net
        net.record.arrival(net.clock.now, end.id, data)
        try:
            answer = self._machine.receive(data)
        except RemoteViolation as violation:
            net.disconnect(end, violation.reason.value)
            return
        if answer:
            net.transmit(end, answer)
        result = self._machine.result
        if isinstance(result, HandshakeRefused):
            net.disconnect(end, result.reason.value)
        elif isinstance(result, Established):
            end.talk = None
            net.opened(end, _info(end, result.peer, self._is_incoming))
            if result.surplus:
                net.deliver(end, result.surplus)

    def closed(self, end: End) -> None:
        """The link never came to be."""


def _offer(node: LabNode) -> Offer:
    return Offer(
        USER_AGENT,
        None if node.is_firewalled else node.address,
        not node.is_leaf,
        accepts_deflate=False,
        tls=False,
        servent_id=node.servent_id,
    )


def _info(end: End, peer: Peer, is_incoming: bool) -> LinkInfo:
    return LinkInfo(
        end.peer.node.address.host,
        peer.remote_ip or end.node.address.host,
        is_leaf=peer.is_ultrapeer is False,
        is_ultrapeer=bool(peer.is_ultrapeer),
        reads_ggep=peer.reads_ggep,
        reads_bye=peer.reads_bye,
        max_ttl=peer.max_ttl,
        incoming=is_incoming,
        listen=peer.listen,
        servent_id=peer.servent_id,
        vendor_messages=peer.vendor_messages,
        reads_tables=end.node.is_leaf and peer.query_routing and peer.is_ultrapeer is True,
    )
