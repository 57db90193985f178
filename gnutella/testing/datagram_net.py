"""Servents in virtual time that speak by links and by datagrams: routers with a UDP core each, and a net that carries both.

net = DatagramNet()
a, b, c = net.host("81.0.0.1"), net.host("82.0.0.1"), net.host("83.0.0.1", ["purple rain.ogg"])
net.link(a, b); net.link(b, c)
a.router.reach.reached(0.0, by_udp=True)
guid = a.search("purple")
net.run(5.0)
a.hits
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gnutella.protocol.kinds import KIND_NAMES, parse_header
from gnutella.protocol.message import Query
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Close, Emit, Flood, Send, SendDatagram
from gnutella.routing.events import HitReceived
from gnutella.routing.guess import Guess
from gnutella.routing.router import LinkInfo, Router
from gnutella.routing.udp import Datagrams, Needs, UdpAction
from gnutella.routing.udp_caches import UdpCaches
from gnutella.settings import RoutingSettings
from gnutella.testing.datagrams import FakeServent
from gnutella.testing.routers import make_router
from gnutella.units import Address, Guid, LinkId

SECRET = bytes(range(32))
_IDLE = Needs(hosts=False, links=False, is_lonely=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """One datagram on its way."""

    at: float
    source: Address
    to: Address
    data: bytes

    @property
    def kind(self) -> str:
        """Name of its kind of message."""
        return KIND_NAMES.get(self.data[16], "unknown")


class VirtualHost:
    """One servent."""

    def __init__(self, net: DatagramNet, address: Address, files: Iterable[str], number: int, **options: Any) -> None:
        self.net = net
        self.address = address
        self.events: list[object] = []
        servent_id = Guid(b"\x40" * 8 + b"\xff" + number.to_bytes(7, "big"))
        is_leaf = options.get("is_leaf", False)
        self.router: Router = make_router(
            files, address=address, servent_id=servent_id, seed=number, **{"allow_private": False, **options}
        )
        self.oob = self.router.open_datagrams(SECRET + bytes((number,)), net.now)
        self.router.self.takes_guess = not is_leaf
        self.servent = FakeServent(address=address, slots=None if is_leaf else (90, 20), guess=not is_leaf)
        rng = random.Random(number)
        self.udp = Datagrams(
            self.servent,
            UdpCaches((), rng),
            rng,
            self.router.counters,
            allow_private=options.get("allow_private", False),
            now=net.now,
            routing=self.router,
            guess=Guess(SECRET + bytes((number,)), net.now),
        )
        self.links: dict[LinkId, tuple[VirtualHost, LinkId]] = {}

    def search(self, text: str) -> Guid:
        guid, actions = self.router.search(Query(text), self.net.now)
        self.do(actions)
        return guid

    def do(self, actions: Iterable[UdpAction]) -> None:
        """Execute what the router or the UDP core asked for."""
        for action in actions:
            if isinstance(action, SendDatagram):
                self.net.carry(self, action)
            elif isinstance(action, Emit) and isinstance(action.event, SendDatagram):
                self.net.carry(self, self.udp.noted(action.event, self.net.now))
            elif isinstance(action, Emit):
                self.events.append(action.event)
            elif isinstance(action, Send | Flood):
                for link in (action.link,) if isinstance(action, Send) else action.links:
                    self._pass(link, action.data)
            elif isinstance(action, Close):
                self.links.pop(action.link, None)

    def _pass(self, link: LinkId, data: bytes) -> None:
        if link in self.links:
            peer, number = self.links[link]
            self.net.later(0.01, lambda: peer.do(peer.router.receive(number, data, self.net.now)))

    @property
    def hits(self) -> list[HitReceived]:
        """Hits for searches of its own, in order."""
        return [event for event in self.events if isinstance(event, HitReceived)]

    @property
    def names(self) -> list[str]:
        """Names of the files found."""
        return [record.name for event in self.hits for record in event.hit.records]

    def drops(self, reason: DropReason) -> int:
        return self.router.counters.drops[reason]


@dataclass
class DatagramNet:
    """Carries datagrams, and what links send; `lost` says which datagrams do not arrive."""

    now: float = 0.0
    hosts: dict[Address, VirtualHost] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    lost: Callable[[Sent], bool] = lambda sent: False
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def host(self, ip: str, files: Iterable[str] = (), **options: Any) -> VirtualHost:
        """A new servent at port 6346 of that IP."""
        address = Address(ip, 6346)
        self.hosts[address] = VirtualHost(self, address, files, len(self.hosts) + 1, **options)
        return self.hosts[address]

    def link(self, dialler: VirtualHost, answerer: VirtualHost, *, answerer_is_leaf: bool = False) -> None:
        """Link two of them."""
        ends = [(dialler, answerer, answerer_is_leaf), (answerer, dialler, dialler.router.is_leaf)]
        numbers = [LinkId(self._count + 1), LinkId(self._count + 2)]
        self._count += 2
        for (one, other, is_leaf), number, twin in zip(ends, numbers, reversed(numbers), strict=True):
            one.links[number] = (other, twin)
            info = LinkInfo(other.address.host, one.address.host, is_leaf=is_leaf, is_ultrapeer=not is_leaf)
            one.do(one.router.link_opened(number, info, self.now))

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + delay_s, self._count, work))

    def carry(self, source: VirtualHost, sending: SendDatagram) -> None:
        """Send a datagram of a servent."""
        self.inject(sending.data, source.address, sending.to, sending.delay_s)

    def inject(self, data: bytes, source: Address, to: Address, delay_s: float = 0.0) -> None:
        """A datagram with whatever source address."""

        def arrive() -> None:
            host = self.hosts.get(to)
            if host is not None:
                host.do(host.udp.receive(data, source, self.now))

        datagram = Sent(self.now + delay_s, source, to, data)
        self.sent.append(datagram)
        if not self.lost(datagram):
            self.later(delay_s + 0.05, arrive)

    def run(self, seconds: float) -> None:
        """Let time pass, with a tick each second."""
        end = self.now + seconds
        while self.now < end:
            until = min(end, float(int(self.now) + 1))
            while self._due and self._due[0][0] <= until:
                self.now, _, work = heapq.heappop(self._due)
                work()
            self.now = until
            for host in self.hosts.values():
                actions: list[Action] = host.router.tick(self.now)
                host.do([*actions, *host.udp.tick(self.now, _IDLE)])

    def bytes_to(self, address: Address) -> int:
        """Bytes of datagrams sent to that address."""
        return sum(len(sent.data) for sent in self.sent if sent.to == address)

    def kinds(self, source: Address, to: Address) -> list[str]:
        """Kinds of the datagrams between two addresses, in order."""
        return [parse_kind(sent) for sent in self.sent if (sent.source, sent.to) == (source, to)]


def parse_kind(sent: Sent) -> str:
    """`LIME/12v3` for vendor messages, else the name of the kind."""
    if sent.kind != "vendor":
        return sent.kind
    payload = sent.data[23:]
    selector, version = (int.from_bytes(payload[at : at + 2], "little") for at in (4, 6))
    assert parse_header(sent.data).length == len(payload)
    return f"{payload[:4].decode('latin-1')}/{selector}v{version}"


def settings(**values: Any) -> RoutingSettings:
    """Settings of the routing section."""
    return RoutingSettings(**values)
