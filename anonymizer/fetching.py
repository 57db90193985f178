"""FETCH: look here, then go from neighbour to neighbour towards the key's place; verify what comes back, and pass it on.

The one who asks gets an answer no sooner than 20 to 60 ms after he asked, drawn for each, whether the block was here or not.
The pivot for whom a fetch was made does not keep what it found, nor does its first neighbour on the way, which cannot know it
but sees by the hops left that it may be that one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from anonymizer.backoff import Cause
from anonymizer.blocks import verify
from anonymizer.failures import ENOUGH, REFUSE_S, Failures
from anonymizer.inner import FailReason
from anonymizer.neighbours import Neighbour, NodeId
from anonymizer.offers import Offers
from anonymizer.reasons import Refusal
from anonymizer.seams import Blocks
from anonymizer.ssk import merge
from anonymizer.walks import RETRY_S, Reply, Walk, Walks
from anonymizer.wire import (
    MAX_HTL,
    AnyBody,
    Block,
    BlockType,
    Fetch,
    NoRoute,
    NotFound,
    Reject,
    RejectReason,
)

#: A request with so many hops left may come from its pivot: what it finds is not cached, and failing costs it no hops.
NEAR_PIVOT_HTL: Final = MAX_HTL - 1
#: So often (Freenet's number, design section 2.5).
MAX_FREE_FAILURES: Final = 5
#: Found or fetched, an answer leaves no sooner after the question than this.
HOLD_S: Final = (0.02, 0.06)
#: The other record of a fork comes with the first.
FORK_S: Final = 2.0
#: A neighbour that went silent is passed over for this key for so long; it may only have been slow.
SILENT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a fetch, when: one block, of a fork two records, or none and why."""

    blocks: tuple[bytes, ...]
    reason: FailReason | None
    at: float


class FetchWalk(Walk):
    """`done` is the pivot's, if it is the source; `records` what came of a fork so far."""

    __slots__ = ("done", "free_failures", "records")

    done: Callable[[Fetched], None] | None
    free_failures: int
    records: tuple[bytes, ...]


class Fetching:
    """The room of fetches.  `keep` puts a block into the cache and offers it to who waits for it."""

    def __init__(
        self,
        walks: Walks,
        blocks: Blocks,
        failures: Failures,
        offers: Offers,
        keep: Callable[[BlockType, bytes, bytes], None],
    ) -> None:
        self._walks, self._blocks, self._failures, self._offers, self._keep = walks, blocks, failures, offers, keep

    def begin(self, source: Neighbour | None, body: Fetch, now: float, done: Callable[[Fetched], None] | None) -> None:
        """A FETCH came, or one of the pivot's begins."""
        reason = self._walks.refusal(source, body, now)
        if reason is not None:
            if done is not None:
                done(Fetched((), FailReason.OVERLOAD, now))
            elif source is not None:
                self._walks.send(source.id, Reject(body.uid, reason, 0 if reason is RejectReason.LOOP else RETRY_S))
            return
        walk = FetchWalk(self, source, body, body.routing, now)
        walk.done, walk.free_failures, walk.records = done, 0, ()
        self._walks.begin(walk)
        reply: Reply[tuple[bytes, ...]] = Reply(
            self._walks.timers, lambda found, at: self._looked(walk, found, at), now
        )
        self._blocks.get(body.type, body.routing, reply)
        reply.is_later()

    def _looked(self, walk: FetchWalk, found: tuple[bytes, ...], now: float) -> None:
        if walk not in self._walks:
            return
        if found:
            self._deliver(walk, found, now)
            return
        walk.htl = self._walks.lower(walk.source, walk.came_htl)
        if walk.htl == 0:
            self._not_found(walk, now)
        elif (wait_s := self._failed_lately(walk, now)) > 0:
            self._walks.refusals.count(Refusal.ROUTE_FAILED_LATELY)
            self._failed_elsewhere(walk, wait_s, now)
        else:
            self.go_on(walk, now)

    def _failed_lately(self, walk: Walk, now: float) -> float:
        """Seconds for which the key need not be tried: so many neighbours failed that the others are not worth it."""
        failed = self._failures.passed_over(walk.key, walk.htl, now)
        if not failed:
            return 0.0
        others = [neighbour.id for neighbour in self._walks.neighbours if neighbour is not walk.source]
        ends = sorted((failed[node] for node in others if node in failed), reverse=True)
        enough = min(ENOUGH, len(others))
        return ends[enough - 1] - now if 0 < enough <= len(ends) else 0.0

    # -- the way ---------------------------------------------------------------------------------------------------------

    def go_on(self, walk: Walk, now: float) -> None:
        assert isinstance(walk, FetchWalk)
        if walk.records:
            self._fetched(walk, now)
            return
        if now >= walk.ends_at:
            self._not_found(walk, now)
            return
        passed_over = self._failures.passed_over(walk.key, walk.htl, now)
        offered = self._offers.of(walk.routing, now)
        neighbour = self._walks.neighbours.best(walk.place, now, walk.tried, passed_over, first=offered)
        if neighbour is None:
            self._no_more(walk, now)
        else:
            body = Fetch(walk.uid, walk.type, walk.routing, walk.htl, walk.second)
            self._walks.ask(walk, neighbour, body, now)

    def _no_more(self, walk: FetchWalk, now: float) -> None:
        """Every neighbour was tried."""
        if walk.overloaded:
            answer: AnyBody = Reject(walk.uid, RejectReason.OVERLOAD_REMOTE, RETRY_S)
            self._fail(walk, FailReason.OVERLOAD, answer, now)
        else:
            self._fail(walk, FailReason.NO_ROUTE, NoRoute(walk.uid, walk.htl), now)

    def no_route(self, walk: Walk, htl: int, now: float) -> None:
        """A dead end: on with the hops that it had left, unless that would tell how near the pivot is."""
        assert isinstance(walk, FetchWalk)
        if walk.asked is not None:
            walk.asked.backoff.delivered()
        self._walks.leave(walk)
        if walk.htl >= NEAR_PIVOT_HTL and (walk.source is None or walk.free_failures < MAX_FREE_FAILURES):
            walk.free_failures += 1
            if walk.free_failures > MAX_FREE_FAILURES:
                self._no_more(walk, now)
                return
        else:
            walk.htl = min(walk.htl, htl)
        if walk.htl == 0:
            self._not_found(walk, now)
        else:
            self.go_on(walk, now)

    def not_found(self, walk: Walk, now: float) -> None:
        """The neighbour's line ran out of hops: final."""
        assert isinstance(walk, FetchWalk)
        self._asked_in_vain(walk, now + REFUSE_S, now)
        self._not_found(walk, now)

    def failed_lately(self, walk: Walk, wait_s: float, now: float) -> None:
        """The neighbour knows that the key was not found a short time ago: final as well."""
        assert isinstance(walk, FetchWalk)
        self._asked_in_vain(walk, now + min(wait_s, REFUSE_S), now)
        self._failed_elsewhere(walk, wait_s, now)

    def gave_up(self, walk: Walk, neighbour: Neighbour, now: float) -> None:
        """The others still have what time is left, at a pivot as at any relay."""
        self._failures.failed(walk.key, neighbour.id, walk.htl, now + SILENT_S)

    def expired(self, walk: Walk, now: float) -> None:
        assert isinstance(walk, FetchWalk)
        if walk.records:
            self._deliver(walk, walk.records, now)
        else:
            self._not_found(walk, now)

    def _asked_in_vain(self, walk: FetchWalk, until: float, now: float) -> None:
        if walk.asked is not None:
            walk.asked.backoff.delivered()
            self._failures.failed(walk.key, walk.asked.id, walk.htl, until)
            self._failures.waits(walk.key, walk.asked.id, walk.came_htl, now)

    def _not_found(self, walk: FetchWalk, now: float) -> None:
        self._fail(walk, FailReason.NOT_FOUND, NotFound(walk.uid), now)

    def _failed_elsewhere(self, walk: FetchWalk, wait_s: float, now: float) -> None:
        answer = Reject(walk.uid, RejectReason.RECENTLY_FAILED, max(0, int(min(wait_s, REFUSE_S))))
        self._fail(walk, FailReason.NOT_FOUND, answer, now)

    def _fail(self, walk: FetchWalk, reason: FailReason, answer: AnyBody, now: float) -> None:
        if walk.source is not None and reason is FailReason.NOT_FOUND:
            self._failures.waits(walk.key, walk.source.id, walk.came_htl, now)
        self._walks.end(walk, answer)
        if walk.done is not None:
            walk.done(Fetched((), reason, now))

    # -- blocks ----------------------------------------------------------------------------------------------------------

    def found(self, walk: Walk, body: Block, now: float) -> None:
        """The neighbour sends the block; RemoteViolation if it is not that key's.  A fork's second record is waited for."""
        assert isinstance(walk, FetchWalk)
        assert walk.asked is not None
        if body.type is not walk.type:
            # No key has blocks of two types; `verify` says so.
            verify(body.type, b"", body.block)
        verify(walk.type, walk.routing, body.block)
        walk.records = merge(walk.records, body.block) if walk.records else (body.block,)
        if body.more and len(walk.records) == 1:
            self._walks.wait(walk, min(now + FORK_S, walk.ends_at), lambda at: self._fork_missing(walk, at))
            return
        walk.asked.backoff.delivered()
        self._fetched(walk, now)

    def _fork_missing(self, walk: FetchWalk, now: float) -> None:
        if walk.asked is not None:
            walk.asked.backoff.blame(Cause.TRANSFER, now)
        self._fetched(walk, now)

    def _fetched(self, walk: FetchWalk, now: float) -> None:
        self._walks.leave(walk)
        if walk.source is not None and walk.came_htl < NEAR_PIVOT_HTL:
            for record in walk.records:
                self._keep(walk.type, walk.routing, record)
        self._deliver(walk, walk.records, now)

    def _deliver(self, walk: FetchWalk, records: tuple[bytes, ...], now: float) -> None:
        """As late as if it had been elsewhere, or had been here."""
        least, most = HOLD_S
        leave = walk.begun + least + (most - least) * self._walks.chance.random()
        walk.records = records
        if leave > now:
            self._walks.wait(walk, leave, lambda at: self._answer(walk, at))
        else:
            self._answer(walk, now)

    def _answer(self, walk: FetchWalk, now: float) -> None:
        self._walks.end(walk)
        if walk.source is not None:
            send_blocks(self._walks.send, walk.source.id, walk.uid, walk.type, walk.records)
        if walk.done is not None:
            walk.done(Fetched(walk.records, None, now))


def send_blocks(
    send: Callable[[NodeId, AnyBody], None], node: NodeId, uid: bytes, type: BlockType, records: tuple[bytes, ...]
) -> None:
    """A block, or the two records of a fork, to who asked."""
    for number, record in enumerate(records, 1):
        send(node, Block(uid, type, record, more=number < len(records)))
