"""UDP host caches: which of them to ask for hosts, and when (digest 5.2).

gtk-gnutella's policy: up to three pings 20 s apart, and 180 s of rest before the same cache is used again; LimeWire's: five
caches at a time, a round each 10 s at most, and caches that others told of are dropped after five failures in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gnutella.networks import is_ip
from gnutella.routing.seams import Chance
from gnutella.units import DEFAULT_PORT, Address, parse_address

#: Pings for one use of a cache, and seconds until the next one or until it has failed (gtk-gnutella).
ATTEMPTS = 3
TIMEOUT_S = 20.0
#: Seconds before a cache is used again (gtk-gnutella); after failures twice as long each time, up to an hour.
REST_S = 180.0
MAX_REST_S = 3600.0
#: Caches in use at a time, seconds between two rounds, caches known, failures until one is dropped (LimeWire).
AT_ONCE = 5
ROUND_S = 10.0
MAX_CACHES = 100
MAX_FAILURES = 5
#: Lines read of one PHC value; no cache lists more than a few dozen.
MAX_LINES = 20
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def parse_phc(raw: bytes) -> list[Address]:
    """Caches in a PHC value: lines `host[:port][&key=value]`, port 6346 by default.  Lines that cannot be read are left out."""
    found = []
    for line in raw.split(b"\n", MAX_LINES)[:MAX_LINES]:
        cache = parse_cache(line.partition(b"&")[0].decode("latin-1").strip())
        if cache is not None:
            found.append(cache)
    return found


def parse_cache(text: str, port: int = DEFAULT_PORT) -> Address | None:
    """Host name or IP (IPv6 in brackets) with or without a port; None when it cannot be one."""
    try:
        address = parse_address(text, port)
    except ValueError:
        return None
    is_host = _NAME.fullmatch(address.host) or (is_ip(address.host) and "%" not in address.host)
    return address if is_host and address.port else None


@dataclass(slots=True)
class _Cache:
    address: Address
    is_configured: bool
    attempts: int = 0
    failures: int = 0
    next_at: float = 0.0
    has_answered: bool = False
    #: Why it could not be pinged; "" when the pings went out.
    why: str = ""


class UdpCaches:
    """Knows caches by name and port; `due` says whom to ping.  `configured` ones are never dropped."""

    def __init__(self, configured: Iterable[Address], rng: Chance) -> None:
        # In another order in each node, or all would ask the first one first.
        shuffled = sorted(configured, key=lambda _: rng.random())
        self._caches = {address: _Cache(address, True) for address in shuffled[:MAX_CACHES]}
        self._next_round = 0.0

    def __len__(self) -> int:
        return len(self._caches)

    def __contains__(self, address: Address) -> bool:
        return address in self._caches

    def learn(self, address: Address) -> None:
        """Somebody told of this cache.  When there are enough, it is not noted."""
        if address not in self._caches and len(self._caches) < MAX_CACHES:
            self._caches[address] = _Cache(address, False)

    def due(self, now: float, *, needs_hosts: bool) -> list[Address]:
        """Caches to ping now; counts the ping.  Without `needs_hosts` none is begun or pinged a second time."""
        due = []
        for cache in [cache for cache in self._caches.values() if cache.attempts and cache.next_at <= now]:
            if cache.attempts < ATTEMPTS and needs_hosts:
                due.append(self._ping(cache, now))
            elif cache.attempts < ATTEMPTS:
                self._rest(cache, now)
            else:
                self._failed(cache, now)
        if needs_hosts and now >= self._next_round:
            in_use = sum(bool(cache.attempts) for cache in self._caches.values())
            ready = [cache for cache in self._caches.values() if not cache.attempts and cache.next_at <= now]
            due += [self._ping(cache, now) for cache in ready[: max(0, AT_ONCE - in_use)]]
            self._next_round = now + ROUND_S
        return due

    def answered(self, address: Address, now: float) -> None:
        """It gave a pong."""
        cache = self._caches.get(address)
        if cache is not None:
            cache.failures, cache.has_answered, cache.why = 0, True, ""
            self._rest(cache, now)

    def unreachable(self, address: Address, why: str) -> None:
        """A ping could not be sent: there is no such name, or no way there.  That it stays unanswered counts as failure."""
        cache = self._caches.get(address)
        if cache is not None:
            cache.why = why

    def rows(self) -> list[tuple[Address, int, bool, bool, str]]:
        """Address, failures in a row, whether it ever answered, whether it is being asked, why it could not be, of each."""
        return [
            (cache.address, cache.failures, cache.has_answered, bool(cache.attempts), cache.why)
            for cache in self._caches.values()
        ]

    def _ping(self, cache: _Cache, now: float) -> Address:
        cache.attempts += 1
        cache.next_at = now + TIMEOUT_S
        return cache.address

    def _rest(self, cache: _Cache, now: float) -> None:
        cache.attempts = 0
        cache.next_at = now + min(MAX_REST_S, REST_S * 2.0 ** min(cache.failures, 16))

    def _failed(self, cache: _Cache, now: float) -> None:
        cache.failures += 1
        self._rest(cache, now)
        if cache.failures >= MAX_FAILURES and not cache.is_configured:
            del self._caches[cache.address]
