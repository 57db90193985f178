"""The planner: everything is fetched, nothing twice outside the endgame, and it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse
from gnutella.protocol.http import Span
from gnutella.transfers import planner
from gnutella.transfers.planner import MIB, Plan
from gnutella.transfers.ranges import RangeSet

LEAF = 64


@given(st.data())
def test_everything_is_fetched_once_whatever_sources_come_and_go(data: st.DataObject) -> None:
    """No source is known to be slow here, so there is no endgame and each byte that arrives is new."""
    size = data.draw(st.integers(0, 2000))
    have = data.draw(st.lists(st.tuples(st.integers(0, size), st.integers(0, size)), max_size=4))
    plan = Plan(size, LEAF, have)
    left = size - plan.have.total
    piece = data.draw(st.sampled_from([16, 32, 50, 64]))
    under_way: dict[int, list[Span]] = {n: [] for n in range(data.draw(st.integers(1, 4)))}
    for _ in range(400):
        if plan.is_complete:
            break
        source = data.draw(st.sampled_from(sorted(under_way)))
        verb = data.draw(st.sampled_from(["ask", "ask", "arrive", "arrive", "fail", "refuse"]))
        asked = under_way[source]
        if verb == "ask" and len(asked) < 2:
            span = plan.ask(source, piece)
            if span is not None:
                assert 0 < span.stop - span.start <= piece
                assert not plan.have.within(*span)
                for spans in under_way.values():
                    assert all(span.stop <= other.start or other.stop <= span.start for other in spans)
                asked.append(span)
        elif verb == "arrive" and asked:
            count = data.draw(st.integers(1, asked[0].stop - asked[0].start))
            offset, fresh = plan.arrived(source, count)
            assert offset == asked[0].start and fresh == [Span(offset, offset + count)]
            left -= count
            asked[0] = Span(offset + count, asked[0].stop)
            if asked[0].start == asked[0].stop:
                asked.pop(0)
        elif verb == "fail":
            plan.give_back(source)
            asked.clear()
        elif verb == "refuse" and asked:
            plan.refuse(source)
            asked.pop(0)
        assert plan.owed(source) == sum(stop - start for start, stop in asked)
        if all(not spans for spans in under_way.values()) and not plan.is_complete:
            # Nothing under way: any source must be given something, else the download would stop short.
            span = plan.ask(source, piece)
            assert span is not None
            asked.append(span)
    assert left == size - plan.have.total >= 0


@given(st.integers(1, 3000), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 3))
def test_it_ends_and_endgame_overlap_is_bounded_by_a_window_a_source(size: int, speeds: list[int], depth: int) -> None:
    """Source n moves speeds[n] bytes a turn; fetched bytes beyond the file are at most one window for each source."""
    plan = Plan(size, LEAF)
    piece = LEAF // 2
    asked: dict[int, list[int]] = {n: [] for n in range(len(speeds))}
    fetched = 0
    for _ in range(20 * size + 100):
        if plan.is_complete:
            break
        for source, speed in enumerate(speeds):
            plan.set_speed(source, speed)
            while len(asked[source]) < depth and (span := plan.ask(source, piece)) is not None:
                asked[source].append(span.stop - span.start)
            if asked[source]:
                count = min(speed, asked[source][0])
                plan.arrived(source, count)
                fetched += count
                asked[source][0] -= count
                if not asked[source][0]:
                    asked[source].pop(0)
    assert plan.is_complete
    assert fetched - size <= len(speeds) * depth * piece


def test_claims_are_cut_at_leaves_and_the_first_free_bytes_go_first() -> None:
    plan = Plan(1000, LEAF, [(0, 100)])
    first = plan.ask(1, LEAF)
    second = plan.ask(2, LEAF)
    assert first == Span(100, 128)
    assert second is not None and second.start % LEAF == 0 and second.start > 100


def test_an_idle_source_steals_from_the_slowest_claim() -> None:
    plan = Plan(16 * LEAF, LEAF)
    for source in (1, 2):
        plan.ask(source, LEAF)
    plan.set_speed(1, 1.0)
    plan.set_speed(2, 100.0)
    stolen: list[Span] = []
    while (span := plan.ask(2, LEAF)) is not None:
        stolen.append(span)
        plan.arrived(2, plan.owed(2) if plan.owed(2) <= LEAF else LEAF)
    assert plan.owed(1) == LEAF  # the slow source keeps only what it was asked for
    assert sum(b - a for a, b in stolen) >= 14 * LEAF


def test_a_stalled_source_is_doubled_once_at_the_end() -> None:
    plan = Plan(LEAF, LEAF)
    span = plan.ask(1, LEAF)
    plan.ask(2, LEAF)
    plan.set_speed(1, 0.0)
    plan.set_speed(2, 100.0)
    plan.ask(3, LEAF)
    plan.set_speed(3, 100.0)
    assert plan.ask(2, LEAF) == span
    assert plan.ask(3, LEAF) is None
    assert plan.arrived(2, LEAF) == (0, [Span(0, LEAF)])
    assert plan.is_complete
    assert plan.arrived(1, LEAF) == (0, [])  # late bytes are not written over checked ones


def test_a_partial_source_is_asked_only_for_what_it_has() -> None:
    plan = Plan(1000, LEAF)
    available = RangeSet([(130, 140), (900, 1000)])
    assert plan.ask(1, LEAF, available) == Span(130, 140)
    got: list[Span] = []
    while (span := plan.ask(1, LEAF, available)) is not None:
        got.append(span)
    assert RangeSet(got) == RangeSet([(900, 1000)])


def test_discarded_bytes_are_asked_for_again() -> None:
    plan = Plan(LEAF * 2, LEAF, [(0, LEAF * 2)])
    assert plan.ask(1, LEAF) is None
    plan.discard(LEAF, LEAF * 2)
    assert plan.ask(1, LEAF) == Span(LEAF, LEAF * 2)


def test_bytes_nobody_asked_for_are_a_bug() -> None:
    plan = Plan(10, 10)
    with pytest.raises(LocalMisuse):
        plan.arrived(1, 1)
    plan.ask(1, 10)
    with pytest.raises(LocalMisuse):
        plan.arrived(1, 11)
    with pytest.raises(LocalMisuse):
        Plan(-1, 10)


def test_windows_are_one_leaf_near_by_and_grow_with_distance_to_a_bound() -> None:
    assert planner.window_for(MIB, 0.001, 3e8) == MIB
    assert planner.window_for(MIB, 0.1, 1e5) == MIB
    assert planner.window_for(MIB, 0.1, 2e7) == 4_000_000
    assert planner.window_for(MIB, 1.0, 1e9) == planner.MAX_WINDOW
    assert planner.piece_for(MIB) == MIB // 2
    assert planner.piece_for(1) == planner.MIN_PIECE
