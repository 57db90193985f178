"""Deliberately broken twins of the production objects: each has one fault that a hidden-path design can have.

An attack that does not break its twin proves nothing about the original.
"""

from __future__ import annotations

from typing import Any

from anonymizer.circuits import NodeId, Port
from anonymizer.edges import Edges
from anonymizer.pacing import END_CHANCE
from anonymizer.stem import Stem
from anonymizer.wire import Open, Phase, Post


class CountsHops(Stem):
    """`hops`: the last byte of the seal, which relays do not read, counts how far the circuit has come."""

    def _lay(self, port: Port, node: NodeId, body: Open, is_slow: bool, now: float) -> bool:
        count = 0 if port[0] is None else body.sealed[-1] + 1
        body = Open(body.phase, body.pivot_id, body.budget, body.sealed[:-1] + bytes((count & 255,)))
        return super()._lay(port, node, body, is_slow, now)


class FreshEdges(Edges):
    """Nothing is kept."""

    def next(self, came: NodeId) -> NodeId | None:
        self._next.pop(came, None)
        return super().next(came)

    def ends_stem(self, came: NodeId) -> bool:
        return self._chance.random() < END_CHANCE


class CoinForEach(Stem):
    """`coin`: a fresh coin and a fresh edge for every circuit that passes."""

    def __init__(self, own_id: NodeId, chance: Any, **calls: Any) -> None:
        super().__init__(own_id, chance, **calls)
        self._edges = FreshEdges(chance, self.guards)


class GuardForEach(Stem):
    """`guard`: every own circuit leaves by another edge of this node's choice."""

    def guard(self, now: float) -> NodeId | None:
        edges = [node for node in self.guards.ids if node in self._edges]
        return edges[self._chance.randrange(len(edges))] if edges else None


class OneChannel(Stem):
    """`uid`: a circuit keeps the channel of its first link on all others, but for the bit that says who opened it."""

    def _lay(self, port: Port, node: NodeId, body: Open, is_slow: bool, now: float) -> bool:
        channel = self._circuits.free_channel(node, self._links[node].is_client)
        if port[0] is not None:
            channel = port[1] & ~1 | self._links[node].is_client
        if not self._connect(port, (node, channel), is_slow, now):
            return False
        self.enqueue_from(port, body, now, is_slow=is_slow)
        return True


class RemembersSeals(Stem):
    """`seals`: a seal that comes by the same edge a second time ends its stem, as that of a circle would."""

    def __init__(self, own_id: NodeId, chance: Any, **calls: Any) -> None:
        super().__init__(own_id, chance, **calls)
        self._passed: set[tuple[NodeId, bytes]] = set()

    def _onward(self, came: NodeId, body: Open | Post, now: float) -> tuple[NodeId | None, Phase]:
        before, name = len(self._passed), (came, body.sealed)
        self._passed.add(name)
        if len(self._passed) == before and body.phase is Phase.STEM:
            return self._nearer(came, body.pivot_id), Phase.BRIDGE
        return super()._onward(came, body, now)
