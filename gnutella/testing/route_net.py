"""Key routing of many nodes in virtual time: links of Kleinberg's lengths, and blocks in memory that keep what a disk would.

The routes are those of the program, every body goes through its cell's bytes where `encode` says so, and everything is drawn
from one seed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Literal, TypeVar

from anonymizer.blocks import BLOCK_HEAD, SSK, Outcome, distance, verify
from anonymizer.chk import BLOCK_BYTES, routing_of
from anonymizer.fetching import Fetched
from anonymizer.neighbours import place_of
from anonymizer.reasons import Violation
from anonymizer.route import Route
from anonymizer.ssk import merge
from anonymizer.timers import Timers
from anonymizer.wire import AnyBody, BlockType, cell_of, parse
from gnutella.lab.clock import Clock

T = TypeVar("T")

#: Octaves of distance, a link in each (design section 3.9).
OCTAVES = 8


def octave_of(apart: int) -> int:
    """1 for the farther half of all distances, 2 for the next quarter, ... OCTAVES for all that is nearer."""
    return max(1, min(OCTAVES, 64 - apart.bit_length()))


class HeldBlocks:
    """Blocks of one node, in memory; answers at once.  Without a cache it keeps what is stored alone."""

    def __init__(self, has_cache: bool = True) -> None:
        self.has_cache = has_cache
        self.cache: dict[tuple[int, bytes], tuple[bytes, ...]] = {}
        self.store: dict[tuple[int, bytes], tuple[bytes, ...]] = {}

    def get(self, type: BlockType, routing: bytes, done: Callable[[tuple[bytes, ...]], None]) -> None:
        done(self.store.get((type, routing)) or self.cache.get((type, routing)) or ())

    def put(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        place: Literal["cache", "store"],
        done: Callable[[Outcome], None],
    ) -> None:
        verify(type, routing, block)
        if place == "cache" and not self.has_cache:
            done(Outcome.REFUSED)
            return
        kept = self.store if place == "store" else self.cache
        held = kept.get((type, routing), ())
        wanted = merge(held, block) if type == SSK else (block,)
        kept[type, routing] = wanted
        done(Outcome.STORED if held != wanted else Outcome.KNOWN if block in held else Outcome.REFUSED)


class RouteNode:
    """One node.  `bans` are those it asked to ban."""

    def __init__(self, net: RouteNet, number: int) -> None:
        self.net, self.number = net, number
        self.id = hashlib.sha256(b"route node %d" % number).digest()
        self.place = place_of(self.id)
        self.timers, self.blocks = Timers(), HeldBlocks(net.has_caches)
        self.links: set[bytes] = set()
        self.bans: list[bytes] = []
        self.is_up = True
        self.route = Route(
            self.id,
            net.rng,
            self.timers,
            self.blocks,
            self.send,
            ban=lambda node, now: self.bans.append(node),
            bytes_per_s=net.bytes_per_s,
        )
        self._planned: float | None = None

    def send(self, to: bytes, body: AnyBody) -> None:
        self.net.carry(self, to, body)

    def receive(self, came: bytes, body: AnyBody) -> None:
        if self.is_up and came in self.links:
            try:
                self.route.receive(came, body, self.net.clock.now)
            except Violation:
                self.net.unlink(self, self.net.by_id[came])
            self.wake()

    def wake(self) -> None:
        """Plan what the timers have to do."""
        when = self.timers.next_at
        if when is not None and (self._planned is None or when < self._planned):
            self._planned = when
            self.net.clock.at(max(when, self.net.clock.now), self._run, when)

    def _run(self, when: float) -> None:
        if self._planned == when:
            self._planned = None
        if self.is_up:
            self.timers.run(self.net.clock.now)
            self.wake()


class RouteNet:
    """`count` nodes with links as membership makes them: neighbours on the ring, then one in each octave, up to `target`."""

    def __init__(
        self,
        count: int,
        seed: int,
        *,
        target: int = 10,
        bytes_per_s: float = 1e9,
        encode: bool = False,
        has_caches: bool = True,
    ) -> None:
        self.rng, self.clock, self.bytes_per_s, self.encode = random.Random(seed), Clock(), bytes_per_s, encode
        self.has_caches = has_caches
        self.nodes = [RouteNode(self, number) for number in range(count)]
        self.by_id = {node.id: node for node in self.nodes}
        self._delays: dict[frozenset[bytes], float] = {}
        #: Every body that went over a link: (from, to, body).
        self.carried: list[tuple[bytes, bytes, AnyBody]] = []
        self.mend(target)

    @property
    def degree(self) -> float:
        up = [node for node in self.nodes if node.is_up]
        return sum(len(node.links) for node in up) / len(up)

    def mend(self, target: int) -> None:
        """Links that are wanted and missing."""
        ring = sorted((node for node in self.nodes if node.is_up), key=lambda node: node.place)
        for at, node in enumerate(ring):
            if ring[at - 1].id not in node.links and len(ring) > 1:
                self.link(node, ring[at - 1])
        for node in self.rng.sample(ring, len(ring)):
            self._spread(node, ring, target)

    def _spread(self, node: RouteNode, ring: list[RouteNode], target: int) -> None:
        """A link in each octave that has none, then any, the nearer the likelier."""
        pools: dict[int, list[tuple[float, RouteNode]]] = {}
        for other in ring:
            if other is not node and other.id not in node.links and len(other.links) < target + 2:
                apart = distance(node.place, other.place)
                pools.setdefault(octave_of(apart), []).append((1.0 / max(apart, 1), other))
        have = {octave_of(distance(node.place, self.by_id[peer].place)) for peer in node.links}
        wanted = [pools[octave] for octave in pools if octave not in have]
        everybody = [entry for pool in pools.values() for entry in pool]
        for pool in wanted + [everybody] * target:
            free = [(weight, other) for weight, other in pool if other.id not in node.links]
            if free and len(node.links) < target:
                self.link(node, self.rng.choices([other for _, other in free], [weight for weight, _ in free])[0])

    def link(self, one: RouteNode, other: RouteNode) -> None:
        self._delays[frozenset((one.id, other.id))] = self.rng.lognormvariate(-3.2, 0.6)
        for node, peer in ((one, other), (other, one)):
            node.links.add(peer.id)
            node.route.link_up(peer.id, self.clock.now)

    def unlink(self, one: RouteNode, other: RouteNode) -> None:
        for node, peer in ((one, other), (other, one)):
            if peer.id in node.links:
                node.links.discard(peer.id)
                if node.is_up:
                    node.route.link_down(peer.id, self.clock.now)
                    node.wake()

    def leave(self, node: RouteNode) -> None:
        """It goes, and its neighbours see their links end."""
        node.is_up = False
        for peer in sorted(node.links):
            self.unlink(self.by_id[peer], node)

    def carry(self, came: RouteNode, to: bytes, body: AnyBody) -> None:
        self.carried.append((came.id, to, body))
        if self.encode:
            body = parse(cell_of(body))
        delay = self._delays[frozenset((came.id, to))]
        self.clock.after(delay, self.by_id[to].receive, came.id, body)

    def new_block(self) -> tuple[bytes, bytes]:
        """A content block that nobody has: its key, and its bytes."""
        block = BLOCK_HEAD + self.rng.randbytes(BLOCK_BYTES - len(BLOCK_HEAD))
        return routing_of(block), block

    def holders(self, type: BlockType, routing: bytes) -> list[RouteNode]:
        """Nodes that are up and have it in their store."""
        return [node for node in self.nodes if node.is_up and (type, routing) in node.blocks.store]

    def sent(self, kind: type[T]) -> list[T]:
        """Bodies of that kind which went over links."""
        return [body for _, _, body in self.carried if isinstance(body, kind)]

    # -- requests ----------------------------------------------------------------------------------------------------------

    def store(self, node: RouteNode, type: BlockType, routing: bytes, block: bytes, second: bool = False) -> list[int]:
        """Where the copies are told, once."""
        told: list[int] = []
        node.route.store(type, routing, block, lambda copies, now: told.append(copies), self.clock.now, second)
        node.wake()
        return told

    def fetch(self, node: RouteNode, type: BlockType, routing: bytes, second: bool = False) -> list[Fetched]:
        """Where the outcome is told, once."""
        told: list[Fetched] = []
        node.route.fetch(type, routing, told.append, self.clock.now, second)
        node.wake()
        return told
