"""One query's life through every node: the steps that each node's router noted, put in order of time."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from gnutella.control.table import Column
from gnutella.errors import UserError
from gnutella.lab.runner import build
from gnutella.lab.scenario import Scenario
from gnutella.units import Guid

#: Keys of a step; those of `gnutella trace`, and the node.
COLUMNS = (
    Column("time", "number", "ms", meaning="milliseconds since the question"),
    Column("node", meaning="whose router"),
    Column("step", flexible=True, meaning="what it did"),
    Column("link", meaning="the node at the other end of the link"),
    Column("reason", default="", meaning="why it was dropped"),
)


def tell(scenario: Scenario, number: int = 1, seed: int | None = None) -> list[dict[str, Any]]:
    """Steps of the `number`-th question of the scenario.  UserError when there are fewer.

    All routers note all queries for it, which takes them off their fast path and changes nothing else.
    """
    run = build(structs.replace(scenario, routing=structs.replace(scenario.routing, trace="all")), seed)
    outcome = run.finish()
    if not 0 < number <= len(run.quests):
        raise UserError(f"there is no query {number}", f"the scenario asks {len(outcome.rows)}")
    quest = run.quests[number - 1]
    peers = {end.id: end.peer.node.name for end in run.net.all_ends}
    steps = []
    for life in quest.lives:
        for node in run.net.nodes.values():
            for at, step in enumerate(node.router.trace(Guid(life.guid))):
                row = {
                    "time": round((step.time - quest.asked_at) * 1000, 3),
                    "node": node.name,
                    "step": step.step,
                    "link": peers.get(step.link, "") if step.link is not None else "",
                    "reason": step.reason,
                }
                steps.append((step.time, node.number, at, row))
    return [row for *_, row in sorted(steps, key=lambda item: item[:3])]
