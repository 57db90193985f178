"""Edges: what was drawn for one stays while its node does, with or without a link; and none but guards carry what is ours."""

from __future__ import annotations

from collections import Counter

from anonymizer.edges import ABSENCE_S, MAX_ACCEPTED, MAX_INITIATED
from anonymizer.guards import MAX_KEPT_S
from anonymizer.reasons import Refusal
from anonymizer.seen import OPENS_A_SECOND, OPENS_AT_ONCE
from anonymizer.wire import BRIDGE_BUDGET, Ciphertext, Close, CloseReason, Open, Phase, Post, cell_of
from gnutella.testing.lone_stem import OWN, PIVOT, SMALL, A, B, C, D, LoneStem, forwarding, seal

E = bytes((6,)) * 32


def cut(made: LoneStem, node: bytes, now: float, seconds: float) -> None:
    """The node has no link for so long."""
    made.link_down(node, now)
    for step in range(0, int(seconds) + 1, 100):
        made.tick(now + step)
    made.tick(now + seconds)
    made.link_up(node, is_client=True)


def test_an_edge_is_the_same_after_a_quarter_of_an_hour_without_a_link() -> None:
    for seed in range(40):
        made = LoneStem(seed)
        before = [(made.next_edge(node), made.ends_stem(node)) for node in (A, B, C, D)]
        for node in (A, B, C, D):
            cut(made, node, 1e4, ABSENCE_S)
            assert made.is_edge(node)
        assert [(made.next_edge(node), made.ends_stem(node)) for node in (A, B, C, D)] == before


def test_after_more_than_that_it_is_none_and_nothing_of_it_is_left() -> None:
    coins, nexts = set(), set()
    for seed in range(40):
        made = LoneStem(seed)
        before = made.ends_stem(C), made.next_edge(C)
        cut(made, C, 1e4, ABSENCE_S + 1)
        assert not made.is_edge(C)
        assert made.make_edge(C, False)
        coins.add((before[0], made.ends_stem(C)))
        nexts.add((before[1], made.next_edge(C)))
    assert len(coins) == 4
    assert any(one != other for one, other in nexts)


def test_the_place_of_an_edge_without_a_link_is_kept() -> None:
    made = LoneStem()
    made.link_up(E, is_client=False)
    made.link_down(C, 0.0)
    made.tick(ABSENCE_S)
    assert not made.has_room(False)
    assert not made.make_edge(E, False)
    made.tick(ABSENCE_S + 1)
    assert made.make_edge(E, False)
    assert not made.make_edge(C, False)  # no link


def test_whoever_cuts_links_sees_one_more_draw_and_not_one_for_each_cut() -> None:
    for seed in range(60):
        made = LoneStem(seed)
        first = made.next_edge(C)
        assert first is not None
        stand_ins = set()
        for number in range(30):
            made.link_down(first, 1e4 * number)
            stand_ins.add(made.next_edge(C))
            made.link_up(first, is_client=False)
            assert made.next_edge(C) == first
        assert len(stand_ins) == 1
        (stand_in,) = stand_ins
        assert stand_in not in (None, C, first)
        assert stand_in is not None
        made.link_down(first, 1e6)
        made.link_down(stand_in, 1e6)
        assert made.next_edge(C) is None
        made.link_up(stand_in, is_client=False)
        made.tick(1e6 + ABSENCE_S + 1)
        # The first is gone for good: the one that stood in takes its place.
        assert made.next_edge(C) == stand_in


def test_while_all_edges_are_away_that_it_could_go_on_by_the_stem_ends_here() -> None:
    made = forwarding()
    made.link_up(E, is_client=False)
    made.link_up(PIVOT, is_client=False)
    for node in (A, B, D):
        made.link_down(node, 1.0)
    made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(1)), 3), 2.0)
    made.receive(C, cell_of(Post(Phase.STEM, PIVOT, 0, seal(2))), 2.0)
    sent = made.sent()
    assert len(sent) == 2 and {node for node, _ in sent} == {PIVOT}
    assert {type(body): body for _, body in sent} == {
        Open: Open(Phase.BRIDGE, PIVOT, BRIDGE_BUDGET, seal(1)),
        Post: Post(Phase.BRIDGE, PIVOT, BRIDGE_BUDGET, seal(2)),
    }
    # When one is there again it goes on as before.
    made.link_up(A, is_client=False)
    made.link_up(B, is_client=False)
    made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(3)), 5), 2e6)
    ((node, body),) = made.sent(3e6)
    assert node in (A, B) and body == Open(Phase.STEM, PIVOT, 0, seal(3))


def test_while_nobody_at_all_is_left_circuits_are_told_so() -> None:
    made = forwarding()
    for node in (A, B, D):
        made.link_down(node, 1.0)
    made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(1)), 3), 2.0)
    assert made.sent() == [(C, Close(CloseReason.NOROUTE))]


def test_a_dropped_edge_ends_its_circuits_and_is_drawn_for_no_more() -> None:
    made = forwarding()
    _, node, _ = made.circuit()
    made.drop_edge(node, 200.0)
    assert made.circuits == 0
    assert sorted(to for to, body in made.sent() if body == Close(CloseReason.NOROUTE)) == sorted((C, node))
    assert made.next_edge(C) != node
    assert not made.is_edge(node)
    made.drop_edge(node, 300.0)


def test_edges_that_others_ask_for_never_carry_own_circuits() -> None:
    """Whoever dials in to us, and starves what we dialled, sees nothing of ours (A8)."""
    for seed in range(15):
        made = LoneStem(seed)
        first_hops: Counter[bytes] = Counter()
        for number in range(200):
            now = 10.0 * number
            if number % 7 == 3:
                made.link_down(A, now)
            if number % 7 == 5:
                made.link_up(A, is_client=True)
            if made.open(PIVOT, seal(number), now) is not None:
                first_hops.update(to for to, body in made.sent(now + 9) if isinstance(body, Open))
            made.tick(now)
        assert set(first_hops) == {A}


def test_a_third_edge_of_our_choice_is_for_a_guard_only() -> None:
    made = LoneStem()
    made.link_up(E, is_client=True)
    assert not made.has_room(True)
    assert not made.make_edge(E, True)
    made.guards.fill([A, B, E], 0.0)
    assert made.has_room(True)
    assert made.make_edge(E, True)
    assert not made.has_room(True)
    assert sum(made.is_edge(node) for node in (A, B, E)) == MAX_INITIATED
    assert sum(made.is_edge(node) for node in (C, D)) == MAX_ACCEPTED


def test_an_edge_whose_time_as_a_guard_is_over_makes_way_for_the_next() -> None:
    made = LoneStem()
    others = [bytes((n,)) * 32 for n in (11, 12, 13)]
    for node in others:
        made.link_up(node, is_client=True)
    made.guards.fill(others, MAX_KEPT_S)
    assert set(made.guards.ids) == set(others)
    for node in made.guards.ids:
        assert made.has_room(True)
        assert made.make_edge(node, True)
    assert not made.has_room(True)
    assert [made.is_edge(node) for node in (A, B, C, D)] == [False, False, True, True]
    assert made.guard(MAX_KEPT_S) == made.guards.ids[0]


def test_an_edge_that_a_guard_asked_for_becomes_one_of_our_choice() -> None:
    made = LoneStem()
    made.guards.fill([A, B, C], 0.0)
    assert made.make_edge(C, True)
    assert made.make_edge(C, True)
    assert not made.make_edge(C, False)
    made.link_down(A, 0.0)
    made.link_down(B, 0.0)
    assert made.guard(1e5) == C


def test_a_stem_by_a_link_that_is_no_edge_is_refused_and_counted() -> None:
    made = LoneStem()
    made.link_up(E, is_client=False)
    made.receive(E, cell_of(Open(Phase.STEM, PIVOT, 0, seal(1)), 3), 0.0)
    assert made.sent() == [(E, Close(CloseReason.REFUSED))]
    assert made.refusals.rows() == {Refusal.NO_EDGE.value: 1}


def test_circuits_in_a_circle_of_edges_end_their_stem_when_the_edge_has_had_enough() -> None:
    made = forwarding()
    made.link_up(E, is_client=False)
    for number in range(OPENS_AT_ONCE + 3):
        made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(7)), 2 * number + 3), 0.0)
    phases = [body.phase for _, body in made.sent() if isinstance(body, Open)]
    assert phases.count(Phase.STEM) == OPENS_AT_ONCE
    assert made.refusals[Refusal.STEM_ENDED] == 3
    # Others wait for the edge to have rested; a seal that came before is as good as a new one.
    later = (OPENS_AT_ONCE / OPENS_A_SECOND) + 1e4
    for number in (7, 8):
        made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(number)), 2 * number + 1_003), later)
    phases = [body.phase for _, body in made.sent() if isinstance(body, Open)]
    assert phases == [Phase.STEM, Phase.STEM]


def test_the_class_of_a_circuit_goes_along_with_it_and_own_ones_are_never_slow() -> None:
    waits: dict[bool, list[float]] = {True: [], False: []}
    for is_slow in (True, False):
        made = forwarding()
        cell, node, _ = made.circuit(is_slow=is_slow)
        for number in range(300):
            now = 1_000.0 * (number + 1)
            made.receive(C, cell_of(Ciphertext(SMALL), cell.channel), now)
            when = made.next_at
            assert when is not None
            waits[is_slow].append(when - now)
            made.sent(now + 500)
            made.receive(C, cell_of(Ciphertext(SMALL), 99), now)
        opened = forwarding()
        opened.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(1)), 3, is_slow=is_slow), 0.0)
        assert [one.is_slow for to, one in opened.due(1e3) if to == node] == [is_slow]
    assert 0.15 < sum(waits[True][:250]) / 250 < 0.25
    assert 0.018 < sum(waits[False][:250]) / 250 < 0.032
    made = LoneStem()
    made.open(PIVOT, seal(1), 0.0)
    assert [one.is_slow for _, one in made.due(1e3)] == [False]
    assert made.open(OWN[:31] + b"x", seal(2), 0.0) is not None
