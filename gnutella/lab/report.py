"""What people and programs read of a run: a table on the terminal, JSON, CSV.  plots.py makes the page with pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from gnutella.control.render import Table
from gnutella.control.table import Column
from gnutella.lab import census
from gnutella.lab.outcome import Outcome

#: A row for each question; the first six are the product's promise.
COLUMNS = (
    Column("query", flexible=True, meaning="words or URN that were asked for"),
    Column("found", "number", meaning="different files at different nodes that came back as hits"),
    Column("expected", "number", meaning="how many there were at running nodes when it was asked"),
    Column("messages", "number", meaning="copies of the query that were sent over links"),
    Column("first_hit_ms", "number", "first hit ms", meaning="milliseconds to the first hit; null without one"),
    Column("hops", "number", meaning="hops of the nearest hit; null without one"),
    Column("from", flexible=True, meaning="the node that asked"),
    Column("recall", "number", meaning="found of expected, 0 to 1; 1 when there was nothing"),
    Column("hit_messages", "number", "hit messages", meaning="copies of its hits that were sent over links"),
    Column("reached", "number", meaning="nodes that the query came to"),
    Column("asked_s", "number", "asked at s", in_table=False, meaning="when, in seconds from the start"),
)
#: A row for each download of a scenario.
DOWNLOAD_COLUMNS = (
    Column("download", flexible=True, meaning="name of the file"),
    Column("by", meaning="the node that downloads"),
    Column("state", meaning="done or failed"),
    Column("size", "size", meaning="bytes"),
    Column("sources", "number", meaning="nodes that sent some of it"),
    Column("seconds", "number", meaning="how long it took"),
    Column("error", flexible=True, default="", meaning="why it failed"),
)
#: A row for each strategy.
COMPARISON = (
    Column("strategy", meaning="see the strategies"),
    Column("recall", "number", meaning="found of what there was, mean of all queries"),
    Column("answered", "number", meaning="queries with a hit at all, in per cent"),
    Column("messages", "number", meaning="copies of a query, mean"),
    Column("hit_messages", "number", "of hits", meaning="copies of its hits, mean"),
    Column("p50_ms", "number", "p50 ms", meaning="time to the first hit, median of the answered ones"),
    Column("p90_ms", "number", "p90 ms", meaning="the same, 90th percentile"),
    Column("load_mean", "number", "load mean", in_table=False, meaning="messages that came to a node, mean"),
    Column("load_max", "number", "load max", meaning="messages that came to the busiest node"),
    Column("load_gini", "number", "load Gini", meaning="how unevenly load lies: 0 even, 1 all on one node"),
)
#: A row for each way and sort of file of a comparison among ultrapeers and leaves.
TIERS = (
    Column(
        "files",
        meaning="popular: the first way finds 300 and more; enough: 150 and more; rare: fewer than 20; between: 20 to 299; "
        "or all of them",
    ),
    Column("strategy", meaning="see the strategies; with the TTL that its queries have"),
    Column("queries", "number", "n", meaning="questions of that sort"),
    Column("found", "number", meaning="different files at different nodes, mean"),
    Column("of_flood", "number", "of it %", meaning="the same in per cent of what the first way found"),
    Column(
        "enough", "number", "enough %", meaning="questions that found 150, or all that the first way found, in per cent"
    ),
    Column("recall", "number", in_table=False, meaning="found of what there was, mean"),
    Column("messages", "number", meaning="copies of a query over all links, those to leaves too, mean"),
    Column("cost", "number", "cost %", meaning="the same in per cent of the first way's"),
    Column("p50_ms", "number", "p50 ms", meaning="time to the first hit, median of the answered ones"),
    Column("p90_ms", "number", "p90 ms", meaning="the same, 90th percentile"),
    Column("p99_ms", "number", "p99 ms", meaning="the same, 99th percentile"),
    Column("hit_messages", "number", "of hits", meaning="copies of its hits, mean"),
)
#: Rows of questions that a table shows; JSON and CSV have all.
MAX_SHOWN = 40


def table(columns: Sequence[Column], rows: Iterable[dict[str, Any]], width: int) -> list[str]:
    """Lines of a table fitted to that width."""
    made = Table(columns, width)
    lines: list[str] = []
    for row in rows:
        lines += made.add({key: _short(value) for key, value in row.items()})
    return lines + made.flush()


def _short(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def text(outcome: Outcome, width: int = 80) -> str:
    """The report for a terminal."""
    scenario, totals = outcome.scenario, outcome.totals
    lines = [
        f"{scenario.name or 'scenario'}: {totals['nodes']} nodes, {totals['virtual_s']:g} s, seed {outcome.seed}",
        "",
    ]
    lines += table(COLUMNS, outcome.rows[:MAX_SHOWN], width)
    if len(outcome.rows) > MAX_SHOWN:
        lines.append(f"... and {len(outcome.rows) - MAX_SHOWN} more queries")
    if outcome.downloads:
        lines += ["", *table(DOWNLOAD_COLUMNS, outcome.downloads, width)]
    if outcome.censuses:
        lines += ["", *table(census.COLUMNS, outcome.censuses, width)]
    lines += ["", *summary(totals), "", f"trace {outcome.trace}"]
    lines += ["", *(f"FAILED {line}" for line in outcome.failures)] if outcome.failures else ["", "all as expected"]
    return "\n".join(lines) + "\n"


def summary(totals: dict[str, Any]) -> list[str]:
    """The totals in a few lines."""
    lines = []
    if totals["queries"]:
        spread = "  ".join(f"{name} {value:g} ms" for name, value in totals["latency_ms"].items() if value is not None)
        lines.append(
            f"answered {totals['answered']} of {totals['queries']}   recall {totals['recall']:.3f}   {spread}".rstrip()
        )
        lines.append(
            f"messages a query {totals['messages_per_query']:.1f}, of hits {totals['hit_messages_per_query']:.1f}   "
            f"load mean {totals['load_mean']:.1f}, most {totals['load_max']}, Gini {totals['load_gini']:.3f}"
        )
    lines.append("received  " + "  ".join(f"{name} {count}" for name, count in totals["messages_by_kind"].items()))
    lines.append("dropped   " + ("  ".join(f"{name} {count}" for name, count in totals["drops"].items()) or "nothing"))
    return lines


def json_lines(outcome: Outcome) -> str:
    """One object a line: a row for each query, then one for each download, then the totals."""
    last = {
        "scenario": outcome.scenario.name,
        "seed": outcome.seed,
        "ok": outcome.is_success,
        "failures": outcome.failures,
        "trace": outcome.trace,
        **outcome.totals,
    }
    return "".join(json.dumps(row) + "\n" for row in (*outcome.rows, *outcome.downloads, *outcome.censuses, last))


def csv_text(columns: Sequence[Column], rows: Iterable[dict[str, Any]]) -> str:
    """Comma-separated rows with a heading, for spreadsheets."""
    target = io.StringIO()
    writer = csv.DictWriter(target, [column.key for column in columns], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()
