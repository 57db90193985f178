"""Records over one own circuit: some asked for together, or one stored in both its places.

What comes is checked before anybody sees it.  A pivot that lies, that is silent or has no way is left for another, as often as
a request may do that; whether a record is missing is believed of a pivot that looked for it.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from anonymizer.channel import Channel, Channels, Picks
from anonymizer.errors import AnonymityError, NoAnonymousRoute
from anonymizer.fields import Body
from anonymizer.inner import Fail, FailReason, FetchKeys, InnerBlock, InnerStored, StoreBlock
from anonymizer.pacing import exponential
from anonymizer.ssk import MAX_FORKS, check_record
from anonymizer.timers import Timer
from anonymizer.wire import BlockType
from gnutella.errors import RemoteViolation

#: How long after its circuit was opened a pivot may take: two routes (a second place is looked at), or a store, and some.
ANSWER_FLOOR_S: Final = 75.0
ANSWER_MEAN_S: Final = 15.0
#: A fork has two records, which come one after the other: so long is waited for the other one.
FORK_WAIT_S: Final = 1.0

Records = dict[bytes, tuple[bytes, ...]]


class Asking:
    """One channel that ends with an answer; what both uses have in common."""

    def __init__(self, channels: Channels, picks: Picks) -> None:
        self._channels, self._picks = channels, picks
        self._channel: Channel | None = None
        self._timer: Timer | None = None

    def start(self, now: float) -> None:
        """NoAnonymousRoute if no circuit can be opened."""
        self._channel = self._channels.open(self, now, self._picks)

    def cancel(self, now: float) -> None:
        """Nothing is called any more."""
        self._stop_timer()
        if self._channel is not None:
            self._channel.close(now)

    def first(self, channel: Channel, now: float) -> Body:
        raise AssertionError

    def opened(self, channel: Channel, now: float) -> None:
        wait = ANSWER_FLOOR_S + exponential(self._channels.chance, ANSWER_MEAN_S)
        self._timer = self._channels.timers.at(now + wait, channel.distrust)

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        raise AssertionError

    def lost(self, channel: Channel, now: float) -> None:
        self._stop_timer()

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        raise AssertionError

    def has_room(self, channel: Channel, now: float) -> None:
        """Records go in small cells."""

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Reads(Asking):
    """Asks for the records under some routing keys; `done` gets those that are there, or why that cannot be told.

    `least` says which sequence number was seen before: a pivot that has only older ones is asked no more than it takes to find
    one that has not, and what is older is taken in the end, for its reader to refuse by name.
    """

    def __init__(
        self,
        channels: Channels,
        picks: Picks,
        routings: Iterable[bytes],
        done: Callable[[Records | AnonymityError, float], None],
        least: Callable[[bytes], int] = lambda routing: -1,
    ) -> None:
        super().__init__(channels, picks)
        self._done, self._least = done, least
        self._found: dict[bytes, list[bytes]] = {routing: [] for routing in routings}
        self._open = set(self._found)

    def first(self, channel: Channel, now: float) -> Body:
        return FetchKeys(tuple(bytes((BlockType.SSK,)) + routing for routing in self._found if routing in self._open))

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        if isinstance(body, Fail) and body.routing in self._open:
            self._heard_fail(channel, body, now)
        elif isinstance(body, InnerBlock) and not isinstance(body, StoreBlock):
            self._heard_block(channel, body, now)
        if not self._open and channel.is_open:
            self._stop_timer()
            # What follows may open a circuit, so it does not follow at once.
            self._timer = self._channels.timers.at(now + FORK_WAIT_S + self._channels.turn(), self._finish)

    def _heard_fail(self, channel: Channel, body: Fail, now: float) -> None:
        if body.reason is not FailReason.NOT_FOUND and self._picks.reopens:
            channel.distrust(now)
        else:
            self._open.discard(body.routing)

    def _heard_block(self, channel: Channel, body: InnerBlock, now: float) -> None:
        routing = next((routing for routing in self._found if _is_record(routing, body)), None)
        if routing is None:
            channel.distrust(now)
            return
        found = self._found[routing]
        if body.block not in found and len(found) < MAX_FORKS * (1 + self._picks.count):
            found.append(body.block)
        if check_record(routing, body.block).sequence < self._least(routing) and self._picks.reopens:
            channel.distrust(now)
        else:
            self._open.discard(routing)

    def _finish(self, now: float) -> None:
        self.cancel(now)
        self._done({routing: tuple(found) for routing, found in self._found.items() if found}, now)

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        self._stop_timer()
        self._done(error, now)


def _is_record(routing: bytes, body: InnerBlock) -> bool:
    try:
        check_record(routing, body.block)
    except RemoteViolation:
        return False
    return True


class Stores(Asking):
    """Stores one record in both its places; `done` gets None once at least one of them has it."""

    def __init__(
        self,
        channels: Channels,
        picks: Picks,
        routing: bytes,
        record: bytes,
        done: Callable[[AnonymityError | None, float], None],
    ) -> None:
        super().__init__(channels, picks)
        self._routing, self._record, self._done = routing, record, done
        self._answers: list[int] = []

    def first(self, channel: Channel, now: float) -> Body:
        self._answers.clear()
        return StoreBlock(BlockType.SSK, self._record, False)

    def opened(self, channel: Channel, now: float) -> None:
        super().opened(channel, now)
        channel.say(StoreBlock(BlockType.SSK, self._record, True), now)

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        if isinstance(body, InnerStored) and body.routing == self._routing:
            self._answers.append(body.copies)
        elif isinstance(body, Fail) and body.routing == self._routing:
            self._answers.append(0)
        if len(self._answers) < 2:
            return
        if any(self._answers):
            self.cancel(now)
            self._done(None, now)
        elif self._picks.reopens:
            channel.distrust(now)
        else:
            self.cancel(now)
            self._done(NoAnonymousRoute("nobody who was asked stores the document", "try again later"), now)

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        self._stop_timer()
        self._done(error, now)
