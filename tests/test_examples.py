"""The scripts in examples/ do what they say, against a node that answers from memory; the unit starts what it names."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnutella.tap import Options

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PATIENCE_S = 60


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of a running fake node."""
    directory = tmp_path_factory.mktemp("node")
    command = [sys.executable, "-m", "gnutella.testing.fake_node", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        yield directory
        process.terminate()


def run(name: str, *words: str, node: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One example to its end; `gnutella` is the one beside this interpreter."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "GNUTELLA_DIR": str(node), "SECONDS_FOR_HITS": "1"}
    command = [sys.executable] if name.endswith(".py") else []
    return subprocess.run(
        [*command, str(EXAMPLES / name), *words],
        env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_the_search_prints_a_line_for_each_hit(node: Path) -> None:
    done = run("search.py", str(node), "1", "alice")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(maxsplit=2)[2] for line in done.stdout.splitlines()] == ["alice wonderland.txt", "アリス.txt"]
    assert done.stdout.split()[:2][1].startswith("urn:sha1:")


@pytest.mark.parametrize("words", [["nothing"], ['a "quoted" \\ word', "--wait"]])
def test_the_search_ends_with_1_when_nothing_is_found(node: Path, words: list[str]) -> None:
    done = run("search.py", str(node), "0.2", *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_the_search_says_what_is_wrong(node: Path, tmp_path: Path) -> None:
    away = run("search.py", str(tmp_path), "1", "alice")
    assert away.returncode == 69
    assert "no node answers" in away.stderr
    assert run("search.py", str(node), "1").returncode == 64


def test_a_hit_is_fetched_and_its_path_printed(node: Path) -> None:
    done = run("fetch.sh", "alice", node=node)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("alice wonderland.txt")


def test_fetching_nothing_ends_with_the_exit_code_of_the_search(node: Path, tmp_path: Path) -> None:
    assert run("fetch.sh", "nothing", node=node).returncode == 1
    assert run("fetch.sh", "alice", node=tmp_path).returncode == 69


def test_finished_downloads_are_told(node: Path, tmp_path: Path) -> None:
    run("fetch.sh", "alice", node=node)
    done = run("watch_downloads.py", str(node), "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().endswith("alice wonderland.txt")
    assert run("watch_downloads.py", str(tmp_path), "1").returncode == 69


def test_the_unit_starts_a_daemon_that_knows_its_options() -> None:
    unit = (EXAMPLES / "gnutella.service").read_text()
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    program, command, *options = shlex.split(start.removeprefix("ExecStart="))
    assert (Path(program).name, command) == ("gnutella", "run")
    parsed = Options()
    parsed.parseOptions(options)
    assert parsed["dir"] == "/var/lib/gnutella"
