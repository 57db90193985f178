"""A link that begins as real ones do: the production handshake machines of both sides, over the virtual stream.

Bytes after the last block belong to the router.  A refused or broken handshake closes the link.  A node that looks after its
links itself (keeping.py) says what it offers, whom it takes, and is told what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.protocol.handshake import Acceptor, Established, HandshakeRefused, Initiator, Refusal
from gnutella.protocol.peer import Offer, Peer
from gnutella.routing.router import LinkInfo

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: What nodes of the lab call themselves.
USER_AGENT = "PyGnutellaLab"


class Handshake:
    """One side's half of a handshake; its machine is made when the first block is due, to offer what is true then."""

    def __init__(self, net: Network, end: End) -> None:
        self._net = net
        self._end = end
        self._machine: Initiator | Acceptor | None = None
        self._is_told = False
        end.talk = self

    @classmethod
    def begin(cls, net: Network, dialler: End, listener: End) -> None:
        """The dialler's first block is on its way one connection set-up (a round trip) from now."""
        first = cls(net, dialler)
        cls(net, listener)
        net.clock.after(2 * dialler.latency_s, first._start)

    def _start(self) -> None:
        end = self._end
        if end.is_open:
            self._machine = machine = Initiator(self._offer(), end.host, self._decide)
            self._net.transmit(end, machine.start())

    def _offer(self) -> Offer:
        keeper = self._end.node.keeper
        return plain_offer(self._end.node) if keeper is None else keeper.offer(self._end)

    def _decide(self, peer: Peer) -> Refusal | None:
        end = self._end
        keeper = end.node.keeper
        refusal = None if keeper is None else keeper.decide(end, peer)
        if refusal is None:
            end.info = _info(end, peer)
        return refusal

    def receive(self, end: End, data: bytes) -> None:
        """Bytes of the other side, cut anywhere."""
        net = self._net
        net.record.arrival(net.clock.now, end.id, data)
        machine = self._machine
        if machine is None:
            machine = self._machine = Acceptor(self._offer(), end.host, self._decide)
        try:
            answer = machine.receive(data)
        except RemoteViolation as violation:
            net.disconnect(end, violation.reason.value)
            return
        if answer:
            net.transmit(end, answer)
        result = machine.result
        if isinstance(result, HandshakeRefused):
            self._tell(result)
            net.disconnect(end, result.reason.value)
        elif isinstance(result, Established):
            self._established(end, result)

    def _established(self, end: End, result: Established) -> None:
        net, keeper = self._net, end.node.keeper
        self._is_told = True
        end.talk, end.info = None, _info(end, result.peer)
        if keeper is not None and not keeper.ready(end, result.peer):
            return
        net.opened(end, end.info)
        if result.surplus:
            net.deliver(end, result.surplus)

    def closed(self, end: End) -> None:
        """The link never came to be."""
        self._tell(None)

    def _tell(self, refused: HandshakeRefused | None) -> None:
        keeper = self._end.node.keeper
        if keeper is not None and not self._is_told:
            self._is_told = True
            keeper.failed(self._end, refused)


def plain_offer(node: LabNode) -> Offer:
    """What a node says of itself that looks after no links."""
    return Offer(
        USER_AGENT,
        None if node.is_firewalled else node.address,
        not node.is_leaf,
        accepts_deflate=False,
        tls=False,
        servent_id=node.servent_id,
    )


def _info(end: End, peer: Peer) -> LinkInfo:
    return LinkInfo(
        end.host,
        peer.remote_ip or end.node.address.host,
        is_leaf=peer.is_ultrapeer is False,
        is_ultrapeer=bool(peer.is_ultrapeer),
        reads_ggep=peer.reads_ggep,
        reads_bye=peer.reads_bye,
        max_ttl=peer.max_ttl,
        incoming=end.is_incoming,
        listen=peer.listen,
        servent_id=peer.servent_id,
        vendor_messages=peer.vendor_messages,
        reads_tables=end.node.is_leaf and peer.query_routing and peer.is_ultrapeer is True,
        degree=peer.degree,
        is_dynamic=peer.dynamic_querying,
        extends_probes=peer.extends_probes,
        user_agent=peer.user_agent,
    )
