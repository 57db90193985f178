"""Canonical CBOR: what it takes, and that it takes it in one form only."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.cbor import MAX_DEPTH, MAX_ITEMS, Fields, Value, decode, decode_map, encode
from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason
from gnutella.testing.strategies_anonymizer import cbor_maps, cbor_values

LIMIT = 1 << 20


@given(cbor_values())
def test_a_value_comes_back(value: Value) -> None:
    assert decode(encode(value, LIMIT), LIMIT) == value


@given(st.binary(max_size=60))
def test_whatever_is_read_has_this_form_only(data: bytes) -> None:
    try:
        value = decode(data, LIMIT)
    except RemoteViolation as error:
        assert error.reason is DropReason.BAD_CBOR
    else:
        assert encode(value, LIMIT) == data


@given(cbor_maps(), st.data())
def test_a_changed_bit_never_gives_the_same_value(value: dict[int, Value], data: st.DataObject) -> None:
    whole = bytearray(encode(value, LIMIT))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    try:
        changed = decode(bytes(whole), LIMIT)
    except RemoteViolation:
        return
    assert encode(changed, LIMIT) != encode(value, LIMIT)


@pytest.mark.parametrize(
    ("hexed", "why"),
    [
        ("", "cut off"),
        ("1800", "canonical"),
        ("190017", "canonical"),
        ("5801ff", "canonical"),
        ("a201000000", "canonical"),
        ("a200000001", "canonical"),
        ("a200000100ff", "bytes after the end"),
        ("a16161 00", "no unsigned integer"),
        ("a12000", "no unsigned integer"),
        ("9f00ff", "indefinite"),
        ("c000", "a tag"),
        ("d81c00", "a tag"),
        ("f90000", "a float"),
        ("f7", "a tag, a float"),
        ("8181818180", f"deeper than {MAX_DEPTH}"),
        ("9affffffff", "more items than bytes"),
        ("5bffffffffffffffff", "cut off"),
        ("62c328", "Error"),
        ("820018", "cut off"),
        ("1c", "indefinite"),
    ],
)
def test_other_forms_are_refused(hexed: str, why: str) -> None:
    with pytest.raises(RemoteViolation, match=why):
        decode(bytes.fromhex(hexed), LIMIT)


def test_known_forms() -> None:
    value: Value = {0: 1, 1: b"\x01\x02", 23: "ä", 24: [True, False, None, -1], 256: {7: 2**64 - 1}}
    data = encode(value, LIMIT)
    assert data.hex() == "a50001014201021762c3a4181884f5f4f620190100a1071bffffffffffffffff"
    assert decode(data, LIMIT) == value


def test_a_body_has_a_size_and_a_number_of_items() -> None:
    assert decode(encode(b"\0" * 97, 99), 99) == b"\0" * 97
    with pytest.raises(RemoteViolation, match="at most 98"):
        decode(encode(b"\0" * 97, 99), 98)
    with pytest.raises(LocalMisuse):
        encode(b"\0" * 97, 98)
    assert decode(cbor2.dumps([0] * (MAX_ITEMS - 1)), LIMIT) == [0] * (MAX_ITEMS - 1)
    with pytest.raises(RemoteViolation, match="items"):
        decode(cbor2.dumps([0] * MAX_ITEMS), LIMIT)


@pytest.mark.parametrize("value", [1.5, {"a": 1}, {-1: 1}, {True: 1}, 2**64, {1: {1: {1: {1: {}}}}}, (1,), {1, 2}])
def test_what_has_no_form_cannot_be_written(value: object) -> None:
    with pytest.raises(LocalMisuse):
        encode(value, LIMIT)  # type: ignore[arg-type]


def test_fields_are_taken_by_kind_and_bounds() -> None:
    fields = decode_map(encode({0: 5, 1: b"abc", 2: "hé", 3: [1], 4: {0: True}, 9: 0}, LIMIT), LIMIT)
    assert fields.integer(0, 0, 5) == 5
    assert fields.octets(1, 3) == b"abc"
    assert fields.text(2, 3) == "hé"
    assert fields.array(3, 1, 1) == [1]
    assert fields.map(4).boolean(0) is True
    assert 9 in fields
    with pytest.raises(RemoteViolation, match="unknown field 9"):
        fields.finish()


def test_fields_of_another_kind_are_refused() -> None:
    value: dict[int, Value] = {0: 5, 1: b"abc", 2: "hé", 3: [1], 4: {0: True}}
    for take in (
        lambda: Fields(value).integer(0, 6, 7),
        lambda: Fields(value).integer(1, 0, 9),
        lambda: Fields(value).map(4).integer(0, 0, 1),
        lambda: Fields(value).octets(1, 4),
        lambda: Fields(value).octets(1, 0, 2),
        lambda: Fields(value).octets(2, 0, 9),
        lambda: Fields(value).text(2, 2),
        lambda: Fields(value).text(1, 9),
        lambda: Fields(value).boolean(0),
        lambda: Fields(value).array(3, 2, 3),
        lambda: Fields(value).array(4, 0, 3),
        lambda: Fields(value).map(3),
        lambda: Fields(value).integer(7, 0, 9),
        lambda: decode_map(b"\x00", LIMIT),
    ):
        with pytest.raises(RemoteViolation):
            take()
