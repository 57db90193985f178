"""What the rooms of the relay layer know of each other: protocols, so that each can be tested, and attacked, alone."""

from __future__ import annotations

from typing import Protocol

from anonymizer.wire import CloseReason


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
