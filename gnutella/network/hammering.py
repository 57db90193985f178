"""Who comes too often: addresses that wait before they are heard again, each time longer.

A visit is a connection or a datagram, an offence one that was refused for what came in it.  More of either than a window
allows, and everything from that address is refused unread for a while; who goes on in that time, or comes back soon to do the
same, waits twice as long.  Loopback is exempt, since whole test networks live there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gnutella.networks import host_key, is_loopback

#: Seconds over which visits and offences are counted.
WINDOW_S = 60.0
#: Connections of one host in a window.  gtk-gnutella bans after 2 handshakes or 5 HTTP requests a minute; a host behind which
#: several of our users live, each fetching several files, must not be slowed.
MAX_CONNECTIONS = 60
#: Datagrams of one host in a window: all hits of a query out of band are 25, and a searcher by GUESS sends one a second.
MAX_DATAGRAMS = 600
#: Connections of one host in a window that brought garbage, or broke off before they said what they want.
MAX_OFFENCES = 8
#: The first wait, and the longest; each wait is twice the one before, until FORGET_S have passed without one.
FIRST_WAIT_S = 10.0
MAX_WAIT_S = 3600.0
FORGET_S = 3600.0
#: Hosts kept count of; the one that was quiet longest goes first, those that wait last.
MAX_HOSTS = 4096


@dataclass(slots=True)
class _Visitor:
    window_ends: float
    visits: int = 0
    offences: int = 0
    waits: int = 0
    until: float = 0.0


class Hammering:
    """Counts for one kind of visit.  `now` is any clock in seconds that does not run backwards."""

    def __init__(self, max_visits: int = MAX_CONNECTIONS, max_offences: int = MAX_OFFENCES) -> None:
        self._max_visits = max_visits
        self._max_offences = max_offences
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        #: Visits that were refused, and waits that were imposed.
        self.refused = 0
        self.imposed = 0

    def visit(self, host: str, now: float) -> bool:
        """Note a visit; False if it is to be refused unread."""
        if is_loopback(host):
            return True
        visitor = self._visitor(host, now)
        visitor.visits += 1
        if visitor.visits > self._max_visits:
            self._impose(visitor, now)
        if now < visitor.until:
            self.refused += 1
            return False
        return True

    def offence(self, host: str, now: float) -> None:
        """What came with the last visit was refused."""
        if is_loopback(host):
            return
        visitor = self._visitor(host, now)
        visitor.offences += 1
        if visitor.offences > self._max_offences:
            self._impose(visitor, now)

    def wait_s(self, host: str, now: float) -> float:
        """Seconds for which this host is not heard; 0 if it is."""
        visitor = self._visitors.get(host_key(host))
        return 0.0 if visitor is None else max(0.0, visitor.until - now)

    def waiting(self, now: float) -> dict[str, float]:
        """The hosts that wait, and for how many seconds yet."""
        return {host: visitor.until - now for host, visitor in self._visitors.items() if visitor.until > now}

    def __len__(self) -> int:
        return len(self._visitors)

    def _visitor(self, host: str, now: float) -> _Visitor:
        key = host_key(host)
        visitor = self._visitors.get(key)
        if visitor is None:
            if len(self._visitors) >= MAX_HOSTS:
                self._forget_one(now)
            visitor = self._visitors[key] = _Visitor(now + WINDOW_S)
        else:
            self._visitors.move_to_end(key)
        if now >= visitor.window_ends:
            visitor.window_ends = now + WINDOW_S
            visitor.visits = visitor.offences = 0
        if now - visitor.until >= FORGET_S:
            visitor.waits = 0
        return visitor

    def _impose(self, visitor: _Visitor, now: float) -> None:
        """One more wait; what led to it is paid for with it."""
        wait = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** min(visitor.waits, 16))
        visitor.until = max(visitor.until, now + wait)
        visitor.waits += 1
        visitor.visits = visitor.offences = 0
        visitor.window_ends = now + WINDOW_S
        self.imposed += 1

    def _forget_one(self, now: float) -> None:
        """The quietest that does not wait; when all wait, the quietest."""
        for key, visitor in self._visitors.items():
            if visitor.until <= now:
                del self._visitors[key]
                return
        self._visitors.popitem(last=False)
