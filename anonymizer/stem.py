"""Stems: how a circuit gets from its origin to its pivot without anything on its way that counts.

Each edge on which circuits come has one edge on which they go on, and one coin that says whether their stem ends here; both are
drawn once and stay while the edges do, so a thousand circuits tell no more than one.  Own circuits are treated as if they had
come in by an edge of their own that always goes on, to the guard.  Where a stem ends the circuit goes on greedily, over any
link, towards the pivot.  Relays know an edge and a channel for each side of a circuit, and draw new channels themselves.

Pure: what is to be sent waits in here until `due`.  `enqueue_from` is the only way onto an edge, for own cells and others'.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, TypeAlias

from anonymizer.cells import Cell, Command
from anonymizer.descr import location_of
from anonymizer.pacing import END_CHANCE, MAX_ROUND_TRIPS, Chance, FairQueue, Pace, VirtualStem, exponential
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.wire import BRIDGE_BUDGET, Ciphertext, Close, CloseReason, Open, Phase, cell_of, parse

#: Stem edges of each kind, and what share of the mappings an accepted one gets beside one of our own choice.
MAX_INITIATED: Final = 2
MAX_ACCEPTED: Final = 2
ACCEPTED_WEIGHT: Final = 0.1
MAX_CIRCUITS_OF_LINK: Final = 256
MAX_CIRCUITS: Final = 4_096
#: Bytes that wait here: in all, and of one direction of a circuit (a window of 64 large cells); beyond it the circuit ends.
MAX_HELD: Final = 64 << 20
MAX_HELD_OF_CIRCUIT: Final = 2_200_000
#: A circuit without cells ends after this and an exponential rest of the same mean; every circuit after an hour.
IDLE_S: Final = 60.0
MAX_AGE_S: Final = 3_600.0

NodeId: TypeAlias = bytes
#: Where cells of a circuit come in: a link, or None for this node itself (as origin or as pivot); and the channel there.
Port: TypeAlias = tuple[NodeId | None, int]


@dataclass(slots=True)
class Link:
    """A link; `is_client` is the TLS role, which decides whether the channels that we open on it are odd."""

    is_client: bool
    is_edge: bool = False
    is_initiated: bool = False
    circuits: int = 0
    queue: FairQueue[tuple[Port, Cell]] = field(default_factory=FairQueue)


@dataclass(slots=True)
class Route:
    """Where one side of a circuit goes on to, and how its cells are paced on that way."""

    to: Port
    pace: Pace
    opened_at: float
    idle_s: float
    used_at: float
    held: int = 0


class Stem:
    """One node's stems.  `heard` and `ended` are told of own circuits, `arrived` of those to this node as a pivot.

    The pivot's side uses the same calls: a circuit that arrived is said to, and closed, by its number.
    """

    def __init__(
        self,
        own_id: NodeId,
        chance: Chance,
        *,
        heard: Callable[[int, bytes, float], None],
        ended: Callable[[int, CloseReason, float], None],
        arrived: Callable[[int, bytes, float], bool],
    ) -> None:
        self._own_id, self._chance = own_id, chance
        self._heard, self._ended, self._arrived = heard, ended, arrived
        self._links: dict[NodeId, Link] = {}
        self._next: dict[NodeId | None, NodeId] = {}
        self._ends: dict[NodeId, bool] = {}
        self._routes: dict[Port, Route] = {}
        self._virtual: dict[int, VirtualStem] = {}
        self._waiting: list[tuple[float, int, NodeId, Port, Cell]] = []
        self._count = 0
        #: Bytes that wait, for their time or their turn.
        self.held = 0
        self._round_trips: list[float] = []
        self.refusals = Refusals()

    # -- links and edges -------------------------------------------------------------------------------------------------

    def link_up(self, node: NodeId, is_client: bool) -> None:
        self._links[node] = Link(is_client)

    def make_edge(self, node: NodeId, is_initiated: bool) -> bool:
        """The link becomes a stem edge; False: it is one, or there are as many of that kind as may be."""
        link = self._links[node]
        if link.is_edge or not self.has_room(is_initiated):
            return False
        link.is_edge, link.is_initiated = True, is_initiated
        return True

    def has_room(self, is_initiated: bool) -> bool:
        """Whether another stem edge of that kind may be made."""
        count = sum(link.is_edge and link.is_initiated is is_initiated for link in self._links.values())
        return count < (MAX_INITIATED if is_initiated else MAX_ACCEPTED)

    def is_edge(self, node: NodeId) -> bool:
        return self._links[node].is_edge

    def link_down(self, node: NodeId, now: float) -> None:
        """The link is gone, its circuits end, and mappings that led there are drawn again when needed."""
        for port in [port for port in self._routes if port[0] == node]:
            self._end(port, CloseReason.NOROUTE, now)
        queue = self._links.pop(node).queue
        while (item := queue.take()) is not None:
            self.held -= item[1].size
        self._ends.pop(node, None)
        self._next = {came: goes for came, goes in self._next.items() if node not in (came, goes)}
        self.held -= sum(entry[4].size for entry in self._waiting if entry[2] == node)
        self._waiting = sorted(entry for entry in self._waiting if entry[2] != node)

    def round_trip(self, seconds: float) -> None:
        """A ping of an own link took so long; virtual stems are made of these."""
        self._round_trips.append(seconds)
        del self._round_trips[:-MAX_ROUND_TRIPS]

    def next_edge(self, came: NodeId | None) -> NodeId | None:
        """Where circuits go on that come in there (None: own ones): drawn once for the life of both edges."""
        if came not in self._next:
            edges = [(node, link) for node, link in self._links.items() if link.is_edge and node != came]
            if came is None:
                # The guard: the first of our own choice, and nothing else will do.
                edges = [(node, link) for node, link in edges if link.is_initiated][:1]
            if not edges:
                return None
            weights = [1.0 if link.is_initiated else ACCEPTED_WEIGHT for _, link in edges]
            mark = self._chance.random() * sum(weights)
            for (node, _), weight in zip(edges, weights, strict=True):
                self._next[came] = node
                mark -= weight
                if mark < 0:
                    break
        return self._next[came]

    def ends_stem(self, came: NodeId) -> bool:
        """The coin of that edge."""
        if came not in self._ends:
            self._ends[came] = self._chance.random() < END_CHANCE
        return self._ends[came]

    # -- own circuits ----------------------------------------------------------------------------------------------------

    def open(self, pivot_id: NodeId, sealed: bytes, now: float, *, is_slow: bool = False) -> int | None:
        """A circuit of our own; its number, or None if there is no guard or no room.  Never to ourselves."""
        if pivot_id == self._own_id:
            raise Violation(Refusal.OWN_PIVOT)
        guard = self.next_edge(None)
        if guard is None or pivot_id == guard:
            return None
        number = self._number()
        body = Open(Phase.STEM, pivot_id, 0, sealed)
        if not self._lay((None, number), guard, body, is_slow, now):
            return None
        self._virtual[number] = VirtualStem(self._chance, self._round_trips, is_slow)
        return number

    def say(self, number: int, data: bytes, now: float) -> None:
        """A cell of a circuit that begins or ends here; the origin's leaves as late as if it came from further away."""
        virtual = self._virtual.get(number)
        came = now if virtual is None else now + virtual.hold(self._chance)
        self.enqueue_from((None, number), Ciphertext(data), came)

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        """End a circuit that begins or ends here."""
        if (None, number) in self._routes:
            virtual = self._virtual.get(number)
            self.enqueue_from(
                (None, number), Close(reason), now if virtual is None else now + virtual.hold(self._chance)
            )
            self._forget((None, number))

    # -- cells -----------------------------------------------------------------------------------------------------------

    def receive(self, node: NodeId, cell: Cell, now: float) -> None:
        """A cell of a circuit came in.  Violation: the link has to be closed."""
        body, port = parse(cell), (node, cell.channel)
        if isinstance(body, Open):
            if (cell.channel & 1) == self._links[node].is_client:
                raise Violation(Refusal.WRONG_CHANNEL, "a channel of ours")
            self._opened(port, body, cell.is_slow, now)
        elif (route := self._routes.get(port)) is None:
            # It was closed while this was under way.
            self.refusals.count(Refusal.NO_CIRCUIT)
        elif isinstance(body, Close):
            self._pass_on(port, route, body, now)
            self._forget(port)
        elif isinstance(body, Ciphertext):
            route.used_at = now
            self._pass_on(port, route, body, now)

    def _pass_on(self, port: Port, route: Route, body: Ciphertext | Close, now: float) -> None:
        node, number = route.to
        if node is not None:
            self.enqueue_from(port, body, now)
        elif isinstance(body, Close):
            self._ended(number, body.reason, now)
        else:
            self._heard(number, body.data, now)

    def _opened(self, port: Port, body: Open, is_slow: bool, now: float) -> None:
        node = port[0]
        assert node is not None
        if port in self._routes:
            raise Violation(Refusal.WRONG_CHANNEL, "a channel in use")
        if body.pivot_id == self._own_id:
            number = self._number()
            if self._connect(port, (None, number), is_slow, now) and not self._arrived(number, body.sealed, now):
                self.close(number, CloseReason.REFUSED, now)
            return
        phase, budget = body.phase, body.budget
        goes = self.next_edge(node) if phase is Phase.STEM and self._links[node].is_edge else None
        if phase is Phase.STEM and goes is None:
            self._refuse(port, CloseReason.REFUSED, now)
            return
        if phase is Phase.STEM and self.ends_stem(node):
            phase, budget = Phase.BRIDGE, BRIDGE_BUDGET + 1
        if phase is Phase.BRIDGE:
            goes, budget = self._nearer(node, body.pivot_id), budget - 1
        if goes is None or (phase is Phase.BRIDGE and budget == 0):
            self._refuse(port, CloseReason.NOROUTE if goes is None else CloseReason.TTL, now)
        elif not self._lay(port, goes, Open(phase, body.pivot_id, budget, body.sealed), is_slow, now):
            self._refuse(port, CloseReason.OVERLOAD, now)

    def _nearer(self, came: NodeId, pivot_id: NodeId) -> NodeId | None:
        """The neighbour nearest to the pivot, if it is nearer than this node; the pivot itself, if it is one."""
        if pivot_id in self._links:
            return None if pivot_id == came else pivot_id
        goal = location_of(pivot_id)

        def distance(node: NodeId) -> float:
            apart = abs(location_of(node) - goal)
            return min(apart, 1 - apart)

        best = min((node for node in self._links if node != came), key=distance, default=None)
        return best if best is not None and distance(best) < distance(self._own_id) else None

    # -- circuits --------------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        return self._chance.getrandbits(62)

    def _lay(self, port: Port, node: NodeId, body: Open, is_slow: bool, now: float) -> bool:
        """Let the circuit of `port` go on to `node`, on a new channel of ours."""
        link = self._links[node]
        channel = 0
        while channel < 2 or (node, channel) in self._routes:
            channel = self._chance.getrandbits(32) & ~1 | link.is_client
        if not self._connect(port, (node, channel), is_slow, now):
            return False
        self.enqueue_from(port, body, now, is_slow=is_slow)
        return True

    def _connect(self, one: Port, other: Port, is_slow: bool, now: float) -> bool:
        links = [self._links[node] for node, _ in (one, other) if node is not None]
        full = any(link.circuits >= MAX_CIRCUITS_OF_LINK for link in links)
        if full or len(self._routes) >= 2 * MAX_CIRCUITS:
            self.refusals.count(Refusal.CIRCUITS_FULL)
            return False
        idle_s = IDLE_S + exponential(self._chance, IDLE_S)
        for port, to in ((one, other), (other, one)):
            self._routes[port] = Route(to, Pace(is_slow), now, idle_s, now)
        for link in links:
            link.circuits += 1
        return True

    def _forget(self, port: Port) -> None:
        to = self._routes.pop(port).to
        del self._routes[to]
        for node, number in (port, to):
            if node is None:
                self._virtual.pop(number, None)
            else:
                self._links[node].circuits -= 1

    def _end(self, port: Port, reason: CloseReason, now: float) -> None:
        """The circuit ends, and the side that `port` leads to hears of it."""
        route = self._routes.get(port)
        if route is not None:
            self._pass_on(port, route, Close(reason), now)
            self._forget(port)

    def _end_both(self, port: Port, reason: CloseReason, now: float) -> None:
        """The circuit ends, and both its sides hear of it."""
        route = self._routes[port]
        self._pass_on(port, route, Close(reason), now)
        self._pass_on(route.to, self._routes[route.to], Close(reason), now)
        self._forget(port)

    def _refuse(self, port: Port, reason: CloseReason, now: float) -> None:
        """A circuit that does not go on is closed as late as one that was closed further away."""
        node, channel = port
        assert node is not None
        leave = Pace(False).leave(self._chance, now)
        self._count += 1
        cell = cell_of(Close(reason), channel)
        self.held += cell.size
        heappush(self._waiting, (leave, self._count, node, port, cell))

    def enqueue_from(self, port: Port, body: Open | Ciphertext | Close, came: float, *, is_slow: bool = False) -> None:
        """What came in at `port` goes on: delayed, in order, and in its turn.  The only way onto an edge."""
        route = self._routes.get(port)
        if route is None or route.to[0] is None:
            return
        node, channel = route.to
        assert node is not None
        self._count += 1
        cell = cell_of(body, channel, is_slow=is_slow)
        if isinstance(body, Ciphertext):
            if self.held + cell.size > MAX_HELD or route.held + cell.size > MAX_HELD_OF_CIRCUIT:
                self.refusals.count(Refusal.CIRCUIT_FLOODED)
                self._end_both(port, CloseReason.OVERLOAD, came)
                return
            route.held += cell.size
        self.held += cell.size
        heappush(self._waiting, (route.pace.leave(self._chance, came), self._count, node, port, cell))

    @property
    def next_at(self) -> float | None:
        """When `due` has something."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: float, blocked: Container[NodeId] = ()) -> list[tuple[NodeId, Cell]]:
        """What leaves now, fair between circuits on each link; what is for blocked links keeps waiting for its turn."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, node, port, cell = heappop(self._waiting)
            self._links[node].queue.put(port, cell.size, (port, cell))
        found: list[tuple[NodeId, Cell]] = []
        for node, link in self._links.items():
            while node not in blocked and (item := link.queue.take()) is not None:
                port, cell = item
                self.held -= cell.size
                route = self._routes.get(port)
                if route is not None and cell.command is Command.CELL:
                    route.held -= cell.size
                found.append((node, cell))
        return found

    def tick(self, now: float) -> None:
        """Close circuits that are idle or too old, both ways."""
        for port, route in list(self._routes.items()):
            other = self._routes.get(route.to)
            if other is None or port not in self._routes:
                continue
            used_at = max(route.used_at, other.used_at)
            if now - used_at > route.idle_s or now - route.opened_at > MAX_AGE_S:
                self._end_both(port, CloseReason.IDLE, now)

    @property
    def circuits(self) -> int:
        """Circuits through, from and to this node."""
        return len(self._routes) // 2


#: Commands that belong to `receive`.
COMMANDS: Final = frozenset((Command.OPEN, Command.CELL, Command.CLOSE))
