"""The worker process as its pipes show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnutella.network.hash_worker import MAX_LINE, NICENESS
from gnutella.sharing.hashing import hash_bytes

CONTENT = bytes(range(251)) * 2000


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "json.py").write_text("raise SystemExit('a file in the working directory was imported')\n")
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "gnutella.network.hash_worker"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield process
        process.kill()


def request(path: Path, number: int) -> bytes:
    fields = {"id": number, "op": "file", "path": str(path), "size": None, "mtime_ns": None}
    return json.dumps(fields).encode() + b"\n"


def test_requests_in_replies_out_and_the_end_of_stdin_is_the_end(
    worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert worker.stdin is not None
    assert worker.stdout is not None
    line = request(tmp_path / "a", 1)
    worker.stdin.write(line[:20])
    worker.stdin.flush()
    worker.stdin.write(line[20:] + request(tmp_path / "gone", 2))
    worker.stdin.flush()
    first, second = json.loads(worker.stdout.readline()), json.loads(worker.stdout.readline())
    assert first["ok"]["tth"] == hash_bytes(CONTENT).tth.hex()
    assert (second["id"], second["error"]) == (2, "unreadable")
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) >= NICENESS
    worker.stdin.close()
    assert worker.wait(10) == 0
    assert worker.stderr is not None
    assert worker.stderr.read() == b""


def test_the_end_of_stdin_ends_a_long_job_too(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)  # a hole: hours of work
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(request(tmp_path / "huge", 1))
    worker.stdin.flush()
    assert "done" in json.loads(worker.stdout.readline())
    worker.stdin.close()
    assert worker.wait(10) == 0


def test_a_reader_that_goes_away_ends_it_quietly(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stderr is not None
    worker.stdout.close()
    worker.stdin.write(request(tmp_path / "gone", 1))
    worker.stdin.flush()
    assert worker.wait(10) == 0
    assert worker.stderr.read() == b""


def test_a_line_without_end_is_refused(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(b"x" * (MAX_LINE + 70_000))
        worker.stdin.close()
    except BrokenPipeError:
        pass  # it had seen enough
    assert worker.wait(10) == 1
