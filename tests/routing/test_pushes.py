"""Pushes: by servent id, over the link its hits came from."""

from __future__ import annotations

import pytest

from gnutella.protocol.kinds import HEADER_SIZE, PUSH, encode_header, parse_header
from gnutella.protocol.message import Push, encode
from gnutella.protocol.vendor import PushProxyRequest
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.pushes import ALL_BURST, NETWORK_BURST
from gnutella.routing.router import LinkInfo, Router
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
from tests.routing.test_hits import SERVENT, hit_bytes

A, B, C = LinkId(0), LinkId(1), LinkId(2)
ASKER = Address("10.8.8.8", 6346)


def push_bytes(
    servent_id: Guid = SERVENT, *, guid: int = 40, ttl: int = 5, hops: int = 1, to: Address = ASKER
) -> bytes:
    return encode(guid_of(guid), ttl, hops, Push(servent_id, 3, to))


def knows_servent_behind_b() -> Router:
    router = make_router()
    open_links(router, 3)
    router.receive(A, query_bytes(), 1.0)
    router.receive(B, hit_bytes(), 1.0)
    return router


def test_a_push_follows_the_hits_of_its_servent() -> None:
    router = knows_servent_behind_b()
    sent = sent_by(router.receive(A, push_bytes(), 2.0))
    assert {link: [(f.kind, f.ttl, f.hops) for f in got] for link, got in sent.items()} == {B: [(PUSH, 4, 2)]}


def test_a_push_is_routed_once() -> None:
    router = knows_servent_behind_b()
    router.receive(A, push_bytes(), 2.0)
    assert sent_by(router.receive(C, push_bytes(), 2.0)) == {}
    assert router.counters.dropped() == {"duplicate": 1}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (push_bytes(guid_of(9999)), DropReason.NO_ROUTE),
        (push_bytes(ttl=0), DropReason.TTL_ZERO),
        (push_bytes(ttl=1), DropReason.TTL_SPENT),
        (encode_header(guid_of(3), PUSH, 4, 1, 25) + bytes(25), DropReason.BAD_PUSH),
        (encode_header(guid_of(3), PUSH, 4, 1, 2000) + SERVENT + bytes(1984), DropReason.BAD_PUSH),
    ],
)
def test_pushes_that_go_nowhere(message: bytes, reason: DropReason) -> None:
    router = knows_servent_behind_b()
    assert sent_by(router.receive(A, message, 2.0)) == {}
    assert router.counters.dropped() == {reason.value: 1}


def test_a_push_is_not_sent_back_to_where_it_came_from() -> None:
    router = knows_servent_behind_b()
    assert sent_by(router.receive(B, push_bytes(), 2.0)) == {}
    assert router.counters.dropped() == {"no_route": 1}


def test_a_route_over_a_closed_link_is_no_route() -> None:
    router = knows_servent_behind_b()
    router.link_closed(B, 1.5)
    assert sent_by(router.receive(A, push_bytes(), 2.0)) == {}
    assert router.counters.dropped() == {"route_gone": 1}
    assert router.send_push(Push(SERVENT, 1, ASKER), 2.0) == (False, [])


def test_a_neighbour_gets_its_push_on_the_last_hop() -> None:
    router = make_router()
    router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host), 0.0)
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host, servent_id=SERVENT), 0.0)
    sent = sent_by(router.receive(A, push_bytes(ttl=1, hops=3), 2.0))
    assert [(frame.ttl, frame.hops) for frame in sent[B]] == [(1, 4)]
    router.link_closed(B, 3.0)
    assert sent_by(router.receive(A, push_bytes(guid=41), 3.0)) == {}
    assert router.counters.dropped() == {"no_route": 1}


def test_a_push_for_us_is_an_event() -> None:
    router = make_router()
    open_links(router, 2)
    (event,) = events_of(router.receive(A, push_bytes(OWN_SERVENT, ttl=1), 2.0))
    assert event == PushReceived(Push(OWN_SERVENT, 3, ASKER), A)


@pytest.mark.parametrize("to", [Address("255.255.255.255", 80), Address("224.1.1.1", 80)])
def test_a_push_to_an_impossible_address_is_refused(to: Address) -> None:
    router = make_router()
    open_links(router, 2)
    events = events_of(router.receive(A, push_bytes(OWN_SERVENT, to=to), 2.0))
    assert not any(isinstance(event, PushReceived) for event in events)
    assert router.counters.dropped() == {"bad_push": 1}


def test_our_own_push_takes_the_way_of_the_hit() -> None:
    router = knows_servent_behind_b()
    sent, actions = router.send_push(Push(SERVENT, 1, OWN_ADDRESS), 2.0)
    assert sent
    ((frame,),) = sent_by(actions).values()
    assert (frame.kind, frame.hops) == (PUSH, 0)
    assert Push.decode(frame.payload).servent_id == SERVENT
    assert router.receive(C, frame.message, 2.1) == [], "when it comes back it is known as ours"
    assert router.counters.dropped() == {"own_message": 1}


def test_a_hit_that_nobody_asked_for_teaches_no_route() -> None:
    router = make_router()
    open_links(router, 2)
    router.receive(B, hit_bytes(guid_of(70)), 1.0)
    assert router.send_push(Push(SERVENT, 1, OWN_ADDRESS), 2.0) == (False, [])


def test_routes_to_servents_are_forgotten_after_half_an_hour() -> None:
    router = knows_servent_behind_b()
    router.tick(901.0)
    assert router.send_push(Push(SERVENT, 1, OWN_ADDRESS), 902.0)[0]
    router.tick(1802.0)
    assert not router.send_push(Push(SERVENT, 1, OWN_ADDRESS), 1803.0)[0]


def test_a_neighbour_is_reached_directly_whatever_hits_said() -> None:
    router = knows_servent_behind_b()
    router.link_opened(LinkId(3), LinkInfo("10.1.1.9", OWN_ADDRESS.host, servent_id=SERVENT), 1.5)
    assert set(sent_by(router.receive(A, push_bytes(), 2.0))) == {LinkId(3)}
    router.link_opened(LinkId(4), LinkInfo("10.1.1.9", OWN_ADDRESS.host, servent_id=SERVENT), 2.5)
    router.link_closed(LinkId(3), 3.0)
    assert set(sent_by(router.receive(A, push_bytes(guid=41), 3.0))) == {LinkId(4)}
    router.link_closed(LinkId(4), 3.5)
    assert set(sent_by(router.receive(A, push_bytes(guid=42), 4.0))) == {B}


# -- by UDP ------------------------------------------------------------------------------------------------------------


def by_udp(
    router: Router, servent_id: Guid, *, number: int = 60, to: Address = ASKER, source: Address = ASKER
) -> object:
    data = push_bytes(servent_id, guid=number, to=to)
    return router.datagram(parse_header(data), data[HEADER_SIZE:], source, 2.0)


def listening() -> Router:
    router = make_router()
    router.open_datagrams(bytes(32), 0.0)
    open_links(router, 3)
    return router


def test_a_push_by_udp_is_answered_once() -> None:
    router = listening()
    actions = by_udp(router, OWN_SERVENT)
    assert isinstance(actions, list)
    (event,) = [one for one in events_of(actions) if isinstance(one, PushReceived)]
    assert event.push.address == ASKER and event.push.index == 3
    assert by_udp(router, OWN_SERVENT) is DropReason.DUPLICATE


def test_a_push_by_udp_for_a_leaf_that_chose_us_goes_to_it_with_one_hop_left() -> None:
    router = listening()
    leaf = LinkId(9)
    router.link_opened(leaf, LinkInfo("10.1.1.77", OWN_ADDRESS.host, is_leaf=True, vendor_messages=True), 0.0)
    router.receive(leaf, encode(SERVENT, 1, 0, message_of(PushProxyRequest())), 1.0)
    actions = by_udp(router, SERVENT)
    assert isinstance(actions, list)
    (frame,) = sent_by(actions)[leaf]
    assert (frame.kind, frame.ttl, Push.decode(frame.payload).address) == (PUSH, 1, ASKER)


def test_what_nobody_answers_of_pushes_by_udp() -> None:
    router = listening()
    assert by_udp(router, SERVENT) is DropReason.NO_ROUTE
    assert by_udp(router, OWN_SERVENT, source=Address("10.9.9.9", 6346)) is DropReason.PUSH_FORGED
    assert by_udp(router, OWN_SERVENT, to=Address("0.0.0.0", 1)) is DropReason.BAD_PUSH
    short = push_bytes(OWN_SERVENT)[: HEADER_SIZE + 20]
    assert router.datagram(parse_header(short), short[HEADER_SIZE:], ASKER, 2.0) is DropReason.BAD_PUSH
    assert make_router().datagram(parse_header(short), b"", ASKER, 2.0) is DropReason.NOT_OVER_UDP


def test_pushes_by_udp_are_few_from_one_network_and_from_all() -> None:
    router = listening()
    taken = [by_udp(router, OWN_SERVENT, number=100 + number) for number in range(50)]
    assert taken.count(DropReason.UDP_RATE) == 50 - NETWORK_BURST
    for number in range(100):
        source = Address(f"11.{number}.0.1", 6346)
        taken.append(by_udp(router, OWN_SERVENT, number=200 + number, to=source, source=source))
    assert taken.count(DropReason.UDP_RATE) == 150 - ALL_BURST
