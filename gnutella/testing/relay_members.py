"""Nodes that do nothing but be members of the relay layer, joined in virtual time: descriptors, links, stem edges, pings.

The membership is that of the program; stems and guards are as small as can be, and a connection is a delay.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.cells import decode
from anonymizer.guards import EDGES
from anonymizer.known import KnownNodes
from anonymizer.membership import Manners, Membership
from anonymizer.own import OwnDescriptor, OwnFacts
from anonymizer.seal import PivotKeys
from anonymizer.timers import Timers
from anonymizer.wire import AnyBody, ByeReason, cell_of, parse
from gnutella.lab.clock import Clock
from gnutella.testing.relay_nodes import NOW, signing_key
from gnutella.units import Address


class FakeEdges:
    """Two of each kind."""

    def __init__(self) -> None:
        self.edges: dict[bytes, bool] = {}
        self.round_trips: list[float] = []

    def has_room(self, is_initiated: bool) -> bool:
        count = sum(kind is is_initiated for kind in self.edges.values())
        return count < EDGES

    def is_edge(self, node: bytes) -> bool:
        return node in self.edges

    def make_edge(self, node: bytes, is_initiated: bool) -> bool:
        if node in self.edges or not self.has_room(is_initiated):
            return False
        self.edges[node] = is_initiated
        return True

    def drop_edge(self, node: bytes, now: float) -> None:
        self.edges.pop(node, None)

    def round_trip(self, seconds: float) -> None:
        self.round_trips.append(seconds)


class FakeGuards:
    """Any two eligible nodes; who refuses is not asked again."""

    def __init__(self, known: KnownNodes, rng: random.Random) -> None:
        self._known, self._rng = known, rng
        self.chosen: list[bytes] = []
        self.gone: set[bytes] = set()

    def wanted(self, now: float) -> list[bytes]:
        while len(self.chosen) < EDGES:
            picked = self._known.pick(self._rng, now, without={*self.chosen, *self.gone})
            if picked is None:
                break
            self.chosen.append(picked.node_id)
        return self.chosen

    def refused(self, node: bytes, now: float) -> None:
        if node in self.chosen:
            self.chosen.remove(node)
            self.gone.add(node)


class Member:
    """One node.  `heard` has each body that came: (from, body); `is_silent`: it answers nothing."""

    def __init__(self, net: MemberNet, number: int, host: str, manners: Manners, known: dict[str, Any]) -> None:
        self.net, self.host, self.is_silent = net, host, False
        self.timers = Timers()
        self.keys = PivotKeys(net.time, lambda: X25519PrivateKey.from_private_bytes(net.rng.randbytes(32)))
        own = OwnDescriptor(signing_key(number), self.keys, net.rng, net.time, OwnFacts(Address(host, 6346)))
        self.id = own.node_id
        self.known = KnownNodes(self.id, **known)
        self.edges = FakeEdges()
        self.guards = FakeGuards(self.known, net.rng)
        self.heard: list[tuple[bytes, AnyBody]] = []
        self.sent: list[tuple[bytes, AnyBody]] = []
        self.drops: list[tuple[bytes, ByeReason]] = []
        self.membership = Membership(
            own,
            self.known,
            net.rng,
            self.timers,
            self.edges,
            self.guards,
            send=self._send,
            drop=self._drop,
            manners=manners,
        )

    def _send(self, node: bytes, body: AnyBody) -> None:
        self.sent.append((node, body))
        cell = cell_of(body)
        if not self.is_silent:
            self.net.clock.after(0.02, self.net.deliver, self.id, node, cell.encode())

    def _drop(self, node: bytes, reason: ByeReason, now: float) -> None:
        self.drops.append((node, reason))
        self.net.cut(self, self.net.by_id[node])

    @property
    def links(self) -> dict[bytes, bool]:
        return self.membership.links


class MemberNet:
    """Nodes in networks of their own (or all in one, for a LAN); each dials what it wants, once a second."""

    def __init__(
        self, count: int, seed: int, *, manners: Manners | None = None, lan: bool = False, **known: Any
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        manners = manners or Manners(pad_rate=0.0)
        known = {"min_age_s": 0.0, "min_sources": 1, **known}
        if lan:
            known |= {"allow_private": True, "by_network": False}
        hosts = [f"10.0.0.{n + 1}" if lan else f"{20 + n // 250}.{n % 250}.1.1" for n in range(count)]
        self.members = [Member(self, n, host, manners, known) for n, host in enumerate(hosts)]
        self.by_id = {member.id: member for member in self.members}
        for member in self.members:
            self.clock.after(self.rng.random(), self._tick, member)

    @property
    def time(self) -> float:
        return NOW + self.clock.now

    def introduce(self, one: Member, other: Member) -> bool:
        """A first link, as somebody told of it outside the layer; False if either refuses."""
        return self._connect(one, other)

    def cut(self, one: Member, other: Member) -> None:
        """The connection is gone."""
        for member, gone in ((one, other), (other, one)):
            member.edges.edges.pop(gone.id, None)
            member.membership.link_down(gone.id, self.time)

    def deliver(self, came: bytes, to: bytes, data: bytes) -> None:
        """A cell arrives, if the link is still there."""
        member = self.by_id[to]
        if came in member.links:
            body = parse(decode(data))
            member.heard.append((came, body))
            member.membership.receive(came, body, self.time)  # type: ignore[arg-type]
            self._plan(member)

    def _connect(self, one: Member, other: Member) -> bool:
        for here, there, is_incoming in ((one, other, False), (other, one, True)):
            if here.membership.admits(there.id, there.host, self.time, is_incoming=is_incoming) is not None:
                return False
        one.membership.link_up(other.id, self.time, is_client=True, host=other.host)
        if other.id in one.links:
            other.membership.link_up(one.id, self.time, is_client=False, host=one.host)
        for member in (one, other):
            self._plan(member)
        return True

    def _tick(self, member: Member) -> None:
        member.membership.tick(self.time)
        for wish in member.membership.wanted():
            other = self.by_id.get(wish.node_id)
            if wish.node_id not in member.links and (other is None or not self._connect(member, other)):
                member.membership.dial_failed(wish.node_id, self.time)
        self._plan(member)
        self.clock.after(1.0, self._tick, member)

    def _plan(self, member: Member) -> None:
        if (when := member.timers.next_at) is not None:
            self.clock.at(max(when - NOW, self.clock.now), partial(self._run, member))

    def _run(self, member: Member) -> None:
        before = member.timers.next_at
        member.timers.run(self.time)
        if before != member.timers.next_at:
            self._plan(member)
