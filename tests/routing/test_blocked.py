"""Links whose transport pushes back: queues, drops, and when the router gives up."""

from __future__ import annotations

from gnutella.protocol.kinds import PONG, PUSH, QUERY, QUERY_HIT, encode_header
from gnutella.protocol.message import Query
from gnutella.reasons import DropReason
from gnutella.routing.actions import Flood, Send
from gnutella.routing.flow import QUEUE_BYTES
from gnutella.routing.router import MAX_BLOCKED_S, Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import closes_of, guid_of, make_router, open_links, query_bytes, sent_by
from gnutella.units import LinkId
from tests.routing.test_hits import SERVENT, hit_bytes
from tests.routing.test_pings import ping_bytes
from tests.routing.test_pushes import push_bytes

A, B, C = LinkId(0), LinkId(1), LinkId(2)


def test_a_blocked_link_gets_its_queries_later_and_nobody_else_waits() -> None:
    router = make_router()
    open_links(router, 3)
    assert router.blocked(B, 1.0) == []
    assert set(sent_by(router.receive(A, query_bytes(), 1.0))) == {C}
    assert router.queued_bytes(B) == len(query_bytes())
    (send,) = router.unblocked(B, 2.0)
    assert isinstance(send, Send)
    assert [frame.guid for frame in sent_by([send])[B]] == [guid_of(1)]
    assert set(sent_by(router.receive(A, query_bytes(guid=guid_of(2)), 2.0))) == {B, C}
    assert router.queued_bytes(B) == 0


def test_what_waited_is_sent_in_order_of_importance() -> None:
    router = make_router()
    open_links(router, 3)
    router.receive(B, query_bytes(guid=guid_of(1)), 1.0)
    router.receive(C, query_bytes(guid=guid_of(2)), 1.0)
    router.receive(B, hit_bytes(guid_of(2)), 1.0)
    router.blocked(B, 1.0)
    router.receive(B, ping_bytes(ttl=1), 1.0)
    router.receive(A, query_bytes(guid=guid_of(3)) + query_bytes(guid=guid_of(4), hops=0), 1.0)
    router.receive(A, push_bytes(SERVENT), 1.0)
    router.receive(C, hit_bytes(guid_of(1)), 1.0)
    sent = sent_by(router.unblocked(B, 2.0))[B]
    assert [frame.kind for frame in sent] == [PUSH, QUERY_HIT, PONG, QUERY, QUERY]
    assert [frame.guid for frame in sent if frame.kind == QUERY] == [guid_of(4), guid_of(3)], "young ones first"


def test_own_searches_wait_too() -> None:
    router = make_router()
    open_links(router, 1)
    router.blocked(A, 1.0)
    guid, actions = router.search(Query("hello"), 1.0)
    assert actions == []
    assert [frame.guid for frame in sent_by(router.unblocked(A, 2.0))[A]] == [guid]


def fill(router: Router, link: LinkId, now: float, size: int, start: int = 1000) -> int:
    """Flood from A until that many bytes wait for a blocked link."""
    number = start
    while router.queued_bytes(link) < size:
        chunk = b"".join(query_bytes("x" * 200, guid_of(number + n)) for n in range(50))
        router.receive(A, chunk, now)
        number += 50
    return number


def test_the_queue_is_bounded_and_what_it_drops_is_counted() -> None:
    router = make_router()
    open_links(router, 3)
    router.blocked(B, 1.0)
    number = fill(router, B, 1.0, QUEUE_BYTES - 1000)
    for _ in range(10):
        number = fill(router, B, 1.0, router.queued_bytes(B), number) + 50
        router.receive(A, b"".join(query_bytes("x" * 200, guid_of(number + n)) for n in range(50)), 1.0)
        assert router.queued_bytes(B) <= QUEUE_BYTES
    assert router.counters.drops[DropReason.LINK_BUSY] > 0
    assert router.links() == [A, B, C]


def test_queries_of_a_peer_that_takes_nothing_are_dropped_until_it_does() -> None:
    router = make_router()
    open_links(router, 3)
    router.blocked(B, 1.0)
    assert set(sent_by(router.receive(B, query_bytes(guid=guid_of(1)), 1.0))) == {A, C}, "a short queue harms nobody"
    fill(router, B, 1.0, QUEUE_BYTES * 3 // 4)
    assert router.receive(B, query_bytes(guid=guid_of(2)), 1.0) == []
    assert router.counters.drops[DropReason.SENDER_BUSY] == 1
    router.unblocked(B, 2.0)
    assert set(sent_by(router.receive(B, query_bytes(guid=guid_of(2)), 2.0))) == {A, C}


def test_a_peer_that_takes_no_hits_either_is_closed() -> None:
    router = make_router(settings=RoutingSettings(max_hits_per_query=100_000))
    open_links(router, 3)
    router.receive(B, query_bytes(), 1.0)
    router.blocked(B, 1.0)
    payload = b"\1" + bytes(16000) + SERVENT
    big = encode_header(guid_of(1), QUERY_HIT, 5, 1, len(payload)) + payload
    closed: dict[LinkId, DropReason] = {}
    for _ in range(QUEUE_BYTES // 16000 + 1):
        closed |= closes_of(router.receive(A, big, 1.0))
    assert closed == {B: DropReason.SEND_QUEUE_FULL}
    assert router.links() == [A, C]
    router.receive(A, big, 1.0)
    assert router.counters.drops[DropReason.ROUTE_GONE] == 1


def test_a_link_blocked_for_too_long_is_closed() -> None:
    router = make_router()
    open_links(router, 2)
    router.blocked(B, 1.0)
    router.receive(B, ping_bytes(ttl=1), 100.0)
    assert closes_of(router.tick(1.0 + MAX_BLOCKED_S)) == {}
    assert closes_of(router.tick(1.1 + MAX_BLOCKED_S)) == {B: DropReason.BLOCKED_TOO_LONG}


def test_blocking_twice_keeps_the_queue_and_unknown_links_are_let_be() -> None:
    router = make_router()
    open_links(router, 2)
    router.blocked(B, 1.0)
    router.receive(A, query_bytes(), 1.0)
    router.blocked(B, 2.0)
    assert router.queued_bytes(B) > 0
    assert router.blocked(LinkId(99), 1.0) == router.unblocked(LinkId(99), 1.0) == []
    assert len(router.unblocked(B, 3.0)) == 1
    assert router.unblocked(B, 3.0) == []


def test_a_chunk_for_all_but_a_blocked_link_is_still_one_flood() -> None:
    router = make_router()
    open_links(router, 4)
    router.blocked(B, 1.0)
    chunk = b"".join(query_bytes(guid=guid_of(n)) for n in range(10))
    (flood,) = router.receive(A, chunk, 1.0)
    assert isinstance(flood, Flood)
    assert flood.count == 10
    assert router.counters.messages[QUERY].tx == 20
    assert len(sent_by(router.unblocked(B, 1.0))[B]) == 10
    assert router.counters.messages[QUERY].tx == 30
