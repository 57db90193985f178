"""The clock of one own circuit: cells go up when it says so, whatever comes down and whatever there is to say.

Who hands data down to a neighbour and takes the time until something comes up learns whether the neighbour answered or only
passed it on, unless what comes up has nothing to do with what went down.  So from the opening to the end of a circuit cells go
up at random times (a Poisson process); each says what is next in the queue, or nothing.  Until the pivot has answered they are
cover under a key of the seal, for a clock that starts with the answer would be a reaction as well.

What can be seen from outside, a large cell, another rate and the end, happens at *turns*, which come far more rarely and as
much by chance.  Large cells that wait are let into the queue at a turn and the rate is high until the next one; a circuit that
is needed no more goes on for a time of the same law, and ends.  Some turns come almost at once, and sooner than any relay could
react that has the way to the origin and back besides; so a large cell waits a time of its circuit's before it can have a turn.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from anonymizer.credit import LARGE_COST, WINDOW
from anonymizer.fields import Body
from anonymizer.inner import Dummy, InnerBlock
from anonymizer.pacing import Chance, exponential
from anonymizer.seal import End, Opening
from anonymizer.seams import Circuits
from anonymizer.timers import Timer, Timers
from anonymizer.wire import BlockType, CloseReason

#: Cells a second of a circuit that asks once, and of one that fetches a file: 36 keys a cell, so 9 MB/s.
QUIET_RATE: Final = 1.0
FETCH_RATE: Final = 8.0
#: Of one that waits to be asked, for days: two of them are 1.5 kB/s.
ANCHOR_RATE: Final = 0.5
#: While large cells wait, or many small ones; and from the opening of a fetch to its first turn, when most is to be asked for.
FULL_RATE: Final = 16.0
MANY_WAIT: Final = 16
#: Mean time between two turns, and from the last need of a circuit to its end.  The way from a neighbour to the origin and
#: back is some tenths of a second.  With turns every second a spy gains .09 over guessing, with two seconds .01 (A5).
TURN_MEAN_S: Final = 2.0
REST_MEAN_S: Final = 15.0
#: Each circuit draws the sum of so many exponential times of that mean, once: before that no large cell of it has a turn.  It
#: hides some tenths of a second, however often somebody looks: of twenty samples the quickest gave .186 without it (A5).
APART_MEAN_S: Final = 0.8
APART_STEPS: Final = 2
#: Large cells that wait or are under way to the first relay; its window.
MAX_LARGE: Final = WINDOW // LARGE_COST


def is_large(body: Body) -> bool:
    """Whether it goes in a large cell."""
    return isinstance(body, InnerBlock) and body.type is BlockType.CHK


class Beat:
    """See the module text.  `has_room` is called when large cells may be said again, and `next_up` when the clock would let a
    cell go and nothing waits: what it returns is said, so that several circuits can share what there is to say.

    It begins at once, `hear` takes what comes down, and it ends by `rest` (a while later) or `stop` (there is no circuit).
    """

    def __init__(
        self,
        circuits: Circuits,
        chance: Chance,
        timers: Timers,
        number: int,
        opening: Opening,
        rate: float,
        has_room: Callable[[float], None],
        next_up: Callable[[float], Body | None],
        now: float,
    ) -> None:
        self._circuits, self._chance, self._timers = circuits, chance, timers
        self.number, self._opening, self._base = number, opening, rate
        self._rate = FULL_RATE if rate >= FETCH_RATE else rate
        self._has_room, self._next_up = has_room, next_up
        self.end: End | None = None
        self._queue: deque[Body] = deque()
        #: Large cells that wait for a turn, each with the time before which it has none.
        self._blocks: deque[tuple[float, Body]] = deque()
        self._apart: float | None = None
        self._large = 0
        self._beyond = 0
        self._tick_timer = self._after(1 / self._rate, self._tick, now)
        self._turn_timer = self._after(TURN_MEAN_S, self._turn, now)

    def _after(self, mean: float, call: Callable[[float], None], now: float) -> Timer:
        return self._timers.at(now + exponential(self._chance, mean), call)

    # -- what is said and heard --------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Large cells that may be said now."""
        return max(0, min(MAX_LARGE, self._circuits.room(self.number)) - len(self._blocks) - self._large)

    def say(self, body: Body, now: float) -> None:
        """Say it in its turn."""
        if not is_large(body):
            self._queue.append(body)
            return
        if self._apart is None:
            self._apart = sum(exponential(self._chance, APART_MEAN_S) for _ in range(APART_STEPS))
        self._blocks.append((now + self._apart, body))

    def hear(self, data: bytes) -> Body | None:
        """What came down; None: it was the pivot's answer to the seal.  Violation: it is nothing that a pivot says."""
        if self.end is not None:
            return self.end.hear(data)
        self.end = self._opening.opened(data)
        return None

    # -- the end -----------------------------------------------------------------------------------------------------------

    def rest(self, over: Callable[[float], None], now: float) -> None:
        """It is needed no more: nothing is said, the clock goes on, and after a random time it ends and `over` is called."""
        self._queue.clear()
        self._blocks.clear()
        self._has_room = self._next_up = lambda when: None

        def end(when: float) -> None:
            self.stop()
            self._circuits.close(self.number, CloseReason.DONE, when)
            over(when)

        self._turn_timer.cancel()
        self._turn_timer = self._after(REST_MEAN_S, end, now)

    def stop(self) -> None:
        """There is no circuit any more."""
        self._tick_timer.cancel()
        self._turn_timer.cancel()

    # -- the clock ---------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._tick_timer = self._after(1 / self._rate, self._tick, now)
        if self._is_blocked():
            return
        body = self._next(now)
        data = self._opening.cover() if self.end is None else self.end.say(body)
        self._circuits.say(self.number, data, now)
        if is_large(body):
            self._large -= 1
            if self.room:
                self._has_room(now)

    def _next(self, now: float) -> Body:
        if self.end is None:
            return Dummy()
        return self._queue.popleft() if self._queue else self._next_up(now) or Dummy()

    def _is_blocked(self) -> bool:
        """Whether a relay's window would be full as well: the neighbour has given no credit for as long as one lasts."""
        self._beyond = 0 if self._circuits.room(self.number) else self._beyond + 1
        return self._beyond > WINDOW

    def _turn(self, now: float) -> None:
        self._turn_timer = self._after(TURN_MEAN_S, self._turn, now)
        if self.end is None:
            return
        while self._blocks and self._blocks[0][0] <= now:
            self._queue.append(self._blocks.popleft()[1])
            self._large += 1
        is_busy = self._large > 0 or len(self._queue) > MANY_WAIT
        self._rate = FULL_RATE if is_busy else self._base
        if is_busy:
            # What was drawn for the old rate may be long; nothing has to be remembered of it.
            self._tick_timer.cancel()
            self._tick_timer = self._after(1 / self._rate, self._tick, now)
