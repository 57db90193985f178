"""When the hosts of `connect` are dialled again."""

from __future__ import annotations

from gnutella.network.targets import FIRST_WAIT_REFUSED_S, FIRST_WAIT_S, GOOD_LIFE_S, MAX_WAIT_S, Targets
from gnutella.units import Address

ONE, OTHER = Address("80.1.2.3", 1), Address("80.1.2.4", 2)


def test_all_are_due_at_start_and_busy_until_they_ended() -> None:
    targets = Targets([ONE, OTHER])
    assert targets.due(0.0) == [ONE, OTHER]
    assert targets.due(1000.0) == []
    targets.failed(ONE, 1000.0)
    assert targets.due(1000.0 + FIRST_WAIT_S) == [ONE]


def test_waits_double_up_to_a_limit() -> None:
    targets, now, waits = Targets([ONE]), 0.0, []
    for _ in range(12):
        assert targets.due(now) == [ONE]
        targets.failed(ONE, now)
        begun = now
        while not targets.due(now):
            now += 1.0
        targets._targets[ONE].is_busy = False
        waits.append(now - begun)
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == MAX_WAIT_S


def test_refusal_makes_it_wait_longer() -> None:
    targets = Targets([ONE])
    targets.due(0.0)
    targets.failed(ONE, 0.0, is_refused=True)
    assert targets.due(FIRST_WAIT_REFUSED_S - 1) == []
    assert targets.due(FIRST_WAIT_REFUSED_S) == [ONE]


def test_link_that_lived_well_is_redialled_soon() -> None:
    targets = Targets([ONE])
    for _ in range(5):
        targets.due(1e9)
        targets.failed(ONE, 0.0)
    targets.due(1e9)
    targets.lost(ONE, 0.0, GOOD_LIFE_S)
    assert targets.due(FIRST_WAIT_S) == [ONE]


def test_link_that_broke_early_counts_as_a_failure() -> None:
    targets = Targets([ONE])
    targets.due(0.0)
    targets.lost(ONE, 0.0, 1.0)
    targets.due(FIRST_WAIT_S)
    targets.lost(ONE, 10.0, 1.0)
    assert targets.due(10.0 + FIRST_WAIT_S) == []
    assert targets.due(10.0 + 2 * FIRST_WAIT_S) == [ONE]


def test_dropped_and_unknown_ones_are_left_alone() -> None:
    targets = Targets([ONE])
    targets.drop(ONE)
    targets.failed(ONE, 0.0)
    targets.lost(OTHER, 0.0, 1.0)
    assert targets.due(1e9) == []
    assert ONE not in targets
