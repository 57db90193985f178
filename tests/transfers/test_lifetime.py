"""The life of a download: every state with every input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse
from gnutella.transfers.download import Download
from gnutella.transfers.lifetime import ACTIVE, TABLE, Input, State, accepts, step
from gnutella.transfers.sources import SourceBook


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Input)
def test_every_state_and_input_is_either_in_the_table_or_a_bug(state: State, event: Input) -> None:
    if accepts(state, event):
        assert step(state, event) in State
    else:
        with pytest.raises(LocalMisuse):
            step(state, event)


@given(st.lists(st.sampled_from(Input), max_size=60))
def test_whatever_happens_done_is_reached_only_through_verifying(events: list[Input]) -> None:
    download = Download(1, b"\0" * 20, None, 10, "x", 0.0, SourceBook(60.0))
    for event in events:
        before = download.state
        changed = download.happened(event)
        assert changed == accepts(before, event)
        assert changed or download.state is before
        if download.state is State.DONE and before is not State.DONE:
            assert before is State.VERIFYING and event is Input.RIGHT
        if before is State.CANCELLED:
            assert not changed


def test_every_active_download_can_be_paused_failed_and_removed_and_every_state_is_reachable() -> None:
    for state in ACTIVE:
        assert step(state, Input.PAUSE) is State.PAUSED
        assert step(state, Input.FAIL) is State.FAILED
        assert step(state, Input.CANCEL) is State.CANCELLED
    reached, todo = {State.LOCATING}, [State.LOCATING]
    while todo:
        new = set(TABLE[todo.pop()].values()) - reached
        reached |= new
        todo += new
    assert reached == set(State)


def test_a_row_shows_an_error_or_why_nothing_moves() -> None:
    download = Download(3, b"\0" * 20, None, 100, "x", 0.0, SourceBook(60.0))
    assert download.row(0.0) == {
        "id": 3, "state": "locating", "name": "x", "size": 100, "downloaded": 0, "speed": 0, "sources": 0,
        "eta_s": None, "path": None, "error": "no source is known yet",
    }  # fmt: skip
    download.state, download.speed, download.downloaded = State.TRANSFERRING, 10.0, 50
    assert (download.row(0.0)["eta_s"], download.row(0.0)["error"]) == (5, None)
    download.error = "disk full"
    assert download.row(0.0)["error"] == "disk full"
