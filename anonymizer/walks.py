"""Key requests under way: one table, bounded, and the way of each from neighbour to neighbour.

A walk came from a neighbour (or from this node's pivot) and is with one neighbour at a time.  Its room (fetching, storing)
decides where it goes next and what its end is; here are the rules that all share: a request that was here is refused, so is one
beyond the bounds or beyond what could be answered in two minutes; a neighbour has ten seconds to accept and a time by hops to
answer; whoever does neither is left alone for a while; and each walk ends once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from anonymizer.backoff import Cause
from anonymizer.blocks import location, second_place
from anonymizer.failures import Key
from anonymizer.neighbours import Coins, Neighbour, Neighbours, NodeId
from anonymizer.pacing import Chance
from anonymizer.reasons import Refusal, Refusals
from anonymizer.timers import Timer, Timers
from anonymizer.wire import MAX_HTL, Accepted, AnyBody, BlockType, Fetch, Reject, RejectReason, Store

#: Requests under way, in all and of one link (design section 3.17).
MAX_WALKS: Final = 4_096
MAX_WALKS_OF_LINK: Final = 1_024
#: Stores among them: each holds its block, 34 MB in all.
MAX_STORES: Final = 1_024
#: Requests that were here, and for how long they are refused.
MAX_RECENT: Final = 65_536
RECENT_S: Final = 600.0
ACCEPT_S: Final = 10.0
#: An answer takes so long at most, with the most hops; with fewer less, so that it is the last one on the way that gives up.
SEARCH_S: Final = 20.0
STORE_S: Final = 60.0
#: What ends a request whatever its neighbours do.  The same at pivots and relays, though who asked a relay waits less: nobody
#: shall tell them apart by swallowing a request and watching who tries another neighbour.
FETCH_LIFE_S: Final = 60.0
STORE_LIFE_S: Final = 120.0
#: All that was admitted can be sent within so many seconds (design section 2.7).
LIABILITY_S: Final = 120.0
#: Half of what a node uploads by default.
BYTES_PER_S: Final = 256 * 1024.0
#: What an answer, or a block to store, costs on a link.
COSTS: Final = {BlockType.CHK: 33_792, BlockType.SSK: 1_536}
#: What a refused neighbour is told to wait.
RETRY_S: Final = 2

T = TypeVar("T")


def answer_s(is_store: bool, htl: int) -> float:
    """Seconds in which a request that was accepted with so many hops is answered."""
    return (STORE_S if is_store else SEARCH_S) * (htl + 4) / (MAX_HTL + 4)


class Walk:
    """One request here.  `source` is None for one of this node's pivot."""

    __slots__ = (
        "accepted",
        "asked",
        "begun",
        "came_htl",
        "due",
        "ends_at",
        "htl",
        "is_store",
        "late",
        "overloaded",
        "place",
        "room",
        "routing",
        "second",
        "source",
        "timer",
        "tried",
        "type",
        "uid",
    )

    def __init__(self, room: Room, source: Neighbour | None, body: Fetch | Store, routing: bytes, now: float) -> None:
        self.room = room
        self.source = source
        self.uid, self.type, self.routing, self.second = body.uid, body.type, routing, body.second
        self.place = second_place(body.type, routing) if body.second else location(body.type, routing)
        self.is_store = isinstance(body, Store)
        #: Hops that it came with, and those that are left.
        self.came_htl = self.htl = body.htl
        self.begun = now
        self.ends_at = now + (STORE_LIFE_S if self.is_store else FETCH_LIFE_S)
        #: When the neighbour's time is over; the walk's own may be before.
        self.due = now
        self.tried: set[NodeId] = set() if source is None else {source.id}
        #: With whom it is, and whether that one took it.
        self.asked: Neighbour | None = None
        self.accepted = False
        #: A neighbour refused it for overload.
        self.overloaded = False
        #: Those who were too slow; a block that comes from one of them nevertheless is as good.
        self.late: set[NodeId] = set()
        self.timer: Timer | None = None

    @property
    def key(self) -> Key:
        return (self.type, self.routing, self.second)


class Room(Protocol):
    """Who decides over walks of one kind."""

    def go_on(self, walk: Walk, now: float) -> None:
        """The neighbour that had it does not have it any more: the next one, or the end if its time is over."""

    def gave_up(self, walk: Walk, neighbour: Neighbour, now: float) -> None:
        """The neighbour never accepted, or never answered; `go_on` follows."""

    def expired(self, walk: Walk, now: float) -> None:
        """Its life is over."""


class Reply(Generic[T]):
    """A callback for who answers at once or later: later answers are heard at the next Timers.run, which knows the time."""

    __slots__ = ("_call", "_now", "_timers", "_when")

    def __init__(self, timers: Timers, call: Callable[[T, float], None], now: float) -> None:
        self._timers, self._call = timers, call
        self._when = now
        self._now: float | None = now

    def __call__(self, result: T) -> None:
        if self._now is not None:
            self._call(result, self._now)
        else:
            self._timers.at(self._when, lambda now: self._call(result, now))

    def is_later(self) -> None:
        """What it was given to has returned."""
        self._now = None


class Walks:
    """See the module text.  `coins` are those of own requests, `bytes_per_s` is what this node may send for others."""

    def __init__(
        self,
        neighbours: Neighbours,
        chance: Chance,
        timers: Timers,
        send: Callable[[NodeId, AnyBody], None],
        coins: Coins,
        refusals: Refusals,
        bytes_per_s: float = BYTES_PER_S,
    ) -> None:
        self.neighbours, self.chance, self.timers, self.send = neighbours, chance, timers, send
        self.refusals = refusals
        self.bytes_per_s = bytes_per_s
        self._walks: dict[bytes, Walk] = {}
        self._recent: OrderedDict[bytes, float] = OrderedDict()
        self._coins = coins
        self._own = 0
        self.stores = 0
        #: Bytes that all admitted requests may make us send, and those of them that our own do.
        self.liability = 0
        self._own_liability = 0

    def __len__(self) -> int:
        return len(self._walks)

    def __contains__(self, walk: Walk) -> bool:
        return self._walks.get(walk.uid) is walk

    @property
    def recent(self) -> int:
        return len(self._recent)

    def new_uid(self) -> bytes:
        return self.chance.getrandbits(128).to_bytes(16, "big")

    def lower(self, source: Neighbour | None, htl: int) -> int:
        """The hops left, by the coins of where it came from."""
        return (self._coins if source is None else source.coins).lower(htl)

    # -- begin and end ---------------------------------------------------------------------------------------------------

    def refusal(self, source: Neighbour | None, body: Fetch | Store, now: float) -> RejectReason | None:
        """Why it is not taken; counted.  Own requests are held to the same bounds."""
        if self._was_here(body.uid, now):
            self.refusals.count(Refusal.ROUTE_LOOP)
            return RejectReason.LOOP
        of_link = self._own if source is None else len(source.sourced)
        is_full = len(self._walks) >= MAX_WALKS or of_link >= MAX_WALKS_OF_LINK
        if is_full or (isinstance(body, Store) and self.stores >= MAX_STORES):
            self.refusals.count(Refusal.ROUTE_FULL)
            return RejectReason.OVERLOAD_LOCAL
        limit = self.bytes_per_s * LIABILITY_S
        cost = COSTS[body.type]
        share = cost + (self._own_liability if source is None else source.liability)
        # Half is for whoever comes first; of the rest, nobody has more than a share, and our own pivot counts as one more.
        if self.liability + cost > (limit if share * (len(self.neighbours) + 1) <= limit else limit / 2):
            self.refusals.count(Refusal.ROUTE_OVERLOAD)
            return RejectReason.OVERLOAD_LOCAL
        return None

    def _was_here(self, uid: bytes, now: float) -> bool:
        recent = self._recent
        while recent:
            oldest = next(iter(recent))
            if recent[oldest] + RECENT_S > now:
                break
            del recent[oldest]
        return uid in self._walks or uid in recent

    def begin(self, walk: Walk) -> None:
        """It was not refused: it is under way, and its source is told."""
        self._walks[walk.uid] = walk
        self._recent[walk.uid] = walk.begun
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        self.stores += walk.is_store
        self._charge(walk, COSTS[walk.type])
        walk.timer = self.timers.at(walk.ends_at, lambda now: walk.room.expired(walk, now))
        if walk.source is None:
            self._own += 1
        else:
            walk.source.sourced.add(walk.uid)
            self.send(walk.source.id, Accepted(walk.uid))

    def end(self, walk: Walk, answer: AnyBody | None = None) -> None:
        """It is over, and its source told so."""
        self.leave(walk)
        if walk.timer is not None:
            walk.timer.cancel()
        del self._walks[walk.uid]
        self.stores -= walk.is_store
        self._charge(walk, -COSTS[walk.type])
        if walk.source is None:
            self._own -= 1
            return
        walk.source.sourced.discard(walk.uid)
        if answer is not None:
            self.send(walk.source.id, answer)

    def _charge(self, walk: Walk, cost: int) -> None:
        self.liability += cost
        if walk.source is None:
            self._own_liability += cost
        else:
            walk.source.liability += cost

    # -- from neighbour to neighbour -------------------------------------------------------------------------------------

    def wait(self, walk: Walk, until: float, call: Callable[[float], None]) -> None:
        """Call it then, if nothing else happens before; it takes the place of what was waited for."""
        if walk.timer is not None:
            walk.timer.cancel()
        walk.timer = self.timers.at(until, call)

    def ask(self, walk: Walk, neighbour: Neighbour, body: Fetch | Store, now: float) -> None:
        """It goes to this neighbour."""
        self.leave(walk)
        walk.asked, walk.accepted = neighbour, False
        walk.tried.add(neighbour.id)
        neighbour.asked.add(walk.uid)
        self._wait_for_neighbour(walk, now + ACCEPT_S)
        self.send(neighbour.id, body)

    def _wait_for_neighbour(self, walk: Walk, due: float) -> None:
        walk.due = due
        self.wait(walk, min(due, walk.ends_at), lambda at: self._timed_out(walk, at))

    def leave(self, walk: Walk) -> None:
        """The neighbour that it is with has answered, or is out of time."""
        if walk.asked is not None:
            walk.asked.asked.discard(walk.uid)
            walk.asked = None

    def answering(self, neighbour: Neighbour, uid: bytes, late: bool = False) -> Walk | None:
        """The walk that this neighbour may answer; with `late`, also one that it was asked before and was too slow for."""
        walk = self._walks.get(uid)
        if walk is None or not (walk.asked is neighbour or (late and walk.asked and neighbour.id in walk.late)):
            self.refusals.count(Refusal.ROUTE_STRAY)
            return None
        return walk

    def accepted(self, walk: Walk, now: float) -> None:
        """The neighbour works on it."""
        if walk.accepted or walk.asked is None:
            return
        walk.accepted = True
        walk.asked.backoff.accepted()
        self._wait_for_neighbour(walk, now + answer_s(walk.is_store, walk.htl))

    def rejected(self, walk: Walk, body: Reject, now: float) -> None:
        """The neighbour does not take it; one that is overloaded is left alone for a while."""
        neighbour = walk.asked
        self.leave(walk)
        if neighbour is not None and body.reason is RejectReason.OVERLOAD_LOCAL:
            neighbour.backoff.blame(Cause.ROUTE, now, body.retry_s)
        walk.overloaded |= body.reason in (RejectReason.OVERLOAD_LOCAL, RejectReason.OVERLOAD_REMOTE)
        walk.room.go_on(walk, now)

    def _timed_out(self, walk: Walk, now: float) -> None:
        neighbour, was_accepted = walk.asked, walk.accepted
        self.leave(walk)
        if neighbour is not None and now >= walk.due:
            self.refusals.count(Refusal.ROUTE_TIMEOUT)
            neighbour.backoff.blame(Cause.TRANSFER if was_accepted else Cause.MANDATORY, now)
            walk.late.add(neighbour.id)
            walk.room.gave_up(walk, neighbour, now)
        walk.room.go_on(walk, now)

    def link_down(self, neighbour: Neighbour, now: float) -> None:
        """What came by it has nobody to answer to; what went to it goes elsewhere."""
        for uid in list(neighbour.sourced):
            if (walk := self._walks.get(uid)) is not None:
                self.end(walk)
        for uid in list(neighbour.asked):
            if (walk := self._walks.get(uid)) is not None and walk.asked is neighbour:
                self.leave(walk)
                walk.room.go_on(walk, now)
