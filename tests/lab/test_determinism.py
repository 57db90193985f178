"""One seed gives one trace: twice in one process, under other hash seeds, and under other Pythons that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from gnutella.lab.compare import standard
from gnutella.lab.runner import run
from gnutella.lab.scenario import load

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "tests" / "scenarios" / "churn.toml"
_CODE = """
import sys
from gnutella.lab.runner import run
from gnutella.lab.scenario import load
print(run(load(sys.argv[1])).trace)
"""
#: Those that are found are tried; GNUTELLA_TEST_PYTHON names one more, where the others lack the dependencies.
OTHER_PYTHONS = ("python3.12", "python3.13", "python3.14", os.environ.get("GNUTELLA_TEST_PYTHON", ""))


def trace_in(python: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-c", _CODE, str(SCENARIO)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_runs_are_the_same_and_another_seed_is_not() -> None:
    scenario = load(SCENARIO)
    first, second = run(scenario), run(scenario)
    assert first.trace == second.trace
    assert first.rows == second.rows
    assert run(scenario, seed=scenario.seed + 1).trace != first.trace


def test_the_trace_does_not_depend_on_the_hash_seed() -> None:
    assert trace_in(sys.executable, "1") == trace_in(sys.executable, "4242") == run(load(SCENARIO)).trace


@pytest.mark.parametrize("python", OTHER_PYTHONS)
def test_other_pythons_give_the_same_trace(python: str) -> None:
    found = shutil.which(python) if python else None
    if (
        found is None
        or subprocess.run([found, "-c", "import msgspec, zope"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{python or 'GNUTELLA_TEST_PYTHON'} is not here, or lacks what the servent needs")
    assert trace_in(found, "7") == run(load(SCENARIO)).trace


def test_walks_are_as_repeatable_as_floods() -> None:
    scenario = structs.replace(standard(nodes=30, queries=5), strategy="random_walks_one_hop")
    assert run(scenario).trace == run(scenario).trace
