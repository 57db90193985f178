"""The pytest plugin in a user's own project: scenario files are tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GOOD = """
[topology]
kind = "line"
nodes = 2
[[action]]
do = "query"
at_s = 1
from = "n0"
text = "some words"
expect = {{ hits = {hits} }}
"""


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:twisted", "-p", "no:cacheprovider", *options, str(directory)]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def test_scenarios_pass_fail_and_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    place = tmp_path / "scenarios"
    place.mkdir()
    (place / "good.toml").write_text(GOOD.format(hits=0))
    (place / "bad.toml").write_text(GOOD.format(hits=3))
    (tmp_path / "other.toml").write_text("not = 'a scenario'\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "hits is 0, expected 3" in done.stdout
    assert "Traceback" not in done.stdout


def test_other_patterns_and_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ngnutella_scenarios = nets/*.toml\n")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "broken.toml").write_text("seed = 'a word'\n")
    done = run_pytest(tmp_path)
    assert "1 error" in done.stdout
    assert "seed" in done.stdout


def test_live_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "good.toml").write_text("live = true\n" + GOOD.format(hits=0))
    assert "1 test collected" in run_pytest(tmp_path, "--collect-only", "-q").stdout
    assert "2 tests collected" in run_pytest(tmp_path, "--collect-only", "-q", "--gnutella-live").stdout
