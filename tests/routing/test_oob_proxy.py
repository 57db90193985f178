"""Out-of-band proxying: an ultrapeer asks for hits by UDP in its leaf's stead, and the leaf gets them over its link."""

from __future__ import annotations

from typing import Any

import pytest

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, QUERY, QUERY_HIT, parse_header
from gnutella.protocol.message import Query, VendorMessage, encode
from gnutella.protocol.oob import oob_guid
from gnutella.protocol.query import FLAG_OOB
from gnutella.protocol.vendor import OobProxyVeto
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing import reverse
from gnutella.routing.answers import MAX_ANSWERED
from gnutella.routing.router import LinkInfo
from gnutella.settings import RoutingSettings
from gnutella.testing.datagram_net import DatagramNet, VirtualHost
from gnutella.testing.routers import guid_of, make_router, sent_by
from gnutella.units import Address, Guid, LinkId
from tests.routing.test_oob import announce_bytes, hit_bytes

LEAF, NEXT, OTHER = LinkId(1), LinkId(2), LinkId(3)
OURS = Address("82.0.0.1", 6346)
STRANGER = Address("91.2.2.2", 6346)
PLAIN = Query("purple", flags=0x8800)


def island(*files: str, **settings: Any) -> tuple[DatagramNet, VirtualHost, VirtualHost, VirtualHost]:
    """A leaf that nobody reaches, its ultrapeer, and one that shares, two links away from the ultrapeer."""
    net = DatagramNet()
    leaf = net.host("81.0.0.1", is_leaf=True)
    ultrapeer = net.host("82.0.0.1", settings=RoutingSettings(**settings))
    relay, sharer = net.host("84.0.0.1"), net.host("83.0.0.1", files or ["purple rain.ogg"])
    net.link(leaf, ultrapeer)
    for link, (other, _) in list(ultrapeer.links.items()):
        ultrapeer.do(ultrapeer.router.link_closed(link, 0.0))
        info = LinkInfo(other.address.host, ultrapeer.address.host, is_leaf=True, is_ultrapeer=False)
        ultrapeer.do(ultrapeer.router.link_opened(link, info, 0.0))
    net.link(ultrapeer, relay)
    net.link(relay, sharer)
    ultrapeer.router.reach.reached(0.0, by_udp=True)
    return net, leaf, ultrapeer, sharer


def test_a_leaf_that_cannot_be_reached_gets_hits_by_udp_through_its_ultrapeer() -> None:
    net, leaf, ultrapeer, sharer = island(*[f"purple song {number}.ogg" for number in range(30)])
    guid = leaf.search("purple")
    net.run(8.0)
    assert len(set(leaf.names)) == len(leaf.names) == 30
    assert {hit.guid for hit in leaf.hits} == {guid}
    assert net.kinds(sharer.address, ultrapeer.address) == ["LIME/12v3", "ping", *["query_hit"] * 5]
    assert not net.bytes_to(leaf.address)
    relay = net.hosts[Address("84.0.0.1", 6346)]
    assert relay.router.counters.kind(QUERY_HIT).rx == 0
    assert ultrapeer.router.table_sizes()["proxied"] == 1


@pytest.mark.parametrize("setting", [{"oob_proxy": False}, {"oob": "off"}])
def test_it_can_be_switched_off(setting: dict[str, Any]) -> None:
    net, leaf, ultrapeer, _ = island(**setting)
    leaf.search("purple")
    net.run(8.0)
    assert leaf.names == ["purple rain.ogg"] and not net.sent
    assert ultrapeer.router.table_sizes()["proxied"] == 0


def asked(query: Query, *, veto: VendorMessage | None = None, reached: bool = True, guid: Guid | None = None) -> Any:
    """The query as the next ultrapeer gets it, and the router."""
    router = make_router(address=OURS, allow_private=False)
    router.open_datagrams(bytes(32), 0.0)
    if reached:
        router.reach.reached(0.0, by_udp=True)
    router.link_opened(LEAF, LinkInfo("81.0.0.1", OURS.host, is_leaf=True, is_ultrapeer=False), 0.0)
    router.link_opened(NEXT, LinkInfo("84.0.0.1", OURS.host), 0.0)
    if veto is not None:
        router.receive(LEAF, encode(guid_of(50), 1, 0, veto), 0.0)
    sent = sent_by(router.receive(LEAF, encode(guid or guid_of(7), 4, 0, query), 0.0))
    (frame,) = [frame for frame in sent[NEXT] if frame.kind == QUERY]
    return frame, router


def test_all_but_the_address_stays_as_the_leaf_wrote_it() -> None:
    frame, _ = asked(Query("purple", flags=0x9800, ggep=Ggep.of({"M": b"\1"})))
    assert frame.guid == oob_guid(guid_of(7), OURS)
    query = Query.decode(frame.payload)
    assert query.text == "purple" and query.flags == 0x9800 | FLAG_OOB
    assert query.ggep is not None and query.ggep.get("M") == b"\1" and query.ggep.get("SO") == b""


@pytest.mark.parametrize(
    ("query", "veto", "reached"),
    [
        (Query("purple", ggep=Ggep.of({"NP": b""})), None, True),
        (PLAIN, message_of(OobProxyVeto(3)), True),
        (PLAIN, VendorMessage(b"LIME", 13, 1, b""), True),
        (PLAIN, None, False),
        (Query("z" * 252), None, True),
    ],
)
def test_who_is_left_alone(query: Query, veto: VendorMessage | None, reached: bool) -> None:
    frame, router = asked(query, veto=veto, reached=reached)
    assert frame.guid == guid_of(7) and frame.payload == query.encode()
    assert router.table_sizes()["proxied"] == 0


def test_a_leaf_that_asks_for_hits_by_udp_itself_gets_them_itself() -> None:
    guid = oob_guid(guid_of(7), Address("81.0.0.1", 6346))
    frame, router = asked(Query("purple", flags=0x8C00), guid=guid)
    assert frame.guid == guid and router.table_sizes()["proxied"] == 0


def test_a_veto_of_older_versions_or_a_later_consent_allows_it() -> None:
    assert asked(PLAIN, veto=message_of(OobProxyVeto(2)))[0].guid != guid_of(7)
    assert asked(PLAIN, veto=message_of(OobProxyVeto(0)))[0].guid != guid_of(7)


def test_a_guid_that_is_known_already_is_not_made_again() -> None:
    guid = oob_guid(guid_of(7), OURS)
    frame, router = asked(PLAIN, guid=guid)  # a leaf that writes our address into its own
    assert frame.guid == guid and router.table_sizes()["proxied"] == 0


def test_hits_that_come_over_links_get_the_leaf_s_guid_and_its_copy_is_no_new_query() -> None:
    frame, router = asked(PLAIN)
    sent = sent_by(router.receive(NEXT, hit_bytes(frame.guid, None), 1.0))
    (hit,) = sent[LEAF]
    assert (hit.guid, hit.kind, hit.hops) == (guid_of(7), QUERY_HIT, 1)
    router.link_opened(OTHER, LinkInfo("85.0.0.1", OURS.host), 1.0)
    assert not sent_by(router.receive(OTHER, frame.message, 1.0))
    assert router.counters.drops[DropReason.DUPLICATE] == 1


def test_hits_for_a_leaf_are_limited_and_end_with_it() -> None:
    frame, router = asked(PLAIN)
    for number in range(40):
        router.receive(NEXT, hit_bytes(frame.guid, None, name=f"{number}", records=10), 1.0)
    assert router.counters.drops[DropReason.HIT_QUOTA] == 15
    router.link_closed(LEAF, 2.0)
    router.receive(NEXT, hit_bytes(frame.guid, None), 2.0)
    assert router.counters.drops[DropReason.ROUTE_GONE] == 1
    announce = announce_bytes(frame.guid)
    header, payload = parse_header(announce), announce[HEADER_SIZE:]
    assert router.datagram(header, payload, STRANGER, 2.0) is DropReason.UNREQUESTED_ANNOUNCE


def test_hits_by_udp_for_a_leaf_need_the_token_too() -> None:
    net, leaf, ultrapeer, _ = island("nothing.txt")
    guid = oob_guid(leaf.search("purple"), ultrapeer.address)
    net.run(1.0)
    net.inject(announce_bytes(guid), STRANGER, ultrapeer.address)
    net.run(1.0)
    net.inject(hit_bytes(guid, b"12345678"), STRANGER, ultrapeer.address)
    net.run(1.0)
    assert ultrapeer.drops(DropReason.OOB_TOKEN) == 1 and not leaf.hits


def test_a_query_is_answered_once_whichever_ultrapeer_s_address_it_bears() -> None:
    router = make_router(["purple rain.ogg"], address=OURS)
    for link in (LEAF, NEXT):
        router.link_opened(link, LinkInfo(f"84.0.0.{link}", OURS.host), 0.0)
    query, answers = Query("purple", flags=0x8C00), []
    for link, host in ((LEAF, "91.0.0.1"), (NEXT, "92.0.0.1")):
        guid = oob_guid(guid_of(7), Address(host, 6346))
        sent = sent_by(router.receive(link, encode(guid, 3, 1, query), 0.0))
        answers += [frame for frames in sent.values() for frame in frames if frame.kind == QUERY_HIT]
    assert len(answers) == 1 and router.counters.drops[DropReason.ANSWERED_ALREADY] == 1


def test_what_is_remembered_of_proxied_and_answered_queries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reverse, "PROXIED_GENERATION", 8)
    router = make_router(["purple rain.ogg"], address=OURS, allow_private=False)
    router.open_datagrams(bytes(32), 0.0)
    router.reach.reached(0.0, by_udp=True)
    router.link_opened(NEXT, LinkInfo("84.0.0.1", OURS.host), 0.0)
    for number in range(30):
        link = LinkId(100 + number)
        info = LinkInfo(f"81.0.{number}.1", OURS.host, is_leaf=True, is_ultrapeer=False)
        router.link_opened(link, info, 0.0)
        router.receive(link, encode(guid_of(1000 + number), 4, 0, PLAIN), 0.0)
    assert 8 <= router.table_sizes()["proxied"] <= 16
    for number in range(2 * MAX_ANSWERED + 100):
        router.receive(NEXT, encode(guid_of(10_000 + number), 3, 1, Query("purple", flags=0x8C00)), 0.0)
    assert len(router._answers._answered) <= 2 * MAX_ANSWERED
    for _ in range(2):
        router.tick(700.0)
        router.tick(1400.0)
    assert router.table_sizes()["proxied"] == 0 and not len(router._answers._answered)
