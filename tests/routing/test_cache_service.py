"""Serving as a web cache: what is told to whom, and what nobody can make it say."""

from __future__ import annotations

import pytest

from gnutella.protocol.gwebcache import CacheAnswer, parse_answer
from gnutella.reasons import DropReason
from gnutella.routing.cache_service import (
    KNOWN_S,
    MAX_KNOWN,
    MAX_KNOWN_OF_NETWORK,
    MAX_REQUESTS,
    MAX_TOLD,
    MAX_TOLD_OF_NETWORK,
    MAX_UPDATES,
    WINDOW_S,
    CacheService,
    Lent,
    Reply,
)
from gnutella.units import Address

ASKER = "81.9.9.9"
OWN = Address("80.0.0.1", 6346)
NOTHING = Lent()


def make(*, private: bool = False) -> CacheService:
    return CacheService("Test 1.0", 0.0, allow_private=private)


def told(service: CacheService, query: str, peer: str = ASKER, now: float = 1.0, lent: Lent = NOTHING) -> CacheAnswer:
    reply = service.reply(query, peer, now, lent)
    assert (reply.status, reply.drops) == (200, [])
    return parse_answer(reply.body)


def update(service: CacheService, peer: str, port: int = 6346, now: float = 1.0, ip: str = "") -> Reply:
    return service.reply(f"update=1&net=gnutella&ip={ip or peer}:{port}", peer, now, NOTHING)


@pytest.mark.parametrize(("query", "spec"), [("hostfile=1&urlfile=1", 1), ("get=1&net=gnutella", 2)])
def test_both_versions_are_told_what_the_node_knows_and_what_servents_said(query: str, spec: int) -> None:
    service = make()
    assert update(service, "82.1.1.1").body == b"I|update|OK\r\n"
    assert service.reply("ip=82.1.1.2:7000", "82.1.1.2", 2.0, NOTHING).body == b"OK\r\n"
    lent = Lent(OWN, [Address("83.1.1.1", 6346)], ["http://c.example/gwc"])
    answer = told(service, query, lent=lent)
    assert answer.spec == spec
    assert answer.hosts == (OWN, Address("82.1.1.2", 7000), Address("82.1.1.1", 6346), Address("83.1.1.1", 6346))
    assert answer.urls == ("http://c.example/gwc",)


def test_ages_are_told_in_version_2() -> None:
    service = make()
    update(service, "82.1.1.1", now=100.0)
    assert b"H|82.1.1.1:6346|50\r\n" in service.reply("get=1", ASKER, 150.0, NOTHING).body


def test_pings_statistics_and_other_networks_are_answered() -> None:
    service = make()
    assert service.reply("ping=1", ASKER, 0.0, NOTHING).body == b"PONG Test 1.0\r\n"
    assert service.reply("ping=1&net=gnutella", ASKER, 0.0, NOTHING).body == b"I|pong|Test 1.0|gnutella\r\n"
    update(service, "82.1.1.1")
    assert service.reply("statfile=1", ASKER, 3.0, NOTHING).body == b"4\r\n4\r\n1\r\n"
    assert service.reply("statfile=1", ASKER, 4000.0, NOTHING).body == b"5\r\n5\r\n1\r\n"
    assert service.reply("statfile=1", ASKER, 12000.0, NOTHING).body == b"6\r\n1\r\n0\r\n"
    assert told(service, "get=1&net=gnutella2").remark.startswith("WARNING this cache serves")
    assert told(service, "hostfile=1").remark.startswith("WARNING: nothing is known")


@pytest.mark.parametrize(
    "query",
    [
        "update=1&ip=82.1.1.1:6346",
        "ip=82.1.1.1:6346",
        "update=1",
        "update=1&ip=nonsense",
        "url=http%3A%2F%2Fvictim.example%2Fgwc",
        "url=http%3A%2F%2F82.1.1.1%2Fgwc",
        "url=http%3A%2F%2F81.9.9.9%2Fsearch",
    ],
)
def test_nobody_can_tell_of_somebody_else(query: str) -> None:
    service = make()
    reply = service.reply(query, ASKER, 0.0, NOTHING)
    assert reply.drops == [DropReason.BOGUS_UPDATE] and b"WARNING" in reply.body
    answer = told(service, "get=1")
    assert (answer.hosts, answer.urls) == ((), ())


def test_a_cache_that_a_servent_serves_itself_is_taken_and_that_of_another_left_out() -> None:
    service = make()
    service.reply("ip=81.9.9.9:6346&url=http%3A%2F%2F81.9.9.9%3A6346%2Fgwc", ASKER, 0.0, NOTHING)
    assert told(service, "get=1").urls == ("http://81.9.9.9:6346/gwc",)
    service.reply("ip=81.9.9.8:6346&url=http%3A%2F%2Fother.example%2Fgwc", "81.9.9.8", 0.0, NOTHING)
    assert told(service, "get=1").urls == ("http://81.9.9.9:6346/gwc",)


def test_private_addresses_are_told_to_neighbours_only_and_taken_where_they_mean_something() -> None:
    service = make(private=True)
    assert update(service, "10.0.0.7").drops == []
    assert told(service, "get=1", "10.0.0.9").hosts == (Address("10.0.0.7", 6346),)
    assert told(service, "get=1", ASKER).hosts == ()
    assert update(make(), "10.0.0.7").drops == [DropReason.BOGUS_UPDATE]


def test_one_address_may_ask_so_often_and_no_more() -> None:
    service = make()
    for _ in range(MAX_REQUESTS):
        assert service.reply("ping=1", ASKER, 0.0, NOTHING).status == 200
    reply = service.reply("get=1", ASKER, 0.0, NOTHING)
    assert (reply.status, reply.drops) == (429, [DropReason.CACHE_RATE])
    assert service.reply("ping=1", "81.9.9.8", 0.0, NOTHING).status == 200
    assert service.reply("ping=1", ASKER, WINDOW_S, NOTHING).status == 429, "of one to two windows"
    assert service.reply("ping=1", ASKER, 2 * WINDOW_S, NOTHING).status == 200
    for _ in range(3 * MAX_REQUESTS):
        assert service.reply("ping=1", "127.0.0.1", 0.0, NOTHING).status == 200


def test_one_address_may_update_so_often_and_no_more() -> None:
    service = make()
    for port in range(MAX_UPDATES):
        assert update(service, ASKER, 7000 + port).drops == []
    assert update(service, ASKER, 8000).drops == [DropReason.CACHE_RATE]
    assert len(service) == MAX_UPDATES


def test_an_ipv6_site_is_no_crowd() -> None:
    service = make()
    replies = [
        service.reply("get=1", f"2a02:8388:1::{number:x}", 1.0, NOTHING) for number in range(1, MAX_REQUESTS + 4)
    ]
    assert [reply.status for reply in replies].count(DropReason.CACHE_RATE.http) == 3


def test_one_network_does_not_decide_who_is_told() -> None:
    service = make()
    for number in range(10):
        update(service, f"82.{number}.1.1")
    for number in range(250):
        update(service, f"66.6.{number}.1", now=2.0)
    assert len(service) == 10 + MAX_KNOWN_OF_NETWORK
    hosts = [host.host for host in told(service, "get=1").hosts]
    assert len(hosts) == len(set(hosts)) == MAX_TOLD
    assert sum(host.startswith("82.") for host in hosts) == 10
    assert [host for host in hosts[: MAX_TOLD_OF_NETWORK + 1] if host.startswith("66.6.")] == [
        f"66.6.{number}.1" for number in range(249, 249 - MAX_TOLD_OF_NETWORK, -1)
    ], "the latest of it"


def test_hosts_of_one_network_are_told_where_there_are_no_others() -> None:
    service = make()
    for number in range(15):
        update(service, f"82.1.{number}.1")
    assert len(told(service, "get=1").hosts) == 15
    island = make(private=True)
    for number in range(1, 31):
        island.reply(f"update=1&ip=10.0.0.{number}:6346", f"10.0.0.{number}", 1.0, NOTHING)
    assert len(island) == 30, "a LAN is one network by right"


def test_what_servents_told_is_bounded_and_expires() -> None:
    service = make()
    for n in range(MAX_KNOWN + 10):
        update(service, f"82.{n}.1.1", now=float(n))
    assert len(service) == MAX_KNOWN
    hosts = told(service, "get=1", now=300.0).hosts
    assert len(hosts) == MAX_TOLD and hosts[0] == Address("82.209.1.1", 6346), "the newest first"
    told(service, "ping=1", now=220.0 + KNOWN_S)
    assert len(service) == 0


def test_what_no_servent_sends_is_refused() -> None:
    reply = make().reply("x" * 2000, ASKER, 0.0, NOTHING)
    assert (reply.status, reply.drops) == (400, [DropReason.REQUEST_BROKEN])
