"""A page with pictures of a run or a comparison: one HTML file, plots as SVG within it; needs the extra `lab` (matplotlib)."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from gnutella.errors import UserError
from gnutella.lab import report
from gnutella.lab.life import Life
from gnutella.lab.outcome import Outcome, load_by_node
from gnutella.lab.runner import Run
from gnutella.lab.scenario import Scenario

#: A drawn overlay with more nodes is a black disc.
MAX_DRAWN = 400
#: Frames of a query's spread.
FRAMES = 8
_STYLE = (
    "body{font:15px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "td,th{padding:.1em .6em;text-align:right}svg{max-width:100%}"
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
            _figure(lambda axes: _bars(axes, list(enumerate(totals["nodes_by_hops"])), "hops")),
        ),
        ("Messages received, by kind", _figure(lambda axes: _bars(axes, list(totals["messages_by_kind"].items()), ""))),
        ("Recall against cost", _figure(lambda axes: _cost(axes, rows))),
        (f"Load by node (Gini {totals['load_gini']:.3f})", _figure(lambda axes: _lorenz(axes, load_by_node(run.net)))),
    ]
    if len(run.net.nodes) <= MAX_DRAWN:
        places = circle(len(run.net.nodes))
        pictures.append(
            ("The overlay at the end", _figure(lambda axes: _overlay(axes, run, places, None, 0), square=True))
        )
        lives = [life for quest in run.quests for life in quest.lives if len(life.came)]
        if lives:
            widest = max(lives, key=lambda life: life.reached)
            pictures.append((f"How the query {widest.text!r} spread, hop by hop", _spread(run, widest, places)))
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
    heads = "".join(f"<th>{html.escape(column.heading)}</th>" for column in report.COMPARISON)
    lines = ("".join(f"<td>{html.escape(str(row[column.key]))}</td>" for column in report.COMPARISON) for row in rows)
    cells = "".join(f"<tr>{line}</tr>" for line in lines)
    network = f"<p>{scenario.nodes} nodes, {html.escape(scenario.topology.kind)}, seed {scenario.seed}</p>"
    return _page(scenario.name or "Ways to search", f"{network}<table><tr>{heads}</tr>{cells}</table>", pictures)


def circle(nodes: int) -> list[tuple[float, float]]:
    """Places of the nodes on a circle."""
    return [(math.cos(2 * math.pi * n / nodes), math.sin(2 * math.pi * n / nodes)) for n in range(nodes)]


def _page(title: str, top: str, pictures: Sequence[tuple[str, str]]) -> str:
    body = "".join(f"<h2>{html.escape(name)}</h2>{picture}" for name, picture in pictures)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{html.escape(title)}</h1>{top}{body}</html>\n"
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


def _figure(draw: Draw, *, square: bool = False, columns: int = 1) -> str:
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(
        1, columns, figsize=(7, 7) if square else (3 * columns, 3.2) if columns > 1 else (7, 3.2)
    )
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


def _overlay(axes: Any, run: Run, places: Sequence[tuple[float, float]], life: Life | None, hops: int) -> None:
    for end in run.net.ends():
        one, other = places[end.node.number], places[end.peer.node.number]
        if end.id < end.peer.id:
            axes.plot([one[0], other[0]], [one[1], other[1]], color="0.85", linewidth=0.6, zorder=1)
    colours = ["0.6" if life is None else _colour(life, number, hops) for number in range(len(places))]
    axes.scatter([x for x, _ in places], [y for _, y in places], c=colours, s=max(4, 900 // len(places)), zorder=2)
    axes.set_axis_off()
    axes.set_aspect("equal")


def _colour(life: Life, number: int, hops: int) -> str:
    if number == life.origin:
        return "tab:red"
    head = life.heads[number] if number < len(life.heads) else 0
    if not head or (head & 0xFF) > hops:
        return "0.9"
    return "tab:orange" if (head & 0xFF) == hops else "tab:blue"


def _spread(run: Run, life: Life, places: Sequence[tuple[float, float]]) -> str:
    """A frame for each hop: red asked, orange has just got it, blue had it before."""
    frames = max(1, min(FRAMES, max((at + 1 for at, count in enumerate(life.by_hops) if count), default=1)))

    def draw(axes: Any) -> None:
        for hops, part in enumerate(axes if frames > 1 else [axes]):
            _overlay(part, run, places, life, hops)
            part.set_title(f"hop {hops + 1}", fontsize=8)

    return _figure(draw, columns=frames)


def _tradeoff(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        axes.scatter([row["messages"]], [row["recall"]], label=row["strategy"])
    axes.legend(fontsize=7)
    axes.set(xlabel="messages a query", ylabel="recall", ylim=(-0.05, 1.05), xlim=(0, None))


def _sideways(axes: Any, rows: Sequence[dict[str, Any]], key: str) -> None:
    axes.barh([row["strategy"] for row in rows], [row[key] or 0 for row in rows])
    axes.invert_yaxis()
