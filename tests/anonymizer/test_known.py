"""Which nodes are kept, and which may be picked."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anonymizer import known
from anonymizer.cells import LARGE_BODY
from anonymizer.descr import GATEWAY, HOUR_S, PIVOT
from anonymizer.known import MIN_AGE_S, WEEK_S, KnownNodes, in_class
from anonymizer.reasons import Refusal
from anonymizer.wire import Descriptors
from gnutella.testing.relay_nodes import NOW, descriptor_of

OWN = bytes(32)
SOURCES = [bytes((n,)) * 32 for n in range(1, 30)]
#: Signing and verifying are dear; tests share these.
MADE = [descriptor_of(n) for n in range(64)]
LATER = NOW + MIN_AGE_S


def known_to(*numbers: int, sources: int = 3, at: float = NOW, **options: Any) -> KnownNodes:
    nodes = KnownNodes(OWN, **options)
    for number in numbers:
        for source in SOURCES[:sources]:
            nodes.hear(MADE[number].data, source, at)
    return nodes


def test_news_are_told_on_once() -> None:
    nodes = KnownNodes(OWN)
    assert nodes.hear(MADE[1].data, SOURCES[0], NOW) == MADE[1]
    assert nodes.hear(MADE[1].data, SOURCES[1], NOW) is None
    assert nodes.get(MADE[1].node_id) == MADE[1]
    assert MADE[2].node_id not in nodes
    assert nodes.refusals.rows() == {}


def test_a_newer_edition_replaces_an_older_and_never_the_other_way_round() -> None:
    nodes = known_to(1)
    newer = descriptor_of(1, sequence=2)
    assert nodes.hear(newer.data, SOURCES[0], NOW) == newer
    assert nodes.hear(MADE[1].data, SOURCES[0], NOW) is None
    assert nodes.refusals[Refusal.DESCRIPTOR_OLD] == 1
    assert list(nodes) == [newer]


def test_of_two_with_one_number_all_nodes_keep_the_same() -> None:
    pair = MADE[1], descriptor_of(1, bandwidth=3)
    kept = []
    for first, second in (pair, pair[::-1]):
        nodes = KnownNodes(OWN)
        nodes.hear(first.data, SOURCES[0], NOW)
        nodes.hear(second.data, SOURCES[0], NOW)
        assert nodes.refusals[Refusal.DESCRIPTOR_FORK] == 1
        kept += list(nodes)
    assert kept[0] == kept[1]


def test_what_is_refused_is_counted_and_not_kept() -> None:
    nodes = KnownNodes(MADE[9].node_id)
    assert nodes.hear(MADE[9].data, SOURCES[0], NOW) is None  # about ourselves
    nodes.hear(descriptor_of(1, host="10.0.0.1").data, SOURCES[0], NOW)
    nodes.hear(MADE[2].data, SOURCES[0], NOW + WEEK_S)
    nodes.hear(MADE[2].data, SOURCES[0], NOW - WEEK_S)
    nodes.hear(MADE[2].data[:-1] + bytes((MADE[2].data[-1] ^ 1,)), SOURCES[0], NOW)
    nodes.hear(b"garbage", SOURCES[0], NOW)
    assert len(nodes) == 0
    assert set(nodes.refusals.rows()) == {
        "descriptor_broken",
        "descriptor_forged",
        "descriptor_expired",
        "descriptor_future",
        "descriptor_address",
    }
    assert len(known_to(allow_private=True)) == 0
    lan = KnownNodes(OWN, allow_private=True)
    assert lan.hear(descriptor_of(1, host="10.0.0.1").data, SOURCES[0], NOW) is not None


def test_nobody_is_picked_before_he_is_a_day_old_and_known_from_three_others() -> None:
    nodes = known_to(1)
    assert nodes.eligible(LATER - 1) == []
    assert nodes.eligible(LATER) == [MADE[1]]
    few = known_to(1, sources=2)
    for _ in range(3):
        few.hear(MADE[1].data, MADE[1].node_id, NOW)  # he himself
        few.hear(MADE[1].data, SOURCES[1], NOW)
    assert few.eligible(LATER) == []
    few.hear(MADE[1].data, SOURCES[2], LATER)
    assert few.eligible(LATER) == [MADE[1]]


def test_a_new_edition_is_as_old_as_its_node() -> None:
    nodes = known_to(1)
    newer = descriptor_of(1, sequence=2)
    nodes.hear(newer.data, SOURCES[0], LATER - 1)
    assert nodes.eligible(LATER) == [newer]


def test_of_each_network_only_the_longest_known_is_picked() -> None:
    nodes = known_to(1)
    neighbours = [descriptor_of(n, host=f"20.1.{n}.9") for n in range(40, 45)]
    for neighbour in neighbours:
        for source in SOURCES[:3]:
            nodes.hear(neighbour.data, source, NOW + 1)
    six = [descriptor_of(n, host=f"2a00:1:{n}::9") for n in range(50, 53)]
    for descriptor in six:
        for source in SOURCES[:3]:
            nodes.hear(descriptor.data, source, NOW + 1)
    found = nodes.eligible(LATER + 1)
    assert MADE[1] in found
    assert len(found) == 2
    nodes_of_a_lan = KnownNodes(OWN, by_network=False)
    for neighbour in neighbours:
        for source in SOURCES[:3]:
            nodes_of_a_lan.hear(neighbour.data, source, NOW)
    assert len(nodes_of_a_lan.eligible(LATER)) == len(neighbours)


def test_who_has_no_address_is_known_but_never_picked() -> None:
    nodes = KnownNodes(OWN)
    hidden = descriptor_of(1, host="", port=0)
    for source in SOURCES[:3]:
        nodes.hear(hidden.data, source, NOW)
    assert list(nodes) == [hidden]
    assert nodes.eligible(LATER) == []


def test_picks_are_uniform_and_keep_to_what_is_asked() -> None:
    nodes = known_to(*range(20))
    rng = random.Random(5)
    counts: dict[bytes, int] = {}
    for _ in range(2_000):
        picked = nodes.pick(rng, LATER, PIVOT, without={MADE[0].node_id}, without_networks={"20.1.0.0/16"})
        assert picked is not None
        counts[picked.node_id] = counts.get(picked.node_id, 0) + 1
    assert len(counts) == 18
    assert MADE[0].node_id not in counts
    assert MADE[1].node_id not in counts
    assert max(counts.values()) < 2 * min(counts.values())
    assert nodes.pick(rng, LATER, GATEWAY) is None
    assert nodes.pick(rng, LATER + WEEK_S) is None


def test_a_full_set_keeps_the_same_part_as_everybody_else() -> None:
    orders = (list(range(64)), list(range(63, -1, -1)))
    sets = []
    for order in orders:
        nodes = known_to(*order, sources=1, limit=16)
        assert len(nodes) <= 16
        assert nodes.bits >= 2
        assert nodes.refusals[Refusal.DESCRIPTORS_FULL] > 0
        sets.append((nodes.bits, {descriptor.node_id for descriptor in nodes}))
    assert sets[0] == sets[1]
    assert all(in_class(node_id, sets[0][0], NOW) for node_id in sets[0][1])


def test_a_set_that_shrank_asks_for_more() -> None:
    nodes = known_to(*range(64), sources=1, limit=16)
    bits = nodes.bits
    assert nodes.tidy(NOW + 168 * HOUR_S)
    assert len(nodes) == 0
    assert nodes.bits == bits - 1
    while nodes.bits:
        assert nodes.tidy(NOW + 168 * HOUR_S)
    assert not nodes.tidy(NOW + 168 * HOUR_S)


def test_a_new_week_keeps_another_part_of_nodes_long_known() -> None:
    late = [descriptor_of(n, issued_h=NOW // HOUR_S, expires_h=NOW // HOUR_S + 160) for n in range(64)]
    nodes = KnownNodes(OWN, limit=16)
    for descriptor in late:
        nodes.hear(descriptor.data, SOURCES[0], NOW)
    before = {descriptor.node_id for descriptor in nodes}
    turn = (NOW // WEEK_S + 1) * WEEK_S
    if turn >= late[0].expires_h * HOUR_S:
        pytest.fail("the week turns after all have expired")
    nodes.tidy(turn)
    for descriptor in late:
        for source in SOURCES[:3]:
            nodes.hear(descriptor.data, source, turn)
    after = {descriptor.node_id for descriptor in nodes}
    assert after - before
    # Those that were not kept before are no strangers for that.
    assert {descriptor.node_id for descriptor in nodes.eligible(turn)} == after


def test_sightings_are_bounded_in_all_and_for_each_source() -> None:
    nodes = KnownNodes(OWN, limit=64, max_sightings=16)
    for descriptor in MADE[:5]:
        nodes.hear(descriptor.data, SOURCES[0], NOW)
    assert len(nodes) == 2 == 16 // known.INTRODUCERS
    assert nodes.refusals[Refusal.DESCRIPTORS_MANY] == 3
    nodes.hear(MADE[5].data, SOURCES[0], NOW + MIN_AGE_S)  # another day
    assert len(nodes) == 3
    for number, descriptor in enumerate(MADE[10:40]):
        nodes.hear(descriptor.data, SOURCES[number % 29], NOW + MIN_AGE_S)
    assert len(nodes) == 16
    assert nodes.refusals[Refusal.DESCRIPTORS_FULL] > 0


def test_sources_are_bounded() -> None:
    nodes = known_to(1, sources=len(SOURCES))
    ((_, _, sources),) = nodes.rows()
    assert len(sources) == known.MAX_SOURCES


def test_pages_fit_into_cells_and_hold_all() -> None:
    nodes = known_to(*range(64), sources=1)
    long = [descriptor_of(n, pivot_keys=(b"\2" + bytes(1_216),)) for n in range(100, 130)]
    for descriptor in long:
        nodes.hear(descriptor.data, SOURCES[0], NOW)
    pages = list(nodes.pages(0, NOW))
    assert len(pages) > 1
    assert all(len(Descriptors(page).encode(LARGE_BODY)) <= LARGE_BODY for page in pages)
    assert sorted(data for page in pages for data in page) == sorted(d.data for d in nodes)
    half = [data for page in nodes.pages(1, NOW) for data in page]
    assert 0 < len(half) < len(nodes)
    assert list(nodes.pages(0, NOW + WEEK_S)) == []


def test_what_was_kept_is_there_after_a_restart_with_its_age() -> None:
    nodes = known_to(*range(9))
    again = KnownNodes(OWN)
    again.restore([*nodes.rows(), (b"damaged", NOW, [])], LATER)
    assert again.eligible(LATER) == nodes.eligible(LATER)
    assert len(again.eligible(LATER)) == 9
    ahead = KnownNodes(OWN)
    ahead.restore([(MADE[1].data, NOW + WEEK_S, [])], NOW)
    assert [first for _, first, _ in ahead.rows()] == [NOW]


class Gossip(RuleBasedStateMachine):
    """Whatever is heard from whomever and whenever, the bounds and the rules for picking hold."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = KnownNodes(OWN, limit=8, max_sightings=40)
        self.now = float(NOW)

    @rule(number=st.integers(0, 63), source=st.sampled_from(SOURCES))
    def hear(self, number: int, source: bytes) -> None:
        news = self.nodes.hear(MADE[number].data, source, self.now)
        assert news is None or news.node_id in self.nodes

    @rule(data=st.binary(max_size=50))
    def hear_garbage(self, data: bytes) -> None:
        assert self.nodes.hear(data, SOURCES[0], self.now) is None

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR_S
        self.nodes.tidy(self.now)

    @rule()
    def restart(self) -> None:
        rows, kept = self.nodes.rows(), set(self.nodes)
        self.nodes = KnownNodes(OWN, limit=8, max_sightings=40)
        self.nodes.restore(rows, self.now)
        assert set(self.nodes) <= kept

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.nodes) <= 8
        found = self.nodes.eligible(self.now)
        assert len({self.nodes.network_of(descriptor) for descriptor in found}) == len(found)
        for descriptor in found:
            assert descriptor.expires_h * HOUR_S > self.now


TestGossip = Gossip.TestCase
TestGossip.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
