"""Messages of one link alone: Bye, vendor messages, route tables, unknown kinds; and what a link starts with."""

from __future__ import annotations

import pytest

from gnutella.protocol.kinds import BYE, HSEP, PING, ROUTE_TABLE, VENDOR, encode_header
from gnutella.protocol.message import Bye, RouteReset, VendorMessage, encode
from gnutella.protocol.vendor import HopsFlow, MessagesSupported, QueryStatus, body_of
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.events import ByeReceived
from gnutella.routing.link import MAX_BAD, Link
from gnutella.routing.router import LinkInfo
from gnutella.testing.routers import (
    OWN_ADDRESS,
    closes_of,
    events_of,
    guid_of,
    make_router,
    open_links,
    query_bytes,
    sent_by,
)
from gnutella.units import LinkId

A, B = LinkId(0), LinkId(1)


def message(kind: int, payload: bytes) -> bytes:
    return encode_header(guid_of(3), kind, 1, 0, len(payload)) + payload


def test_messages_supported_comes_before_everything_else_when_the_peer_reads_it() -> None:
    router = make_router()
    sent = sent_by(router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host, vendor_messages=True), 0.0))[A]
    assert [frame.kind for frame in sent] == [VENDOR, PING]
    assert (sent[0].ttl, sent[0].hops) == (1, 0)
    body = body_of(VendorMessage.decode(sent[0].payload))
    assert isinstance(body, MessagesSupported)
    assert set(body.messages) == {
        (bytes(4), 10, 0),
        (b"BEAR", 4, 1),
        (b"BEAR", 7, 1),
        (b"BEAR", 11, 1),
        (b"BEAR", 12, 1),
        (b"GTKG", 7, 2),
        (b"GTKG", 21, 1),
        (b"LIME", 13, 1),
        (b"LIME", 21, 2),
        (b"LIME", 22, 2),
        (b"LIME", 23, 2),
        (b"LIME", 24, 2),
    }
    sent = sent_by(router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host), 0.0))[B]
    assert [frame.kind for frame in sent] == [PING]


def test_a_bye_is_told_and_ends_the_link() -> None:
    router = make_router()
    open_links(router, 2)
    bye = encode(guid_of(1), 1, 0, Bye(201, "bored"))
    actions = router.receive(A, bye + query_bytes(), 1.0)
    assert events_of(actions) == [ByeReceived(A, 201, "bored")]
    assert sent_by(actions) == {}, "what follows a Bye is not read"
    assert router.links() == [B]
    assert router.link_closed(A, 1.1) == []


def test_an_unreadable_bye_ends_the_link_too() -> None:
    router = make_router()
    open_links(router, 1)
    events = events_of(router.receive(A, message(BYE, b"\1"), 1.0))
    assert ByeReceived(A, 0, "") in events
    assert router.links() == []


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (message(0x77, b"what"), DropReason.UNKNOWN_KIND),
        (message(0x41, b""), DropReason.UNKNOWN_KIND),
        (message(VENDOR, b"GTKG"), DropReason.BAD_VENDOR),
        (message(VENDOR, b"BEAR\4\0\1\0"), DropReason.BAD_VENDOR),
        (message(ROUTE_TABLE, b"\7"), DropReason.BAD_ROUTE_TABLE),
        (message(ROUTE_TABLE, b""), DropReason.BAD_ROUTE_TABLE),
        (message(HSEP, b"x"), DropReason.BAD_HSEP),
    ],
)
def test_what_cannot_be_read_is_counted(wire: bytes, reason: DropReason) -> None:
    router = make_router()
    open_links(router, 2)
    assert sent_by(router.receive(A, wire, 1.0)) == {}
    assert router.counters.dropped() == {reason.value: 1}


def test_too_many_unreadable_messages_close_the_link() -> None:
    router = make_router()
    open_links(router, 2)
    junk = message(0x77, b"junk")
    assert closes_of(router.receive(A, junk * MAX_BAD, 1.0)) == {}
    assert closes_of(router.receive(A, junk, 1.0)) == {A: DropReason.TOO_MANY_BAD}


def test_a_few_unreadable_messages_among_many_are_forgiven() -> None:
    router = make_router()
    open_links(router, 2)
    for number in range(40):
        good = b"".join(query_bytes(guid=guid_of(number * 100 + n)) for n in range(30))
        assert closes_of(router.receive(A, good + message(0x77, b"junk"), 1.0)) == {}
    assert router.counters.drops[DropReason.UNKNOWN_KIND] == 40


def test_a_route_table_of_a_neighbour_is_taken_without_a_word() -> None:
    router = make_router()
    open_links(router, 1)
    assert router.receive(A, message(ROUTE_TABLE, RouteReset(65536, 7).encode()), 1.0) == []
    assert router.counters.dropped() == {}
    assert router.counters.messages[ROUTE_TABLE].rx == 1


def supported(*rows: tuple[bytes, int, int]) -> bytes:
    return message(VENDOR, message_of(MessagesSupported(rows)).encode())


def test_what_a_peer_lists_is_kept_of_its_link_as_far_as_it_is_known_here() -> None:
    link = Link(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host), 0.0)
    assert not link.reads_vendor(b"BEAR", 4)
    router = make_router()
    open_links(router, 2)
    signals = router._signals
    router.receive(A, supported((b"BEAR", 4, 1), (b"LIME", 11, 2), (b"LIME", 11, 3), (b"ZZZZ", 9, 9)), 1.0)
    link = router._board.links[A]
    assert link.reads_vendor(b"BEAR", 4) and link.reads_vendor(b"BEAR", 4, 1) and not link.reads_vendor(b"BEAR", 4, 2)
    assert link.reads_vendor(b"LIME", 11, 3)
    assert len(link.vendor) == 2, "unknown ones would be memory that a peer can make us use"
    assert signals.tell(link, HopsFlow(0))
    assert not signals.tell(link, QueryStatus(3)), "it did not list that"
    assert not signals.tell(router._board.links[B], HopsFlow(0))
    [sent] = sent_by(router.tick(1.5))[A]
    assert (sent.kind, sent.ttl, sent.hops) == (VENDOR, 1, 0)
    assert body_of(VendorMessage.decode(sent.payload)) == HopsFlow(0)


def test_a_later_list_takes_the_place_of_the_first() -> None:
    router = make_router()
    open_links(router, 1)
    router.receive(A, supported((b"BEAR", 4, 1)) + supported((b"BEAR", 7, 1)), 1.0)
    assert list(router._board.links[A].vendor) == [(b"BEAR", 7)]


def test_whoever_reads_a_message_gets_it_and_it_is_listed() -> None:
    router = make_router()
    got: list[object] = []
    router._signals.read(b"BEAR", 12, 1, lambda link, guid, body, now: got.append((link.id, guid, body, now)))
    opened = router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host, vendor_messages=True), 0.0)
    listed = body_of(VendorMessage.decode(sent_by(opened)[A][0].payload))
    assert isinstance(listed, MessagesSupported) and (b"BEAR", 12, 1) in listed.messages
    router.receive(A, message(VENDOR, message_of(QueryStatus(9)).encode()), 2.0)
    assert got == [(A, guid_of(3), QueryStatus(9), 2.0)]


def test_a_vendor_message_that_was_passed_on_is_dropped() -> None:
    router = make_router()
    open_links(router, 1)
    payload = message_of(MessagesSupported(((b"BEAR", 4, 1),))).encode()
    router.receive(A, encode_header(guid_of(3), VENDOR, 1, 1, len(payload)) + payload, 1.0)
    assert router.counters.dropped() == {"signal_relayed": 1}
    assert not router._board.links[A].reads_vendor(b"BEAR", 4)
