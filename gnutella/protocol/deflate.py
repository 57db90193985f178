"""Compressed links: one endless zlib stream a direction (protocol digest 1.11).

A few bytes of such a stream can grow a thousandfold, so an `Inflater` works on credit: every byte received earns MAX_RATIO
bytes of output, and at most MAX_CREDIT of that is saved up for later.  Output comes in pieces of bounded size, each made only
when the one before has been used, so that a bomb costs neither memory nor more than its credit of work.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

#: Gnutella traffic shrinks two to four times; routing tables, which are mostly zeros, live on the credit.
MAX_RATIO = 40
#: One routing table of the largest size that servents send (2^20 slots of 4 bits), and as much again.
MAX_CREDIT = 1024 * 1024
#: Output is made in pieces of at most this size.
PIECE = 64 * 1024
#: zlib's levels 1 to 9: from 3 on the gain on messages, which are mostly random GUIDs, is small and the time is not.
LEVEL = 3


class Inflater:
    """What a peer sends, inflated."""

    __slots__ = ("_credit", "_stream")

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()
        self._credit = MAX_CREDIT

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The inflated pieces of `data`, none of them empty.  RemoteViolation: DEFLATE_BROKEN or DEFLATE_BOMB."""
        stream = self._stream
        self._credit += MAX_RATIO * len(data)
        rest = data
        while True:
            if stream.eof and rest:
                raise RemoteViolation(DropReason.DEFLATE_BROKEN, "bytes behind the end of the stream")
            try:
                piece = stream.decompress(rest, PIECE)
            except zlib.error as error:
                raise RemoteViolation(DropReason.DEFLATE_BROKEN, str(error)[:80]) from None
            if stream.unused_data:
                raise RemoteViolation(DropReason.DEFLATE_BROKEN, "bytes behind the end of the stream")
            self._credit -= len(piece)
            if self._credit < 0:
                raise RemoteViolation(DropReason.DEFLATE_BOMB, f"grows more than {MAX_RATIO} times")
            if piece:
                yield piece
            if len(piece) < PIECE:  # a full piece may leave output inside zlib even when all input is used
                break
            rest = stream.unconsumed_tail
        self._credit = min(self._credit, MAX_CREDIT)


class Deflater:
    """What we send, deflated.  Nothing is sure to reach the peer until `flush`: call it once a batch, not once a message."""

    __slots__ = ("_stream", "is_pending")

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL)
        #: Whether something was compressed since the last flush.
        self.is_pending = False

    def compress(self, data: bytes) -> bytes:
        """Compressed bytes that are ready, often none."""
        self.is_pending = True
        return self._stream.compress(data)

    def flush(self) -> bytes:
        """Everything compressed so far, up to a byte boundary (Z_SYNC_FLUSH)."""
        self.is_pending = False
        return self._stream.flush(zlib.Z_SYNC_FLUSH)
