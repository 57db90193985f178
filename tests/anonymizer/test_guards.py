"""Guards: few, for long, and nothing that happens to links, circuits or programs changes them (pitfalls 12 and 17)."""

from __future__ import annotations

import random
from collections import Counter
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.guards import DAY_S, GONE_S, MAX_GUARDS, MAX_KEPT_S, MIN_KEPT_S, PATIENCE_S, Guards

NODES = [bytes((n,)) * 32 for n in range(30)]
X, Y, Z = NODES[:3]


def guards(seed: int = 1, nodes: list[bytes] = NODES, now: float = 0.0) -> Guards:
    made = Guards(random.Random(seed))
    made.fill(nodes, now)
    return made


def test_three_are_picked_each_as_likely_as_any_other_for_twenty_to_forty_days() -> None:
    picked: Counter[bytes] = Counter()
    untils = []
    for seed in range(1_000):
        rows = guards(seed).rows()
        assert len({node for node, _, _ in rows}) == MAX_GUARDS
        picked.update(node for node, _, _ in rows)
        untils += [until for _, until, _ in rows]
    assert set(picked) == set(NODES)
    assert 60 < min(picked.values()) <= max(picked.values()) < 145
    assert MIN_KEPT_S <= min(untils) < 20.5 * DAY_S
    assert 39.5 * DAY_S < max(untils) <= MAX_KEPT_S
    assert 29.5 * DAY_S < sum(untils) / len(untils) < 30.5 * DAY_S


def test_nobody_is_picked_who_is_not_eligible() -> None:
    assert guards(nodes=[]).ids == []
    assert guards(nodes=[]).current(1e6) is None
    made = guards(nodes=[X])
    assert made.ids == [X]
    made.fill([X, Y], 1.0)
    assert made.ids == [X, Y]


def test_the_first_carries_all_and_the_second_only_after_ten_minutes_and_a_random_rest() -> None:
    waits = []
    for seed in range(300):
        made = guards(seed, [X, Y, Z])
        first, second, third = made.ids
        for node in (third, second, first):
            made.up(node)
        assert made.current(0.0) == first
        made.down(first, 100.0)
        assert made.current(100.0 + PATIENCE_S) is None
        now = 100.0 + PATIENCE_S
        while made.current(now) is None:
            now += 1
        assert made.current(now) == second
        assert made.wanted(now) == [first, second, third]
        waits.append(now - 100.0 - PATIENCE_S)
        made.down(second, now)
        assert made.current(now + PATIENCE_S) is None
        assert made.current(now + 1e5) == third
        made.up(second)
        assert made.current(now + 1e5) == second
        made.up(first)
        assert made.current(now + 1e5) == first
        assert made.wanted(now + 1e5) == [first, second]
    assert 250 < sum(waits) / len(waits) < 350
    assert max(waits) > 1_000


def test_a_short_absence_moves_nothing() -> None:
    made = guards(3, [X, Y, Z])
    for node in made.ids:
        made.up(node)
    first = made.ids[0]
    for hour in range(200):
        made.down(first, 3_600.0 * hour)
        assert made.current(3_600.0 * hour + PATIENCE_S) is None
        made.up(first)
        assert made.current(3_600.0 * hour + PATIENCE_S) == first


def test_who_never_was_used_may_refuse_and_who_was_keeps_its_place() -> None:
    made = guards(1, [X, Y, Z])
    first = made.ids[0]
    made.refused(first, 0.0)
    assert first not in made
    made.fill([X, Y, Z], 1.0)
    # All others were tried, so next time it may be asked again.
    assert first not in made
    made.fill([X, Y, Z], 2.0)
    assert made.ids[-1] == first
    made.up(first)
    made.used(first, 3.0)
    made.refused(first, 3.0)
    assert made.ids[-1] == first


def test_a_guard_that_nobody_describes_for_a_week_is_replaced() -> None:
    made = guards(1, [X, Y, Z])
    first = made.ids[0]
    others = [node for node in NODES if node != first]
    made.fill(others, GONE_S)
    assert first in made
    made.fill(NODES, GONE_S + 1)
    assert first in made
    made.fill(others, GONE_S + 1)
    assert first not in made
    assert len(made.ids) == MAX_GUARDS


def test_they_outlast_a_restart_but_not_their_time() -> None:
    made = guards(4)
    made.up(made.ids[1])
    again = Guards(random.Random(9))
    again.restore(made.rows(), 1_000.0)
    again.fill(NODES, 1_000.0)
    assert again.rows() == made.rows()
    assert again.current(1_000.0) is None
    again.up(again.ids[0])
    assert again.current(1_000.0) == made.ids[0]
    again.fill(NODES, MAX_KEPT_S)
    assert not set(again.ids) & set(made.ids)
    again.restore([(X, MAX_KEPT_S * 9, True), (X, 5e6, True), (Y, 1.0, True)], 2.0)
    assert again.rows() == [(X, 2.0 + MAX_KEPT_S, True)]


def test_none_carries_anything_before_it_is_kept() -> None:
    """Or a program that is killed, or has a full disk, would show what it does to another first hop each time."""
    made = Guards(random.Random(3))
    made.must_keep = True
    made.fill(NODES, 0.0)
    first = made.ids[0]
    made.up(first)
    assert made.current(1.0) is None
    made.kept(made.rows())
    assert made.current(1.0) == first
    again = Guards(random.Random(4))
    again.must_keep = True
    again.restore(made.rows(), 2.0)
    again.up(first)
    assert again.current(2.0) == first


def use(made: Guards, now: float) -> bytes | None:
    """Whom an own circuit begins with."""
    node = made.current(now)
    if node is not None:
        made.used(node, now)
    return node


def test_the_time_of_one_begins_anew_when_it_is_first_used_and_never_again() -> None:
    made = guards(2)
    first = made.rows()[0]
    made.used(first[0], 5 * DAY_S)
    second = made.rows()[0]
    assert 25 * DAY_S <= second[1] <= 45 * DAY_S
    assert second[2]
    made.used(first[0], 6 * DAY_S)
    assert made.rows()[0] == second


def test_a_month_of_restarts_and_broken_links_sees_one_guard() -> None:
    """Pitfall 17; each link breaks on one day in five, for minutes, and the list is kept for twenty days at least.

    The time of a guard is over within 29 days for nine in twenty, so most nodes have had one, and the others two.
    """
    used = []
    for seed in range(150):
        rng, made = random.Random(seed), guards(seed)
        first_hops: set[bytes | None] = set()
        for day in range(29):
            now = day * DAY_S
            again = Guards(rng)
            again.restore(made.rows(), now)
            made = again
            made.fill(NODES, now)
            for node in made.ids:
                made.up(node)
                if rng.random() < 0.2:
                    made.down(node, now)
            for later in (0.0, 300.0, 599.0):
                first_hops.add(use(made, now + later))
            for node in made.ids:
                made.up(node)
            first_hops.add(use(made, now + 600.0))
        used.append(len(first_hops - {None}))
    assert median(used) == 1
    assert max(used) == 2


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(("up", "down", "fill", "refuse")), st.integers(0, 5), st.floats(0, 1e6))))
def test_whatever_happens_they_are_few_and_only_one_that_is_up_is_used(steps: list[tuple[str, int, float]]) -> None:
    made, now, up = guards(1, NODES[:6]), 0.0, set[bytes]()
    for what, number, seconds in steps:
        now, node = now + seconds, NODES[number]
        if what == "up" and node in made:
            made.up(node)
            up.add(node)
        elif what == "down":
            made.down(node, now)
            up.discard(node)
        elif what == "refuse":
            made.refused(node, now)
        else:
            made.fill(NODES[:6], now)
            up &= set(made.ids)
        assert len(made.ids) == len(set(made.ids)) <= MAX_GUARDS
        assert set(made.wanted(now)) <= set(made.ids)
        current = made.current(now)
        assert current is None or (current in up and current in made)
