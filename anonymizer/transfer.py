"""Whole files over own circuits: `Get` fetches one, `Put` publishes one.

Both work over K lanes (anonymizer.lanes), each a circuit to another pivot: LANES, and MANY_LANES for files above MANY_BYTES.
A lane does at most 4 MB/s where a request and its block take a second, and each pivot gives 256 KiB/s to all circuits that
come by one link; so two lanes are what 8 MB/s need, and four what 1 MB/s does.  The price is known: if a tenth of the nodes spy
together, the chance that a guard and a pivot of one transfer both do is .019 with two pivots and .034 with four.

All circuits of all transfers leave by the one guard.  Blocks are stored in random order, a file's manifest last; they are
asked for in the file's order, each by a random lane: a pivot that sees one in four of them sees no less in any other order.

Pure: files come in and go out by callbacks, `now` is seconds since 1970.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from anonymizer.channel import Channels
from anonymizer.chk import DATA, DATA_BYTES, Block, pad, seal
from anonymizer.client_cache import ClientCache
from anonymizer.errors import (
    AnonymityError,
    DataNotFound,
    IntegrityFailure,
    NoAnonymousRoute,
    PivotTimeout,
    ProviderGone,
    QuotaExceeded,
)
from anonymizer.fec import MAX_CHECKS, MAX_SOURCES
from anonymizer.files import FileReader, Splitter
from anonymizer.inner import Attach, FailReason
from anonymizer.lanes import WINDOW, Job, Lanes
from anonymizer.manifest import Manifest
from anonymizer.pacing import exponential
from anonymizer.timers import Timer
from anonymizer.uri import ChkUri
from anonymizer.wire import BlockType
from gnutella.errors import RemoteViolation

#: Circuits of a transfer, and of one of a larger file: see the module text.
LANES: Final = 2
MANY_LANES: Final = 4
MANY_BYTES: Final = 4 << 20
#: Segments that a reader has in hand: all that the lanes have outstanding, and half as much that waits for its turn; 24 MiB.
READ_SEGMENTS: Final = 3 * MANY_LANES * WINDOW // (2 * MAX_SOURCES)
#: Blocks that are taken from memory or disk before others get their turn.
TURN_BLOCKS: Final = 32
#: Blocks of a file that are inserted anew after it was read, 8 MiB at most, and the mean time between two of them.
MAX_HEALED: Final = 256
HEAL_MEAN_S: Final = 1.0
#: Blocks that wait to be stored, drawn from at random: 8 segments with their checks, 8 MiB.
POOL_BLOCKS: Final = 256
#: Bytes that are read of a file at a time.
READ_BYTES: Final = 128 * 1024
_SEGMENT_BYTES: Final = MAX_SOURCES * DATA_BYTES


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is; `size` is None while it is not known.  `lost` are blocks that nobody had, or circuits."""

    done: int
    size: int | None
    pivots: int
    lost_blocks: int
    lost_circuits: int


class Transfer:
    """What both have in common: lanes that end, progress, cancel."""

    def __init__(
        self,
        channels: Channels,
        lanes: int,
        finished: Callable[[AnonymityError | None, float], None],
        progress: Callable[[Progress], None] | None,
        anchors: Iterable[Attach] = (),
    ) -> None:
        self._channels = channels
        self.lanes = Lanes(channels, self, lanes, anchors)
        self._finished, self._progress = finished, progress
        self._lost = 0
        self._last_done = -1
        self.is_over = False

    def cancel(self, now: float) -> None:
        """End it; nothing is called any more."""
        self.is_over = True
        self.lanes.close(now)

    def stopped(self, error: AnonymityError, now: float) -> None:
        self._end(error, now)

    def _end(self, error: AnonymityError | None, now: float, *, close: bool = True) -> None:
        if self.is_over:
            return
        self.is_over = True
        if close:
            self.lanes.close(now)
        self._finished(error, now)

    def _tell(self, done: int, size: int | None) -> None:
        if self._progress is not None and done != self._last_done:
            self._last_done = done
            lost_circuits = self.lanes.counts["lost circuits"]
            self._progress(Progress(done, size, self.lanes.picks.count, self._lost, lost_circuits))

    # What lanes ask of both; see lanes.Owner.

    def done(self, job: Job, block: bytes, now: float) -> None:
        raise AssertionError

    def gave_up(self, job: Job, reason: FailReason | None, now: float) -> None:
        raise AssertionError

    def more(self, now: float) -> None:
        raise AssertionError


class Get(Transfer):
    """Fetches the file of `uri`.

    `data` gets offset and bytes, in order and without gaps.  They are the file only when `finished` was called without an
    error: keep them where nobody takes them for it.  `held` is asked for the data of blocks, by their number, that an earlier
    try left on disk; what does not match the manifest is fetched.  Memory: 24 MiB, and 8 MiB for blocks to be inserted anew.
    """

    def __init__(
        self,
        channels: Channels,
        cache: ClientCache,
        uri: ChkUri,
        data: Callable[[int, bytes], None],
        finished: Callable[[AnonymityError | None, float], None],
        progress: Callable[[Progress], None] | None = None,
        held: Callable[[int], bytes | None] = lambda number: None,
        anchors: Iterable[Attach] = (),
    ) -> None:
        super().__init__(channels, LANES, finished, progress, anchors)
        self._cache, self._data, self._held = cache, data, held
        self._uri = uri
        self._reader = FileReader(uri, READ_SEGMENTS)
        self._offset = 0
        self._healing: deque[Block] = deque()
        self._timer: Timer | None = None
        self._is_paused = False
        #: Blocks that came from the cache or the disk, and those that were inserted anew.
        self.reused = 0
        self.healed = 0

    @property
    def manifest(self) -> Manifest | None:
        return self._reader.manifest

    def start(self, now: float) -> None:
        """Begin; whatever goes wrong is told by `finished`."""
        self.more(now)

    def pause(self) -> None:
        """Ask for nothing more for now; what was asked for still comes."""
        self._is_paused = True

    def resume(self, now: float) -> None:
        self._is_paused = False
        self.more(now)

    def cancel(self, now: float) -> None:
        super().cancel(now)
        self._healing.clear()
        if self._timer is not None:
            self._timer.cancel()

    def more(self, now: float) -> None:
        if self.is_over or self._is_paused:
            return
        try:
            self._ask(now)
        except (IntegrityFailure, DataNotFound, NoAnonymousRoute) as error:
            self._end(error, now)

    def _ask(self, now: float) -> None:
        jobs: list[Job] = []
        turn = TURN_BLOCKS
        while turn and (routings := self._reader.ask(max(0, min(turn, self.lanes.free - len(jobs))))):
            for routing in routings:
                block = self._kept(routing, now)
                if block is None:
                    jobs.append(Job(routing))
                else:
                    turn -= 1
                    self.reused += 1
                    self._receive(routing, block, now)
        if not self.is_over:
            self.lanes.add(jobs, now)
        if not turn and not self.is_over:
            self._channels.timers.at(now, self.more)

    def _kept(self, routing: bytes, now: float) -> bytes | None:
        """The block, if the cache has it or an earlier try left what is in it."""
        block = self._cache.get(BlockType.CHK, routing, now)
        manifest, number = self._reader.manifest, self._reader.place_of(routing)
        if block is not None or manifest is None or number is None:
            return block
        data = self._held(number)
        if data is None or len(data) > DATA_BYTES:
            return None
        made = seal(pad(data), manifest.key, DATA, number)
        return made.sealed if made.routing == routing else None

    def done(self, job: Job, block: bytes, now: float) -> None:
        if job.block is not None:
            self.healed += 1
            return
        if self.is_over:
            return
        self._cache.put(BlockType.CHK, job.routing, block, now)
        try:
            self._receive(job.routing, block, now)
        except IntegrityFailure as error:
            self._end(error, now)

    def _receive(self, routing: bytes, block: bytes, now: float) -> None:
        """A block is here.  IntegrityFailure if its publisher made it wrong."""
        knew = self._reader.manifest is not None
        try:
            self._reader.receive(routing, block)
        except RemoteViolation:
            raise IntegrityFailure("a block that is not its key's", routing) from None
        manifest = self._reader.manifest
        if manifest is None:
            return
        if not knew and manifest.size > MANY_BYTES:
            self.lanes.want(MANY_LANES, now)
        for data in self._reader.take():
            self._data(self._offset, data)
            self._offset += len(data)
            if self.is_over:
                return
        for healed in self._reader.healed():
            if len(self._healing) < MAX_HEALED:
                self._healing.append(healed)
        self._tell(self._offset, manifest.size)
        if self._reader.is_done:
            self._complete(now)

    def _complete(self, now: float) -> None:
        self._end(None, now, close=not self._healing)
        if self._healing:
            self._heal(now)

    def gave_up(self, job: Job, reason: FailReason | None, now: float) -> None:
        if job.block is not None or self.is_over:
            return
        self._lost += 1
        try:
            self._reader.lost(job.routing)
        except DataNotFound as error:
            self._end(_not_found(error, reason), now)

    # -- what was lost and could be made again -----------------------------------------------------------------------------

    def _heal(self, now: float) -> None:
        """One more; the circuits end when the last one was stored, or this when they have."""
        if self.lanes.is_closed:
            self._healing.clear()
            return
        if self._healing:
            block = self._healing.popleft()
            self.lanes.add([Job(block.routing, block.sealed)], now)
        elif self.lanes.is_idle:
            self.lanes.close(now)
            return
        self._timer = self._channels.timers.at(now + exponential(self._channels.chance, HEAL_MEAN_S), self._heal)

    @property
    def is_healing(self) -> bool:
        """The file is there, and some of its blocks are being inserted anew."""
        return self.is_over and self._timer is not None and self._timer.is_active


def _not_found(error: DataNotFound, reason: FailReason | None) -> AnonymityError:
    """The name of what the last pivot said."""
    if reason is FailReason.PROVIDER_GONE:
        return ProviderGone("who offered it is no longer there")
    if reason is FailReason.OVERLOAD:
        return QuotaExceeded("the pivots have no room for this request", "try again later")
    if reason is None:
        return PivotTimeout("the pivots did not answer for some blocks", "try again later")
    return error


class Put(Transfer):
    """Publishes a file: sealed under `key`, which is used for no other contents, with as many check blocks as blocks.

    `read(n, back)` reads at most n bytes and gives them to `back`, at once or later, b"" at the end.  The key of the file is
    `uri` once `finished` was called without an error: nobody can know it before everything is stored.
    """

    def __init__(
        self,
        channels: Channels,
        key: bytes,
        read: Callable[[int, Callable[[bytes, float], None]], None],
        finished: Callable[[AnonymityError | None, float], None],
        progress: Callable[[Progress], None] | None = None,
        *,
        mime: str = "application/octet-stream",
        size: int | None = None,
        sha1: bytes | None = None,
        tth: bytes | None = None,
    ) -> None:
        super().__init__(channels, LANES if size is not None and size <= MANY_BYTES else MANY_LANES, finished, progress)
        self._read, self._mime, self._sha1, self._tth = read, mime, sha1, tth
        self._splitter = Splitter(key)
        self._pool: list[tuple[Block, bool]] = []
        self._root: Block | None = None
        self._is_reading = self._is_read = self._is_rooted = False
        self._taken = 0
        #: Blocks that were made, and that are stored; those of manifests count twice, for they are stored twice.
        self.made = 0
        self.stored = 0
        self.uri: ChkUri | None = None
        self._uri: ChkUri | None = None

    def start(self, now: float) -> None:
        """Begin; whatever goes wrong is told by `finished`."""
        self._fill()

    # -- blocks to be stored -----------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        if not (self._is_reading or self._is_read or self.is_over) and len(self._pool) < POOL_BLOCKS:
            self._is_reading = True
            self._read(READ_BYTES, self._feed)

    def _feed(self, data: bytes, now: float) -> None:
        """The next bytes of the file."""
        self._is_reading = False
        if self.is_over:
            return
        self._taken += len(data)
        if data:
            self._add(((block, False) for block in self._splitter.feed(data)), now)
        else:
            self._is_read = True
            self._finish(now)
        if self.lanes.picks.count or self._is_read or len(self._pool) >= POOL_BLOCKS:
            self._try(lambda: self._store(now), now)
        # Not from within this call, which may come from within the last one.
        self._channels.timers.at(now, lambda _: self._fill())

    def _finish(self, now: float) -> None:
        self._uri, blocks = self._splitter.finish(self._mime, self._sha1, self._tth)
        sources = -(-(self._taken % _SEGMENT_BYTES) // DATA_BYTES)
        last = sources + min(sources, MAX_CHECKS)
        self._root = blocks.pop()
        self._add(
            ((block, second) for n, block in enumerate(blocks) for second in (False, True)[: 1 + (n >= last)]), now
        )

    def _add(self, blocks: Iterable[tuple[Block, bool]], now: float) -> None:
        before = len(self._pool)
        self._pool.extend(blocks)
        self.made += len(self._pool) - before

    def _store(self, now: float) -> None:
        chance = self._channels.chance
        jobs: list[Job] = []
        # The first jobs open the lanes; while none of them is open they wait here, not there.
        most = self.lanes.free
        while self._pool and len(jobs) < most:
            at = chance.randrange(len(self._pool))
            self._pool[at], self._pool[-1] = self._pool[-1], self._pool[at]
            block, second = self._pool.pop()
            jobs.append(Job(block.routing, block.sealed, second))
        self.lanes.add(jobs, now)
        if self._is_read and not self._pool and self.lanes.is_idle and not self.is_over:
            self._last(now)

    def _last(self, now: float) -> None:
        """All else is stored: now the root, in both its places, and then the end."""
        if self._root is None or self._is_rooted:
            self.uri = self._uri
            self._end(None, now)
            return
        self._is_rooted = True
        self.made += 2
        self.lanes.add([Job(self._root.routing, self._root.sealed, second) for second in (False, True)], now)

    def _try(self, action: Callable[[], None], now: float) -> None:
        try:
            action()
        except NoAnonymousRoute as error:
            self._end(error, now)

    def more(self, now: float) -> None:
        if not self.is_over:
            self._try(lambda: self._store(now), now)
            self._fill()

    def done(self, job: Job, block: bytes, now: float) -> None:
        self.stored += 1
        self._tell(self.stored, self.made if self._is_rooted else None)

    def gave_up(self, job: Job, reason: FailReason | None, now: float) -> None:
        self._lost += 1
        if reason is None:
            self._end(PivotTimeout("the pivots did not say that a block was stored", "try again later"), now)
        elif reason is FailReason.OVERLOAD:
            self._end(QuotaExceeded("the pivots have no room for this file", "try again later"), now)
        else:
            self._end(NoAnonymousRoute("nobody who was asked stores a block of this file", "try again later"), now)
