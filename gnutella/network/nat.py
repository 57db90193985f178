"""Having our port mapped by the router that we sit behind: PCP and NAT-PMP, or else UPnP where that extra is installed.

Only with profile `public`, and only when our own address is not public already: a node of an island must not open the router
of its network.  `routing.port_mapping` decides what is asked; this is its socket, its clock, and the look for another router.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.network.datagram_port import open_datagram_port
from gnutella.network.gateway import Gateway, find_gateway
from gnutella.network.own_address import is_loopback, is_public
from gnutella.network.upnp import Igd, UpnpMapping
from gnutella.protocol.portmap import MAX_DATAGRAM, NONCE_BYTES, PORT
from gnutella.reasons import DropReason
from gnutella.routing.port_mapping import Mapper, MappingState
from gnutella.units import Address

#: Seconds between two looks whether the router, or our address, is another one: laptops move.
LOOK_S = 60.0
#: Seconds that a stop waits for UPnP to take its mapping back.
RELEASE_S = 2.0
#: A row of status while nothing is asked.
IDLE: dict[str, object] = {"state": "idle", "method": None, "address": None, "expires_s": None, "detail": ""}


@dataclass(frozen=True, slots=True)
class Mapping:
    """What stands: the method, and where others reach us; `host` None when the router does not tell."""

    method: str
    host: str | None
    port: int
    has_udp: bool


class Nat:
    """Keeps the mapping of one port.  `changed` is called with what stands now, None for nothing."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        changed: Callable[[Mapping | None], None],
        count_drop: Callable[[DropReason], None],
        *,
        look: Callable[[], Gateway | None] = find_gateway,
        igd: Igd | None = None,
        gateway_port: int = PORT,
    ) -> None:
        self._reactor = reactor
        self._changed = changed
        self._count_drop = count_drop
        self._look_up = look
        self._igd = igd
        self._gateway_port = gateway_port
        self._number = 0
        #: The router at the last look; the text before the first one, or when it must be tried again.
        self._seen: Gateway | str | None = "nothing yet"
        self._mapper: Mapper | None = None
        self._socket: _Socket | None = None
        self._upnp: UpnpMapping | None = None
        self._told: Mapping | None = None
        self._look: Any = None
        #: Why nothing is asked, or "".
        self.idle_because = "not started"

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, port: int) -> None:
        """Have `port` mapped, TCP and UDP."""
        self._number = port
        self._look_again()

    async def stop(self) -> None:
        """Take the mappings back."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        await self._leave()
        self.idle_because = "stopped"

    def _look_again(self) -> None:
        self._look = self._reactor.callLater(LOOK_S, self._look_again)
        gateway = self._look_up()
        if gateway == self._seen:
            return
        self._seen = gateway
        Deferred.fromCoroutine(self._move(gateway)).addErrback(self._fault)

    async def _move(self, gateway: Gateway | None) -> None:
        await self._leave()
        if gateway is None:
            self.idle_because = "no router was found"
        elif is_public(gateway.own):
            self.idle_because = f"our address {gateway.own} is public"
        else:
            self._ask(gateway)

    def _ask(self, gateway: Gateway) -> None:
        now, nonce = self._reactor.seconds(), secrets.token_bytes(NONCE_BYTES)
        self._mapper = Mapper(gateway.host, gateway.own, self._number, nonce, now, self._gateway_port)
        self._socket = _Socket(self)
        self.idle_because = ""
        try:
            self._socket.open(self._reactor, gateway.own, self._mapper.gateway)
        except OSError as error:
            self.idle_because = f"no socket: {error.strerror}"
            self._mapper = self._socket = None
            self._seen = "to be tried again"
            return
        self._wake()

    async def _leave(self) -> None:
        """End everything with the present router."""
        mapper, self._mapper = self._mapper, None
        socket, self._socket = self._socket, None
        upnp, self._upnp = self._upnp, None
        if mapper is not None and socket is not None:
            for datagram in mapper.release() * 2:  # twice, since nobody waits for an answer
                socket.send(datagram)
        if socket is not None:
            await socket.close()
        if upnp is not None:
            await upnp.stop().addTimeout(RELEASE_S, self._reactor).addErrback(lambda _: None)
        self._tell(None)

    # -- what happens --------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        mapper, socket = self._mapper, self._socket
        if mapper is None or socket is None:
            return
        for datagram in mapper.due(self._reactor.seconds()):
            socket.send(datagram)
        self._settle(mapper, socket)

    def received(self, data: bytes, source: Address) -> None:
        """A datagram on our socket."""
        mapper, socket = self._mapper, self._socket
        if mapper is None or socket is None:
            return
        try:
            mapper.receive(data, source, self._reactor.seconds())
        except RemoteViolation as violation:
            self._count_drop(violation.reason)
        self._settle(mapper, socket)

    def refused(self) -> None:
        """The router has nobody at that port."""
        mapper, socket = self._mapper, self._socket
        if mapper is not None and socket is not None and mapper.state is MappingState.ASKING:
            mapper.unreachable(self._reactor.seconds())
            self._settle(mapper, socket)

    def _settle(self, mapper: Mapper, socket: _Socket) -> None:
        """Tell what stands, try UPnP where the router does not speak the others, and wake when there is something to do."""
        socket.wake_at(mapper.wakes_at, self._wake)
        if mapper.state is MappingState.MAPPED and mapper.external_port is not None:
            self._end_upnp()
            self._tell(Mapping(mapper.method, mapper.external, mapper.external_port, mapper.has_udp))
        elif mapper.state in (MappingState.SILENT, MappingState.REFUSED):
            if self._upnp is None and self._igd is not None:
                self._tell(None)
                self._upnp = UpnpMapping(self._reactor, self._igd, self._number, self._upnp_mapped)
                self._upnp.start()
            elif self._upnp is None:
                self._tell(None)

    def _end_upnp(self) -> None:
        upnp, self._upnp = self._upnp, None
        if upnp is not None:
            upnp.stop().addErrback(self._fault)

    def _upnp_mapped(self, host: str | None, port: int | None) -> None:
        if self._upnp is not None:
            self._tell(None if port is None else Mapping("upnp", host, port, True))

    def _tell(self, mapping: Mapping | None) -> None:
        if mapping != self._told:
            self._told = mapping
            self._changed(mapping)

    def _fault(self, failure: Failure) -> None:
        self.log.failure("a fault while ports are mapped", failure)
        self._count_drop(DropReason.INTERNAL_ERROR)

    # -- for people ----------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, object]:
        """state (mapped, asking, refused, silent, idle), method, address (host:port outside), expires_s, detail."""
        mapper, told, now = self._mapper, self._told, self._reactor.seconds()
        row = dict(IDLE)
        if mapper is None:
            return {**row, "detail": self.idle_because}
        row |= {"state": mapper.state.value, "method": mapper.method, "detail": mapper.refusal}
        if mapper.state is MappingState.MAPPED:
            row["expires_s"] = round(mapper.expires_at - now)
        elif self._upnp is not None:
            row |= {"state": self._upnp.state, "method": "upnp", "detail": self._upnp.detail}
        if told is not None:
            row |= {"state": "mapped", "address": f"{told.host or '?'}:{told.port}"}
            if told.host is not None and not is_public(told.host) and not is_loopback(told.host):
                row["detail"] = f"the router's own address {told.host} is private: there is another router before it"
        return row


class _Socket(DatagramProtocol):
    """Our end of the conversation with the router, and the timer of the next thing to say."""

    noisy = False
    transport: Any

    def __init__(self, nat: Nat) -> None:
        self._nat = nat
        self._port: Any = None
        self._router: Address | None = None
        self._reactor: Any = None
        self._call: Any = None

    def open(self, reactor: Any, own: str, router: Address) -> None:
        """Bound, and connected: so the system tells when nobody is there, and drops what others send."""
        self._reactor, self._router = reactor, router
        self._port = open_datagram_port(reactor, own, 0, self, MAX_DATAGRAM + 1)
        self.transport.connect(router.host, router.port)

    async def close(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def send(self, datagram: bytes) -> None:
        try:
            self.transport.write(datagram)
        except OSError as error:  # the cable is out: it is asked again
            self._nat.log.debug("nothing could be sent to the router: {error!r}", error=str(error))

    def wake_at(self, time: float, wake: Callable[[], None]) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._port is not None and time != float("inf"):

            def ring() -> None:
                self._call = None
                wake()

            self._call = self._reactor.callLater(max(0.0, time - self._reactor.seconds()), ring)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._nat.received(datagram, Address(*addr[:2]))

    def connectionRefused(self) -> None:
        self._nat.refused()
