"""The life of a download, as a table.

    locating -> queued -> transferring -> verifying -> done        paused and failed are reachable from all but done

`locating`: no source is known that could be asked.  `queued`: sources are known but none of them sends: we wait for a slot of
our own, for a connection, or in their queues.  A file that turns out wrong as a whole goes back to `queued`.  `cancelled` is
the end of those that were removed; it is shown once and never stored.
"""

from __future__ import annotations

from enum import Enum

from gnutella.errors import LocalMisuse


class State(Enum):
    """Values are those of the JSON rows and of the database."""

    LOCATING = "locating"
    QUEUED = "queued"
    TRANSFERRING = "transferring"
    VERIFYING = "verifying"
    DONE = "done"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Input(Enum):
    """What happens to a download."""

    SOURCES = "a source can be asked"
    NO_SOURCES = "no source is left that could be asked"
    BYTES = "bytes arrive"
    SILENCE = "no source sends any more"
    COMPLETE = "every byte is on disk"
    RIGHT = "the whole file has the right hash and is in its place"
    WRONG = "the whole file has another hash"
    PAUSE = "the user pauses it"
    RESUME = "the user resumes it"
    FAIL = "it cannot go on by itself"
    CANCEL = "the user removes it"


_STOPS: dict[Input, State] = {Input.PAUSE: State.PAUSED, Input.FAIL: State.FAILED, Input.CANCEL: State.CANCELLED}

TABLE: dict[State, dict[Input, State]] = {
    State.LOCATING: {Input.SOURCES: State.QUEUED, Input.COMPLETE: State.VERIFYING, **_STOPS},
    State.QUEUED: {
        Input.BYTES: State.TRANSFERRING,
        Input.NO_SOURCES: State.LOCATING,
        Input.COMPLETE: State.VERIFYING,
        **_STOPS,
    },
    State.TRANSFERRING: {
        Input.SILENCE: State.QUEUED,
        Input.NO_SOURCES: State.LOCATING,
        Input.COMPLETE: State.VERIFYING,
        **_STOPS,
    },
    State.VERIFYING: {Input.RIGHT: State.DONE, Input.WRONG: State.QUEUED, **_STOPS},
    State.DONE: {Input.CANCEL: State.CANCELLED},
    State.PAUSED: {Input.RESUME: State.LOCATING, Input.CANCEL: State.CANCELLED},
    State.FAILED: {Input.RESUME: State.LOCATING, Input.CANCEL: State.CANCELLED},
    State.CANCELLED: {},
}

#: In these the download works by itself; a restart of the node takes it up again from LOCATING.
ACTIVE = frozenset({State.LOCATING, State.QUEUED, State.TRANSFERRING, State.VERIFYING})


def accepts(state: State, event: Input) -> bool:
    """Whether `event` can happen in `state`."""
    return event in TABLE[state]


def step(state: State, event: Input) -> State:
    """The state after `event`.  What cannot happen is a bug of ours."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise LocalMisuse(f"a {state.value} download: {event.value}") from None
