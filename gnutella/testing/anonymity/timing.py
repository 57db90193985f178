"""A5, response timing: is the neighbour that I hand a cell to the one who answers it, or does it hand it on?

A spy that a circuit passes sends data down to the node from which the circuit came, and takes the time until something comes up
again, without the two delays of its own link, which it knows.  The flow is the real one: production stems and production
clocks of own circuits in virtual time, and an origin that wants to react at once.  What the spy sends is what a pivot would
have sent through it.  Reactions that are timed: any cell, a large one, the end of the circuit, and the credit for what was
sent, for a little of it and for four windows as fast as they are opened; and with no reaction at all the spy looks at how the
cells follow each other, for each relay leaves its mark on a flow or does not.  `requests` has those of whole requests (another
circuit in place of a lost one, more of them for a large file), `answering` those of providers.

Best guess from histograms learnt on other nets, given the share of first sightings that are of the origin itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from anonymizer import lanes
from anonymizer.beat import FETCH_RATE, QUIET_RATE, Beat, is_large
from anonymizer.cells import LARGE_BODY, SMALL_BODY, Cell, Command
from anonymizer.circuits import Way
from anonymizer.credit import GRANT, LARGE_COST, WINDOW, cost_of
from anonymizer.fields import Body
from anonymizer.inner import Dummy, InnerBlock
from anonymizer.pacing import END_CHANCE, VirtualStem
from anonymizer.stem import Stem
from anonymizer.timers import Timer, Timers
from anonymizer.wire import BLOCK_SIZES, BlockType, Ciphertext, CloseReason, Credit, Open, Phase, cell_of, parse
from gnutella.testing.anonymity.neighbours import NAME, spies_of
from gnutella.testing.anonymity.stats import Guess, Histogram, guess, mean
from gnutella.testing.anonymity.stem_net import Sighting, StemNet, StemNode

#: A reaction that takes longer does not come.
PATIENCE_S: Final = 60.0
#: Of first sightings on a stem, so many come from the origin itself (a tenth of spies: 1 - (1 - q)(1 - f)).
PRIOR: Final = 1 - (1 - END_CHANCE) * 0.9
BLIND: Final = max(PRIOR, 1 - PRIOR)
NOISE: Final = bytes(SMALL_BODY)
LARGE_NOISE: Final = bytes(LARGE_BODY)
#: Seconds in which an opening has got to its pivot.
WAY_S: Final = 20.0
#: Seconds for which a clock has been going before anything is measured.
WARM_S: Final = 5.0
#: Between two samples of a credit.
PAUSE_S: Final = 2.0
#: Windows that are sent as fast as they are opened.
WINDOWS: Final = 4
#: For so long a spy gives no credit, and so long after it does it counts what comes.  A fetch that hears nothing is over then.
BLOCK_S: Final = 75.0
#: A put fills windows much sooner.
BLOCK_PUT_S: Final = 12.0
BURST_S: Final = 3.0
#: A cell that follows another so soon may have waited for it at a relay.
TOGETHER_S: Final = 0.005


class Reaction(Enum):
    """What the spy waits for."""

    CELL = "cell"
    LARGE = "large"
    END = "end"
    CREDIT = "credit"
    WINDOWS = "windows"
    BLOCK = "block"
    BLOCK_PUT = "block put"
    REOPEN = "reopen"
    LANES = "lanes"
    POST = "post"
    NONE = "none"


class Origins(Enum):
    """What decides when an origin says something: its clock; or, in broken twins, a virtual stem, or nothing.

    CREDIT: its clock, but it gives credit at once.
    """

    CLOCK = "clock"
    VIRTUAL_STEM = "vstem"
    AT_ONCE = "at once"
    CREDIT = "credit"


@dataclass(slots=True)
class Timed:
    """One circuit that a spy saw first: whether it came from its origin, and how long each reaction took.

    For `Reaction.NONE` they are the gaps between cells: 1 for each that is short, 0 for others.
    """

    is_own: bool
    delays: list[float] = field(default_factory=list)


#: What the spy waits for is the credit for what it sends.
CREDITS: Final = (Reaction.CREDIT, Reaction.WINDOWS)


#: What it counts is what comes when it gives credit again.
BLOCKS: Final = (Reaction.BLOCK, Reaction.BLOCK_PUT)


class TakesAtOnce(Stem):
    """`credit`: what comes to its end here is credited at once, and not as late as what goes on."""

    def _came(self, way: Way, body: Ciphertext, cost: int, now: float) -> None:
        if way.to[0] is not None:
            super()._came(way, body, cost, now)
            return
        way.receiving.take(cost)
        way.used_at = now
        self._gone(way, cost)
        if way.to[1] in self._here:
            self._heard(way.to[1], body.data, now)


class NetTimers(Timers):
    """Timers of one node of the net."""

    def __init__(self, net: StemNet, node: StemNode) -> None:
        super().__init__()
        self._net, self._node = net, node

    def at(self, when: float, call: Callable[[float], None]) -> Timer:
        timer = Timer(call)
        self._net.clock.at(max(when, self._net.clock.now), self._fire, timer)
        return timer

    def _fire(self, timer: Timer) -> None:
        timer.fire(self._net.clock.now)
        self._net.wake(self._node)


class Noise:
    """Both ends of a cipher that enciphers nothing: the spies could not read it anyway."""

    def cover(self) -> bytes:
        return NOISE

    def opened(self, data: bytes) -> Noise:
        return self

    def say(self, body: Body) -> bytes:
        return LARGE_NOISE if is_large(body) else NOISE

    def hear(self, data: bytes) -> Body:
        return Dummy()


class Origin:
    """What an origin does with one circuit, whenever something comes down."""

    def __init__(self, net: StemNet, node: StemNode, number: int, kind: Origins, reaction: Reaction) -> None:
        self._net, self._node, self._number, self._reaction = net, node, number, reaction
        self._virtual = VirtualStem(net.rng, node.stem.round_trips, False)
        self._kind = kind
        rate = FETCH_RATE if reaction in (Reaction.CELL, Reaction.NONE, *BLOCKS) else QUIET_RATE
        self._blocks = lanes.STORE_WINDOW if reaction is Reaction.BLOCK_PUT else 0
        self._timers = NetTimers(net, node)
        self.beat: Beat | None = None
        if kind in (Origins.CLOCK, Origins.CREDIT):
            opening: Any = Noise()
            now = net.clock.now
            nothing = lambda when: None  # noqa: E731
            self.beat = Beat(node.stem, net.rng, self._timers, number, opening, rate, self._put, nothing, now)
            self.beat.end = opening
            self._put(now)
        node.on_heard = self._heard

    def _put(self, now: float) -> None:
        """Say the blocks of a put, none of which is answered, as a lane does."""
        while self._blocks and self.beat is not None and self.beat.room:
            self.beat.say(BLOCK, self._net.clock.now)
            self._blocks -= 1

    def _heard(self, number: int, data: bytes, now: float) -> None:
        if self.beat is not None:
            if self._reaction is Reaction.END:
                self.beat.rest(lambda when: None, now)
            else:
                self.beat.say(BLOCK if self._reaction is Reaction.LARGE else Dummy(), now)
            return
        hold = self._virtual.hold(self._net.rng) if self._kind is Origins.VIRTUAL_STEM else 0.0
        self._timers.at(now + hold, self._react)

    def _react(self, now: float) -> None:
        if self._reaction is Reaction.END:
            self._node.stem.close(self._number, CloseReason.DONE, now)
        else:
            self._node.stem.say(self._number, LARGE_NOISE if self._reaction is Reaction.LARGE else NOISE, now)

    def stop(self) -> None:
        """The circuit is not looked at any more."""
        self._node.on_heard = lambda number, data, now: None
        if self.beat is not None:
            self.beat.stop()


BLOCK: Final = InnerBlock(BlockType.CHK, bytes(BLOCK_SIZES[BlockType.CHK]))


class Prober:
    """The spies of a net: whoever sees a circuit first times the node from which it came."""

    def __init__(self, net: StemNet, spy_share: float, seed: int, reaction: Reaction, origins: Origins) -> None:
        self.net, self.rng = net, random.Random(f"timing {seed}")
        self.reaction, self.origins = reaction, origins
        self.spies = frozenset(spies_of(net, spy_share, self.rng))
        self.honest = [node for node in net.nodes if node.number not in self.spies]
        self._first: dict[bytes, Sighting] = {}
        self._up: Callable[[Sighting], None] = lambda sighting: None
        self._owed = 0
        net.watch = self._saw

    def _saw(self, sighting: Sighting) -> None:
        if sighting.to not in self.spies:
            return
        if isinstance(body := parse(sighting.cell), Open):
            self._first.setdefault(body.sealed[NAME], sighting)
        self._up(sighting)

    def first(self, seal: bytes) -> Sighting | None:
        """Where a spy saw that seal first, if it was on its stem; asked once."""
        sighting = self._first.pop(seal[NAME], None)
        return None if sighting is None or _phase(sighting.cell) is not Phase.STEM else sighting

    def circuit(self, samples: int) -> Timed | None:
        """One circuit of a random origin; None unless a spy saw it on its stem."""
        origin, pivot = self.rng.sample(self.honest, 2)
        seal = self.net.seal()
        number = origin.open(pivot, seal)
        self.net.clock.run(self.net.clock.now + WAY_S)
        sighting = self.first(seal)
        if number is None or sighting is None:
            return None
        self.net.hold_back(sighting.to, sighting.came, sighting.cell.channel)
        timed = Timed(sighting.came == origin.number)
        end = Origin(self.net, origin, number, self.origins, self.reaction)
        self._owed = 0
        if self.reaction in BLOCKS:
            timed.delays = [self._held(sighting)]
        else:
            # The clock has been going for a while, at whatever distance.
            self.net.clock.run(self.net.clock.now + WARM_S)
            if self.reaction is Reaction.NONE:
                timed.delays = self._gaps(sighting, samples)
            else:
                self._probes(sighting, samples, timed)
        end.stop()
        return timed if len(timed.delays) == samples else None

    def _probes(self, sighting: Sighting, samples: int, timed: Timed) -> None:
        for _ in range(samples):
            took = self._credit(sighting) if self.reaction in CREDITS else self._probe(sighting)
            if took is None:
                return
            timed.delays.append(took)

    def _is_reaction(self, cell: Cell) -> bool:
        if self.reaction is Reaction.END:
            return cell.command is Command.CLOSE
        return cell.command is Command.CELL and (self.reaction is not Reaction.LARGE or len(cell.body) == LARGE_BODY)

    def _seen(self, sighting: Sighting, came: list[float]) -> Callable[[Sighting], None]:
        """What is to be done with cells of the circuit of that sighting: those that count go into `came`."""
        line = (sighting.came, sighting.to, sighting.cell.channel)

        def up(seen: Sighting) -> None:
            if line != (seen.came, seen.to, seen.cell.channel):
                return
            if self._is_reaction(seen.cell):
                came.append(seen.when)
            if seen.cell.command is Command.CELL:
                # The spy's own stem is not told of the cell, so the spy gives the credit for it.
                self._owed += cost_of(seen.cell)
                if self._owed >= GRANT:
                    self.net.inject(seen.to, seen.came, cell_of(Credit(self._owed), seen.cell.channel))
                    self._owed = 0

        return up

    def _probe(self, sighting: Sighting) -> float | None:
        came: list[float] = []
        clock, begun = self.net.clock, self.net.clock.now
        self._up = self._seen(sighting, came)
        self.net.inject(sighting.to, sighting.came, cell_of(Ciphertext(NOISE), sighting.cell.channel))
        while not came and clock.now < begun + PATIENCE_S and clock.step():
            pass
        self._up = lambda seen: None
        own_link = 2 * self.net.delays[frozenset((sighting.to, sighting.came))]
        return came[0] - begun - own_link if came else None

    def _credit(self, sighting: Sighting) -> float | None:
        """The time until all is credited of what the spy sends: once what a credit is for, or windows, one after the other."""
        clock, line = self.net.clock, (sighting.came, sighting.to, sighting.cell.channel)
        clock.run(clock.now + PAUSE_S)
        is_burst = self.reaction is Reaction.WINDOWS
        rounds = WINDOWS if is_burst else 1
        owed = rounds * (WINDOW if is_burst else GRANT)
        begun, sent = clock.now, 0

        def send(units: int) -> None:
            nonlocal sent
            for _ in range(min(units, owed - sent) // LARGE_COST):
                sent += LARGE_COST
                self.net.inject(sighting.to, sighting.came, cell_of(Ciphertext(LARGE_NOISE), sighting.cell.channel))

        back, other = 0, self._seen(sighting, [])

        def up(seen: Sighting) -> None:
            nonlocal back
            other(seen)
            if line == (seen.came, seen.to, seen.cell.channel) and isinstance(body := parse(seen.cell), Credit):
                back += body.cells
                send(body.cells)

        self._up = up
        send(WINDOW if is_burst else GRANT)
        while back < owed and clock.now < begun + PATIENCE_S and clock.step():
            pass
        self._up = lambda seen: None
        own_link = 2 * self.net.delays[frozenset((sighting.to, sighting.came))]
        return clock.now - begun - rounds * own_link if back >= owed else None

    def _held(self, sighting: Sighting) -> float:
        """How many cells, of a put large ones, come in a burst when no credit was given: those that wait on the way."""
        clock, line, came, owed = self.net.clock, (sighting.came, sighting.to, sighting.cell.channel), 0, self._owed
        is_open, is_put = False, self.reaction is Reaction.BLOCK_PUT

        def give() -> None:
            nonlocal owed
            if owed:
                self.net.inject(sighting.to, sighting.came, cell_of(Credit(owed), sighting.cell.channel))
                owed = 0

        def up(seen: Sighting) -> None:
            nonlocal came, owed
            if line == (seen.came, seen.to, seen.cell.channel) and seen.cell.command is Command.CELL:
                owed += cost_of(seen.cell)
                came += is_open and (not is_put or seen.cell.is_large)
                if is_open and owed >= GRANT:
                    give()

        self._up = up
        clock.run(clock.now + (BLOCK_PUT_S if is_put else BLOCK_S))
        is_open = True
        give()
        clock.run(clock.now + BURST_S)
        self._up = lambda seen: None
        return float(came)

    def _gaps(self, sighting: Sighting, samples: int) -> list[float]:
        came: list[float] = []
        clock, begun = self.net.clock, self.net.clock.now
        self._up = self._seen(sighting, came)
        while len(came) <= samples and clock.now < begun + PATIENCE_S + samples and clock.step():
            pass
        self._up = lambda seen: None
        return [float(after - before < TOGETHER_S) for before, after in pairwise(came)]


def _phase(cell: Cell) -> Phase | None:
    body = parse(cell)
    return body.phase if isinstance(body, Open) else None


def measure(
    count: int,
    spy_share: float,
    circuits: int,
    samples: int,
    seed: int,
    reaction: Reaction = Reaction.CELL,
    origins: Origins = Origins.CLOCK,
) -> list[Timed]:
    """So many circuits that a spy timed, in one net."""
    kind = TakesAtOnce if origins is Origins.CREDIT else Stem
    net = StemNet(count, seed, kind, pivots_take=True)
    prober, found = Prober(net, spy_share, seed, reaction, origins), list[Timed]()
    while len(found) < circuits:
        timed = prober.circuit(samples)
        if timed is not None:
            found.append(timed)
    return found


def judge(train: list[Timed], test: list[Timed], samples: int) -> Guess:
    """The best guess from so many reactions: from their mean, the quickest, or each of them, whichever was best on others."""
    numbers = [
        [(number(timed.delays[:samples]), timed.is_own) for timed in train] for number in _numbers(train, samples)
    ]
    tests = [[(number(timed.delays[:samples]), timed.is_own) for timed in test] for number in _numbers(train, samples)]
    best = max(range(len(numbers)), key=lambda at: guess(numbers[at], numbers[at], PRIOR).accuracy)
    return guess(numbers[best], tests[best], PRIOR)


def judge_all(one: list[Timed], other: list[Timed], samples: int) -> Guess:
    """Each half is guessed by what was learnt of the other."""
    halves = [(judge(one, other, samples), len(other)), (judge(other, one, samples), len(one))]
    count = len(one) + len(other)

    def weighed(number: Callable[[Guess], float]) -> float:
        return sum(number(found) * trials for found, trials in halves) / count

    return Guess(
        weighed(lambda found: found.accuracy),
        math.hypot(*(found.sigma * trials / count for found, trials in halves)),
        PRIOR,
        weighed(lambda found: found.sure),
        halves[0][0].area,
    )


def _numbers(train: list[Timed], samples: int) -> list[Callable[[list[float]], float]]:
    """What may be made of one circuit's delays."""
    if samples == 1:
        return [mean]
    own, other = (
        [delay for timed in train if timed.is_own is is_own for delay in timed.delays[:samples]]
        for is_own in (True, False)
    )
    each = Histogram(own, other)
    return [mean, min, lambda delays: sum(map(each.log_ratio, delays))]
