"""How a node finds its first peers and can be found, beside links and UDP: web caches, asked and served; mDNS; its router.

bootstrap = Bootstrap(reactor, settings, store, node)
links = Links(..., http=bootstrap.http(transfers.http_protocol))
await bootstrap.start(); await bootstrap.stop()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IProtocol

from gnutella.network.cache_door import CacheDoor
from gnutella.network.interfaces import local_host_towards, multicast_interfaces
from gnutella.network.mdns import Mdns
from gnutella.network.nat import IDLE, Nat
from gnutella.network.own_address import OwnAddresses, is_loopback, is_public
from gnutella.network.sources import Asked, Source, caches_source
from gnutella.network.store import Store
from gnutella.network.udp import ENOUGH_HOSTS, LinkCounts, caches_in
from gnutella.network.web_caches import Surroundings, WebCacheClient
from gnutella.protocol.gwebcache import OWN_PATH
from gnutella.reasons import DropReason
from gnutella.routing.cache_service import MAX_TOLD, CacheService, Lent
from gnutella.routing.hosts import HostCache
from gnutella.routing.seams import Chance
from gnutella.routing.web_caches import WebCaches
from gnutella.settings import Settings
from gnutella.units import Address, is_plausible_peer

#: Web caches are asked this long after the start (LimeWire; digest 5.5), or at once where there is no UDP host cache to ask.
AFTER_UDP_S = 10.0
#: An ultrapeer is stable, and worth telling caches of, when it has run for so long (digest 5.3 names no time).
STABLE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the node that are used here.

    `learned` takes hosts, and whether they are ultrapeers; `told` what became of a request; `udp_sources` tell of multicast and
    UDP host caches; `is_relay` and `was_reached` say whether we are an ultrapeer, and whether a peer has come to us.
    """

    links: Callable[[], LinkCounts]
    hosts: HostCache
    own_address: OwnAddresses
    rng: Chance
    learned: Callable[[Sequence[Address], bool], None]
    told: Callable[[str, int, str], None]
    is_blocked: Callable[[str], bool]
    count_drop: Callable[[DropReason], None]
    udp_sources: Callable[[], Sequence[Source]]
    is_relay: Callable[[], bool]
    was_reached: Callable[[], bool]
    user_agent: str


class Bootstrap:
    """See the module text."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        store: Store,
        parts: Parts,
        nat: Nat | None = None,
        mdns: Mdns | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._parts = parts
        self._nat = nat
        self._mdns = mdns
        self._started_at = reactor.seconds()
        network = settings.network
        allow_private = network.profile != "public"
        # On loopback nobody is found but who is named.
        urls = settings.bootstrap.gwebcaches if network.profile != "loopback" else ()
        self._caches = WebCaches(urls, parts.rng, allow_private=allow_private)
        around = Surroundings(
            self._needs_hosts,
            self._may_update,
            self._own_address_for,
            lambda hosts: parts.learned(hosts, True),
            parts.told,
            parts.is_blocked,
            parts.count_drop,
            parts.user_agent,
        )
        self._client = WebCacheClient(reactor, self._caches, store, around)
        self._service: CacheService | None = None
        if settings.bootstrap.serve_cache:
            name = parts.user_agent.replace("/", " ", 1)
            self._service = CacheService(name, reactor.seconds(), allow_private=allow_private)

    def http(self, files: Callable[[str], IProtocol]) -> Callable[[str], IProtocol]:
        """Who takes HTTP connections to the peer port: `files`, or our web cache before it."""
        if self._service is None:
            return files
        parts = self._parts
        return CacheDoor(self._reactor, self._service, self._lend, parts.count_drop, parts.user_agent).before(files)

    async def start(self) -> None:
        """Begin to ask; the ports must be open."""
        self._started_at = self._reactor.seconds()
        if self._settings.network.profile != "loopback":
            await self._client.start(AFTER_UDP_S if caches_in(self._settings) else 0.0)
        addresses = self._parts.links().addresses
        for part in (self._nat, self._mdns):
            if part is not None and addresses and not is_loopback(addresses[0].host):
                part.start(addresses[0].port)

    async def stop(self) -> None:
        """Ask nobody any more, say goodbye, and take back what the router maps."""
        goodbye = self._mdns.stop() if self._mdns is not None else None
        await self._client.stop()
        if goodbye is not None:
            await goodbye
        if self._nat is not None:
            await self._nat.stop()

    def use_settings(self, settings: Settings) -> None:
        """Judge the need for links by other limits from now on."""
        self._settings = settings

    # -- for people ----------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, object]]:
        """The web caches: url, state, version, last_ok, failures, next_try_s, error."""
        now = self._reactor.seconds()
        return [
            {
                "url": row.url,
                "state": "failed" if row.failures else "good" if row.last_ok else "new",
                "version": row.spec or None,
                "last_ok": row.last_ok or None,
                "failures": row.failures,
                "next_try_s": round(row.next_at - now, 1) if row.next_at > now else None,
                "error": self._client.error(row.url),
            }
            for row in self._caches.rows()
        ]

    def status(self) -> dict[str, object]:
        """How many hosts and web caches are known; `serves`: {url, requests, updates, hosts} of our own cache, or None; `mdns`:
        {state, services}, or None where it is off; `sources`: {source, state, detail} of each way to find peers."""
        serves: dict[str, object] | None = None
        if self._service is not None:
            serves = {
                "url": f"http://{self._shown_address()}{OWN_PATH}",
                "requests": self._service.requests,
                "updates": self._service.updates,
                "hosts": len(self._service),
            }
        mdns = None if self._mdns is None else {"state": self._mdns.state, "services": self._mdns.services}
        known = {"hosts": len(self._parts.hosts), "web_caches": len(self._caches)}
        return {**known, "serves": serves, "mdns": mdns, "sources": [source.row() for source in self._sources()]}

    def _sources(self) -> list[Source]:
        mdns = Source("mDNS", "off") if self._mdns is None else self._mdns.source()
        return [*self._parts.udp_sources(), mdns, self._web_source()]

    def _web_source(self) -> Source:
        if self._settings.network.profile == "loopback":
            return Source("web caches", "off")
        client = self._client
        asked = (
            Asked(row.failures, bool(row.last_ok), client.is_asking(row.url), client.error(row.url))
            for row in self._caches.rows()
        )
        return caches_source("web caches", asked, "none is named in bootstrap.gwebcaches")

    def nat_status(self) -> dict[str, object]:
        """state, method, address, expires_s, detail, as gnutella.network.nat says; state `off` when no router is asked."""
        return self._nat.status() if self._nat is not None else {**IDLE, "state": "off"}

    def checks(self) -> list[dict[str, object]]:
        """Rows of `doctor`."""
        has_links = self._parts.links().summary()["peers"] > 0
        rows = [row for source in self._sources() if (row := source.check(has_links=has_links)) is not None]
        return rows + self._nat_checks()

    def _nat_checks(self) -> list[dict[str, object]]:
        nat = self.nat_status()
        if nat["state"] == "off":
            return []
        is_mapped = nat["state"] == "mapped"
        said = f"{nat['method']}: {nat['address']}" if is_mapped else str(nat["state"])
        fix = "allow UPnP or NAT-PMP in the router, or forward the port by hand"
        return [
            {
                "name": "port mapping",
                "ok": True if is_mapped and not nat["detail"] else None,
                "detail": ", ".join(filter(None, (said, str(nat["detail"])))),
                "fix": "" if is_mapped or nat["state"] in ("idle", "asking") else fix,
            }
        ]

    def _shown_address(self) -> Address:
        """Ours, as somebody else may write it into a file."""
        own, addresses = self._parts.own_address, self._parts.links().addresses
        bound = addresses[0].host if addresses else "127.0.0.1"
        if bound in ("0.0.0.0", "::"):
            bound = next((interface.host for interface in multicast_interfaces()), "127.0.0.1")
        return own(own.external or bound)

    # -- what the parts ask --------------------------------------------------------------------------------------------

    def _needs_hosts(self) -> bool:
        links = self._parts.links()
        counts = links.summary()
        linked = counts["peers"] - counts["leaves"]  # which are none of the links that are wanted
        if linked >= links.wanted_links:
            return False
        # Hosts that are linked count among those that can be chosen.
        known = len(self._parts.hosts.choose(linked + ENOUGH_HOSTS, self._reactor.seconds()))
        return known < linked + ENOUGH_HOSTS

    def _may_update(self) -> bool:
        is_stable = self._reactor.seconds() - self._started_at >= STABLE_S
        parts = self._parts
        return is_stable and self._is_reachable() and parts.is_relay() and parts.was_reached()

    def _is_reachable(self) -> bool:
        return bool(self._parts.links().addresses) and not self._settings.network.firewalled

    def _own_address_for(self, cache: str) -> Address | None:
        own = self._parts.own_address(local_host_towards(cache) or "127.0.0.1")
        return own if is_plausible_peer(own, allow_private=not is_public(cache)) else None

    def _lend(self, local_host: str) -> Lent:
        parts = self._parts
        own = parts.own_address(local_host) if self._is_reachable() and parts.is_relay() else None
        return Lent(own, parts.hosts.to_tell(MAX_TOLD), self._caches.working())
