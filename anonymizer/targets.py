"""Which links a node wants for the sake of routes: one in each octave of distance, near ones preferred within each, and its
neighbours on the ring.

With links whose lengths are spread evenly over the octaves (chances as 1/d), greedy routes take few hops at any size of the
network (Kleinberg); with the two neighbours a greedy route never ends short of the nearest node.  Links of others' choice
count as well, so that all together have as many as they need and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeAlias

from anonymizer.descr import Descriptor
from anonymizer.pacing import Chance

#: Octaves of distance: from half the ring down to 1/512.
OCTAVES: Final = 8
#: Links that a node wants, the fewest it is content with, and the most it has (stem edges included).
TARGET_LINKS: Final = 12
MIN_LINKS: Final = 6
MAX_LINKS: Final = 20
#: The two sides on the ring.
SIDES: Final = ("after", "before")
#: A distance that no two nodes come below, so that 1/d stays a number.
_NEAREST: Final = 2.0**-40

#: What a link is wanted for: an octave, a neighbour on the ring ("before", "after"), or one of the rest.
Slot: TypeAlias = tuple[str, int]


def distance(one: float, other: float) -> float:
    """Between two places of the ring, at most 0.5."""
    apart = abs(one - other)
    return min(apart, 1.0 - apart)


def octave_of(apart: float) -> int:
    """1 for the farther half of all distances, 2 for the next quarter, ... OCTAVES for all that is nearer."""
    return max(1, min(OCTAVES, math.floor(-math.log2(max(apart, _NEAREST)))))


def draw(chance: Chance, found: Sequence[tuple[float, Descriptor]]) -> Descriptor | None:
    """One of them, nearer ones more likely: as 1/d.  Each is (distance, who)."""
    weights = [1.0 / max(apart, _NEAREST) for apart, _ in found]
    mark = chance.random() * sum(weights)
    for weight, (_, descriptor) in zip(weights, found, strict=True):
        mark -= weight
        if mark < 0:
            return descriptor
    return found[-1][1] if found else None


def ahead(own: float, place: float, name: str) -> float:
    """How far along the ring from `own` to `place`, upwards ("after") or downwards ("before")."""
    return (place - own if name == "after" else own - place) % 1.0


def is_next(own: float, place: float, others: Collection[float]) -> bool:
    """Whether it is a neighbour of `own` on the ring: on one of the two sides nobody of `others` is nearer."""
    nearest = {name: min((ahead(own, other, name) for other in others), default=1.0) for name in SIDES}
    return any(ahead(own, place, name) <= nearest[name] for name in SIDES)


class Targets:
    """The wishes of one node; each stays until it is kept or given up, so that dialling it twice is not choosing twice."""

    def __init__(self, own_place: float, chance: Chance, *, target: int = TARGET_LINKS) -> None:
        self._own, self._chance, self._target = own_place, chance, target
        self._wishes: dict[Slot, bytes] = {}

    def wanted(
        self,
        linked: Iterable[float],
        candidates: Iterable[Descriptor],
        is_taken: Callable[[Descriptor], bool],
        others: int = 0,
    ) -> list[Descriptor]:
        """Whom to dial.  `linked` are the places of the linked nodes, `candidates` those known with an address and not linked;
        those of which `is_taken` holds (network in use, failed lately) are left out.  `others` are links wanted besides.
        """
        linked = list(linked)
        free = {d.node_id: d for d in candidates if not is_taken(d)}
        self._wishes = {slot: node for slot, node in self._wishes.items() if node in free}
        open_slots = self._open_slots(linked, self._target - len(linked) - others, free.values())
        self._wishes = {slot: node for slot, node in self._wishes.items() if slot in open_slots}
        for slot in open_slots:
            if slot not in self._wishes and (chosen := self._choose(slot, free.values())) is not None:
                self._wishes[slot] = chosen.node_id
        return [free[node] for node in dict.fromkeys(self._wishes.values())]

    def give_up(self, node_id: bytes) -> None:
        """It cannot be had: choose another."""
        self._wishes = {slot: node for slot, node in self._wishes.items() if node != node_id}

    def _open_slots(self, linked: list[float], room: int, free: Collection[Descriptor]) -> list[Slot]:
        """Neighbours first: they are few, and routes end at them; then octaves, then any up to the target."""
        slots: list[Slot] = []
        for name in SIDES:
            nearest = min((ahead(self._own, place, name) for place in linked), default=1.0)
            if any(ahead(self._own, d.location, name) < nearest for d in free):
                slots.append((name, 0))
        have = {octave_of(distance(self._own, place)) for place in linked}
        there = {octave_of(distance(self._own, d.location)) for d in free}
        slots += [("octave", k) for k in sorted(there - have)][: max(0, room)]
        slots += [("rest", number) for number in range(room - len(slots))]
        return slots

    def _choose(self, slot: Slot, free: Collection[Descriptor]) -> Descriptor | None:
        name, number = slot
        if name in SIDES:
            return min(free, key=lambda d: ahead(self._own, d.location, name), default=None)
        wished = set(self._wishes.values())
        apart = [(distance(self._own, d.location), d) for d in free if d.node_id not in wished]
        if name == "octave":
            apart = [(far, d) for far, d in apart if octave_of(far) == number]
        return draw(self._chance, apart)
