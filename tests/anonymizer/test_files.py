"""Files as blocks and back: losses, damage, lies of publishers, and what is held in memory meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer import cbor
from anonymizer.chk import DATA, DATA_BYTES, KEY_BYTES, pad, seal, unpad, unseal
from anonymizer.errors import DataNotFound, IntegrityFailure
from anonymizer.files import WINDOW, FileReader, Splitter
from anonymizer.manifest import (
    MAX_FILE_BYTES,
    MAX_LEVELS,
    MAX_TEXT_BYTES,
    NODE_SEGMENTS,
    Manifest,
    Segment,
    encode_node,
    encode_root,
    items_of,
    parse_node,
    parse_root,
    seal_root,
    sources_of,
    text_key,
)
from anonymizer.uri import ChkUri
from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

KEY = bytes(range(32))
SEGMENT = 16 * DATA_BYTES
#: The smallest file with a level of nodes.
LARGE = NODE_SEGMENTS * SEGMENT + 1


def split(data: bytes, key: bytes = KEY, *, redundant: bool = True) -> tuple[ChkUri, dict[bytes, bytes]]:
    splitter = Splitter(key, redundant=redundant)
    blocks = [block for at in range(0, len(data), 100_000) for block in splitter.feed(data[at : at + 100_000])]
    uri, last = splitter.finish("text/plain")
    return uri, {block.routing: block.sealed for block in [*blocks, *last]}


def fetch(
    uri: ChkUri, held: dict[bytes, bytes], lost: Collection[bytes] = (), chance: random.Random | None = None
) -> tuple[bytes, FileReader]:
    reader, found, most = FileReader(uri), [], 0
    while not reader.is_done:
        asked = reader.ask(64)
        most = max(most, len(asked))
        if chance is not None:
            chance.shuffle(asked)
        for routing in asked:
            if routing in lost:
                reader.lost(routing)
            else:
                reader.receive(routing, held[routing])
        found += reader.take()
        assert len(reader._active) <= WINDOW
    assert most <= 64
    return b"".join(found), reader


@settings(max_examples=12)
@given(
    st.sampled_from([0, 1, DATA_BYTES - 1, DATA_BYTES, DATA_BYTES + 1, SEGMENT, SEGMENT + 5]),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_a_file_comes_back_from_any_half_of_each_segment(size: int, seed: int, redundant: bool) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(size)
    uri, held = split(data, redundant=redundant)
    manifest = parse_root(unpad(unseal(uri.routing, held[uri.routing], uri.key, DATA, 0)))
    lost = {
        routing
        for segment in manifest.segments
        for routing in chance.sample(segment.routings, len(segment.routings) - segment.sources)
    }
    back, reader = fetch(uri, held, lost, chance)
    assert back == data
    for block in reader.healed():
        assert held[block.routing] == block.sealed
        assert block.routing in lost
    assert reader.healed() == []


def test_a_large_file_has_nodes_which_may_be_lost_too() -> None:
    data = random.Random(1).randbytes(1000) * (LARGE // 1000 + 1)
    data = data[:LARGE]
    uri, held = split(data)
    root = parse_root(unpad(unseal(uri.routing, held[uri.routing], uri.key, DATA, 0)))
    assert root.level == 1
    assert root.segments[0].sources == 2
    lost = set(root.segments[0].routings[:2])
    back, reader = fetch(uri, held, lost)
    assert back == data
    assert {block.routing for block in reader.healed()} == lost


def test_names_are_new_with_each_key_and_equal_with_the_same() -> None:
    data = bytes(3 * DATA_BYTES)
    first, second = split(data), split(data, bytes(KEY_BYTES))
    assert first == split(data)
    assert len(first[1]) == 7
    assert not set(first[1]) & set(second[1])


def test_a_block_too_few_is_told() -> None:
    uri, held = split(bytes(40_000))
    reader = FileReader(uri)
    reader.receive(uri.routing, held[reader.ask(1)[0]])
    for _ in range(2):
        reader.lost(reader.ask(1)[0])
    with pytest.raises(DataNotFound, match="segment"):
        reader.lost(reader.ask(1)[0])
    reader = FileReader(uri)
    assert reader.ask(0) == []
    with pytest.raises(DataNotFound, match="manifest"):
        reader.lost(reader.ask(1)[0])


def test_a_damaged_block_stays_asked_for_and_nothing_of_it_is_shown() -> None:
    uri, held = split(b"abc" * 20_000)
    reader = FileReader(uri)
    for _ in range(3):
        asked = reader.ask(1)[0]
        damaged = held[asked][:-1] + bytes((held[asked][-1] ^ 1,))
        with pytest.raises(RemoteViolation, match="bad_block"):
            reader.receive(asked, damaged)
        assert reader.take() == []
        reader.receive(asked, held[asked])
    assert b"".join(reader.take()) == b"abc" * 20_000
    assert reader.is_done
    reader.receive(uri.routing, b"late")
    reader.lost(uri.routing)
    assert reader.ask(9) == []


def lie(change: Callable[[Manifest], Manifest]) -> tuple[ChkUri, dict[bytes, bytes]]:
    """A file whose publisher wrote another root than he should."""
    uri, held = split(bytes(range(256)) * 300)
    root = change(parse_root(unpad(unseal(uri.routing, held[uri.routing], uri.key, DATA, 0))))
    block, key = seal_root(root)
    return ChkUri(block.routing, key), {**held, block.routing: block.sealed}


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        (lambda root: replace(root, sha256=bytes(32)), "SHA-256"),
        (lambda root: replace(root, size=root.size - 1), "length of a block"),
        (lambda root: replace(root, key=bytes(32)), "seal of a block"),
        (lambda root: replace(root, size=root.size + DATA_BYTES), "manifest"),
        (lambda root: replace(root, mime="../x"), "manifest"),
    ],
)
def test_lies_of_a_publisher_are_named_and_end_it(change: Callable[[Manifest], Manifest], stage: str) -> None:
    uri, held = lie(change)
    with pytest.raises(IntegrityFailure, match=stage) as caught:
        fetch(uri, held)
    assert uri.routing.hex() not in str(caught.value)


def test_a_root_under_another_key_than_its_own_is_refused() -> None:
    root = parse_root(encode_root(Manifest(0, "a/b", bytes(32), KEY, ())))
    block = seal(pad(encode_root(root)), KEY, DATA, 0)
    with pytest.raises(IntegrityFailure, match="key of a manifest"):
        fetch(ChkUri(block.routing, KEY), {block.routing: block.sealed})


def test_false_check_blocks_are_noticed_when_they_are_used() -> None:
    uri, held = split(b"z" * 30_000)
    root = parse_root(unpad(unseal(uri.routing, held[uri.routing], uri.key, DATA, 0)))
    false = seal(pad(b"z" * 29_999 + b"y"), KEY, 1, 0)
    segment = Segment(1, (root.segments[0].routings[0], false.routing))
    block, key = seal_root(replace(root, segments=(segment,)))
    held |= {block.routing: block.sealed, false.routing: false.sealed}
    with pytest.raises(IntegrityFailure):
        fetch(ChkUri(block.routing, key), held, {segment.routings[0]})


def test_shapes_follow_from_sizes() -> None:
    assert items_of(0) == [0]
    assert items_of(LARGE - 1) == [NODE_SEGMENTS * 16]
    assert items_of(LARGE) == [NODE_SEGMENTS * 16 + 1, 2]
    assert len(items_of(MAX_FILE_BYTES)) == MAX_LEVELS + 1
    assert len(items_of(MAX_FILE_BYTES + 1)) == MAX_LEVELS + 2
    assert sources_of(33, 0) == [16, 16, 1]
    assert sources_of(33, 2, 16) == [1]


def test_the_largest_texts_fit() -> None:
    segments = tuple(Segment(16, tuple(bytes((n, m)) * 16 for m in range(32))) for n in range(NODE_SEGMENTS))
    text = encode_root(
        Manifest(MAX_FILE_BYTES, "a/" + "b" * 125, bytes(32), KEY, segments, (KEY, KEY), bytes(20), bytes(24))
    )
    assert len(text) <= MAX_TEXT_BYTES <= DATA_BYTES
    assert parse_root(text).segments == segments
    assert parse_node(encode_node(segments), [16] * NODE_SEGMENTS) == segments
    with pytest.raises(RemoteViolation):
        parse_node(encode_node(segments), [16] * (NODE_SEGMENTS - 1))


ROOT: dict[int, cbor.Value] = {0: 40_000, 1: "a/b", 2: bytes(32), 3: KEY, 4: [[2, bytes(range(64))]]}


@pytest.mark.parametrize(
    "change",
    [
        {0: -1},
        {0: MAX_FILE_BYTES + 1},
        {0: 70_000},
        {1: "x"},
        {1: "a/b\n"},
        {2: bytes(31)},
        {3: bytes(33)},
        {4: []},
        {4: [[1, bytes(64)]]},
        {4: [[2, bytes(64)]]},
        {4: [[2, bytes(range(32))]]},
        {4: [[2, bytes(range(65))]]},
        {4: [[2, bytes(19 * 32)]]},
        {4: [[True, bytes(range(32))]]},
        {4: [b"", b""]},
        {4: [[2]]},
        {5: b""},
        {5: KEY},
        {6: bytes(19)},
        {7: bytes(25)},
    ],
)
def test_roots_that_can_describe_no_file_are_refused(change: dict[int, cbor.Value]) -> None:
    assert parse_root(cbor.encode(ROOT, 9999)).size == 40_000
    with pytest.raises(RemoteViolation) as caught:
        parse_root(cbor.encode({**ROOT, **change}, 99_999))
    assert caught.value.reason is DropReason.BAD_MANIFEST


def test_a_root_may_have_fields_of_later_versions() -> None:
    assert parse_root(cbor.encode({**ROOT, 99: "later"}, 9999)) == parse_root(cbor.encode(ROOT, 9999))
    assert text_key(cbor.encode({**ROOT, 99: "later"}, 9999)) != text_key(cbor.encode(ROOT, 9999))


@given(st.integers(0, 8 * 100 - 1))
def test_a_changed_bit_of_a_root_is_another_root_or_none(bit: int) -> None:
    text = cbor.encode(ROOT, 9999)
    changed = bytearray(text)
    changed[bit // 8 % len(text)] ^= 1 << bit % 8
    try:
        assert parse_root(bytes(changed)) != parse_root(text)
    except RemoteViolation as error:
        assert error.reason is DropReason.BAD_MANIFEST


def test_misuse_is_no_fault_of_others() -> None:
    with pytest.raises(LocalMisuse):
        Splitter(b"short")
