"""Sets of byte positions, kept as spans: which bytes of a partial file are there.

A `RangeSet` holds half-open spans [start, stop), sorted, never touching each other, so that its length is the number of holes
plus one.  Every operation costs the logarithm of that number plus the spans it changes.  Model: a set of ints.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from gnutella.protocol.http import Span


class RangeSet:
    """A mutable set of byte positions."""

    __slots__ = ("_starts", "_stops", "total")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        #: How many positions are in the set.
        self.total = 0
        for start, stop in spans:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Put start..stop-1 in; empty and inverted spans change nothing."""
        if start >= stop:
            return
        starts, stops = self._starts, self._stops
        # Spans that touch or overlap the new one: those whose stop >= start and whose start <= stop.
        low, high = bisect_left(stops, start), bisect_right(starts, stop)
        if low < high:
            start, stop = min(start, starts[low]), max(stop, stops[high - 1])
            self.total -= sum(stops[low:high]) - sum(starts[low:high])
        starts[low:high] = [start]
        stops[low:high] = [stop]
        self.total += stop - start

    def remove(self, start: int, stop: int) -> None:
        """Take start..stop-1 out."""
        if start >= stop:
            return
        starts, stops = self._starts, self._stops
        low, high = bisect_right(stops, start), bisect_left(starts, stop)
        if low >= high:
            return
        before, after = (starts[low], start), (stop, stops[high - 1])
        kept = [(a, b) for a, b in (before, after) if a < b]
        self.total -= sum(stops[low:high]) - sum(starts[low:high]) - sum(b - a for a, b in kept)
        starts[low:high] = [a for a, _ in kept]
        stops[low:high] = [b for _, b in kept]

    def clear(self) -> None:
        """Take everything out."""
        self._starts.clear()
        self._stops.clear()
        self.total = 0

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of start..stop-1 is in the set; an empty span always is."""
        if start >= stop:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._stops[at] >= stop

    def prefix(self) -> int:
        """The first position that is not in the set."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def within(self, start: int, stop: int) -> list[Span]:
        """The parts of start..stop-1 that are in the set."""
        found: list[Span] = []
        for at in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[at] >= stop:
                break
            found.append(Span(max(start, self._starts[at]), min(stop, self._stops[at])))
        return found

    def missing(self, start: int, stop: int) -> Iterator[Span]:
        """The parts of start..stop-1 that are not in the set, in order.  The set must not change meanwhile."""
        at = bisect_right(self._stops, start)
        while start < stop:
            next_start = self._starts[at] if at < len(self._starts) else stop
            if start < next_start:
                yield Span(start, min(next_start, stop))
            if at >= len(self._starts):
                return
            start = max(start, self._stops[at])
            at += 1

    def copy(self) -> RangeSet:
        """An independent set with the same positions."""
        other = RangeSet()
        other._starts, other._stops, other.total = self._starts.copy(), self._stops.copy(), self.total
        return other

    def __iter__(self) -> Iterator[Span]:
        return iter([Span(start, stop) for start, stop in zip(self._starts, self._stops, strict=True)])

    def __len__(self) -> int:
        """Number of spans."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self._starts == other._starts and self._stops == other._stops

    def __hash__(self) -> int:
        raise TypeError("a RangeSet changes and cannot be hashed")

    def __repr__(self) -> str:
        return f"RangeSet({[tuple(span) for span in self]})"
