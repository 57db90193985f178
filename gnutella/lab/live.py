"""A scenario with real servents: one process each, real links on loopback ports, the clock on the wall.

    outcome = run_live(load("twenty.toml"))

Each node is a process, and what connects to it comes through a relay (relay.py): there links and transfers get the latency,
line and faults that the scenario gives them, by the very code that the virtual network has for it.

    query, census               as in virtual time; messages are counted from the traces that the servents keep of all queries
    download                    search, then `get 1`; the file in incoming/ is compared byte by byte
    publish                     files are put where the servent looks, then `share rescan`
    join, leave, kill, churn    a process starts, is asked to stop (its Bye is sent), is killed
    power_failure               killed, and the relay lets nobody hear of it
    partition, heal             the relay holds bytes, and refuses calls, between the groups
    fault                       the relay strikes that byte; on a link they are bytes of the compressed stream
    set                         `config set` of network.firewalled, transfers.max_uploads = 0 (busy), routing.query_ttl
    firewalled, nat             network.firewalled, and the relay lets in nobody, or only those behind the same gateway
    latency, jitter, bandwidth, loss    as in virtual time, TCP only; nothing passes the relay by UDP

What real servents cannot do is refused before anything starts, with its line: `disk` (a process has the machine's disk), the
strategies but flooding and dynamic, `links.kept`, a `ttl` above routing.max_ttl.
Two things differ by nature: servents hold back the last hop of a query where route tables say that it is in vain, so that
`messages` and `reached` may be fewer; and times are those of a real machine.  The run ends when all that was asked for has
come, or its time is over.  It needs Linux, whose /proc tells the relay who calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, ClassVar

from msgspec import structs

from gnutella.errors import UserError
from gnutella.lab import chance
from gnutella.lab import scenario as s
from gnutella.lab.census import missed
from gnutella.lab.content import Content
from gnutella.lab.layout import Layout
from gnutella.lab.live_count import census_of, question_row, steps_of, totals_of, traffic_of, values_of
from gnutella.lab.live_download import LiveDownload
from gnutella.lab.live_net import LiveNet
from gnutella.lab.live_nodes import LiveNode
from gnutella.lab.live_search import LiveSearch, Reading
from gnutella.lab.outcome import Outcome, average, judge
from gnutella.lab.places import Fault
from gnutella.lab.stream import Line
from gnutella.protocol.query import normalise_text
from gnutella.settings import NetworkSettings
from gnutella.sharing.catalog import Catalog

#: How long a query waits for hits if the scenario does not say.
WAIT_S = 2.0
#: The most that a scenario may give a query.
MAX_TTL = 7
#: Seconds beyond its waiting that a search may take to end.
PATIENCE_S = 15.0
#: What real servents do, by their setting dynamic_queries.
STRATEGIES = ("flooding", "dynamic")
#: Nodes that a coming node tries before it gives up on a link.
MAX_TRIES = 10
#: Files that one node may answer a query with.
_MAX_ANSWERED = 64


def refusals(scenario: s.Scenario) -> Iterator[Fault]:
    """What of a scenario real servents cannot do, each with its place in the file."""
    if scenario.strategy not in STRATEGIES:
        what = f"strategy = {scenario.strategy!r} exists in virtual time only"
        yield Fault(("strategy",), what, f"write one of {', '.join(STRATEGIES)}, or run without --live")
    if scenario.links.kept:
        what = "kept = true is for virtual time: nodes of a live run keep the links that the scenario gives them"
        yield Fault(("links", "kept"), what, "give a topology, or run without --live")
    for number, action in enumerate(scenario.action):
        place = ("action", number)
        if isinstance(action, s.Disk):
            what = f"do = 'disk' at {action.at_s:g} s: the disk of a real process cannot be made full or slow"
            yield Fault((*place, "do"), what, "leave the action out, or run without --live")
        if isinstance(action, s.Query) and (action.ttl or 0) > scenario.routing.max_ttl:
            what = f"ttl = {action.ttl}: a real servent asks with {scenario.routing.max_ttl} at most, as routing.max_ttl says"
            yield Fault((*place, "ttl"), what, "lower it, raise routing.max_ttl, or run without --live")


def run_live(scenario: s.Scenario, seed: int | None = None, path: str | os.PathLike[str] | None = None) -> Outcome:
    """The whole run.  UserError: 78 for what cannot be run live (told with the line of `path`), 75 for servents that fail."""
    for fault in refusals(scenario):
        where = f"{s.place_in(path, fault)}: " if path is not None else ""
        raise UserError(f"{where}this scenario cannot be run with --live: {fault}", fault.fix, os.EX_CONFIG)
    run = LiveRun(scenario, scenario.seed if seed is None else seed)
    with run.net:
        return run.play()


class LiveRun:
    """One run of one scenario; enter its `net` first."""

    def __init__(self, scenario: s.Scenario, seed: int, directory: Path | None = None) -> None:
        self.scenario = scenario
        self.seed = seed
        self.layout = Layout(scenario, seed)
        is_dynamic = scenario.strategy == "dynamic"
        # Nothing passes the relay by UDP, so hits go over links, as in virtual time.
        routing = structs.replace(scenario.routing, dynamic_queries=is_dynamic, oob="off", guess=False)
        # Without handshakes nobody of a virtual network hears what TTL the others take.
        announced = MAX_TTL if scenario.network.handshake == "none" else NetworkSettings().announced_ttl
        self.net = LiveNet(routing, self.layout.line(None), directory, announced)
        self.up_s = 0.0
        self.failures: list[str] = []
        self.censuses: list[dict[str, Any]] = []
        self._rng = chance.source(seed, "actions")
        self._reading = Reading()
        self._reading.often.append(self._look)
        self._asked: list[tuple[s.Query, LiveNode, str, int, LiveSearch]] = []
        self._downloads: list[LiveDownload] = []
        self._zero = 0.0
        self._planned = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def play(self) -> Outcome:
        """Start everything, do what is planned, count."""
        started = time.monotonic()
        self.start()
        self.up_s = time.monotonic() - started
        self._zero = time.monotonic()
        for action in self.scenario.action:
            self._plan(action)
        while self._heap:
            at, _, call, arguments = heappop(self._heap)
            self._reading.wait_until(self._zero + at)
            call(*arguments)
        self._finish()
        return self._outcome(time.monotonic() - self._zero)

    def _finish(self) -> None:
        reading = self._reading
        longest = max((action.wait_s or WAIT_S for action, *_ in self._asked), default=0.0)
        reading.finish(lambda: all(search.is_over for *_, search in self._asked), longest + PATIENCE_S, "search")
        longest = max((download.within_s for download in self._downloads), default=0.0)
        reading.finish(lambda: all(one.is_ended for one in self._downloads), longest + PATIENCE_S, "download")
        for download in self._downloads:
            self.failures += download.failures()

    # -- the start -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """All servents, and all links."""
        net = self.net
        for table, files in zip(self.layout.nodes(), self.layout.files(), strict=True):
            net.add(table.name, files, role=table.role, is_firewalled=table.firewalled, nat=table.nat)
        nodes = list(net.nodes.values())
        net.settle(nodes)
        net.link_all([self._wanted(nodes[one], nodes[other], link) for one, other, link in self.layout.pairs()])

    def _wanted(self, one: LiveNode, other: LiveNode, link: s.Link | None) -> tuple[LiveNode, LiveNode, Line]:
        """A link: its dialler, its listener, its line; the one that can be dialled is dialled."""
        if other.is_firewalled and not (other.nat and other.nat == one.nat):
            one, other = other, one
        return one, other, self.layout.line(link)

    # -- what happens --------------------------------------------------------------------------------------------------

    def _at(self, at: float, call: Callable[..., None], *arguments: Any) -> None:
        self._planned += 1
        heappush(self._heap, (at, self._planned, call, arguments))

    def _plan(self, action: s.AnyAction) -> None:
        times = action.times if isinstance(action, s.Query) else 1
        every = action.every_s if isinstance(action, s.Query) else 0.0
        for number in range(times):
            self._at(action.at_s + every * number, self._DO[type(action)], self, action)

    def _now(self) -> float:
        return time.monotonic() - self._zero

    def _look(self) -> None:
        for download in self._downloads:
            download.look()

    def _query(self, action: s.Query) -> None:
        node = self._node(action.asker)
        query = self.layout.question(action, self._rng)
        if node is None:
            return
        words = normalise_text(query.full_text) or " ".join(query.urns)
        payload = query.encode()
        others = [other for other in self.net.running() if other is not node]
        expected = sum(len(Catalog.build(other.shared()).answer(payload, _MAX_ANSWERED)) for other in others)
        search = LiveSearch(node, words, action.wait_s or WAIT_S, action.ttl)
        self._reading.searches.append(search)
        self._asked.append((action, node, words, expected, search))

    def _download(self, action: s.Download) -> None:
        node = self._node(action.node)
        if node is None:
            self.failures.append(f"download of {action.text!r}: {action.node} does not run")
            return
        download = LiveDownload(node, action.text, action.within_s, action.search_s)
        self._downloads.append(download)
        self._reading.searches.append(download)

    def _node(self, name: str) -> LiveNode | None:
        running = self.net.running()
        if name == "*":
            return chance.pick(self._rng, running) if running else None
        node = self.net.nodes.get(name)
        return node if node is not None and node.is_up else None

    def _publish(self, action: s.Publish) -> None:
        node = self._node(action.node)
        if node is not None:
            self.net.publish(node, [Content.of(name) for name in action.files])

    def _join(self, action: s.Join) -> None:
        net, node = self.net, self.net.nodes.get(action.node)
        if node is None:
            files = [Content.of(name) for name in action.files]
            node = net.add(action.node, files, is_firewalled=action.firewalled, nat=action.nat)
            net.settle([node])
        elif node.is_up:
            return
        else:
            net.revive(node)
        if isinstance(action.links, tuple):
            wanted = [self._wanted(node, net.nodes[name], None) for name in action.links]
            net.link_all([pair for pair in wanted if pair[0].is_up and pair[1].is_up])
        else:
            self._find_links(node, action.links)

    def _find_links(self, node: LiveNode, count: int) -> None:
        """Dial nodes that run, as a bootstrap service would name them."""
        running = [peer for peer in self.net.running() if peer is not node and peer.role != "leaf"]
        opened = 0
        for peer in chance.choose(self._rng, running, count + MAX_TRIES):
            if opened >= count:
                return
            opened += not peer.is_firewalled and self.net.link(node, peer, self.layout.line(None))

    def _leave(self, action: s.Leave) -> None:
        node = self._node(action.node)
        if node is not None:
            self.net.end(node, is_killed=False)

    def _kill(self, action: s.Kill) -> None:
        named = self._node(action.node) if action.node else None
        for node in self._share(action) if not action.node else [] if named is None else [named]:
            self.net.end(node, is_killed=True, is_power_failure=action.power_failure)

    def _share(self, action: s.Kill) -> list[LiveNode]:
        """That share of the running nodes of a role."""
        running = self.net.running()
        of_role = [n for n in running if action.role == "any" or (n.role == "leaf") == (action.role == "leaf")]
        return chance.choose(self._rng, of_role, round(action.share * len(of_role)))

    def _census(self, action: s.Census) -> None:
        row = census_of(self.net.running(), round(self._now(), 3))
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
        sender, receiver = action.between
        struck = self.net.fronts.fault(sender, receiver, action.kind, action.at_byte, action.seconds, action.on)
        if not struck and action.on == "link":
            self.failures.append(no_link(action))

    def _churn(self, action: s.Churn) -> None:
        until = self.scenario.end_s if action.until_s is None else action.until_s
        names = chance.choose(self._rng, list(self.net.nodes), round(action.share * len(self.net.nodes)))
        for name in names:
            self._soon(chance.exponential(self._rng, action.mean_up_s), self._go, self.net.nodes[name], action, until)

    def _soon(
        self, delay_s: float, call: Callable[..., None], node: LiveNode, action: s.Churn, until: float, *more: Any
    ) -> None:
        """The next turn of a node that comes and goes, unless it is after the end of that."""
        at = self._now() + delay_s
        if at < until:
            self._at(at, call, node, action, until, *more)

    def _go(self, node: LiveNode, action: s.Churn, until: float) -> None:
        if not node.is_up:
            return
        links = max(1, len(node.ask("peers")))
        self.net.end(node, is_killed=chance.pick(self._rng, (True, False)))
        self._soon(chance.exponential(self._rng, action.mean_down_s), self._come, node, action, until, links)

    def _come(self, node: LiveNode, action: s.Churn, until: float, links: int) -> None:
        if node.is_up:
            return
        self.net.revive(node)
        self._find_links(node, links)
        self._soon(chance.exponential(self._rng, action.mean_up_s), self._go, node, action, until)

    _DO: ClassVar[dict[type, Callable[..., None]]] = {
        s.Query: _query,
        s.Download: _download,
        s.Publish: _publish,
        s.Join: _join,
        s.Leave: _leave,
        s.Kill: _kill,
        s.Partition: _partition,
        s.Heal: _heal,
        s.Set: _set,
        s.Fault: _fault,
        s.Churn: _churn,
        s.Census: _census,
    }

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _outcome(self, lasted_s: float) -> Outcome:
        rows, failures = [], []
        by_address = {node.address: node.name for node in self.net.nodes.values()}
        running = self.net.running()
        steps = steps_of(running, [search.guid for *_, search in self._asked])
        for action, node, words, expected, search in self._asked:
            own = steps.get(search.guid, {})
            row = question_row(node.name, words, expected, search, by_address, own, search.asked_at - self._zero)
            rows.append(row)
            if search.error and not search.is_cut_off:
                failures.append(f"query {words!r} of {node.name}: {search.error}")
            label = f"query {words!r} of {node.name} at {row['asked_s']:g} s"
            if action.expect is not None:
                failures += judge(action.expect, values_of(row), label)
        failures += average([values_of(row) for row in rows], self.scenario.expect)
        failures += self._averages(rows)
        totals = {
            "nodes": len(self.net.nodes),
            "virtual_s": round(lasted_s, 3),
            "up_s": round(self.up_s, 3),
            **totals_of(rows),
            **traffic_of(running),
        }
        never = set(self.scenario.never)
        failures += [f"never: {label} occurred {n} times" for label, n in totals["drops"].items() if label in never]
        downloads = [download.shown() for download in self._downloads]
        failures += self.failures
        return Outcome(self.scenario, self.seed, rows, downloads, totals, failures, "live", self.censuses)

    def _averages(self, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
        """What must come of the questions of one action on average."""
        for action in self.scenario.action:
            if isinstance(action, s.Query) and action.on_average is not None:
                own = [row for (asked, *_), row in zip(self._asked, rows, strict=True) if asked is action]
                yield from average(
                    [values_of(row) for row in own], action.on_average, f"on average from {action.at_s:g} s on"
                )


def no_link(action: s.Fault) -> str:
    """A line for a fault that struck nothing."""
    return f"fault at {action.at_s:g} s: there is no link between {action.between[0]} and {action.between[1]}"
