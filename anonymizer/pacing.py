"""When cells leave and in which turn: delays that keep order, queues that are fair, and the stem that the origin imitates.

Every law of delay is exponential, so there is no time after which something must have come from the origin.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

#: Mean delay of each relay, by class of the circuit.
FAST_DELAY_S: Final = 0.025
SLOW_DELAY_S: Final = 0.2
#: Chance that an edge ends the stem: four hops on the average, and Crowds' bound at .325 for a tenth of spies.
END_CHANCE: Final = 0.25
#: A round is worth one large cell to each flow.
QUANTUM: Final = 33_792
#: Round trips of own links that are remembered for virtual stems, and what is taken while there are none.
MAX_ROUND_TRIPS: Final = 256
TYPICAL_ROUND_TRIP_S: Final = 0.08


class Chance(Protocol):
    """Chance; secrets.SystemRandom in earnest."""

    def random(self) -> float: ...
    def randrange(self, stop: int, /) -> int: ...
    def getrandbits(self, k: int, /) -> int: ...


def exponential(chance: Chance, mean: float) -> float:
    return -mean * math.log(1.0 - chance.random())


class Pace:
    """One direction of one circuit at one relay: a cell leaves a fresh delay after it came, and never before the last one.

    `is_up`: away from who opened it, cells are taken one after the other, each for a fresh delay.  Origins send there at the
    times of a Poisson process, and what leaves such a queue is one again (Burke's theorem), with no trace of how many queues
    it has passed.  Down, where one after the other would be too slow, delays overlap.
    """

    __slots__ = ("_is_up", "_last", "_mean")

    def __init__(self, is_slow: bool, is_up: bool = False) -> None:
        self._mean = SLOW_DELAY_S if is_slow else FAST_DELAY_S
        self._is_up = is_up
        self._last = 0.0

    def leave(self, chance: Chance, arrival: float) -> float:
        """When the cell that came (or would have come) at `arrival` leaves."""
        delay = exponential(chance, self._mean)
        if self._is_up:
            self._last = max(self._last, arrival) + delay
        else:
            self._last = max(self._last, arrival + delay)
        return self._last


class VirtualStem:
    """What stands between "data came down" and "a reaction goes up" at a relay, drawn by the origin for one circuit.

    So many relays as an honest relay would have behind it, each with a round trip that was measured on own links, and fresh
    delays of both ways at each.
    """

    __slots__ = ("_mean", "_trips")

    def __init__(self, chance: Chance, round_trips: list[float], is_slow: bool) -> None:
        count = 1
        while chance.random() >= END_CHANCE:
            count += 1
        pool = round_trips or [TYPICAL_ROUND_TRIP_S]
        self._trips = [pool[chance.randrange(len(pool))] for _ in range(count)]
        self._mean = SLOW_DELAY_S if is_slow else FAST_DELAY_S

    def hold(self, chance: Chance) -> float:
        """Seconds by which this reaction is later."""
        # The relay nearest to the virtual origin delays once each way, and so does each other; the origin's own is the Pace.
        return sum(trip + sum(exponential(chance, self._mean) for _ in range(2)) for trip in self._trips)


T = TypeVar("T")


class FairQueue(Generic[T]):
    """Deficit round robin between the flows of one edge; within a flow, first come, first gone."""

    __slots__ = ("_credit", "_flows", "_turns")

    def __init__(self) -> None:
        self._flows: dict[Hashable, deque[tuple[int, T]]] = {}
        self._credit: dict[Hashable, int] = {}
        self._turns: deque[Hashable] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._flows.values()))

    def put(self, flow: Hashable, size: int, item: T) -> None:
        if flow not in self._flows:
            self._flows[flow] = deque()
            self._credit[flow] = QUANTUM
            self._turns.append(flow)
        self._flows[flow].append((size, item))

    def take(self) -> T | None:
        """What goes next; None: nothing waits."""
        while self._turns:
            flow = self._turns[0]
            size, item = self._flows[flow][0]
            if self._credit[flow] < size:
                self._credit[flow] += QUANTUM
                self._turns.rotate(-1)
                continue
            self._credit[flow] -= size
            self._flows[flow].popleft()
            if not self._flows[flow]:
                del self._flows[flow], self._credit[flow]
                self._turns.popleft()
            return item
        return None

    def drop(self, flow: Hashable) -> list[T]:
        """Take out what a flow has, in its order."""
        if flow not in self._flows:
            return []
        del self._credit[flow]
        self._turns.remove(flow)
        return [item for _, item in self._flows.pop(flow)]
