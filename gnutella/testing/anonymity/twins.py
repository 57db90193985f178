"""Deliberately broken twins of the production objects: each has one fault that a hidden-path design can have.

An attack that does not break its twin proves nothing about the original.
"""

from __future__ import annotations

from anonymizer.cells import Cell
from anonymizer.pacing import END_CHANCE
from anonymizer.stem import NodeId, Port, Stem
from anonymizer.wire import Open, Phase


class CountsHops(Stem):
    """`hops`: the last byte of the seal, which relays do not read, counts how far the circuit has come."""

    def _lay(self, port: Port, node: NodeId, body: Open, is_slow: bool, now: float) -> bool:
        count = 0 if port[0] is None else body.sealed[-1] + 1
        body = Open(body.phase, body.pivot_id, body.budget, body.sealed[:-1] + bytes((count & 255,)))
        return super()._lay(port, node, body, is_slow, now)


class CoinForEach(Stem):
    """`coin`: a fresh coin and a fresh edge for every circuit that passes."""

    def next_edge(self, came: NodeId | None) -> NodeId | None:
        if came is not None:
            self._next.pop(came, None)
        return super().next_edge(came)

    def ends_stem(self, came: NodeId) -> bool:
        return self._chance.random() < END_CHANCE


class GuardForEach(Stem):
    """`guard`: every own circuit leaves by another edge of this node's choice."""

    def next_edge(self, came: NodeId | None) -> NodeId | None:
        if came is None:
            edges = [node for node, link in self._links.items() if link.is_edge and link.is_initiated]
            return edges[self._chance.randrange(len(edges))] if edges else None
        return super().next_edge(came)


class NoVirtualStem(Stem):
    """`vstem`: the origin answers as soon as it can."""

    def open(self, pivot_id: NodeId, sealed: bytes, now: float, *, is_slow: bool = False) -> int | None:
        number = super().open(pivot_id, sealed, now, is_slow=is_slow)
        if number is not None:
            self._virtual.pop(number, None)
        return number


def hop_count(cell: Cell, body: Open) -> int:
    """What the cells of `CountsHops` give away."""
    return body.sealed[-1]


#: Phase is named here for readers of the twins: only what is in phase STEM hides an origin.
HIDING = Phase.STEM
