"""The links of a node: dials whom the core wants, takes who dials in, and drives the core with time and cells.

Of two connections between the same two nodes the one stays that the node with the smaller id dialled, so both sides agree.
How many connections wait for their handshake, and how many may come from one network in a minute, is bounded here; who may link
at all is decided by the core.  What the core has to send leaves when it is due, except to links that push back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from anonymizer.cells import Cell
from anonymizer.link import MAX_BYTES, Link
from anonymizer.membership import Membership
from anonymizer.pacing import Chance
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.tls import RelayTls
from anonymizer.wire import ByeReason, Descriptors, Hello, cell_of
from gnutella.errors import GnutellaError
from gnutella.network.guard import guarded
from gnutella.networks import wide
from gnutella.units import Address

#: Connections that dialled us and have not said HELLO; and those from one network (/16, IPv6 /32) in a minute.
MAX_HALF_OPEN: Final = 32
MAX_OF_NETWORK: Final = 3
MINUTE_S: Final = 60.0
#: Networks whose visits are remembered; the oldest is forgotten.
MAX_NETWORKS: Final = 4_096
#: Dials under way at once, and how long one may take to connect.
MAX_DIALS: Final = 8
DIAL_S: Final = 10.0
#: A link is made anew after a day, a quarter more or less.
LIFE_S: Final = 86_400.0
LIFE_SPREAD: Final = 0.25
TICK_S: Final = 1.0
#: Bytes that a link is given at once: what Twisted's transports hold before they push back.
TURN: Final = 65_536
#: What becomes due within so long leaves together: a turn of the reactor costs more than most cells do.  A twelfth of the mean
#: delay of a hop.
SLOT_S: Final = 0.002


class Core(Protocol):
    """The relay layer without its connections, as far as links drive it; `now` is seconds since 1970."""

    @property
    def membership(self) -> Membership:
        """Who may link, and whom to dial."""

    @property
    def next_at(self) -> float | None:
        """When `due` has something; what is for links that push back does not count."""

    def link_up(self, node: bytes, now: float, *, is_client: bool, host: str) -> None:
        """There is a link."""

    def link_down(self, node: bytes, now: float) -> None:
        """There is none any more."""

    def receive(self, node: bytes, cell: Cell, now: float) -> None:
        """A cell came.  Violation: where that costs the link, it is cut off."""

    def due(self, now: float, blocked: Collection[bytes], turn: int) -> list[tuple[bytes, Cell]]:
        """Do what is due, and give what leaves now; of each link about `turn` bytes, the rest at the next call."""

    def tick(self, now: float) -> None:
        """A second has passed."""


class RelayLinks:
    """See the module text.  `by_network` is off where all are in one; the core may call `drop`."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        core: Core,
        tls: RelayTls,
        chance: Chance,
        dial: Callable[[Address, Any, float], Deferred[Any]],
        *,
        by_network: bool = True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._reactor, self._core, self._tls, self._chance = reactor, core, tls, chance
        self._clock = clock or reactor.seconds
        self._by_network = by_network
        self.refusals = Refusals()
        #: Faults of our own, each of which cost a connection.
        self.faults = 0
        self._dial = guarded(dial, self._fault)
        self._links: dict[bytes, Link] = {}
        self._all: set[Link] = set()
        self._past: Counter[str] = Counter()
        self._half_open: set[Link] = set()
        self._dialled: dict[Link, bytes] = {}
        self._dials: set[Deferred[Any]] = set()
        self._lives: dict[Link, Any] = {}
        self._blocked: set[bytes] = set()
        self._visits = _Visits()
        self._call: Any = None
        self._flushed_at = 0.0
        self._is_flushing = self._is_stopping = False
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor
        self._all_gone: Deferred[None] | None = None

    # -- life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to dial and to tick."""
        self._ticks.start(TICK_S, now=True).addErrback(self._tick_failed)

    async def stop(self) -> None:
        """Say goodbye to all; returns when all connections are gone."""
        self._is_stopping = True
        if self._ticks.running:
            self._ticks.stop()
        self._hush()
        for link in list(self._all):
            link.close(ByeReason.STOPPING)
        for dial in list(self._dials):
            dial.cancel()
        if self._all:
            self._all_gone = Deferred()
            await self._all_gone

    def door(self, settled: Callable[[], None]) -> IProtocol:
        """The protocol for a connection that dialled us and wants to speak this."""
        link = Link(self, self._reactor, self._tls.server(), settled)
        self._all.add(link)
        return link

    def connect(self, address: Address, node: bytes | None = None) -> Deferred[None]:
        """Dial that address; to `node` and nobody else, or to whoever answers: a first contact.  Fails as `dial` does."""
        link = Link(self, self._reactor, self._tls.client(node))
        self._all.add(link)
        if node is not None:
            self._dialled[link] = node

        dial = self._dial(address, link, DIAL_S)
        self._dials.add(dial)

        def ended(result: object) -> Failure | None:
            self._dials.discard(dial)
            if isinstance(result, Failure):
                self.link_lost(link)
                return result
            return None

        return dial.addBoth(ended)

    def drop(self, node: bytes, reason: ByeReason, now: float = 0.0) -> None:
        """Close the link to that node; the core is told that it is down.  For the core as well, which says when."""
        link = self._links.get(node)
        if link is not None:
            link.close(reason)
            self._down(link)

    @property
    def nodes(self) -> dict[bytes, Link]:
        """Open links, by node."""
        return dict(self._links)

    def local_host(self) -> str | None:
        """Our IP on the oldest open link, as good a guess as any of where others reach us; None without links."""
        return next((link.local_host for link in self._links.values()), None)

    @property
    def half_open(self) -> int:
        """Connections that dialled us and have not said who they are."""
        return len(self._half_open)

    @property
    def connections(self) -> int:
        """All connections and dials, open links among them."""
        return len(self._all)

    @property
    def counts(self) -> dict[str, int]:
        """Bytes (TLS included) and cells of all connections since the start, sent (tx) and received (rx)."""
        return dict(sum((link.counts for link in self._all), Counter(self._past)))

    @property
    def idle(self) -> bool:
        """Whether nothing is planned to be sent in this slot."""
        return self._call is None or not self._call.active() or self._call.getTime() > self._reactor.seconds() + SLOT_S

    # -- link.Owner ------------------------------------------------------------------------------------------------------

    def link_enters(self, link: Link) -> Refusal | None:
        if self._is_stopping or len(self._half_open) >= MAX_HALF_OPEN:
            return Refusal.HALF_OPEN
        if self._by_network and self._visits.is_full(wide(link.host), self._clock()):
            return Refusal.NETWORK_FAST
        self._half_open.add(link)
        return None

    def link_known(self, link: Link) -> Refusal | None:
        # A first contact was dialled by address alone, and may be somebody whose link must not be replaced by it.
        is_first = link.is_client and link not in self._dialled
        return Refusal.LINK_TWICE if is_first and link.peer_id in self._links else None

    def hello(self) -> tuple[int, bytes]:
        return self._core.membership.hello()

    def link_open(self, link: Link, hello: Hello) -> None:
        self._half_open.discard(link)
        node, now = link.peer_id, self._clock()
        refusal = Refusal.HALF_OPEN if self._is_stopping else None
        if node in self._links and not self._gives_way(node, link):
            refusal = Refusal.LINK_TWICE
        refusal = refusal or self._core.membership.admits(node, link.host, now, is_incoming=not link.is_client)
        if refusal is not None:
            self.refusals.count(refusal)
            if refusal is Refusal.LINK_TWICE:
                self._dialled.pop(link, None)
            elif refusal is Refusal.LINKS_FULL and (parting := self._core.membership.parting()) is not None:
                link.send([cell_of(parting)])
            link.close(ByeReason.REPLACED if refusal is Refusal.LINK_TWICE else ByeReason.FULL)
            return
        self._dialled.pop(link, None)
        self._links[node] = link
        life = LIFE_S * (1 - LIFE_SPREAD + 2 * LIFE_SPREAD * self._chance.random())
        self._lives[link] = self._reactor.callLater(life, self.drop, node, ByeReason.REPLACED)
        self._core.link_up(node, now, is_client=link.is_client, host=link.host)
        self._core.membership.clock_said(node, hello.minute, now)
        if hello.descriptor:
            self._received(link, cell_of(Descriptors((hello.descriptor,))), now)
        self._wake()

    def _gives_way(self, node: bytes, new: Link) -> bool:
        """Whether the link that there is makes room for the new one: the one stays that the smaller id dialled."""
        old = self._links[node]
        if old.is_client is new.is_client:
            # The same side dialled again: it has lost the old one, or it would not.
            keeps_new = True
        else:
            keeps_new = new.is_client is (self._tls.node_id < node)
        if keeps_new:
            self.refusals.count(Refusal.LINK_TWICE)
            old.close(ByeReason.REPLACED)
            self._down(old)
        return keeps_new

    def link_received(self, link: Link, cells: list[Cell]) -> None:
        now = self._clock()
        for cell in cells:
            if self._links.get(link.peer_id) is not link:
                return
            self._received(link, cell, now)
        if link.rx_bytes + link.tx_bytes > MAX_BYTES:
            self.drop(link.peer_id, ByeReason.REPLACED)
        self._wake()

    def _received(self, link: Link, cell: Cell, now: float) -> None:
        try:
            self._core.receive(link.peer_id, cell, now)
        except Violation as violation:
            if violation.reason.costs == "link":
                self._core.membership.ban(link.peer_id, now)
                link.cut(violation)
                self._down(link)
            else:
                self.refusals.count(violation.reason)

    def link_blocked(self, link: Link, is_blocked: bool) -> None:
        if self._links.get(link.peer_id) is link:
            if is_blocked:
                self._blocked.add(link.peer_id)
            else:
                self._blocked.discard(link.peer_id)
                # What waited for this link has no time any more at which it is due.
                self._plan(0.0)

    def link_refused(self, link: Link, violation: Violation) -> None:
        self.refusals.count(violation.reason)
        # Only who has shown who it is can be banned: before, it could be anybody.
        if link.is_open:
            self._core.membership.ban(link.peer_id, self._clock())

    def link_lost(self, link: Link) -> None:
        if link in self._all:
            self._all.remove(link)
            self._past.update(link.counts)
        self._half_open.discard(link)
        node = self._dialled.pop(link, None)
        if node is not None:
            self._core.membership.dial_failed(node, self._clock())
        self._down(link)
        if not self._all and self._all_gone is not None:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    def _down(self, link: Link) -> None:
        life = self._lives.pop(link, None)
        if life is not None and life.active():
            life.cancel()
        node = link.peer_id
        if self._links.get(node) is link:
            del self._links[node]
            self._blocked.discard(node)
            self._core.link_down(node, self._clock())
            self._wake()

    # -- time ------------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The core has something to send that it had not when it was last asked."""
        self._wake()

    def _wake(self) -> None:
        """Flush when the core wants it; what comes in one turn of the reactor leaves together."""
        if not self._is_flushing and (when := self._core.next_at) is not None:
            self._plan(max(0.0, when - self._clock()))

    def _plan(self, wait: float) -> None:
        """Flush in so many seconds, unless it is planned for sooner."""
        if self._is_stopping:
            return
        now = self._reactor.seconds()
        at = max(now + wait, self._flushed_at + SLOT_S)
        if self._call is not None and self._call.active():
            if self._call.getTime() <= at:
                return
            self._call.cancel()
        self._call = self._reactor.callLater(at - now, self._flush)

    def _hush(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _flush(self) -> None:
        self._call, self._flushed_at = None, self._reactor.seconds()
        self._is_flushing = True
        try:
            waiting: dict[bytes, list[Cell]] = {}
            for node, cell in self._core.due(self._clock(), self._blocked, TURN):
                waiting.setdefault(node, []).append(cell)
            for node, cells in waiting.items():
                if node in self._links:
                    self._links[node].send(cells)
        except Exception:  # noqa: BLE001 - a fault of one cell must not stop all that follow
            self.log.failure("a fault while sending")
            self._fault()
        finally:
            self._is_flushing = False
        self._wake()

    def _tick(self) -> None:
        self._core.tick(self._clock())
        dialled = set(self._dialled.values())
        for descriptor in self._core.membership.wanted():
            if len(self._dialled) >= MAX_DIALS:
                break
            node, address = descriptor.node_id, descriptor.address
            if address is not None and node not in dialled and node not in self._links:
                self.connect(address, node).addErrback(self._not_reached)
        self._wake()

    def _not_reached(self, failure: Failure) -> None:
        failure.trap(GnutellaError)

    def _tick_failed(self, failure: Failure) -> None:
        self.log.failure("a fault while looking after relay links", failure)
        self._fault()
        self._ticks.start(TICK_S, now=False).addErrback(self._tick_failed)

    def _fault(self) -> None:
        self.faults += 1


class _Visits:
    """When who came, by network."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def is_full(self, network: str, now: float) -> bool:
        """Whether as many as may be came within a minute; if not, this is one more."""
        times = self._times.pop(network, deque())
        while times and now - times[0] >= MINUTE_S:
            times.popleft()
        while len(self._times) >= MAX_NETWORKS:
            del self._times[next(iter(self._times))]
        self._times[network] = times
        if len(times) >= MAX_OF_NETWORK:
            return True
        times.append(now)
        return False
