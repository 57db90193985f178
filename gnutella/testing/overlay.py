"""Many routers in one process, without sockets: virtual time, latency, links that push back, all of it repeatable.

Each node is a real Router; the overlay only executes its actions, as the network edge would.  Bytes travel in order on each
wire and may be cut anywhere (`fragment`).  A wire with a capacity blocks its sender while more than that is under way.

    overlay = Overlay(random.Random(7))
    asker, relay, sharer = overlay.add("asker"), overlay.add("relay"), overlay.add("sharer", ["hello world.txt"])
    overlay.connect(asker, relay)
    overlay.connect(relay, sharer)
    guid = overlay.search(asker, "hello")
    overlay.run(5.0)
    asker.hits[guid]
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from gnutella.protocol.frames import Frame, frames, missing
from gnutella.protocol.message import Query
from gnutella.protocol.qrp import hashes_of
from gnutella.routing.actions import Action, Close, Emit, Flood, Send
from gnutella.routing.events import HitReceived
from gnutella.routing.router import LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import Shelf
from gnutella.units import Address, Guid, LinkId

DEFAULT_LATENCY_S = 0.01
TICK_S = 1.0

#: Called for each message that arrives whole: where, over which of its links, what.
Watcher = Callable[["Node", LinkId, Frame], None]


@dataclass(eq=False, slots=True)
class Node:
    """One servent of the overlay."""

    name: str
    address: Address
    router: Router
    ends: dict[LinkId, End] = field(default_factory=dict)
    hits: dict[Guid, list[HitReceived]] = field(default_factory=dict)
    events: list[object] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)

    def neighbours(self) -> list[Node]:
        return [end.peer.node for end in self.ends.values()]

    def end_towards(self, other: Node) -> End:
        """The end of the link to a neighbour."""
        return next(end for end in self.ends.values() if end.peer.node is other)


@dataclass(eq=False, slots=True)
class End:
    """One side of a link: what its node sends travels to `peer`."""

    node: Node
    link: LinkId
    latency_s: float
    capacity_bytes: int | None
    in_flight_bytes: int = 0
    is_blocked: bool = False
    is_open: bool = True
    #: Arrival of the last bytes sent, since a stream keeps its order.
    last_arrival: float = 0.0
    #: Bytes of an incomplete message at the receiver, for the watchers.
    partial: bytes = b""
    _peer: End | None = None

    @property
    def peer(self) -> End:
        assert self._peer is not None
        return self._peer


class Overlay:
    """The nodes, the wires and the clock."""

    def __init__(
        self,
        rng: Random,
        *,
        settings: RoutingSettings | None = None,
        fragment: bool = False,
        ticking: bool = True,
        routed: bool = False,
        is_dynamic: bool = False,
    ) -> None:
        self.now = 0.0
        self.nodes: dict[str, Node] = {}
        self.watchers: list[Watcher] = []
        #: Messages by kind that arrived nowhere, since their link was closed meanwhile.
        self.lost: Counter[int] = Counter()
        self._rng = rng
        self._settings = settings or RoutingSettings()
        self._fragment = fragment
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._links = 0
        self._ticking = ticking
        self._routed = routed
        self._is_dynamic = is_dynamic

    # -- building ------------------------------------------------------------------------------------------------------

    def add(self, name: str, files: Iterable[str] = (), *, is_leaf: bool = False, query_generation: int = 1000) -> Node:
        """A node that shares `files`; names are unique.  With `routed`, it tells its routing table."""
        files = list(files)
        assert name not in self.nodes
        address = Address(f"10.{len(self.nodes) >> 8}.{len(self.nodes) & 255}.1", 6346)
        router = Router(
            self._settings,
            Guid(self._rng.randbytes(16)),
            Shelf(files),
            lambda link_host: address,
            self._rng,
            allow_private=True,
            is_leaf=is_leaf,
            now=self.now,
            query_generation=query_generation,
        )
        if self._routed:
            router.set_words(hashes_of(files))
        node = self.nodes[name] = Node(name, address, router)
        if self._ticking:
            self._later(TICK_S * self._rng.random(), lambda: self._tick(node))
        return node

    def connect(
        self,
        dialler: Node,
        listener: Node,
        *,
        dialler_is_leaf: bool = False,
        latency_s: float = DEFAULT_LATENCY_S,
        capacity_bytes: int | None = None,
    ) -> tuple[End, End]:
        """A link; both routers start to talk on it."""
        ends = []
        for node in (dialler, listener):
            ends.append(End(node, LinkId(self._links), latency_s, capacity_bytes))
            self._links += 1
        near, far = ends
        near._peer, far._peer = far, near
        for end, is_leaf in ((near, False), (far, dialler_is_leaf)):
            other = end.peer.node
            end.node.ends[end.link] = end
            info = LinkInfo(
                other.address.host,
                end.node.address.host,
                is_leaf=is_leaf,
                is_ultrapeer=not is_leaf,
                incoming=end is far,
                listen=other.address,
                servent_id=other.router.servent_id,
                reads_tables=self._routed and not is_leaf,
                degree=32,
                is_dynamic=self._is_dynamic,
                extends_probes=self._is_dynamic,
            )
            self.execute(end.node, end.node.router.link_opened(end.link, info, self.now))
        return near, far

    def disconnect(self, end: End) -> None:
        """The node of this end closes; the other side learns of it after what is under way."""
        if end.is_open:
            end.is_open = False
            end.node.ends.pop(end.link, None)
            self.execute(end.node, end.node.router.link_closed(end.link, self.now))
            self._at(max(self.now + end.latency_s, end.last_arrival), lambda: self.disconnect(end.peer))

    # -- running -------------------------------------------------------------------------------------------------------

    def search(self, node: Node, text: str, ttl: int | None = None) -> Guid:
        """Ask from a node; its hits gather in `node.hits`."""
        guid, actions = node.router.search(Query(text), self.now, ttl=ttl)
        node.hits[guid] = []
        self.execute(node, actions)
        return guid

    def run(self, until: float) -> None:
        """Let everything happen up to that time."""
        while self._queue and self._queue[0][0] <= until:
            self.step()
        self.now = max(self.now, until)

    def settle(self, max_steps: int = 200_000) -> None:
        """Without ticks: let everything under way arrive.  AssertionError if it never ends."""
        assert not self._ticking
        for _ in range(max_steps):
            if not self._queue:
                return
            self.step()
        raise AssertionError("messages travel for ever")

    @property
    def waiting(self) -> int:
        """Arrivals and ticks that are still to come."""
        return len(self._queue)

    def step(self) -> None:
        """The next thing that happens."""
        self.now, _, action = heapq.heappop(self._queue)
        action()

    def execute(self, node: Node, actions: Iterable[Action]) -> None:
        """What the network edge does with actions."""
        for action in actions:
            if isinstance(action, Send):
                self._send(node, action.link, action.data)
            elif isinstance(action, Flood):
                for link in action.links:
                    self._send(node, link, action.data)
            elif isinstance(action, Emit):
                node.events.append(action.event)
                if isinstance(action.event, HitReceived):
                    node.hits.setdefault(action.event.guid, []).append(action.event)
            else:
                node.closes.append(action)
                self.disconnect(node.ends[action.link])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _send(self, node: Node, link: LinkId, data: bytes) -> None:
        end = node.ends[link]
        end.in_flight_bytes += len(data)
        for piece in self._pieces(data):
            end.last_arrival = max(end.last_arrival, self.now + end.latency_s)
            self._at(end.last_arrival, lambda piece=piece: self._arrive(end, piece))  # type: ignore[misc]
        if end.capacity_bytes is not None and end.in_flight_bytes > end.capacity_bytes and not end.is_blocked:
            end.is_blocked = True
            self.execute(node, node.router.blocked(link, self.now))

    def _pieces(self, data: bytes) -> list[bytes]:
        if not self._fragment or len(data) < 2:
            return [data]
        cut = self._rng.randrange(1, len(data))
        return [data[:cut], data[cut:]]

    def _arrive(self, end: End, data: bytes) -> None:
        peer = end.peer
        end.in_flight_bytes -= len(data)
        self._watch(end, data)
        if peer.is_open:
            self.execute(peer.node, peer.node.router.receive(peer.link, data, self.now))
        if end.is_open and end.is_blocked and end.in_flight_bytes * 2 <= (end.capacity_bytes or 0):
            end.is_blocked = False
            self.execute(end.node, end.node.router.unblocked(end.link, self.now))

    def _watch(self, end: End, data: bytes) -> None:
        data = end.partial + data
        whole = 0
        for frame in frames(data):
            whole = frame.end
            if not end.peer.is_open:
                self.lost[frame.kind] += 1
                continue
            for watcher in self.watchers:
                watcher(end.peer.node, end.peer.link, frame)
        end.partial = data[whole:]
        assert missing(end.partial) > 0

    def _tick(self, node: Node) -> None:
        self.execute(node, node.router.tick(self.now))
        self._later(TICK_S, lambda: self._tick(node))

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._at(self.now + delay_s, action)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, self._sequence, action))
        self._sequence += 1
