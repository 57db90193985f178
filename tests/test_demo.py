"""`gnutella demo` as a newcomer types it: what it shows is true, and nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gnutella.cli import main

pytestmark = pytest.mark.live

PATIENCE_S = 60.0


def start(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    """The demo in a session of its own, with a temporary directory of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gnutella.cli", "demo", *words],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(demo: subprocess.Popen[str], tmp_path: Path) -> tuple[str, str]:
    """What it said; neither a file nor a process of it may be left."""
    out, err = demo.communicate(timeout=PATIENCE_S)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
    return out, err


def test_the_demo_searches_downloads_from_two_sources_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path, "--json")
    out, err = ended(demo, tmp_path)
    assert (demo.returncode, err) == (0, "")
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    seen = [row for row in rows if row["step"] == "seen"]
    rows = [row for row in rows if row["step"] != "seen"]
    assert [row["step"] for row in rows] == [
        "overlay",
        "query",
        "query",
        "query",
        "query",
        "download",
        "anonymous",
        "traffic",
        "done",
    ]
    overlay, words, _, nothing, urn, download, anonymous, traffic, _ = rows
    assert (len(overlay["nodes"]), overlay["links"], overlay["files"]) == (5, 5, 14)
    assert ["edge-1", "hub-1", "hub-2", "edge-2"] in words["paths"]
    assert nothing["hits"] == 0 and nothing["paths"] == []
    assert {"node": "edge-2", "reason": "a leaf, which passes nothing on"} in words["stopped"]
    assert any(stop["reason"].startswith("duplicate, from ") for stop in words["stopped"])
    assert urn["hits"] == 1 and urn["words"].startswith("urn:sha1:")
    assert set(download["sources"]) == {"edge-2", "edge-3"}
    assert sum(download["sources"].values()) == download["size"]
    assert (download["sha1"], download["tth"]) == ("ok", "ok")
    assert traffic["messages"]["query"] == sum(row["messages"] for row in rows if row["step"] == "query")
    assert traffic["dropped"]["duplicate"] > 0
    check_anonymous(anonymous, seen)


def check_anonymous(row: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    """What was fetched is right, and nobody but its origin saw who asks and what."""
    assert (row["level"], row["sha256"], row["plain_queries"]) == ("relay", "ok", 0)
    assert row["accepted_small_set"] == len(row["nodes"]) - 1 == 7
    origin, first = seen[:2]
    assert (origin["node"], origin["role"], origin["to"]) == (row["asked_by"], "origin", first["node"])
    assert {one["role"] for one in seen} <= {"origin", "stem", "bridge", "pivot", "route", "holder"}
    assert first["from"] == row["asked_by"] and first["role"] in ("stem", "bridge")
    assert all(row["asked_by"] not in one["hidden"] for one in seen[2:] if one["from"] != row["asked_by"])
    assert sum(one["keys"] for one in seen if one["role"] == "pivot") > 0
    assert all(one["hidden"] and one["node"] in row["nodes"] for one in seen)


def test_without_the_relay_layer_the_demo_says_so_and_does_the_rest(tmp_path: Path) -> None:
    hiding = "import sys; sys.modules['anonymizer'] = None; from gnutella.cli import main; sys.exit(main(['demo']))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.run([sys.executable, "-c", hiding], env=environment, capture_output=True, text=True, timeout=60)
    assert (demo.returncode, demo.stderr) == (0, "")
    assert (
        " anonymous  left out, the relay layer is not installed: pip install 'gnutella-servent[anonymizer]'\n"
        in demo.stdout
    )
    assert " download " in demo.stdout and " seen by " not in demo.stdout


def test_kept_nodes_can_be_reached_and_end_with_the_demo(tmp_path: Path) -> None:
    demo = start(tmp_path, "--json", "--keep", "--nodes", "6")
    assert demo.stdout is not None
    nodes: list[dict[str, Any]] = []
    while len(nodes) < 6:
        line = demo.stdout.readline()
        assert line, "it ended"
        row = json.loads(line)
        nodes += [row] if row["step"] == "node" else []
    command = [sys.executable, "-m", "gnutella.cli", "--dir", nodes[-1]["directory"], "status", "--json"]
    status = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert json.loads(status.stdout)["listen"] == nodes[-1]["listen"]
    demo.send_signal(signal.SIGINT)
    _, err = ended(demo, tmp_path)
    assert (demo.returncode, err) == (0, "")


def test_ctrl_c_in_the_middle_cleans_up_and_says_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path, "--json")
    assert demo.stdout is not None
    assert json.loads(demo.stdout.readline())["step"] == "overlay"
    demo.send_signal(signal.SIGINT)
    _, err = ended(demo, tmp_path)
    assert (demo.returncode, err) == (130, "")


def test_a_reader_who_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    demo = start(tmp_path, "--json")
    assert demo.stdout is not None
    demo.stdout.readline()
    demo.stdout.close()
    assert demo.stderr is not None
    assert (demo.stderr.read(), demo.wait(PATIENCE_S), list(tmp_path.iterdir())) == ("", 141, [])
    demo.stderr.close()


@pytest.mark.parametrize("count", ["4", "65", "many"])
def test_a_number_of_nodes_that_makes_no_sense_is_refused(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--nodes", count]) == 64
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
