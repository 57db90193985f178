"""Who is not linked with for an hour: nodes that broke the protocol, and networks; the oldest ban makes room for a new one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

MAX_BANS: Final = 4_096
BAN_S: Final = 3_600.0


class Bans:
    """By node id or network."""

    def __init__(self, limit: int = MAX_BANS) -> None:
        self._limit = limit
        self._until: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def ban(self, whom: Hashable, now: float) -> None:
        """From now on, for an hour."""
        self._until.pop(whom, None)
        while len(self._until) >= self._limit:
            del self._until[next(iter(self._until))]
        self._until[whom] = now + BAN_S

    def holds(self, whom: Hashable, now: float) -> bool:
        return self._until.get(whom, now) > now

    def tidy(self, now: float) -> None:
        """Forget those that are over; they are in the order of their ends."""
        while self._until and self._until[next(iter(self._until))] <= now:
            del self._until[next(iter(self._until))]
