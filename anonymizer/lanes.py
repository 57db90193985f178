"""Several own circuits that do one transfer's work: a block is asked for by the one whose clock comes next, and stored by a
random one.

A lane is a channel and what it has been told and has not answered.  What a lost lane owed, and what one pivot did not
find and another is asked for, once, comes before all else, for whoever reads in order waits for it; what is not answered in
time counts as not found.  A pivot that sends what nobody asked it for is left.
The number of outstanding blocks is the same constant for everybody: relays see it.

Outstanding are at most WINDOW blocks on each lane, 4.2 MB: twice what one relay holds of a circuit, since blocks are under way
at several, and being looked for.  With a second from a request to its block, which is what ten hops of 25 ms each way and a
virtual stem come to, that is 4 MB/s a lane; see `transfer` for how many lanes there are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from anonymizer.beat import FETCH_RATE, TURN_MEAN_S
from anonymizer.channel import Channel, Channels, Picks
from anonymizer.chk import routing_of
from anonymizer.errors import AnonymityError, NoAnonymousRoute
from anonymizer.fields import Body
from anonymizer.inner import (
    MAX_FETCH_KEYS,
    Attach,
    Dummy,
    Fail,
    FailReason,
    FetchKeys,
    InnerBlock,
    InnerStored,
    StoreBlock,
)
from anonymizer.pacing import exponential
from anonymizer.timers import Timer
from anonymizer.wire import BlockType

#: Blocks that one lane has outstanding.  The design has 64, with which two lanes are at 7 MB/s where there is half a second to
#: a block, and no lane can be opened because a file turned out to be large (docs/adr/0015-fewer-round-trips.md).
WINDOW: Final = 128
#: Of them to be stored: as many as fit into one relay's window.  With more, a spy who gives no credit for ten seconds sees
#: by the blocks that come when it does whether a relay holds some behind it (docs/anonymity.md, A5).
STORE_WINDOW: Final = 64
#: A cell asks for as many keys, or for its lane's share of all if that is more, so that each pivot has a share of the work.
BATCH: Final = 8
#: A pivot that has no room gets half as many, down to this, and one more for each that it does.
MIN_WINDOW: Final = 4
#: Mean time for which such a pivot is told nothing more.
OVERLOAD_MEAN_S: Final = 2.0
#: A route takes at most 20 s (design section 3.18), and that of a root may be two; a store 60 s.  Then the pivot has lost it.
FETCH_FLOOR_S, FETCH_MEAN_S = 45.0, 15.0
STORE_FLOOR_S, STORE_MEAN_S = 75.0, 15.0
#: Pivots that are asked for a block before it counts as lost; those that shall store it; answers "no room" that are taken.
MAX_MISSES: Final = 2
MAX_STORE_MISSES: Final = 4
MAX_OVERLOADS: Final = 20
#: So many answers in a row that did not come mean that nothing will.
MAX_STALLED: Final = 8
#: Answers that were given up and may still come.
_MAX_LATE: Final = 256


@dataclass(slots=True, eq=False)
class Job:
    """One block to be fetched, or stored if it is here; `second` at its salted place."""

    routing: bytes
    block: bytes | None = None
    second: bool = False
    misses: int = 0
    overloads: int = 0
    #: Pivots (of lanes, by number) that had it and failed.
    failed_at: set[int] = field(default_factory=set)
    sent_at: float = 0.0
    deadline: float = 0.0

    @property
    def max_misses(self) -> int:
        return MAX_MISSES if self.block is None else MAX_STORE_MISSES


class Owner(Protocol):
    """Whose jobs they are."""

    def done(self, job: Job, block: bytes, now: float) -> None:
        """It was fetched (the bytes are those of its key), or stored (no bytes)."""

    def gave_up(self, job: Job, reason: FailReason | None, now: float) -> None:
        """Nobody who was asked could; None: they did not answer."""

    def more(self, now: float) -> None:
        """There is room for more jobs: see `Lanes.free`."""

    def stopped(self, error: AnonymityError, now: float) -> None:
        """No lane is left."""


class Lane:
    """One channel."""

    __slots__ = ("channel", "cut_at", "late", "number", "out", "paused_until", "stalled", "timer", "window")

    def __init__(self, number: int) -> None:
        self.channel: Channel | None = None
        self.number = number
        self.timer: Timer | None = None
        self.out: dict[bytes, Job] = {}
        self.reset()

    def reset(self) -> None:
        """Another pivot."""
        self.window = WINDOW
        self.cut_at = self.paused_until = 0.0
        self.stalled = 0
        self.late: deque[bytes] = deque(maxlen=_MAX_LATE)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def free(self, now: float) -> int:
        """Jobs that it takes now."""
        if self.channel is None or not self.channel.is_open or now < self.paused_until:
            return 0
        return self.window - len(self.out)


class Lanes:
    """See the module text; opened with the first jobs.  Each pivot is told the `anchors`, if any, before all else."""

    def __init__(self, channels: Channels, owner: Owner, count: int, anchors: Iterable[Attach] = ()) -> None:
        self._channels, self._owner = channels, owner
        self._anchors = tuple(anchors)
        #: Jobs that no lane has: blocks to fetch, and blocks to store.
        self._fetches: list[Job] = []
        self._stores: list[Job] = []
        self._lanes: list[Lane] = []
        self._by_channel: dict[Channel, Lane] = {}
        self._numbers = 0
        self._opening = Lane(-1)
        self._count = count
        self._is_turning = False
        self.is_closed = False
        self.picks = Picks()
        #: Blocks that were not what was asked for, and what pivots answered.
        self.counts: Counter[str] = Counter()

    @property
    def free(self) -> int:
        """Jobs that may be added; before the first lane is open, as many as fit into its seal."""
        open_lanes = [lane for lane in self._lanes if lane.channel is not None and lane.channel.is_open]
        if self.is_closed:
            return 0
        if not open_lanes:
            return max(0, MAX_FETCH_KEYS - self.waiting - self.outstanding)
        return max(0, sum(lane.window - len(lane.out) for lane in open_lanes) - self.waiting)

    @property
    def waiting(self) -> int:
        """Jobs that no lane has."""
        return len(self._fetches) + len(self._stores)

    @property
    def outstanding(self) -> int:
        return sum(len(lane.out) for lane in self._lanes)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.outstanding

    def add(self, jobs: Iterable[Job], now: float) -> None:
        """NoAnonymousRoute if they are the first and no lane can be opened; once it is closed they are forgotten."""
        if self.is_closed:
            return
        for job in jobs:
            (self._fetches if job.block is None else self._stores).append(job)
        if not self._lanes and self.waiting:
            self._grow(self._count, now)
        self.pump(now)

    def want(self, count: int, now: float) -> None:
        """So many lanes, at a turn of its own: what comes down must not be what opens circuits."""
        more, self._count = count - self._count, count
        if more > 0:
            wait = exponential(self._channels.chance, TURN_MEAN_S)
            self._channels.timers.at(now + wait, lambda when: self._widen(more, when))

    def _widen(self, more: int, now: float) -> None:
        if self._lanes and not self.is_closed:
            self._grow(len(self._lanes) + more, now)

    def _grow(self, count: int, now: float) -> None:
        """So many lanes, if there are pivots for them; NoAnonymousRoute if there is none at all."""
        while len(self._lanes) < count:
            lane = Lane(self._numbers)
            self._numbers += 1
            self._lanes.append(lane)
            try:
                channel = self._open(lane, now)
            except NoAnonymousRoute:
                self._take_back(lane)
                self._lanes.remove(lane)
                if not self._lanes:
                    raise
                return
            lane.channel = channel
            self._by_channel[channel] = lane

    def close(self, now: float) -> None:
        """All circuits end, and the owner hears nothing more."""
        self.is_closed = True
        self._fetches.clear()
        self._stores.clear()
        for lane in self._lanes:
            lane.out.clear()
            lane.reset()
            if lane.channel is not None:
                lane.channel.close(now)

    def _open(self, lane: Lane, now: float) -> Channel:
        self._opening = lane
        return self._channels.open(self, now, self.picks, rate=FETCH_RATE, next_up=self._next_up)

    # -- sending ---------------------------------------------------------------------------------------------------------

    def pump(self, now: float) -> None:
        """Say what may be stored, ask the owner for more, until neither is possible; keys go when a clock says so."""
        if self._is_turning:
            return
        self._is_turning = True
        try:
            while not self.is_closed:
                before = len(self._stores)
                while self._stores and self._store(now):
                    pass
                if self.free < (1 if self.is_idle else BATCH):
                    return
                sent, waiting = before - len(self._stores), self.waiting
                self._owner.more(now)
                if not sent and self.waiting == waiting:
                    return
        finally:
            self._is_turning = False

    def _store(self, now: float) -> bool:
        """Give a random lane a block; False: none takes any."""
        lanes = [
            lane
            for lane in self._lanes
            if lane.free(now) > 0 and len(lane.out) < STORE_WINDOW and lane.channel is not None and lane.channel.room
        ]
        while lanes:
            lane = lanes.pop(self._channels.chance.randrange(len(lanes)))
            if (job := self._pop(lane, self._stores)) is not None:
                assert lane.channel is not None
                assert job.block is not None
                self._put_out(lane, job, now)
                lane.channel.say(StoreBlock(BlockType.CHK, job.block, job.second), now)
                return True
        return False

    def _next_up(self, channel: Channel, now: float) -> Body | None:
        """The keys that go with a cell which leaves now."""
        lane = self._by_channel.get(channel)
        if lane is None or not self._fetches:
            return None
        share = -(-(self.waiting + self.outstanding) // max(1, len(self._lanes))) - len(lane.out)
        jobs = self._take(lane, min(lane.free(now), MAX_FETCH_KEYS, max(BATCH, share)), now)
        if not jobs:
            return None
        self.pump(now)
        return _keys(jobs)

    def _take(self, lane: Lane, count: int, now: float) -> list[Job]:
        """At most so many of the blocks to fetch, in their order, for this lane."""
        jobs: list[Job] = []
        while len(jobs) < count and (job := self._pop(lane, self._fetches)) is not None:
            self._put_out(lane, job, now)
            jobs.append(job)
        return jobs

    def _pop(self, lane: Lane, queue: list[Job]) -> Job | None:
        """The first that this lane may have."""
        for at, job in enumerate(queue):
            if job.routing not in lane.out and not self._shuns(lane, job):
                del queue[at]
                return job
        return None

    def _shuns(self, lane: Lane, job: Job) -> bool:
        """Whether the lane failed at it and another one has not."""
        return lane.number in job.failed_at and any(other.number not in job.failed_at for other in self._lanes)

    def _put_out(self, lane: Lane, job: Job, now: float) -> None:
        chance = self._channels.chance
        floor, mean = (FETCH_FLOOR_S, FETCH_MEAN_S) if job.block is None else (STORE_FLOOR_S, STORE_MEAN_S)
        job.sent_at, job.deadline = now, now + floor + exponential(chance, mean)
        lane.out[job.routing] = job
        if lane.timer is None:
            self._watch(lane)

    # -- Asker -----------------------------------------------------------------------------------------------------------

    def first(self, channel: Channel, now: float) -> Body:
        lane = self._by_channel.get(channel, self._opening)
        # Of a try that found no guard.
        self._take_back(lane)
        if self._anchors:
            return self._anchors[0]
        jobs = self._take(lane, MAX_FETCH_KEYS, now)
        return _keys(jobs) if jobs else Dummy()

    def opened(self, channel: Channel, now: float) -> None:
        for anchor in self._anchors[1:]:
            channel.say(anchor, now)
        self.pump(now)

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        lane = self._by_channel[channel]
        if isinstance(body, InnerBlock) and not isinstance(body, StoreBlock):
            self._heard_block(lane, body, now)
        elif isinstance(body, Fail):
            self._heard_fail(lane, body.routing, body.reason, now)
        elif isinstance(body, InnerStored):
            self._heard_stored(lane, body, now)
        self.pump(now)

    def lost(self, channel: Channel, now: float) -> None:
        lane = self._by_channel[channel]
        self.counts["lost circuits"] += 1
        self._take_back(lane)
        lane.number, self._numbers = self._numbers, self._numbers + 1
        self.pump(now)

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        lane = self._by_channel.pop(channel)
        self._take_back(lane)
        self._lanes.remove(lane)
        if not self._lanes:
            self.close(now)
            self._owner.stopped(error, now)
        else:
            self.pump(now)

    def has_room(self, channel: Channel, now: float) -> None:
        self.pump(now)

    # -- answers ---------------------------------------------------------------------------------------------------------

    def _heard_block(self, lane: Lane, body: InnerBlock, now: float) -> None:
        routing = routing_of(body.block)
        job = lane.out.get(routing)
        if job is not None and job.block is None and body.type is BlockType.CHK:
            self._answered(lane, job)
            self._owner.done(job, body.block, now)
        elif routing in lane.late:
            self.counts["late"] += 1
        else:
            self.counts["wrong blocks"] += 1
            assert lane.channel is not None
            lane.channel.distrust(now)

    def _heard_stored(self, lane: Lane, body: InnerStored, now: float) -> None:
        job = lane.out.get(body.routing)
        if job is None or job.block is None:
            return
        if body.copies == 0:
            self._heard_fail(lane, body.routing, FailReason.NO_ROUTE, now)
            return
        self._answered(lane, job)
        self._owner.done(job, b"", now)

    def _answered(self, lane: Lane, job: Job) -> None:
        del lane.out[job.routing]
        lane.stalled = 0
        lane.window = min(WINDOW, lane.window + 1)

    def _heard_fail(self, lane: Lane, routing: bytes, reason: FailReason, now: float) -> None:
        job = lane.out.pop(routing, None)
        if job is None:
            return
        lane.stalled = 0
        self.counts[reason.name.lower()] += 1
        if reason is FailReason.OVERLOAD and job.overloads < MAX_OVERLOADS:
            job.overloads += 1
            self._again(job)
            if job.sent_at >= lane.cut_at:
                lane.window = max(MIN_WINDOW, lane.window // 2)
                lane.cut_at = now
                lane.paused_until = now + exponential(self._channels.chance, OVERLOAD_MEAN_S)
                self._channels.timers.at(lane.paused_until, self.pump)
            return
        self._missed(lane, job, reason, now)

    def _missed(self, lane: Lane, job: Job, reason: FailReason | None, now: float) -> None:
        job.misses += 1
        job.failed_at.add(lane.number)
        untried = any(other.number not in job.failed_at for other in self._lanes)
        if job.misses < job.max_misses and (untried or job.block is not None or reason is None):
            self._again(job)
        else:
            self._owner.gave_up(job, reason, now)

    def _again(self, job: Job) -> None:
        """A fetch at once, for a reader waits for it; a store after all others, when there may be room."""
        if job.block is None:
            self._fetches.insert(0, job)
        else:
            self._stores.append(job)

    def _take_back(self, lane: Lane) -> None:
        self._fetches[:0] = [job for job in lane.out.values() if job.block is None]
        self._stores[:0] = [job for job in lane.out.values() if job.block is not None]
        lane.out.clear()
        lane.reset()

    # -- what does not come ----------------------------------------------------------------------------------------------

    def _watch(self, lane: Lane) -> None:
        if lane.out:
            when = min(job.deadline for job in lane.out.values())
            lane.timer = self._channels.timers.at(when, lambda now: self._look(lane, now))

    def _look(self, lane: Lane, now: float) -> None:
        lane.timer = None
        is_open = lane.channel is not None and lane.channel.is_open
        for job in [job for job in lane.out.values() if job.deadline <= now]:
            if lane.out.get(job.routing) is not job:
                continue
            if not is_open:
                # Nobody has been asked yet: there is no guard, or no circuit, which is for the channel to end.
                job.deadline = now + FETCH_FLOOR_S
                continue
            del lane.out[job.routing]
            lane.late.append(job.routing)
            lane.stalled += 1
            self.counts["unanswered"] += 1
            self._missed(lane, job, None, now)
        if self.is_closed:
            return
        if lane.stalled >= MAX_STALLED and is_open and lane.channel is not None:
            lane.channel.distrust(now)
        elif lane.timer is None:
            self._watch(lane)
        self.pump(now)


def _keys(jobs: list[Job]) -> FetchKeys:
    return FetchKeys(tuple(bytes((BlockType.CHK,)) + job.routing for job in jobs))
