"""The virtual network: nodes joined by links, and what becomes of the bytes on them.

It is the lab's counterpart of gnutella/network: it executes the actions of each node's router, only that a link is a delay
in virtual time.  A plain link (nothing but latency) costs one entry of the clock for each write; an imperfect one has a
`Stream` (stream.py) in each direction that needs it.

    net = Network(seed=7)
    alice, bob = net.add("alice"), net.add("bob", files=[shared_file(1, "hello world.txt")])
    net.connect(alice, bob)
    search = net.search(alice, "hello")
    net.clock.run(5.0)
    search.hits
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec import structs

from gnutella.errors import LocalMisuse
from gnutella.lab import chance
from gnutella.lab.addresses import MAX_NODES, Addresses
from gnutella.lab.clock import Clock
from gnutella.lab.end import End, messages_in
from gnutella.lab.heads import Heads
from gnutella.lab.holders import Holders
from gnutella.lab.joining import Handshake
from gnutella.lab.node import LabNode, Search
from gnutella.lab.quest import Quest
from gnutella.lab.record import Record
from gnutella.lab.strategies import Flooding, IStrategy, begin
from gnutella.lab.stream import Fault, Line, Stream
from gnutella.lab.watch import Watch
from gnutella.lab.ways import maker_of
from gnutella.protocol.message import Bye, Query, encode
from gnutella.protocol.query import make_query
from gnutella.routing.actions import Action, Close, Emit, Flood, Send
from gnutella.routing.events import PushReceived
from gnutella.routing.guids import fresh_guid
from gnutella.routing.router import LinkInfo
from gnutella.settings import RoutingSettings
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.units import Address, Guid, LinkId

#: How often each node does what is due (router.tick).
TICK_S = 1.0
#: How long a power failure of the other side stays unnoticed by a stream that has bytes to send: Linux' tcp_retries2.
DEAF_S = 924.6
_BYE_LEAVING = (200, "leaving")


class Network:
    """All nodes, links and the clock of one run."""

    def __init__(
        self,
        seed: int = 1,
        *,
        routing: RoutingSettings | None = None,
        line: Line | None = None,
        is_strict: bool = True,
        keeps_events: bool = False,
        watch: bool = True,
    ) -> None:
        self.seed = seed
        self.clock = Clock()
        self.record = Record(keeps=keeps_events)
        #: Headers and GUIDs, each read and kept once for all nodes.
        self.heads = Heads()
        self.watch = Watch(self.heads, is_strict=is_strict)
        self.nodes: dict[str, LabNode] = {}
        self.routing = structs.replace(routing or RoutingSettings(trace="off"), dynamic_queries=False)
        self.line = line or Line()
        self.strategy: IStrategy | None = None
        self._routes: IStrategy | None = None
        self.deliveries = 0
        self.all_ends: list[End] = []
        #: Who answers pushes, if there are transfers.
        self.push_received: Callable[[LabNode, PushReceived], object] | None = None
        #: Told when a node went down (True: by a power failure; None: in order), and when it is up again.
        self.went_down: Callable[[LabNode, bool | None], object] | None = None
        self.came_up: Callable[[LabNode], object] | None = None
        self._watches = watch
        self._ends = 0
        #: Sides that closed while their stream was held: the others do not know it yet.
        self._unheard: list[End] = []
        self._sides: Mapping[str, int] | None = None
        self._shared: dict[bytes, bytes] = {}
        self._holders = Holders(self.nodes)
        self._by_address: dict[Address, LabNode] = {}
        self._addresses = Addresses()

    def use(self, name: str) -> None:
        """Ask all questions in the way of that strategy (STRATEGIES) from now on."""
        make = maker_of(name)
        if make is None:
            raise LocalMisuse(f"there is no strategy {name!r}")
        self.strategy = strategy = make(self)
        self.routing = structs.replace(self.routing, dynamic_queries=strategy.is_dynamic)
        self._routes = strategy if strategy.changes_routes else None
        self.watch.checks_counters = self._routes is None

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        files: Iterable[SharedFile] = (),
        *,
        is_leaf: bool = False,
        is_ultrapeer: bool = False,
        is_firewalled: bool = False,
        nat: str = "",
        routing: RoutingSettings | None = None,
        query_generation: int | None = None,
    ) -> LabNode:
        """A node that is up, and has no links yet.  Names are unique."""
        number = len(self.nodes)
        if name in self.nodes or number >= MAX_NODES:
            raise LocalMisuse(f"node {name!r} exists")
        address = self._addresses.give(number, nat)
        rng = chance.source(self.seed, "node", name)
        node = LabNode(
            name, number, address, Catalog.build(files), routing or self.routing, rng, self.heads.__getitem__
        )
        node.is_ultrapeer = is_ultrapeer
        node.is_leaf, node.is_firewalled, node.nat = is_leaf, is_firewalled or bool(nat), nat
        if query_generation is not None:
            node.query_generation = query_generation
        self.nodes[name] = self._by_address[address] = node
        self._holders.changed()
        node.start(self.clock.now)
        self.record.note(self.clock.now, name, "up")
        self.clock.after(chance.between(rng, 0.0, TICK_S), self._tick, node, node.lives)
        return node

    def node_at(self, address: Address) -> LabNode | None:
        """Who has that address."""
        return self._by_address.get(address)

    def kill(self, node: LabNode, *, is_power_failure: bool = False) -> None:
        """The process dies: its links break.  With a power failure nobody is told, and peers find out by themselves."""
        self.record.note(self.clock.now, node.name, "power failure" if is_power_failure else "killed")
        self._down(node, is_power_failure)

    def leave(self, node: LabNode) -> None:
        """The node says Bye to its peers and stops."""
        self.record.note(self.clock.now, node.name, "leaves")
        for end in list(node.ends.values()):
            self.say_bye(end, *_BYE_LEAVING)
        self._down(node, None)

    def revive(self, node: LabNode) -> None:
        """The node starts again, without links and memories, under its old servent id."""
        if not node.is_up:
            self.record.note(self.clock.now, node.name, "up")
            node.start(self.clock.now)
            self.watch.forget(node)
            if self.came_up is not None:
                self.came_up(node)
            self.clock.after(chance.between(node.rng, 0.0, TICK_S), self._tick, node, node.lives)

    def _down(self, node: LabNode, is_power_failure: bool | None) -> None:
        node.is_up, node.is_dark = False, bool(is_power_failure)
        node.lives += 1
        for end in [*node.ends.values(), *node.opening.values()]:
            if is_power_failure:
                self._vanish(end)
            else:
                self._close(end, "")
        if self.went_down is not None:
            self.went_down(node, is_power_failure)

    # -- links ---------------------------------------------------------------------------------------------------------

    def connect(
        self, dialler: LabNode, listener: LabNode, line: Line | None = None, *, full: bool = False
    ) -> End | None:
        """A link between nodes that are up; None when the listener cannot be reached, or a leaf may have no such link.

        Both sides know each other at once unless `full`, or when one looks after its links: then the production handshake
        machines talk first.
        """
        has_room = dialler.has_room_for(listener) and listener.has_room_for(dialler)
        if dialler is listener or not has_room or not self.reaches(dialler, listener):
            return None
        near, far = self._pair(dialler, listener, line or self.line)
        near.is_link = far.is_link = far.is_incoming = True
        if full or dialler.keeper is not None or listener.keeper is not None:
            Handshake.begin(self, near, far)
        else:
            for end in (near, far):
                self.opened(end, end.node.info_of(end.peer.node, is_incoming=end is far))
        return near

    def reaches(self, dialler: LabNode, listener: LabNode) -> bool:
        """Whether a connection can be made now."""
        parted = self._sides is not None and self._sides.get(dialler.name) != self._sides.get(listener.name)
        is_inside = listener.nat and listener.nat == dialler.nat
        return dialler.is_up and listener.is_up and not parted and (not listener.is_firewalled or bool(is_inside))

    def call(self, dialler: LabNode, listener: LabNode, line: Line, answer: Callable[[End], object]) -> End | None:
        """A connection that is no link, as transfers use; `answer` gives the listener's side its talk."""
        if not self.reaches(dialler, listener) or dialler is listener:
            return None
        near, far = self._pair(dialler, listener, line)
        for end in (near, far):
            end.is_transfer = True
        answer(far)
        return near

    def _pair(self, dialler: LabNode, listener: LabNode, line: Line) -> tuple[End, End]:
        ends = []
        for node in (dialler, listener):
            self._ends += 1
            end = End(LinkId(self._ends), node, line, line.latency_s)
            if not line.is_plain:
                end.stream = Stream(line, chance.source(self.seed, "wire", self._ends))
            ends.append(end)
        ends[0].join(ends[1])
        self.all_ends += ends
        for end in ends:
            end.node.opening[end.id] = end
        return ends[0], ends[1]

    def opened(self, end: End, info: LinkInfo) -> None:
        """This side's handshake is done: its router takes over."""
        node = end.node
        node.opening.pop(end.id, None)
        node.ends[end.id] = end
        end.is_ready, end.info = True, info
        self.record.note(self.clock.now, node.name, "link", f"{end.id} {end.peer.node.name}")
        self.cause(node, node.router.link_opened(end.id, info, self.clock.now))

    def stream_of(self, end: End) -> Stream:
        """The stream of what this side sends, made when it was plain until now."""
        if end.stream is None:
            end.stream = Stream(end.line, chance.source(self.seed, "wire", end.id))
            end.stream.offset = 0
            end.stream.last_arrival = self.clock.now + end.latency_s
        return end.stream

    def add_fault(self, end: End, fault: Fault) -> None:
        """Let a fault strike what this side sends; `at_byte` counts from now on."""
        stream = self.stream_of(end)
        stream.add(replace(fault, at_byte=stream.offset + fault.at_byte))
        if fault.kind == "corrupt":
            end.peer.is_damaged = True

    def disconnect(self, end: End, reason: str = "") -> None:
        """This side closes the link in order; what it sent still arrives."""
        self._close(end, reason)

    def broken(self, end: End) -> None:
        """The link is gone for both sides, and with it all that is on the way."""
        for side in (end, end.peer):
            if side.stream is not None:
                side.stream.release(self, side)
        for side in (end, end.peer):
            self._forget(side, "broken")

    def _close(self, end: End, reason: str) -> None:
        if not end.is_open:
            return
        self._forget(end, reason)
        at = self.clock.now + end.latency_s
        if end.stream is not None:
            if end.stream.held is not None:
                self._unheard.append(end)
                return
            at = max(at, end.stream.last_arrival)
        self.clock.at(at, self._forget, end.peer, "closed by peer")

    def drained(self, end: End) -> None:
        """What a side that closed during a partition had sent is on its way; after it comes the end of the link."""
        assert end.stream is not None
        self.clock.at(end.stream.last_arrival, self._forget, end.peer, "closed by peer")

    def struck(self, end: End, kind: str, at_byte: int) -> None:
        """A fault struck what this side sends."""
        self.record.note(self.clock.now, end.node.name, f"fault {kind}", f"{end.peer.node.name} {at_byte}")

    def _vanish(self, end: End) -> None:
        self._forget(end, "vanished")
        self.stream_of(end.peer).hold(self, end.peer, DEAF_S)

    def _forget(self, end: End, reason: str) -> None:
        if not end.is_open:
            return
        end.is_open = end.is_ready = False
        node = end.node
        node.opening.pop(end.id, None)
        if end.talk is not None:
            talk, end.talk = end.talk, None
            talk.closed(end)
        if node.ends.pop(end.id, None) is not None:
            self.record.note(self.clock.now, node.name, "unlink", f"{end.id} {reason}")
            if node.is_up:
                self.cause(node, node.router.link_closed(end.id, self.clock.now))
                if node.keeper is not None:
                    node.keeper.lost(end, reason)

    # -- questions -----------------------------------------------------------------------------------------------------

    def ask(
        self,
        node: LabNode,
        query: Query,
        ttl: int | None = None,
        quest: Quest | None = None,
        *,
        is_walk: bool = False,
        before: Callable[[Guid, Quest], None] | None = None,
    ) -> Search:
        """One query of that node's user, as part of a quest; `before` is told its GUID before anything is sent."""
        now = self.clock.now
        guid = fresh_guid(node.rng)
        ttl = node.settings.query_ttl if ttl is None else ttl
        if quest is None:
            quest = begin(self, node, query, True)
        self.record.note(now, node.name, "asks", f"{guid.hex()} {quest.text}")
        self.watch.time = now
        life = self.watch.asked(guid, node, ttl, quest.text, len(self.nodes))
        life.is_walk = is_walk
        quest.lives.append(life)
        search = node.searches[guid] = Search(guid, now, life, quest)
        if before is not None:
            before(guid, quest)
        _, actions = node.router.search(query, now, guid, ttl)
        self.cause(node, actions)
        return search

    def search(self, node: LabNode, text: str, ttl: int | None = None, *, keeps_hits: bool = True) -> Quest:
        """Ask words, in the way of the network's strategy."""
        strategy = self.strategy or Flooding(self)
        return strategy.ask(node, make_query(text), ttl, keeps_hits=keeps_hits)

    def expected(self, asker: LabNode, query: Query) -> int:
        """How many files at running nodes but the asker match, whether or not anything leads there."""
        return self._holders.expected(asker, query)

    def publish(self, node: LabNode, files: Iterable[SharedFile]) -> None:
        """The node shares more files from now on."""
        node.share(files)
        self._holders.changed()
        self.record.note(self.clock.now, node.name, "shares", str(node.catalog.file_count))

    def shared_bytes(self, value: bytes) -> bytes:
        """The one object for these bytes, so that a hash seen a thousand times is kept once."""
        return self._shared.setdefault(value, value)

    # -- partitions ----------------------------------------------------------------------------------------------------

    def partition(self, sides: Sequence[Iterable[str]]) -> None:
        """Nothing passes between the groups, and between a group and who is in none, until `heal`."""
        self._sides = {name: number for number, names in enumerate(sides, 1) for name in names}
        self.record.note(self.clock.now, "", "partition", str(len(sides)))
        for end in self.connections():
            if self._sides.get(end.node.name) != self._sides.get(end.peer.node.name):
                self.stream_of(end).hold(self, end)

    def heal(self) -> None:
        """All groups hear each other again."""
        self._sides = None
        self.record.note(self.clock.now, "", "heal")
        unheard, self._unheard = self._unheard, []
        for end in [*self.connections(), *unheard]:
            if end.stream is not None and end.stream.held is not None and end.peer.is_open:
                end.stream.release(self, end)

    def ends(self) -> list[End]:
        """Both sides of all open links, in order of their numbers."""
        return [end for node in self.nodes.values() for end in node.ends.values()]

    def connections(self) -> list[End]:
        """The same of all connections: also those that shake hands, and transfers."""
        return [end for node in self.nodes.values() for end in (*node.ends.values(), *node.opening.values())]

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def cause(self, node: LabNode, actions: Sequence[Action]) -> None:
        """Execute what a router gave without a message having arrived."""
        if actions:
            self.watch.time = self.clock.now
            self.watch.begin()
            self.execute(node, actions)

    def execute(self, node: LabNode, actions: Sequence[Action]) -> None:
        """What the network edge does with actions."""
        if self._routes is not None:
            actions = self._routes.narrowed(node, actions)
        self._put(node, actions)

    def _put(self, node: LabNode, actions: Sequence[Action]) -> None:
        if self._watches:
            self.watch.sent(node, actions)
        ends, now, plan, deliver = node.ends, self.clock.now, self.clock.at, self.deliver
        for action in actions:
            if type(action) is Flood:
                data = self.heads.same(action.data)
                for link in action.links:
                    end = ends[link]
                    if end.stream is None:
                        plan(now + end.latency_s, deliver, end.peer, data)
                    else:
                        end.stream.send(self, end, data)
            elif type(action) is Send:
                self.transmit(ends[action.link], action.data)
            elif type(action) is Emit:
                node.take(action.event, now, self)
            elif type(action) is Close:
                self._obey_close(node, action)

    def transmit(self, end: End, data: bytes) -> None:
        """Put bytes into a link."""
        if end.stream is None:
            self.clock.after(end.latency_s, self.deliver, end.peer, data)
        else:
            end.stream.send(self, end, data)

    def deliver(self, end: End, data: bytes) -> None:
        """Bytes reach the side `end`."""
        if not end.is_ready:
            if end.talk is not None and end.is_open:
                end.talk.receive(end, data)
            elif end.peer.sent:
                end.peer.lost += messages_in(data)
            return
        node, now = end.node, self.clock.now
        self.deliveries += 1
        self.record.arrival(now, end.id, data)
        if self._routes is not None and self._went_elsewhere(self._routes, end, data):
            return
        if self._watches:
            watch = self.watch
            watch.time = now
            watch.arrived(end, data)
        node.hearing = end.id
        actions = node.router.receive(end.id, data, now)
        if actions:
            self.execute(node, actions)

    def _went_elsewhere(self, routes: IStrategy, end: End, data: bytes) -> bool:
        """Whether a strategy has passed a chunk on itself; the router is not shown it then."""
        actions = routes.before(end, data)
        if actions is None:
            return False
        end.arrived += 1
        self._put(end.node, actions)
        return True

    def block(self, end: End) -> None:
        """The stream of this side takes no more."""
        self.cause(end.node, end.node.router.blocked(end.id, self.clock.now))

    def unblock(self, end: End) -> None:
        """The stream of this side takes bytes again."""
        self.cause(end.node, end.node.router.unblocked(end.id, self.clock.now))

    def _obey_close(self, node: LabNode, action: Close) -> None:
        end = node.ends.get(action.link)
        if end is None:
            return
        node.closes[action.reason] = node.closes.get(action.reason, 0) + 1
        if action.reason.bye:
            self.say_bye(end, action.reason.bye, action.reason.meaning)
        self._close(end, action.reason.value)

    def say_bye(self, end: End, code: int, text: str, headers: str = "") -> None:
        """A Bye is sent by the edge, not by the router, whose counters do not have it."""
        end.sent += 1
        self.transmit(end, encode(fresh_guid(end.node.rng), 1, 0, Bye(code, text, headers)))

    def change(self, node: LabNode, key: str, value: int) -> None:
        """Change one thing of a running node: firewalled, busy, query_ttl."""
        self.record.note(self.clock.now, node.name, "set", f"{key} {value}")
        node.change(key, value)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _tick(self, node: LabNode, life: int) -> None:
        if not node.is_up or node.lives != life:
            return
        now = self.clock.now
        self.cause(node, node.router.tick(now))
        if node.keeper is not None:
            node.keeper.tick(now)
        if self._watches:
            self.watch.time = now
            self.watch.bounds(node)
        self.clock.after(TICK_S, self._tick, node, life)
