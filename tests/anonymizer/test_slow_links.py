"""Neighbours that read nothing: what waits for them is bounded, costs nobody else anything, and at last costs them the link."""

from __future__ import annotations

import pytest

from anonymizer.cells import SMALL_SIZE
from anonymizer.reasons import Refusal, Violation
from anonymizer.stem import MAX_ALL_OTHERS, MAX_HELD, MAX_OTHERS, MAX_UNREAD
from anonymizer.wire import Block, BlockType, Ciphertext, Close, CloseReason, Open, Phase, Ping, Pong, cell_of
from gnutella.testing.lone_stem import LARGE, PIVOT, A, C, LoneStem, forwarding, seal

E = b"E" * 32
BLOCKED = {E}


def with_link(made: LoneStem) -> LoneStem:
    made.link_up(E, is_client=False)
    return made


def test_who_opens_circuits_and_reads_no_refusal_loses_the_link() -> None:
    """Each is refused with a cell of its own: a neighbour that reads none of them is not one who means it."""
    made = with_link(LoneStem())
    cells = 0
    with pytest.raises(Violation) as told:
        for cells in range(50_000):
            made.receive(E, cell_of(Open(Phase.STEM, PIVOT, 0, seal(cells)), 2 * cells + 1), cells / 1_000)
            made.due(cells / 1_000, BLOCKED)
    assert told.value.reason is Refusal.LINK_UNREAD and told.value.reason.costs == "link"
    assert cells <= MAX_UNREAD // SMALL_SIZE + 1 and made.held <= MAX_UNREAD + SMALL_SIZE
    made.link_down(E, cells)
    assert made.held == 0


def test_who_reads_its_refusals_may_go_on_for_ever() -> None:
    made = with_link(LoneStem())
    for number in range(3_000):
        made.receive(E, cell_of(Open(Phase.STEM, PIVOT, 0, seal(number)), 2 * number + 1), number / 100)
        made.due(number / 100)
    assert made.held < 200 * SMALL_SIZE


def test_circuits_that_come_and_go_over_a_link_that_reads_nothing_are_refused_at_last() -> None:
    made = forwarding(is_bridge=True)
    refused = 0
    for number in range(5_000):
        now = number / 100
        channel = 2 * number + 1
        made.receive(C, cell_of(Open(Phase.BRIDGE, PIVOT, 8, seal(number)), channel), now)
        for node, cell in made.due(now, {PIVOT}):
            refused += node == C and cell.channel == channel
        made.receive(C, cell_of(Close(CloseReason.DONE), channel), now + 0.001)
    assert made.refusals[Refusal.LINK_FULL] > 3_000
    assert made.held <= 2 * MAX_UNREAD + 1_000 * SMALL_SIZE
    for node, _ in made.due(1e5, {PIVOT}):
        assert node == C


def test_blocks_for_links_that_read_nothing_have_a_bound_and_end_no_circuit() -> None:
    made = forwarding()
    opening, goes, _ = made.circuit()
    slow = [bytes((100 + number,)) * 32 for number in range(20)]
    block = Block(bytes(16), BlockType.CHK, bytes(32_788), False)
    for node in slow:
        made.link_up(node, is_client=False)
        while made.send(node, block, "blocks"):
            pass
        assert made.held <= 2 * MAX_ALL_OTHERS
    assert made.held > MAX_HELD - 40_000
    # What is ours to do goes on: a circuit, and a sign of life, for who reads and for who does not.
    made.receive(C, cell_of(Ciphertext(LARGE), opening.channel), 200.0)
    assert made.send(A, Ping(bytes(8)), "link") and made.send(slow[-1], Pong(bytes(8)), "link")
    left = [node for node, _ in made.due(300.0, set(slow))]
    assert left.count(goes) >= 1 and A in left
    assert made.refusals[Refusal.CIRCUIT_FLOODED] == 0 and made.circuits == 1
    for node in slow:
        made.link_down(node, 300.0)
    assert made.held == 0


def test_one_link_alone_may_have_as_much_as_ever() -> None:
    made = with_link(LoneStem())
    block = Block(bytes(16), BlockType.CHK, bytes(32_788), False)
    count = 0
    while made.send(E, block, "blocks"):
        count += 1
    assert count == MAX_OTHERS // cell_of(block).size and made.refusals[Refusal.LINK_FULL] == 1
