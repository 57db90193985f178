"""A node of the lab that looks after its links itself, in virtual time, by the rules of the servent.

Whom it dials comes from the production host cache, which pongs, handshakes and refusals fill; whom it takes, and how many, is
for the production rules of admission; each link begins with the production handshake.  What is modelled here is only what
sockets do: a dead process refuses at once, a host without power or behind a firewall says nothing until the time-out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from gnutella.lab.chance import choose
from gnutella.lab.end import End
from gnutella.lab.joining import USER_AGENT
from gnutella.lab.scenario import Links, Role
from gnutella.lab.stream import Line
from gnutella.network.admission import Admission
from gnutella.network.targets import back_off, pause_after
from gnutella.protocol.handshake import HandshakeRefused, Refusal
from gnutella.protocol.peer import Offer, Peer
from gnutella.reasons import DropReason
from gnutella.settings import NetworkSettings
from gnutella.units import Address

if TYPE_CHECKING:
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: As the servent has them: dials begun in a tick, hosts told in a handshake, the least degree that a leaf accepts.
MAX_DIALS_A_TICK = 4
MAX_TOLD = 10
MIN_DEGREE = 16

_REASONS = {reason.value: reason for reason in DropReason}


class Keeper:
    """Keeps the links of one node; `line` gives what a new link is like."""

    def __init__(self, net: Network, node: LabNode, settings: NetworkSettings, line: Callable[[], Line]) -> None:
        self.settings = settings
        self._net = net
        self._node = node
        self._line = line
        self._admission = Admission(settings, node.servent_id)
        #: Dials of which nothing has been heard, with the life of the node in which they were begun.
        self._dialling: dict[Address, int] = {}

    # -- each second -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Give up handshakes that take too long; dial whom the host cache names, until there are enough links."""
        node = self._node
        for end in list(node.opening.values()):
            if end.is_link and now - end.made_at > self.settings.handshake_timeout_s:
                self._net.disconnect(end, DropReason.SLOW.value)
        links = self._links()
        busy = len(self._dialling) + sum(
            not end.is_leaf and (not end.is_incoming or end.info is not None) for end in links
        )
        missing = min(self._admission.wanted_links - busy, MAX_DIALS_A_TICK)
        if missing > 0 and len(node.hosts):
            known = {node.address, *self._dialling, *(end.reached_at for end in links if end.reached_at is not None)}
            for address in node.hosts.choose(missing, now, known, ultrapeers_first=node.is_leaf):
                self._dial(address)

    def _links(self) -> list[End]:
        """Open links and those that are being opened."""
        node = self._node
        return [*node.ends.values(), *(end for end in node.opening.values() if end.is_link)]

    def _dial(self, address: Address) -> None:
        net, node = self._net, self._node
        other = net.node_at(address)
        if other is not None and net.connect(node, other, self._line(), full=True) is not None:
            return
        is_refused = other is not None and not other.is_up and not other.is_dark
        wait_s = 2 * self._line().latency_s if is_refused else self.settings.dial_timeout_s
        self._dialling[address] = node.lives
        net.clock.after(wait_s, self._in_vain, address, node.lives)

    def _in_vain(self, address: Address, life: int) -> None:
        if self._dialling.get(address) == life:
            del self._dialling[address]
            if self._node.lives == life:
                self._node.hosts.failed(address, self._net.clock.now)

    # -- handshakes ------------------------------------------------------------------------------------------------------

    def offer(self, end: End) -> Offer:
        """What the node says of itself."""
        node = self._node
        has_room = self._admission.has_slot(is_leaf=False, links=self._taken())
        return Offer(
            USER_AGENT,
            None if node.is_firewalled else node.address,
            not node.is_leaf,
            degree=max(MIN_DEGREE, self.settings.max_links),
            accepts_deflate=False,
            tls=False,
            servent_id=node.servent_id,
            try_ultrapeers=self._told(end),
            ultrapeer_needed=True if has_room and not node.is_leaf else None,
        )

    def _told(self, end: End) -> tuple[Address, ...]:
        """Neighbours, then the best of the host cache."""
        equals = [other.reached_at for other in self._node.ends.values() if not other.is_leaf]
        known = dict.fromkeys([*equals, *self._node.hosts.to_tell(MAX_TOLD)])
        return tuple(address for address in known if address not in (None, end.peer.node.address))[:MAX_TOLD]

    def _taken(self) -> list[End]:
        """Links that take a slot: open, or accepted and about to open."""
        return [end for end in self._links() if end.info is not None]

    def decide(self, end: End, peer: Peer) -> Refusal | None:
        """Whether the node wants the link."""
        open_links = list(self._node.ends.values())
        if not end.is_incoming:
            return self._admission.either_way(end.host, peer, open_links)
        return self._admission.incoming(end.host, peer, open_links, self._taken(), self._net.clock.now)

    def ready(self, end: End, peer: Peer) -> bool:
        """The handshake is over; False when there is a better link to the same servent, and this one is closed."""
        twin = next((other for other in self._node.ends.values() if other.servent_id == peer.servent_id), None)
        if twin is not None and not self._is_kept(end, twin):
            self._net.disconnect(end, DropReason.ALREADY_LINKED.value)
            return False
        if twin is not None:
            self._net.disconnect(twin, DropReason.ALREADY_LINKED.value)
        if not end.is_incoming:
            self._node.hosts.learn(end.peer.node.address, self._net.clock.now, is_ultrapeer=peer.is_ultrapeer)
            self._node.hosts.worked(end.peer.node.address, self._net.clock.now)
        self._learn(peer)
        return True

    def _is_kept(self, new: End, old: End) -> bool:
        """Of two links between the same servents the one stays that the greater servent id dialled."""
        assert new.servent_id is not None
        we_are_greater = self._node.servent_id > new.servent_id
        return old.is_incoming is not new.is_incoming and new.is_incoming is not we_are_greater

    def failed(self, end: End, refused: HandshakeRefused | None) -> None:
        """No link came of it."""
        if refused is not None and refused.peer is not None:
            self._learn(refused.peer)
        if not end.is_incoming and self._node.is_up:
            pause = back_off(refused.code) if refused is not None else None
            self._node.hosts.failed(end.peer.node.address, self._net.clock.now, pause)

    def _learn(self, peer: Peer) -> None:
        for address in peer.try_hosts:
            if address != self._node.address:
                self._node.hosts.learn(address, self._net.clock.now, is_ultrapeer=True)

    def lost(self, end: End, reason: str) -> None:
        """A link that was open is gone."""
        address = end.reached_at
        pause = pause_after(_reason(reason), self._net.clock.now - end.made_at)
        if pause and address is not None:
            self._node.hosts.failed(address, self._net.clock.now, pause)


def settings_of(links: Links, role: Role) -> NetworkSettings:
    """What the servent would have in [network]; a plain peer is an ultrapeer here, as in every other handshake."""
    return NetworkSettings(
        role="ultrapeer" if role == "peer" else role,
        want_links=links.want_links,
        max_links=links.max_links,
        max_leaves=links.max_leaves,
    )


def introduce(net: Network, node: LabNode, count: int, rng: Random) -> None:
    """Let the node know some that can be dialled, as from a host cache of the day before."""
    others = [other for other in net.nodes.values() if other is not node and not (other.is_leaf or other.is_firewalled)]
    for other in choose(rng, others, count):
        node.hosts.learn(other.address, net.clock.now)


def _reason(text: str) -> DropReason:
    return _REASONS.get(text, DropReason.PEER_CLOSED)
