"""Push proxies: pushes for those who asked us, and who passes pushes on to us."""

from __future__ import annotations

import pytest

from gnutella.protocol.kinds import PUSH, QUERY_HIT
from gnutella.protocol.message import Push, QueryHit, encode
from gnutella.protocol.vendor import PushProxyAck, PushProxyCancel, PushProxyRequest
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.proxies import AGAIN_S, ANSWER_S, MAX_ASKED
from gnutella.routing.router import LinkInfo, Router
from gnutella.testing.routers import OWN_ADDRESS, OWN_SERVENT, events_of, guid_of, make_router, query_bytes, sent_by
from gnutella.testing.vendors import open_reader, told, wire
from gnutella.units import Address, Guid, LinkId

LEAF, OTHER, UP = LinkId(0), LinkId(1), LinkId(2)
SERVENT = guid_of(500)
PUSHER = Address("10.9.9.9", 6346)


def proxy() -> Router:
    """An ultrapeer of ours with two leaves and a neighbour."""
    router = make_router()
    open_reader(router, LEAF, "10.1.1.1", is_leaf=True)
    open_reader(router, OTHER, "10.1.1.2", is_leaf=True)
    open_reader(router, UP, "10.1.1.3")
    return router


def request(router: Router, link: LinkId, servent_id: Guid = SERVENT, now: float = 1.0) -> list[object]:
    return list(told(router.receive(link, wire(PushProxyRequest(), servent_id), now)).get(link, []))


def push(servent_id: Guid = SERVENT, *, number: int = 9, ttl: int = 3, hops: int = 1) -> bytes:
    return encode(guid_of(number), ttl, hops, Push(servent_id, 7, PUSHER))


def test_who_asks_is_told_where_we_are_and_gets_its_pushes() -> None:
    router = proxy()
    assert request(router, LEAF) == [PushProxyAck(OWN_ADDRESS)]
    [frame] = sent_by(router.receive(UP, push(ttl=1), 2.0))[LEAF]
    assert (frame.kind, frame.ttl, Push.decode(frame.payload)) == (PUSH, 1, Push(SERVENT, 7, PUSHER))


def test_the_acknowledgement_carries_the_servent_id() -> None:
    router = proxy()
    frames = sent_by(router.receive(LEAF, wire(PushProxyRequest(), SERVENT), 1.0))[LEAF]
    assert [frame.guid for frame in frames] == [SERVENT]


def test_a_push_that_came_by_http_is_passed_on_to_who_asked_for_it_and_to_nobody_else() -> None:
    router = proxy()
    assert router.pass_on_push(Push(SERVENT, 0, PUSHER), 1.0) == (False, [])
    request(router, LEAF)
    passed, actions = router.pass_on_push(Push(SERVENT, 0, PUSHER), 2.0)
    assert passed
    [frame] = sent_by(actions)[LEAF]
    assert (frame.ttl, frame.hops, Push.decode(frame.payload).address) == (1, 0, PUSHER)
    router.link_closed(LEAF, 3.0)
    assert router.pass_on_push(Push(SERVENT, 0, PUSHER), 4.0) == (False, [])
    assert router._board.proxied == {}


@pytest.mark.parametrize("wanted", [OWN_SERVENT, Guid(bytes(16))])
def test_some_servent_ids_are_nobodys_to_ask_for(wanted: Guid) -> None:
    router = proxy()
    assert request(router, LEAF, wanted) == []
    assert router.counters.dropped() == {"proxy_refused": 1}


def test_a_servent_id_belongs_to_the_link_that_has_it() -> None:
    router = proxy()
    named = LinkId(3)
    info = LinkInfo("10.1.1.4", OWN_ADDRESS.host, is_leaf=True, servent_id=guid_of(600), vendor_messages=True)
    router.link_opened(named, info, 0.0)
    request(router, LEAF)
    assert request(router, OTHER) == [], "LEAF asked for it"
    assert request(router, OTHER, guid_of(600)) == [], "another link said in its handshake that it is its own"
    assert request(router, named, guid_of(601)) == [], "it said who it is"
    assert router.counters.dropped() == {"proxy_refused": 3}
    assert set(sent_by(router.receive(UP, push(), 2.0))) == {LEAF}


def test_a_link_has_one_servent_id_so_that_the_table_is_no_longer_than_there_are_links() -> None:
    router = proxy()
    for number in range(50):
        assert request(router, LEAF, guid_of(700 + number)) == [PushProxyAck(OWN_ADDRESS)]
    assert router._board.proxied == {guid_of(749): LEAF}


def test_a_leaf_of_ours_is_nobodys_proxy() -> None:
    router = make_router(is_leaf=True)
    open_reader(router, UP, "10.1.1.3")
    assert request(router, UP) == []
    assert router._board.proxied == {}


def test_who_can_be_reached_by_now_is_pushed_no_more() -> None:
    router = proxy()
    request(router, LEAF)
    router.receive(LEAF, wire(PushProxyCancel(), Guid(bytes(16))), 2.0)
    assert router._board.proxied == {}
    assert router.pass_on_push(Push(SERVENT, 0, PUSHER), 3.0) == (False, [])
    router.receive(LEAF, wire(PushProxyCancel()), 4.0)
    assert request(router, LEAF) == [PushProxyAck(OWN_ADDRESS)], "it may ask again"


# -- our own -----------------------------------------------------------------------------------------------------------


def firewalled(links: int = 1) -> Router:
    router = make_router(["hello.txt"])
    router.self.is_firewalled = True
    for number in range(links):
        open_reader(router, LinkId(number), f"10.1.1.{number + 1}")
    return router


def ack(router: Router, link: LinkId, address: Address, guid: Guid = OWN_SERVENT) -> None:
    router.receive(link, wire(PushProxyAck(address), guid), 2.0)


def test_who_is_firewalled_asks_as_many_as_its_hits_can_name() -> None:
    router = firewalled(MAX_ASKED + 2)
    actions = router.tick(1.0)
    assert told(actions) == {LinkId(n): [PushProxyRequest()] for n in range(MAX_ASKED)}
    assert {frame.guid for frames in sent_by(actions).values() for frame in frames} == {OWN_SERVENT}
    assert told(router.tick(2.0)) == {}
    ack(router, LinkId(0), Address("10.1.1.1", 7000))
    late = told(router.tick(1.0 + ANSWER_S))
    assert set(late) == {LinkId(MAX_ASKED), LinkId(MAX_ASKED + 1)}, "those that did not answer are given up"
    again = told(router.tick(1.0 + AGAIN_S + ANSWER_S))
    assert LinkId(1) in again
    assert LinkId(0) not in again


def test_hits_name_the_proxies_as_long_as_their_links_last() -> None:
    router = firewalled(2)
    router.tick(1.0)
    ack(router, LinkId(0), Address("10.1.1.1", 7000))
    ack(router, LinkId(1), Address("10.1.1.2", 7001))

    def hit(number: int) -> QueryHit:
        [frame] = [
            frame
            for frame in sent_by(router.receive(LinkId(1), query_bytes("hello", guid_of(number)), 3.0))[LinkId(1)]
            if frame.kind == QUERY_HIT
        ]
        return QueryHit.decode(frame.payload)

    assert hit(1).needs_push
    assert hit(1 + 1).push_proxies == (Address("10.1.1.1", 7000), Address("10.1.1.2", 7001))
    router.link_closed(LinkId(0), 4.0)
    assert hit(3).push_proxies == (Address("10.1.1.2", 7001),)
    router.self.is_firewalled = False
    assert hit(4).push_proxies == (), "nobody needs them"


def test_proxies_that_are_not_needed_any_more_are_told_so() -> None:
    router = firewalled()
    router.tick(1.0)
    ack(router, LinkId(0), Address("10.1.1.1", 7000))
    router.self.is_firewalled = False
    actions = router.tick(3.0)
    assert told(actions) == {LinkId(0): [PushProxyCancel()]}
    assert router.self.push_proxies == ()
    assert told(router.tick(4.0)) == {}
    router.self.is_firewalled = True
    assert told(router.tick(5.0)) == {LinkId(0): [PushProxyRequest()]}


def test_a_proxy_is_where_its_link_leads_whatever_it_says() -> None:
    router = firewalled()
    router.tick(1.0)
    ack(router, LinkId(0), Address("8.8.8.8", 7000))
    assert router.self.push_proxies == (Address("10.1.1.1", 7000),)


@pytest.mark.parametrize("case", ["not asked", "another servent", "no port"])
def test_an_offer_that_is_no_answer_is_dropped(case: str) -> None:
    router = firewalled()
    if case != "not asked":
        router.tick(1.0)
    guid = guid_of(4) if case == "another servent" else OWN_SERVENT
    ack(router, LinkId(0), Address("10.1.1.1", 0 if case == "no port" else 7000), guid)
    assert router.self.push_proxies == ()
    assert router.counters.drops[DropReason.PROXY_UNREQUESTED] == 1


def test_a_leaf_asks_too_until_somebody_has_reached_it() -> None:
    router = make_router(is_leaf=True)
    open_reader(router, UP, "10.1.1.3")
    assert told(router.tick(1.0)) == {UP: [PushProxyRequest()]}
    router = make_router(is_leaf=True)
    open_reader(router, UP, "10.1.1.3")
    router.reach.reached(0.5)
    assert told(router.tick(1.0)) == {}


def test_who_can_be_reached_asks_nobody() -> None:
    router = make_router()
    open_reader(router, UP, "10.1.1.3")
    assert told(router.tick(1.0)) == {}


def test_a_push_through_a_proxy_reaches_the_servent_that_asked_for_it() -> None:
    """Both ends: a leaf that is firewalled, and its ultrapeer."""
    leaf = firewalled()
    [frame] = [f for f in sent_by(leaf.tick(1.0))[LinkId(0)] if f.guid == OWN_SERVENT]
    other = make_router(servent_id=guid_of(42))
    open_reader(other, LEAF, "10.1.1.1", is_leaf=True)
    answered = sent_by(other.receive(LEAF, frame.message, 1.0))[LEAF]
    leaf.receive(LinkId(0), b"".join(f.message for f in answered), 1.0)
    assert leaf.self.push_proxies == (Address("10.1.1.1", OWN_ADDRESS.port),)
    passed, actions = other.pass_on_push(Push(OWN_SERVENT, 7, PUSHER), 2.0)
    assert passed
    [on_its_way] = sent_by(actions)[LEAF]
    assert events_of(leaf.receive(LinkId(0), on_its_way.message, 2.0)) == [
        PushReceived(Push(OWN_SERVENT, 7, PUSHER), LinkId(0))
    ]
