"""Blocks on disk behind one thread: nothing is read twice at once, waits without bound, or is lost when it stops."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from anonymizer.blockio import MAX_READS, MAX_WRITES, DiskBlocks
from anonymizer.blocks import Outcome
from anonymizer.chk import DATA, Block, pad, seal
from anonymizer.ssk import WriteKey
from anonymizer.wire import BlockType
from gnutella.network.workers import WorkersStopped

SALT = bytes(range(32))


class Slow:
    """A thread whose jobs are done when the test says."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Deferred[Any], Callable[[], object]]] = []

    def run(self, fn: Callable[..., Any], *args: object) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.jobs.append((done, lambda: fn(*args)))
        return done

    def work(self) -> int:
        jobs, self.jobs = self.jobs, []
        for done, job in jobs:
            done.callback(job())
        return len(jobs)


def block(number: int) -> Block:
    return seal(pad(b"%d" % number), hashlib.sha256(b"key").digest(), DATA, number)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def woken() -> list[int]:
    return []


@pytest.fixture
def blocks(tmp_path: Path, slow: Slow, woken: list[int]) -> DiskBlocks:
    disk = DiskBlocks(tmp_path, SALT, 0, slow, lambda: woken.append(1), (8, 8))
    disk.open()
    slow.work()
    return disk


def test_what_was_put_is_found_in_either_place_and_whoever_waits_is_woken(
    blocks: DiskBlocks, slow: Slow, woken: list[int]
) -> None:
    outcomes: list[Outcome] = []
    found: list[tuple[bytes, ...]] = []
    one, two = block(1), block(2)
    blocks.put(BlockType.CHK, one.routing, one.sealed, "cache", outcomes.append)
    blocks.put(BlockType.CHK, two.routing, two.sealed, "store", outcomes.append)
    assert not outcomes
    slow.work()
    assert outcomes == [Outcome.STORED, Outcome.STORED] and len(woken) == 2
    for routing in (one.routing, two.routing, bytes(32)):
        blocks.get(BlockType.CHK, routing, found.append)
    slow.work()
    assert found == [(one.sealed,), (two.sealed,), ()]
    assert blocks.held == {"cache": 1, "store": 1}


def test_the_same_key_is_looked_for_once_at_a_time(blocks: DiskBlocks, slow: Slow) -> None:
    found: list[tuple[bytes, ...]] = []
    for _ in range(5):
        blocks.get(BlockType.CHK, bytes(32), found.append)
    assert slow.work() == 1
    assert found == [()] * 5
    blocks.get(BlockType.CHK, bytes(32), found.append)
    assert slow.work() == 1


def test_the_newer_of_two_records_is_the_answer(blocks: DiskBlocks, slow: Slow) -> None:
    owner = WriteKey(bytes(32), bytes(32))
    old, new = (owner.write("name", sequence, b"%d" % sequence, bytes(16)) for sequence in (1, 2))
    routing = owner.read_key.routing("name")
    found: list[tuple[bytes, ...]] = []
    blocks.put(BlockType.SSK, routing, old, "store", lambda outcome: None)
    blocks.put(BlockType.SSK, routing, new, "cache", lambda outcome: None)
    slow.work()
    blocks.get(BlockType.SSK, routing, found.append)
    slow.work()
    assert found == [(new,)]


def test_what_waits_is_bounded_and_what_is_too_much_is_refused_at_once(blocks: DiskBlocks, slow: Slow) -> None:
    outcomes: list[Outcome] = []
    one = block(1)
    for _ in range(MAX_WRITES + 1):
        blocks.put(BlockType.CHK, one.routing, one.sealed, "cache", outcomes.append)
    assert outcomes == [Outcome.REFUSED]
    found: list[tuple[bytes, ...]] = []
    for number in range(MAX_READS + 1):
        blocks.get(BlockType.CHK, number.to_bytes(32, "big"), found.append)
    assert found == [()]
    assert blocks.counts["busy"] == 2
    slow.work()
    assert len(outcomes) == MAX_WRITES + 1 and len(found) == MAX_READS + 1
    assert outcomes.count(Outcome.STORED) == 1


def test_a_thread_that_was_stopped_is_no_block_and_no_error(
    blocks: DiskBlocks, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Outcome] = []
    found: list[tuple[bytes, ...]] = []
    one = block(1)
    blocks.put(BlockType.CHK, one.routing, one.sealed, "cache", outcomes.append)
    blocks.get(BlockType.CHK, one.routing, found.append)
    for done, _ in slow.jobs:
        done.errback(WorkersStopped("stopped"))
    assert (outcomes, found) == ([Outcome.DISK], [()])
