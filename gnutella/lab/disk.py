"""A node's disk in virtual time: it may be full or slow, and what was not yet safe is lost or torn when the node dies.

What the model means.  A write is seen by the node at once, and is safe when a sync that began after it has ended; `bytes_s` is
how fast the disk takes bytes, so that a sync of a slow disk ends late.  A write that finds no room writes nothing.  When the
process is killed, the system still has what was written, but the last write may be cut anywhere.  When the power fails, each
write since the last sync is there, is gone, or is there up to some sector, whatever became of the others.  Bytes that were
never written read as zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from gnutella.lab.chance import below
from gnutella.transfers.ranges import RangeSet

#: What a disk writes whole or not at all.
SECTOR = 512


@dataclass(eq=False, slots=True)
class Disk:
    """One disk: `room` is how many more bytes it takes (None: any number), `free_at` when it has written all it was given."""

    rng: Random
    room: int | None = None
    bytes_s: float = 0.0
    free_at: float = 0.0

    def take(self, size: int, now: float) -> None:
        """Time passes for writing that many bytes."""
        if self.bytes_s:
            self.free_at = max(self.free_at, now) + size / self.bytes_s


@dataclass(eq=False, slots=True)
class DiskFile:
    """One file of `size` bytes, sparse until written; room is taken when bytes are first written over."""

    disk: Disk
    size: int
    #: What the node reads, and what would be left of it after a power failure.
    content: bytearray = field(init=False)
    #: Where it takes room.
    taken: RangeSet = field(default_factory=RangeSet)
    _safe: bytearray = field(init=False)
    _writes: list[tuple[int, int, int]] = field(default_factory=list)
    _written: int = 0

    def __post_init__(self) -> None:
        self.content = bytearray(self.size)
        self._safe = bytearray(self.size)

    def write(self, start: int, data: bytes, now: float) -> bool:
        """Write; False, with nothing written, when the disk is full."""
        disk, stop = self.disk, start + len(data)
        if disk.room is not None:
            fresh = sum(gap.stop - gap.start for gap in self.taken.missing(start, stop))
            if disk.room < fresh:
                return False
            disk.room -= fresh
        self.taken.add(start, stop)
        self.content[start:stop] = data
        self._written += 1
        self._writes.append((self._written, start, stop))
        disk.take(len(data), now)
        return True

    def begin_sync(self) -> int:
        """All that was written until now is to be safe at `disk.free_at`; give the number to `end_sync` then."""
        return self._written

    def end_sync(self, number: int) -> None:
        """That sync has ended."""
        while self._writes and self._writes[0][0] <= number:
            _, start, stop = self._writes.pop(0)
            self._safe[start:stop] = self.content[start:stop]

    def crash(self, *, is_power_failure: bool) -> None:
        """The node died: from now on it reads what is left."""
        rng = self.disk.rng
        for number, start, stop in self._writes:
            kept = stop - start
            if is_power_failure:
                kept = min(kept, SECTOR * below(rng, kept // SECTOR + 2))
            elif number == self._written:
                kept = below(rng, kept + 1)
            self._safe[start : start + kept] = self.content[start : start + kept]
        self._writes.clear()
        self.content = bytearray(self._safe)
