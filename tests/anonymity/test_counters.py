"""A3: nothing in the bytes of a cell tells whether who sends it made it."""

from __future__ import annotations

import random
from functools import cache

import pytest

from anonymizer.cells import Command
from anonymizer.stem import Stem
from gnutella.testing.anonymity.counters import COMMANDS, Wiretap, collect
from gnutella.testing.anonymity.learners import best_area
from gnutella.testing.anonymity.stats import Area
from gnutella.testing.anonymity.twins import CountsHops


@cache
def tapped(kind: type[Stem] = Stem, seed: int = 1) -> Wiretap:
    return collect(40, 700 if kind is Stem else 300, seed, kind)


def told_apart(command: Command, kind: type[Stem] = Stem, seed: int = 1) -> Area:
    own, forwarded = tapped(kind, seed).samples(command, random.Random(seed + 1))  # type: ignore[arg-type]
    assert len(own) > 80
    return best_area(own, forwarded)[1]


def is_noise(found: Area) -> bool:
    # The largest of three learners, each of which may go either way.
    return abs(found.value - 0.5) < 0.02 + 3 * found.sigma


@pytest.mark.parametrize("command", COMMANDS)
def test_own_cells_look_like_forwarded_ones(command: Command) -> None:
    """The seals of openings are drawn by the system; what tells cells apart tells them apart of any seed.

    Noise passes the bound (3.65 sigma, three learners) once in 1,200 times, and twice less than once in a million.
    """
    assert is_noise(told_apart(command)) or is_noise(told_apart(command, seed=2))


def test_a_counter_anywhere_in_the_cell_is_found() -> None:
    assert told_apart(Command.OPEN, CountsHops).value > 0.95
    assert not is_noise(told_apart(Command.OPEN, CountsHops, seed=2))
