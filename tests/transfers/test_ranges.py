"""RangeSet against its model, a set of ints."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.transfers.ranges import RangeSet

POSITIONS = st.integers(0, 40)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), POSITIONS, POSITIONS), max_size=25)


@given(STEPS, POSITIONS, POSITIONS)
def test_it_behaves_as_a_set_of_ints(steps: list[tuple[str, int, int]], start: int, stop: int) -> None:
    ranges, model = RangeSet(), set[int]()
    for verb, first, last in steps:
        if verb == "add":
            ranges.add(first, last)
            model |= set(range(first, last))
        else:
            ranges.remove(first, last)
            model -= set(range(first, last))
    spans = list(ranges)
    assert {n for span in spans for n in range(*span)} == model
    assert all(left.stop < right.start for left, right in pairwise(spans))
    assert (ranges.total, len(ranges)) == (len(model), len(spans))
    wanted = set(range(start, stop))
    assert ranges.covers(start, stop) == (wanted <= model)
    assert {n for span in ranges.within(start, stop) for n in range(*span)} == wanted & model
    assert {n for span in ranges.missing(start, stop) for n in range(*span)} == wanted - model
    assert ranges.prefix() == next(n for n in range(100) if n not in model)
    twin = ranges.copy()
    assert twin == ranges == RangeSet(spans)
    twin.add(1000, 1001)
    assert twin != ranges


def test_clear_empties_and_a_set_has_no_hash() -> None:
    ranges = RangeSet([(1, 5), (7, 9)])
    assert repr(ranges) == "RangeSet([(1, 5), (7, 9)])"
    ranges.clear()
    assert ranges.total == 0 and list(ranges) == []
    with pytest.raises(TypeError):
        hash(ranges)
