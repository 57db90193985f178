"""The worker's work itself, without processes: results, urgency, and files that misbehave."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from gnutella.network import hash_jobs
from gnutella.network.hash_jobs import MAX_NODES, HashJobs
from gnutella.protocol.tth import BLOCK_SIZE, roots
from gnutella.sharing.hashing import hash_bytes

KIB = 1024
CONTENT = bytes(range(251)) * 4200  # just over a MiB


@pytest.fixture
def shared(tmp_path: Path) -> str:
    path = tmp_path / "a file \udcff.bin"
    path.write_bytes(CONTENT)
    return str(path)


def run(jobs: HashJobs, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """All replies to these requests, in order."""
    for request in requests:
        jobs.accept(request)
    replies = []
    while jobs.is_busy:
        reply = jobs.step()
        if reply is not None:
            replies.append(reply)
    return replies


def file_job(path: str, number: int = 1, size: int | None = None, mtime_ns: int | None = None) -> dict[str, Any]:
    return {"id": number, "op": "file", "path": path, "size": size, "mtime_ns": mtime_ns}


def check_job(
    path: str, offset: int, length: int, node_size: int = KIB, number: int = 2, **more: Any
) -> dict[str, Any]:
    fields = {"id": number, "op": "verify", "path": path, "offset": offset, "length": length, "node_size": node_size}
    return {**fields, "handle": None, "expected": None, **more}


def sha1_job(path: str, upto: int, handle: int = 7, number: int = 3, digest: bool = True) -> dict[str, Any]:
    return {"id": number, "op": "sha1", "path": path, "handle": handle, "upto": upto, "digest": digest}


def sha1_of(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def expected(data: bytes, node_size: int) -> str:
    return b"".join(roots(data, node_size)).hex()


def test_a_file_gets_all_its_names(shared: str) -> None:
    info = os.stat(shared)
    (reply,) = run(HashJobs(), file_job(shared, 9, info.st_size, info.st_mtime_ns))
    names = hash_bytes(CONTENT)
    assert reply["id"] == 9
    assert reply["ok"] == {
        "sha1": names.sha1.hex(),
        "tth": names.tth.hex(),
        "tree": names.tree.hex(),
        "size": len(CONTENT),
    }


def test_an_empty_file_has_names_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (reply,) = run(HashJobs(), file_job(str(tmp_path / "empty")))
    assert reply["ok"]["tth"] == hash_bytes(b"").tth.hex()


def test_progress_is_told_at_each_step(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_jobs, "PROGRESS_STEP", 2 * BLOCK_SIZE)
    replies = run(HashJobs(), file_job(shared))
    assert [reply["done"] for reply in replies[:-1]] == [2 * BLOCK_SIZE, 4 * BLOCK_SIZE]


@pytest.mark.parametrize("node_size", [KIB, 64 * KIB, BLOCK_SIZE, 2 * BLOCK_SIZE])
@pytest.mark.parametrize("start", [0, 2 * BLOCK_SIZE])
def test_a_range_gets_its_nodes(shared: str, node_size: int, start: int) -> None:
    length = len(CONTENT) - start
    (reply,) = run(HashJobs(), check_job(shared, start, length, node_size))
    assert reply["ok"]["nodes"] == expected(CONTENT[start:], node_size)


def test_checks_in_order_take_the_sha1_along(shared: str) -> None:
    jobs = HashJobs()
    step = 128 * KIB
    for start in range(0, len(CONTENT), step):
        length = min(step, len(CONTENT) - start)
        (reply,) = run(jobs, check_job(shared, start, length, handle=7))
        assert reply["ok"]["sha1_offset"] == start + length
    os.truncate(shared, 0)  # nothing is read again
    (reply,) = run(jobs, sha1_job(shared, len(CONTENT)))
    assert reply["ok"]["digest"] == sha1_of(CONTENT)


def test_a_gap_is_made_up_when_it_is_filled(shared: str) -> None:
    jobs = HashJobs()
    half = 512 * KIB
    (late,) = run(jobs, check_job(shared, half, len(CONTENT) - half, handle=7))
    assert late["ok"]["sha1_offset"] == 0
    (early,) = run(jobs, check_job(shared, 0, half + 256 * KIB, handle=7))
    assert early["ok"]["sha1_offset"] == half + 256 * KIB
    (overlap,) = run(jobs, check_job(shared, half, len(CONTENT) - half, handle=7))
    assert overlap["ok"]["sha1_offset"] == len(CONTENT)
    (reply,) = run(jobs, sha1_job(shared, len(CONTENT)))
    assert reply["ok"]["digest"] == sha1_of(CONTENT)


@pytest.mark.parametrize("node_size", [64 * KIB, BLOCK_SIZE, 2 * BLOCK_SIZE])
def test_the_sha1_never_takes_bytes_of_a_wrong_node(shared: str, node_size: int) -> None:
    jobs = HashJobs()
    good = expected(CONTENT, node_size)
    wrong_at = 2 * BLOCK_SIZE
    with open(shared, "r+b") as file:
        file.seek(wrong_at + 100)
        file.write(b"wrong")
    (reply,) = run(jobs, check_job(shared, 0, len(CONTENT), node_size, handle=7, expected=good))
    assert reply["ok"]["nodes"] != good
    assert reply["ok"]["sha1_offset"] == wrong_at
    Path(shared).write_bytes(CONTENT)
    (reply,) = run(jobs, sha1_job(shared, len(CONTENT)))
    assert reply["ok"]["digest"] == sha1_of(CONTENT)


def test_without_expectations_the_sha1_takes_all_and_close_forgets_it(shared: str) -> None:
    jobs = HashJobs()
    run(jobs, check_job(shared, 0, 512 * KIB, handle=7))
    Path(shared).write_bytes(CONTENT[::-1])
    (stale,) = run(jobs, sha1_job(shared, len(CONTENT)))
    assert stale["ok"]["digest"] == sha1_of(CONTENT[: 512 * KIB] + CONTENT[::-1][512 * KIB :])
    jobs.accept({"op": "close", "handle": 7})
    (fresh,) = run(jobs, sha1_job(shared, len(CONTENT)))
    assert fresh["ok"]["digest"] == sha1_of(CONTENT[::-1])


def test_a_state_beyond_the_limit_is_made_again_from_the_file(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_jobs, "MAX_HANDLES", 2)
    jobs = HashJobs()
    for handle in (1, 2, 3):
        run(jobs, sha1_job(shared, 1000, handle, digest=False))
    assert sorted(jobs._sha1s) == [2, 3]
    (reply,) = run(jobs, sha1_job(shared, len(CONTENT), 1))
    assert reply["ok"]["digest"] == sha1_of(CONTENT)


def test_a_digest_of_less_than_was_taken_is_our_own_mistake(shared: str) -> None:
    jobs = HashJobs()
    run(jobs, sha1_job(shared, 1000, digest=False))
    (reply,) = run(jobs, sha1_job(shared, 500))
    assert reply["error"] == "misuse"


def test_checks_go_before_sha1s_and_those_before_files(shared: str) -> None:
    jobs = HashJobs()
    jobs.accept(file_job(shared))
    jobs.step()  # the file is begun
    replies = run(
        jobs,
        file_job(shared, 4),
        sha1_job(shared, 1000),
        check_job(shared, 0, KIB),
        check_job(shared, 0, KIB, number=5),
    )
    assert [reply["id"] for reply in replies] == [2, 5, 3, 1, 4]


def test_a_cancelled_job_answers_nothing_and_closes_its_file(shared: str) -> None:
    jobs = HashJobs()
    jobs.accept(file_job(shared))
    before = len(os.listdir("/proc/self/fd"))
    jobs.step()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    jobs.accept({"op": "cancel", "id": 1})
    assert not jobs.is_busy
    assert jobs.step() is None
    assert len(os.listdir("/proc/self/fd")) == before


def error(reply: dict[str, Any]) -> tuple[str, str]:
    return reply["error"], reply["text"]


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    for name, words in (
        ("gone", "No such file"),
        ("dir", "no regular file"),
        ("fifo", "no regular file"),
        ("loop", "symbolic links"),
        ("nul\0", "null"),
    ):
        (reply,) = run(HashJobs(), file_job(str(tmp_path / name)))
        kind, text = error(reply)
        assert kind == "unreadable"
        assert words in text


def test_an_error_of_the_disk_is_told(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    (reply,) = run(HashJobs(), file_job(shared))
    assert error(reply) == ("unreadable", "reading at 0 failed: Input/output error")


def test_another_size_or_time_than_asked_for_is_a_change(shared: str) -> None:
    info = os.stat(shared)
    replies = run(HashJobs(), file_job(shared, 1, info.st_size + 1), file_job(shared, 2, None, info.st_mtime_ns - 1))
    assert [reply["error"] for reply in replies] == ["changed", "changed"]
    assert "size moved" in replies[0]["text"]
    assert "time of change moved" in replies[1]["text"]


def rewrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


def replace(path: str) -> None:
    Path(path + ".new").write_bytes(CONTENT)
    os.replace(path + ".new", path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rewrite, "was changed"),
        (replace, "was changed"),
        (os.unlink, "went away"),
        (lambda path: os.truncate(path, 1000), "the file ends at"),
        (lambda path: os.truncate(path, 2 * len(CONTENT)), "was changed"),
    ],
    ids=["rewritten", "replaced", "removed", "truncated", "grown"],
)
def test_a_file_that_changes_while_it_is_hashed_gets_no_name(shared: str, change: Any, words: str) -> None:
    jobs = HashJobs()
    jobs.accept(file_job(shared))
    jobs.step()
    change(shared)
    (reply,) = run(jobs)
    kind, text = error(reply)
    assert kind == "changed"
    assert words in text


def test_a_range_beyond_the_end_is_a_change(shared: str) -> None:
    for job in (check_job(shared, 1024 * KIB, 1024 * KIB), sha1_job(shared, len(CONTENT) + 1)):
        (reply,) = run(HashJobs(), job)
        assert reply["error"] == "changed"


@pytest.mark.parametrize(
    ("offset", "length", "node_size", "more"),
    [
        (-1024, 1024, 1024, {}),
        (0, 0, 1024, {}),
        (512, 1024, 1024, {}),
        (0, 1000, 1000, {}),
        (0, 1024, 0, {}),
        (0, MAX_NODES * 1024 + 1, 1024, {}),
        (0, 2048, 1024, {"expected": "00" * 24}),
    ],
)
def test_impossible_ranges_are_our_own_mistake(
    shared: str, offset: int, length: int, node_size: int, more: Any
) -> None:
    (reply,) = run(HashJobs(), check_job(shared, offset, length, node_size, **more))
    assert reply["error"] == "misuse"
