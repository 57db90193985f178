"""Virtual time: order, cancelling, no way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse
from gnutella.lab.clock import Clock


@given(st.lists(st.integers(0, 5)))
def test_things_happen_in_order_of_time_and_then_of_planning(times: list[int]) -> None:
    clock, happened = Clock(), list[tuple[int, int]]()
    for number, when in enumerate(times):
        clock.at(float(when), happened.append, (when, number))
    clock.run(9.0)
    assert happened == sorted((when, number) for number, when in enumerate(times))
    assert clock.happened == len(times)
    assert clock.now == 9.0


def test_what_is_planned_while_time_runs_happens_in_the_same_run() -> None:
    clock, seen = Clock(), list[float]()

    def again() -> None:
        seen.append(clock.now)
        if len(seen) < 3:
            clock.after(1.0, again)

    clock.after(1.0, again)
    clock.run(10.0)
    assert seen == [1.0, 2.0, 3.0]


def test_a_cancelled_timer_does_not_fire() -> None:
    clock, fired = Clock(), list[str]()
    timer = clock.timer(1.0, fired.append, "cancelled")
    clock.timer(2.0, fired.append, "kept")
    timer.cancel()
    clock.run(5.0)
    assert fired == ["kept"]


def test_a_step_is_one_event_and_tells_when_there_is_none() -> None:
    clock, seen = Clock(), list[int]()
    clock.at(3.0, seen.append, 1)
    assert clock.next_at == 3.0
    assert clock.step() and seen == [1] and clock.now == 3.0
    assert not clock.step()
    assert clock.next_at is None


def test_time_does_not_run_back() -> None:
    clock = Clock()
    clock.run(5.0)
    with pytest.raises(LocalMisuse):
        clock.run(4.0)
