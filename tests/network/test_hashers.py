"""HashWorkers: jobs through real child processes, and the same jobs inline."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.task import Clock

import gnutella
from gnutella.errors import LocalMisuse
from gnutella.network import hash_child, hashers
from gnutella.network.hashers import HashingStopped, HashWorkerLost, HashWorkers
from gnutella.protocol.tth import roots
from gnutella.sharing.hashing import FileChanged, FileUnreadable, hash_bytes
from gnutella.testing.aio import async_test, until

KIB = 1024
CONTENT = bytes(range(251)) * 4200


@pytest.fixture
def shared(tmp_path: Path) -> str:
    path = tmp_path / "shared.bin"
    path.write_bytes(CONTENT)
    return str(path)


@pytest.fixture
def huge(tmp_path: Path) -> str:
    """A hole of a tebibyte: a job that does not end in any test's time."""
    path = tmp_path / "huge.bin"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    return str(path)


@pytest_twisted.async_yield_fixture()
async def pool(reactor: Any) -> Any:
    workers = HashWorkers(reactor)
    yield workers
    await workers.stop()


def is_gone(pid: int) -> bool:
    """Neither running nor left as a zombie."""
    return not os.path.exists(f"/proc/{pid}")


@async_test()
async def test_a_file_is_hashed_in_a_child(pool: HashWorkers, shared: str) -> None:
    assert pool.pids == []
    found = await pool.hash_file(shared)
    assert found == hash_bytes(CONTENT)
    assert found.as_tree().root == found.tth
    assert len(pool.pids) == 1
    assert pool.pending == 0


@async_test()
async def test_errors_of_files_arrive_as_themselves(pool: HashWorkers, shared: str) -> None:
    with pytest.raises(FileChanged):
        await pool.hash_file(shared, size=1)
    with pytest.raises(FileUnreadable, match="No such file"):
        await pool.hash_file(shared + ".gone")
    with pytest.raises(LocalMisuse):
        await pool.hash_nodes(shared, 1, 1024, 1024)


@async_test()
async def test_a_download_is_checked_as_it_arrives_and_read_once(pool: HashWorkers, tmp_path: Path) -> None:
    path = str(tmp_path / "partial")
    handle = pool.open_sha1(path)
    step = 256 * KIB
    for start in range(0, len(CONTENT), step):
        piece = CONTENT[start : start + step]
        with open(path, "ab") as file:
            file.write(piece)
        found = await pool.verify(path, start, len(piece), 64 * KIB, handle, roots(piece, 64 * KIB))
        assert found.nodes == roots(piece, 64 * KIB)
        assert found.sha1_offset == handle.offset == start + len(piece)
    os.truncate(path, 0)
    assert await handle.digest(len(CONTENT)) == hashlib.sha1(CONTENT).digest()
    handle.close()


@async_test()
async def test_many_checks_wait_their_turn(pool: HashWorkers, shared: str) -> None:
    jobs = [pool.hash_nodes(shared, at * KIB, KIB, KIB) for at in range(200)]
    assert pool.pending == 200
    found = await gatherResults(jobs)
    assert [nodes[0] for nodes in found] == roots(CONTENT[: 200 * KIB], KIB)


@async_test()
async def test_a_sha1_advances_rewinds_and_ends(pool: HashWorkers, shared: str) -> None:
    handle = pool.open_sha1(shared)
    assert await handle.advance(1000) == 1000
    Path(shared).write_bytes(CONTENT[::-1])
    handle.rewind()
    assert handle.offset == 0
    assert await handle.digest(len(CONTENT)) == hashlib.sha1(CONTENT[::-1]).digest()
    with pytest.raises(FileChanged):
        await handle.advance(len(CONTENT) + 1)
    handle.close()


@async_test()
async def test_progress_comes_and_a_cancelled_file_stops(
    reactor: Any, pool: HashWorkers, huge: str, shared: str
) -> None:
    seen: list[int] = []
    job = pool.hash_file(huge, progress=seen.append)
    await until(reactor, lambda: len(seen) >= 2)
    assert seen == sorted(seen)
    checked = await pool.hash_nodes(shared, 0, KIB, KIB)  # goes before the file
    assert checked == roots(CONTENT[:KIB], KIB)
    job.cancel()
    with pytest.raises(CancelledError):
        await job
    assert (await pool.hash_file(shared)).size == len(CONTENT)
    assert len(pool.pids) == 1


@async_test()
async def test_a_job_that_waits_can_be_cancelled(reactor: Any, pool: HashWorkers, huge: str) -> None:
    jobs = [pool.hash_file(huge) for _ in range(hash_child.MAX_FILES_IN_CHILD + 1)]
    jobs[-1].cancel()
    with pytest.raises(CancelledError):
        await jobs[-1]
    assert pool.pending == hash_child.MAX_FILES_IN_CHILD
    for job in jobs[:-1]:
        job.cancel()
        with pytest.raises(CancelledError):
            await job
    assert pool.pending == 0


@async_test()
async def test_a_killed_worker_is_replaced_and_its_job_done(
    reactor: Any, pool: HashWorkers, huge: str, shared: str
) -> None:
    seen: list[int] = []
    handle = pool.open_sha1(shared)
    await handle.advance(500)
    job = pool.hash_file(huge, progress=seen.append)
    await until(reactor, lambda: bool(seen))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)  # else it may see the file shrink before it dies
    os.truncate(huge, 0)  # for the second child it is soon done
    os.kill(pid, signal.SIGKILL)
    assert (await job).size == 0
    assert pool.pids != [pid]
    assert is_gone(pid)
    # The state died with the child; the digest is right nevertheless.
    assert await handle.digest(len(CONTENT)) == hashlib.sha1(CONTENT).digest()


@async_test()
async def test_a_job_that_kills_two_workers_fails_and_others_go_on(
    reactor: Any, pool: HashWorkers, huge: str, shared: str
) -> None:
    seen: list[int] = []
    job = pool.hash_file(huge, progress=seen.append)
    for _ in range(2):
        seen.clear()
        await until(reactor, lambda: bool(seen))
        os.kill(pool.pids[0], signal.SIGKILL)
    with pytest.raises(HashWorkerLost):
        await job
    assert (await pool.hash_file(shared)).size == len(CONTENT)


@async_test()
async def test_a_worker_that_cannot_start_fails_its_jobs(
    pool: HashWorkers, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_child, "_MODULE", "gnutella.network.no_such_module")
    with pytest.raises(HashWorkerLost):
        await pool.hash_file(shared)


@pytest.mark.parametrize("inherited", ["", "/some/where"])
def test_a_child_finds_the_package_of_a_checkout(
    tmp_path: Path, inherited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run against an installed package; the case here is that of a checkout.
    checkout = Path(__file__).resolve().parents[2]
    monkeypatch.setattr(gnutella, "__file__", str(checkout / "gnutella" / "__init__.py"))
    monkeypatch.setenv("PYTHONPATH", inherited)
    code = "import gnutella.protocol.tth, sys; print(gnutella.__file__); print(sys.path)"
    said = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code],  # -S: what is installed is not on the path
        cwd=tmp_path,
        env=hash_child.child_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.splitlines()
    assert said[0] == gnutella.__file__
    assert inherited in said[1]


def test_a_child_of_an_installed_package_gets_our_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(gnutella.__file__).resolve().parent.parent)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: root)
    assert hash_child.child_environment() == dict(os.environ)


@async_test()
async def test_a_reply_without_end_kills_the_worker(
    reactor: Any, pool: HashWorkers, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.hash_file(shared)
    (pid,) = pool.pids
    monkeypatch.setattr(hash_child, "MAX_REPLY", 100)
    child = pool._children[0]
    assert child is not None
    child.outReceived(b"x" * 101)
    await until(reactor, lambda: is_gone(pid))


@async_test()
async def test_stop_fails_what_is_open_and_reaps_the_child(reactor: Any, huge: str) -> None:
    workers = HashWorkers(reactor)
    jobs = [workers.hash_file(huge) for _ in range(hash_child.MAX_FILES_IN_CHILD + 2)]
    (pid,) = workers.pids
    await workers.stop()
    assert is_gone(pid)
    for job in jobs:
        with pytest.raises(HashingStopped):
            await job
    with pytest.raises(HashingStopped):
        await workers.hash_file(huge)
    await workers.stop()


@async_test()
async def test_a_child_that_does_not_end_is_killed(reactor: Any, shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashers, "STOP_TIMEOUT_S", 0.01)
    workers = HashWorkers(reactor)
    await workers.hash_file(shared)
    (pid,) = workers.pids
    os.kill(pid, signal.SIGSTOP)
    await workers.stop()
    assert is_gone(pid)


@async_test()
async def test_files_spread_over_the_children_and_a_sha1_stays_with_one(reactor: Any, shared: str) -> None:
    workers = HashWorkers(reactor, 2)
    handles = [workers.open_sha1(shared) for _ in range(4)]
    for upto in (1000, 2000, len(CONTENT)):
        await gatherResults([handle.advance(upto) for handle in handles])
    assert len(workers.pids) == 2
    os.truncate(shared, 0)
    for handle in handles:
        assert await handle.digest(len(CONTENT)) == hashlib.sha1(CONTENT).digest()
    await workers.stop()


def test_inline_gives_the_same_at_once(shared: str) -> None:
    workers = HashWorkers(Clock(), inline=True)
    handle = workers.open_sha1(shared)
    outcomes: list[Any] = []
    for job in (
        workers.hash_file(shared),
        workers.verify(shared, 0, len(CONTENT), 64 * KIB, handle),
        handle.digest(len(CONTENT)),
        workers.stop(),
    ):
        job.addCallback(outcomes.append)
    names = hash_bytes(CONTENT)
    assert outcomes[0].tth == names.tth
    assert outcomes[1].nodes == roots(CONTENT, 64 * KIB)
    assert outcomes[2:] == [names.sha1, None]
    assert workers.pids == []


def test_more_jobs_than_can_wait_are_our_own_mistake(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashers, "MAX_WAITING", 0)
    failed: list[Any] = []
    HashWorkers(Clock()).hash_file(shared).addErrback(failed.append)
    assert failed[0].check(LocalMisuse)
