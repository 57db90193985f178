"""A5 as rows of figures: each reaction, timed once and many times, against the program and against its broken twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from anonymizer.channel import MAX_REOPENS
from gnutella.testing.anonymity import answering, requests, timing
from gnutella.testing.anonymity.plan import Plan
from gnutella.testing.anonymity.report import Goal, Row

#: Circuits that are timed in each net: more would be of the same few edges.
TIMED: Final = 25


@dataclass(frozen=True, slots=True)
class Timing:
    """One reaction: what it is called, how often it is timed of one circuit at most, by what, and its broken twin."""

    name: str
    samples: int
    measure: Callable[..., list[timing.Timed]] = timing.measure
    twin: str = "vstem"
    broken: timing.Origins | None = timing.Origins.VIRTUAL_STEM


#: Large cells go up some seconds after they are asked for; a request replaces so many lost circuits and no more; a circuit ends
#: once; a large file is one once.  Without a reaction, or without credit, there is nothing to be broken but the clock.
REACTIONS: Final = {
    timing.Reaction.CELL: Timing("a cell", 100),
    timing.Reaction.LARGE: Timing("a large cell", 20),
    timing.Reaction.END: Timing("the end", 1),
    timing.Reaction.CREDIT: Timing("credit", 3, twin="credit", broken=timing.Origins.CREDIT),
    timing.Reaction.WINDOWS: Timing("four windows credited", 1, twin="credit", broken=timing.Origins.CREDIT),
    timing.Reaction.BLOCK: Timing(f"cells after {timing.BLOCK_S:.0f} s without credit", 1, twin="", broken=None),
    timing.Reaction.BLOCK_PUT: Timing(
        f"blocks of a put after {timing.BLOCK_PUT_S:.0f} s without credit", 1, twin="", broken=None
    ),
    timing.Reaction.REOPEN: Timing("another circuit", MAX_REOPENS, requests.measure, "reopen", timing.Origins.AT_ONCE),
    timing.Reaction.LANES: Timing("more circuits", 1, requests.measure, "lanes", timing.Origins.AT_ONCE),
    timing.Reaction.POST: Timing("an answer to a search", 6, answering.measure, "answer", timing.Origins.AT_ONCE),
    timing.Reaction.NONE: Timing("gaps between cells", 200, twin="", broken=None),
}


def a5(plan: Plan) -> list[Row]:
    """Response timing, one sample and many."""
    return [row for reaction in REACTIONS for row in _a5(plan, reaction)]


def _sides(
    plan: Plan, reaction: timing.Reaction, kind: timing.Origins, samples: int, nets: int
) -> tuple[list[timing.Timed], list[timing.Timed]]:
    """Circuits to learn from, and those to be guessed."""
    sides: tuple[list[timing.Timed], list[timing.Timed]] = ([], [])
    for seed in range(plan.seeds[0], plan.seeds[0] + nets):
        measure = REACTIONS[reaction].measure
        sides[seed % 2].extend(measure(plan.nodes, plan.spies, TIMED, samples, seed, reaction, kind))
    return sides


def _a5(plan: Plan, reaction: timing.Reaction) -> list[Row]:
    how = REACTIONS[reaction]
    samples, nets = min(how.samples, plan.samples), 3 * len(plan.seeds)
    ours = _sides(plan, reaction, timing.Origins.CLOCK, samples, nets) if plan.ours else None
    has_twin = how.broken is not None and plan.has(how.twin)
    twin = _sides(plan, reaction, how.broken, samples, max(2, nets // 5)) if how.broken and has_twin else None
    rows = []
    for count in (samples,) if reaction is timing.Reaction.NONE else sorted({1, samples}):
        here = timing.judge_all(*ours, count) if ours else None
        there = timing.judge_all(*twin, count) if twin else None
        of = f"{how.name}, {count} sample{'s' * (count > 1)}"
        trials = len(ours[0]) + len(ours[1]) if ours else 0
        rows += [
            Row(
                "A5",
                f"gain over guessing ({timing.BLIND:.3f}), {of}",
                here.gain if here else None,
                (here.interval[0] - here.blind, here.interval[1] - here.blind) if here else None,
                Goal(0.03),
                how.twin,
                there.gain if there else None,
                trials,
            ),
            Row(
                "A5",
                f"share with posterior > .9, {of}",
                here.sure if here else None,
                None,
                Goal(0.01),
                how.twin,
                there.sure if there else None,
                trials,
            ),
        ]
    return rows
