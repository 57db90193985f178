"""The provider's side of anchors: files that are offered without being inserted, served over own circuits.

A circuit goes to a pivot as any of ours does; there each file has a token, and whoever brings the token is led to us without
either of us learning of the other.  The pivot asks for sealed blocks by their routing keys; they are read and sealed on demand
and leave with the circuit's credit, as late as every reaction of ours.  Tokens last half an hour and are renewed at times that
are drawn; a lost circuit's tokens are never used again, and hits name only what a pivot has confirmed.

Circuits come in groups of COPIES, so that a file has another anchor when one is lost.  Who serves this way is there to be
found for as long as he serves: whoever can watch all links may see who is gone when an anchor is.  Inserting shows less.

Pure: `now` is seconds since 1970; files are read by whoever implements `ReadBlock`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from anonymizer.beat import ANCHOR_RATE
from anonymizer.channel import Channel, Channels, Picks
from anonymizer.chk import BLOCK_BYTES, routing_of
from anonymizer.errors import AnonymityError, NoAnonymousRoute, QuotaExceeded
from anonymizer.fields import Body
from anonymizer.hits import AnchorHint
from anonymizer.inner import Anchor, Anchored, Dummy, Fail, FailReason, FetchKeys, InnerBlock, place_of
from anonymizer.pacing import exponential
from anonymizer.rates import Bucket
from anonymizer.reasons import Refusal, Refusals
from anonymizer.seal import NewKey
from anonymizer.timers import Timer, Timers
from anonymizer.wire import BlockType

#: How long a pivot lists a token, and how many of one circuit (design section 3.10).
TOKEN_S: Final = 1_800.0
MAX_TOKENS: Final = 256
#: Mean time from one listing to the next.  What would come after the end of a listing comes before it instead, evenly.
RENEW_MEAN_S: Final = 1_200.0
RENEW_MARGIN_S: Final = 120.0
#: A hit names no anchor with less time left than it takes to come, be read and be used.
MIN_LEFT_S: Final = 60.0
#: Circuits to different pivots that each file has, and groups of them: 1,024 files.
COPIES: Final = 2
MAX_GROUPS: Final = 4
#: Mean wait before circuits are tried again after all that one request may have were lost.
RETRY_MEAN_S: Final = 120.0
#: Keys that wait on one circuit, as many as its pivot asks for at a time; blocks that are being read, of all.
MAX_QUEUED: Final = 256
MAX_READING: Final = 16
#: Blocks a second, of all circuits, and at once: half a megabyte.
BLOCK_RATE: Final = 16.0
BLOCK_BURST: Final = 64

#: Reads and seals the block with this routing key if it is of an anchored file, and tells it or None, now or later.
ReadBlock: TypeAlias = Callable[[bytes, Callable[[bytes | None, float], None]], None]


@dataclass(slots=True)
class _Listing:
    """One file at one pivot: the token, its key, and until when the pivot lists it (0: it has not said so)."""

    token: bytes
    public_key: bytes
    until: float = 0.0


class AnchorCircuit:
    """One circuit to one pivot at a time, with the files that are listed there; of an Anchoring."""

    def __init__(self, owner: Anchoring) -> None:
        self._owner = owner
        self._channel: Channel | None = None
        self._pivot = b""
        self._picks = Picks()
        self._files: dict[bytes, _Listing] = {}
        self._first = b""
        self._queue: deque[bytes] = deque()
        self._renewal: Timer | None = None
        self._retry: Timer | None = None
        self._pump: Timer | None = None

    def __len__(self) -> int:
        return len(self._files)

    def add(self, routing: bytes, now: float) -> None:
        self._files[routing] = self._owner.listing()
        if self._channel is None and self._retry is None:
            self._open(now)
        elif self._channel is not None and self._channel.is_open:
            self._list(routing, now)

    def remove(self, routing: bytes, now: float) -> None:
        self._files.pop(routing, None)
        if not self._files:
            self.stop(now)

    def stop(self, now: float) -> None:
        """End the circuit; what was added stays and is listed when `add` is called again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close(now)
        self._quiet()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def hint(self, routing: bytes, now: float) -> AnchorHint | None:
        """Where the file can be met, if the pivot has confirmed it and lists it for a while."""
        listing = self._files.get(routing)
        if listing is None or listing.until - now < MIN_LEFT_S:
            return None
        return AnchorHint(self._pivot, listing.token, listing.public_key)

    # -- the channel -----------------------------------------------------------------------------------------------------

    def first(self, channel: Channel, now: float) -> Body:
        """The first file goes with the seal; the tokens are new ones, since another pivot had the old ones."""
        self._files = {routing: self._owner.listing() for routing in self._files}
        self._first = next(iter(self._files), b"")
        return self._anchor(self._first) if self._first else Dummy()

    def opened(self, channel: Channel, now: float) -> None:
        self._pivot = self._picks.last
        for routing in [routing for routing in self._files if routing != self._first]:
            self._list(routing, now)
        self._plan_renewal(now)

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        if isinstance(body, FetchKeys):
            self._asked(body, now)
        elif isinstance(body, Anchored):
            if (listing := self._by_token(body.token)) is not None:
                listing.until = now + TOKEN_S
        elif isinstance(body, Fail):
            self._refused(body)
        else:
            self._owner.refusals.count(Refusal.BAD_INNER)
            channel.distrust(now)

    def lost(self, channel: Channel, now: float) -> None:
        self._quiet()

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        self._channel = None
        self._quiet()
        self._plan_retry(now)

    def has_room(self, channel: Channel, now: float) -> None:
        self._serve(now)

    def _open(self, now: float) -> None:
        self._retry = None
        self._picks = Picks()
        try:
            self._channel = self._owner.channels.open(self, now, self._picks, rate=ANCHOR_RATE)
        except NoAnonymousRoute:
            self._plan_retry(now)

    def _plan_retry(self, now: float) -> None:
        wait = exponential(self._owner.channels.chance, RETRY_MEAN_S)
        self._retry = self._owner.timers.at(now + wait, self._open)

    def _quiet(self) -> None:
        """The circuit is gone: nothing is listed any more, and nobody waits."""
        self._queue.clear()
        for listing in self._files.values():
            listing.until = 0.0
        for timer in (self._renewal, self._pump):
            if timer is not None:
                timer.cancel()
        self._renewal = self._pump = None

    # -- tokens ----------------------------------------------------------------------------------------------------------

    def _anchor(self, routing: bytes) -> Anchor:
        listing = self._files[routing]
        return Anchor(listing.token, listing.public_key)

    def _list(self, routing: bytes, now: float) -> None:
        assert self._channel is not None
        self._channel.say(self._anchor(routing), now)

    def _by_token(self, token: bytes) -> _Listing | None:
        found = (listing for listing in self._files.values() if listing.token == token)
        return next(found, None)

    def _plan_renewal(self, now: float) -> None:
        wait = exponential(self._owner.channels.chance, RENEW_MEAN_S) % (TOKEN_S - RENEW_MARGIN_S)
        self._renewal = self._owner.timers.at(now + wait, self._renew)

    def _renew(self, now: float) -> None:
        if self._channel is not None and self._channel.is_open:
            for routing in self._files:
                self._list(routing, now)
            self._plan_renewal(now)

    def _refused(self, said: Fail) -> None:
        """The pivot does not list a token; it gets another at the next renewal."""
        for routing, listing in self._files.items():
            if place_of(listing.token) == said.routing:
                self._files[routing] = self._owner.listing()
                self._owner.refusals.count(Refusal.ANCHOR_REFUSED)
                return

    # -- blocks ----------------------------------------------------------------------------------------------------------

    def _asked(self, said: FetchKeys, now: float) -> None:
        assert self._channel is not None
        for key in said.keys:
            if key[0] != BlockType.CHK:
                self._channel.say(Fail(FailReason.NOT_FOUND, key[1:]), now)
            elif len(self._queue) >= MAX_QUEUED:
                self._owner.refusals.count(Refusal.PROVIDER_BUSY)
                self._channel.say(Fail(FailReason.OVERLOAD, key[1:]), now)
            else:
                self._queue.append(key[1:])
        self._serve(now)

    def _serve(self, now: float) -> None:
        """Read what was asked for, as far as window and rate allow."""
        owner, channel = self._owner, self._channel
        while channel is not None and channel.is_open and self._queue:
            if channel.room <= owner.reading_for(self) or owner.is_reading_most:
                return
            if not owner.bucket.take(now):
                if self._pump is None or not self._pump.is_active:
                    self._pump = owner.timers.at(now + 1 / BLOCK_RATE, self._serve)
                return
            owner.read(self, self._queue.popleft(), partial(self._read, self._pivot), now)

    def _read(self, pivot: bytes, routing: bytes, block: bytes | None, now: float) -> None:
        channel = self._channel
        if channel is not None and channel.is_open and pivot == self._pivot:
            if block is None:
                channel.say(Fail(FailReason.NOT_FOUND, routing), now)
            else:
                channel.say(InnerBlock(BlockType.CHK, block), now)
                self._owner.served += 1

    def go_on(self, now: float) -> None:
        """There is room to read again."""
        self._serve(now)


class Anchoring:
    """All files that this node serves through anchors; see the module text.  A file is known by its manifest's routing key."""

    def __init__(
        self,
        channels: Channels,
        timers: Timers,
        new_key: NewKey,
        read_block: ReadBlock,
        *,
        max_groups: int = MAX_GROUPS,
        copies: int = COPIES,
    ) -> None:
        self.channels, self.timers = channels, timers
        self._new_key, self._read_block = new_key, read_block
        self._max_groups, self._copies = max_groups, copies
        self._groups: list[list[AnchorCircuit]] = []
        self._group_of: dict[bytes, list[AnchorCircuit]] = {}
        self._reading: dict[AnchorCircuit, int] = {}
        self._next: Timer | None = None
        self.bucket = Bucket(BLOCK_RATE, BLOCK_BURST)
        self.refusals = Refusals()
        #: Blocks that were sent.
        self.served = 0

    def __len__(self) -> int:
        """Files."""
        return len(self._group_of)

    def __contains__(self, routing: bytes) -> bool:
        return routing in self._group_of

    def add(self, routing: bytes, now: float) -> None:
        """Serve this file; QuotaExceeded if there are as many as may be.  Circuits open by themselves, now or later."""
        if routing in self._group_of:
            return
        group = next((group for group in self._groups if len(group[0]) < MAX_TOKENS), None)
        if group is None:
            if len(self._groups) >= self._max_groups:
                raise QuotaExceeded(f"{len(self)} files are served through anchors, which is the most")
            group = [AnchorCircuit(self) for _ in range(self._copies)]
            self._groups.append(group)
        self._group_of[routing] = group
        for circuit in group:
            circuit.add(routing, now)

    def remove(self, routing: bytes, now: float) -> bool:
        """Serve it no more; False: it was not."""
        group = self._group_of.pop(routing, None)
        for circuit in group or ():
            circuit.remove(routing, now)
        return group is not None

    def stop(self, now: float) -> None:
        """End all circuits, and serve nothing."""
        for circuit in self._circuits():
            circuit.stop(now)
        self._groups.clear()
        self._group_of.clear()

    def hints(self, routing: bytes, now: float) -> tuple[AnchorHint, ...]:
        """Where the file can be met at this moment, as a hit tells it."""
        found = (circuit.hint(routing, now) for circuit in self._group_of.get(routing, ()))
        return tuple(hint for hint in found if hint is not None)

    # -- for the circuits ------------------------------------------------------------------------------------------------

    def listing(self) -> _Listing:
        """A token that nobody has seen, and a key with it."""
        token = self.channels.chance.getrandbits(128).to_bytes(16, "big")
        return _Listing(token, self._new_key().public_key().public_bytes_raw())

    @property
    def is_reading_most(self) -> bool:
        return sum(self._reading.values()) >= MAX_READING

    def reading_for(self, circuit: AnchorCircuit) -> int:
        """Blocks that will want its window."""
        return self._reading.get(circuit, 0)

    def read(
        self, circuit: AnchorCircuit, routing: bytes, done: Callable[[bytes, bytes | None, float], None], now: float
    ) -> None:
        """Have a block read for it; what is not the block of that key is none."""
        self._reading[circuit] = self._reading.get(circuit, 0) + 1

        def has_read(block: bytes | None, when: float) -> None:
            when = max(when, now)
            self._reading[circuit] -= 1
            if not self._reading[circuit]:
                del self._reading[circuit]
            if block is not None and (len(block) != BLOCK_BYTES or routing_of(block) != routing):
                self.refusals.count(Refusal.PROVIDED_CHANGED)
                block = None
            done(routing, block, when)
            if self._next is None or not self._next.is_active:
                self._next = self.timers.at(when, self._go_on)

        self._read_block(routing, has_read)

    def _go_on(self, now: float) -> None:
        for circuit in self._circuits():
            circuit.go_on(now)

    def _circuits(self) -> Iterator[AnchorCircuit]:
        for group in self._groups:
            yield from group
