"""Blocks that neighbours offered after we had asked for them in vain, and proofs for those that we offer.

An offer says: this key was asked for between us, and I have it now.  Its proof is made with a secret of the one who offers, for
this neighbour and these ten minutes; whoever demands a block with it gets the block, and whoever was offered nothing can
learn nothing by demanding.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Final

from anonymizer.neighbours import NodeId
from anonymizer.wire import BlockType

#: Keys that were offered to us, and for how long (design section 3.17).
MAX_OFFERS: Final = 10_000
OFFER_S: Final = 600.0
#: Neighbours that may offer the same key.
MAX_OF_KEY: Final = 3


class Offers:
    """See the module text.  `secret` is this node's, drawn at start."""

    __slots__ = ("_limit", "_offers", "_secret")

    def __init__(self, secret: bytes, limit: int = MAX_OFFERS) -> None:
        self._secret = secret
        self._limit = limit
        self._offers: OrderedDict[bytes, dict[NodeId, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offers)

    def heard(self, node: NodeId, routing: bytes, now: float) -> None:
        """This neighbour has it."""
        offer = self._offers.setdefault(routing, {})
        self._offers.move_to_end(routing)
        if node in offer or len(offer) < MAX_OF_KEY:
            offer[node] = now + OFFER_S
        if len(self._offers) > self._limit:
            self._offers.popitem(last=False)

    def of(self, routing: bytes, now: float) -> list[NodeId]:
        """Who offered it within the time."""
        offer = self._offers.get(routing)
        if offer is None:
            return []
        found = [node for node, until in offer.items() if until > now]
        if not found:
            del self._offers[routing]
        return found

    def proof(self, node: NodeId, type: BlockType, routing: bytes, now: float) -> bytes:
        """What the neighbour shows to take the block."""
        return self._proof(node, type, routing, int(now // OFFER_S))

    def proven(self, node: NodeId, routing: bytes, proof: bytes, now: float) -> BlockType | None:
        """The type of the block that we offered to it under this key; None if we did not, or too long ago."""
        turn = int(now // OFFER_S)
        for type in BlockType:
            for at in (turn, turn - 1):
                if hmac.compare_digest(self._proof(node, type, routing, at), proof):
                    return type
        return None

    def _proof(self, node: NodeId, type: BlockType, routing: bytes, turn: int) -> bytes:
        said = b"arl1-offer" + node + bytes((type,)) + routing + turn.to_bytes(8, "big", signed=True)
        return hmac.digest(self._secret, said, "sha256")
