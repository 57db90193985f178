"""Nodes of role auto that know one address: somebody is an ultrapeer, all find each other, also when it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gnutella.node import Node, address_of
from gnutella.testing.aio import async_test, until
from gnutella.testing.whole_nodes import found, node_in, shared, started

pytestmark = pytest.mark.live


def an_islander(directory: Path, reactor: Any, share: list[Path], *connect: str) -> Node:
    network = {"role": "auto", "profile": "lan", "connect": connect}
    return node_in(directory, reactor, share=share, network=network, bootstrap={"multicast": False})


def role(node: Node) -> object:
    return node.face.status()["role"]


@async_test(60)
async def test_an_island_finds_its_ultrapeer_and_another_one_when_that_goes(reactor: Any, tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "lonely island song.ogg").write_bytes(b"la" * 1000)
    async with started(an_islander(tmp_path / "a", reactor, [])) as (a,):
        names = ["b", "c", "d"]
        seed = str(address_of(a))
        rest = [an_islander(tmp_path / n, reactor, [songs] if n == "d" else [], seed) for n in names]
        async with started(*rest) as (b, c, d):
            await shared(d, 1)
            await until(reactor, lambda: all(node.links.summary()["ultrapeers"] for node in rest))
            assert (role(a), [role(node) for node in rest]) == ("ultrapeer", ["leaf"] * 3)
            status = a.face.status()
            assert status["role_reason"] == "a leaf asked, and no ultrapeer is known here"
            assert [event.data["role"] for event in a.journal.since(0) if event.type == "role_changed"] == ["ultrapeer"]
            assert (await found(b, "lonely")).rows
            await a.stopService()
            await until(reactor, lambda: sum(role(node) == "ultrapeer" for node in rest) >= 1)
            await until(reactor, lambda: all(node.links.summary()["peers"] for node in rest))
            hits = [c.face.search("lonely")]

            def finds() -> bool:
                """Asked again each time while the links move."""
                if any(list(hit.rows) for hit in hits):
                    return True
                if reactor.seconds() - asked[0] > 2.0:
                    asked[0] = reactor.seconds()
                    hits.append(c.face.search("lonely"))
                return False

            asked = [reactor.seconds()]
            await until(reactor, finds)
            for hit in hits:
                hit.stop()
