"""What a pivot has to say, until it may: when the circuit has room, and when the link that brought the circuit has its turn.

Each link to whose origins a pivot answers has so many bytes a second; what is beyond them waits, and nothing is thrown away for
it.  Circuits of one link take turns.  What waits is sealed when it is said, for the other end counts cells.

Pure: `say` and `room` are the stem's, and everything that is said goes at the stem's pace.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from anonymizer.cells import LARGE_SIZE, SMALL_SIZE
from anonymizer.fields import Body
from anonymizer.inner import InnerBlock
from anonymizer.seal import End
from anonymizer.timers import Timer, Timers

#: Bytes a second of one link (design section 3.19), and what may go at once after a rest.
EDGE_RATE: Final = 256 * 1_024
BURST: Final = 1 << 20
#: Answers of one circuit that wait: a window of small cells; and bytes of blocks, of a circuit (a lane's window) and in all.
MAX_WAITING: Final = 256
MAX_HELD_OF_CIRCUIT: Final = 4_400_000
MAX_HELD: Final = 64 << 20

NodeId = bytes


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do in its turn, which costs the link as much as saying a block of `size` bytes."""

    size: int
    run: Callable[[float], None]


@dataclass(slots=True)
class Edge:
    """A link that brings circuits.  `free_at` is when all that was said by it would have left, at its rate.

    `faults` are circuits of it that ended by what cannot come from an honest origin: who sits on the way may have changed it.
    """

    node: NodeId
    circuits: dict[int, Line] = field(default_factory=dict)
    turns: deque[Line] = field(default_factory=deque)
    free_at: float = -math.inf
    timer: Timer | None = None
    is_busy: bool = False
    faults: int = 0


@dataclass(slots=True, eq=False)
class Line:
    """A circuit that ends here, and what waits for its other end.  `credit` is None until the other end counts blocks."""

    number: int
    edge: Edge
    end: End
    waiting: deque[Body | Job] = field(default_factory=deque)
    held: int = 0
    credit: int | None = None
    is_open: bool = True
    has_turn: bool = False


class Outflow:
    """What all circuits of one pivot wait with."""

    def __init__(
        self,
        say: Callable[[int, bytes, float], None],
        room: Callable[[int], int],
        timers: Timers,
        rate: float | None = EDGE_RATE,
    ) -> None:
        self._say, self._room, self._timers, self._rate = say, room, timers, rate
        #: Bytes of blocks that wait.
        self.held = 0

    def has_room_for(self, line: Line, size: int) -> bool:
        """Whether a block of that size may wait."""
        return self.held + size <= MAX_HELD and line.held + size <= MAX_HELD_OF_CIRCUIT

    def put(self, line: Line, body: Body | Job, now: float) -> bool:
        """Say or do it, now or as soon as may be; False: more waits than may, and the circuit has to end."""
        if not line.is_open:
            return True
        if len(line.waiting) >= MAX_WAITING:
            return False
        line.waiting.append(body)
        size = _block_size(body)
        line.held += size
        self.held += size
        self.wake(line, now)
        return True

    def wake(self, line: Line, now: float) -> None:
        """It has something to say, or room again, or credit."""
        if not line.has_turn and line.waiting:
            line.has_turn = True
            line.edge.turns.append(line)
        self.drain(line.edge, now)

    def charge(self, edge: Edge, size: int, now: float) -> None:
        """So many bytes were said by others' hands."""
        if self._rate is not None:
            edge.free_at = max(edge.free_at, now - BURST / self._rate) + size / self._rate

    def forget(self, line: Line) -> None:
        """The circuit has ended; nothing is said any more."""
        line.is_open = False
        self.held -= line.held
        line.held = 0
        line.waiting.clear()

    def drain(self, edge: Edge, now: float) -> None:
        """Say what may be said."""
        if edge.is_busy:
            return
        edge.is_busy = True
        try:
            while edge.turns and edge.free_at <= now:
                self._turn(edge.turns.popleft(), now)
        finally:
            edge.is_busy = False
        if edge.turns and (edge.timer is None or not edge.timer.is_active):
            edge.timer = self._timers.at(edge.free_at, lambda when: self.drain(edge, when))

    def _turn(self, line: Line, now: float) -> None:
        """It says one thing, if it may, and has its next turn after the others."""
        line.has_turn = False
        if self._may(line):
            self._next(line, now)
            if line.waiting and not line.has_turn:
                line.has_turn = True
                line.edge.turns.append(line)

    def _may(self, line: Line) -> bool:
        """Whether what is next can go; if not, `wake` comes when it can."""
        if not line.is_open or not line.waiting:
            return False
        if line.credit == 0 and isinstance(line.waiting[0], InnerBlock):
            return False
        return self._room(line.number) > 0

    def _next(self, line: Line, now: float) -> None:
        body = line.waiting.popleft()
        size = _block_size(body)
        line.held -= size
        self.held -= size
        self.charge(line.edge, LARGE_SIZE if size > SMALL_SIZE else SMALL_SIZE, now)
        if isinstance(body, Job):
            body.run(now)
            return
        if isinstance(body, InnerBlock) and line.credit is not None:
            line.credit -= 1
        self._say(line.number, line.end.say(body), now)


def _block_size(body: Body | Job) -> int:
    if isinstance(body, Job):
        return body.size
    return len(body.block) if isinstance(body, InnerBlock) else 0
