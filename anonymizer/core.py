"""One node of the relay layer, whole: its rooms joined, and nothing of sockets, disks or clocks.

    cells in    -> stem (circuits, posts)          -> pivot (those that end here), client (own ones)
                -> route (key requests)            -> blocks
                -> flood (searches)                -> responder
                -> membership (the link itself)
    cells out   <- due(now): one fair queue for each link, whatever it is that waits in it

Real links (anonymizer.links) and virtual ones (gnutella.testing.relay_cores) drive the same object.  It is the only place where
what serves the own user meets what starts visible requests: neither can reach the other by imports, and here the pivot gets no
part of the client, and the client of all rooms the stem alone.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anonymizer.anchoring import Anchoring, ReadBlock
from anonymizer.cells import Cell
from anonymizer.client import Client
from anonymizer.client_cache import ClientCache
from anonymizer.guards import MAX_GUARDS
from anonymizer.known import KnownNodes
from anonymizer.membership import Manners, Membership, Talk
from anonymizer.outbox import NO_LIMIT
from anonymizer.own import OwnDescriptor, OwnFacts
from anonymizer.pacing import Chance
from anonymizer.pivot import Pivot
from anonymizer.reasons import Refusal, Violation
from anonymizer.responder import Responder
from anonymizer.route import BODIES as ROUTED
from anonymizer.route import Route
from anonymizer.seal import X25519_SUITE, NewKey, PivotKeys
from anonymizer.seams import Blocks, Gateway
from anonymizer.seek import SeekFlood
from anonymizer.shares import ShareIndex
from anonymizer.stem import COMMANDS as OF_CIRCUITS
from anonymizer.stem import Stem
from anonymizer.timers import Timers
from anonymizer.walks import BYTES_PER_S
from anonymizer.watching import Watch, WatchedRoute
from anonymizer.wire import AnyBody, Block, ByeReason, CloseReason, Seek, Store, parse

#: How often the guards are looked over, and while some are missing.
GUARDS_S: Final = 30.0
MISSING_GUARDS_S: Final = 2.0
#: Kinds of cells that take turns on a link, beside its circuits.
_ROUTE, _BULK, _SEEK, _LINK = "route", "blocks", "seek", "link"


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a node this node; kept on disk.  `secret` keys the delays of answers; `sequence` is the descriptor's."""

    key: Ed25519PrivateKey
    pivot_keys: PivotKeys
    secret: bytes
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Ways:
    """What a node may set otherwise: how it meets others, and what it does for them."""

    facts: OwnFacts = field(default_factory=OwnFacts)
    manners: Manners = field(default_factory=Manners)
    #: Bytes a second that all circuits of one link may have through this pivot; None: no limit.
    pivot_rate: float | None = 256 * 1024
    may_store: bool = True
    #: Bytes a second of blocks that are fetched and stored for others.
    route_rate: float = BYTES_PER_S


def _no_block(routing: bytes, done: Callable[[bytes | None, float], None]) -> None:
    """Nothing is anchored."""
    done(None, 0.0)


class Core:
    """See the module text.  `drop` closes a link, saying why; whoever closes one calls `link_down`."""

    def __init__(
        self,
        identity: Identity,
        known: KnownNodes,
        blocks: Blocks,
        chance: Chance,
        new_key: NewKey,
        now: float,
        *,
        drop: Callable[[bytes, ByeReason, float], None],
        gateway: Gateway | None = None,
        ways: Ways | None = None,
        timers: Timers | None = None,
        numbers: dict[bytes, int] | None = None,
        read_block: ReadBlock = _no_block,
    ) -> None:
        ways = ways or Ways()
        self.timers = timers or Timers()
        self.known, self.chance = known, chance
        #: Told what this node sees, for demonstrations and tests.
        self.watch: Watch | None = None
        own = OwnDescriptor(identity.key, identity.pivot_keys, chance, now, ways.facts, identity.sequence)
        self.id = own.node_id
        self.stem = Stem(
            self.id,
            chance,
            heard=self._heard,
            ended=self._ended,
            arrived=lambda number, sealed, came, when: self.pivot.arrived(number, sealed, came, when),
            posted=lambda sealed, when: self.pivot.posted(sealed, when),
            has_room=self._has_room,
        )
        self.membership = Membership(
            own,
            known,
            chance,
            self.timers,
            self.stem,
            self.stem.guards,
            send=self._sender(_LINK),
            drop=drop,
            manners=ways.manners,
        )
        self.route = Route(
            self.id,
            chance,
            self.timers,
            blocks,
            self._send_routed,
            ban=self.membership.ban,
            may_store=ways.may_store,
            bytes_per_s=ways.route_rate,
        )
        self.flood = SeekFlood(
            self.id,
            chance,
            self.timers,
            self._sender(_SEEK),
            asked=lambda seek, when: self.responder.asked(seek, when),
            nodes=lambda: len(known),
        )
        self.pivot = Pivot(
            self.id,
            identity.pivot_keys,
            self.stem,
            self.stem,
            WatchedRoute(self.route, lambda: self.watch),
            self.flood,
            chance,
            self.timers,
            gateway,
            new_key=new_key,
            pivot_key=self._pivot_key,
            rate=ways.pivot_rate,
        )
        self.cache = ClientCache()
        self.client = Client(
            self.id,
            self.stem,
            known,
            self.cache,
            chance,
            self.timers,
            new_key,
            self._guard_network,
            hold=self.stem.hold,
            has_guards=lambda: self.stem.guards.was_used,
            links=lambda: len(self.membership.links),
            edge_age=self.guard_age,
            clock_skew=lambda: self.membership.clock_skew_s,
            numbers=numbers,
        )
        self.anchoring = Anchoring(self.client.channels, self.timers, new_key, read_block)
        self.shares = ShareIndex()
        self.responder = Responder(
            self.id,
            self.shares,
            self.stem,
            known,
            chance,
            self.timers,
            secret=identity.secret,
            round_trips=lambda: self.stem.round_trips,
            anchors=self.anchoring.hints,
            own_keys=lambda: own.current.pivot_keys,
            here=lambda sealed, when: self.pivot.posted(sealed, when),
        )
        self._guards_at = 0.0
        self._now = now
        #: Bytes of circuits that left, and of these those of others.
        self._moved = self.forwarded = 0
        self._guard: tuple[bytes | None, float] = (None, now)

    # -- links -----------------------------------------------------------------------------------------------------------

    def link_up(self, node: bytes, now: float, *, is_client: bool, host: str = "") -> None:
        """A link whose other side has proved to be `node`; `is_client`: we dialled."""
        self.stem.link_up(node, is_client)
        self.route.link_up(node, now)
        self.flood.link_up(node, now)
        self.membership.link_up(node, now, is_client=is_client, host=host)

    def link_down(self, node: bytes, now: float) -> None:
        """It is gone; nothing happens if there was none."""
        if node not in self.membership.links:
            return
        self.membership.link_down(node, now)
        self.flood.link_down(node, now)
        self.route.link_down(node, now)
        self.stem.link_down(node, now)

    def receive(self, node: bytes, cell: Cell, now: float) -> None:
        """A cell of a link that is up.  Violation: close the link."""
        self._now = now
        if self.watch is not None:
            self.watch.cell(node, cell, is_out=False)
        if cell.command in OF_CIRCUITS:
            self.stem.receive(node, cell, now)
            return
        body = parse(cell)
        if isinstance(body, Seek):
            self.flood.receive(node, body, now)
        elif isinstance(body, ROUTED):
            self.route.receive(node, body, now)
        elif isinstance(body, Talk):
            self.membership.receive(node, body, now)
        else:
            raise Violation(Refusal.BAD_BODY, "a second HELLO")

    def due(self, now: float, blocked: Container[bytes] = (), turn: int = NO_LIMIT) -> list[tuple[bytes, Cell]]:
        """What leaves now, in the order in which it leaves: nothing for blocked links, of each other one about `turn` bytes."""
        self._now = now
        self.timers.run(now)
        found = self.stem.due(now, blocked, turn)
        # What left made room, and whoever waited for that may have said more.
        self.timers.run(now)
        self._moved += sum(cell.size for _, cell in found if cell.command in OF_CIRCUITS)
        if self.watch is not None:
            for node, cell in found:
                self.watch.cell(node, cell, is_out=True)
        return found

    @property
    def next_at(self) -> float | None:
        """When `due` has something, if nothing comes before."""
        times = [when for when in (self.timers.next_at, self.stem.next_at) if when is not None]
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Once a second."""
        self._now = now
        self.membership.tick(now)
        wait = GUARDS_S if len(self.stem.guards.ids) == MAX_GUARDS else MISSING_GUARDS_S
        if now >= self._guards_at + wait:
            self._guards_at = now
            self.stem.guards.fill([descriptor.node_id for descriptor in self.known.eligible(now)], now)
        self.stem.tick(now)
        self._count_forwarded(now)

    def _count_forwarded(self, now: float) -> None:
        """Tell the meter what left of others' circuits: all that left but what is own."""
        forwarded = self._moved - self.client.meter.total_own - self.forwarded
        if forwarded > 0:
            self.forwarded += forwarded
            self.client.meter.forwarded(forwarded, now)

    def guard_age(self, now: float) -> float | None:
        """For how long own circuits have begun with the same node, in this run; None: they cannot begin."""
        guard = self.stem.guard(now)
        if guard != self._guard[0]:
            self._guard = guard, now
        return None if guard is None else now - self._guard[1]

    # -- between the rooms -----------------------------------------------------------------------------------------------

    def _sender(self, flow: str) -> Callable[[bytes, AnyBody], None]:
        def send(node: bytes, body: AnyBody) -> None:
            self.stem.send(node, body, flow)

        return send

    def _send_routed(self, node: bytes, body: AnyBody) -> None:
        # Blocks take turns with circuits of bulk; what asks for them, or says that there is none, does not wait behind them.
        self.stem.send(node, body, _BULK if isinstance(body, Block | Store) else _ROUTE)

    def _heard(self, number: int, data: bytes, now: float) -> None:
        if self.pivot.has(number):
            self.pivot.heard(number, data, now)
        else:
            self.client.heard(number, data, now)

    def _ended(self, number: int, reason: CloseReason, now: float) -> None:
        if self.pivot.has(number):
            self.pivot.ended(number, reason, now)
        else:
            self.client.ended(number, reason, now)

    def _has_room(self, number: int, now: float) -> None:
        if self.pivot.has(number):
            self.pivot.has_room(number, now)
        else:
            self.client.has_room(number, now)

    def _pivot_key(self, node: bytes) -> bytes | None:
        """The newest key of another pivot that is spoken here."""
        descriptor = self.known.get(node)
        keys = () if descriptor is None else descriptor.pivot_keys
        return next((key[1:] for key in keys if key[0] == X25519_SUITE), None)

    def _guard_network(self) -> str | None:
        """The network of the guard, which no pivot may share; None: there is no guard."""
        guard = self.stem.guard(self._now)
        descriptor = None if guard is None else self.known.get(guard)
        return None if descriptor is None else self.known.network_of(descriptor)

    def refused(self) -> dict[str, int]:
        """Everything that was refused in all rooms, by label."""
        found = dict(self.membership.refused())
        rooms = (self.stem, self.route, self.flood, self.pivot, self.responder, self.client.channels, self.anchoring)
        for room in rooms:
            for label, count in room.refusals.rows().items():
                found[label] = found.get(label, 0) + count
        return found
