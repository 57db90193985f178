"""A node of the lab that looks after its links itself, in virtual time, with the servent's own parts.

Whom it dials comes from the host cache, which pongs, handshakes, refusals and Byes fill; how many, whom it takes, what it says
of itself, and whether it is a leaf or an ultrapeer, is decided by the classes that decide it in the servent; each link begins
with the handshake.  This is the counterpart of network/links.py.  What is modelled is only what sockets do: a dead process
refuses at once, a host without power or behind a firewall says nothing until the time-out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from gnutella.lab.chance import choose
from gnutella.lab.end import End
from gnutella.lab.lablinks import LabLink, LabRoster, OpenPort
from gnutella.lab.scenario import Links, Role
from gnutella.lab.stream import Line
from gnutella.network.admission import Admission
from gnutella.network.introductions import Introductions
from gnutella.network.own_address import OwnAddresses
from gnutella.network.roles import Roles
from gnutella.network.targets import Leaves, back_off, dials_due, rest_after
from gnutella.protocol.handshake import HandshakeRefused, Refusal
from gnutella.protocol.peer import Offer, Peer
from gnutella.reasons import DropReason
from gnutella.routing.events import HostLearned
from gnutella.settings import NetworkSettings
from gnutella.superpeers.facts import ISLAND, Facts
from gnutella.superpeers.roles import RolePolicy
from gnutella.units import Address

if TYPE_CHECKING:
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: As the servent has it: how often hosts are asked for by ping while too few are known to dial.
ASK_AGAIN_S = 5.0
ASK_AFTER_OPENING_S = 1.5
_REASONS = {reason.value: reason for reason in DropReason}


class Keeper:
    """Keeps the links of one node; `line` gives what a new link is like."""

    def __init__(self, net: Network, node: LabNode, settings: NetworkSettings, line: Callable[[], Line]) -> None:
        self.settings = settings
        self._net = net
        self._node = node
        self._line = line
        self._own = OwnAddresses(settings)
        self._own.port = node.address.port
        #: What the node was at any time: (when, is a leaf, why).
        self.changes: list[tuple[float, bool, str]] = []
        self.restart(net.clock.now)
        node.set_role(is_leaf=self.roles.is_leaf)

    def restart(self, now: float) -> None:
        """A process begins: nothing is linked, and the role is what it is at the start."""
        node, settings = self._node, self.settings
        self.roster = LabRoster()
        self._leaves = Leaves(node.hosts)
        self._started_at = now
        self._asked_at = float("-inf")
        demands = ISLAND.sized(settings.max_leaves, settings.max_links)
        policy = RolePolicy(settings.role, demands, node.rng, now)
        self.roles = Roles(self, self.roster, node.hosts, node.servent_id, policy, self._measure)
        self._admission = Admission(settings, node.servent_id)
        port = OpenPort([] if node.is_firewalled else [node.address])
        self._introductions = Introductions(settings, node.servent_id, self._own, node.hosts, port)
        self._admission.is_leaf = self._introductions.is_leaf = node.is_leaf = self.roles.is_leaf

    def _measure(self) -> Facts:
        """A lab that tested its nodes' ports would find what is true of them."""
        is_reached = not self._node.is_firewalled
        return Facts(uptime_s=self._net.clock.now - self._started_at, tcp=is_reached, udp=is_reached)

    # -- each second -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Decide the role; give up handshakes that take too long; dial whom the host cache names, if links are missing."""
        net, node = self._net, self._node
        self.roles.tick(now)
        free = self._free_slots()
        if free != node.router.self.slots:
            node.router.self.slots = free
            node.router.self_changed()
        for link in self.roster.opening():
            if link.end is not None and now - link.began_at > self.settings.handshake_timeout_s:
                net.disconnect(link.end, DropReason.SLOW.value)
        if not self.roster.summary()["ultrapeers"]:
            self._leaves.ask_again(now)
        missing = dials_due(self._admission.wanted_links, self.roster.all, we_are_leaf=self.roles.is_leaf)
        if missing:
            self._dial_hosts(missing, now)

    def _free_slots(self) -> tuple[int, int] | None:
        """For leaves, and for ultrapeers; None: we are a leaf."""
        if self.roles.is_leaf:
            return None
        linked = self.roster.summary()
        leaves = linked["leaves"]
        return max(0, self.settings.max_leaves - leaves), max(0, self.settings.max_links - (linked["peers"] - leaves))

    def _dial_hosts(self, count: int, now: float) -> None:
        known = {self._node.address, *self.roster.addresses()}
        chosen = self._node.hosts.choose(count, now, known, ultrapeers_first=True)
        for address in chosen:
            self._dial(address)
        if len(chosen) < count and now - self._asked_at >= ASK_AGAIN_S:
            self._asked_at = now
            self._net.cause(self._node, self._node.router.ask_for_hosts(now))

    def _dial(self, address: Address) -> None:
        net, node = self._net, self._node
        link = LabLink(node.address.host, address, began_at=net.clock.now)
        self.roster.all[link] = None
        other = net.node_at(address)
        if other is not None and net.connect(node, other, self._line()) is not None:
            return
        is_refused = other is not None and not other.is_up and not other.is_dark
        wait_s = 2 * self._line().latency_s if is_refused else self.settings.dial_timeout_s
        net.clock.after(wait_s, self._in_vain, link)

    def _in_vain(self, link: LabLink) -> None:
        if link in self.roster.all:
            self._failed(link, None, DropReason.DIAL_FAILED)

    # -- handshakes ------------------------------------------------------------------------------------------------------

    def begun(self, end: End) -> LabLink:
        """There is a connection: to a host that was dialled, by us or for us, or by one that dialled us."""
        dialled = None if end.is_incoming else end.peer.node.address
        waiting = (link for link in self.roster.all if link.end is None and dialled is not None)
        link = next((link for link in waiting if link.dialled == dialled), None)
        if link is None:
            link = LabLink(self._node.address.host, dialled, began_at=self._net.clock.now)
            self.roster.all[link] = None
        link.end = end
        return link

    def offer(self, link: LabLink) -> Offer:
        """What the node says of itself."""
        opened = list(self.roster.open.values())
        offer = self._introductions.offer(link, opened, has_tls=False, ultrapeer_needed=self.roles.needed(link))
        link.we_are_leaf = not offer.is_ultrapeer
        return offer

    def decide(self, link: LabLink, peer: Peer) -> Refusal | None:
        """Whether the node wants the link."""
        now = self._net.clock.now
        refusal = self.roles.met(link, peer, now)
        if refusal is None:
            opened = list(self.roster.open.values())
            others = [other for other in self.roster.counted() if other is not link]
            if link.incoming:
                refusal = self._admission.incoming(link.host, peer, opened, others, now)
            else:
                refusal = self._admission.outgoing(link.host, peer, opened, others)
        if refusal is None:
            link.peer, link.is_accepted = peer, True
        return refusal

    def become_leaf(self, link: LabLink) -> bool:
        """An ultrapeer says that it needs no other one: whether we are its leaf from now on."""
        link.we_are_leaf = self.roles.become_leaf(self._net.clock.now)
        return link.we_are_leaf

    def turn(self, *, is_leaf: bool, reason: str) -> None:
        """roles.Owner: be a leaf, or an ultrapeer, from now on, and open all links anew."""
        net, node = self._net, self._node
        self.changes.append((net.clock.now, is_leaf, reason))
        net.record.note(net.clock.now, node.name, "leaf" if is_leaf else "ultrapeer", reason)
        node.set_role(is_leaf=is_leaf)
        self._admission.is_leaf = self._introductions.is_leaf = is_leaf
        links = sorted(self.roster.open.values(), key=lambda link: not link.is_leaf)
        ultrapeers = [link.reached_at for link in links if link.peer is not None and link.peer.is_ultrapeer]
        for link in links:
            if link.end is not None:
                hosts = self._introductions.try_lines(link, self.roster.open.values())
                net.say_bye(link.end, DropReason.ROLE_CHANGED.bye, reason, hosts)
                net.disconnect(link.end, DropReason.ROLE_CHANGED.value)
        for address in [a for a in ultrapeers if a is not None][: self._admission.wanted_links]:
            self._dial(address)

    def ready(self, link: LabLink, peer: Peer) -> bool:
        """The handshake is over; False when no link comes of it after all, and it is closed."""
        assert link.end is not None
        now, hosts = self._net.clock.now, self._node.hosts
        link.peer = peer
        if link.we_are_leaf is not self.roles.is_leaf:
            if link.dialled is None:
                self._introductions.learn_caller(link.host, peer, self.roster.open.values(), now)
            self._drop(link, DropReason.ROLE_CHANGED)
            return False
        if (twin := self.roster.twin(link)) is not None:
            if not self._is_kept(link, twin):
                self._drop(link, DropReason.ALREADY_LINKED)
                return False
            assert twin.end is not None
            self._net.disconnect(twin.end, DropReason.ALREADY_LINKED.value)
        link.opened_at = now
        self._asked_at = now - ASK_AGAIN_S + ASK_AFTER_OPENING_S
        self.roster.open[link.id] = link
        if link.dialled is not None:
            has_room = True if peer.ultrapeer_needed is False else None
            hosts.worked(link.dialled, now, is_ultrapeer=peer.is_ultrapeer, has_room=has_room)
        else:
            self._introductions.learn_caller(link.host, peer, self.roster.open.values(), now)
        self._introductions.learn(peer, self.roster.open.values(), now)
        return True

    def _is_kept(self, new: LabLink, old: LabLink) -> bool:
        """Of two links between the same servents the one stays that the greater servent id dialled."""
        assert new.servent_id is not None
        we_are_greater = self._node.servent_id > new.servent_id
        return old.incoming is not new.incoming and new.incoming is not we_are_greater

    def _drop(self, link: LabLink, reason: DropReason) -> None:
        self.roster.all.pop(link, None)
        if link.end is not None:
            self._net.disconnect(link.end, reason.value)

    def failed(self, link: LabLink, refused: HandshakeRefused | None, reason: str) -> None:
        """The handshake came to nothing."""
        if refused is not None and refused.peer is not None:
            now = self._net.clock.now
            self._introductions.learn(refused.peer, self.roster.open.values(), now)
            if link.incoming and refused.reason is DropReason.LEAF_TO_LEAF:
                self._introductions.learn_caller(link.host, refused.peer, self.roster.open.values(), now)
        self._failed(link, refused, _REASONS.get(reason, DropReason.PEER_CLOSED))

    def _failed(self, link: LabLink, refused: HandshakeRefused | None, reason: DropReason) -> None:
        """When the host is dialled again, as dialling.let_rest has it."""
        self.roster.all.pop(link, None)
        now, hosts = self._net.clock.now, self._node.hosts
        self._node.refusals[reason] = self._node.refusals.get(reason, 0) + 1
        if link.dialled is None or not self._node.is_up:
            return
        if reason is DropReason.ROLE_CHANGED:
            return
        if self.roles.refused(link, refused, now):
            self._leaves.refused(link.dialled, now, is_alone=not self.roster.open)
        else:
            hosts.failed(link.dialled, now, back_off(refused.code) if refused is not None else None)

    # -- open links ------------------------------------------------------------------------------------------------------

    def lost(self, end: End, reason: str) -> None:
        """A link that was open is gone."""
        now, link = self._net.clock.now, self.roster.open.pop(end.id, None)
        if link is None:
            return
        self.roster.all.pop(link, None)
        why = _REASONS.get(reason, DropReason.PEER_CLOSED)
        if link.reached_at is not None:
            rest_after(self._node.hosts, link.reached_at, why, now, now - link.opened_at, is_public=False)

    def heard(self, event: HostLearned) -> None:
        """A pong told of a host."""
        if event.address != self._node.address:
            has_room = None if event.free_leaf_slots is None else event.free_leaf_slots > 0
            self._node.hosts.learn(
                event.address,
                self._net.clock.now,
                is_ultrapeer=event.is_ultrapeer,
                daily_uptime_s=event.daily_uptime_s,
                has_room=has_room,
            )

    def told_at_parting(self, headers: str) -> None:
        """A Bye may name hosts to turn to."""
        self._introductions.learn_parting(headers, self.roster.open.values(), self._net.clock.now)


def settings_of(links: Links, role: Role) -> NetworkSettings:
    """What the servent would have in [network]; a plain peer is an ultrapeer here, as in every other handshake."""
    return NetworkSettings(
        role="ultrapeer" if role == "peer" else role,
        want_links=links.want_links,
        max_links=links.max_links,
        max_leaves=links.max_leaves,
        deflate=False,
        tls=False,
    )


def introduce(net: Network, node: LabNode, count: int, rng: Random) -> None:
    """Let the node know some that can be dialled, as from a host cache of the day before."""
    others = [other for other in net.nodes.values() if other is not node and not other.is_firewalled]
    if any(not other.is_leaf for other in others):
        others = [other for other in others if not other.is_leaf]
    for other in choose(rng, others, count):
        node.hosts.learn(other.address, net.clock.now)
