"""Hits out of band: asked for, announced, claimed and delivered by UDP, and nothing big goes to a host that never asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, QUERY_HIT, parse_header
from gnutella.protocol.message import HitRecord, Query, QueryHit, encode
from gnutella.protocol.oob import asking_oob, oob_guid, replies_message
from gnutella.protocol.query import MAX_FORWARDED_QUERY, make_query, oob_address
from gnutella.protocol.vendor import OobAck, VendorMessage, body_of
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.oob_claims import ALL_PER_S, MAX_ACKS, MAX_CLAIMS, MAX_WANTED, NETWORK_BURST, TOKEN_LIFE_S
from gnutella.routing.oob_offers import (
    ACK_WAIT_S,
    HOST_BYTES_BURST,
    HOST_BYTES_PER_S,
    MAX_TRIES,
    MAX_UNPROVEN,
    PROOF_WAIT_S,
    SHUN_S,
    UNCLAIMED_PER_MIN,
)
from gnutella.routing.router import LinkInfo
from gnutella.settings import RoutingSettings
from gnutella.testing.datagram_net import DatagramNet, Sent, VirtualHost, parse_kind
from gnutella.testing.routers import guid_of, query_bytes, sent_by
from gnutella.units import Address, Guid, LinkId

FORGER = Address("99.1.1.1", 4000)
VICTIM = Address("91.2.2.2", 6346)


def line(*files: str, **settings: Any) -> tuple[DatagramNet, VirtualHost, VirtualHost, VirtualHost]:
    """An asker, a relay, and one that shares; the asker's UDP port is known to be reached."""
    net = DatagramNet()
    options: dict[str, Any] = {"settings": RoutingSettings(**settings)} if settings else {}
    asker, relay = net.host("81.0.0.1", **options), net.host("82.0.0.1")
    sharer = net.host("83.0.0.1", files or ["purple rain.ogg"])
    net.link(asker, relay)
    net.link(relay, sharer)
    asker.router.reach.reached(0.0, by_udp=True)
    return net, asker, relay, sharer


def many(count: int) -> list[str]:
    return [f"purple song {number}.ogg" for number in range(count)]


def hit_bytes(guid: Guid, token: bytes | None, *, name: str = "spam.exe", records: int = 1) -> bytes:
    some = tuple(HitRecord(number, 5, f"{number}{name}") for number in range(records))
    ggep = Ggep.of({"SO": token}) if token else None
    hit = QueryHit(Address("83.0.0.1", 6346), 1, some, b"TEST", guid_of(77), needs_push=False, ggep=ggep)
    return encode(guid, 3, 0, hit)


def announce_bytes(guid: Guid, hits: int = 3, version: int = 3) -> bytes:
    return encode(guid, 1, 0, replies_message(hits, version, takes_unsolicited=True))


def acks(sent: list[Sent]) -> list[OobAck]:
    """Acknowledgements among what was sent."""
    messages = [one.data[HEADER_SIZE:] for one in sent if one.kind == "vendor" and parse_kind(one) == "LIME/11v3"]
    bodies = [body_of(VendorMessage.decode(message)) for message in messages]
    return [body for body in bodies if isinstance(body, OobAck)]


# -- both sides --------------------------------------------------------------------------------------------------------


def test_hits_come_by_udp_and_not_over_links() -> None:
    net, asker, relay, sharer = line(*many(30))
    asker.search("purple")
    net.run(5.0)
    assert sorted(asker.names) == sorted(many(30))
    assert relay.router.counters.kind(QUERY_HIT).rx == 0
    assert net.kinds(sharer.address, asker.address) == ["LIME/12v3", "ping", *["query_hit"] * 5]
    assert net.kinds(asker.address, sharer.address) == ["LIME/11v3", "pong"]
    assert max(len(sent.data) for sent in net.sent) <= HEADER_SIZE + 645
    assert not asker.router.counters.dropped() and not sharer.router.counters.dropped()


def test_a_host_that_has_proven_itself_is_not_pinged_again() -> None:
    net, asker, _, sharer = line()
    for _ in range(2):
        asker.search("purple")
        net.run(20.0)
    assert net.kinds(sharer.address, asker.address).count("ping") == 1
    assert len(asker.hits) == 2


def test_a_neighbour_answers_over_its_link() -> None:
    net = DatagramNet()
    asker, sharer = net.host("81.0.0.1"), net.host("82.0.0.1", ["purple rain.ogg"])
    net.link(asker, sharer)
    asker.router.reach.reached(0.0, by_udp=True)
    asker.search("purple")
    net.run(2.0)
    assert asker.names == ["purple rain.ogg"] and not net.sent


@pytest.mark.parametrize(
    ("mode", "reached", "firewalled", "asks"),
    [
        ("auto", True, False, True),
        ("auto", False, False, False),
        ("on", False, False, True),
        ("on", True, True, False),
        ("off", True, False, False),
    ],
)
def test_who_asks_for_it(mode: str, reached: bool, firewalled: bool, asks: bool) -> None:
    net, asker, _, _ = line(oob=mode)
    asker.router.self.is_firewalled = firewalled
    if not reached:
        asker.router.reach.forget()
    asker.search("purple")
    net.run(2.0)
    assert bool(net.sent) is asks
    assert asker.names == ["purple rain.ogg"]


def test_a_servent_that_cannot_be_reached_or_does_not_want_to_answers_over_links() -> None:
    for change in ("firewalled", "off"):
        net, asker, _, sharer = line()
        if change == "firewalled":
            sharer.router.self.is_firewalled = True
        else:
            sharer.router.use_settings(RoutingSettings(oob="off"))
        asker.search("purple")
        net.run(2.0)
        assert not net.sent and asker.names == ["purple rain.ogg"]


def test_the_guid_says_where_the_hits_shall_go() -> None:
    net, asker, _, _ = line()
    guid = asker.search("purple")
    assert oob_address(guid) == asker.address and guid[8] == 0xFF and guid[15] == 0
    net.run(1.0)
    assert parse_header(net.sent[0].data).guid == guid


def test_a_query_that_would_become_too_long_asks_for_hits_over_links() -> None:
    longest = Query("z" * (MAX_FORWARDED_QUERY - 3))
    assert len(longest.encode()) == MAX_FORWARDED_QUERY and asking_oob(longest) is None
    asking = asking_oob(make_query("purple"))
    assert asking is not None and asking.wants_oob and asking.ggep == Ggep.of({"SO": b""})


# -- what an asker takes -----------------------------------------------------------------------------------------------


def announced(net: DatagramNet, asker: VirtualHost, source: Address, hits: int = 3) -> tuple[Guid, bytes]:
    """Have somebody announce hits for a search; its GUID and the token that was given."""
    guid = asker.search("nothing at all")
    net.inject(announce_bytes(guid, hits), source, asker.address)
    net.run(1.0)
    (ack,) = acks([sent for sent in net.sent if sent.to == source])
    assert ack.wanted == min(hits, MAX_WANTED) and ack.token is not None
    return guid, ack.token


def test_hits_are_taken_with_the_token_from_the_address_it_was_given_to_once() -> None:
    net, asker, _, _ = line()
    source = Address("85.0.0.1", 6346)
    guid, token = announced(net, asker, source)
    refused = [
        (source, None, DropReason.OOB_TOKEN),
        (source, b"12345678", DropReason.OOB_TOKEN),
        (FORGER, token, DropReason.OOB_TOKEN),
        (source._replace(port=1), token, DropReason.OOB_TOKEN),
    ]
    for sender, shown, reason in refused:
        before = asker.drops(reason)
        net.inject(hit_bytes(guid, shown), sender, asker.address)
        net.run(1.0)
        assert asker.drops(reason) == before + 1 and not asker.hits
    for _ in range(2):
        net.inject(hit_bytes(guid, token, records=2), source, asker.address)
    net.run(1.0)
    assert len(asker.hits) == 1 and asker.drops(DropReason.DUPLICATE) == 1
    net.inject(hit_bytes(guid, token, name="more.exe", records=2), source, asker.address)
    net.run(1.0)
    assert len(asker.hits) == 1 and asker.drops(DropReason.HIT_QUOTA) == 1


def test_hits_and_announcements_for_a_search_that_ended_are_refused() -> None:
    net, asker, _, _ = line()
    source = Address("85.0.0.1", 6346)
    guid, token = announced(net, asker, source)
    asker.router.stop_search(guid)
    net.inject(hit_bytes(guid, token), source, asker.address)
    net.inject(announce_bytes(guid), source, asker.address)
    net.inject(announce_bytes(guid_of(5)), source, asker.address)
    net.run(1.0)
    assert asker.drops(DropReason.UNREQUESTED_HIT) == 1 and asker.drops(DropReason.UNREQUESTED_ANNOUNCE) == 2
    assert not asker.hits


def test_a_token_does_not_hold_for_ever_nor_for_another_search() -> None:
    net, asker, _, _ = line()
    source = Address("85.0.0.1", 6346)
    first, token = announced(net, asker, source)
    second = asker.search("something else")
    net.inject(announce_bytes(second), source, asker.address)
    net.run(1.0)
    net.inject(hit_bytes(second, token), source, asker.address)
    net.run(1.0)
    net.run(2 * TOKEN_LIFE_S)
    net.inject(hit_bytes(first, token), source, asker.address)
    net.run(1.0)
    assert asker.drops(DropReason.OOB_TOKEN) == 2 and not asker.hits


def test_an_announcement_without_tokens_or_hits_gets_nothing() -> None:
    net, asker, _, _ = line()
    guid = asker.search("nothing at all")
    net.inject(announce_bytes(guid, 3, 2), FORGER, asker.address)
    net.inject(announce_bytes(guid, 0), FORGER, asker.address)
    net.run(1.0)
    assert asker.drops(DropReason.OOB_INSECURE) == 1 and asker.drops(DropReason.BAD_VENDOR) == 1
    assert not acks(net.sent)


def test_a_search_that_has_enough_wants_none() -> None:
    net, asker, _, sharer = line(*many(30), max_hits_per_query=10)
    guid = asker.search("purple")
    net.run(5.0)
    assert len(asker.names) == 10
    net.inject(announce_bytes(guid, 7), FORGER, asker.address)
    net.run(1.0)
    assert acks([sent for sent in net.sent if sent.to == FORGER])[0].wanted == 0
    assert len(sharer.oob.offers) == 0


def test_a_flood_of_announcements_is_bounded_and_never_amplified() -> None:
    net, asker, _, _ = line()
    guid = asker.search("nothing at all")
    for number in range(2000):
        source = Address(f"91.2.{number % 3}.{number % 250}", 1024 + number)
        net.inject(announce_bytes(guid, 255), source, asker.address)
    received = sum(len(sent.data) for sent in net.sent if sent.to == asker.address)
    net.run(1.0)
    answered = [sent for sent in net.sent if sent.source == asker.address]
    assert len(answered) <= 3 * NETWORK_BURST + 12
    assert sum(len(sent.data) for sent in answered) < 0.2 * received
    assert asker.drops(DropReason.UDP_RATE) == 2000 - len(answered)
    assert len(asker.oob.claims) <= 2 * MAX_CLAIMS
    assert all(ack.wanted == MAX_WANTED for ack in acks(answered))


def test_a_flood_of_announcements_does_not_push_out_what_was_claimed_while_its_hits_are_on_the_way() -> None:
    net, asker, _, _ = line()
    source = Address("85.0.0.1", 6346)
    guid, token = announced(net, asker, source)
    for second in range(30):  # from more networks than may be noted
        for number in range(int(ALL_PER_S) + 20):
            forged = Address(f"{11 + second}.{number}.1.1", 1024 + number)
            net.inject(announce_bytes(guid), forged, asker.address)
        net.run(1.0)
    assert asker.drops(DropReason.UDP_BUSY) > 0
    assert MAX_CLAIMS / 2 < len(asker.oob.claims) <= 2 * MAX_CLAIMS
    net.inject(hit_bytes(guid, token), source, asker.address)
    net.run(1.0)
    assert len(asker.hits) == 1


def test_a_repeated_announcement_is_acknowledged_alike_a_few_times() -> None:
    net, asker, _, _ = line()
    guid = asker.search("nothing at all")
    for _ in range(MAX_ACKS + 2):
        net.inject(announce_bytes(guid), FORGER, asker.address)
    net.run(1.0)
    given = acks(net.sent)
    assert len(given) == MAX_ACKS and len(set(given)) == 1
    assert asker.drops(DropReason.UDP_RATE) == 2


# -- what a servent with hits gives ------------------------------------------------------------------------------------


def ask(net: DatagramNet, sharer: VirtualHost, to: Address, number: int = 1, text: str = "purple") -> Guid:
    """A query that asks for hits at `to`, as a link of the sharer brings it."""
    guid = oob_guid(guid_of(number), to)
    asking = asking_oob(Query(text))
    assert asking is not None
    link = next(iter(sharer.links))
    sharer.do(sharer.router.receive(link, encode(guid, 3, 1, asking), net.now))
    return guid


def ack_bytes(guid: Guid, wanted: int = 64, token: bytes | None = b"tokn") -> bytes:
    if token is None:
        return encode(guid, 1, 0, VendorMessage(b"LIME", 11, 2, bytes((wanted,))))
    return encode(guid, 1, 0, message_of(OobAck(wanted, token)))


def test_a_forged_query_and_a_forged_ack_bring_a_victim_two_small_datagrams() -> None:
    net, _, relay, sharer = line(*many(60))
    for number in range(100):
        guid = ask(net, sharer, VICTIM, number)
        net.inject(ack_bytes(guid), VICTIM, sharer.address)
        net.run(0.2)
    net.run(PROOF_WAIT_S)
    # Announcements and one ping; the hits went where the queries came from.
    assert set(net.kinds(sharer.address, VICTIM)) == {"LIME/12v3", "ping"}
    assert net.bytes_to(VICTIM) <= 33 * MAX_UNPROVEN + 23
    assert relay.router.counters.kind(QUERY_HIT).rx > 100
    assert len(sharer.oob.offers) == 0


def test_a_host_without_proof_is_answered_over_links_for_a_while() -> None:
    net, asker, _, sharer = line()
    net.lost = lambda sent: sent.to == asker.address
    asker.search("purple")
    net.run(PROOF_WAIT_S + 2.0)
    assert asker.names == ["purple rain.ogg"]
    net.sent.clear()
    asker.search("purple")
    net.run(2.0)
    assert len(asker.names) == 2 and not net.sent
    net.run(2 * SHUN_S)
    net.lost = lambda sent: False
    asker.search("purple")
    net.run(2.0)
    assert len(asker.names) == 3 and net.kinds(sharer.address, asker.address)[0] == "LIME/12v3"


def test_acks_of_other_hosts_for_other_hits_and_again_are_refused() -> None:
    net, asker, _, sharer = line(*many(3))
    asker.search("purple")
    net.run(3.0)
    guid = ask(net, sharer, asker.address)
    for data, source in (
        (ack_bytes(guid), FORGER),
        (ack_bytes(guid_of(9)), asker.address),
    ):
        net.inject(data, source, sharer.address)
    net.inject(ack_bytes(guid, token=None), asker.address, sharer.address)
    net.run(1.0)
    assert sharer.drops(DropReason.UNREQUESTED_ACK) == 2 and sharer.drops(DropReason.OOB_INSECURE) == 1
    for _ in range(2):
        net.inject(ack_bytes(guid), asker.address, sharer.address)
    net.run(1.0)
    assert sharer.drops(DropReason.UNREQUESTED_ACK) == 3


def test_an_ack_as_gtk_gnutella_writes_it_is_taken() -> None:
    net, asker, _, sharer = line(*many(9))
    guid = ask(net, sharer, asker.address)
    # Version 1.2.3; bit 3 of its TTL says that it reads deflated datagrams.
    net.inject(
        guid + bytes.fromhex("310900120000004c494d450b00030009c382534f44c58b50ab"), asker.address, sharer.address
    )
    net.run(2.0)
    hits = [QueryHit.decode(sent.data[HEADER_SIZE:]) for sent in net.sent if sent.kind == "query_hit"]
    assert sum(len(hit.records) for hit in hits) == 9
    assert all(hit.ggep is not None and hit.ggep.get("SO") == bytes.fromhex("c58b50ab") for hit in hits)


def test_an_ack_for_none_cancels() -> None:
    net, asker, _, sharer = line(*many(3))
    guid = ask(net, sharer, asker.address)
    net.inject(ack_bytes(guid, 0), asker.address, sharer.address)
    net.run(2 * ACK_WAIT_S)
    assert "query_hit" not in net.kinds(sharer.address, asker.address)
    assert not sharer.drops(DropReason.OOB_UNCLAIMED) and not len(sharer.oob.offers)


def test_a_query_without_tokens_is_answered_in_the_version_without() -> None:
    net, asker, _, sharer = line(*many(3))
    guid = oob_guid(guid_of(3), asker.address)
    query = Query("purple", flags=0x8C00)
    link = next(iter(sharer.links))
    sharer.do(sharer.router.receive(link, encode(guid, 3, 1, query), net.now))
    net.inject(ack_bytes(guid, 2, None), asker.address, sharer.address, 0.1)
    net.run(1.0)
    assert net.kinds(sharer.address, asker.address) == ["LIME/12v2", "ping", "query_hit"]
    hit = QueryHit.decode(net.sent[-1].data[HEADER_SIZE:])
    assert len(hit.records) == 2 and (hit.ggep is None or "SO" not in hit.ggep)


def test_hits_that_nobody_claims_are_dropped_and_too_many_of_them_shun_the_host() -> None:
    net, asker, _, sharer = line(*many(3))
    asker.search("purple")
    net.run(3.0)
    net.lost = lambda sent: sent.to == asker.address
    count = int(UNCLAIMED_PER_MIN) + 2
    for number in range(count):
        ask(net, sharer, asker.address, number)
    net.run(ACK_WAIT_S + 1.0)
    assert sharer.drops(DropReason.OOB_UNCLAIMED) == count and not len(sharer.oob.offers)
    net.sent.clear()
    ask(net, sharer, asker.address, 999)
    assert not net.sent


def test_the_bytes_for_one_host_are_limited() -> None:
    net, asker, _, sharer = line(*many(60))
    asker.search("purple")
    net.run(10.0)
    before, since = net.bytes_to(asker.address), net.now
    for number in range(20):
        guid = ask(net, sharer, asker.address, number)
        net.inject(ack_bytes(guid), asker.address, sharer.address)
        net.run(0.1)
    net.run(1.0)
    allowed = HOST_BYTES_BURST + HOST_BYTES_PER_S * (net.now - since) + 20 * 33
    assert net.bytes_to(asker.address) - before <= allowed
    assert sharer.drops(DropReason.UDP_RATE) > 0


def test_what_the_system_does_not_send_is_tried_again_and_then_goes_over_the_link() -> None:
    net, asker, relay, sharer = line()
    guid = ask(net, sharer, asker.address)
    data = net.sent[0].data
    for _ in range(MAX_TRIES):
        sharer.do(sharer.router.datagram_unsent(data, net.now))
    assert [parse_kind(sent) for sent in net.sent].count("LIME/12v3") == MAX_TRIES
    net.run(1.0)
    assert len(sharer.oob.offers) == 0 and relay.router.counters.kind(QUERY_HIT).rx == 1
    assert sharer.router.datagram_unsent(b"\0" * 16 + b"\x31", net.now) == [] and guid


@pytest.mark.parametrize("host", ["10.1.1.1", "127.0.0.1", "224.0.0.1", "0.0.0.0"])
def test_addresses_that_nobody_can_have_are_answered_over_links(host: str) -> None:
    net, _, relay, sharer = line()
    ask(net, sharer, Address(host, 6346))
    ask(net, sharer, Address("83.5.5.5", 0), 2)
    net.run(1.0)
    assert not net.sent and relay.router.counters.kind(QUERY_HIT).rx == 2


def test_private_addresses_are_fine_where_the_profile_says_so() -> None:
    net = DatagramNet()
    hosts = [net.host(f"10.0.0.{n}", ["purple.ogg"] if n == 3 else [], allow_private=True) for n in (1, 2, 3)]
    net.link(hosts[0], hosts[1])
    net.link(hosts[1], hosts[2])
    hosts[0].router.reach.reached(0.0, by_udp=True)
    hosts[0].search("purple")
    net.run(2.0)
    assert hosts[0].names == ["purple.ogg"] and "query_hit" in net.kinds(hosts[2].address, hosts[0].address)


# -- leaves ------------------------------------------------------------------------------------------------------------


def test_a_query_of_a_leaf_that_names_another_host_is_dropped() -> None:
    net = DatagramNet()
    ultrapeer, other, leaf = net.host("81.0.0.1"), net.host("82.0.0.1"), net.host("83.0.0.1", is_leaf=True)
    net.link(ultrapeer, other)
    net.link(leaf, ultrapeer)
    link = next(number for number, (peer, _) in ultrapeer.links.items() if peer is leaf)
    # The ultrapeer must know it as a leaf.
    ultrapeer.router.link_closed(link, 0.0)
    info = LinkInfo(leaf.address.host, ultrapeer.address.host, is_leaf=True, is_ultrapeer=False)
    ultrapeer.router.link_opened(link, info, 0.0)
    asking = asking_oob(Query("purple"))
    assert asking is not None
    for number, (to, count) in enumerate(((VICTIM, 0), (leaf.address, 1))):
        guid = oob_guid(guid_of(50 + number), to)
        actions = ultrapeer.router.receive(link, encode(guid, 3, 0, asking), 1.0)
        assert sum(map(len, sent_by(actions).values())) == count
    assert ultrapeer.drops(DropReason.FORGED_RETURN) == 1


def test_a_leaf_asks_only_where_its_ultrapeers_see_the_same_address() -> None:
    for seen_as, asks in (("83.0.0.1", True), ("10.9.9.9", False)):
        net = DatagramNet()
        leaf = net.host("83.0.0.1", is_leaf=True)
        leaf.router.link_opened(LinkId(1), LinkInfo("81.0.0.1", seen_as), 0.0)
        leaf.router.reach.reached(0.0, by_udp=True)
        assert (oob_address(leaf.search("purple")) == leaf.address) is asks


# -- anything ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(0, 4)), max_size=30))
def test_no_order_of_announcements_acks_and_losses_breaks_the_tables(steps: list[tuple[int, int, int]]) -> None:
    net, asker, _, sharer = line(*many(12))
    guid = asker.search("purple")
    for what, number, wait in steps:
        other = ask(net, sharer, asker.address, number) if what == 0 else oob_guid(guid_of(number), asker.address)
        if what == 1:
            net.inject(ack_bytes(other, number % 256), asker.address, sharer.address)
        elif what == 2:
            net.inject(announce_bytes(guid, number % 256), Address("85.0.0.1", 6346), asker.address)
        elif what == 3:
            net.lost = lambda sent, n=number: len(sent.data) % 2 == n % 2  # type: ignore[misc]
        net.run(float(wait))
    net.run(ACK_WAIT_S + 2.0)
    assert len(sharer.oob.offers) == 0
    assert sharer.oob.offers._of_host == {}
    assert not asker.drops(DropReason.INTERNAL_ERROR)
    assert len(asker.names) <= RoutingSettings().max_hits_per_query


@given(st.binary(max_size=60))
def test_announcements_are_read_or_refused(data: bytes) -> None:
    net, asker, _, _ = line()
    guid = asker.search("nothing at all")
    net.inject(encode(guid, 1, 0, VendorMessage(b"LIME", 12, 3, data)), FORGER, asker.address)
    net.run(1.0)
    is_sound = len(data) >= 2 and data[0] > 0
    assert [ack.wanted for ack in acks(net.sent)] == ([min(data[0], MAX_WANTED)] if is_sound else [])
    assert asker.drops(DropReason.BAD_VENDOR) == (not is_sound)


def test_a_hit_for_a_query_over_a_link_still_comes_back_over_it() -> None:
    net, _, relay, sharer = line()
    link = next(iter(sharer.links))
    sharer.do(sharer.router.receive(link, query_bytes("purple"), net.now))
    net.run(1.0)
    assert not net.sent and relay.router.counters.kind(QUERY_HIT).rx == 1
