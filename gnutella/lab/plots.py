"""A page with pictures of a run or a comparison: one HTML file, plots as SVG within it; needs the extra `lab` (matplotlib)."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gnutella.control.table import Column
from gnutella.errors import UserError
from gnutella.lab import report
from gnutella.lab.outcome import Outcome, load_by_node
from gnutella.lab.runner import Run
from gnutella.lab.scenario import Scenario
from gnutella.lab.spread import MAX_NAMED, SCRIPT, STYLE, nearest, rings, spread

#: A drawn overlay with more nodes is a grey disc, and a page of many megabytes.
MAX_DRAWN = 2000
_STYLE = (
    "body{font:15px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "td,th{padding:.1em .6em;text-align:right}svg{max-width:100%;height:auto}pre{overflow-x:auto}" + STYLE
)

Draw = Callable[[Any], None]


def run_page(run: Run, outcome: Outcome) -> str:
    """The report of one run."""
    totals, rows = outcome.totals, outcome.rows
    latencies = sorted(row["first_hit_ms"] for row in rows if row["first_hit_ms"] is not None)
    pictures = [
        ("Time to the first hit", _figure(lambda axes: _cumulative(axes, latencies))),
        (
            "Nodes by hops from the asker",
            _figure(lambda axes: _bars(axes, list(enumerate(totals["nodes_by_hops"], 1)), "hops")),
        ),
        ("Messages received, by kind", _figure(lambda axes: _bars(axes, list(totals["messages_by_kind"].items()), ""))),
        ("Recall against cost", _figure(lambda axes: _cost(axes, rows))),
        (f"Load by node (Gini {totals['load_gini']:.3f})", _figure(lambda axes: _lorenz(axes, load_by_node(run.net)))),
    ]
    if len(run.net.nodes) <= MAX_DRAWN:
        pictures.append(("The overlay at the end, darker where more messages came", _overlay(run)))
        lives = [life for quest in run.quests for life in quest.lives if len(life.came) and life.origin >= 0]
        if lives:
            widest = max(lives, key=lambda life: life.reached)
            pictures.append((f"How the query {widest.text!r} spread, hop by hop", spread(run.net, widest)))
    title = outcome.scenario.name or "A run of the lab"
    about = f"<p>{html.escape(outcome.scenario.about)}</p>" if outcome.scenario.about else ""
    return _page(title, about + f"<pre>{html.escape(report.text(outcome, 100))}</pre>", pictures)


def compare_page(scenario: Scenario, rows: Sequence[dict[str, Any]]) -> str:
    """The report of a comparison."""
    pictures = [
        ("Recall against messages a query", _figure(lambda axes: _tradeoff(axes, rows))),
        ("Messages a query", _figure(lambda axes: _sideways(axes, rows, "messages"))),
        ("Median time to the first hit, ms", _figure(lambda axes: _sideways(axes, rows, "p50_ms"))),
        ("How unevenly load lies (Gini)", _figure(lambda axes: _sideways(axes, rows, "load_gini"))),
    ]
    network = f"<p>{scenario.nodes} nodes, {html.escape(scenario.topology.kind)}, seed {scenario.seed}</p>"
    return _page(scenario.name or "Ways to search", network + _rows(report.COMPARISON, rows), pictures)


def tiers_page(scenario: Scenario, rows: Sequence[dict[str, Any]]) -> str:
    """The report of a comparison among ultrapeers and leaves."""
    pictures = []
    for sort in dict.fromkeys(row["files"] for row in rows):
        chosen = [row for row in rows if row["files"] == sort]
        for title, key in (("Messages a query", "messages"), ("Found", "found")):
            pictures.append((f"{title}: {sort}", _figure(partial(_sideways, rows=chosen, key=key))))
    top = f"<p>{scenario.nodes} nodes, {scenario.topology.ultrapeers} of them ultrapeers, seed {scenario.seed}</p>"
    return _page(scenario.name, top + _rows(report.TIERS, rows), pictures)


def _rows(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> str:
    heads = "".join(f"<th>{html.escape(column.heading)}</th>" for column in columns)
    lines = ("".join(f"<td>{html.escape(str(row[column.key]))}</td>" for column in columns) for row in rows)
    cells = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{heads}</tr>{cells}</table>"


def _page(title: str, top: str, pictures: Sequence[tuple[str, str]]) -> str:
    script = f"<script>{SCRIPT}</script>" if any('class="spread"' in picture for _, picture in pictures) else ""
    body = "".join(f"<h2>{html.escape(name)}</h2>{picture}" for name, picture in pictures)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
        f'<meta name="viewport" content="width=device-width"><h1>{html.escape(title)}</h1>{top}{body}{script}</html>\n'
    )


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise UserError("plots need matplotlib", "pip install 'gnutella-servent[lab]'", 69) from None
    mpl.use("svg")
    # The same run gives the same file: no date, and names of parts that do not come from chance.
    mpl.rcParams["svg.hashsalt"] = "gnutella lab"
    from matplotlib import pyplot

    return pyplot


def _figure(draw: Draw, *, square: bool = False) -> str:
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(9, 8) if square else (7, 3.2))
    draw(axes)
    figure.tight_layout()
    target = io.StringIO()
    figure.savefig(target, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    drawn = target.getvalue()
    return drawn[drawn.index("<svg") :]


def _cumulative(axes: Any, values: Sequence[float]) -> None:
    axes.step(values, [100 * (at + 1) / len(values) for at in range(len(values))], where="post")
    axes.set(xlabel="ms", ylabel="% of answered queries")


def _bars(axes: Any, items: Sequence[tuple[object, float]], label: str) -> None:
    axes.bar([str(name) for name, _ in items], [count for _, count in items])
    axes.set(xlabel=label)


def _cost(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    axes.scatter([row["messages"] for row in rows], [row["recall"] for row in rows], s=12, alpha=0.5)
    axes.set(xlabel="messages", ylabel="recall", ylim=(-0.05, 1.05))


def _lorenz(axes: Any, load: Sequence[int]) -> None:
    ordered, total, sums = sorted(load), sum(load) or 1, [0.0]
    for value in ordered:
        sums.append(sums[-1] + value / total)
    share = [at / len(ordered) for at in range(len(ordered) + 1)]
    axes.plot(share, sums)
    axes.plot([0, 1], [0, 1], linestyle=":")
    axes.set(xlabel="share of nodes", ylabel="share of load")


def _overlay(run: Run) -> str:
    """Seen from the node with the most links; a node is as dark as its load."""
    net = run.net
    numbers = {(end.node.number, end.peer.node.number) for end in net.ends()}
    near: dict[int, list[int]] = {}
    for one, other in sorted(numbers):
        near.setdefault(one, []).append(other)
    origin = max(range(len(net.nodes)), key=lambda number: (len(near.get(number, ())), -number))
    places, load = rings(len(net.nodes), nearest(origin, near)), load_by_node(net)

    def draw(axes: Any) -> None:
        lines = [(places[one], places[other]) for one, other in sorted(numbers) if one < other]
        axes.add_collection(
            _collections().LineCollection(lines, colors="0.75", linewidths=0.9 if len(places) < 200 else 0.2)
        )
        size = max(6.0, min(90.0, 9000 / len(places)))
        shown = axes.scatter(*zip(*places, strict=True), c=load, cmap="viridis_r", s=size, zorder=2)
        axes.figure.colorbar(shown, ax=axes, shrink=0.6, label="messages received")
        if len(places) <= MAX_NAMED:
            for name, place in zip(net.nodes, places, strict=True):
                axes.annotate(name, place, (4, 3), textcoords="offset points", fontsize=7)
        axes.set_axis_off()
        axes.set_aspect("equal")

    return _figure(draw, square=True)


def _collections() -> Any:
    from matplotlib import collections

    return collections


def _tradeoff(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        axes.scatter([row["messages"]], [row["recall"]], label=row["strategy"])
    axes.legend(fontsize=7)
    axes.set(xlabel="messages a query", ylabel="recall", ylim=(-0.05, 1.05), xlim=(0, None))


def _sideways(axes: Any, rows: Sequence[dict[str, Any]], key: str) -> None:
    axes.barh([row["strategy"] for row in rows], [row[key] or 0 for row in rows])
    axes.invert_yaxis()
