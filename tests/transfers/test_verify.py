"""Leaf by leaf checks: what is hashed next, what is right, and who is to blame."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse
from gnutella.protocol.http import Span
from gnutella.transfers import verify
from gnutella.transfers.ranges import RangeSet
from gnutella.transfers.verify import LeafCheck

LEAF = 10


def digest(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def nodes_of(data: bytes) -> list[bytes]:
    return [digest(data[at : at + LEAF]) for at in range(0, max(len(data), 1), LEAF)]


@given(st.binary(max_size=95), st.data())
def test_every_right_leaf_is_found_right_and_every_wrong_one_wrong(data: bytes, draw: st.DataObject) -> None:
    flips = draw.draw(st.sets(st.integers(0, max(0, len(data) - 1)))) if data else set()
    stored = bytes(byte ^ (position in flips) for position, byte in enumerate(data))
    check, have = LeafCheck(len(data), LEAF, nodes_of(data)), RangeSet()
    pieces = draw.draw(st.permutations(range(0, len(data), 7)))
    for start in pieces:
        have.add(start, min(start + 7, len(data)))
        check.wrote(1, start, min(start + 7, len(data)))
        while (batch := check.next_batch(have)) is not None:
            assert have.covers(*batch) and batch.start % LEAF == 0
            hashes = [digest(stored[at : min(at + LEAF, batch.stop)]) for at in range(batch.start, batch.stop, LEAF)]
            verdict = check.checked(batch, hashes)
            for span in verdict.bad:
                assert any(flip in range(*span) for flip in flips) and verdict.culprits == {1}
                have.remove(*span)
    right = {at for at in range(len(data)) if not any(flip // LEAF == at // LEAF for flip in flips)}
    assert {at for span in check.verified for at in range(*span)} == right
    assert check.is_complete == (not flips)


def test_a_batch_is_bounded_and_not_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_BATCH", 25)
    check, have = LeafCheck(100, LEAF, [b""] * 10), RangeSet([(3, 100)])
    assert check.next_batch(have) == Span(10, 30)
    assert check.next_batch(have) == Span(30, 50)
    check.abandoned(Span(10, 30))
    assert check.next_batch(have) == Span(10, 30)


def bad_leaf(check: LeafCheck, *writers: int) -> verify.Verdict:
    for writer in writers:
        check.wrote(writer, 0, LEAF)
    batch = check.next_batch(RangeSet([(0, LEAF)]))
    assert batch is not None
    return check.checked(batch, [b"wrong"])


def test_a_leaf_of_several_authors_or_from_before_a_restart_blames_nobody() -> None:
    check = LeafCheck(20, LEAF, [b"a", b"b"])
    assert bad_leaf(check, 1, 2).culprits == set()
    assert bad_leaf(check, 0).culprits == set()
    assert bad_leaf(check, 0, 1).culprits == set()
    assert bad_leaf(check, 3).culprits == {3}


def test_a_leaf_that_is_wrong_from_two_sources_casts_doubt_on_the_tree() -> None:
    check = LeafCheck(20, LEAF, [b"a", b"b"])
    assert not bad_leaf(check, 1).is_tree_doubtful
    assert not bad_leaf(check, 1).is_tree_doubtful
    assert bad_leaf(check, 2).is_tree_doubtful


def test_forgetting_checks_everything_again_and_misuse_is_a_bug() -> None:
    check = LeafCheck(20, LEAF, nodes_of(bytes(20)))
    have = RangeSet([(0, 20)])
    batch = check.next_batch(have)
    assert batch == Span(0, 20)
    check.checked(batch, nodes_of(bytes(20)))
    assert check.is_complete and check.next_batch(have) is None
    check.forget()
    assert check.next_batch(have) == Span(0, 20)
    with pytest.raises(LocalMisuse):
        check.checked(Span(0, 20), [b"one"])
    with pytest.raises(LocalMisuse):
        LeafCheck(21, LEAF, [b"a", b"b"])


def test_an_empty_file_is_complete_at_once() -> None:
    check = LeafCheck(0, LEAF, [b"x"])
    assert check.is_complete and check.next_batch(RangeSet()) is None
