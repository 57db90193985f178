"""What arrives on the peer port: the first bytes of a connection decide who gets it (protocol digest 1.10).

    GNUTELLA CONNECT/   a link            GET, HEAD and other methods   an upload
    GIV                 answer to a push  16 03                         TLS; what comes inside is looked at again,
                                                                        or who takes all that its client offers

Everything else is closed and counted.  A connection that has not said what it wants is bounded in bytes (the longest prefix),
in time, in number, and in number for each address.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.network.gate import Gate
from gnutella.network.guard import Guard
from gnutella.network.own_address import plain_host
from gnutella.networks import host_key, is_loopback
from gnutella.protocol.client_hello import alpn_of
from gnutella.reasons import DropReason

#: Connections that have not said yet what they want, links still shaking hands included; gtk-gnutella keeps 100 or so.
MAX_HALF_OPEN = 128
#: The same from one address, so that no single host can take them all; loopback is exempt.
MAX_HALF_OPEN_PER_HOST = 16
#: Incoming connections of all kinds: below the usual limit of 1024 open files, with room for our own.  Leaves beyond
#: LEAVES_WITHIN, which a user must have asked for, come on top, and need more open files.
MAX_INCOMING = 768
LEAVES_WITHIN = 100

_LINK = b"GNUTELLA CONNECT/"
_HTTP = tuple(method + b" " for method in (b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"TRACE", b"PATCH"))
_GIV = b"GIV "
_TLS = b"\x16\x03"
_PREFIXES = (_LINK, *_HTTP, _GIV, _TLS)
#: LimeWire's probe whether our port can be reached; it expects to be closed without a word.
_PROBES = (b"\n", b"\r\n", b"CONNECT BACK")


@dataclass(frozen=True, slots=True)
class Doors:
    """Who takes over.  `http` and `giv` get the peer's IP, None meaning that it is not spoken here.

    `link` gets a function that it calls once its handshake is over, well or badly: until then the connection counts as half
    open.  `count` counts what is refused; `gate` knows who is not let in at all.
    """

    link: Callable[[Callable[[], None]], IProtocol]
    http: Callable[[str], IProtocol] | None
    giv: Callable[[str], IProtocol] | None
    tls: IOpenSSLServerConnectionCreator | None
    count: Callable[[DropReason], None]
    gate: Gate = field(default_factory=Gate)
    inside: dict[bytes, Callable[[Callable[[], None]], IProtocol]] = field(default_factory=dict)


class FirstBytes(Protocol):
    """Holds a connection until its first bytes are known; then `switch` gets the taker and what was read."""

    transport: Any

    def __init__(
        self,
        reactor: Any,
        doors: Doors,
        timeout_s: float,
        switch: Callable[[IProtocol, bytes], None],
        settled: Callable[[], None],
    ) -> None:
        self._doors = doors
        self._switch = switch
        self._settled = settled
        self._buffer = b""
        self._is_tls = False
        self._is_decided = False
        self._deadline = reactor.callLater(timeout_s, self._refuse, DropReason.SLOW)

    def dataReceived(self, data: bytes) -> None:
        if self._is_decided:
            return
        buffer = self._buffer = self._buffer + data
        if buffer.startswith(_TLS) and not self._is_tls and self._doors.inside and self._is_for_others(buffer):
            return
        if buffer.startswith(_TLS) and not self._is_tls and self._doors.tls is not None:
            self._start_tls(self._doors.tls)
        elif (taker := self._taker(buffer)) is not None:
            self._decide()
            self._switch(taker, buffer)
        elif buffer.startswith(_PROBES):
            self._refuse(DropReason.CONNECT_BACK)
        elif not any(known.startswith(buffer) for known in (*_PREFIXES, *_PROBES)) or self._is_closed_door(buffer):
            self._refuse(DropReason.GARBAGE)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._is_decided:
            self._decide()
            # A TLS handshake that broke off, or a peer that went away without having said what it wants.
            self._count(DropReason.TLS_FAILED if self._is_tls else DropReason.GARBAGE)

    def _taker(self, buffer: bytes) -> IProtocol | None:
        host = plain_host(self.transport.getPeer().host)
        if buffer.startswith(_LINK):
            return self._doors.link(self._settled)
        if buffer.startswith(_HTTP) and self._doors.http is not None:
            self._settled()
            return self._doors.http(host)
        if buffer.startswith(_GIV) and self._doors.giv is not None:
            self._settled()
            return self._doors.giv(host)
        return None

    def _is_for_others(self, buffer: bytes) -> bool:
        """Whether the client hello is not complete, or was handed over."""
        try:
            offered = alpn_of(buffer)
        except RemoteViolation:
            return False  # OpenSSL may make something of it
        if offered is None:
            return True
        taker = self._doors.inside.get(offered[0]) if len(offered) == 1 else None
        if taker is None:
            return False
        self._decide()
        self._switch(taker(self._settled), buffer)
        return True

    def _is_closed_door(self, buffer: bytes) -> bool:
        """A known prefix, complete, for which there was no taker."""
        return buffer.startswith((*_HTTP, _GIV, _TLS))

    def _start_tls(self, server: IOpenSSLServerConnectionCreator) -> None:
        self._is_tls = True
        buffered, self._buffer = self._buffer, b""
        self.transport.startTLS(server)
        # startTLS put its own protocol between the socket and us; what was read already is its first input.
        self.transport.protocol.dataReceived(buffered)

    def _decide(self) -> None:
        self._is_decided = True
        self._buffer = b""
        if self._deadline.active():
            self._deadline.cancel()

    def _refuse(self, reason: DropReason) -> None:
        self._decide()
        self._count(reason)
        self.transport.abortConnection()

    def _count(self, reason: DropReason) -> None:
        self._doors.count(reason)
        self._doors.gate.refused(plain_host(self.transport.getPeer().host), reason)


class PeerPort(Factory):
    """Makes a guarded FirstBytes for each connection to the peer port, within the bounds above.

    `reached` is told the IP of everybody who comes.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        doors: Doors,
        timeout_s: float,
        *,
        leaves: int = 0,
        reached: Callable[[str], None] = lambda host: None,
    ) -> None:
        self._reactor = reactor
        self._doors = doors
        self._timeout_s = timeout_s
        self._more = max(0, leaves - LEAVES_WITHIN)
        self._reached = reached
        self._guards: dict[Guard, str] = {}
        self._half_open: dict[Guard, str] = {}

    def buildProtocol(self, addr: IAddress | None) -> Guard | None:
        host = plain_host(getattr(addr, "host", ""))
        self._reached(host)
        if self._doors.gate.refuses_connection(host):  # which counts it
            return None
        if (reason := self._no_room(host)) is not None:
            self._doors.count(reason)
            return None
        guard = Guard(None, lambda: self._doors.count(DropReason.INTERNAL_ERROR), self._ended)
        guard.inner = FirstBytes(self._reactor, self._doors, self._timeout_s, guard.switch, lambda: self._settle(guard))
        self._guards[guard] = host
        self._half_open[guard] = host
        return guard

    @property
    def half_open(self) -> int:
        """Connections that have not said what they want, and links whose handshake is not over."""
        return len(self._half_open)

    @property
    def connections(self) -> int:
        """Incoming connections of all kinds."""
        return len(self._guards)

    def abort_half_open(self) -> None:
        """Close what nobody has taken over yet; for a stop."""
        for guard in list(self._half_open):
            if guard.transport is not None:
                guard.transport.abortConnection()

    def close_listed(self) -> None:
        """Cut every connection whose host is on a blocklist by now."""
        for guard, host in list(self._guards.items()):
            if self._doors.gate.is_listed(host) and guard.transport is not None:
                guard.transport.abortConnection()

    def _no_room(self, host: str) -> DropReason | None:
        limit = MAX_INCOMING + self._more
        if len(self._guards) >= limit or len(self._half_open) >= MAX_HALF_OPEN:
            return DropReason.PORT_FULL
        if not is_loopback(host):
            key = host_key(host)
            if sum(host_key(other) == key for other in self._half_open.values()) >= MAX_HALF_OPEN_PER_HOST:
                return DropReason.PORT_FULL
        shares = self._doors.gate.shares
        crowd = shares.crowded(host, self._half_open.values(), MAX_HALF_OPEN, MAX_HALF_OPEN_PER_HOST)
        crowd = crowd or shares.crowded(host, self._guards.values(), limit)
        return None if crowd is None else DropReason.NETWORK_FULL

    def _ended(self, guard: Guard) -> None:
        self._guards.pop(guard, None)
        self._settle(guard)

    def _settle(self, guard: Guard) -> None:
        self._half_open.pop(guard, None)
