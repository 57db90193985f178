"""Pings and pongs: who lives, who else is there, and what nobody asked for."""

from __future__ import annotations

import pytest

from gnutella import VENDOR_CODE
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import PING, PONG, encode_header
from gnutella.protocol.message import Pong, encode
from gnutella.reasons import DropReason
from gnutella.routing.events import HostLearned
from gnutella.routing.pings import FEW_ULTRAPEERS, MAX_PONGS_TAKEN, MAX_SILENT_PINGS, REFRESH_TTL
from gnutella.routing.pongs import MAX_PONGS_GIVEN, CachedPong, PongCache
from gnutella.routing.router import LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import OWN_ADDRESS, Shelf, closes_of, events_of, guid_of, make_router, open_links, sent_by
from gnutella.units import Address, Guid, LinkId

A, B = LinkId(0), LinkId(1)
INTERVAL_S = RoutingSettings().ping_interval_s


def ping_bytes(number: int = 1, *, ttl: int = 3, hops: int = 0, payload: bytes = b"") -> bytes:
    return encode_header(guid_of(number), PING, ttl, hops, len(payload)) + payload


def opened(router: Router, link: LinkId, **info: object) -> Guid:
    """Open a link; gives the GUID of the first ping of ours."""
    fields = {"host": f"10.1.1.{link + 1}", "local_host": OWN_ADDRESS.host, **info}
    (frames,) = sent_by(router.link_opened(link, LinkInfo(**fields), 0.0)).values()  # type: ignore[arg-type]
    return next(frame.guid for frame in frames if frame.kind == PING)


def pong_bytes(guid: Guid, last: int = 9, *, ttl: int = 1, hops: int = 0, address: Address | None = None) -> bytes:
    return encode(guid, ttl, hops, Pong(address or Address(f"10.3.3.{last}", 6346), 7, 70))


# -- what pings get ----------------------------------------------------------------------------------------------------


def test_an_alive_ping_gets_exactly_our_own_pong_however_often_it_comes() -> None:
    router = make_router(["a.txt", "b.txt"])
    guid = opened(router, A)
    opened(router, B)
    router.receive(A, pong_bytes(guid), 1.0)
    for number in range(5):
        (frame,) = sent_by(router.receive(B, ping_bytes(number, ttl=1), 2.0))[B]
        assert (frame.kind, frame.ttl, frame.hops, frame.guid) == (PONG, 1, 0, guid_of(number))
        pong = Pong.decode(frame.payload)
        assert (pong.address, pong.files, pong.kbytes) == (OWN_ADDRESS, 2, 2)
        assert pong.vendor == VENDOR_CODE


def test_a_ping_is_never_forwarded() -> None:
    router = make_router()
    open_links(router, 3)
    for ttl, hops in ((1, 0), (2, 0), (7, 0), (5, 3)):
        assert set(sent_by(router.receive(A, ping_bytes(ttl, ttl=ttl, hops=hops), 10.0 * ttl))) <= {A}


def test_other_pings_get_our_pong_and_cached_ones_of_other_links() -> None:
    router = make_router()
    guids = {link: opened(router, link) for link in (A, B)}
    for last in range(15):
        router.receive(A, pong_bytes(guids[A], last, hops=2), 1.0)
        router.receive(B, pong_bytes(guids[B], 100 + last), 1.0)
    sent = sent_by(router.receive(B, ping_bytes(77, ttl=4, hops=2), 2.0))[B]
    assert [(frame.kind, frame.guid, frame.ttl) for frame in sent] == [(PONG, guid_of(77), 3)] * (1 + MAX_PONGS_GIVEN)
    addresses = [Pong.decode(frame.payload).address for frame in sent]
    assert addresses == [OWN_ADDRESS, *(Address(f"10.3.3.{last}", 6346) for last in range(14, 4, -1))]
    assert [frame.hops for frame in sent] == [0] + [3] * MAX_PONGS_GIVEN


def test_a_crawler_ping_gets_our_neighbours_only() -> None:
    router = make_router()
    guids = {link: opened(router, link) for link in (A, B)}
    router.receive(A, pong_bytes(guids[A], 1, hops=0) + pong_bytes(guids[A], 2, hops=1), 1.0)
    sent = sent_by(router.receive(B, ping_bytes(ttl=2), 2.0))[B]
    assert [Pong.decode(frame.payload).address.host for frame in sent] == [OWN_ADDRESS.host, "10.3.3.1"]


def test_the_asker_is_not_told_its_own_address() -> None:
    router = make_router()
    guid = opened(router, A)
    opened(router, B, listen=Address("10.3.3.9", 6346))
    router.receive(A, pong_bytes(guid, 9), 1.0)
    assert len(sent_by(router.receive(B, ping_bytes(), 2.0))[B]) == 1


def test_hosts_on_a_blocklist_are_neither_learned_nor_told() -> None:
    router = make_router()
    guid = opened(router, A)
    opened(router, B)
    assert learned(router, pong_bytes(guid, 9)) and learned(router, pong_bytes(guid, 8))
    router.refuse_hosts(lambda host: host == "10.3.3.9")
    assert learned(router, pong_bytes(guid, 9)) == []
    assert router.counters.drops[DropReason.BLOCKED] == 1
    sent = sent_by(router.receive(B, ping_bytes(), 2.0))[B]
    assert [Pong.decode(frame.payload).address.host for frame in sent] == [OWN_ADDRESS.host, "10.3.3.8"]
    assert [pong.address.host for pong in router.recent_pongs(2.0)] == ["10.3.3.8"]


def test_pings_that_ask_for_pongs_are_limited_to_one_a_second() -> None:
    router = make_router()
    open_links(router, 1)
    assert A in sent_by(router.receive(A, ping_bytes(1), 1.0))
    assert sent_by(router.receive(A, ping_bytes(2), 1.9)) == {}
    assert A in sent_by(router.receive(A, ping_bytes(3), 2.0))
    assert router.counters.dropped() == {"rate": 1}


def test_a_node_that_takes_no_links_tells_its_address_only_to_alive_pings() -> None:
    router = make_router()
    open_links(router, 1)
    router.self.accepts_links = False
    assert sent_by(router.receive(A, ping_bytes(1), 1.0)) == {}
    assert A in sent_by(router.receive(A, ping_bytes(2, ttl=1), 1.0))


def test_pongs_go_without_ggep_to_peers_that_do_not_read_it() -> None:
    router = make_router()
    guid = opened(router, A)
    opened(router, B, reads_ggep=False)
    rich = Pong(Address("10.3.3.1", 1), 1, 1, Pong.decode(_own_payload(router)).ggep)
    router.receive(A, encode(guid, 1, 0, rich), 1.0)
    sent = sent_by(router.receive(B, ping_bytes(), 2.0))[B]
    assert [frame.length for frame in sent] == [14, 14]


def _own_payload(router: Router) -> bytes:
    return sent_by(router.receive(A, ping_bytes(50, ttl=1), 0.5))[A][0].payload


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ping_bytes(ttl=0), DropReason.TTL_ZERO),
        (ping_bytes(ttl=3, hops=200), DropReason.TTL_TOO_HIGH),
        (ping_bytes(payload=b"\x00\x02"), DropReason.BAD_PING),
        (ping_bytes(payload=b"\xc3\xff"), DropReason.BAD_GGEP),
    ],
)
def test_bad_pings_get_nothing(message: bytes, reason: DropReason) -> None:
    router = make_router()
    open_links(router, 1)
    assert sent_by(router.receive(A, message, 1.0)) == {}
    assert router.counters.dropped() == {reason.value: 1}


def test_the_pong_tells_a_new_library_and_a_changed_self() -> None:
    router = make_router()
    open_links(router, 1)
    _own_payload(router)
    shelf = Shelf(["a", "b", "c"])
    shelf.kbytes = 64
    router.set_library(shelf)
    pong = Pong.decode(sent_by(router.receive(A, ping_bytes(51, ttl=1), 1.0))[A][0].payload)
    assert (pong.files, pong.kbytes) == (3, 63), "a power of two would say that we are an ultrapeer"
    router.self.daily_uptime_s = 7200
    router.self_changed()
    pong = Pong.decode(sent_by(router.receive(A, ping_bytes(52, ttl=1), 1.0))[A][0].payload)
    assert pong.daily_uptime_s == 7200


# -- pongs that come ---------------------------------------------------------------------------------------------------


def test_a_fresh_plausible_pong_is_learned_once() -> None:
    router = make_router()
    guid = opened(router, A)
    (event,) = events_of(router.receive(A, pong_bytes(guid, 4), 1.0))
    assert event == HostLearned(Address("10.3.3.4", 6346), 7, 70, False, None)
    assert events_of(router.receive(A, pong_bytes(guid, 4), 1.1)) == []


def learned(router: Router, message: bytes) -> list[object]:
    return [event for event in events_of(router.receive(A, message, 1.0)) if isinstance(event, HostLearned)]


@pytest.mark.parametrize(
    ("address", "allow_private", "reason"),
    [
        (Address("10.3.3.3", 0), True, DropReason.BOGUS_PONG),
        (Address("224.0.0.1", 80), True, DropReason.BOGUS_PONG),
        (Address("0.0.0.0", 80), True, DropReason.BOGUS_PONG),
        (Address("192.168.0.1", 6346), False, DropReason.BOGUS_PONG),
        (OWN_ADDRESS, True, DropReason.OWN_MESSAGE),
    ],
)
def test_bogus_pongs_are_not_learned(address: Address, allow_private: bool, reason: DropReason) -> None:
    router = make_router(allow_private=allow_private)
    guid = opened(router, A)
    assert learned(router, pong_bytes(guid, address=address)) == []
    assert router.counters.dropped() == {reason.value: 1}
    assert router.table_sizes()["pongs"] == 0


def test_pongs_nobody_asked_for_are_not_learned() -> None:
    router = make_router()
    guid = opened(router, A)
    opened(router, B)
    assert learned(router, pong_bytes(guid_of(123))) == []
    assert router.receive(B, pong_bytes(guid), 1.0) == [], "the ping went to A, not to B"
    assert router.counters.dropped() == {"unrequested_pong": 2}


def test_one_ping_takes_a_limited_number_of_pongs() -> None:
    router = make_router()
    guid = opened(router, A)
    for last in range(MAX_PONGS_TAKEN + 3):
        router.receive(A, pong_bytes(guid, last + 1), 1.0)
    assert router.counters.dropped() == {"rate": 3}


def test_an_old_ping_takes_no_pongs_any_more() -> None:
    router = make_router()
    guid = opened(router, A)
    for now in (120.0, 240.0):
        router.tick(now)
    assert learned(router, pong_bytes(guid)) == []
    assert router.counters.drops[DropReason.UNREQUESTED_PONG] == 1


def test_the_pong_of_a_leaf_says_only_that_it_lives() -> None:
    router = make_router()
    guid = opened(router, A, is_leaf=True)
    assert learned(router, pong_bytes(guid)) == []
    assert router.counters.dropped() == {}


@pytest.mark.parametrize("payload", [b"", b"\0" * 13, bytes(14) + b"\0junk"])
def test_unreadable_pongs_are_counted(payload: bytes) -> None:
    router = make_router()
    guid = opened(router, A)
    router.receive(A, encode_header(guid, PONG, 1, 0, len(payload)) + payload, 1.0)
    assert router.counters.dropped() == {"bad_pong": 1}


def leaf_of(router: Router, number: int) -> tuple[LinkId, Guid]:
    """A leaf that asks for pongs at once; its link, and the GUID of our ping to it."""
    link = LinkId(number)
    info = LinkInfo(f"10.2.0.{number}", OWN_ADDRESS.host, is_leaf=True, is_ultrapeer=False)
    (ping,) = sent_by(router.link_opened(link, info, 0.0))[link]
    router.receive(link, ping_bytes(number, ttl=3), 0.0)
    return link, ping.guid


def tells(router: Router, link: LinkId, guid: Guid) -> dict[LinkId, list[Frame]]:
    """Whom the first pong of a leaf is passed on to."""
    pong = Pong(Address(f"10.2.0.{link}", 6346), 1, 1)
    return sent_by(router.receive(link, encode(guid, 1, 0, pong), 0.5))


def test_leaves_hear_of_those_that_come_after_them_with_the_guid_of_their_own_ping() -> None:
    router = make_router()
    (one, _), (two, guid) = leaf_of(router, 1), leaf_of(router, 2)
    (told,) = tells(router, two, guid)[one]
    assert (told.guid, told.kind, told.ttl) == (guid_of(1), PONG, 1)
    assert Pong.decode(told.payload).address.host == "10.2.0.2"
    assert tells(router, two, guid) == {}, "only once"
    router.link_closed(one, 1.0)
    router.tick(2.0)
    assert tells(router, *leaf_of(router, 3)).keys() == {two}


def test_where_there_are_many_leaves_or_strangers_nobody_is_told_of_a_new_one() -> None:
    router = make_router()
    leaves = [leaf_of(router, number) for number in range(1, MAX_PONGS_GIVEN + 2)]
    assert tells(router, *leaves[0]) == {}
    public = make_router(allow_private=False, address=Address("81.0.0.1", 6346))
    for host in ("82.0.0.1", "83.0.0.1"):
        link = LinkId(int(host[:2]))
        (ping,) = sent_by(public.link_opened(link, LinkInfo(host, "81.0.0.1", is_leaf=True), 0.0))[link]
        public.receive(link, ping_bytes(int(link), ttl=3), 0.0)
        assert sent_by(public.receive(link, encode(ping.guid, 1, 0, Pong(Address(host, 6346), 1, 1)), 0.5)) == {}


# -- our own pings -----------------------------------------------------------------------------------------------------


def pings_to(router: Router, now: float) -> dict[int, list[int]]:
    """Link -> TTLs of the pings of one tick."""
    return {link: [frame.ttl for frame in got] for link, got in sent_by(router.tick(now)).items()}


def test_links_are_refreshed_at_the_interval() -> None:
    router = make_router()
    open_links(router, 1)
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host, is_leaf=True), 0.0)
    for link in (A, B):
        router.receive(link, ping_bytes(ttl=1), INTERVAL_S * 0.8)
    assert pings_to(router, INTERVAL_S * 0.89) == {}
    assert pings_to(router, INTERVAL_S * 1.11) == {A: [REFRESH_TTL], B: [1]}


def pinged_until_closed(router: Router) -> list[float]:
    """When a link that says nothing gets alive pings, and when it is closed."""
    times: list[float] = []
    for now in range(1, 600):
        actions = router.tick(float(now))
        times += [now for frame in sent_by(actions).get(A, []) if frame.ttl == 1]
        if closed := closes_of(actions):
            assert closed[A] == DropReason.NO_ALIVE_REPLY and A not in router.links()
            return [*times, now]
    return times


def test_a_silent_link_gets_four_alive_pings_and_is_closed_within_a_minute() -> None:
    router = make_router()
    open_links(router, 1)
    assert pinged_until_closed(router) == [20.0, 28.0, 36.0, 44.0, 52.0]
    assert MAX_SILENT_PINGS == 4


def test_a_leaf_with_few_ultrapeers_waits_half_as_long() -> None:
    few, enough = make_router(is_leaf=True), make_router(is_leaf=True)
    open_links(few, FEW_ULTRAPEERS - 1)
    open_links(enough, FEW_ULTRAPEERS)
    assert pinged_until_closed(few) == [10.0, 14.0, 18.0, 22.0, 26.0]
    assert pinged_until_closed(enough)[-1] == 52.0


def test_a_link_that_pushes_back_is_not_taken_for_dead_before_its_own_limit() -> None:
    router = make_router()
    open_links(router, 1)
    router.blocked(A, 0.0)
    assert not [closed for now in range(1, 180) if (closed := closes_of(router.tick(float(now))))]
    assert closes_of(router.tick(182.0)) == {A: DropReason.BLOCKED_TOO_LONG}


def test_any_message_is_a_sign_of_life() -> None:
    router = make_router()
    open_links(router, 1)
    now = 0.0
    while now < 20 * INTERVAL_S:
        now += 1.0
        assert closes_of(router.tick(now)) == {}
        if now % 50.0 == 0:
            router.receive(A, ping_bytes(int(now), ttl=1), now)
    assert router.links() == [A]


# -- the cache ---------------------------------------------------------------------------------------------------------


def cached(number: int, link: int = 0, time: float = 0.0, hops: int = 1) -> CachedPong:
    return CachedPong(Address(f"10.4.{number >> 8}.{number & 255}", 6346), b"", LinkId(link), hops, time)


def test_the_cache_is_bounded_as_a_whole_and_for_each_link() -> None:
    cache = PongCache(60.0, max_pongs=10, max_per_link=4)
    for number in range(50):
        cache.put(cached(number, link=number % 2))
    assert len(cache) == 8
    for number in range(50, 100):
        cache.put(cached(number, link=number % 20))
    assert len(cache) == 10


def test_a_link_that_tells_a_known_address_takes_it_over() -> None:
    cache = PongCache(60.0, max_per_link=2)
    assert cache.put(cached(1, link=0, time=0.0))
    assert not cache.put(cached(1, link=1, time=1.0))
    assert [pong.link for pong in cache.choose(LinkId(0), None, 1.0)] == [1]
    assert cache.choose(LinkId(1), None, 1.0) == []


def test_old_entries_are_neither_given_nor_kept() -> None:
    cache = PongCache(60.0)
    cache.put(cached(1, time=0.0))
    cache.put(cached(2, time=30.0))
    assert len(cache.choose(LinkId(9), None, 61.0)) == 1
    cache.tick(61.0)
    assert len(cache) == 1
    cache.tick(91.0)
    assert len(cache) == 0
