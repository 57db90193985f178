"""GUESS: keys for those who prove their address, answers from the library and from leaves, nothing for anybody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, PONG, QUERY, QUERY_HIT, parse_header
from gnutella.protocol.message import Pong, Query, QueryHit, encode
from gnutella.protocol.oob import oob_guid
from gnutella.protocol.query import FLAG_OOB
from gnutella.reasons import DropReason
from gnutella.routing.guess import ALL_QUERY_BURST, KEY_LIFE_S, NEAR_BURST, QUERY_BURST, WIDE_BURST
from gnutella.routing.hits import MAX_DATAGRAM_HIT
from gnutella.routing.out_of_band import MAX_FILES
from gnutella.routing.router import LinkInfo
from gnutella.routing.tokens import SECRET_BYTES, TOKEN_BYTES, Tokens
from gnutella.testing.datagram_net import DatagramNet, Sent, VirtualHost
from gnutella.testing.datagrams import ping_datagram
from gnutella.testing.routers import guid_of
from gnutella.units import Address, Guid, LinkId

ASKER = Address("91.0.0.1", 7000)
OTHER = Address("92.0.0.1", 7000)


def ultrapeer(*files: str) -> tuple[DatagramNet, VirtualHost]:
    net = DatagramNet()
    return net, net.host("81.0.0.1", files or ["purple rain.ogg"])


def got(net: DatagramNet, to: Address = ASKER) -> list[Sent]:
    """What came to an address since the last look."""
    found = [sent for sent in net.sent if sent.to == to]
    net.sent.clear()
    return found


def key_of(sent: Sent) -> bytes | None:
    pong = Pong.decode(sent.data[HEADER_SIZE:])
    return pong.ggep.get("QK") if pong.ggep is not None else None


def ask_for_key(net: DatagramNet, host: VirtualHost, source: Address = ASKER) -> bytes:
    net.inject(ping_datagram(Ggep.of({"QK": b""})), source, host.address)
    net.run(2.0)
    (pong,) = got(net, source)
    key = key_of(pong)
    assert key is not None and len(key) == TOKEN_BYTES
    assert len(pong.data) <= 2 * len(ping_datagram(Ggep.of({"QK": b""})))
    return key


def query_datagram(key: bytes | None, number: int = 1, text: str = "purple", guid: Guid | None = None) -> bytes:
    ggep = Ggep.of({"QK": key, "SCP": b"\0"} if key is not None else {"SCP": b"\0"})
    return encode(guid or guid_of(number), 1, 0, Query(text, ggep=ggep))


def names(sent: list[Sent]) -> list[str]:
    hits = [QueryHit.decode(one.data[HEADER_SIZE:]) for one in sent if one.kind == "query_hit"]
    return [record.name for hit in hits for record in hit.records]


def test_a_query_with_its_key_is_acknowledged_and_answered() -> None:
    net, host = ultrapeer(*(f"purple {number}.ogg" for number in range(80)))
    host.servent.hosts = ()
    key = ask_for_key(net, host)
    net.inject(query_datagram(key), ASKER, host.address)
    net.run(20.0)
    sent = got(net)
    assert [one.kind for one in sent[:2]] == ["pong", "query_hit"]
    assert {parse_header(one.data).guid for one in sent} == {guid_of(1)}
    assert len(names(sent)) == MAX_FILES and all(len(one.data) <= HEADER_SIZE + 645 for one in sent[1:])


@pytest.mark.parametrize("shown", [None, b"", b"12345678", b"x" * 16])
def test_a_query_without_the_right_key_gets_nothing_but_the_key(shown: bytes | None) -> None:
    net, host = ultrapeer()
    net.inject(query_datagram(shown), ASKER, host.address)
    net.run(2.0)
    (pong,) = got(net)
    assert pong.kind == "pong" and host.drops(DropReason.QUERY_KEY) == 1
    assert len(pong.data) <= 2 * len(query_datagram(shown))
    net.inject(query_datagram(key_of(pong), 2), ASKER, host.address)
    net.run(2.0)
    assert names(got(net)) == ["purple rain.ogg"]


def test_keys_are_of_one_address_and_of_some_hours() -> None:
    net, host = ultrapeer()
    key = ask_for_key(net, host)
    for number, source in enumerate((OTHER, ASKER._replace(port=7001), Address("91.0.0.2", 7000))):
        net.inject(query_datagram(key, number), source, host.address)
        net.run(2.0)
        assert names(got(net, source)) == []
    net.now += KEY_LIFE_S
    net.inject(query_datagram(key, 10), ASKER, host.address)
    net.run(2.0)
    assert names(got(net)) == ["purple rain.ogg"]
    net.now += 2 * KEY_LIFE_S
    net.inject(query_datagram(key, 11), ASKER, host.address)
    net.run(2.0)
    assert names(got(net)) == [] and host.drops(DropReason.QUERY_KEY) == 4


def test_the_same_query_again_gets_nothing() -> None:
    net, host = ultrapeer()
    key = ask_for_key(net, host)
    for _ in range(3):
        net.inject(query_datagram(key), ASKER, host.address)
    net.run(2.0)
    assert len(names(got(net))) == 1 and host.drops(DropReason.DUPLICATE) == 2


def test_one_host_and_all_hosts_have_limits() -> None:
    net, host = ultrapeer()
    key = ask_for_key(net, host)
    for number in range(30):
        net.inject(query_datagram(key, number), ASKER, host.address)
    net.run(2.0)
    assert len(names(got(net))) == QUERY_BURST and host.drops(DropReason.UDP_RATE) == 20
    flood(net, host, [f"93.{number}.0.1" for number in range(60)])
    assert host.drops(DropReason.UDP_BUSY) == 60 - ALL_QUERY_BURST


def flood(net: DatagramNet, host: VirtualHost, hosts: list[str]) -> None:
    """A query of each of these, at the same time."""
    sources = [Address(text, 7000) for text in hosts]
    keys = [ask_for_key(net, host, source) for source in sources]
    for number, (source, own) in enumerate(zip(sources, keys, strict=True), 100):
        net.inject(query_datagram(own, number), source, host.address)
    net.run(2.0)


@pytest.mark.parametrize(
    ("hosts", "taken"),
    [
        ([f"93.1.1.{number}" for number in range(1, 31)], NEAR_BURST),
        ([f"93.1.{number}.1" for number in range(30)], WIDE_BURST),
    ],
)
def test_one_network_leaves_others_their_queries(hosts: list[str], taken: float) -> None:
    net, host = ultrapeer()
    flood(net, host, hosts)
    assert host.drops(DropReason.NETWORK_FULL) == len(hosts) - taken
    key = ask_for_key(net, host)
    net.inject(query_datagram(key), ASKER, host.address)
    net.run(2.0)
    assert len(names(got(net))) == 1


def test_whoever_floods_without_keys_is_told_one_a_second() -> None:
    net, host = ultrapeer()
    for number in range(100):
        net.inject(query_datagram(None, number), ASKER, host.address)
    net.run(0.5)
    assert len(got(net)) == 1 and host.drops(DropReason.QUERY_KEY) == 100


def test_hits_wanted_at_another_address_are_refused() -> None:
    net, host = ultrapeer()
    key = ask_for_key(net, host)
    query = Query("purple", flags=0x8000 | FLAG_OOB, ggep=Ggep.of({"QK": key}))
    net.inject(encode(oob_guid(guid_of(1), OTHER), 1, 0, query), ASKER, host.address)
    net.run(1.0)
    assert not got(net) and not got(net, OTHER) and host.drops(DropReason.FORGED_RETURN) == 1


@pytest.mark.parametrize("text", ["x" * 300, ""])
def test_queries_that_no_link_may_bring_are_refused(text: str) -> None:
    net, host = ultrapeer()
    key = ask_for_key(net, host)
    net.inject(query_datagram(key, 1, text), ASKER, host.address)
    net.run(1.0)
    assert names(got(net)) == []
    assert (host.drops(DropReason.QUERY_TOO_LONG) + host.router.counters.queries_answered) == bool(text)


def test_leaves_get_the_query_and_their_hits_go_to_the_asker() -> None:
    net, host = ultrapeer("something else.txt")
    leaf = net.host("84.0.0.1", ["purple haze.ogg"], is_leaf=True)
    other = net.host("85.0.0.1", ["purple other.ogg"])
    net.link(leaf, host)
    net.link(host, other)
    number = next(number for number, (peer, _) in host.links.items() if peer is leaf)
    host.router.link_closed(number, net.now)
    info = LinkInfo(leaf.address.host, host.address.host, is_leaf=True, is_ultrapeer=False)
    host.router.link_opened(number, info, net.now)
    key = ask_for_key(net, host)
    net.inject(query_datagram(key), ASKER, host.address)
    net.run(2.0)
    sent = got(net)
    assert names(sent) == ["purple haze.ogg"]
    assert all(len(one.data) <= HEADER_SIZE + MAX_DATAGRAM_HIT for one in sent)
    assert other.router.counters.kind(QUERY).rx == 0


def test_a_leaf_and_one_that_does_not_want_to_give_no_keys() -> None:
    net = DatagramNet()
    leaf, quiet = net.host("81.0.0.1", is_leaf=True), net.host("82.0.0.1")
    quiet.servent.guess = False
    for host in (leaf, quiet):
        net.inject(ping_datagram(Ggep.of({"QK": b""})), ASKER, host.address)
        net.inject(query_datagram(b"12345678"), ASKER, host.address)
        net.run(1.0)
        assert host.drops(DropReason.NOT_OVER_UDP) == 1
        (pong,) = got(net)
        assert key_of(pong) is None


def test_pongs_say_that_queries_are_answered_and_which_slots_are_free() -> None:
    _, host = ultrapeer()
    host.router.self.slots, host.router.self.takes_guess = (70, 300), True
    host.router.self_changed()
    actions = host.router.link_opened(LinkId(9), LinkInfo("82.0.0.1", "81.0.0.1"), 0.0)
    actions = host.router.receive(LinkId(9), ping_datagram(), 1.0)
    data = actions[-1].data  # type: ignore[union-attr]
    pong = Pong.decode(data[HEADER_SIZE:])
    assert parse_header(data).kind == PONG and pong.free_slots == (70, 255) and pong.is_ultrapeer
    assert pong.ggep is not None and pong.ggep.get("GUE") == b"\x02"
    host.router.self.slots, host.router.self.takes_guess = None, False
    host.router.self_changed()
    data = host.router.receive(LinkId(9), ping_datagram(number=2), 3.0)[-1].data  # type: ignore[union-attr]
    pong = Pong.decode(data[HEADER_SIZE:])
    assert not pong.is_ultrapeer and pong.ggep is not None and "GUE" not in pong.ggep


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=20))
def test_keyed_queries_are_answered_or_refused_whatever_they_say(text: bytes, key: bytes) -> None:
    net, host = ultrapeer()
    right = ask_for_key(net, host)
    block = Ggep.of({"QK": right}).encode()
    payload = b"\x80\0" + text.replace(b"\0", b"") + b"\0" + block
    message = b"\x05" * 16 + bytes((QUERY, 1, 0)) + len(payload).to_bytes(4, "little") + payload
    net.inject(message, ASKER, host.address)
    wrong = Ggep.of({"QK": key}).encode()
    net.inject(b"\x06" * 16 + message[16:].replace(block, wrong)[:200], OTHER, host.address)
    net.run(2.0)
    kinds = [sent.kind for sent in net.sent if sent.source == host.address]
    assert kinds.count("query_hit") <= 1
    assert len(kinds) + sum(host.router.counters.dropped().values()) >= 2
    assert host.router.counters.kind(QUERY_HIT).tx == kinds.count("query_hit")


@given(st.binary(max_size=20), st.floats(0, 1e9))
def test_tokens_hold_for_what_they_were_made_for(about: bytes, now: float) -> None:
    tokens = Tokens(bytes(SECRET_BYTES), 100.0, b"test")
    token = tokens.make(now, ASKER, about)
    assert tokens.holds(token, now, ASKER, about) and tokens.holds(token, now + 100.0, ASKER, about)
    assert not tokens.holds(token, now + 200.0, ASKER, about)
    assert not tokens.holds(token, now, OTHER, about) and not tokens.holds(token, now, ASKER, about + b"x")
    assert not Tokens(b"\1" * SECRET_BYTES, 100.0, b"test").holds(token, now, ASKER, about)
    assert not Tokens(bytes(SECRET_BYTES), 100.0, b"else").holds(token, now, ASKER, about)
