"""Stem edges: where circuits go on that come by an edge, and whether their stem ends here; drawn once for all.

An edge belongs to a node and not to a connection: its coin, what it leads to and what leads to it outlast a quarter of an hour
without a link.  While the edge that another leads to is away, a second one stands in, drawn once as well: who cuts our links
sees one more draw and not a new one for each cut.  While that is away too, stems that come by the edge end here.  Own circuits
are led by the guards (anonymizer.guards) and by nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeAlias

from anonymizer.guards import EDGES, MAX_GUARDS, Guards
from anonymizer.pacing import END_CHANCE, Chance

NodeId: TypeAlias = bytes

#: Stem edges of each kind: of our own choice two, and one more while a guard is away.
MAX_INITIATED: Final = MAX_GUARDS
MAX_ACCEPTED: Final = 2
#: What share of the mappings an accepted edge gets beside one of our own choice.
ACCEPTED_WEIGHT: Final = 0.1
#: How long an edge is kept without a link.
ABSENCE_S: Final = 900.0


@dataclass(slots=True)
class Edge:
    """One; `away_since` is None while there is a link."""

    is_initiated: bool
    away_since: float | None = None


class Edges:
    """Those of one node."""

    def __init__(self, chance: Chance, guards: Guards) -> None:
        self._chance, self._guards = chance, guards
        self._edges: dict[NodeId, Edge] = {}
        self._next: dict[NodeId, NodeId] = {}
        self._stand_in: dict[NodeId, NodeId] = {}
        self._ends: dict[NodeId, bool] = {}

    # -- which there are -------------------------------------------------------------------------------------------------

    def __contains__(self, node: NodeId) -> bool:
        """Whether it is an edge with a link."""
        edge = self._edges.get(node)
        return edge is not None and edge.away_since is None

    def kind(self, node: NodeId) -> bool | None:
        """Whether the edge, with a link or kept without one, is self-initiated; None: it is no edge."""
        edge = self._edges.get(node)
        return None if edge is None else edge.is_initiated

    def has_room(self, is_initiated: bool) -> bool:
        """Whether another edge of that kind may be made; those that are kept without a link count."""
        count = sum(edge.is_initiated is is_initiated for edge in self._edges.values())
        if not is_initiated:
            return count < MAX_ACCEPTED
        return count < EDGES or any(self.kind(node) is None for node in self._guards.ids)

    def make(self, node: NodeId, is_initiated: bool) -> bool:
        """The open link becomes an edge.  False: it is one of the other kind, or there are as many of that kind as may be.

        An accepted edge becomes a self-initiated one if it is to a guard.
        """
        edge, is_guard = self._edges.get(node), is_initiated and node in self._guards
        if edge is not None and edge.is_initiated is is_initiated:
            return True
        if not is_guard and (edge is not None or not self.has_room(is_initiated)):
            return False
        if is_guard:
            self._make_way()
        self._edges[node] = Edge(is_initiated)
        if is_initiated:
            self._guards.up(node)
        return True

    def _make_way(self) -> None:
        """For one more guard: of as many edges as may be, one goes whose time as a guard is over."""
        chosen = [node for node, edge in self._edges.items() if edge.is_initiated]
        if len(chosen) >= MAX_INITIATED:
            old = next(node for node in chosen if node not in self._guards)
            self.drop(old, 0.0)

    def drop(self, node: NodeId, now: float) -> None:
        """It is no edge any more, and what was drawn for it is forgotten."""
        if self._edges.pop(node, None) is None:
            return
        self._guards.down(node, now)
        self._ends.pop(node, None)
        for mapping in (self._next, self._stand_in):
            mapping.pop(node, None)
        self._stand_in = {came: goes for came, goes in self._stand_in.items() if goes != node}
        for came in [came for came, goes in self._next.items() if goes == node]:
            stand_in = self._stand_in.pop(came, None)
            if stand_in is None:
                del self._next[came]
            else:
                self._next[came] = stand_in

    def link_up(self, node: NodeId) -> None:
        """A link is there again; if the node is still an edge, it is the same as before."""
        edge = self._edges.get(node)
        if edge is not None:
            edge.away_since = None
            if edge.is_initiated:
                self._guards.up(node)

    def link_down(self, node: NodeId, now: float) -> None:
        edge = self._edges.get(node)
        if edge is not None:
            edge.away_since = now
            self._guards.down(node, now)

    def tick(self, now: float) -> None:
        """Drop those that have been away for too long."""
        for node, edge in list(self._edges.items()):
            if edge.away_since is not None and now - edge.away_since > ABSENCE_S:
                self.drop(node, now)

    # -- where to --------------------------------------------------------------------------------------------------------

    def next(self, came: NodeId) -> NodeId | None:
        """Where circuits go on that come by the edge `came`; None: nowhere, for now, and the stem ends here."""
        first = self._next.get(came)
        if first is None:
            return self._draw(self._next, came, (came,))
        if first in self:
            return first
        other = self._stand_in.get(came)
        if other is None:
            return self._draw(self._stand_in, came, (came, first))
        return other if other in self else None

    def _draw(self, mapping: dict[NodeId, NodeId], came: NodeId, without: Collection[NodeId]) -> NodeId | None:
        edges = [(node, edge) for node, edge in self._edges.items() if node in self and node not in without]
        weights = [1.0 if edge.is_initiated else ACCEPTED_WEIGHT for _, edge in edges]
        mark = self._chance.random() * sum(weights)
        for (node, _), weight in zip(edges, weights, strict=True):
            mapping[came] = node
            mark -= weight
            if mark < 0:
                break
        return mapping.get(came)

    def ends_stem(self, came: NodeId) -> bool:
        """The coin of that edge."""
        if came not in self._ends:
            self._ends[came] = self._chance.random() < END_CHANCE
        return self._ends[came]

    def guard(self, now: float) -> NodeId | None:
        """Where own circuits begin: the guard whose turn it is, if it is a self-initiated edge with a link."""
        node = self._guards.current(now)
        return node if node is not None and node in self and self._edges[node].is_initiated else None
