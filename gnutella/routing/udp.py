"""Datagrams: pings of strangers are answered, sparingly; pongs for pings of ours fill the host cache (digest 5.2).

    udp = Datagrams(servent, caches, rng, counters, allow_private=False, now=0.0)
    actions = udp.receive(data, source, now)                 # one datagram; nothing in it makes this raise
    actions = udp.receive(data, source, now, is_call=True)   # one that came by the multicast group of the LAN
    actions = udp.tick(now, Needs(...))                      # each second: pings of host caches, calls into the LAN

A source address proves nothing, so answers obey `udp_limits`; what is believed of a pong is that it answers one of our GUIDs.
Queries (with a key: guess.py), hits and vendor messages go to the router, other kinds are counted and dropped.  Pure; the edge
is network/udp.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gnutella.errors import RemoteViolation
from gnutella.networks import Shares, is_ip
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import (
    HEADER_SIZE,
    KIND_NAMES,
    PING,
    PONG,
    PUSH,
    QUERY,
    QUERY_HIT,
    VENDOR,
    Header,
    encode_header,
    parse_header,
)
from gnutella.protocol.message import Ping, Pong, Query
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Emit, SendDatagram
from gnutella.routing.counters import Counters
from gnutella.routing.events import HostLearned
from gnutella.routing.guess import Guess
from gnutella.routing.guids import fresh_guid
from gnutella.routing.lan import GROUP, MAX_JITTER_S, Calls
from gnutella.routing.link import HARD_MAX_TTL
from gnutella.routing.seams import Chance
from gnutella.routing.seen import Generations
from gnutella.routing.udp_caches import UdpCaches, parse_cache, parse_phc
from gnutella.routing.udp_limits import AnswerLimits, source_key
from gnutella.routing.udp_pongs import (
    ALIVE_TTL,
    SCP_IPV6,
    SCP_TLS,
    SCP_ULTRAPEER,
    OwnPongs,
    Servent,
    wants_guess_hosts,
)
from gnutella.units import Address, Guid, is_plausible_peer

#: Pings of ours whose pongs are welcome, for 1 to 2 minutes.
MAX_ASKED = 1024
ASKED_LIFE_S = 60.0
#: Pongs taken for one ping of a host cache (one is sent; a margin for repeats), and for one call into the LAN.
MAX_PONGS_OF_CACHE = 4
MAX_PONGS_OF_CALL = 64
#: Hosts that we sent something to: what they send within this time may have come through the hole that made in a router.
PROVOKED_LIFE_S = 600.0
MAX_PROVOKED = 4096
#: Seconds between two UdpReached.
REACHED_GAP_S = 30.0
#: Kinds that the router is asked about, if there is one.
_ROUTED = frozenset({PONG, VENDOR, QUERY_HIT, PUSH})


@dataclass(frozen=True, slots=True)
class UdpReached:
    """A datagram came that we did not provoke: others can reach our UDP port."""

    source: Address


@dataclass(frozen=True, slots=True)
class SeenAs:
    """`reporter` says that our datagrams come from `host`."""

    reporter: str
    host: str


#: Actions for links come of queries that are led to leaves.
UdpAction = SendDatagram | Action


class Needs(NamedTuple):
    """How things stand with links: `hosts` says that too few addresses are known, `links` that more links are wanted."""

    hosts: bool
    links: bool
    is_lonely: bool


class Routing(Protocol):
    """What datagrams are to the router."""

    def datagram(self, header: Header, payload: bytes, source: Address, now: float) -> list[Action] | DropReason:
        """A hit, a push, a vendor message, or a pong for none of our pings here; the reason if it is dropped."""
        ...

    def query_by_udp(
        self, header: Header, payload: bytes, source: Address, own: Address, now: float
    ) -> list[Action] | DropReason:
        """A query whose key was sound; `own` is where the asker reaches us."""
        ...


@dataclass(slots=True)
class _Asked:
    """A ping of ours; `cache` is None for a call into the LAN."""

    cache: Address | None
    taken: int = 0


class Datagrams:
    """All that one node does with datagrams.

    `calls`: call into the LAN by multicast.  `routing` takes queries, hits and vendor messages, `guess` has the keys for
    queries; without them those are dropped.
    """

    def __init__(
        self,
        servent: Servent,
        caches: UdpCaches,
        rng: Chance,
        counters: Counters,
        *,
        allow_private: bool,
        now: float,
        calls: bool = False,
        routing: Routing | None = None,
        guess: Guess | None = None,
    ) -> None:
        self.caches = caches
        self._routing = routing
        self._guess = guess
        self._pongs = OwnPongs(servent, allow_private=allow_private)
        self._servent = servent
        self._rng = rng
        self.counters = counters
        self._allow_private = allow_private
        self._limits = AnswerLimits(now)
        self._asked: Generations[Guid, _Asked] = Generations(MAX_ASKED, ASKED_LIFE_S, now)
        #: Pings that peers asked us for over their links, and whose pongs they may send: GUID -> host.
        self._called: Generations[Guid, str] = Generations(MAX_ASKED, ASKED_LIFE_S, now)
        self._provoked: Generations[str, bool] = Generations(MAX_PROVOKED, PROVOKED_LIFE_S, now)
        self._calls = Calls(rng, now) if calls else None
        self._reached_at = float("-inf")

    def use_shares(self, shares: Shares) -> None:
        """Which part of our answers one network may have from now on."""
        self._limits.shares = shares
        if self._guess is not None:
            self._guess.shares = shares

    # -- what comes ----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, source: Address, now: float, *, is_call: bool = False) -> list[UdpAction]:
        """One datagram; `is_call`: it came by the multicast group."""
        self.counters.rx_bytes += len(data)
        try:
            header = parse_header(data)
            if len(data) - HEADER_SIZE != header.length:
                raise RemoteViolation(DropReason.BAD_DATAGRAM)
        except RemoteViolation:
            return self.refuse(DropReason.BAD_DATAGRAM)
        if header.kind in KIND_NAMES:
            self.counters.kind(header.kind).rx += 1
        if not is_plausible_peer(source, allow_private=self._allow_private):
            return self.refuse(DropReason.BOGUS_SOURCE)
        asked = self._asked.get(header.guid)
        actions = self._note_reached(source, now) if not is_call and asked is None else []
        if header.ttl + header.hops > HARD_MAX_TTL:
            return actions + self.refuse(DropReason.TTL_TOO_HIGH)
        payload = data[HEADER_SIZE:]
        if header.kind == PING:
            if asked is not None:
                return self.refuse(DropReason.OWN_MESSAGE)
            return actions + self._ping(header.guid, payload, source, now, is_call=is_call)
        if is_call:
            return self.refuse(DropReason.NOT_OVER_UDP)
        if header.kind == PONG and (asked is not None or self._routing is None or header.guid in self._called):
            return actions + self._pong(asked, header.guid, payload, source, now)
        if self._routing is not None and header.kind in _ROUTED:
            return actions + self._outcome(self._routing.datagram(header, payload, source, now), now)
        if self._routing is not None and header.kind == QUERY:
            return actions + self._query(self._routing, header, payload, source, now)
        return actions + self.refuse(DropReason.NOT_OVER_UDP)

    def refuse(self, reason: DropReason) -> list[UdpAction]:
        """Count something that was dropped; no actions."""
        self.counters.drops[reason] += 1
        return []

    def has_hole(self, host: str) -> bool:
        """We sent something to that host lately."""
        return host in self._provoked

    def _note_reached(self, source: Address, now: float) -> list[UdpAction]:
        if now - self._reached_at < REACHED_GAP_S or source.host in self._provoked:
            return []
        self._reached_at = now
        return [Emit(UdpReached(source))]

    # -- pings of others -----------------------------------------------------------------------------------------------

    def _ping(self, guid: Guid, payload: bytes, source: Address, now: float, *, is_call: bool) -> list[UdpAction]:
        try:
            ping = Ping.decode(payload)
        except RemoteViolation as violation:
            return self.refuse(violation.reason)
        packed = (ping.wants_packed_hosts or wants_guess_hosts(ping.ggep)) and not is_call
        # On the LAN several servents share a machine, and a call reaches them all.
        key = str(source) if is_call else source_key(source)
        if (reason := self._limits.refusal(key, now, packed=packed, host=source.host)) is not None:
            return self.refuse(reason)
        guess = self._guess if not is_call and self._servent.takes_guess() else None
        first = guess.key_asked_for(ping.ggep, source, now) if guess is not None else {}
        if packed:
            message = self._pongs.long(guid, ping.ggep, source, now, first)
        else:
            message = self._pongs.short(guid, ping.ggep, len(payload), source, first)
        return [self._sending(source, message, now, MAX_JITTER_S * self._rng.random() if is_call else 0.0)]

    # -- what concerns the router --------------------------------------------------------------------------------------

    def _query(self, routing: Routing, header: Header, payload: bytes, source: Address, now: float) -> list[UdpAction]:
        """Acknowledged by a pong with hosts to ask next, then answered (digest 8.6)."""
        guess = self._guess
        if guess is None or not self._servent.takes_guess():
            return self.refuse(DropReason.NOT_OVER_UDP)
        try:
            query = Query.decode(payload)
        except RemoteViolation as violation:
            return self.refuse(violation.reason)
        if not guess.is_keyed(query, source, now):
            return self._give_key(guess, header, query, source, now)
        if (reason := guess.refusal(source, now)) is not None:
            return self.refuse(reason)
        outcome = routing.query_by_udp(header, payload, source, self._servent.pong(source.host).address, now)
        if isinstance(outcome, DropReason):
            return self.refuse(outcome)
        pong = self._pongs.long(header.guid, query.ggep, source, now, {})
        return [self._sending(source, pong, now), *self._outcome(outcome, now)]

    def _outcome(self, outcome: list[Action] | DropReason, now: float) -> list[UdpAction]:
        """What the router wants, with datagrams noted as ours."""
        if isinstance(outcome, DropReason):
            return self.refuse(outcome)
        actions: list[UdpAction] = []
        for action in outcome:
            if isinstance(action, Emit) and isinstance(action.event, SendDatagram):
                actions.append(self.noted(action.event, now))
            else:
                actions.append(action)
        return actions

    def _give_key(self, guess: Guess, header: Header, query: Query, source: Address, now: float) -> list[UdpAction]:
        """A pong with the right key, for a query without; as rarely and as short as the pong for a ping."""
        self.refuse(DropReason.QUERY_KEY)
        if self._limits.refusal(source_key(source), now, packed=False, host=source.host) is not None:
            return []
        key = guess.key_value(source, now)
        pong = self._pongs.short(header.guid, query.ggep, header.length, source, key)
        return [self._sending(source, pong, now)]

    # -- pongs for pings of ours ---------------------------------------------------------------------------------------

    def _pong(self, asked: _Asked | None, guid: Guid, payload: bytes, source: Address, now: float) -> list[UdpAction]:
        if asked is None:
            if self._called.get(guid) == source.host:
                self._called.discard(guid)
                return []
            return self.refuse(DropReason.UNREQUESTED_PONG)
        asked.taken += 1
        if asked.taken > (MAX_PONGS_OF_CALL if asked.cache is None else MAX_PONGS_OF_CACHE):
            return self.refuse(DropReason.UDP_RATE)
        try:
            pong = Pong.decode(payload)
        except RemoteViolation as violation:
            return self.refuse(violation.reason)
        actions: list[UdpAction] = []
        if asked.cache is None:
            # A neighbour of the LAN is where its datagram comes from, whatever address it tells the world.
            address = Address(source.host, pong.address.port)
        else:
            address = pong.ipv6 or pong.address
            self.caches.answered(asked.cache, now)
            self._learn_caches(pong, source)
            actions += _seen_as(pong, source)
            actions += self._learned([HostLearned(host, 0, 0, True, None) for host in pong.packed_hosts])
        # A pong that may not be long leaves out what would mark an ultrapeer, so without the mark it may be either.
        told = HostLearned(address, pong.files, pong.kbytes, pong.is_ultrapeer or None, _uptime(pong))
        return actions + self._learned([told])

    def _learned(self, hosts: Sequence[HostLearned]) -> list[UdpAction]:
        actions: list[UdpAction] = []
        for host in hosts:
            if not is_plausible_peer(host.address, allow_private=self._allow_private):
                self.refuse(DropReason.BOGUS_PONG)
            elif not self._servent.is_own(host.address):
                actions.append(Emit(host))
        return actions

    def _learn_caches(self, pong: Pong, source: Address) -> None:
        """UDPHC: the sender is one, by its name or its address; PHC: others."""
        if pong.ggep is None:
            return
        found = parse_phc(pong.ggep.get("PHC") or b"")
        name = pong.ggep.get("UDPHC")
        if name is not None:
            text, port = name.decode("latin-1"), pong.address.port or source.port
            cache = parse_cache(text, port) if text else Address(source.host, port)
            found += [cache] if cache is not None and ":" not in text else []
        for cache in found:
            if not is_ip(cache.host) or is_plausible_peer(cache, allow_private=self._allow_private):
                self.caches.learn(cache)

    # -- what we send --------------------------------------------------------------------------------------------------

    def tick(self, now: float, needs: Needs) -> list[UdpAction]:
        """Whatever is due."""
        self._limits.tick(now)
        self._asked.tick(now)
        self._called.tick(now)
        self._provoked.tick(now)
        if self._guess is not None:
            self._guess.tick(now)
        due = self.caches.due(now, needs_hosts=needs.hosts)
        actions: list[UdpAction] = [self._sending(cache, self._asking(cache, now), now) for cache in due]
        if self._calls is not None and self._calls.due(now, wants_links=needs.links, is_lonely=needs.is_lonely):
            actions.append(self._sending(GROUP, self._asking(None, now), now))
        return actions

    def connect_back(self, to: Address, guid: Guid, now: float) -> list[UdpAction]:
        """A ping to a peer that asked for one over its link; its pong tells us nothing."""
        self._called.put(guid, to.host, now)
        return [self._sending(to, encode_header(guid, PING, ALIVE_TTL, 0, 0), now)]

    def resolved(self, host: str, now: float) -> None:
        """A cache's name means this address: what comes from there is no stranger's."""
        self._provoked.put(host, True, now)

    def _asking(self, cache: Address | None, now: float) -> bytes:
        """A ping of ours: of a host cache for packed hosts, else a call."""
        guid = fresh_guid(self._rng)
        self._asked.put(guid, _Asked(cache), now)
        pong = self._servent.pong("")
        values = {"VC": (pong.ggep and pong.ggep.get("VC")) or b""}
        if cache is not None:
            flags = SCP_ULTRAPEER if self._servent.free_slots() is not None else 0
            flags |= SCP_TLS if self._servent.takes_tls() else 0
            flags |= SCP_IPV6 if self._servent.speaks_ipv6() else 0
            values |= {"SCP": bytes((flags,)), "IP": b""}
        payload = Ping(Ggep.of(values)).encode()
        return encode_header(guid, PING, ALIVE_TTL, 0, len(payload)) + payload

    def _sending(self, to: Address, data: bytes, now: float, delay_s: float = 0.0) -> SendDatagram:
        return self.noted(SendDatagram(to, data, delay_s), now)

    def noted(self, sending: SendDatagram, now: float) -> SendDatagram:
        """Count a datagram of ours, and note that its host is no stranger from now on."""
        self.counters.kind(sending.data[16]).tx += 1
        self.counters.tx_bytes += len(sending.data)
        self._provoked.put(sending.to.host, True, now)
        return sending


def _seen_as(pong: Pong, source: Address) -> list[UdpAction]:
    raw = (pong.ggep and pong.ggep.get("IP")) or b""
    if len(raw) not in (6, 18):
        return []
    return [Emit(SeenAs(source.host, str(ipaddress.ip_address(raw[:-2]))))]


def _uptime(pong: Pong) -> int | None:
    uptime_s = pong.daily_uptime_s
    return None if uptime_s is None else min(uptime_s, 86400)
