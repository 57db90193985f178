"""One question of a user, however many queries a strategy makes of it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gnutella.lab.life import Life
from gnutella.routing.results import SearchResults

if TYPE_CHECKING:
    from gnutella.lab.node import LabNode


@dataclass(eq=False, slots=True)
class Quest:
    """Grows while the run goes on.  `expected` is how much there was to find at running nodes when it was asked."""

    asker: LabNode
    text: str
    asked_at: float
    expected: int = 0
    #: Hits that come later than this do not count.
    until: float = float("inf")
    lives: list[Life] = field(default_factory=list)
    results: SearchResults | None = None
    #: Messages beside the queries' copies, as a walker's questions whether it should go on.
    extra: int = 0
    #: Where in the scenario it comes from, for texts.
    label: str = ""

    @property
    def found(self) -> int:
        """Different files at different nodes."""
        return len(self.holdings())

    def holdings(self) -> set[tuple[str, bytes]]:
        """(node, SHA-1) of all that was found in time."""
        return {
            (arrival.node, sha1)
            for life in self.lives
            for arrival in life.arrivals
            if arrival.time <= self.until
            for sha1 in arrival.files
        }

    @property
    def recall(self) -> float:
        """Found of what there was; 1 when there was nothing."""
        return round(self.found / self.expected, 6) if self.expected else 1.0

    @property
    def messages(self) -> int:
        """Copies of the query that were sent over links."""
        return sum(life.copies for life in self.lives) + self.extra

    @property
    def hit_messages(self) -> int:
        """Copies of its hits that were sent over links."""
        return sum(life.hit_copies for life in self.lives)

    @property
    def reached(self) -> int:
        """Nodes that it came to (of the widest query, when there were several)."""
        return max((life.reached for life in self.lives), default=0)

    @property
    def first_hit_ms(self) -> float | None:
        """Milliseconds to the first hit."""
        times = [arrival.time for life in self.lives for arrival in life.arrivals if arrival.time <= self.until]
        return round((min(times) - self.asked_at) * 1000, 3) if times else None

    @property
    def hops(self) -> int | None:
        """Hops of the nearest hit."""
        hops = [arrival.hops for life in self.lives for arrival in life.arrivals if arrival.time <= self.until]
        return min(hops) if hops else None

    def row(self) -> dict[str, Any]:
        """Keys of the product contract, then our own."""
        return {
            "query": self.text,
            "found": self.found,
            "expected": self.expected,
            "messages": self.messages,
            "first_hit_ms": self.first_hit_ms,
            "hops": self.hops,
            "from": self.asker.name,
            "recall": self.recall,
            "hit_messages": self.hit_messages,
            "reached": self.reached,
            "asked_s": round(self.asked_at, 6),
        }
