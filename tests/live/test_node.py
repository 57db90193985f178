"""Whole nodes in one process, over real sockets: all that the commands do with a node, and what survives a restart."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from gnutella.control.commands_files import DIRECTORY_COLUMNS, SHARE_COLUMNS, TRANSFER_COLUMNS
from gnutella.control.commands_hosts import HOST_COLUMNS
from gnutella.control.commands_node import STATUS_COLUMNS
from gnutella.control.view import HitRef
from gnutella.demo_show import Travels
from gnutella.errors import UserError
from gnutella.network.store import StoreError
from gnutella.node import address_of
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.startup import runtime_settings
from gnutella.testing.aio import async_test, turns, until
from gnutella.testing.whole_nodes import ended, found, node_in, shared, started
from gnutella.units import Address

pytestmark = pytest.mark.live

#: Keys of the product contract.
STATUS = "version servent_id role uptime_s listen links shared reachable ready"
PEER = "address direction role vendor since_s deflate tls rx_messages tx_messages dropped"
HIT = "hit name size urn tth hops vendor magnet sources spam spam_reasons likely_spam"
SHARE = "path name size urn tth hits uploads"
HOST = " ".join(column.key for column in HOST_COLUMNS)
LISTEN = ["tcp:0:interface=127.0.0.1"]
DOWNLOAD = "id state name size downloaded speed sources eta_s path error"


def has(row: Any, keys: str) -> bool:
    return set(keys.split()) <= set(row)


def write(directory: Path, name: str, size: int = 200_000, seed: int = 1) -> bytes:
    """A file of random bytes; its SHA-1."""
    directory.mkdir(parents=True, exist_ok=True)
    content = random.Random(seed).randbytes(size)
    (directory / name).write_bytes(content)
    return hashlib.sha1(content).digest()


@async_test(30)
async def test_two_nodes_link_search_get_browse_trace_and_part(reactor: Any, tmp_path: Path) -> None:
    sha1 = write(tmp_path / "music", "purple rain.ogg")
    one, other = node_in(tmp_path / "one", reactor), node_in(tmp_path / "other", reactor, share=[tmp_path / "music"])
    async with started(one, other):
        await shared(other, 1)
        row: Any = await one.face.connect(address_of(other))
        assert has(row, PEER) and row["address"] == str(address_of(other)) and row["direction"] == "out"
        assert len(one.face.peers()) == 1 and has(one.face.peers()[0], PEER)
        words = await found(one, "purple")
        (hit,) = words.rows
        assert set(hit) == set(HIT.split())
        assert (hit["name"], hit["size"], hit["urn"], hit["hops"]) == ("purple rain.ogg", 200_000, sha1_urn(sha1), 1)
        servent_id = other.router.servent_id.hex()
        assert hit["sources"] == [{"address": str(address_of(other)), "servent_id": servent_id, "push": False}]
        by_urn = await found(one, sha1_urn(sha1))
        assert by_urn.rows[0]["urn"] == hit["urn"]
        steps = one.face.trace(words.guid)
        assert steps is not None
        assert all(set(step) == {"time", "step", "link", "reason"} for step in steps)
        assert [(step["step"], step["link"]) for step in steps][:2] == [
            ("asked", ""),
            ("forwarded to", str(address_of(other))),
        ]
        assert [query["words"] for query in one.face.traced()][-2] == "purple"
        browsed = await one.face.browse(address_of(other))
        assert [file["name"] for file in browsed.rows] == ["purple rain.ogg"]
        assert one.face.hit(HitRef(1)) == browsed.rows[0]
        got: Any = await one.face.get(HitRef(1, words.guid), "mine.ogg")
        assert has(got, DOWNLOAD) and got["name"] == "mine.ogg"
        done = await ended(one, got["id"])
        assert set(done) == set(DOWNLOAD.split())
        assert (done["state"], done["path"]) == ("done", str(tmp_path / "one" / "incoming" / "mine.ogg"))
        assert hashlib.sha1(Path(done["path"]).read_bytes()).digest() == sha1
        await shared(one, 1)  # a finished download is offered
        (offered,) = other.face.share_list()
        assert set(offered) == set(SHARE.split()) and (offered["hits"], offered["uploads"]) == (2, 1)
        gone: Any = await one.face.disconnect(str(address_of(other)))
        assert gone["address"] == str(address_of(other))
        assert one.face.peers() == []
        await until(reactor, lambda: other.face.peers() == [])
        assert other.router.counters.drops[DropReason.PEER_BYE] == 1


@async_test(30)
async def test_a_file_of_two_sources_comes_from_both(reactor: Any, tmp_path: Path) -> None:
    for name in ("left", "right"):
        write(tmp_path / name, f"purple {name}.ogg", 6_000_000)
    asker, hub = node_in(tmp_path / "a", reactor), node_in(tmp_path / "h", reactor)
    sides = [node_in(tmp_path / f"n{name}", reactor, share=[tmp_path / name]) for name in ("left", "right")]
    async with started(asker, hub, *sides):
        for node in (asker, *sides):
            await node.links.connect(address_of(hub))
        for side in sides:
            await shared(side, 1)
        hits = await found(asker, "purple", sources=2)
        row = await asker.face.get(HitRef(1))
        assert (await ended(asker, row["id"]))["state"] == "done"
        received = asker.transfers.received(int(str(row["id"])))
        assert sum(received.values()) == 6_000_000 and sum(count > 0 for count in received.values()) == 2
        nodes = {"asker": asker, "hub": hub, "left": sides[0], "right": sides[1]}
        travels = Travels(hits.guid, nodes)
        assert travels.messages == 3
        assert travels.path_to(sides[0].router.servent_id.hex()) == ["asker", "hub", "left"]
        assert travels.path_to("00" * 16) == []
        assert travels.stops() == [(name, "nobody else to pass it on to") for name in ("left", "right")]


@async_test(30)
async def test_a_query_in_a_ring_is_dropped_where_it_comes_twice(reactor: Any, tmp_path: Path) -> None:
    nodes = {name: node_in(tmp_path / name, reactor) for name in ("a", "b", "c")}
    async with started(*nodes.values()):
        for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
            await nodes[one].links.connect(address_of(nodes[other]))
        await until(reactor, lambda: all(len(node.face.peers()) == 2 for node in nodes.values()))
        hits = nodes["a"].face.search("nobody has this")
        await until(reactor, lambda: sum(n.router.counters.drops[DropReason.DUPLICATE] for n in nodes.values()) == 2)
        travels = Travels(hits.guid, nodes)
        assert travels.messages == 4
        assert travels.stops() == [("b", "duplicate, from c"), ("c", "duplicate, from b")]
        hits.stop()


@async_test(30)
async def test_shares_come_and_go_while_the_node_runs(reactor: Any, tmp_path: Path) -> None:
    write(tmp_path / "music", "one.ogg", 1000)
    (node,) = nodes = (node_in(tmp_path / "node", reactor),)
    async with started(*nodes):
        assert await node.face.share_add(str(tmp_path / "music")) is not None
        await shared(node, 1)
        write(tmp_path / "music", "two.ogg", 1000, seed=2)
        row = await node.face.share_rescan()
        assert set(row) == {"files", "bytes", "pending"}
        await shared(node, 2)
        rows = {row["path"]: row for row in node.face.share_directories()}
        assert set(rows[str(tmp_path / "music")]) == {"path", "files", "bytes", "source"}
        assert rows[str(tmp_path / "music")] == {
            "path": str(tmp_path / "music"),
            "files": 2,
            "bytes": 2000,
            "source": "runtime",
        }
        await node.face.share_remove(str(tmp_path / "music"))
        assert list(node.face.share_list()) == []
        with pytest.raises(UserError) as caught:
            await node.face.share_remove(str(tmp_path / "music"))
        assert caught.value.exit_code == 1
        for wrong in (tmp_path / "none", tmp_path / "node", "/"):
            with pytest.raises(UserError) as caught:
                await node.face.share_add(str(wrong))
            assert caught.value.exit_code == 64


@async_test(30)
async def test_status_and_checks_say_what_the_contract_promises(reactor: Any, tmp_path: Path) -> None:
    (node,) = nodes = (node_in(tmp_path / "node", reactor),)
    async with started(*nodes):
        row: Any = node.face.status()
        assert has(row, STATUS)
        assert {column.key for column in STATUS_COLUMNS} <= set(row)
        assert row["ready"] is True and row["listen"] == [str(address_of(node))]
        assert set(row["links"]) == {"ultrapeers", "leaves", "peers"}
        assert set(row["shared"]) == {"files", "bytes"}
        assert row["reachable"] == {"tcp": None, "udp": None}
        checks = await node.face.checks()
        assert {check["name"]: check["ok"] for check in checks} == {
            "peer port": True,
            "UDP port": True,
            "reachable": None,
            "links": None,
        }
        assert node.face.downloads() == [] and node.face.uploads() == []
    assert [column.key for column in SHARE_COLUMNS] == SHARE.split()
    assert [column.key for column in TRANSFER_COLUMNS] == DOWNLOAD.split()
    assert [column.key for column in DIRECTORY_COLUMNS] == ["path", "files", "bytes", "source"]


@async_test(30)
async def test_a_run_time_change_applies_at_once_and_may_be_taken_back(reactor: Any, tmp_path: Path) -> None:
    one, other = (node_in(tmp_path / name, reactor) for name in ("one", "other"))
    async with started(one, other):
        row = await other.face.set_config("network.max_links", "0")
        assert (row["value"], row["source"], row["applies"]) == (0, "runtime", "now")
        with pytest.raises(UserError) as caught:
            await one.face.connect(address_of(other))
        assert caught.value.exit_code == 69
        back = await other.face.set_config("network.max_links", "")
        assert (back["value"], back["source"]) == (32, "default")
        await one.face.connect(address_of(other))
        later = await other.face.set_config("network.listen", "tcp:1")
        assert (later["applies"], later["value"], later["after_restart"]) == ("restart", LISTEN, ["tcp:1"])
        for key, value in (("network.max_links", "many"), ("network.nothing", "1")):
            with pytest.raises(UserError) as caught:
                await other.face.set_config(key, value)
            assert caught.value.exit_code == 64
        events = [event.data for event in other.journal.since(0) if event.type == "config_changed"]
        assert [event["key"] for event in events] == ["network.max_links", "network.max_links", "network.listen"]


@async_test(30)
async def test_what_cannot_be_is_told_with_its_exit_code(reactor: Any, tmp_path: Path) -> None:
    (node,) = nodes = (node_in(tmp_path / "node", reactor),)
    nowhere = Address("127.0.0.1", 1)
    async with started(*nodes):
        tries: list[tuple[int, Callable[[], Any]]] = [
            (69, lambda: node.face.connect(nowhere)),
            (69, lambda: node.face.connect(address_of(node))),
            (69, lambda: node.face.browse(nowhere)),
            (1, lambda: node.face.disconnect("127.0.0.1:1")),
            (1, lambda: node.face.get(HitRef(1))),
            (64, lambda: node.face.get("urn:sha1:short")),
            (64, lambda: node.face.search("words", ttl=0)),
            (64, lambda: node.face.search("words", ttl=8)),
            (1, lambda: node.face.pause(5)),
            (1, lambda: node.face.resume(5)),
            (1, lambda: node.face.cancel(5)),
        ]
        for code, ask in tries:
            with pytest.raises(UserError) as caught:
                await ask()
            assert caught.value.exit_code == code, caught.value
            assert "\n" not in str(caught.value)
        assert node.face.hit(HitRef(1)) is None
        assert node.face.peers() == []


@async_test(30)
async def test_a_download_is_paused_resumed_and_cancelled(reactor: Any, tmp_path: Path) -> None:
    (node,) = nodes = (node_in(tmp_path / "node", reactor),)
    async with started(*nodes):
        row = await node.face.get(sha1_urn(b"x" * 20), "wanted.bin")
        number = int(str(row["id"]))
        assert row["state"] == "locating"
        assert (await node.face.pause(number))["state"] == "paused"
        assert (await node.face.resume(number))["state"] in ("locating", "queued")
        assert (await node.face.cancel(number))["state"] == "cancelled"
        assert node.face.downloads() == []


@async_test(30)
async def test_many_downloads_without_sources_do_not_flood_the_overlay(reactor: Any, tmp_path: Path) -> None:
    async with started(node_in(tmp_path / "node", reactor)) as (node,):
        for number in range(5):
            await node.face.get(sha1_urn(bytes([number]) * 20))
        assert [row["state"] for row in node.face.downloads()] == ["locating"] * 5
        assert len(node.face.traced()) == 1, "the others have their turn later"


@async_test(40)
async def test_a_restart_keeps_id_hosts_downloads_shares_counts_and_changes(reactor: Any, tmp_path: Path) -> None:
    sha1 = write(tmp_path / "music", "purple.ogg", 1000)
    peer = node_in(tmp_path / "peer", reactor)
    async with started(peer):
        async with started(node_in(tmp_path / "node", reactor)) as (first,):
            await first.links.connect(address_of(peer))
            await first.face.share_add(str(tmp_path / "music"))
            await shared(first, 1)
            await found(peer, "purple")
            await first.face.get(sha1_urn(b"x" * 20), "wanted.bin")
            await first.face.set_config("transfers.max_uploads", "3")
            servent_id, runtime = first.router.servent_id, first.config.runtime
            queries = first.memory.all_time(first.router.counters)["messages_rx_query"]
        kept = runtime_settings(tmp_path / "node")
        assert {key: value for key, value in kept.items() if "." in key} == runtime == {"transfers.max_uploads": 3}
        async with started(node_in(tmp_path / "node", reactor)) as (second,):
            assert second.router.servent_id == servent_id
            (host,) = second.face.hosts()
            assert (host["address"], host["state"], host["failures"]) == (str(address_of(peer)), "good", 0)
            assert host["last_ok"] and host["next_try_s"] is None and has(host, HOST)
            (download,) = second.face.downloads()
            assert (download["id"], download["name"], download["state"]) == (1, "wanted.bin", "locating")
            await shared(second, 1)
            (file,) = second.face.share_list()
            assert (file["urn"], file["hits"]) == (sha1_urn(sha1), 1)
            counts = second.memory.all_time(second.router.counters)
            assert (counts["messages_rx_query"], counts["queries_answered"], counts["results_sent"]) == (queries, 1, 1)


@pytest.mark.parametrize("late", range(0, 24, 3))
@async_test(20)
async def test_a_node_may_be_stopped_at_any_moment_of_its_start(reactor: Any, tmp_path: Path, late: int) -> None:
    """The leak watch of the tests sees to it that nothing is left."""
    write(tmp_path / "music", "purple.ogg", 100_000)
    node = node_in(tmp_path / "node", reactor, share=[tmp_path / "music"], sharing={"watch": True})
    ready = node.when_ready()
    outcome: list[object] = []
    ready.addBoth(outcome.append)
    node.startService()
    await turns(reactor, late)
    await node.stopService()
    assert outcome == [None] or (isinstance(outcome[0], Failure) and outcome[0].check(CancelledError))
    assert not (tmp_path / "node" / "control.sock").exists()
    async with started(node_in(tmp_path / "node", reactor)) as (again,):
        assert again.is_ready


@async_test(20)
async def test_a_second_node_in_the_directory_is_refused_and_harms_nothing(reactor: Any, tmp_path: Path) -> None:
    async with started(node_in(tmp_path / "node", reactor)) as (first,):
        second = node_in(tmp_path / "node", reactor)
        ready = second.when_ready()
        second.startService()
        with pytest.raises(UserError, match="another node runs in directory") as caught:
            await ready
        assert caught.value.exit_code == 73
        await second.stopService()
        assert (tmp_path / "node" / "control.sock").exists()
        assert first.face.status()["ready"] is True


@async_test(20)
async def test_a_port_lost_in_a_race_is_error_69_and_leaves_nothing_open(reactor: Any, tmp_path: Path) -> None:
    async with started(node_in(tmp_path / "one", reactor)) as (one,):
        taken = f"tcp:{address_of(one).port}:interface=127.0.0.1"
        node = node_in(tmp_path / "other", reactor, network={"listen": (taken,)})
        ready = node.when_ready()
        node.startService()
        with pytest.raises(UserError, match="in use") as caught:
            await ready
        assert caught.value.exit_code == 69
        await node.stopService()


@pytest.mark.parametrize("content", [b"garbage" * 2000, b"SQLite format 3\0" + bytes(5000), None])
@async_test(20)
async def test_a_state_file_that_is_none_is_a_readable_error(
    reactor: Any, tmp_path: Path, content: bytes | None
) -> None:
    (tmp_path / "node").mkdir()
    if content is None:
        (tmp_path / "node" / "state.db").mkdir()
    else:
        (tmp_path / "node" / "state.db").write_bytes(content)
    node = node_in(tmp_path / "node", reactor)
    ready = node.when_ready()
    node.startService()
    with pytest.raises(StoreError, match=r"state\.db") as caught:
        await ready
    assert caught.value.exit_code == 73 and caught.value.hint
    await node.stopService()


@async_test(20)
async def test_a_node_that_is_not_ready_says_so(reactor: Any, tmp_path: Path) -> None:
    node = node_in(tmp_path / "node", reactor)
    ready = node.when_ready()
    node.startService()
    while not hasattr(node, "searches"):
        await turns(reactor)
    assert not node.is_ready
    assert node.face.status()["ready"] is False
    asks: list[Callable[[], Any]] = [
        lambda: node.face.connect(Address("127.0.0.1", 1)),
        lambda: node.face.search("x"),
        lambda: node.face.get("urn:x"),
        lambda: node.face.browse(Address("127.0.0.1", 1)),
        lambda: node.face.pause(1),
    ]
    for ask in asks:
        with pytest.raises(UserError, match="still starting") as caught:
            await ask()
        assert caught.value.exit_code == os.EX_TEMPFAIL
    await ready
    await node.stopService()
    assert node.face.status()["ready"] is False


@async_test(30)
async def test_firewalled_nodes_ask_for_pushes_and_files_come_all_the_same(reactor: Any, tmp_path: Path) -> None:
    sha1 = write(tmp_path / "music", "purple.ogg", 50_000)
    hidden = node_in(tmp_path / "hidden", reactor, share=[tmp_path / "music"], network={"firewalled": True})
    hub, asker = node_in(tmp_path / "hub", reactor), node_in(tmp_path / "asker", reactor)
    async with started(hidden, hub, asker):
        await shared(hidden, 1)
        for node in (hidden, asker):
            await node.links.connect(address_of(hub))
        hits = await found(asker, "purple")
        sources: Any = hits.rows[0]["sources"]
        assert [source["push"] for source in sources] == [True]
        row = await asker.face.get(HitRef(1))
        done = await ended(asker, row["id"])
        assert done["state"] == "done" and hashlib.sha1(Path(done["path"]).read_bytes()).digest() == sha1
        assert hidden.face.is_reachable is False
