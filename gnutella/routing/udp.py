"""Datagrams: pings of strangers are answered, sparingly; pongs for pings of ours fill the host cache (digest 5.2).

    udp = Datagrams(servent, caches, rng, counters, allow_private=False, now=0.0)
    actions = udp.receive(data, source, now)                 # one datagram; nothing in it makes this raise
    actions = udp.receive(data, source, now, is_call=True)   # one that came by the multicast group of the LAN
    actions = udp.tick(now, Needs(...))                      # each second: pings of host caches, calls into the LAN

A source address proves nothing, so answers obey `udp_limits`; what is believed of a pong is that it answers one of our GUIDs.
Other kinds of message are counted and dropped.  Pure; the edge is network/udp.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from gnutella.errors import RemoteViolation
from gnutella.networks import Shares
from gnutella.protocol.addresses import encode_hosts, encode_hosts6
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, KIND_NAMES, PING, PONG, encode_header, parse_header
from gnutella.protocol.message import Ping, Pong
from gnutella.reasons import DropReason
from gnutella.routing.actions import Emit
from gnutella.routing.counters import Counters
from gnutella.routing.events import HostLearned
from gnutella.routing.guids import fresh_guid
from gnutella.routing.lan import GROUP, MAX_JITTER_S, Calls
from gnutella.routing.link import HARD_MAX_TTL
from gnutella.routing.seams import Chance
from gnutella.routing.seen import Generations
from gnutella.routing.udp_caches import UdpCaches, parse_cache, parse_phc
from gnutella.routing.udp_limits import MAX_AMPLIFICATION, AnswerLimits, source_key
from gnutella.units import Address, Guid, is_plausible_peer

#: Hosts packed into one answer, IPv4 and IPv6 together (LimeWire; digest 5.2).
MAX_PACKED = 10
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
#: SCP flags (digest 3.3).
SCP_ULTRAPEER, SCP_TLS, SCP_IPV6 = 0x01, 0x02, 0x04
#: GGEP UP: its version; slots are told in one byte each.
_UP_VERSION = 1
_MAX_SLOTS = 255
_ALIVE_TTL = 1


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send `data` to `to` (host caches may be names) after `delay_s`; to GROUP by multicast with TTL 1."""

    to: Address
    data: bytes
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class UdpReached:
    """A datagram came that we did not provoke: others can reach our UDP port."""

    source: Address


@dataclass(frozen=True, slots=True)
class SeenAs:
    """`reporter` says that our datagrams come from `host`."""

    reporter: str
    host: str


UdpAction = SendDatagram | Emit


class Tellable(NamedTuple):
    """A host that may be told to others."""

    address: Address
    takes_tls: bool = False


class Needs(NamedTuple):
    """How things stand with links: `hosts` says that too few addresses are known, `links` that more links are wanted."""

    hosts: bool
    links: bool
    is_lonely: bool


class Servent(Protocol):
    """What is asked of the node."""

    def pong(self, asker: str) -> Pong:
        """Our pong as the host `asker` shall read it, with whatever is said of us in every pong (VC, DU)."""
        ...

    def free_slots(self) -> tuple[int, int] | None:
        """Free slots for leaves and for ultrapeers; None for a leaf."""
        ...

    def takes_tls(self) -> bool: ...

    def hosts_to_tell(self, now: float) -> Sequence[Tellable]:
        """Ultrapeers that were seen lately, in random order."""
        ...

    def is_own(self, address: Address) -> bool: ...


@dataclass(slots=True)
class _Asked:
    """A ping of ours; `cache` is None for a call into the LAN."""

    cache: Address | None
    taken: int = 0


class Datagrams:
    """All that one node does with datagrams.  `calls`: call into the LAN by multicast."""

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
    ) -> None:
        self.caches = caches
        self._servent = servent
        self._rng = rng
        self.counters = counters
        self._allow_private = allow_private
        self._limits = AnswerLimits(now)
        self._asked: Generations[Guid, _Asked] = Generations(MAX_ASKED, ASKED_LIFE_S, now)
        self._provoked: Generations[str, bool] = Generations(MAX_PROVOKED, PROVOKED_LIFE_S, now)
        self._calls = Calls(rng, now) if calls else None
        self._reached_at = float("-inf")

    def use_shares(self, shares: Shares) -> None:
        """Which part of our answers one network may have from now on."""
        self._limits.shares = shares

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
        if header.kind == PONG and not is_call:
            return actions + self._pong(asked, payload, source, now)
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
        packed = ping.wants_packed_hosts and not is_call
        # On the LAN several servents share a machine, and a call reaches them all.
        key = str(source) if is_call else source_key(source)
        if (reason := self._limits.refusal(key, now, packed=packed, host=source.host)) is not None:
            return self.refuse(reason)
        pong = self._servent.pong(source.host)
        values = self._extensions(ping, pong, source, now) if packed else self._small(ping, pong, source, len(payload))
        answer = replace(pong, ggep=Ggep.of(values) if values else None).encode()
        message = encode_header(guid, PONG, _ALIVE_TTL, 0, len(answer)) + answer
        return [self._sending(source, message, now, MAX_JITTER_S * self._rng.random() if is_call else 0.0)]

    def _said(self, ping: Ping, pong: Pong, source: Address) -> dict[str, bytes]:
        """What a pong of ours may say beside its fixed fields, the most useful first."""
        values: dict[str, bytes] = {}
        if ":" in pong.address.host:
            values["6"] = encode_hosts6([pong.address])[:16]
        if ping.ggep is not None and "IP" in ping.ggep:
            values["IP"] = encode_hosts6([source]) if ":" in source.host else encode_hosts([source])
        if (slots := self._servent.free_slots()) is not None:
            values["UP"] = bytes((_UP_VERSION, *(max(0, min(_MAX_SLOTS, count)) for count in slots)))
        values |= dict(pong.ggep.items) if pong.ggep is not None else {}
        if self._servent.takes_tls():
            values["TLS"] = b""
        return values

    def _small(self, ping: Ping, pong: Pong, source: Address, asked_bytes: int) -> dict[str, bytes]:
        """As many of them as keep the answer within MAX_AMPLIFICATION times the ping."""
        room = MAX_AMPLIFICATION * (HEADER_SIZE + asked_bytes) - HEADER_SIZE
        chosen: dict[str, bytes] = {}
        for name, value in self._said(ping, pong, source).items():
            more = {**chosen, name: value}
            if len(replace(pong, ggep=Ggep.of(more)).encode()) <= room:
                chosen = more
        return chosen

    def _extensions(self, ping: Ping, pong: Pong, source: Address, now: float) -> dict[str, bytes]:
        """The long answer: all of them, and hosts."""
        values = self._said(ping, pong, source)
        if self._servent.free_slots() is not None:
            values["UDPHC"] = b""
        reads_ipv6 = bool(((ping.ggep and ping.ggep.get("SCP")) or b"\0")[0] & SCP_IPV6)
        hosts = [
            host
            for host in self._servent.hosts_to_tell(now)
            if host.address.host != source.host
            and is_plausible_peer(host.address, allow_private=self._allow_private)
            and not self._servent.is_own(host.address)
            and (reads_ipv6 or ":" not in host.address.host)
        ][:MAX_PACKED]
        for suffix in ("", "6"):
            some = [host for host in hosts if (":" in host.address.host) is bool(suffix)]
            if some:
                encoder = encode_hosts6 if suffix else encode_hosts
                values[f"IPP{suffix}"] = encoder(host.address for host in some)
            if bits := _bitmap([host.takes_tls for host in some]):
                values[f"IPP{suffix}_TLS"] = bits
        return values

    # -- pongs for pings of ours ---------------------------------------------------------------------------------------

    def _pong(self, asked: _Asked | None, payload: bytes, source: Address, now: float) -> list[UdpAction]:
        if asked is None:
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
        told = HostLearned(address, pong.files, pong.kbytes, pong.is_ultrapeer, _uptime(pong))
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
            text = name.decode("latin-1") or source.host
            cache = parse_cache(text, pong.address.port or source.port)
            found += [cache] if cache is not None and ":" not in text else []
        for cache in found:
            if not _is_ip(cache.host) or is_plausible_peer(cache, allow_private=self._allow_private):
                self.caches.learn(cache)

    # -- what we send --------------------------------------------------------------------------------------------------

    def tick(self, now: float, needs: Needs) -> list[UdpAction]:
        """Whatever is due."""
        self._limits.tick(now)
        self._asked.tick(now)
        self._provoked.tick(now)
        due = self.caches.due(now, needs_hosts=needs.hosts)
        actions: list[UdpAction] = [self._sending(cache, self._asking(cache, now), now) for cache in due]
        if self._calls is not None and self._calls.due(now, wants_links=needs.links, is_lonely=needs.is_lonely):
            actions.append(self._sending(GROUP, self._asking(None, now), now))
        return actions

    def connect_back(self, to: Address, guid: Guid, now: float) -> list[UdpAction]:
        """A ping to a peer that asked for one over its link; its pong is not waited for."""
        return [self._sending(to, encode_header(guid, PING, _ALIVE_TTL, 0, 0), now)]

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
            values |= {"SCP": bytes((flags | (SCP_TLS if self._servent.takes_tls() else 0),)), "IP": b""}
        payload = Ping(Ggep.of(values)).encode()
        return encode_header(guid, PING, _ALIVE_TTL, 0, len(payload)) + payload

    def _sending(self, to: Address, data: bytes, now: float, delay_s: float = 0.0) -> SendDatagram:
        self.counters.kind(data[16]).tx += 1
        self.counters.tx_bytes += len(data)
        self._provoked.put(to.host, True, now)
        return SendDatagram(to, data, delay_s)


def _bitmap(bits: Sequence[bool]) -> bytes:
    """Most significant bit first, zero bytes at the end dropped (digest 3.2)."""
    number = sum(bit << (7 - at % 8 + 8 * (at // 8)) for at, bit in enumerate(bits))
    return number.to_bytes((len(bits) + 7) // 8, "little").rstrip(b"\0")


def _seen_as(pong: Pong, source: Address) -> list[UdpAction]:
    raw = (pong.ggep and pong.ggep.get("IP")) or b""
    if len(raw) not in (6, 18):
        return []
    return [Emit(SeenAs(source.host, str(ipaddress.ip_address(raw[:-2]))))]


def _uptime(pong: Pong) -> int | None:
    uptime_s = pong.daily_uptime_s
    return None if uptime_s is None else min(uptime_s, 86400)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
