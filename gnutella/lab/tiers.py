"""Ways to search in a network of ultrapeers and leaves: what popular and rare files cost, and how much of them is found.

    rows = compare_tiers(tiers(), told=None)

The same questions are asked in each way; what the widest flood found says how popular a question was.  Everything is done
by the production rooms: leaves tell their words, ultrapeers tell each other the union of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from gnutella.lab.outcome import Outcome, mean, percentile
from gnutella.lab.runner import run
from gnutella.lab.scenario import Scenario, parse
from gnutella.superpeers.dynamic import WANTED_OWN

#: Ultrapeers of the real network have 32 links to others; among fifty that would be nearly a full mesh, where TTL 2 is a full
#: flood, so these have eight.  Zipf's exponent is 1, and a node has twenty files: the most popular lie on most nodes, and more
#: than half of the thousand on fewer than twenty.
TIERS = """
name = "Ultrapeers and leaves"
duration_s = {duration}
[network]
latency_ms = [10, 80]
[routing]
trace = "off"
query_ttl = 4
max_hits_per_query = 2000
[topology]
kind = "superpeers"
nodes = {nodes}
ultrapeers = {ultrapeers}
degree = 8
leaf_links = 3
[content]
files = {nodes}
copies = {copies}
exponent = 1.0
[[action]]
do = "query"
at_s = 20
times = {queries}
every_s = 0.5
"""
#: One in so many nodes is an ultrapeer.
NODES_EACH = 20
#: There is enough of what the flood finds 150 times.  A query is popular if it finds twice that: where 150 are all there are,
#: they cost a flood in any way.  It is rare if the flood finds fewer than twenty.
POPULAR = 2 * WANTED_OWN
RARE = 20
#: Questions, if nobody says how many.
QUERIES = 60
#: How long the last question may take.
LINGER_S = 40.0


@dataclass(frozen=True, slots=True)
class Way:
    """A strategy with a TTL, under a name."""

    name: str
    strategy: str
    ttl: int = 4


WAYS = (
    Way("flooding, TTL 7", "flooding", 7),
    Way("flooding, TTL 4", "flooding"),
    Way("dynamic", "dynamic"),
    Way("random walks", "random_walks"),
)


def tiers(nodes: int = 1000, queries: int = QUERIES, seed: int = 1) -> Scenario:
    """The network: one node in twenty is an ultrapeer."""
    text = TIERS.format(
        nodes=nodes,
        ultrapeers=max(2, nodes // NODES_EACH),
        queries=queries,
        copies=20 * nodes,
        duration=20 + queries * 0.5 + LINGER_S,
    )
    return structs.replace(parse(text), seed=seed)


def compare_tiers(
    scenario: Scenario,
    ways: Sequence[Way] = WAYS,
    seed: int | None = None,
    told: Callable[[Outcome], object] | None = None,
) -> list[dict[str, Any]]:
    """A row (report.TIERS) for each way and sort of question, and one for all of them; the first way is the measure."""
    outcomes = []
    for way in ways:
        routing = structs.replace(scenario.routing, query_ttl=way.ttl)
        outcome = run(structs.replace(scenario, strategy=way.strategy, routing=routing), seed)
        outcomes.append(outcome)
        if told is not None:
            told(outcome)
    full = outcomes[0].rows
    rows = []
    for sort, chosen in _sorts(full):
        for way, outcome in zip(ways, outcomes, strict=True):
            rows.append(_row(way, sort, [outcome.rows[n] for n in chosen], [full[n] for n in chosen], outcome.failures))
    return rows


def _sorts(full: Sequence[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    """Questions by what the measure found of them; sorts without any are left out."""
    found = [(number, row["found"]) for number, row in enumerate(full)]
    sorts = [
        ("popular", [number for number, count in found if count >= POPULAR]),
        ("enough", [number for number, count in found if count >= WANTED_OWN]),
        ("between", [number for number, count in found if RARE <= count < POPULAR]),
        ("rare", [number for number, count in found if count < RARE]),
        ("all", [number for number, _ in found]),
    ]
    return [(sort, chosen) for sort, chosen in sorts if chosen]


def _row(
    way: Way, sort: str, rows: Sequence[dict[str, Any]], full: Sequence[dict[str, Any]], failures: Iterable[str]
) -> dict[str, Any]:
    times = [row["first_hit_ms"] for row in rows if row["first_hit_ms"] is not None]
    found, there = sum(row["found"] for row in rows), sum(row["found"] for row in full)
    messages, flooded = mean([row["messages"] for row in rows]), mean([row["messages"] for row in full])
    enough = sum(row["found"] >= min(WANTED_OWN, of["found"]) for row, of in zip(rows, full, strict=True))
    return {
        "files": sort,
        "strategy": way.name,
        "queries": len(rows),
        "found": round(mean([row["found"] for row in rows]), 1),
        "of_flood": round(100 * found / there, 1) if there else 100.0,
        "enough": round(100 * enough / len(rows), 1),
        "recall": mean([row["recall"] for row in rows]),
        "messages": round(messages, 1),
        "cost": round(100 * messages / flooded, 1) if flooded else 100.0,
        "hit_messages": round(mean([row["hit_messages"] for row in rows]), 1),
        "p50_ms": percentile(times, 0.5),
        "p90_ms": percentile(times, 0.9),
        "p99_ms": percentile(times, 0.99),
        "failures": list(failures) if sort == "all" else [],
    }
