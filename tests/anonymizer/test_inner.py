"""What is said inside a circuit."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.cells import LARGE_BODY, SMALL_BODY
from anonymizer.fields import Body
from anonymizer.inner import (
    LARGE_PLAIN,
    SMALL_PLAIN,
    TYPES,
    Dummy,
    Hit,
    InnerBlock,
    Opened,
    StoreBlock,
    decode,
    encode,
    plain_of,
    read_plain,
)
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import BLOCK_SIZES, BlockType
from gnutella.errors import LocalMisuse
from tests.anonymizer.strategies import instructions
from tests.anonymizer.test_wire import beyond, within

CHK = BlockType.CHK
BLOCK = bytes(range(4)) * (BLOCK_SIZES[CHK] // 4)
FIELDS = [pytest.param(n, kind, key, id=f"{n}-{key}") for n, kind in TYPES.items() for key in range(len(kind.KINDS))]


def refuse(plain: bytes) -> None:
    with pytest.raises(Violation) as caught:
        read_plain(plain)
    assert caught.value.reason is Refusal.BAD_INNER


def refuse_value(value: object) -> None:
    with pytest.raises(Violation) as caught:
        decode(cbor2.dumps(value, canonical=True))
    assert caught.value.reason is Refusal.BAD_INNER


@given(instructions())
def test_every_instruction_is_read_as_it_was_written_and_fills_its_cell(body: Body) -> None:
    plain = plain_of(body)
    assert len(plain) + 16 in (SMALL_BODY, LARGE_BODY)
    assert read_plain(plain) == body


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        body = decode(data)
    except Violation as violation:
        assert violation.reason is Refusal.BAD_INNER
    else:
        assert encode(body) == data


@pytest.mark.parametrize(("number", "kind", "key"), FIELDS)
def test_each_bound_of_each_field_is_held(number: int, kind: type[Body], key: int) -> None:
    sound = {0: number} | {n + 1: within(field) for n, field in enumerate(kind.KINDS)}
    for value in beyond(kind.KINDS[key]):
        refuse_value(sound | {key + 1: value})
    refuse_value({n: value for n, value in sound.items() if n != key + 1})
    refuse_value(sound | {len(sound): 0})


def test_types_that_do_not_exist_and_keys_of_no_type_are_refused() -> None:
    for value in ({}, {0: 0}, {0: 17}, {0: True}, {0: "x"}, {1: bytes(32)}, [14]):
        refuse_value(value)
    refuse_value({0: 2, 1: [b"\3" + bytes(32)]})
    refuse_value({0: 3, 1: 1, 2: bytes(1_196)})


def test_hits_and_dummies_look_alike() -> None:
    assert len(plain_of(Dummy())) == len(plain_of(Hit(bytes(1_440)))) == SMALL_PLAIN


def test_fill_is_zeros_and_cells_have_the_right_size() -> None:
    plain = plain_of(Opened(bytes(32)))
    refuse(plain[:-1] + b"\1")
    refuse(plain + bytes(LARGE_PLAIN - SMALL_PLAIN))
    refuse(b"\xff\xff" + plain[2:])
    refuse(b"\0")
    with pytest.raises(LocalMisuse):
        plain_of(Opened(bytes(31)))


@pytest.mark.parametrize("body", [InnerBlock(CHK, BLOCK), StoreBlock(CHK, BLOCK, False), StoreBlock(CHK, BLOCK, True)])
def test_content_blocks_have_the_form_that_any_instruction_has(body: Body) -> None:
    number = next(number for number, kind in TYPES.items() if kind is type(body))
    value = {0: number} | {key + 1: item for key, item in body.to_map().items()}
    assert encode(body) == cbor2.dumps(value, canonical=True)
    for changed in (b"\xa2", b"\xb8"):
        with pytest.raises(Violation):
            decode(changed + encode(body)[1:])
    with pytest.raises(Violation):
        decode(encode(body) + b"\0")
    with pytest.raises(Violation):
        decode(encode(body), 1_000)
