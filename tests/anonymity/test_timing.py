"""A5: how long a neighbour takes to react tells whether the reaction is its own, or does it?"""

from __future__ import annotations

from functools import cache

import pytest

from gnutella.testing.anonymity.stats import Area, area, mean
from gnutella.testing.anonymity.timing import Origins, Reaction, Timed, judge, measure

SAMPLES = {Reaction.CELL: 3, Reaction.LARGE: 2, Reaction.END: 1, Reaction.NONE: 60}


@cache
def timed(reaction: Reaction, origins: Origins = Origins.CLOCK) -> list[Timed]:
    nets = 12 if reaction is Reaction.LARGE else 24
    found = (measure(60, 0.1, 10, SAMPLES[reaction], seed, reaction, origins) for seed in range(nets))
    return [circuit for net in found for circuit in net]


def quicker(circuits: list[Timed]) -> Area:
    """How well a short time tells that it is an own one."""
    own = [-mean(circuit.delays) for circuit in circuits if circuit.is_own]
    return area(own, [-mean(circuit.delays) for circuit in circuits if not circuit.is_own])


@pytest.mark.parametrize("reaction", [Reaction.CELL, Reaction.END])
def test_an_origin_that_answers_at_once_is_found(reaction: Reaction) -> None:
    broken = timed(reaction, Origins.AT_ONCE)
    assert quicker(broken).value > 0.95
    assert judge(broken[::2], broken[1::2], SAMPLES[reaction]).gain > 0.2


def test_an_origin_that_holds_its_answer_back_is_found_as_well() -> None:
    """Whoever is further away holds his back too, and they have the way besides."""
    broken = quicker(timed(Reaction.CELL, Origins.VIRTUAL_STEM))
    assert broken.value > 0.5 + 4 * broken.sigma


@pytest.mark.parametrize("reaction", list(Reaction))
def test_an_origin_with_a_clock_tells_nothing(reaction: Reaction) -> None:
    """What goes up and when: cells, large ones, the end, and how cells follow each other."""
    found = quicker(timed(reaction))
    assert abs(found.value - 0.5) < 0.03 + 3 * found.sigma
