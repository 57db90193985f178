"""Delays that keep order, fair queues, and the stem that the origin imitates."""

from __future__ import annotations

import random
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from anonymizer.pacing import FAST_DELAY_S, SLOW_DELAY_S, FairQueue, Pace, VirtualStem

SMALL, LARGE = 1_536, 33_792


@given(st.lists(st.floats(0, 5), max_size=30), st.booleans(), st.integers())
def test_a_pace_delays_and_keeps_order(gaps: list[float], is_slow: bool, seed: int) -> None:
    pace, rng, now, last = Pace(is_slow), random.Random(seed), 0.0, 0.0
    for gap in gaps:
        now += gap
        leave = pace.leave(rng, now)
        assert leave >= max(now, last)
        last = leave


def test_delays_have_the_mean_of_their_class() -> None:
    rng = random.Random(1)
    for is_slow, expected in ((False, FAST_DELAY_S), (True, SLOW_DELAY_S)):
        found = mean(Pace(is_slow).leave(rng, 0.0) for _ in range(4_000))
        assert 0.93 * expected < found < 1.07 * expected


def test_a_virtual_stem_is_four_measured_links_on_the_average_and_stays_the_same_for_its_circuit() -> None:
    rng = random.Random(2)
    stems = [VirtualStem(rng, [0.1], False) for _ in range(3_000)]
    holds = mean(stem.hold(rng) for stem in stems)
    assert 0.93 * 0.6 < holds < 1.07 * 0.6  # 4 x (0.1 + 2 x 0.025)
    assert min(stem.hold(rng) for stem in stems) > 0.1
    one = VirtualStem(random.Random(3), [0.1, 5.0], False)
    chance = random.Random(4)
    held = [one.hold(chance) for _ in range(200)]
    assert max(held) - min(held) < 1.0
    assert len(set(held)) == 200
    assert VirtualStem(rng, [], False).hold(rng) > 0


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from((SMALL, LARGE))), max_size=60))
def test_nothing_is_lost_and_each_flow_keeps_its_order(puts: list[tuple[int, int]]) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue()
    for number, (flow, size) in enumerate(puts):
        queue.put(flow, size, (flow, number))
    assert len(queue) == len(puts)
    found = []
    while (item := queue.take()) is not None:
        found.append(item)
    assert sorted(found, key=lambda item: item[1]) == [(flow, number) for number, (flow, _) in enumerate(puts)]
    for flow in range(5):
        numbers = [number for other, number in found if other == flow]
        assert numbers == sorted(numbers)
    assert len(queue) == 0


def test_a_flow_with_much_to_say_leaves_the_others_their_share_of_bytes() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.put("greedy", LARGE, "greedy")
    for _ in range(44):
        queue.put("small", SMALL, "small")
    queue.put("other", LARGE, "other")
    first = [queue.take() for _ in range(49)]
    assert first.count("small") == 44
    assert first.count("other") == 1
    assert first.count("greedy") <= 4
