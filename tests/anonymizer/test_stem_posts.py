"""Posts over stems and bridges, and cells of no circuit: delayed, bounded, delivered once, and never mixed up with circuits."""

from __future__ import annotations

import pytest

from anonymizer import stem as stem_module
from anonymizer.reasons import Refusal, Violation
from anonymizer.seen import POSTS_AT_ONCE, SEEN_S, Delivered
from anonymizer.wire import (
    BRIDGE_BUDGET,
    LARGE_SEALED_SIZE,
    Bye,
    ByeReason,
    Ciphertext,
    Close,
    CloseReason,
    Credit,
    DescriptorsWanted,
    Open,
    Phase,
    Post,
    Seek,
    cell_of,
)
from gnutella.errors import LocalMisuse
from gnutella.testing.lone_stem import LARGE, OWN, PIVOT, SMALL, A, B, C, D, LoneStem, forwarding, seal
from gnutella.testing.relay_net import RelayNet

E = bytes((6,)) * 32
SEEK = Seek(bytes(16), PIVOT, bytes(32), 3, "words", 0)


def post(number: int = 1, phase: Phase = Phase.STEM, budget: int = 0, pivot: bytes = PIVOT) -> Post:
    return Post(phase, pivot, budget, seal(number))


def test_posts_get_to_their_pivots_over_stems_and_bridges_once() -> None:
    net = RelayNet(30, seed=5)
    done = 0
    for number in range(40):
        origin, pivot = net.rng.sample(net.nodes, 2)
        pivot.posts.clear()
        if not origin.stem.post(pivot.id, seal(number), net.clock.now):
            assert origin.stem.guard(net.clock.now) is None
            continue
        net.wake(origin)
        net.clock.run(net.clock.now + 30)
        assert pivot.posts in ([], [seal(number)])
        done += len(pivot.posts)
        for node in net.nodes:
            assert node is pivot or seal(number) not in node.posts
            node.seen.clear()
    assert done >= 30


def test_a_post_goes_on_as_circuits_do() -> None:
    made = forwarding()
    made.receive(C, cell_of(post()), 0.0)
    goes = made.next_edge(C)
    assert made.next_at is not None
    assert made.next_at > 0
    assert made.sent() == [(goes, post())]
    made = forwarding(is_bridge=True)
    made.receive(C, cell_of(post()), 0.0)
    made.receive(D, cell_of(post(2, Phase.BRIDGE, BRIDGE_BUDGET)), 0.0)
    expected = [(PIVOT, post(1, Phase.BRIDGE, BRIDGE_BUDGET)), (PIVOT, post(2, Phase.BRIDGE, BRIDGE_BUDGET))]
    assert sorted(made.sent(), key=repr) == sorted(expected, key=repr)


def test_own_and_foreign_posts_look_alike_and_large_ones_stay_large() -> None:
    for sealed in (seal(1), bytes(LARGE_SEALED_SIZE)):
        made = forwarding()
        assert made.post(PIVOT, sealed, 0.0)
        ((to, own),) = made.due(1e3)
        assert to == A
        made.receive(C, cell_of(Post(Phase.STEM, PIVOT, 0, sealed)), 1e3)
        ((_, other),) = made.due(2e3)
        assert own.encode() == other.encode()


def test_own_posts_need_a_guard_which_may_be_their_pivot_and_are_never_to_ourselves() -> None:
    made = LoneStem()
    with pytest.raises(Violation) as caught:
        made.post(OWN, seal(1), 0.0)
    assert caught.value.reason is Refusal.OWN_PIVOT
    assert made.post(A, seal(1), 0.0)
    assert [to for to, _ in made.sent()] == [A]
    made.link_down(A, 0.0)
    assert not made.post(PIVOT, seal(1), 0.0)
    assert made.next_at is None


def test_a_post_to_this_pivot_is_told_once() -> None:
    made = LoneStem()
    for node in (A, C, C):
        made.receive(node, cell_of(post(1, Phase.BRIDGE, BRIDGE_BUDGET, OWN)), 0.0)
    assert made.posts == [seal(1)]
    assert made.refusals.rows() == {"post_repeated": 2}
    made.receive(C, cell_of(post(2, Phase.STEM, 0, OWN)), 0.0)
    assert made.posts == [seal(1), seal(2)]


def test_a_post_in_a_circle_ends_its_stem_when_the_edge_has_had_enough() -> None:
    made = forwarding()
    for _ in range(POSTS_AT_ONCE + 4):
        made.receive(C, cell_of(post()), 0.0)
    assert [body.phase for _, body in made.sent() if isinstance(body, Post)].count(Phase.STEM) == POSTS_AT_ONCE
    assert made.refusals[Refusal.STEM_ENDED] == 4


def test_posts_that_cannot_go_on_are_counted() -> None:
    made = forwarding(is_bridge=True)
    made.link_up(E, is_client=False)
    made.receive(E, cell_of(post(1)), 0.0)  # no edge
    made.receive(PIVOT, cell_of(post(3, Phase.BRIDGE, BRIDGE_BUDGET)), 0.0)  # back to where it came from
    assert made.sent() == []
    assert made.refusals.rows() == {"post_stranded": 2}


def test_posts_of_a_link_that_wait_are_bounded_and_those_of_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stem_module, "MAX_POSTS", 5 * 1_536)
    made = forwarding()
    for number in range(8):
        made.receive(C, cell_of(post(number)), 0.0)
    made.receive(D, cell_of(post(9, Phase.BRIDGE, BRIDGE_BUDGET, A)), 0.0)
    assert made.refusals.rows() == {"posts_full": 3}
    assert len(made.sent()) == 6
    for number in range(10, 14):
        made.receive(C, cell_of(post(number)), 1e6)
    assert made.refusals.rows() == {"posts_full": 3}
    assert made.held == 4 * 1_536


def test_what_came_before_is_remembered_for_its_time_and_within_bounds() -> None:
    seen = Delivered(limit=10)
    assert [seen.add(b"a", 0.0) for _ in range(3)] == [False, True, True]
    assert seen.add(b"a", SEEN_S - 1)
    assert seen.add(b"a", 1.5 * SEEN_S)
    assert not seen.add(b"a", 4 * SEEN_S)
    for number in range(100):
        seen.add(b"%d" % number, 4 * SEEN_S)
        assert len(seen) <= 10
    assert seen.add(b"98", 4 * SEEN_S)


def test_cells_of_no_circuit_leave_at_once_and_in_their_turn() -> None:
    made = forwarding()
    cell, node, _ = made.circuit()
    for _ in range(40):
        made.receive(C, cell_of(Ciphertext(LARGE), cell.channel), 200.0)
    assert made.due(1e6, blocked={node, C}) == []
    assert made.send(node, SEEK, "seek")
    assert made.next_at is not None
    assert made.next_at <= 1e6
    bodies = [body for to, body in made.sent() if to == node]
    assert len(bodies) == 41
    assert bodies.index(SEEK) <= 2


@pytest.mark.parametrize("body", [Open(Phase.STEM, PIVOT, 0, seal(1)), post(), Ciphertext(SMALL), Credit(1)])
def test_what_is_of_circuits_cannot_be_sent_past_them(body: Open | Post | Ciphertext | Credit) -> None:
    with pytest.raises(LocalMisuse):
        LoneStem().send(A, body, "route")
    with pytest.raises(LocalMisuse):
        LoneStem().send(A, Close(CloseReason.DONE), "route")


def test_what_a_link_does_not_take_is_bounded_for_each_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stem_module, "MAX_OTHERS", 3 * 1_536)
    made = LoneStem()
    assert [made.send(A, SEEK, "seek") for _ in range(4)] == [True, True, True, False]
    assert made.send(A, Bye(ByeReason.FULL), "link")
    assert made.send(B, SEEK, "seek")
    assert not made.send(E, SEEK, "seek")
    assert made.refusals.rows() == {"link_full": 1}
    assert len(made.sent()) == 5
    assert made.send(A, DescriptorsWanted(1), "seek")
    made.link_down(A, 0.0)
    assert made.held == 0
    made.link_up(A, is_client=True)
    assert all(made.send(A, SEEK, "seek") for _ in range(3))


def test_a_pivots_circuit_to_another_is_no_stem() -> None:
    made = LoneStem()
    assert made.open_bridge(OWN, seal(1), 0.0) is None
    number = made.open_bridge(C, seal(1), 0.0)
    assert number is not None
    assert made.sent(1e3) == [(C, Open(Phase.BRIDGE, C, BRIDGE_BUDGET, seal(1)))]
    assert made.room(number) == 64
    made.say(number, SMALL, 1e3)
    assert made.sent() == [(C, Ciphertext(SMALL))]
    alone = LoneStem()
    for node in (A, B, C, D):
        alone.link_down(node, 0.0)
    assert alone.open_bridge(C, seal(1), 0.0) is None
