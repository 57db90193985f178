"""The lab from Python: a network as an asynchronous context, its nodes by name.

    async with Overlay({"alice": ["hello world.txt"], "bob": [], "carol": []}, topology="line") as net:
        hits = await net["carol"].search("hello")
        assert hits[0]["hops"] == 2
        await net["alice"].leave()

Time is virtual and moves only while something is awaited, so it works under every event loop and takes no time of its own.  All
invariants hold while the context lives, or `InvariantBroken` is raised; the sums are checked when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from msgspec import convert

from gnutella.lab import scenario as s
from gnutella.lab.consistency import check
from gnutella.lab.content import shelf
from gnutella.lab.net import Network
from gnutella.lab.node import LabNode
from gnutella.lab.runner import Run, build
from gnutella.lab.stream import Line
from gnutella.lab.sums import check_balance

#: How long a search waits for hits if nobody says otherwise: a message crosses the largest network many times in that.
WAIT_S = 5.0


class Member:
    """One node as a test sees it."""

    def __init__(self, overlay: Overlay, node: LabNode) -> None:
        self._overlay = overlay
        self.node = node
        self.name = node.name

    async def search(self, text: str, *, wait_s: float = WAIT_S, ttl: int | None = None) -> list[dict[str, Any]]:
        """Hits after that time: rows with the keys of `gnutella search`."""
        quest = self._overlay.network.search(self.node, text, ttl)
        await self._overlay.run(wait_s)
        return quest.results.rows() if quest.results is not None else []

    async def publish(self, *names: str) -> None:
        """Share more files; their bytes follow from their names."""
        self._overlay.network.publish(self.node, shelf(names))

    async def leave(self) -> None:
        """Say Bye and stop."""
        self._overlay.network.leave(self.node)

    async def kill(self, *, power_failure: bool = False) -> None:
        """Die; with a power failure peers are not told."""
        self._overlay.network.kill(self.node, is_power_failure=power_failure)

    async def join(self, *peers: str) -> None:
        """Start again if stopped, and dial these peers."""
        network = self._overlay.network
        network.revive(self.node)
        for name in peers:
            network.connect(self.node, network.nodes[name])

    @property
    def peers(self) -> list[str]:
        """Names of the nodes it has links to."""
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

    @classmethod
    def of(cls, scenario: s.Scenario) -> Overlay:
        """The network of a scenario, with its actions as time goes on."""
        overlay = cls(1)
        overlay._scenario = scenario
        return overlay

    async def __aenter__(self) -> Overlay:
        self._run = build(self._scenario)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            check_balance(self.network)

    @property
    def network(self) -> Network:
        """The virtual network itself, for whatever has no method here."""
        if self._run is None:
            raise RuntimeError("enter the overlay with `async with` first")
        return self._run.net

    @property
    def trace(self) -> str:
        """Hash over everything that happened until now."""
        return self.network.record.digest()

    def __getitem__(self, name: str) -> Member:
        return Member(self, self.network.nodes[name])

    def add(self, name: str, files: Iterable[str] = ()) -> Member:
        """One more node, without links."""
        return Member(self, self.network.add(name, shelf(list(files))))

    def link(self, dialler: str, listener: str, latency_s: float = 0.02) -> None:
        """One more link."""
        nodes = self.network.nodes
        self.network.connect(nodes[dialler], nodes[listener], Line(latency_s))

    def partition(self, *groups: Iterable[str]) -> None:
        """Nothing passes between these groups, and between them and the others."""
        self.network.partition(groups)

    def heal(self) -> None:
        """All hear each other again."""
        self.network.heal()

    async def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.network.clock.run(self.network.clock.now + seconds)
