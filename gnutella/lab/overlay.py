"""The lab from Python: a network as an asynchronous context, its nodes by name.

    async with Overlay({"alice": ["hello world.txt"], "bob": [], "carol": []}, topology="line") as net:
        hits = await net["carol"].search("hello")
        assert hits[0]["hops"] == 2
        await net["alice"].leave()

With `live=True` the same is done with real servents, a process each, and real time; nothing is left running afterwards.

Else time is virtual and moves only while something is awaited, so it works under every event loop and takes no time of its
own.  All invariants hold while the context lives, or `InvariantBroken` is raised; the sums are checked when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from msgspec import convert

from gnutella.lab import scenario as s
from gnutella.lab.consistency import check
from gnutella.lab.content import shelf
from gnutella.lab.downloads import Downloads
from gnutella.lab.live_nodes import LiveNode
from gnutella.lab.live_play import LivePlay, elsewhere
from gnutella.lab.net import Network
from gnutella.lab.node import LabNode
from gnutella.lab.runner import Run, build
from gnutella.lab.stream import Line
from gnutella.lab.sums import check_balance

#: How long a search waits for hits if nobody says otherwise: a message crosses the largest network many times in that.
WAIT_S = 5.0
#: The same for real servents, where each second is one.
LIVE_WAIT_S = 1.0
#: How often a download in virtual time is looked at.
LOOK_S = 0.25


class Member:
    """One node as a test sees it.  `node` is the virtual node itself, or the real servent of a live overlay."""

    def __init__(self, overlay: Overlay, node: LabNode | LiveNode) -> None:
        self._overlay = overlay
        self.node = node
        self.name = node.name

    @property
    def address(self) -> str:
        """Where others know it, as in the sources of a hit."""
        return str(self.node.address)

    async def search(self, text: str, *, wait_s: float | None = None, ttl: int | None = None) -> list[dict[str, Any]]:
        """Hits after that time: rows with the keys of `gnutella search`.  `ttl` None: as the node's query_ttl says."""
        node = self.node
        if isinstance(node, LiveNode):
            live_wait_s = LIVE_WAIT_S if wait_s is None else wait_s
            return await elsewhere(lambda: self._overlay.play.search(node, text, live_wait_s, ttl))
        quest = self._overlay.network.search(node, text, ttl)
        await self._overlay.run(WAIT_S if wait_s is None else wait_s)
        return quest.results.rows() if quest.results is not None else []

    async def download(self, text: str, *, within_s: float = 60.0, search_s: float = 3.0) -> dict[str, Any]:
        """Search, and fetch the first file found: its row, whole (`state` done, every byte compared) or not."""
        node = self.node
        if isinstance(node, LiveNode):
            return await elsewhere(lambda: self._overlay.play.download(node, text, within_s, search_s))
        began = self._overlay.network.clock.now
        quest = self._overlay.network.search(node, text)
        await self._overlay.run(search_s)
        hit = quest.results.hit(1) if quest.results is not None else None
        started = self._overlay.downloads.add(node, hit) if hit is not None else None
        if started is None:
            return {"download": text, "by": self.name, "state": "failed", "error": "nothing was found"}
        while started.state == "transferring" and self._overlay.network.clock.now < began + within_s:
            await self._overlay.run(LOOK_S)
        return started.row()

    async def publish(self, *names: str) -> None:
        """Share more files; their bytes follow from their names."""
        node = self.node
        if isinstance(node, LiveNode):
            await elsewhere(lambda: self._overlay.play.publish(node, names))
        else:
            self._overlay.network.publish(node, shelf(names))

    async def set(self, key: str, value: int) -> None:
        """Change firewalled or busy (True, False), or query_ttl (1 to 7)."""
        node = self.node
        if isinstance(node, LiveNode):
            await elsewhere(lambda: self._overlay.play.change(node, key, value))
        else:
            self._overlay.network.change(node, key, value)

    async def leave(self) -> None:
        """Say Bye and stop."""
        node = self.node
        if isinstance(node, LiveNode):
            await elsewhere(lambda: self._overlay.play.end(node, is_killed=False))
        else:
            self._overlay.network.leave(node)

    async def kill(self, *, power_failure: bool = False) -> None:
        """Die; with a power failure peers are not told."""
        node = self.node
        if isinstance(node, LiveNode):
            await elsewhere(lambda: self._overlay.play.end(node, is_killed=True, is_power_failure=power_failure))
        else:
            self._overlay.network.kill(node, is_power_failure=power_failure)

    async def join(self, *peers: str) -> None:
        """Start again if stopped, and dial these peers."""
        node = self.node
        if isinstance(node, LiveNode):
            await elsewhere(lambda: self._overlay.play.join(node, peers))
            return
        network = self._overlay.network
        network.revive(node)
        for name in peers:
            network.connect(node, network.nodes[name])

    @property
    def peers(self) -> list[str]:
        """Names of the nodes it has links to."""
        if isinstance(self.node, LiveNode):
            return self._overlay.play.peers(self.node)
        return [peer.name for peer in self.node.neighbours()]


class Overlay:
    """See the module text.

    `nodes` is a number, names, or names with the files they share; `links` are pairs of names beside the topology's; other
    keys are those of [topology] (degree, rewired, leaves) and [network] (latency_ms, loss, ...) of a scenario file.
    """

    def __init__(
        self,
        nodes: int | Iterable[str] | Mapping[str, Iterable[str]],
        *,
        topology: str = "random_regular",
        links: Iterable[tuple[str, str]] = (),
        seed: int = 1,
        live: bool = False,
        routing: Mapping[str, object] | None = None,
        **options: Any,
    ) -> None:
        shares: Mapping[str, Iterable[str]] = {}
        if isinstance(nodes, Mapping):
            shares = nodes
        elif not isinstance(nodes, int):
            shares = dict.fromkeys(nodes, ())
        of_topology: dict[str, object] = {
            key: options.pop(key) for key in ("degree", "rewired", "leaves") if key in options
        }
        if isinstance(nodes, int):
            of_topology["nodes"] = nodes
        tables = {
            "seed": seed,
            "duration_s": 0.0,
            "topology": {"kind": topology, **of_topology},
            "network": options,
            "routing": {"trace": "off", **(routing or {})},
            "node": [{"name": name, "files": list(files)} for name, files in shares.items()],
            "link": [{"between": list(pair)} for pair in links],
        }
        self._scenario = convert(tables, s.Scenario)
        check(self._scenario)
        self._run: Run | None = None
        self._play = LivePlay(self._scenario) if live else None

    @classmethod
    def of(cls, scenario: s.Scenario) -> Overlay:
        """The network of a scenario in virtual time, with its actions as time goes on."""
        overlay = cls(1)
        overlay._scenario = scenario
        return overlay

    async def __aenter__(self) -> Overlay:
        if self._play is not None:
            await elsewhere(self._play.start)
            return self
        self._run = build(self._scenario)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._play is not None:
            await elsewhere(self._play.stop)
        elif error is None:
            check_balance(self.network)

    @property
    def network(self) -> Network:
        """The virtual network itself, for whatever has no method here."""
        if self._run is None:
            raise RuntimeError("enter the overlay with `async with` first; a live one has no virtual network")
        return self._run.net

    @property
    def downloads(self) -> Downloads:
        """Downloads in virtual time."""
        if self._run is None:
            raise RuntimeError("enter the overlay with `async with` first; a live one has no virtual network")
        return self._run.downloads

    @property
    def play(self) -> LivePlay:
        """The real servents of a live overlay."""
        if self._play is None:
            raise RuntimeError("this overlay is not live")
        return self._play

    @property
    def trace(self) -> str:
        """Hash over everything that happened until now; `live` of a live one, of which no two runs are the same."""
        if self._play is not None:
            return "live"
        return self.network.record.digest()

    def __getitem__(self, name: str) -> Member:
        return Member(self, self._play.net.nodes[name] if self._play is not None else self.network.nodes[name])

    def add(self, name: str, files: Iterable[str] = ()) -> Member:
        """One more node, without links."""
        if self._play is not None:
            return Member(self, self._play.add(name, files))
        return Member(self, self.network.add(name, shelf(list(files))))

    def link(self, dialler: str, listener: str, latency_s: float = 0.02) -> None:
        """One more link."""
        if self._play is not None:
            self._play.link(dialler, listener, latency_s)
            return
        nodes = self.network.nodes
        self.network.connect(nodes[dialler], nodes[listener], Line(latency_s))

    def partition(self, *groups: Iterable[str]) -> None:
        """Nothing passes between these groups, and between them and the others."""
        if self._play is not None:
            self._play.partition(groups)
        else:
            self.network.partition(groups)

    def heal(self) -> None:
        """All hear each other again."""
        if self._play is not None:
            self._play.heal()
        else:
            self.network.heal()

    async def run(self, seconds: float) -> None:
        """Let time pass: virtual, or real in a live overlay."""
        if (live := self._play) is not None:
            await elsewhere(lambda: live.wait(seconds))
            return
        self.network.clock.run(self.network.clock.now + seconds)
