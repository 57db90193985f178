"""`pytest --gnutella-live` in a user's own project: marked scenarios run with real servents too, and fail readably."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.test_plugin import GOOD, run_pytest

pytestmark = pytest.mark.live
#: One of them comes and goes; all share everything.
CHURN = """
live = true
seed = 2
[network]
latency_ms = 1
[topology]
kind = "complete"
nodes = 3
[content]
files = 2
copies = 6
[[action]]
do = "churn"
at_s = 0
mean_up_s = 0.4
mean_down_s = 0.2
share = 0.34
until_s = 1.0
[[action]]
do = "query"
from = "*"
at_s = 0.1
times = 8
every_s = 0.12
wait_s = 0.3
on_average = { hits = { min = 0.5 } }
"""


def test_marked_scenarios_run_live_the_others_do_not_and_a_refusal_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\n[tool.pytest.ini_options]\n')
    place = tmp_path / "scenarios"
    place.mkdir()
    (place / "marked.toml").write_text(CHURN)
    (place / "plain.toml").write_text(GOOD.format(hits=0))
    (place / "never.toml").write_text('live = true\nstrategy = "random_walks"\n' + GOOD.format(hits=0))
    done = run_pytest(tmp_path, "--gnutella-live", "-v")
    assert "marked.toml::live PASSED" in done.stdout
    assert "plain.toml::virtual PASSED" in done.stdout and "plain.toml::live" not in done.stdout
    assert "never.toml::live FAILED" in done.stdout
    assert "never.toml line 2: this scenario cannot be run with --live: strategy" in done.stdout
    assert "Traceback" not in done.stdout and "UserError" not in done.stdout
