"""Links over real loopback sockets: plain, deflated, TLS; searches through several nodes; refusals, ends, and bad bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gnutella.network.events import LinkClosed
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.nodes import FakeFile, LinkNode

pytestmark = pytest.mark.live

PURPLE = FakeFile(7, "purple rain.ogg", 5_000_000)


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
    other = LinkNode(reactor, tls_directory=directories[1], deflate=deflate, files=[PURPLE])
    await started(one, other)
    row = await one.links.connect(other.address)
    assert (row["address"], row["direction"], row["role"]) == (str(other.address), "out", "ultrapeer")
    assert (row["deflate"], row["tls"]) == (deflate, tls)
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
