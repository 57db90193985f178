"""What colluding neighbours compute: where a circuit that they see began, given the whole graph and the code, but no coins.

A circuit is a walk over directed edges: it leaves its origin by one of the edges of the origin's own choice, and at each honest
node ends its stem with chance q or goes on by another edge.  `visits` solves the linear system for each origin: the expected
number of times that the walk takes each edge before any spy has seen it.  From the stem's end on, the way is greedy and
therefore known.  Only one thing is left out: that a walk which comes to the same edge twice ends its stem there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from functools import cache

from anonymizer.descr import location_of
from anonymizer.edges import ACCEPTED_WEIGHT
from anonymizer.pacing import END_CHANCE
from anonymizer.wire import BRIDGE_BUDGET, Phase
from gnutella.testing.anonymity.stem_net import StemNet

#: Walks that are likelier than this are followed: what is left out of an origin's is less than a thousandth.
LEAST = 1e-6
#: A directed edge: (from, to).
Edge = tuple[int, int]
#: What the spies see first of a circuit: phase, from, to, budget.
Seen = tuple[Phase, int, int, int]


class Adversary:
    """The spies of one net, all of whom know all edges, links and rules."""

    def __init__(self, net: StemNet, spies: Collection[int]) -> None:
        self.spies = frozenset(spies)
        self.honest = [node.number for node in net.nodes if node.number not in self.spies]
        self._ids = [node.id for node in net.nodes]
        self._places = [location_of(node.id) for node in net.nodes]
        self._links = [sorted(node.links) for node in net.nodes]
        self._chosen = [tuple(node.chosen) for node in net.nodes]
        self._edges: dict[int, dict[int, float]] = {node.number: {} for node in net.nodes}
        for node in net.nodes:
            for other in node.chosen:
                self._edges[node.number][other] = 1.0
                self._edges[other].setdefault(node.number, ACCEPTED_WEIGHT)
        self._visits: dict[tuple[int, int | None], dict[Edge, float]] = {}
        self._by_hop: dict[int, dict[tuple[int, int, int], float]] = {}
        self.nearest = cache(self._nearest)
        self.onward = cache(self._onward)

    # -- the stem --------------------------------------------------------------------------------------------------------

    def _onward(self, edge: Edge) -> tuple[tuple[Edge, float], ...]:
        """Where an honest node sends on what came by that edge, and how likely, if the stem goes on."""
        came, node = edge
        weights = {other: weight for other, weight in self._edges[node].items() if other != came}
        total = sum(weights.values())
        return tuple(((node, other), weight / total) for other, weight in weights.items())

    def hops(self, origin: int, guards: tuple[int, ...]) -> Iterator[dict[Edge, float]]:
        """For each hop, how likely the walk is at each edge, unseen before; it begins at one of these guards."""
        at: dict[Edge, float] = {(origin, guard): 1 / len(guards) for guard in guards}
        while at:
            yield at
            following: dict[Edge, float] = {}
            for edge, chance in at.items():
                if edge[1] in self.spies:
                    continue
                for onward, weight in self.onward(edge):
                    passed = chance * (1 - END_CHANCE) * weight
                    if passed > LEAST:
                        following[onward] = following.get(onward, 0.0) + passed
            at = following

    def visits(self, origin: int, guard: int | None = None) -> dict[Edge, float]:
        """Expected times that a circuit of that origin takes each edge, unseen before; by that guard, or by either."""
        if (origin, guard) not in self._visits:
            total: dict[Edge, float] = {}
            for at in self.hops(origin, self._chosen[origin] if guard is None else (guard,)):
                for edge, chance in at.items():
                    total[edge] = total.get(edge, 0.0) + chance
            self._visits[origin, guard] = total
        return self._visits[origin, guard]

    # -- the bridge ------------------------------------------------------------------------------------------------------

    def _apart(self, node: int, goal: float) -> float:
        apart = abs(self._places[node] - goal)
        return min(apart, 1 - apart)

    def _nearest(self, node: int, pivot: int) -> tuple[int, ...]:
        """The two links of a node that are nearest to the pivot."""
        goal = self._places[pivot]
        return tuple(sorted(self._links[node], key=lambda other: self._apart(other, goal))[:2])

    def _nearer(self, came: int, node: int, pivot: int) -> int | None:
        if pivot in self._links[node]:
            return None if pivot == came else pivot
        best = next(other for other in self.nearest(node, pivot) if other != came)
        goal = self._places[pivot]
        return best if self._apart(best, goal) < self._apart(node, goal) else None

    def bridge(self, edge: Edge, pivot: int) -> Seen | None:
        """What the spies see if the stem ends after that edge and nobody saw it before; None: nothing."""
        came, node = edge
        while node != pivot:
            goes = self._nearer(came, node, pivot)
            if goes is None:
                return None
            if goes in self.spies:
                return Phase.BRIDGE, node, goes, BRIDGE_BUDGET
            came, node = node, goes
        return None

    # -- who it was ------------------------------------------------------------------------------------------------------

    def posterior(self, seen: list[tuple[Seen, int]]) -> dict[int, float]:
        """Of each honest node, how likely it is that it made these circuits: (what was seen first, pivot) of each.

        All take one way, so what is seen of several is the same edge, or several bridges from one.
        """
        (phase, came, to, _), _ = seen[0]
        if phase is Phase.STEM:
            ends = [(came, to)]
        else:
            ends = [edge for edge in self._directed() if self._explains(edge, seen)]
        likely = {
            origin: sum(visited.get(edge, 0.0) for edge in ends)
            for origin in self.honest
            if all(pivot != origin for _, pivot in seen)
            for visited in (self.visits(origin),)
        }
        return scaled(likely)

    def _directed(self) -> list[Edge]:
        return [(came, node) for node in self.honest for came in self._edges[node] if came not in self.spies]

    def _explains(self, edge: Edge, seen: list[tuple[Seen, int]]) -> bool:
        return all(edge[1] != pivot and self.bridge(edge, pivot) == what for what, pivot in seen)

    def posterior_with_hops(self, seen: Seen, hop: int) -> dict[int, float]:
        """As if the cell said how many hops it has come: what one counter gives away."""
        return scaled({origin: self._first_seen(origin).get((seen[1], seen[2], hop), 0.0) for origin in self.honest})

    def _first_seen(self, origin: int) -> dict[tuple[int, int, int], float]:
        """How likely the spies see it first on that edge, at that hop."""
        if origin not in self._by_hop:
            self._by_hop[origin] = {
                (*edge, number): chance
                for number, at in enumerate(self.hops(origin, self._chosen[origin]), 1)
                for edge, chance in at.items()
                if edge[1] in self.spies
            }
        return self._by_hop[origin]

    def posterior_of_coins(self, edges: list[Edge | None]) -> dict[int, float]:
        """If each circuit drew its coins and edges anew, by one guard: what was seen of each (None: nothing on the stem)."""
        return self._weighed(lambda origin, guard: [self._chance_of(origin, guard, edge) for edge in edges])

    def posterior_of_guards(self, edges: list[Edge | None]) -> dict[int, float]:
        """If each circuit took any of the guards, each of which leads one way: the ways that were seen."""
        ways = sorted({edge for edge in edges if edge is not None})
        if len(ways) == 1:
            return scaled({origin: self.visits(origin).get(ways[0], 0.0) for origin in self.honest})
        one, other = ways[:2]
        found: dict[int, float] = {}
        for origin in self.honest:
            by = [self.visits(origin, guard) for guard in self._chosen[origin]]
            pairs = [(first, second) for first in by for second in by if first is not second]
            found[origin] = sum(first.get(one, 0.0) * second.get(other, 0.0) for first, second in pairs)
        return scaled(found)

    def _chance_of(self, origin: int, guard: int, edge: Edge | None) -> float:
        visits = self.visits(origin, guard)
        if edge is not None:
            return visits.get(edge, 0.0)
        return 1 - sum(chance for (_, to), chance in visits.items() if to in self.spies)

    def _weighed(self, chances: Callable[[int, int], list[float]]) -> dict[int, float]:
        found: dict[int, float] = {}
        for origin in self.honest:
            likely = [math.prod(chances(origin, guard)) for guard in self._chosen[origin]]
            found[origin] = sum(likely) / len(likely)
        return scaled(found)


def scaled(likely: dict[int, float]) -> dict[int, float]:
    """Chances that sum up to one; without those that cannot be."""
    total = sum(likely.values())
    return {origin: value / total for origin, value in likely.items() if value > 0}
