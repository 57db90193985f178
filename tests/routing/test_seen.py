"""Two-generation tables: what is remembered, for how long, and never more than the bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gnutella.errors import LocalMisuse
from gnutella.routing.reverse import MAX_SEARCHES, ReversePaths
from gnutella.routing.seen import Generations
from gnutella.testing.routers import guid_of

SIZE = 5


class AgainstAModel(RuleBasedStateMachine):
    """The last SIZE different keys are always there; values are the last ones put; the bound holds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.table: Generations[int, int] = Generations(SIZE, life_s=10.0)
        self.values: dict[int, int] = {}
        self.put_at: dict[int, float] = {}
        self.order: list[int] = []

    @rule(key=st.integers(0, 30), value=st.integers(0, 9))
    def put(self, key: int, value: int) -> None:
        self.table.put(key, value, self.now)
        self.values[key] = value
        self.put_at[key] = self.now
        if key in self.order:
            self.order.remove(key)
        self.order.append(key)

    @rule(seconds=st.floats(0.0, 9.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.table.tick(self.now)

    @rule(entries=st.integers(1, SIZE))
    def room(self, entries: int) -> None:
        self.table.room(entries, self.now)
        assert len(self.table.young) + entries <= SIZE
        # Making room may end a generation early, as putting does: only half of the promise is left for what is there.
        self.order.clear()

    @rule(key=st.integers(0, 30))
    def discard(self, key: int) -> None:
        self.table.discard(key)
        self.values.pop(key, None)
        # Its place was counted when generations turned; what it pushed out does not come back.
        self.order.clear()
        assert key not in self.table

    @invariant()
    def bounded(self) -> None:
        assert len(self.table) <= self.table.bound == 2 * SIZE

    @invariant()
    def values_are_the_last_put(self) -> None:
        for key in range(31):
            found = self.table.get(key)
            assert found is None or found == self.values[key]
            assert (key in self.table) == (found is not None)

    @invariant()
    def the_newest_are_remembered(self) -> None:
        for key in self.order[-SIZE:]:
            if self.now - self.put_at[key] < 10.0:
                assert self.table.get(key) == self.values[key]

    @invariant()
    def the_old_are_forgotten(self) -> None:
        for key, when in self.put_at.items():
            if self.now - when > 2 * (10.0 + 9.0):
                assert self.table.get(key) is None


TestAgainstAModel = AgainstAModel.TestCase


def test_an_entry_lives_one_to_two_generations() -> None:
    table: Generations[str, int] = Generations(10, life_s=60.0)
    table.put("a", 1, 0.0)
    table.tick(59.0)
    table.tick(60.0)
    assert table.get("a") == 1
    table.tick(119.0)
    assert table.get("a") == 1
    table.tick(120.0)
    assert table.get("a") is None


def test_a_full_generation_turns_early() -> None:
    table: Generations[int, int] = Generations(3, life_s=60.0)
    for key in range(7):
        table.put(key, key, 0.0)
    assert [table.get(key) for key in range(7)] == [None, None, None, 3, 4, 5, 6]


def test_a_generation_needs_room() -> None:
    with pytest.raises(LocalMisuse):
        Generations(0, life_s=1.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200)), max_size=30))
def test_the_quota_lets_through_until_it_is_reached(asked: list[tuple[int, int]]) -> None:
    paths = ReversePaths()
    had: dict[int, int] = {}
    for query, results in asked:
        granted = paths.take_quota(guid_of(query), results, 250, 0.0)
        assert granted == (had.get(query, 0) < 250)
        if granted:
            had[query] = had.get(query, 0) + results


def test_the_oldest_search_is_given_up_for_a_new_one() -> None:
    paths = ReversePaths()
    for number in range(MAX_SEARCHES + 3):
        paths.start_search(guid_of(number), float(number))
    assert len(paths.searches) == MAX_SEARCHES
    assert guid_of(2) not in paths.searches
    assert guid_of(3) in paths.searches
