"""Which bytes of a partial file were written since the store was last told: a few 16-byte records in a file beside it.

A transaction for every quarter of a megabyte would cost more than fetching it.  So each write of bytes is followed by one
small write here, in the same thread; both are with the kernel then, and survive the process.  A source that goes on where it
was only moves the end of its record, so the file stays tiny.  The store takes the ranges over from time to time, and
whenever the file is opened or closed in order.  Ranges say what is on disk, never that it is right.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from gnutella.network.files import disk_trouble
from gnutella.transfers.ranges import RangeSet

SUFFIX = ".written"
#: Records read: far more than a download leaves behind.
MAX_RECORDS = 65536
_RECORD = struct.Struct(">QQ")


class RangeJournal:
    """Open for writing; `path` is the partial file's, with SUFFIX."""

    def __init__(self, path: Path) -> None:
        """OSError when it cannot be made."""
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        #: Of each source: where its record lies, and what it says.
        self._places: dict[int, tuple[int, int, int]] = {}
        self._end = 0

    def read(self, size: int) -> RangeSet:
        """What earlier runs left, within a file of `size` bytes; a record cut off by a crash counts for nothing."""
        data = os.pread(self._fd, MAX_RECORDS * _RECORD.size, 0)
        whole = len(data) // _RECORD.size * _RECORD.size
        return RangeSet((start, stop) for start, stop in _RECORD.iter_unpack(data[:whole]) if start < stop <= size)

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._fd, 0)
        self._places.clear()
        self._end = 0

    def wrote(self, source: int, start: int, stop: int) -> None:
        """Bytes start..stop-1, from that source, are written.  DiskTrouble when that cannot be noted."""
        place, first, last = self._places.get(source, (-1, 0, 0))
        if place < 0 or last != start:
            place, first = self._end, start
            self._end += _RECORD.size
        self._places[source] = place, first, stop
        try:
            os.pwrite(self._fd, _RECORD.pack(first, stop), place)
        except OSError as error:
            raise disk_trouble(error, self.path) from None

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def journal_path(part: Path) -> Path:
    """Where the journal of a partial file lies."""
    return part.with_name(part.name + SUFFIX)
