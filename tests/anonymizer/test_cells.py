"""Cells: their header, sizes and fill, and cutting a stream into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.cells import (
    HEADER_SIZE,
    LARGE_BODY,
    LARGE_SIZE,
    SHAPES,
    SMALL_BODY,
    SMALL_SIZE,
    TLS_SLICE,
    Cell,
    Command,
    Walker,
    decode,
    slices,
)
from anonymizer.reasons import Refusal, Refusals, Violation, describe
from gnutella.errors import LocalMisuse
from tests.anonymizer.strategies import cells

PING = Cell(Command.PING, b"\xa1\0\x48nonce678")


def damaged(at: int, value: int, cell: Cell = PING) -> bytes:
    data = bytearray(cell.encode())
    data[at] = value
    return bytes(data)


def reason_of(data: bytes) -> Refusal:
    with pytest.raises(Violation) as caught:
        decode(data)
    return caught.value.reason


@given(cells())
def test_a_cell_is_read_as_it_was_written(cell: Cell) -> None:
    data = cell.encode()
    assert len(data) == cell.size
    assert len(data) in (SMALL_SIZE, LARGE_SIZE)
    assert decode(data) == cell


def test_the_header_is_as_specified() -> None:
    cell = Cell(Command.OPEN, b"body", 0x01020304, is_slow=True)
    assert cell.encode()[:20] == bytes.fromhex("a1 10 04 00 01020304 0004 0000 00000000") + b"body"
    large = Cell(Command.CELL, bytes(LARGE_BODY), 7, is_large=True).encode()
    assert large[:16] == bytes.fromhex("a1 11 01 00 00000007 83f0 0000 00000000")


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, 0xA2, Refusal.BAD_VERSION),
        (1, 0x99, Refusal.UNKNOWN_COMMAND),
        (2, 8, Refusal.RESERVED_BITS),
        (2, 2, Refusal.WRONG_FLAGS),
        (2, 4, Refusal.WRONG_FLAGS),
        (2, 1, Refusal.WRONG_SIZE),
        (3, 1, Refusal.RESERVED_BITS),
        (7, 1, Refusal.WRONG_CHANNEL),
        (8, 6, Refusal.BODY_TOO_LONG),
        (10, 1, Refusal.RESERVED_BITS),
        (11, 128, Refusal.RESERVED_BITS),
        (12, 1, Refusal.RESERVED_BITS),
        (15, 1, Refusal.RESERVED_BITS),
        (SMALL_SIZE - 1, 1, Refusal.FILL_NOT_ZERO),
        (HEADER_SIZE + len(PING.body), 1, Refusal.FILL_NOT_ZERO),
    ],
)
def test_each_rule_of_the_header_is_held(at: int, value: int, reason: Refusal) -> None:
    assert reason_of(damaged(at, value)) is reason


def test_commands_of_circuits_need_a_channel_and_others_have_none() -> None:
    for command, shape in SHAPES.items():
        cell = Cell(Command(command), b"", 0 if shape.has_channel else 5)
        with pytest.raises(LocalMisuse):
            cell.encode()
        sound = Cell(Command(command), b"", 5 if shape.has_channel else 0).encode()
        assert reason_of(sound[:7] + bytes((5 - sound[7],)) + sound[8:]) is Refusal.WRONG_CHANNEL


@pytest.mark.parametrize("size", [0, 1, HEADER_SIZE - 1, HEADER_SIZE, SMALL_SIZE - 1, SMALL_SIZE + 1])
def test_a_cell_of_another_length_is_refused(size: int) -> None:
    assert reason_of((PING.encode() + b"\0")[:size]) is Refusal.WRONG_SIZE


def test_bodies_take_all_the_room_there_is_and_no_more() -> None:
    full = Cell(Command.CELL, b"\xff" * SMALL_BODY, 1)
    assert decode(full.encode()) == full
    with pytest.raises(LocalMisuse):
        Cell(Command.CELL, bytes(SMALL_BODY + 1), 1).encode()
    with pytest.raises(LocalMisuse):
        Cell(Command.CELL, b"", 2**32).encode()


@given(st.lists(cells(), max_size=4), st.data())
def test_a_stream_is_cut_the_same_however_it_comes(sent: list[Cell], data: st.DataObject) -> None:
    stream = b"".join(cell.encode() for cell in sent)
    walker = Walker()
    found: list[Cell] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += walker.feed(stream[:size])
        stream = stream[size:]
    assert found == sent
    assert walker.pending == 0


def test_a_bad_header_is_refused_before_its_cell_is_here_and_for_good() -> None:
    walker = Walker()
    stream = walker.feed(PING.encode() + damaged(1, 0x99)[:HEADER_SIZE])
    assert next(stream) == PING
    with pytest.raises(Violation):
        next(stream)
    assert walker.pending == 0
    with pytest.raises(Violation):
        next(walker.feed(PING.encode()))


def test_no_more_than_one_unfinished_cell_is_kept() -> None:
    walker = Walker()
    large = Cell(Command.CELL, bytes(LARGE_BODY), 7, is_large=True).encode()
    assert list(walker.feed(large[:-1])) == []
    assert walker.pending == LARGE_SIZE - 1
    assert len(list(walker.feed(large[-1:] + large * 2 + large[:5]))) == 3
    assert walker.pending == 5


def test_records_of_tls_have_few_lengths() -> None:
    assert [len(piece) for piece in slices(bytes(LARGE_SIZE))] == [TLS_SLICE] * 3
    assert [len(piece) for piece in slices(bytes(SMALL_SIZE))] == [SMALL_SIZE]


def test_refusals_are_counted_by_name() -> None:
    refusals = Refusals()
    refusals.count(Refusal.BAD_TAG)
    refusals.count(Refusal.BAD_VERSION, 2)
    assert refusals.rows() == {"bad_version": 2, "bad_tag": 1}
    assert refusals[Refusal.SEAL_TIME] == 0
    assert ("bad_tag", "circuit", Refusal.BAD_TAG.meaning) in describe()
    assert len({row[0] for row in describe()}) == len(Refusal)
