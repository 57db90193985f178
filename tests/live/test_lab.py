"""A scenario with real servents: up, asked, counted, and gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec import structs

from gnutella.errors import UserError
from gnutella.lab.live import LiveRun, is_running, run_live
from gnutella.lab.scenario import load, parse

pytestmark = pytest.mark.live
SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
STORY = """
live = true
[topology]
kind = "line"
[[node]]
name = "alice"
files = ["hello world.txt"]
[[node]]
name = "bob"
[[node]]
name = "carol"
[[action]]
do = "query"
at_s = 0.1
from = "carol"
text = "hello"
wait_s = 0.8
expect = { hits = 1, hops = 2, messages = 2 }
[[action]]
do = "publish"
at_s = 1.2
node = "bob"
files = ["hello again.txt"]
[[action]]
do = "kill"
at_s = 1.4
node = "alice"
[[action]]
do = "join"
at_s = 1.5
node = "dave"
links = ["carol"]
[[action]]
do = "query"
at_s = 2.0
from = "dave"
text = "hello"
wait_s = 0.8
expect = { hits = 1, hops = 2 }
"""


def test_real_servents_live_a_story_and_leave_nothing_behind(tmp_path: Path) -> None:
    run = LiveRun(parse(STORY), 1, tmp_path)
    with run.nursery:
        outcome = run.play()
        processes = run.nursery.processes()
        assert len(processes) == 5
        assert not is_running(run.nodes["alice"].process)
    assert outcome.failures == []
    assert not any(is_running(process) for process in processes)


def test_servents_end_when_whoever_started_them_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gnutella.lab.live import LiveRun\n"
        "from gnutella.lab.scenario import parse\n"
        "run = LiveRun(parse('[topology]\\nnodes = 2\\nkind = \"line\"'), 1, Path(sys.argv[1]))\n"
        "with run.nursery:\n    run.play(); print(*run.nursery.processes(), flush=True); time.sleep(60)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    processes = [int(word) for word in starter.stdout.readline().split()]
    assert len(processes) == 3
    assert all(is_running(process) for process in processes)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 20.0
    while any(is_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(process) for process in processes)


def test_what_only_virtual_time_can_do_is_refused() -> None:
    scenario = load(SCENARIOS / "churn.toml")
    with pytest.raises(UserError, match="cannot be run with --live"):
        run_live(scenario)
    walking = structs.replace(parse(STORY), strategy="random_walks")
    with pytest.raises(UserError, match="random_walks"):
        run_live(walking)
