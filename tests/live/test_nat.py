"""Port mappings over real datagrams, with routers of our own on loopback: good ones, old ones, none, and liars."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol

from gnutella.network.gateway import Gateway
from gnutella.network.nat import Mapping, Nat
from gnutella.network.upnp import Mapped, UpnpFailed
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.fake_router import EXTERNAL, FakeRouter
from gnutella.testing.whole_nodes import node_in, started
from gnutella.units import Address

pytestmark = pytest.mark.live

LOOPBACK = Gateway("127.0.0.1", "127.0.0.1")


class RouterPort(DatagramProtocol):
    """A fake router on a socket; `lie` may change each answer."""

    transport: Any

    def __init__(self, router: FakeRouter, lie: Callable[[bytes], list[bytes]]) -> None:
        self.router = router
        self.lie = lie

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self.router.answer(datagram, 1000.0)
        for data in self.lie(answer) if answer is not None else ():
            self.transport.write(data, addr)


class Told:
    """What a Nat told."""

    def __init__(self) -> None:
        self.mappings: list[Mapping | None] = []
        self.drops: list[DropReason] = []


@asynccontextmanager
async def mapped(
    reactor: Any, router: FakeRouter, lie: Callable[[bytes], list[bytes]] = lambda answer: [answer], **options: Any
) -> AsyncIterator[tuple[Nat, Told]]:
    told = Told()
    port = reactor.listenUDP(0, RouterPort(router, lie), interface="127.0.0.1")
    nat = Nat(
        reactor,
        told.mappings.append,
        told.drops.append,
        **{"look": lambda: LOOPBACK, "gateway_port": port.getHost().port, **options},
    )
    try:
        nat.start(6346)
        yield nat, told
    finally:
        await nat.stop()
        await until(reactor, lambda: not router.mappings)
        await port.stopListening()


@pytest.mark.parametrize(("speaks", "method"), [((0, 2), "pcp"), ((0,), "nat-pmp")])
@async_test()
async def test_a_port_is_mapped_told_and_taken_back(reactor: Any, speaks: tuple[int, ...], method: str) -> None:
    router = FakeRouter(speaks=speaks)
    async with mapped(reactor, router) as (nat, told):
        await until(reactor, lambda: told.mappings[-1:] == [Mapping(method, EXTERNAL, 6346, True)])
        status = nat.status()
        assert (status["state"], status["method"], status["address"]) == ("mapped", method, f"{EXTERNAL}:6346")
        assert isinstance(status["expires_s"], int) and 7000 < status["expires_s"] <= 7200
    assert told.mappings[-1] is None and told.drops == [] and router.mappings == {}
    assert nat.status()["state"] == "idle"


@async_test()
async def test_answers_of_liars_are_counted_and_change_nothing(reactor: Any) -> None:
    def lie(answer: bytes) -> list[bytes]:
        other_opcode = answer[:1] + bytes((answer[1] + 1,)) + answer[2:]
        other_nonce = answer[:24] + bytes(12) + answer[36:]
        return [b"", b"\0\xff\0", answer[:30], other_opcode, other_nonce, answer, answer]

    async with mapped(reactor, FakeRouter(), lie) as (nat, told):
        await until(reactor, lambda: len(told.drops) == 12)
        assert told.drops.count(DropReason.BAD_MAPPING) == 8
        assert told.drops.count(DropReason.BOGUS_MAPPING) == 4
        assert nat.status()["address"] == f"{EXTERNAL}:6346"
        assert nat._socket is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            own = nat._socket._port.getHost()
            stranger.sendto(struct.pack(">BBHIHHI", 0, 130, 0, 9, 6346, 666, 60), (own.host, own.port))
        nat.received(b"anything", Address("127.0.0.1", 1))
        assert nat.status()["address"] == f"{EXTERNAL}:6346" and len(told.drops) == 13


@async_test()
async def test_a_router_behind_another_router_is_seen_through(reactor: Any) -> None:
    async with mapped(reactor, FakeRouter(external="192.168.7.7")) as (nat, told):
        await until(reactor, lambda: bool(told.mappings))
        assert "another router before it" in str(nat.status()["detail"])


class Igd:
    """UPnP that works, or does not."""

    def __init__(self, works: bool) -> None:
        self.works = works
        self.removed = 0

    def add(self, port: int, wished: int) -> Mapped:
        if not self.works:
            raise UpnpFailed("no router answers")
        return Mapped(EXTERNAL, 7777)

    def remove(self) -> None:
        self.removed += 1


@pytest.mark.parametrize("works", [True, False])
@async_test()
async def test_where_nobody_speaks_the_small_protocols_upnp_is_tried(reactor: Any, works: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    igd = Igd(works)
    async with mapped(reactor, FakeRouter(), igd=igd, gateway_port=port) as (nat, told):
        wanted = "mapped" if works else "silent"
        await until(reactor, lambda: (nat.status()["method"], nat.status()["state"]) == ("upnp", wanted))
        assert told.mappings == ([Mapping("upnp", EXTERNAL, 7777, True)] if works else [])
        assert works or nat.status()["detail"] == "no router answers"
    assert igd.removed == 1


@pytest.mark.parametrize(
    ("gateway", "because"), [(None, "no router"), (Gateway("24.0.0.1", "24.0.0.2"), "24.0.0.2 is public")]
)
@async_test()
async def test_nobody_is_asked_where_there_is_no_need(reactor: Any, gateway: Gateway | None, because: str) -> None:
    router = FakeRouter()
    async with mapped(reactor, router, look=lambda: gateway) as (nat, told):
        await until(reactor, lambda: because in str(nat.status()["detail"]))
        assert (nat.status()["state"], told.mappings, router.heard) == ("idle", [], [])


@async_test()
async def test_another_router_is_noticed(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnutella.network.nat.LOOK_S", 0.02)
    ways: list[Gateway | None] = [LOOPBACK]
    async with mapped(reactor, FakeRouter(), look=lambda: ways[0]) as (nat, told):
        await until(reactor, lambda: told.mappings[-1:] == [Mapping("pcp", EXTERNAL, 6346, True)])
        ways[0] = None
        await until(reactor, lambda: nat.status()["detail"] == "no router was found")
        assert told.mappings[-1] is None


@async_test(30)
async def test_a_node_asks_its_router_only_in_the_public_network(reactor: Any, tmp_path: Any) -> None:
    states = {}
    for profile, nat in (("lan", "auto"), ("loopback", "auto"), ("public", "off"), ("public", "auto")):
        network = {"profile": profile, "nat": nat}
        async with started(node_in(tmp_path / f"{profile}-{nat}", reactor, network=network)) as (node,):
            status: Any = node.face.status()
            states[profile, nat] = (status["nat"]["state"], status["nat"]["detail"])
            rows = {row["name"]: row for row in await node.face.checks()}
            assert ("port mapping" in rows) is ((profile, nat) == ("public", "auto"))
    assert {key for key, (state, _) in states.items() if state == "off"} == {*states} - {("public", "auto")}
    assert states["public", "auto"] == ("idle", "not started"), "it listens on loopback"


@async_test()
async def test_what_the_router_maps_is_told_to_others(reactor: Any, tmp_path: Any) -> None:
    async with started(node_in(tmp_path / "a", reactor, network={"profile": "public"})) as (node,):
        nat = node.bootstrap._nat
        assert nat is not None
        nat._changed(Mapping("pcp", EXTERNAL, 7777, True))
        assert str(node.own_address("192.168.1.5")) == f"{EXTERNAL}:7777"
        assert node.face.status()["external"] == EXTERNAL
        nat._changed(None)
        events = [event.data for event in node.journal.since(0) if event.type == "port_mapped"]
        assert events == [{"method": "pcp", "address": f"{EXTERNAL}:7777"}, {"method": "", "address": ""}]
        assert node.own_address("192.168.1.5").port != 7777
