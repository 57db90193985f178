"""Attacks on the relay layer, each against the program's own objects and against a deliberately broken twin of them.

    python benchmarks/anonymity.py                                 all attacks, about ten minutes on one core
    python benchmarks/anonymity.py --adversary A1,A5 --spies 0.2
    python benchmarks/anonymity.py --break vstem                   the twin alone: the attack has to succeed
    python benchmarks/anonymity.py --csv figures.csv

Prints a Markdown table, failures first; exits 1 if a goal was missed.  What each attack is: docs/anonymity.md.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gnutella.testing.anonymity.plan import Plan
from gnutella.testing.anonymity.report import HEAD, Row, table
from gnutella.testing.anonymity.suite import ADVERSARIES, TWINS, run


def seeds(text: str) -> tuple[int, ...]:
    """`0-19`, or `1,5,9`."""
    if "-" in text:
        first, last = text.split("-")
        return tuple(range(int(first), int(last) + 1))
    return tuple(int(part) for part in text.split(","))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adversary", default=",".join(ADVERSARIES), help="attacks, with commas between them")
    parser.add_argument("--nodes", type=int, default=300)
    parser.add_argument("--spies", type=float, default=0.1, help="share of nodes that collude")
    parser.add_argument("--seeds", type=seeds, default=tuple(range(20)), help="one net for each: 0-19, or 1,5,9")
    parser.add_argument("--circuits", type=int, default=350, help="in each net")
    parser.add_argument("--samples", type=int, default=100, help="reactions that are timed of each circuit")
    parser.add_argument("--replays", type=int, default=100_000)
    parser.add_argument("--break", dest="twin", choices=sorted(TWINS), help="attack only this broken twin")
    parser.add_argument("--csv", type=Path, help="write the rows there as well")
    return parser.parse_args(given)


def write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([*HEAD[:3], "low", "high", "goal", "missed", "twin", "broken", "trials"])
        for row in rows:
            low, high = row.interval or ("", "")
            fields = (
                row.adversary,
                row.figure,
                row.value,
                low,
                high,
                row.goal,
                row.is_missed,
                row.twin,
                row.broken,
                row.trials,
            )
            out.writerow(["" if field is None else field for field in fields])


def main() -> int:
    wanted = arguments()
    names = [name for name in wanted.adversary.split(",") if wanted.twin is None or name in TWINS[wanted.twin]]
    plan = Plan(wanted.nodes, wanted.spies, wanted.seeds, wanted.circuits, wanted.samples, wanted.replays)
    if wanted.twin is not None:
        plan = Plan(
            wanted.nodes,
            wanted.spies,
            wanted.seeds,
            wanted.circuits,
            wanted.samples,
            wanted.replays,
            ours=False,
            twins=(wanted.twin,),
        )
    rows: list[Row] = []
    for name in names:
        begun = time.process_time()
        rows += run([name], plan)
        print(f"{name}: {time.process_time() - begun:.0f} s of CPU", file=sys.stderr, flush=True)
    print(f"{wanted.nodes} nodes, {wanted.spies:.0%} spies, seeds {wanted.seeds[0]} to {wanted.seeds[-1]}\n")
    print(table(rows))
    if wanted.csv is not None:
        write(wanted.csv, rows)
    return int(any(row.is_missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
