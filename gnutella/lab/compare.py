"""The same network, content and questions, searched in each of several ways.

    rows = compare(scenario, ["flooding", "random_walks"])

Everything but the strategy follows from the scenario and its seed, so the rows differ by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import structs

from gnutella.lab.outcome import Outcome
from gnutella.lab.runner import run
from gnutella.lab.scenario import Scenario, parse

#: What `gnutella lab compare` runs without a file; {nodes} and {queries} are filled in.
STANDARD = """
name = "Ways to search"
[network]
latency_ms = [10, 80]
[routing]
trace = "off"
query_ttl = {ttl}
[topology]
kind = "{topology}"
nodes = {nodes}
degree = {degree}
[content]
files = {nodes}
copies = {copies}
exponent = 0.8
[[action]]
do = "query"
at_s = 2
times = {queries}
every_s = 0.25
"""


def standard(
    nodes: int = 1000,
    queries: int = 200,
    topology: str = "random_regular",
    degree: int = 6,
    ttl: int = 5,
    seed: int = 1,
) -> Scenario:
    """The network that strategies are compared on if nobody says otherwise: Zipf content, ten copies a node."""
    text = STANDARD.format(nodes=nodes, queries=queries, topology=topology, degree=degree, ttl=ttl, copies=10 * nodes)
    return structs.replace(parse(text), seed=seed)


def compare(
    scenario: Scenario,
    strategies: Iterable[str],
    seed: int | None = None,
    told: Callable[[Outcome], object] | None = None,
) -> list[dict[str, Any]]:
    """A row (report.COMPARISON) for each strategy; `told` gets each outcome as it comes."""
    rows = []
    for name in strategies:
        outcome = run(structs.replace(scenario, strategy=name), seed)
        if told is not None:
            told(outcome)
        rows.append(row_of(name, outcome))
    return rows


def row_of(name: str, outcome: Outcome) -> dict[str, Any]:
    """One row of the comparison."""
    totals = outcome.totals
    asked = totals["queries"] or 1
    return {
        "strategy": name,
        "recall": totals["recall"],
        "answered": round(100 * totals["answered"] / asked, 1),
        "messages": totals["messages_per_query"],
        "hit_messages": totals["hit_messages_per_query"],
        "p50_ms": totals["latency_ms"]["p50"],
        "p90_ms": totals["latency_ms"]["p90"],
        "load_mean": totals["load_mean"],
        "load_max": totals["load_max"],
        "load_gini": totals["load_gini"],
        "failures": outcome.failures,
    }
