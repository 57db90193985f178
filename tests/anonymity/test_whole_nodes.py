"""A4 and A10 on whole nodes: neither counting key requests nor looking into stores tells who fetched a file."""

from __future__ import annotations

from functools import cache

from gnutella.testing.anonymity.whole_nodes import DIRECT, OURS, SHARED, Counted, measure


@cache
def found(broken: str = OURS) -> Counted:
    return measure(40, 8, 1, broken)


def test_who_asks_for_most_keys_is_not_who_fetched() -> None:
    ours = found().volume
    assert found().failed == 0
    assert ours.value <= 0.55 + 3 * ours.sigma
    assert found(DIRECT).volume.value > 0.9


def test_a_fetch_leaves_nothing_in_the_stores_of_who_fetched() -> None:
    ours = found()
    assert ours.gained.trials > 50
    # A node may come by a block as any other does.
    assert ours.gained.value <= ours.gained_by_others.value + 3 * ours.gained.sigma(0.02)
    assert found(SHARED).gained.value > 0.8


def test_nothing_is_answered_from_the_cache_of_the_user() -> None:
    ours = found()
    assert len(ours.answered) > 50
    assert not any(ours.answered)
