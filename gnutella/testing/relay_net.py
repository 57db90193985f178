"""Stems of many nodes in virtual time, each of them a pivot that echoes; what every node saw is kept.

The stems are those of the program; links are delays, and everything is drawn from one seed.
"""

from __future__ import annotations

import hashlib
import random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer import inner
from anonymizer.cells import Cell, decode
from anonymizer.descr import location_of
from anonymizer.fields import Body
from anonymizer.reasons import Refusals, Violation
from anonymizer.seal import End, Opening, PivotKeys, Replays, Unsealer
from anonymizer.stem import Stem
from anonymizer.wire import CloseReason
from gnutella.lab.clock import Clock
from gnutella.testing.relay_nodes import NOW


class RelayNode:
    """One node.  `seen` has each cell that came or went: (from, to, cell); `read` what it could read as a pivot.

    `posts` are those to it, `roomy` the numbers of circuits whose window took cells again.
    """

    def __init__(self, net: RelayNet, number: int) -> None:
        self.net, self.number = net, number
        self.id = hashlib.sha256(b"relay node %d" % number).digest()
        self.stem = Stem(
            self.id,
            net.rng,
            heard=self._heard,
            ended=self._ended,
            arrived=self._arrived,
            posted=self._posted,
            has_room=self._has_room,
        )
        self.posts: list[bytes] = []
        self.roomy: list[int] = []
        self.keys = PivotKeys(NOW, net.new_key)
        self._unsealer = Unsealer(self.id, self.keys, Replays())
        self.refusals = Refusals()
        self.seen: list[tuple[bytes, bytes, Cell]] = []
        self.read: list[Body] = []
        self.answers: dict[int, list[Body]] = {}
        self.ends: dict[int, CloseReason] = {}
        self._opening: dict[int, Opening] = {}
        self._near: dict[int, End] = {}
        self._far: dict[int, End] = {}

    def request(self, pivot: RelayNode, first: Body) -> int | None:
        """Open a circuit; what the pivot says is in `answers` under its number."""
        now, key = NOW + self.net.clock.now, pivot.keys.public[0][1:]
        opening = Opening(pivot.id, key, inner.encode(first), now, self.net.rng.randbytes(32), self.net.new_key())
        number = self.stem.open(pivot.id, opening.sealed, self.net.clock.now)
        if number is not None:
            self._opening[number] = opening
            self.answers[number] = []
        self.net.wake(self)
        return number

    def say(self, number: int, body: Body) -> None:
        self.stem.say(number, self._near[number].say(body), self.net.clock.now)
        self.net.wake(self)

    def close(self, number: int) -> None:
        self.stem.close(number, CloseReason.DONE, self.net.clock.now)
        self.net.wake(self)

    def _posted(self, sealed: bytes, now: float) -> None:
        self.posts.append(sealed)

    def _has_room(self, number: int, now: float) -> None:
        self.roomy.append(number)

    def _arrived(self, number: int, sealed: bytes, came_from: bytes, now: float) -> bool:
        try:
            unsealed = self._unsealer.open(sealed, NOW + now)
            first = inner.decode(unsealed.first)
            cell, self._far[number] = unsealed.answer(self.net.new_key())
        except Violation as violation:
            self.refusals.count(violation.reason)
            return False
        self.stem.say(number, cell, now)
        self._echo(number, first, now)
        return True

    def _echo(self, number: int, body: Body, now: float) -> None:
        self.read.append(body)
        self.stem.say(number, self._far[number].say(body), now)

    def _heard(self, number: int, data: bytes, now: float) -> None:
        try:
            if (far := self._far.get(number)) is not None:
                self._echo(number, far.hear(data), now)
            elif number in self._near:
                self.answers[number].append(self._near[number].hear(data))
            else:
                self._near[number] = self._opening.pop(number).opened(data)
        except Violation as violation:
            self.refusals.count(violation.reason)
            self.stem.close(number, CloseReason.BAD, now)
            self._ended(number, CloseReason.BAD, now)

    def _ended(self, number: int, reason: CloseReason, now: float) -> None:
        self.ends[number] = reason
        self._far.pop(number, None)


class RelayNet:
    """`count` nodes: two edges of each one's choice, links to its neighbours on the ring, and some more."""

    def __init__(self, count: int, seed: int, more_links: int = 4) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.nodes = [self.make(number) for number in range(count)]
        self._by_id = {node.id: node for node in self.nodes}
        self._delays: dict[frozenset[bytes], float] = {}
        ring = sorted(self.nodes, key=lambda node: location_of(node.id))
        for place, node in enumerate(ring):
            self.link(node, ring[place - 1])
            for other in self.rng.sample(self.nodes, more_links):
                self.link(node, other)
        for node in self.nodes:
            others = [other for other in self.nodes if other is not node]
            self.rng.shuffle(others)
            for other in others:
                self.edge(node, other)

    def make(self, number: int) -> RelayNode:
        """One node; for nets of nodes that do more."""
        return RelayNode(self, number)

    def new_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.rng.randbytes(32))

    def link(self, client: RelayNode, server: RelayNode) -> None:
        pair = frozenset((client.id, server.id))
        if len(pair) == 2 and pair not in self._delays:
            self._delays[pair] = self.rng.lognormvariate(-3.2, 0.6)
            client.stem.link_up(server.id, is_client=True)
            server.stem.link_up(client.id, is_client=False)
            for node in (client, server):
                node.stem.round_trip(2 * self._delays[pair])

    def edge(self, client: RelayNode, server: RelayNode) -> None:
        """As an EDGE_REQ would, if both have room for it and the link is none yet."""
        if server.stem.has_room(False) and client.stem.has_room(True):
            self.link(client, server)
            if not client.stem.is_edge(server.id):
                client.stem.guards.fill([server.id], self.clock.now)
                client.stem.make_edge(server.id, is_initiated=True)
                server.stem.make_edge(client.id, is_initiated=False)

    def wake(self, node: RelayNode) -> None:
        """Plan what the node's stem has to send."""
        if (when := node.stem.next_at) is not None:
            self.clock.at(max(when, self.clock.now), self._send, node)

    def _send(self, node: RelayNode) -> None:
        for to, cell in node.stem.due(self.clock.now):
            node.seen.append((node.id, to, cell))
            delay = self._delays[frozenset((node.id, to))]
            self.clock.after(delay, self._deliver, node.id, to, cell.encode())
        self.wake(node)

    def _deliver(self, came: bytes, to: bytes, data: bytes) -> None:
        node = self._by_id[to]
        cell = decode(data)
        node.seen.append((came, to, cell))
        node.stem.receive(came, cell, self.clock.now)
        self.wake(node)
