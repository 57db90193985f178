"""A1, colluding passive neighbours: who made the circuit that passed us?

Every circuit is really opened, by production stems in virtual time.  The spies pool what they saw of it, take the first
sighting (later ones are behind a spy, and say nothing new) and name the node with the largest posterior.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from anonymizer.stem import Stem
from anonymizer.wire import Open, Phase, parse
from gnutella.testing.anonymity.graph import Adversary, Edge, Seen
from gnutella.testing.anonymity.stats import Share, entropy, mean, share
from gnutella.testing.anonymity.stem_net import Sighting, StemNet
from gnutella.testing.anonymity.twins import CoinForEach, CountsHops, GuardForEach

#: A circuit is on its way for so long; one that is longer under way goes round in a circle.
QUIET_S: Final = 60.0
#: The bytes of a seal by which spies know a circuit again.
NAME: Final = slice(0, 32)


@dataclass(slots=True)
class Circuit:
    """One circuit: whose, to where, and the first sighting of it, with the hops that it says it has come."""

    origin: int
    pivot: int
    seen: Seen | None = None
    hops: int = 0
    has_arrived: bool = False


@dataclass(slots=True)
class Verdict:
    """What the spies made of one circuit."""

    phase: Phase | None
    is_right: bool = False
    best: float = 0.0
    bits: float = 0.0
    honest: int = 0


@dataclass(slots=True)
class Findings:
    """All circuits of all nets."""

    verdicts: list[Verdict] = field(default_factory=list)
    lost: int = 0

    @property
    def seen(self) -> list[Verdict]:
        """Seen on the stem."""
        return [verdict for verdict in self.verdicts if verdict.phase is Phase.STEM]

    @property
    def named(self) -> list[Verdict]:
        """Seen at all, on the stem or on the bridge."""
        return [verdict for verdict in self.verdicts if verdict.phase is not None]

    @property
    def precision(self) -> Share:
        return share(verdict.is_right for verdict in self.seen)

    @property
    def precision_with_bridges(self) -> Share:
        return share(verdict.is_right for verdict in self.named)

    @property
    def recall(self) -> Share:
        return share(verdict.is_right for verdict in self.verdicts)

    @property
    def recall_on_stems(self) -> Share:
        """If only what was seen on the stem is named."""
        return share(verdict.phase is Phase.STEM and verdict.is_right for verdict in self.verdicts)

    @property
    def some_spy_sees(self) -> Share:
        return share(verdict.phase is Phase.STEM for verdict in self.verdicts)

    def surer_than(self, bound: float) -> Share:
        """Of those seen on the stem."""
        return share(verdict.best > bound for verdict in self.seen)

    @property
    def degree(self) -> float:
        """d of those that were seen on the stem."""
        return mean(verdict.bits / math.log2(verdict.honest) for verdict in self.seen)

    @property
    def degree_of_system(self) -> float:
        return 1 - self.some_spy_sees.value * (1 - self.degree)

    @property
    def effective_set(self) -> float:
        """2**H, averaged over the bits."""
        return float(2 ** mean(verdict.bits for verdict in self.seen))

    def extend(self, other: Findings) -> None:
        self.verdicts += other.verdicts
        self.lost += other.lost


class Watch:
    """The spies' common log: the first sighting of each circuit, by its seal."""

    def __init__(self, net: StemNet, spies: Iterable[int]) -> None:
        self._spies = frozenset(spies)
        self.first: dict[bytes, tuple[Seen, int]] = {}
        net.watch = self._saw

    def _saw(self, sighting: Sighting) -> None:
        if sighting.to in self._spies and isinstance(body := parse(sighting.cell), Open):
            seen = body.phase, sighting.came, sighting.to, body.budget
            self.first.setdefault(body.sealed[NAME], (seen, body.sealed[-1]))


def spies_of(net: StemNet, part: float, rng: random.Random) -> list[int]:
    """So many of all nodes, drawn uniformly."""
    return sorted(rng.sample(range(len(net.nodes)), round(part * len(net.nodes))))


def send(net: StemNet, watch: Watch, origin: int, pivot: int) -> Circuit | None:
    """One circuit; None if its guard is its pivot, which an origin does not do."""
    circuit, seal = Circuit(origin, pivot), net.seal()
    if net.nodes[origin].open(net.nodes[pivot], seal) is None:
        return None
    net.clock.run(net.clock.now + QUIET_S)
    circuit.has_arrived = any(arrived[NAME] == seal[NAME] for arrived, _ in net.nodes[pivot].arrived)
    net.nodes[pivot].arrived.clear()
    if (found := watch.first.pop(seal[NAME], None)) is not None:
        circuit.seen, circuit.hops = found[0], found[1] + 1
    return circuit


def one_by_one(count: int, spy_share: float, circuits: int, seed: int, kind: type[Stem] = Stem) -> Findings:
    """Single circuits of random origins to random pivots, in one net."""
    net = StemNet(count, seed, kind)
    rng = random.Random(f"circuits {seed}")
    adversary = Adversary(net, spies_of(net, spy_share, rng))
    watch, findings = Watch(net, adversary.spies), Findings()
    while len(findings.verdicts) < circuits:
        origin, pivot = rng.choice(adversary.honest), rng.randrange(count)
        if origin == pivot or (circuit := send(net, watch, origin, pivot)) is None:
            continue
        findings.lost += not circuit.has_arrived
        findings.verdicts.append(judge(adversary, circuit, kind is CountsHops))
    return findings


def judge(adversary: Adversary, circuit: Circuit, counts_hops: bool = False) -> Verdict:
    if circuit.seen is None:
        return Verdict(None)
    if counts_hops and circuit.seen[0] is Phase.STEM:
        posterior = adversary.posterior_with_hops(circuit.seen, circuit.hops)
    else:
        posterior = adversary.posterior([(circuit.seen, circuit.pivot)])
    return verdict_of(posterior, circuit, len(adversary.honest))


def verdict_of(posterior: dict[int, float], circuit: Circuit, honest: int) -> Verdict:
    assert circuit.seen is not None
    if not posterior:
        return Verdict(circuit.seen[0], honest=honest)
    named = max(posterior, key=posterior.__getitem__)
    return Verdict(circuit.seen[0], named == circuit.origin, posterior[named], entropy(posterior.values()), honest)


# -- a series of circuits of one origin that the spies can link ---------------------------------------------------------------


@dataclass(slots=True)
class Series:
    """What the spies know of an origin after one circuit that they saw, and after all of them."""

    first: list[Verdict] = field(default_factory=list)
    last: list[Verdict] = field(default_factory=list)
    #: Those that were seen, and those that were not.
    origins: int = 0

    def extend(self, other: Series) -> None:
        self.origins += other.origins
        self.first += other.first
        self.last += other.last


def series(count: int, spy_share: float, origins: int, length: int, seed: int, kind: type[Stem] = Stem) -> Series:
    """`length` circuits of each of some origins, known to be of one origin (a pseudonym, a download in parts)."""
    net = StemNet(count, seed, kind)
    rng = random.Random(f"series {seed}")
    adversary = Adversary(net, spies_of(net, spy_share, rng))
    watch, found = Watch(net, adversary.spies), Series(origins=origins)
    for origin in rng.sample(adversary.honest, origins):
        pivots = [rng.randrange(count) for _ in range(length)]
        tried = [send(net, watch, origin, pivot) for pivot in pivots if pivot != origin]
        made = [circuit for circuit in tried if circuit is not None]
        on_stem = [circuit for circuit in made if circuit.seen is not None and circuit.seen[0] is Phase.STEM]
        if on_stem:
            found.first.append(judge(adversary, on_stem[0]))
            found.last.append(verdict_of(_together(adversary, kind, made), on_stem[0], len(adversary.honest)))
    return found


def _together(adversary: Adversary, kind: type[Stem], made: list[Circuit]) -> dict[int, float]:
    """What all circuits say, to spies who know how the ways are drawn."""
    edges = [_edge(circuit) for circuit in made]
    if kind is CoinForEach:
        return adversary.posterior_of_coins(edges)
    if kind is GuardForEach:
        return adversary.posterior_of_guards(edges)
    # Drawn once: each circuit shows the same edge, unless it met its pivot before.
    assert len(set(edges) - {None}) == 1
    return adversary.posterior([(circuit.seen, circuit.pivot) for circuit in made if circuit.seen and _edge(circuit)])


def _edge(circuit: Circuit) -> Edge | None:
    """Where it was seen on the stem."""
    seen = circuit.seen
    return None if seen is None or seen[0] is not Phase.STEM else (seen[1], seen[2])
