"""What an overlay (overlay.py) does with real servents.  Calls block; `elsewhere` lets an event loop go on meanwhile."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, TypeVar

from gnutella.errors import UserError
from gnutella.lab import scenario as s
from gnutella.lab.content import Content
from gnutella.lab.live import LiveRun, refusals
from gnutella.lab.live_download import LiveDownload
from gnutella.lab.live_nodes import POLL_S, LiveNode
from gnutella.lab.live_search import LiveSearch, Reading
from gnutella.lab.stream import Line

T = TypeVar("T")

#: Seconds beyond its waiting that a search or a download may take to end.
PATIENCE_S = 15.0


async def elsewhere(call: Callable[[], T]) -> T:
    """Its result, from a thread when an event loop runs here (asyncio's, or Twisted's reactor), else at once."""
    if _is_in_asyncio():
        return await asyncio.get_running_loop().run_in_executor(None, call)
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None or not reactor.running:
        return call()
    from gnutella.network.workers import Workers

    workers = Workers(reactor, count=1, name="gnutella-lab")
    try:
        return await workers.run(call)
    finally:
        await workers.stop()


def _is_in_asyncio() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


class LivePlay:
    """The servents of one overlay.  Searches and waits may go on side by side; changes happen one after the other."""

    def __init__(self, scenario: s.Scenario) -> None:
        for fault in refusals(scenario):
            raise UserError(f"this overlay cannot be live: {fault}", fault.fix, 78)
        self._run = LiveRun(scenario, scenario.seed)
        self.net = self._run.net
        self._stack = ExitStack()
        self._changing = threading.Lock()

    def start(self) -> None:
        """All up and linked."""
        self._stack.enter_context(self.net)
        try:
            self._run.start()
        except BaseException:
            self._stack.close()
            raise

    def stop(self) -> None:
        """All gone."""
        self._stack.close()

    def search(self, node: LiveNode, text: str, wait_s: float, ttl: int | None = None) -> list[dict[str, Any]]:
        """Hits after that time."""
        search, reading = LiveSearch(node, text, wait_s, ttl), Reading()
        reading.searches.append(search)
        reading.finish(lambda: search.is_over, wait_s + PATIENCE_S, "search")
        if search.error:
            raise UserError(f"the search of {node.name} failed: {search.error}", "look into its log", 75)
        return search.rows

    def download(self, node: LiveNode, text: str, within_s: float, search_s: float) -> dict[str, Any]:
        """The row of a download that has ended, or whose time is over."""
        download, reading = LiveDownload(node, text, within_s, search_s), Reading()
        reading.searches.append(download)
        reading.often.append(download.look)
        reading.finish(lambda: download.is_ended, within_s + PATIENCE_S, "download")
        if download.fault:
            raise AssertionError(download.failures()[0])
        return download.shown()

    def publish(self, node: LiveNode, names: Iterable[str]) -> None:
        """Share more files."""
        with self._changing:
            self.net.publish(node, [Content.of(name) for name in names])

    def end(self, node: LiveNode, *, is_killed: bool, is_power_failure: bool = False) -> None:
        """Its process ends."""
        with self._changing:
            self.net.end(node, is_killed=is_killed, is_power_failure=is_power_failure)

    def join(self, node: LiveNode, peers: Iterable[str]) -> None:
        """It starts again if stopped, and dials these."""
        with self._changing:
            self.net.revive(node)
            others = [self.net.nodes[name] for name in peers]
            self.net.await_links([(node, other) for other in others if self.net.link(node, other)])

    def peers(self, node: LiveNode) -> list[str]:
        """Names of the nodes it has links to."""
        names = {other.address: other.name for other in self.net.nodes.values()}
        return [names[row["address"]] for row in node.ask("peers") if row["address"] in names] if node.is_up else []

    def add(self, name: str, files: Iterable[str]) -> LiveNode:
        """One more, up."""
        with self._changing:
            node = self.net.add(name, [Content.of(file) for file in files])
            self.net.settle([node])
            return node

    def link(self, dialler: str, listener: str, latency_s: float) -> None:
        """One more link."""
        with self._changing:
            one, other = self.net.nodes[dialler], self.net.nodes[listener]
            if self.net.link(one, other, Line(latency_s)):
                self.net.await_links([(one, other)])

    def partition(self, groups: Iterable[Iterable[str]]) -> None:
        """The network falls apart."""
        with self._changing:
            self.net.partition(list(groups))

    def heal(self) -> None:
        """And comes together."""
        with self._changing:
            self.net.heal()

    def change(self, node: LiveNode, key: str, value: int) -> None:
        """firewalled, busy, query_ttl."""
        with self._changing:
            self.net.change(node, key, value)

    def wait(self, seconds: float) -> None:
        """Real time passes."""
        time.sleep(max(POLL_S, seconds))
