"""Scenarios by chance, run under the invariants; one that fails is shrunk to a small file.

    fuzz(3600.0, seed=1, directory=Path("found"), say=print)

A scenario fails when an invariant breaks, or when anything raises.  Shrinking leaves out actions, nodes, files and whatever the
failure does not need, as long as it stays the same failure; what is left is written as TOML, fit for tests/scenarios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

from msgspec import ValidationError, convert

from gnutella.lab import chance
from gnutella.lab.consistency import check
from gnutella.lab.runner import build
from gnutella.lab.scenario import Scenario, Topology
from gnutella.lab.sums import check_balance
from gnutella.lab.toml import toml_of
from gnutella.lab.watch import InvariantBroken

#: Nodes and actions of a random scenario at most.
MAX_NODES = 24
MAX_ACTIONS = 14
#: Runs that shrinking may take.
MAX_SHRINKING = 300
_STRATEGIES = (
    "dynamic",
    "flooding",
    "flooding",
    "flooding",
    "flooding_one_hop",
    "expanding_ring",
    "random_walks",
    "random_walks_one_hop",
)
#: All topologies but the one that is written out, in the order of their definition.
_KINDS = tuple(kind for kind in get_args(get_type_hints(Topology)["kind"]) if kind != "explicit")
#: Kinds whose roles follow from the place of a node, so that none has a table of its own.
_TIERS = ("two_tier", "superpeers")
_ROLES = ("peer", "ultrapeer", "leaf")
#: Where nodes look after their links, most of them also decide what they are.
_KEPT_ROLES = (*_ROLES, "auto", "auto", "auto")
_WORDS = ("alice", "bob", "song", "live", "tune")

Tables = dict[str, Any]


def fuzz(seconds: float, seed: int, directory: Path, say: Callable[[str], object], runs: int = 10**9) -> list[Path]:
    """Run random scenarios for that long, or that many; the files of those that failed."""
    end = time.monotonic() + seconds
    found: list[Path] = []
    seen: set[str] = set()
    done = 0
    while done < runs and time.monotonic() < end:
        tables = random_tables(chance.source(seed, "fuzz", done))
        done += 1
        failure = failure_of(tables)
        if failure is None or failure in seen:
            continue
        seen.add(failure)
        small = shrunk(tables, failure)
        path = directory / f"fuzz-{seed}-{done}.toml"
        path.write_text(f"# {failure}\n" + toml_of(small), encoding="utf-8")
        found.append(path)
        say(f"{failure}: {path}")
    say(f"{done} scenarios, {len(found)} failures")
    return found


def failure_of(tables: Tables) -> str | None:
    """What kind of failure the scenario ends in; None for none, and for one that is no scenario."""
    try:
        scenario = convert(tables, Scenario)
        check(scenario)
    except (ValidationError, ValueError):
        return None
    return failure_in(scenario)


def failure_in(scenario: Scenario) -> str | None:
    """The broken rule, or the exception, of a run."""
    try:
        run = build(scenario)
        run.net.clock.run(scenario.end_s)
        check_balance(run.net)
        run.outcome()
    except InvariantBroken as broken:
        return f"invariant {broken.rule}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the fuzzer looks for
        return f"{type(error).__name__}: {str(error)[:80]}"
    return None


def shrunk(tables: Tables, failure: str) -> Tables:
    """A smaller scenario with the same failure."""
    budget = MAX_SHRINKING
    shrinks = True
    while shrinks and budget > 0:
        shrinks = False
        for smaller in _smaller(tables):
            budget -= 1
            if failure_of(smaller) == failure:
                tables, shrinks = smaller, True
                break
            if budget <= 0:
                break
    return tables


def _smaller(tables: Tables) -> Iterator[Tables]:
    """Simpler scenarios, the boldest cuts first."""
    actions = tables["action"]
    size = len(actions) // 2
    while size:
        for start in range(0, len(actions), size):
            yield {**tables, "action": actions[:start] + actions[start + size :]}
        size //= 2
    nodes = tables["topology"].get("nodes", 0)
    for fewer in (nodes // 2, nodes - 1):
        if fewer > 1:
            yield {**tables, "topology": {**tables["topology"], "nodes": fewer}}
            ultrapeers = min(fewer, tables["topology"].get("ultrapeers", 0))
            yield {**tables, "topology": {**tables["topology"], "nodes": fewer, "ultrapeers": ultrapeers}}
    if tables["node"]:
        yield {**tables, "node": []}
        yield {**tables, "node": tables["node"][: len(tables["node"]) // 2]}
    for key in ("content", "strategy", "network", "links"):
        if key in tables:
            yield {name: value for name, value in tables.items() if name != key}
    for place, action in enumerate(actions):
        if action.get("times", 1) > 1:
            yield {
                **tables,
                "action": [*actions[:place], {**action, "times": action["times"] // 2}, *actions[place + 1 :]],
            }


# -- scenarios by chance -----------------------------------------------------------------------------------------------


def random_tables(rng: Random) -> Tables:
    """A scenario as TOML tables."""
    nodes = 2 + chance.below(rng, MAX_NODES - 1)
    links = _links(rng)
    roles = _KEPT_ROLES if links else _ROLES
    topology = _topology(rng, nodes, chance.pick(rng, roles))
    return {
        "name": "written by chance",
        "seed": chance.below(rng, 1 << 30),
        "strategy": chance.pick(rng, _STRATEGIES),
        "network": _network(rng),
        "routing": {
            "trace": "off",
            "query_ttl": 1 + chance.below(rng, 7),
            "ping_interval_s": 2.0 + chance.below(rng, 30),
        },
        "topology": topology,
        "links": links,
        "content": {"files": 1 + chance.below(rng, 12), "copies": chance.below(rng, 60)},
        "node": [{**_node(rng, number), "role": chance.pick(rng, roles)} for number in range(chance.below(rng, nodes))]
        if topology["kind"] not in _TIERS
        else [],
        "action": sorted(
            (_action(rng, nodes) for _ in range(1 + chance.below(rng, MAX_ACTIONS))), key=lambda action: action["at_s"]
        ),
    }


def _topology(rng: Random, nodes: int, role: str) -> Tables:
    kind = chance.pick(rng, _KINDS)
    topology: Tables = {"kind": kind, "nodes": nodes, "degree": 2 + chance.below(rng, 4), "role": role}
    if kind == "two_tier" and nodes > 2:
        topology["leaves"] = chance.below(rng, nodes - 1)
    if kind == "superpeers":
        topology |= {"ultrapeers": 1 + chance.below(rng, nodes), "leaf_links": 1 + chance.below(rng, 5)}
    return topology


def _links(rng: Random) -> Tables:
    if rng.random() < 0.5:
        return {}
    return {
        "kept": True,
        "known": chance.below(rng, 6),
        "want_links": chance.below(rng, 7),
        "max_links": chance.below(rng, 8),
        "max_leaves": chance.below(rng, 12),
    }


def _network(rng: Random) -> Tables:
    network: Tables = {"latency_ms": [1.0, 1.0 + chance.below(rng, 200)]}
    if rng.random() < 0.3:
        network["jitter_ms"] = float(chance.below(rng, 50))
    if rng.random() < 0.3:
        network["bandwidth_kib_s"] = 0.25 + chance.below(rng, 8)
    if rng.random() < 0.3:
        network["loss"] = round(0.1 * rng.random(), 3)
    if rng.random() < 0.3:
        network["handshake"] = "full"
    return network


def _node(rng: Random, number: int) -> Tables:
    node: Tables = {"name": f"n{number}", "files": _files(rng)}
    if rng.random() < 0.1:
        node["size"] = 300_000  # more than one leaf
    if rng.random() < 0.1:
        node["nat"] = chance.pick(rng, ("home", "office"))
    return node


def _files(rng: Random) -> list[str]:
    return [
        f"{chance.pick(rng, _WORDS)} {chance.pick(rng, _WORDS)} {number}.ogg" for number in range(chance.below(rng, 4))
    ]


def _action(rng: Random, nodes: int) -> Tables:
    at = round(30 * rng.random(), 3)
    one, other = (f"n{chance.below(rng, nodes)}" for _ in range(2))
    roll = chance.below(rng, 20)
    if roll < 8:
        return {
            "at_s": at,
            "do": "query",
            "from": "*",
            "times": 1 + chance.below(rng, 12),
            "every_s": 0.3,
            **_text(rng),
        }
    rest: list[Tables] = [
        {"do": "download", "node": one, "text": chance.pick(rng, _WORDS), "within_s": 0},
        {"do": "publish", "node": one, "files": _files(rng)},
        {"do": "join", "node": chance.pick(rng, (one, "late")), "links": 1 + chance.below(rng, 4)},
        {"do": "leave", "node": one},
        {"do": "kill", "node": "*", "power_failure": rng.random() < 0.5},
        {
            "do": "kill",
            "share": round(0.1 + 0.9 * rng.random(), 3),
            "role": chance.pick(rng, ("ultrapeer", "ultrapeer", "leaf", "any")),
            "power_failure": rng.random() < 0.3,
        },
        {"do": "census"},
        {"do": "partition"},
        {"do": "heal"},
        {"do": "set", "node": one, "key": "firewalled", "value": rng.random() < 0.5},
        {"do": "set", "node": "*", "key": "query_ttl", "value": 1 + chance.below(rng, 7)},
        {
            "do": "fault",
            "between": [one, other],
            "kind": chance.pick(rng, ("break", "stall", "corrupt", "cut")),
            "at_byte": chance.below(rng, 2000),
            "seconds": float(chance.below(rng, 20)),
            "on": chance.pick(rng, ("link", "link", "transfer")),
        },
        {"do": "disk", "node": one, "room_kib": chance.below(rng, 40), "kib_s": float(chance.below(rng, 20))},
        {"do": "disk", "node": one},
        {
            "do": "churn",
            "mean_up_s": 5.0 + chance.below(rng, 40),
            "mean_down_s": 1.0 + chance.below(rng, 10),
            "share": 0.5,
        },
    ]
    return {"at_s": at, **chance.pick(rng, rest)}


def _text(rng: Random) -> Tables:
    return {"text": chance.pick(rng, _WORDS)} if rng.random() < 0.6 else {}
