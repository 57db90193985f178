"""Hits: along the path of their query and nowhere else."""

from __future__ import annotations

import pytest

from gnutella.protocol.kinds import QUERY_HIT, encode_header
from gnutella.protocol.message import HitRecord, Query, QueryHit, encode
from gnutella.reasons import DropReason
from gnutella.routing.events import HitReceived, MessageRefused
from gnutella.routing.hits import MAX_RELAYED_HIT
from gnutella.routing.router import LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import (
    OWN_ADDRESS,
    OWN_SERVENT,
    events_of,
    guid_of,
    make_router,
    open_links,
    query_bytes,
    sent_by,
)
from gnutella.units import Address, Guid, LinkId

A, B, C = LinkId(0), LinkId(1), LinkId(2)
SERVENT = guid_of(500)
ADDRESS = Address("10.7.7.7", 6346)


def hit_bytes(
    guid: Guid | None = None,
    *,
    ttl: int = 5,
    hops: int = 1,
    servent_id: Guid = SERVENT,
    records: int = 1,
    address: Address = ADDRESS,
    needs_push: bool = False,
    name: str = "hello.txt",
) -> bytes:
    found = tuple(HitRecord(number, 10, name) for number in range(records))
    hit = QueryHit(address, 100, found, b"TEST", servent_id, needs_push)
    return encode(guid_of(1) if guid is None else guid, ttl, hops, hit)


def asked_by_a() -> Router:
    """Link A asked; B and C got the query."""
    router = make_router()
    open_links(router, 3)
    router.receive(A, query_bytes(), 1.0)
    return router


def test_a_hit_goes_back_to_the_asker_alone() -> None:
    router = asked_by_a()
    sent = sent_by(router.receive(B, hit_bytes(ttl=5, hops=1), 2.0))
    assert set(sent) == {A}
    assert [(frame.kind, frame.ttl, frame.hops) for frame in sent[A]] == [(QUERY_HIT, 4, 2)]
    assert sent[A][0].payload == hit_bytes()[23:]


def test_hits_of_one_chunk_are_one_send() -> None:
    router = asked_by_a()
    actions = router.receive(B, hit_bytes() + hit_bytes(servent_id=guid_of(501)), 2.0)
    assert len(actions) == 1
    assert len(sent_by(actions)[A]) == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (hit_bytes(guid_of(77)), DropReason.NO_ROUTE),
        (hit_bytes(ttl=0), DropReason.TTL_ZERO),
        (hit_bytes(ttl=1), DropReason.TTL_SPENT),
        (hit_bytes(ttl=9, hops=9), DropReason.TTL_TOO_HIGH),
        (hit_bytes(servent_id=Guid(bytes(16))), DropReason.BOGUS_HIT),
        (hit_bytes(servent_id=guid_of(1)), DropReason.BOGUS_HIT),
        (hit_bytes(servent_id=OWN_SERVENT), DropReason.BOGUS_HIT),
        (encode_header(guid_of(1), QUERY_HIT, 4, 1, 37) + b"\1" + bytes(36), DropReason.BAD_HIT),
        (encode_header(guid_of(1), QUERY_HIT, 4, 1, 60) + bytes(60), DropReason.BAD_HIT),
    ],
)
def test_hits_that_go_nowhere(message: bytes, reason: DropReason) -> None:
    router = asked_by_a()
    actions = router.receive(B, message, 2.0)
    assert sent_by(actions) == {}
    assert router.counters.drops[reason] == 1
    assert router.counters.dropped() == {reason.value: 1}


def test_a_hit_from_the_asker_itself_was_not_requested() -> None:
    router = asked_by_a()
    assert sent_by(router.receive(A, hit_bytes(), 2.0)) == {}
    assert router.counters.dropped() == {"unrequested_hit": 1}


def test_a_hit_for_a_link_that_is_gone_is_dropped_even_when_the_peer_is_back() -> None:
    router = asked_by_a()
    router.link_closed(A, 1.5)
    router.link_opened(LinkId(9), LinkInfo("10.1.1.1", OWN_ADDRESS.host), 1.6)
    assert sent_by(router.receive(B, hit_bytes(), 2.0)) == {}
    assert router.counters.dropped() == {"route_gone": 1}


def test_the_last_hop_to_a_leaf_is_made_though_the_ttl_is_spent() -> None:
    router = make_router()
    router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host, is_leaf=True), 0.0)
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host), 0.0)
    router.receive(A, query_bytes(hops=0), 1.0)
    sent = sent_by(router.receive(B, hit_bytes(ttl=1, hops=3), 2.0))
    assert [(frame.ttl, frame.hops) for frame in sent[A]] == [(1, 4)]


def test_a_leaf_answers_but_does_not_relay_hits() -> None:
    router = make_router()
    router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host), 0.0)
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host, is_leaf=True), 0.0)
    router.receive(A, query_bytes(), 1.0)
    assert set(sent_by(router.receive(B, hit_bytes(hops=0), 2.0))) == {A}
    assert sent_by(router.receive(B, hit_bytes(hops=1), 2.0)) == {}
    assert router.counters.dropped() == {"leaf_relayed": 1}


def test_a_query_has_a_quota_of_results() -> None:
    router = make_router(settings=RoutingSettings(max_hits_per_query=15))
    open_links(router, 2)
    router.receive(A, query_bytes(), 1.0)
    for servent in range(4):
        router.receive(B, hit_bytes(records=10, servent_id=guid_of(600 + servent)), 2.0)
    assert router.counters.messages[QUERY_HIT].tx == 2
    assert router.counters.dropped() == {"hit_quota": 2}
    router.receive(A, query_bytes(guid=guid_of(2)), 1.0)
    assert sent_by(router.receive(B, hit_bytes(guid_of(2)), 2.0)).keys() == {A}, "each query has its own"


def test_a_hit_beyond_the_relayed_size_stays_here() -> None:
    router = asked_by_a()
    payload = b"\1" + bytes(MAX_RELAYED_HIT - 16) + SERVENT
    message = encode_header(guid_of(1), QUERY_HIT, 4, 1, len(payload)) + payload
    assert sent_by(router.receive(B, message, 2.0)) == {}
    assert router.counters.dropped() == {"hit_too_large": 1}


# -- own searches ------------------------------------------------------------------------------------------------------


def test_a_hit_for_our_own_search_is_an_event_and_not_forwarded() -> None:
    router = make_router()
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    actions = router.receive(B, hit_bytes(guid, ttl=1, hops=2), 2.0)
    (event,) = events_of(actions)
    assert isinstance(event, HitReceived)
    assert (event.guid, event.hops, event.link) == (guid, 3, B)
    assert event.hit.records[0].name == "hello.txt"
    assert sent_by(actions) == {}
    assert router.counters.hits_received == 1


def test_a_stopped_search_gets_no_more_hits() -> None:
    router = make_router()
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    router.stop_search(guid)
    actions = router.receive(B, hit_bytes(guid), 2.0)
    assert not any(isinstance(event, HitReceived) for event in events_of(actions))
    assert router.counters.dropped() == {"unrequested_hit": 1}


@pytest.mark.parametrize(
    ("hit", "allow_private", "reason"),
    [
        ({"name": "../../etc/passwd"}, True, DropReason.BOGUS_HIT),
        ({"address": Address("224.0.0.5", 80)}, True, DropReason.BOGUS_HIT),
        ({"address": Address("192.168.1.1", 80)}, False, DropReason.BOGUS_HIT),
        ({"records": 11}, True, DropReason.BAD_HIT),
    ],
)
def test_bogus_hits_for_our_own_search_are_refused_with_a_warning(
    hit: dict[str, object], allow_private: bool, reason: DropReason
) -> None:
    router = make_router(allow_private=allow_private)
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    for _ in range(3):
        events = events_of(router.receive(B, hit_bytes(guid, **hit), 2.0))  # type: ignore[arg-type]
        assert not any(isinstance(event, HitReceived) for event in events)
    assert router.counters.dropped() == {reason.value: 3}


def test_a_warning_is_given_once_for_each_link_and_reason() -> None:
    router = make_router()
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    bogus = hit_bytes(guid, name="a/b")
    warned = [event for _ in range(3) for event in events_of(router.receive(B, bogus, 2.0))]
    assert warned == [MessageRefused(B, DropReason.BOGUS_HIT, "")]


def test_a_firewalled_source_may_have_a_private_address() -> None:
    router = make_router(allow_private=False)
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    message = hit_bytes(guid, address=Address("192.168.1.1", 6346), needs_push=True)
    assert len(events_of(router.receive(B, message, 2.0))) == 1


def test_our_own_search_has_the_quota_too() -> None:
    router = make_router(settings=RoutingSettings(max_hits_per_query=20))
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    events = [event for _ in range(5) for event in events_of(router.receive(B, hit_bytes(guid, records=10), 2.0))]
    assert len(events) == 2
    assert router.counters.drops[DropReason.HIT_QUOTA] == 3
