"""Timers fire once, in order, not before their time, and not when cancelled."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from anonymizer.timers import Timers


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=200), st.integers(0, 60))
def test_those_that_are_due_and_not_cancelled_fire_in_order(plans: list[tuple[int, bool]], now: int) -> None:
    timers = Timers()
    fired: list[int] = []

    def note(number: int, _now: float) -> None:
        fired.append(number)

    for number, (when, cancelled) in enumerate(plans):
        timer = timers.at(when, partial(note, number))
        if cancelled:
            timer.cancel()
    timers.run(now)
    timers.run(now)
    due = sorted((when, number) for number, (when, cancelled) in enumerate(plans) if not cancelled and when <= now)
    assert fired == [number for _, number in due]
    later = [when for when, cancelled in plans if not cancelled and when > now]
    assert timers.next_at == min(later, default=None)
    assert len(timers) == len(later)


def test_what_a_timer_plans_for_now_is_done_now() -> None:
    timers = Timers()
    fired: list[float] = []

    def plan(now: float) -> None:
        timers.at(now, fired.append)

    timers.at(1.0, plan)
    timers.run(1.5)
    assert fired == [1.5]


def test_one_timer_may_cancel_another_of_the_same_time() -> None:
    timers = Timers()
    fired: list[float] = []
    timers.at(1.0, lambda now: second.cancel())
    second = timers.at(1.0, fired.append)
    timers.run(2.0)
    assert fired == []
    assert not second.is_active
    assert timers.next_at is None
