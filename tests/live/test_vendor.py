"""Vendor messages between whole nodes on loopback."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from gnutella.control.view import HitRef
from gnutella.network.transfers import KnownSource
from gnutella.node import Node, address_of
from gnutella.protocol.kinds import HEADER_SIZE
from gnutella.protocol.message import Push, VendorMessage
from gnutella.protocol.push_http import push_target
from gnutella.protocol.urn import sha1_urn
from gnutella.protocol.vendor import HeadPing, HeadPong, body_of
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.vendors import wire
from gnutella.testing.whole_nodes import found, node_in, shared, started
from gnutella.units import Address, Guid

pytestmark = pytest.mark.live


@async_test(30)
async def test_a_node_learns_from_a_peer_that_calls_back_that_it_can_be_reached(reactor: Any, tmp_path: Path) -> None:
    async with started(node_in(tmp_path / "a", reactor), node_in(tmp_path / "b", reactor)) as (a, b):
        await a.links.connect(address_of(b))
        assert a.face.status()["reachable"] == {"tcp": None, "udp": None}
        await until(reactor, lambda: a.standing.tcp is True)
        await until(reactor, lambda: a.router.counters.drops[DropReason.CONNECT_BACK] == 1)
        assert a.face.status()["reachable"]["tcp"] is True  # type: ignore[index]
        assert b.standing.tcp is True, "it was dialled"


FIREWALLED = {"firewalled": True, "role": "leaf"}
ULTRAPEER = {"role": "ultrapeer"}


async def has_proxy(leaf: Node) -> None:
    await until(leaf.reactor, lambda: bool(leaf.router.self.push_proxies))


def ways(node: Node) -> list[object]:
    return [event.data["way"] for event in node.journal.since(0) if event.type == "push_answered"]


def asks(proxy: Node, target: str, fields: str = "") -> bytes:
    """The answer of a node to a request."""
    with socket.create_connection(address_of(proxy), 5) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n".encode())
        answer = b""
        while data := connection.recv(4096):
            answer += data
    return answer


@async_test(40)
async def test_a_firewalled_leaf_is_fetched_from_through_its_push_proxy_without_a_link(
    reactor: Any, tmp_path: Path
) -> None:
    """The hit tells the proxy; by the time of the download no link is left that a push could take."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    content = random.Random(4).randbytes(300_000)
    (shelf / "purple rain.ogg").write_bytes(content)
    leaf = node_in(tmp_path / "leaf", reactor, share=[shelf], network=FIREWALLED)
    proxy = node_in(tmp_path / "proxy", reactor, network=ULTRAPEER)
    getter = node_in(tmp_path / "getter", reactor, network=ULTRAPEER)
    async with started(leaf, proxy, getter):
        await shared(leaf, 1)
        await leaf.links.connect(address_of(proxy))
        await getter.links.connect(address_of(proxy))
        await has_proxy(leaf)
        assert leaf.router.self.push_proxies == (address_of(proxy),)
        await found(getter, "purple rain")
        hit = getter.searches.hit(HitRef(1))
        assert hit is not None
        [source] = hit.sources
        assert source.needs_push and source.push_proxies == (address_of(proxy),)
        getter.links.disconnect(str(address_of(proxy)))
        await until(reactor, lambda: not getter.links.peers() and len(proxy.links.peers()) == 1)
        assert not getter.router.send_push(Push(source.servent_id, 0, address_of(getter)), reactor.seconds())[0]
        row: Any = await getter.face.get(HitRef(1))
        await until(reactor, lambda: getter.face.downloads()[0]["state"] == "done")
        assert (getter.directory / "incoming" / "purple rain.ogg").read_bytes() == content
        assert ways(getter) == [f"push proxy {address_of(proxy)}"]
        assert row["sources"] == 1


@async_test(30)
async def test_a_head_ping_by_udp_is_answered_from_the_library(reactor: Any, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "purple rain.ogg").write_bytes(b"x" * 5000)
    node = node_in(tmp_path / "node", reactor, share=[shelf])
    async with started(node):
        await shared(node, 1)
        [file] = node.library.catalog.files
        assert file.sha1 is not None

        def ask(sha1: bytes) -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.settimeout(5)
                asker.sendto(wire(HeadPing(0, sha1_urn(sha1), None)), address_of(node))
                return asker.recv(4096)

        for sha1, code in ((file.sha1, 1), (bytes(20), 0)):
            answer: bytes = await deferToThread(ask, sha1)
            pong = body_of(VendorMessage.decode(answer[HEADER_SIZE:]))
            assert isinstance(pong, HeadPong)
            assert (pong.code, pong.queue) == ((1, -20) if code else (0, None))


@async_test(40)
async def test_when_no_proxy_helps_the_push_goes_through_the_overlay(reactor: Any, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "purple rain.ogg").write_bytes(random.Random(4).randbytes(50_000))
    leaf = node_in(tmp_path / "leaf", reactor, share=[shelf], network=FIREWALLED)
    other = node_in(tmp_path / "other", reactor, network=ULTRAPEER)
    getter = node_in(tmp_path / "getter", reactor, network=ULTRAPEER)
    async with started(leaf, other, getter):
        await shared(leaf, 1)
        await leaf.links.connect(address_of(getter))
        await has_proxy(leaf)
        [file] = leaf.library.catalog.files
        assert file.sha1 is not None
        # One that never heard of the leaf, and a port where nobody is.
        proxies = (address_of(other), Address("127.0.0.1", 1))
        source = KnownSource(address_of(leaf), leaf.router.servent_id, file.index, file.name, True, proxies)
        await getter.transfers.add(file.sha1, name=file.name, size=file.size, sources=[source])
        await until(reactor, lambda: getter.face.downloads()[0]["state"] == "done")
        assert ways(getter) == ["overlay"]
        assert other.router.counters.drops[DropReason.NOT_PROXIED] == 1
        run = getter.transfers._find(file.sha1)
        assert run is not None
        [used] = run.download.sources
        assert used.proxies == (address_of(getter),), "its answers said which proxies it really has"
        [(name, value)] = leaf.transfers._about_us()
        assert (name, value.split("; ")[0]) == ("X-FW-Node-Info", leaf.router.servent_id.hex().upper())
        assert value.endswith(f"; {address_of(getter)}")
        assert getter.transfers._about_us() == ()


@async_test(30)
async def test_a_push_proxy_passes_on_what_is_asked_in_the_asker_s_own_name(reactor: Any, tmp_path: Path) -> None:
    leaf = node_in(tmp_path / "leaf", reactor, network=FIREWALLED)
    proxy = node_in(tmp_path / "proxy", reactor, network=ULTRAPEER)
    async with started(leaf, proxy):
        await leaf.links.connect(address_of(proxy))
        await has_proxy(leaf)
        target, drops = push_target(leaf.router.servent_id), proxy.router.counters.drops

        async def status(target: str, fields: str = "") -> int:
            answer: bytes = await deferToThread(asks, proxy, target, fields)
            return int(answer.split()[1])

        assert await status(target) == 400
        assert await status(target, "X-Node: 192.0.2.1:6346\r\n") == 400
        assert drops[DropReason.PUSH_FORGED] == 1
        assert await status(push_target(Guid(bytes(15) + b"1")), "X-Node: 127.0.0.1:9\r\n") == 410
        assert await status(target, "X-Node: 127.0.0.1:9\r\n") == 503, "too soon after the last one"
        assert drops[DropReason.PUSH_RATE] == 1
        await deferLater(reactor, 1.1)
        with socket.create_server(("127.0.0.1", 0)) as called:
            called.settimeout(10)
            node = f"X-Node: 127.0.0.1:{called.getsockname()[1]}\r\n"
            assert await status(target, node) == 202
            connection, _ = await deferToThread(called.accept)
            with connection:
                line = await deferToThread(connection.recv, 200)
        assert line.startswith(f"GIV 0:{leaf.router.servent_id.hex().upper()}/".encode())
