"""A node of the lab: the production router over the production catalog, with links that are not sockets.

It is what gnutella/node.py and gnutella/network are to a real servent, as far as queries are concerned: it keeps the searches
of its user, learns hosts from pongs, and knows its links.  The network (net.py) executes what the router wants done.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from gnutella.lab.life import Arrival, Life
from gnutella.reasons import DropReason
from gnutella.routing.events import ByeReceived, HitReceived, HostLearned, PushReceived
from gnutella.routing.guids import fresh_guid
from gnutella.routing.hosts import HostCache
from gnutella.routing.results import SearchResults
from gnutella.routing.router import LinkInfo, Router
from gnutella.routing.seams import Library
from gnutella.settings import RoutingSettings
from gnutella.sharing.catalog import Catalog
from gnutella.units import Address, Guid, LinkId

if TYPE_CHECKING:
    from gnutella.lab.net import End, Network

#: GUIDs a node remembers in one generation of its tables: the production's bound would let a node of the lab take 10 MiB.
QUERY_GENERATION = 20_000
#: Hosts a node remembers, for the same reason.
MAX_HOSTS = 200


@dataclass(eq=False, slots=True)
class Search:
    """A query of the node's user: its life in the whole network, and the rows that the user sees, if they are kept."""

    guid: Guid
    text: str
    asked_at: float
    life: Life
    results: SearchResults | None

    @property
    def hits(self) -> list[dict[str, Any]]:
        """Numbered rows with the keys of `gnutella search`."""
        return [] if self.results is None else self.results.rows()

    @property
    def first_hit_ms(self) -> float | None:
        """Milliseconds from question to first answer."""
        arrivals = self.life.arrivals
        return round((arrivals[0].time - self.asked_at) * 1000, 3) if arrivals else None


class LabNode:
    """See the module text.  `lives` counts its restarts."""

    __slots__ = (
        "_down_counters", "address", "catalog", "closes", "ends", "hearing", "hosts", "is_firewalled", "is_leaf", "is_up",
        "library", "lives", "name", "number", "pushes", "query_generation", "rng", "router", "searches", "servent_id",
        "settings",
    )  # fmt: skip

    router: Router

    def __init__(
        self, name: str, number: int, address: Address, catalog: Catalog, settings: RoutingSettings, rng: Random
    ) -> None:
        self.name = name
        self.number = number
        self.address = address
        self.catalog = catalog
        self.library: Library = catalog
        self.settings = settings
        self.rng = rng
        self.servent_id = fresh_guid(rng)
        self.query_generation = QUERY_GENERATION
        self.is_leaf = False
        self.is_firewalled = False
        self.is_up = False
        self.lives = 0
        self.hearing = LinkId(0)
        self.ends: dict[LinkId, End] = {}
        self.searches: dict[Guid, Search] = {}
        self.closes: dict[DropReason, int] = {}
        self.pushes: list[PushReceived] = []
        self.hosts = HostCache(MAX_HOSTS)
        self._down_counters: dict[DropReason, int] = {}

    def start(self, now: float) -> None:
        """A fresh router, as after the start of a process."""
        if self.lives:
            self._down_counters = self.drops()
        self.router = Router(
            self.settings,
            self.servent_id,
            self.library,
            self._own_address,
            self.rng,
            allow_private=True,
            now=now,
            query_generation=self.query_generation,
        )
        self.router.self.is_firewalled = self.is_firewalled
        self.router.self.accepts_links = not self.is_firewalled
        self.is_up = True

    def _own_address(self, link_host: str) -> Address:
        return self.address

    def drops(self) -> dict[DropReason, int]:
        """What this node dropped since it was added, over all its lives."""
        counted = {reason: count for reason, count in self.router.counters.drops.items() if count}
        for reason, count in self._down_counters.items():
            counted[reason] = counted.get(reason, 0) + count
        return counted

    def info_of(self, peer: LabNode, *, is_incoming: bool) -> LinkInfo:
        """What a handshake with that peer would have told us."""
        return LinkInfo(
            peer.address.host,
            self.address.host,
            is_leaf=peer.is_leaf,
            is_ultrapeer=not peer.is_leaf,
            incoming=is_incoming,
            listen=None if peer.is_firewalled else peer.address,
            servent_id=peer.servent_id,
        )

    def neighbours(self) -> list[LabNode]:
        """The peers of its links."""
        return [end.peer.node for end in self.ends.values()]

    def end_towards(self, peer: LabNode) -> End | None:
        """The own side of a link to that peer."""
        return next((end for end in self.ends.values() if end.peer.node is peer), None)

    def take(self, event: object, now: float, net: Network) -> None:
        """An event that the router emitted."""
        if isinstance(event, HitReceived):
            self._take_hit(event, now, net)
        elif isinstance(event, HostLearned):
            self.hosts.learn(event.address, now, is_ultrapeer=event.is_ultrapeer, daily_uptime_s=event.daily_uptime_s)
        elif isinstance(event, PushReceived):
            self.pushes.append(event)
        elif isinstance(event, ByeReceived):
            end = self.ends.get(event.link)
            if end is not None:
                net.disconnect(end, f"bye {event.code}")

    def _take_hit(self, event: HitReceived, now: float, net: Network) -> None:
        search = self.searches.get(event.guid)
        if search is None:
            return
        if search.results is not None:
            search.results.add(event)
        node = net.node_at(event.hit.address)
        names = tuple(net.shared_bytes(record.sha1 or b"") for record in event.hit.records)
        search.life.arrivals.append(Arrival(now, event.hops, node.name if node is not None else "", names))
