"""Chance that is the same everywhere: sources derived from one seed by name, and draws made of nothing but random bits.

Each node, wire and purpose has a source of its own, so that one more node or query does not change the luck of the others.
Weights are whole numbers: a last digit that differs between two mathematical libraries cannot change a run.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import MutableSequence, Sequence
from itertools import accumulate
from random import Random
from typing import TypeVar

T = TypeVar("T")

#: Weight of the most popular rank; the least popular of a million with exponent 1 still weighs 4096.
_WEIGHT_ONE = 1 << 32


def source(seed: int, *names: object) -> Random:
    """A source of chance for one purpose."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def below(rng: Random, bound: int) -> int:
    """A whole number from 0 to `bound` - 1."""
    return int(rng.random() * bound)


def pick(rng: Random, items: Sequence[T]) -> T:
    """One of the items."""
    return items[int(rng.random() * len(items))]


def shuffle(rng: Random, items: MutableSequence[T]) -> None:
    """Put the items in a random order."""
    for last in range(len(items) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        items[last], items[other] = items[other], items[last]


def choose(rng: Random, items: Sequence[T], count: int) -> list[T]:
    """`count` different items in random order; all of them if there are fewer."""
    pool = list(items)
    chosen: list[T] = []
    for taken in range(min(count, len(pool))):
        other = taken + int(rng.random() * (len(pool) - taken))
        pool[taken], pool[other] = pool[other], pool[taken]
        chosen.append(pool[taken])
    return chosen


def halves(rng: Random, groups: Sequence[Sequence[T]], items: Sequence[T]) -> Sequence[Sequence[T]]:
    """Those groups; if there are none, half of the items."""
    return groups or [choose(rng, items, len(items) // 2)]


def between(rng: Random, least: float, most: float) -> float:
    """A number of that range, in whole millionths."""
    return least if most <= least else round(least + (most - least) * rng.random(), 6)


def exponential(rng: Random, mean: float) -> float:
    """A waiting time with that mean, in whole milliseconds, at least one."""
    return max(0.001, round(-mean * math.log(1.0 - rng.random()), 3))


class Zipf:
    """Ranks 0 to `count` - 1, the k-th drawn in proportion to 1 / (k + 1) ** exponent."""

    def __init__(self, count: int, exponent: float) -> None:
        self._sums = list(accumulate(max(1, round(_WEIGHT_ONE / rank**exponent)) for rank in range(1, count + 1)))

    def draw(self, rng: Random) -> int:
        """A rank."""
        return bisect_right(self._sums, int(rng.random() * self._sums[-1]))
