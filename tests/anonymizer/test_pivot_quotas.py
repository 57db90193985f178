"""What one link, and all of them, may have of a pivot; and that its tables stay within bounds whatever an origin says."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anonymizer.cells import LARGE_SIZE
from anonymizer.fields import Body
from anonymizer.inner import (
    Anchor,
    Anchored,
    Attach,
    Dummy,
    Fail,
    FetchKeys,
    Hit,
    InnerBlock,
    InnerBye,
    InnerCredit,
    InnerSeek,
    InnerStored,
    Join,
    Opened,
    StoreBlock,
)
from anonymizer.outflow import BURST, EDGE_RATE, MAX_HELD, MAX_WAITING
from anonymizer.pivot import MAX_BRIDGES, MAX_CIRCUITS, MAX_CIRCUITS_OF_EDGE
from anonymizer.pivot_blocks import MAX_WANTED
from anonymizer.pivot_searches import MAX_SEARCHES
from anonymizer.posts import seal_post
from anonymizer.reasons import Refusal
from anonymizer.wire import BlockType, CloseReason
from gnutella.errors import LocalMisuse
from gnutella.testing.pivot_world import Far, PivotWorld, content, key_of
from tests.anonymizer.strategies import instructions

CHK = BlockType.CHK
BLOCKS = [content(n) for n in range(64)]
KEYS = [key_of(routing) for routing, _ in BLOCKS]


def world_with_blocks(rate: float | None = None) -> PivotWorld:
    world = PivotWorld(rate=rate)
    for routing, block in BLOCKS:
        world.nodes[0].route.blocks[CHK, routing, False] = (block,)
    return world


def ask(far: Far, keys: list[bytes]) -> None:
    for first in range(0, len(keys), 16):
        far.say(FetchKeys(tuple(keys[first : first + 16])))


def test_one_link_brings_so_many_circuits_and_another_one_more() -> None:
    world = PivotWorld()
    fars = [world.open(edge=b"1" * 32) for _ in range(MAX_CIRCUITS_OF_EDGE + 1)]
    assert [far.ended for far in fars] == [None] * MAX_CIRCUITS_OF_EDGE + [CloseReason.REFUSED]
    assert world.open(edge=b"2" * 32).ended is None
    world.hang_up(fars[0])
    world.run(1)
    assert world.open(edge=b"1" * 32).ended is None
    assert world.nodes[0].pivot.refusals.rows() == {"pivot_edge_full": 1}


def test_all_links_bring_so_many_circuits() -> None:
    world = PivotWorld()
    for n in range(MAX_CIRCUITS):
        assert world.open(edge=bytes((n // MAX_CIRCUITS_OF_EDGE,)) * 32).ended is None
    assert world.open(edge=b"x" * 32).ended is CloseReason.REFUSED
    assert world.nodes[0].pivot.refusals.rows() == {"pivot_full": 1}


def test_a_link_has_its_rate_and_what_is_beyond_it_comes_later() -> None:
    world = world_with_blocks(EDGE_RATE)
    far, other = world.open(), world.open(edge=b"o" * 32)
    ask(far, KEYS)
    world.run(0.2)
    assert abs(len(far.heard) - BURST // LARGE_SIZE) <= 1
    ask(other, KEYS[:16])
    world.run(0.2)
    assert len(other.heard) == 16
    before = len(far.heard)
    world.run(2.0)
    assert abs(len(far.heard) - before - 2.0 * EDGE_RATE / LARGE_SIZE) <= 1
    world.run(10.0)
    assert [said.block for said in far.heard if isinstance(said, InnerBlock)] == [block for _, block in BLOCKS]


def test_circuits_of_one_link_take_turns_and_share_its_rate() -> None:
    world = world_with_blocks(EDGE_RATE)
    greedy, late = world.open(), world.open()
    ask(greedy, KEYS)
    world.run(0.5)
    begun = len(greedy.heard)
    ask(late, KEYS[:8])
    world.run(2.5)
    assert len(late.heard) == 8
    assert 8 <= len(greedy.heard) - begun <= 14


def test_a_link_that_hangs_up_and_comes_back_has_no_fresh_burst() -> None:
    world = world_with_blocks(EDGE_RATE)
    far = world.open()
    ask(far, KEYS)
    world.run(0.2)
    world.hang_up(far)
    again = world.open()
    ask(again, KEYS)
    world.run(0.5)
    assert len(again.heard) <= 8


def test_blocks_to_be_stored_cost_their_link_as_much() -> None:
    world = PivotWorld(rate=EDGE_RATE)
    far = world.open()
    for _, block in BLOCKS:
        far.say(StoreBlock(CHK, block, False))
    world.run(0.2)
    stored = world.nodes[0].route.stored
    assert abs(len(stored) - BURST // LARGE_SIZE) <= 1
    world.run(10.0)
    assert [block for _, _, block, _ in stored] == [block for _, block in BLOCKS]
    assert sum(isinstance(said, InnerStored) for said in far.heard) == len(BLOCKS)


def test_what_waits_for_all_circuits_has_a_bound() -> None:
    world = world_with_blocks()
    node = world.nodes[0]
    for n in range(MAX_HELD // (64 * len(BLOCKS[0][1])) + 1):
        far = world.open(edge=bytes((n // 32,)) * 32)
        node.rooms[far.number] = 0
        ask(far, KEYS)
        world.run(0.1)
    assert MAX_HELD - LARGE_SIZE < node.pivot.held <= MAX_HELD
    assert node.pivot.refusals[Refusal.PIVOT_BUSY] > 0


NUMBERS = st.integers(0, 7)


class Hostile(RuleBasedStateMachine):
    """Origins and providers that say anything in any order, to two pivots."""

    def __init__(self) -> None:
        super().__init__()
        self.world = PivotWorld(2)
        self.fars: list[Far] = []
        self.asked: dict[int, int] = {}
        for node in self.world.nodes:
            node.route.is_slow = True
            for routing, block in BLOCKS[:4]:
                node.route.blocks[CHK, routing, False] = (block,)

    @rule(which=st.integers(0, 1), edge=st.integers(0, 2), body=instructions())
    def open(self, which: int, edge: int, body: Body) -> None:
        self._open(which, edge, body if not isinstance(body, InnerBlock) else Dummy())

    @rule(which=st.integers(0, 1), token=st.integers(0, 2), anchor=st.booleans(), pivot=st.integers(0, 1))
    def meet(self, which: int, token: int, anchor: bool, pivot: int) -> None:
        name = bytes((token,)) * 16
        body = Anchor(name, bytes(32)) if anchor else Attach(self.world.nodes[pivot].id, name) if token else Join(name)
        self._open(which, token, body)

    def _open(self, which: int, edge: int, body: Body) -> None:
        try:
            far = self.world.open(body, self.world.nodes[which], edge=bytes((edge,)) * 32)
        except (ValueError, LocalMisuse):
            return  # no opening can say that
        if far.ended is None:
            self.fars.append(far)
            self._count(far, body)

    @rule(number=NUMBERS, body=instructions())
    def say(self, number: int, body: Body) -> None:
        self._say(number, body)

    @rule(number=NUMBERS, first=st.integers(0, 60), count=st.integers(1, 16))
    def fetch(self, number: int, first: int, count: int) -> None:
        self._say(number, FetchKeys(tuple(KEYS[first : first + count])))

    @rule(number=NUMBERS, which=NUMBERS)
    def provide(self, number: int, which: int) -> None:
        self._say(number, InnerBlock(CHK, BLOCKS[which][1]))

    @rule(number=NUMBERS, what=st.sampled_from((InnerBye(), Opened(bytes(32)), InnerCredit(1), Anchored(bytes(16)))))
    def odd(self, number: int, what: Body) -> None:
        self._say(number, what)

    @rule(number=NUMBERS, data=st.binary(min_size=1_520, max_size=1_520))
    def garbage(self, number: int, data: bytes) -> None:
        if self.fars:
            self.fars[number % len(self.fars)].say_raw(data)

    @rule(number=NUMBERS, hits=st.integers(1, 3))
    def search(self, number: int, hits: int) -> None:
        self._say(number, InnerSeek("elephant", 0, hits, bytes(32), True))

    @rule(which=st.integers(0, 1), count=st.integers(1, 5))
    def post(self, which: int, count: int) -> None:
        node = self.world.nodes[which]
        for query_id, *_ in node.seek.started[-count:]:
            hit = random.Random(count).randbytes(100)
            node.pivot.posted(
                seal_post(node.id, node.keys.public[0][1:], query_id, hit, self.world.now), self.world.now
            )

    @rule(number=NUMBERS, room=st.integers(0, 3))
    def room(self, number: int, room: int) -> None:
        if self.fars:
            far = self.fars[number % len(self.fars)]
            far.node.rooms[far.number] = room
            far.node.pivot.has_room(far.number, self.world.now)

    @rule(which=st.integers(0, 1))
    def answer(self, which: int) -> None:
        self.world.nodes[which].route.answer_all()

    @rule(number=NUMBERS)
    def hang_up(self, number: int) -> None:
        if self.fars:
            self.world.hang_up(self.fars.pop(number % len(self.fars)))

    @rule(seconds=st.sampled_from((0.05, 1.0, 70.0, 2_000.0)))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    def _say(self, number: int, body: Body) -> None:
        open_fars = [far for far in self.fars if far.ended is None and far.end is not None]
        if open_fars:
            far = open_fars[number % len(open_fars)]
            far.say(body)
            self._count(far, body)

    def _count(self, far: Far, body: Body) -> None:
        """How many answers that may bring."""
        most = {FetchKeys: 16, StoreBlock: 1, InnerSeek: 5, Anchor: 1, Attach: 1, Join: 1}.get(type(body), 0)
        if isinstance(body, FetchKeys):
            most = 2 * len(body.keys)
        self.asked[id(far)] = self.asked.get(id(far), 0) + most

    @invariant()
    def nothing_is_said_that_was_not_asked_for(self) -> None:
        for far in self.fars:
            answers = [said for said in far.heard if not isinstance(said, FetchKeys | Hit)]
            assert len(answers) <= self.asked.get(id(far), 0)
            blocks = [said.block for said in answers if isinstance(said, InnerBlock)]
            fails = [said.routing for said in answers if isinstance(said, Fail)]
            assert len(blocks) + len(fails) <= self.asked.get(id(far), 0)

    @invariant()
    def tables_are_bounded_and_whole(self) -> None:
        for node in self.world.nodes:
            pivot = node.pivot
            assert pivot.circuits <= 3 * MAX_CIRCUITS_OF_EDGE
            assert pivot.bridges <= MAX_BRIDGES
            assert pivot.searches <= pivot.circuits * MAX_SEARCHES
            assert 0 <= pivot.held <= MAX_HELD
            for visit in pivot._visits.values():
                assert len(visit.waiting) <= MAX_WAITING
                assert len(visit.wants) <= MAX_WANTED
                assert visit.stores >= 0
            if not pivot.circuits:
                assert (pivot.held, pivot.searches, pivot.anchors, pivot.bridges) == (0, 0, 0, 0)


TestHostile = Hostile.TestCase
TestHostile.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
