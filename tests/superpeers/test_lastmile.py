"""The transposed index, against a model that keeps each peer's table by itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gnutella.errors import RemoteViolation
from gnutella.protocol import qrp
from gnutella.protocol.signals import RoutePatch, RouteReset
from gnutella.reasons import DropReason
from gnutella.superpeers import lastmile
from gnutella.superpeers.lastmile import BURST_SLOTS, INDEX_BITS, SLOTS_A_SECOND, LastMile
from gnutella.units import LinkId

A, B = LinkId(1), LinkId(2)


def tell(mile: LastMile, link: LinkId, table: bytes, now: float = 0.0, bits: int = 4) -> None:
    for message in qrp.full_table(table, bits=bits):
        mile.receive(link, message, now)


def found(mile: LastMile, *hashes: int) -> list[LinkId]:
    return list(mile.links(mile.match((hashes,))))


def hashed(slot: int, bits: int) -> int:
    return slot << (32 - bits)


def test_only_a_complete_table_counts() -> None:
    mile = LastMile()
    table = qrp.words_table(["purple"], 14)
    messages = list(qrp.full_table(table, compress=False))
    for message in messages[:-1]:
        mile.receive(A, message, 0.0)
        assert not mile.bit(A)
    assert mile.receive(A, messages[-1], 0.0)
    assert found(mile, qrp.hash32("purple")) == [A]
    assert found(mile, qrp.hash32("elephant")) == []


def test_a_reset_empties_the_table_until_the_next_patch_is_complete() -> None:
    mile = LastMile()
    tell(mile, A, qrp.words_table(["purple"], 14))
    mile.receive(A, RouteReset(1 << 15, 7), 1.0)
    assert (mile.complete, mile.largest_bits, len(mile)) == (0, 0, 0)
    tell(mile, A, qrp.words_table(["elephant"], 15), 1.0)
    assert found(mile, qrp.hash32("elephant")) == [A]
    assert found(mile, qrp.hash32("purple")) == []


def test_the_number_of_a_peer_that_left_is_given_again() -> None:
    mile = LastMile()
    tell(mile, A, qrp.words_table(["purple"], 14))
    tell(mile, B, qrp.words_table(["purple"], 14))
    mile.leave(A)
    assert found(mile, qrp.hash32("purple")) == [B]
    tell(mile, LinkId(3), qrp.words_table(["elephant"], 14))
    assert mile.complete == 0b11
    assert found(mile, qrp.hash32("elephant")) == [LinkId(3)]
    assert found(mile, qrp.hash32("purple")) == [B]
    mile.leave(LinkId(9))


def test_a_folded_table_is_looked_up_exactly() -> None:
    """Two slots of a large table become one in the index; only the right one matches."""
    mile = LastMile()
    table = bytearray(qrp.MAX_SIZE)
    table[5 << 4] = 1
    tell(mile, A, bytes(table))
    assert mile.largest_bits == INDEX_BITS
    assert found(mile, hashed(5 << 4, 21)) == [A]
    assert found(mile, hashed((5 << 4) + 1, 21)) == []
    second = bytearray(table)
    second[5 << 4], second[(5 << 4) + 1] = 0, 1
    for patch in qrp.patches(bytes(table), bytes(second)):
        mile.receive(A, patch, 100.0)
    assert found(mile, hashed(5 << 4, 21)) == []
    assert found(mile, hashed((5 << 4) + 1, 21)) == [A]


@pytest.mark.parametrize("size", [0, 3, 4, 1 << 22, (1 << 16) + 1, 0xFFFFFFFF])
def test_a_table_of_absurd_size_is_refused(size: int) -> None:
    mile = LastMile()
    tell(mile, A, qrp.words_table(["purple"], 14))
    with pytest.raises(RemoteViolation) as refused:
        mile.receive(A, RouteReset(size, 7), 0.0)
    assert refused.value.reason is DropReason.BAD_ROUTE_TABLE
    assert found(mile, qrp.hash32("purple")) == []


def test_patches_are_paid_for_by_their_slots() -> None:
    """Largest tables: the burst, then one a minute; a bomb of a few bytes costs as much as what it inflates to."""
    mile = LastMile()
    (patch,) = qrp.patches(bytes(qrp.MAX_SIZE), bytes(qrp.MAX_SIZE), chunk=32768)
    assert len(patch.data) < 2048
    mile.receive(A, RouteReset(qrp.MAX_SIZE, 7), 0.0)
    for _ in range(BURST_SLOTS // qrp.MAX_SIZE):
        mile.receive(A, patch, 0.0)
    with pytest.raises(RemoteViolation, match="more patches"):
        mile.receive(A, patch, 1.0)
    mile.receive(B, RouteReset(qrp.MAX_SIZE, 7), 0.0)
    for minute in range(8):
        mile.receive(B, patch, minute * qrp.MAX_SIZE / SLOTS_A_SECOND)


def test_unfinished_patches_of_large_tables_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastmile, "MAX_UNFINISHED", 100_000)
    mile = LastMile()
    chunk = RoutePatch(1, 255, 0, 8, bytes(30_000))
    for number in range(4):
        mile.receive(LinkId(number), RouteReset(1 << 18, 7), 0.0)
    for number in range(3):
        mile.receive(LinkId(number), chunk, 0.0)
    with pytest.raises(RemoteViolation, match="unfinished"):
        mile.receive(LinkId(3), chunk, 0.0)
    for number in range(4):
        mile.leave(LinkId(number))
    mile.receive(A, RouteReset(1 << 18, 7), 0.0)
    assert not mile.receive(A, chunk, 0.0)


def test_large_tables_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastmile, "MAX_LARGE_SLOTS", 3 << 18)
    mile = LastMile()
    for number in range(3):
        mile.receive(LinkId(number), RouteReset(1 << 18, 7), 0.0)
        mile.receive(LinkId(number), RouteReset(1 << 18, 7), 0.0)
    mile.receive(LinkId(3), RouteReset(1 << INDEX_BITS, 7), 0.0)
    with pytest.raises(RemoteViolation, match="large tables"):
        mile.receive(LinkId(4), RouteReset(1 << 18, 7), 0.0)
    mile.leave(LinkId(4))
    mile.receive(LinkId(0), RouteReset(1 << 14, 7), 0.0)
    mile.receive(LinkId(5), RouteReset(1 << 18, 7), 0.0)
    mile.leave(LinkId(5))
    with pytest.raises(RemoteViolation, match="slots"):
        mile.receive(LinkId(1), RouteReset(12345, 7), 0.0)
    mile.leave(LinkId(1))
    for number in (6, 7):
        mile.receive(LinkId(number), RouteReset(1 << 18, 7), 0.0)
    with pytest.raises(RemoteViolation, match="large tables"):
        mile.receive(LinkId(8), RouteReset(1 << 18, 7), 0.0)


def test_the_merged_table_takes_every_size() -> None:
    mile = LastMile()
    tell(mile, A, qrp.words_table(["purple"], 14))
    tell(mile, B, qrp.words_table(["elephant"], 18))
    merged = mile.merged(16)
    assert len(merged) == 1 << 16
    assert merged[qrp.slot("purple", 16)] == merged[qrp.slot("elephant", 16)] == 1
    assert sum(merged) == 4 + 1  # a slot of the small table is four of these
    assert sum(mile.merged(16, without=mile.bit(A))) == 1


SIZES = (3, 4, 5, 18)


class AnyPeers(RuleBasedStateMachine):
    """Peers tell tables of several sizes, change them and go; matches are those of each table by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mile = LastMile()
        self.tables: dict[LinkId, bytes] = {}
        self.rng = random.Random(3)
        self.now = 0.0

    def table(self, bits: int, seed: int) -> bytes:
        table = bytearray(1 << bits)
        for at in random.Random(seed).sample(range(1 << bits), (1 << bits) // 3 if bits < 10 else 40):
            table[at] = 1
        return bytes(table)

    @rule(
        link=st.integers(0, 6), bits=st.sampled_from(SIZES), seed=st.integers(0, 99), entry=st.sampled_from([1, 4, 8])
    )
    def tells(self, link: int, bits: int, seed: int, entry: int) -> None:
        self.now += 60.0
        table = self.tables[LinkId(link)] = self.table(bits, seed)
        tell(self.mile, LinkId(link), table, self.now, entry)

    @precondition(lambda self: self.tables)
    @rule(number=st.integers(0, 6), seed=st.integers(0, 99), entry=st.sampled_from([1, 4, 8]))
    def changes(self, number: int, seed: int, entry: int) -> None:
        self.now += 60.0
        link = list(self.tables)[number % len(self.tables)]
        old = self.tables[link]
        new = self.tables[link] = self.table(len(old).bit_length() - 1, seed)
        for patch in qrp.patches(old, new, bits=entry):
            self.mile.receive(link, patch, self.now)

    @rule(link=st.integers(0, 6))
    def leaves(self, link: int) -> None:
        self.mile.leave(LinkId(link))
        self.tables.pop(LinkId(link), None)

    @rule(link=st.integers(0, 6))
    def resets(self, link: int) -> None:
        self.mile.receive(LinkId(link), RouteReset(16, 7), self.now)
        self.tables.pop(LinkId(link), None)

    @invariant()
    def matches_are_those_of_the_tables(self) -> None:
        def has(table: bytes, value: int) -> bool:
            return bool(table[value >> (33 - len(table).bit_length())])

        for _ in range(8):
            asked = tuple(
                tuple(self.rng.getrandbits(32) for _ in range(self.rng.randint(1, 2)))
                for _ in range(self.rng.randint(1, 2))
            )
            due = {link for link, table in self.tables.items() if any(all(has(table, v) for v in way) for way in asked)}
            assert set(self.mile.links(self.mile.match(asked))) == due

    @invariant()
    def the_merged_table_is_their_or(self) -> None:
        merged = self.mile.merged(4)
        due = 0
        for table in self.tables.values():
            due |= int.from_bytes(qrp.spread(qrp.folded(table, 4), 4), "little")
        assert merged == due.to_bytes(16, "little")
        assert len(self.mile) == len(self.tables)
        assert self.mile.complete < 1 << 7


AnyPeers.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestAnyPeers = AnyPeers.TestCase
