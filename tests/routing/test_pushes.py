"""Pushes: by servent id, over the link its hits came from."""

from __future__ import annotations

import pytest

from gnutella.networks import Counted, Shares
from gnutella.protocol.kinds import HEADER_SIZE, PUSH, encode_header, parse_header
from gnutella.protocol.message import Push, encode
from gnutella.protocol.vendor import PushProxyRequest
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.push_limits import ALL_BURST, NETWORK_BURST, SERVENT_BURST, WIDE_BURST
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
    return encode(guid_of(guid), ttl, hops, Push.make(servent_id, 3, to))


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


def proxied_leaf(router: Router, number: int) -> Guid:
    """The servent id of a leaf that chose us as its push proxy."""
    leaf, servent_id = LinkId(10 + number), guid_of(900 + number)
    router.link_opened(leaf, LinkInfo(f"10.1.2.{number}", OWN_ADDRESS.host, is_leaf=True, vendor_messages=True), 0.0)
    router.receive(leaf, encode(servent_id, 1, 0, message_of(PushProxyRequest())), 1.0)
    return servent_id


def flooded(router: Router, servent_ids: list[Guid], sources: list[str], first: int = 1000) -> list[object]:
    """What became of one push for each servent of each source, in turn."""
    asked = [(servent_id, source) for source in sources for servent_id in servent_ids]
    return [
        by_udp(router, servent_id, number=first + at, to=Address(source, 6346), source=Address(source, 6346))
        for at, (servent_id, source) in enumerate(asked)
    ]


@pytest.mark.parametrize(
    ("servents", "sources", "taken", "reason"),
    [
        (1, ["11.1.1.1"] * 50, NETWORK_BURST, DropReason.UDP_RATE),
        (1, ["10.1.1.1"] * 50, NETWORK_BURST, DropReason.UDP_RATE),
        (1, ["2a02:8388:1::7"] * 50, NETWORK_BURST, DropReason.UDP_RATE),
        (1, [f"11.1.{near}.1" for near in range(50)], WIDE_BURST, DropReason.NETWORK_FULL),
        (1, [f"2a02:8388:{near + 1:x}::7" for near in range(50)], WIDE_BURST, DropReason.NETWORK_FULL),
        (1, [f"11.{wide}.1.1" for wide in range(50)], SERVENT_BURST, DropReason.PUSH_RATE),
        (3, [f"11.{wide}.1.1" for wide in range(50)], ALL_BURST, DropReason.UDP_BUSY),
    ],
)
def test_pushes_by_udp_are_shared_out(servents: int, sources: list[str], taken: float, reason: DropReason) -> None:
    router = listening()
    outcomes = flooded(router, [proxied_leaf(router, number) for number in range(servents)], sources)
    refused = {outcome for outcome in outcomes if not isinstance(outcome, list)}
    assert sum(isinstance(outcome, list) for outcome in outcomes) == taken
    assert reason in refused <= {reason, DropReason.PUSH_RATE}


@pytest.mark.parametrize(
    ("counted", "sources", "taken"),
    [
        ("off", [f"11.1.{near}.1" for near in range(50)], SERVENT_BURST),
        ("public", [f"10.1.{near}.1" for near in range(50)], SERVENT_BURST),
        ("all", [f"10.1.{near}.1" for near in range(50)], WIDE_BURST),
    ],
)
def test_whose_networks_count_for_pushes_by_udp_says_the_setting(
    counted: Counted, sources: list[str], taken: float
) -> None:
    router = listening()
    router.use_shares(Shares(counted=counted))
    outcomes = flooded(router, [OWN_SERVENT], sources)
    assert sum(isinstance(outcome, list) for outcome in outcomes) == taken


def test_a_flood_of_one_provider_leaves_others_their_pushes() -> None:
    router = listening()
    mine, other = proxied_leaf(router, 1), proxied_leaf(router, 2)
    flooded(router, [mine, other, OWN_SERVENT], [f"11.1.{near}.{host}" for near in range(60) for host in (1, 2)])
    for number, servent_id in enumerate((mine, other, OWN_SERVENT)):
        source = Address(f"12.{number}.1.1", 6346)
        assert isinstance(by_udp(router, servent_id, number=number, to=source, source=source), list)


def test_a_flood_for_one_servent_leaves_others_their_pushes() -> None:
    router = listening()
    wanted, other = proxied_leaf(router, 1), proxied_leaf(router, 2)
    flooded(router, [wanted], [f"11.{wide}.1.1" for wide in range(200)])
    assert by_udp(router, wanted, number=1) is DropReason.PUSH_RATE
    assert isinstance(by_udp(router, other, number=2), list)
    assert isinstance(by_udp(router, OWN_SERVENT, number=3), list)


# -- whose servent id it is --------------------------------------------------------------------------------------------


def with_leaves(servent_id: Guid | None = None) -> Router:
    """Neighbours A, B and C, of which A asked, and leaves 10 and 11; the handshake of 10 said `servent_id`."""
    router = make_router()
    open_links(router, 3)
    router.link_opened(LinkId(10), LinkInfo("10.1.2.1", OWN_ADDRESS.host, is_leaf=True, servent_id=servent_id), 0.0)
    router.link_opened(LinkId(11), LinkInfo("10.1.2.2", OWN_ADDRESS.host, is_leaf=True), 0.0)
    router.receive(A, query_bytes(), 1.0)
    return router


def shows(router: Router, leaf: int, servent_id: Guid) -> int:
    """How many hits of a leaf under that servent id reach the asker."""
    sent = sent_by(router.receive(LinkId(leaf), hit_bytes(hops=0, servent_id=servent_id), 1.5))
    return len(sent.get(A, []))


def led_to(router: Router, servent_id: Guid, number: int = 40) -> set[LinkId]:
    return set(sent_by(router.receive(A, push_bytes(servent_id, guid=number), 2.0)))


def test_a_leaf_has_one_servent_id() -> None:
    router = with_leaves()
    assert shows(router, 10, SERVENT) == 1
    assert [shows(router, 10, guid_of(600 + number)) for number in range(5)] == [0] * 5
    assert router.counters.dropped() == {"servent_borrowed": 5}
    assert led_to(router, SERVENT) == {LinkId(10)}
    assert led_to(router, guid_of(601), 41) == set()


def test_a_leaf_goes_by_the_servent_id_of_its_handshake() -> None:
    router = with_leaves(servent_id=SERVENT)
    assert (shows(router, 10, guid_of(600)), shows(router, 10, SERVENT)) == (0, 1)
    assert router.counters.dropped() == {"servent_borrowed": 1}


def test_a_leaf_cannot_take_the_servent_id_of_another_link() -> None:
    router = with_leaves(servent_id=SERVENT)
    proxied = proxied_leaf(router, 5)
    assert (shows(router, 11, SERVENT), shows(router, 11, proxied), shows(router, 11, guid_of(700))) == (0, 0, 1)
    assert router.counters.dropped() == {"servent_borrowed": 2}
    assert (led_to(router, SERVENT), led_to(router, proxied, 41)) == ({LinkId(10)}, {LinkId(15)})
    third = LinkId(12)
    router.link_opened(third, LinkInfo("10.1.2.3", OWN_ADDRESS.host, is_leaf=True, vendor_messages=True), 2.0)
    assert shows(router, 12, guid_of(700)) == 0, "another leaf went by it first"
    router.receive(third, encode(guid_of(700), 1, 0, message_of(PushProxyRequest())), 3.0)
    assert router.counters.dropped()["proxy_refused"] == 1
    assert led_to(router, guid_of(700), 42) == {LinkId(11)}


def test_pushes_for_a_servent_afar_are_not_drawn_by_a_leaf_that_goes_by_its_id() -> None:
    router = with_leaves()
    router.receive(B, hit_bytes(), 1.2)
    assert shows(router, 10, SERVENT) == 1, "a leaf with two ultrapeers: its hit is good"
    assert led_to(router, SERVENT) == {B}
    router.receive(LinkId(10), encode(SERVENT, 1, 0, message_of(PushProxyRequest())), 3.0)
    assert router.counters.dropped() == {"proxy_refused": 1}
    router.link_closed(B, 4.0)
    assert shows(router, 10, SERVENT) == 1
    assert led_to(router, SERVENT, 41) == {LinkId(10)}, "the way there is gone"


def test_a_leaf_that_comes_again_before_its_old_link_is_known_as_dead_keeps_its_servent_id() -> None:
    router = with_leaves()
    assert shows(router, 10, SERVENT) == 1
    again = LinkId(13)
    router.link_opened(again, LinkInfo("10.1.2.1", OWN_ADDRESS.host, is_leaf=True, vendor_messages=True), 1.0)
    assert shows(router, 13, SERVENT) == 1
    assert led_to(router, SERVENT, 39) == {again}
    router.receive(again, encode(SERVENT, 1, 0, message_of(PushProxyRequest())), 1.5)
    assert router.counters.dropped() == {}
    assert led_to(router, SERVENT) == {again}
    router.link_closed(LinkId(10), 3.0)
    assert led_to(router, SERVENT, 41) == {again}
    assert shows(router, 11, SERVENT) == 0, "still its own"


def test_the_servent_id_of_a_leaf_that_went_is_free_again() -> None:
    router = with_leaves()
    shows(router, 10, SERVENT)
    router.link_closed(LinkId(10), 3.0)
    assert shows(router, 11, SERVENT) == 1
    assert led_to(router, SERVENT) == {LinkId(11)}
