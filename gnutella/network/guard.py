"""The outermost protocol of every peer connection.

It passes everything on to an inner protocol, which may be replaced on the way (first bytes -> link, upload, GIV).  A fault of
our own inside ends that one connection, is logged once and counted, and touches nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer


@implementer(IHandshakeListener)
class Guard(Protocol):
    """Delegates to `inner`.  `on_fault` is called once when something of ours raised; `on_end` when the connection is gone."""

    log = Logger()
    transport: Any

    def __init__(self, inner: Any, on_fault: Callable[[], None], on_end: Callable[[Guard], None] | None = None) -> None:
        self.inner = inner
        self._on_fault = on_fault
        self._on_end = on_end
        self._is_over = False

    def switch(self, inner: IProtocol, data: bytes) -> None:
        """Hand the connection over to `inner`, with the bytes that were read of it so far."""
        self.inner = inner
        if IHalfCloseableProtocol.providedBy(inner):
            # Else Twisted ends the connection when the peer has nothing more to say, answered or not.
            alsoProvides(self, IHalfCloseableProtocol)
        inner.makeConnection(self.transport)
        if data:
            inner.dataReceived(data)

    def connectionMade(self) -> None:
        self._call(self.inner.makeConnection, self.transport)

    def dataReceived(self, data: bytes) -> None:
        try:
            self.inner.dataReceived(data)
        except Exception:  # noqa: BLE001 - the guard of the connection: logged, counted, closed
            self._fault()

    def handshakeCompleted(self) -> None:
        completed = getattr(self.inner, "handshakeCompleted", None)
        if completed is not None:
            self._call(completed)

    def readConnectionLost(self) -> None:
        """The peer closed its half; called only for the sake of an inner protocol that knows what to do then."""
        self._call(self.inner.readConnectionLost)

    def writeConnectionLost(self) -> None:
        """Our half is closed; as above."""
        self._call(self.inner.writeConnectionLost)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        self._call(self.inner.connectionLost, reason)
        if self._on_end is not None:
            self._on_end(self)

    def _call(self, call: Callable[..., object], *args: object) -> None:
        try:
            call(*args)
        except Exception:  # noqa: BLE001 - as above
            self._fault()

    def _fault(self) -> None:
        self.log.failure("fault in {inner}", inner=type(self.inner).__name__)
        self._on_fault()
        if not self._is_over and self.transport is not None:
            self._is_over = True
            self.transport.abortConnection()


#: What tests and callers hand to `connectionLost` for an orderly end.
ORDERLY_END = Failure(ConnectionDone())
