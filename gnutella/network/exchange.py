"""Uploads: the HTTP server of the peer port.

An `UploadConnection` reads one request after the other, gets its answer from `transfers.upload`, and sends it.  `Exchange` is
what the connections of one node share: slots, pace, counters, and the sweep that ends those that take too long.  The life of
a connection:

    HEAD (waits for a request) -> WORKING (looks up a tree) -> SENDING -> HEAD ... -> CLOSING
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.errors import RemoteViolation
from gnutella.network.files import SharedHandle
from gnutella.network.push_proxy import PushDesk
from gnutella.network.sending import (
    Pace,
    SendBlocks,
    SendFile,
    chunked_blocks,
    file_blocks,
    plain_blocks,
    plain_socket,
)
from gnutella.protocol.http import MAX_HEAD_BYTES, Head, HeadReader, RequestHead, format_status, read_request
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.transfers import upload
from gnutella.transfers.upload import BUSY_RETRY_S, Offered, Offers, Refusal, TokenBucket, UploadSlots

#: Bytes of requests that may come while an answer is sent; then we stop reading.
MAX_PIPELINED = MAX_HEAD_BYTES
#: Seconds a slot stays with a connection after an answer, so that the next range need not compete for it.
SLOT_LINGER_S = 5.0
#: Seconds a peer has to take the rest of an answer after which we close.
CLOSE_TIMEOUT_S = 10.0
#: Bytes of query hits sent to one browser: some 100 000 files.
MAX_BROWSE_BYTES = 16 * 1024 * 1024
FEATURES = "browse/1.0, queue/0.1"
PUSHED = b"passed on\n"
GREETING = b"A Gnutella servent. Files are exchanged here, pages are not.\n"

Emit = Callable[[str, Mapping[str, object]], None]


class Phase(Enum):
    """What a connection does; values are those of the rows."""

    HEAD = "idle"
    WORKING = "queued"
    SENDING = "transferring"
    CLOSING = "closing"


class Exchange:
    """Shared by all upload connections of a node.

    `tree_of(file)` gives the serialised tree (DIME) or None.  `browse()` gives whole query hit messages.  `uploaded(sha1)` is
    called when a peer begins to fetch a file.  `about_us()` gives header fields for every answer.
    """

    def __init__(
        self,
        reactor: Any,
        settings: TransferSettings,
        offers: Callable[[], Offers],
        tree_of: Callable[[Offered], Deferred[bytes | None]],
        *,
        user_agent: str,
        count_drop: Callable[[DropReason], None],
        emit: Emit,
        browse: Callable[[], Iterable[bytes]] | None = None,
        uploaded: Callable[[bytes], None] | None = None,
        push_desk: PushDesk | None = None,
        about_us: Callable[[], tuple[tuple[str, str], ...]] = tuple,
    ) -> None:
        self.reactor = reactor
        self.settings = settings
        self.offers = offers
        self.tree_of = tree_of
        self.browse = browse
        self.push_desk = push_desk
        self.about_us = about_us
        self.user_agent = user_agent
        self.count_drop = count_drop
        self.emit = emit
        self.uploaded = uploaded or (lambda _: None)
        #: Told of each refusal, with the host.
        self.refused: Callable[[str, DropReason], None] = lambda host, reason: None
        self.slots = UploadSlots(settings.max_uploads, settings.max_uploads_per_host)
        self.bucket = TokenBucket(settings.upload_kib_s * 1024, reactor.seconds())
        self.connections: dict[UploadConnection, None] = {}
        self.last_id = 0
        #: Bytes of files sent since the start.
        self.bytes_sent = 0

    def protocol(self, peer_host: str) -> UploadConnection:
        """The protocol for a connection whose next bytes are a request."""
        return UploadConnection(self, peer_host)

    def apply(self, settings: TransferSettings) -> None:
        """Take other limits from now on."""
        self.settings = settings
        self.slots.max_total, self.slots.max_per_host = settings.max_uploads, settings.max_uploads_per_host
        self.bucket.rate = settings.upload_kib_s * 1024

    def sweep(self) -> None:
        """Call every second: ends connections past their time, frees slots that are not used."""
        now = self.reactor.seconds()
        for connection in list(self.connections):
            connection.sweep(now)

    def rows(self) -> list[dict[str, object]]:
        """Connections that have asked for a file, as rows of `gnutella uploads`."""
        return [row for connection in self.connections if (row := connection.row()) is not None]

    def speed(self) -> float:
        """Bytes a second of all uploads."""
        return sum(connection.speed for connection in self.connections)

    def stop(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            connection.abort()


@implementer(IHalfCloseableProtocol)
class UploadConnection(Protocol):
    """One peer that fetches from us.  Made with the IP it comes from."""

    log = Logger()
    transport: Any

    def __init__(self, exchange: Exchange, peer_host: str) -> None:
        self._exchange = exchange
        self._host = peer_host
        self._reader = HeadReader()
        self._pipelined = bytearray()
        self._is_reading_paused = False
        self._phase = Phase.HEAD
        self._deadline = exchange.reactor.seconds() + exchange.settings.request_timeout_s
        self._is_idle = False  # between two requests, nothing of the next one heard
        self._is_closing = False
        self._is_lost = False
        self._has_asked_all = False  # its half is closed
        self._handle: SharedHandle | None = None
        self._file: Offered | None = None
        self._vendor = ""
        self._id = 0
        self._sent = 0  # of this file
        self._left = 0
        self._has_slot = False
        self._slot_until = 0.0
        self.speed = 0.0
        self._recent = 0
        self._lookup: Deferred[None] | None = None

    # -- what the transport says -----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._exchange.connections[self] = None

    def dataReceived(self, data: bytes) -> None:
        if self._is_closing:
            return
        if self._phase is not Phase.HEAD:
            self._pipelined += data
            if len(self._pipelined) > MAX_PIPELINED and not self._is_reading_paused:
                self._is_reading_paused = True
                self.transport.pauseProducing()
            return
        if self._is_idle:
            self._is_idle = False
            self._set_deadline(self._exchange.settings.request_timeout_s)
        try:
            head = self._reader.feed(data)
            if head is not None:
                self._pipelined += head.surplus
                self._request(head)
        except RemoteViolation as violation:
            self._refuse(None, violation.reason.http or 400, violation.reason)

    def readConnectionLost(self) -> None:
        """The peer will ask nothing more, but may wait for what it asked before: `nc -N` for one."""
        self._has_asked_all = True
        if self._phase is Phase.HEAD:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our half never closes alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self._is_closing = True
        self._exchange.connections.pop(self, None)
        if self._lookup is not None:
            self._lookup.cancel()
        self._release_slot()
        self._close_file()

    # -- time ------------------------------------------------------------------------------------------------------------

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._exchange.reactor.seconds() + seconds

    def sweep(self, now: float) -> None:
        """Every second."""
        self.speed += (self._recent - self.speed) * 0.3
        self._recent = 0
        if self._has_slot and self._phase is Phase.HEAD and now >= self._slot_until:
            self._release_slot()
        if now < self._deadline:
            return
        if self._is_closing or self._phase is not Phase.HEAD:
            if not self._is_closing:
                self._exchange.count_drop(DropReason.UPLOAD_STALLED)
            self.abort()
        elif self._is_idle:
            self._exchange.count_drop(DropReason.HTTP_IDLE)
            self._close()
        else:
            self._refuse(None, DropReason.SLOW.http, DropReason.SLOW)

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        self.transport.abortConnection()

    def _close(self) -> None:
        self._is_closing = True
        self._phase = Phase.CLOSING
        self._set_deadline(CLOSE_TIMEOUT_S)
        self.transport.loseConnection()

    # -- answering -------------------------------------------------------------------------------------------------------

    def _request(self, head: Head) -> None:
        request = read_request(head)
        self._set_deadline(self._exchange.settings.idle_timeout_s)
        self._vendor = request.headers.get("user-agent") or self._vendor
        answer = upload.answer(request, self._exchange.offers())
        match answer:
            case Refusal(status, reason, extra):
                self._refuse(request, status, reason, extra)
            case upload.SendFile():
                self._send_file(request, answer)
            case upload.SendTree(file):
                self._look_up_tree(request, file)
            case upload.SendBrowse():
                self._send_browse(request)
            case upload.PassPush(push):
                self._pass_push(request, push)
            case upload.SendGreeting():
                self._send_bytes(request, 200, "text/plain; charset=utf-8", GREETING)

    def _head(self, request: RequestHead | None, status: int, headers: Iterable[tuple[str, str]]) -> None:
        keeps = request is not None and request.keeps_alive
        fixed = (("Server", self._exchange.user_agent), ("X-Features", FEATURES), *self._exchange.about_us())
        connection = ("Connection", "Keep-Alive" if keeps else "close")
        self.transport.write(format_status(status, (*fixed, *headers, connection)))

    def _refuse(
        self, request: RequestHead | None, status: int, reason: DropReason, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A status with one fixed line of text; without a request that was understood, the connection ends."""
        self._exchange.count_drop(reason)
        self._exchange.refused(self._host, reason)
        self.log.debug("refused {host}: {status} {reason}", host=self._host, status=status, reason=reason.value)
        self._send_bytes(request, status, "text/plain; charset=utf-8", f"{reason.meaning}\n".encode(), extra)

    def _send_bytes(
        self,
        request: RequestHead | None,
        status: int,
        kind: str,
        body: bytes,
        extra: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._head(request, status, (("Content-Type", kind), ("Content-Length", str(len(body))), *extra))
        if request is None or request.method != "HEAD":
            self.transport.write(body)
        self._answered(request)

    def _answered(self, request: RequestHead | None) -> None:
        """The answer is with the transport: on to the next request, or the end."""
        if request is None or not request.keeps_alive or (self._has_asked_all and not self._pipelined):
            self._close()
            return
        self._phase = Phase.HEAD
        self._is_idle = True
        self._set_deadline(self._exchange.settings.idle_timeout_s)
        if self._is_reading_paused:
            self._is_reading_paused = False
            self.transport.resumeProducing()
        if self._pipelined:
            data, self._pipelined = bytes(self._pipelined), bytearray()
            # In another turn, so that a hundred pipelined requests are no recursion and no monopoly.
            self._phase = Phase.WORKING
            self._exchange.reactor.callLater(0, self._go_on, data)

    def _go_on(self, data: bytes) -> None:
        if not self._is_closing:
            self._phase = Phase.HEAD
            rest, self._pipelined = bytes(self._pipelined), bytearray()
            self.dataReceived(data + rest)
            if self._has_asked_all and self._phase is Phase.HEAD:
                self._close()  # the rest of that request will not come

    def _pass_push(self, request: RequestHead, push: Push) -> None:
        desk = self._exchange.push_desk
        refusal = DropReason.NOT_PROXIED if desk is None else desk.refusal(push, self._host)
        if refusal is None:
            self._send_bytes(request, 202, "text/plain; charset=utf-8", PUSHED)
        else:
            self._refuse(request, refusal.http, refusal)

    # -- files -----------------------------------------------------------------------------------------------------------

    def _send_file(self, request: RequestHead, answer: upload.SendFile) -> None:
        if request.method == "GET" and not self._take_slot(request):
            return
        handle = self._open(answer.file)
        if handle is None:
            self._release_slot()
            self._refuse(request, DropReason.FILE_CHANGED.http, DropReason.FILE_CHANGED, _RETRY)
            return
        self._head(request, answer.status, answer.headers)
        if request.method == "HEAD":
            self._answered(request)
            return
        self._note_file(answer.file)
        span = answer.span
        self._left = span.stop - span.start
        if not self._left:
            self._file_sent(request, None)
            return
        self._phase = Phase.SENDING
        pace = Pace(self._exchange.reactor, self._exchange.bucket)
        sock = plain_socket(self.transport)

        def end(reason: DropReason | None) -> None:
            self._file_sent(request, reason)

        if sock is not None:
            SendFile(self._exchange.reactor, self.transport, sock, handle, span, pace, self._moved, end).start()
        else:
            blocks = file_blocks(handle, span)
            SendBlocks(self._exchange.reactor, self.transport, blocks, pace, self._moved, end).start()

    def _take_slot(self, request: RequestHead) -> bool:
        if self._has_slot:
            return True
        refusal = self._exchange.slots.take(self._host)
        if refusal is not None:
            self._refuse(request, refusal.http, refusal, _RETRY)
            return False
        self._has_slot = True
        return True

    def _release_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._exchange.slots.release(self._host)

    def _open(self, file: Offered) -> SharedHandle | None:
        """The file, if it is still the one that was hashed; kept open from one range to the next."""
        handle = self._handle
        if handle is None or handle.path != file.path or not handle.is_unchanged():
            self._close_file()
            try:
                handle = self._handle = SharedHandle(file.path, file.size, file.mtime_ns)
            except OSError:
                return None
        return handle if handle.is_unchanged() else None

    def _close_file(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        self._end_upload()

    def _note_file(self, file: Offered) -> None:
        """Begin a row when the peer turns to another file."""
        if self._file is not None and self._file.sha1 == file.sha1:
            return
        self._end_upload()
        self._exchange.last_id += 1
        self._id, self._file, self._sent = self._exchange.last_id, file, 0
        if file.sha1 is not None:
            self._exchange.uploaded(file.sha1)
        self._exchange.emit("upload_started", {"id": self._id, "name": file.name, "address": self._host})

    def _end_upload(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            data = {"id": self._id, "name": file.name, "address": self._host, "sent": self._sent}
            self._exchange.emit("upload_finished", data)

    def _moved(self, count: int) -> None:
        self._sent += count
        self._left -= count
        self._recent += count
        self._exchange.bytes_sent += count
        self._set_deadline(self._exchange.settings.idle_timeout_s)

    def _file_sent(self, request: RequestHead, reason: DropReason | None) -> None:
        self._slot_until = self._exchange.reactor.seconds() + SLOT_LINGER_S
        if reason is None:
            self._answered(request)
        elif not self._is_lost:
            # The length was promised already: only a broken connection says that it will not come.
            self._exchange.count_drop(reason)
            self.abort()

    # -- trees, browsing -------------------------------------------------------------------------------------------------

    def _look_up_tree(self, request: RequestHead, file: Offered) -> None:
        self._phase = Phase.WORKING

        async def look_up() -> None:
            body = await self._exchange.tree_of(file)
            self._lookup = None
            if body is None:
                self._refuse(request, DropReason.TREE_UNKNOWN.http, DropReason.TREE_UNKNOWN)
            else:
                self._send_bytes(request, 200, "application/dime", body)

        lookup = self._lookup = Deferred.fromCoroutine(look_up())
        lookup.addErrback(self._lookup_failed, request)

    def _lookup_failed(self, failure: Failure, request: RequestHead) -> None:
        self._lookup = None
        if not self._is_lost:
            self.log.failure("tree look-up", failure=failure)
            self._refuse(request, 500, DropReason.INTERNAL_ERROR)

    def _send_browse(self, request: RequestHead) -> None:
        if self._exchange.browse is None:
            self._refuse(request, DropReason.NOT_HERE.http, DropReason.NOT_HERE)
            return
        headers = [("Content-Type", upload.BROWSE_TYPE)]
        if request.is_http11:
            headers.append(("Transfer-Encoding", "chunked"))
        closes = not request.is_http11
        self._head(None if closes else request, 200, headers)
        if request.method == "HEAD":
            self._answered(None if closes else request)
            return
        pieces: Iterator[bytes] = iter(self._exchange.browse())
        blocks = (plain_blocks if closes else chunked_blocks)(pieces, MAX_BROWSE_BYTES)
        self._phase = Phase.SENDING

        def end(reason: DropReason | None) -> None:
            if reason is None:
                self._answered(None if closes else request)

        pace = Pace(self._exchange.reactor, self._exchange.bucket)
        SendBlocks(self._exchange.reactor, self.transport, blocks, pace, self._browsed, end).start()

    def _browsed(self, count: int) -> None:
        self._set_deadline(self._exchange.settings.idle_timeout_s)

    # -- for people ------------------------------------------------------------------------------------------------------

    def row(self) -> dict[str, object] | None:
        """As a row of `gnutella uploads`; None for a connection that has asked for no file."""
        file = self._file
        if file is None:
            return None
        return {
            "id": self._id,
            "state": self._phase.value,
            "name": file.name,
            "size": file.size,
            "downloaded": self._sent,  # the promised key of both lists
            "sent": self._sent,
            "speed": round(self.speed),
            "sources": 1,
            "eta_s": round(self._left / self.speed) if self.speed >= 1 else None,
            "path": file.path,
            "error": None,
            "address": self._host,
            "vendor": self._vendor[:64],
        }


_RETRY = (("Retry-After", str(BUSY_RETRY_S)),)
