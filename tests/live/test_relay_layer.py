"""Whole servents with the relay layer switched on, over real TLS on loopback: publish, find, fetch, share, start again."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from anonymizer.service import DIRECTORY
from gnutella.control.relay_view import Terms
from gnutella.errors import UserError
from gnutella.node import Node, address_of, build
from gnutella.settings import AnonymousSettings, Settings
from gnutella.settings_file import Loaded
from gnutella.testing.aio import async_test, until
from gnutella.testing.whole_nodes import node_in, started

pytestmark = pytest.mark.live

COUNT = 5
DATA = random.Random(1).randbytes(100_000)
SMALL = Terms("relay", 2)


def with_layer(node: Node, **settings: Any) -> Node:
    """The same node, not started, with the layer on and the rules of an island."""
    anonymous = AnonymousSettings(
        enabled=True, min_age_h=0.0, min_sources=0, by_network=False, circuit_kib_s=0, relay_kib_s=0, **settings
    )
    changed: Settings = replace(node.config.settings, anonymous=anonymous)
    return build(changed, node.reactor, node.directory, Loaded(changed, changed, {}, {}))


@asynccontextmanager
async def island(directory: Path, reactor: Any, count: int = COUNT) -> AsyncIterator[list[Node]]:
    """Nodes that know of the first one only."""
    async with started(with_layer(node_in(directory / "0", reactor))) as (first,):
        named = (str(address_of(first)),)
        others = [with_layer(node_in(directory / str(n), reactor), connect=named) for n in range(1, count)]
        async with started(*others):
            nodes = [first, *others]
            await until(reactor, lambda: all(is_ready(node, count) for node in nodes))
            yield nodes


def is_ready(node: Node, count: int) -> bool:
    status = node.layer.view.status()
    return bool(status["guard"] == "ready" and status["pivots"] == count - 1)


async def done(node: Node, job: Any) -> Any:
    """Wait for a job; what it became."""
    await until(node.reactor, lambda: job.is_over)
    assert job.error is None, job.row
    return job.row


@async_test(50)
async def test_publish_find_fetch_and_start_again(reactor: Any, tmp_path: Path) -> None:
    source = tmp_path / "Alice in Relayland.txt"
    source.write_bytes(DATA)
    async with island(tmp_path, reactor) as nodes:
        first, second, third = (node.layer.view for node in nodes[:3])
        with pytest.raises(UserError, match="AnonymitySetTooSmall"):
            first.put(str(source), "", Terms(), convergent=False, unlisted=False)
        with pytest.raises(UserError, match="LevelRefused"):
            first.put(str(source), "", Terms("strong", 2), convergent=False, unlisted=False)
        row = await done(nodes[0], first.put(str(source), "", SMALL, convergent=False, unlisted=False))
        assert row["uri"].startswith("arl:chk:")
        got = await done(nodes[1], second.get(row["uri"], "", SMALL))
        assert Path(got["path"]).read_bytes() == DATA and Path(got["path"]).parent == nodes[1].directory / DIRECTORY
        assert (got["level"], got["pivots"]) == ("relay", 2)
        hits: list[Any] = []
        search = third.search("relayland", [], 0, SMALL, False, hits.append)
        await until(reactor, lambda: bool(hits))
        search.stop()
        assert (hits[0]["name"], hits[0]["uri"]) == (source.name, row["uri"])
        assert not nodes[1].library.catalog.file_count, "what was fetched is not in the plain library"
        guard, shared, held = nodes[0].layer.core.stem.guards.ids[0], first.shares(), nodes[0].layer.blocks.held
        assert "sealed blocks" in str(first.explain())
    assert not list((tmp_path / "1" / DIRECTORY).glob(".partial*"))
    again = with_layer(node_in(tmp_path / "0", reactor))
    async with started(again) as (node,):
        assert node.layer.core.stem.guards.ids[0] == guard and node.layer.view.shares() == shared
        assert node.layer.blocks.held == held and held["store"] > 0


@async_test(50)
async def test_a_file_is_found_and_fetched_that_nobody_has_inserted(reactor: Any, tmp_path: Path) -> None:
    source = tmp_path / "unheard of.ogg"
    source.write_bytes(DATA)
    async with island(tmp_path, reactor) as nodes:
        sharer, asker = nodes[0].layer.view, nodes[3].layer.view
        row = await done(nodes[0], sharer.share(str(source), SMALL))
        (share,), layer = nodes[0].layer.shares, nodes[0].layer
        await until(reactor, lambda: bool(layer.core.anchoring.hints(share.uri.routing, layer.now())))
        assert str(share.uri) == row["uri"]
        hits: list[Any] = []
        search = asker.search("unheard", ["audio"], 0, SMALL, False, hits.append)
        await until(reactor, lambda: bool(hits))
        search.stop()
        got = await done(nodes[3], asker.get("1", "", SMALL))
        assert Path(got["path"]).read_bytes() == DATA
        assert (await Deferred.fromCoroutine(sharer.unshare(source.name)))["way"] == "anchored" and not sharer.shares()
