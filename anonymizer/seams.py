"""What the rooms of the relay layer know of each other: protocols, so that each can be tested, and attacked, alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from anonymizer.blocks import Outcome
from anonymizer.wire import BlockType, CloseReason


class Circuits(Protocol):
    """The stem, as those see it who have circuits that begin or end here.  A circuit is known by its number."""

    def open(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        """A circuit of our own, by the guard; None if there is no guard, or no room."""

    def say(self, number: int, data: bytes, now: float) -> None:
        """One cell's ciphertext."""

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        """End it; nothing happens if it has ended."""

    def room(self, number: int) -> int:
        """Large cells that its window still takes."""

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        """A one-shot seal, by the guard; False if there is none."""


class Edges(Protocol):
    """The stem, as those see it who make and end stem edges (membership)."""

    def has_room(self, is_initiated: bool) -> bool:
        """Whether another edge of that kind may be made."""

    def is_edge(self, node: bytes) -> bool:
        """Whether the open link to `node` is one."""

    def make_edge(self, node: bytes, is_initiated: bool) -> bool:
        """The open link becomes one; False: it is one, or there is no room."""

    def drop_edge(self, node: bytes, now: float) -> None:
        """It is none any more, and its circuits end; nothing happens if it was none."""

    def round_trip(self, seconds: float) -> None:
        """A ping took so long."""


class Guards(Protocol):
    """Who decides where edges of our own choice shall lead."""

    def wanted(self, now: float) -> Sequence[bytes]:
        """Ids of those nodes, the most wanted first; a link to each is dialled and an edge asked for."""

    def refused(self, node: bytes, now: float) -> None:
        """That node takes no more edges, or cannot be reached: choose another, if it never was a guard."""


class Blocks(Protocol):
    """The blocks that answer others: a cache and a store, never what the own user fetched.

    `done` is called once, before the call returns or later; what it leads to then happens at the next `Timers.run`, so whoever
    calls it later looks at the timers again.
    """

    def get(self, type: BlockType, routing: bytes, done: Callable[[tuple[bytes, ...]], None]) -> None:
        """What either holds: nothing, one block, or the two records of a fork.  Only what verifies."""

    def put(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        place: Literal["cache", "store"],
        done: Callable[[Outcome], None],
    ) -> None:
        """Keep a block that was verified.  A fork of one that is held is merged, a newer record replaces."""
