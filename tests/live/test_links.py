"""Links over real loopback sockets: plain, deflated, TLS; searches through several nodes; refusals, ends, and bad bytes."""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import DeferredList
from twisted.internet.protocol import Factory, Protocol

from gnutella.errors import UserError
from gnutella.network import targets
from gnutella.network.events import LinkClosed, LinkFailed
from gnutella.network.ports import Ports
from gnutella.network.tls import PeerTls
from gnutella.protocol.frames import frames
from gnutella.protocol.kinds import ROUTE_TABLE
from gnutella.protocol.message import BYE, QUERY, Bye, Query, RouteReset, encode
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, turns, until
from gnutella.testing.nodes import FakeFile, LinkNode
from gnutella.units import Address, Guid

pytestmark = pytest.mark.live

PURPLE = FakeFile(7, "purple rain.ogg", 5_000_000)


class Peer(Protocol):
    """The other end as bytes: sends `greeting` when it is dialled, keeps what it gets."""

    transport: Any

    def __init__(self, greeting: bytes = b"", closes: bool = False) -> None:
        self.greeting, self.closes = greeting, closes
        self.got = b""
        self.is_lost = False
        self._queries, self._walked = 0, 0
        self._ports: Ports | None = None

    async def listen(self, reactor: Any) -> int:
        self._ports = Ports(reactor)
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: self  # type: ignore[method-assign]
        await self._ports.listen(["tcp:0:interface=127.0.0.1"], factory, "--listen")
        return self._ports.addresses[0].port

    async def close_port(self) -> None:
        if self._ports is not None:
            await self._ports.close()

    def connectionMade(self) -> None:
        self.send(self.greeting)
        if self.closes:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.is_lost = True

    def send(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        self.transport.loseConnection()

    def messages(self) -> bytes:
        """What came behind the handshake."""
        return self.got.partition(b"\r\n\r\n")[2]

    def inflated(self) -> bytes:
        return zlib.decompressobj().decompress(self.messages())

    def byes(self) -> list[int]:
        return [Bye.decode(frame.payload).code for frame in frames(self.messages()) if frame.kind == BYE]

    def queries(self) -> int:
        """How many queries came."""
        start = self.got.index(b"\r\n\r\n") + 4
        for frame in frames(self.got, max(start, self._walked)):
            self._walked = frame.end
            self._queries += frame.kind == QUERY
        return self._queries


def fresh_query(number: int) -> bytes:
    return encode(Guid(number.to_bytes(16, "big")), 3, 1, Query(f"query {number}"))


async def started(*nodes: LinkNode) -> None:
    for node in nodes:
        await node.start()


async def stopped(*nodes: LinkNode) -> None:
    for node in nodes:
        await node.stop()


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@async_test()
async def test_two_nodes_link_ping_search_and_say_bye(reactor: Any, tmp_path: Path, deflate: bool, tls: bool) -> None:
    directories = (tmp_path / "a", tmp_path / "b") if tls else (None, None)
    one = LinkNode(reactor, tls_directory=directories[0], deflate=deflate)
    other = LinkNode(reactor, tls_directory=directories[1], deflate=deflate, files=[PURPLE], announced_ttl=6)
    await started(one, other)
    row = await one.links.connect(other.address)
    assert (row["address"], row["direction"], row["role"]) == (str(other.address), "out", "ultrapeer")
    assert (row["deflate"], row["tls"]) == (deflate, tls)
    assert [link.info.max_ttl for link in one.router._board.links.values()] == [6]  # as the other announced
    await until(reactor, lambda: len(other.links.peers()) == 1)
    seen = other.links.peers()[0]
    assert (seen["address"], seen["direction"]) == (str(one.address), "in")
    assert (seen["deflate"], seen["tls"]) == (deflate, tls)
    one.search("purple")
    await until(reactor, lambda: bool(one.hits))
    hit = one.hits[0]
    assert [record.name for record in hit.records] == ["purple rain.ogg"]
    assert hit.address == other.address
    assert hit.servent_id == other.servent_id
    await one.stop()
    await until(reactor, lambda: not other.links.peers())
    closed = other.seen(LinkClosed)[0]
    assert closed.reason is DropReason.PEER_BYE
    assert closed.detail.startswith("200 ")
    await other.stop()


@async_test()
async def test_query_and_hit_cross_a_node_in_the_middle(reactor: Any) -> None:
    asks, middle, has = LinkNode(reactor), LinkNode(reactor), LinkNode(reactor, files=[PURPLE])
    await started(asks, middle, has)
    await asks.links.connect(middle.address)
    await has.links.connect(middle.address)
    await until(reactor, lambda: len(middle.links.peers()) == 2)
    asks.search("rain")
    await until(reactor, lambda: bool(asks.hits))
    assert asks.hits[0].servent_id == has.servent_id
    assert middle.router.counters.queries_relayed == 1
    await stopped(asks, middle, has)


# -- who is linked -------------------------------------------------------------------------------------------------------


@async_test()
async def test_two_tasks_that_want_one_link_get_the_same_failure(reactor: Any) -> None:
    one = LinkNode(reactor)
    await started(one)
    nobody = Address("127.0.0.1", 1)
    outcomes = [one.links.connect(nobody), one.links.connect(nobody)]
    for outcome in outcomes:
        with pytest.raises(UserError, match="connection refused"):
            await outcome
    await stopped(one)


@async_test()
async def test_second_link_to_the_same_servent_is_refused_on_both_sides(reactor: Any) -> None:
    one, other = LinkNode(reactor), LinkNode(reactor)
    await started(one, other)
    first, second = one.links.connect(other.address), one.links.connect(other.address)
    row = await first
    assert (await second)["link"] == row["link"]
    assert (await one.links.connect(other.address))["link"] == row["link"]
    await until(reactor, lambda: len(other.links.peers()) == 1)
    assert (await other.links.connect(one.address))["address"] == str(one.address)
    with pytest.raises(UserError, match="409 Already connected"):
        await other.links.connect(Address("localhost", one.address.port))
    assert one.drops(DropReason.ALREADY_LINKED) == 1
    assert len(one.links.peers()) == len(other.links.peers()) == 1
    await stopped(one, other)


@async_test()
async def test_two_nodes_that_dial_each_other_at_once_keep_one_link(reactor: Any) -> None:
    one, other = LinkNode(reactor), LinkNode(reactor)
    await started(one, other)
    outcomes = DeferredList([one.links.connect(other.address), other.links.connect(one.address)], consumeErrors=True)
    await outcomes
    await until(reactor, lambda: one.links.half_open == other.links.half_open == 0)
    await turns(reactor, 50)
    assert len(one.links.peers()) == len(other.links.peers()) == 1
    assert one.links.peers()[0]["direction"] != other.links.peers()[0]["direction"]
    await stopped(one, other)


@async_test()
async def test_node_that_dials_itself_notices(reactor: Any) -> None:
    node = LinkNode(reactor)
    await node.start()
    with pytest.raises(UserError, match="that is this node itself"):
        await node.links.connect(node.address)
    await until(reactor, lambda: node.links.half_open == 0)
    assert node.links.peers() == []
    assert node.drops(DropReason.SELF_LINK) == 2  # once for each end
    await node.stop()


@async_test()
async def test_full_node_refuses_and_names_others_to_try(reactor: Any) -> None:
    full, known, comes = LinkNode(reactor, max_links=1), LinkNode(reactor), LinkNode(reactor)
    await started(full, known, comes)
    await full.links.connect(known.address)
    with pytest.raises(UserError, match="503 Too many ultra connections") as caught:
        await comes.links.connect(full.address)
    assert caught.value.exit_code == 69
    assert known.address in comes.hosts
    assert full.drops(DropReason.SLOTS_FULL) == comes.drops(DropReason.HANDSHAKE_REFUSED) == 1
    assert [event.reason for event in comes.seen(LinkFailed)] == [DropReason.HANDSHAKE_REFUSED]
    with pytest.raises(UserError, match="no slot is free"):
        await full.links.connect(comes.address)
    await stopped(full, known, comes)


@async_test()
async def test_leaf_takes_no_leaf_but_links_to_an_equal(reactor: Any) -> None:
    leaf, other_leaf, equal = LinkNode(reactor, role="leaf"), LinkNode(reactor, role="leaf"), LinkNode(reactor)
    await started(leaf, other_leaf, equal)
    with pytest.raises(UserError, match="503 Shielded leaf node"):
        await leaf.links.connect(other_leaf.address)
    await leaf.links.connect(equal.address)
    await until(reactor, lambda: equal.links.summary() == {"ultrapeers": 0, "leaves": 1, "peers": 1})
    assert equal.links.peers()[0]["role"] == "leaf"
    await stopped(leaf, other_leaf, equal)


@pytest.mark.parametrize("deflate", [False, True])
@async_test()
async def test_leaf_tells_its_table_and_gets_matching_queries_only(reactor: Any, deflate: bool) -> None:
    leaf = LinkNode(reactor, role="leaf", files=[PURPLE], deflate=deflate)
    ultrapeer, asks = LinkNode(reactor), LinkNode(reactor)
    await started(leaf, ultrapeer, asks)
    await leaf.links.connect(ultrapeer.address)
    await asks.links.connect(ultrapeer.address)
    await until(reactor, lambda: ultrapeer.router.counters.kind(ROUTE_TABLE).rx >= 4)  # two links, RESET and PATCH each
    for text in ("nobody has this", "purple unknown", "purple rain", "elephant"):
        asks.search(text)
    await until(reactor, lambda: bool(asks.hits))
    assert [record.name for hit in asks.hits for record in hit.records] == ["purple rain.ogg"]
    assert leaf.router.counters.kind(QUERY).rx == 1
    assert ultrapeer.router.counters.kind(QUERY).rx == 4
    leaf.search("anything")
    await until(reactor, lambda: asks.router.counters.kind(QUERY).rx == 1)
    assert ultrapeer.router.counters.dropped() == leaf.router.counters.dropped() == {}
    await stopped(leaf, ultrapeer, asks)


@async_test()
async def test_nobody_there_is_a_readable_error(reactor: Any) -> None:
    node, gone = LinkNode(reactor), LinkNode(reactor)
    await started(node, gone)
    address = gone.address
    await gone.stop()
    with pytest.raises(UserError, match=f"no link to {address}: connection refused"):
        await node.links.connect(address)
    assert node.drops(DropReason.DIAL_FAILED) == 1
    await node.stop()


@async_test()
async def test_kept_link_is_dialled_again_and_a_closed_one_is_not(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "FIRST_WAIT_S", 0.1)
    target = LinkNode(reactor)
    await target.start()
    keeps = LinkNode(reactor, connect=(str(target.address),))
    await keeps.start()
    await until(reactor, lambda: bool(target.links.peers()))
    assert str(target.address) in [row["address"] for row in keeps.links.peers()]
    target.links.disconnect(str(keeps.address))
    await until(reactor, lambda: not keeps.links.peers())
    await until(reactor, lambda: bool(keeps.links.peers()))  # FIRST_WAIT_S later
    keeps.links.disconnect(str(target.address))
    assert target.address not in keeps.links._dialling.targets
    await stopped(target, keeps)


@async_test()
async def test_wanted_links_come_from_the_host_cache(reactor: Any) -> None:
    nodes = [LinkNode(reactor) for _ in range(3)]
    await started(*nodes)
    seeker = LinkNode(reactor, profile="lan", want_links=2)
    await seeker.start()
    for node in nodes:
        seeker.hosts.learn(node.address, 1.0)
    seeker.hosts.learn(seeker.address, 1.0)
    await until(reactor, lambda: len(seeker.links.peers()) == 2)
    await turns(reactor, 20)
    assert len(seeker.links.peers()) == 2
    assert sum(seeker.hosts._hosts[node.address].last_ok > 0 for node in nodes) == 2
    await stopped(seeker, *nodes)


@async_test()
async def test_disconnect_says_bye_and_unknown_addresses_are_named(reactor: Any) -> None:
    one, other = LinkNode(reactor), LinkNode(reactor)
    await started(one, other)
    row = await one.links.connect(other.address)
    with pytest.raises(UserError, match=r"no link to '1\.2\.3\.4:5'") as caught:
        one.links.disconnect("1.2.3.4:5")
    assert caught.value.exit_code == 1
    last = one.links.disconnect(str(row["address"]))
    assert last["address"] == row["address"]
    assert one.links.peers() == []
    await until(reactor, lambda: bool(other.seen(LinkClosed)))
    assert other.seen(LinkClosed)[0].detail.startswith("201 ")
    assert one.drops(DropReason.USER_CLOSED) == other.drops(DropReason.PEER_BYE) == 1
    await stopped(one, other)


@async_test()
async def test_giving_up_a_dial_leaves_nothing(reactor: Any) -> None:
    node, slow = LinkNode(reactor), Peer()
    await node.start()
    port = await slow.listen(reactor)
    attempt = node.links.connect(Address("127.0.0.1", port))
    await until(reactor, lambda: bool(slow.got))
    attempt.cancel()
    with pytest.raises(UserError, match="closed by a command"):
        await attempt
    assert node.links.roster.all == set() or await gone(reactor, node)
    await slow.close_port()
    await node.stop()


# -- raw peers -----------------------------------------------------------------------------------------------------------

BLOCK_1 = b"GNUTELLA CONNECT/0.6\r\nUser-Agent: Raw/1\r\nX-Ultrapeer: True\r\nBye-Packet: 0.1\r\nGGEP: 0.5\r\n"
#: A message that is read and ignored, however often it comes.
ROUTE_RESET = encode(Guid(bytes(range(16))), 1, 0, RouteReset(65536, 7))
BLOCK_3 = b"GNUTELLA/0.6 200 OK\r\n\r\n"


async def gone(reactor: Any, node: LinkNode) -> bool:
    await until(reactor, lambda: not node.links.roster.all)
    return True


async def raw(node: LinkNode, data: bytes = b"") -> Peer:
    """A connection of bytes to a node."""
    peer = await node.dialler.connect(node.address, Peer())
    peer.send(data)
    return peer


async def raw_link(reactor: Any, node: LinkNode, more: bytes = b"") -> Peer:
    """The same, once its handshake is over."""
    count = len(node.links.peers())
    peer = await raw(node, BLOCK_1 + more + b"\r\n")
    await until(reactor, lambda: b"\r\n\r\n" in peer.got)
    peer.send(BLOCK_3)
    await until(reactor, lambda: len(node.links.peers()) > count)
    return peer


@async_test()
async def test_acceptor_sends_nothing_between_block_2_and_block_3(reactor: Any) -> None:
    node = LinkNode(reactor)
    await node.start()
    peer = await raw(node, BLOCK_1 + b"\r\n")
    await until(reactor, lambda: b"\r\n\r\n" in peer.got)
    await turns(reactor, 20)
    assert peer.got.endswith(b"\r\n\r\n") and peer.got.count(b"\r\n\r\n") == 1
    peer.send(BLOCK_3)
    await until(reactor, lambda: not peer.got.endswith(b"\r\n\r\n"))
    assert node.links.peers()[0]["vendor"] == "Raw/1"
    peer.close()
    await until(reactor, lambda: not node.links.peers())
    assert node.seen(LinkClosed)[0].reason is DropReason.PEER_CLOSED
    await node.stop()


@async_test()
async def test_gnutella_0_4_is_answered_and_linked(reactor: Any) -> None:
    node = LinkNode(reactor)
    await node.start()
    peer = await raw(node, b"GNUTELLA CONNECT/0.4\n\n")
    await until(reactor, lambda: bool(node.links.peers()))
    await until(reactor, lambda: peer.got.startswith(b"GNUTELLA OK\n\n"))
    assert node.links.peers()[0]["role"] == "peer"
    peer.close()
    await until(reactor, lambda: not node.links.peers())
    await node.stop()


@async_test()
async def test_tls_by_first_byte_is_looked_into(reactor: Any, tmp_path: Path) -> None:
    node = LinkNode(reactor, tls_directory=tmp_path)
    await node.start()
    peer = await raw(node)
    peer.transport.startTLS(PeerTls(tmp_path).client)
    peer.send(BLOCK_1 + b"Upgrade: TLS/1.0\r\n\r\n")
    await until(reactor, lambda: b"\r\n\r\n" in peer.got)
    assert b"Upgrade" not in peer.got  # it is TLS already
    peer.send(BLOCK_3)
    await until(reactor, lambda: bool(node.links.peers()))
    assert node.links.peers()[0]["tls"] is True
    peer.close()
    await until(reactor, lambda: not node.links.peers())
    await node.stop()


@pytest.mark.parametrize("when", ["first byte", "upgrade"])
@async_test()
async def test_broken_tls_is_counted_and_closed(reactor: Any, tmp_path: Path, when: str) -> None:
    node = LinkNode(reactor, tls_directory=tmp_path)
    await node.start()
    if when == "first byte":
        peer = await raw(node, b"\x16\x03\x01\x00\x05hello" + bytes(40))
    else:
        peer = await raw(node, BLOCK_1 + b"Upgrade: TLS/1.0\r\n\r\n")
        await until(reactor, lambda: b"\r\n\r\n" in peer.got)
        peer.send(b"GNUTELLA/0.6 200 OK\r\nConnection: Upgrade\r\n\r\nthis is no TLS at all" + bytes(40))
    await until(reactor, lambda: peer.is_lost)
    await gone(reactor, node)
    assert node.drops(DropReason.TLS_FAILED) == 1
    assert node.drops(DropReason.INTERNAL_ERROR) == 0
    await node.stop()


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"GNUTELLA CONNECT/0.6\r\n" + b"A: b\r\n" * 200, DropReason.HEAD_TOO_LARGE),
        (b"GNUTELLA CONNECT/0.6\r\n" + b"a" * 5000, DropReason.HEAD_TOO_LARGE),
        (b"GNUTELLA CONNECT/0.6\r\nbroken\r\n\r\n", DropReason.HEAD_BROKEN),
        (BLOCK_1 + b"\r\nnonsense\r\n\r\n", DropReason.HANDSHAKE_BROKEN),
        (BLOCK_1 + b"\r\nGNUTELLA/0.6 503 no\r\n\r\n", DropReason.HANDSHAKE_REFUSED),
        (b"GNUTELLA CONNECT/0.6\r\nCrawler: 0.1\r\n\r\n", DropReason.CRAWLER),
        (b"GNUTELLA CONNECT/0.5\r\n\r\n", DropReason.HANDSHAKE_VERSION),
    ],
)
@async_test()
async def test_bad_handshakes_are_named_and_closed(reactor: Any, data: bytes, reason: DropReason) -> None:
    node = LinkNode(reactor)
    await node.start()
    peer = await raw(node, data)
    await until(reactor, lambda: peer.is_lost)
    await gone(reactor, node)
    assert node.drops(reason) == 1
    if reason.http and not data.startswith(BLOCK_1):
        assert peer.got.startswith(b"GNUTELLA/0.6 %d " % reason.http)
    await node.stop()


@async_test()
async def test_slow_handshakes_are_closed_in_time_on_both_sides(reactor: Any) -> None:
    node, silent = LinkNode(reactor, handshake_timeout_s=0.05), Peer()
    await node.start()
    port = await silent.listen(reactor)
    peer = await raw(node, b"GNUTELLA CONNECT/0.6\r\n")
    with pytest.raises(UserError, match=r"no link after 0\.05 s"):
        await node.links.connect(Address("127.0.0.1", port))
    await until(reactor, lambda: peer.is_lost)
    assert peer.got == b"GNUTELLA/0.6 408 slow\r\n\r\n"
    assert node.drops(DropReason.SLOW) == 2
    await silent.close_port()
    await node.stop()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"GNUTELLA OK\n\n", b"", b"x" * 2000, b"\r\n"])
@async_test()
async def test_whatever_answers_a_dial_ends_in_a_readable_error(reactor: Any, answer: bytes) -> None:
    node, odd = LinkNode(reactor), Peer(greeting=answer, closes=True)
    await node.start()
    port = await odd.listen(reactor)
    with pytest.raises(UserError, match=f"no link to 127.0.0.1:{port}: "):
        await node.links.connect(Address("127.0.0.1", port))
    await odd.close_port()
    await node.stop()


@async_test()
async def test_oversized_message_ends_the_link_with_a_bye(reactor: Any) -> None:
    node = LinkNode(reactor)
    await node.start()
    peer = await raw_link(reactor, node)
    peer.send(bytes(16) + b"\x80\x01\x00" + (70_000).to_bytes(4, "little"))
    await until(reactor, lambda: peer.is_lost)
    assert node.drops(DropReason.MESSAGE_TOO_LARGE) == 1
    assert peer.byes() == [400]
    await node.stop()


@pytest.mark.parametrize(
    "stream, reason",
    [
        (b"no zlib", DropReason.DEFLATE_BROKEN),
        (zlib.compress(ROUTE_RESET * 700_000, 9), DropReason.DEFLATE_BOMB),
        (zlib.compress(bytes(16) + b"\x80\x01\x00" + b"\xff" * 4), DropReason.MESSAGE_TOO_LARGE),
    ],
)
@async_test()
async def test_bad_compressed_streams_end_the_link(reactor: Any, stream: bytes, reason: DropReason) -> None:
    node = LinkNode(reactor)
    await node.start()
    peer = await raw(node, BLOCK_1 + b"\r\n")
    await until(reactor, lambda: b"\r\n\r\n" in peer.got)
    peer.send(b"GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + stream)
    await until(reactor, lambda: peer.is_lost)
    await gone(reactor, node)
    assert node.drops(reason) == 1
    assert node.seen(LinkClosed)[0].reason is reason
    assert peer.byes() == [reason.bye]
    await node.stop()


@async_test()
async def test_one_link_is_compressed_in_one_direction_only(reactor: Any) -> None:
    node = LinkNode(reactor, files=[PURPLE])
    await node.start()
    peer = await raw_link(reactor, node, b"Accept-Encoding: deflate\r\n")
    assert b"Content-Encoding: deflate\r\n" in peer.got
    assert node.links.peers()[0]["deflate"] is True
    query = encode(Guid(b"q" * 16), 3, 1, Query("purple"))
    peer.send(query)
    await until(reactor, lambda: b"purple rain.ogg" in peer.inflated())
    peer.close()
    await until(reactor, lambda: not node.links.peers())
    await node.stop()


@async_test()
async def test_peer_that_does_not_read_is_blocked_and_others_are_not(reactor: Any) -> None:
    node = LinkNode(reactor)
    await node.start()
    deaf, sender, reader = [await raw_link(reactor, node) for _ in range(3)]
    deaf.transport.pauseProducing()
    await until(reactor, lambda: len(node.links.peers()) == 3)
    sent = 0

    async def flood(count: int) -> None:
        nonlocal sent
        sender.send(b"".join(fresh_query(sent + n) for n in range(count)))
        sent += count
        await until(reactor, lambda: reader.queries() == sent, poll_s=0)

    while not node.links.peers()[0]["blocked"]:
        await flood(2000)
        assert sent < 1_000_000
    assert node.drops(DropReason.LINK_BUSY) == 0
    await flood(10_000)  # more than its queue holds
    assert node.drops(DropReason.LINK_BUSY) > 0
    deaf.transport.resumeProducing()
    await until(reactor, lambda: not node.links.peers()[0]["blocked"])
    for peer in (deaf, sender, reader):
        peer.close()
    await until(reactor, lambda: not node.links.peers())
    await node.stop()


@async_test()
async def test_stop_ends_a_peer_that_never_closes(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnutella.network.link.CLOSE_TIMEOUT_S", 0.05)
    node = LinkNode(reactor)
    await node.start()
    peer = await raw_link(reactor, node)
    half_way = await raw(node, b"GNUTELLA CONN")
    await until(reactor, lambda: node.links.half_open == 1)
    peer.transport.pauseProducing()
    await node.stop()
    peer.transport.resumeProducing()
    await until(reactor, lambda: peer.is_lost and half_way.is_lost)
    assert peer.byes() == [200]


@async_test(timeout_s=30)
async def test_random_bytes_never_raise(reactor: Any, tmp_path: Path) -> None:
    node = LinkNode(reactor, tls_directory=tmp_path, files=[PURPLE])
    await node.start()
    rng = random.Random(7)
    starts = [
        b"",
        b"GNUTELLA CONNECT/",
        BLOCK_1,
        BLOCK_1 + b"\r\n" + BLOCK_3,
        b"\x16\x03\x01",
        b"GIV ",
        b"GNUTELLA CONNECT/0.4\n\n",
    ]
    for n in range(60):
        peer = await raw(node, starts[n % len(starts)] + rng.randbytes(rng.randrange(400)))
        await turns(reactor, 3)
        peer.close()
    await gone(reactor, node)
    assert node.drops(DropReason.INTERNAL_ERROR) == 0
    assert node.links.half_open == 0
    await node.stop()
