"""One node with both overlays: nothing of one shows in the other, and who joins them by hand is warned (pitfalls 7 and 18)."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import pytest

from anonymizer.terms import normal
from gnutella.network.workers import Workers
from gnutella.node import address_of
from gnutella.protocol.message import payload_of
from gnutella.protocol.query import Query
from gnutella.protocol.urn import b32encode
from gnutella.testing.aio import async_test, until
from gnutella.testing.whole_nodes import node_in, shared, started
from tests.live.test_relay_layer import with_layer

pytestmark = pytest.mark.live

DATA = random.Random(8).randbytes(70_000)


@async_test(20)
async def test_the_two_indexes_share_nothing_and_a_file_of_both_is_told(reactor: Any, tmp_path: Path) -> None:
    library, attic = tmp_path / "library", tmp_path / "attic"
    for directory in (library, attic):
        directory.mkdir()
    (library / "plain tale.txt").write_bytes(DATA)
    (library / "public.txt").write_bytes(b"for all")
    (attic / "hidden tale.txt").write_bytes(b"for nobody who knows me")
    (attic / "under another name.bin").write_bytes(DATA)
    home = tmp_path / "node"
    async with started(with_layer(node_in(home, reactor, share=[library]))) as (node,):
        await shared(node, 2)
        layer = node.layer
        await layer.serve(attic / "hidden tale.txt", lambda: True)
        assert [row["warning"] for row in layer.view.shares()] == [""]
        file = await layer.serve(attic / "under another name.bin", lambda: True)
        # The plain side: by words, by browsing, by hash of what it does not have.
        for words, count in (("hidden", 0), ("another name", 0), ("tale", 1), ("public", 1)):
            assert len(node.library.catalog.answer(payload_of(Query(words)), 10)) == count, words
        assert {row.name for row in node.library.catalog.files} == {"plain tale.txt", "public.txt"}
        # The anonymous side, whose hits say nothing of the hash that the plain side has.
        assert layer.shares.search(normal("public")) == [] == layer.shares.search(normal("plain"))
        for share in layer.shares:
            assert share.sha1 == share.tth == b"" and file.sha1 not in repr(share.hit()).encode()
        warned = {row["name"]: row["warning"] for row in layer.view.shares()}
        assert warned["hidden tale.txt"] == "" and "plain library" in warned["under another name.bin"]
        assert " 1 of them" in str(layer.view.explain())
    async with started(with_layer(node_in(home, reactor, share=[library]))) as (node,):
        await until(reactor, lambda: node.library.catalog.file_count == 2)
        assert {row["name"]: bool(row["warning"]) for row in node.layer.view.shares()} == {
            "hidden tale.txt": False,
            "under another name.bin": True,
        }


def greeted(address: Any) -> list[str]:
    """Lines with which a node answers a servent that offers everything."""
    offer = "GNUTELLA CONNECT/0.6\r\nUser-Agent: Other/1\r\nX-Ultrapeer: True\r\nGGEP: 0.5\r\nX-Anon: arl/1\r\n\r\n"
    with socket.create_connection((address.host, address.port), 10) as line:
        line.settimeout(10)
        line.sendall(offer.encode())
        said = b""
        while b"\r\n\r\n" not in said and (data := line.recv(4096)):
            said += data
    # Where somebody listens and sees us, and who he is in the plain overlay, is his own.
    found = (text for text in said.decode().splitlines() if text)
    return sorted(text.partition(":")[0] if address.host in text or text.startswith("GUID") else text for text in found)


@async_test(20)
async def test_a_node_of_both_overlays_greets_like_any_other_but_for_one_line(reactor: Any, tmp_path: Path) -> None:
    """Pitfalls 7 and 8: nothing in a handshake of the plain overlay is of the other's, nor the other way round."""
    workers = Workers(reactor, count=1)
    plain, both = node_in(tmp_path / "plain", reactor), with_layer(node_in(tmp_path / "both", reactor))
    async with started(plain, both):
        one, two = [await workers.run(greeted, address_of(node)) for node in (plain, both)]
        assert "GNUTELLA/0.6 200 OK" in one, one
        own = both.layer.core.membership.own.current
        said = "\n".join(two)
        for secret in (own.node_id.hex(), own.key.hex(), b32encode(own.node_id)):
            assert secret not in said
        assert bytes(both.router.servent_id) not in own.data and bytes(both.router.servent_id) not in own.node_id
    await workers.stop(finish=True)
    ours = [text for text in two if text not in one]
    assert ours == ["X-Anon: arl/1"] and [text for text in one if text not in two] == [], (one, two)
