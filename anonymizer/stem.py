"""Stems: how a circuit gets from its origin to its pivot without anything on its way that counts.

Each edge on which circuits come has one edge on which they go on, and one coin that says whether their stem ends here
(anonymizer.edges), so a thousand circuits tell no more than one.  Own circuits are treated as if they had come in by an edge of
their own that always goes on, to the guard.  Where a stem ends the circuit goes on greedily, over any link, towards the pivot.
Relays know an edge and a channel for each side of a circuit, and draw new channels themselves.

Pure: what is to be sent waits in here until `due`.  `enqueue_from` is the only way onto an edge, for own cells and others'.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from anonymizer.cells import Cell, Command
from anonymizer.circuits import Circuits, NodeId, Port, Way
from anonymizer.credit import LARGE_COST, cost_of
from anonymizer.descr import location_of
from anonymizer.edges import MAX_ACCEPTED, MAX_INITIATED, Edges
from anonymizer.greedy import Link, nearer
from anonymizer.guards import Guards
from anonymizer.outbox import NO_LIMIT, Other, Outbox
from anonymizer.pacing import MAX_ROUND_TRIPS, Chance, Pace, VirtualStem
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seen import Delivered, Rounds
from anonymizer.wire import (
    BRIDGE_BUDGET,
    AnyBody,
    Ciphertext,
    Close,
    CloseReason,
    Credit,
    Open,
    Phase,
    Post,
    budget_of,
    cell_of,
    parse,
)
from gnutella.errors import LocalMisuse

#: Bytes that wait here: in all, and of one direction of a circuit (a window of 64 large cells).
MAX_HELD: Final = 64 << 20
MAX_HELD_OF_CIRCUIT: Final = 2_200_000
#: Bytes of one link that wait here, of posts that came by it and of each kind of cells that are no circuit's.
MAX_POSTS: Final = 1 << 20
MAX_OTHERS: Final = 8 << 20
#: Of these of all links; beyond it each kind of a link has its share of as much again, so that the next one can still be told.
MAX_ALL_OTHERS: Final = 64 << 20
OTHER_KINDS: Final = 4
#: Bytes for one link that open and end circuits: all of its 256 circuits make a quarter of that.  Beyond it nobody reads there.
MAX_UNREAD: Final = 4 << 20
#: From here on no circuit goes on to it; ends of all that did are no reason yet to give the link up.
MAX_OPENINGS: Final = MAX_UNREAD // 8
#: Commands that belong to `receive`.
COMMANDS: Final = frozenset((Command.OPEN, Command.CELL, Command.CLOSE, Command.CREDIT, Command.POST))

__all__ = ["COMMANDS", "MAX_ACCEPTED", "MAX_HELD", "MAX_INITIATED", "NodeId", "Port", "Stem"]


class Stem:
    """One node's stems: `seams.Circuits` for its own requests, `seams.Bridges` for its pivot, `seams.Edges` for membership.

    `heard`, `ended` and `has_room` are told of circuits that begin or end here, by their number; `arrived` of those to this
    node as a pivot (False: it does not want it), `posted` of posts to it.
    """

    def __init__(
        self,
        own_id: NodeId,
        chance: Chance,
        *,
        heard: Callable[[int, bytes, float], None],
        ended: Callable[[int, CloseReason, float], None],
        arrived: Callable[[int, bytes, NodeId, float], bool],
        posted: Callable[[bytes, float], None],
        has_room: Callable[[int, float], None],
    ) -> None:
        self._own_id, self._location, self._chance = own_id, location_of(own_id), chance
        self._heard, self._ended, self._arrived = heard, ended, arrived
        self._posted, self._told_room = posted, has_room
        #: Kept on disk by whoever drives the node, and filled from the nodes that may be picked.
        self.guards = Guards(chance)
        self.refusals = Refusals()
        self._edges = Edges(chance, self.guards)
        self._links: dict[NodeId, Link] = {}
        self._circuits = Circuits(chance)
        self._outbox = Outbox(self._gone)
        self._rounds = Rounds(self.refusals)
        self._delivered = Delivered()
        #: Numbers of circuits that begin or end here.
        self._here: set[int] = set()
        self._withheld: list[Way] = []
        #: Of pings on own links, the latest of them, in seconds.
        self.round_trips: list[float] = []

    # -- links and edges -------------------------------------------------------------------------------------------------

    def link_up(self, node: NodeId, is_client: bool) -> None:
        """There is a link.  If the node was an edge until lately, it is the same edge as before."""
        self._links[node] = Link(is_client, location_of(node))
        self._outbox.link_up(node)
        self._edges.link_up(node)

    def link_down(self, node: NodeId, now: float) -> None:
        """The link is gone and its circuits end."""
        for port in self._circuits.of_link(node):
            self._end(port, CloseReason.NOROUTE, now)
        self._outbox.link_down(node)
        del self._links[node]
        self._edges.link_down(node, now)

    def make_edge(self, node: NodeId, is_initiated: bool) -> bool:
        """The open link becomes a stem edge; False: it is one of the other kind, or there are as many as may be."""
        return node in self._links and self._edges.make(node, is_initiated)

    def drop_edge(self, node: NodeId, now: float) -> None:
        """It is none any more, what was drawn for it is forgotten, and circuits that came or went by it end."""
        if self._edges.kind(node) is not None:
            for port in self._circuits.of_link(node):
                self._end_both(port, CloseReason.NOROUTE, now)
        self._edges.drop(node, now)
        self._rounds.forget(node)

    def has_room(self, is_initiated: bool) -> bool:
        """Whether another stem edge of that kind may be made."""
        return self._edges.has_room(is_initiated)

    def is_edge(self, node: NodeId) -> bool:
        """Whether there is a link to it, which is a stem edge."""
        return node in self._edges

    def next_edge(self, came: NodeId) -> NodeId | None:
        """Where circuits go on that come by that edge."""
        return self._edges.next(came)

    def ends_stem(self, came: NodeId) -> bool:
        """The coin of that edge."""
        return self._edges.ends_stem(came)

    def guard(self, now: float) -> NodeId | None:
        """Where own circuits begin; None: nowhere, for now."""
        return self._edges.guard(now)

    def round_trip(self, seconds: float) -> None:
        """A ping of an own link took so long; virtual stems are made of these."""
        self.round_trips.append(seconds)
        del self.round_trips[:-MAX_ROUND_TRIPS]

    def hold(self) -> float:
        """Seconds by which a reaction that is no circuit's cell should be later, for it to seem that of somebody behind us."""
        return VirtualStem(self._chance, self.round_trips, False).hold(self._chance)

    # -- circuits that begin or end here ---------------------------------------------------------------------------------

    def open(self, pivot_id: NodeId, sealed: bytes, now: float) -> int | None:
        """A circuit of our own; its number, or None if there is no guard, it is the pivot, or there is no room."""
        if pivot_id == self._own_id:
            raise Violation(Refusal.OWN_PIVOT)
        guard = self.guard(now)
        if guard is None or pivot_id == guard:
            return None
        self.guards.used(guard, now)
        return self._open(guard, Open(Phase.STEM, pivot_id, 0, sealed), now)

    def open_bridge(self, pivot_id: NodeId, sealed: bytes, now: float) -> int | None:
        """A pivot's circuit to another, greedily from here; None: nobody is nearer to that one, or there is no room."""
        goes = None if pivot_id == self._own_id else self._nearer(None, pivot_id)
        if goes is None:
            return None
        return self._open(goes, Open(Phase.BRIDGE, pivot_id, BRIDGE_BUDGET, sealed), now)

    def _open(self, node: NodeId, body: Open, now: float) -> int | None:
        number = self._number()
        if not self._lay((None, number), node, body, False, now):
            return None
        self._here.add(number)
        return number

    def say(self, number: int, data: bytes, now: float) -> None:
        """A cell of a circuit that begins or ends here; when an origin says something is for its clock to decide."""
        if number in self._here:
            self.enqueue_from((None, number), Ciphertext(data), now)

    def room(self, number: int) -> int:
        """Large cells that may be said before the window is full; what is said beyond it waits here, within bounds."""
        way = self._circuits.get((None, number))
        return _room(way) if way is not None and number in self._here else 0

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        """End a circuit that begins or ends here; nothing happens if it has ended.  Nothing more is heard of it."""
        if number not in self._here:
            return
        self._here.discard(number)
        self._end((None, number), reason, now)

    def post(self, pivot_id: NodeId, sealed: bytes, now: float) -> bool:
        """A one-shot seal of our own, by the guard; False: there is none."""
        if pivot_id == self._own_id:
            raise Violation(Refusal.OWN_PIVOT)
        guard = self.guard(now)
        if guard is None:
            return False
        # It may be the pivot: an answer that never comes would tell who chose the pivot which node our guard is.
        self.guards.used(guard, now)
        return self._post(guard, None, Post(Phase.STEM, pivot_id, 0, sealed), False, now)

    def _number(self) -> int:
        return self._chance.getrandbits(62)

    # -- cells that come -------------------------------------------------------------------------------------------------

    def receive(self, node: NodeId, cell: Cell, now: float) -> None:
        """A cell of a circuit, or a post, came in.  Violation: the link has to be closed."""
        body, port = parse(cell), (node, cell.channel)
        if isinstance(body, Post):
            self._relay_post(node, body, cell.is_slow, now)
        elif isinstance(body, Open):
            if (cell.channel & 1) == self._links[node].is_client:
                raise Violation(Refusal.WRONG_CHANNEL, "a channel of ours")
            self._opened(port, body, cell.is_slow, now)
        elif (way := self._circuits.get(port)) is None:
            # It was closed while this was under way.
            self.refusals.count(Refusal.NO_CIRCUIT)
        elif isinstance(body, Close):
            self._end(port, body.reason, now)
        elif isinstance(body, Ciphertext | Credit):
            try:
                if isinstance(body, Credit):
                    self._credited(way, body.cells, now)
                else:
                    self._came(way, body, cost_of(cell), now)
            except Violation as violation:
                self.refusals.count(violation.reason)
                self._end_both(port, CloseReason.BAD, now)

    def _came(self, way: Way, body: Ciphertext, cost: int, now: float) -> None:
        way.receiving.take(cost)
        way.used_at = now
        node, number = way.to
        if node is not None:
            self.enqueue_from(way.came, body, now)
            return
        self._outbox.taken_later(way.pace.leave(self._chance, now), way, cost)
        if number in self._here:
            self._heard(number, body.data, now)

    def _credited(self, way: Way, units: int, now: float) -> None:
        """The neighbour at `way.came` takes more of what goes the other way."""
        back = self._circuits.back(way)
        if back is None:
            return
        before = _room(back)
        back.sending.granted(units)
        self._outbox.opened(back)
        number = back.came[1]
        if back.came[0] is None and before == 0 and _room(back) > 0 and number in self._here:
            self._told_room(number, now)

    def _gone(self, way: Way, cost: int) -> None:
        """What came by the way has left; now and then the neighbour hears that it may send more."""
        if way.is_closed or way.came[0] is None or not way.receiving.gone(cost):
            return
        if self._outbox.of_circuits > MAX_HELD // 2:
            self._withheld.append(way)
        else:
            self._grant(way)

    def _grant(self, way: Way) -> None:
        node, channel = way.came
        assert node is not None
        self._outbox.now(node, way.to, cell_of(Credit(way.receiving.grant()), channel))

    def _opened(self, port: tuple[NodeId, int], body: Open, is_slow: bool, now: float) -> None:
        node = port[0]
        if port in self._circuits:
            raise Violation(Refusal.WRONG_CHANNEL, "a channel in use")
        if self._outbox.waits_for(node) > MAX_UNREAD:
            raise Violation(Refusal.LINK_UNREAD)
        if body.pivot_id == self._own_id:
            number = self._number()
            if not self._connect(port, (None, number), is_slow, now):
                self._refuse(port, CloseReason.OVERLOAD, now)
                return
            self._here.add(number)
            if not self._arrived(number, body.sealed, node, now):
                self.close(number, CloseReason.REFUSED, now)
            return
        goes, phase = self._onward(node, body, now)
        if goes is None:
            if phase is Phase.STEM:
                self.refusals.count(Refusal.NO_EDGE)
            self._refuse(port, CloseReason.REFUSED if phase is Phase.STEM else CloseReason.NOROUTE, now)
        elif not self._lay(port, goes, Open(phase, body.pivot_id, budget_of(phase), body.sealed), is_slow, now):
            self._refuse(port, CloseReason.OVERLOAD, now)

    def _onward(self, came: NodeId, body: Open | Post, now: float) -> tuple[NodeId | None, Phase]:
        """Where an opening or a post that came goes on, and in which phase.

        None with STEM: it may not come this way.  None with BRIDGE: it got stuck.  While all edges are away that it could go
        on by, the stem ends here: for who sees that, it is one more coin, and the origin, who cannot choose another way, is
        not cut off for the time that an edge is waited for.  A bridge comes nearer to its pivot with each hop, so it ends,
        though nothing on it counts.
        """
        if body.phase is Phase.STEM:
            if came not in self._edges:
                return None, Phase.STEM
            if not self._edges.ends_stem(came) and self._rounds.goes_on(came, isinstance(body, Post), now):
                goes = self._edges.next(came)
                if goes is not None:
                    return goes, Phase.STEM
        return self._nearer(came, body.pivot_id), Phase.BRIDGE

    def _nearer(self, came: NodeId | None, pivot_id: NodeId) -> NodeId | None:
        return nearer(self._links, self._location, came, pivot_id)

    # -- posts -----------------------------------------------------------------------------------------------------------

    def _relay_post(self, came: NodeId, body: Post, is_slow: bool, now: float) -> None:
        if body.pivot_id == self._own_id:
            if self._delivered.add(body.sealed, now):
                self.refusals.count(Refusal.POST_REPEATED)
            else:
                self._posted(body.sealed, now)
            return
        goes, phase = self._onward(came, body, now)
        if goes is None:
            self.refusals.count(Refusal.POST_STRANDED)
        else:
            self._post(goes, came, Post(phase, body.pivot_id, budget_of(phase), body.sealed), is_slow, now)

    def _post(self, node: NodeId, came: NodeId | None, body: Post, is_slow: bool, now: float) -> bool:
        cell = cell_of(body, is_slow=is_slow)
        flow = Other("post", came)
        if self._outbox.waits_of(flow) + cell.size > MAX_POSTS:
            self.refusals.count(Refusal.POSTS_FULL)
            return False
        self._outbox.later(Pace(is_slow).leave(self._chance, now), node, flow, cell)
        return True

    # -- circuits --------------------------------------------------------------------------------------------------------

    def _lay(self, port: Port, node: NodeId, body: Open, is_slow: bool, now: float) -> bool:
        """Let the circuit of `port` go on to `node`, on a new channel of ours."""
        if self._outbox.waits_for(node) > MAX_OPENINGS:
            self.refusals.count(Refusal.LINK_FULL)
            return False
        channel = self._circuits.free_channel(node, self._links[node].is_client)
        if not self._connect(port, (node, channel), is_slow, now):
            return False
        self.enqueue_from(port, body, now, is_slow=is_slow)
        return True

    def _connect(self, one: Port, other: Port, is_slow: bool, now: float) -> bool:
        if self._circuits.connect(one, other, is_slow, now):
            return True
        self.refusals.count(Refusal.CIRCUITS_FULL)
        return False

    def _end(self, port: Port, reason: CloseReason, now: float) -> None:
        """The circuit ends, and the side that the port leads to hears of it."""
        way = self._circuits.get(port)
        if way is not None:
            self._tell_end(way, reason, now)
            self._forget(way)

    def _end_both(self, port: Port, reason: CloseReason, now: float) -> None:
        """The circuit ends, and both its sides hear of it."""
        way = self._circuits.get(port)
        back = None if way is None else self._circuits.back(way)
        if way is not None and back is not None:
            self._tell_end(way, reason, now)
            self._tell_end(back, reason, now)
            self._forget(way)

    def _tell_end(self, way: Way, reason: CloseReason, now: float) -> None:
        node, number = way.to
        if node is not None:
            self.enqueue_from(way.came, Close(reason), now)
        elif number in self._here:
            self._here.discard(number)
            self._ended(number, reason, now)

    def _forget(self, way: Way) -> None:
        if way.is_closed:
            # Whoever was told of the end has ended something else, and that was this one.
            return
        back = self._circuits.back(way)
        self._circuits.forget(way.came)
        for one in (way, back):
            if one is not None:
                self._outbox.closed(one)
                if one.came[0] is None:
                    self._here.discard(one.came[1])

    def _refuse(self, port: tuple[NodeId, int], reason: CloseReason, now: float) -> None:
        """A circuit that does not go on is closed as late as one that was closed further away."""
        node, channel = port
        self._outbox.later(Pace(False).leave(self._chance, now), node, port, cell_of(Close(reason), channel))

    # -- onto the links --------------------------------------------------------------------------------------------------

    def enqueue_from(self, port: Port, body: Open | Ciphertext | Close, came: float, *, is_slow: bool = False) -> None:
        """What came in at `port` goes on: delayed, in order, and in its turn.  The only way onto an edge."""
        way = self._circuits.get(port)
        if way is None or way.to[0] is None:
            return
        cell = cell_of(body, way.to[1], is_slow=is_slow)
        if isinstance(body, Ciphertext):
            if way.held + cell.size > MAX_HELD_OF_CIRCUIT:
                self._flood(way, came)
                return
            while self._outbox.of_circuits + cell.size > MAX_HELD and (worst := self._circuits.fullest()) is not None:
                self._flood(worst, came)
            if way.is_closed:
                return
            way.used_at = max(way.used_at, came)
        leave = way.pace.leave(self._chance, came)
        self._outbox.later(leave, way.to[0], port, cell, way if isinstance(body, Ciphertext) else None)

    def _flood(self, way: Way, now: float) -> None:
        """More of it waits than may; nothing of that is sent."""
        self.refusals.count(Refusal.CIRCUIT_FLOODED)
        back = self._circuits.back(way)
        for one in (way, back):
            if one is not None:
                self._outbox.drop(one)
        self._end_both(way.came, CloseReason.OVERLOAD, now)

    def send(self, node: NodeId, body: AnyBody, flow: str, *, is_slow: bool = False, is_last: bool = False) -> bool:
        """A cell of no circuit, in its turn among the circuits of that link; False: there is no link, or it takes no more."""
        if isinstance(body, Open | Ciphertext | Close | Credit | Post):
            raise LocalMisuse(f"{type(body).__name__} is a circuit's")
        if node not in self._links:
            return False
        cell = cell_of(body, is_slow=is_slow, is_last=is_last)
        other = Other(flow, node)
        is_crowded = self._outbox.of_others + cell.size > MAX_ALL_OTHERS
        most = MAX_ALL_OTHERS // (OTHER_KINDS * len(self._links)) if is_crowded else MAX_OTHERS
        if self._outbox.waits_of(other) + cell.size > most:
            self.refusals.count(Refusal.LINK_FULL)
            return False
        self._outbox.now(node, other, cell)
        return True

    @property
    def next_at(self) -> float | None:
        """When `due` has something."""
        return self._outbox.next_at

    def due(self, now: float, blocked: Container[NodeId] = (), turn: int = NO_LIMIT) -> list[tuple[NodeId, Cell]]:
        """What leaves now, fair between circuits on each link; what is for blocked links keeps waiting for its turn.

        Of each link about `turn` bytes are handed out, so that it can be blocked before too much is.
        """
        found = self._outbox.due(now, blocked, turn)
        if self._withheld and self._outbox.of_circuits <= MAX_HELD // 2:
            ways, self._withheld = self._withheld, []
            for way in ways:
                if not way.is_closed and way.receiving.owed:
                    self._grant(way)
        return found

    def tick(self, now: float) -> None:
        """Once a second: close circuits that are idle or too old, both ways, and drop edges that were away for too long."""
        for port in self._circuits.over(now):
            self._end_both(port, CloseReason.IDLE, now)
        self._edges.tick(now)

    @property
    def circuits(self) -> int:
        """Circuits through, from and to this node."""
        return len(self._circuits)

    @property
    def held(self) -> int:
        """Bytes that wait, for their time, a window or their turn."""
        return self._outbox.held


def _room(way: Way) -> int:
    return max(0, way.sending.left - way.waiting) // LARGE_COST
