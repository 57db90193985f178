"""Relay links over real loopback sockets, on the servent's port: who is taken, who is not, and what the core hears."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from anonymizer import links as links_module
from anonymizer.cells import LARGE_BODY, Cell
from anonymizer.links import MAX_HALF_OPEN, MAX_OF_NETWORK
from anonymizer.membership import Manners
from anonymizer.reasons import Refusal
from anonymizer.targets import MAX_LINKS
from anonymizer.tls import ALPN, RelayTls
from anonymizer.wire import ByeReason, Ciphertext, Hello, cell_of
from gnutella.errors import Refused
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.nodes import LinkNode
from gnutella.testing.relay_link_nodes import LinkedNode
from gnutella.testing.relay_nodes import signing_key
from gnutella.units import Address

pytestmark = pytest.mark.live


class Nodes:
    """Nodes that are stopped in the end, whatever happened."""

    def __init__(self, reactor: Any, count: int, **options: Any) -> None:
        self.nodes = [LinkedNode(reactor, number, **options) for number in range(count)]

    async def __aenter__(self) -> list[LinkedNode]:
        for node in self.nodes:
            await node.start()
        return self.nodes

    async def __aexit__(self, *what: object) -> None:
        for node in self.nodes:
            await node.stop()


class Stranger(Protocol):
    """Somebody at the other end: sends `data`, and keeps what comes."""

    transport: Any

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.got, self.is_lost = data, b"", False

    def connectionMade(self) -> None:
        self.transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True


async def come(reactor: Any, address: Address, data: bytes = b"") -> Stranger:
    found = await connectProtocol(TCP4ClientEndpoint(reactor, address.host, address.port), Stranger(data))
    assert isinstance(found, Stranger)
    return found


def linked(one: LinkedNode, other: LinkedNode) -> Callable[[], bool]:
    return lambda: other.id in one.links.nodes and one.id in other.links.nodes


@async_test()
async def test_two_nodes_link_and_cells_of_both_sizes_arrive(reactor: Any) -> None:
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address, two.id)
        await until(reactor, linked(one, two))
        assert one.core.ups == [(two.id, True)] and two.core.ups == [(one.id, False)]
        sent = [cell_of(Ciphertext(bytes((number,)) * LARGE_BODY), 2 * number + 1) for number in range(40)]
        for cell in sent:
            one.core.say(two.id, cell)
        one.links.wake()
        await until(reactor, lambda: len(two.core.got) == len(sent))
        assert two.core.got == [(one.id, cell) for cell in sent]
        assert one.id in two.core.known and two.id in one.core.known
        one.links.drop(two.id, ByeReason.UNWANTED)
        await until(reactor, lambda: not two.links.nodes)
        assert two.core.downs == [one.id] and one.core.downs == [two.id]
        assert one.refusals.rows() == two.refusals.rows() == {}


@async_test()
async def test_a_first_contact_needs_no_id_and_learns_it(reactor: Any) -> None:
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address)
        await until(reactor, linked(one, two))


@async_test()
async def test_a_first_contact_that_is_linked_already_replaces_nothing(reactor: Any) -> None:
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address)
        await until(reactor, linked(one, two))
        for dials, port in ((one, two), (two, one)):
            await dials.links.connect(port.address)
            await until(reactor, lambda dials=dials: dials.refused(Refusal.LINK_TWICE) == 1)  # type: ignore[misc]
        await until(reactor, lambda: one.links.connections == two.links.connections == 1)
        assert one.core.downs == two.core.downs == []


@async_test()
async def test_no_name_is_ever_looked_up(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*what: object, **more: object) -> None:
        raise AssertionError(f"looked up {what}")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(reactor, "resolve", fail)
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address, two.id)
        await until(reactor, linked(one, two))


@async_test()
async def test_another_node_at_that_address_is_not_linked(reactor: Any) -> None:
    async with Nodes(reactor, 3) as (one, two, three):
        await one.links.connect(two.address, three.id)
        await until(reactor, lambda: one.refused(Refusal.PIN) == 1 and two.links.half_open == 0)
        assert one.core.ups == two.core.ups == []


@async_test()
async def test_where_nobody_listens_the_dial_fails(reactor: Any) -> None:
    async with Nodes(reactor, 1) as (one,):
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        address = Address("127.0.0.1", port.getHost().port)
        await port.stopListening()
        with pytest.raises(Refused):
            await one.links.connect(address, bytes(32))
        assert one.links.nodes == {}


@pytest.mark.parametrize("first", [0, 1])
@async_test()
async def test_who_dial_each_other_at_once_keep_the_link_of_the_smaller_id(reactor: Any, first: int) -> None:
    async with Nodes(reactor, 2) as nodes:
        one, two = nodes[first], nodes[1 - first]
        await gatherResults([one.links.connect(two.address, two.id), two.links.connect(one.address, one.id)])
        smaller = min(nodes, key=lambda node: node.id)
        await until(reactor, lambda: linked(one, two)() and one.links.connections == two.links.connections == 1)
        for node, other in ((one, two), (two, one)):
            assert node.links.nodes[other.id].is_client is (node is smaller)


@async_test()
async def test_who_dials_again_has_lost_the_old_link_and_gets_a_new_one(reactor: Any) -> None:
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address, two.id)
        await until(reactor, linked(one, two))
        old = two.links.nodes[one.id]
        await one.links.connect(two.address, two.id)
        await until(reactor, lambda: linked(one, two)() and two.links.nodes[one.id] is not old)
        await until(reactor, lambda: one.links.connections == two.links.connections == 1)


@async_test()
async def test_members_find_each_other_over_real_links(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "TICK_S", 0.05)
    async with Nodes(reactor, 5, manners=Manners(pad_rate=5.0)) as nodes:
        for node in nodes:
            node.links.start()
        for node in nodes[1:]:
            await node.links.connect(nodes[0].address, nodes[0].id)
        await until(reactor, lambda: all(len(node.links.nodes) == 4 for node in nodes))
        await until(reactor, lambda: all(len(node.core.known) == 4 for node in nodes))
        await until(reactor, lambda: all(node.core.edges.edges for node in nodes))
        assert all(node.links.faults == 0 for node in nodes)


@async_test()
async def test_for_whom_there_is_no_room_is_told_of_others(reactor: Any) -> None:
    count = MAX_LINKS // 2
    async with Nodes(reactor, count + 2) as (hub, *others):
        for other in others[:count]:
            await other.links.connect(hub.address, hub.id)
            await until(reactor, linked(hub, other))
        late = others[count]
        await late.links.connect(hub.address, hub.id)
        await until(reactor, lambda: hub.refused(Refusal.LINKS_FULL) == 1 and late.core.downs == [hub.id])
        assert len(late.core.known) > 1 and len(hub.links.nodes) == count


@async_test()
async def test_a_link_whose_peer_reads_nothing_is_blocked_and_the_core_keeps_its_cells(reactor: Any) -> None:
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address, two.id)
        await until(reactor, linked(one, two))
        two.links.nodes[one.id].transport.pauseProducing()
        link = one.links.nodes[two.id]
        cell = cell_of(Ciphertext(bytes(LARGE_BODY)), 3)
        said = 1_200  # 40 MB, more than kernels keep for anybody
        for _ in range(said):
            one.core.say(two.id, cell)
        one.links.wake()
        await until(reactor, lambda: link.is_blocked)
        for _ in range(5):
            one.core.say(two.id, cell)
        one.links.wake()
        await until(reactor, lambda: one.links.idle)
        assert len(one.core.waiting) == 5
        two.links.nodes[one.id].transport.resumeProducing()
        await until(reactor, lambda: len(two.core.got) == said + 5)


@async_test()
async def test_bytes_that_are_no_session_are_cut_off_and_counted(reactor: Any) -> None:
    async with Nodes(reactor, 1) as (one,):
        hello = RelayTls(signing_key(9)).client(one.id).begin()
        broken = await come(reactor, one.address, hello + b"\x17\3\3\0\x20" + bytes(32))
        await until(reactor, lambda: broken.is_lost)
        assert one.refused(Refusal.TLS_BROKEN) == 1 and one.links.half_open == 0
        other = await come(reactor, one.address, b"\x16\3\1\0\0")
        await until(reactor, lambda: other.is_lost)
        assert one.drops == {DropReason.GARBAGE: 1}


@async_test()
async def test_silent_connections_are_bounded(reactor: Any) -> None:
    async with Nodes(reactor, 1) as (one,):
        begun = RelayTls(signing_key(9)).client(one.id).begin()
        crowd = [await come(reactor, one.address, begun) for _ in range(MAX_HALF_OPEN + 3)]
        await until(reactor, lambda: sum(stranger.is_lost for stranger in crowd) == 3)
        assert one.links.half_open == MAX_HALF_OPEN and one.refused(Refusal.HALF_OPEN) == 3
        for stranger in crowd:
            stranger.transport.abortConnection()
        await until(reactor, lambda: one.links.half_open == 0)


@async_test()
async def test_three_connections_a_minute_come_from_one_network(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Nodes(reactor, 1, by_network=True) as (one,):
        begun = RelayTls(signing_key(9)).client(one.id).begin()
        crowd = [await come(reactor, one.address, begun) for _ in range(MAX_OF_NETWORK + 2)]
        await until(reactor, lambda: sum(stranger.is_lost for stranger in crowd) == 2)
        assert one.refused(Refusal.NETWORK_FAST) == 2
        monkeypatch.setattr(links_module, "MINUTE_S", 0.0)
        later = await come(reactor, one.address, begun)
        await until(reactor, lambda: bool(later.got))
        for stranger in (*crowd, later):
            stranger.transport.abortConnection()


@pytest.mark.parametrize("what", ["second hello", "flood of hellos", "a bad cell"])
@async_test()
async def test_who_breaks_the_protocol_is_cut_off_and_banned(reactor: Any, what: str) -> None:
    async with Nodes(reactor, 2) as (one, two):
        await one.links.connect(two.address, two.id)
        await until(reactor, linked(one, two))
        link = one.links.nodes[two.id]
        hello = cell_of(Hello((1,), 0, b"", bytes(32), 256, 0))
        if what == "a bad cell":
            link.session.write(bytes(1_536))
            link.transport.write(link.session.take())
        else:
            link.send([hello] * (500 if "flood" in what else 1))
        await until(reactor, lambda: not two.links.nodes and not one.links.nodes)
        expected = Refusal.BAD_VERSION if what == "a bad cell" else Refusal.HELLO_BROKEN
        assert two.refusals.rows() == {expected.value: 1}
        await one.links.connect(two.address, two.id)
        await until(reactor, lambda: two.refused(Refusal.LINK_BANNED) == 1)


@async_test()
async def test_a_fault_of_ours_costs_one_connection(reactor: Any, flush_failures: Callable[..., list[Failure]]) -> None:
    async with Nodes(reactor, 3) as (one, two, three):
        for other in (two, three):
            await one.links.connect(other.address, other.id)
            await until(reactor, linked(one, other))

        def fail(node: bytes, cell: Cell) -> None:
            raise RuntimeError("ours")

        one.core.takes = fail
        two.core.say(one.id, cell_of(Ciphertext(bytes(LARGE_BODY)), 3))
        two.links.wake()
        await until(reactor, lambda: list(one.links.nodes) == [three.id])
        assert one.links.faults == 1 and len(flush_failures(RuntimeError)) == 1


@async_test()
async def test_a_link_is_made_anew_after_its_life(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Nodes(reactor, 2) as (one, two):
        monkeypatch.setattr(links_module, "LIFE_S", 0.05)
        await one.links.connect(two.address, two.id)
        await until(reactor, lambda: bool(one.core.downs and two.core.downs))
        assert one.core.ups == [(two.id, True)]


def context(version: int, protocols: list[bytes]) -> SSL.Context:
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(version)
    made.set_max_proto_version(version)
    if protocols:
        made.set_alpn_protos(protocols)
    return made


def first_bytes(version: int, protocols: list[bytes]) -> bytes:
    connection = SSL.Connection(context(version, protocols), None)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65_536)


@async_test()
async def test_old_tls_that_offers_this_protocol_is_refused(reactor: Any) -> None:
    async with Nodes(reactor, 1) as (one,):
        stranger = await come(reactor, one.address, first_bytes(SSL.TLS1_2_VERSION, [ALPN]))
        await until(reactor, lambda: stranger.is_lost)
        assert one.refused(Refusal.TLS_BROKEN) == 1


@async_test()
async def test_on_one_port_each_tls_goes_to_its_own(reactor: Any, tmp_path: Path) -> None:
    """A servent with both: its own permissive TLS for links of the network, the strict one for relay links."""
    servent, peer = LinkNode(reactor, tls_directory=tmp_path / "a"), LinkNode(reactor, tls_directory=tmp_path / "b")
    await servent.start()
    await peer.start()
    try:
        async with Nodes(reactor, 2) as (one, two):
            servent.links.doors.inside[ALPN] = two.links.door
            await one.links.connect(servent.address, two.id)
            await until(reactor, linked(one, two))
            old = await come(reactor, servent.address, first_bytes(SSL.TLS1_2_VERSION, []))
            other = await come(reactor, servent.address, first_bytes(SSL.TLS1_3_VERSION, [b"h2"]))
            await until(reactor, lambda: old.got[:1] == other.got[:1] == b"\x16")
            await peer.links.connect(servent.address)
            assert [row["tls"] for row in peer.links.peers()] == [True]
            for stranger in (old, other):
                stranger.transport.abortConnection()
            del servent.links.doors.inside[ALPN]
            again = await come(reactor, servent.address, first_bytes(SSL.TLS1_3_VERSION, [ALPN]))
            await until(reactor, lambda: again.got[:1] == b"\x16")  # no relay layer, so ordinary TLS as ever
            again.transport.abortConnection()
    finally:
        await servent.stop()
        await peer.stop()


@async_test()
async def test_a_stop_says_goodbye_and_takes_nobody_any_more(reactor: Any) -> None:
    async with Nodes(reactor, 3) as (one, two, three):
        await one.links.connect(two.address, two.id)
        await until(reactor, linked(one, two))
        await two.links.stop()
        await until(reactor, lambda: one.core.downs == [two.id])
        stranger = await come(reactor, two.address, three.tls.client(two.id).begin())
        await until(reactor, lambda: stranger.is_lost)
        assert two.refused(Refusal.HALF_OPEN) == 1


@async_test()
async def test_a_stop_gives_up_what_is_being_dialled(reactor: Any) -> None:
    async with Nodes(reactor, 2) as (one, two):
        dialling = one.links.connect(two.address, two.id)
        stopping = Deferred.fromCoroutine(one.links.stop())
        with pytest.raises(Refused):
            await dialling
        await stopping
        assert one.links.connections == 0 and two.core.ups == []
