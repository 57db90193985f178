"""How much of the attacks is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: a net for each seed, and so many circuits in each.

    `ours` and `twins` say which of the two sides is run.
    """

    nodes: int = 300
    spies: float = 0.1
    seeds: Sequence[int] = tuple(range(20))
    circuits: int = 350
    samples: int = 100
    replays: int = 100_000
    ours: bool = True
    twins: Sequence[str] = (
        "hops",
        "coin",
        "guard",
        "stem",
        "vstem",
        "credit",
        "reopen",
        "lanes",
        "answer",
        "cache",
        "uid",
        "seals",
        "replay",
    )

    def has(self, twin: str) -> bool:
        return twin in self.twins
