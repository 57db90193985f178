"""The UDP edge: a datagram port beside each TCP port, with the same number; host caches by name; calls into the LAN.

It decides nothing: routing.udp judges each datagram and says what to send.  A UDP port that is taken by another program does
not keep the node from running: it is logged, and the node lives without it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import UserError
from gnutella.network.datagram_port import open_datagram_port
from gnutella.network.gate import Gate
from gnutella.network.interfaces import local_host_towards, multicast_interfaces
from gnutella.network.multicast import LanGroup
from gnutella.network.names import resolve_name
from gnutella.network.own_address import OwnAddresses, is_loopback, plain_host
from gnutella.network.sources import Asked, Source, caches_source, reason
from gnutella.protocol.message import Pong
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Emit, SendDatagram
from gnutella.routing.guess import Guess
from gnutella.routing.hosts import HostCache
from gnutella.routing.lan import GROUP
from gnutella.routing.router import Router
from gnutella.routing.seams import Chance
from gnutella.routing.tokens import SECRET_BYTES
from gnutella.routing.udp import Datagrams, Needs, UdpAction
from gnutella.routing.udp_caches import UdpCaches
from gnutella.routing.udp_pongs import Tellable
from gnutella.settings import Settings
from gnutella.settings_check import BUILT_IN
from gnutella.units import Address, Guid, parse_address

TICK_S = 1.0
#: Datagrams read are at most this long; longer ones are cut, and then are no whole message.
MAX_DATAGRAM = 4096
#: Seconds for the name of a host cache.
RESOLVE_TIMEOUT_S = 10.0
#: Addresses of the host cache that must be worth dialling before nobody is asked for more.
ENOUGH_HOSTS = 8
#: Seconds for which our own addresses are taken as known.
LOOK_AGAIN_S = 10.0
#: Hosts of the host cache that may be told, after those whose pongs came lately.
_TOLD_POOL = 20
#: UDP host caches of the public network, as gtk-gnutella has them (digest 5.2).
PUBLIC_CACHES = (
    "useast.gnutella.dyslexicfish.net:3558",
    "uswest.gnutella.dyslexicfish.net:3558",
    "uk.gnutella.dyslexicfish.net:3558",
    "au.gnutella.dyslexicfish.net:3558",
    "1.uhc.gtk-gnutella.nl:19104",
    "2.uhc.gtk-gnutella.nl:19104",
)


def caches_in(settings: Settings) -> list[Address]:
    """The caches of `bootstrap.udp_host_caches`; UserError (78) for one that cannot be read."""
    found: dict[Address, None] = {}
    for text in settings.bootstrap.udp_host_caches:
        built_in = PUBLIC_CACHES if settings.network.profile == "public" else ()
        for one in built_in if text == BUILT_IN else (text,):
            try:
                found[parse_address(one)] = None
            except ValueError as error:
                raise UserError(f"bootstrap.udp_host_caches: {error}", "write host:port", os.EX_CONFIG) from None
    return list(found)


class LinkCounts(Protocol):
    """What is asked of the links."""

    @property
    def wanted_links(self) -> int: ...
    @property
    def addresses(self) -> list[Address]: ...
    def summary(self) -> dict[str, int]: ...
    def execute(self, actions: list[Action]) -> None: ...


class _UdpPort(DatagramProtocol):
    """One socket."""

    noisy = False

    def __init__(self, received: Callable[[bytes, Address, Any], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram, Address(plain_host(addr[0]), addr[1]), self.transport)


class Udp:
    """All datagrams of one node.  `emit` gets HostLearned, UdpReached and SeenAs."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        router: Router,
        links: LinkCounts,
        hosts: HostCache,
        own_address: OwnAddresses,
        rng: Chance,
        emit: Callable[[object], None],
        gate: Gate | None = None,
    ) -> None:
        self._reactor = reactor
        self._network = settings.network
        self._routing = settings.routing
        self._router = router
        self._links = links
        self._hosts = hosts
        self._own_address = own_address
        self._rng = rng
        self._emit = emit
        self._gate = gate or Gate()
        self._clock: Callable[[], float] = reactor.seconds
        self._may_call = settings.network.profile == "lan" and settings.bootstrap.multicast
        self._calls = self._may_call
        self._caches = UdpCaches(caches_in(settings), rng)
        self._group = LanGroup(reactor, self._heard)
        self._ports: list[Any] = []
        #: Why the last port that is missing could not be opened.
        self._no_port = ""
        self._own_hosts: set[str] = set()
        self._own_hosts_until = float("-inf")
        self._later: set[Any] = set()
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor
        self.datagrams: Datagrams | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, addresses: Iterable[Address]) -> None:
        """Open a port beside each of these TCP ports, and begin to ask around."""
        known = list(addresses)
        for address in known:
            self._open(address, only_v6=Address("0.0.0.0", address.port) in known)
        if self._ports:
            self._begin()
        self._ticks.start(TICK_S, now=True).addErrback(self._tick_failed)

    def _begin(self) -> None:
        secret = secrets.token_bytes(SECRET_BYTES)
        self._router.open_datagrams(secret, self._clock())
        self._calls = self._calls and self._caller() is not None and self._group.open()
        self.datagrams = Datagrams(
            self,
            self._caches,
            self._rng,
            self._router.counters,
            allow_private=self._network.profile != "public",
            now=self._clock(),
            calls=self._calls,
            routing=self._router,
            guess=Guess(secret, self._clock()),
        )
        self._use_shares(self.datagrams)

    async def stop(self) -> None:
        """Close the ports; what waits to be sent is not sent."""
        if self._ticks.running:
            self._ticks.stop()
        later, self._later = self._later, set()
        for call in later:
            call.cancel()
        self.datagrams = None
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        await self._group.close()

    def use_settings(self, settings: Settings) -> None:
        """Judge the need for links by other limits from now on."""
        self._network = settings.network
        self._routing = settings.routing
        self._tell_of_us()
        if self.datagrams is not None:
            self._use_shares(self.datagrams)

    def _use_shares(self, datagrams: Datagrams) -> None:
        datagrams.use_shares(self._gate.shares)
        self._router.use_shares(self._gate.shares)

    def connect_back(self, to: Address, guid: Guid) -> None:
        """Send a ping with that GUID: a peer wants to know whether it can be reached there."""
        self._guarded(lambda udp: udp.connect_back(to, guid, self._clock()))

    def has_hole(self, host: str) -> bool:
        """Whether we sent something there lately, so that what comes from there may come through the hole that made."""
        return self.datagrams is not None and self.datagrams.has_hole(host)

    @property
    def addresses(self) -> list[Address]:
        """IP and number of each open UDP port."""
        return [Address(host.host, host.port) for host in (port.getHost() for port in self._ports)]

    def sources(self) -> list[Source]:
        """How the calls into the LAN and the UDP host caches do."""
        name = "UDP host caches"
        caches = caches_source(name, (Asked(*row[1:]) for row in self._caches.rows()), "none is named")
        if not self._ports and caches.state != "idle":
            caches = Source(name, "failed", reason(self._no_port or "no UDP port is open"))
        return [self._multicast(), caches]

    def _multicast(self) -> Source:
        if not self._may_call:
            return Source("multicast", "off")
        if not self._ports:
            return Source("multicast", "failed", reason(self._no_port or "no UDP port is open"))
        if self._caller() is None:
            return Source("multicast", "off", "no port that the network can reach; see network.listen")
        return self._group.source()

    def _open(self, address: Address, *, only_v6: bool) -> None:
        try:
            port = open_datagram_port(self._reactor, *address, _UdpPort(self._received), MAX_DATAGRAM, only_v6=only_v6)
        except OSError as error:
            self._no_port = f"no UDP port {address}: {error.strerror or error}"
            self.log.warn("no UDP port {address}: {why!r}; going on without it", address=str(address), why=str(error))
            return
        self._ports.append(port)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _received(self, data: bytes, source: Address, port: Any) -> None:
        if self.datagrams is not None and not self._gate.refuses_datagram(source.host):
            self._guarded(lambda udp: udp.receive(data, source, self._clock()), port)

    def _heard(self, data: bytes, source: Address, is_neighbour: bool) -> None:
        """A call of the LAN.  Who is on no network of ours cannot have called with TTL 1."""
        if not is_neighbour:
            self._router.count_drop(DropReason.BOGUS_SOURCE)
            return
        if self._gate.refuses_datagram(source.host):
            return
        self._guarded(lambda udp: udp.receive(data, source, self._clock(), is_call=True), self._caller())

    def _guarded(self, work: Callable[[Datagrams], Sequence[UdpAction]], port: Any = None) -> None:
        if self.datagrams is None:
            return
        try:
            self._execute(work(self.datagrams), port)
        except Exception:  # noqa: BLE001 - the guard of the port: logged, counted, the next datagram is another one's
            self.log.failure("a datagram found a fault")
            self._router.count_drop(DropReason.INTERNAL_ERROR)

    # -- what goes -----------------------------------------------------------------------------------------------------

    def _execute(self, actions: Sequence[UdpAction], port: Any) -> None:
        """`port` is where answers leave from; None: whichever fits."""
        for action in actions:
            if isinstance(action, Emit):
                self._emit(action.event)
            elif not isinstance(action, SendDatagram):
                self._links.execute([action])
            elif action.to == GROUP:
                self._group.call(self._caller(), action.data)
            elif action.delay_s:
                self._send_later(action.delay_s, action.to, action.data, port)
            else:
                self._send(action.to, action.data, port)

    def send(self, sending: SendDatagram) -> None:
        """A datagram that something on a link brought about."""
        if self.datagrams is not None:
            self._execute([self.datagrams.noted(sending, self._clock())], None)

    def _send_later(self, delay_s: float, to: Address, data: bytes, port: Any) -> None:
        def send() -> None:
            self._later.discard(call)
            self._send(to, data, port)

        call = self._reactor.callLater(delay_s, send)
        self._later.add(call)

    def _send(self, to: Address, data: bytes, port: Any = None) -> None:
        """To an IP at once, to a name when it is known."""
        if ":" in to.host or to.host.replace(".", "").isdigit():
            self._write(to.host, to.port, data, port)
            return

        def found(host: str) -> None:
            if self.datagrams is not None:
                self.datagrams.resolved(host, self._clock())
                self._write(host, to.port, data, port)

        resolving = resolve_name(self._reactor, to.host, RESOLVE_TIMEOUT_S)

        def lost(failure: Failure) -> None:
            self._caches.unreachable(to, f"{to.host}: {failure.getErrorMessage()}")
            self._unsent(to.host, failure.value)

        resolving.addCallbacks(found, lost)

    def _write(self, host: str, number: int, data: bytes, port: Any) -> None:
        if self._gate.blocks(host):
            return
        port = port or self._port_for(host)
        if port is None:
            self._unsent(host, None, data)
            return
        is_v6 = ":" in port.getHost().host
        try:
            port.write(data, (f"::ffff:{host}" if is_v6 and ":" not in host else host, number))
        except Exception as error:  # noqa: BLE001 - OSError, and whatever Twisted makes of an address it does not like
            self._unsent(host, error, data)

    def _unsent(self, host: str, error: BaseException | None, data: bytes = b"") -> None:
        self._router.count_drop(DropReason.UDP_UNSENT)
        if data and self.datagrams is not None:
            self._links.execute(self._router.datagram_unsent(data, self._clock()))
        self.log.debug("no datagram to {host!r}: {error!r}", host=host, error=str(error))

    def _port_for(self, host: str) -> Any:
        """A port that can send to this IP."""
        wants_v6 = ":" in host
        for port in self._ports:
            bound = port.getHost().host
            if (":" in bound) is wants_v6 and is_loopback(bound) <= is_loopback(host):
                return port
        return next((port for port in self._ports if port.getHost().host == "::"), None)

    def _caller(self) -> Any:
        """The port from which calls go out: an IPv4 one that others can reach."""
        usable = (port for port in self._ports if ":" not in (host := port.getHost().host) and not is_loopback(host))
        return next(usable, None)

    def _tick(self) -> None:
        self._tell_of_us()
        self._guarded(lambda udp: udp.tick(self._clock(), self._needs()))

    def _tell_of_us(self) -> None:
        """Have our pongs on links say how many slots are free, and whether queries by UDP are answered."""
        told, slots = self._router.self, self.free_slots()
        takes_guess = self._routing.guess and slots is not None and bool(self._ports) and not told.is_firewalled
        if (told.slots, told.takes_guess) != (slots, takes_guess):
            told.slots, told.takes_guess = slots, takes_guess
            self._router.self_changed()

    def _tick_failed(self, failure: Failure) -> None:
        self.log.failure("the clock of the UDP port stopped", failure)
        self._router.count_drop(DropReason.INTERNAL_ERROR)

    def _needs(self) -> Needs:
        counts = self._links.summary()
        # Leaves are none of the links that are wanted.
        linked, is_lonely = counts["peers"] - counts["leaves"], counts["peers"] == 0
        wants_links = linked < self._links.wanted_links
        if not wants_links or not len(self._caches):
            return Needs(False, wants_links, is_lonely)
        # Hosts that are linked count among those that can be chosen.
        known = len(self._hosts.choose(linked + ENOUGH_HOSTS, self._clock()))
        return Needs(known < linked + ENOUGH_HOSTS, wants_links, is_lonely)

    # -- routing.udp.Servent -------------------------------------------------------------------------------------------

    def pong(self, asker: str) -> Pong:
        """Our pong with the address at which `asker` reaches us."""
        return self._router.pong_at((local_host_towards(asker) if asker else None) or "127.0.0.1")

    def free_slots(self) -> tuple[int, int] | None:
        """None for a leaf."""
        network, links = self._network, self._links.summary()
        if self._router.is_leaf:
            return None
        leaves = links["leaves"]
        return network.max_leaves - leaves, network.max_links - (links["peers"] - leaves)

    def takes_guess(self) -> bool:
        return self._router.self.takes_guess

    def speaks_ipv6(self) -> bool:
        return any(":" in address.host for address in self.addresses)

    def takes_tls(self) -> bool:
        return self._router.self.reads_tls

    def hosts_to_tell(self, now: float) -> Sequence[Tellable]:
        """Those whose pongs came lately, then the best of the host cache."""
        lately = [
            Tellable(pong.address, *(pong.ggep is not None and key in pong.ggep for key in ("TLS", "GUE")))
            for pong in self._router.recent_pongs(now)
        ]
        known = {host.address for host in lately}
        return lately + [Tellable(address) for address in self._hosts.to_tell(_TOLD_POOL, exclude=known)]

    def is_own(self, address: Address) -> bool:
        """Whether we are to be reached there."""
        own = self._own_address
        if address.port not in own.ports:
            return False
        if is_loopback(address.host) or address.host in (own.external, own.ipv6):
            return True
        now = self._clock()
        if now >= self._own_hosts_until:
            self._own_hosts = {interface.host for interface in multicast_interfaces()}
            self._own_hosts_until = now + LOOK_AGAIN_S
        return address.host in self._own_hosts
