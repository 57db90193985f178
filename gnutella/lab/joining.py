"""A link that begins as real ones do: the production handshake machines of both sides, over the virtual stream.

Bytes after the last block belong to the router.  A refused or broken handshake closes the link.  A node that looks after its
links itself (keeping.py) says what it offers, whom it takes, and is told what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.protocol.handshake import Acceptor, Established, HandshakeRefused, Initiator, Refusal
from gnutella.protocol.peer import Offer, Peer
from gnutella.reasons import DropReason
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
        self._is_over = False
        keeper = end.node.keeper
        self._link = None if keeper is None else keeper.begun(end)
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
            self._machine = machine = Initiator(self._offer(), end.host, self._decide, self._become_leaf)
            self._net.transmit(end, machine.start())

    def _offer(self) -> Offer:
        keeper = self._end.node.keeper
        return plain_offer(self._end.node) if keeper is None or self._link is None else keeper.offer(self._link)

    def _decide(self, peer: Peer) -> Refusal | None:
        keeper = self._end.node.keeper
        if keeper is None or self._link is None:
            return None
        refusal = keeper.decide(self._link, peer)
        if isinstance(self._machine, Acceptor):
            self._machine.use_offer(self._offer())
        return refusal

    def _become_leaf(self, peer: Peer) -> bool:
        keeper = self._end.node.keeper
        return keeper is not None and self._link is not None and keeper.become_leaf(self._link)

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
            self._fail(None, violation.reason.value)
            return
        if answer:
            net.transmit(end, answer)
        result = machine.result
        if isinstance(result, HandshakeRefused):
            self._fail(result, result.reason.value)
        elif isinstance(result, Established):
            self._established(end, result)

    def _established(self, end: End, result: Established) -> None:
        net, keeper, link = self._net, end.node.keeper, self._link
        self._is_over, end.talk = True, None
        if keeper is not None and link is not None and not keeper.ready(link, result.peer):
            return
        we_are_leaf = end.node.is_leaf if link is None else link.we_are_leaf
        net.opened(end, _info(end, result.peer, we_are_leaf=we_are_leaf))
        if result.surplus:
            net.deliver(end, result.surplus)

    def closed(self, end: End) -> None:
        """The link never came to be."""
        self._fail(None, DropReason.PEER_CLOSED.value)

    def _fail(self, refused: HandshakeRefused | None, reason: str) -> None:
        keeper = self._end.node.keeper
        if not self._is_over:
            self._is_over = True
            if keeper is not None and self._link is not None:
                keeper.failed(self._link, refused, reason)
        self._net.disconnect(self._end, reason)


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


def _info(end: End, peer: Peer, *, we_are_leaf: bool) -> LinkInfo:
    """Ultrapeers of the lab tell each other no tables: merged ones of thousands of nodes take more memory than the lab has."""
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
        reads_tables=we_are_leaf and peer.query_routing and peer.is_ultrapeer is True,
        degree=peer.degree,
        is_dynamic=peer.dynamic_querying,
        extends_probes=peer.extends_probes,
        user_agent=peer.user_agent,
    )
