"""What a run came to: rows of its questions, totals, and what was expected and did not come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnutella.lab.net import Network
from gnutella.lab.quest import Quest
from gnutella.lab.scenario import Bound, Expect, Linked, Range, Scenario
from gnutella.lab.sums import drop_reasons
from gnutella.protocol.kinds import KIND_NAMES


@dataclass(slots=True)
class Outcome:
    """See the module text.  `failures` are lines; an empty list is a success."""

    scenario: Scenario
    seed: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    downloads: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    trace: str = ""
    censuses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_success(self) -> bool:
        """Everything came as expected, and no rule was broken."""
        return not self.failures


def expectations(quest: Quest, expect: Expect) -> Iterator[str]:
    """A line for each expectation of one question that failed."""
    yield from judge(expect, values_of(quest), quest.label or f"query {quest.text!r}")


def values_of(quest: Quest) -> dict[str, float | None]:
    """What a question came to, for each key of `expect`."""
    return {
        "hits": quest.found,
        "recall": quest.recall,
        "latency_ms": quest.first_hit_ms,
        "messages": quest.messages,
        "hops": quest.hops,
        "reached": quest.reached,
    }


def average(rows: Sequence[dict[str, float | None]], expect: Expect, label: str = "on average") -> Iterator[str]:
    """A line for each expectation that fails on average; questions without a hit have no latency and no hops."""
    if not rows:
        return
    means: dict[str, float | None] = {}
    for key in rows[0]:
        known = [value for row in rows if (value := row[key]) is not None]
        means[key] = mean(known) if known else None
    yield from judge(expect, means, label)


def mean(values: Sequence[float]) -> float:
    """Their average, in millionths; 0 of none."""
    return round(sum(values) / len(values), 6) if values else 0.0


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that this share (0 to 1) of all lie at or below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def gini(values: Sequence[float]) -> float:
    """How unevenly a load is spread: 0 is even, 1 is all on one."""
    ordered = sorted(values)
    total = sum(ordered)
    if not total:
        return 0.0
    weighted = sum(rank * value for rank, value in enumerate(ordered, 1))
    return round((2 * weighted / (len(ordered) * total)) - (len(ordered) + 1) / len(ordered), 6)


def judge(expect: Expect | Linked, values: dict[str, float | None], label: str) -> Iterator[str]:
    """A line for each expectation that does not hold."""
    for key, value in values.items():
        bound: Bound | None = getattr(expect, key)
        if bound is None:
            continue
        holds = bound.holds(value) if isinstance(bound, Range) else value == bound
        if not holds:
            wanted = str(bound) if isinstance(bound, Range) else f"{bound:g}"
            yield f"{label}: {key} is {'none' if value is None else f'{value:g}'}, expected {wanted}"


def totals(net: Network, quests: Sequence[Quest]) -> dict[str, Any]:
    """Numbers of the whole run."""
    latencies = [quest.first_hit_ms for quest in quests if quest.first_hit_ms is not None]
    load = load_by_node(net)
    hops = [0] * 16
    for quest in quests:
        for life in quest.lives:
            hops = [count + more for count, more in zip(hops, life.by_hops, strict=True)]
    return {
        "nodes": len(net.nodes),
        "virtual_s": round(net.clock.now, 6),
        "queries": len(quests),
        "answered": sum(quest.found > 0 for quest in quests),
        "recall": mean([quest.recall for quest in quests]),
        "messages_per_query": mean([quest.messages for quest in quests]),
        "hit_messages_per_query": mean([quest.hit_messages for quest in quests]),
        "latency_ms": {f"p{int(100 * share)}": percentile(latencies, share) for share in (0.5, 0.9, 0.99)},
        "load_gini": gini(load),
        "load_max": max(load, default=0),
        "load_mean": mean(load),
        "messages_by_kind": by_kind(net),
        "nodes_by_hops": hops[: max((at + 1 for at, count in enumerate(hops) if count), default=0)],
        "deliveries": net.deliveries,
        "drops": {reason.value: count for reason, count in drop_reasons(net).items()},
    }


def load_by_node(net: Network) -> list[int]:
    """Messages that came to each node, in order of their numbers."""
    load = [0] * len(net.nodes)
    for end in net.all_ends:
        load[end.node.number] += end.arrived
    return load


def by_kind(net: Network) -> dict[str, int]:
    """Messages received by all nodes together."""
    counts: dict[str, int] = {}
    for node in net.nodes.values():
        for kind, count in node.received_by_kind().items():
            name = KIND_NAMES.get(kind, "other")
            counts[name] = counts.get(name, 0) + count
    return {name: counts[name] for name in sorted(counts)}
