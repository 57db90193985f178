"""Whole nodes that search and share, of the program's own stems, floods, pivots, channels and responders, in virtual time.

Only the route of keys is scripted (it finds nothing).  Links are delays, everything is drawn from one seed, and each cell that
came or went is kept.  Times are seconds since 1970, as everywhere in the layer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.anchoring import Anchoring
from anonymizer.cells import Cell, Command, decode
from anonymizer.channel import Channels
from anonymizer.descr import location_of
from anonymizer.errors import AnonymityError
from anonymizer.inner import FailReason
from anonymizer.known import KnownNodes
from anonymizer.pivot import Pivot
from anonymizer.responder import Responder
from anonymizer.seal import PivotKeys
from anonymizer.seams import Found
from anonymizer.search import Search, SearchResult
from anonymizer.seek import SeekFlood
from anonymizer.shares import ShareIndex
from anonymizer.stem import Stem
from anonymizer.timers import Timers
from anonymizer.wire import BlockType, CloseReason, Seek, parse
from gnutella.testing.pivot_world import RouteResult
from gnutella.testing.relay_nodes import NOW, descriptor_of

#: Known for so long, and from so many, is every node to every other.
_AGE_S, _SOURCES = 200_000.0, [b"1", b"2", b"3"]


class NoRoute:
    """The route of keys, which finds nothing and stores nothing."""

    def fetch(
        self, type: BlockType, routing: bytes, done: Callable[[Found], None], now: float, second: bool = False
    ) -> None:
        done(RouteResult((), FailReason.NOT_FOUND))

    def store(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        done: Callable[[int, float], None],
        now: float,
        second: bool = False,
    ) -> None:
        done(0, now)


class SeekNode:
    """One node.  `seen` has each cell that came or went: (from, to, cell); `blocks` is what it serves if it is anchored."""

    def __init__(self, net: SeekNet, number: int) -> None:
        self.net = net
        self.keys = PivotKeys(NOW, net.new_key)
        self.descriptor = descriptor_of(number, pivot_keys=self.keys.public)
        self.id = self.descriptor.node_id
        self.seen: list[tuple[bytes, bytes, Cell]] = []
        self.posted: list[bytes] = []
        self.blocks: dict[bytes, bytes] = {}
        self.known = KnownNodes(self.id)
        self.stem = Stem(
            self.id,
            net.rng,
            heard=self._heard,
            ended=self._ended,
            arrived=self._arrived,
            posted=self._posted,
            has_room=self._has_room,
        )
        self.shares = ShareIndex()
        self.channels = Channels(
            self.id, self.stem, self.known, net.rng, net.timers, net.new_key, self._guard_network, self.stem.hold
        )
        self.anchoring = Anchoring(self.channels, net.timers, net.new_key, self._read)
        self.responder = Responder(
            self.id,
            self.shares,
            self.stem,
            self.known,
            net.rng,
            net.timers,
            secret=net.rng.randbytes(32),
            round_trips=lambda: self.stem.round_trips,
            anchors=self.anchoring.hints,
            own_keys=lambda: self.keys.public,
            here=self._posted,
        )
        self.flood = SeekFlood(self.id, net.rng, net.timers, self._send, self.responder.asked, lambda: len(net.nodes))
        self.pivot = Pivot(
            self.id,
            self.keys,
            self.stem,
            self.stem,
            NoRoute(),
            self.flood,
            net.rng,
            net.timers,
            new_key=net.new_key,
            pivot_key=lambda node: net.by_id[node].keys.public[0][1:] if node in net.by_id else None,
        )

    def search(self, text: str) -> tuple[Search, list[SearchResult], list[AnonymityError | None]]:
        """A search of this node's user, begun; what is found and how it ends comes into the lists."""
        found, ends = list[SearchResult](), list[AnonymityError | None]()
        search = Search(self.channels, self.net.new_key, text, found=found.append, done=ends.append)
        search.start(self.net.now)
        return search, found, ends

    @property
    def guard(self) -> bytes | None:
        return self.stem.guard(self.net.now)

    def _guard_network(self) -> str | None:
        guard = self.guard
        return None if guard is None else self.known.network_of(self.net.by_id[guard].descriptor)

    def _read(self, routing: bytes, done: Callable[[bytes | None, float], None]) -> None:
        done(self.blocks.get(routing), self.net.now)

    def _send(self, node: bytes, seek: Seek) -> None:
        self.stem.send(node, seek, "seek")

    # -- from the stem ---------------------------------------------------------------------------------------------------

    def _heard(self, number: int, data: bytes, now: float) -> None:
        if not self.channels.heard(number, data, now):
            self.pivot.heard(number, data, now)

    def _ended(self, number: int, reason: CloseReason, now: float) -> None:
        if not self.channels.ended(number, reason, now):
            self.pivot.ended(number, reason, now)

    def _has_room(self, number: int, now: float) -> None:
        self.channels.has_room(number, now)
        if self.pivot.has(number):
            self.pivot.has_room(number, now)

    def _arrived(self, number: int, sealed: bytes, came_from: bytes, now: float) -> bool:
        return self.pivot.arrived(number, sealed, came_from, now)

    def _posted(self, sealed: bytes, now: float) -> None:
        self.posted.append(sealed)
        self.pivot.posted(sealed, now)

    def receive(self, came: bytes, cell: Cell, now: float) -> None:
        self.seen.append((came, self.id, cell))
        if cell.command is Command.SEEK:
            body = parse(cell)
            assert isinstance(body, Seek)
            self.flood.receive(came, body, now)
        else:
            self.stem.receive(came, cell, now)


class SeekNet:
    """`count` nodes that all know each other, with links on the ring, some more, and two stem edges of each one's choice."""

    def __init__(self, count: int, seed: int, more_links: int = 3) -> None:
        self.rng = random.Random(seed)
        self.timers = Timers()
        self.now = float(NOW)
        self.delays: dict[frozenset[bytes], float] = {}
        self.by_id: dict[bytes, SeekNode] = {}
        self.nodes = [SeekNode(self, number) for number in range(count)]
        self.by_id.update({node.id: node for node in self.nodes})
        rows = [(node.descriptor.data, NOW - _AGE_S, _SOURCES) for node in self.nodes]
        for node in self.nodes:
            node.known.restore(rows, NOW)
        ring = sorted(self.nodes, key=lambda node: location_of(node.id))
        for place, node in enumerate(ring):
            for other in (ring[place - 1], *self.rng.sample(self.nodes, more_links)):
                self._link(node, other)
        for node in self.nodes:
            for other in self.rng.sample(self.nodes, count):
                self._edge(node, other)

    def new_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.rng.randbytes(32))

    def _link(self, client: SeekNode, server: SeekNode) -> None:
        pair = frozenset((client.id, server.id))
        if len(pair) == 2 and pair not in self.delays:
            self.delays[pair] = self.rng.lognormvariate(-3.2, 0.6)
            for node, other in ((client, server), (server, client)):
                node.stem.link_up(other.id, is_client=node is client)
                node.stem.round_trip(2 * self.delays[pair])
                node.flood.link_up(other.id, self.now)

    def _edge(self, client: SeekNode, server: SeekNode) -> None:
        if client is not server and server.stem.has_room(False) and client.stem.has_room(True):
            self._link(client, server)
            if not client.stem.is_edge(server.id):
                client.stem.guards.fill([server.id], self.now)
                client.stem.make_edge(server.id, is_initiated=True)
                server.stem.make_edge(client.id, is_initiated=False)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while True:
            whens = [when for node in self.nodes if (when := node.stem.next_at) is not None]
            if (when := self.timers.next_at) is not None:
                whens.append(when)
            if not whens or min(whens) > until:
                break
            self.now = max(self.now, min(whens))
            self.timers.run(self.now)
            for node in self.nodes:
                if (due := node.stem.next_at) is not None and due <= self.now:
                    self._deliver_from(node)
        self.now = until

    def _deliver_from(self, node: SeekNode) -> None:
        for to, cell in node.stem.due(self.now):
            node.seen.append((node.id, to, cell))
            arrives = self.now + self.delays[frozenset((node.id, to))]
            self.timers.at(arrives, partial(self._arrive, node.id, to, cell.encode()))

    def _arrive(self, came: bytes, to: bytes, data: bytes, now: float) -> None:
        self.by_id[to].receive(came, decode(data), now)
