"""What the layer is worth at the moment, soberly: how many could have asked, and how much of what this node sends is its own.

The closed form assumes that a tenth of the nodes spy together and that one of them sits on the stem.  The one before it is then
the origin with chance 1 - (1 - q)(n - c - 1)/n (Crowds), and all other honest nodes share the rest evenly; 2 to the entropy of
that is how many equally likely ones it is worth.  Spies who know the whole graph do better: with them the number does not grow
beyond KNOWN_GRAPH however large the network is, so no more is ever shown.  It warns; it does not promise.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from anonymizer.cells import LARGE_BODY, LARGE_SIZE, SMALL_SIZE
from anonymizer.errors import CoverPoor
from anonymizer.pacing import END_CHANCE
from anonymizer.seams import Circuits
from anonymizer.wire import CloseReason

#: Share of spies that is assumed (design section 4.1).
SPIES: Final = 0.1
#: Where the effective set stops growing if the spies know the graph: 20 at 300 nodes, 22 at 600 (design section 3.7).
KNOWN_GRAPH: Final = 20.0
#: Minutes over which own and forwarded bytes are compared, and the share of own ones that is too much (section 3.13).
WINDOW_MIN: Final = 10
MAX_OWN_SHARE: Final = 0.5
#: Fewer bytes than these in the window say nothing: a hundred small cells.
_LEAST_BYTES: Final = 100 * SMALL_SIZE


def precision(nodes: int, spies: float = SPIES) -> float:
    """Chance that the node before the first spy of a stem is the origin, among `nodes` nodes, ourselves included."""
    honest = max(0, nodes - round(spies * nodes) - 1)
    return 1.0 - (1.0 - END_CHANCE) * honest / max(1, nodes)


def effective_set(nodes: int, spies: float = SPIES) -> float:
    """2 to the entropy of who it was, for spies who do not know the graph; at least 1."""
    others = nodes - round(spies * nodes) - 1
    if others < 1:
        return 1.0
    first = precision(nodes, spies)
    rest = 1.0 - first
    entropy = -first * math.log2(first) - rest * math.log2(rest / others)
    return float(2.0**entropy)


@dataclass(frozen=True, slots=True)
class Reading:
    """What goes with each result: the level that was really used, and what it is worth.

    `set_size` is what the closed form says of `nodes` (those known, and ourselves), but not more than KNOWN_GRAPH.  `own_share`
    is None while too little was sent to tell.
    """

    level: str
    pivots: int
    edge_age_s: float | None
    nodes: int
    set_size: float
    own_share: float | None
    warning: CoverPoor | None

    def row(self) -> dict[str, object]:
        """For the control surfaces."""
        return {
            "level": self.level,
            "pivots": self.pivots,
            "edge_age_s": None if self.edge_age_s is None else round(self.edge_age_s, 1),
            "nodes": self.nodes,
            "effective_set": round(self.set_size, 1),
            "own_share": None if self.own_share is None else round(self.own_share, 3),
            "warning": None if self.warning is None else self.warning.name,
        }


class Meter:
    """Counts what goes up: own cells here, forwarded ones by whoever moves them."""

    def __init__(self) -> None:
        #: (minute, own bytes, forwarded bytes), the last one being counted now.
        self._minutes: deque[tuple[int, int, int]] = deque()
        #: Own bytes since the start.
        self.total_own = 0

    def own(self, count: int, now: float) -> None:
        """So many bytes of own circuits left."""
        self.total_own += count
        self._count(count, 0, now)

    def forwarded(self, count: int, now: float) -> None:
        """So many bytes of others left."""
        self._count(0, count, now)

    def _count(self, own: int, forwarded: int, now: float) -> None:
        minute = int(now // 60)
        if self._minutes and self._minutes[-1][0] >= minute:
            last, before_own, before_forwarded = self._minutes.pop()
            self._minutes.append((last, before_own + own, before_forwarded + forwarded))
        else:
            self._minutes.append((minute, own, forwarded))
        while self._minutes[0][0] <= minute - WINDOW_MIN:
            self._minutes.popleft()

    def own_share(self, now: float) -> float | None:
        """Share of own bytes in what went up lately; None if that was too little to tell."""
        since = int(now // 60) - WINDOW_MIN
        recent = [entry for entry in self._minutes if entry[0] > since]
        own, forwarded = sum(entry[1] for entry in recent), sum(entry[2] for entry in recent)
        return own / (own + forwarded) if own + forwarded >= _LEAST_BYTES else None

    def warning(self, now: float) -> CoverPoor | None:
        """CoverPoor if most of it was own."""
        share = self.own_share(now)
        if share is None or share <= MAX_OWN_SHARE:
            return None
        return CoverPoor(
            f"{share:.0%} of what this node sent in {WINDOW_MIN} minutes is its own, which shows in its volume"
        )

    def reading(self, pivots: int, others: int, edge_age_s: float | None, now: float, level: str = "relay") -> Reading:
        """For a request that used so many pivots, while so many other nodes are known."""
        nodes = others + 1
        size = min(effective_set(nodes), KNOWN_GRAPH)
        return Reading(level, pivots, edge_age_s, nodes, size, self.own_share(now), self.warning(now))


class Metered:
    """`Circuits` that count what goes through them as own."""

    def __init__(self, circuits: Circuits, meter: Meter) -> None:
        self._circuits, self._meter = circuits, meter

    def open(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        number = self._circuits.open(pivot_id, sealed, now)
        if number is not None:
            self._meter.own(SMALL_SIZE, now)
        return number

    def say(self, number: int, data: bytes, now: float) -> None:
        self._meter.own(LARGE_SIZE if len(data) == LARGE_BODY else SMALL_SIZE, now)
        self._circuits.say(number, data, now)

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        self._meter.own(SMALL_SIZE, now)
        self._circuits.close(number, reason, now)

    def room(self, number: int) -> int:
        return self._circuits.room(number)

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        self._meter.own(SMALL_SIZE, now)
        return self._circuits.post(pivot_id, sealed, now)
