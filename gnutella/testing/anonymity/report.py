"""What the attack bench prints: a row for each figure, with its goal and with what the broken twin comes to, failures first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure is to be at most, or at least, so much; or both."""

    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, value: float) -> bool:
        if math.isnan(value):
            return False
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        if self.at_most is not None and self.at_least is not None:
            return f"{number(self.at_least)} to {number(self.at_most)}"
        if self.at_most is not None:
            return "0" if self.at_most == 0 else f"<= {number(self.at_most)}"
        return "" if self.at_least is None else f">= {number(self.at_least)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one attack.  `twin` names the broken twin and `broken` is the same figure there."""

    adversary: str
    figure: str
    value: float | None
    interval: tuple[float, float] | None = None
    goal: Goal | None = None
    twin: str = ""
    broken: float | None = None
    trials: int = 0

    @property
    def is_missed(self) -> bool:
        return self.goal is not None and self.value is not None and not self.goal.is_met(self.value)


def number(value: float | None) -> str:
    """Three digits after the point, fewer where they say nothing."""
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.3f}"


HEAD = ("attack", "figure", "here", "95 % interval", "goal", "", "broken twin", "trials")


def table(rows: Iterable[Row]) -> str:
    """A Markdown table, what misses its goal first."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for row in sorted(rows, key=lambda row: not row.is_missed):
        interval = "" if row.interval is None else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"
        verdict = "" if row.goal is None or row.value is None else "**MISSED**" if row.is_missed else "met"
        twin = f"{row.twin}: {number(row.broken)}" if row.broken is not None else row.twin
        cells = (
            row.adversary,
            row.figure,
            number(row.value),
            interval,
            str(row.goal or ""),
            verdict,
            twin,
            f"{row.trials:,}" if row.trials else "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
