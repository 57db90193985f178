"""Queries: who gets them, with which TTL and hops, and which go no further."""

from __future__ import annotations

from typing import Any

import pytest

from gnutella.protocol.frames import frames
from gnutella.protocol.kinds import MAX_PAYLOAD, QUERY, QUERY_HIT, encode_header
from gnutella.protocol.message import Query, QueryHit, encode
from gnutella.reasons import DropReason
from gnutella.routing.actions import Flood
from gnutella.routing.link import LEAF_QUERY_BURST, LEAF_QUERY_S, MAX_LEAF_RELAYED, MAX_REPEATS, MAX_WRONG_TTLS
from gnutella.routing.relay import MAX_ANSWERED_FILES, MAX_RELAYED_QUERY
from gnutella.routing.router import OWN, LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import (
    OWN_ADDRESS,
    OWN_SERVENT,
    Shelf,
    closes_of,
    guid_of,
    make_router,
    open_links,
    query_bytes,
    sent_by,
)
from gnutella.units import LinkId

A, B, C = LinkId(0), LinkId(1), LinkId(2)


def drops(router: Router) -> dict[str, int]:
    return router.counters.dropped()


def test_a_query_goes_to_all_other_links_with_ttl_and_hops_moved_on() -> None:
    router = make_router()
    open_links(router, 4)
    sent = sent_by(router.receive(A, query_bytes(ttl=4, hops=1), 1.0))
    assert set(sent) == {1, 2, 3}
    for (frame,) in sent.values():
        assert (frame.ttl, frame.hops, frame.guid) == (3, 2, guid_of(1))
        assert frame.payload == query_bytes()[23:]


def test_a_chunk_becomes_one_flood_that_leaves_out_what_is_not_forwarded() -> None:
    router = make_router()
    open_links(router, 3)
    router.receive(B, query_bytes("old", guid_of(7)), 1.0)
    stream = b"".join(
        (
            query_bytes("one", guid_of(1)),
            query_bytes("two", guid_of(2)),
            query_bytes("old", guid_of(7)),
            query_bytes("spent", guid_of(3), ttl=1),
            query_bytes("four", guid_of(4)),
            query_bytes("one", guid_of(1)),
        )
    )
    (flood,) = router.receive(A, stream + query_bytes("five", guid_of(5))[:25], 1.0)
    assert isinstance(flood, Flood)
    assert (set(flood.links), flood.count) == ({B, C}, 3)
    assert [frame.guid for frame in frames(flood.data)] == [guid_of(1), guid_of(2), guid_of(4)]
    assert drops(router) == {"duplicate": 2, "ttl_spent": 1}
    (rest,) = router.receive(A, query_bytes("five", guid_of(5))[25:], 1.0)
    assert isinstance(rest, Flood)
    assert rest.count == 1


def test_a_query_seen_before_is_dropped_whichever_link_it_comes_from() -> None:
    router = make_router()
    open_links(router, 3)
    router.receive(A, query_bytes(), 1.0)
    assert router.receive(B, query_bytes(), 1.0) == []
    assert router.receive(A, query_bytes(), 1.0) == []
    assert drops(router) == {"duplicate": 2}
    assert router.counters.messages[QUERY].rx == 3


@pytest.mark.parametrize(
    ("ttl", "hops", "forwarded"),
    [
        (7, 0, (6, 1)),
        (7, 1, (5, 2)),
        (5, 5, (1, 6)),
        (2, 1, (1, 2)),
        (15, 0, (6, 1)),
        (1, 3, None),
        (3, 6, None),
        (2, 9, None),
    ],
)
def test_the_reach_is_trimmed_to_the_local_maximum(ttl: int, hops: int, forwarded: tuple[int, int] | None) -> None:
    router = make_router(["hello.txt"])
    open_links(router, 2)
    sent = sent_by(router.receive(A, query_bytes(ttl=ttl, hops=hops), 1.0))
    onward = [(frame.ttl, frame.hops) for frame in sent.get(B, [])]
    assert onward == ([forwarded] if forwarded else [])
    assert [frame.kind for frame in sent[A]] == [QUERY_HIT], "it is answered all the same"
    assert drops(router).get("ttl_spent", 0) == (forwarded is None)


@pytest.mark.parametrize(
    ("ttl", "hops", "reason"),
    [
        (0, 1, DropReason.TTL_ZERO),
        (16, 0, DropReason.TTL_TOO_HIGH),
        (1, 15, DropReason.TTL_TOO_HIGH),
        (1, 255, DropReason.TTL_TOO_HIGH),
        (200, 100, DropReason.TTL_TOO_HIGH),
    ],
)
def test_wrong_ttls_are_dropped_unanswered_and_too_many_close(ttl: int, hops: int, reason: DropReason) -> None:
    router = make_router(["hello.txt"])
    open_links(router, 2)
    for number in range(MAX_WRONG_TTLS):
        actions = router.receive(A, query_bytes(guid=guid_of(number), ttl=ttl, hops=hops), 1.0)
        assert sent_by(actions) == {}
        assert closes_of(actions) == {}
    actions = router.receive(A, query_bytes(guid=guid_of(99), ttl=ttl, hops=hops) + query_bytes(), 1.0)
    assert closes_of(actions) == {A: DropReason.TOO_MANY_TTL}
    assert router.counters.drops[reason] == MAX_WRONG_TTLS + 1
    assert router.links() == [B]
    assert router.receive(A, query_bytes(guid=guid_of(5)), 2.0) == []


def raw_query(payload: bytes) -> bytes:
    return encode_header(guid_of(1), QUERY, 4, 1, len(payload)) + payload


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", DropReason.BAD_QUERY),
        (b"\x80\0", DropReason.BAD_QUERY),
        (b"\x80\0\0", DropReason.QUERY_EMPTY),
        (b"\x80\0\0\0\0", DropReason.QUERY_EMPTY),
        (b"\x80\0\0\x1c\0", DropReason.QUERY_EMPTY),
        (b"\0\0hello\0", DropReason.QUERY_UNMARKED),
        (b"\x7f\xffhello\0", DropReason.QUERY_UNMARKED),
    ],
)
def test_queries_without_a_question_are_dropped(payload: bytes, reason: DropReason) -> None:
    router = make_router(["hello.txt"])
    open_links(router, 2)
    assert sent_by(router.receive(A, raw_query(payload), 1.0)) == {}
    assert router.counters.drops[reason] == 1


def test_a_query_of_urns_alone_is_forwarded() -> None:
    router = make_router()
    open_links(router, 2)
    sent = sent_by(router.receive(A, raw_query(b"\x80\0\0urn:sha1:" + b"A" * 32), 1.0))
    assert [frame.kind for frame in sent[B]] == [QUERY]


def test_long_queries_stay_here_and_longer_ones_close_the_link() -> None:
    router = make_router()
    open_links(router, 2)
    fits = b"\x80\0" + b"a" * (MAX_RELAYED_QUERY - 3) + b"\0"
    assert set(sent_by(router.receive(A, raw_query(fits), 1.0))) == {B}
    too_long = encode_header(guid_of(2), QUERY, 4, 1, len(fits) + 1) + fits + b"\0"
    assert sent_by(router.receive(A, too_long, 1.0)) == {}
    assert drops(router) == {"query_too_long": 1}
    absurd = encode_header(guid_of(3), QUERY, 4, 1, 1025) + b"\x80\0" + bytes(1023)
    assert closes_of(router.receive(A, absurd, 1.0)) == {A: DropReason.QUERY_TOO_LONG}


def test_a_header_beyond_any_size_closes_at_once_without_waiting_for_its_bytes() -> None:
    router = make_router()
    open_links(router, 2)
    actions = router.receive(A, query_bytes() + encode_header(guid_of(2), QUERY, 4, 1, MAX_PAYLOAD + 1), 1.0)
    assert [frame.guid for frame in sent_by(actions)[B]] == [guid_of(1)]
    assert closes_of(actions) == {A: DropReason.MESSAGE_TOO_LARGE}


def test_an_oversized_message_that_came_whole_closes_too() -> None:
    router = make_router()
    open_links(router, 2)
    whole = encode_header(guid_of(2), 0x31, 1, 0, MAX_PAYLOAD + 1) + bytes(MAX_PAYLOAD + 1)
    actions = router.receive(A, whole + query_bytes(), 1.0)
    assert closes_of(actions) == {A: DropReason.MESSAGE_TOO_LARGE}
    assert sent_by(actions) == {}


def test_an_incomplete_message_is_kept_only_once() -> None:
    router = make_router()
    open_links(router, 2)
    largest = encode_header(guid_of(2), 0x31, 1, 0, MAX_PAYLOAD) + b"TEST" + bytes(MAX_PAYLOAD - 4)
    for start in range(0, len(largest), 5000):
        router.receive(A, largest[start : start + 5000], 1.0)
    counters = router.link_counters(A)
    assert counters is not None
    assert counters["rx_messages"] == 1
    assert counters["rx_bytes"] == len(largest)


def test_a_guid_repeated_by_the_same_link_closes_it_but_a_mesh_does_not() -> None:
    router = make_router()
    open_links(router, 3)
    for number in range(200):
        router.receive(A, query_bytes(guid=guid_of(number)), 1.0)
        assert router.receive(B, query_bytes(guid=guid_of(number)), 1.0) == []
        assert router.receive(C, query_bytes(guid=guid_of(number)), 1.0) == []
    assert router.links() == [A, B, C]
    actions = router.receive(A, query_bytes(guid=guid_of(3)) * MAX_REPEATS, 1.0)
    assert closes_of(actions) == {}
    actions = router.receive(A, query_bytes(guid=guid_of(3)), 1.0)
    assert closes_of(actions) == {A: DropReason.TOO_MANY_DUPLICATES}


def test_an_own_query_that_comes_back_is_not_forwarded_again() -> None:
    router = make_router()
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    assert router.receive(A, query_bytes(guid=guid), 1.0) == []
    assert drops(router) == {"own_message": 1}


# -- leaves ------------------------------------------------------------------------------------------------------------


def with_leaf() -> Router:
    router = make_router()
    router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host, is_leaf=True, is_ultrapeer=False), 0.0)
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host), 0.0)
    router.link_opened(C, LinkInfo("10.1.1.3", OWN_ADDRESS.host), 0.0)
    return router


def test_a_leaf_gets_queries_even_on_their_last_hop() -> None:
    router = with_leaf()
    assert set(sent_by(router.receive(B, query_bytes(guid=guid_of(1)), 1.0))) == {A, C}
    sent = sent_by(router.receive(B, query_bytes(guid=guid_of(2), ttl=1, hops=3), 1.0))
    assert {link: [(frame.ttl, frame.hops) for frame in got] for link, got in sent.items()} == {A: [(1, 4)]}
    assert drops(router) == {"ttl_spent": 1}


@pytest.mark.parametrize("trace", ["off", "all"])
def test_on_a_leaf_a_query_on_its_last_hop_is_answered_and_nothing_of_it_dropped(trace: Any) -> None:
    router = make_router(["hello.txt"], is_leaf=True, settings=RoutingSettings(trace=trace))
    open_links(router, 1)
    sent = sent_by(router.receive(A, query_bytes(ttl=1) + query_bytes("no", guid_of(2), ttl=1), 1.0))
    assert [frame.kind for frame in sent[A]] == [QUERY_HIT]
    counters = router.link_counters(A) or {}
    assert (drops(router), counters["dropped"]) == ({}, 0)


def test_the_own_queries_of_a_leaf_are_flooded_and_those_of_others_refused() -> None:
    router = with_leaf()
    assert set(sent_by(router.receive(A, query_bytes(guid=guid_of(1), hops=0), 1.0))) == {B, C}
    for number in range(MAX_LEAF_RELAYED):
        assert router.receive(A, query_bytes(guid=guid_of(10 + number), hops=1), 1.0)[1:] == []
    assert drops(router) == {"leaf_relayed": MAX_LEAF_RELAYED}
    actions = router.receive(A, query_bytes(guid=guid_of(20), hops=1), 1.0)
    assert closes_of(actions) == {A: DropReason.LEAF_RELAYED}


def test_a_leaf_asks_at_a_limited_rate() -> None:
    router = with_leaf()
    burst = int(LEAF_QUERY_BURST)
    for number in range(burst + 5):
        router.receive(A, query_bytes(guid=guid_of(number), hops=0), 1.0)
    assert drops(router) == {"rate": 5}
    router.receive(A, query_bytes(guid=guid_of(90), hops=0), 1.0 + LEAF_QUERY_S)
    router.receive(A, query_bytes(guid=guid_of(91), hops=0), 1.0 + LEAF_QUERY_S)
    assert drops(router) == {"rate": 6}


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer_goes_back_with_enough_ttl_and_our_address() -> None:
    router = make_router(["Hello World.txt", "other.txt"])
    open_links(router, 2)
    sent = sent_by(router.receive(A, query_bytes("hello", hops=2), 1.0))
    (frame,) = sent[A]
    assert (frame.kind, frame.guid, frame.ttl, frame.hops) == (QUERY_HIT, guid_of(1), 7, 0)
    hit = QueryHit.decode(frame.payload)
    assert (hit.address, hit.servent_id, hit.needs_push) == (OWN_ADDRESS, OWN_SERVENT, False)
    assert [record.name for record in hit.records] == ["Hello World.txt"]
    assert [frame.kind for frame in sent[B]] == [QUERY]
    assert router.counters.queries_answered == router.counters.results_sent == 1


def test_what_we_say_of_ourselves_is_in_the_next_hit() -> None:
    router = make_router(["hello.txt"])
    open_links(router, 2)
    router.self.is_firewalled = router.self.is_busy = True
    (frame,) = sent_by(router.receive(A, query_bytes(), 1.0))[A]
    hit = QueryHit.decode(frame.payload)
    assert (hit.needs_push, hit.is_busy) == (True, True)


def test_many_matches_become_hits_of_ten_up_to_the_limit() -> None:
    router = make_router([f"hello {number}.txt" for number in range(200)])
    open_links(router, 2)
    got = [QueryHit.decode(frame.payload) for frame in sent_by(router.receive(A, query_bytes(), 1.0))[A]]
    assert sum(len(hit.records) for hit in got) == MAX_ANSWERED_FILES
    assert max(len(hit.records) for hit in got) == 10
    asked_for_three = encode(guid_of(2), 4, 1, Query("hello", flags=0x8003))
    (frame,) = sent_by(router.receive(A, asked_for_three, 1.0))[A]
    assert len(QueryHit.decode(frame.payload).records) == 3


def test_an_empty_library_is_not_asked_and_a_new_one_is() -> None:
    router = make_router()
    open_links(router, 2)
    assert A not in sent_by(router.receive(A, query_bytes(guid=guid_of(1)), 1.0))
    router.set_library(full := Shelf(["hello.txt"]))
    assert A in sent_by(router.receive(A, query_bytes(guid=guid_of(2)), 1.0))
    assert full.asked == 1
    router.set_library(empty := Shelf())
    assert A not in sent_by(router.receive(A, query_bytes(guid=guid_of(3)), 1.0))
    assert empty.asked == 0


# -- own queries -------------------------------------------------------------------------------------------------------


def test_a_search_goes_to_every_link_within_what_it_accepts() -> None:
    router = make_router()
    open_links(router, 1)
    router.link_opened(B, LinkInfo("10.1.1.9", OWN_ADDRESS.host, max_ttl=2), 0.0)
    guid, actions = router.search(Query("hello"), 1.0)
    sent = sent_by(actions)
    assert {link: [(f.ttl, f.hops, f.guid) for f in got] for link, got in sent.items()} == {
        A: [(RoutingSettings().query_ttl, 0, guid)],
        B: [(2, 0, guid)],
    }
    assert guid[8] == 0xFF
    assert guid[15] == 0
    assert OWN not in sent


def test_two_searches_have_two_guids() -> None:
    router = make_router()
    first, _ = router.search(Query("hello"), 1.0)
    second, _ = router.search(Query("hello"), 1.0)
    assert first != second


def test_queries_count_as_relayed_only_when_there_is_somebody_to_relay_them_to() -> None:
    router = make_router()
    open_links(router, 1)
    router.receive(A, query_bytes(guid=guid_of(1)), 1.0)
    assert router.counters.queries_relayed == 0
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host), 2.0)
    router.receive(A, query_bytes(guid=guid_of(2)), 3.0)
    assert router.counters.queries_relayed == 1


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_the_table_of_queries_stays_within_its_bound() -> None:
    router = make_router(query_generation=100)
    open_links(router, 2)
    for start in range(0, 2000, 20):
        router.receive(A, b"".join(query_bytes(guid=guid_of(start + n)) for n in range(20)), 1.0)
        assert router.table_sizes()["queries"] <= 200
    assert router.table_sizes()["queries"] > 0
    assert router.counters.queries_relayed == 2000
