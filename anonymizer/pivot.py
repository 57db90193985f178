"""The pivot: does what is said at the far end of circuits that end here, and says what came of it.

It fetches and stores by the route, floods searches and passes on sealed hits, meets providers at their anchors, and, if its
owner has consented, asks the plain overlay.  It never does any of this for its own user, keeps nothing that it fetches but what
it stores anew a while later, and knows of who asks nothing but the link that the circuit came by.

Whatever goes wrong at the far end (a cell that does not open, an instruction that makes no sense, a flood) ends the circuit
as an instruction to end it does: with the same reason, at the same pace.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from anonymizer import inner
from anonymizer.anchors import Bridge, Source, Tokens
from anonymizer.cells import SMALL_SIZE
from anonymizer.fields import Body
from anonymizer.inner import (
    Anchor,
    Anchored,
    Attach,
    Dummy,
    Fail,
    FailReason,
    FetchKeys,
    InnerBlock,
    InnerBye,
    InnerCredit,
    InnerSeek,
    Join,
    StoreBlock,
    place_of,
)
from anonymizer.outflow import EDGE_RATE, Edge, Job, Outflow
from anonymizer.pacing import Chance
from anonymizer.pivot_blocks import BlockDesk, Visit
from anonymizer.pivot_searches import Searches
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import NewKey, Opening, PivotKeys, Replays, Unsealer
from anonymizer.seams import Bridges, Circuits, Gateway, Routes, Seeks
from anonymizer.timers import Timers
from anonymizer.wire import MAX_CREDIT, CloseReason

NodeId = bytes

#: Circuits that end here, in all and of one link (design sections 3.17, 3.19).
MAX_CIRCUITS: Final = 512
MAX_CIRCUITS_OF_EDGE: Final = 32
#: Links whose share of bytes is remembered: more than there are at a time.
MAX_EDGES: Final = 64
#: Meetings that one circuit may ask for in its life, and those that are under way in all.
MAX_ATTACHES: Final = 16
#: Providers, or places to meet one, of one circuit: those of a hit (design section 3.10).
MAX_SOURCES: Final = 3
MAX_BRIDGES: Final = 128
#: More than these cells ahead is not counted.
_MAX_CREDIT: Final = 4 * MAX_CREDIT


class Pivot:
    """One node as a pivot.  `pivot_key` gives the newest HPKE key of another pivot, raw, if it is known."""

    def __init__(
        self,
        own_id: NodeId,
        keys: PivotKeys,
        circuits: Circuits,
        bridges: Bridges,
        route: Routes,
        seek: Seeks,
        chance: Chance,
        timers: Timers,
        gateway: Gateway | None = None,
        *,
        new_key: NewKey,
        pivot_key: Callable[[NodeId], bytes | None],
        rate: float | None = EDGE_RATE,
    ) -> None:
        self._own_id, self._circuits, self._bridges = own_id, circuits, bridges
        self._chance, self._timers = chance, timers
        self._new_key, self._pivot_key = new_key, pivot_key
        self.refusals = Refusals()
        self._unsealer = Unsealer(own_id, keys, Replays())
        self._outflow = Outflow(circuits.say, circuits.room, timers, rate)
        self._blocks = BlockDesk(route, chance, timers, self.refusals, self._say, self._outflow)
        self._searches = Searches(
            own_id, keys, seek, chance, timers, gateway, self.refusals, self._say, self._blocks.refuse
        )
        self._visits: dict[int, Visit] = {}
        self._edges: OrderedDict[NodeId, Edge] = OrderedDict()
        self._tokens = Tokens()
        self._open_bridges: dict[int, tuple[Bridge, Visit]] = {}
        self._does: dict[type[Body], Callable[[Visit, Any, float], None]] = {
            FetchKeys: self._blocks.fetch,
            StoreBlock: self._blocks.take,
            InnerSeek: self._searches.start,
            Anchor: self._anchor,
            Attach: self._attach,
            Join: self._join,
            InnerBlock: self._provided,
            Fail: self._not_provided,
            InnerCredit: self._credit,
            Dummy: self._nothing,
            InnerBye: self._bye,
        }

    # -- circuits --------------------------------------------------------------------------------------------------------

    def has(self, number: int) -> bool:
        """Whether that circuit is one of this pivot: it ends here, or is a bridge to another one."""
        return number in self._visits or number in self._open_bridges

    def arrived(self, number: int, sealed: bytes, came_from: NodeId, now: float) -> bool:
        """A circuit to this node has come by that link; False: it is refused."""
        edge = self._edge(came_from, now)
        try:
            if len(self._visits) >= MAX_CIRCUITS:
                raise Violation(Refusal.PIVOT_FULL)
            if len(edge.circuits) >= MAX_CIRCUITS_OF_EDGE:
                raise Violation(Refusal.PIVOT_EDGE_FULL)
            unsealed = self._unsealer.open(sealed, now)
            first = inner.decode(unsealed.first)
            cell, end = unsealed.answer(self._new_key())
        except Violation as violation:
            self.refusals.count(violation.reason)
            return False
        visit = self._visits[number] = Visit(number, edge, end)
        edge.circuits[number] = visit
        self._circuits.say(number, cell, now)
        self._outflow.charge(edge, SMALL_SIZE, now)
        visit.is_bridge = isinstance(first, Join)
        self._do(visit, first, now)
        return True

    def heard(self, number: int, data: bytes, now: float) -> None:
        """A cell of a circuit that ends here, or of a bridge from here."""
        if (visit := self._visits.get(number)) is not None:
            try:
                said = visit.end.hear(data)
            except Violation as violation:
                self._end(visit, violation.reason, now)
            else:
                self._do(visit, said, now)
        elif (bridge := self._open_bridges.get(number)) is not None:
            try:
                bridge[0].heard(data, now)
            except Violation as violation:
                self.refusals.count(violation.reason)
                self._drop_bridge(number, now)

    def ended(self, number: int, reason: CloseReason, now: float) -> None:
        """A circuit that ended here, or a bridge from here, has ended."""
        if (visit := self._visits.get(number)) is not None:
            self._gone(visit, now)
        elif (bridge := self._open_bridges.pop(number, None)) is not None:
            bridge[0].gone(now)

    def has_room(self, number: int, now: float) -> None:
        """The circuit takes cells again."""
        if (visit := self._visits.get(number)) is not None:
            self._outflow.wake(visit, now)

    def posted(self, sealed: bytes, now: float) -> None:
        """A one-shot to this pivot: a hit, which is passed on to who searches."""
        self._searches.posted(sealed, now)

    def _do(self, visit: Visit, said: Body, now: float) -> None:
        does = self._does.get(type(said))
        if does is None:
            self._end(visit, Refusal.BAD_INNER, now)
            return
        try:
            does(visit, said, now)
        except Violation as violation:
            if violation.reason.costs == "cell":
                self.refusals.count(violation.reason)
            else:
                self._end(visit, violation.reason, now)

    def _say(self, visit: Visit, said: Body | Job, now: float) -> None:
        if not self._outflow.put(visit, said, now):
            self._end(visit, Refusal.PIVOT_FLOODED, now)

    def _end(self, visit: Visit, reason: Refusal | None, now: float) -> None:
        """End a circuit: what for is counted, and cannot be seen from outside."""
        if not visit.is_open:
            return
        if reason is not None:
            self.refusals.count(reason)
            visit.edge.faults += 1
        self._circuits.close(visit.number, CloseReason.DONE, now)
        self._gone(visit, now)

    def _gone(self, visit: Visit, now: float) -> None:
        if self._visits.pop(visit.number, None) is None:
            return
        del visit.edge.circuits[visit.number]
        self._outflow.forget(visit)
        visit.wants.clear()
        self._searches.gone(visit)
        self._tokens.gone(visit.number)
        self._leave_sources(visit, now)
        if visit.provider is not None:
            visit.provider.gone(now)

    def _edge(self, node: NodeId, now: float) -> Edge:
        edge = self._edges.pop(node, None) or Edge(node)
        self._edges[node] = edge
        if len(self._edges) > MAX_EDGES:
            for other in list(self._edges.values()):
                if other is not edge and not other.circuits and other.free_at <= now:
                    del self._edges[other.node]
        return edge

    def _nothing(self, visit: Visit, said: Dummy, now: float) -> None:
        """Cover."""

    def _bye(self, visit: Visit, said: InnerBye, now: float) -> None:
        self._end(visit, None, now)

    def _credit(self, visit: Visit, said: InnerCredit, now: float) -> None:
        visit.credit = min(_MAX_CREDIT, (visit.credit or 0) + said.cells)
        self._outflow.wake(visit, now)

    # -- anchors ---------------------------------------------------------------------------------------------------------

    def _anchor(self, visit: Visit, said: Anchor, now: float) -> None:
        try:
            self._tokens.add(said.token, visit.number, now)
        except Violation as violation:
            self.refusals.count(violation.reason)
            taken = violation.reason is Refusal.ANCHOR_TAKEN
            reason = FailReason.REFUSED if taken else FailReason.OVERLOAD
            self._say(visit, Fail(reason, place_of(said.token)), now)
            return
        if visit.provider is None:
            visit.provider = Source(
                lambda body, when: self._say(visit, body, when),
                lambda when: self._end(visit, None, when),
                self._timers,
                self.refusals,
            )
        self._say(visit, Anchored(said.token), now)

    def _provided(self, visit: Visit, said: InnerBlock, now: float) -> None:
        if visit.provider is None:
            raise Violation(Refusal.BAD_INNER, "a block from nobody who is anchored")
        visit.provider.block(said, now)

    def _not_provided(self, visit: Visit, said: Fail, now: float) -> None:
        if visit.provider is None:
            raise Violation(Refusal.BAD_INNER, "a failure of nobody who is anchored")
        visit.provider.fail(said, now)

    def _attach(self, visit: Visit, said: Attach, now: float) -> None:
        visit.attaches += 1
        visit.sources = [row for row in visit.sources if not row[0].is_gone]
        if visit.attaches > MAX_ATTACHES or len(visit.sources) >= MAX_SOURCES:
            self._blocks.refuse(visit, place_of(said.token), now)
        elif said.pivot_id == self._own_id:
            self._meet(visit, said.token, now)
        else:
            self._open_bridge(visit, said, now)

    def _join(self, visit: Visit, said: Join, now: float) -> None:
        if not visit.is_bridge or visit.attaches:
            raise Violation(Refusal.BAD_INNER, "a pivot that joins twice, or somebody who is none")
        visit.attaches += 1
        self._meet(visit, said.token, now)

    def _meet(self, visit: Visit, token: bytes, now: float) -> None:
        anchored = self._visits[self._tokens.find(token, now)]
        if anchored is not visit and anchored.provider is not None:
            visit.sources.append((anchored.provider, None))

    def _open_bridge(self, visit: Visit, said: Attach, now: float) -> None:
        key = self._pivot_key(said.pivot_id)
        if key is None or len(self._open_bridges) >= MAX_BRIDGES:
            raise Violation(Refusal.PIVOT_BUSY if key else Refusal.ANCHOR_UNKNOWN)
        secret = self._chance.getrandbits(256).to_bytes(32, "big")
        opening = Opening(said.pivot_id, key, inner.encode(Join(said.token)), now, secret, self._new_key())
        number = self._bridges.open_bridge(said.pivot_id, opening.sealed, now)
        if number is None:
            raise Violation(Refusal.ANCHOR_UNKNOWN)
        bridge = Bridge(
            opening,
            lambda data, when: self._circuits.say(number, data, when),
            lambda when: self._drop_bridge(number, when),
            self._timers,
            self.refusals,
        )
        self._open_bridges[number] = bridge, visit
        visit.sources.append((bridge, number))

    def _leave_sources(self, visit: Visit, now: float) -> None:
        sources, visit.sources = visit.sources, []
        for _, number in sources:
            if number is not None:
                self._drop_bridge(number, now)

    def _drop_bridge(self, number: int, now: float) -> None:
        bridge = self._open_bridges.pop(number, None)
        if bridge is not None:
            self._circuits.close(number, CloseReason.DONE, now)
            bridge[0].gone(now)

    # -- what there is ---------------------------------------------------------------------------------------------------

    def faults(self, node: NodeId) -> int:
        """Circuits that came by that link and ended by what cannot come from an honest origin."""
        return self._edges[node].faults if node in self._edges else 0

    @property
    def reinserts(self) -> int:
        """Blocks that wait to be stored anew."""
        return self._blocks.reinserts

    @property
    def circuits(self) -> int:
        """Circuits that end here."""
        return len(self._visits)

    @property
    def anchors(self) -> int:
        """Tokens that are listed here."""
        return len(self._tokens)

    @property
    def bridges(self) -> int:
        """Circuits from here to pivots of providers."""
        return len(self._open_bridges)

    @property
    def searches(self) -> int:
        """Searches that hits are passed on for."""
        return len(self._searches)

    @property
    def held(self) -> int:
        """Bytes of blocks that wait."""
        return self._outflow.held
