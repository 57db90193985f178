"""The life of one query in the whole network: who had it first from where, how many copies it made, what came back."""

from __future__ import annotations

from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """One query hit that reached the asker: when, over how many hops, from which node, and the names it brought."""

    time: float
    hops: int
    node: str
    files: tuple[bytes, ...]


class Life:
    """Cells are by node number; a node that came later has one when it first hears of the query.

    `came` is the end of the link over which the query first came (0: never), `heads` its TTL << 8 | hops at that time.
    """

    __slots__ = (
        "arrivals",
        "asked_at",
        "budget",
        "by_hops",
        "came",
        "copies",
        "depths",
        "driven",
        "found",
        "guid",
        "heads",
        "hit_copies",
        "is_walk",
        "origin",
        "text",
    )

    def __init__(self, guid: bytes, origin: int, budget: int, text: str, asked_at: float, nodes: int) -> None:
        self.guid = guid
        self.origin = origin
        self.budget = budget
        self.text = text
        self.asked_at = asked_at
        self.came = array("I", bytes(4 * nodes))
        self.heads = array("H", bytes(2 * nodes))
        #: Nodes by the hops at which the query first came to them.
        self.by_hops = [0] * 16
        self.copies = 0
        self.hit_copies = 0
        #: A random walk: its header does not tell the truth, `depths` does (node number -> hops from the asker).
        self.is_walk = False
        self.depths: dict[int, int] = {}
        self.arrivals: list[Arrival] = []
        #: (node number, link) -> the TTL that whoever drives the query sent it with there.
        self.driven: dict[tuple[int, int], int] = {}
        #: Results in them.
        self.found = 0

    @property
    def reached(self) -> int:
        """Nodes that the query came to."""
        return sum(self.by_hops)

    def extend(self, nodes: int) -> None:
        """Make room for nodes that came later."""
        more = nodes - len(self.came)
        self.came.extend([0] * more)
        self.heads.extend([0] * more)
