"""What the rooms of the relay layer know of each other: protocols, so that each can be tested, and attacked, alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal, Protocol

from anonymizer.blocks import Outcome
from anonymizer.inner import FailReason
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
        """Large cells that its window still takes; 0 if it has ended."""

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


class Bridges(Protocol):
    """What only pivots may do with the stem: a circuit that is none of ours, so it needs no stem."""

    def open_bridge(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        """A circuit from here, greedily; heard of and said to by its number as those of `Circuits` are."""


class Found(Protocol):
    """What became of a fetch: one block, of a fork two records, or none and the reason."""

    @property
    def blocks(self) -> tuple[bytes, ...]: ...

    @property
    def reason(self) -> FailReason | None: ...


class Routes(Protocol):
    """The route, as a pivot uses it."""

    def fetch(
        self, type: BlockType, routing: bytes, done: Callable[[Found], None], now: float, second: bool = False
    ) -> None:
        """`done` is called once, now or later, with blocks that were verified."""

    def store(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        done: Callable[[int, float], None],
        now: float,
        second: bool = False,
    ) -> None:
        """`done` is called once with the number of copies and the time."""


class Seeks(Protocol):
    """The flood of searches, as a pivot uses it."""

    def start(
        self, query_id: bytes, reply_key: bytes, text: str, kinds: int, now: float, circuit: Hashable = None
    ) -> bool:
        """Flood this search in this node's name, for who sits at the other end of that circuit; False: not now."""


class Gateway(Protocol):
    """The plain overlay, as a pivot reaches it that has consented to ask it for others."""

    def query(
        self, text: str, urn: str | None, hit: Callable[[str, int, str, str, int, float], bool], now: float
    ) -> bool:
        """Ask an ordinary query in this node's own name: a fresh GUID, hops 0, whatever else its own queries have.

        `hit` is called with name, size, URN, host and port of each result and the time; it returns False when no more are
        wanted.  False: it cannot be asked now.
        """
