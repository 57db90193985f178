"""A5: how long a neighbour takes to react tells whether the reaction is its own, or does it?"""

from __future__ import annotations

from functools import cache

import pytest

from anonymizer import lanes
from gnutella.testing.anonymity import answering, requests, timing
from gnutella.testing.anonymity.stats import Area, area, mean
from gnutella.testing.anonymity.timing import Origins, Reaction, Timed, judge

SAMPLES = {
    Reaction.CELL: 3,
    Reaction.LARGE: 2,
    Reaction.END: 1,
    Reaction.CREDIT: 2,
    Reaction.BLOCK_PUT: 1,
    Reaction.REOPEN: 1,
    Reaction.LANES: 1,
    Reaction.POST: 1,
    Reaction.NONE: 60,
}
MEASURES = {
    Reaction.REOPEN: requests.measure,
    Reaction.LANES: requests.measure,
    Reaction.POST: answering.measure,
}
NETS = {
    Reaction.CELL: 16,
    Reaction.LARGE: 10,
    Reaction.END: 14,
    Reaction.CREDIT: 8,
    Reaction.BLOCK_PUT: 6,
    Reaction.REOPEN: 8,
    Reaction.POST: 8,
    Reaction.NONE: 12,
    Reaction.LANES: 2,
}


@cache
def timed(reaction: Reaction, origins: Origins = Origins.CLOCK) -> list[Timed]:
    nets = NETS[reaction]
    measure = MEASURES.get(reaction, timing.measure)
    if origins in (Origins.AT_ONCE, Origins.CREDIT):
        # It is found at once, or the attack is none.
        nets = 4 if reaction is not Reaction.LANES else 2
    found = (measure(60, 0.1, 10, SAMPLES[reaction], seed, reaction, origins) for seed in range(nets))
    return [circuit for net in found for circuit in net]


def quicker(circuits: list[Timed]) -> Area:
    """How well a short time tells that it is an own one."""
    own = [-mean(circuit.delays) for circuit in circuits if circuit.is_own]
    return area(own, [-mean(circuit.delays) for circuit in circuits if not circuit.is_own])


BROKEN = [
    (Reaction.CELL, Origins.AT_ONCE),
    (Reaction.END, Origins.AT_ONCE),
    (Reaction.CREDIT, Origins.CREDIT),
    (Reaction.REOPEN, Origins.AT_ONCE),
    (Reaction.LANES, Origins.AT_ONCE),
    (Reaction.POST, Origins.AT_ONCE),
]


@pytest.mark.parametrize(("reaction", "origins"), BROKEN)
def test_an_origin_that_reacts_at_once_is_found(reaction: Reaction, origins: Origins) -> None:
    """A cell, the end, credit; another circuit for one that was killed, more of them for a large file, an answer."""
    broken = timed(reaction, origins)
    assert quicker(broken).value > 0.9
    if origins is Origins.AT_ONCE and reaction in (Reaction.CELL, Reaction.END):
        assert judge(broken[::2], broken[1::2], SAMPLES[reaction]).gain > 0.1


def test_an_origin_that_holds_its_answer_back_is_found_as_well() -> None:
    """Whoever is further away holds his back too, and they have the way besides."""
    broken = quicker(timed(Reaction.CELL, Origins.VIRTUAL_STEM))
    assert broken.value > 0.5 + 3 * broken.sigma


def test_a_put_of_more_blocks_than_a_window_shows_whether_a_relay_holds_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "STORE_WINDOW", 128)
    found = [made for seed in range(3) for made in timing.measure(60, 0.1, 10, 1, seed, Reaction.BLOCK_PUT)]
    assert quicker(found).value > 0.9


QUIET = [reaction for reaction in SAMPLES if reaction is not Reaction.LANES]


@pytest.mark.parametrize("reaction", QUIET)
def test_an_origin_with_a_clock_tells_nothing(reaction: Reaction) -> None:
    """What goes up and when: cells, large ones, the end, credit, circuits, answers, and how cells follow each other."""
    found = quicker(timed(reaction))
    assert abs(found.value - 0.5) < 0.03 + 3 * found.sigma
