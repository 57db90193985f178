"""Vendor messages between whole nodes on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gnutella.node import address_of
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.whole_nodes import node_in, started

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
