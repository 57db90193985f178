"""A scenario with real servents: one process each, real links on loopback ports, the clock on the wall.

What a scenario of virtual time can do and this cannot: latencies, losses, partitions, faults, churn and other strategies than
flooding; such a scenario is refused.  Messages are counted from the traces that the servents keep of all queries.  Processes
are children of a nursery (nursery.py), which ends them all however this program ends.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from gnutella.control.client import NodeClient
from gnutella.errors import UserError
from gnutella.lab import chance
from gnutella.lab import scenario as s
from gnutella.lab.content import Content
from gnutella.lab.layout import Layout
from gnutella.lab.live_nodes import LiveNode, Nursery
from gnutella.lab.live_search import LiveSearch, finish, wait_for
from gnutella.lab.outcome import Outcome, gini, judge, mean, percentile
from gnutella.protocol.query import normalise_text
from gnutella.protocol.urn import parse_urn
from gnutella.sharing.catalog import Catalog

#: How long a query waits for hits if the scenario does not say.
WAIT_S = 2.0
#: Seconds beyond its waiting that a search may take to end.
PATIENCE_S = 15.0
_KINDS = (s.Query, s.Publish, s.Join, s.Leave, s.Kill)


def run_live(scenario: s.Scenario, seed: int | None = None) -> Outcome:
    """The whole run.  UserError for what cannot be run live, and for servents that do not come up."""
    unable = sorted({type(action).__name__.lower() for action in scenario.action if not isinstance(action, _KINDS)})
    if unable or scenario.strategy != "flooding":
        raise UserError("this scenario cannot be run with --live", f"it uses {', '.join(unable) or scenario.strategy}")
    with tempfile.TemporaryDirectory(prefix="gnutella-lab-") as directory:
        run = LiveRun(scenario, scenario.seed if seed is None else seed, Path(directory))
        with run.nursery:
            return run.play()


class LiveRun:
    """One run of one scenario."""

    def __init__(self, scenario: s.Scenario, seed: int, directory: Path) -> None:
        self.scenario = scenario
        self.seed = seed
        self.layout = Layout(scenario, seed)
        self.nursery = Nursery(directory, scenario.routing)
        self.nodes: dict[str, LiveNode] = {}
        self.up_s = 0.0
        self._rng = chance.source(seed, "actions")
        self._asked: list[tuple[s.Query, LiveNode, str, int, LiveSearch]] = []

    def play(self) -> Outcome:
        """Start everything, do what is planned, count."""
        started = time.monotonic()
        self._start()
        self.up_s = time.monotonic() - started
        zero = time.monotonic()
        steps: list[tuple[float, int, s.AnyAction]] = []
        for number, action in enumerate(self.scenario.action):
            times = action.times if isinstance(action, s.Query) else 1
            every = action.every_s if isinstance(action, s.Query) else 0.0
            steps += [(action.at_s + every * time_, number, action) for time_ in range(times)]
        for at, _, action in sorted(steps, key=lambda step: step[:2]):
            wait_for([search for *_, search in self._asked], zero + at)
            self._DO[type(action)](self, action)
        longest = max((action.wait_s or WAIT_S for action, *_ in self._asked), default=0.0)
        finish([search for *_, search in self._asked], longest + PATIENCE_S)
        return self._outcome(time.monotonic() - zero)

    # -- the start -----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        for table, files in zip(self.layout.nodes(), self.layout.files(), strict=True):
            self._launch(table.name, files, firewalled=table.firewalled)
        nodes = list(self.nodes.values())
        for node in nodes:
            node.wait_ready()
        for one, other, _ in self.layout.pairs():
            if nodes[other].is_firewalled:
                one, other = other, one
            nodes[one].connect(nodes[other])

    def _launch(self, name: str, files: list[Content], *, firewalled: bool) -> LiveNode:
        node = self.nodes[name] = self.nursery.launch(name, files, firewalled=firewalled)
        return node

    # -- what happens --------------------------------------------------------------------------------------------------

    def _query(self, action: s.Query) -> None:
        node = self._node(action.asker)
        query = self.layout.question(action, self._rng)
        if node is None:
            return
        words = normalise_text(query.full_text) or " ".join(query.urns)
        payload = query.encode()
        others = [other for other in self.nodes.values() if other.is_up and other is not node]
        expected = sum(len(Catalog.build(other.shared()).answer(payload, 64)) for other in others)
        search = LiveSearch(node.socket_path, words, action.wait_s or WAIT_S)
        self._asked.append((action, node, words, expected, search))

    def _node(self, name: str) -> LiveNode | None:
        running = [node for node in self.nodes.values() if node.is_up]
        if name == "*":
            return chance.pick(self._rng, running) if running else None
        node = self.nodes.get(name)
        return node if node is not None and node.is_up else None

    def _publish(self, action: s.Publish) -> None:
        node = self._node(action.node)
        if node is not None:
            node.share([Content.of(name) for name in action.files])
            node.ask("share rescan")
            node.wait_ready()

    def _join(self, action: s.Join) -> None:
        known = self.nodes.get(action.node)
        if known is not None and known.is_up:
            return
        files = known.files if known is not None else [Content.of(name) for name in action.files]
        node = self._launch(action.node, files, firewalled=action.firewalled)
        node.wait_ready()
        running = [peer for peer in self.nodes.values() if peer.is_up and peer is not node and not peer.is_firewalled]
        if isinstance(action.links, tuple):
            peers = [self.nodes[name] for name in action.links]
        else:
            peers = chance.choose(self._rng, running, action.links)
        for peer in peers:
            node.connect(peer)

    def _end(self, action: s.Leave | s.Kill) -> None:
        node = self._node(action.node)
        if node is not None:
            self.nursery.end(node, is_killed=isinstance(action, s.Kill))

    _DO: ClassVar[dict[type, Callable[..., None]]] = {
        s.Query: _query,
        s.Publish: _publish,
        s.Join: _join,
        s.Leave: _end,
        s.Kill: _end,
    }

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _outcome(self, lasted_s: float) -> Outcome:
        rows, failures = [], []
        by_address = {node.address: node.name for node in self.nodes.values()}
        steps = self._steps([search.guid for *_, search in self._asked])
        for action, node, words, expected, search in self._asked:
            row = _row(node.name, words, expected, search, by_address, steps.get(search.guid, {}))
            rows.append(row)
            if search.error:
                failures.append(f"query {words!r} of {node.name}: {search.error}")
            if action.expect is not None:
                failures += judge(action.expect, _values(row), f"query {words!r} of {node.name}")
        latencies = [row["first_hit_ms"] for row in rows if row["first_hit_ms"] is not None]
        totals: dict[str, Any] = {
            "nodes": len(self.nodes),
            "virtual_s": round(lasted_s, 3),
            "up_s": round(self.up_s, 3),
            "queries": len(rows),
            "answered": sum(row["found"] > 0 for row in rows),
            "recall": mean([row["recall"] for row in rows]),
            "messages_per_query": mean([row["messages"] for row in rows]),
            "hit_messages_per_query": mean([row["hit_messages"] for row in rows]),
            "latency_ms": {f"p{int(100 * share)}": percentile(latencies, share) for share in (0.5, 0.9, 0.99)},
            **self._traffic(),
        }
        never = set(self.scenario.never)
        failures += [f"never: {label} occurred {n} times" for label, n in totals["drops"].items() if label in never]
        return Outcome(self.scenario, self.seed, rows, [], totals, failures, "live")

    def _steps(self, guids: list[str]) -> dict[str, dict[str, int]]:
        """GUID -> how often each kind of step was noted, over all nodes that run."""
        counts: dict[str, dict[str, int]] = {guid: {} for guid in guids if guid}
        for node in self.nodes.values():
            if not node.is_up:
                continue
            with NodeClient(node.socket_path) as client:
                for guid, count in counts.items():
                    try:
                        for row in client.rows(f"trace {guid}"):
                            step = str(row.get("step"))
                            if step.startswith("answered "):
                                count["files"] = count.get("files", 0) + int(step.split()[1])
                                step = "answered"
                            count[step] = count.get(step, 0) + 1
                    except UserError:
                        continue  # The query never came to this node.
        return counts

    def _traffic(self) -> dict[str, Any]:
        load: list[int] = []
        drops: dict[str, int] = {}
        kinds: dict[str, int] = {}
        for node in self.nodes.values():
            if not node.is_up:
                continue
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


def _row(
    asker: str, words: str, expected: int, search: LiveSearch, names: dict[str, str], steps: dict[str, int]
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
        "messages": steps.get("forwarded to", 0),
        "first_hit_ms": None if search.first_at is None else round((search.first_at - search.asked_at) * 1000, 3),
        "hops": min((int(row["hops"]) for row in search.rows), default=None),
        "from": asker,
        "recall": round(found / expected, 6) if expected else 1.0,
        "hit_messages": steps.get("hit back to", 0)
        + sum(n for step, n in steps.items() if step.startswith("answered")),
        "reached": steps.get("received from", 0),
        "asked_s": None,
    }


def _values(row: dict[str, Any]) -> dict[str, float | None]:
    return {
        "hits": row["found"],
        "recall": row["recall"],
        "latency_ms": row["first_hit_ms"],
        "messages": row["messages"],
        "hops": row["hops"],
        "reached": row["reached"],
    }


def is_running(process: int) -> bool:
    """Whether a process of that id exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
