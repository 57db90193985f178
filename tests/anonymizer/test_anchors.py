"""Blocks from providers whom nobody meets: tokens, bridges, and what becomes of them when somebody goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anonymizer.anchors import MAX_TOKENS_OF_CIRCUIT, SILENT_S, TOKEN_S, Tokens
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
    InnerSeek,
    Join,
    place_of,
)
from anonymizer.pivot import MAX_ATTACHES, MAX_BRIDGES, MAX_SOURCES
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.pivot_world import Far, PivotWorld, content, key_of

CHK = BlockType.CHK
TOKEN = b"t" * 16
BLOCKS = dict(content(n) for n in range(40))
KEYS = [key_of(routing) for routing in BLOCKS]


def serve(far: Far, said: Body) -> None:
    """An honest provider."""
    if isinstance(said, FetchKeys):
        for key in said.keys:
            block = BLOCKS.get(key[1:])
            far.say(InnerBlock(CHK, block) if block else Fail(FailReason.NOT_FOUND, key[1:]))


class Meeting:
    """A provider at the second pivot, and an origin at the first that attaches to it."""

    def __init__(
        self, react: Callable[[Far, Body], None] = serve, *, at_own_pivot: bool = False, first: Body | None = None
    ) -> None:
        self.world = PivotWorld(3)
        self.near, self.far = self.world.nodes[0], self.world.nodes[0 if at_own_pivot else 1]
        self.provider = self.world.open(Anchor(TOKEN, bytes(32)), self.far, edge=b"p" * 32)
        self.provider.react = react
        self.origin = self.world.open(first or Attach(self.far.id, TOKEN), self.near)
        self.world.run(1)

    def fetch(self, *keys: bytes) -> list[Body]:
        self.origin.heard.clear()
        self.origin.say(FetchKeys(keys))
        self.world.run(5)
        return self.origin.heard


def test_an_anchor_is_listed_and_its_provider_told() -> None:
    meeting = Meeting()
    assert meeting.provider.heard == [Anchored(TOKEN)]
    assert (meeting.far.pivot.anchors, meeting.near.pivot.bridges) == (1, 1)
    assert meeting.origin.heard == []


@pytest.mark.parametrize("at_own_pivot", [False, True])
def test_what_the_route_has_not_comes_from_the_provider(at_own_pivot: bool) -> None:
    meeting = Meeting(at_own_pivot=at_own_pivot)
    assert meeting.fetch(*KEYS[:16]) == [InnerBlock(CHK, BLOCKS[key[1:]]) for key in KEYS[:16]]
    assert len(meeting.near.route.asked) == 16
    # It is asked first from now on, and the route after it.
    assert meeting.fetch(*KEYS[16:18]) == [InnerBlock(CHK, BLOCKS[key[1:]]) for key in KEYS[16:18]]
    assert len(meeting.near.route.asked) == 16
    assert meeting.fetch(key_of(bytes(32)), key_of(bytes(32), BlockType.SSK)) == [
        Fail(FailReason.NOT_FOUND, bytes(32)),
        Fail(FailReason.NOT_FOUND, bytes(32)),
    ]
    assert len(meeting.near.route.asked) == 19
    assert meeting.far.route.asked == [] or at_own_pivot


def test_keys_that_are_asked_before_the_bridge_is_open_wait_for_it() -> None:
    meeting = Meeting()
    origin = meeting.world.open(Attach(meeting.far.id, TOKEN), meeting.near)
    origin.say(FetchKeys(tuple(KEYS[:16])))
    origin.say(FetchKeys(tuple(KEYS[16:32])))
    meeting.world.run(5)
    assert origin.heard == [InnerBlock(CHK, BLOCKS[key[1:]]) for key in KEYS[:32]]


def test_a_provider_may_be_met_at_three_pivots_and_any_of_them_will_do() -> None:
    world = PivotWorld(4)
    providers = [world.open(Anchor(TOKEN, bytes(32)), node) for node in world.nodes[1:]]
    for far in providers:
        far.react = serve
    origin = world.open(Attach(world.nodes[1].id, TOKEN))
    for node in world.nodes[2:]:
        origin.say(Attach(node.id, TOKEN))
    origin.say(FetchKeys(tuple(KEYS[:16])))
    world.run(5)
    assert {said.block for said in origin.heard if isinstance(said, InnerBlock)} == {
        BLOCKS[key[1:]] for key in KEYS[:16]
    }
    assert all(any(isinstance(said, FetchKeys) for said in far.heard) for far in providers)
    for far in providers[:2]:
        world.hang_up(far)
    world.run(1)
    origin.heard.clear()
    origin.say(FetchKeys(tuple(KEYS[16:32])))
    world.run(5)
    assert sum(isinstance(said, InnerBlock) for said in origin.heard) == 16
    world.hang_up(providers[2])
    world.run(1)
    origin.heard.clear()
    origin.say(FetchKeys((KEYS[33], KEYS[34])))
    world.run(5)
    assert origin.heard == [Fail(FailReason.PROVIDER_GONE, key[1:]) for key in KEYS[33:35]]


def test_only_a_pivot_joins_and_once() -> None:
    meeting = Meeting()
    other = meeting.world.open(Join(TOKEN), meeting.far)
    other.say(FetchKeys((KEYS[0], key_of(bytes(32)))))
    meeting.world.run(5)
    assert other.heard == [InnerBlock(CHK, BLOCKS[KEYS[0][1:]]), Fail(FailReason.NOT_FOUND, bytes(32))]
    assert meeting.far.route.asked == []
    for far in (other, meeting.origin):
        far.say(Join(TOKEN))
        meeting.world.run(1)
        assert far.ended is CloseReason.DONE


def test_two_who_ask_for_one_block_get_it_and_its_provider_is_asked_once() -> None:
    asked: list[Body] = []
    meeting = Meeting(lambda far, said: asked.append(said))
    other = meeting.world.open(Attach(meeting.far.id, TOKEN), meeting.world.nodes[2])
    for far in (meeting.origin, other):
        far.say(FetchKeys((KEYS[0],)))
    meeting.world.run(1)
    assert asked == [FetchKeys((KEYS[0],))]
    serve(meeting.provider, asked[0])
    meeting.world.run(1)
    assert meeting.origin.heard == other.heard == [InnerBlock(CHK, BLOCKS[KEYS[0][1:]])]


def test_a_block_that_was_not_asked_for_and_one_that_is_none_go_nowhere() -> None:
    def lie(far: Far, said: Body) -> None:
        if isinstance(said, FetchKeys):
            wrong = BLOCKS[KEYS[1][1:]]
            far.say(InnerBlock(CHK, wrong))
            far.say(InnerBlock(CHK, b"\2" + BLOCKS[KEYS[0][1:]][1:]))
            far.say(Fail(FailReason.NOT_FOUND, bytes(32)))
            far.say(Dummy())

    meeting = Meeting(lie)
    assert meeting.fetch(KEYS[0]) == []
    refusals = meeting.far.pivot.refusals
    assert (refusals[Refusal.BLOCK_UNASKED], refusals[Refusal.BLOCK_BROKEN]) == (2, 1)
    meeting.world.run(SILENT_S)
    assert meeting.origin.heard == [Fail(FailReason.PROVIDER_GONE, KEYS[0][1:])]


def test_the_pivot_of_the_origin_checks_what_the_other_pivot_passes_on() -> None:
    world = PivotWorld(1)
    origin = world.open()
    # A pivot that lies: its cells go over a bridge whose other end the test holds.
    liar = world.liar(b"l" * 32)
    origin.say(Attach(liar.id, TOKEN))
    origin.say(FetchKeys((KEYS[0],)))
    world.run(1)
    assert liar.heard == [FetchKeys((KEYS[0],))]
    liar.say(InnerBlock(CHK, BLOCKS[KEYS[1][1:]]))
    world.run(1)
    assert origin.heard == []
    liar.say(InnerBlock(CHK, BLOCKS[KEYS[0][1:]]))
    world.run(1)
    assert origin.heard == [InnerBlock(CHK, BLOCKS[KEYS[0][1:]])]
    liar.say(Anchored(TOKEN))
    world.run(1)
    assert liar.ended is CloseReason.DONE
    assert world.nodes[0].pivot.refusals[Refusal.BAD_INNER] == 1
    assert origin.ended is None


def test_when_the_provider_goes_its_keys_fail_by_name() -> None:
    meeting = Meeting(lambda far, said: None)
    meeting.origin.say(FetchKeys(tuple(KEYS[:3])))
    meeting.world.run(2)
    meeting.world.hang_up(meeting.provider)
    meeting.world.run(2)
    assert meeting.origin.heard == [Fail(FailReason.PROVIDER_GONE, key[1:]) for key in KEYS[:3]]
    assert meeting.fetch(KEYS[4]) == [Fail(FailReason.PROVIDER_GONE, KEYS[4][1:])]
    assert meeting.far.pivot.anchors == 0
    meeting.near.route.blocks[CHK, KEYS[5][1:], False] = (BLOCKS[KEYS[5][1:]],)
    assert meeting.fetch(KEYS[5]) == [InnerBlock(CHK, BLOCKS[KEYS[5][1:]])]


def test_when_the_other_pivot_goes_its_keys_fail_by_name() -> None:
    meeting = Meeting(lambda far, said: None)
    meeting.origin.say(FetchKeys(tuple(KEYS[:3])))
    meeting.world.run(2)
    meeting.world.cut(meeting.far)
    meeting.world.run(2)
    assert meeting.origin.heard == [Fail(FailReason.PROVIDER_GONE, key[1:]) for key in KEYS[:3]]
    assert (meeting.near.pivot.bridges, meeting.origin.ended) == (0, None)


def test_a_provider_that_is_silent_is_let_go() -> None:
    meeting = Meeting(lambda far, said: None)
    meeting.fetch(KEYS[0])
    meeting.world.run(SILENT_S - 10)
    assert meeting.origin.heard == []
    meeting.world.run(10)
    assert meeting.origin.heard == [Fail(FailReason.PROVIDER_GONE, KEYS[0][1:])]
    assert meeting.far.pivot.refusals[Refusal.PROVIDER_SILENT] == 1


def test_a_slow_provider_is_not_let_go() -> None:
    meeting = Meeting(lambda far, said: None)
    meeting.origin.say(FetchKeys(tuple(KEYS[:5])))
    for key in KEYS[:5]:
        meeting.world.run(SILENT_S - 2)
        meeting.provider.say(InnerBlock(CHK, BLOCKS[key[1:]]))
    meeting.world.run(1)
    assert len(meeting.origin.heard) == 5
    meeting.world.run(1_000)
    assert meeting.provider.ended is None


@pytest.mark.parametrize(("pivot", "token"), [(1, b"x" * 16), (None, TOKEN), (0, TOKEN)])
def test_a_meeting_that_cannot_be_is_a_provider_that_is_gone(pivot: int | None, token: bytes) -> None:
    meeting = Meeting(first=Dummy())
    pivot_id = bytes(32) if pivot is None else meeting.world.nodes[pivot].id
    meeting.origin.say(Attach(pivot_id, token))
    assert meeting.fetch(KEYS[0]) == [Fail(FailReason.PROVIDER_GONE, KEYS[0][1:])]
    meeting.near.route.blocks[CHK, KEYS[5][1:], False] = (BLOCKS[KEYS[5][1:]],)
    assert meeting.fetch(KEYS[5]) == [InnerBlock(CHK, BLOCKS[KEYS[5][1:]])]


def test_who_is_anchored_cannot_attach_to_itself() -> None:
    meeting = Meeting()
    meeting.provider.react = None
    meeting.provider.say(Attach(meeting.far.id, TOKEN))
    meeting.provider.say(FetchKeys((KEYS[0],)))
    meeting.world.run(5)
    assert meeting.provider.heard[1:] == [Fail(FailReason.PROVIDER_GONE, KEYS[0][1:])]


def test_only_who_is_anchored_may_say_blocks() -> None:
    world = PivotWorld()
    for said in (InnerBlock(CHK, content(1)[1]), Fail(FailReason.NOT_FOUND, bytes(32))):
        far = world.open()
        far.say(said)
        world.run(1)
        assert far.ended is CloseReason.DONE
    assert world.nodes[0].pivot.refusals[Refusal.BAD_INNER] == 2


def test_meetings_are_limited_for_a_circuit_and_in_all() -> None:
    meeting = Meeting()
    world, near = meeting.world, meeting.near
    for _ in range(MAX_SOURCES):
        meeting.origin.say(Attach(meeting.far.id, TOKEN))
    world.run(1)
    assert meeting.origin.heard == [Fail(FailReason.OVERLOAD, place_of(TOKEN))]
    assert near.pivot.bridges == MAX_SOURCES
    for _ in range(MAX_ATTACHES - MAX_SOURCES):
        meeting.origin.say(Attach(near.id, b"x" * 16))
    world.run(1)
    assert len(meeting.origin.heard) == MAX_ATTACHES - MAX_SOURCES + 1
    others = [
        world.open(Attach(world.nodes[2].id, TOKEN), near, edge=bytes((n % 16,)) * 32) for n in range(MAX_BRIDGES + 5)
    ]
    world.run(1)
    assert near.pivot.bridges == 32 + MAX_SOURCES
    assert world.nodes[2].pivot.refusals[Refusal.PIVOT_EDGE_FULL] == len(others) - 32


def test_bridges_end_with_the_circuits_they_serve() -> None:
    meeting = Meeting()
    meeting.origin.say(InnerSeek("elephant", 0, 1, bytes(32), False))
    meeting.world.hang_up(meeting.origin)
    meeting.world.run(1)
    assert (meeting.near.pivot.bridges, meeting.near.pivot.circuits, meeting.far.pivot.circuits) == (0, 0, 1)


def test_found_blocks_are_stored_anew_later_and_rare_ones_more_often() -> None:
    meeting = Meeting()
    chances = iter((0.124, 0.5, 0.126, 0.5))
    meeting.world.chance.random = lambda: next(chances)  # type: ignore[method-assign]
    meeting.fetch(KEYS[0])
    meeting.fetch(KEYS[1])
    assert (meeting.near.pivot.reinserts, meeting.far.pivot.reinserts) == (1, 0)
    near = meeting.near.route
    near.blocks[CHK, KEYS[2][1:], False] = near.blocks[CHK, KEYS[3][1:], False] = (BLOCKS[KEYS[2][1:]],)
    assert near.stored == []
    meeting.world.run(300)
    assert [(routing, block) for _, routing, block, _ in near.stored] == [(KEYS[0][1:], BLOCKS[KEYS[0][1:]])]
    assert meeting.near.pivot.reinserts == 0


def test_what_the_route_found_is_stored_anew_once_in_two_hundred() -> None:
    world = PivotWorld()
    route = world.nodes[0].route
    for routing, block in BLOCKS.items():
        route.blocks[CHK, routing, False] = (block,)
    for _ in range(100):
        far = world.open(FetchKeys(tuple(KEYS[:16])))
        for first in (16, 24):
            far.say(FetchKeys(tuple(KEYS[first : first + 16])))
        world.run(2)
        world.hang_up(far)
    world.run(10_000)
    # 4,000 fetches; a block that waits to be stored is not stored twice.
    assert 5 <= len(route.stored) <= 40


def test_tokens_end_are_renewed_and_are_of_one_circuit() -> None:
    tokens = Tokens()
    tokens.add(TOKEN, 1, 0.0)
    with pytest.raises(Violation) as caught:
        tokens.add(TOKEN, 2, 1.0)
    assert caught.value.reason is Refusal.ANCHOR_TAKEN
    tokens.add(TOKEN, 1, 1_000.0)
    assert tokens.find(TOKEN, TOKEN_S + 999) == 1
    with pytest.raises(Violation):
        tokens.find(TOKEN, TOKEN_S + 1_000)
    tokens.add(TOKEN, 2, TOKEN_S + 1_000)
    tokens.gone(1)
    assert tokens.find(TOKEN, TOKEN_S + 1_000) == 2
    tokens.gone(2)
    assert len(tokens) == 0


def test_tokens_have_bounds_for_a_circuit_and_in_all() -> None:
    tokens = Tokens(limit=300)
    for n in range(MAX_TOKENS_OF_CIRCUIT):
        tokens.add(b"%016d" % n, 1, 0.0)
    for number, n in ((1, 1_000), *((2, 2_000 + n) for n in range(45))):
        if len(tokens) == 300 or number == 1:
            with pytest.raises(Violation) as caught:
                tokens.add(b"%016d" % n, number, 0.0)
            assert caught.value.reason is Refusal.ANCHORS_FULL
        else:
            tokens.add(b"%016d" % n, number, 0.0)
    assert len(tokens) == 300
    tokens.add(b"%016d" % 9_999, 1, TOKEN_S)
    assert len(tokens) == 1


def test_a_token_that_is_refused_is_told() -> None:
    meeting = Meeting()
    other = meeting.world.open(Anchor(TOKEN, bytes(32)), meeting.far)
    assert other.heard == [Fail(FailReason.REFUSED, place_of(TOKEN))]
    for n in range(MAX_TOKENS_OF_CIRCUIT + 1):
        other.say(Anchor(b"%016d" % n, bytes(32)))
    meeting.world.run(5)
    assert other.heard[-1] == Fail(FailReason.OVERLOAD, place_of(b"%016d" % MAX_TOKENS_OF_CIRCUIT))
    assert meeting.far.pivot.anchors == MAX_TOKENS_OF_CIRCUIT + 1
