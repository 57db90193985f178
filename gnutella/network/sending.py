"""Bodies on their way to a peer: files by sendfile where the transport is a plain socket, anything else in blocks.

`SendFile` has the kernel move bytes from the page cache to the socket whenever the socket takes more; we never touch them.
`SendBlocks` is a push producer for TLS and
for bodies that are made on the way.  Both pace themselves with a token bucket, say how far they are, and end exactly once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.network.files import SharedHandle
from gnutella.protocol.http import Span
from gnutella.reasons import DropReason
from gnutella.transfers.upload import TokenBucket

#: Most that one call of sendfile moves: a page cache miss then blocks the reactor for one such read at most (nginx's bound).
MAX_CALL = 2 * 1024 * 1024
#: Bytes between two looks whether the file is still the one that was hashed.
LOOK_EVERY = 16 * 1024 * 1024
#: Most that one connection sends before the others have their turn.
MAX_TURN = 4 * 1024 * 1024
#: Read at a time where sendfile cannot be used.
BLOCK = 128 * 1024
#: Pace at least this much at a time, so that a slow upload does not wake up for every packet.
MIN_GRANT = 4096

#: Called once with None when everything is with the transport, or with the reason why not.
OnEnd = Callable[[DropReason | None], None]
OnProgress = Callable[[int], None]


def plain_socket(transport: Any) -> socket.socket | None:
    """The socket under a transport if bytes put into it are what the peer reads: no TLS, nothing in between."""
    if ISSLTransport.providedBy(transport) or getattr(transport, "TLS", False):
        return None
    if not hasattr(transport, "startWriting") or not hasattr(transport, "getHandle"):
        return None
    handle = transport.getHandle()
    return handle if isinstance(handle, socket.socket) else None


class Pace:
    """A token bucket on the reactor's clock: how much may go now, and a call when more may go."""

    def __init__(self, clock: Any, bucket: TokenBucket) -> None:
        self._clock = clock
        self._bucket = bucket
        self._waiting: IDelayedCall | None = None

    def grant(self, wanted: int, resume: Callable[[], None]) -> int:
        """Bytes that may go now; for 0, `resume` is called later."""
        if not self._bucket.rate:
            return wanted
        now = self._clock.seconds()
        granted = self._bucket.take(wanted, now)
        if granted >= min(wanted, MIN_GRANT):
            return granted
        self._bucket.spend(-granted, now)
        if self._waiting is None:
            delay = max(self._bucket.wait_s(min(wanted, MIN_GRANT), now), 0.01)
            self._waiting = self._clock.callLater(delay, self._resume, resume)
        return 0

    @property
    def is_waiting(self) -> bool:
        """Whether `resume` is still to be called."""
        return self._waiting is not None

    def refund(self, count: int) -> None:
        """Bytes granted but not sent."""
        self._bucket.spend(-count, self._clock.seconds())

    def stop(self) -> None:
        """Call nobody any more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _resume(self, resume: Callable[[], None]) -> None:
        self._waiting = None
        resume()


@implementer(IPullProducer, IWriteDescriptor)
class SendFile:
    """Sends `span` of a file through a plain socket, after what was written to the transport before.

    As a producer it learns when the transport's own buffer is out, and when the connection is gone.  In between it is a
    writer of its own on a duplicate of the socket, so that a turn costs one call of sendfile and little else.
    """

    def __init__(
        self,
        reactor: Any,
        transport: Any,
        sock: socket.socket,
        handle: SharedHandle,
        span: Span,
        pace: Pace,
        moved: OnProgress,
        end: OnEnd,
    ) -> None:
        self._reactor = reactor
        self._transport = transport
        self._socket = sock
        self._fd = -1
        self._handle = handle
        self._offset, self._stop = span
        self._next_look = self._offset
        self._pace = pace
        self._moved = moved
        self._end: OnEnd | None = end
        self._is_registering = True

    def start(self) -> None:
        """Begin."""
        # registerProducer calls resumeProducing at once, while the head is still in the transport's buffer.
        self._transport.registerProducer(self, False)
        self._is_registering = False
        self._transport.startWriting()

    def resumeProducing(self) -> None:
        """The transport's buffer is out."""
        if not self._is_registering and self._end is not None and self._fd < 0:
            self._fd = os.dup(self._socket.fileno())
            self.doWrite()
            self._wait()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._finish(DropReason.PEER_CLOSED)

    def fileno(self) -> int:
        """For the reactor."""
        return self._fd

    def logPrefix(self) -> str:
        """For the reactor."""
        return "upload"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found the socket broken."""
        self._finish(DropReason.PEER_CLOSED)

    def doWrite(self) -> None:
        """The socket takes more."""
        turn_ends = self._offset + MAX_TURN
        while self._end is not None and self._offset < turn_ends:
            if self._offset >= self._stop:
                self._finish(None)
                return
            if not self._is_still_right():
                self._finish(DropReason.FILE_CHANGED)
                return
            wanted = min(self._stop - self._offset, MAX_CALL)
            count = self._pace.grant(wanted, self._wait)
            if not count:
                self._reactor.removeWriter(self)
                return
            if self._send(count) < count:
                return  # the socket is full, or it is over

    def _wait(self) -> None:
        if self._end is not None and not self._pace.is_waiting:
            self._reactor.addWriter(self)

    def _is_still_right(self) -> bool:
        """Whether the file has not changed; looked at now and then, and before the last bytes."""
        if self._offset < self._next_look and self._stop - self._offset > MAX_CALL:
            return True
        self._next_look = self._offset + LOOK_EVERY
        return self._handle.is_unchanged()

    def _send(self, count: int) -> int:
        try:
            sent = os.sendfile(self._fd, self._handle.fd, self._offset, count)
        except BlockingIOError:
            self._pace.refund(count)
            return 0
        except OSError:
            self._finish(DropReason.PEER_CLOSED)
            return 0
        if not sent:
            self._finish(DropReason.FILE_CHANGED)
            return 0
        if sent < count:
            self._pace.refund(count - sent)
        self._offset += sent
        self._moved(sent)
        if self._offset >= self._stop:
            self._finish(None)
        return sent

    def _finish(self, reason: DropReason | None) -> None:
        end, self._end = self._end, None
        if end is None:
            return
        self._pace.stop()
        if self._fd >= 0:
            self._reactor.removeWriter(self)
            os.close(self._fd)
            self._fd = -1
        self._transport.unregisterProducer()
        end(reason)


@implementer(IPushProducer)
class SendBlocks:
    """Sends what an iterator gives, while the transport takes it."""

    def __init__(
        self, clock: Any, transport: Any, blocks: Iterator[bytes], pace: Pace, moved: OnProgress, end: OnEnd
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._blocks = blocks
        self._pace = pace
        self._moved = moved
        self._end: OnEnd | None = end
        self._is_paused = False
        self._waiting = b""
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Begin."""
        self._transport.registerProducer(self, True)
        self._turn()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """The transport takes more."""
        self._is_paused = False
        self._turn()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._finish(DropReason.PEER_CLOSED)

    def _turn(self) -> None:
        sent = 0
        while self._end is not None and not self._is_paused and sent < MAX_TURN:
            if not self._waiting:
                try:
                    block = next(self._blocks, None)
                except FileMoved:
                    self._finish(DropReason.FILE_CHANGED)
                    return
                if block is None:
                    self._finish(None)
                    return
                self._waiting = block
            count = self._pace.grant(len(self._waiting), self._turn)
            if not count:
                return
            self._transport.write(self._waiting[:count])
            self._waiting = self._waiting[count:]
            self._moved(count)
            sent += count
        if sent >= MAX_TURN and self._next is None and not self._is_paused:
            self._next = self._clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._next = None
        self._turn()

    def _finish(self, reason: DropReason | None) -> None:
        end, self._end = self._end, None
        self._pace.stop()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if end is not None:
            self._transport.unregisterProducer()
            end(reason)


class FileMoved(Exception):
    """The file is no longer the one that was hashed."""


def file_blocks(handle: SharedHandle, span: Span) -> Iterator[bytes]:
    """A span of a file in blocks; FileMoved when the file changes on the way."""
    offset, stop = span
    while offset < stop:
        block = os.pread(handle.fd, min(BLOCK, stop - offset), offset)
        if not block or not handle.is_unchanged():
            raise FileMoved
        offset += len(block)
        yield block


def chunked_blocks(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Pieces in the chunked transfer coding, with its end; no more pieces once `limit` bytes were sent."""
    total = 0
    for piece in pieces:
        if piece:
            total += len(piece)
            if total > limit:
                break
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def plain_blocks(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The same for peers that know no chunks: the body ends with the connection."""
    total = 0
    for piece in pieces:
        if piece:
            total += len(piece)
            if total > limit:
                break
            yield piece
