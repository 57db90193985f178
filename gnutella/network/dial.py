"""Outgoing connections: one way to make them, with a time limit, a bound on attempts at once, and errors people can read."""

from __future__ import annotations

import ipaddress
import os
from typing import Any, TypeVar
from weakref import WeakSet

from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from gnutella.errors import Refused
from gnutella.network.gate import Gate
from gnutella.network.own_address import plain_host
from gnutella.reasons import DropReason
from gnutella.units import Address

P = TypeVar("P", bound=Protocol)

#: Attempts that wait for an answer at once, of links and transfers together; gtk-gnutella tries 40 hosts at once for links
#: alone.  A SYN each costs nothing, but home routers keep a table of them.
MAX_DIALS = 64
#: Longest part of an operating system's error text that is shown.
MAX_ERROR_TEXT = 120


class _Once(Factory):
    """Gives the one protocol of one attempt; quiet, or every dial would leave two lines in the log."""

    noisy = False

    def __init__(self, protocol: Protocol, gate: Gate) -> None:
        self._protocol = protocol
        self._gate = gate

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """None, and the connection is closed, when the name that was dialled led to a blocked address."""
        return None if self._gate.blocks(plain_host(getattr(addr, "host", ""))) else self._protocol


class Dialler:
    """Connects to peers, but to none that `gate` blocks.  `timeout_s` is the default limit of an attempt."""

    def __init__(self, reactor: Any, timeout_s: float, gate: Gate | None = None) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._gate = gate or Gate()
        self._attempts: set[Deferred[Any]] = set()
        self._connected: WeakSet[Any] = WeakSet()
        self._is_stopped = False

    @property
    def attempts(self) -> int:
        """Attempts under way."""
        return len(self._attempts)

    def connect(self, address: Address, protocol: P, timeout_s: float | None = None) -> Deferred[P]:
        """Connect `protocol` to `address` (an IP or a name); fires with it.  Refused(DIAL_FAILED) says why not."""
        if self._is_stopped or len(self._attempts) >= MAX_DIALS:
            why = "this node is stopping" if self._is_stopped else "too many attempts at once"
            return defer.fail(Refused(DropReason.DIAL_FAILED, why))
        if self._gate.blocks(address.host):
            return defer.fail(Refused(DropReason.BLOCKED, "the address is on a blocklist"))
        timeout_s = timeout_s or self._timeout_s
        attempt: Deferred[Any] = self._endpoint(address, timeout_s).connect(_Once(protocol, self._gate))
        # HostnameEndpoint's own limit is one for each of a name's addresses; this one holds for all together.
        attempt.addTimeout(timeout_s, self._reactor)
        self._attempts.add(attempt)

        def ended(result: P | Failure) -> P | Failure:
            self._attempts.discard(attempt)
            if isinstance(result, Failure):
                return Failure(Refused(DropReason.DIAL_FAILED, _readable(result, timeout_s)))
            self._connected.add(result)
            return result

        return attempt.addBoth(ended)

    def close_listed(self) -> None:
        """Cut every connection we made whose host is on a blocklist by now."""
        for protocol in list(self._connected):
            transport = getattr(protocol, "transport", None)
            if transport is not None and self._gate.is_listed(plain_host(transport.getPeer().host)):
                transport.abortConnection()

    def stop(self) -> None:
        """Give up every attempt; later ones fail."""
        self._is_stopped = True
        for attempt in list(self._attempts):
            attempt.cancel()

    def _endpoint(self, address: Address, timeout_s: float) -> IStreamClientEndpoint:
        # TCP endpoints take whole seconds only in their documentation.
        timeout: Any = timeout_s
        try:
            version = ipaddress.ip_address(address.host).version
        except ValueError:
            return HostnameEndpoint(self._reactor, address.host, address.port, timeout)
        make = TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint
        return make(self._reactor, address.host, address.port, timeout)


def _readable(failure: Failure, timeout_s: float) -> str:
    if failure.check(error.TimeoutError, error.TCPTimedOutError, defer.TimeoutError):
        return f"no answer in {timeout_s:g} s"
    if failure.check(CancelledError, error.ConnectingCancelledError):
        return "given up"
    if failure.check(error.ConnectionRefusedError):
        return "connection refused"
    if failure.check(error.DNSLookupError):
        return "no such host name"
    if failure.check(error.NoProtocol):
        return "the address is on a blocklist"
    if failure.check(error.NoRouteError):
        return "no route to that host"
    cause = failure.value
    text = getattr(cause, "osError", None) or getattr(cause, "strerror", None) or type(cause).__name__
    if isinstance(text, int):  # what the kernel said, as Twisted keeps it where it has no class for it
        text = os.strerror(text).lower()
    return str(text)[:MAX_ERROR_TEXT]
