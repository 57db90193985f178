"""What the structs of scenario.py cannot say: names that must exist, keys that need each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnutella.lab import scenario as s
from gnutella.lab.ways import STRATEGIES, maker_of
from gnutella.reasons import DropReason

#: Stands for any node where an action allows it.
ANY = "*"


def check(scenario: s.Scenario) -> None:
    """ValueError for a scenario that cannot be run as it is written."""
    for fault in faults(scenario):
        raise ValueError(fault)


def faults(scenario: s.Scenario) -> Iterator[str]:
    """All that is wrong, each as one line."""
    names = scenario.names
    if not names:
        yield "there are no nodes: give [[node]] tables, or nodes in [topology]"
    if len(set(names)) < len(names):
        yield "two nodes have the same name"
    if maker_of(scenario.strategy) is None:
        yield f"strategy {scenario.strategy!r} is unknown; there are {', '.join(STRATEGIES)}"
    if scenario.topology.leaves and scenario.topology.kind != "two_tier":
        yield "leaves need the topology two_tier"
    if scenario.topology.leaves >= scenario.nodes > 0:
        yield "topology.leaves leaves no ultrapeer over"
    if (scenario.topology.kind == "superpeers") != bool(scenario.topology.ultrapeers):
        yield "topology.ultrapeers and the topology superpeers need each other"
    if scenario.topology.ultrapeers > scenario.nodes:
        yield "topology.ultrapeers is more than all nodes"
    if not scenario.links.kept and "auto" in (scenario.topology.role, *(node.role for node in scenario.node)):
        yield "the role auto needs links.kept"
    yield from _reasons(scenario)
    known = set(names)
    for link in scenario.link:
        yield from _unknown("link.between", link.between, known)
    yield from _actions(scenario, known)


def _reasons(scenario: s.Scenario) -> Iterator[str]:
    labels = {reason.value for reason in DropReason}
    for label in scenario.never:
        if label not in labels:
            yield f"never: {label!r} is no drop reason"


def _actions(scenario: s.Scenario, known: set[str]) -> Iterator[str]:
    known |= {action.node for action in scenario.action if isinstance(action, s.Join)}
    for action in scenario.action:
        if scenario.duration_s is not None and action.at_s > scenario.duration_s:
            yield f"an action at {action.at_s:g} s is after the end of the run ({scenario.duration_s:g} s)"
        place, names, takes_any = _named(action)
        yield from _unknown(place, names, known | {ANY} if takes_any else known)
        if isinstance(action, s.Query) and not action.text and not action.urn and scenario.content is None:
            yield "a query without text and urn needs [content]"
        if isinstance(action, s.Kill) and bool(action.node) == bool(action.share):
            yield "kill: give either node or share"
        if isinstance(action, s.Set) and isinstance(action.value, bool) != (action.key != "query_ttl"):
            yield f"set: {action.value!r} is no value of {action.key}"


def _named(action: s.AnyAction) -> tuple[str, Sequence[str], bool]:
    """Where an action names nodes, which, and whether any node may be meant."""
    if isinstance(action, s.Query):
        return "query.from", [action.asker], True
    if isinstance(action, s.Join):
        return "join.links", action.links if isinstance(action.links, tuple) else (), False
    if isinstance(action, s.Partition):
        return "partition.groups", [name for group in action.groups for name in group], False
    if isinstance(action, s.Fault):
        return "fault.between", action.between, False
    if isinstance(action, (s.Kill, s.Leave, s.Set)):
        return "node", [action.node] if action.node else [], True
    return "node", [] if isinstance(action, (s.Heal, s.Churn, s.Census)) else [action.node], False


def _unknown(place: str, names: Sequence[str], known: set[str]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{place}: there is no node {name!r}"
