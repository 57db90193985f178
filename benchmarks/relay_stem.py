"""What a relay's stem costs for each cell of a circuit, without ciphers, TLS and the cutting of the stream into cells.

    python benchmarks/relay_stem.py [--cells 20000] [--links 20] [--circuits 200]

Prints microseconds of CPU for each cell and hop (receive, delay, window, turn, credit), the best of three runs, and what one
circuit's window lets through a chain of relays in virtual time.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import pairwise

from anonymizer.cells import LARGE_BODY, LARGE_SIZE, SMALL_BODY, Cell, Command
from anonymizer.descr import location_of
from anonymizer.stem import Stem
from anonymizer.wire import SEALED_SIZE, Credit, Open, Phase, cell_of

PIVOT = bytes(32)
#: Seconds between two looks at what is due, as a busy reactor would.
TURN_S = 0.005


def _nothing(*_: object) -> None:
    """Told of something."""


def _takes(*_: object) -> bool:
    return True


def node_id(number: int) -> bytes:
    return hashlib.sha256(b"node %d" % number).digest()


def make(
    own_id: bytes, seed: int, heard: Callable[..., None] = _nothing, arrived: Callable[..., bool] = _takes
) -> Stem:
    chance = random.Random(seed)
    return Stem(own_id, chance, heard=heard, ended=_nothing, arrived=arrived, posted=_nothing, has_room=_nothing)


class Bench:
    """A relay with links; circuits come by some of them, as beyond the stem, and all go on to the pivot."""

    def __init__(self, links: int, circuits: int) -> None:
        self.stem = make(node_id(0), 1)
        for number in range(1, links):
            self.stem.link_up(node_id(number), is_client=False)
        self.stem.link_up(PIVOT, is_client=False)
        self.ports = []
        self.channels: dict[int, int] = {}
        for number in range(circuits):
            came, channel = node_id(1 + number % (links - 1)), 2 * number + 3
            body = Open(Phase.BRIDGE, PIVOT, 8, number.to_bytes(4, "big") * (SEALED_SIZE // 4))
            self.stem.receive(came, cell_of(body, channel), 0.0)
            self.ports.append((came, channel))
        self.now = 1.0
        self.stem.due(self.now)

    def run(self, cells: int, body: bytes) -> tuple[float, int]:
        """Seconds of CPU for so many cells, and how many of them left."""
        made = [Cell(Command.CELL, body, channel, len(body) > SMALL_BODY) for _, channel in self.ports]
        cost, left = 4 if len(body) > SMALL_BODY else 1, 0
        # Beyond the windows nothing is sent, as by any neighbour that keeps to them.
        turn = min(len(self.ports) * 4, 256)
        begun = time.process_time()
        for number in range(cells):
            place = number % len(self.ports)
            self.stem.receive(self.ports[place][0], made[place], self.now)
            if number % turn == turn - 1:
                left += self._turn(cost)
        while left < cells:
            left += self._turn(cost)
        return time.process_time() - begun, left

    def _turn(self, cost: int) -> int:
        """What is due leaves; the pivot gives its credit back at once."""
        self.now += 50 * TURN_S
        taken: dict[int, int] = {}
        for _, cell in self.stem.due(self.now):
            if cell.command is Command.CELL:
                taken[cell.channel] = taken.get(cell.channel, 0) + 1
        for channel, count in taken.items():
            self.stem.receive(PIVOT, cell_of(Credit(count * cost), channel), self.now)
        return sum(taken.values())


class Chain:
    """Relays in a row, each `hop_s` from the next; what a pivot says is timed where the origin hears it."""

    def __init__(self, relays: int, hop_s: float) -> None:
        # Each nearer to the pivot than the one before, since greedy hops go by that.
        goal = location_of(PIVOT)
        places = {own_id: abs(location_of(own_id) - goal) for own_id in map(node_id, range(relays + 1))}
        self.ids = [*sorted(places, key=lambda own_id: -min(places[own_id], 1 - places[own_id])), PIVOT]
        self.hop_s, self.heard, self.number = hop_s, 0, 0
        self.events: list[tuple[float, int, int, bytes, Cell]] = []
        self.count = 0
        self.stems = [make(own_id, place, self._hear, self._arrive) for place, own_id in enumerate(self.ids)]
        for place, (one, other) in enumerate(pairwise(self.ids)):
            first, second = self.stems[place], self.stems[place + 1]
            first.link_up(other, is_client=True)
            second.link_up(one, is_client=False)
            first.guards.fill([other], 0.0)
            first.make_edge(other, True)
            second.make_edge(one, False)

    def _hear(self, number: int, data: bytes, now: float) -> None:
        self.heard += 1

    def _arrive(self, number: int, sealed: bytes, came: bytes, now: float) -> bool:
        self.number = number
        return True

    def rate(self, cells: int) -> float:
        """MB/s of large cells from the pivot to the origin, after the first quarter of them."""
        assert self.stems[0].open(PIVOT, bytes(SEALED_SIZE), 0.0) is not None
        now, said, begun, first = 0.0, 0, 0.0, cells // 4
        while self.heard < cells:
            now = self._step(now)
            for _ in range(min(self.stems[-1].room(self.number), cells - said)):
                self.stems[-1].say(self.number, bytes(LARGE_BODY), now)
                said += 1
            if not begun and self.heard >= first:
                begun, first = now, self.heard
        return (cells - first) * LARGE_SIZE / (now - begun) / 1e6

    def _step(self, now: float) -> float:
        """To the next time at which something happens."""
        times = [when for stem in self.stems if (when := stem.next_at) is not None]
        now = max(now, min(times + [event[0] for event in self.events[:1]]))
        for place, stem in enumerate(self.stems):
            for to, cell in stem.due(now):
                self.count += 1
                heappush(self.events, (now + self.hop_s, self.count, self.ids.index(to), self.ids[place], cell))
        while self.events and self.events[0][0] <= now:
            _, _, goal, came, cell = heappop(self.events)
            self.stems[goal].receive(came, cell, now)
        return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--links", type=int, default=20)
    parser.add_argument("--circuits", type=int, default=200)
    options = parser.parse_args()
    for circuits in (1, options.circuits):
        for name, size in (("large", LARGE_BODY), ("small", SMALL_BODY)):
            times = [Bench(options.links, circuits).run(options.cells, bytes(size))[0] for _ in range(3)]
            print(
                f"{name} cells, {circuits:>4} circuits: {1e6 * min(times) / options.cells:6.1f} us CPU a cell and hop"
            )
    for relays, hop_s in ((6, 0.0002), (6, 0.05), (8, 0.05)):
        rate = Chain(relays, hop_s).rate(2_000)
        print(f"one circuit, {relays} relays, {1e3 * hop_s:4.1f} ms a hop, no limit of bandwidth: {rate:5.1f} MB/s")


if __name__ == "__main__":
    main()
