"""Circuits that nobody needs, so that a node which opens one need not be one that wants something.

Each node opens one every five minutes on the average, to a pivot that is picked as all are, asks it for one block that somebody
else was heard asking for or offering, says nothing for a while, as the clock of any circuit does, and goes.  Lost ones are
replaced as those of requests are.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from anonymizer.channel import Channel, Channels
from anonymizer.errors import AnonymityError, NoAnonymousRoute
from anonymizer.fields import Body
from anonymizer.inner import Dummy, FetchKeys
from anonymizer.pacing import exponential
from anonymizer.timers import Timer
from anonymizer.wire import BlockType

#: Mean time between two of them (design section 3.18).
DECOY_MEAN_S: Final = 300.0
#: Mean time from the pivot's answer until it is needed no more.
END_MEAN_S: Final = 10.0
#: Keys of others that are remembered.
MAX_KEYS: Final = 256


class Decoy:
    """One such circuit."""

    def __init__(self, channels: Channels, first: Body) -> None:
        self._channels, self._first = channels, first
        self._timer: Timer | None = None

    def first(self, channel: Channel, now: float) -> Body:
        return self._first

    def opened(self, channel: Channel, now: float) -> None:
        wait = exponential(self._channels.chance, END_MEAN_S)
        self._timer = self._channels.timers.at(now + wait, channel.close)

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        """It was not asked for to be had."""

    def lost(self, channel: Channel, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        self.lost(channel, now)

    def has_room(self, channel: Channel, now: float) -> None:
        """There is always room for small cells."""


class Decoys:
    """Opens them; `note` tells of keys that others asked for or offered: never of own ones."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._keys: deque[bytes] = deque(maxlen=MAX_KEYS)
        self._timer: Timer | None = None
        self.opened = 0

    def note(self, kind: BlockType, routing: bytes) -> None:
        """A key that went by on the route, or came with a hit that was not asked for the block of."""
        self._keys.append(bytes((kind,)) + routing)

    def start(self, now: float) -> None:
        """From now on."""
        self.stop()
        self._plan(now)

    def stop(self) -> None:
        """No more of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, now: float) -> None:
        self._timer = self._channels.timers.at(now + exponential(self._channels.chance, DECOY_MEAN_S), self._open)

    def _open(self, now: float) -> None:
        self._plan(now)
        keys = self._keys
        first = FetchKeys((keys[self._channels.chance.randrange(len(keys))],)) if keys else Dummy()
        try:
            self._channels.open(Decoy(self._channels, first), now)
        except NoAnonymousRoute:
            return
        self.opened += 1
