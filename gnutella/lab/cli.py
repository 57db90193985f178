"""`gnutella lab`: run a scenario, compare ways to search, follow one query, let chance write scenarios.

    gnutella lab FILE.toml [--live] [--seed N] [--json] [--csv FILE] [--html FILE] [--events FILE]
    gnutella lab compare [FILE.toml] [--strategies A,B] [--nodes N] [--queries N] [--csv FILE] [--html FILE]
    gnutella lab compare --superpeers [--nodes N] [--queries N] [--csv FILE] [--html FILE]
    gnutella lab trace FILE.toml [--query N]
    gnutella lab fuzz [--minutes M] [--seed N] [--save DIR]
    gnutella lab schema

Exit codes: 0, 1 when an expectation failed, 64 usage, 78 for a scenario that cannot be read.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gnutella.errors import UserError
from gnutella.lab import report
from gnutella.lab.scenario import load, schema

_USAGE = "gnutella lab FILE.toml [--live] [--seed N] | compare | trace FILE | fuzz | schema"


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"lab: {message}", f"usage: {_USAGE}")


#: Nodes of a network that strategies are compared on: each has six neighbours; and what fits in memory.
MIN_COMPARED, MAX_COMPARED = 10, 100_000


def _number(least: int, most: int) -> Callable[[str], int]:
    """An argument that is a whole number in these bounds."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return number


def _minutes(text: str) -> float:
    """An argument that is a length of time, a week at most."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0.0 < minutes <= 10_080.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes, above 0 and a week at most")
    return minutes


def main(argv: Sequence[str]) -> int:
    """Run one command of the lab; the exit code.  Raises UserError."""
    words = list(argv)
    verbs: dict[str, Callable[[list[str]], int]] = {
        "compare": compare_command,
        "trace": trace_command,
        "fuzz": fuzz_command,
        "schema": schema_command,
    }
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    verb = verbs.get(words[0])
    if verb is None and words[0].isalpha() and not Path(words[0]).exists():
        raise UserError(f"lab: {words[0]!r} is no command and no file", f"there are FILE.toml, {', '.join(verbs)}")
    return run_command(words) if verb is None else verb(words[1:])


def run_command(words: list[str]) -> int:
    """A scenario in virtual time, or with real processes."""
    parser = _parser("FILE.toml")
    parser.add_argument("file")
    parser.add_argument("--live", action="store_true", help="real servents as processes on loopback ports")
    parser.add_argument("--html", metavar="FILE", help="also write a page with plots (needs the extra `lab`)")
    parser.add_argument("--events", metavar="FILE", help="also write every event but arrivals, one JSON object a line")
    given = parser.parse_args(words)
    if given.live and (given.html or given.events):
        option = "--html" if given.html else "--events"
        raise UserError(f"lab: {option} needs virtual time", "leave out --live; --json and --csv work with it")
    scenario = load(given.file)
    if given.live:
        from gnutella.lab.live import run_live

        outcome = run_live(scenario, given.seed, given.file)
    else:
        from gnutella.lab.runner import build

        run = build(scenario, given.seed, keeps_events=bool(given.events))
        outcome = run.finish()
        if given.events:
            _write(given.events, "".join(json.dumps(event.row()) + "\n" for event in run.net.record.events))
        if given.html:
            from gnutella.lab.plots import run_page

            _write(given.html, run_page(run, outcome))
    _out(report.json_lines(outcome) if given.json else report.text(outcome, _width()))
    if given.csv:
        _write(given.csv, report.csv_text(report.COLUMNS, outcome.rows))
    return 0 if outcome.is_success else 1


def compare_command(words: list[str]) -> int:
    """One network, several strategies."""
    from gnutella.lab.compare import compare, standard
    from gnutella.lab.ways import FLAT, STRATEGIES, maker_of

    parser = _parser("compare")
    parser.add_argument("file", nargs="?")
    parser.add_argument("--strategies", default=",".join(FLAT), metavar="A,B")
    parser.add_argument("--nodes", type=_number(MIN_COMPARED, MAX_COMPARED), default=1000)
    parser.add_argument("--queries", type=_number(1, MAX_COMPARED))
    parser.add_argument("--superpeers", action="store_true", help="in a network of ultrapeers and leaves")
    parser.add_argument("--topology", choices=("random_regular", "power_law", "small_world"), default="random_regular")
    parser.add_argument("--html", metavar="FILE")
    given = parser.parse_args(words)
    if given.superpeers:
        return _compare_tiers(given)
    names = given.strategies.split(",")
    for name in names:
        if maker_of(name) is None:
            raise UserError(f"strategy {name!r} is unknown", f"there are {', '.join(STRATEGIES)}")
    if given.file:
        scenario = load(given.file)
    else:
        scenario = standard(given.nodes, given.queries or 200, given.topology)
    rows = compare(scenario, names, given.seed)
    if given.json:
        _out("".join(json.dumps(row) + "\n" for row in rows))
    else:
        _out("\n".join(report.table(report.COMPARISON, rows, _width())) + "\n")
    if given.csv:
        _write(given.csv, report.csv_text(report.COMPARISON, rows))
    if given.html:
        from gnutella.lab.plots import compare_page

        _write(given.html, compare_page(scenario, rows))
    failures = [line for row in rows for line in row["failures"]]
    for line in failures:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if failures else 0


def _compare_tiers(given: argparse.Namespace) -> int:
    """One network of ultrapeers and leaves, several ways."""
    from gnutella.lab.tiers import QUERIES, compare_tiers, tiers

    if given.file:
        raise UserError("--superpeers makes its own network", "leave the file out")
    scenario = tiers(given.nodes, given.queries or QUERIES)
    rows = compare_tiers(scenario, seed=given.seed)
    _print_rows(report.TIERS, rows, given)
    if given.html:
        from gnutella.lab.plots import tiers_page

        _write(given.html, tiers_page(scenario, rows))
    failures = [line for row in rows for line in row["failures"]]
    for line in failures:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if failures else 0


def trace_command(words: list[str]) -> int:
    """One query's life through every node."""
    from gnutella.lab.telling import COLUMNS, tell

    parser = _parser("trace")
    parser.add_argument("file")
    parser.add_argument("--query", type=int, default=1, metavar="N", help="which question of the scenario, from 1")
    given = parser.parse_args(words)
    rows = tell(load(given.file), given.query, given.seed)
    _print_rows(COLUMNS, rows, given)
    return 0 if rows else 1


def fuzz_command(words: list[str]) -> int:
    """Scenarios by chance, under the invariants."""
    from gnutella.lab.fuzz import fuzz

    parser = _parser("fuzz")
    parser.add_argument("--minutes", type=_minutes, default=1.0)
    parser.add_argument("--save", metavar="DIR", default=".", help="where a scenario that fails is written")
    given = parser.parse_args(words)
    try:
        Path(given.save).mkdir(parents=True, exist_ok=True)
    except OSError as error:  # now, not when an hour has found something
        raise UserError(
            f"lab: --save {given.save}: {error.strerror}", "name a folder that can be written to"
        ) from error
    found = fuzz(given.minutes * 60.0, given.seed or 1, Path(given.save), lambda line: print(line, flush=True))
    return 1 if found else 0


def schema_command(words: list[str]) -> int:
    """The JSON schema of scenario files."""
    _parser("schema").parse_args(words)
    _out(json.dumps(schema(), indent=2) + "\n")
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"gnutella lab {verb}")
    parser.add_argument("--seed", type=int, help="instead of the scenario's own")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--csv", metavar="FILE", help="also write the rows there")
    return parser


def _print_rows(columns: Sequence[Any], rows: list[dict[str, Any]], given: argparse.Namespace) -> None:
    if given.json:
        _out("".join(json.dumps(row) + "\n" for row in rows))
    else:
        _out("\n".join(report.table(columns, rows, _width())) + "\n")
    if given.csv:
        _write(given.csv, report.csv_text(columns, rows))


def _width() -> int:
    return shutil.get_terminal_size().columns


def _out(text: str) -> None:
    sys.stdout.write(text)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", "give another file", 73) from None
