"""Tiger trees: roots, levels, depths, and what is refused."""

from __future__ import annotations

import json
from base64 import b32encode
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.protocol.tth import (
    BLOCK_SIZE,
    DIGEST_SIZE,
    MAX_DEPTH,
    FileHash,
    Tree,
    TreeHasher,
    node_count,
    node_size_for,
    roots,
    tree_depth_for,
    tree_of,
)
from gnutella.reasons import DropReason

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "tth.json").read_text())
KIB = 1024
PATTERN = bytes(range(251)) * 4200


def base32(digest: bytes) -> str:
    return b32encode(digest).decode().rstrip("=")


def content(row: dict[str, Any]) -> bytes:
    size = int(row["size"])
    name = row["input"]
    if name.endswith('"A"'):
        return b"A" * size
    if name == '"a"':
        return b"a"
    return bytes(i % 251 for i in range(251)) * (size // 251) + bytes(range(size % 251))


@pytest.mark.parametrize("row", VECTORS["tth"], ids=lambda row: f"{row['input']}-{row['size']}")
def test_roots_are_those_of_real_servents(row: dict[str, Any]) -> None:
    assert base32(tree_of(content(row)).root) == row["tth"]


def test_levels_of_a_small_tree_are_those_derived_by_hand() -> None:
    row = VECTORS["tree"][0] if isinstance(VECTORS["tree"], list) else VECTORS["tree"]
    levels = tree_of(PATTERN[:2560], depth=2).levels()
    assert [[base32(level[at : at + 24]) for at in range(0, len(level), 24)] for level in levels] == row["levels"]


@pytest.mark.parametrize("row", VECTORS["good_depth"], ids=lambda row: str(row["size"]))
def test_served_depth_and_nodes_are_those_of_gtk_gnutella(row: dict[str, Any]) -> None:
    size = int(row["size"])
    assert tree_depth_for(size) == int(row["gtkg_depth"])
    # An empty file has one empty leaf, which gtk-gnutella does not count.
    assert node_count(size, node_size_for(size)) == (int(row["gtkg_bottom_nodes"]) or 1)


@given(st.integers(0, 1 << 50))
def test_the_served_level_is_exactly_as_deep_as_it_says(size: int) -> None:
    depth, node_size = tree_depth_for(size), node_size_for(size)
    assert depth <= MAX_DEPTH
    assert (node_count(size, node_size) - 1).bit_length() == depth
    assert node_size == KIB or node_size // 2 * (1 << depth) < size <= node_size * (1 << depth)


@given(
    size=st.integers(0, 3 * BLOCK_SIZE + 5000),
    shift=st.integers(6, 11),
    cuts=st.lists(st.integers(0, 3 * BLOCK_SIZE + 5000), max_size=6),
)
def test_pieces_of_any_length_make_the_same_tree(size: int, shift: int, cuts: list[int]) -> None:
    data = PATTERN[:size]
    hasher = TreeHasher(KIB << shift)
    bounds = sorted({0, size, *(cut for cut in cuts if cut < size)})
    for start, stop in pairwise(bounds):
        hasher.update(memoryview(data)[start:stop])
    tree = hasher.finish()
    assert tree.nodes == b"".join(roots(data, KIB << shift))
    assert tree.root == roots(data, 1 << 30)[0]


@given(size=st.integers(1, 20_000), shift=st.integers(0, 5))
def test_every_piece_is_recognised_and_no_other(size: int, shift: int) -> None:
    data = PATTERN[:size]
    hasher = TreeHasher(KIB << shift)
    hasher.update(data)
    tree = hasher.finish()
    for index in range(tree.count):
        start, stop = tree.span(index)
        assert tree.holds(index, data[start:stop])
        assert not tree.holds(index, data[start : stop - 1])
        assert not tree.holds(index, bytes([data[start] ^ 1]) + data[start + 1 : stop])
    assert tree.span(tree.count - 1)[1] == size


@given(size=st.integers(0, 40_000), depth=st.integers(0, 6))
def test_levels_lead_back_to_their_tree(size: int, depth: int) -> None:
    tree = tree_of(PATTERN[:size], min(depth, max(-(-size // KIB) - 1, 0).bit_length()))
    assert Tree.from_levels(size, tree.levels(), tree.root) == tree
    assert tree.verified(tree.root) is tree


@given(size=st.integers(KIB + 1, 20_000), level=st.integers(0, 4), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_wrong_bit_in_any_level_is_found(size: int, level: int, at: int, bit: int) -> None:
    tree = tree_of(PATTERN[:size], 4 if size > 8 * KIB else 1)
    levels = tree.levels()
    level %= len(levels)
    wrong = bytearray(levels[level])
    wrong[at % len(wrong)] ^= 1 << bit
    levels[level] = bytes(wrong)
    with pytest.raises(RemoteViolation) as caught:
        Tree.from_levels(size, levels, tree.root)
    assert caught.value.reason is DropReason.BAD_TREE


@pytest.mark.parametrize(
    "levels",
    [[], [b""], [bytes(23)], [bytes(24), bytes(24)], [bytes(24)] * (MAX_DEPTH + 2)],
    ids=["none", "empty", "short", "too-few-nodes", "too-deep"],
)
def test_levels_of_wrong_shape_are_refused(levels: list[bytes]) -> None:
    with pytest.raises(RemoteViolation) as caught:
        Tree.from_levels(5000, levels, bytes(24))
    assert caught.value.reason is DropReason.BAD_TREE


def test_a_tree_of_another_file_is_refused() -> None:
    with pytest.raises(RemoteViolation, match="do not lead to the root"):
        tree_of(b"one").verified(tree_of(b"other").root)


@pytest.mark.parametrize("node_size", [0, 512, 1000, 1536, -1024])
def test_impossible_node_sizes_are_our_own_mistake(node_size: int) -> None:
    with pytest.raises(LocalMisuse):
        TreeHasher(node_size)
    with pytest.raises(LocalMisuse):
        Tree(10, node_size, bytes(DIGEST_SIZE))


def test_nodes_that_do_not_cover_the_file_are_our_own_mistake() -> None:
    with pytest.raises(LocalMisuse):
        Tree(1025, KIB, bytes(DIGEST_SIZE))


def test_a_file_hash_knows_its_tree() -> None:
    tree = tree_of(PATTERN[: 600 * KIB])
    names = FileHash(bytes(20), tree.root, tree.nodes, tree.size)
    assert names.as_tree() == tree
    assert names.as_tree().depth == 2
