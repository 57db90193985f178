"""Nodes that speak IPv6 over real sockets: both families on one number, links, searches, transfers, pushes and datagrams."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import pytest

from gnutella.control.view import HitRef
from gnutella.network.ports import Ports
from gnutella.network.udp import Udp
from gnutella.node import address_of
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.machine import why_no_ipv6
from gnutella.testing.whole_nodes import found, node_in, shared, started
from gnutella.units import Address

pytestmark = [pytest.mark.live, pytest.mark.skipif(bool(why_no_ipv6()), reason=why_no_ipv6())]

ONLY_SIX = {"listen": ("tcp6:0:interface=\\:\\:1",)}


def write(directory: Path, name: str, size: int = 200_000) -> bytes:
    directory.mkdir(parents=True, exist_ok=True)
    content = random.Random(size).randbytes(size)
    (directory / name).write_bytes(content)
    return content


@async_test(30)
async def test_a_tcp_endpoint_without_interface_takes_both_families(reactor: Any, tmp_path: Path) -> None:
    both, six = node_in(tmp_path / "a", reactor, network={"listen": ("tcp:0",)}), node_in(tmp_path / "b", reactor)
    async with started(both, six):
        port = address_of(both).port
        assert both.links.addresses == [Address("0.0.0.0", port), Address("::", port)]
        assert both.udp.addresses == both.links.addresses
        for host in ("127.0.0.1", "::1"):
            row: Any = await six.face.connect(Address(host, port))
            assert row["address"] == str(Address(host, port))
            six.face.disconnect(row["address"])
            await until(reactor, lambda: not both.face.peers() and not six.face.peers())


@async_test(30)
async def test_ipv6_can_be_switched_off_or_be_missing(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = node_in(tmp_path / "a", reactor, network={"listen": ("tcp:0",), "ipv6": False})
    async with started(off):
        assert [address.host for address in off.links.addresses] == ["0.0.0.0"]

    def no_such_family(self: Ports, number: int, factory: Any) -> None:
        with monkeypatch.context() as inside:
            inside.setattr(socket, "AF_INET6", 12345)  # EAFNOSUPPORT, as where the kernel has no IPv6
            _listen_v6(self, number, factory)

    _listen_v6 = Ports._listen_v6
    monkeypatch.setattr(Ports, "_listen_v6", no_such_family)
    missing = node_in(tmp_path / "b", reactor, network={"listen": ("tcp:0",)})
    async with started(missing):
        assert [address.host for address in missing.links.addresses] == ["0.0.0.0"]
        assert missing.is_ready


@async_test(60)
async def test_search_and_download_over_ipv6_alone(reactor: Any, tmp_path: Path) -> None:
    content = write(tmp_path / "music", "purple rain.ogg")
    one = node_in(tmp_path / "one", reactor, network=ONLY_SIX)
    other = node_in(tmp_path / "other", reactor, network=ONLY_SIX, share=[tmp_path / "music"])
    async with started(one, other):
        await shared(other, 1)
        await one.face.connect(address_of(other))
        assert address_of(other).host == "::1"
        hits: Any = await found(one, "purple")
        assert hits.rows[0]["sources"][0]["address"] == str(address_of(other))
        await one.face.get(HitRef(1))
        await until(reactor, lambda: bool(one.face.downloads()) and one.face.downloads()[0]["state"] == "done")
        assert (tmp_path / "one" / "incoming" / "purple rain.ogg").read_bytes() == content


@async_test(60)
async def test_a_firewalled_source_is_fetched_from_by_push_over_ipv6(reactor: Any, tmp_path: Path) -> None:
    content = write(tmp_path / "music", "purple rain.ogg")
    one = node_in(tmp_path / "one", reactor, network=ONLY_SIX)
    other = node_in(tmp_path / "other", reactor, network={**ONLY_SIX, "firewalled": True}, share=[tmp_path / "music"])
    async with started(one, other):
        await shared(other, 1)
        await other.face.connect(address_of(one))
        hits: Any = await found(one, "purple")
        assert hits.rows[0]["sources"][0]["push"] is True
        await one.face.get(HitRef(1))
        await until(reactor, lambda: bool(one.face.downloads()) and one.face.downloads()[0]["state"] == "done")
        assert (tmp_path / "one" / "incoming" / "purple rain.ogg").read_bytes() == content


@async_test(30)
async def test_datagrams_and_pongs_over_ipv6(reactor: Any, tmp_path: Path) -> None:
    cache = node_in(tmp_path / "cache", reactor, network=ONLY_SIX)
    async with started(cache):
        asks = {"udp_host_caches": (str(address_of(cache)),)}
        lan = {**ONLY_SIX, "profile": "lan"}
        async with started(node_in(tmp_path / "a", reactor, network=lan, bootstrap=asks)) as (asker,):
            await until(reactor, lambda: asker.links.summary()["peers"] == 1)
            assert asker.face.peers()[0]["address"] == str(address_of(cache))
            assert asker.router.counters.drops[DropReason.BOGUS_PONG] == 0
            assert Udp.speaks_ipv6(asker.udp)
