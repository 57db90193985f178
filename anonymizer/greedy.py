"""Where a circuit goes beyond its stem: to the pivot if it is linked, else to the neighbour nearest to it on the ring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from anonymizer.descr import location_of

NodeId: TypeAlias = bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A link; `is_client` is the TLS role, which decides whether the channels that we open on it are odd."""

    is_client: bool
    location: float


def nearer(links: Mapping[NodeId, Link], own: float, came: NodeId | None, pivot_id: NodeId) -> NodeId | None:
    """The neighbour nearest to the pivot if it is nearer than `own`, our location; never back to `came`."""
    if pivot_id in links:
        return None if pivot_id == came else pivot_id
    goal = location_of(pivot_id)

    def distance(location: float) -> float:
        apart = abs(location - goal)
        return min(apart, 1 - apart)

    best = min(((distance(link.location), node) for node, link in links.items() if node != came), default=None)
    return best[1] if best is not None and best[0] < distance(own) else None
