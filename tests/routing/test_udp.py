"""Datagrams: what a ping of a stranger gets, which pongs are believed, and that nobody can use us against others."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gnutella.networks import Shares
from gnutella.protocol.addresses import decode_hosts, decode_hosts6, encode_hosts, encode_hosts6
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, KIND_NAMES, PING, PONG, QUERY, encode_header, parse_header
from gnutella.protocol.message import Ping, Pong
from gnutella.reasons import DropReason
from gnutella.routing.events import HostLearned
from gnutella.routing.lan import GROUP, MAX_JITTER_S
from gnutella.routing.udp import (
    MAX_PONGS_OF_CACHE,
    MAX_PONGS_OF_CALL,
    PROVOKED_LIFE_S,
    Datagrams,
    Needs,
    SeenAs,
    UdpReached,
)
from gnutella.routing.udp_limits import ANSWER_BURST, ANSWERS_PER_S, MAX_AMPLIFICATION, MAX_SOURCES, AnswerLimits
from gnutella.routing.udp_pongs import MAX_PACKED, SCP_ULTRAPEER, Tellable
from gnutella.testing.datagrams import (
    ASKS_ALL,
    OWN,
    STRANGER,
    FakeServent,
    events,
    make_datagrams,
    ping_datagram,
    pong_datagram,
    sent,
)
from gnutella.testing.fuzz_targets import judge_datagram
from gnutella.units import Address, Guid

CACHE = Address("82.1.1.1", 3558)
NEIGHBOUR = Address("10.0.0.9", 7000)
WANTS = Needs(hosts=True, links=True, is_lonely=True)
SCP = Ggep.of({"SCP": b"\0"})


def pong_of(datagram: bytes) -> Pong:
    header = parse_header(datagram)
    assert (header.kind, header.ttl, header.hops, header.length) == (PONG, 1, 0, len(datagram) - HEADER_SIZE)
    return Pong.decode(datagram[HEADER_SIZE:])


def answer(udp: Datagrams, ggep: Ggep | None, source: Address = STRANGER, now: float = 0.0) -> Pong:
    (action,) = sent(udp.receive(ping_datagram(ggep), source, now))
    assert action.to == source
    return pong_of(action.data)


def value(pong: Pong, key: str) -> bytes | None:
    return pong.ggep.get(key) if pong.ggep is not None else None


def asked(udp: Datagrams, needs: Needs = WANTS, now: float = 0.0) -> Guid:
    """Have it send its one ping; the GUID."""
    (action,) = sent(udp.tick(now, needs))
    return parse_header(action.data).guid


def hosts(count: int, *, tls: bool = False) -> list[Tellable]:
    return [Tellable(Address(f"83.1.1.{n + 1}", 6346 + n), tls) for n in range(count)]


# -- what a ping gets --------------------------------------------------------------------------------------------------


def test_a_bare_ping_gets_our_pong_with_its_guid() -> None:
    udp = make_datagrams()
    (action,) = sent(udp.receive(ping_datagram(number=5), STRANGER, 0.0))
    assert action.to == STRANGER and action.delay_s == 0.0
    assert parse_header(action.data).guid == parse_header(ping_datagram(number=5)).guid
    pong = pong_of(action.data)
    assert (pong.address, pong.files, pong.kbytes) == (OWN, 12, 3456)
    assert pong.free_slots == (90, 20)


def test_a_leaf_does_not_call_itself_an_ultrapeer_nor_a_cache() -> None:
    pong = answer(make_datagrams(FakeServent(slots=None)), ASKS_ALL)
    assert value(pong, "UP") is None and value(pong, "UDPHC") is None


def test_the_asker_is_told_its_own_address_when_it_asks() -> None:
    pong = answer(make_datagrams(), Ggep.of({"IP": b""}))
    assert decode_hosts(value(pong, "IP") or b"") == (STRANGER,)
    assert value(answer(make_datagrams(), Ggep.of({"VC": b"TEST\x10"})), "IP") is None
    v6 = Address("2001:db8:1::5", 77)
    udp = make_datagrams(FakeServent(address=Address("2001:db8::1", 6346)), allow_private=True)
    pong = answer(udp, ASKS_ALL, v6)
    assert decode_hosts6(value(pong, "IP") or b"") == (v6,)
    assert pong.ipv6 == Address("2001:db8::1", 6346)


def test_whoever_asks_for_packed_hosts_gets_ten_and_is_told_that_we_are_a_cache() -> None:
    servent = FakeServent(hosts=hosts(25))
    pong = answer(make_datagrams(servent), SCP)
    assert pong.packed_hosts == tuple(host.address for host in servent.hosts[:MAX_PACKED])
    assert value(pong, "UDPHC") == b"" and value(pong, "TLS") == b"" and value(pong, "IPP_TLS") is None


def test_whoever_asks_for_hosts_that_answer_queries_by_udp_gets_only_those() -> None:
    some = [host._replace(takes_guess=bool(number % 2)) for number, host in enumerate(hosts(6))]
    udp = make_datagrams(FakeServent(hosts=some))
    assert answer(udp, Ggep.of({"GUE": b""})).packed_hosts == tuple(host.address for host in some[1::2])
    assert value(answer(make_datagrams(FakeServent(hosts=some)), Ggep.of({"GUE": b"\x02\0\0"})), "IPP") is None
    (again,) = udp.receive(ping_datagram(Ggep.of({"GUE": b""})), STRANGER, 30.0) or (None,)
    assert again is None and udp.counters.drops[DropReason.UDP_RATE] == 1


def test_the_tls_bitmap_says_which_of_them_take_it() -> None:
    some = hosts(9)
    some[0], some[8] = some[0]._replace(takes_tls=True), some[8]._replace(takes_tls=True)
    assert value(answer(make_datagrams(FakeServent(hosts=some)), SCP), "IPP_TLS") == b"\x80\x80"
    some[8] = some[8]._replace(takes_tls=False)
    assert value(answer(make_datagrams(FakeServent(hosts=some)), SCP), "IPP_TLS") == b"\x80"


def test_ipv6_hosts_are_told_to_those_who_say_that_they_read_them() -> None:
    v6 = Tellable(Address("2606:4700::1", 6346), True)
    servent = FakeServent(hosts=[v6, *hosts(2)])
    assert len(answer(make_datagrams(servent), SCP).packed_hosts) == 2
    pong = answer(make_datagrams(servent), Ggep.of({"SCP": b"\x04"}))
    assert v6.address in pong.packed_hosts and len(pong.packed_hosts) == 3
    assert value(pong, "IPP6_TLS") == b"\x80"


def test_neither_the_asker_nor_we_nor_private_hosts_are_told() -> None:
    secret = [Tellable(Address("10.1.1.1", 6346)), Tellable(OWN), Tellable(Address(STRANGER.host, 6346))]
    assert answer(make_datagrams(FakeServent(hosts=secret)), SCP).packed_hosts == ()
    assert len(answer(make_datagrams(FakeServent(hosts=secret), allow_private=True), SCP).packed_hosts) == 1


# -- that nobody can use us --------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from(["IP", "VC", "TLS", "LOC", "GUE"]), st.binary(max_size=20)),
    st.booleans(),
    st.sampled_from([OWN, Address("2001:db8::1", 6346)]),
)
def test_an_answer_without_packed_hosts_is_at_most_twice_the_ping(
    keys: dict[str, bytes], is_call: bool, address: Address
) -> None:
    assume(keys.get("GUE") != b"")  # that asks for hosts
    servent = FakeServent(address, {"VC": b"PYGN\x01", "DU": b"\x01\x02"})
    ping = ping_datagram(Ggep.of(keys) if keys else None)
    (action,) = sent(make_datagrams(servent).receive(ping, STRANGER, 0.0, is_call=is_call))
    assert len(action.data) <= MAX_AMPLIFICATION * len(ping)
    assert pong_of(action.data).files == 12


def test_one_source_gets_one_plain_answer_a_second_and_one_long_one_a_minute() -> None:
    udp = make_datagrams()
    plain = [now / 4 for now in range(40) if udp.receive(ping_datagram(), Address("84.0.0.1", 1000 + now), now / 4)]
    assert len([now for now in plain if now]) == 9  # 0 brought the event that we are reached, too
    long = [now for now in range(200) if sent(udp.receive(ping_datagram(SCP), Address("84.0.0.2", now + 1), now))]
    assert long == [0, 60, 120, 180]
    assert udp.counters.drops[DropReason.UDP_RATE] == 30 + 196


def test_an_ipv6_network_is_one_source_and_loopback_ports_are_many() -> None:
    udp = make_datagrams(allow_private=True)
    v6 = [sent(udp.receive(ping_datagram(), Address(f"2606:4700::{n}", 6346), 0.0)) for n in range(1, 4)]
    assert [len(actions) for actions in v6] == [1, 0, 0]
    local = [sent(udp.receive(ping_datagram(), Address("127.0.0.1", n), 0.0)) for n in range(1, 4)]
    assert [len(actions) for actions in local] == [1, 1, 1]


def test_all_sources_together_get_no_more_than_the_cap() -> None:
    udp = make_datagrams()
    answered = 0
    for n in range(2000):
        source = Address(f"85.{n // 250}.{n % 250}.1", 6346)
        answered += len(sent(udp.receive(ping_datagram(SCP), source, n / 1000)))
    assert ANSWER_BURST <= answered <= ANSWER_BURST + 2 * ANSWERS_PER_S
    assert udp.counters.drops[DropReason.UDP_BUSY] == 2000 - answered


def test_one_network_has_its_share_of_the_answers() -> None:
    def refusals(hosts: list[str], shares: Shares) -> Counter[DropReason | None]:
        limits = AnswerLimits(0.0)
        limits.shares = shares
        return Counter(limits.refusal(host, n / 50, packed=False, host=host) for n, host in enumerate(hosts))

    of_24 = [f"85.1.2.{n}" for n in range(200)]
    of_16 = [f"85.1.{n}.1" for n in range(200)]
    assert refusals(of_24, Shares()) == {None: 50, DropReason.NETWORK_FULL: 150}
    assert refusals(of_16, Shares()) == {None: 125, DropReason.NETWORK_FULL: 75}
    assert refusals(of_24, Shares(counted="off")) == {None: 200}
    assert refusals([f"85.{n}.1.1" for n in range(200)], Shares()) == {None: 200}


def test_the_table_of_sources_is_bounded_and_forgets() -> None:
    limits = AnswerLimits(0.0)
    for n in range(30_000):
        limits.refusal(str(n), n / 40, packed=True)
        limits.tick(n / 40)
    assert 0 < len(limits) <= 2 * MAX_SOURCES
    limits.tick(10_000.0)
    limits.tick(20_000.0)
    assert len(limits) == 0


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "source", "reason"),
    [
        (b"", STRANGER, DropReason.BAD_DATAGRAM),
        (b"x" * 22, STRANGER, DropReason.BAD_DATAGRAM),
        (ping_datagram() + b"\0", STRANGER, DropReason.BAD_DATAGRAM),
        (ping_datagram()[:-4] + b"\0\0\1\0", STRANGER, DropReason.BAD_DATAGRAM),
        (ping_datagram(), Address("81.2.3.4", 0), DropReason.BOGUS_SOURCE),
        (ping_datagram(), Address("10.0.0.1", 6346), DropReason.BOGUS_SOURCE),
        (ping_datagram(), Address("224.0.0.1", 6346), DropReason.BOGUS_SOURCE),
        (ping_datagram(ttl=10, hops=6), STRANGER, DropReason.TTL_TOO_HIGH),
        (encode_header(Guid(bytes(16)), PING, 1, 0, 3) + b"\0bc", STRANGER, DropReason.BAD_PING),
        (encode_header(Guid(bytes(16)), PING, 1, 0, 3) + b"\xc3\x81A", STRANGER, DropReason.BAD_GGEP),
        (encode_header(Guid(bytes(16)), QUERY, 1, 0, 4) + b"\0\0a\0", STRANGER, DropReason.NOT_OVER_UDP),
        (encode_header(Guid(bytes(16)), 0x99, 1, 0, 0), STRANGER, DropReason.NOT_OVER_UDP),
        (pong_datagram(Guid(bytes(16)), OWN), STRANGER, DropReason.UNREQUESTED_PONG),
    ],
)
def test_what_cannot_be_used_is_counted_under_its_reason_and_answered_with_nothing(
    data: bytes, source: Address, reason: DropReason
) -> None:
    udp = make_datagrams()
    assert sent(udp.receive(data, source, 0.0)) == []
    assert udp.counters.dropped() == {reason.value: 1}


def test_every_kind_but_pings_and_pongs_is_refused() -> None:
    for kind in set(KIND_NAMES) - {PING, PONG}:
        udp = make_datagrams()
        udp.receive(encode_header(Guid(bytes(16)), kind, 1, 0, 0), STRANGER, 0.0)
        assert udp.counters.dropped() == {"not_over_udp": 1}
        assert udp.counters.kind(kind).rx == 1


# -- pongs -------------------------------------------------------------------------------------------------------------


def test_the_pong_of_a_cache_teaches_its_hosts_and_itself() -> None:
    udp = make_datagrams(caches=[CACHE])
    guid = asked(udp)
    told = [Address("86.0.0.1", 1), Address("10.0.0.1", 2), OWN, Address("86.0.0.2", 0)]
    v6 = Address("2606:4700::2", 3)
    data = pong_datagram(guid, Address(CACHE.host, 6346), IPP=encode_hosts(told), IPP6=encode_hosts6([v6]))
    learned = events(udp.receive(data, CACHE, 1.0), HostLearned)
    assert {host.address for host in learned if host.is_ultrapeer} == {told[0], v6}
    assert learned[-1] == HostLearned(Address(CACHE.host, 6346), 7, 70, None, None)
    assert udp.counters.dropped() == {"bogus_pong": 2}


def test_a_cache_that_answered_is_not_asked_again_before_its_rest_is_over() -> None:
    udp = make_datagrams(caches=[CACHE])
    udp.receive(pong_datagram(asked(udp), CACHE), CACHE, 1.0)
    assert next(now for now in range(2, 200) if udp.tick(float(now), WANTS)) >= 181


def test_a_pong_of_a_cache_names_others_by_udphc_and_phc() -> None:
    udp = make_datagrams(caches=[CACHE])
    block = {"UDPHC": b"cache.example", "PHC": b"a.example:77\n10.0.0.1:6\n192.88.1.1"}
    udp.receive(pong_datagram(asked(udp), Address(CACHE.host, 6346), **block), CACHE, 1.0)
    assert Address("cache.example", 6346) in udp.caches and Address("a.example", 77) in udp.caches
    assert Address("10.0.0.1", 6) not in udp.caches
    assert len(udp.caches) == 4


def test_a_cache_that_answers_over_ipv6_is_known_by_its_address() -> None:
    udp = make_datagrams(caches=[CACHE])
    six = Address("2a02:8388:1::7", 6346)
    block = {"UDPHC": b"", "PHC": b"[2a02:8388:2::8]:77\n[fe80::1]:6\n[::1]:6"}
    udp.receive(pong_datagram(asked(udp), Address(CACHE.host, 6346), **block), six, 1.0)
    assert six in udp.caches and Address("2a02:8388:2::8", 77) in udp.caches
    assert len(udp.caches) == 3, "those that only a cable or this machine has are left out"


def test_pongs_beyond_what_one_ping_can_bring_are_refused() -> None:
    udp = make_datagrams(caches=[CACHE])
    guid = asked(udp)
    for _ in range(MAX_PONGS_OF_CACHE + 3):
        udp.receive(pong_datagram(guid, CACHE), CACHE, 1.0)
    assert udp.counters.drops[DropReason.UDP_RATE] == 3
    udp = make_datagrams(calls=True, allow_private=True, now=-1.0)
    guid = asked(udp)
    for number in range(MAX_PONGS_OF_CALL + 5):
        udp.receive(pong_datagram(guid, NEIGHBOUR), NEIGHBOUR._replace(port=1000 + number), 1.0)
    assert udp.counters.drops[DropReason.UDP_RATE] == 5


def test_a_pong_that_cannot_be_read_is_counted() -> None:
    udp = make_datagrams(caches=[CACHE])
    udp.receive(encode_header(asked(udp), PONG, 1, 0, 3) + b"abc", CACHE, 1.0)
    assert udp.counters.dropped() == {"bad_pong": 1}


def test_an_old_guid_is_forgotten() -> None:
    udp = make_datagrams(caches=[CACHE])
    guid = asked(udp)
    for now in (60.0, 120.0):
        udp.tick(now, Needs(hosts=False, links=False, is_lonely=False))
    udp.receive(pong_datagram(guid, CACHE), CACHE, 121.0)
    assert udp.counters.dropped() == {"unrequested_pong": 1}


def test_what_a_cache_sees_of_us_is_told_to_the_node() -> None:
    udp = make_datagrams(caches=[CACHE])
    data = pong_datagram(asked(udp), CACHE, IP=encode_hosts([Address("80.9.9.9", 1)]))
    assert events(udp.receive(data, CACHE, 1.0), SeenAs) == [SeenAs(CACHE.host, "80.9.9.9")]
    data = pong_datagram(asked(udp, now=500.0), CACHE, IP=b"abc")
    assert events(udp.receive(data, CACHE, 501.0), SeenAs) == []


# -- our own pings -----------------------------------------------------------------------------------------------------


def test_a_cache_is_asked_for_packed_hosts_with_our_role_and_for_our_address() -> None:
    for slots, flags in (((1, 1), SCP_ULTRAPEER | 2), (None, 2)):
        udp = make_datagrams(FakeServent(slots=slots), [CACHE])
        (action,) = sent(udp.tick(0.0, WANTS))
        assert action.to == CACHE
        header = parse_header(action.data)
        ping = Ping.decode(action.data[HEADER_SIZE:])
        assert (header.kind, header.ttl) == (PING, 1)
        assert ping.ggep is not None and dict(ping.ggep.items) == {"VC": b"PYGN\x01", "SCP": bytes((flags,)), "IP": b""}


def test_without_need_nobody_is_asked() -> None:
    udp = make_datagrams(caches=[CACHE], calls=True)
    assert all(udp.tick(float(now), Needs(False, False, False)) == [] for now in range(100))


# -- the LAN -----------------------------------------------------------------------------------------------------------


def test_a_call_goes_to_the_group_and_asks_for_no_packed_hosts() -> None:
    udp = make_datagrams(calls=True)
    (action,) = sent(udp.tick(1.0, Needs(hosts=False, links=True, is_lonely=True)))
    assert action.to == GROUP
    assert not Ping.decode(action.data[HEADER_SIZE:]).wants_packed_hosts


def test_a_call_of_a_neighbour_is_answered_to_its_own_address_after_a_while() -> None:
    udp = make_datagrams(calls=True, allow_private=True)
    delays = []
    for number in range(10):
        source = NEIGHBOUR._replace(port=7000 + number)  # several servents on one machine
        (action,) = sent(udp.receive(ping_datagram(number=number), source, 1.0, is_call=True))
        assert action.to == source and 0 <= action.delay_s <= MAX_JITTER_S
        delays.append(action.delay_s)
    assert len(set(delays)) == 10
    assert sent(udp.receive(ping_datagram(number=99), NEIGHBOUR, 1.5, is_call=True)) == []


def test_nobody_gets_packed_hosts_for_a_call_and_nobody_answers_by_the_group() -> None:
    udp = make_datagrams(FakeServent(hosts=hosts(5)), calls=True, allow_private=True)
    (action,) = sent(udp.receive(ping_datagram(SCP), NEIGHBOUR, 1.0, is_call=True))
    assert pong_of(action.data).packed_hosts == ()
    udp.receive(pong_datagram(Guid(bytes(16)), NEIGHBOUR), NEIGHBOUR, 1.0, is_call=True)
    assert udp.counters.dropped() == {"not_over_udp": 1}


def test_our_own_call_that_comes_back_is_ignored() -> None:
    udp = make_datagrams(calls=True, allow_private=True)
    (action,) = sent(udp.tick(1.0, WANTS))
    assert udp.receive(action.data, Address("10.0.0.1", 6346), 1.0, is_call=True) == []
    assert udp.counters.dropped() == {"own_message": 1}


def test_a_neighbour_is_where_its_answer_comes_from() -> None:
    udp = make_datagrams(calls=True, allow_private=True)
    guid = asked(udp, now=1.0)
    (host,) = events(udp.receive(pong_datagram(guid, Address("80.7.7.7", 1234)), NEIGHBOUR, 2.0), HostLearned)
    assert host.address == Address(NEIGHBOUR.host, 1234)


# -- whether we can be reached -----------------------------------------------------------------------------------------


def test_a_datagram_of_a_stranger_shows_that_we_are_reached_and_is_told_once() -> None:
    udp = make_datagrams()
    assert events(udp.receive(ping_datagram(), STRANGER, 0.0), UdpReached) == [UdpReached(STRANGER)]
    assert events(udp.receive(ping_datagram(number=2), Address("90.1.1.1", 6), 0.0), UdpReached) == []


def test_what_we_provoked_shows_nothing() -> None:
    udp = make_datagrams(caches=[CACHE, Address("cache.example", 1)], calls=True)
    guids = [parse_header(action.data).guid for action in sent(udp.tick(1.0, WANTS))]
    udp.resolved("87.1.1.1", 1.0)
    came = [udp.receive(pong_datagram(guid, STRANGER), STRANGER, 2.0) for guid in guids]
    came.append(udp.receive(ping_datagram(), CACHE, 2.0))
    came.append(udp.receive(ping_datagram(), Address("87.1.1.1", 9), 2.0))
    came.append(udp.receive(ping_datagram(), Address("88.1.1.1", 9), 2.0, is_call=True))
    assert not any(events(actions, UdpReached) for actions in came)
    for late in (PROVOKED_LIFE_S + 1, 2 * PROVOKED_LIFE_S + 2):
        udp.tick(late, Needs(False, False, False))
    assert events(udp.receive(ping_datagram(), CACHE, 3000.0), UdpReached)


# -- hostile bytes -----------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.sampled_from([PING, PONG, QUERY, 0x99]), st.booleans(), st.integers(0, 2**32))
def test_no_bytes_raise_and_all_that_is_refused_is_counted(payload: bytes, kind: int, whole: bool, seed: int) -> None:
    data = encode_header(Guid(bytes(16)), kind, 1, 0, len(payload)) + payload
    if not whole:
        rng = random.Random(seed)
        data = data[: rng.randrange(len(data) + 1)]
    judge_datagram(data)


def test_the_pong_for_a_connect_back_of_ours_is_expected_from_that_host_once() -> None:
    udp = make_datagrams(caches=[CACHE])
    guid = Guid(b"\x77" * 16)
    (ping,) = sent(udp.connect_back(STRANGER, guid, 0.0))
    assert ping.data[:16] == guid
    udp.receive(pong_datagram(guid, CACHE), CACHE, 1.0)
    assert udp.counters.dropped() == {"unrequested_pong": 1}
    for _ in range(2):
        assert udp.receive(pong_datagram(guid, STRANGER), STRANGER, 1.0) == []
    assert udp.counters.dropped() == {"unrequested_pong": 2}
