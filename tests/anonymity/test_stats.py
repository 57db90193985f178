"""The measures themselves: known values, and learners that find what is planted and nothing else."""

from __future__ import annotations

import math
import random

import pytest

from gnutella.testing.anonymity.learners import LEARNERS, best_area
from gnutella.testing.anonymity.report import Goal, Row, table
from gnutella.testing.anonymity.stats import Share, area, entropy, guess


def test_wilsons_interval_has_its_known_values() -> None:
    low, high = Share(32, 100).interval
    assert low == pytest.approx(0.2367, abs=1e-3)
    assert high == pytest.approx(0.4166, abs=1e-3)
    assert Share(0, 10).interval[0] == 0
    assert Share(0, 0).interval == (0, 1)


def test_the_area_counts_ties_half() -> None:
    assert area([2, 3], [0, 1]).value == 1
    assert area([0, 1], [2, 3]).value == 0
    assert area([1, 1, 1], [1, 1]).value == 0.5
    assert area([1, 2], [1, 0]).value == pytest.approx(0.875)


def test_entropy_is_in_bits() -> None:
    assert entropy([0.25] * 4) == 2
    assert entropy([1.0, 0.0]) == 0


def test_a_guess_gains_what_can_be_known() -> None:
    rng = random.Random(1)

    def samples(shift: float) -> list[tuple[float, bool]]:
        return [(rng.gauss(shift * kind, 1), bool(kind)) for kind in (0, 1) for _ in range(3000)]

    nothing = guess(samples(0), samples(0), prior=0.325)
    assert abs(nothing.gain) < 0.02
    assert nothing.sure == 0
    # Two normal laws four sigma apart are told apart but for a fiftieth.
    much = guess(samples(4), samples(4), prior=0.325)
    assert 0.27 < much.gain < 0.325
    assert much.blind == 0.675


def noise(rng: random.Random, count: int, planted: float | None = None, kind: int = 0) -> list[bytes]:
    """Cells of noise; in `planted` of them one bit in the middle says of which kind they are."""
    made = []
    for _ in range(count):
        cell = bytearray(rng.randbytes(300))
        if planted is not None and rng.random() < planted:
            cell[150] = cell[150] & ~1 | kind
        made.append(bytes(cell))
    return made


def test_learners_find_a_bit_in_noise_and_nothing_where_there_is_nothing() -> None:
    rng = random.Random(3)
    _, found = best_area(noise(rng, 500), noise(rng, 500))
    # The largest of three.
    assert abs(found.value - 0.5) < 4 * found.sigma
    _, found = best_area(noise(rng, 500, 0.8, 1), noise(rng, 500, 0.8, 0))
    assert found.value > 0.7


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_each_learner_alone_tells_bytes_apart(name: str) -> None:
    rng = random.Random(4)
    own, other = (
        [[rng.randrange(256), rng.randrange(30 * kind, 226 + 30 * kind)] for _ in range(400)] for kind in (1, 0)
    )
    score = LEARNERS[name](own[:200], other[:200])
    found = area([score(sample) for sample in own[200:]], [score(sample) for sample in other[200:]])
    assert 0.55 < found.value < 0.8


def test_the_table_shows_failures_first() -> None:
    rows = [
        Row("A1", "good", 0.3, (0.2, 0.4), Goal(0.35), "hops", 0.9, 7_000),
        Row("A5", "bad", 0.09, None, Goal(0.03)),
        Row("A3", "no goal", 0.5),
    ]
    lines = table(rows).splitlines()
    assert "**MISSED**" in lines[2]
    assert "| A1 | good | 0.300 | 0.200 to 0.400 | <= 0.350 | met | hops: 0.900 | 7,000 |" in lines
    assert not Goal(0.52, 0.48).is_met(0.47)
    assert not Goal(0.52, 0.48).is_met(math.nan)
    assert str(Goal(0)) == "0"
