"""mDNS on loopback, with the real library; and what is done where it is missing, or says nonsense."""

from __future__ import annotations

import importlib.util
import threading
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from gnutella.network import mdns
from gnutella.network.interfaces import Interface
from gnutella.network.mdns import MAX_ADDRESSES, MAX_SERVICES, SERVICE, Mdns
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, turns, until
from gnutella.testing.whole_nodes import node_in, started
from gnutella.units import Address

pytestmark = pytest.mark.live

LOOPBACK = Interface("lo", "127.0.0.1", IPv4Network("127.0.0.0/8"))
needs_library = pytest.mark.skipif(
    importlib.util.find_spec("zeroconf") is None, reason="zeroconf, the extra `mdns`, is not installed"
)


class Side:
    """An Mdns, and what it told."""

    def __init__(self, reactor: Any, name: str) -> None:
        self.found: set[Address] = set()
        self.drops: list[DropReason] = []
        self.mdns = Mdns(reactor, name, self.found.update, self.drops.append, networks=lambda: [LOOPBACK])


@pytest.mark.realtool
@needs_library
@async_test(30)
async def test_two_servents_of_one_network_find_each_other_and_not_themselves(reactor: Any) -> None:
    before = threading.active_count()
    one, other = Side(reactor, "gnutella-one"), Side(reactor, "gnutella-other")
    one.mdns.start(7001)
    other.mdns.start(7002)
    try:
        await until(reactor, lambda: bool(one.found and other.found))
        assert one.found == {Address("127.0.0.1", 7002)} and other.found == {Address("127.0.0.1", 7001)}
        assert (one.mdns.state, one.mdns.services) == ("running", 1)
        await other.mdns.stop()
        await until(reactor, lambda: one.mdns.services == 0)
    finally:
        await one.mdns.stop()
        await other.mdns.stop()
    assert one.drops == other.drops == []
    await until(reactor, lambda: threading.active_count() <= before)


@pytest.mark.realtool
@needs_library
@async_test(30)
async def test_it_may_be_stopped_while_it_starts(reactor: Any) -> None:
    before = threading.active_count()
    side = Side(reactor, "gnutella-hasty")
    side.mdns.start(7003)
    await turns(reactor, 3)
    await side.mdns.stop()
    assert side.mdns.state == "idle"
    await until(reactor, lambda: threading.active_count() <= before)


class Fake:
    """The library, as far as it is asked after it has opened."""

    own_name = f"me.{SERVICE}"

    def __init__(self, *addresses: Address) -> None:
        self.addresses = list(addresses)

    def resolve(self, name: str) -> list[Address]:
        return self.addresses

    def close(self) -> None:
        pass


def told(reactor: Any, *addresses: Address) -> Side:
    side = Side(reactor, "me")
    side.mdns._interfaces = [Interface("e0", "10.0.0.1", IPv4Network("10.0.0.0/24"))]
    side.mdns._library = Fake(*addresses)  # type: ignore[assignment]
    return side


@async_test()
async def test_only_addresses_of_our_networks_are_taken(reactor: Any) -> None:
    good = Address("10.0.0.7", 6346)
    side = told(reactor, Address("24.1.2.3", 6346), Address("127.0.0.1", 22), Address("10.0.0.7", 0), good)
    side.mdns._noticed(f"x.{SERVICE}", True)
    side.mdns._noticed(f"ME.{SERVICE}", True)
    await until(reactor, lambda: bool(side.found))
    assert side.found == {good} and side.drops == [DropReason.BOGUS_NEIGHBOUR] * 3
    await side.mdns.stop()


@async_test()
async def test_services_are_taken_within_a_bound(reactor: Any) -> None:
    side = told(reactor, *(Address("10.0.0.7", port) for port in range(1, 20)))
    for n in range(MAX_SERVICES + 5):
        side.mdns._noticed(f"x{n}.{SERVICE}", True)
    assert side.mdns.services == MAX_SERVICES and side.drops == [DropReason.BOGUS_NEIGHBOUR] * 5
    side.mdns._noticed(f"x0.{SERVICE}", False)
    assert side.mdns.services == MAX_SERVICES - 1
    await until(reactor, lambda: bool(side.found))
    assert len(side.found) == MAX_ADDRESSES
    await side.mdns.stop()


@async_test()
async def test_without_the_extra_doctor_says_how_to_get_it(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "is_installed", lambda: False)
    async with started(node_in(tmp_path / "a", reactor, network={"profile": "lan"})) as (node,):
        found = node.bootstrap._mdns
        assert found is not None and found.state == "idle", "it listens on loopback"
        found.start(1)
        row = next(row for row in await node.face.checks() if row["name"] == "mDNS")
        assert row["ok"] is None and "mdns" in str(row["fix"])
        status: Any = node.face.status()["bootstrap"]
        assert status["mdns"] == {"state": "absent", "services": 0}
        assert {"source": "mDNS", "state": "absent", "detail": "the extra is not installed"} in status["sources"]


@pytest.mark.parametrize("options", [{"network": {"profile": "public", "nat": "off"}}, {"bootstrap": {"mdns": False}}])
@async_test()
async def test_other_profiles_and_the_setting_leave_it_out(reactor: Any, tmp_path: Path, options: Any) -> None:
    options = {"network": {"profile": "lan"}, **options}
    async with started(node_in(tmp_path / "a", reactor, **options)) as (node,):
        status: Any = node.face.status()["bootstrap"]
        assert status["mdns"] is None
        assert "mDNS" not in {row["name"] for row in await node.face.checks()}
