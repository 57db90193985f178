"""Who is linked with whom at one time: rows of the report, and what a scenario expects of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
    leaves = {node.name for node in running if node.is_leaf}
    return row_of(
        round(net.clock.now, 6), leaves, {node.name: [other.name for other in ultrapeers_of(node)] for node in running}
    )


def row_of(at_s: float, leaves: Collection[str], ultrapeers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row, from the names of the running leaves, and for each running node those of the ultrapeers it is linked with."""
    links = [len(ultrapeers[leaf]) for leaf in leaves]
    core = [name for name in ultrapeers if name not in leaves]
    return {
        "at_s": at_s,
        "ultrapeers": len(core),
        "leaves": len(leaves),
        "linked": _share(links, 1),
        "well_linked": _share(links, WELL_LINKED),
        "leaf_links": mean(links),
        "core_links": mean([len(ultrapeers[name]) for name in core]),
        "parts": _parts(core, ultrapeers) + links.count(0),
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


def _parts(core: Sequence[str], ultrapeers: Mapping[str, Sequence[str]]) -> int:
    place = {name: number for number, name in enumerate(core)}
    pairs = [(place[name], place[other]) for name in core for other in ultrapeers[name]]
    return len(parts(len(core), pairs))
