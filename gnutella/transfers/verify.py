"""Checking a file leaf by leaf while it arrives, and finding out who sent a wrong one.

`LeafCheck` holds the level of the tiger tree that THEX serves: one node for each leaf of, say, 1 MiB.  It says which complete
leaves are to be hashed next, takes the hashes, and names sources of leaves that are wrong.  A leaf that came from one source
alone convicts it.  A leaf that is wrong again from a second source casts doubt on the tree itself, which came over the same
network; whoever gave us the tree is then the liar, and the whole-file SHA-1, which the user asked for by name, decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gnutella.errors import LocalMisuse
from gnutella.protocol.http import Span
from gnutella.transfers.ranges import RangeSet

MIB = 1024 * 1024
#: Bytes hashed in one call of the worker: some 20 ms of work, so that a call is cheap and a stop is quick.
MAX_BATCH = 8 * MIB
#: Different sources that may fail one leaf before the tree is doubted.
MAX_CULPRITS = 2


@dataclass(slots=True)
class Verdict:
    """What came of one batch."""

    good: list[Span] = field(default_factory=list)
    bad: list[Span] = field(default_factory=list)
    #: Sources that alone sent a bad leaf.
    culprits: set[int] = field(default_factory=set)
    #: The same leaf was wrong from several sources: the tree is not to be believed.
    is_tree_doubtful: bool = False


class LeafCheck:
    """Leaves of one file: `nodes[n]` is the hash of bytes n*leaf .. (n+1)*leaf-1."""

    def __init__(self, size: int, leaf: int, nodes: Sequence[bytes], verified: RangeSet | None = None) -> None:
        if leaf < 1 or len(nodes) != max(1, -(-size // leaf)):
            raise LocalMisuse("as many nodes as leaves are needed")
        self.size = size
        self.leaf = leaf
        self.verified = verified or RangeSet()
        self.nodes = nodes
        self._pending = RangeSet()
        self._writers: dict[int, set[int]] = {}
        self._failed: dict[int, set[int]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every leaf was found right."""
        return self.verified.total == self.size

    def wrote(self, source: int, start: int, stop: int) -> None:
        """Note who sent the bytes start..stop-1; source 0 stands for bytes from before a restart."""
        for number in range(start // self.leaf, (max(start, stop - 1)) // self.leaf + 1):
            self._writers.setdefault(number, set()).add(source)

    def next_batch(self, have: RangeSet) -> Span | None:
        """Complete leaves that are neither checked nor being checked, side by side, at most MAX_BATCH; now being checked."""
        busy = self.verified.copy()
        for span in self._pending:
            busy.add(*span)
        for start, stop in have:
            first = -(-start // self.leaf) * self.leaf
            last = stop if stop == self.size else stop // self.leaf * self.leaf
            gap = next(busy.missing(first, last), None) if first < last else None
            if gap is not None:
                batch = Span(gap.start, min(gap.stop, gap.start + max(self.leaf, MAX_BATCH // self.leaf * self.leaf)))
                self._pending.add(*batch)
                return batch
        return None

    def checked(self, batch: Span, hashes: Sequence[bytes]) -> Verdict:
        """The hashes of a batch, leaf by leaf."""
        self._pending.remove(*batch)
        first = batch.start // self.leaf
        if len(hashes) != -(-(batch.stop - batch.start) // self.leaf):
            raise LocalMisuse("one hash a leaf is needed")
        verdict = Verdict()
        for number, found in enumerate(hashes, first):
            span = Span(number * self.leaf, min((number + 1) * self.leaf, self.size))
            writers = self._writers.pop(number, set())
            if found == self.nodes[number]:
                verdict.good.append(span)
                self.verified.add(*span)
                self._failed.pop(number, None)
            else:
                verdict.bad.append(span)
                self._blame(number, writers, verdict)
        return verdict

    def _blame(self, number: int, writers: set[int], verdict: Verdict) -> None:
        if len(writers) != 1 or 0 in writers:
            return  # sent by several, or before a restart: the next try will have one author
        failed = self._failed.setdefault(number, set())
        failed |= writers
        if len(failed) >= MAX_CULPRITS:
            verdict.is_tree_doubtful = True
        verdict.culprits |= writers

    def abandoned(self, batch: Span) -> None:
        """A batch could not be hashed: it is to be checked again."""
        self._pending.remove(*batch)

    def forget(self) -> None:
        """Trust nothing that was found before: every leaf is to be checked again."""
        self.verified.clear()
