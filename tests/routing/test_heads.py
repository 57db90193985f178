"""HEAD pings: answered from the library, small and seldom; passed on to leaves whose push proxy we are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella import VENDOR_CODE
from gnutella.networks import Shares
from gnutella.protocol.addresses import encode_hosts
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, VENDOR, parse_header
from gnutella.protocol.message import VendorMessage
from gnutella.protocol.urn import sha1_urn
from gnutella.protocol.vendor import HeadPing, HeadPong, PushProxyRequest, body_of
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, SendDatagram
from gnutella.routing.heads import MAX_ALTERNATES, MAX_FORWARDED, Holding
from gnutella.routing.router import Router
from gnutella.routing.udp_limits import MAX_AMPLIFICATION
from gnutella.testing.routers import OWN_SERVENT, events_of, guid_of, make_router, sent_by
from gnutella.testing.vendors import open_reader, told, wire
from gnutella.units import Address, Guid, LinkId

PEER, LEAF = LinkId(0), LinkId(1)
SHA1 = bytes(range(20))
ASKER = Address("192.0.2.7", 6346)
OTHERS = tuple(Address(f"192.0.2.{n}", 6346) for n in range(20, 40))
SERVENT = guid_of(500)


HELD = Holding(3)


def router_with(holding: Holding | None = HELD) -> Router:
    router = make_router()
    open_reader(router, PEER, "10.1.1.1")
    open_reader(router, LEAF, "10.1.1.2", is_leaf=True)
    router.heads.holding = lambda sha1: holding if sha1 == SHA1 else None
    router.open_datagrams(b"s" * 32, 0.0)
    return router


def ping(flags: int = 0, servent_id: bytes | None = None, sha1: bytes = SHA1) -> HeadPing:
    return HeadPing(flags, sha1_urn(sha1), None if servent_id is None else Ggep.of({"PUSH": servent_id}))


def pong_of(router: Router, question: HeadPing, now: float = 1.0) -> HeadPong | None:
    """The answer over a link."""
    bodies = told(router.receive(PEER, wire(question, guid_of(9)), now)).get(PEER, [])
    for body in bodies:
        assert isinstance(body, HeadPong)
        return body
    return None


def by_udp(router: Router, question: HeadPing, now: float = 1.0, source: Address = ASKER) -> list[Action] | DropReason:
    data = wire(question, guid_of(9))
    return router.datagram(parse_header(data), data[HEADER_SIZE:], source, now)


def datagrams(outcome: list[Action] | DropReason) -> list[SendDatagram]:
    assert not isinstance(outcome, DropReason), outcome
    return [event for event in events_of(outcome) if isinstance(event, SendDatagram)]


def test_a_file_that_is_here_is_told_with_the_room_there_is() -> None:
    router = router_with()
    pong = pong_of(router, ping())
    assert pong is not None
    assert (pong.code, pong.queue, pong.alternates) == (1, -3, ())
    assert pong.ggep.get("V") == VENDOR_CODE
    router.self.is_firewalled = router.self.reads_tls = True
    pong = pong_of(router, ping(), 3.0)
    assert pong is not None and (pong.code, pong.ggep.get("F")) == (5, b"\1")


@pytest.mark.parametrize(("free", "queue"), [(0, 0x7F), (1, -1), (1000, -127)])
def test_the_queue_state_is_a_signed_byte(free: int, queue: int) -> None:
    pong = pong_of(router_with(Holding(free)), ping())
    assert pong is not None and pong.queue == queue


def test_a_file_that_is_not_here_is_told_too() -> None:
    pong = pong_of(router_with(), ping(sha1=bytes(20)))
    assert pong is not None
    assert (pong.code, pong.queue) == (0, None)


def test_other_sources_are_told_to_who_asks_for_them() -> None:
    router = router_with(Holding(3, OTHERS[:MAX_ALTERNATES]))
    without, some = pong_of(router, ping()), pong_of(router, ping(2), 3.0)
    assert without is not None and without.alternates == ()
    assert some is not None and 0 < len(some.alternates) <= MAX_ALTERNATES
    assert some.alternates == OTHERS[: len(some.alternates)]


@given(st.integers(0, 31), st.integers(0, 300), st.integers(0, 20))
def test_by_udp_the_answer_is_at_most_twice_the_question(flags: int, free: int, others: int) -> None:
    router = router_with(Holding(free, OTHERS[:others]))
    question = ping(flags, OWN_SERVENT if flags & 16 else None)
    [answer] = datagrams(by_udp(router, question))
    assert answer.to == ASKER
    assert len(answer.data) <= MAX_AMPLIFICATION * len(wire(question))
    assert parse_header(answer.data).guid == guid_of(9)
    pong = body_of(VendorMessage.decode(answer.data[HEADER_SIZE:]))
    assert isinstance(pong, HeadPong) and pong.code == 1


def test_each_source_gets_an_answer_a_second_and_each_link_too() -> None:
    router = router_with()
    assert len(datagrams(by_udp(router, ping()))) == 1
    assert by_udp(router, ping()) is DropReason.UDP_RATE
    assert len(datagrams(by_udp(router, ping(), source=Address("192.0.2.8", 6346)))) == 1
    assert len(datagrams(by_udp(router, ping(), 2.0))) == 1
    assert pong_of(router, ping()) is not None
    assert pong_of(router, ping()) is None
    assert router.counters.drops[DropReason.RATE] == 1


# -- for leaves --------------------------------------------------------------------------------------------------------


def proxied() -> Router:
    router = router_with()
    router.receive(LEAF, wire(PushProxyRequest(), SERVENT), 0.5)
    return router


def pong_from_leaf(router: Router, guid: Guid, body: HeadPong | None = None) -> list[Action]:
    return router.receive(LEAF, wire(body or HeadPong(Ggep.of({"C": b"\1"})), guid), 1.2)


def test_one_network_has_the_share_of_answers_that_the_settings_say() -> None:
    router = router_with()
    router.use_shares(Shares(near_percent=1))  # of 50 a second, in ten seconds
    outcomes = [by_udp(router, ping(), source=Address(f"11.1.1.{number}", 6346)) for number in range(1, 9)]
    assert [isinstance(outcome, list) for outcome in outcomes] == [True] * 5 + [False] * 3
    assert set(outcomes[5:]) == {DropReason.NETWORK_FULL}
    assert isinstance(by_udp(router, ping(), source=Address("11.1.2.1", 6346)), list)


def test_a_ping_for_a_leaf_goes_to_it_and_its_pong_to_who_asked() -> None:
    router = proxied()
    outcome = by_udp(router, ping(0x10, SERVENT))
    assert datagrams(outcome) == []
    assert not isinstance(outcome, DropReason)
    [frame] = sent_by(outcome)[LEAF]
    assert (frame.kind, frame.guid) == (VENDOR, guid_of(9))
    [answer] = datagrams(pong_from_leaf(router, guid_of(9)))
    assert answer.to == ASKER
    assert datagrams(pong_from_leaf(router, guid_of(9))) == [], "one pong for a ping"
    assert router.counters.drops[DropReason.HEAD_UNREQUESTED] == 1


def test_over_a_link_it_comes_back_over_that_link() -> None:
    router = proxied()
    asked = told(router.receive(PEER, wire(ping(0x10, SERVENT), guid_of(9)), 1.0))
    assert list(asked) == [LEAF]
    assert list(told(pong_from_leaf(router, guid_of(9)))) == [PEER]


def test_a_leaf_that_is_not_ours_is_not_asked() -> None:
    router = proxied()
    assert by_udp(router, ping(0x10, guid_of(501))) is DropReason.NOT_PROXIED
    assert by_udp(router, ping(0x10, SERVENT), source=Address("192.0.2.9", 1), now=2.0) != DropReason.NOT_PROXIED
    assert by_udp(router, ping(0x10, SERVENT), source=Address("192.0.2.10", 1), now=2.0) is DropReason.DUPLICATE


def test_a_leaf_does_not_ask_itself_through_us() -> None:
    router = proxied()
    assert told(router.receive(LEAF, wire(ping(0x10, SERVENT)), 1.0)) == {}
    assert router.counters.drops[DropReason.NOT_PROXIED] == 1


def test_a_leaf_cannot_have_us_send_long_datagrams() -> None:
    router = proxied()
    by_udp(router, ping(0x10, SERVENT))
    long = HeadPong(Ggep.of({"C": b"\1", "A": encode_hosts(OTHERS * 3)}))
    assert len(wire(long)) > MAX_FORWARDED
    assert datagrams(pong_from_leaf(router, guid_of(9), long)) == []
    assert router.counters.drops[DropReason.HEAD_UNREQUESTED] == 1


def test_a_pong_that_nobody_asked_for_is_dropped() -> None:
    router = router_with()
    assert datagrams(pong_from_leaf(router, guid_of(1))) == []
    assert router.counters.drops[DropReason.HEAD_UNREQUESTED] == 1
