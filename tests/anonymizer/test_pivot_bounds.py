"""The rarer bounds of a pivot's tables, each of them hit."""

from __future__ import annotations

from anonymizer.anchors import MAX_ASKED, Source
from anonymizer.fields import Body
from anonymizer.inner import Attach, FailReason, FetchKeys, InnerBlock, InnerBye, InnerCredit
from anonymizer.pivot import MAX_BRIDGES, MAX_EDGES, MAX_SOURCES
from anonymizer.pivot_blocks import MAX_REINSERTS
from anonymizer.reasons import Refusal, Refusals
from anonymizer.timers import Timers
from anonymizer.wire import MAX_CREDIT, BlockType
from gnutella.testing.pivot_world import PivotWorld, content, key_of

CHK = BlockType.CHK
KEYS = [key_of(b"%032d" % n) for n in range(300)]


def test_bridges_are_bounded_in_all() -> None:
    world = PivotWorld()
    liars = [world.liar(b"%032d" % n) for n in range(MAX_SOURCES)]
    for n in range(MAX_BRIDGES // MAX_SOURCES + 1):
        far = world.open(edge=bytes((n // 32,)) * 32)
        for liar in liars:
            far.say(Attach(liar.id, bytes(16)))
        world.run(0.2)
    pivot = world.nodes[0].pivot
    assert pivot.bridges == MAX_BRIDGES
    assert pivot.refusals[Refusal.PIVOT_BUSY] == 1


def test_blocks_that_wait_to_be_stored_anew_are_bounded() -> None:
    world = PivotWorld()
    # Less than one in two hundred, and a wait of 1.2 s.
    world.chance.random = lambda: 0.004  # type: ignore[method-assign]
    route = world.nodes[0].route
    blocks = [content(n) for n in range(MAX_REINSERTS + 64)]
    for routing, block in blocks:
        route.blocks[CHK, routing, False] = (block,)
    fars = [world.open() for _ in range(len(blocks) // 64)]
    for n in range(0, len(blocks), 16):
        fars[n // 64].say(FetchKeys(tuple(key_of(routing) for routing, _ in blocks[n : n + 16])))
    world.run(0.5)
    assert sum(isinstance(said, InnerBlock) for far in fars for said in far.heard) == len(blocks)
    assert world.nodes[0].pivot.reinserts == MAX_REINSERTS
    assert route.stored == []
    world.run(2)
    assert len(route.stored) == MAX_REINSERTS


def test_keys_that_wait_for_one_provider_are_bounded_and_so_are_those_who_wait_for_one_key() -> None:
    said: list[Body] = []
    told: list[tuple[bytes, FailReason]] = []
    refusals = Refusals()
    source = Source(lambda body, now: said.append(body), lambda now: None, Timers(), refusals)

    def answer(key: bytes, block: bytes | None, reason: FailReason, now: float) -> None:
        told.append((key, reason))

    source.ask(KEYS, answer, 0.0)
    assert [key for body in said if isinstance(body, FetchKeys) for key in body.keys] == KEYS[:MAX_ASKED]
    assert told == [(key, FailReason.OVERLOAD) for key in KEYS[MAX_ASKED:]]
    told.clear()
    for _ in range(MAX_ASKED):
        source.ask(KEYS[:1], answer, 0.0)
    assert told == [(KEYS[0], FailReason.OVERLOAD)]
    assert refusals[Refusal.PIVOT_BUSY] == len(KEYS) - MAX_ASKED + 1
    source.gone(1.0)
    assert len(told) == 1 + MAX_ASKED + MAX_ASKED - 1
    assert len(source) == 0


def test_links_that_bring_nothing_any_more_are_forgotten() -> None:
    world = PivotWorld(rate=256 * 1_024)
    for n in range(2 * MAX_EDGES):
        far = world.open(edge=b"%032d" % n)
        far.say(InnerBye())
        world.run(1)
    pivot = world.nodes[0].pivot
    assert pivot.circuits == 0
    assert len(pivot._edges) <= MAX_EDGES


def test_credit_does_not_grow_without_bound() -> None:
    world = PivotWorld()
    far = world.open()
    for _ in range(10):
        far.say(InnerCredit(MAX_CREDIT))
    world.run(1)
    assert world.nodes[0].pivot._visits[far.number].credit == 4 * MAX_CREDIT
