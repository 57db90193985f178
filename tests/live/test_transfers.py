"""Transfers between real nodes on loopback: several sources, wrong bytes, pushes, restarts, and what becomes of the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from gnutella.errors import UserError
from gnutella.network.downloads import DownloadRun
from gnutella.network.files import partial_path
from gnutella.network.sourcing import Sourcing
from gnutella.network.transfers import KnownSource
from gnutella.protocol.message import Push
from gnutella.protocol.tth import node_size_for
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.testing.aio import async_test, until
from gnutella.testing.transfer_node import TransferNode
from gnutella.units import Address, Guid

pytestmark = pytest.mark.live

MIB = 1024 * 1024


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


class World:
    """Nodes and raw servers of one test."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.reactor = reactor
        self.directory = directory
        self.nodes: list[TransferNode] = []
        self.ports: list[Any] = []

    async def node(self, name: str, settings: TransferSettings | None = None, **options: Any) -> TransferNode:
        node = TransferNode(
            self.reactor, self.directory / name, settings, servent_id=name.encode().ljust(16, b"\1"), **options
        )
        await node.start()
        self.nodes.append(node)
        return node

    async def sharing(self, name: str, data: bytes, has_tree: bool = True, **options: Any) -> TransferNode:
        node = await self.node(name, **options)
        path = node.directory / "shared.bin"
        path.write_bytes(data)
        await node.share(path, has_tree=has_tree)
        return node

    def answering(self, answer: Callable[[bytes], bytes | None]) -> Address:
        """A server that gives each request head to `answer`; None closes the connection."""

        class Canned(Protocol):
            transport: Any
            buffer = b""

            def dataReceived(self, data: bytes) -> None:
                self.buffer += data
                while b"\r\n\r\n" in self.buffer:
                    head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
                    reply = answer(head)
                    if reply is None:
                        self.transport.loseConnection()
                        return
                    self.transport.write(reply)

        port = self.reactor.listenTCP(0, Factory.forProtocol(Canned), interface="127.0.0.1")
        self.ports.append(port)
        return Address("127.0.0.1", port.getHost().port)

    async def ends(self, node: TransferNode, state: str = "done", number: int = 1) -> dict[str, object]:
        await until(self.reactor, lambda: node.row(number)["state"] == state)
        return node.row(number)

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()
        for port in self.ports:
            stopped: Deferred[None] | None = port.stopListening()
            if stopped is not None:
                await stopped


@asynccontextmanager
async def world(reactor: Any, directory: Path) -> AsyncIterator[World]:
    made = World(reactor, directory)
    try:
        yield made
    finally:
        await made.stop()


def sha1_of(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def incoming(node: TransferNode) -> list[Path]:
    return sorted((node.directory / "incoming").glob("*"))


def leftovers(node: TransferNode) -> list[Path]:
    return sorted((node.directory / "incomplete").glob("*"))


def span_of(head: bytes) -> tuple[int, int]:
    line = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"range:"))
    first, last = line.split(b"=")[1].split(b"-")
    return int(first), int(last) + 1


def partial(data: bytes, head: bytes, extra: bytes = b"") -> bytes:
    start, stop = span_of(head)
    body = data[start:stop]
    return b"HTTP/1.1 206 OK\r\nContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n%b\r\n%b" % (
        len(body), start, stop - 1, len(data), extra, body,
    )  # fmt: skip


@async_test(timeout_s=30)
async def test_a_file_comes_from_two_sources_checked_leaf_by_leaf(reactor: Any, tmp_path: Path) -> None:
    data = content(9 * MIB + 12345)
    async with world(reactor, tmp_path) as made:
        first = await made.sharing("first", data)
        second = await made.sharing("second", data)
        node = await made.node("getter")
        sources = [KnownSource(first.address), KnownSource(second.address)]
        await node.transfers.add(sha1_of(data), name="../a b.bin", size=len(data), sources=sources)
        row = await made.ends(node)
        path = Path(str(row["path"]))
        assert path.parent == node.directory / "incoming" and path.read_bytes() == data
        assert leftovers(node) == [] and node.adopted == [str(path)]
        assert first.transfers.exchange.bytes_sent and second.transfers.exchange.bytes_sent
        assert first.transfers.exchange.bytes_sent + second.transfers.exchange.bytes_sent == len(data)
        assert (row["downloaded"], row["error"], row["eta_s"]) == (len(data), None, None)
        kinds = [kind for kind, _ in node.events]
        assert kinds[0] == "download_added" and kinds[-1] == "download_finished"


@pytest.mark.parametrize("size", [0, 1, 1024, 262144, 262145])
@async_test()
async def test_small_files_and_sizes_nobody_told(reactor: Any, tmp_path: Path, size: int) -> None:
    data = content(size)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", sources=[KnownSource(source.address)])
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data


@async_test(timeout_s=30)
async def test_a_corrupt_source_is_named_and_its_leaf_fetched_elsewhere(reactor: Any, tmp_path: Path) -> None:
    data = content(3 * MIB)
    wrong = bytearray(data)
    wrong[700_000] ^= 1
    async with world(reactor, tmp_path) as made:
        honest = await made.sharing("honest", data)
        liar = made.answering(lambda head: partial(bytes(wrong), head))
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(liar)])
        await until(reactor, lambda: int(str(node.row()["downloaded"])) > 0 or node.row()["state"] == "locating")
        node.transfers.add_sources(sha1_of(data), [KnownSource(honest.address)])
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data
        dropped = [event for kind, event in node.events if kind == "source_dropped"]
        assert dropped and all(event["address"] == str(liar) for event in dropped)
        assert dropped[0]["reason"] == DropReason.SOURCE_CORRUPT.value


@async_test(timeout_s=30)
async def test_a_wrong_file_without_a_tree_is_never_called_done(reactor: Any, tmp_path: Path) -> None:
    data, wrong = content(300_000, 1), content(300_000, 2)
    async with world(reactor, tmp_path) as made:
        liar = made.answering(lambda head: partial(wrong, head))
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(liar)])
        row = await made.ends(node, "locating")
        assert "did not match" in str(row["error"]) and incoming(node) == []
        honest = await made.sharing("honest", data, has_tree=False)
        node.transfers.add_sources(sha1_of(data), [KnownSource(honest.address)])
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data


@async_test(timeout_s=30)
async def test_a_lying_tree_convicts_its_giver_in_the_end(reactor: Any, tmp_path: Path) -> None:
    """A liar serves a tree that fits its own wrong bytes; honest bytes contradict it, and the SHA-1 decides."""
    data, wrong = content(MIB, 1), content(MIB, 2)
    async with world(reactor, tmp_path) as made:
        honest = await made.sharing("honest", data, has_tree=False)
        liar = await made.sharing("liar", wrong)
        file = liar.catalog.by_index(1)
        assert file is not None
        liar.catalog = type(liar.catalog)().with_changes([replace(file, sha1=sha1_of(data))])
        await liar.store.run(lambda db: db.execute("UPDATE hash_cache SET sha1 = ?", (sha1_of(data),)))
        node = await made.node("getter")
        await node.transfers.add(
            sha1_of(data), name="x", size=len(data), sources=[KnownSource(liar.address), KnownSource(honest.address)]
        )
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data


@async_test(timeout_s=30)
async def test_a_download_goes_on_after_a_restart_without_fetching_twice(reactor: Any, tmp_path: Path) -> None:
    data = content(6 * MIB)
    async with world(reactor, tmp_path) as made:
        slow = TransferSettings(upload_kib_s=2048, retry_s=1.0)
        source = await made.sharing("source", data, settings=slow)
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
        await until(reactor, lambda: source.transfers.exchange.bytes_sent > MIB)
        await node.stop()
        made.nodes.remove(node)
        assert incoming(node) == [] and len(leftovers(node)) == 2
        again = await made.node("getter")
        source.transfers.apply(TransferSettings())
        row = await made.ends(again)
        assert Path(str(row["path"])).read_bytes() == data
        assert source.transfers.exchange.bytes_sent <= len(data) + 256 * 1024


@async_test()
async def test_pause_resume_and_cancel(reactor: Any, tmp_path: Path) -> None:
    data = content(4 * MIB)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data, settings=TransferSettings(upload_kib_s=1024))
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
        await until(reactor, lambda: source.transfers.exchange.bytes_sent > 100_000)
        assert (await node.transfers.pause(1))["state"] == "paused"
        assert len(leftovers(node)) == 2
        assert (await node.transfers.resume(1))["state"] in ("queued", "locating")
        await until(reactor, lambda: node.row()["state"] == "transferring")
        assert (await node.transfers.cancel(1))["state"] == "cancelled"
        assert leftovers(node) == [] and node.transfers.downloads() == []
        with pytest.raises(UserError):
            node.transfers.download(1)


@async_test()
async def test_the_same_content_is_one_download_and_a_taken_name_is_kept(reactor: Any, tmp_path: Path) -> None:
    data, other = content(1000, 1), content(1000, 2)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        (source.directory / "other.bin").write_bytes(other)
        await source.share(source.directory / "other.bin")
        node = await made.node("getter")
        here = [KnownSource(source.address)]
        one = await node.transfers.add(sha1_of(data), name="same", size=1000, sources=here)
        two = await node.transfers.add(sha1_of(data), name="same", size=1000, sources=here)
        assert one["id"] == two["id"]
        await made.ends(node)
        await node.transfers.add(sha1_of(other), name="same", size=1000, sources=here)
        await made.ends(node, number=2)
        assert sorted(path.read_bytes() for path in incoming(node)) == sorted([data, other])


@async_test(timeout_s=30)
async def test_a_firewalled_source_is_pushed_and_calls(reactor: Any, tmp_path: Path) -> None:
    data = content(2 * MIB)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("walled", data)
        node = await made.node("getter")
        node.push_route = lambda push: source.transfers.answer_push(push)
        guid = Guid(source.servent_id)
        nowhere = Address("127.0.0.1", 1)
        await node.transfers.add(
            sha1_of(data), name="x", size=len(data), sources=[KnownSource(nowhere, guid, 1, "shared.bin")]
        )
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data
        assert node.pushes == [Push(guid, 1, node.address)]


@async_test()
async def test_a_call_nobody_asked_for_is_refused(reactor: Any, tmp_path: Path) -> None:
    async with world(reactor, tmp_path) as made:
        caller = await made.sharing("walled", b"x")
        node = await made.node("getter")
        assert caller.transfers.answer_push(Push(caller.servent_id, 1, node.address))
        await until(reactor, lambda: node.drops[DropReason.GIV_UNREQUESTED] == 1)
        assert not caller.transfers.answer_push(Push(caller.servent_id, 1, node.address))
        assert caller.drops[DropReason.PUSH_LIMIT] == 1


@async_test()
async def test_an_unanswered_push_rests_the_source_and_says_so(reactor: Any, tmp_path: Path) -> None:
    async with world(reactor, tmp_path) as made:
        node = await made.node("getter", TransferSettings(push_timeout_s=0.5))
        node.push_route = lambda push: True
        source = KnownSource(None, Guid(b"\7" * 16), 1, "x", True)
        await node.transfers.add(b"\1" * 20, name="x", size=10, sources=[source])
        await until(reactor, lambda: node.drops[DropReason.PUSH_UNANSWERED] >= 1)
        assert DropReason.PUSH_UNANSWERED.meaning in str(node.row()["error"])


@async_test()
async def test_a_source_of_another_size_is_dropped(reactor: Any, tmp_path: Path) -> None:
    data = content(5000)
    async with world(reactor, tmp_path) as made:
        other = made.answering(lambda head: partial(data + b"more", head))
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(other)])
        row = await made.ends(node, "locating")
        assert node.drops[DropReason.SOURCE_MISMATCH] == 1 and "another file" in str(row["error"])
        await until(reactor, lambda: node.searched == [sha1_of(data)])


@async_test(timeout_s=30)
async def test_a_busy_source_is_asked_again_on_the_same_connection_after_its_poll_time(
    reactor: Any, tmp_path: Path
) -> None:
    data = content(5000)
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        if len(heads) == 1:
            queue = b"X-Queue: position=1, pollMin=1, pollMax=9\r\n"
            return b"HTTP/1.1 503 Queued\r\nContent-Length: 2\r\n" + queue + b"\r\nno"
        return partial(data, head)

    async with world(reactor, tmp_path) as made:
        busy = made.answering(answer)
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(busy)])
        await made.ends(node)
        assert len(heads) == 2 and b"X-Queue: 0.1" in heads[0]


@async_test(timeout_s=30)
async def test_other_forms_of_request_redirections_and_alternates_are_followed(reactor: Any, tmp_path: Path) -> None:
    data = content(5000)
    paths: list[bytes] = []

    async with world(reactor, tmp_path) as made:
        good = await made.sharing("good", data)

        def answer(head: bytes) -> bytes:
            paths.append(head.split(b" ")[1])
            if paths[-1].startswith(b"/uri-res/"):
                return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            if paths[-1].startswith(b"/get/7/"):
                return b"HTTP/1.1 301 Moved\r\nLocation: /get/8/y\r\nContent-Length: 0\r\n\r\n"
            return b"HTTP/1.1 500 Broken\r\nX-Alt: %b\r\nContent-Length: 0\r\n\r\n" % str(good.address).encode()

        odd = made.answering(answer)
        node = await made.node("getter")
        source = KnownSource(odd, None, 7, "a b")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[source])
        await made.ends(node)
        assert [path for path in paths if path.startswith(b"/get/")][:2] == [b"/get/7/a%20b", b"/get/8/y"]


@async_test(timeout_s=30)
async def test_a_full_disk_fails_readably_and_resumes(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(5000)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        node = await made.node("getter")

        def full(fd: int, offset: int, size: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "posix_fallocate", full)
            await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
            row = await made.ends(node, "failed")
        assert "disk full" in str(row["error"]) and leftovers(node) == []
        await node.transfers.resume(1)
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data and row["error"] is None


@async_test()
async def test_browse_host_gives_the_hits_and_refuses_readably(reactor: Any, tmp_path: Path) -> None:
    hits = [content(100, seed) for seed in range(50)]
    async with world(reactor, tmp_path) as made:
        open_one = await made.node("open", browse=hits)
        closed_one = await made.node("closed")
        node = await made.node("getter")
        assert await node.transfers.browse(open_one.address) == b"".join(hits)
        with pytest.raises(Exception, match="404"):
            await node.transfers.browse(closed_one.address)


async def restarted(made: World, node: TransferNode, change: Callable[[Any], object]) -> TransferNode:
    """The node again, after `change` of its database."""
    await node.stop()
    made.nodes.remove(node)
    node = TransferNode(made.reactor, node.directory)
    await node.store.open()
    await node.store.run(change)
    await node.store.close()
    return await made.node(node.directory.name)


@pytest.mark.parametrize("has_both_names", [False, True])
@async_test()
async def test_a_crash_while_the_file_gets_its_name_is_understood(
    reactor: Any, tmp_path: Path, has_both_names: bool
) -> None:
    """The name was announced and given, but the store was never told that all is done."""
    data = content(300_000)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
        path = Path(str((await made.ends(node))["path"]))
        if has_both_names:
            os.link(path, partial_path(node.directory / "incomplete", sha1_of(data)))
        node = await restarted(made, node, lambda db: db.execute("UPDATE downloads SET state = 'verifying'"))
        row = await made.ends(node)
        assert row["path"] == str(path) and incoming(node) == [path] and path.read_bytes() == data
        assert leftovers(node) == [] and source.transfers.exchange.bytes_sent == len(data)


@async_test()
async def test_leaves_that_a_power_cut_took_are_found_and_fetched_again(reactor: Any, tmp_path: Path) -> None:
    """The store says that all leaves were right, but the disk has lost one: only that one is fetched again."""
    data = content(3 * MIB)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
        path = Path(str((await made.ends(node))["path"]))
        part = partial_path(node.directory / "incomplete", sha1_of(data))
        broken = bytearray(data)
        broken[MIB + 5 : MIB + 9] = bytes(4)
        part.write_bytes(broken)
        path.unlink()

        def claim(db: Any) -> None:
            db.execute("UPDATE downloads SET state = 'queued', path = NULL")
            db.execute("INSERT INTO partial_ranges VALUES (?, 0, ?, 1)", (sha1_of(data), len(data)))

        node = await restarted(made, node, claim)
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data
        assert source.transfers.exchange.bytes_sent == len(data) + node_size_for(len(data))


@async_test(timeout_s=30)
async def test_no_more_downloads_run_at_a_time_than_allowed(reactor: Any, tmp_path: Path) -> None:
    contents = [content(300_000, seed) for seed in range(4)]
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", contents[0])
        for number, data in enumerate(contents[1:]):
            path = source.directory / str(number)
            path.write_bytes(data)
            await source.share(path)
        node = await made.node("getter", TransferSettings(max_downloads=1, retry_s=1.0))
        for data in contents:
            await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
        for number in range(1, 5):
            await made.ends(node, number=number)
        order = [event["id"] for kind, event in node.events if kind == "download_finished"]
        starts = [
            event["id"] for kind, event in node.events if kind == "download_state" and event["state"] == "transferring"
        ]
        assert order == starts == [1, 2, 3, 4]


@async_test(timeout_s=30)
async def test_a_download_rate_is_kept(reactor: Any, tmp_path: Path) -> None:
    """By the bucket's own arithmetic; the debt of one request may be open."""
    data = content(700_000)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        node = await made.node("getter", TransferSettings(download_kib_s=256))
        begin = reactor.seconds()
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)])
        await until(reactor, lambda: source.transfers.exchange.bytes_sent > 400_000)
        allowed = 256 * 1024 * (reactor.seconds() - begin + 0.25) + 256 * 1024
        assert source.transfers.exchange.bytes_sent <= allowed
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data


@async_test(timeout_s=30)
async def test_sources_share_a_download_rate(reactor: Any, tmp_path: Path) -> None:
    data = content(1_500_000)
    async with world(reactor, tmp_path) as made:
        sources = [await made.sharing(name, data) for name in ("one", "two", "three")]
        known = [KnownSource(source.address) for source in sources]
        node = await made.node("getter", TransferSettings(download_kib_s=512))
        await node.transfers.add(sha1_of(data), name="x", size=len(data), sources=known)
        await made.ends(node)
        shares = [source.transfers.exchange.bytes_sent / len(data) for source in sources]
        assert min(shares) > 0.15, shares


@async_test()
async def test_a_changed_partial_file_never_becomes_a_finished_one(reactor: Any, tmp_path: Path) -> None:
    """Somebody else wrote into the partial file of a download without a tree: it is fetched anew."""
    data = content(200_000)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", data)
        node = await made.node("getter")
        await node.transfers.add(sha1_of(data), name="x", size=len(data))
        part = partial_path(node.directory / "incomplete", sha1_of(data))
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(bytes(len(data)))

        def claim(db: Any) -> None:
            db.execute("INSERT INTO partial_ranges VALUES (?, 0, ?, 0)", (sha1_of(data), len(data)))

        node = await restarted(made, node, claim)
        await until(reactor, lambda: node.row()["downloaded"] == 0 and node.row()["state"] == "locating")
        node.transfers.add_sources(sha1_of(data), [KnownSource(source.address)])
        row = await made.ends(node)
        assert Path(str(row["path"])).read_bytes() == data


def broken(*arguments: object) -> None:
    raise RuntimeError("a fault of ours")


@async_test(timeout_s=30)
async def test_a_fault_of_ours_on_a_connection_to_a_source_is_counted_and_ends_only_that(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_failures: Any
) -> None:
    data = content(300_000)
    async with world(reactor, tmp_path) as made:
        source, node = await made.sharing("source", data), await made.node("getter")
        with monkeypatch.context() as patched:
            patched.setattr(Sourcing, "received", broken)
            await node.transfers.add(sha1_of(data), name="a", size=len(data), sources=[KnownSource(source.address)])
            await until(reactor, lambda: node.drops[DropReason.INTERNAL_ERROR] > 0)
        await made.ends(node)  # the source was left alone for a while, then asked again
        assert DropReason.INTERNAL_ERROR not in source.drops
    assert len(flush_failures(RuntimeError)) == node.drops[DropReason.INTERNAL_ERROR]


@async_test(timeout_s=30)
async def test_a_fault_of_ours_while_we_call_who_pushed_is_counted(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_failures: Any
) -> None:
    async with world(reactor, tmp_path) as made:
        caller, node = await made.node("caller"), await made.node("getter")
        monkeypatch.setattr("gnutella.network.giving.GivSender.connectionMade", broken)
        assert caller.transfers.answer_push(Push(caller.servent_id, 1, node.address))
        await until(reactor, lambda: caller.drops[DropReason.INTERNAL_ERROR] == 1)
        await until(reactor, lambda: node.peer_port.connections == 0)
    assert len(flush_failures(RuntimeError)) == 1


@async_test(timeout_s=30)
async def test_a_fault_in_one_download_lets_no_more_run_at_a_time_than_allowed(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush_failures: Any
) -> None:
    first, second = content(2 * MIB, 1), content(2 * MIB, 2)
    async with world(reactor, tmp_path) as made:
        source = await made.sharing("source", first, settings=TransferSettings(upload_kib_s=4096))
        path = source.directory / "other"
        path.write_bytes(second)
        await source.share(path)
        node = await made.node("getter", TransferSettings(max_downloads=1, retry_s=1.0))
        with monkeypatch.context() as patched:
            patched.setattr(DownloadRun, "pump", broken)
            for data in (first, second):
                with pytest.raises(RuntimeError):
                    await node.transfers.add(
                        sha1_of(data), name="x", size=len(data), sources=[KnownSource(source.address)]
                    )
        for number in (1, 2):
            await node.transfers.resume(number)
        for number in (1, 2):
            await made.ends(node, number=number)
        told = [
            (kind, event["id"])
            for kind, event in node.events
            if kind == "download_finished" or (kind == "download_state" and event["state"] == "transferring")
        ]
        assert told == [(kind, number) for number in (1, 2) for kind in ("download_state", "download_finished")]
    flush_failures(RuntimeError)  # of a tick that came meanwhile
