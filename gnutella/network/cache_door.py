"""The HTTP door of our web cache: `GET /gwc?…` on the peer port, everything else goes on to the uploads.

One request a connection, a bounded head, a time limit; what is answered is decided by `routing.cache_service`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.errors import RemoteViolation
from gnutella.network.own_address import plain_host
from gnutella.protocol.gwebcache import OWN_PATH
from gnutella.protocol.http import HeadReader, format_status, read_request
from gnutella.reasons import DropReason
from gnutella.routing.cache_service import CacheService, Lent

#: Seconds for the whole request, and for its answer to be taken.
TIMEOUT_S = 10.0
_FRONTS = tuple(f"{method} {OWN_PATH}".encode("ascii") for method in ("GET", "HEAD"))


class CacheDoor:
    """Makes the protocols.  `lend(local_host)` is what the node knows itself, for an asker that reaches us at that address."""

    def __init__(
        self,
        reactor: Any,
        service: CacheService,
        lend: Callable[[str], Lent],
        count_drop: Callable[[DropReason], None],
        server: str,
    ) -> None:
        self.reactor = reactor
        self.service = service
        self.lend = lend
        self.count_drop = count_drop
        self.server = server

    def before(self, files: Callable[[str], IProtocol]) -> Callable[[str], IProtocol]:
        """The same as `files`, which makes the protocol for an upload, with the cache before it."""
        return lambda host: CacheOrFile(self, host, files)


@implementer(IHalfCloseableProtocol)
class CacheOrFile(Protocol):
    """Waits for the first bytes of the path; then it is a request of the cache, or the uploads' whole connection."""

    transport: Any

    def __init__(self, door: CacheDoor, host: str, files: Callable[[str], IProtocol]) -> None:
        self._door = door
        self._host = host
        self._files = files
        self._inner: Any = None
        self._buffer = b""
        self._reader: HeadReader | None = None
        self._deadline = door.reactor.callLater(TIMEOUT_S, self._too_slow)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif self._reader is not None:
            self._read(self._reader, data)
        else:
            self._buffer += data
            self._choose(self._buffer)

    def _choose(self, buffer: bytes) -> None:
        front = next((front for front in _FRONTS if buffer.startswith(front)), b"")
        if buffer == front or (not front and any(front.startswith(buffer) for front in _FRONTS)):
            return  # it may still become one or the other
        self._buffer = b""
        if front and buffer[len(front) : len(front) + 1] in (b"?", b" "):
            self._reader = HeadReader()
            self._read(self._reader, buffer)
            return
        self._settle()
        inner = self._inner = self._files(self._host)
        inner.makeConnection(self.transport)
        inner.dataReceived(buffer)

    def _read(self, reader: HeadReader, data: bytes) -> None:
        try:
            head = reader.feed(data)
            if head is None:
                return
            request = read_request(head)
        except RemoteViolation as violation:
            self._door.count_drop(violation.reason)
            self._answer(violation.reason.http or 400, b"", with_body=False)
            return
        door = self._door
        lent = door.lend(plain_host(self.transport.getHost().host))
        query = request.raw_target.partition("?")[2]
        reply = door.service.reply(query, self._host, door.reactor.seconds(), lent)
        for reason in reply.drops:
            door.count_drop(reason)
        self._answer(reply.status, reply.body, with_body=request.method == "GET")

    def _answer(self, status: int, body: bytes, *, with_body: bool) -> None:
        fields = [
            ("Server", self._door.server),
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        self.transport.write(format_status(status, fields) + (body if with_body else b""))
        self._reader = None
        self._inner = _Deaf()
        self.transport.loseConnection()

    def _too_slow(self) -> None:
        self._door.count_drop(DropReason.SLOW)
        self.transport.abortConnection()

    def _settle(self) -> None:
        if self._deadline.active():
            self._deadline.cancel()

    def readConnectionLost(self) -> None:
        """The peer has nothing more to say: half a request, or it waits for its answer."""
        if self._inner is None:
            self.transport.loseConnection()
        elif IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.readConnectionLost()
        elif not isinstance(self._inner, _Deaf):
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed."""
        if IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settle()
        if self._inner is not None:
            self._inner.connectionLost(reason)


class _Deaf(Protocol):
    """Takes what comes after the one request that is answered."""
