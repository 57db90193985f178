"""SHA-1 and tree in one pass."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.tth import node_size_for, tree_of
from gnutella.sharing.hashing import BLOCK_SIZE, FileChanged, FileHasher, hash_bytes

PATTERN = bytes(range(251)) * 4200


@given(size=st.integers(0, len(PATTERN)), step=st.sampled_from([1000, 65536, BLOCK_SIZE]))
def test_both_names_come_from_one_pass(size: int, step: int) -> None:
    data = PATTERN[:size]
    hasher = FileHasher(size)
    for at in range(0, size, step):
        hasher.update(data[at : at + step])
        assert hasher.done == min(at + step, size)
    found = hasher.finish()
    assert found.sha1 == hashlib.sha1(data).digest()
    assert found.as_tree() == tree_of(data)
    assert (found.tth, found.size) == (tree_of(data).root, size)
    assert found == hash_bytes(data)


def test_only_the_served_level_is_kept() -> None:
    size = 600 * 1024
    assert len(hash_bytes(PATTERN[:size]).tree) == 24 * -(-size // node_size_for(size)) == 24 * 3


def test_a_file_that_grows_or_shrinks_is_noticed() -> None:
    hasher = FileHasher(10)
    hasher.update(b"12345")
    with pytest.raises(FileChanged, match="grew beyond 10 bytes"):
        hasher.update(b"678901")
    with pytest.raises(FileChanged, match="shrank from 10 to 5 bytes"):
        hasher.finish()
