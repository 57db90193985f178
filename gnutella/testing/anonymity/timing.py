"""A5, response timing: is the neighbour that I hand a cell to the one who answers it, or does it hand it on?

A spy that a circuit passes sends data down to the node from which the circuit came, and takes the time until something comes up
again, without the two delays of its own link, which it knows.  The flow is the real one: production stems, virtual time,
and an origin that wants to react at once.  What the spy sends is what a pivot would have sent through it.

Best guess from a histogram learnt on other nets, given the share of first sightings that are of the origin itself.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from anonymizer.cells import SMALL_BODY, Cell, Command
from anonymizer.pacing import END_CHANCE
from anonymizer.stem import Stem
from anonymizer.wire import Ciphertext, Open, Phase, cell_of, parse
from gnutella.testing.anonymity.neighbours import NAME, QUIET_S, spies_of
from gnutella.testing.anonymity.stats import Guess, guess, mean
from gnutella.testing.anonymity.stem_net import Sighting, StemNet

#: A reaction that takes longer does not come.
PATIENCE_S: Final = 60.0
#: Of first sightings on a stem, so many come from the origin itself (a tenth of spies: 1 - (1 - q)(1 - f)).
PRIOR: Final = 1 - (1 - END_CHANCE) * 0.9
BLIND: Final = max(PRIOR, 1 - PRIOR)
NOISE: Final = bytes(SMALL_BODY)


@dataclass(slots=True)
class Timed:
    """One circuit that a spy saw first: whether it came from its origin, and how long each reaction took."""

    is_own: bool
    delays: list[float] = field(default_factory=list)


class Prober:
    """The spies of a net: whoever sees a circuit first times the node from which it came."""

    def __init__(self, net: StemNet, spy_share: float, seed: int) -> None:
        self.net, self.rng = net, random.Random(f"timing {seed}")
        self.spies = frozenset(spies_of(net, spy_share, self.rng))
        self.honest = [node for node in net.nodes if node.number not in self.spies]
        self._first: dict[bytes, Sighting] = {}
        self._up: Callable[[Sighting], None] = lambda sighting: None
        net.watch = self._saw

    def _saw(self, sighting: Sighting) -> None:
        if sighting.to not in self.spies:
            return
        if isinstance(body := parse(sighting.cell), Open):
            self._first.setdefault(body.sealed[NAME], sighting)
        self._up(sighting)

    def circuit(self, samples: int) -> Timed | None:
        """One circuit of a random origin; None unless a spy saw it on its stem."""
        origin, pivot = self.rng.sample(self.honest, 2)
        seal = self.net.seal()
        number = origin.open(pivot, seal)
        self.net.clock.run(self.net.clock.now + QUIET_S)
        sighting = self._first.pop(seal[NAME], None)
        if number is None or sighting is None or _phase(sighting.cell) is not Phase.STEM:
            return None
        self.net.hold_back(sighting.to, sighting.came, sighting.cell.channel)
        timed = Timed(sighting.came == origin.number)

        def react(number: int, data: bytes, now: float) -> None:
            origin.stem.say(number, NOISE, now)

        origin.on_heard = react
        for _ in range(samples):
            took = self._probe(sighting)
            if took is not None:
                timed.delays.append(took)
        origin.on_heard = lambda number, data, now: None
        return timed if len(timed.delays) == samples else None

    def _probe(self, sighting: Sighting) -> float | None:
        clock, begun, came = self.net.clock, self.net.clock.now, []

        def up(seen: Sighting) -> None:
            line = (seen.came, seen.to, seen.cell.channel)
            if seen.cell.command is Command.CELL and line == (sighting.came, sighting.to, sighting.cell.channel):
                came.append(seen.when)

        self._up = up
        self.net.inject(sighting.to, sighting.came, cell_of(Ciphertext(NOISE), sighting.cell.channel))
        while not came and clock.now < begun + PATIENCE_S and clock.step():
            pass
        self._up = lambda seen: None
        own_link = 2 * self.net.delays[frozenset((sighting.to, sighting.came))]
        return came[0] - begun - own_link if came else None


def _phase(cell: Cell) -> Phase | None:
    body = parse(cell)
    return body.phase if isinstance(body, Open) else None


def measure(
    count: int, spy_share: float, circuits: int, samples: int, seed: int, kind: type[Stem] = Stem
) -> list[Timed]:
    """So many circuits that a spy timed, in one net."""
    net = StemNet(count, seed, kind, pivots_take=True)
    prober, found = Prober(net, spy_share, seed), list[Timed]()
    while len(found) < circuits:
        timed = prober.circuit(samples)
        if timed is not None:
            found.append(timed)
    return found


def judge(train: list[Timed], test: list[Timed], samples: int) -> Guess:
    """The best guess from the mean of so many reactions."""

    def numbers(circuits: list[Timed]) -> list[tuple[float, bool]]:
        return [(mean(timed.delays[:samples]), timed.is_own) for timed in circuits]

    return guess(numbers(train), numbers(test), PRIOR)
