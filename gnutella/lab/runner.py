"""Runs a scenario in virtual time.

    outcome = run(load("flood.toml"))
    outcome.rows, outcome.failures, outcome.trace

A broken invariant ends the run and is its last failure.  `build` gives the network before anything has happened, for those who
want to look on while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from gnutella.lab import chance
from gnutella.lab import scenario as s
from gnutella.lab.census import census, missed
from gnutella.lab.chance import choose, exponential, pick
from gnutella.lab.content import shelf
from gnutella.lab.downloads import Download, Downloads
from gnutella.lab.keeping import Keeper, introduce, settings_of
from gnutella.lab.layout import Layout
from gnutella.lab.net import Network
from gnutella.lab.node import LabNode
from gnutella.lab.outcome import Outcome, average, expectations, totals, values_of
from gnutella.lab.quest import Quest
from gnutella.lab.stream import Fault
from gnutella.lab.sums import check_balance, drop_reasons
from gnutella.lab.watch import InvariantBroken

#: More questions than that are not asked to keep every hit's details: a row of results is some KiB.
MAX_DETAILED = 200
#: Nodes that a coming node tries before it gives up on a link.
MAX_TRIES = 10


def run(scenario: s.Scenario, seed: int | None = None, *, keeps_events: bool = False) -> Outcome:
    """The whole run, judged."""
    return build(scenario, seed, keeps_events=keeps_events).finish()


def build(scenario: s.Scenario, seed: int | None = None, *, keeps_events: bool = False) -> Run:
    """The network at time 0, with everything planned."""
    return Run(scenario, scenario.seed if seed is None else seed, keeps_events=keeps_events)


class Run:
    """One run of one scenario."""

    def __init__(self, scenario: s.Scenario, seed: int, *, keeps_events: bool = False) -> None:
        self.scenario = scenario
        self.seed = seed
        self.net = Network(seed, routing=scenario.routing, keeps_events=keeps_events)
        self.net.use(scenario.strategy)
        self.quests: list[Quest] = []
        self._judged: list[tuple[Quest, s.Expect]] = []
        self._rng = chance.source(seed, "actions")
        self.layout = Layout(scenario, seed)
        self.downloads = Downloads(self.net, self.layout.line(None))
        self._due: list[tuple[s.Download, float, Download | None]] = []
        self._keeps = sum(action.times for action in scenario.action if isinstance(action, s.Query)) <= MAX_DETAILED
        self.failures: list[str] = []
        self.censuses: list[dict[str, Any]] = []
        #: What must come of the questions of one action on average.
        self._averages: list[tuple[list[Quest], s.Expect]] = []
        self._populate()
        for action in scenario.action:
            self._plan(action)

    def finish(self) -> Outcome:
        """Run to the end."""
        try:
            self.net.clock.run(self.scenario.end_s)
            check_balance(self.net)
        except InvariantBroken as broken:
            self.failures.append(f"invariant {broken}")
        return self.outcome()

    def outcome(self) -> Outcome:
        """What it has come to until now."""
        failures = [line for quest, expect in self._judged for line in expectations(quest, expect)]
        for asked, expect in self._averages:
            label = f"on average of queries from {asked[0].asked_at:g} s on" if asked else ""
            failures += average([values_of(quest) for quest in asked], expect, label)
        failures += average([values_of(quest) for quest in self.quests], self.scenario.expect)
        failures += self._late_downloads()
        drops = drop_reasons(self.net)
        never = set(self.scenario.never)
        failures += [f"never: {r.value} occurred {n} times" for r, n in drops.items() if r.value in never]
        return Outcome(
            self.scenario,
            self.seed,
            [quest.row() for quest in self.quests],
            [download.row() for download in self.downloads.all],
            totals(self.net, self.quests),
            failures + self.failures,
            self.net.record.digest(),
            self.censuses,
        )

    # -- the start -----------------------------------------------------------------------------------------------------

    def _populate(self) -> None:
        net, layout = self.net, self.layout
        for node, files in zip(layout.nodes(), layout.files(), strict=True):
            shared = [file.shared(index) for index, file in enumerate(files, 1)]
            is_leaf = node.role == "leaf"
            is_ultrapeer = node.role == "ultrapeer"
            made = net.add(
                node.name,
                shared,
                is_leaf=is_leaf,
                is_ultrapeer=is_ultrapeer,
                is_firewalled=node.firewalled,
                nat=node.nat,
            )
            self._keep(made, node.role)
        nodes = list(net.nodes.values())
        for each in nodes if self.scenario.links.kept else ():
            introduce(net, each, self.scenario.links.known, self._rng)
        for one, other, link in layout.pairs():
            self._connect(nodes[one], nodes[other], link)

    def _keep(self, node: LabNode, role: s.Role) -> None:
        """Let the node look after its links itself, if the scenario wants that."""
        links = self.scenario.links
        if links.kept:
            node.keeper = Keeper(self.net, node, settings_of(links, role), lambda: self.layout.line(None))

    def _connect(self, one: LabNode, other: LabNode, link: s.Link | None) -> bool:
        """A link; the one that can be dialled is dialled."""
        if other.is_firewalled and not self.net.reaches(one, other):
            one, other = other, one
        full = self.scenario.network.handshake == "full"
        return self.net.connect(one, other, self.layout.line(link), full=full) is not None

    # -- what happens --------------------------------------------------------------------------------------------------

    def _plan(self, action: s.AnyAction) -> None:
        if isinstance(action, s.Query):
            asked: list[Quest] = []
            if action.on_average is not None:
                self._averages.append((asked, action.on_average))
            for number in range(action.times):
                self.net.clock.at(action.at_s + number * action.every_s, self._query, action, asked)
        else:
            self.net.clock.at(action.at_s, self._ACTIONS[type(action)], self, action)

    def _query(self, action: s.Query, asked: list[Quest]) -> None:
        node = self._node(action.asker)
        if node is None or self.net.strategy is None:
            return
        quest = self.net.strategy.ask(node, self.layout.question(action, self._rng), action.ttl, keeps_hits=self._keeps)
        quest.label = f"query {quest.text!r} of {node.name} at {self.net.clock.now:g} s"
        if action.wait_s is not None:
            quest.until = quest.asked_at + action.wait_s
        self.quests.append(quest)
        asked.append(quest)
        if action.expect is not None:
            self._judged.append((quest, action.expect))

    def _download(self, action: s.Download) -> None:
        node = self._node(action.node)
        if node is None:
            self.failures.append(f"download of {action.text!r}: {action.node} does not run")
            return
        quest = self.net.search(node, action.text)
        self.net.clock.after(action.search_s, self._fetch, node, quest, action)

    def _fetch(self, node: LabNode, quest: Quest, action: s.Download) -> None:
        hit = quest.results.hit(1) if quest.results is not None else None
        started = self.downloads.add(node, hit) if hit is not None and node.is_up else None
        if action.within_s:
            self._due.append((action, quest.asked_at, started))

    def _late_downloads(self) -> Iterator[str]:
        """A line for each download that is not whole in its time."""
        for action, asked_at, download in self._due:
            label = f"download of {action.text!r} by {action.node}"
            if download is None:
                yield f"{label}: nothing was found"
            elif download.state != "done":
                yield f"{label}: {download.state} {download.error}".rstrip()
            elif download.ended_at > asked_at + action.within_s:
                yield f"{label}: took {download.ended_at - asked_at:g} s, expected {action.within_s:g} s"

    def _node(self, name: str) -> LabNode | None:
        """The node of that name if it runs; `*` is one that runs."""
        if name == "*":
            running = self._running()
            return pick(self._rng, running) if running else None
        node = self.net.nodes.get(name)
        return node if node is not None and node.is_up else None

    def _running(self) -> list[LabNode]:
        return [node for node in self.net.nodes.values() if node.is_up]

    def _publish(self, action: s.Publish) -> None:
        node = self._node(action.node)
        if node is not None:
            self.net.publish(node, shelf(action.files))

    def _join(self, action: s.Join) -> None:
        net = self.net
        node = net.nodes.get(action.node)
        if node is None:
            node = net.add(action.node, shelf(action.files), is_firewalled=action.firewalled, nat=action.nat)
            self._keep(node, self.scenario.topology.role)
        elif node.is_up:
            return
        else:
            net.revive(node)
        if isinstance(action.links, tuple):
            for name in action.links:
                self._connect(node, net.nodes[name], None)
        else:
            self._find_links(node, action.links)

    def _find_links(self, node: LabNode, count: int) -> None:
        """Dial hosts that the node knows, then others that run, as a bootstrap service would name them.

        A node that looks after its links is only told of them.
        """
        if node.keeper is not None:
            introduce(self.net, node, count, self._rng)
            return
        known = [self.net.node_at(address) for address in node.hosts.choose(MAX_TRIES, self.net.clock.now)]
        others = choose(self._rng, self._running(), count + MAX_TRIES)
        tried: dict[str, LabNode] = {peer.name: peer for peer in (*known, *others) if peer is not None}
        for peer in tried.values():
            if len(node.ends) >= count:
                return
            if peer is not node and not peer.is_leaf and node.end_towards(peer) is None:
                self.net.connect(node, peer, self.layout.line(None), full=self.scenario.network.handshake == "full")

    def _leave(self, action: s.Leave) -> None:
        node = self._node(action.node)
        if node is not None:
            self.net.leave(node)

    def _kill(self, action: s.Kill) -> None:
        named = self._node(action.node) if action.node else None
        nodes = self._share(action) if not action.node else [] if named is None else [named]
        for node in nodes:
            self.net.kill(node, is_power_failure=action.power_failure)

    def _share(self, action: s.Kill) -> list[LabNode]:
        """That share of the running nodes of a role."""
        of_role = [n for n in self._running() if action.role == "any" or n.is_leaf == (action.role == "leaf")]
        return choose(self._rng, of_role, round(action.share * len(of_role)))

    def _census(self, action: s.Census) -> None:
        row = census(self.net)
        self.censuses.append(row)
        self.failures += missed(action.expect, row)

    def _partition(self, action: s.Partition) -> None:
        self.net.partition(chance.halves(self._rng, action.groups, list(self.net.nodes)))

    def _heal(self, action: s.Heal) -> None:
        self.net.heal()

    def _set(self, action: s.Set) -> None:
        nodes = list(self.net.nodes.values()) if action.node == "*" else [self.net.nodes[action.node]]
        for node in nodes:
            self.net.change(node, action.key, action.value)

    def _fault(self, action: s.Fault) -> None:
        sender, receiver = (self.net.nodes[name] for name in action.between)
        fault = Fault(action.kind, action.at_byte, action.seconds)
        end = sender.end_towards(receiver)
        if action.on == "transfer":
            self.downloads.strike(sender, receiver, fault)
        elif end is not None:
            self.net.add_fault(end, fault)
        else:
            names = " and ".join(action.between)
            self.failures.append(f"fault at {action.at_s:g} s: there is no link between {names}")

    def _disk(self, action: s.Disk) -> None:
        disk = self.downloads.disk_of(self.net.nodes[action.node])
        disk.room = None if action.room_kib is None else action.room_kib * 1024
        disk.bytes_s = action.kib_s * 1024

    def _churn(self, action: s.Churn) -> None:
        until = self.scenario.end_s if action.until_s is None else action.until_s
        names = choose(self._rng, list(self.net.nodes), round(action.share * len(self.net.nodes)))
        for name in names:
            self.net.clock.after(
                exponential(self._rng, action.mean_up_s), self._go, self.net.nodes[name], action, until
            )

    def _go(self, node: LabNode, action: s.Churn, until: float) -> None:
        if self.net.clock.now >= until or not node.is_up:
            return
        links = max(1, len(node.ends))
        if pick(self._rng, (True, False)):
            self.net.leave(node)
        else:
            self.net.kill(node)
        self.net.clock.after(exponential(self._rng, action.mean_down_s), self._come, node, action, until, links)

    def _come(self, node: LabNode, action: s.Churn, until: float, links: int) -> None:
        if node.is_up:
            return
        self.net.revive(node)
        self._find_links(node, links)
        self.net.clock.after(exponential(self._rng, action.mean_up_s), self._go, node, action, until)

    _ACTIONS: ClassVar[dict[type, Callable[..., None]]] = {
        s.Download: _download,
        s.Publish: _publish,
        s.Join: _join,
        s.Leave: _leave,
        s.Kill: _kill,
        s.Partition: _partition,
        s.Heal: _heal,
        s.Set: _set,
        s.Fault: _fault,
        s.Disk: _disk,
        s.Churn: _churn,
        s.Census: _census,
    }
