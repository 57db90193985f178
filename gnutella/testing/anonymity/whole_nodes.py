"""A4 and A10 on whole nodes: who asked for the blocks of a file, judged by key requests counted and by stores probed.

The nodes are the program's `Core`s in virtual time.  Files are published; some nodes fetch one each.  A4: all nodes count the
requests for keys of the file that each of their neighbours sent them; who sent most is suspected.  A10: what the stores
of the fetcher hold afterwards and did not before, and those of nodes that fetched nothing; and whether it answers a request
for a block that is in none of them.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from anonymizer.cells import Cell, Command
from anonymizer.client_cache import ClientCache
from anonymizer.errors import AnonymityError
from anonymizer.files import FileReader
from anonymizer.uri import ChkUri
from anonymizer.wire import BlockType, Fetch, cell_of, parse
from gnutella.testing.anonymity.stats import Area, Share, area
from gnutella.testing.relay_cores import CoreNet, CoreNode

SETTLE_S: Final = 60.0
#: Longest that a fetch of a few blocks may take.
FETCH_S: Final = 180.0
#: For an answer from a neighbour.
PROBE_S: Final = 1.5
FILE_BYTES: Final = 500_000
#: What breaks: nothing; the node asks by its own route, without circuits; results land where others may ask for them.
OURS, DIRECT, SHARED = "", "stem", "cache"


class SharedCache(ClientCache):
    """`cache`: what the user fetched is also kept where others are answered from."""

    def __init__(self, node: CoreNode) -> None:
        super().__init__()
        self._node = node

    def put(self, kind: int, routing: bytes, data: bytes, now: float) -> None:
        super().put(kind, routing, data, now)
        self._node.blocks.cache[kind, routing] = (data,)


@dataclass(slots=True)
class Counted:
    """One net: scores of nodes that fetched and of others, and what their stores held before and after."""

    fetchers: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    held_more: list[bool] = field(default_factory=list)
    control: list[bool] = field(default_factory=list)
    #: Keys that it does not hold and answers nevertheless, by itself.
    answered: list[bool] = field(default_factory=list)
    failed: int = 0

    @property
    def volume(self) -> Area:
        """How well the number of requests tells who fetched."""
        return area(self.fetchers, self.others)

    @property
    def gained(self) -> Share:
        """Of a fetcher's keys, those that it answers after the fetch and did not before."""
        return Share(sum(self.held_more), len(self.held_more))

    @property
    def gained_by_others(self) -> Share:
        """The same of nodes that fetched nothing."""
        return Share(sum(self.control), len(self.control))

    def extend(self, other: Counted) -> None:
        self.fetchers += other.fetchers
        self.others += other.others
        self.held_more += other.held_more
        self.control += other.control
        self.answered += other.answered
        self.failed += other.failed


class Bystanders:
    """All key requests of the net: (from, key)."""

    def __init__(self, net: CoreNet) -> None:
        self.asked: set[tuple[int, bytes, bytes]] = set()
        for node in net.nodes:
            node.watch = self._watch(node)

    def _watch(self, node: CoreNode) -> Any:
        def saw(to: bytes, cell: Cell, now: float) -> None:
            if cell.command is Command.FETCH and isinstance(body := parse(cell), Fetch):
                self.asked.add((node.number, to, body.routing))

        return saw

    def scores(self, keys: set[bytes]) -> Counter[int]:
        """For each node, the largest number of the file's keys that one neighbour was asked for by it."""
        pairs = Counter((came, to) for came, to, routing in self.asked if routing in keys)
        best: Counter[int] = Counter()
        for (came, _), count in pairs.items():
            best[came] = max(best[came], count)
        return best


def publish(node: CoreNode, data: bytes) -> ChkUri | None:
    """By that node's client."""
    left, ends = [data], list[AnonymityError | None]()

    def read(count: int, back: Any) -> None:
        taken, left[0] = left[0][:count], left[0][count:]
        back(taken, node.net.now)

    transfer = node.core.client.put(read, lambda error, now: ends.append(error), node.net.now, size=len(data))
    node.wake()
    node.net.run_until(lambda: ends, FETCH_S)
    return transfer.uri if ends == [None] else None


def fetch(node: CoreNode, uri: ChkUri) -> bool:
    """By that node's client, over circuits; whether it came."""
    ends: list[AnonymityError | None] = []
    node.core.client.get(uri, lambda offset, data: None, lambda error, now: ends.append(error), node.net.now)
    node.wake()
    node.net.run_until(lambda: ends, FETCH_S)
    return ends == [None]


def fetch_directly(node: CoreNode, keys: set[bytes]) -> bool:
    """`stem`: by the node's own route, as Freenet does; without circuits."""
    found: list[object] = []
    for key in sorted(keys):
        node.core.route.fetch(BlockType.CHK, key, found.append, node.net.now)
    node.wake()
    return node.net.run_until(lambda: len(found) == len(keys), FETCH_S)


def keys_of(net: CoreNet, uri: ChkUri) -> set[bytes]:
    """Routing keys of all blocks that a reader of the file asks for, read from wherever they are."""
    held = {routing: blocks[0] for node in net.nodes for (_, routing), blocks in node.blocks.store.items()}
    reader, keys = FileReader(uri), set[bytes]()
    while not reader.is_done:
        asked = reader.ask(64)
        for routing in asked:
            keys.add(routing)
            if routing in held:
                reader.receive(routing, held[routing])
            else:
                reader.lost(routing)
        reader.take()
    return keys


def holds(node: CoreNode, key: bytes) -> bool:
    """Whether it would answer a request for that key with the block, having one hop to go."""
    return bool((BlockType.CHK, key) in node.blocks.store or (BlockType.CHK, key) in node.blocks.cache)


def answers_from_nothing(node: CoreNode, key: bytes) -> bool:
    """Whether it answers a neighbour's request for a block that is in none of its stores, without asking anybody."""
    if holds(node, key):
        return False
    net, came = node.net, min(node.links)
    sent: list[Cell] = []
    node.watch = lambda to, cell, now: sent.append(cell)
    node.receive(came, cell_of(Fetch(net.rng.randbytes(16), BlockType.CHK, key, 1, False)))
    net.run(PROBE_S)
    node.watch = None
    asked = any(cell.command is Command.FETCH and parse(cell).routing == key for cell in sent)  # type: ignore[union-attr]
    return not asked and any(cell.command is Command.BLOCK for cell in sent)


def measure(count: int, fetches: int, seed: int, broken: str = OURS) -> Counted:
    """One net: each fetch is of a file of its own, by a node of its own."""
    net, rng, found = CoreNet(count, seed), random.Random(f"whole {seed}"), Counted()
    net.settle(SETTLE_S)
    for node in rng.sample(net.nodes, fetches):
        publisher = rng.choice([other for other in net.nodes if other is not node])
        uri = publish(publisher, rng.randbytes(FILE_BYTES))
        if uri is None:
            found.failed += 1
            continue
        keys = keys_of(net, uri)
        controls = rng.sample([other for other in net.nodes if other not in (node, publisher)], 4)
        before = {(one.number, key): holds(one, key) for one in (node, *controls) for key in keys}
        bystanders = Bystanders(net)
        if broken == SHARED:
            node.core.client._cache = SharedCache(node)
        done = fetch_directly(node, keys) if broken == DIRECT else fetch(node, uri)
        found.failed += not done
        scores = bystanders.scores(keys)
        found.fetchers.append(scores[node.number])
        found.others += [scores[other.number] for other in net.nodes if other not in (node, publisher)]
        found.held_more += [holds(node, key) and not before[node.number, key] for key in keys]
        found.control += [holds(one, key) and not before[one.number, key] for one in controls for key in keys]
        found.answered += [answers_from_nothing(node, key) for key in sorted(keys)]
    return found
