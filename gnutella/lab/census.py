"""Who is linked with whom at one time: rows of the report, and what a scenario expects of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gnutella.control.table import Column
from gnutella.lab.net import Network
from gnutella.lab.node import LabNode
from gnutella.lab.outcome import judge, mean
from gnutella.lab.scenario import Linked
from gnutella.lab.topology import parts

#: Links from which on a leaf counts as well linked: it keeps 3 to 5.
WELL_LINKED = 3

COLUMNS = (
    Column("at_s", "number", "at s", meaning="when, in seconds from the start"),
    Column("ultrapeers", "number", meaning="running nodes that are no leaves"),
    Column("leaves", "number", meaning="running leaves"),
    Column("linked", "number", meaning="share of the leaves that have an ultrapeer"),
    Column("well_linked", "number", "well linked", meaning=f"share of the leaves that have {WELL_LINKED} or more"),
    Column("leaf_links", "number", "of a leaf", meaning="ultrapeers of a leaf, mean"),
    Column("core_links", "number", "of an ultrapeer", meaning="other ultrapeers of an ultrapeer, mean"),
    Column("parts", "number", meaning="parts that the running nodes fall into; 1 is whole"),
)


def census(net: Network) -> dict[str, Any]:
    """A row of the present."""
    running = [node for node in net.nodes.values() if node.is_up]
    leaves = [node for node in running if node.is_leaf]
    core = [node for node in running if not node.is_leaf]
    links = [len(ultrapeers_of(leaf)) for leaf in leaves]
    return {
        "at_s": round(net.clock.now, 6),
        "ultrapeers": len(core),
        "leaves": len(leaves),
        "linked": _share(links, 1),
        "well_linked": _share(links, WELL_LINKED),
        "leaf_links": mean(links),
        "core_links": mean([len(ultrapeers_of(node)) for node in core]),
        "parts": _parts(core) + links.count(0),
    }


def ultrapeers_of(node: LabNode) -> list[LabNode]:
    """The running nodes that pass on for it, over links that both sides know."""
    return [
        end.peer.node
        for end in node.ends.values()
        if end.peer.is_ready and end.peer.node.is_up and not end.peer.node.is_leaf
    ]


def missed(expect: Linked, row: dict[str, Any]) -> Iterator[str]:
    """A line for each expectation that does not hold."""
    values = {key: row[key] for key in Linked.__struct_fields__}
    yield from judge(expect, values, f"census at {row['at_s']:g} s")


def _share(links: list[int], least: int) -> float:
    return mean([count >= least for count in links]) if links else 1.0


def _parts(core: list[LabNode]) -> int:
    place = {node.name: number for number, node in enumerate(core)}
    pairs = [(place[node.name], place[other.name]) for node in core for other in ultrapeers_of(node)]
    return len(parts(len(core), pairs))
