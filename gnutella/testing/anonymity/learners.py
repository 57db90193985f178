"""Three ways to learn to tell two kinds of byte strings apart, none of which knows what it looks for.

A likelihood ratio on histograms, a logistic regression, and boosted trees of depth two; each is given the raw bytes of many
samples of both kinds, and scores others.  Positions are first ranked by how much they differ in the samples to learn from, and
the best are used: in a cell of 1,536 bytes, mostly noise, anything else would learn the noise by heart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gnutella.testing.anonymity.stats import Area, area

#: Positions that learners look at, at most.
POSITIONS: Final = 24
ROUNDS, RATE = 24, 0.3
#: What a leaf must hold at least.
LEAF: Final = 20

Sample = Sequence[int]
Score = Callable[[Sample], float]


def ranked(own: Sequence[bytes], other: Sequence[bytes]) -> list[int]:
    """Positions, those first whose bytes differ most between the kinds (chi-square of high and low nibbles)."""

    def surprise(one: Sequence[int], two: Sequence[int]) -> float:
        total = 0.0
        for part in (_HIGH, _LOW):
            a, b = Counter(bytes(one).translate(part)), Counter(bytes(two).translate(part))
            cells = [(a[value], b[value]) for value in a.keys() | b.keys()]
            found = sum((x * len(two) - y * len(one)) ** 2 / (x + y) for x, y in cells) / (len(one) * len(two))
            free = len(cells) - 1
            total = max(total, (found - free) / math.sqrt(2 * free) if free else 0.0)
        return total

    marks = [surprise(one, two) for one, two in zip(zip(*own, strict=True), zip(*other, strict=True), strict=True)]
    return sorted(range(len(marks)), key=lambda place: -marks[place])


_HIGH = bytes(value >> 4 for value in range(256))
_LOW = bytes(value & 15 for value in range(256))


def likelihoods(own: Sequence[Sample], other: Sequence[Sample]) -> Score:
    """The sum over positions of the log ratio of how often half a byte was seen there: few bins, little noise."""
    tables: list[list[float]] = []
    for one, two in zip(zip(*own, strict=True), zip(*other, strict=True), strict=True):
        for part in (_HIGH, _LOW):
            a, b = Counter(bytes(one).translate(part)), Counter(bytes(two).translate(part))
            tables.append(
                [
                    math.log((a[part[value]] + 1) / (len(one) + 16)) - math.log((b[part[value]] + 1) / (len(two) + 16))
                    for value in range(256)
                ]
            )
    return lambda sample: sum(tables[2 * place][v] + tables[2 * place + 1][v] for place, v in enumerate(sample))


def logistic(own: Sequence[Sample], other: Sequence[Sample], steps: int = 30) -> Score:
    """On bytes scaled to -1..1, by gradient descent with a small penalty."""
    rows = [([value / 127.5 - 1 for value in sample], 1.0) for sample in own]
    rows += [([value / 127.5 - 1 for value in sample], 0.0) for sample in other]
    weights, bias, count = [0.0] * len(rows[0][0]), 0.0, len(rows)
    for _ in range(steps):
        slope, tilt = [0.0] * len(weights), 0.0
        for row, kind in rows:
            miss = _sigmoid(bias + sum(map(float.__mul__, weights, row))) - kind
            tilt += miss
            slope = [a + miss * b for a, b in zip(slope, row, strict=True)]
        weights = [w - 4 * (s / count + 1e-4 * w) for w, s in zip(weights, slope, strict=True)]
        bias -= 4 * tilt / count
    return lambda sample: bias + sum(w * (value / 127.5 - 1) for w, value in zip(weights, sample, strict=True))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))


@dataclass(frozen=True, slots=True)
class Split:
    """A node of a tree: up to `bar` goes left; a leaf has no position."""

    place: int | None
    bar: int
    left: Split | None
    right: Split | None
    value: float

    def score(self, sample: Sample) -> float:
        if self.place is None or self.left is None or self.right is None:
            return self.value
        return (self.left if sample[self.place] <= self.bar else self.right).score(sample)


def boosted(own: Sequence[Sample], other: Sequence[Sample]) -> Score:
    """Gradient-boosted trees of depth two with the logistic loss."""
    rows = [(tuple(sample), 1.0) for sample in own] + [(tuple(sample), 0.0) for sample in other]
    scores, trees = [0.0] * len(rows), list[Split]()
    for _ in range(ROUNDS):
        misses = [kind - _sigmoid(score) for (_, kind), score in zip(rows, scores, strict=True)]
        tree = _grow([row for row, _ in rows], misses, 2)
        trees.append(tree)
        scores = [score + tree.score(row) for score, (row, _) in zip(scores, rows, strict=True)]
    return lambda sample: sum(tree.score(sample) for tree in trees)


def _grow(rows: Sequence[Sample], misses: Sequence[float], depth: int) -> Split:
    total, count = sum(misses), len(misses)
    leaf = Split(None, 0, None, None, RATE * 4 * total / (count + 1))
    if not depth or count < 2 * LEAF:
        return leaf
    best, gain = None, total * total / count + 1e-9
    for place in range(len(rows[0])):
        # Sixteen bars for each position are enough to find one that tells.
        sums, counts = [0.0] * 16, [0] * 16
        values = sorted({row[place] for row in rows[:256]})
        bars = values[:: max(1, len(values) // 15)][:15]
        bin_of = _bins(bars)
        for row, miss in zip(rows, misses, strict=True):
            found = bin_of[row[place]]
            sums[found] += miss
            counts[found] += 1
        low, lows = 0.0, 0
        for at, bar in enumerate(bars):
            low += sums[at]
            lows += counts[at]
            if min(lows, count - lows) >= LEAF:
                won = low * low / lows + (total - low) ** 2 / (count - lows)
                if won > gain:
                    best, gain = (place, bar), won
    if best is None:
        return leaf
    place, bar = best
    sides = [[at for at in range(count) if (rows[at][place] <= bar) is left] for left in (True, False)]
    left, right = (_grow([rows[at] for at in side], [misses[at] for at in side], depth - 1) for side in sides)
    return Split(place, bar, left, right, 0.0)


def _bins(bars: Sequence[int]) -> list[int]:
    found, at = [], 0
    for value in range(256):
        while at < len(bars) and value > bars[at]:
            at += 1
        found.append(at)
    return found


LEARNERS: Final = {"likelihood ratio": likelihoods, "logistic regression": logistic, "boosted trees": boosted}


def best_area(own: Sequence[bytes], other: Sequence[bytes]) -> tuple[str, Area]:
    """Learn from the first half of each kind, score the second; the best of the learners, and how well it tells them apart."""
    halves = [(kind[: len(kind) // 2], kind[len(kind) // 2 :]) for kind in (own, other)]
    (own_train, own_test), (other_train, other_test) = halves
    places = ranked(own_train, other_train)[:POSITIONS]

    def cut(samples: Sequence[bytes]) -> list[Sample]:
        return [[sample[place] for place in places] for sample in samples]

    found: dict[str, Area] = {}
    for name, learn in LEARNERS.items():
        score = learn(cut(own_train), cut(other_train))
        found[name] = area([score(sample) for sample in cut(own_test)], [score(sample) for sample in cut(other_test)])
    name = max(found, key=lambda learner: abs(found[learner].value - 0.5))
    return name, found[name]
