"""Push proxies by HTTP, both sides: requests that we pass on to our leaves, and those that our downloads make.

A request names whom the leaf is to call.  It may name the asker and nobody else, so that nobody can have our leaves connect to
a third party; and each asker gets a push a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.network.guard import Dial
from gnutella.network.own_address import plain_host
from gnutella.protocol.http import HeadReader, format_head, read_response
from gnutella.protocol.message import Push
from gnutella.protocol.push_http import push_target
from gnutella.reasons import DropReason
from gnutella.routing.seen import Generations
from gnutella.transfers.push import MAX_HOSTS
from gnutella.units import Address, Guid

#: Seconds between two pushes for one asker (digest 12: pushes one a second for each IP).
PUSH_GAP_S = 1.0
#: Seconds for which askers are noted.
FORGET_S = 60.0
#: Proxies of one source that are asked, all at once (LimeWire reads 4 of a hit).
MAX_ASKED = 4
#: Seconds for all of them to answer, before the push is sent through the overlay (our own number).
ANSWER_S = 10.0
#: Push sent; sent through the overlay (gtk-gnutella; digest 9.7).
ACCEPTED = (202, 203)


class PushDesk:
    """Passes pushes on for whoever asks by HTTP.  `pass_on` is the router's."""

    def __init__(self, clock: Callable[[], float], pass_on: Callable[[Push], bool]) -> None:
        self._clock = clock
        self._pass_on = pass_on
        self._asked: Generations[str, float] = Generations(MAX_HOSTS, FORGET_S, clock())

    def refusal(self, push: Push, asker: str) -> DropReason | None:
        """Pass a push on for the host `asker`; or why not."""
        if push.address.host != asker:
            return DropReason.PUSH_FORGED
        now = self._clock()
        last = self._asked.get(asker)
        if last is not None and now - last < PUSH_GAP_S:
            return DropReason.PUSH_RATE
        self._asked.tick(now)
        self._asked.put(asker, now, now)
        return None if self._pass_on(push) else DropReason.NOT_PROXIED


class ProxyRound:
    """Asks the proxies of one servent to push it.  `done(proxy)` is called once, with None when none of them did.

    `own_at` gives our address for who reaches us at a given IP of ours.
    """

    def __init__(
        self,
        reactor: Any,
        dial: Dial,
        user_agent: str,
        own_at: Callable[[str], Address],
        servent_id: Guid,
        index: int,
        proxies: Sequence[Address],
        done: Callable[[Address | None], None],
    ) -> None:
        self._done: Callable[[Address | None], None] | None = done
        self._open: dict[_ProxyClient, Any] = {}
        self._timer = reactor.callLater(ANSWER_S, self._end, None)
        target = push_target(servent_id, index)
        for proxy in proxies[:MAX_ASKED]:
            client = _ProxyClient(self, proxy, target, user_agent, own_at)
            self._open[client] = None
        for client in list(self._open):
            attempt = self._open[client] = dial(client.proxy, client, ANSWER_S)
            attempt.addErrback(self._dial_failed, client)

    @property
    def is_open(self) -> bool:
        """No proxy has agreed yet, and some may."""
        return self._done is not None

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._done = None
        self._end(None)

    def answered(self, client: _ProxyClient, status: int) -> None:
        """One of them said so; 0: nothing that can be understood."""
        if status in ACCEPTED:
            self._end(client.proxy)
        elif client in self._open:
            del self._open[client]
            client.close()
            if not self._open:
                self._end(None)

    def _dial_failed(self, _: Failure, client: _ProxyClient) -> None:
        self.answered(client, 0)

    def _end(self, proxy: Address | None) -> None:
        if self._timer.active():
            self._timer.cancel()
        left, self._open = self._open, {}
        for client, attempt in left.items():
            client.close()
            if attempt is not None:
                attempt.cancel()
        done, self._done = self._done, None
        if done is not None:
            done(proxy)


class _ProxyClient(Protocol):
    """One request to one proxy."""

    transport: Any

    def __init__(
        self, owner: ProxyRound, proxy: Address, target: str, user_agent: str, own_at: Callable[[str], Address]
    ) -> None:
        self._owner: ProxyRound | None = owner
        self.proxy = proxy
        self._target = target
        self._user_agent = user_agent
        self._own_at = own_at
        self._reader = HeadReader()

    def connectionMade(self) -> None:
        if self._owner is None:
            self.transport.abortConnection()
            return
        node = self._own_at(plain_host(self.transport.getHost().host))
        fields: Iterable[tuple[str, str]] = (
            ("Host", str(self.proxy)),
            ("User-Agent", self._user_agent),
            ("X-Node", str(node)),
            ("Connection", "close"),
        )
        self.transport.write(format_head(f"GET {self._target} HTTP/1.1", fields))

    def dataReceived(self, data: bytes) -> None:
        if self._owner is None:
            return
        try:
            head = self._reader.feed(data)
            status = None if head is None else read_response(head).status
        except RemoteViolation:
            status = 0
        if status is not None:
            self._tell(status)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tell(0)

    def _tell(self, status: int) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.answered(self, status)

    def close(self) -> None:
        """It is not waited for."""
        self._owner = None
        if self.transport is not None:
            self.transport.abortConnection()
