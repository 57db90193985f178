"""kill -9 at random moments, at either end: the download completes, right, and fetches at most a leaf twice for each kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live import kill9, kill9_daemons

pytestmark = pytest.mark.live

MIB = 1024 * 1024


@pytest.mark.parametrize("seed", [9])
def test_a_download_survives_kills_of_either_end(tmp_path: Path, seed: int) -> None:
    outcome = kill9.run(tmp_path, size=12 * MIB + 4321, kills=6, seed=seed, upload_kib_s=4096, longest_s=1.2)
    assert outcome.is_right and outcome.is_clean and outcome.early == []
    assert sum(outcome.kills.values()) >= 3, "the download ended before it was killed often enough"
    assert 0 <= outcome.surplus <= outcome.bound, outcome


def test_whole_daemons_survive_kills_of_either_end(tmp_path: Path) -> None:
    outcome = kill9_daemons.run(tmp_path, size=12 * MIB + 4321, kills=5, seed=4, upload_kib_s=2048, longest_s=2.0)
    assert outcome.is_right and outcome.is_clean and outcome.early == []
    assert all(outcome.kills.values()), "the download ended before both were killed"
    assert 0 <= outcome.surplus <= outcome.bound, outcome
    assert outcome.faults == []
