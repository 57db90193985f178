"""The clock of an own circuit: large cells have no turn before a time that their circuit drew once."""

from __future__ import annotations

import random

from anonymizer.beat import FETCH_RATE, TURN_MEAN_S, Beat
from anonymizer.fields import Body
from anonymizer.timers import Timers
from gnutella.testing.anonymity.timing import BLOCK, LARGE_NOISE, Noise

CIRCUITS = 300


class Wire:
    """A guard with room for everything; when large cells came."""

    def __init__(self) -> None:
        self.large: list[float] = []

    def room(self, number: int) -> int:
        return 64

    def say(self, number: int, data: bytes, now: float) -> None:
        if data == LARGE_NOISE:
            self.large.append(now)


def nothing(now: float) -> Body | None:
    return None


def quickest(rng: random.Random, samples: int) -> float:
    """Of so many large cells of one circuit, each said when the last had left, the shortest time until one left."""
    wire, timers, now, found = Wire(), Timers(), 0.0, []
    opening = Noise()
    beat = Beat(wire, rng, timers, 1, opening, FETCH_RATE, lambda when: None, nothing, now)  # type: ignore[arg-type]
    beat.end = opening  # type: ignore[assignment]
    for _ in range(samples):
        begun, before = now, len(wire.large)
        beat.say(BLOCK, now)
        while len(wire.large) == before:
            assert timers.next_at is not None
            now = timers.next_at
            timers.run(now)
        found.append(now - begun)
    return min(found)


def test_of_many_large_cells_the_quickest_is_not_quicker_than_relays_are() -> None:
    rng = random.Random(5)
    times = [quickest(rng, 20) for _ in range(CIRCUITS)]
    # Turns alone would have one within a tenth of their mean in most circuits; the way to an origin and back takes as long.
    assert sum(time < TURN_MEAN_S / 10 for time in times) < CIRCUITS / 10
    assert max(times) > TURN_MEAN_S
