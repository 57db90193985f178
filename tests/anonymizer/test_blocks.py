"""Content blocks and redundancy: what a relay checks, what a reader opens, and what is lost and comes back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.blocks import CHK, RING, SSK, distance, location, verify
from anonymizer.chk import (
    BLOCK_BYTES,
    CHECK,
    DATA,
    DATA_BYTES,
    PLAIN_BYTES,
    check_block,
    pad,
    routing_of,
    seal,
    unpad,
    unseal,
)
from anonymizer.errors import IntegrityFailure
from anonymizer.fec import MAX_CHECKS, MAX_SOURCES, check_texts, recover
from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

KEY = bytes(range(32))
BLOCK = seal(pad(b"some data"), KEY, DATA, 0)


@given(
    st.binary(max_size=200), st.binary(min_size=32, max_size=32), st.sampled_from([DATA, CHECK]), st.integers(0, 2**40)
)
def test_a_block_opens_with_its_key_and_place_only(data: bytes, key: bytes, kind: int, index: int) -> None:
    block = seal(pad(data), key, kind, index)
    assert len(block.sealed) == BLOCK_BYTES
    assert unpad(unseal(block.routing, block.sealed, key, kind, index)) == data
    for wrong in ((key[::-1] + b"", kind, index), (key, 1 - kind, index), (key, kind, index + 1)):
        if wrong != (key, kind, index):
            with pytest.raises(IntegrityFailure, match="seal"):
                unseal(block.routing, block.sealed, *wrong)


def test_a_block_holds_32_kib() -> None:
    assert unpad(pad(b"\1" * DATA_BYTES)) == b"\1" * DATA_BYTES
    with pytest.raises(LocalMisuse):
        pad(b"\1" * (DATA_BYTES + 1))
    with pytest.raises(LocalMisuse):
        seal(b"unpadded", KEY, DATA, 0)


@given(st.integers(0, BLOCK_BYTES * 8 - 1))
def test_no_changed_bit_passes_a_relay(bit: int) -> None:
    changed = bytearray(BLOCK.sealed)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteViolation) as caught:
        verify(CHK, BLOCK.routing, bytes(changed))
    assert caught.value.reason is DropReason.BAD_BLOCK


@pytest.mark.parametrize("data", [b"", BLOCK.sealed[:-1], BLOCK.sealed + b"\0", b"\2" + BLOCK.sealed[1:]])
def test_other_sizes_and_versions_are_refused_whatever_their_hash(data: bytes) -> None:
    with pytest.raises(RemoteViolation, match="version"):
        check_block(routing_of(data), data)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RemoteViolation, match="kind"):
        verify(3, BLOCK.routing, BLOCK.sealed)


@pytest.mark.parametrize("plain", [b"\xff\xff".ljust(PLAIN_BYTES, b"\0"), b"\0\0".ljust(PLAIN_BYTES, b"\1"), b"\0\0"])
def test_other_paddings_are_the_publishers_fault(plain: bytes) -> None:
    with pytest.raises(IntegrityFailure, match="padding"):
        unpad(plain)


@given(st.integers(0, RING - 1), st.integers(0, RING - 1))
def test_distances_on_the_ring(a: int, b: int) -> None:
    assert distance(a, b) == distance(b, a) <= RING // 2
    assert distance(a, a) == 0
    assert distance(a, (a + 5) % RING) == 5


def test_the_place_of_a_key_depends_on_its_kind() -> None:
    assert 0 <= location(CHK, KEY) < RING
    assert location(CHK, KEY) != location(SSK, KEY)


@given(st.integers(1, MAX_SOURCES), st.data())
def test_any_k_texts_are_enough(count: int, data: st.DataObject) -> None:
    chance = random.Random(count)
    sources = [chance.randbytes(9) for _ in range(count)]
    texts = [*sources, *check_texts(sources, count)]
    kept = data.draw(st.permutations(range(2 * count)))[:count]
    assert recover({n: texts[n] for n in kept}, count) == sources


def test_a_segment_has_its_bounds() -> None:
    with pytest.raises(LocalMisuse):
        check_texts([b"a"] * (MAX_SOURCES + 1), 1)
    with pytest.raises(LocalMisuse):
        check_texts([b"a"], MAX_CHECKS + 1)
    with pytest.raises(LocalMisuse):
        check_texts([b"a", b"bc"], 1)
    with pytest.raises(LocalMisuse):
        recover({0: b"a"}, 2)
