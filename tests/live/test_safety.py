"""Blocklists of a running node: read at the start, changed under it, and what happens to links, dials and hits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gnutella.errors import UserError
from gnutella.node import address_of
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, until
from gnutella.testing.whole_nodes import node_in, started

pytestmark = pytest.mark.live


def rewrite(path: Path, text: str) -> None:
    """A version that differs from the one before even on a coarse clock."""
    number = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(number + 10**9, number + 10**9))


@async_test()
async def test_links_to_hosts_that_are_blocked_now_are_closed_and_none_is_made(reactor: Any, tmp_path: Path) -> None:
    listed = tmp_path / "bad.p2p"
    rewrite(listed, "Nobody:192.0.2.1-192.0.2.9\n")
    safety = {"blocklists": (str(listed),)}
    a, b = node_in(tmp_path / "a", reactor, safety=safety), node_in(tmp_path / "b", reactor)
    async with started(a, b):
        await b.face.connect(address_of(a))
        await until(reactor, lambda: len(a.face.peers()) == 1)
        assert a.face.blocklist_check("192.0.2.7")["line"] == 1
        assert a.face.blocklist_check("127.0.0.1")["blocked"] is False

        rewrite(listed, "# now\nMe:127.0.0.0-127.0.0.255\n")
        (row,) = await a.face.blocklist_reload()
        assert (row["state"], row["ranges"]) == ("ok", 1)
        assert a.face.blocklist_check("127.0.0.1")["line"] == 2
        await until(reactor, lambda: not b.face.peers() and not a.face.peers())
        with pytest.raises(UserError, match="blocklist"):
            await a.face.connect(address_of(b))
        with pytest.raises(UserError):
            await b.face.connect(address_of(a))
        assert a.router.counters.drops[DropReason.BLOCKED] >= 2

        rewrite(listed, "<html>404</html>\n")
        (row,) = await a.face.blocklist_reload()
        assert (row["state"], row["ranges"]) == ("kept", 1) and row["error"]
        safety_row: Any = a.face.status()["safety"]
        assert (safety_row["blocklists"], safety_row["blocklists_broken"], safety_row["ranges"]) == (1, 1, 1)
        assert [check["ok"] for check in await a.face.checks() if check["name"] == "blocklist"] == [False]

        rewrite(listed, "# nobody any more\n")
        await a.face.blocklist_reload()
        await b.face.connect(address_of(a))
        assert [event.data["state"] for event in a.journal.since(0) if event.type == "blocklist_read"] == [
            "ok",
            "ok",
            "kept",
            "ok",
        ]


@async_test()
async def test_datagrams_of_blocked_hosts_are_dropped_and_none_is_sent(reactor: Any, tmp_path: Path) -> None:
    listed = tmp_path / "bad.txt"
    rewrite(listed, "127.0.0.0/8\n")
    a = node_in(tmp_path / "a", reactor, safety={"blocklists": (str(listed),)})
    async with started(a):
        before = a.router.counters.drops[DropReason.BLOCKED]
        a.udp._received(b"anything", address_of(a), None)
        a.udp._write("127.0.0.1", 9, b"anything", None)
        assert a.router.counters.drops[DropReason.BLOCKED] == before + 2
        assert a.router.counters.drops[DropReason.BAD_DATAGRAM] == 0


@async_test()
async def test_an_address_that_is_none_is_said(reactor: Any, tmp_path: Path) -> None:
    async with started(node_in(tmp_path / "a", reactor)) as (a,):
        assert list(a.face.blocklists()) == []
        with pytest.raises(UserError, match="no IP address"):
            a.face.blocklist_check("example.org")
        assert a.face.blocklist_check("[::1]:6346")["blocked"] is False
