"""What a node with the relay layer keeps on disk, before anything follows from it; and a disk that takes nothing."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from anonymizer import state
from anonymizer.blockio import DiskBlocks
from anonymizer.chk import DATA, pad, seal
from anonymizer.errors import AnonymityError, StateNotKept
from anonymizer.ownfiles import PARTIAL
from anonymizer.service import DIRECTORY
from anonymizer.standing import refused
from anonymizer.wire import BlockType
from gnutella.testing.aio import async_test, until
from gnutella.testing.whole_nodes import node_in, started
from tests.live.test_relay_layer import with_layer

pytestmark = pytest.mark.live

NODES = [bytes((number,)) * 32 for number in range(5)]


@asynccontextmanager
async def alone(directory: Path, reactor: Any) -> AsyncIterator[Any]:
    """The layer of a node without any link."""
    async with started(with_layer(node_in(directory, reactor))) as (node,):
        yield node.layer


def kept(directory: Path, copy: Path, part: Any) -> Any:
    """What a program that is killed now finds when it is started again: read from a copy of all that is on disk."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("state.db", "state.db-wal"):
        if (directory / name).exists():
            shutil.copy(directory / name, copy / name)
    with closing(sqlite3.connect(copy / "state.db")) as db:
        return part.read(dict(db.execute("SELECT name, value FROM relay")))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "tale.txt"
    path.write_bytes(random.Random(1).randbytes(100_000))
    return path


def numbered(layer: Any) -> Deferred[AnonymityError | None]:
    """A number is used for a document; fires when what needs it may go on."""
    documents, gone_on = layer.core.client.documents, Deferred[AnonymityError | None]()
    documents._numbers.accept(b"n" * 32, 7)
    documents.keep(lambda error, now: gone_on.callback(error), layer.now())
    return gone_on


@async_test(20)
async def test_what_is_acknowledged_outlasts_a_kill_at_that_very_moment(
    reactor: Any, tmp_path: Path, source: Path
) -> None:
    home, copy = tmp_path / "node", tmp_path / "copy"
    async with alone(home, reactor) as layer:
        file = await layer.serve(source, lambda: True)
        offers = kept(home, copy, state.OFFERS)
        assert [row[0] for row in offers.shares] == ["tale.txt"] and list(offers.anchored) == [str(file.uri)]
        await layer.list_inserted("other.txt", 5, file.uri, bytes(20))
        assert [row[0] for row in kept(home, copy, state.OFFERS).shares] == ["other.txt"]
        (share,) = layer.shares
        await layer.unshare(share)
        assert kept(home, copy, state.OFFERS) == state.Offers()
        assert await numbered(layer) is None
        assert kept(home, copy, state.DOCUMENTS).editions == {b"n" * 32: 7}
        guards = layer.core.stem.guards
        guards.fill(NODES, layer.now())
        first = guards.ids[0]
        guards.up(first)
        assert guards.current(layer.now()) is None
        await until(reactor, lambda: guards.current(layer.now()) is not None)
        assert kept(home, copy, state.KEPT).guards == guards.rows() and guards.current(layer.now()) == first
    async with alone(home, reactor) as layer:
        assert layer.core.stem.guards.ids[0] == first and layer.core.client.documents.rows() == {b"n" * 32: 7}


@async_test(20)
async def test_a_state_that_the_disk_does_not_take_is_told_by_name_and_nothing_follows_from_it(
    reactor: Any, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with alone(tmp_path / "node", reactor) as layer:
        monkeypatch.setattr(state, "_write", full)
        with pytest.raises(StateNotKept, match="what is offered cannot be kept on disk: .*disk is full") as told:
            await layer.serve(source, lambda: True)
        assert told.value.exit_code == os.EX_CANTCREAT
        assert not list(layer.shares) and not layer.served._files, "it is not offered for as long as this run lasts"
        error = await numbered(layer)
        assert isinstance(error, StateNotKept) and "number of a document" in str(error)
        guards = layer.core.stem.guards
        guards.fill(NODES, layer.now())
        guards.up(guards.ids[0])
        layer._watch()
        await until(reactor, lambda: refused(layer).get("disk_state", 0) >= 3)
        assert guards.current(layer.now()) is None
        monkeypatch.undo()
        layer._watch()
        await until(reactor, lambda: guards.current(layer.now()) is not None)


@async_test(20)
async def test_a_disk_without_room_for_blocks_is_counted_and_told_once(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[str] = []
    blocks = [seal(pad(b"%d" % number), bytes(32), DATA, number) for number in range(4)]

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    async with alone(tmp_path / "node", reactor) as layer:
        told: list[str] = []
        monkeypatch.setattr(DiskBlocks, "log", SimpleNamespace(error=told.append, info=told.append))

        async def put(number: int) -> str:
            block, count = blocks[number], len(outcomes)
            layer.blocks.put(
                BlockType.CHK, block.routing, block.sealed, "store", lambda outcome: outcomes.append(outcome.value)
            )
            await until(reactor, lambda: len(outcomes) > count)
            return outcomes[-1]

        assert await put(0) == "stored"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            assert [await put(1), await put(2)] == ["disk", "disk"]
        assert await put(1) == "stored"
        assert refused(layer)["disk_block"] == 2 and [line[:8] for line in told] == ["the disk"] * 2
        assert layer.blocks.held["store"] == 2
        assert not list((tmp_path / "node" / DIRECTORY).rglob("*.part"))


@async_test(20)
async def test_stale_partial_files_go_at_the_start_and_others_stay(reactor: Any, tmp_path: Path) -> None:
    home = tmp_path / "node" / DIRECTORY
    home.mkdir(parents=True)
    for name, age in (("old", 8), ("new", 1)):
        (home / f"{PARTIAL}{name}-1").write_bytes(b"x")
        then = reactor.seconds() - age * 86_400
        os.utime(home / f"{PARTIAL}{name}-1", (then, then))
    async with alone(tmp_path / "node", reactor):
        await until(reactor, lambda: len(list(home.glob(f"{PARTIAL}*"))) == 1)
        assert [path.name for path in home.glob(f"{PARTIAL}*")] == [f"{PARTIAL}new-1"]


@async_test(20)
async def test_a_file_that_became_a_pipe_is_offered_no_more_and_holds_up_nothing(
    reactor: Any, tmp_path: Path, source: Path
) -> None:
    async with alone(tmp_path / "node", reactor) as layer:
        await layer.serve(source, lambda: True)
    source.unlink()
    os.mkfifo(source)
    async with alone(tmp_path / "node", reactor) as layer:
        await until(reactor, lambda: not list(layer.shares))
