"""Whether others can reach us, by TCP and by UDP: learned by asking a few peers to connect back (digest 1.12, 2.9).

Each of the two facts is True (somebody came), False (several peers were asked, and nobody came) or None (not known).  Anybody
who comes counts, asked or not.  A fact is looked at again after a while, since routers and providers change their minds.  The
peers that were asked are other hosts each, and a single one that stays silent proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnutella.protocol.vendor import TcpConnectBack, UdpConnectBack
from gnutella.routing.events import ReachLearned
from gnutella.routing.guids import fresh_guid
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import Switchboard

#: Peers asked at a time; and those that must have stayed silent before we take it that nobody can reach us (our own numbers).
MAX_ASKED = 4
MIN_SILENT = 2
#: Seconds for all of them to come: LimeWire allows 45 s until it takes itself for firewalled.
WAIT_S = 45.0
#: Seconds until peers are asked again after a round that told nothing; others do it once a minute at most (connectback.GAP_S).
AGAIN_S = 120.0
#: Seconds after which a fact is looked at again; one that is bad for us sooner (our own numbers).
TRUST_S = 1800.0
DOUBT_S = 600.0


@dataclass(slots=True)
class _Fact:
    """One of the two."""

    port: int | None = None
    is_reached: bool | None = None
    reached_at: float = float("-inf")
    ask_at: float = 0.0
    asked_hosts: tuple[str, ...] = ()
    asked_at: float = 0.0


class Reachability:
    """One node's.  It asks nobody until `listen` tells where we can be called."""

    def __init__(self, board: Switchboard, signals: Signals) -> None:
        self._board = board
        self._signals = signals
        self._tcp = _Fact()
        self._udp = _Fact()
        #: Whether we sent datagrams to that host lately: what it sends then proves nothing, it may come through the hole that
        #: ours made in a router.
        self.has_hole: Callable[[str], bool] = lambda host: False

    @property
    def tcp(self) -> bool | None:
        """Whether others can connect to us; None: not known."""
        return self._tcp.is_reached

    @property
    def udp(self) -> bool | None:
        """Whether datagrams that we did not provoke come through; None: not known."""
        return self._udp.is_reached

    def listen(self, tcp: int | None, udp: int | None) -> None:
        """The ports at which others find us; None: there is none."""
        self._tcp.port, self._udp.port = tcp, udp

    def forget(self) -> None:
        """Our address has changed: whatever was true of the old one need not be true of it."""
        self._tcp, self._udp = _Fact(self._tcp.port), _Fact(self._udp.port)

    def reached(self, now: float, *, by_udp: bool = False) -> None:
        """Somebody came."""
        fact = self._udp if by_udp else self._tcp
        fact.reached_at, fact.asked_hosts = now, ()
        fact.ask_at = now + TRUST_S
        self._learn(fact, True)

    def tick(self, now: float) -> None:
        """Ask whom there is to ask; take silence for an answer."""
        self._look(self._tcp, now)
        self._look(self._udp, now)

    def _look(self, fact: _Fact, now: float) -> None:
        if fact.port is None:
            return
        if fact.asked_hosts and now - fact.asked_at >= WAIT_S:
            silent, fact.asked_hosts = len(fact.asked_hosts), ()
            if silent >= MIN_SILENT:
                fact.ask_at = now + DOUBT_S
                self._learn(fact, False)
        if now >= fact.ask_at and not fact.asked_hosts:
            fact.asked_hosts, fact.asked_at = self._ask(fact, fact.port, now), now

    def _ask(self, fact: _Fact, port: int, now: float) -> tuple[str, ...]:
        """The hosts that were asked; none if nobody reads it, and then the next tick tries again."""
        is_tcp, asked = fact is self._tcp, dict[str, None]()
        vendor = b"BEAR" if is_tcp else b"GTKG"
        for link in list(self._board.links.values()):
            if len(asked) >= MAX_ASKED:
                break
            host = link.info.host
            if host in asked or not link.reads_vendor(vendor, 7, 1) or (not is_tcp and self.has_hole(host)):
                continue
            guid = fresh_guid(self._board.rng)
            self._signals.tell(link, TcpConnectBack(port) if is_tcp else UdpConnectBack(port, guid))
            asked[host] = None
        if asked:
            fact.ask_at = now + AGAIN_S
        return tuple(asked)

    def _learn(self, fact: _Fact, is_reached: bool) -> None:
        if fact.is_reached is not is_reached:
            fact.is_reached = is_reached
            self._board.emit(ReachLearned(self.tcp, self.udp))
