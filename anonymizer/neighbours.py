"""The neighbours of a node, as key requests see them: where each lies, its two coins, how it behaved lately.

The coins decide whether a request that comes with the most hops, or with one, loses one here.  Both are drawn once for each
neighbour, and for the node's own requests: drawn anew for each request they would average out and tell who is how far away.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from anonymizer.backoff import Backoff
from anonymizer.blocks import RING, distance
from anonymizer.descr import location_of
from anonymizer.wire import MAX_HTL

NodeId = bytes
#: Chances that a request loses a hop where it comes with the most, and with one (Freenet's, design section 2.5).
AT_MOST: Final = 0.5
AT_ONE: Final = 0.25


def place_of(node_id: NodeId) -> int:
    """Where a node lies, in the numbers of blocks.location."""
    return int(location_of(node_id) * RING)


class Coins:
    """Two coins for each node, thrown by a secret of ours: a link that ends and begins anew throws none again."""

    __slots__ = ("_at_most", "_at_one")

    def __init__(self, secret: bytes, node_id: NodeId) -> None:
        thrown = hmac.digest(secret, b"arl1-coins" + node_id, "sha256")
        self._at_most = thrown[0] < 256 * AT_MOST
        self._at_one = thrown[1] < 256 * AT_ONE

    def lower(self, htl: int) -> int:
        """The hops that a request has left which came with `htl`."""
        if htl >= MAX_HTL:
            return MAX_HTL - self._at_most
        if htl <= 1:
            return 1 - self._at_one
        return htl - 1


class Neighbour:
    """One link.  `sourced` are the requests that came by it, `asked` those that went."""

    __slots__ = ("asked", "backoff", "coins", "id", "liability", "place", "sourced")

    def __init__(self, node_id: NodeId, coins: Coins) -> None:
        self.id = node_id
        self.place = place_of(node_id)
        self.coins = coins
        self.backoff = Backoff()
        self.sourced: set[bytes] = set()
        self.asked: set[bytes] = set()
        #: Bytes that its requests may still make us send.
        self.liability = 0


class Neighbours:
    """Those of one node; any number, though links are at most 20."""

    __slots__ = ("_links", "place")

    def __init__(self, own_id: NodeId) -> None:
        self.place = place_of(own_id)
        self._links: dict[NodeId, Neighbour] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(self._links.values())

    def get(self, node_id: NodeId) -> Neighbour | None:
        return self._links.get(node_id)

    def add(self, neighbour: Neighbour) -> None:
        self._links[neighbour.id] = neighbour

    def remove(self, node_id: NodeId) -> Neighbour | None:
        return self._links.pop(node_id, None)

    def best(
        self,
        place: int,
        now: float,
        tried: Collection[NodeId],
        passed_over: Mapping[NodeId, float] = {},
        within: int = RING,
        first: Collection[NodeId] = (),
    ) -> Neighbour | None:
        """The next to ask: nearest to `place`, and nearer than `within`.

        Before all who are in `first`; after the sound ones those that failed for this key, the longest ago first; then those
        that are left alone for a while.  Never those that were tried, nor those that do not even accept.
        """
        best, least = None, (4, 0.0, 0)
        for node_id, neighbour in self._links.items():
            if node_id in tried:
                continue
            away = distance(neighbour.place, place)
            if away >= within:
                continue
            backoff = neighbour.backoff
            if backoff.until > now:
                if backoff.barred_until > now:
                    continue
                rank = (3, 0.0, away)
            elif node_id in passed_over:
                rank = (2, passed_over[node_id], away)
            else:
                rank = (0 if node_id in first else 1, 0.0, away)
            if rank < least:
                best, least = neighbour, rank
        return best

    def nearest(self, place: int, may: Callable[[Neighbour], bool]) -> list[Neighbour]:
        """All that may, the nearest first."""
        return sorted(filter(may, self._links.values()), key=lambda neighbour: distance(neighbour.place, place))
