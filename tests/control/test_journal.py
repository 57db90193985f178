"""The journal of events: numbered, typed, bounded, with gaps told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.control.events import EVENT_TYPES, PROGRESS_INTERVAL_S, Event, Journal
from gnutella.errors import LocalMisuse


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_events_are_numbered_and_timed() -> None:
    clock = Clock()
    journal = Journal(clock)
    journal.add("share_changed", files=1, bytes=2)
    clock.now = 101.5
    journal.add("share_changed", files=2, bytes=4)
    assert [event.row() for event in journal.since(1)] == [
        {"id": 2, "time": 101.5, "type": "share_changed", "data": {"files": 2, "bytes": 4}}
    ]


@given(size=st.integers(1, 10), count=st.integers(0, 30), since=st.integers(0, 30))
def test_a_replay_is_complete_or_says_what_is_missing(size: int, count: int, since: int) -> None:
    journal = Journal(Clock(), size)
    for number in range(count):
        journal.add("share_changed", files=number, bytes=0)
    replay = journal.since(since)
    told: list[int] = []
    for event in replay:
        if event.type == "gap":
            assert event is replay[0]
            told += range(int(str(event.data["first"])), int(str(event.data["last"])) + 1)
            assert event.id == event.data["last"]
        else:
            told.append(event.id)
    assert told == list(range(since + 1, count + 1))
    assert len(replay) <= size + 1


def test_progress_of_one_download_is_told_at_most_once_a_second() -> None:
    clock = Clock()
    journal = Journal(clock)

    def progress(number: int) -> bool:
        return journal.add("download_progress", id=number, name="a", downloaded=1, size=2, speed=3) is not None

    assert progress(1)
    assert not progress(1)
    assert progress(2)
    clock.now += PROGRESS_INTERVAL_S
    assert progress(1)


def test_listeners_hear_until_they_unsubscribe_even_from_within() -> None:
    journal = Journal(Clock())
    heard: list[Event] = []

    def once(event: Event) -> None:
        heard.append(event)
        stop()

    stop = journal.subscribe(once)
    stop_always = journal.subscribe(heard.append)
    journal.add("node_stopping", reason="x")
    journal.add("node_stopping", reason="y")
    stop_always()
    journal.add("node_stopping", reason="z")
    assert [event.data["reason"] for event in heard] == ["x", "x", "y"]


def test_an_unknown_event_or_other_keys_are_our_own_mistake() -> None:
    journal = Journal(Clock())
    with pytest.raises(LocalMisuse):
        journal.add("something_happened")
    with pytest.raises(LocalMisuse):
        journal.add("node_stopping", why="x")


def test_event_names_are_past_tense_or_states_in_snake_case() -> None:
    assert all(name.replace("_", "").isalpha() and name.islower() for name in EVENT_TYPES)
    assert all(row.meaning and row.keys for row in EVENT_TYPES.values())
