"""Which source fetches which bytes of one file.

Each source holds a claim: a span, bounded by tree leaves, that it works through from front to back in requests of a piece
each.  Claims are taken from the first free bytes, so that sources march side by side and the front of the file is complete
early (the whole-file hash can follow).  When nothing is free, a source that has nothing to do takes the back half of the
slowest claim; at the very end it may fetch once more what a stalled source still owes (the endgame), bounded to one window.

    plan = Plan(size=10 * MIB, leaf=MIB)
    span = plan.ask(1, piece=512 * 1024)      # request it from source 1
    offset, fresh = plan.arrived(1, 65536)    # write `fresh` parts of the 65536 bytes that belong at `offset`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gnutella.errors import LocalMisuse
from gnutella.protocol.http import Span
from gnutella.transfers.ranges import RangeSet

MIB = 1024 * 1024
#: Most that one source claims at a time: enough that claims are rare, little enough that the front stays close behind.
MAX_CLAIM = 16 * MIB
#: A stalled source is doubled only if it would need longer than this and this many times longer than the other one.
ENDGAME_PATIENCE_S = 3.0
ENDGAME_RATIO = 4.0
#: Bytes that may be under way from one source whatever the distance: the usual bound of a TCP window.
MAX_WINDOW = 8 * MIB
#: Below this answer time a window of one leaf keeps the source busy.
NEAR_S = 0.02
#: Smaller requests cost more in heads than they save.
MIN_PIECE = 16 * 1024


def window_for(leaf: int, latency_s: float, speed: float) -> int:
    """Bytes that one source may owe us: asked for and not yet on disk.

    One leaf, since that is what a crash may cost; more only where distance would make that a bottleneck: then twice what the
    source sends within one answer time, which is lost with the connection whoever crashes.
    """
    if latency_s < NEAR_S:
        return leaf
    return max(leaf, min(int(2 * latency_s * speed), MAX_WINDOW))


def piece_for(window: int) -> int:
    """Size of one request: two fit into a window, so that one is under way while the next one is asked for."""
    return max(window // 2, MIN_PIECE)


@dataclass(slots=True)
class _Part:
    """What one source does: its requests under way (front first) and the rest of its claim."""

    asked: list[Span] = field(default_factory=list)
    claim: Span = field(default_factory=lambda: Span(0, 0))
    speed: float = 0.0
    #: Spans of other sources that this one fetches once more; they are never doubled again.
    doubled: list[Span] = field(default_factory=list)

    @property
    def owed(self) -> int:
        return sum(stop - start for start, stop in self.asked)

    def seconds_left(self) -> float:
        return (self.owed + self.claim.stop - self.claim.start) / max(self.speed, 1.0)


class Plan:
    """The plan of one file: `have` are the bytes on disk, sources are known by small ints."""

    def __init__(self, size: int, leaf: int, have: Iterable[tuple[int, int]] = ()) -> None:
        if size < 0 or leaf < 1:
            raise LocalMisuse("a plan needs a size and a leaf size")
        self.size = size
        self.leaf = leaf
        self.have = RangeSet(have)
        self._parts: dict[int, _Part] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every byte is there."""
        return self.have.total == self.size

    def set_speed(self, source: int, speed: float) -> None:
        """Say how many bytes a second a source sends; 0 for one that stalls."""
        if source in self._parts:
            self._parts[source].speed = speed

    def owed(self, source: int) -> int:
        """Bytes asked of a source and not arrived."""
        part = self._parts.get(source)
        return part.owed if part else 0

    def ask(self, source: int, piece: int, available: RangeSet | None = None) -> Span | None:
        """The next span to request from a source, at most `piece` bytes; None when there is nothing for it to do.

        `available` limits it to what a partial source has.
        """
        part = self._parts.setdefault(source, _Part())
        while True:
            if part.claim.start >= part.claim.stop:
                claim = self._new_claim(source, part, available)
                if claim is None:
                    return None
                part.claim = claim
            start, stop = part.claim
            # Requests end at multiples of the piece, so that after a ragged start they fall in with the leaves again.
            stop = min(stop, (start // piece + 1) * piece)
            span = next(self.have.missing(start, stop), None)
            part.claim = Span(stop if span is None else span.stop, part.claim.stop)
            if span is not None:
                part.asked.append(span)
                return span

    def arrived(self, source: int, count: int) -> tuple[int, list[Span]]:
        """`count` more bytes of a source's first request are here: their offset, and which of them are new.

        The new ones count as being on disk from now on, so the caller writes them before it does anything else.
        """
        part = self._parts.get(source)
        if part is None or not part.asked or count > part.asked[0].stop - part.asked[0].start:
            raise LocalMisuse("bytes that were not asked for")
        start, stop = part.asked[0]
        here = start + count
        fresh = list(self.have.missing(start, here))
        self.have.add(start, here)
        if here == stop:
            part.asked.pop(0)
        else:
            part.asked[0] = Span(here, stop)
        return start, fresh

    def give_back(self, source: int) -> None:
        """A source is gone: what it was to fetch is free again."""
        self._parts.pop(source, None)

    def refuse(self, source: int) -> None:
        """The source's first request will not be answered with bytes; it is free again, the other ones stand."""
        part = self._parts.get(source)
        if part and part.asked:
            part.asked.pop(0)

    def discard(self, start: int, stop: int) -> None:
        """Bytes turned out to be wrong: they are to be fetched again."""
        self.have.remove(start, stop)

    # -- claims --------------------------------------------------------------------------------------------------------

    def _new_claim(self, source: int, part: _Part, available: RangeSet | None) -> Span | None:
        part.doubled = [span for span in part.doubled if not self.have.covers(*span)]
        taken = self.have.copy()
        for other in self._parts.values():
            taken.add(*other.claim)
            for span in other.asked:
                taken.add(*span)
        for free in self._offered(available):
            gap = next(taken.missing(*free), None)
            if gap is not None:
                share = (self.size - taken.total) // (2 * len(self._parts))
                length = max(self.leaf, min(MAX_CLAIM, share))
                return Span(gap.start, min(gap.stop, self._leaf_after(gap.start + length - 1)))
        if available is not None:
            return None  # whole sources may steal; what a partial one may not have is not worth the sorting out
        return self._steal(source) or self._double(source, part)

    def _offered(self, available: RangeSet | None) -> Iterator[Span]:
        if available is None:
            return iter([Span(0, self.size)])
        return iter(available.within(0, self.size))

    def _leaf_after(self, position: int) -> int:
        return min((position // self.leaf + 1) * self.leaf, self.size)

    def _steal(self, thief: int) -> Span | None:
        """The back half of the claim that would take longest, cut at a leaf."""
        victims = [part for key, part in self._parts.items() if key != thief and part.claim.start < part.claim.stop]
        for victim in sorted(victims, key=_Part.seconds_left, reverse=True):
            start, stop = victim.claim
            middle = self._leaf_after((start + stop - 1) // 2)
            if middle >= stop:
                # One leaf, or less, is left of the claim: all of it, unless its owner is in the middle of that leaf.
                middle = start
                if victim.asked and start % self.leaf:
                    continue
            victim.claim = Span(start, middle)
            return Span(middle, stop)
        return None

    def _double(self, source: int, part: _Part) -> Span | None:
        """What a stalled source owes, once more; each such span once, and one at a time for each helping source."""
        if part.doubled or not part.speed:
            return None
        already = [span for other in self._parts.values() for span in other.doubled]
        for key, victim in self._parts.items():
            if key == source or not victim.asked or victim.doubled:
                continue
            patience = max(ENDGAME_PATIENCE_S, ENDGAME_RATIO * victim.owed / part.speed)
            if victim.owed / max(victim.speed, 1.0) <= patience:
                continue
            for span in victim.asked:
                known = any(done.start <= span.start and span.stop <= done.stop for done in already)
                if not known and not self.have.covers(*span):
                    part.doubled.append(span)
                    return span
        return None
