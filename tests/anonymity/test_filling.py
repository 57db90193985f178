"""What the allowance of an edge gives away, and that who fills edges gains little by it."""

from __future__ import annotations

from functools import cache

from gnutella.testing.anonymity import filling
from gnutella.testing.anonymity.neighbours import Findings

NODES, SPIES = 40, 0.1


@cache
def shortened(is_filled: bool) -> filling.Shortened:
    found = filling.Shortened()
    for seed in range(2):
        found.extend(filling.shortened(NODES, SPIES, 40, seed, is_filled=is_filled))
    return found


def sure(found: Findings) -> float:
    return found.surer_than(0.9).value


def test_spies_that_keep_edges_full_end_others_stems_and_learn_no_more_from_it() -> None:
    filled = shortened(True)
    assert max(filled.full_edges) > 0.3
    assert max(shortened(False).full_edges) < max(filled.full_edges)
    recall = filled.knowing.recall
    assert recall.value <= 0.12 + 3 * recall.sigma(0.12)
    assert sure(filled.knowing) <= 0.01 + 3 * filled.knowing.surer_than(0.9).sigma(0.01)


def test_the_level_of_an_allowance_says_what_has_just_come_by_that_edge() -> None:
    """Known, and not mended: docs/anonymity.md, A13.  If this fails, allowances tell less, and the text is to say so."""
    found = filling.levels(100, 40, seed=0)
    assert found.alarms.hits > found.controls.hits + 3
