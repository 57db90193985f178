"""The UDP port of a node, with real sockets on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from gnutella.errors import UserError
from gnutella.network.interfaces import Interface, is_neighbour, local_host_towards, multicast_interfaces
from gnutella.network.multicast import LanGroup
from gnutella.network.udp import PUBLIC_CACHES, caches_in
from gnutella.node import Node, address_of, prepare
from gnutella.protocol.addresses import decode_hosts
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, PONG, QUERY, QUERY_HIT, parse_header
from gnutella.protocol.message import Pong, Query, encode
from gnutella.protocol.oob import asking_oob, oob_guid
from gnutella.reasons import DropReason
from gnutella.routing.lan import GROUP
from gnutella.settings import BootstrapSettings, NetworkSettings, Settings
from gnutella.testing.aio import async_test, until
from gnutella.testing.datagrams import ASKS_ALL, ping_datagram
from gnutella.testing.machine import why_no_ipv6
from gnutella.testing.routers import guid_of
from gnutella.testing.whole_nodes import found, node_in, shared, started
from gnutella.units import Address

pytestmark = pytest.mark.live


@pytest.fixture
def asker() -> Iterator[socket.socket]:
    """A stranger's UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        port.setblocking(False)
        yield port


async def answer(reactor: Any, asker: socket.socket) -> tuple[bytes, Address]:
    """Wait for one datagram."""
    got: list[tuple[bytes, Any]] = []

    def look() -> bool:
        try:
            got.append(asker.recvfrom(4096))
        except BlockingIOError:
            return False
        return True

    await until(reactor, look)
    return got[0][0], Address(*got[0][1][:2])


def node(directory: Path, reactor: Any, *caches: str, **network: Any) -> Node:
    """A node that dials on its own, but cannot call into a LAN: it listens on loopback."""
    return node_in(
        directory, reactor, network={"profile": "lan", **network}, bootstrap={"udp_host_caches": tuple(caches)}
    )


@async_test()
async def test_the_udp_port_has_the_number_of_the_tcp_port_and_answers_pings(
    reactor: Any, tmp_path: Path, asker: socket.socket
) -> None:
    async with started(node_in(tmp_path / "a", reactor)) as (a,):
        assert a.udp.addresses == a.links.addresses
        assert a.face.status()["reachable"]["udp"] is None  # type: ignore[index]
        asker.sendto(ping_datagram(ASKS_ALL), address_of(a))
        data, source = await answer(reactor, asker)
        assert source == address_of(a)
        header, pong = parse_header(data), Pong.decode(data[HEADER_SIZE:])
        assert (header.kind, header.guid) == (PONG, parse_header(ping_datagram()).guid)
        assert pong.address == address_of(a) and pong.is_ultrapeer and pong.ggep is not None
        assert decode_hosts(pong.ggep.get("IP") or b"") == (Address(*asker.getsockname()),)
        assert a.face.status()["reachable"]["udp"] is True  # type: ignore[index]
        await until(reactor, lambda: any(event.type == "reachability_changed" for event in a.journal.since(0)))
        (event,) = [event for event in a.journal.since(0) if event.type == "reachability_changed"]
        assert event.data == {"tcp": None, "udp": True}
        assert {check["name"]: check["ok"] for check in await a.face.checks()}["UDP port"] is True


@async_test()
async def test_garbage_is_counted_and_the_port_goes_on(reactor: Any, tmp_path: Path, asker: socket.socket) -> None:
    rng = random.Random(3)
    async with started(node_in(tmp_path / "a", reactor)) as (a,):
        for size in (0, 1, 22, 23, 24, 500, 9000):
            asker.sendto(rng.randbytes(size), address_of(a))
        asker.sendto(ping_datagram(), address_of(a))
        await answer(reactor, asker)
        assert a.router.counters.drops[DropReason.BAD_DATAGRAM] == 7
        assert a.router.counters.drops[DropReason.INTERNAL_ERROR] == 0


@async_test()
async def test_a_node_that_knows_one_host_cache_finds_the_hosts_of_the_island(reactor: Any, tmp_path: Path) -> None:
    a, b = node(tmp_path / "a", reactor), node(tmp_path / "b", reactor)
    async with started(a, b):
        await a.links.connect(address_of(b))
        name = f"localhost:{address_of(a).port}"
        async with started(node(tmp_path / "c", reactor, name, "192.0.2.1:6346")) as (c,):
            await until(reactor, lambda: c.links.summary()["peers"] == 2)
            assert {row["address"] for row in c.links.peers()} == {str(address_of(a)), str(address_of(b))}
            assert c.face.status()["reachable"]["udp"] is None  # type: ignore[index]


@async_test()
async def test_a_node_whose_udp_port_is_taken_runs_without_it(
    reactor: Any, tmp_path: Path, asker: socket.socket
) -> None:
    port = asker.getsockname()[1]
    taken = node(tmp_path / "a", reactor, listen=(f"tcp:{port}:interface=127.0.0.1",))
    async with started(taken):
        assert taken.is_ready and taken.udp.addresses == []
        row = next(check for check in await taken.face.checks() if check["name"] == "UDP port")
        assert row["ok"] is False and row["fix"]


@async_test()
async def test_a_fault_of_ours_ends_one_datagram_only(
    reactor: Any, tmp_path: Path, asker: socket.socket, flush_failures: Any
) -> None:
    async with started(node_in(tmp_path / "a", reactor)) as (a,):
        slots, a.udp.free_slots = a.udp.free_slots, lambda: (1 // 0, 0)  # type: ignore[method-assign]
        asker.sendto(ping_datagram(), address_of(a))
        await until(reactor, lambda: a.router.counters.drops[DropReason.INTERNAL_ERROR] == 1)
        a.udp.free_slots = slots  # type: ignore[method-assign]
        await until(reactor, lambda: not asker.sendto(ping_datagram(), address_of(a)) or bool(_received(asker)))
        assert len(flush_failures(ZeroDivisionError)) == 1


def _received(port: socket.socket) -> bytes:
    try:
        return port.recv(4096)
    except BlockingIOError:
        return b""


@async_test()
async def test_hits_come_by_udp_from_a_servent_two_hops_away(
    reactor: Any, tmp_path: Path, asker: socket.socket
) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for number in range(25):
        (music / f"purple rain {number}.ogg").write_bytes(bytes((number,)))
    a, relay, b = (
        node_in(tmp_path / "a", reactor),
        node_in(tmp_path / "relay", reactor),
        node_in(tmp_path / "b", reactor, share=[music]),
    )
    async with started(a, relay, b):
        await shared(b, 25)
        asker.sendto(ping_datagram(), address_of(a))  # somebody reaches its UDP port: now it asks for hits there
        await until(reactor, lambda: a.router.reach.udp is True)
        await a.links.connect(address_of(relay))
        await relay.links.connect(address_of(b))
        hits = await found(a, "purple", rows=25)
        assert len(hits.rows) == 25
        assert relay.router.counters.kind(QUERY).rx == 1 and relay.router.counters.kind(QUERY_HIT).rx == 0
        assert a.router.counters.kind(QUERY_HIT).rx >= 3
        steps = [step.step for step in a.router.trace(hits.guid)]
        assert steps.count("hit arrived by UDP") >= 3
        assert (
            not a.router.counters.drops[DropReason.INTERNAL_ERROR] + b.router.counters.drops[DropReason.INTERNAL_ERROR]
        )


@async_test()
async def test_a_query_by_udp_is_answered_once_its_sender_has_a_key(
    reactor: Any, tmp_path: Path, asker: socket.socket
) -> None:
    music = tmp_path / "music"
    music.mkdir()
    (music / "purple rain.ogg").write_bytes(b"purple")
    async with started(node_in(tmp_path / "a", reactor, share=[music])) as (a,):
        await shared(a, 1)
        asker.sendto(ping_datagram(Ggep.of({"QK": b""})), address_of(a))
        data, _ = await answer(reactor, asker)
        pong = Pong.decode(data[HEADER_SIZE:])
        key = pong.ggep.get("QK") if pong.ggep is not None else None
        assert key is not None
        asker.sendto(encode(guid_of(1), 1, 0, Query("purple", ggep=Ggep.of({"QK": key}))), address_of(a))
        kinds = [parse_header((await answer(reactor, asker))[0]).kind for _ in range(2)]
        assert kinds == [PONG, QUERY_HIT]


@async_test()
async def test_an_announcement_that_the_system_does_not_send_is_tried_again_and_then_its_hits_go_over_the_link(
    reactor: Any, tmp_path: Path
) -> None:
    music = tmp_path / "music"
    music.mkdir()
    (music / "purple rain.ogg").write_bytes(b"purple")
    relay, b = node_in(tmp_path / "relay", reactor), node_in(tmp_path / "b", reactor, share=[music])
    async with started(relay, b):
        await shared(b, 1)
        await relay.links.connect(address_of(b))
        await until(reactor, lambda: bool(b.links.roster.open))
        asking = asking_oob(Query("purple"))
        assert asking is not None
        # Nobody can send from a loopback address to one of the Internet, or of another network.
        guid = oob_guid(guid_of(1), Address("192.0.2.1", 6346))
        (link,) = b.links.roster.open
        b.links.execute(b.router.receive(link, encode(guid, 3, 1, asking), reactor.seconds()))
        await until(reactor, lambda: relay.router.counters.kind(QUERY_HIT).rx == 1)
        assert b.router.counters.drops[DropReason.UDP_UNSENT] >= 3


@async_test()
async def test_handshakes_say_that_queries_by_udp_are_answered(reactor: Any, tmp_path: Path) -> None:
    leaf = node_in(tmp_path / "leaf", reactor, network={"role": "leaf"})
    async with started(node_in(tmp_path / "a", reactor), leaf) as (a, b):
        await b.links.connect(address_of(a))
        await until(reactor, lambda: bool(a.links.roster.open))
        (to_ultrapeer,), (to_leaf,) = b.links.roster.open.values(), a.links.roster.open.values()
        assert to_ultrapeer.peer is not None and to_ultrapeer.peer.headers.get("X-Guess") == "0.2"
        assert to_leaf.peer is not None and not to_leaf.peer.headers.get("X-Guess")


@async_test()
async def test_several_nodes_of_a_machine_hear_the_group_and_know_who_is_no_neighbour(reactor: Any) -> None:
    heard: list[tuple[int, bytes, bool]] = []
    groups = [
        LanGroup(reactor, lambda data, source, near, n=n: heard.append((n, data, near)))  # type: ignore[misc]
        for n in range(2)
    ]
    try:
        opened = [group.open() for group in groups]
        assert all(opened)
        elsewhere = next(host for host in ("192.0.2.7", "198.51.100.7") if not is_neighbour(host, groups[0].interfaces))
        for group in groups:
            group.datagramReceived(b"from afar", (elsewhere, 6346))
        assert heard == [(0, b"from afar", False), (1, b"from afar", False)]
    finally:
        for group in groups:
            await group.close()


def test_this_machine_is_on_its_own_networks() -> None:
    interfaces = multicast_interfaces()
    assert all(is_neighbour(interface.host, interfaces) for interface in interfaces)
    assert not any(interface.host.startswith("127.") for interface in interfaces)
    lan = Interface("e0", "10.1.2.3", IPv4Network("10.1.2.0/24"))
    assert is_neighbour("10.1.2.200", [lan]) and not is_neighbour("10.1.3.1", [lan])
    assert not is_neighbour("not an address", [lan]) and not is_neighbour("::1", [lan])
    assert local_host_towards("127.0.0.1") == "127.0.0.1"
    assert GROUP.host.startswith("234.")


def test_the_list_of_caches_depends_on_the_profile() -> None:
    def listed(profile: Any, *texts: str) -> list[str]:
        bootstrap = BootstrapSettings(udp_host_caches=texts) if texts else BootstrapSettings()
        return [str(a) for a in caches_in(Settings(network=NetworkSettings(profile=profile), bootstrap=bootstrap))]

    assert listed("lan") == listed("loopback") == []
    assert listed("public") == list(PUBLIC_CACHES)
    assert listed("lan", "cache.example", "default") == ["cache.example:6346"]
    assert listed("public", "a.example:1", "default") == ["a.example:1", *PUBLIC_CACHES]
    with pytest.raises(UserError, match="udp_host_caches"):
        listed("lan", "a:b")


def test_a_cache_that_cannot_be_read_is_a_readable_error(tmp_path: Path, reactor: Any) -> None:
    (tmp_path / "gnutella.toml").write_text('[bootstrap]\nudp_host_caches = ["a:b"]\n')
    with pytest.raises(UserError, match="line 2: bootstrap.udp_host_caches"):
        prepare(str(tmp_path), None, {}, {}, reactor)


@pytest.mark.skipif(bool(why_no_ipv6()), reason=why_no_ipv6())
@async_test()
async def test_a_port_of_both_ip_versions_answers_both(reactor: Any, tmp_path: Path, asker: socket.socket) -> None:
    both = node_in(tmp_path / "a", reactor, network={"listen": ("tcp6:0:interface=\\:\\:",)})
    async with started(both) as (a,):
        port = address_of(a).port
        asker.sendto(ping_datagram(ASKS_ALL), ("127.0.0.1", port))
        data, source = await answer(reactor, asker)
        assert source == Address("127.0.0.1", port)
        assert Pong.decode(data[HEADER_SIZE:]).address == Address("127.0.0.1", port)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asker6:
            asker6.bind(("::1", 0))
            asker6.setblocking(False)
            asker6.sendto(ping_datagram(ASKS_ALL), ("::1", port))
            data, _ = await answer(reactor, asker6)
        assert Pong.decode(data[HEADER_SIZE:]).ipv6 == Address("::1", port)
