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
def tapped(kind: type[Stem] = Stem) -> Wiretap:
    return collect(40, 700 if kind is Stem else 300, 1, kind)


def told_apart(command: Command, kind: type[Stem] = Stem) -> Area:
    own, forwarded = tapped(kind).samples(command, random.Random(2))  # type: ignore[arg-type]
    assert len(own) > 80
    return best_area(own, forwarded)[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_own_cells_look_like_forwarded_ones(command: Command) -> None:
    found = told_apart(command)
    # The largest of three learners, two of which may go one way.
    assert abs(found.value - 0.5) < 0.02 + 3 * found.sigma


def test_a_counter_anywhere_in_the_cell_is_found() -> None:
    assert told_apart(Command.OPEN, CountsHops).value > 0.95
