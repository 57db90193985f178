"""What a scenario's network is like before anything happens: nodes, files, links; the same for virtual and live runs."""

from __future__ import annotations

from random import Random

from gnutella.lab import chance
from gnutella.lab import scenario as s
from gnutella.lab.content import Content, ZipfContent
from gnutella.lab.stream import Line
from gnutella.lab.topology import KINDS, superpeers, two_tier
from gnutella.protocol.message import Query
from gnutella.protocol.query import make_query


class Layout:
    """Everything here follows from the scenario and the seed alone."""

    def __init__(self, scenario: s.Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        content = scenario.content
        self._zipf = None if content is None else ZipfContent(content.files, content.exponent, content.size)
        self._links = chance.source(seed, "links")

    def nodes(self) -> list[s.Node]:
        """The tables of all nodes; those of generated ones say what the topology wants of them."""
        named = self.scenario.node
        plain = [s.Node(name, role=self._role(at)) for at, name in enumerate(self.scenario.names)]
        return [*named, *plain[len(named) :]]

    def _role(self, number: int) -> s.Role:
        """What the topology makes of the node of that number."""
        topology = self.scenario.topology
        if topology.kind == "superpeers":
            return "ultrapeer" if number < topology.ultrapeers else "leaf"
        return "leaf" if number >= self.scenario.nodes - topology.leaves else topology.role

    def files(self) -> list[list[Content]]:
        """What each node shares."""
        own = [[Content.of(name, node.size) for name in node.files] for node in self.nodes()]
        if self._zipf is None or self.scenario.content is None:
            return own
        spread = self._zipf.spread(len(own), self.scenario.content.copies, chance.source(self.seed, "content"))
        return [files + more for files, more in zip(own, spread, strict=True)]

    def pairs(self) -> list[tuple[int, int, s.Link | None]]:
        """Links at the start: who dials whom, and what [[link]] says of it."""
        topology, rng = self.scenario.topology, chance.source(self.seed, "topology")
        nodes = self.scenario.nodes
        made: list[tuple[int, int]] = []
        if topology.kind == "two_tier":
            made = two_tier(nodes - topology.leaves, topology.leaves, topology.degree, rng)
        elif topology.kind == "superpeers":
            leaves = nodes - topology.ultrapeers
            made = superpeers(topology.ultrapeers, leaves, topology.degree, topology.leaf_links, rng)
        elif topology.kind != "explicit":
            made = KINDS[topology.kind](nodes, topology.degree, rng, topology.rewired)
        place = {name: number for number, name in enumerate(self.scenario.names)}
        named = [(place[link.between[0]], place[link.between[1]], link) for link in self.scenario.link]
        return [*((one, other, None) for one, other in made), *named]

    def line(self, link: s.Link | None) -> Line:
        """What a link is like: its own values, else those of [network].  Draws of the range of latencies in order."""
        network = self.scenario.network

        def value(key: str) -> float:
            own = getattr(link, key) if link is not None else None
            found: float = own if own is not None else getattr(network, key)
            return found

        span = link.latency_ms if link is not None and link.latency_ms is not None else network.latency_ms
        least, most = span if isinstance(span, tuple) else (span, span)
        return Line(
            chance.between(self._links, least / 1000, most / 1000),
            value("jitter_ms") / 1000,
            value("bandwidth_kib_s") * 1024,
            value("loss"),
        )

    def question(self, action: s.Query, rng: Random) -> Query:
        """What is asked: the action's own words, or those of a file by popularity."""
        if action.text or action.urn or self._zipf is None:
            return make_query(action.text, (action.urn,) if action.urn else ())
        return make_query(self._zipf.words_of(self._zipf.draw(rng)))
