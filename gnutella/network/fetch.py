"""The client's end of one HTTP connection to a source: requests out, bytes in.

It knows HTTP and time-outs, and nothing of files or plans: `owner` decides what to ask and takes what comes.  Requests are
answered in order, so a second one may be asked while the first answer is under way.  Body bytes go to the owner as the
transport delivered them, uncopied.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.protocol.http import Chunked, HeadReader, ResponseHead, Span, format_head, format_range, read_response
from gnutella.reasons import DropReason

#: Read at a time from the socket: fewer turns of the reactor than the usual 64 KiB.
READ_SIZE = 256 * 1024
#: Body bytes of a refusal that are read for the sake of the connection; beyond, it is closed.
MAX_REFUSAL = 64 * 1024
#: tcpi_min_rtt of Linux's struct tcp_info (since 4.6): microseconds, and where it lies.
_MIN_RTT = struct.Struct("@I")
_MIN_RTT_AT = 148


class Kind(Enum):
    """What a request is for."""

    DATA = "data"
    SIZE = "size"
    TREE = "tree"


@dataclass(slots=True)
class Request:
    """One request; `span` for data, an empty one for an empty file."""

    kind: Kind
    path: str
    span: Span = Span(0, 0)  # noqa: RUF009 - immutable
    asked_at: float = 0.0


class Owner(Protocol):
    """Who uses a connection.  Every call may lead to `ask` or `close`."""

    def opened(self, fetch: Fetch) -> None:
        """The connection is there."""

    def answered(self, fetch: Fetch, request: Request, response: ResponseHead) -> int | None:
        """A head came.  The number of body bytes wanted (all of the body), or None to skip the body."""

    def received(self, fetch: Fetch, request: Request, data: bytes) -> None:
        """Body bytes that were wanted."""

    def completed(self, fetch: Fetch, request: Request, response: ResponseHead) -> None:
        """The answer is over, its body wanted or skipped."""

    def lost(self, fetch: Fetch, reason: DropReason, detail: str) -> None:
        """The connection is over; the last call."""


class Fetch(TwistedProtocol):
    """One connection to a source."""

    transport: Any

    def __init__(
        self, clock: Any, owner: Owner, user_agent: str, request_timeout_s: float, idle_timeout_s: float
    ) -> None:
        self._clock = clock
        self._owner: Owner | None = owner
        self._user_agent = user_agent
        self._request_timeout_s = request_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._waiting: deque[Request] = deque()
        self._reader = HeadReader()
        self._response: ResponseHead | None = None
        self._left: int | None = 0  # of the body; None: until the connection ends
        self._chunked: Chunked | None = None
        self._wanted: int | None = None
        self._skipped = 0
        self._host = ""
        self._deadline: float | None = None
        #: The source answered once and keeps the connection: it may be asked ahead.
        self.is_proved = False
        self.host_header = ""

    # -- for the owner ---------------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        """Requests that are not answered in full."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether the connection can be used."""
        return self._owner is not None and self.connected == 1

    def round_trip_s(self) -> float | None:
        """The shortest round trip that the kernel has seen, so the distance and not how busy either side is; None: unknown."""
        handle = self.transport.getHandle() if hasattr(self.transport, "getHandle") else None
        if not isinstance(handle, socket.socket) or not hasattr(socket, "TCP_INFO"):
            return None
        info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_AT + _MIN_RTT.size)
        if len(info) < _MIN_RTT_AT + _MIN_RTT.size:
            return None
        (microseconds,) = _MIN_RTT.unpack_from(info, _MIN_RTT_AT)
        return microseconds / 1e6 if microseconds < 2**32 - 1 else None

    def ask(self, request: Request, headers: list[tuple[str, str]]) -> None:
        """Send a request; `headers` come behind Host and User-Agent."""
        method = "HEAD" if request.kind is Kind.SIZE else "GET"
        fields = [("Host", self.host_header or self._host), ("User-Agent", self._user_agent)]
        if request.kind is Kind.DATA and request.span.stop > request.span.start:
            fields.append(("Range", format_range(request.span)))
        request.asked_at = self._clock.seconds()
        self._waiting.append(request)
        if len(self._waiting) == 1:
            self._deadline = request.asked_at + self._request_timeout_s
        self.transport.write(format_head(f"{method} {request.path} HTTP/1.1", [*fields, *headers]))

    def close(self) -> None:
        """Give the connection up; the owner hears no more of it."""
        self._owner = None
        if self.transport is not None:
            self.transport.abortConnection()

    def sweep(self, now: float) -> None:
        """Every second: a source that owes an answer and sends nothing is given up."""
        if self._deadline is not None and now >= self._deadline:
            self._end(DropReason.SOURCE_SLOW, "no answer" if self._response is None else "it stopped sending")

    # -- what the transport says -----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        host = f"[{peer.host}]" if ":" in peer.host else peer.host
        self._host = f"{host}:{peer.port}"
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = READ_SIZE
        if self._owner is None:
            self.transport.abortConnection()
        else:
            self._owner.opened(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            while data and self._owner is not None:
                data = self._take(data)
        except RemoteViolation as violation:
            self._end(DropReason.SOURCE_BROKE, str(violation))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._response is not None and self._left is None and self._chunked is None:
            self._complete()  # a body that ends with the connection
        self._end(DropReason.SOURCE_BROKE, "it closed the connection" if self._waiting else "")

    def _end(self, reason: DropReason, detail: str) -> None:
        owner, self._owner = self._owner, None
        self._deadline = None
        if owner is not None:
            self.transport.abortConnection()
            owner.lost(self, reason, detail)

    # -- reading ---------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bytes:
        """Consume some of `data`; the rest."""
        if self._response is None:
            return self._take_head(data)
        self._deadline = self._clock.seconds() + self._idle_timeout_s
        if self._chunked is not None:
            for piece in self._chunked.feed(data):
                self._body(piece)
            rest = self._chunked.surplus
            if rest is None:
                return b""
            self._complete()
            return rest
        if self._left is None or len(data) < self._left:
            if self._left is not None:
                self._left -= len(data)
            self._body(data)
            return b""
        piece, rest = (data, b"") if len(data) == self._left else (data[: self._left], data[self._left :])
        self._left = 0
        self._body(piece)
        self._complete()
        return rest

    def _take_head(self, data: bytes) -> bytes:
        if not self._waiting:
            raise RemoteViolation(DropReason.HEAD_BROKEN, "an answer to nothing")
        head = self._reader.feed(data)
        if head is None:
            return b""
        response = read_response(head)
        if 100 <= response.status < 200:
            return head.surplus  # interim answers mean nothing to us
        request = self._waiting[0]
        self._response = response
        self._left, self._chunked = response.length, Chunked() if response.is_chunked else None
        if request.kind is Kind.SIZE:
            self._left, self._chunked = 0, None
        self._deadline = self._clock.seconds() + self._idle_timeout_s
        self._skipped = 0
        assert self._owner is not None
        self._wanted = self._owner.answered(self, request, response)
        if self._left == 0:
            self._complete()
        return head.surplus

    def _body(self, data: bytes) -> None:
        if self._owner is None or not data:
            return
        if self._wanted is None:
            self._skipped += len(data)
            if self._skipped > MAX_REFUSAL:
                raise RemoteViolation(DropReason.SOURCE_REFUSED, "a long refusal")
            return
        if len(data) > self._wanted:
            raise RemoteViolation(DropReason.SOURCE_BROKE, "more than it announced")
        self._wanted -= len(data)
        self._owner.received(self, self._waiting[0], data)

    def _complete(self) -> None:
        response, self._response, self._chunked = self._response, None, None
        if self._owner is None or response is None:
            return
        request = self._waiting.popleft()
        self._deadline = self._clock.seconds() + self._request_timeout_s if self._waiting else None
        self.is_proved = self.is_proved or (response.keeps_alive and response.is_http11 and response.status < 300)
        self._owner.completed(self, request, response)
        if not response.keeps_alive:
            self._end(DropReason.SOURCE_BROKE, "")
