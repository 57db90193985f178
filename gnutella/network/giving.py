"""GIV, both ways: who calls us because we asked, and calls that others ask of us.

`Givings` remembers the pushes of our downloads and hands a caller's connection to the one that waits; and it dials whoever
sent us a push, says GIV, and serves requests on that connection as on any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.network.sourcing import Sourcing
from gnutella.protocol.http_fields import GIV_NAME, MAX_GIV, Giv, format_giv, parse_giv
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.transfers.push import PendingPushes, PushLimits
from gnutella.transfers.sources import Source
from gnutella.units import Address, Guid


class Givings:
    """Pushes sent and answered by one node."""

    def __init__(
        self,
        reactor: Any,
        servent_id: Guid,
        timeout_s: float,
        send_push: Callable[[Push], bool],
        own_address: Callable[[], Address],
        dial: Callable[[Address, Any, float], Deferred[Any]],
        serve: Callable[[str], IProtocol],
        name_of: Callable[[int], str | None],
        count_drop: Callable[[DropReason], None],
    ) -> None:
        self._reactor = reactor
        self._servent_id = servent_id
        self.timeout_s = timeout_s
        self._send_push = send_push
        self._own_address = own_address
        self._dial = dial
        self._serve = serve
        self._name_of = name_of
        self.count_drop = count_drop
        self._pending: PendingPushes[_Ticket] = PendingPushes()
        self._limits = PushLimits()
        self._waiting: set[GivReceiver] = set()

    # -- our pushes ------------------------------------------------------------------------------------------------------

    def push(self, sourcing: Sourcing, source: Source) -> bool:
        """Ask `source` to call us; False when no push can reach it."""
        if source.servent_id is None:
            return False
        ticket = _Ticket(sourcing, source)
        if not self._pending.expect(source.servent_id, self._reactor.seconds() + self.timeout_s, ticket):
            return False
        if not self._send_push(Push(source.servent_id, source.index or 0, self._own_address())):
            self._pending.withdraw(ticket)
            return False
        return True

    def withdraw(self, source: Source) -> None:
        """Wait for that source no longer."""
        if source.servent_id is not None:
            self._pending.discard(lambda ticket: ticket.source is source)

    def sweep(self) -> None:
        """Every second: sources that did not call, callers that do not say who they are."""
        now = self._reactor.seconds()
        for ticket in self._pending.expire(now):
            ticket.sourcing.push_failed(ticket.source)
        for receiver in list(self._waiting):
            receiver.sweep(now)

    def receiver(self, peer_host: str) -> GivReceiver:
        """The protocol for an incoming connection that begins with GIV."""
        return GivReceiver(self, self._reactor.seconds() + self.timeout_s)

    def expected(self, giv: Giv) -> Protocol | None:
        """Who takes a caller over."""
        while (ticket := self._pending.match(giv.servent_id, self._reactor.seconds())) is not None:
            fetch = ticket.sourcing.called(ticket.source)
            if fetch is not None:
                return fetch
        return None

    def note(self, receiver: GivReceiver, is_waiting: bool) -> None:
        """A receiver has begun or ended to wait for its line."""
        if is_waiting:
            self._waiting.add(receiver)
        else:
            self._waiting.discard(receiver)

    # -- pushes of others ------------------------------------------------------------------------------------------------

    def answer(self, push: Push) -> bool:
        """Call whoever sent us a push; False when that is not done."""
        if push.wants_firewall_transfer or not self._limits.begin(push.address, self._reactor.seconds()):
            self.count_drop(DropReason.PUSH_LIMIT)
            return False
        giv = Giv(push.index, self._servent_id, self._name_of(push.index) or GIV_NAME)
        caller = GivSender(format_giv(giv), self._serve(push.address.host))
        self._dial(push.address, caller, self.timeout_s).addCallbacks(self._called, self._call_failed)
        return True

    def _called(self, _: object) -> None:
        self._limits.end()

    def _call_failed(self, _: Failure) -> None:
        self._limits.end()
        self.count_drop(DropReason.DIAL_FAILED)

    def stop(self) -> None:
        """Close callers that have not said who they are."""
        for receiver in list(self._waiting):
            receiver.refuse(DropReason.SHUTDOWN)


class _Ticket:
    __slots__ = ("source", "sourcing")

    def __init__(self, sourcing: Sourcing, source: Source) -> None:
        self.sourcing = sourcing
        self.source = source


class GivReceiver(Protocol):
    """Reads the GIV line; then the download that waits for this servent has the connection."""

    transport: Any

    def __init__(self, givings: Givings, deadline: float) -> None:
        self._givings = givings
        self._deadline = deadline
        self._buffer = b""
        self._inner: Protocol | None = None
        self._is_refused = False

    def connectionMade(self) -> None:
        self._givings.note(self, True)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._is_refused:
            return
        self._buffer += data
        # Some servents write CR LF where the others write two line feeds.
        line, end, rest = self._buffer.replace(b"\r\n", b"\n").partition(b"\n\n")
        if end:
            self._take(line, rest)
        elif len(self._buffer) > MAX_GIV:
            self.refuse(DropReason.GARBAGE)

    def _take(self, line: bytes, rest: bytes) -> None:
        try:
            inner = self._givings.expected(parse_giv(line))
        except RemoteViolation as violation:
            self.refuse(violation.reason)
            return
        if inner is None:
            self.refuse(DropReason.GIV_UNREQUESTED)
            return
        self._givings.note(self, False)
        self._inner = inner
        inner.makeConnection(self.transport)
        if rest:
            inner.dataReceived(rest)

    def sweep(self, now: float) -> None:
        """Every second."""
        if now >= self._deadline:
            self.refuse(DropReason.SLOW)

    def refuse(self, reason: DropReason) -> None:
        """Close without a word, as is the custom."""
        self._is_refused = True
        self._givings.note(self, False)
        self._givings.count_drop(reason)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._givings.note(self, False)
        if self._inner is not None:
            self._inner.connectionLost(reason)


class GivSender(Protocol):
    """Says GIV, then serves requests."""

    transport: Any

    def __init__(self, line: bytes, inner: IProtocol) -> None:
        self._line = line
        self._inner = inner

    def connectionMade(self) -> None:
        self.transport.write(self._line)
        self._inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._inner.connectionLost(reason)
