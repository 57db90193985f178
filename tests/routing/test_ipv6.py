"""What the router says and believes of IPv6 addresses: in our pongs and hits, and in those of others."""

from __future__ import annotations

from typing import Any

import pytest

from gnutella.protocol.addresses import ipv6_value
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import PING, PONG, PUSH, QUERY_HIT, encode_header
from gnutella.protocol.message import HitRecord, Pong, Push, QueryHit, encode
from gnutella.protocol.query import make_query
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action
from gnutella.routing.events import HitReceived, HostLearned, PushReceived
from gnutella.routing.results import SearchResults
from gnutella.routing.router import LinkInfo
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

A = LinkId(0)
SIX = Address("fd00::7", 6346)


def of(kind: type[Any], actions: list[Action]) -> list[Any]:
    return [event for event in events_of(actions) if isinstance(event, kind)]


def own_words(ipv6: str) -> tuple[Pong, QueryHit]:
    router = make_router(["purple rain.ogg"])
    router.self.ipv6 = ipv6
    router.self_changed()
    open_links(router, 1)
    (pong,) = sent_by(router.receive(A, encode_header(guid_of(5), PING, 1, 0, 0), 1.0))[A]
    (hit,) = sent_by(router.receive(A, query_bytes("purple", guid_of(6)), 2.0))[A]
    assert (pong.kind, hit.kind) == (PONG, QUERY_HIT)
    return Pong.decode(pong.payload), QueryHit.decode(hit.payload)


def test_our_ipv6_address_is_told_beside_the_other() -> None:
    for message in own_words("fd00::7"):
        assert (message.address, message.ipv6) == (OWN_ADDRESS, SIX)


def test_a_public_address_is_not_told_beside_a_private_one() -> None:
    for message in own_words("2a00:1::7"):
        assert (message.address, message.ipv6) == (OWN_ADDRESS, None)


def test_a_pong_of_an_ipv6_host_is_learned_as_that() -> None:
    router = make_router()
    info = LinkInfo(host="10.1.1.1", local_host=OWN_ADDRESS.host)
    (frames,) = sent_by(router.link_opened(A, info, 0.0)).values()
    guid = Guid(next(frame.guid for frame in frames if frame.kind == PING))
    pong = Pong(SIX, 7, 70, Ggep.of({"6": ipv6_value(SIX.host)}))
    (learned,) = of(HostLearned, router.receive(A, encode(guid, 1, 0, pong), 1.0))
    assert learned.address == SIX
    nobody = Pong(Address("127.0.0.0", 6346), 7, 70)
    assert of(HostLearned, router.receive(A, encode(guid, 1, 0, nobody), 1.0)) == []
    assert router.counters.drops[DropReason.BOGUS_PONG] == 1


@pytest.mark.parametrize(("six", "is_host"), [(SIX.host, True), ("::", False), ("ff02::1", False), (None, False)])
def test_a_hit_and_a_push_of_an_ipv6_host(six: str | None, is_host: bool) -> None:
    router = make_router()
    open_links(router, 1)
    ggep = Ggep.of({"6": ipv6_value(six)}) if six is not None else None
    nowhere = Address("127.0.0.0", 6346)
    push = Push(OWN_SERVENT, 1, nowhere, ggep)
    asked = of(PushReceived, router.receive(A, encode(guid_of(8), 3, 0, push), 1.0))
    assert [event.push.address for event in asked] == ([SIX] if is_host else [])
    assert encode(guid_of(8), 3, 0, push)[16] == PUSH

    guid, _ = router.search(make_query("purple rain"), 2.0)
    record = HitRecord(1, 1000, "purple rain.ogg", b"1" * 20)
    hit = QueryHit(nowhere, 1, (record,), b"GTKG", guid_of(99), ggep=ggep)
    found = of(HitReceived, router.receive(A, encode(guid, 3, 0, hit), 3.0))
    assert [event.hit.address for event in found] == ([SIX] if is_host else [])
    if is_host:
        results = SearchResults(guid)
        results.add(found[0])
        assert results.rows()[0]["sources"][0]["address"] == "[fd00::7]:6346"
    else:
        assert router.counters.drops[DropReason.BOGUS_HIT] == 1
        assert router.counters.drops[DropReason.BAD_PUSH] == 1
