"""What a live run came to: rows and totals, counted from the traces that all servents keep of all queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gnutella.control.client import NodeClient
from gnutella.errors import UserError
from gnutella.lab.census import row_of
from gnutella.lab.live_nodes import LiveNode
from gnutella.lab.live_search import LiveSearch
from gnutella.lab.outcome import gini, mean, percentile
from gnutella.protocol.urn import parse_urn


def steps_of(nodes: Iterable[LiveNode], guids: Iterable[str]) -> dict[str, dict[str, int]]:
    """GUID -> how often each kind of step was noted, over all nodes that run."""
    counts: dict[str, dict[str, int]] = {guid: {} for guid in guids if guid}
    for node in nodes:
        with NodeClient(node.socket_path) as client:
            for guid, count in counts.items():
                try:
                    for row in client.rows(f"trace {guid}"):
                        _count(count, str(row.get("step")))
                except UserError:
                    continue  # The query never came to this node.
    return counts


def _count(count: dict[str, int], step: str) -> None:
    if step.startswith("answered "):
        count["files"] = count.get("files", 0) + int(step.split()[1])
        step = "answered"
    count[step] = count.get(step, 0) + 1


def census_of(nodes: Iterable[LiveNode], at_s: float) -> dict[str, Any]:
    """A row of census.COLUMNS: who is linked with whom now, as the servents themselves say."""
    nodes = list(nodes)
    by_address = {node.address: node.name for node in nodes}
    leaves = {node.name for node in nodes if node.status()["role"] == "leaf"}
    linked = {node.name: {by_address.get(row["address"], "") for row in node.ask("peers")} for node in nodes}
    return row_of(at_s, leaves, {name: sorted(peers - leaves - {""}) for name, peers in linked.items()})


def traffic_of(nodes: Iterable[LiveNode]) -> dict[str, Any]:
    """Totals of all nodes that run."""
    load: list[int] = []
    drops: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for node in nodes:
        received = 0
        for key, value in node.status()["traffic"].items():
            if key.startswith("messages_rx_"):
                kind = key.removeprefix("messages_rx_")
                kinds[kind] = kinds.get(kind, 0) + value
                received += value
            elif key.startswith("dropped_"):
                reason = key.removeprefix("dropped_")
                drops[reason] = drops.get(reason, 0) + value
        load.append(received)
    return {
        "load_mean": mean(load),
        "load_max": max(load, default=0),
        "load_gini": gini(load),
        "messages_by_kind": kinds,
        "drops": drops,
    }


def question_row(
    asker: str,
    words: str,
    expected: int,
    search: LiveSearch,
    names: dict[str, str],
    steps: dict[str, int],
    asked_s: float,
) -> dict[str, Any]:
    """`search` shows a file when its first source comes; the further ones are counted by the traces.

    When as many hits came as nodes answered, all their files came; else at least one with each.
    """
    holdings = set()
    for row in search.rows:
        for source in row["sources"]:
            sha1 = parse_urn(row["urn"]).sha1 if row.get("urn") else None
            holdings.add((names.get(source["address"], source["address"]), sha1 or row["name"].encode()))
    came, answers = steps.get("hit arrived from", 0), steps.get("answered", 0)
    found = max(len(holdings), steps.get("files", 0) if came >= answers else came)
    return {
        "query": words,
        "found": found,
        "expected": expected,
        "messages": steps.get("forwarded to", 0) + steps.get("led to", 0),
        "first_hit_ms": None if search.first_at is None else round((search.first_at - search.asked_at) * 1000, 3),
        "hops": min((int(row["hops"]) for row in search.rows), default=None),
        "from": asker,
        "recall": round(found / expected, 6) if expected else 1.0,
        "hit_messages": steps.get("hit back to", 0)
        + sum(n for step, n in steps.items() if step.startswith("answered")),
        "reached": steps.get("received from", 0),
        "asked_s": round(asked_s, 3),
    }


def totals_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over all questions."""
    latencies = [row["first_hit_ms"] for row in rows if row["first_hit_ms"] is not None]
    return {
        "queries": len(rows),
        "answered": sum(row["found"] > 0 for row in rows),
        "recall": mean([row["recall"] for row in rows]),
        "messages_per_query": mean([row["messages"] for row in rows]),
        "hit_messages_per_query": mean([row["hit_messages"] for row in rows]),
        "latency_ms": {f"p{int(100 * share)}": percentile(latencies, share) for share in (0.5, 0.9, 0.99)},
    }


def values_of(row: dict[str, Any]) -> dict[str, float | None]:
    """What a row says about each key of `expect`."""
    return {
        "hits": row["found"],
        "recall": row["recall"],
        "latency_ms": row["first_hit_ms"],
        "messages": row["messages"],
        "hops": row["hops"],
        "reached": row["reached"],
    }
