"""What waits for a link whose transport pushes back: a bounded queue with priorities (digest 4.6).

An unblocked link has no queue.  While it is blocked, messages gather here up to QUEUE_BYTES; then the least important ones go:
ping < query < pong < hit < push < route table < vendor < bye, and within a kind pings and queries that travelled far go
before young ones, while hits and pushes that travelled far are kept.  Pings, queries and pongs may be refused themselves;
when a hit or anything above finds no room, the peer is not worth keeping.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

#: Bytes of a link's queue (gtk-gnutella, Shareaza and [S06]; digest 4.6).
QUEUE_BYTES = 98304
#: Above half of it, queries from that peer are dropped: their hits would not fit ...
HIGH_WATERMARK = QUEUE_BYTES // 2
#: ... until it has fallen below a quarter.
LOW_WATERMARK = QUEUE_BYTES // 4

#: Kind of message -> priority; unknown ones count as pings do.
_PRIORITY = {0x00: 1, 0x80: 2, 0x01: 3, 0x81: 4, 0x40: 5, 0x30: 6, 0x31: 7, 0x32: 7, 0x02: 9}
_LOWEST = 1
#: Up to this priority a message that finds no room is simply dropped; above, the link is closed.
_DROPPABLE = 3
#: Hops beyond this are all alike; the hard limit of TTL + hops is 15 (digest 4.3).
_MAX_HOPS = 15


class Outcome(Enum):
    """What became of an offered message."""

    QUEUED = "queued"
    REFUSED = "refused"
    FULL = "full"


class Queued(NamedTuple):
    """One waiting message."""

    kind: int
    data: bytes


def rank_of(kind: int, hops: int) -> int:
    """Importance of a message: higher is sent first and dropped last."""
    priority = _PRIORITY.get(kind, _LOWEST)
    hops = min(hops, _MAX_HOPS)
    young_first = priority <= 2
    return priority * 16 + (_MAX_HOPS - hops if young_first else hops)


class SendQueue:
    """The queue of one blocked link."""

    def __init__(self, limit: int = QUEUE_BYTES) -> None:
        self.size_bytes = 0
        self.count = 0
        self._limit = limit
        self._high = limit * HIGH_WATERMARK // QUEUE_BYTES
        self._low = limit * LOW_WATERMARK // QUEUE_BYTES
        self._buckets: dict[int, deque[Queued]] = {}
        self._bucket_bytes: dict[int, int] = {}
        self._is_busy = False

    @property
    def is_busy(self) -> bool:
        """Whether the peer's own queries are unwelcome: above the high watermark, until below the low one."""
        if self._is_busy:
            self._is_busy = self.size_bytes >= self._low
        else:
            self._is_busy = self.size_bytes > self._high
        return self._is_busy

    def offer(self, kind: int, hops: int, data: bytes) -> tuple[Outcome, list[Queued]]:
        """Queue one whole message; also gives the messages that had to go for it."""
        rank = rank_of(kind, hops)
        needed = self.size_bytes + len(data) - self._limit
        gone: list[Queued] = []
        if needed > 0:
            room = sum(size for lower, size in self._bucket_bytes.items() if lower < rank)
            if room < needed:
                refused = _PRIORITY.get(kind, _LOWEST) <= _DROPPABLE
                return (Outcome.REFUSED if refused else Outcome.FULL), gone
            gone = self._discard(needed)
        self._buckets.setdefault(rank, deque()).append(Queued(kind, data))
        self._bucket_bytes[rank] = self._bucket_bytes.get(rank, 0) + len(data)
        self.size_bytes += len(data)
        self.count += 1
        return Outcome.QUEUED, gone

    def _discard(self, needed: int) -> list[Queued]:
        gone: list[Queued] = []
        for rank in sorted(self._buckets):
            bucket = self._buckets[rank]
            while bucket and needed > 0:
                message = bucket.popleft()
                gone.append(message)
                needed -= len(message.data)
                self._bucket_bytes[rank] -= len(message.data)
                self.size_bytes -= len(message.data)
                self.count -= 1
            if not bucket:
                del self._buckets[rank], self._bucket_bytes[rank]
            if needed <= 0:
                break
        return gone

    def drain(self) -> list[Queued]:
        """All that waits, the most important first and within a rank in order of arrival; the queue is empty then."""
        waiting = [message for rank in sorted(self._buckets, reverse=True) for message in self._buckets[rank]]
        self._buckets.clear()
        self._bucket_bytes.clear()
        self.size_bytes = self.count = 0
        return waiting
