"""Stems: from the origin to a pivot that echoes and back, with nobody on the way who sees both who and what."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import circuits as circuits_module
from anonymizer import stem as stem_module
from anonymizer.cells import Cell, Command
from anonymizer.circuits import AGE_S, IDLE_S, MORE_AGE_S
from anonymizer.descr import location_of
from anonymizer.fields import Body
from anonymizer.greedy import Link, nearer
from anonymizer.inner import Dummy, InnerSeek
from anonymizer.reasons import Refusal, Violation
from anonymizer.seen import OPENS_AT_ONCE
from anonymizer.stem import Stem
from anonymizer.wire import (
    BRIDGE_BUDGET,
    SEALED_SIZE,
    Ciphertext,
    Close,
    CloseReason,
    Credit,
    Open,
    Phase,
    cell_of,
    parse,
)
from gnutella.testing.relay_net import RelayNet, RelayNode

WORDS = "purple elephant"
ASKED = InnerSeek(WORDS, 0, 64, bytes(32), False)
SEALED = bytes(SEALED_SIZE)
SEAL_3 = bytes((0, 0, 0, 3)) * (SEALED_SIZE // 4)
A, B, C, D, E = (bytes((n,)) * 32 for n in range(1, 6))
PIVOT = bytes(32)


def opening(channel: int, phase: Phase = Phase.STEM, budget: int = 0) -> Cell:
    """With a seal that no other channel has."""
    return cell_of(Open(phase, PIVOT, budget, channel.to_bytes(4, "big") * (SEALED_SIZE // 4)), channel)


def relay(seed: int = 1, own_id: bytes = E, **told: list[object]) -> Stem:
    """A node with edges to A and B of its choice and from C and D; it is the TLS server on all."""

    def heard(number: int, data: bytes, now: float) -> None:
        told.setdefault("heard", []).append(data)

    def ended(number: int, reason: CloseReason, now: float) -> None:
        told.setdefault("ended", []).append(reason)

    def posted(sealed: bytes, now: float) -> None:
        told.setdefault("posted", []).append(sealed)

    def has_room(number: int, now: float) -> None:
        told.setdefault("has_room", []).append(number)

    made = Stem(
        own_id,
        random.Random(seed),
        heard=heard,
        ended=ended,
        arrived=lambda number, sealed, came, now: True,
        posted=posted,
        has_room=has_room,
    )
    for node in (A, B, C, D):
        made.link_up(node, is_client=False)
        assert made.make_edge(node, node in (A, B))
    made.guards.restore([(A, 1e9, True), (B, 1e9, True)], 0.0)
    for node in (A, B):
        made.guards.up(node)
    return made


def sent(made: Stem, now: float = 1e6) -> list[tuple[bytes, Cell]]:
    return made.due(now)


def test_a_request_gets_to_its_pivot_and_back_and_nobody_sees_both_who_and_what() -> None:
    net = RelayNet(30, seed=7)
    done = 0
    for _ in range(40):
        origin, pivot = net.rng.sample(net.nodes, 2)
        for node in net.nodes:
            node.seen.clear()
            node.read.clear()
        number = origin.request(pivot, ASKED)
        if number is None:
            assert origin.stem.guard(net.clock.now) == pivot.id  # a guard is no pivot
            continue
        net.clock.run(net.clock.now + 30)
        if number in origin.ends:
            continue
        origin.say(number, Dummy())
        net.clock.run(net.clock.now + 30)
        assert origin.answers[number] == [ASKED, Dummy()]
        done += 1
        judge(net, origin, pivot)
        origin.close(number)
        net.clock.run(net.clock.now + 30)
        assert all(node.stem.circuits == 0 for node in net.nodes)
    assert done >= 30


def judge(net: RelayNet, origin: RelayNode, pivot: RelayNode) -> None:
    """One circuit: who read it, who was next to the origin, and what can be matched from link to link."""
    assert [node for node in net.nodes if node.read] == [pivot]
    # Only the guard is handed the circuit by its origin as such; it is not the pivot, and can read nothing.
    guard = origin.stem.guard(net.clock.now)
    assert origin.seen[0][:2] == (origin.id, guard)
    assert guard != pivot.id
    if not any(cell.command is Command.OPEN for _, to, cell in origin.seen if to == origin.id):
        # The circuit did not come by once more, as any other might have.
        assert {to for came, to, _ in origin.seen if came == origin.id} == {guard}
        assert all(origin.id not in (came, to) for came, to, _ in pivot.seen)
    for node in net.nodes:
        for _, _, cell in node.seen:
            assert WORDS.encode() not in cell.body
            if isinstance(body := parse(cell), Open):
                assert (body.budget == 0) is (body.phase is Phase.STEM)
        # A channel is of one link only.
        links: dict[int, set[frozenset[bytes]]] = {}
        for came, to, cell in node.seen:
            links.setdefault(cell.channel, set()).add(frozenset((came, to)))
        assert all(len(pairs) == 1 for pairs in links.values())


def test_all_circuits_of_an_edge_take_one_edge_and_one_coin() -> None:
    for seed in range(20):
        made = relay(seed)
        for number in range(OPENS_AT_ONCE):
            made.receive(C, opening(2 * number + 3), 0.0)
        opened = [(to, parse(cell)) for to, cell in sent(made)]
        went = {to for to, body in opened if isinstance(body, Open)}
        phases = {body.phase for _, body in opened if isinstance(body, Open)}
        assert len(went) <= 1
        assert len(phases) <= 1
        assert C not in went


def test_stems_end_for_a_quarter_of_the_edges_and_rarely_go_on_by_accepted_ones() -> None:
    makes = [relay(seed) for seed in range(600)]
    assert 0.2 < sum(made.ends_stem(C) for made in makes) / 600 < 0.3
    edges = Counter(made.next_edge(C) for made in makes)
    assert edges[C] == 0
    assert 0 < edges[D] < 60
    assert all(made.guard(0.0) == A for made in makes)


def test_own_circuits_are_never_to_ourselves_and_never_start_without_the_guard() -> None:
    made = relay()
    with pytest.raises(Violation) as caught:
        made.open(E, SEALED, 0.0)
    assert caught.value.reason is Refusal.OWN_PIVOT
    assert made.open(A, SEALED, 0.0) is None  # the guard
    alone = Stem(
        E, random.Random(1), heard=print, ended=print, arrived=lambda *said: True, posted=print, has_room=print
    )
    alone.link_up(C, is_client=False)
    alone.make_edge(C, is_initiated=False)
    assert alone.open(PIVOT, SEALED, 0.0) is None
    assert alone.next_at is None


def test_own_and_foreign_openings_look_alike() -> None:
    made = relay()
    made.open(PIVOT, SEALED, 0.0)
    (_, own), *rest = sent(made)
    assert rest == []
    for seed in range(40):
        other = relay(seed)
        other.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, SEALED), 5), 0.0)
        cells = [cell for _, cell in sent(other) if parse(cell) == parse(own)]
        if cells:
            assert cells[0].encode()[:4] == own.encode()[:4]
            assert cells[0].encode()[8:] == own.encode()[8:]
            return
    pytest.fail("no stem went on")


def test_a_mapping_is_drawn_again_only_when_its_edge_is_gone() -> None:
    made = relay()
    before = made.next_edge(C)
    assert before is not None
    spare = next(node for node in (A, B, D) if node != before)
    made.link_down(spare, 0.0)
    assert made.next_edge(C) == before
    made.link_down(before, 0.0)
    assert made.next_edge(C) not in (before, spare)


def test_edges_are_two_of_each_kind() -> None:
    made = relay()
    made.link_up(PIVOT, is_client=True)
    assert not made.make_edge(PIVOT, True)
    assert not made.make_edge(PIVOT, False)
    assert not made.make_edge(A, False)
    made.receive(PIVOT, cell_of(Open(Phase.STEM, bytes(31) + b"x", 0, SEALED), 2), 0.0)
    ((to, cell),) = sent(made)
    assert (to, parse(cell)) == (PIVOT, Close(CloseReason.REFUSED))


def test_a_bridge_goes_to_the_pivot_and_says_nothing_of_how_far_it_has_come() -> None:
    made = relay()
    made.link_up(PIVOT, is_client=True)
    made.receive(C, opening(3, Phase.BRIDGE, BRIDGE_BUDGET), 0.0)
    bodies = {to: parse(cell) for to, cell in sent(made)}
    assert bodies == {PIVOT: Open(Phase.BRIDGE, PIVOT, BRIDGE_BUDGET, SEAL_3)}


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 6))
def test_a_bridge_ends_on_any_graph(seed: int, count: int, degree: int) -> None:
    """Each hop is nearer to the pivot, so no node comes twice."""
    chance = random.Random(seed)
    ids = [chance.randbytes(32) for _ in range(count)]
    links: dict[bytes, dict[bytes, Link]] = {node: {} for node in ids}
    for node in ids:
        for other in chance.sample(ids, min(degree, count)):
            if other != node:
                links[node][other] = links[other][node] = Link(True, location_of(other))
                links[other][node] = Link(True, location_of(node))
    node, pivot = chance.choice(ids), chance.choice(ids)
    came, way = None, [node]
    while node != pivot and (goes := nearer(links[node], location_of(node), came, pivot)) is not None:
        came, node = node, goes
        assert node not in way
        way.append(node)


def test_channels_of_the_wrong_side_or_in_use_break_the_protocol() -> None:
    made = relay()
    made.receive(C, opening(3), 0.0)
    for channel in (2, 3):
        with pytest.raises(Violation) as caught:
            made.receive(C, opening(channel), 0.0)
        assert caught.value.reason is Refusal.WRONG_CHANNEL
    made.receive(C, cell_of(Close(CloseReason.DONE), 99), 0.0)
    assert made.refusals[Refusal.NO_CIRCUIT] == 1


def test_circuits_are_bounded_for_each_link_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits_module, "MAX_CIRCUITS_OF_LINK", 3)
    made = relay(2)
    for number in range(5):
        made.receive(C, opening(2 * number + 3), 0.0)
    assert made.circuits <= 3
    monkeypatch.setattr(circuits_module, "MAX_CIRCUITS", 4)
    for node in (A, B, D):
        for number in range(5):
            made.receive(node, opening(2 * number + 3), 0.0)
    assert made.circuits <= 4
    assert made.refusals[Refusal.CIRCUITS_FULL] > 0
    assert Close(CloseReason.OVERLOAD) in [parse(cell) for _, cell in sent(made)]


def test_cells_of_a_circuit_leave_in_order_however_they_are_delayed() -> None:
    made = relay(own_id=PIVOT)
    number = made.open(E, SEALED, 0.0)
    assert number is not None
    bodies: list[Body | Ciphertext] = [Ciphertext(bytes((n,)) * 1_520) for n in range(30)]
    for body in bodies:
        assert isinstance(body, Ciphertext)
        made.say(number, body.data, 0.0)
    times = []
    found = []
    while (when := made.next_at) is not None:
        times.append(when)
        found += [parse(cell) for _, cell in made.due(when)]
    assert found[1:] == bodies
    assert times == sorted(times)


def test_a_lost_link_ends_its_circuits_on_the_other_side_and_here() -> None:
    told: list[object] = []
    made = relay(own_id=PIVOT, ended=told)
    made.open(E, SEALED, 0.0)
    made.link_down(A, 1.0)
    assert told == [CloseReason.NOROUTE]
    assert made.circuits == 0
    assert sent(made) == []


def test_idle_and_old_circuits_end_both_ways() -> None:
    made = relay()
    made.receive(C, opening(3), 0.0)
    ((to, cell),) = sent(made, 10.0)
    if isinstance(parse(cell), Close):
        pytest.fail("choose a seed whose stem goes on")
    made.tick(IDLE_S)
    assert made.circuits == 1
    now = 0
    for now in range(30, int(AGE_S) + 1, 30):
        made.receive(C, cell_of(Ciphertext(bytes(1_520)), 3), float(now))
        for _, one in made.due(float(now) + 20):
            assert isinstance(parse(one), Ciphertext | Credit)
        made.receive(to, cell_of(Credit(1), cell.channel), float(now) + 20)
        made.tick(float(now))
    assert made.circuits == 1
    now = int(AGE_S)
    while made.circuits:
        now += 30
        made.receive(C, cell_of(Ciphertext(bytes(1_520)), 3), float(now))
        made.tick(float(now))
        assert now < AGE_S + 12 * MORE_AGE_S
    closed = [(node, parse(one)) for node, one in sent(made) if one.command is Command.CLOSE]
    assert sorted(closed, key=str) == sorted([(C, Close(CloseReason.IDLE)), (to, Close(CloseReason.IDLE))], key=str)
    made.receive(C, opening(5), 0.0)
    made.tick(50 * IDLE_S)
    assert made.circuits == 0


def test_what_waits_of_a_circuit_that_begins_here_is_bounded() -> None:
    made = relay(own_id=PIVOT)
    number = made.open(E, SEALED, 0.0)
    assert number is not None
    sent(made)
    for _ in range(200):
        made.say(number, bytes(33_776), 10.0)
    assert made.refusals[Refusal.CIRCUIT_FLOODED] == 1
    assert (made.circuits, made.room(number)) == (0, 0)
    assert [parse(cell) for _, cell in sent(made)] == [Close(CloseReason.OVERLOAD)]
    assert made.held == 0


def test_of_all_that_waits_the_circuit_with_most_of_it_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stem_module, "MAX_HELD", 12 * 1_536)
    made = relay()
    for channel, cells in ((3, 8), (5, 3)):
        made.receive(C, opening(channel), 0.0)
        sent(made, 10.0)
        for _ in range(cells):
            made.receive(C, cell_of(Ciphertext(bytes(1_520)), channel), 10.0)
    assert made.circuits == 2
    for _ in range(2):
        made.receive(C, cell_of(Ciphertext(bytes(1_520)), 5), 10.0)
    assert made.refusals[Refusal.CIRCUIT_FLOODED] == 1
    assert made.circuits == 1
    closes = [cell.channel for node, cell in sent(made) if node == C and cell.command is Command.CLOSE]
    assert closes == [3]
    assert made.held == 0


def test_a_link_that_is_blocked_gets_its_circuits_in_turn_later() -> None:
    made = relay(own_id=PIVOT)
    numbers = [made.open(E, SEALED, 0.0) for _ in range(2)]
    sent(made)
    for number in numbers:
        assert number is not None
        for _ in range(30):
            made.say(number, bytes(33_776), 1e6)
    assert sent(made, 2e6) != []
    for number in numbers:
        assert number is not None
        for _ in range(30):
            made.say(number, bytes(33_776), 3e6)
    assert made.due(4e6, blocked={A}) == []
    channels = [cell.channel for _, cell in sent(made, 4e6)]
    assert len(channels) == 60
    assert abs(channels[:30].count(channels[0]) - 15) <= 1
    assert made.held == 0
