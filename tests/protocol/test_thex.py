"""THEX bodies: what real servents read and write, and what no body may do."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol import thex
from gnutella.protocol.tth import Tree, tree_of
from gnutella.reasons import DropReason

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "tth.json").read_text())
ROW = VECTORS["thex_dime"][0] if isinstance(VECTORS["thex_dime"], list) else VECTORS["thex_dime"]
KIB = 1024
PATTERN = bytes(range(251)) * 4200
TREE = tree_of(PATTERN[: 600 * KIB])
BODY = thex.serialise(TREE)


def refused(body: bytes, tree: Tree = TREE) -> str:
    with pytest.raises(RemoteViolation) as caught:
        thex.parse(body, tree.root, tree.size)
    assert caught.value.reason is DropReason.BAD_TREE
    return caught.value.detail


def test_the_body_is_byte_for_byte_what_limewire_reads() -> None:
    assert thex.serialise(TREE, "uuid:01234567-89ab-cdef-0123-456789abcdef").hex() == ROW["body_hex"]


def test_the_body_of_a_real_reader_is_read() -> None:
    assert thex.parse(bytes.fromhex(ROW["body_hex"]), TREE.root, TREE.size) == TREE


@given(size=st.integers(0, len(PATTERN)), depth=st.integers(0, 10))
def test_any_depth_is_read_and_cut_to_what_is_needed(size: int, depth: int) -> None:
    data = PATTERN[:size]
    full = max(-(-size // KIB) - 1, 0).bit_length()
    tree = tree_of(data, min(depth, full))
    served = tree_of(data)
    wanted = tree if tree.depth <= served.depth else served
    assert thex.parse(thex.serialise(tree), tree.root, size) == wanted


def test_bodies_are_the_same_each_time_and_differ_between_files() -> None:
    assert thex.serialise(TREE) == BODY
    assert thex.serialise(tree_of(b"other")) != BODY


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(body: bytes) -> None:
    assert refused(body)


@given(at=st.integers(0, len(BODY) - 1), value=st.integers(0, 255), cut=st.integers(0, len(BODY)))
def test_a_changed_body_gives_the_true_tree_or_none(at: int, value: int, cut: int) -> None:
    changed = bytearray(BODY)
    changed[at] = value
    try:
        assert thex.parse(bytes(changed), TREE.root, TREE.size) == TREE
    except RemoteViolation as violation:
        assert violation.reason is DropReason.BAD_TREE
    if cut < len(BODY):
        refused(BODY[:cut])


def test_the_body_has_a_limit() -> None:
    assert "bytes" in refused(BODY + bytes(thex.MAX_BODY))
    # At the limit it is looked into: what is wrong then is the tree.
    levels = bytes(24 * (thex.MAX_BODY // 24 - 100))
    assert "levels" in refused(record(4, b"text/xml", b"") + record(2, TYPE, levels))


TYPE = b"http://open-content.net/spec/thex/breadthfirst"


def record(flags: int, kind: bytes, data: bytes, version: int = 1) -> bytes:
    head = struct.pack(">BBHHHI", version << 3 | flags, 16, 0, 0, len(kind), len(data))
    return head + b"".join(part + bytes(-len(part) % 4) for part in (kind, data))


LEVELS = b"".join(TREE.levels())


def test_a_description_may_be_bare_but_not_of_another_file() -> None:
    assert thex.parse(record(4, b"text/xml", b"<hashtree/>") + record(2, TYPE, LEVELS), TREE.root, TREE.size) == TREE
    for xml, named in (
        (b'<file size="1" segmentsize="1024"/>', "file size"),
        (b"<file size='614400' segmentsize='4096'/>", "file segmentsize"),
        (b'<digest outputsize="20"/>', "digest outputsize"),
    ):
        assert named in refused(record(4, b"text/xml", xml) + record(2, TYPE, LEVELS))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (record(4, b"text/xml", b"") + record(2, b"text/plain", LEVELS), "missing"),
        (record(6, TYPE, LEVELS), "missing"),
        (record(0, b"text/xml", b"") + record(2, TYPE, LEVELS), "flags"),
        (record(4, b"text/xml", b"") + record(4 | 2, TYPE, LEVELS), "flags"),
        (record(5, b"text/xml", b"") + record(2, TYPE, LEVELS), "flags"),
        (record(4, b"text/xml", b"", version=2) + record(2, TYPE, LEVELS), "flags"),
        (record(4, b"text/xml", b"") + record(2, TYPE, LEVELS)[:-24], "cut off"),
        (record(4, b"text/xml", b"") + record(2, TYPE, LEVELS[:-24]), "levels"),
        (record(4, b"text/xml", b"") + record(2, TYPE, b""), "levels"),
        (record(4, b"text/xml", b"") + record(2, TYPE, LEVELS[::-1]), "level"),
        (record(4, b"text/xml", b" " * (thex.MAX_XML + 1)) + record(2, TYPE, LEVELS), "XML"),
        (record(4, b"a", b"") + record(0, b"b", b"") * thex.MAX_RECORDS + record(2, TYPE, LEVELS), "records"),
    ],
)
def test_malformed_bodies_are_refused_by_name(body: bytes, complaint: str) -> None:
    assert complaint in refused(body)


def test_a_length_that_claims_gigabytes_costs_nothing() -> None:
    head = struct.pack(">BBHHHI", 1 << 3 | 4, 16, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF)
    assert "cut off" in refused(head + bytes(100))


def test_the_tree_of_an_empty_file_is_read() -> None:
    tree = tree_of(b"")
    assert thex.parse(thex.serialise(tree), tree.root, 0) == tree
