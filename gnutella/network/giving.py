"""GIV, both ways: who calls us because we asked, and calls that others ask of us.

`Givings` remembers the pushes of our downloads and hands a caller's connection to the one that waits; and it dials whoever
sent us a push, says GIV, and serves requests on that connection as on any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.network.push_proxy import ProxyRound
from gnutella.network.sourcing import Sourcing
from gnutella.protocol.http_fields import GIV_NAME, MAX_GIV, Giv, format_giv, parse_giv
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.transfers.push import PendingPushes, PushLimits
from gnutella.transfers.sources import Source
from gnutella.units import Address, Guid, is_plausible_peer


@dataclass(frozen=True, slots=True)
class ProxyWay:
    """What pushes through push proxies need of the rest of the node.

    `address_at(host)` is where we are for who reaches us at that IP of ours; `emit` is told which way a push went.
    """

    user_agent: str
    address_at: Callable[[str], Address]
    allow_private: bool
    emit: Callable[[str, Mapping[str, object]], None]

    def usable(self, proxies: Iterable[Address]) -> list[Address]:
        """Those that can be hosts'."""
        return [proxy for proxy in proxies if is_plausible_peer(proxy, allow_private=self.allow_private)]


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
        proxies: ProxyWay,
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
        self._proxies = proxies
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
        proxies = self._proxies.usable(source.proxies)
        if proxies:
            self._ask(ticket, source.servent_id, proxies)
        elif not self._route(ticket):
            self._pending.withdraw(ticket)
            return False
        return True

    def _ask(self, ticket: _Ticket, servent_id: Guid, proxies: Sequence[Address]) -> None:
        """Through the proxies of the source, and if they do not help, through the overlay."""

        def asked(proxy: Address | None) -> None:
            ticket.round = None
            if proxy is not None:
                ticket.way = f"push proxy {proxy}"
            elif not self._route(ticket):
                self._pending.withdraw(ticket)
                ticket.sourcing.push_failed(ticket.source)

        way, index = self._proxies, ticket.source.index or 0
        ticket.way = "push proxy"  # whichever: the source may call before its proxy has answered
        begun = ProxyRound(self._reactor, self._dial, way.user_agent, way.address_at, servent_id, index, proxies, asked)
        if begun.is_open:
            ticket.round = begun

    def _route(self, ticket: _Ticket) -> bool:
        source = ticket.source
        assert source.servent_id is not None
        ticket.way = "overlay"
        return self._send_push(Push.make(source.servent_id, source.index or 0, self._own_address()))

    def withdraw(self, source: Source) -> None:
        """Wait for that source no longer."""

        def is_unwanted(ticket: _Ticket) -> bool:
            if ticket.source is source:
                ticket.cancel()
            return ticket.source is source

        if source.servent_id is not None:
            self._pending.discard(is_unwanted)

    def sweep(self) -> None:
        """Every second: sources that did not call, callers that do not say who they are."""
        now = self._reactor.seconds()
        for ticket in self._pending.expire(now):
            ticket.cancel()
            ticket.sourcing.push_failed(ticket.source)
        for receiver in list(self._waiting):
            receiver.sweep(now)

    def receiver(self, peer_host: str) -> GivReceiver:
        """The protocol for an incoming connection that begins with GIV."""
        return GivReceiver(self, self._reactor.seconds() + self.timeout_s, peer_host)

    def expected(self, giv: Giv, host: str) -> Protocol | None:
        """Who takes a caller at `host` over."""
        while (ticket := self._pending.match(giv.servent_id, self._reactor.seconds())) is not None:
            ticket.cancel()
            fetch = ticket.sourcing.called(ticket.source)
            if fetch is not None:
                self._proxies.emit(
                    "push_answered", {"servent_id": giv.servent_id.hex(), "address": host, "way": ticket.way}
                )
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
        """Close callers that have not said who they are, and ask no proxies any more."""
        for ticket in self._pending.expire(float("inf")):
            ticket.cancel()
        for receiver in list(self._waiting):
            receiver.refuse(DropReason.SHUTDOWN)


@dataclass(eq=False, slots=True)
class _Ticket:
    """One push of ours: the way it went, and the proxies that are still asked."""

    sourcing: Sourcing
    source: Source
    way: str = ""
    round: ProxyRound | None = None

    def cancel(self) -> None:
        """Ask the proxies no longer."""
        if self.round is not None:
            self.round.cancel()
            self.round = None


class GivReceiver(Protocol):
    """Reads the GIV line; then the download that waits for this servent has the connection."""

    transport: Any

    def __init__(self, givings: Givings, deadline: float, host: str) -> None:
        self._givings = givings
        self._host = host
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
            inner = self._givings.expected(parse_giv(line), self._host)
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
