"""Compressed links: round trips in any cut, bombs stopped at their credit, broken streams named."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.deflate import MAX_CREDIT, MAX_RATIO, PIECE, Deflater, Inflater
from gnutella.reasons import DropReason
from gnutella.testing import strategies_network as strategies


def reason_of(inflater: Inflater, data: bytes) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        for _ in inflater.feed(data):
            pass
    return caught.value.reason


@given(st.lists(st.binary(max_size=200), max_size=10), st.data())
def test_what_was_flushed_arrives_whole_in_any_cut(messages: list[bytes], data: st.DataObject) -> None:
    deflater, inflater = Deflater(), Inflater()
    wire = b"".join(deflater.compress(message) for message in messages) + deflater.flush()
    got = b"".join(piece for cut in data.draw(strategies.cuts(wire)) for piece in inflater.feed(cut))
    assert got == b"".join(messages)


def test_stream_is_zlib_and_one_for_all_batches() -> None:
    deflater = Deflater()
    first = deflater.compress(b"hello " * 20) + deflater.flush()
    second = deflater.compress(b"hello " * 20) + deflater.flush()
    assert first[0] == 0x78
    assert len(second) < len(first)
    assert zlib.decompressobj().decompress(first + second) == b"hello " * 40


def test_pending_says_whether_a_flush_is_due() -> None:
    deflater = Deflater()
    assert not deflater.is_pending
    deflater.compress(b"x")
    assert deflater.is_pending
    deflater.flush()
    assert not deflater.is_pending


def test_pieces_are_bounded_and_complete() -> None:
    content = os.urandom(PIECE) + bytes(5 * PIECE) + b"end"
    pieces = list(Inflater().feed(zlib.compress(content)))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= PIECE


def test_bomb_is_stopped_at_its_credit() -> None:
    bomb = zlib.compress(bytes(50 * MAX_CREDIT), 9)
    inflater, made = Inflater(), 0
    with pytest.raises(RemoteViolation) as caught:
        for start in range(0, len(bomb), 1000):
            for piece in inflater.feed(bomb[start : start + 1000]):
                made += len(piece)
    assert caught.value.reason is DropReason.DEFLATE_BOMB
    assert made <= MAX_CREDIT + MAX_RATIO * 2000


def test_credit_does_not_pile_up_on_a_long_life() -> None:
    inflater, stream = Inflater(), zlib.compressobj()
    noise = os.urandom(MAX_CREDIT)
    assert b"".join(inflater.feed(stream.compress(noise) + stream.flush(zlib.Z_SYNC_FLUSH))) == noise
    bomb = stream.compress(bytes(4 * MAX_CREDIT)) + stream.flush(zlib.Z_SYNC_FLUSH)
    assert reason_of(inflater, bomb) is DropReason.DEFLATE_BOMB


def test_largest_routing_table_passes() -> None:
    table = zlib.compress(bytes(2**20 // 2))
    assert sum(map(len, Inflater().feed(table))) == 2**19


@pytest.mark.parametrize("data", [b"GNUTELLA", b"\x78\x9c\xff\xff\xff\xff", zlib.compress(b"a") + b"b"])
def test_broken_streams_are_named(data: bytes) -> None:
    assert reason_of(Inflater(), data) is DropReason.DEFLATE_BROKEN


def test_bytes_after_the_end_of_the_stream_are_named() -> None:
    inflater = Inflater()
    assert b"".join(inflater.feed(zlib.compress(b"a"))) == b"a"
    assert list(inflater.feed(b"")) == []
    assert reason_of(inflater, b"b") is DropReason.DEFLATE_BROKEN


@given(st.binary(max_size=300))
def test_any_bytes_are_inflated_or_named(data: bytes) -> None:
    try:
        for piece in Inflater().feed(b"\x78\x9c" + data):
            assert 0 < len(piece) <= PIECE
    except RemoteViolation as violation:
        assert violation.reason in (DropReason.DEFLATE_BROKEN, DropReason.DEFLATE_BOMB)
