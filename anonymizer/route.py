"""Key routing: FETCH and STORE over the links of a node, towards the place of a key on the ring.

    route = Route(own_id, chance, timers, blocks, send, ban=ban)
    route.link_up(node, now); route.link_down(node, now); route.receive(node, body, now)
    route.fetch(type, routing, done, now); route.store(type, routing, block, done, now)    for the pivot alone

A request has twelve hops at most and goes to the neighbour nearest to its key that did not refuse it, comes back from dead ends
and goes on.  Who gets one cannot tell whether the one who sent it began it: it has a fresh id, the number of hops is blurred by
coins that belong to the link, and nothing of it is kept near where it began.  Every node on the way verifies a block before it
keeps it or passes it on; who sends another than was asked for is banned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anonymizer.backoff import Cause
from anonymizer.blocks import Outcome, verify
from anonymizer.failures import Failures
from anonymizer.fetching import NEAR_PIVOT_HTL, Fetched, Fetching, send_blocks
from anonymizer.neighbours import Coins, Neighbour, Neighbours, NodeId
from anonymizer.offers import Offers
from anonymizer.pacing import Chance
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seams import Blocks
from anonymizer.storing import Storing
from anonymizer.timers import Timer, Timers
from anonymizer.walks import ACCEPT_S, BYTES_PER_S, Reply, Walks
from anonymizer.wire import (
    MAX_HTL,
    Accepted,
    AnyBody,
    Block,
    BlockType,
    Fetch,
    NoRoute,
    NotFound,
    Offer,
    Reject,
    RejectReason,
    Store,
    Stored,
    Take,
)
from gnutella.errors import RemoteViolation

#: Blocks that are being taken from those who offered them, at once.
MAX_TAKES: Final = 64
#: What `receive` reads.
BODIES: Final = (Fetch, Accepted, Block, NotFound, NoRoute, Reject, Store, Stored, Offer, Take)


class Route:
    """See the module text.

    `send` puts a body into the queue of a link.  `ban` is told who sent a block that is none, before `receive` raises a
    Violation that costs the link.  `bytes_per_s` is what may be sent for others.  `may_store` is False where a node is up for
    less than two fifths of the time.
    """

    def __init__(
        self,
        own_id: NodeId,
        chance: Chance,
        timers: Timers,
        blocks: Blocks,
        send: Callable[[NodeId, AnyBody], None],
        *,
        ban: Callable[[NodeId, float], None] | None = None,
        bytes_per_s: float = BYTES_PER_S,
        may_store: bool = True,
    ) -> None:
        self.refusals = Refusals()
        self._timers, self._blocks, self._send, self._ban = timers, blocks, send, ban
        self._neighbours = Neighbours(own_id)
        self._secret = chance.getrandbits(256).to_bytes(32, "big")
        coins = Coins(self._secret, own_id)
        self._walks = Walks(self._neighbours, chance, timers, send, coins, self.refusals, bytes_per_s)
        self._failures = Failures()
        self._offers = Offers(self._secret)
        self._takes: dict[bytes, tuple[NodeId, BlockType, bytes, Timer]] = {}
        self._now = 0.0
        self._fetching = Fetching(self._walks, blocks, self._failures, self._offers, self._keep)
        self._storing = Storing(self._walks, blocks, self._keep, self._arrived, may_store=may_store)

    # -- for the pivot ---------------------------------------------------------------------------------------------------

    def fetch(
        self, type: BlockType, routing: bytes, done: Callable[[Fetched], None], now: float, second: bool = False
    ) -> None:
        """Find a block for somebody else; `done` is called once, at once or later.  It is not kept here."""
        self._now = now
        self._fetching.begin(None, Fetch(self._walks.new_uid(), type, routing, MAX_HTL, second), now, done)

    def store(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        done: Callable[[int, float], None],
        now: float,
        second: bool = False,
    ) -> None:
        """Store a block for somebody else; `done` is called once with the copies and the time.

        RemoteViolation: it is not that key's.
        """
        self._now = now
        verify(type, routing, block)
        self._storing.begin(None, Store(self._walks.new_uid(), MAX_HTL, type, second, block), now, done)

    # -- links -----------------------------------------------------------------------------------------------------------

    def link_up(self, node: NodeId, now: float) -> None:
        """A link; its coins are those that the node has had with us since we started."""
        self.link_down(node, now)
        self._neighbours.add(Neighbour(node, Coins(self._secret, node)))

    def link_down(self, node: NodeId, now: float) -> None:
        """No link any more; nothing happens if there was none."""
        self._now = now
        neighbour = self._neighbours.remove(node)
        if neighbour is None:
            return
        for uid in [uid for uid, take in self._takes.items() if take[0] == node]:
            self._end_take(uid)
        self._walks.link_down(neighbour, now)

    def receive(self, node: NodeId, body: AnyBody, now: float) -> None:
        """What came over a link.  Violation: the link has to be closed."""
        self._now = now
        neighbour = self._neighbours.get(node)
        if neighbour is None:
            return
        try:
            if isinstance(body, Fetch):
                self._fetching.begin(neighbour, body, now, None)
            elif isinstance(body, Store):
                self._storing.begin(neighbour, body, now)
            elif isinstance(body, Offer):
                self._offered(neighbour, body, now)
            elif isinstance(body, Take):
                self._taken(neighbour, body, now)
            elif isinstance(body, Accepted | Block | NotFound | NoRoute | Reject | Stored):
                self._answered(neighbour, body, now)
        except RemoteViolation as violation:
            self.refusals.count(Refusal.BAD_BLOCK)
            if self._ban is not None:
                self._ban(node, now)
            raise Violation(Refusal.BAD_BLOCK, violation.detail) from None

    def _answered(
        self, neighbour: Neighbour, body: Accepted | Block | NotFound | NoRoute | Reject | Stored, now: float
    ) -> None:
        take = self._takes.get(body.uid)
        if take is not None and take[0] == neighbour.id:
            self._take_answered(take, body)
            return
        is_late_block = isinstance(body, Block) and not body.more
        walk = self._walks.answering(neighbour, body.uid, late=is_late_block)
        if walk is None:
            return
        if isinstance(body, Accepted):
            self._walks.accepted(walk, now)
        elif isinstance(body, NoRoute):
            (self._storing if walk.is_store else self._fetching).no_route(walk, body.htl, now)
        elif isinstance(body, Reject) and (walk.is_store or body.reason is not RejectReason.RECENTLY_FAILED):
            self._walks.rejected(walk, body, now)
        elif walk.is_store and isinstance(body, Stored):
            self._storing.stored(walk, body.copies, now)
        elif walk.is_store or isinstance(body, Stored):
            # An answer to the other kind of request.
            self.refusals.count(Refusal.ROUTE_STRAY)
        elif isinstance(body, Reject):
            self._fetching.failed_lately(walk, body.retry_s, now)
        elif isinstance(body, NotFound):
            self._fetching.not_found(walk, now)
        else:
            self._fetching.found(walk, body, now)

    # -- what others wait for --------------------------------------------------------------------------------------------

    def _keep(self, type: BlockType, routing: bytes, block: bytes) -> None:
        """A verified block goes into the cache; who asked for it in vain, or was asked, is told.

        Signed records do not: they are replaced where they are stored, and a cache would go on giving the old one.
        """
        if type is BlockType.SSK:
            return
        reply: Reply[Outcome] = Reply(
            self._timers, lambda outcome, now: self._arrived(type, routing, outcome, now), self._now
        )
        self._blocks.put(type, routing, block, "cache", reply)
        reply.is_later()

    def _arrived(self, type: BlockType, routing: bytes, outcome: Outcome, now: float) -> None:
        """A block came into cache or store."""
        if outcome not in (Outcome.STORED, Outcome.KNOWN):
            return
        for node in self._failures.take_waiting(type, routing, now):
            if self._neighbours.get(node) is not None:
                self._send(node, Offer(routing, self._offers.proof(node, type, routing, now)))

    def _offered(self, neighbour: Neighbour, body: Offer, now: float) -> None:
        """Remembered for the next request; taken at once where it may go into the cache."""
        for type in BlockType:
            for second in (False, True):
                failure = self._failures.get((type, body.routing, second))
                if failure is None:
                    continue
                self._offers.heard(neighbour.id, body.routing, now)
                if failure.came_htl < NEAR_PIVOT_HTL and type is BlockType.CHK:
                    self._take(neighbour, type, body, now)
                return
        self.refusals.count(Refusal.OFFER_UNWANTED)

    def _take(self, neighbour: Neighbour, type: BlockType, body: Offer, now: float) -> None:
        uid = body.proof[:16]
        is_taken = any(routing == body.routing for _, _, routing, _ in self._takes.values())
        if uid in self._takes or is_taken or len(self._takes) >= MAX_TAKES:
            return
        timer = self._timers.at(now + ACCEPT_S, lambda at: self._not_taken(uid, at))
        self._takes[uid] = neighbour.id, type, body.routing, timer
        self._send(neighbour.id, Take(body.routing, body.proof))

    def _not_taken(self, uid: bytes, now: float) -> None:
        neighbour = self._neighbours.get(self._takes[uid][0])
        self._end_take(uid)
        self.refusals.count(Refusal.ROUTE_TIMEOUT)
        if neighbour is not None:
            neighbour.backoff.blame(Cause.TRANSFER, now)

    def _end_take(self, uid: bytes) -> None:
        self._takes.pop(uid)[3].cancel()

    def _take_answered(self, take: tuple[NodeId, BlockType, bytes, Timer], body: AnyBody) -> None:
        _, type, routing, _ = take
        if isinstance(body, Block):
            verify(type, routing, body.block)
            self._keep(type, routing, body.block)
            if body.more:
                return
        if not isinstance(body, Accepted):
            self._end_take(next(uid for uid, other in self._takes.items() if other is take))

    def _taken(self, neighbour: Neighbour, body: Take, now: float) -> None:
        """Somebody demands a block; he gets it if it was offered to him."""
        type = self._offers.proven(neighbour.id, body.routing, body.proof, now)
        if type is None:
            self.refusals.count(Refusal.BAD_PROOF)
            return
        reply: Reply[tuple[bytes, ...]] = Reply(
            self._timers, lambda found, at: self._hand_over(neighbour.id, type, body, found), now
        )
        self._blocks.get(type, body.routing, reply)
        reply.is_later()

    def _hand_over(self, node: NodeId, type: BlockType, body: Take, found: tuple[bytes, ...]) -> None:
        if self._neighbours.get(node) is None:
            return
        if found:
            send_blocks(self._send, node, body.proof[:16], type, found)
        else:
            self._send(node, NotFound(body.proof[:16]))

    # -- for who watches -------------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """How full each table is."""
        return {
            "walks": len(self._walks),
            "stores": self._walks.stores,
            "recent": self._walks.recent,
            "failures": len(self._failures),
            "offers": len(self._offers),
            "takes": len(self._takes),
            "liability": self._walks.liability,
        }
