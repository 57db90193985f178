"""One dynamic query: the estimates, the probe, how it widens, and when it ends."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.superpeers.dynamic import (
    FEW_LINKS,
    LEAST_HOP_S,
    LEAVES_EACH,
    MANY_LINKS,
    MAX_LIFE_S,
    MOST,
    PROBES_FAR,
    PROBES_NEAR,
    DynamicQuery,
    Neighbour,
    new_within,
    ttl_for,
    ultrapeers_within,
)
from gnutella.units import LinkId


@pytest.mark.parametrize(
    ("degree", "plain", "new"),
    [
        (4, [1, 4, 13, 40], [1, 3, 8, 20]),
        (10, [1, 10, 91, 820], [1, 8, 58, 419]),
        (16, [1, 16, 241, 3616], [1, 12, 154, 1851]),
        (32, [1, 32, 993, 30784], [1, 25, 635, 15761]),
        (46, [1, 46, 2071, 93196], [1, 36, 1325, 47716]),
        (50, [1, 50, 2451, 120100], [1, 40, 1568, 61491]),
    ],
)
def test_estimates_are_those_of_the_real_servents(degree: int, plain: list[int], new: list[int]) -> None:
    # Protocol digest 13.9: H(d, t), and gtk-gnutella's of it.
    assert [ultrapeers_within(degree, ttl) for ttl in range(1, 5)] == plain
    assert [int(new_within(degree, ttl)) for ttl in range(1, 5)] == new


def test_the_ttl_is_the_smallest_that_reaches_enough_hosts() -> None:
    # The example of digest 13.9 for LimeWire: 400 hosts for each connection, 16 * H(32, 2) = 512.
    assert ttl_for(32, 400, 16, 4) == 2
    assert [ttl_for(32, hosts, 16, 4) for hosts in (16, 17, 512, 513, 15888, 15889, 1e9)] == [1, 2, 2, 3, 3, 4, 4]
    assert ttl_for(32, 1e9, 16, 1) == 1


def neighbours(
    count: int, *, having: int | None = 0, first: int = 0, degree: int = 32, ttl: int = 4
) -> list[Neighbour]:
    """So many, the first `having` of which have tables that match; None: nobody has a table."""
    return [
        Neighbour(LinkId(number), degree, ttl, None if having is None else number - first < having)
        for number in range(first, first + count)
    ]


def made(wanted: int = 150, hosts_each: float = LEAVES_EACH, expected: int = 0) -> DynamicQuery:
    return DynamicQuery(wanted, hosts_each, expected, 0.0)


@pytest.mark.parametrize("count", [1, FEW_LINKS])
@pytest.mark.parametrize("having", [None, 0, 1])
def test_a_few_neighbours_are_all_asked_at_once(count: int, having: int | None) -> None:
    assert dict(made().step(0.0, 0, neighbours(count, having=having))) == {LinkId(n): 4 for n in range(count)}


def test_neighbours_that_know_nothing_of_it_are_all_asked_at_once() -> None:
    plain = [Neighbour(LinkId(number), 8, 4, None, extends=False, is_dynamic=False) for number in range(20)]
    query = made()
    assert len(query.step(0.0, 0, plain)) == 20


def test_the_probe_of_a_rare_query_goes_far_and_the_next_step_to_all_of_a_small_network() -> None:
    query, around = made(), neighbours(10)
    first = query.step(0.0, 0, around)
    assert [ttl for _, ttl in first] == [4] * PROBES_FAR
    assert query.next_at == pytest.approx(3.0)
    rest = query.step(query.next_at, 3, around)
    assert dict(first + rest) == {LinkId(number): 4 for number in range(10)}
    assert query.step(query.next_at, 3, around) == []
    assert query.is_over


def test_the_probe_of_a_popular_query_is_as_near_and_as_narrow_as_will_do() -> None:
    # 36 of our 57 leaves have it: 14 more results are due, and the next ultrapeer will do.
    query = made(wanted=50, hosts_each=58, expected=36)
    assert query.step(0.0, 0, neighbours(8, having=8)) == [(LinkId(0), 1)]
    assert query.step(1.0, 72, neighbours(8, having=8)) == []
    assert query.is_over


def test_a_query_that_our_leaves_can_satisfy_goes_nowhere_unless_they_do_not() -> None:
    query = made(wanted=50, hosts_each=58, expected=55)
    assert query.step(0.0, 0, neighbours(8, having=8)) == []
    assert not query.is_over
    assert len(query.step(query.next_at, 30, neighbours(8, having=8))) == 1


def test_the_tables_of_neighbours_tell_what_is_popular() -> None:
    around = neighbours(40, having=40)
    near = made(wanted=50, hosts_each=58).step(0.0, 0, around)
    assert 1 < len(near) <= PROBES_NEAR
    assert {ttl for _, ttl in near} == {1}
    far = made(wanted=50, hosts_each=58).step(0.0, 0, neighbours(40, having=2))
    assert far[0][0] == LinkId(0)
    assert min(ttl for _, ttl in far) > 1


def test_those_that_have_it_are_asked_first_and_nobody_at_ttl_1_whose_table_lacks_it() -> None:
    around = [*neighbours(5, having=None, first=10), *neighbours(6, having=3, first=0)]
    asked = [link for link, _ in made().step(0.0, 0, around)]
    assert asked == [LinkId(0), LinkId(1), LinkId(2)]
    lacking = neighbours(5, having=0, ttl=1)
    query = made()
    assert query.step(0.0, 0, lacking) == []
    assert query.step(5.0, 0, lacking) == []
    assert query.is_over


def test_what_was_probed_gets_it_once_more_when_everybody_was_asked() -> None:
    query = made(wanted=50, hosts_each=58, expected=10)
    around = neighbours(8, having=6)
    probed = dict(query.step(0.0, 0, around))
    assert set(probed.values()) == {1}
    everybody = dict(probed)
    while not query.is_over:
        for link, ttl in query.step(query.next_at, 12, around):
            assert ttl > everybody.get(link, 0)
            everybody[link] = ttl
    assert everybody == {LinkId(number): 4 for number in range(8)}


def test_where_most_came_already_half_of_the_probed_are_extended_one_by_one_before_the_others_go_far() -> None:
    query, around = made(wanted=50, hosts_each=58, expected=10), neighbours(8, having=8)
    query.step(0.0, 0, around)
    while len(query.asked) < 8:
        query.step(query.next_at, query.wanted - 1, around)
    assert set(query.asked.values()) == {1}
    extended = []
    while not query.is_over:
        extended.append(query.step(query.next_at, MOST * query.wanted, around))
    assert [[ttl for _, ttl in step] for step in extended] == [[2], [2], [2], [2], [4, 4, 4, 4], []]
    assert sorted(link for step in extended for link, _ in step) == list(range(8))


def test_neighbours_that_have_half_of_what_is_needed_are_all_probed_before_anybody_passes_it_on() -> None:
    # 142 results are missing at 8 among 58 hosts, so 1030 hosts are needed; 9 neighbours have 522, 8 have 464.
    for count, ttls in ((9, {1}), (8, {4})):
        query = made(hosts_each=58, expected=8)
        first = query.step(0.0, 0, neighbours(count, having=count))
        assert {ttl for _, ttl in first} == ttls
        assert len(first) == (count if ttls == {1} else PROBES_FAR)


def test_what_those_gave_that_were_asked_is_the_measure_not_what_counts_of_it() -> None:
    around = neighbours(8, having=8)
    asked = []
    for came in (None, 75):  # a leaf keeps, as it says, far fewer: the others of its ultrapeers were slower
        query = made(wanted=50, hosts_each=58, expected=24)
        probed = query.step(0.0, 0, around)
        assert [ttl for _, ttl in probed] == [1, 1]
        asked.append([ttl for _, ttl in query.step(1.0, 5, around, came)])
    assert asked == [[4] * 6, [1, 1]]


def test_in_a_large_network_it_widens_by_estimate() -> None:
    query, around = made(wanted=150, hosts_each=16), neighbours(40, having=None)
    first = query.step(0.0, 0, around)
    assert [ttl for _, ttl in first] == [4] * PROBES_FAR
    # One result for each thousand hosts or so: the rest comes from one neighbour at a time.
    second = query.step(4.0, 100, around)
    assert 1 <= len(second) <= 3
    assert all(ttl > 1 for _, ttl in second)
    # Nothing at all: twice as many as before.
    rare = made(wanted=150, hosts_each=16)
    rare.step(0.0, 0, around)
    assert len(rare.step(4.0, 0, around)) == PROBES_FAR
    assert len(rare.step(8.0, 0, around)) == 2 * PROBES_FAR


def test_it_ends_when_enough_came_when_its_time_is_over_and_at_the_horizon() -> None:
    around = neighbours(40)
    for now, results in ((1.0, 150), (MAX_LIFE_S, 0)):
        query = made()
        query.step(0.0, 0, around)
        assert query.step(now, results, around) == []
        assert query.is_over
    query, now = made(), 0.0
    while not query.is_over:
        query.step(now, 0, neighbours(60, degree=50))
        now = query.next_at
    assert 8 <= len(query.asked) < 20


def test_steps_come_faster_and_faster_to_a_limit() -> None:
    query, times = made(), [0.0]
    around = neighbours(40, ttl=2)
    for _ in range(30):
        if not query.is_over:
            query.step(times[-1], 0, around)
            times.append(query.next_at)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] >= LEAST_HOP_S


@st.composite
def _network(draw: st.DrawFn) -> list[Neighbour]:
    return [
        Neighbour(LinkId(n), draw(st.integers(1, 1000)), draw(st.integers(1, 7)), draw(st.sampled_from((True, False, None))),
                  draw(st.booleans()), draw(st.booleans()))
        for n in range(draw(st.integers(0, 2 * MANY_LINKS)))
    ]  # fmt: skip


@given(
    _network(), st.integers(1, 500), st.floats(1, 2000), st.integers(0, 300), st.lists(st.integers(0, 20), min_size=1)
)
def test_whatever_comes_back_it_ends_and_asks_nobody_twice_with_the_same_ttl(
    around: list[Neighbour], wanted: int, hosts_each: float, expected: int, gains: list[int]
) -> None:
    query, now, results, limits = (
        DynamicQuery(wanted, hosts_each, expected, 0.0),
        0.0,
        0,
        {n.link: n.max_ttl for n in around},
    )
    asked: dict[LinkId, int] = {}
    for step in range(2 * len(around) + 4):
        for link, ttl in query.step(now, results, around):
            assert asked.get(link, 0) < ttl <= limits[link]
            asked[link] = ttl
        assert query.next_at > now or query.is_over
        now = max(now, query.next_at)
        results += gains[step % len(gains)]
        if query.is_over:
            break
    assert query.is_over
