"""Many routers together: what holds in the whole overlay, whatever happens in it."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import PING, PONG, QUERY, QUERY_HIT
from gnutella.protocol.message import Push
from gnutella.routing.events import HostLearned, PushReceived
from gnutella.settings import RoutingSettings
from gnutella.testing.overlay import Node, Overlay
from gnutella.units import Guid, LinkId

MAX_TTL = 5
FILES = ("alpha song.ogg", "beta song.ogg", "gamma text.txt", "delta.iso")
NUMBERS = st.integers(0, 50)
WORDS = ("song", "alpha", "text", "nothing", "iso")


def is_leaf(node: Node) -> bool:
    return node.name.startswith("leaf")


def line(length: int, *, seed: int = 1, fragment: bool = False) -> tuple[Overlay, list[Node]]:
    """n0 - n1 - n2 - ..., the last one shares a song."""
    overlay = Overlay(random.Random(seed), fragment=fragment, ticking=False)
    nodes = [overlay.add(f"n{number}", FILES[:1] if number == length - 1 else ()) for number in range(length)]
    for left, right in itertools.pairwise(nodes):
        overlay.connect(left, right)
    overlay.settle()
    return overlay, nodes


def test_a_search_finds_what_its_ttl_reaches_and_nothing_beyond() -> None:
    overlay, nodes = line(6)
    near, far = overlay.search(nodes[0], "song", ttl=4), overlay.search(nodes[0], "song", ttl=5)
    overlay.settle()
    assert nodes[0].hits[near] == []
    (hit,) = nodes[0].hits[far]
    assert hit.hops == 5
    assert hit.hit.servent_id == nodes[5].router.servent_id


def test_a_push_finds_the_servent_behind_a_hit() -> None:
    overlay, nodes = line(4)
    overlay.search(nodes[0], "song")
    overlay.settle()
    push = Push(nodes[3].router.servent_id, 1, nodes[0].address)
    sent, actions = nodes[0].router.send_push(push, overlay.now)
    assert sent
    overlay.execute(nodes[0], actions)
    overlay.settle()
    assert [event.push for event in nodes[3].events if isinstance(event, PushReceived)] == [push]
    assert not any(isinstance(event, PushReceived) for node in nodes[:3] for event in node.events)


def test_a_hit_is_lost_when_the_way_back_closed_and_says_so() -> None:
    overlay, nodes = line(3)
    guid = overlay.search(nodes[0], "song")
    while not nodes[2].router.counters.results_sent:
        overlay.step()
    overlay.disconnect(nodes[1].end_towards(nodes[0]))
    overlay.settle()
    assert nodes[0].hits[guid] == []
    assert nodes[1].router.counters.dropped() == {"route_gone": 1}


def test_addresses_spread_by_pings_and_pongs() -> None:
    overlay = Overlay(random.Random(3))
    nodes = [overlay.add(f"n{number}") for number in range(5)]
    for left, right in itertools.pairwise(nodes):
        overlay.connect(left, right)
    overlay.run(120.0)
    learned = {event.address for event in nodes[0].events if isinstance(event, HostLearned)}
    assert learned == {node.address for node in nodes[1:]}
    assert not any(node.closes for node in nodes)


def test_a_dead_neighbour_is_noticed() -> None:
    overlay = Overlay(random.Random(3))
    alive, dead = overlay.add("alive"), overlay.add("dead")
    end, _ = overlay.connect(alive, dead)
    overlay.run(10.0)
    end.peer.is_open = False  # The host is gone: bytes vanish, nothing is said.
    dead.ends.clear()
    dead.router.link_closed(end.peer.link, 10.0)
    overlay.run(400.0)
    assert [close.reason.value for close in alive.closes] == ["no_alive_reply"]


def test_the_same_seed_gives_the_same_story() -> None:
    def story() -> list[tuple[float, int, bytes]]:
        overlay = Overlay(random.Random(11), fragment=True)
        nodes = [overlay.add(f"n{number}", FILES) for number in range(6)]
        for number in range(1, 6):
            overlay.connect(nodes[number], nodes[number // 2], dialler_is_leaf=number == 5)
        told: list[tuple[float, int, bytes]] = []
        overlay.watchers.append(lambda node, link, frame: told.append((overlay.now, link, frame.message)))
        overlay.search(nodes[4], "song")
        overlay.run(100.0)
        return told

    first = story()
    assert len(first) > 50
    assert first == story()


class AnyOverlay(RuleBasedStateMachine):
    """Nodes and links come and go, searches run, links push back; the rules of a sound overlay hold at each step."""

    def __init__(self) -> None:
        super().__init__()
        config = RoutingSettings(max_ttl=MAX_TTL, query_ttl=MAX_TTL)
        self.overlay = Overlay(random.Random(5), settings=config, fragment=True, ticking=False)
        self.overlay.watchers.append(self.arrived)
        self.arrivals: Counter[int] = Counter()
        self.first_from: dict[tuple[Node, Guid], LinkId] = {}
        self.askers: dict[Guid, Node] = {}
        self.passed: set[tuple[LinkId, Guid]] = set()
        self.answered: set[tuple[Node, Guid]] = set()

    # -- what must hold for each message that arrives ------------------------------------------------------------------

    def arrived(self, node: Node, link: LinkId, frame: Frame) -> None:
        self.arrivals[frame.kind] += 1
        sender = node.ends[link].peer
        assert frame.ttl >= 1
        assert frame.hops == 0 or not is_leaf(sender.node), "a leaf never relays"
        if frame.kind == QUERY:
            assert frame.ttl + frame.hops <= MAX_TTL + is_leaf(node), "no query outlives its TTL"
            assert (link, frame.guid) not in self.passed, "no query passes a link twice"
            assert self.first_from.get((sender.node, frame.guid)) != sender.link, "no query goes back to its source"
            self.passed.add((link, frame.guid))
            self.first_from.setdefault((node, frame.guid), link)
        if frame.kind == QUERY_HIT:
            assert self.askers[frame.guid] is not sender.node
            assert self.first_from[sender.node, frame.guid] == sender.link, "hits travel back along the path alone"
            if frame.hops == 0:
                assert (sender.node, frame.guid) not in self.answered, "no query is answered twice"
                self.answered.add((sender.node, frame.guid))

    # -- what happens --------------------------------------------------------------------------------------------------

    @initialize()
    def two_nodes(self) -> None:
        self.overlay.connect(self.overlay.add("up0", FILES[:1]), self.overlay.add("up1", FILES[1:2]))

    def relay(self, number: int) -> Node:
        relays = [node for node in self.overlay.nodes.values() if not is_leaf(node)]
        return relays[number % len(relays)]

    @rule(
        shared=st.sets(st.sampled_from(FILES)),
        to=NUMBERS,
        leaf=st.booleans(),
        capacity=st.none() | st.integers(30, 200),
    )
    @precondition(lambda self: len(self.overlay.nodes) < 12)
    def a_node_joins(self, shared: set[str], to: int, leaf: bool, capacity: int | None) -> None:
        neighbour = self.relay(to)
        name = f"{'leaf' if leaf else 'up'}{len(self.overlay.nodes)}"
        node = self.overlay.add(name, sorted(shared))
        self.overlay.connect(node, neighbour, dialler_is_leaf=leaf, capacity_bytes=capacity)

    @rule(left=NUMBERS, right=NUMBERS, latency=st.floats(0.001, 0.5))
    def a_link_more(self, left: int, right: int, latency: float) -> None:
        one, other = self.relay(left), self.relay(right)
        if one is not other and other not in one.neighbours():
            self.overlay.connect(one, other, latency_s=latency)

    @rule(number=NUMBERS, link=NUMBERS)
    def a_link_less(self, number: int, link: int) -> None:
        ends = list(self.relay(number).ends.values())
        if ends:
            self.overlay.disconnect(ends[link % len(ends)])

    @rule(number=NUMBERS, words=st.sampled_from(WORDS), ttl=st.integers(1, MAX_TTL))
    def a_search(self, number: int, words: str, ttl: int) -> None:
        nodes = list(self.overlay.nodes.values())
        node = nodes[number % len(nodes)]
        self.askers[self.overlay.search(node, words, ttl=ttl)] = node

    @rule(steps=st.integers(1, 30))
    def some_arrive(self, steps: int) -> None:
        for _ in range(min(steps, self.overlay.waiting)):
            self.overlay.step()

    @rule()
    def all_arrive(self) -> None:
        self.overlay.settle()
        for kind in (PING, PONG, QUERY, QUERY_HIT):
            rows = [node.router.counters.messages[kind] for node in self.overlay.nodes.values()]
            assert sum(row.rx for row in rows) == self.arrivals[kind]
            assert sum(row.tx for row in rows) == self.arrivals[kind] + self.overlay.lost[kind]

    # -- what holds at any time ----------------------------------------------------------------------------------------

    @invariant()
    def links_agree_with_their_routers(self) -> None:
        for node in self.overlay.nodes.values():
            assert node.router.links() == list(node.ends)
            assert not node.closes, "nobody misbehaves here"

    @invariant()
    def hits_belong_to_own_searches(self) -> None:
        for node in self.overlay.nodes.values():
            assert all(self.askers.get(guid) is node for guid, hits in node.hits.items() if hits)

    def teardown(self) -> None:
        self.all_arrive()


AnyOverlay.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestAnyOverlay = AnyOverlay.TestCase
