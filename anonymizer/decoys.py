"""Circuits that nobody needs, so that a node which opens one need not be one that wants something.

Each node opens one every five minutes on the average, to a pivot that is picked as all are, says nothing for a while, as the
clock of any circuit does, and goes.  Lost ones are replaced as those of requests are.  No decoy asks for a block: the keys that
a node could ask for are those that it was asked for, and who asks one node alone for a key would know its decoys by it, and so
where its stem leads.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

from typing import Final

from anonymizer.channel import Channel, Channels
from anonymizer.errors import AnonymityError, NoAnonymousRoute
from anonymizer.fields import Body
from anonymizer.inner import Dummy
from anonymizer.pacing import exponential
from anonymizer.timers import Timer

#: Mean time between two of them (design section 3.18).
DECOY_MEAN_S: Final = 300.0
#: Mean time from the pivot's answer until it is needed no more.
END_MEAN_S: Final = 10.0


class Decoy:
    """One such circuit."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._timer: Timer | None = None

    def first(self, channel: Channel, now: float) -> Body:
        return Dummy()

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
    """Opens them."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._timer: Timer | None = None
        self.opened = 0

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
        if self._channels.patience():
            # Those that had waited would all begin when the guard is back.
            return
        try:
            self._channels.open(Decoy(self._channels), now)
        except NoAnonymousRoute:
            return
        self.opened += 1
