"""A scenario with real servents: up, asked, counted, and gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnutella.errors import UserError
from gnutella.lab.cli import main
from gnutella.lab.live import LiveRun, is_running, run_live
from gnutella.lab.runner import run
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
CHURN = """
live = true
[network]
latency_ms = 1
[topology]
kind = "complete"
nodes = 4
[content]
files = 4
copies = 8
[[action]]
do = "churn"
at_s = 0
mean_up_s = 0.5
mean_down_s = 0.2
share = 0.5
until_s = 1.2
[[action]]
do = "query"
at_s = 0.1
times = 10
every_s = 0.12
wait_s = 0.3
"""


def test_real_servents_live_a_story_and_leave_nothing_behind(tmp_path: Path) -> None:
    story = LiveRun(parse(STORY), 1, tmp_path)
    with story.net:
        outcome = story.play()
        processes = story.net.processes()
        assert len(processes) == 6
        assert not is_running(story.net.nodes["alice"].process)
    assert outcome.failures == []
    assert not any(is_running(process) for process in processes)


def test_they_download_part_change_and_fail_as_virtual_ones_do() -> None:
    scenario = load(SCENARIOS / "live.toml")
    outcome = run_live(scenario)
    assert outcome.failures == []
    assert [row["state"] for row in outcome.downloads] == ["done", "done"]
    assert [row["found"] for row in outcome.rows] == [row["found"] for row in run(scenario).rows]


def test_servents_come_and_go_by_chance() -> None:
    outcome = run_live(parse(CHURN))
    assert outcome.failures == []
    assert outcome.totals["queries"] == 10


def test_servents_end_when_whoever_started_them_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from gnutella.lab.live import LiveRun\n"
        "from gnutella.lab.scenario import parse\n"
        "run = LiveRun(parse('[topology]\\nnodes = 2\\nkind = \"line\"'), 1, Path(sys.argv[1]))\n"
        "with run.net:\n    run.play(); print(*run.net.processes(), flush=True); time.sleep(60)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    processes = [int(word) for word in starter.stdout.readline().split()]
    assert len(processes) == 4
    assert all(is_running(process) for process in processes)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 20.0
    while any(is_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(process) for process in processes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('strategy = "random_walks"\n', "strategy"),
        ('[[action]]\ndo = "query"\nat_s = 1\ntext = "hello"\nttl = 2\n', "action[1].ttl: ttl = 2"),
        ('[[action]]\ndo = "disk"\nat_s = 4\nnode = "n0"\nkib_s = 9\n', "action[1].do: do = 'disk' at 4 s"),
    ],
)
def test_what_only_virtual_time_can_do_is_refused_before_anything_starts(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "refused.toml"
    path.write_text(text + '[topology]\nkind = "line"\nnodes = 2\n')
    with pytest.raises(UserError) as refused:
        main([str(path), "--live"])
    assert told in str(refused.value)
    assert f"{path} line " in str(refused.value)
    assert refused.value.exit_code == 78
