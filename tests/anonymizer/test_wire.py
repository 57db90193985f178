"""What cells say: every body on its way there and back, and every bound."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import wire
from anonymizer.cells import LARGE_BODY, SMALL_BODY, Cell, Command, decode
from anonymizer.fields import Body, Kind, Many, Number, Octets, OneOf, Text
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import BODIES, SEALED_SIZE, AnyBody, BlockType, Open, Phase, Post, cell_of, parse
from gnutella.errors import LocalMisuse
from tests.anonymizer.strategies import bodies

ID = bytes(range(32))
UID = bytes(16)


def refuse(command: Command, value: object, *, large: bool = False) -> None:
    data = value if isinstance(value, bytes) else cbor2.dumps(value, canonical=True)
    channel = 1 if command in (Command.OPEN, Command.CELL, Command.CLOSE, Command.CREDIT) else 0
    with pytest.raises(Violation) as caught:
        parse(Cell(command, data, channel, large))
    assert caught.value.reason is Refusal.BAD_BODY


@given(bodies(), st.integers(1, 2**32 - 1))
def test_every_body_is_read_as_it_was_written(body: AnyBody, number: int) -> None:
    commands = {kind: command for command, kind in BODIES.items()}
    has_channel = commands[type(body)] in (Command.OPEN, Command.CELL, Command.CLOSE, Command.CREDIT)
    cell = cell_of(body, number if has_channel else 0)
    assert cell.command is commands[type(body)]
    assert parse(decode(cell.encode())) == body


@given(st.sampled_from(Command), st.binary(max_size=100) | st.binary(max_size=9).map(lambda seed: seed * 4_000))
def test_any_bytes_are_read_or_refused(command: Command, data: bytes) -> None:
    data = data[:LARGE_BODY]
    try:
        body = parse(Cell(command, data, 1, len(data) > SMALL_BODY))
    except Violation as violation:
        assert violation.reason is Refusal.BAD_BODY
    else:
        assert cell_of(body).body == data


def beyond(kind: Kind) -> list[Any]:
    """Values just beyond each bound of a field, and one of another kind."""
    if isinstance(kind, Number):
        return [kind.low - 1, kind.high + 1, b"", True]
    if isinstance(kind, OneOf):
        return [min(kind.choices) - 1, max(kind.choices) + 1, "x"]
    if isinstance(kind, Octets):
        most = kind.low if kind.high is None else kind.high
        return [bytes(most + 1), "x" * kind.low] + ([bytes(kind.low - 1)] if kind.low else [])
    if isinstance(kind, Text):
        bad = ["x" * (kind.high + 1), "ö" * (kind.high // 2 + 1), b"x"]
        return bad + ([""] if kind.low else [])
    if isinstance(kind, Many):
        inside = [[bad] for bad in beyond(kind.kind)]
        sound = within(kind.kind)
        return inside + [[sound] * (kind.high + 1)] + ([[sound] * (kind.low - 1)] if kind.low else [])
    return [1, None]


def within(kind: Kind) -> Any:
    """The least value of a field."""
    if isinstance(kind, Number):
        return kind.low
    if isinstance(kind, OneOf):
        return int(min(kind.choices))
    if isinstance(kind, Octets):
        return bytes(kind.low)
    if isinstance(kind, Text):
        return "x"
    return [within(kind.kind)] * kind.low if isinstance(kind, Many) else False


FIELDS = [
    pytest.param(command, body, key, id=f"{command.name}-{key}")
    for command, body in BODIES.items()
    if issubclass(body, Body)
    for key in range(len(body.KINDS))
]


@pytest.mark.parametrize(("command", "body", "key"), FIELDS)
def test_each_bound_of_each_field_is_held(command: Command, body: type[Body], key: int) -> None:
    sound = {number: within(kind) for number, kind in enumerate(body.KINDS)}
    parse(Cell(command, cbor2.dumps(sound, canonical=True)))
    for value in beyond(body.KINDS[key]):
        refuse(command, sound | {key: value})
    refuse(command, {number: value for number, value in sound.items() if number != key})
    refuse(command, sound | {len(sound): 0})


def test_no_counter_is_on_the_stem() -> None:
    for kind in (Open, Post):
        for phase, budget in ((Phase.STEM, 1), (Phase.BRIDGE, 0), (Phase.BRIDGE, 7)):
            with pytest.raises(LocalMisuse):
                cell_of(kind(phase, ID, budget, bytes(SEALED_SIZE)), 1)
            refuse(Command.OPEN, {0: int(phase), 1: ID, 2: budget, 3: bytes(SEALED_SIZE)})
        sizes = {
            len(cell_of(kind(phase, ID, budget, bytes(SEALED_SIZE)), 1).body)
            for phase, budget in ((Phase.STEM, 0), (Phase.BRIDGE, 8))
        }
        assert len(sizes) == 1


def test_only_the_canonical_form_is_read() -> None:
    refuse(Command.PING, bytes.fromhex("a1 1800 48") + bytes(8))
    refuse(Command.PING, bytes.fromhex("bf 00 48") + bytes(8) + b"\xff")
    refuse(Command.PING, cbor2.dumps({0: bytes(8)}) + b"\0")
    refuse(Command.PING, cbor2.dumps([bytes(8)]))
    refuse(Command.PAD, {})
    refuse(Command.EDGE_REQ, b"\0")


def test_blocks_have_their_length_and_their_size_of_cell() -> None:
    chk, ssk = bytes(32_788), bytes(1_196)
    assert cell_of(wire.Block(UID, BlockType.CHK, chk)).is_large
    assert not cell_of(wire.Block(UID, BlockType.SSK, ssk)).is_large
    for data, large in ((ssk, True), (chk[1:], True), (ssk + b"\0", False), (b"", False)):
        refuse(Command.BLOCK, UID + bytes((1 if large else 2,)) + data, large=large)
    refuse(Command.BLOCK, UID + b"\3" + ssk)
    refuse(Command.BLOCK, UID)
    refuse(Command.BLOCK, UID + b"\2" + ssk, large=True)
    for head in (b"\0\2\0", b"\x0d\2\0", b"\1\2\2", b"\1\3\0", b"\1\1\0"):
        refuse(Command.STORE, UID + head + ssk)
    refuse(Command.STORE, UID + b"\1\2")
    with pytest.raises(LocalMisuse):
        cell_of(wire.Block(UID, BlockType.SSK, chk))
    with pytest.raises(LocalMisuse):
        cell_of(wire.Store(UID, 13, BlockType.SSK, False, ssk))


def test_cells_of_circuits_are_full() -> None:
    refuse(Command.CELL, bytes(SMALL_BODY - 1))
    refuse(Command.CELL, bytes(SMALL_BODY), large=True)
    with pytest.raises(LocalMisuse):
        cell_of(wire.Ciphertext(bytes(SMALL_BODY + 1)), 1)


def test_what_fits_into_a_small_cell_is_not_sent_in_a_large_one() -> None:
    refuse(Command.DESC, {0: [b"x"]}, large=True)
    refuse(Command.POST, {0: 0, 1: ID, 2: 0, 3: bytes(SEALED_SIZE)}, large=True)
    refuse(Command.POST, {0: 0, 1: ID, 2: 0, 3: bytes(SEALED_SIZE + 1)})
    assert cell_of(wire.Descriptors((bytes(2_048),) * 16)).is_large


def test_a_gap_in_the_numbers_of_choices_is_no_choice() -> None:
    refuse(Command.FETCH, {0: UID, 1: 0, 2: ID, 3: 1, 4: False})
    refuse(Command.FETCH, {0: UID, 1: 3, 2: ID, 3: 1, 4: False})
