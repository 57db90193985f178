"""Random walks, and one-hop replication around any strategy; see strategies.py for what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from gnutella.lab import chance
from gnutella.lab.life import Life
from gnutella.lab.quest import Quest
from gnutella.lab.strategies import WANTED, Flooding, IStrategy, begin
from gnutella.protocol.frames import HEADER, HOPS_AT, TTL_AT, Frame, frames
from gnutella.protocol.kinds import HEADER_SIZE, QUERY, QUERY_HIT
from gnutella.protocol.message import Query
from gnutella.protocol.qrp import hashes_of, is_led_here, slot
from gnutella.protocol.words import canonical_words
from gnutella.routing.actions import Action, Flood, Send
from gnutella.units import LinkId

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: Walkers and steps of each: 1024 nodes at most are visited (Lv et al. used 16 to 64 walkers).
WALKERS = 16
STEPS = 64
CHECK_EVERY = 4
#: What a walker's header says, and a hit's on its way back: the truth would not fit the protocol's bounds.
WALK_TTL, WALK_HOPS = 3, 1
HIT_TTL, HIT_HOPS = 5, 2
#: Slots of the word tables: 2 ** 16, as LimeWire's.
TABLE_BITS = 16


@implementer(IStrategy)
class RandomWalks(Flooding):
    """Walkers; `changes_routes` makes the network ask for every chunk and every list of actions."""

    name = "random_walks"
    changes_routes = True

    def __init__(self, net: Network) -> None:
        super().__init__(net)
        self._rng = chance.source(net.seed, "walks")
        self._quests: dict[bytes, Quest] = {}
        #: (GUID, end) -> steps left of the walkers under way there, in order.
        self._under_way: dict[tuple[bytes, LinkId], list[int]] = {}
        #: Steps left of the walker that the router of a node treats now.
        self._left = 0

    def ask(self, node: LabNode, query: Query, ttl: int | None, *, keeps_hits: bool) -> Quest:
        quest = begin(self._net, node, query, keeps_hits)
        self._left = STEPS
        search = self._net.ask(node, query, WALK_TTL, quest, is_walk=True, before=self._quests.__setitem__)
        search.life.depths[node.number] = 0
        return quest

    def before(self, end: End, data: bytes) -> Sequence[Action] | None:
        if len(data) < HEADER_SIZE or end.partial:
            return None
        guid, kind, _, _, length = HEADER.unpack_from(data)
        quest = self._quests.get(guid) if kind == QUERY and length + HEADER_SIZE == len(data) else None
        if quest is None:
            return None
        life = self._net.watch.lives[guid]
        waiting = self._under_way.get((guid, end.id))
        if waiting is None:  # led to a leaf, which a walk passes by
            life.depths.setdefault(end.node.number, life.depths[end.peer.node.number] + 1)
            return None
        self._left = left = waiting.pop(0) - 1
        if not waiting:
            del self._under_way[guid, end.id]
        node = end.node
        if left > 0 and left % CHECK_EVERY == 0:
            quest.extra += 1
            if quest.found >= WANTED:
                self._left = left = 0
        if node.number not in life.depths:
            life.depths[node.number] = life.depths[end.peer.node.number] + 1
            return None
        others = [link for link, other in node.ends.items() if link != end.id and not other.peer.node.is_leaf]
        return [self._walk(guid, node, chance.pick(self._rng, others), data, left)] if left > 0 and others else []

    def narrowed(self, node: LabNode, actions: Sequence[Action]) -> Sequence[Action]:
        narrow: list[Action] = []
        starts: dict[bytes, list[tuple[LinkId, bytes]]] = {}
        for action in actions:
            if isinstance(action, Flood):
                for frame in frames(action.data):
                    narrow += self._flood(node, action.links, frame)
            elif isinstance(action, Send):
                for frame in frames(action.data):
                    if self._starts_here(node, frame):
                        starts.setdefault(frame.guid, []).append((action.link, frame.message))
                    else:
                        narrow.append(Send(action.link, self._hit(frame)))
            else:
                narrow.append(action)
        for guid, copies in starts.items():
            narrow += self._start(guid, node, copies)
        return narrow

    def _starts_here(self, node: LabNode, frame: Frame) -> bool:
        """A query that is sent to single links is its asker's, or is led to leaves, which it reaches beside the walk."""
        if frame.kind != QUERY or frame.guid not in self._quests:
            return False
        return self._net.watch.lives[frame.guid].origin == node.number

    def _flood(self, node: LabNode, links: tuple[LinkId, ...], frame: Frame) -> list[Action]:
        if frame.guid not in self._quests:
            return [Flood(links, frame.message, 1)]
        if self._left <= 0:
            return []
        return [self._walk(frame.guid, node, chance.pick(self._rng, links), frame.message, self._left)]

    def _start(self, guid: bytes, node: LabNode, copies: list[tuple[LinkId, bytes]]) -> list[Action]:
        chance.shuffle(self._rng, copies)
        chosen = [copies[number % len(copies)] for number in range(WALKERS)]
        return [self._walk(guid, node, link, message, STEPS) for link, message in chosen]

    def _walk(self, guid: bytes, node: LabNode, link: LinkId, message: bytes, left: int) -> Send:
        """One walker takes one link."""
        self._under_way.setdefault((guid, node.ends[link].peer.id), []).append(left)
        hops = 0 if self._net.watch.lives[guid].origin == node.number else WALK_HOPS
        return Send(link, pinned(message, WALK_TTL if left > 1 else 1, hops))

    def _hit(self, frame: Frame) -> bytes:
        if frame.kind != QUERY_HIT or frame.guid not in self._quests or not frame.hops:
            return frame.message
        return pinned(frame.message, HIT_TTL, HIT_HOPS)


@implementer(IStrategy)
class OneHop:
    """Any strategy, with last hops only where the neighbour's words agree, and walkers that ask whom they pass by."""

    changes_routes = True
    is_dynamic = False

    def __init__(self, net: Network, inner: IStrategy) -> None:
        self._net = net
        self._inner = inner
        self.name = f"{inner.name}_one_hop"
        self._tables: dict[int, tuple[object, frozenset[int]]] = {}
        self._wanted: dict[bytes, tuple[int, ...]] = {}

    @classmethod
    def around(cls, kind: Callable[[Network], IStrategy]) -> Callable[[Network], IStrategy]:
        """A maker."""
        return lambda net: cls(net, kind(net))

    def ask(self, node: LabNode, query: Query, ttl: int | None, *, keeps_hits: bool) -> Quest:
        return self._inner.ask(node, query, ttl, keeps_hits=keeps_hits)

    def before(self, end: End, data: bytes) -> Sequence[Action] | None:
        return self._inner.before(end, data) if self._inner.changes_routes else None

    def narrowed(self, node: LabNode, actions: Sequence[Action]) -> Sequence[Action]:
        if isinstance(self._inner, RandomWalks):
            probes = self._probes(node, actions, self._inner)
            return [*self._inner.narrowed(node, actions), *probes]
        narrow: list[Action] = []
        for action in actions:
            if isinstance(action, Flood):
                for frame in frames(action.data):
                    links = self._last_hop(node, action.links, frame)
                    if links:
                        narrow.append(Flood(links, frame.message, 1))
            elif isinstance(action, Send):
                kept = [f.message for f in frames(action.data) if self._last_hop(node, (action.link,), f)]
                if kept:
                    narrow.append(Send(action.link, b"".join(kept)))
            else:
                narrow.append(action)
        return narrow

    def _last_hop(self, node: LabNode, links: tuple[LinkId, ...], frame: Frame) -> tuple[LinkId, ...]:
        if frame.kind != QUERY or frame.ttl > 1:
            return links
        life = self._net.watch.lives.get(frame.guid)
        return (
            links if life is None else tuple(link for link in links if self._may_have(node.ends[link].peer.node, life))
        )

    def _probes(self, node: LabNode, actions: Sequence[Action], walks: RandomWalks) -> list[Action]:
        """Where a walker comes for the first time, neighbours that may have the file are asked; they pass nothing on."""
        probes: list[Action] = []
        for action in actions:
            links = action.links if isinstance(action, Flood) else (action.link,) if isinstance(action, Send) else ()
            for frame in frames(action.data) if isinstance(action, (Flood, Send)) else ():
                life = self._net.watch.lives.get(frame.guid)
                if frame.kind != QUERY or life is None or not life.is_walk:
                    continue
                for link in links:
                    peer = node.ends[link].peer.node
                    if peer.number not in life.depths and self._may_have(peer, life):
                        probes.append(walks._walk(frame.guid, node, link, frame.message, 1))
        return probes

    def _may_have(self, peer: LabNode, life: Life) -> bool:
        known = self._tables.get(peer.number)
        if known is None or known[0] is not peer.catalog:
            hashes = hashes_of(file.name for file in peer.catalog.files)
            known = peer.catalog, frozenset(value >> (32 - TABLE_BITS) for value in hashes)
            self._tables[peer.number] = known
        wanted = self._wanted.get(life.guid)
        if wanted is None:
            words = [word for word in canonical_words(life.text) if len(word) >= 3]
            wanted = self._wanted[life.guid] = tuple(slot(word, TABLE_BITS) for word in words)
        return not wanted or is_led_here(len(wanted), sum(place in known[1] for place in wanted))


def pinned(message: bytes, ttl: int, hops: int) -> bytes:
    """The message with this TTL and these hops."""
    return message[:TTL_AT] + bytes((ttl, hops)) + message[HOPS_AT + 1 :]
