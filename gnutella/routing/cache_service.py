"""Serving as a web cache: GWebCache 1 and 2 for an island, or for whoever asks (protocol digest 5.3).

It knows what servents told of themselves in the last hour, and is lent the node's own knowledge: its address, the best of the
host cache, the caches that answered it.  Nobody can make it tell of a third party: an address that is told must be that of
the connection it is told over, and so must the host of a URL.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from gnutella.errors import RemoteViolation
from gnutella.networks import host_key, is_public, wide
from gnutella.protocol import gwebcache
from gnutella.protocol.gwebcache import NETWORK, OWN_PATH, CacheRequest, parse_request
from gnutella.reasons import DropReason
from gnutella.routing.seen import Generations
from gnutella.units import Address, is_plausible_peer

K = TypeVar("K")

#: Hosts and URLs in one answer (caches tell about 20).
MAX_TOLD = 20
MAX_URLS_TOLD = 10
#: Servents and caches remembered that told of themselves, and for how long (our own numbers: they tell us once an hour).
MAX_KNOWN = 200
KNOWN_S = 2 * 3600.0
#: Servents of one /16 (IPv6: /32) of the Internet among them, and, as long as there are others, among those told: whoever
#: decides which hosts newcomers are told of decides whom they meet (our own numbers, a tenth and a quarter).
MAX_KNOWN_OF_NETWORK = 20
MAX_TOLD_OF_NETWORK = 5
#: Requests that one address may make in a window: several servents behind one router, each once an hour, and some restarts.
MAX_REQUESTS = 12
WINDOW_S = 900.0
#: Updates taken of one address in a window: each servent tells once an hour (digest 5.3), and a router may hide a few.
MAX_UPDATES = 4
UPDATE_WINDOW_S = 3600.0
#: Addresses counted in a generation of each table.
MAX_ASKERS = 4096


@dataclass(frozen=True, slots=True)
class Lent:
    """What the node knows itself: where it is reached (None if it is not), hosts and caches worth telling."""

    own: Address | None = None
    hosts: Sequence[Address] = ()
    urls: Sequence[str] = ()


@dataclass(slots=True)
class Reply:
    """What to send, and what to count."""

    status: int
    body: bytes
    drops: list[DropReason] = field(default_factory=list)


class CacheService:
    """Answers requests.  `name` is the program's name and version."""

    def __init__(self, name: str, now: float, *, allow_private: bool) -> None:
        self._name = name
        self._allow_private = allow_private
        self._hosts: dict[Address, float] = {}
        self._urls: dict[str, float] = {}
        self._asked: Generations[str, int] = Generations(MAX_ASKERS, WINDOW_S, now)
        self._updated: Generations[str, int] = Generations(MAX_ASKERS, UPDATE_WINDOW_S, now)
        self._hours = [_Hour(now)]
        self.requests = 0
        self.updates = 0

    def __len__(self) -> int:
        return len(self._hosts)

    def reply(self, query: str, peer: str, now: float, lent: Lent) -> Reply:
        """The answer to one request of the host `peer` (an IP)."""
        self._tick(now)
        self._count(now, is_update=False)
        try:
            request = parse_request(query)
        except RemoteViolation as violation:
            return Reply(violation.reason.http, gwebcache.body_of(["ERROR: bad request"]), [violation.reason])
        if _is_beyond(self._asked, peer, MAX_REQUESTS, now):
            refusal = gwebcache.warning(request.spec, "you ask too often")
            return Reply(DropReason.CACHE_RATE.http, gwebcache.body_of([refusal]), [DropReason.CACHE_RATE])
        reply = Reply(200, b"")
        reply.body = gwebcache.body_of(self._lines(request, peer, now, lent, reply.drops))
        return reply

    def _lines(self, request: CacheRequest, peer: str, now: float, lent: Lent, drops: list[DropReason]) -> list[str]:
        spec = request.spec
        if request.network != NETWORK:
            return [gwebcache.warning(spec, "this cache serves gnutella only")]
        lines = [gwebcache.pong(spec, self._name)] if request.is_ping else []
        if request.is_update:
            lines.append(self._update(request, peer, now, drops))
        if request.wants_statistics:
            lines += [str(number) for number in self._statistics(now)]
        if request.wants_hosts or request.wants_urls:
            hosts = self._told(peer, now, lent) if request.wants_hosts else []
            urls = self._told_urls(now, lent) if request.wants_urls else []
            lines += gwebcache.hosts_and_urls(spec, hosts, urls)
        # Version 1 has no word for "nothing known" but an empty answer, which clients take for a broken cache.
        return lines or [gwebcache.warning(spec, "nothing is known, or nothing was asked")]

    def _told(self, peer: str, now: float, lent: Lent) -> list[tuple[Address, int]]:
        allow_private = _is_private(peer)
        told: dict[Address, int] = {lent.own: 0} if lent.own is not None else {}
        for host, at in reversed(self._hosts.items()):
            told.setdefault(host, int(now - at))
        for host in lent.hosts:
            told.setdefault(host, 0)
        fit = [(host, age) for host, age in told.items() if is_plausible_peer(host, allow_private=allow_private)]
        networks: Counter[str] = Counter()
        chosen: list[tuple[Address, int]] = []
        others: list[tuple[Address, int]] = []
        for host, age in fit:
            network = wide(host.host)
            networks[network] += is_public(host.host)
            (chosen if networks[network] <= MAX_TOLD_OF_NETWORK else others).append((host, age))
        return (chosen + others)[:MAX_TOLD]

    def _told_urls(self, now: float, lent: Lent) -> list[tuple[str, int]]:
        told = {url: int(now - at) for url, at in reversed(self._urls.items())}
        for url in lent.urls:
            told.setdefault(url, 0)
        return list(told.items())[:MAX_URLS_TOLD]

    # -- updates -------------------------------------------------------------------------------------------------------

    def _update(self, request: CacheRequest, peer: str, now: float, drops: list[DropReason]) -> str:
        self._count(now, is_update=True)
        spec = request.spec
        own = request.ip
        is_own = own is not None and _same_host(own.host, peer)
        url = self._own_url(request.url, peer)
        if (own is not None and not is_own) or (own is None and url is None):
            drops.append(DropReason.BOGUS_UPDATE)
            return gwebcache.warning(spec, "tell your own address, from that address", of_update=True)
        if own is not None and not is_plausible_peer(own, allow_private=self._allow_private):
            drops.append(DropReason.BOGUS_UPDATE)
            return gwebcache.warning(spec, "no servent can be there", of_update=True)
        if _is_beyond(self._updated, peer, MAX_UPDATES, now):
            drops.append(DropReason.CACHE_RATE)
            return gwebcache.warning(spec, "returned too soon", of_update=True)
        if own is not None:
            self._make_room(own)
            _renew(self._hosts, own, now)
        if url is not None:
            _renew(self._urls, url, now)
        return gwebcache.accepted(spec)

    def _make_room(self, newcomer: Address) -> None:
        """In the part of its network, where the oldest goes."""
        if not is_public(newcomer.host) or newcomer in self._hosts:
            return
        network = wide(newcomer.host)
        members = [host for host in self._hosts if wide(host.host) == network]
        if len(members) >= MAX_KNOWN_OF_NETWORK:
            del self._hosts[members[0]]

    def _own_url(self, text: str, peer: str) -> str | None:
        """The URL of a cache that the sender itself serves; those of others are not taken on trust."""
        try:
            url = gwebcache.check_url(text, allow_private=self._allow_private)
            host = urlsplit(url).hostname or ""
        except ValueError:
            return None
        return url if _same_host(host, peer) and url.endswith(OWN_PATH) else None

    # -- counting ------------------------------------------------------------------------------------------------------

    def _count(self, now: float, *, is_update: bool) -> None:
        hour = self._hours[-1]
        if is_update:
            self.updates += 1
            hour.updates += 1
        else:
            self.requests += 1
            hour.requests += 1

    def _statistics(self, now: float) -> tuple[int, int, int]:
        """Requests since the start, and requests and updates of the last hour (to two hours)."""
        return self.requests, sum(hour.requests for hour in self._hours), sum(hour.updates for hour in self._hours)

    def _tick(self, now: float) -> None:
        self._asked.tick(now)
        self._updated.tick(now)
        if now - self._hours[-1].began_at >= 3600.0:
            last = self._hours[-1]
            self._hours = [last, _Hour(now)] if now - last.began_at < 7200.0 else [_Hour(now)]
        _expire(self._hosts, now)
        _expire(self._urls, now)


@dataclass(slots=True)
class _Hour:
    began_at: float
    requests: int = 0
    updates: int = 0


def _renew(known: dict[K, float], key: K, now: float) -> None:
    """Note it at the end, so that the first entry is always the oldest."""
    known.pop(key, None)
    while len(known) >= MAX_KNOWN:
        del known[next(iter(known))]
    known[key] = now


def _expire(known: dict[K, float], now: float) -> None:
    while known and now - known[first := next(iter(known))] > KNOWN_S:
        del known[first]


def _is_beyond(counts: Generations[str, int], peer: str, limit: int, now: float) -> bool:
    """Count one more of `peer` (IPv6: its /64); whether that is too many.  Loopback is exempt: test networks live there."""
    key = host_key(peer)
    count = (counts.get(key) or 0) + 1
    if count > limit and not ipaddress.ip_address(peer).is_loopback:
        return True
    counts.put(key, count, now)
    return False


def _same_host(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _is_private(host: str) -> bool:
    return not ipaddress.ip_address(host).is_global
