"""A node of the lab: the production router over the production catalog, with links that are not sockets.

It is what gnutella/node.py and gnutella/network are to a real servent, as far as queries are concerned: it keeps the searches
of its user, learns hosts from pongs, and knows its links.  The network (net.py) executes what the router wants done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from msgspec import structs

from gnutella import USER_AGENT
from gnutella.lab.life import Arrival, Life
from gnutella.network.admission import MAX_LEAF_LINKS
from gnutella.network.targets import parted
from gnutella.protocol.qrp import hashes_of
from gnutella.reasons import DropReason
from gnutella.routing.events import ByeReceived, HitReceived, HostLearned, PushReceived
from gnutella.routing.guids import fresh_guid
from gnutella.routing.hosts import HostCache
from gnutella.routing.relay import ReadHeader
from gnutella.routing.router import LinkInfo, Router
from gnutella.routing.seams import Library
from gnutella.settings import RoutingSettings
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.transfers.upload import UploadSlots
from gnutella.units import Address, Guid, LinkId

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.keeping import Keeper
    from gnutella.lab.net import Network
    from gnutella.lab.quest import Quest

#: GUIDs a node remembers in one generation of its tables: the production's bound would let a node of the lab take 10 MiB.
QUERY_GENERATION = 20_000
#: Hosts a node remembers, for the same reason.
MAX_HOSTS = 200
#: X-Degree that all nodes announce, as the servent does.
DEGREE = 32
#: Uploads at a time of one node, and to one host: the defaults of [transfers].
MAX_UPLOADS, MAX_PER_HOST = 20, 4


@dataclass(eq=False, slots=True)
class Search:
    """A query of the node's user: its life in the whole network, and the question that it is part of."""

    guid: Guid
    asked_at: float
    life: Life
    quest: Quest


class LabNode:
    """See the module text.  `lives` counts its restarts."""

    __slots__ = (
        "_down_counters",
        "_read_header",
        "address",
        "catalog",
        "closes",
        "ends",
        "hearing",
        "hosts",
        "is_dark",
        "is_firewalled",
        "is_leaf",
        "is_ultrapeer",
        "is_up",
        "keeper",
        "largest_ttl",
        "library",
        "lives",
        "name",
        "nat",
        "number",
        "opening",
        "pushes",
        "query_generation",
        "refusals",
        "rng",
        "router",
        "searches",
        "servent_id",
        "settings",
        "slots",
    )

    router: Router

    def __init__(
        self,
        name: str,
        number: int,
        address: Address,
        catalog: Catalog,
        settings: RoutingSettings,
        rng: Random,
        read_header: ReadHeader,
    ) -> None:
        self.name = name
        self.number = number
        self.address = address
        self.catalog = catalog
        self.library: Library = catalog
        self.settings = settings
        #: Of the TTLs it was ever set to: a query that is on its way keeps its own.
        self.largest_ttl = settings.query_ttl
        self.rng = rng
        self._read_header = read_header
        self.servent_id = fresh_guid(rng)
        self.query_generation = QUERY_GENERATION
        self.is_leaf = False
        #: It tells its neighbours a routing table; nodes that know no roles tell none, which would take hours at 10,000 nodes.
        self.is_ultrapeer = False
        self.is_firewalled = False
        #: The gateway that it is behind; nodes of one gateway can connect to each other.
        self.nat = ""
        self.is_up = False
        #: Its host is without power: it does not even refuse.
        self.is_dark = False
        #: Looks after its links, if the node does that itself.
        self.keeper: Keeper | None = None
        self.lives = 0
        self.hearing = LinkId(0)
        self.ends: dict[LinkId, End] = {}
        #: Links whose handshake is not done.
        self.opening: dict[LinkId, End] = {}
        self.searches: dict[Guid, Search] = {}
        self.closes: dict[DropReason, int] = {}
        #: Links that came to nothing, of a node that looks after its links.
        self.refusals: dict[DropReason, int] = {}
        self.pushes: list[PushReceived] = []
        self.hosts = HostCache(MAX_HOSTS)
        self.slots: UploadSlots | None = None
        self._down_counters: dict[DropReason, int] = {}

    def start(self, now: float) -> None:
        """A fresh router, as after the start of a process."""
        if self.lives:
            self._down_counters = self.drops()
        if self.keeper is not None:
            self.keeper.restart(now)
        self.router = Router(
            self.settings,
            self.servent_id,
            self.library,
            self._own_address,
            self.rng,
            allow_private=True,
            is_leaf=self.is_leaf,
            now=now,
            query_generation=self.query_generation,
            read_header=self._read_header,
        )
        self._tell_words()
        self.router.self.is_firewalled = self.is_firewalled
        self.router.self.accepts_links = not self.is_firewalled
        self.is_up = True

    def _tell_words(self) -> None:
        """What the routing table of a leaf or an ultrapeer is made of."""
        if self.is_leaf or self.is_ultrapeer:
            self.router.set_words(hashes_of(file.name for file in self.catalog.files))

    def _own_address(self, link_host: str) -> Address:
        return self.address

    def set_role(self, *, is_leaf: bool) -> None:
        """Be a leaf from now on, or an ultrapeer; whoever calls this closes the links."""
        self.is_leaf = is_leaf
        self.router.set_role(is_leaf=is_leaf)
        self._tell_words()

    def has_room_for(self, peer: LabNode) -> bool:
        """Whether a link to that node may be made: a leaf links to ultrapeers only, and to a few of them.

        Who looks after its links says so in the handshake.
        """
        if self.keeper is not None or not self.is_leaf:
            return True
        return not peer.is_leaf and len(self.ends) + self.links_opening < MAX_LEAF_LINKS

    @property
    def links_opening(self) -> int:
        """Links whose handshake is not done."""
        return sum(end.is_link for end in self.opening.values())

    def upload_slots(self) -> UploadSlots:
        """Its upload slots; a busy node has none."""
        if self.slots is None:
            self.slots = UploadSlots(0 if self.router.self.is_busy else MAX_UPLOADS, MAX_PER_HOST)
        return self.slots

    def drops(self) -> dict[DropReason, int]:
        """What this node dropped since it was added, over all its lives."""
        counted = {reason: count for reason, count in self.router.counters.drops.items() if count}
        for reason, count in self._down_counters.items():
            counted[reason] = counted.get(reason, 0) + count
        return counted

    def received_by_kind(self) -> dict[int, int]:
        """Kind -> messages that the router was given since the node last started."""
        return {kind: row.rx for kind, row in self.router.counters.messages.items() if row.rx}

    def change(self, key: str, value: int) -> None:
        """firewalled, busy (0 or 1) or query_ttl (1 to 7) from now on."""
        if key == "query_ttl":
            self.settings = structs.replace(self.settings, query_ttl=value)
            self.largest_ttl = max(self.largest_ttl, value)
            self.router.use_settings(self.settings)
        elif key == "busy":
            self.router.self.is_busy = bool(value)
            if self.slots is not None:
                self.slots.max_total = 0 if value else MAX_UPLOADS
        else:
            self.is_firewalled = self.router.self.is_firewalled = bool(value)
            self.router.self.accepts_links = not value

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
            vendor_messages=self.is_leaf or peer.is_leaf,
            reads_tables=(self.is_leaf and not peer.is_leaf) or (self.is_ultrapeer and peer.is_ultrapeer),
            degree=DEGREE,
            is_dynamic=True,
            extends_probes=True,
            user_agent=USER_AGENT,
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
            if self.keeper is not None:
                self.keeper.heard(event)
            else:
                uptime_s = event.daily_uptime_s
                self.hosts.learn(event.address, now, is_ultrapeer=event.is_ultrapeer, daily_uptime_s=uptime_s)
        elif isinstance(event, PushReceived):
            self.pushes.append(event)
            if net.push_received is not None:
                net.push_received(self, event)
        elif isinstance(event, ByeReceived):
            end = self.ends.get(event.link)
            if end is not None:
                if self.keeper is not None:
                    self.keeper.told_at_parting(event.headers)
                net.disconnect(end, parted(event.code).value)

    def _take_hit(self, event: HitReceived, now: float, net: Network) -> None:
        search = self.searches.get(event.guid)
        if search is None:
            return
        results, life = search.quest.results, search.life
        if results is not None:
            results.add(event)
        node = net.node_at(event.hit.address)
        names = tuple(net.shared_bytes(record.sha1 or b"") for record in event.hit.records)
        hops = event.hops
        if life.is_walk and node is not None:
            hops = life.depths.get(node.number, hops)
        life.arrivals.append(Arrival(now, hops, node.name if node is not None else "", names))
        life.found += len(names)
        self.router.search_keeps(event.guid, life.found)

    def share(self, files: Iterable[SharedFile]) -> None:
        """Offer more files; their indexes follow those that it has."""
        first = 1 + max((file.index for file in self.catalog.files), default=0)
        self.catalog = self.library = self.catalog.with_changes(
            [replace(file, index=first + number) for number, file in enumerate(files)]
        )
        self.router.set_library(self.library)
        self._tell_words()
