"""What the node says of its reachability, from settings and facts; and the calls it makes for peers that ask."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gnutella.errors import Refused
from gnutella.network.own_address import OwnAddresses
from gnutella.network.standing import HELLO, MAX_CALLS, Standing
from gnutella.protocol.vendor import TcpConnectBack, UdpConnectBack
from gnutella.reasons import DropReason
from gnutella.routing.events import ConnectBackAsked
from gnutella.routing.router import Router
from gnutella.settings import NetworkSettings
from gnutella.testing.routers import guid_of, make_router
from gnutella.testing.vendors import open_reader, told
from gnutella.units import Address, Guid, LinkId

PEER = Address("10.1.1.1", 7000)


class World:
    """A standing with everything around it faked."""

    def __init__(self, **settings: Any) -> None:
        self.settings = NetworkSettings(**settings)
        self.router: Router = make_router()
        self.own = OwnAddresses(self.settings)
        self.own.port = 6346
        self.dialled: list[tuple[Address, Any, Deferred[Any]]] = []
        self.pinged: list[tuple[Address, Guid]] = []
        self.told = 0
        self.standing = Standing(lambda: 5.0, self.settings, self.router, self.own, self._dial, self._ping, self._count)

    def _dial(self, address: Address, protocol: Any, timeout_s: float) -> Deferred[Any]:
        self.dialled.append((address, protocol, Deferred()))
        return self.dialled[-1][2]

    def _ping(self, address: Address, guid: Guid) -> None:
        self.pinged.append((address, guid))

    def _count(self) -> None:
        self.told += 1

    def learn(self) -> None:
        """As the links do with what the router emits."""
        if self.router.tick(5.0):
            self.standing.learned()


@pytest.mark.parametrize(("profile", "said"), [("lan", False), ("loopback", False), ("public", True)])
def test_what_is_not_known_is_said_to_be_bad_on_the_public_network_only(profile: str, said: bool) -> None:
    world = World(profile=profile)
    assert world.standing.tcp is None
    assert world.router.self.is_firewalled is said
    assert world.own.is_firewalled is said


def test_who_says_that_it_is_firewalled_is_and_asks_nobody() -> None:
    world = World(profile="lan", firewalled=True)
    world.standing.listen(None)
    open_reader(world.router, LinkId(0), "10.1.1.1")
    asked = [body for bodies in told(world.router.tick(1.0)).values() for body in bodies]
    assert not any(isinstance(body, TcpConnectBack) for body in asked)
    world.standing.reached("10.1.1.1")
    world.learn()
    assert world.standing.tcp is False
    assert world.router.self.is_firewalled


def test_somebody_who_came_settles_it() -> None:
    world = World(profile="public")
    world.standing.reached("8.8.8.8")
    world.learn()
    assert (world.standing.tcp, world.standing.udp, world.told) == (True, None, 1)
    assert not world.router.self.is_firewalled
    world.standing.reached("8.8.8.8", by_udp=True)
    assert world.router.reach.udp is True
    world.standing.moved()
    facts: list[bool | None] = [world.standing.tcp, world.standing.udp]
    assert facts == [None, None]
    assert world.router.self.is_firewalled


@pytest.mark.parametrize(
    ("profile", "host", "counts"),
    [
        ("public", "10.0.0.1", False),
        ("public", "127.0.0.1", False),
        ("public", "8.8.8.8", True),
        ("lan", "127.0.0.1", False),
        ("lan", "10.0.0.1", True),
        ("loopback", "127.0.0.1", True),
    ],
)
def test_those_on_our_side_of_the_router_prove_nothing(profile: str, host: str, counts: bool) -> None:
    world = World(profile=profile)
    world.standing.reached(host)
    assert (world.standing.tcp is True) is counts


def test_the_port_that_is_told_is_the_one_that_others_see() -> None:
    world = World(profile="lan", advertise="192.0.2.7:9999")
    open_reader(world.router, LinkId(0), "10.1.1.1")
    world.standing.listen(6347)
    asked = told(world.router.tick(1.0))[LinkId(0)]
    assert TcpConnectBack(9999) in asked
    assert {body.port for body in asked if isinstance(body, UdpConnectBack)} == {9999}


def test_a_call_says_hello_and_ends() -> None:
    world = World()
    world.standing.call_back(ConnectBackAsked(PEER, None))
    [(address, protocol, _)] = world.dialled
    assert address == PEER
    transport = StringTransport()
    protocol.makeConnection(transport)
    assert transport.value() == HELLO
    assert transport.disconnecting
    protocol.dataReceived(b"HTTP/1.1 400 what")
    assert transport.disconnected


def test_a_ping_goes_out_by_udp() -> None:
    world = World()
    world.standing.call_back(ConnectBackAsked(PEER, guid_of(1)))
    assert world.pinged == [(PEER, guid_of(1))]
    assert world.dialled == []


def test_so_many_calls_are_made_at_a_time() -> None:
    world = World()
    for _ in range(MAX_CALLS + 1):
        world.standing.call_back(ConnectBackAsked(PEER, None))
    assert len(world.dialled) == MAX_CALLS
    assert world.router.counters.drops[DropReason.RATE] == 1
    world.dialled[0][2].callback(None)
    world.dialled[1][2].errback(Failure(Refused(DropReason.DIAL_FAILED, "no answer")))
    assert world.router.counters.drops[DropReason.DIAL_FAILED] == 1
    for _ in range(3):
        world.standing.call_back(ConnectBackAsked(PEER, None))
    assert len(world.dialled) == MAX_CALLS + 2


def test_changed_settings_count_at_once() -> None:
    world = World(profile="lan")
    world.standing.reached("10.0.0.9")
    world.standing.use_settings(NetworkSettings(profile="lan", firewalled=True))
    assert world.standing.tcp is False
    world.standing.use_settings(NetworkSettings(profile="lan"))
    assert world.standing.tcp is True
