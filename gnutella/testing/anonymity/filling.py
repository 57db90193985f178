"""A13 and A1 once more: what can be had from the allowance of each edge, of which openings use up one each?

`levels`: a spy who has just seen a circuit on its stem puts as many openings at once into the stems of others as an edge may
have.  Where they come out one too few, the circuit has used the edge a moment ago.

`shortened`: the spies keep all edges full to which their own stems lead.  Others' stems that come by these end there, so they
are shorter, and the spies see more of what follows.  They are given the share of openings that each edge ends, which they
could learn only in part: the figures are upper bounds.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from anonymizer.pacing import END_CHANCE
from anonymizer.seen import OPENS_A_SECOND, OPENS_AT_ONCE
from anonymizer.stem import Stem
from anonymizer.wire import Open, Phase, cell_of
from gnutella.testing.anonymity.graph import LEAST, Adversary, Edge, Seen, scaled
from gnutella.testing.anonymity.neighbours import (
    NAME,
    Circuit,
    Findings,
    Verdict,
    Watch,
    judge,
    spies_of,
    verdict_of,
)
from gnutella.testing.anonymity.stats import share
from gnutella.testing.anonymity.stem_net import StemNet
from gnutella.testing.anonymity.traceback import WAIT_S, Log, Oracle, doors_of, surfaces

#: Until allowances are full again.
FULL_S: Final = OPENS_AT_ONCE / OPENS_A_SECOND
#: A spy acts so long after it has seen a circuit, which has passed the spy's side of the stem by then.
AFTER_S: Final = 0.5


def put(net: StemNet, door: tuple[int, int], pivot: int) -> bytes:
    """An opening with a new seal, by a stem edge of a spy."""
    spy, node = door
    seal = net.seal()
    is_client = net.nodes[spy].stem._links[net.nodes[node].id].is_client
    body = Open(Phase.STEM, net.nodes[pivot].id, 0, seal)
    net.inject(spy, node, cell_of(body, net.rng.getrandbits(32) & ~1 | is_client | 1 << 31))
    return seal


def levels(count: int, circuits: int, seed: int, spy_share: float = 0.1, kind: type[Stem] = Stem) -> Oracle:
    """Of circuits that spies saw on the stem, of how many a door's openings say that they came by its edges."""
    net = StemNet(count, seed, kind)
    log, rng = Log(net), random.Random(f"levels {seed}")
    spies = spies_of(net, spy_share, rng)
    watchers, honest = frozenset(spies), [node for node in net.nodes if node.number not in spies]
    doors = doors_of(net, spies)
    usual = {door: surfaces(net, log, door, net.seal(), rng.choice(honest).number, watchers) for door in doors}
    alarms, controls, tested = list[bool](), list[bool](), 0

    def passed(door: tuple[int, int], pivot: int, seen: Seen) -> int:
        seals = [put(net, door, pivot) for _ in range(OPENS_AT_ONCE)]
        begun = net.clock.now
        net.clock.run(begun + WAIT_S)
        return sum(log.first(seal, watchers, begun) == seen for seal in seals)

    for _ in range(circuits):
        origin, pivot = rng.sample(honest, 2)
        net.clock.run(net.clock.now + FULL_S)
        seal, begun = net.seal(), net.clock.now
        origin.open(pivot, seal)
        while (seen := log.first(seal, watchers)) is None and net.clock.now < begun + WAIT_S and net.clock.step():
            pass
        if seen is None or seen[0] is not Phase.STEM:
            continue
        by = [door for door in doors if usual[door] == seen]
        tested += bool(by)
        if not by:
            alarms.append(False)
            controls.append(False)
            continue
        # One door for each circuit: others would find what the first has used.
        door = rng.choice(by)
        net.clock.run(net.clock.now + AFTER_S)
        before = passed(door, pivot.number, seen)
        net.clock.run(net.clock.now + FULL_S)
        after = passed(door, pivot.number, seen)
        alarms.append(before < OPENS_AT_ONCE)
        controls.append(after < OPENS_AT_ONCE)
        log.opens.clear()
    return Oracle(tested, share(alarms), share(controls))


# -- shorter stems ---------------------------------------------------------------------------------------------------------


class Ends:
    """For each directed edge, how many openings that came by it were looked at, and how many of them ended for want of room."""

    def __init__(self, net: StemNet) -> None:
        self.asked: dict[Edge, int] = {}
        self.ended: dict[Edge, int] = {}
        self._net = net
        for node in net.nodes:
            rounds: Any = node.stem._rounds
            node.stem._rounds = _Counted(self, node.number, rounds)  # type: ignore[assignment]

    def count(self, came: bytes, node: int, goes_on: bool) -> None:
        edge = self._net.number_of[came], node
        self.asked[edge] = self.asked.get(edge, 0) + 1
        self.ended[edge] = self.ended.get(edge, 0) + (not goes_on)

    def share_of(self, edge: Edge) -> float:
        return self.ended.get(edge, 0) / self.asked[edge] if self.asked.get(edge) else 0.0


class _Counted:
    def __init__(self, ends: Ends, node: int, rounds: Any) -> None:
        self._ends, self._node, self._rounds = ends, node, rounds

    def goes_on(self, edge: bytes, is_post: bool, now: float) -> bool:
        goes_on: bool = self._rounds.goes_on(edge, is_post, now)
        self._ends.count(edge, self._node, goes_on)
        return goes_on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rounds, name)


class Filler(Adversary):
    """Spies who know how full each edge is."""

    def __init__(self, net: StemNet, spies: Collection[int], ends: Ends) -> None:
        super().__init__(net, spies)
        self._full = ends

    def _end(self, edge: Edge) -> float:
        return END_CHANCE + (1 - END_CHANCE) * self._full.share_of(edge)

    def hops(self, origin: int, guards: tuple[int, ...]) -> Iterator[dict[Edge, float]]:
        at: dict[Edge, float] = {(origin, guard): 1 / len(guards) for guard in guards}
        while at:
            yield at
            following: dict[Edge, float] = {}
            for edge, chance in at.items():
                if edge[1] in self.spies:
                    continue
                for onward, weight in self.onward(edge):
                    passed = chance * (1 - self._end(edge)) * weight
                    if passed > LEAST:
                        following[onward] = following.get(onward, 0.0) + passed
            at = following

    def posterior(self, seen: list[tuple[Seen, int]]) -> dict[int, float]:
        phase = seen[0][0][0]
        if phase is Phase.STEM:
            return super().posterior(seen)
        ends = [edge for edge in self._directed() if self._explains(edge, seen)]
        return scaled(
            {
                origin: sum(visited.get(edge, 0.0) * self._end(edge) for edge in ends)
                for origin in self.honest
                if all(pivot != origin for _, pivot in seen)
                for visited in (self.visits(origin),)
            }
        )


@dataclass(slots=True)
class Shortened:
    """The same circuits judged by spies who know how full edges are, and by spies who do not; `ended` of all others' stems."""

    knowing: Findings = field(default_factory=Findings)
    plain: Findings = field(default_factory=Findings)
    full_edges: list[float] = field(default_factory=list)

    def extend(self, other: Shortened) -> None:
        self.knowing.extend(other.knowing)
        self.plain.extend(other.plain)
        self.full_edges += other.full_edges


def shortened(count: int, spy_share: float, circuits: int, seed: int, *, is_filled: bool = True) -> Shortened:
    """Circuits of random origins, one a second, while the spies keep full whatever edges they can."""
    net = StemNet(count, seed)
    ends, rng = Ends(net), random.Random(f"shortened {seed}")
    spies = spies_of(net, spy_share, rng)
    plain, watch = Adversary(net, spies), Watch(net, spies)
    doors = doors_of(net, spies) if is_filled else []

    def fill(door: tuple[int, int]) -> None:
        put(net, door, rng.choice(plain.honest))
        net.clock.after(1 / OPENS_A_SECOND, fill, door)

    for door in doors:
        for _ in range(OPENS_AT_ONCE):
            put(net, door, rng.choice(plain.honest))
        net.clock.after(rng.random() / OPENS_A_SECOND, fill, door)
    net.clock.run(net.clock.now + FULL_S)
    ends.asked.clear()
    ends.ended.clear()
    made: list[tuple[Circuit, bytes]] = []
    while len(made) < circuits:
        origin, pivot = rng.choice(plain.honest), rng.randrange(count)
        seal = net.seal()
        if origin != pivot and net.nodes[origin].open(net.nodes[pivot], seal) is not None:
            made.append((Circuit(origin, pivot), seal))
        net.clock.run(net.clock.now + 1.0)
    net.clock.run(net.clock.now + WAIT_S)
    found, knowing = Shortened(), Filler(net, spies, ends)
    found.full_edges = [ends.share_of(edge) for edge in ends.asked]
    for circuit, seal in made:
        if (first := watch.first.pop(seal[NAME], None)) is not None:
            circuit.seen = first[0]
        for adversary, findings in ((plain, found.plain), (knowing, found.knowing)):
            findings.verdicts.append(_judged(adversary, circuit))
    return found


def _judged(adversary: Adversary, circuit: Circuit) -> Verdict:
    if circuit.seen is None:
        return judge(adversary, circuit)
    posterior = adversary.posterior([(circuit.seen, circuit.pivot)])
    return verdict_of(posterior, circuit, len(adversary.honest))
