"""What a node tells others of itself and of third parties, and what it keeps of what they tell.

The offer of a handshake, the hosts in X-Try-Ultrapeers and for crawlers, and the filter before the host cache: no address that
cannot be a host's, none of our own, and nothing private told to the public network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Protocol

from gnutella import USER_AGENT
from gnutella.network.own_address import OwnAddresses, is_public
from gnutella.protocol.handshake import Offer, Peer
from gnutella.protocol.peer import TRY, TRY_ULTRAPEERS, hosts_in, hosts_in_bye
from gnutella.routing.hosts import HostCache
from gnutella.settings import NetworkSettings
from gnutella.units import Address, Guid, is_plausible_peer

#: Hosts told in X-Try-Ultrapeers and to crawlers (digest 1.4, 1.9).
MAX_TOLD = 10
#: Below 16 a gtk-gnutella leaf refuses an ultrapeer (digest 1.6).
MIN_DEGREE = 16
#: Hosts known from which on those are no longer kept that are leaves (our own number).
MANY_HOSTS = 50

_UNFIT_FOR_A_HEADER = re.compile(r"[^ -~]")


class Neighbour(Protocol):
    """What is asked of a link here."""

    @property
    def host(self) -> str: ...
    @property
    def local_host(self) -> str: ...
    @property
    def is_leaf(self) -> bool: ...
    @property
    def is_tls(self) -> bool: ...
    @property
    def reached_at(self) -> Address | None: ...


class Listening(Protocol):
    """What is asked of our open ports."""

    @property
    def addresses(self) -> list[Address]: ...


class Introductions:
    """Knows our ports and the host cache."""

    def __init__(
        self, settings: NetworkSettings, servent_id: Guid, own: OwnAddresses, hosts: HostCache, ports: Listening
    ) -> None:
        self._settings = settings
        self._servent_id = servent_id
        self._own = own
        self._hosts = hosts
        self._ports = ports
        #: Our role; `auto` means an ultrapeer until somebody decides.
        self.is_leaf = settings.role == "leaf"
        #: Headers of other layers of this node, sent to every peer.
        self.extra: tuple[tuple[str, str], ...] = ()
        self._user_agent = _UNFIT_FOR_A_HEADER.sub("?", settings.user_agent or USER_AGENT)

    def use_settings(self, settings: NetworkSettings) -> None:
        """Introduce us by other settings from the next handshake on."""
        self._settings = settings

    def offer(
        self, link: Neighbour, links: Iterable[Neighbour], *, has_tls: bool, ultrapeer_needed: bool | None
    ) -> Offer:
        """What we say of ourselves to the peer of `link`; `links` are the open ones."""
        settings = self._settings
        is_reachable = bool(self._ports.addresses) and not self._own.is_firewalled
        listen = self._own(link.local_host) if is_reachable else None
        equals, leaves = _reached(links, is_leaf=False), _reached(links, is_leaf=True)
        ultrapeers = self.hosts_for(link.host, equals)
        others = self._others_for(link.host, leaves, ultrapeers)
        return Offer(
            user_agent=self._user_agent,
            listen=listen,
            listen6=self._beside(listen),
            speaks_ipv6=any(":" in address.host for address in self._ports.addresses),
            is_ultrapeer=not self.is_leaf,
            degree=max(MIN_DEGREE, settings.max_links),
            max_ttl=settings.announced_ttl,
            accepts_deflate=settings.deflate,
            tls=has_tls and not link.is_tls,
            servent_id=self._servent_id,
            try_ultrapeers=ultrapeers,
            try_hosts=others,
            ultrapeer_needed=None if self.is_leaf else ultrapeer_needed,
            crawler_peers=tuple(equals[:MAX_TOLD]),
            crawler_leaves=tuple(leaves[:MAX_TOLD]),
            extra=self.extra,
        )

    def _beside(self, listen: Address | None) -> Address | None:
        """Our IPv6 address beside an IPv4 one of the same reach."""
        six = self._own.ipv6
        if listen is None or six is None or ":" in listen.host or is_public(six) is not is_public(listen.host):
            return None
        return Address(six, listen.port)

    def learn(self, peer: Peer, links: Iterable[Neighbour], now: float) -> None:
        """Keep the hosts that a peer told of."""
        ultrapeers = hosts_in(peer.headers.get(TRY_ULTRAPEERS))
        self.learn_hosts(ultrapeers, links, now, is_ultrapeer=True)
        self.learn_hosts([a for a in peer.try_hosts if a not in ultrapeers], links, now)

    def learn_hosts(
        self, hosts: Iterable[Address], links: Iterable[Neighbour], now: float, *, is_ultrapeer: bool | None = None
    ) -> None:
        """Keep hosts that somebody told of, as far as they can be hosts and are not we."""
        allow_private = self._settings.profile != "public"
        own = self.own_addresses(links)
        for address in hosts:
            if is_plausible_peer(address, allow_private=allow_private) and address not in own:
                self._hosts.learn(address, now, is_ultrapeer=is_ultrapeer)

    def learn_caller(self, host: str, peer: Peer, links: Iterable[Neighbour], now: float) -> None:
        """Keep where a peer that dialled us says that it listens; of leaves only as long as few hosts are known."""
        if peer.listen is not None and (peer.is_ultrapeer or len(self._hosts) < MANY_HOSTS):
            self.learn_hosts([Address(host, peer.listen.port)], links, now, is_ultrapeer=peer.is_ultrapeer)

    def own_addresses(self, links: Iterable[Neighbour]) -> set[Address]:
        """Every address under which we may be told of ourselves."""
        own = set(self._ports.addresses)
        if self._own.port is not None:
            own |= {self._own(link.local_host) for link in links}
            own |= {Address(host, self._own.port) for host in ("127.0.0.1", "::1", self._own.ipv6) if host is not None}
        return own

    def hosts_for(self, host: str, equals: Iterable[Address]) -> tuple[Address, ...]:
        """X-Try-Ultrapeers for a peer at `host`: first those with free slots, then our neighbours, then the cache."""
        told = self._hosts.to_tell(MAX_TOLD, is_ultrapeer=True)
        with_room = [address for address in told if self._hosts.has_room(address)]
        return self._told(host, [*with_room, *equals, *told])

    def _others_for(self, host: str, leaves: list[Address], ultrapeers: tuple[Address, ...]) -> tuple[Address, ...]:
        """X-Try: in a small network leaves, which need each other if the last ultrapeer goes."""
        if len(ultrapeers) >= MAX_TOLD:
            return ()
        return self._told(host, [*leaves, *self._hosts.to_tell(MAX_TOLD, ultrapeers, is_ultrapeer=False)])

    def try_lines(self, link: Neighbour, links: Collection[Neighbour]) -> str:
        """The header lines of a Bye for a leaf that loses us: whom it may turn to; "" for others."""
        if not link.is_leaf:
            return ""
        ultrapeers = self.hosts_for(link.host, _reached(links, is_leaf=False))
        others = self._others_for(link.host, _reached(links, is_leaf=True), ultrapeers)
        lists = ((TRY_ULTRAPEERS, ultrapeers), (TRY, tuple(host for host in others if host != link.reached_at)))
        return "".join(f"{name}: {', '.join(map(str, hosts))}\r\n" for name, hosts in lists if hosts)

    def learn_parting(self, headers: str, links: Iterable[Neighbour], now: float) -> None:
        """Keep the hosts that the header lines of a Bye tell of."""
        ultrapeers, others = hosts_in_bye(headers)
        links = list(links)
        self.learn_hosts(ultrapeers, links, now, is_ultrapeer=True)
        self.learn_hosts(others, links, now)

    def _told(self, host: str, hosts: Iterable[Address]) -> tuple[Address, ...]:
        """Nothing private for a public peer, and not the peer itself."""
        allow_private = not is_public(host)
        known = dict.fromkeys(hosts)
        return tuple(a for a in known if is_plausible_peer(a, allow_private=allow_private))[:MAX_TOLD]


def _reached(links: Iterable[Neighbour], *, is_leaf: bool) -> list[Address]:
    return [reached for link in links if link.is_leaf is is_leaf and (reached := link.reached_at) is not None]
