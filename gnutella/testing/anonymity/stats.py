"""What the attacks are measured with: intervals, areas, entropies, and the gain over guessing."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

Z95 = 1.959964
#: Bins of a histogram, and samples of the rarer kind that make one.
MAX_BINS, IN_BIN = 16, 12


class Share(NamedTuple):
    """So many of so many, with Wilson's 95 % interval."""

    hits: int
    trials: int

    @property
    def value(self) -> float:
        return self.hits / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """(0, 1) if nothing was tried."""
        if not self.trials:
            return 0.0, 1.0
        n, p = self.trials, self.value
        middle = p + Z95 * Z95 / (2 * n)
        spread = Z95 * math.sqrt(p * (1 - p) / n + Z95 * Z95 / (4 * n * n))
        scale = 1 + Z95 * Z95 / n
        return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)

    def sigma(self, expected: float) -> float:
        """Standard deviation of the share if each trial hits with that chance."""
        return math.sqrt(expected * (1 - expected) / self.trials) if self.trials else 1.0


def share(outcomes: Iterable[bool]) -> Share:
    found = list(outcomes)
    return Share(sum(found), len(found))


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan


def entropy(posterior: Iterable[float]) -> float:
    """Bits."""
    return -sum(p * math.log2(p) for p in posterior if p > 0)


class Area(NamedTuple):
    """Area under the curve, and its standard deviation if the two kinds do not differ."""

    value: float
    sigma: float

    @property
    def interval(self) -> tuple[float, float]:
        return self.value - Z95 * self.sigma, self.value + Z95 * self.sigma


def area(own: Sequence[float], other: Sequence[float]) -> Area:
    """Chance that an own sample scores above another one, ties counting half (Mann-Whitney)."""
    marked = sorted([(score, True) for score in own] + [(score, False) for score in other])
    rank, ranks = 0, 0.0
    for _, group in groupby(marked, key=lambda pair: pair[0]):
        kinds = [kind for _, kind in group]
        ranks += sum(kinds) * (rank + (len(kinds) + 1) / 2)
        rank += len(kinds)
    n, m = len(own), len(other)
    return Area((ranks - n * (n + 1) / 2) / (n * m), math.sqrt((n + m + 1) / (12 * n * m)))


class Guess(NamedTuple):
    """The best guess between own and other, if so many are own: how often it is right, and is sure that one is own.

    `sigma` is the standard deviation of `accuracy`.
    """

    accuracy: float
    sigma: float
    prior: float
    sure: float
    area: Area

    @property
    def blind(self) -> float:
        """How often a guess is right that does not look."""
        return max(self.prior, 1 - self.prior)

    @property
    def gain(self) -> float:
        return self.accuracy - self.blind

    @property
    def interval(self) -> tuple[float, float]:
        return self.accuracy - Z95 * self.sigma, self.accuracy + Z95 * self.sigma


class Histogram:
    """Likelihoods of one number under two kinds, learnt from samples in bins of equal counts."""

    def __init__(self, own: Sequence[float], other: Sequence[float]) -> None:
        # Few samples in many bins are noise, and whoever believes it guesses worse than blindly.
        bins = max(2, min(MAX_BINS, min(len(own), len(other)) // IN_BIN))
        joined = sorted([*own, *other])
        self._edges = sorted({joined[len(joined) * place // bins] for place in range(1, bins)})
        self._logs = self._ratios(own, other)

    def _ratios(self, own: Sequence[float], other: Sequence[float]) -> list[float]:
        bins = len(self._edges) + 1
        counts = [Counter(self._bin(value) for value in kind) for kind in (own, other)]
        return [
            math.log((counts[0][place] + 1) / (len(own) + bins))
            - math.log((counts[1][place] + 1) / (len(other) + bins))
            for place in range(bins)
        ]

    def _bin(self, value: float) -> int:
        return bisect_left(self._edges, value)

    def log_ratio(self, value: float) -> float:
        """Log of how much likelier the value is for an own sample."""
        return self._logs[self._bin(value)]


def guess(
    train: Sequence[tuple[float, bool]], test: Sequence[tuple[float, bool]], prior: float, sure: float = 0.9
) -> Guess:
    """Learn from (number, is own) and guess others; `prior` is the share of own ones where the guess is used."""

    def split(samples: Sequence[tuple[float, bool]]) -> tuple[list[float], list[float]]:
        return [value for value, kind in samples if kind], [value for value, kind in samples if not kind]

    learnt, odds = Histogram(*split(train)), math.log(prior / (1 - prior))
    own, other = ([learnt.log_ratio(value) + odds for value in kind] for kind in split(test))
    found = share(score > 0 for score in own)
    cleared = share(score <= 0 for score in other)
    bar = math.log(sure / (1 - sure))
    sure_own, sure_other = share(score > bar for score in own), share(score > bar for score in other)
    return Guess(
        prior * found.value + (1 - prior) * cleared.value,
        math.hypot(prior * found.sigma(found.value), (1 - prior) * cleared.sigma(cleared.value)),
        prior,
        prior * sure_own.value + (1 - prior) * sure_other.value,
        area(own, other),
    )
