"""A scenario with real servents: up, asked, counted, and gone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnutella.errors import UserError
from gnutella.lab.cli import main
from gnutella.lab.live import LiveRun
from gnutella.lab.runner import run
from gnutella.lab.scenario import load
from gnutella.testing.machine import is_running

pytestmark = pytest.mark.live
SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
ALONE = """
import sys, time
from gnutella.lab.overlay import Overlay

async def brief():
    async with Overlay(["alice"], topology="explicit", live=True) as net:
        assert net["alice"].peers == []
        print(*net.play.net.processes(), flush=True)
        time.sleep(60)

brief().send(None)
"""


def test_they_download_part_change_and_fail_as_virtual_ones_do_and_leave_nothing_behind(tmp_path: Path) -> None:
    scenario = load(SCENARIOS / "live.toml")
    lived = LiveRun(scenario, scenario.seed, tmp_path)
    with lived.net:
        outcome = lived.play()
        processes = lived.net.processes()
        assert len(processes) == 8
        assert not is_running(lived.net.nodes["erin"].process)
    assert outcome.failures == []
    assert [row["state"] for row in outcome.downloads] == ["done", "done"]
    assert [row["found"] for row in outcome.rows] == [row["found"] for row in run(scenario).rows]
    assert not any(is_running(process) for process in processes)


def test_servents_end_when_whoever_started_them_is_killed_also_without_an_event_loop() -> None:
    starter = subprocess.Popen([sys.executable, "-c", ALONE], stdout=subprocess.PIPE, text=True)
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('strategy = "random_walks"\n', "strategy"),
        ("[links]\nkept = true\n", "links.kept"),
        (
            '[routing]\nmax_ttl = 3\n[[action]]\ndo = "query"\nat_s = 1\ntext = "hello"\nttl = 4\n',
            "action[1].ttl: ttl = 4",
        ),
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
