"""Windows between neighbours: what may be under way of a circuit, who is owed what, and what happens to those who overdo it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import stem as stem_module
from anonymizer.cells import Command
from anonymizer.credit import GRANT, LARGE_COST, WINDOW, Receiving, Sending
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import BRIDGE_BUDGET, Ciphertext, Close, CloseReason, Credit, Open, Phase, cell_of, parse
from gnutella.testing.lone_stem import LARGE, OWN, PIVOT, SMALL, A, C, LoneStem, forwarding, seal


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=400))
def test_both_ends_of_a_window_agree_whatever_comes_and_goes(steps: list[tuple[bool, int]]) -> None:
    sending, receiving, here = Sending(), Receiving(), 0
    for is_sent, cost in steps:
        if is_sent and sending.take(cost):
            receiving.take(cost)
            here += cost
        elif not is_sent and here >= cost:
            here -= cost
            if receiving.gone(cost):
                sending.granted(receiving.grant())
        assert sending.left == receiving.left == WINDOW - here - receiving.owed
        assert receiving.owed < GRANT + LARGE_COST
    assert sending.left >= 0


def test_a_window_refuses_a_cell_too_many_and_credit_too_much() -> None:
    sending, receiving = Sending(), Receiving()
    with pytest.raises(Violation) as caught:
        sending.granted(1)
    assert caught.value.reason is Refusal.CREDIT_EXCESS
    for _ in range(WINDOW // LARGE_COST):
        assert sending.take(LARGE_COST)
        receiving.take(LARGE_COST)
    assert not sending.take(1)
    with pytest.raises(Violation) as caught:
        receiving.take(1)
    assert caught.value.reason is Refusal.WINDOW_OVERRUN


@pytest.mark.parametrize(("data", "cells"), [(LARGE, 64), (SMALL, 256)])
def test_a_relay_sends_a_window_and_no_more_until_there_is_credit(data: bytes, cells: int) -> None:
    made = forwarding()
    cell, node, channel = made.circuit()
    for _ in range(cells):
        made.receive(C, cell_of(Ciphertext(data), cell.channel), 200.0)
    came = made.sent()
    assert [body for to, body in came if to == node] == [Ciphertext(data)] * cells
    credits = [body.cells for to, body in came if to == C and isinstance(body, Credit)]
    assert sum(credits) == WINDOW
    assert made.held == 0
    # The neighbour has its window back; ours is used up.
    for _ in range(cells):
        made.receive(C, cell_of(Ciphertext(data), cell.channel), 1e6)
    assert made.sent(2e6) == []
    assert made.next_at is None
    made.receive(node, cell_of(Credit(LARGE_COST), channel), 2e6)
    assert len(made.sent(2e6)) == LARGE_COST * cells // WINDOW
    assert made.refusals.rows() == {}


def test_who_overruns_a_window_loses_the_circuit_and_not_the_link() -> None:
    made = forwarding()
    cell, node, _ = made.circuit()
    for _ in range(64):
        made.receive(C, cell_of(Ciphertext(LARGE), cell.channel), 200.0)
    assert made.circuits == 1
    made.receive(C, cell_of(Ciphertext(SMALL), cell.channel), 200.0)
    assert made.circuits == 0
    assert made.refusals[Refusal.WINDOW_OVERRUN] == 1
    closes = [to for to, body in made.sent() if body == Close(CloseReason.BAD)]
    assert sorted(closes) == sorted([C, node])


def test_who_gives_more_credit_than_there_was_loses_the_circuit() -> None:
    made = forwarding()
    _, node, channel = made.circuit()
    made.receive(node, cell_of(Credit(1), channel), 200.0)
    assert made.circuits == 0
    assert made.refusals[Refusal.CREDIT_EXCESS] == 1


def test_room_shrinks_with_what_is_said_and_grows_with_credit() -> None:
    made = LoneStem()
    number = made.open(PIVOT, seal(1), 0.0)
    assert number is not None
    channel = next(cell.channel for _, cell in made.due(100.0))
    assert made.room(number) == 64
    for left in reversed(range(64)):
        made.say(number, LARGE, 200.0)
        assert made.room(number) == left
    made.sent()
    assert (made.room(number), made.roomy) == (0, [])
    made.receive(A, cell_of(Credit(LARGE_COST - 1), channel), 1e6)
    assert (made.room(number), made.roomy) == (0, [])
    made.receive(A, cell_of(Credit(GRANT + 1), channel), 1e6)
    assert (made.room(number), made.roomy) == ((GRANT + LARGE_COST) // LARGE_COST, [number])
    made.receive(A, cell_of(Credit(GRANT), channel), 1e6)
    assert made.roomy == [number]
    assert made.room(number + 1) == 0


def test_what_was_said_beyond_the_window_goes_first_when_there_is_credit() -> None:
    made = LoneStem()
    number = made.open(PIVOT, seal(1), 0.0)
    assert number is not None
    channel = next(cell.channel for _, cell in made.due(100.0))
    for kind in range(65):
        made.say(number, bytes((kind,)) * len(LARGE), 200.0)
    assert len(made.sent()) == 64
    made.receive(A, cell_of(Credit(LARGE_COST), channel), 1e6)
    # It was not room that grew.
    assert (made.room(number), made.roomy) == (0, [])
    assert made.sent(2e6) == [(A, Ciphertext(bytes((64,)) * len(LARGE)))]


def test_a_close_ends_what_waits_for_a_window_without_a_gap_in_what_is_sent() -> None:
    made = forwarding()
    cell, node, channel = made.circuit()
    for kind in range(64):
        made.receive(C, cell_of(Ciphertext(bytes((kind,)) * len(LARGE)), cell.channel), 200.0)
    made.sent()
    for kind in range(64):
        made.receive(C, cell_of(Ciphertext(bytes((kind,)) * len(LARGE)), cell.channel), 1e6)
        if kind == 30:
            made.sent(2e6)
    made.receive(C, cell_of(Close(CloseReason.DONE), cell.channel), 1e6)
    assert made.sent(3e6) == [(node, Close(CloseReason.DONE))]
    assert made.held == 0
    made.receive(node, cell_of(Credit(8), channel), 3e6)
    assert made.refusals.rows() == {"no_circuit": 1}


def test_pivots_and_origins_give_credit_for_what_they_took() -> None:
    made = LoneStem()
    made.receive(C, cell_of(Open(Phase.BRIDGE, OWN, BRIDGE_BUDGET, seal(1)), 3), 0.0)
    assert [came for _, came in made.arrivals] == [C]
    number = made.open(PIVOT, seal(2), 0.0)
    channel = next(cell.channel for to, cell in made.due(100.0) if to == A and cell.command is Command.OPEN)
    for _ in range(8):
        made.receive(C, cell_of(Ciphertext(LARGE), 3), 200.0)
        made.receive(A, cell_of(Ciphertext(LARGE), channel), 200.0)
    assert [heard for heard, _ in made.data].count(number or 0) == 8
    assert sorted(made.sent(), key=repr) == sorted([(A, Credit(GRANT)), (C, Credit(GRANT))], key=repr)


def test_credit_is_withheld_while_half_of_what_may_wait_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stem_module, "MAX_HELD", 20 * 33_792)
    made = forwarding()
    cell, node, _ = made.circuit()
    for _ in range(19):
        made.receive(C, cell_of(Ciphertext(LARGE), cell.channel), 200.0)
    assert [to for to, _ in made.due(300.0, turn=8 * 33_792)] == [node] * 8
    assert made.held == 11 * 33_792
    # With the next one no more than half of it waits: the credit of all nine goes out.
    assert [(to, parse(one)) for to, one in made.due(300.0, turn=33_792)] == [
        (node, Ciphertext(LARGE)),
        (C, Credit(9 * LARGE_COST)),
    ]
    assert [body for to, body in made.sent() if to == C] == [Credit(GRANT)]


def test_links_are_handed_out_in_turns() -> None:
    made = forwarding()
    cell, node, _ = made.circuit()
    for _ in range(20):
        made.receive(C, cell_of(Ciphertext(LARGE), cell.channel), 200.0)
    found = []
    while made.next_at is not None:
        turn = [one for to, one in made.due(1e6, turn=4 * 33_792) if to == node]
        assert len(turn) <= 4
        found += turn
    assert len(found) == 20
