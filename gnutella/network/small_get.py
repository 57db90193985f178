"""Fetching one small page over HTTP from somebody who may be hostile.

Twisted's Agent does the HTTP; what is added are bounds: on all bytes of the connection, heads included, on the time for all of
it, and on where a name may lead.  Redirects are not followed.  The name is resolved once, and the address that was judged is
the one that is connected to.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from gnutella.errors import Refused
from gnutella.network.names import resolve_name
from gnutella.reasons import DropReason
from gnutella.units import Address, is_plausible_peer

#: Seconds for name, connection, head and body together.
TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 15.0
RESOLVE_TIMEOUT_S = 15.0
#: Bytes of heads, beside those that the body may have.
MAX_HEADS = 16384


async def resolve(reactor: Any, host: str, *, allow_private: bool) -> str:
    """The IP of a host name or literal; Refused when it has none, or one that must not be connected to."""
    try:
        found = str(ipaddress.ip_address(host))
    except ValueError:
        try:
            found = await resolve_name(reactor, host, RESOLVE_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever the resolver makes of a stranger's text
            raise Refused(DropReason.CACHE_FAILED, f"no address: {type(error).__name__}") from None
    if not is_plausible_peer(Address(found, 1), allow_private=allow_private):
        raise Refused(DropReason.CACHE_FAILED, f"{found} is no address for it")
    return found


async def get(
    reactor: Any, url: str, ip: str, *, max_bytes: int, user_agent: str, timeout_s: float = TIMEOUT_S
) -> bytes:
    """The body of `url`, fetched from the address `ip`; Refused for everything that can go wrong."""
    crowd = _Bounded(max_bytes + MAX_HEADS)
    agent = Agent.usingEndpointFactory(reactor, _Pinned(reactor, ip, crowd))
    headers = Headers({"User-Agent": [user_agent], "Connection": ["close"]})
    fetching = Deferred.fromCoroutine(_fetch(agent, url, headers, max_bytes))
    fetching.addTimeout(timeout_s, reactor)
    try:
        return await fetching
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - Agent answers a hostile server with dozens of kinds
        why = "more bytes than a cache has to say" if crowd.left < 0 else type(error).__name__
        raise Refused(DropReason.CACHE_FAILED, why) from None
    finally:
        crowd.abort()


async def _fetch(agent: Agent, url: str, headers: Headers, max_bytes: int) -> bytes:
    response: Any = await agent.request(b"GET", url.encode("ascii"), headers)
    if response.code != 200:
        raise Refused(DropReason.CACHE_FAILED, f"HTTP status {response.code}")
    if isinstance(response.length, int) and response.length > max_bytes:
        raise Refused(DropReason.CACHE_FAILED, f"{response.length} bytes announced")
    body = _Body(max_bytes)
    response.deliverBody(body)
    return await body.done


class _Body(Protocol):
    """Collects a body within its bound."""

    def __init__(self, max_bytes: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: None)
        self._max_bytes = max_bytes
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > self._max_bytes and not self.done.called:
            self.done.errback(Refused(DropReason.CACHE_FAILED, f"more than {self._max_bytes} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the second: its end was the end of the connection
            self.done.callback(bytes(self._data))
        else:
            self.done.errback(reason)


class _Counted(Protocol):
    """Passes on to `inner`, and ends a connection that says more than it may, in heads too."""

    transport: Any

    def __init__(self, inner: Any, crowd: _Bounded) -> None:
        self.inner = inner
        self._crowd = crowd

    def connectionMade(self) -> None:
        self._crowd.open.add(self)
        self.inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self._crowd.takes(len(data)):
            self.inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._crowd.open.discard(self)
        self.inner.connectionLost(reason)


class _Bounded:
    """The connections of one fetch."""

    def __init__(self, max_bytes: int) -> None:
        self.left = max_bytes
        self.open: set[_Counted] = set()

    def takes(self, count: int) -> bool:
        """Whether so many bytes more are within the bound; if not, everything ends."""
        self.left -= count
        if self.left < 0:
            self.abort()
        return self.left >= 0

    def abort(self) -> None:
        """End what is still open."""
        for counted in list(self.open):
            counted.transport.abortConnection()


class _CountedFactory(Factory):
    noisy = False

    def __init__(self, inner: IProtocolFactory, crowd: _Bounded) -> None:
        self._inner = inner
        self._crowd = crowd

    def buildProtocol(self, addr: IAddress | None) -> _Counted:
        return _Counted(self._inner.buildProtocol(addr), self._crowd)  # type: ignore[arg-type]


@implementer(IAgentEndpointFactory)
class _Pinned:
    """Endpoints for Agent that lead to one address, whatever the name."""

    def __init__(self, reactor: Any, ip: str, crowd: _Bounded) -> None:
        self._reactor = reactor
        self._ip = ip
        self._crowd = crowd

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """As IAgentEndpointFactory says."""
        kind = TCP6ClientEndpoint if ":" in self._ip else TCP4ClientEndpoint
        endpoint: Any = kind(self._reactor, self._ip, uri.port, CONNECT_TIMEOUT_S)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(optionsForClientTLS(uri.host.decode("ascii")), endpoint)
        return _Around(endpoint, self._crowd)


@implementer(IStreamClientEndpoint)
class _Around:
    def __init__(self, endpoint: Any, crowd: _Bounded) -> None:
        self._endpoint = endpoint
        self._crowd = crowd

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        """Gives the protocol of `factory`, which is what Agent expects."""
        connecting: Deferred[Any] = self._endpoint.connect(_CountedFactory(factory, self._crowd))
        return connecting.addCallback(lambda counted: counted.inner)
