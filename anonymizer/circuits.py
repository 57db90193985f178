"""The circuits through, from and to a node: two ways each, from port to port, and the bounds on how many and for how long.

A port is where cells of a circuit come in: a link, or None for this node itself (as origin or as pivot), and the channel there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, TypeAlias

from anonymizer.cells import Cell
from anonymizer.credit import Receiving, Sending
from anonymizer.pacing import Chance, Pace, exponential

NodeId: TypeAlias = bytes
Port: TypeAlias = tuple[NodeId | None, int]

MAX_CIRCUITS_OF_LINK: Final = 256
MAX_CIRCUITS: Final = 4_096
#: A circuit without cells ends after this and an exponential rest of the same mean.
IDLE_S: Final = 60.0
#: Every circuit ends after this and an exponential rest with that mean: after an hour but one in twenty.  All nodes of a
#: circuit draw by the same law, so that whose time is over first tells nothing.
AGE_S: Final = 1_800.0
MORE_AGE_S: Final = 600.0


@dataclass(slots=True, eq=False)
class Way:
    """One direction of a circuit: what came in at `came` goes on to `to`.

    `sending` is what that neighbour takes, `receiving` what the other may send.  `waiting` counts the units that wait here for
    their time or, in `parked`, for the window; `held` the bytes of those and of what waits for its turn.
    """

    came: Port
    to: Port
    pace: Pace
    opened_at: float
    used_at: float
    idle_s: float
    ends_at: float
    sending: Sending = field(default_factory=Sending)
    receiving: Receiving = field(default_factory=Receiving)
    waiting: int = 0
    held: int = 0
    parked: deque[Cell] = field(default_factory=deque)
    #: The circuit has ended; `is_dropped`: and nothing of it is sent any more.
    is_closed: bool = False
    is_dropped: bool = False


class Circuits:
    """All of them, by port."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._ways: dict[Port, Way] = {}
        self._of_link: dict[NodeId, dict[Port, None]] = {}
        self._checks: list[tuple[float, int, Way]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._ways) // 2

    def __contains__(self, port: Port) -> bool:
        return port in self._ways

    def get(self, port: Port) -> Way | None:
        """The way that begins at that port."""
        return self._ways.get(port)

    def back(self, way: Way) -> Way | None:
        """The other direction; None if the circuit has ended."""
        return None if way.is_closed else self._ways.get(way.to)

    def fullest(self) -> Way | None:
        """The way of which most bytes wait."""
        return max(self._ways.values(), key=lambda way: way.held, default=None)

    def of_link(self, node: NodeId) -> list[Port]:
        """Ports of the circuits of that link."""
        return list(self._of_link.get(node, ()))

    def free_channel(self, node: NodeId, odd: bool) -> int:
        """One that no circuit of the link has, by chance; `odd` is the parity that is ours there."""
        channel = 0
        while channel < 2 or (node, channel) in self._ways:
            channel = self._chance.getrandbits(32) & ~1 | odd
        return channel

    def connect(self, one: Port, other: Port, is_slow: bool, now: float) -> bool:
        """Join the ports as a circuit that came by `one`; False: that is one too many, for a link or in all."""
        nodes = [node for node, _ in (one, other) if node is not None]
        if len(self) >= MAX_CIRCUITS or any(len(self._of_link.get(n, ())) >= MAX_CIRCUITS_OF_LINK for n in nodes):
            return False
        idle_s = IDLE_S + exponential(self._chance, IDLE_S)
        ends_at = now + AGE_S + exponential(self._chance, MORE_AGE_S)
        for port, to in ((one, other), (other, one)):
            self._ways[port] = Way(port, to, Pace(is_slow, is_up=port is one), now, now, idle_s, ends_at)
            if port[0] is not None:
                self._of_link.setdefault(port[0], {})[port] = None
        self._plan(self._ways[one])
        return True

    def forget(self, port: Port) -> None:
        """The circuit of that port has ended; what waits for its window on either way will not be sent."""
        way = self._ways[port]
        for one in (way, self._ways[way.to]):
            one.is_closed = True
            del self._ways[one.came]
            if one.came[0] is not None:
                ports = self._of_link[one.came[0]]
                del ports[one.came]
                if not ports:
                    del self._of_link[one.came[0]]

    # -- those that end by themselves ------------------------------------------------------------------------------------

    def _last_use(self, way: Way) -> float:
        other = self._ways[way.to]
        return max(way.used_at, other.used_at)

    def _plan(self, way: Way) -> None:
        self._count += 1
        heappush(self._checks, (min(self._last_use(way) + way.idle_s, way.ends_at), self._count, way))

    def over(self, now: float) -> list[Port]:
        """Ports of circuits that are idle or too old."""
        found = []
        while self._checks and self._checks[0][0] <= now:
            way = heappop(self._checks)[2]
            if way.is_closed:
                continue
            if now >= min(self._last_use(way) + way.idle_s, way.ends_at):
                found.append(way.came)
            else:
                self._plan(way)
        return found
