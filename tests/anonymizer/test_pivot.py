"""What a pivot does for each instruction, what it refuses, and what of it can be seen from outside."""

from __future__ import annotations

from anonymizer.cells import LARGE_BODY, SMALL_BODY
from anonymizer.inner import (
    Dummy,
    Fail,
    FailReason,
    FetchKeys,
    InnerBlock,
    InnerBye,
    InnerCredit,
    InnerStored,
    Opened,
    StoreBlock,
    encode,
)
from anonymizer.pivot_blocks import MAX_WANTED
from anonymizer.reasons import Refusal
from anonymizer.ssk import WriteKey, parse_record
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.pivot_world import PivotWorld, content, key_of

CHK, SSK = BlockType.CHK, BlockType.SSK
ABSENT = bytes(32)


def test_a_block_that_the_route_has_is_said() -> None:
    world = PivotWorld()
    routing, block = content(1)
    world.nodes[0].route.blocks[CHK, routing, False] = (block,)
    far = world.open(FetchKeys((key_of(routing),)))
    world.run(1)
    assert far.heard == [InnerBlock(CHK, block)]
    assert far.ended is None


def test_what_the_route_has_not_is_a_failure_with_its_reason() -> None:
    world = PivotWorld()
    world.nodes[0].route.reason = FailReason.NO_ROUTE
    far = world.open(FetchKeys((key_of(ABSENT), key_of(bytes(31) + b"\1"))))
    world.run(1)
    assert far.heard == [Fail(FailReason.NO_ROUTE, ABSENT), Fail(FailReason.NO_ROUTE, bytes(31) + b"\1")]


def test_blocks_are_said_as_they_come_and_a_key_that_waits_is_asked_for_once() -> None:
    world = PivotWorld()
    route = world.nodes[0].route
    route.is_slow = True
    keys = [content(n) for n in range(3)]
    for routing, block in keys:
        route.blocks[CHK, routing, False] = (block,)
    far = world.open(FetchKeys(tuple(key_of(routing) for routing, _ in keys)))
    far.say(FetchKeys((key_of(keys[0][0]),)))
    world.run(1)
    assert far.heard == []
    route.waiting.pop(2)()
    world.run(1)
    assert far.heard == [InnerBlock(CHK, keys[2][1])]
    route.answer_all()
    world.run(1)
    assert len(far.heard) == 3
    assert world.nodes[0].pivot.refusals[Refusal.KEY_ASKED_TWICE] == 1


def test_records_and_what_is_asked_for_alone_have_a_second_place() -> None:
    world = PivotWorld()
    route = world.nodes[0].route
    routing, block = content(1)
    route.blocks[CHK, routing, True] = (block,)
    far = world.open(FetchKeys((key_of(routing),)))
    world.run(1)
    assert far.heard == [InnerBlock(CHK, block)]
    far.say(FetchKeys((key_of(routing), key_of(ABSENT, SSK))))
    world.run(1)
    assert far.heard[1:] == [Fail(FailReason.NOT_FOUND, routing), Fail(FailReason.NOT_FOUND, ABSENT)]
    assert route.asked[2:] == [(CHK, routing, False), (SSK, ABSENT, False), (SSK, ABSENT, True)]


def record(data: bytes) -> bytes:
    return WriteKey(b"s" * 32, b"r" * 32).write("news", 1, data, bytes(16))


def test_both_records_of_a_fork_are_said() -> None:
    world = PivotWorld()
    one, other = record(b"one"), record(b"other")
    routing = parse_record(one).routing
    world.nodes[0].route.blocks[SSK, routing, False] = (one, other)
    far = world.open(FetchKeys((key_of(routing, SSK),)))
    world.run(1)
    assert far.heard == [InnerBlock(SSK, one), InnerBlock(SSK, other)]


def test_a_block_is_stored_where_it_belongs_and_its_copies_are_told() -> None:
    world = PivotWorld()
    far = world.open()
    routing, block = content(1)
    news = record(b"one")
    far.say(StoreBlock(CHK, block, False))
    far.say(StoreBlock(SSK, news, True))
    world.run(1)
    name = parse_record(news).routing
    assert world.nodes[0].route.stored == [(CHK, routing, block, False), (SSK, name, news, True)]
    assert far.heard == [InnerStored(routing, 3), InnerStored(name, 3)]


def test_what_is_no_block_ends_the_circuit_and_is_stored_nowhere() -> None:
    world = PivotWorld()
    _, block = content(1)
    news = record(b"one")
    for kind, data in ((CHK, b"\2" + block[1:]), (SSK, news[:-1] + bytes((news[-1] ^ 1,)))):
        far = world.open()
        far.say(StoreBlock(kind, data, False))
        world.run(1)
        assert far.ended is CloseReason.DONE
    assert world.nodes[0].route.stored == []
    assert world.nodes[0].pivot.refusals[Refusal.BLOCK_BROKEN] == 2


def test_a_window_of_keys_is_taken_and_more_are_refused() -> None:
    world = PivotWorld()
    world.nodes[0].route.is_slow = True
    far = world.open()
    keys = [key_of(b"%032d" % n) for n in range(MAX_WANTED + 16)]
    for first in range(0, len(keys), 16):
        far.say(FetchKeys(tuple(keys[first : first + 16])))
    world.run(1)
    assert far.heard == [Fail(FailReason.OVERLOAD, key[1:]) for key in keys[MAX_WANTED:]]
    assert len(world.nodes[0].route.asked) == MAX_WANTED


def test_who_asks_on_and_takes_nothing_is_left() -> None:
    world = PivotWorld()
    far = world.open()
    world.nodes[0].rooms[far.number] = 0
    for n in range(20):
        far.say(FetchKeys(tuple(key_of(b"%032d" % (16 * n + m)) for m in range(16))))
    world.run(1)
    assert far.ended is CloseReason.DONE
    assert far.heard == []
    pivot = world.nodes[0].pivot
    assert pivot.refusals[Refusal.PIVOT_FLOODED] == 1
    assert (pivot.circuits, pivot.held) == (0, 0)


def test_answers_wait_for_room() -> None:
    world = PivotWorld()
    node = world.nodes[0]
    far = world.open()
    node.rooms[far.number] = 1
    for n in range(3):
        routing, block = content(n)
        node.route.blocks[CHK, routing, False] = (block,)
        far.say(FetchKeys((key_of(routing),)))
    world.run(1)
    assert len(far.heard) == 1
    assert node.pivot.held == 2 * len(content(1)[1])
    node.rooms[far.number] = 5
    node.pivot.has_room(far.number, world.now)
    world.run(1)
    assert len(far.heard) == 3
    assert node.pivot.held == 0


def test_blocks_wait_for_credit_once_the_other_end_counts() -> None:
    world = PivotWorld()
    node = world.nodes[0]
    far = world.open(InnerCredit(1))
    for n in range(2):
        routing, block = content(n)
        node.route.blocks[CHK, routing, False] = (block,)
        far.say(FetchKeys((key_of(routing),)))
    world.run(1)
    assert len(far.heard) == 1
    far.say(InnerCredit(1))
    world.run(1)
    assert len(far.heard) == 2


def test_dummies_are_not_answered_and_a_bye_ends_the_circuit() -> None:
    world = PivotWorld()
    far = world.open()
    far.say(Dummy())
    world.run(1)
    assert (far.heard, far.ended) == ([], None)
    far.say(InnerBye())
    world.run(1)
    assert far.ended is CloseReason.DONE
    assert world.nodes[0].pivot.refusals.rows() == {}


def test_nothing_comes_after_the_end() -> None:
    world = PivotWorld()
    route = world.nodes[0].route
    route.is_slow = True
    routing, block = content(1)
    route.blocks[CHK, routing, False] = (block,)
    far = world.open(FetchKeys((key_of(routing),)))
    far.say(StoreBlock(CHK, content(2)[1], False))
    world.run(1)
    before = len(world.nodes[0].log)
    world.hang_up(far)
    world.run(1)
    route.answer_all()
    far.say(Dummy())
    world.run(100)
    assert len(world.nodes[0].log) == before
    assert not world.nodes[0].pivot.has(far.number)


def test_whatever_breaks_a_circuit_looks_like_its_ordinary_end() -> None:
    world = PivotWorld()
    node = world.nodes[0]
    seen: list[list[tuple[float, int | CloseReason]]] = []
    for number in range(3):
        far = world.open()
        begun, first = world.now, len(node.log)
        assert far.end is not None
        if number == 0:
            far.say(InnerBye())
        elif number == 1:
            far.say_raw(bytes(SMALL_BODY))
        else:
            far.say(Opened(bytes(32)))
        world.run(10)
        seen.append([(round(when - begun, 6), what) for when, _, what in node.log[first:]])
    assert seen[0] == seen[1] == seen[2]
    assert node.pivot.refusals.rows() == {"bad_tag": 1, "bad_inner": 1}


def test_a_bit_changed_anywhere_in_a_cell_ends_the_circuit_and_says_nothing() -> None:
    world = PivotWorld()
    node = world.nodes[0]
    for place in (0, 1, 2, 3, 40, 700, 1_500, SMALL_BODY - 17, SMALL_BODY - 16, SMALL_BODY - 1):
        far = world.open()
        assert far.end is not None
        data = bytearray(far.end.say(FetchKeys((key_of(ABSENT),))))
        data[place] ^= 1 << place % 8
        far.say_raw(bytes(data))
        far.say(FetchKeys((key_of(ABSENT),)))
        world.run(1)
        assert (far.heard, far.ended) == ([], CloseReason.DONE)
    large = world.open()
    assert large.end is not None
    data = bytearray(large.end.say(StoreBlock(CHK, content(1)[1], False)))
    data[LARGE_BODY // 2] ^= 4
    large.say_raw(bytes(data))
    world.run(1)
    assert large.ended is CloseReason.DONE
    assert (node.route.asked, node.route.stored) == ([], [])
    assert node.pivot.faults(b"e" * 32) == 11


def test_a_bit_changed_anywhere_in_a_seal_is_refused() -> None:
    world = PivotWorld()
    node = world.nodes[0]
    sealed = world.opening(node, encode(Dummy())).sealed
    for place in (0, 1, 16, 32, 33, 100, 1_000, len(sealed) - 1):
        data = bytearray(sealed)
        data[place] ^= 1
        assert not node.pivot.arrived(1_000 + place, bytes(data), b"x" * 32, world.now)
    assert node.log == []
    assert not node.pivot.arrived(1, world.open().opening.sealed, b"x" * 32, world.now)
    assert node.pivot.refusals[Refusal.SEAL_REPLAYED] == 1


def test_a_seal_that_is_sent_ten_thousand_times_has_one_effect() -> None:
    world = PivotWorld()
    node = world.nodes[0]
    far = world.open(FetchKeys((key_of(ABSENT),)))
    for n in range(10_000):
        assert not node.pivot.arrived(10 + n, far.opening.sealed, bytes((n % 5,)) * 32, world.now)
    world.run(1)
    assert len(node.route.asked) == 2
    assert node.pivot.circuits == 1
    assert len({number for _, number, _ in node.log}) == 1
