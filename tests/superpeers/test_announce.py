"""What peers are told of our table, and when."""

from __future__ import annotations

import itertools

import pytest

from gnutella.protocol import qrp
from gnutella.protocol.signals import RouteReset
from gnutella.superpeers.announce import FIRST_WAIT_S, MAX_WAIT_LEAF_S, MERGED_BITS, Announcer, Messages
from gnutella.units import LinkId

A, B = LinkId(1), LinkId(2)


def announcer(*words: str) -> Announcer:
    made = Announcer(MAX_WAIT_LEAF_S)
    made.set_own(qrp.hashes_of(words))
    made.opened(A, is_deflated=False)
    return made


def taken(table: qrp.RouteTable, updates: list[tuple[LinkId, Messages]]) -> qrp.RouteTable:
    for _, messages in updates:
        for message in messages:
            table.receive(message)
    return table


def test_nothing_is_told_before_the_library_is_known() -> None:
    silent = Announcer()
    silent.opened(A, is_deflated=False)
    assert silent.due(0.0) == []


def test_a_new_link_gets_all_and_later_only_what_changed() -> None:
    own = announcer("purple")
    table = qrp.RouteTable()
    first = own.due(0.0)
    assert isinstance(first[0][1][0], RouteReset)
    assert taken(table, first).has("purple")
    assert own.due(1.0) == []
    own.set_own(qrp.hashes_of(["purple", "elephant"]))
    second = own.due(FIRST_WAIT_S)
    assert not any(isinstance(message, RouteReset) for message in second[0][1])
    assert taken(table, second).has("elephant")
    own.set_own(qrp.hashes_of(["elephant"]))
    assert not taken(table, own.due(MAX_WAIT_LEAF_S)).has("purple")


def test_the_chunks_are_deflated_unless_the_link_is() -> None:
    own = announcer("purple")
    own.opened(B, is_deflated=True)
    sizes = {link: sum(len(message.encode()) for message in messages) for link, messages in own.due(0.0)}
    assert sizes[A] < 200
    assert sizes[B] > 8192


def test_a_table_that_keeps_changing_is_told_less_and_less_often() -> None:
    own = announcer("purple")
    told = []
    for second in range(1000):
        own.set_own(qrp.hashes_of([f"file{second}"]))
        if own.due(float(second)):
            told.append(second)
    gaps = [later - earlier for earlier, later in itertools.pairwise(told)]
    assert gaps == [5, 10, 20, 40, 80, 160, 300, 300]


def test_the_same_table_again_is_not_told() -> None:
    own = announcer("purple")
    own.due(0.0)
    own.set_own(qrp.hashes_of(["purple"]))
    assert own.due(1000.0) == []


def test_a_busy_link_waits_and_a_closed_one_is_forgotten() -> None:
    own = announcer("purple")
    own.opened(B, is_deflated=False)
    assert [link for link, _ in own.due(0.0, busy={A})] == [B]
    own.closed(B)
    assert [link for link, _ in own.due(0.0)] == [A]


def test_the_merged_table_holds_own_and_leaves_and_never_shrinks() -> None:
    own = announcer("purple")
    leaves = qrp.words_table(["elephant"], 16)
    table = taken(qrp.RouteTable(), own.due(0.0, (1, 16, lambda bits: qrp.spread(leaves, bits))))
    assert (table.bits, table.has("purple"), table.has("elephant")) == (16, True, True)
    later = taken(table, own.due(400.0, (2, 0, lambda bits: bytes(1 << bits))))
    assert (later.bits, later.has("purple"), later.has("elephant")) == (16, True, False)
    huge = own.due(800.0, (3, 21, lambda bits: bytes(1 << bits)))
    assert taken(later, huge).bits == MERGED_BITS


@pytest.mark.parametrize("words", [10, 3000])
def test_our_own_table_has_at_most_one_slot_in_a_hundred_in_use(words: int) -> None:
    table = taken(qrp.RouteTable(), announcer(*(f"word{number:05}" for number in range(words))).due(0.0))
    assert table.size >= 1 << 14
    assert len(table.present()) * 100 <= table.size
