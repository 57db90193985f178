"""Connect-backs: done for whoever asks, at its own address, seldom; and asked for, to learn whether we are reachable."""

from __future__ import annotations

import pytest

from gnutella.protocol.kinds import VENDOR, encode_header
from gnutella.protocol.vendor import TcpConnectBack, UdpConnectBack, VendorMessage
from gnutella.reasons import DropReason
from gnutella.routing import reach
from gnutella.routing.connectback import BURST, GAP_S, PER_SECOND
from gnutella.routing.events import ConnectBackAsked, ReachLearned
from gnutella.routing.router import Router
from gnutella.testing.routers import events_of, guid_of, make_router
from gnutella.testing.vendors import open_reader, told, wire
from gnutella.units import Address, LinkId

A, B, C = LinkId(0), LinkId(1), LinkId(2)


def asked(router: Router, link: LinkId, data: bytes, now: float) -> list[object]:
    return events_of(router.receive(link, data, now))


def test_a_peer_is_called_back_at_its_own_address() -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    assert asked(router, A, wire(TcpConnectBack(7000)), 1.0) == [ConnectBackAsked(Address("10.1.1.1", 7000), None)]
    version1 = wire(UdpConnectBack(7001, guid_of(5)))
    assert asked(router, A, version1, 1.0) == [ConnectBackAsked(Address("10.1.1.1", 7001), guid_of(5))]


def test_version_2_of_the_udp_connect_back_has_its_guid_in_the_header() -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    payload = VendorMessage(b"GTKG", 7, 2, (7001).to_bytes(2, "little")).encode()
    data = encode_header(guid_of(6), VENDOR, 1, 0, len(payload)) + payload
    assert asked(router, A, data, 1.0) == [ConnectBackAsked(Address("10.1.1.1", 7001), guid_of(6))]


@pytest.mark.parametrize("selector", [7, 8])
def test_nobody_can_aim_us_at_somebody_else(selector: int) -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    payload = VendorMessage(b"LIME", selector, 1, bytes((8, 8, 8, 8, 80, 0))).encode()
    data = encode_header(guid_of(6), VENDOR, 1, 0, len(payload)) + payload
    assert asked(router, A, data, 1.0) == []
    assert router.counters.drops[DropReason.CONNECT_BACK_FORGED] == 1


def test_a_request_that_was_passed_on_is_refused() -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    assert asked(router, A, wire(TcpConnectBack(7000), hops=1), 1.0) == []
    assert router.counters.drops[DropReason.SIGNAL_RELAYED] == 1


def test_there_is_no_port_0() -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    assert not any(isinstance(event, ConnectBackAsked) for event in asked(router, A, wire(TcpConnectBack(0)), 1.0))
    assert router.counters.drops[DropReason.BAD_VENDOR] == 1


def test_an_address_is_called_once_in_a_while_whatever_links_it_opens() -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    open_reader(router, B, "10.1.1.1")
    assert len(asked(router, A, wire(TcpConnectBack(1)), 1.0)) == 1
    assert asked(router, B, wire(TcpConnectBack(2)), 2.0) == []
    assert router.counters.drops[DropReason.RATE] == 1
    assert len(asked(router, A, wire(UdpConnectBack(1, guid_of(1))), 3.0)) == 1, "UDP counts by itself"
    assert len(asked(router, A, wire(TcpConnectBack(1)), 1.0 + GAP_S)) == 1


def test_all_addresses_together_have_a_rate() -> None:
    router = make_router()
    most = int(BURST)
    for number in range(most + 3):
        open_reader(router, LinkId(number), f"10.1.{number // 250}.{number % 250 + 1}")
    done = sum(len(asked(router, LinkId(n), wire(TcpConnectBack(9)), 1.0)) for n in range(most + 1))
    assert done == most
    assert len(asked(router, LinkId(most + 1), wire(TcpConnectBack(9)), 1.0 + 1 / PER_SECOND)) == 1
    assert asked(router, LinkId(most + 2), wire(TcpConnectBack(9)), 1.0 + 1 / PER_SECOND) == []


# -- our own requests --------------------------------------------------------------------------------------------------


def listening(links: int, udp: int | None = None) -> Router:
    router = make_router()
    for number in range(links):
        open_reader(router, LinkId(number), f"10.1.1.{number + 1}")
    router.reach.listen(6346, udp)
    return router


def test_nobody_is_asked_while_no_port_is_open() -> None:
    router = listening(3)
    router.reach.listen(None, None)
    assert told(router.tick(1.0)) == {}


def test_a_few_peers_are_asked_once_and_whoever_comes_is_proof() -> None:
    router = listening(6)
    assert told(router.tick(1.0)) == {LinkId(n): [TcpConnectBack(6346)] for n in range(reach.MAX_ASKED)}
    assert told(router.tick(2.0)) == {}
    assert router.reach.tcp is None
    router.reach.reached(3.0)
    assert events_of(router.tick(4.0)) == [ReachLearned(True, None)]
    router.reach.reached(5.0)
    assert events_of(router.tick(5.0 + reach.WAIT_S)) == [], "it is known already"
    assert router.reach.tcp is True


def test_when_several_peers_were_asked_and_nobody_comes_we_are_firewalled() -> None:
    router = listening(2)
    router.tick(1.0)
    assert events_of(router.tick(1.0 + reach.WAIT_S - 1)) == []
    assert events_of(router.tick(1.0 + reach.WAIT_S)) == [ReachLearned(False, None)]
    router.reach.reached(100.0)
    assert events_of(router.tick(101.0)) == [ReachLearned(True, None)]


def test_one_silent_peer_proves_nothing_however_many_links_it_has() -> None:
    router = make_router()
    for number in range(3):
        open_reader(router, LinkId(number), "10.1.1.1")
    router.reach.listen(6346, None)
    assert list(told(router.tick(1.0))) == [A]
    assert events_of(router.tick(1.0 + reach.WAIT_S)) == []
    assert router.reach.tcp is None
    assert told(router.tick(1.0 + reach.AGAIN_S - 1)) == {}
    assert list(told(router.tick(1.0 + reach.AGAIN_S))) == [A]


def test_a_fact_is_looked_at_again() -> None:
    router = listening(2)
    router.reach.reached(1.0)
    assert told(router.tick(2.0)) == {}
    assert len(told(router.tick(1.0 + reach.TRUST_S))) == 2
    later = 1.0 + reach.TRUST_S + reach.WAIT_S
    assert events_of(router.tick(later))[-1] == ReachLearned(False, None)
    assert told(router.tick(later + 1)) == {}
    assert len(told(router.tick(later + reach.DOUBT_S))) == 2


def test_an_other_address_is_an_other_question() -> None:
    router = listening(2)
    router.reach.reached(1.0)
    router.reach.forget()
    assert router.reach.tcp is None
    assert len(told(router.tick(2.0))) == 2


def test_udp_is_a_fact_of_its_own() -> None:
    router = listening(2, udp=6347)
    first, second = told(router.tick(1.0)).values()
    guids = {body.guid for body in (*first, *second) if isinstance(body, UdpConnectBack)}
    assert len(guids) == 2 and None not in guids
    assert {body.port for body in (*first, *second) if isinstance(body, UdpConnectBack)} == {6347}
    router.reach.reached(2.0, by_udp=True)
    assert (router.reach.tcp, router.reach.udp) == (None, True)
    events = events_of(router.tick(1.0 + reach.WAIT_S))
    assert events[-1] == ReachLearned(False, True)


def test_a_host_that_our_datagrams_went_to_is_not_asked_for_one() -> None:
    router = listening(3, udp=6347)
    router.reach.has_hole = lambda host: host == "10.1.1.2"
    asked_by_udp = [
        link for link, bodies in told(router.tick(1.0)).items() if any(isinstance(b, UdpConnectBack) for b in bodies)
    ]
    assert asked_by_udp == [LinkId(0), LinkId(2)]
