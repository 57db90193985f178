"""A3, counters: do the bytes of a cell tell whether its sender made it or passed it on?

Own and forwarded cells of the same nodes on the same edges (each to the node's guard), in equal numbers, as they are on the
wire.  Seals are real ones; what is said inside circuits is noise, as it is to all but the two ends.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer import inner
from anonymizer.cells import SMALL_BODY, Command
from anonymizer.inner import Dummy
from anonymizer.seal import X25519_SUITE, Opening, PivotKeys
from anonymizer.stem import Stem
from anonymizer.wire import CloseReason, Open, Phase, Post, parse
from gnutella.testing.anonymity.learners import best_area
from gnutella.testing.anonymity.stats import Area
from gnutella.testing.anonymity.stem_net import Sighting, StemNet

#: What is looked at: all that goes up a stem.
COMMANDS: Final = (Command.OPEN, Command.CELL, Command.CLOSE, Command.POST)
#: Time for a circuit to come and go.
LIFE_S: Final = 12.0
CELLS: Final = 2
SINCE_1970_S: Final = 1.8e9


@dataclass(slots=True)
class Kinds:
    """Cells of one command that left one node: its own, and those that it passed on."""

    own: list[bytes] = field(default_factory=list)
    forwarded: list[bytes] = field(default_factory=list)


class Wiretap:
    """Everything on the edges to guards, sorted by who made it; the bench knows, the learner has to find out."""

    def __init__(self, net: StemNet) -> None:
        self._net = net
        self.maker: dict[bytes, int] = {}
        self._of_channel: dict[tuple[int, int, int], bool] = {}
        self.found: dict[tuple[Command, int], Kinds] = defaultdict(Kinds)
        net.watch = self._saw

    def _saw(self, sighting: Sighting) -> None:
        cell, came = sighting.cell, sighting.came
        if cell.command not in COMMANDS or self._net.nodes[came].chosen[0] != sighting.to:
            return
        line = (came, sighting.to, cell.channel)
        body = parse(cell)
        if isinstance(body, Open | Post):
            if body.phase is not Phase.STEM:
                return
            is_own = self.maker[body.sealed[:32]] == came
            self._of_channel[line] = is_own
        elif line in self._of_channel:
            is_own = self._of_channel[line]
        else:
            return
        kinds = self.found[cell.command, came]
        (kinds.own if is_own else kinds.forwarded).append(cell.encode())

    def samples(self, command: Command, rng: random.Random) -> tuple[list[bytes], list[bytes]]:
        """As many of each kind from each node, so that the node itself tells nothing; in random order."""
        own: list[bytes] = []
        forwarded: list[bytes] = []
        for (which, _), kinds in self.found.items():
            count = min(len(kinds.own), len(kinds.forwarded))
            if which is command:
                own += rng.sample(kinds.own, count)
                forwarded += rng.sample(kinds.forwarded, count)
        rng.shuffle(own)
        rng.shuffle(forwarded)
        return own, forwarded


def collect(count: int, circuits: int, seed: int, kind: type[Stem] = Stem) -> Wiretap:
    """Circuits of random origins, each with some cells and an end; and as many posts."""
    net = StemNet(count, seed, kind, pivots_take=True)
    rng = random.Random(f"counters {seed}")

    def new_key() -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(rng.randbytes(32))

    tap, keys = Wiretap(net), [PivotKeys(SINCE_1970_S, new_key) for _ in net.nodes]
    for _ in range(circuits):
        origin, pivot = rng.sample(net.nodes, 2)
        key = keys[pivot.number].public[0][1:]
        opening = Opening(pivot.id, key, inner.encode(Dummy()), SINCE_1970_S, rng.randbytes(32), new_key())
        # A post's seal looks like any other: a byte of suite, and noise.
        posted = bytes((X25519_SUITE,)) + rng.randbytes(len(opening.sealed) - 1)
        tap.maker[opening.sealed[:32]] = tap.maker[posted[:32]] = origin.number
        number = origin.open(pivot, opening.sealed)
        origin.stem.post(pivot.id, posted, net.clock.now)
        net.wake(origin)
        net.clock.run(net.clock.now + LIFE_S)
        if number is not None:
            for _ in range(CELLS):
                origin.stem.say(number, rng.randbytes(SMALL_BODY), net.clock.now)
            origin.stem.close(number, CloseReason.DONE, net.clock.now)
            net.wake(origin)
            net.clock.run(net.clock.now + LIFE_S)
    return tap


def measure(count: int, circuits: int, seed: int, kind: type[Stem] = Stem) -> dict[Command, tuple[str, int, Area]]:
    """For each command: the best learner, how many samples of each kind it had in all, and its area."""
    tap, rng = collect(count, circuits, seed, kind), random.Random(f"sides {seed}")
    results: dict[Command, tuple[str, int, Area]] = {}
    for command in COMMANDS:
        own, forwarded = tap.samples(command, rng)
        name, found = best_area(own, forwarded)
        results[command] = name, len(own), found
    return results
