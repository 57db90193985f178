"""STORE: a block goes from neighbour to nearer neighbour until there is none nearer; that node keeps it, in three copies.

The node that keeps it hands a copy each to the two of its neighbours that are nearest to the block's place, as a STORE with one
hop left and a uid of its own; such a one is kept where it arrives.  Relays on the way keep the block in their cache, but for
those that may be the first neighbour of the pivot, or the pivot.  Who is nearest keeps it in any case: whoever finds it there
learns where it belongs, and not who brought it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anonymizer.blocks import RING, Outcome, distance, routing_in
from anonymizer.fetching import NEAR_PIVOT_HTL
from anonymizer.neighbours import Neighbour
from anonymizer.seams import Blocks
from anonymizer.walks import RETRY_S, Reply, Walk, Walks
from anonymizer.wire import MAX_COPIES, BlockType, NoRoute, Reject, RejectReason, Store, Stored

#: Copies are waited for so long; one neighbour that is silent is replaced by another within it.
COPY_S: Final = 22.0
#: A STORE with so many hops left is kept where it arrives.
LAST_HTL: Final = 1


class StoreWalk(Walk):
    """`done` is the pivot's, if it is the source.  `of` is the walk that a copy is handed out for."""

    __slots__ = ("block", "copies", "done", "handed", "of", "wanted")

    block: bytes
    done: Callable[[int, float], None] | None
    of: StoreWalk | None
    #: Copies that are kept; those that are handed out and not answered; those still to be handed out.
    copies: int
    handed: int
    wanted: int


class Storing:
    """The room of stores.

    `keep` puts a block into the cache, `arrived` is told what became of one that was put into the store.  `may_store` is
    False at nodes that are rarely up.
    """

    def __init__(
        self,
        walks: Walks,
        blocks: Blocks,
        keep: Callable[[BlockType, bytes, bytes], None],
        arrived: Callable[[BlockType, bytes, Outcome, float], None],
        *,
        may_store: bool = True,
    ) -> None:
        self._walks, self._blocks, self._keep, self._arrived = walks, blocks, keep, arrived
        self.may_store = may_store

    def begin(
        self, source: Neighbour | None, body: Store, now: float, done: Callable[[int, float], None] | None = None
    ) -> None:
        """A STORE came (RemoteViolation if its block is none), or one of the pivot's begins."""
        routing = routing_in(body.type, body.block)
        reason = self._walks.refusal(source, body, now)
        if reason is not None:
            if done is not None:
                done(0, now)
            elif source is not None:
                self._walks.send(source.id, Reject(body.uid, reason, 0 if reason is RejectReason.LOOP else RETRY_S))
            return
        walk = self._made(source, body, routing, now)
        walk.done = done
        self._walks.begin(walk)
        if source is not None and body.htl <= LAST_HTL:
            self._settle(walk, 0, now)
            return
        if body.type is BlockType.SSK:
            self._renew(walk)
        # Each hop is nearer than the one before, so it ends without a count; the last hop is for copies alone.
        walk.htl = max(LAST_HTL + 1, self._walks.lower(source, body.htl))
        self.go_on(walk, now)

    def _renew(self, walk: StoreWalk) -> None:
        """A record that passes replaces an older one that was stored here, be it on the way or at its pivot.

        Whoever hands out copies leaves out whom the block came from, so that one would stay with the old record.
        """

        def held(found: tuple[bytes, ...]) -> None:
            if found:
                self._blocks.put(walk.type, walk.routing, walk.block, "store", lambda outcome: None)

        self._blocks.get(walk.type, walk.routing, held)

    def _made(self, source: Neighbour | None, body: Store, routing: bytes, now: float) -> StoreWalk:
        walk = StoreWalk(self, source, body, routing, now)
        walk.block, walk.done, walk.of = body.block, None, None
        walk.copies = walk.handed = walk.wanted = 0
        return walk

    # -- the way ---------------------------------------------------------------------------------------------------------

    def go_on(self, walk: Walk, now: float) -> None:
        """To the nearest neighbour that is nearer than this node; else it is kept here."""
        assert isinstance(walk, StoreWalk)
        if walk.of is not None:
            self._copy_ended(walk, 0, now)
            return
        if now >= walk.ends_at:
            self.expired(walk, now)
            return
        own = distance(self._walks.neighbours.place, walk.place)
        within = own if self.may_store else RING
        neighbour = self._walks.neighbours.best(walk.place, now, walk.tried, within=within)
        if neighbour is not None:
            body = Store(walk.uid, walk.htl, walk.type, walk.second, walk.block)
            self._walks.ask(walk, neighbour, body, now)
        elif self.may_store and (walk.source is None or own < distance(walk.source.place, walk.place)):
            self._settle(walk, MAX_COPIES - 1, now)
        else:
            self._finish(walk, NoRoute(walk.uid, walk.htl), now)

    def gave_up(self, walk: Walk, neighbour: Neighbour, now: float) -> None:
        """Nothing but the next neighbour."""

    def no_route(self, walk: Walk, htl: int, now: float) -> None:
        """A dead end."""
        if walk.asked is not None:
            walk.asked.backoff.delivered()
        self._walks.leave(walk)
        self.go_on(walk, now)

    def stored(self, walk: Walk, copies: int, now: float) -> None:
        """It was kept, further on."""
        assert isinstance(walk, StoreWalk)
        if walk.asked is not None:
            walk.asked.backoff.delivered()
        self._walks.leave(walk)
        if walk.of is not None:
            self._copy_ended(walk, copies, now)
            return
        if walk.source is not None and walk.came_htl < NEAR_PIVOT_HTL:
            self._keep(walk.type, walk.routing, walk.block)
        walk.copies = copies
        self._finish(walk, Stored(walk.uid, copies), now)

    def expired(self, walk: Walk, now: float) -> None:
        assert isinstance(walk, StoreWalk)
        if walk.of is not None:
            self._copy_ended(walk, 0, now)
        else:
            self._finish(walk, Stored(walk.uid, min(walk.copies, MAX_COPIES)), now)

    def _finish(self, walk: StoreWalk, answer: Stored | NoRoute, now: float) -> None:
        self._walks.end(walk, answer)
        if walk.done is not None:
            walk.done(min(walk.copies, MAX_COPIES), now)

    # -- where it is kept ------------------------------------------------------------------------------------------------

    def _settle(self, walk: StoreWalk, copies: int, now: float) -> None:
        """Keep it, and hand out so many copies."""
        walk.wanted = copies
        self._walks.wait(walk, min(now + COPY_S, walk.ends_at), lambda at: self.expired(walk, at))
        reply: Reply[Outcome] = Reply(self._walks.timers, lambda outcome, at: self._kept(walk, outcome, at), now)
        self._blocks.put(walk.type, walk.routing, walk.block, "store", reply)
        reply.is_later()

    def _kept(self, walk: StoreWalk, outcome: Outcome, now: float) -> None:
        self._arrived(walk.type, walk.routing, outcome, now)
        if walk in self._walks:
            walk.copies += outcome in (Outcome.STORED, Outcome.KNOWN)
            self._hand_out(walk, now)

    def _hand_out(self, walk: StoreWalk, now: float) -> None:
        """Copies to the nearest neighbours, one hop each; the end when none is wanted, or nobody is left."""
        while walk.wanted and (neighbour := self._walks.neighbours.best(walk.place, now, walk.tried)) is not None:
            body = Store(self._walks.new_uid(), LAST_HTL, walk.type, walk.second, walk.block)
            if self._walks.refusal(None, body, now) is not None:
                break
            walk.tried.add(neighbour.id)
            walk.wanted -= 1
            walk.handed += 1
            copy = self._made(None, body, walk.routing, now)
            copy.of = walk
            self._walks.begin(copy)
            self._walks.ask(copy, neighbour, body, now)
        if not walk.handed:
            self._finish(walk, Stored(walk.uid, min(walk.copies, MAX_COPIES)), now)

    def _copy_ended(self, copy: StoreWalk, copies: int, now: float) -> None:
        """One is kept, or another neighbour gets it."""
        self._walks.end(copy)
        walk = copy.of
        if walk is None or walk not in self._walks:
            return
        walk.handed -= 1
        walk.copies += copies > 0
        walk.wanted += copies == 0
        self._hand_out(walk, now)
