"""Many nodes' stems in virtual time, and a tap on every cell: what the attacks on stems run against.

The stems are those of the program (or a broken twin of them, when `make` says so).  Links have delays, edges are drawn as the
membership rules draw them, everything comes from one seed.  Spies run the program as it is; their only vice is that they tell
each other what passes them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from anonymizer.cells import Cell, decode
from anonymizer.descr import location_of
from anonymizer.edges import MAX_ACCEPTED
from anonymizer.guards import EDGES
from anonymizer.stem import Stem
from anonymizer.wire import SEALED_SIZE, CloseReason
from gnutella.errors import LocalMisuse
from gnutella.lab.clock import Clock

#: Delays of links: lognormal, median 40 ms.
MEDIAN_S, SIGMA = 0.040, 0.6
#: Links beside the stem edges: one for each octave of distance on the ring, and both neighbours there.
OCTAVES = 6
#: Guards are kept for as long as a run lasts.
FOREVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Sighting:
    """A cell that came to a node."""

    when: float
    came: int
    to: int
    cell: Cell


class StemNode:
    """One node; as a pivot it takes what comes, or what `on_arrived` says."""

    def __init__(self, net: StemNet, number: int) -> None:
        self.net, self.number = net, number
        self.id = hashlib.sha256(b"stem node %d" % number).digest()
        self.stem = net.make(self)
        self.links: set[int] = set()
        #: Edges of this node's choice; the first leads to its guard.
        self.chosen: list[int] = []
        self.on_heard: Callable[[int, bytes, float], None] = lambda number, data, now: None
        self.on_ended: Callable[[int, CloseReason, float], None] = lambda number, reason, now: None
        #: Circuits that arrived: (seal, number).
        self.arrived: list[tuple[bytes, int]] = []
        self.posts: list[bytes] = []

    def heard(self, number: int, data: bytes, now: float) -> None:
        self.on_heard(number, data, now)

    def ended(self, number: int, reason: CloseReason, now: float) -> None:
        self.on_ended(number, reason, now)

    def posted(self, sealed: bytes, now: float) -> None:
        self.posts.append(sealed)

    def has_room(self, number: int, now: float) -> None:
        """Nobody waits for it."""

    def take(self, number: int, sealed: bytes, came_from: bytes, now: float) -> bool:
        self.arrived.append((sealed, number))
        return self.net.pivots_take

    def open(self, pivot: StemNode, sealed: bytes) -> int | None:
        """An own circuit; its number."""
        number = self.stem.open(pivot.id, sealed, self.net.clock.now)
        self.net.wake(self)
        return number


def make_stem(node: StemNode, kind: type[Stem] = Stem) -> Stem:
    """The production object, or a subclass of it."""
    return kind(
        node.id,
        node.net.rng,
        heard=node.heard,
        ended=node.ended,
        arrived=node.take,
        posted=node.posted,
        has_room=node.has_room,
    )


class StemNet:
    """`count` nodes with two edges of their choice each."""

    def __init__(self, count: int, seed: int, kind: type[Stem] = Stem, *, pivots_take: bool = False) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.kind, self.pivots_take = kind, pivots_take
        self.watch: Callable[[Sighting], None] = lambda sighting: None
        self.nodes = [StemNode(self, number) for number in range(count)]
        self.number_of = {node.id: node.number for node in self.nodes}
        self._held_back: set[tuple[int, int, int]] = set()
        self.delays: dict[frozenset[int], float] = {}
        self._ring()
        self._edges()
        for node in self.nodes:
            for other in sorted(node.links):
                node.stem.round_trip(2 * self.delays[frozenset((node.number, other))])

    def make(self, node: StemNode) -> Stem:
        return make_stem(node, self.kind)

    def seal(self) -> bytes:
        """What only a pivot could read; here it is noise, and the name of its circuit."""
        return self.rng.randbytes(SEALED_SIZE)

    # -- the graph -------------------------------------------------------------------------------------------------------

    def _ring(self) -> None:
        ring = sorted(self.nodes, key=lambda node: location_of(node.id))
        count = len(ring)
        for place, node in enumerate(ring):
            self.link(node, ring[(place + 1) % count])
            for octave in range(1, OCTAVES + 1):
                low = max(1, count >> (octave + 1))
                apart = low + self.rng.randrange(max(1, low))
                self.link(node, ring[(place + self.rng.choice((-1, 1)) * apart) % count])

    def _edges(self) -> None:
        """In turns, each to a node drawn uniformly of those that have room, as EDGE_REQ finds them; the first is the guard."""
        accepted = [0] * len(self.nodes)
        for _ in range(EDGES):
            for node in self.rng.sample(self.nodes, len(self.nodes)):
                free = [
                    other
                    for other in self.nodes
                    if other is not node
                    and accepted[other.number] < MAX_ACCEPTED
                    and other.number not in node.chosen
                    and node.number not in other.chosen
                ]
                if free:
                    other = self.rng.choice(free)
                    node.chosen.append(other.number)
                    accepted[other.number] += 1
        for node in self.nodes:
            node.stem.guards.restore([(self.nodes[number].id, FOREVER_S, True) for number in node.chosen], 0.0)
        for node in self.nodes:
            for number in node.chosen:
                self._edge(node, self.nodes[number])

    def _edge(self, node: StemNode, other: StemNode) -> None:
        self.link(node, other)
        if not (node.stem.make_edge(other.id, is_initiated=True) and other.stem.make_edge(node.id, is_initiated=False)):
            raise LocalMisuse("an edge that was to be")

    def link(self, client: StemNode, server: StemNode) -> None:
        pair = frozenset((client.number, server.number))
        if len(pair) == 2 and pair not in self.delays:
            self.delays[pair] = MEDIAN_S * self.rng.lognormvariate(0, SIGMA)
            client.stem.link_up(server.id, is_client=True)
            server.stem.link_up(client.id, is_client=False)
            client.links.add(server.number)
            server.links.add(client.number)

    # -- time ------------------------------------------------------------------------------------------------------------

    def wake(self, node: StemNode) -> None:
        """Plan what the node's stem has to send."""
        if (when := node.stem.next_at) is not None:
            self.clock.at(max(when, self.clock.now), self._send, node)

    def inject(self, spy: int, to: int, cell: Cell) -> None:
        """A cell that a spy makes itself."""
        self.clock.after(self.delays[frozenset((spy, to))], self._deliver, self.nodes[spy], to, cell.encode())

    def hold_back(self, spy: int, came: int, channel: int) -> None:
        """From now on the spy keeps to itself what comes there on that channel."""
        self._held_back.add((spy, came, channel))

    def _send(self, node: StemNode) -> None:
        for to, cell in node.stem.due(self.clock.now):
            other = self.number_of[to]
            self.clock.after(self.delays[frozenset((node.number, other))], self._deliver, node, other, cell.encode())
        self.wake(node)

    def _deliver(self, came: StemNode, to: int, data: bytes) -> None:
        node, cell = self.nodes[to], decode(data)
        self.watch(Sighting(self.clock.now, came.number, to, cell))
        if (to, came.number, cell.channel) in self._held_back and cell.channel:
            return
        node.stem.receive(came.id, cell, self.clock.now)
        self.wake(node)
