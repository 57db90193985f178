"""Searches that a pivot floods for others, hits that it passes on, and queries of the plain overlay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anonymizer.inner import MAX_HITS, Fail, FailReason, GateHit, Hit, InnerSeek
from anonymizer.pivot_searches import MAX_SEARCHES, SEARCH_S
from anonymizer.posts import seal_post
from anonymizer.reasons import Refusal
from anonymizer.wire import CloseReason
from gnutella.testing.pivot_world import Far, PivotWorld, ScriptedGateway

REPLY = b"r" * 32
SEEK = InnerSeek("purple elephant", 1, 3, REPLY, False)
URN = "urn:sha1:" + "A" * 32


def post(world: PivotWorld, query_id: bytes, hit: bytes) -> bytes:
    node = world.nodes[0]
    key = world.pivot_key(node.id)
    assert key is not None
    sealed = seal_post(node.id, key, query_id, hit, world.now)
    node.pivot.posted(sealed, world.now)
    world.run(1)
    return sealed


def hits(far: Far) -> list[bytes]:
    return [said.sealed for said in far.heard if isinstance(said, Hit)]


def test_a_search_is_flooded_under_an_id_of_its_own() -> None:
    world = PivotWorld()
    far = world.open(SEEK)
    far.say(SEEK)
    world.run(1)
    started = world.nodes[0].seek.started
    assert [(key, text, kinds, number) for _, key, text, kinds, number in started] == [
        (REPLY, "purple elephant", 1, far.number)
    ] * 2
    assert len({query_id for query_id, *_ in started}) == 2
    assert far.heard == []


def test_hits_are_passed_on_to_who_searches_and_to_nobody_else() -> None:
    world = PivotWorld()
    far, other = world.open(SEEK), world.open(SEEK)
    (one, *_), (two, *_) = world.nodes[0].seek.started
    post(world, one, b"h" * 100)
    post(world, two, b"i" * 100)
    assert (hits(far), hits(other)) == ([b"h" * 100], [b"i" * 100])


def test_a_hit_comes_once_and_no_more_than_were_wanted_come() -> None:
    world = PivotWorld()
    far = world.open(SEEK)
    query_id = world.nodes[0].seek.started[0][0]
    first = post(world, query_id, b"1" * 100)
    world.nodes[0].pivot.posted(first, world.now)
    post(world, query_id, b"1" * 100)
    for n in b"23456":
        post(world, query_id, bytes((n,)) * 100)
    assert hits(far) == [b"1" * 100, b"2" * 100, b"3" * 100]
    pivot = world.nodes[0].pivot
    assert pivot.refusals[Refusal.SEAL_REPLAYED] == 1
    assert pivot.refusals[Refusal.HIT_AGAIN] == 1
    assert pivot.refusals[Refusal.HIT_LATE] == 3


def test_a_post_that_is_sent_ten_thousand_times_has_one_effect() -> None:
    world = PivotWorld()
    far = world.open(replace(SEEK, hits=MAX_HITS))
    sealed = post(world, world.nodes[0].seek.started[0][0], b"1" * 100)
    for _ in range(10_000):
        world.nodes[0].pivot.posted(sealed, world.now)
    world.run(1)
    assert len(far.heard) == 1


def test_a_post_that_was_changed_and_one_for_no_search_are_dropped() -> None:
    world = PivotWorld()
    far = world.open(SEEK)
    node = world.nodes[0]
    key = world.pivot_key(node.id)
    assert key is not None
    sealed = seal_post(node.id, key, node.seek.started[0][0], b"h" * 100, world.now)
    for place in (0, 1, 32, 33, 700, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        node.pivot.posted(bytes(changed), world.now)
    node.pivot.posted(bytes(33_728), world.now)
    post(world, bytes(16), b"h" * 100)
    assert far.heard == []
    assert node.pivot.refusals[Refusal.SEAL_BROKEN] == 5
    assert node.pivot.refusals[Refusal.SEAL_SUITE] == 2
    assert node.pivot.refusals[Refusal.HIT_LATE] == 1


def test_a_search_ends_with_its_circuit_and_with_its_time() -> None:
    world = PivotWorld()
    far, other = world.open(SEEK), world.open(SEEK)
    pivot = world.nodes[0].pivot
    assert pivot.searches == 2
    world.hang_up(far)
    world.run(1)
    assert pivot.searches == 1
    world.run(SEARCH_S)
    post(world, world.nodes[0].seek.started[1][0], b"h" * 100)
    assert (pivot.searches, other.heard) == (0, [])


def test_searches_beyond_the_bound_or_the_rate_are_refused_by_their_key() -> None:
    world = PivotWorld()
    far = world.open(SEEK)
    for n in range(MAX_SEARCHES):
        far.say(replace(SEEK, reply_key=bytes((n,)) * 32))
    world.run(1)
    assert far.heard == [Fail(FailReason.OVERLOAD, bytes((MAX_SEARCHES - 1,)) * 32)]
    world.nodes[0].seek.takes = False
    other = world.open(SEEK)
    assert other.heard == [Fail(FailReason.OVERLOAD, REPLY)]
    assert world.nodes[0].pivot.searches == MAX_SEARCHES


def test_without_consent_there_is_no_query_of_the_plain_overlay_and_the_search_goes_on() -> None:
    world = PivotWorld()
    far = world.open(replace(SEEK, gateway=True))
    assert far.heard == [Fail(FailReason.NO_GATEWAY, REPLY)]
    assert len(world.nodes[0].seek.started) == 1


def test_with_consent_the_plain_overlay_is_asked_and_its_hits_are_told_once() -> None:
    gateway = ScriptedGateway()
    world = PivotWorld(gateway=gateway)
    far = world.open(replace(SEEK, gateway=True))
    ((text, urn, hit),) = gateway.asked
    assert (text, urn) == ("purple elephant", None)
    assert hit("elephant.txt", 10, URN, "192.0.2.1", 6346, world.now)
    assert hit("elephant.txt", 10, URN, "192.0.2.1", 6346, world.now)
    assert hit("elephant.txt", 10, URN, "192.0.2.2", 6346, world.now)
    assert not hit("other.txt", 10, "", "192.0.2.2", 6346, world.now)
    assert not hit("more.txt", 10, "", "192.0.2.2", 6346, world.now)
    world.run(1)
    assert far.heard == [
        GateHit("elephant.txt", 10, URN, "192.0.2.1", 6346),
        GateHit("elephant.txt", 10, URN, "192.0.2.2", 6346),
        GateHit("other.txt", 10, "", "192.0.2.2", 6346),
    ]


@pytest.mark.parametrize(
    "hit",
    [
        ("", 1, "", "192.0.2.1", 6346),
        ("x" * 256, 1, "", "192.0.2.1", 6346),
        ("a\ud800", 1, "", "192.0.2.1", 6346),
        ("a", -1, "", "192.0.2.1", 6346),
        ("a", 2**63, "", "192.0.2.1", 6346),
        ("a", 1, "u" * 65, "192.0.2.1", 6346),
        ("a", 1, "", "", 6346),
        ("a", 1, "", "192.0.2.1", 0),
    ],
)
def test_a_hit_of_the_plain_overlay_that_breaks_a_bound_is_not_told(hit: tuple[str, int, str, str, int]) -> None:
    gateway = ScriptedGateway()
    world = PivotWorld(gateway=gateway)
    far = world.open(replace(SEEK, gateway=True))
    assert gateway.asked[0][2](*hit, world.now)
    world.run(1)
    assert (far.heard, far.ended) == ([], None)
    assert world.nodes[0].pivot.refusals[Refusal.GATEWAY_HIT] == 1


def test_a_hash_is_asked_for_as_a_hash() -> None:
    gateway = ScriptedGateway()
    PivotWorld(gateway=gateway).open(replace(SEEK, gateway=True, text=URN.lower()))
    assert gateway.asked[0][:2] == ("", URN.lower())


def test_hits_after_the_end_of_the_circuit_are_not_wanted() -> None:
    gateway = ScriptedGateway()
    world = PivotWorld(gateway=gateway)
    far = world.open(replace(SEEK, gateway=True))
    world.hang_up(far)
    world.run(1)
    assert not gateway.asked[0][2]("a", 1, "", "192.0.2.1", 6346, world.now)
    assert far.heard == []


def test_others_get_so_many_queries_an_hour() -> None:
    gateway = ScriptedGateway()
    world = PivotWorld(gateway=gateway)
    said: list[Far] = []
    for _ in range(130):
        said.append(world.open(replace(SEEK, gateway=True)))
        world.hang_up(said[-1])
    assert len(gateway.asked) == 120
    assert [far.heard for far in said[120:]] == [[Fail(FailReason.NO_GATEWAY, REPLY)]] * 10
    assert world.nodes[0].pivot.refusals[Refusal.GATEWAY_QUOTA] == 10
    world.run(60)
    assert world.open(replace(SEEK, gateway=True)).heard == []
    gateway.takes = False
    world.run(60)
    assert world.open(replace(SEEK, gateway=True)).ended is not CloseReason.REFUSED
