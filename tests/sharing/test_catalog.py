"""The catalog gives what the spelled-out matching rule gives, through any number of changes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.urn import sha1_urn
from gnutella.sharing.catalog import MERGE_FACTOR, SMALL_ROWS, Catalog, SharedFile
from gnutella.sharing.match import indexed_words, read_query
from gnutella.sharing.segment import MAX_NEWEST
from gnutella.sharing.wordindex import DENSE_SHARE, FEW_ROWS, MAX_LOOKED_AT, WordIndexBuilder
from gnutella.testing.matching import is_match
from gnutella.testing.strategies_sharing import libraries, names, query_payload, query_texts, shared_file

ALL = 10_000


def indexes(catalog: Catalog, payload: bytes, limit: int = ALL) -> list[int]:
    return sorted(found.index for found in catalog.answer(payload, limit))


def naive(files: Sequence[SharedFile], text: str) -> list[int]:
    words = read_query(query_payload(text)).words
    return [file.index for file in files if is_match(words, indexed_words(file.name))]


@given(libraries(), query_texts())
def test_answers_are_those_of_the_spelled_out_rule(files: list[SharedFile], text: str) -> None:
    assert indexes(Catalog.build(files), query_payload(text)) == naive(files, text)


@given(libraries(), query_texts(), st.integers(0, 5))
def test_no_more_answers_than_the_limit(files: list[SharedFile], text: str, limit: int) -> None:
    found = indexes(Catalog.build(files), query_payload(text), limit)
    assert len(found) == min(limit, len(naive(files, text)))
    assert set(found) <= set(naive(files, text))


@given(libraries(), query_texts(), st.binary(max_size=30))
def test_extensions_that_say_nothing_change_nothing(files: list[SharedFile], text: str, noise: bytes) -> None:
    catalog = Catalog.build(files)
    wanted = read_query(query_payload(text, noise))
    if not wanted.sha1s and not wanted.media and not wanted.is_whats_new and wanted.words:
        assert indexes(catalog, query_payload(text, noise)) == naive(files, text)


@given(libraries(), st.binary(max_size=80))
def test_arbitrary_bytes_never_raise(files: list[SharedFile], payload: bytes) -> None:
    assert len(Catalog.build(files).answer(payload, 3)) <= 3


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[list[SharedFile], set[int]]]:
    """Batches: files added with new or known indexes, and indexes removed."""
    steps = []
    highest = 0
    for _ in range(draw(st.integers(1, 6))):
        known = draw(st.sets(st.integers(1, highest), max_size=4)) if highest else set()
        new = draw(st.integers(0, 5))
        added = sorted(known | set(range(highest + 1, highest + 1 + new)))
        highest += new
        gone = draw(st.sets(st.integers(1, highest), max_size=4)) if highest else set()
        steps.append(([shared_file(index, draw(names()), index % 7) for index in added], gone | known))
    return steps


@given(changes(), query_texts())
def test_changes_in_any_order_give_what_a_fresh_build_gives(
    steps: list[tuple[list[SharedFile], set[int]]], text: str
) -> None:
    catalog, now = Catalog(), dict[int, SharedFile]()
    for added, removed in steps:
        before = list(catalog.files)
        old, catalog = catalog, catalog.with_changes(added, removed)
        assert list(old.files) == before
        now = {index: file for index, file in now.items() if index not in removed} | {
            file.index: file for file in added
        }
    files = [now[index] for index in sorted(now)]
    assert list(catalog.files) == files
    assert catalog.file_count == len(files)
    assert catalog.total_bytes == sum(file.size for file in files)
    assert catalog.kbytes == catalog.total_bytes // 1024
    assert sorted(catalog.indexes()) == sorted(now)
    assert indexes(catalog, query_payload(text)) == naive(files, text)
    for file in files:
        assert catalog.by_index(file.index) == file
        assert catalog.by_path(file.path) == file
        assert catalog.by_sha1(file.sha1 or b"") in [other for other in files if other.sha1 == file.sha1]
    assert catalog.totals() == ({"/share": (len(files), catalog.total_bytes)} if files else {})


def songs(count: int, first: int = 1, text: str = "song") -> list[SharedFile]:
    return [shared_file(index, f"{text} number{index}.mp3") for index in range(first, first + count)]


def test_a_few_files_added_to_many_make_a_small_segment_of_their_own() -> None:
    many = Catalog.build(songs(SMALL_ROWS * 2))
    catalog = many
    for step in range(5):
        catalog = catalog.with_changes(songs(1, SMALL_ROWS * 2 + 1 + step, "late"))
    assert [segment.rows for segment, _ in catalog._parts] == [SMALL_ROWS * 2, 5]
    assert catalog._parts[0][0] is many._parts[0][0]
    assert len(indexes(catalog, query_payload("late"))) == 5
    assert len(indexes(many, query_payload("late"))) == 0


def test_segments_stay_few() -> None:
    catalog = Catalog()
    rng = random.Random(5)
    highest = 0
    for _ in range(40):
        count = rng.choice((1, 10, 300))
        catalog = catalog.with_changes(songs(count, highest + 1))
        highest += count
    assert catalog.file_count == highest
    assert len(catalog._parts) <= 3
    assert MERGE_FACTOR > 1


def test_a_hollow_segment_is_built_anew() -> None:
    catalog = Catalog.build(songs(40)).with_changes((), range(1, 12))
    assert [(segment.rows, len(dead)) for segment, dead in catalog._parts] == [(29, 0)]
    assert Catalog.build(songs(4)).with_changes((), range(1, 5))._parts == ()


def test_files_without_a_hash_are_not_in_it() -> None:
    unhashed = SharedFile(1, "a.txt", 1, 1, "/share/a.txt", None, None)
    assert Catalog.build([unhashed]).file_count == 0
    with pytest.raises(LocalMisuse):
        Catalog().with_changes([unhashed])


def test_indexes_that_do_not_rise_are_misuse() -> None:
    with pytest.raises(LocalMisuse):
        Catalog().with_changes([shared_file(2, "b"), shared_file(1, "a")])


def test_a_hash_answers_before_words_and_words_where_it_is_unknown() -> None:
    files = [shared_file(1, "one song.mp3"), shared_file(2, "two.mp3"), shared_file(3, "three.mp3", 2)]
    catalog = Catalog.build(files)
    known, unknown = sha1_urn(files[1].sha1 or b"").encode(), sha1_urn(bytes(20)).encode()
    assert indexes(catalog, query_payload("\\", known)) == [2, 3]
    assert indexes(catalog, query_payload("\\", known), 1) == [2]
    assert indexes(catalog, query_payload("song", known)) == [2, 3]
    assert indexes(catalog, query_payload("song", unknown)) == [1]
    assert indexes(catalog, query_payload("\\", unknown)) == []
    assert indexes(catalog, query_payload("nothing", Ggep.of({"H": b"\1" + (files[0].sha1 or b"")}).encode())) == [1]


def test_four_spaces_do_not_bring_the_whole_library() -> None:
    assert indexes(Catalog.build(songs(3)), query_payload("    ")) == []


def test_kinds_of_media_that_are_not_wanted_are_left_out() -> None:
    catalog = Catalog.build([shared_file(1, "song.mp3"), shared_file(2, "song.pdf"), shared_file(3, "song")])
    assert indexes(catalog, query_payload("song", Ggep.of({"M": b"\x04"}).encode())) == [1]
    assert indexes(catalog, query_payload("song", Ggep.of({"M": b"\x14"}).encode())) == [1, 2]


def test_whats_new_brings_the_newest_files_of_all_segments() -> None:
    catalog = Catalog.build(songs(SMALL_ROWS + 50)).with_changes(songs(3, SMALL_ROWS + 51))
    catalog = catalog.with_changes((), [SMALL_ROWS + 52])
    newest = catalog.answer(query_payload("WhatIsNewXOXO", Ggep.of({"WH": b"\1"}).encode()), 100)
    first = SMALL_ROWS + 53
    assert [file.index for file in newest] == [first, first - 2, *range(first - 3, first - 11, -1)]
    assert len(newest) == MAX_NEWEST


def test_what_a_hit_shows_is_what_was_added() -> None:
    file = SharedFile(
        7,
        "b_c.txt",
        5,
        1_700_000_000,
        "/s/d/b\nc.txt",
        bytes(20),
        b"t" * 24,
        "d/b\nc.txt",
        "/s",
        1_700_000_000_000_000_009,
    )
    catalog = Catalog.build([file])
    (found,) = catalog.answer(query_payload("b c"), 5)
    assert (found.index, found.name, found.size, found.mtime, found.sha1, found.tth) == (
        7, "b_c.txt", 5, 1_700_000_000, bytes(20), b"t" * 24,
    )  # fmt: skip
    assert found.file == file
    assert catalog.by_path("/s/d/b\nc.txt") == file
    assert catalog.by_path("/s/d/b_c.txt") is None
    assert "b_c.txt" in repr(found)


def test_files_beneath_a_directory_are_known() -> None:
    files = [
        SharedFile(at, name.rpartition("/")[2], 1, 1, f"{share}/{name}", bytes([at]) * 20, None, name, share)
        for at, (share, name) in enumerate([("/s", "a/1"), ("/s", "a/b/2"), ("/s", "ab/3"), ("/t", "4")], 1)
    ]
    catalog = Catalog.build(files)
    assert catalog.indexes_beneath("/s/a") == [1, 2]
    assert catalog.indexes_beneath("/s") == [1, 2, 3]
    assert catalog.indexes_in_share("/t") == [4]
    assert catalog.totals() == {"/s": (3, 3), "/t": (1, 1)}


def test_a_shared_file_may_be_made_of_little() -> None:
    catalog = Catalog.build([SharedFile(1, "song.mp3", 1, 1, "/x/y/song.mp3", bytes(20), None)])
    file = catalog.by_index(1)
    assert file is not None
    assert (file.path, file.directory, file.relative) == ("/x/y/song.mp3", "/x/y", "song.mp3")


def test_common_words_are_answered_alike_in_each_way_of_looking_up() -> None:
    rng = random.Random(3)
    size = FEW_ROWS * DENSE_SHARE * 2
    words = [{word for word, share in COMMON.items() if rng.random() < share} | {f"own{row}"} for row in range(size)]
    builder = WordIndexBuilder()
    for row in words:
        builder.add([word.encode() for word in sorted(row)])
    index = builder.finish()
    like = [sum(word in row for row in words) for word in ("rare", "seldom")]
    assert all(FEW_ROWS < count < size // DENSE_SHARE for count in like), like
    for query in (
        ["most"], ["most", "half"], ["half", "mo"], ["some", "half"], ["rare", "half"], ["rare", "some"], ["never", "most"],
        ["rare", "seldom"], ["seldom", "rare", "most"],
        ["most", "half", "some"], ["own", "most", "half"], ["own77", "most"], ["most", "mos"],
    ):  # fmt: skip
        expected = [
            row for row, has in enumerate(words) if is_match([w.encode() for w in query], [h.encode() for h in has])
        ]
        got = list(index.match([word.encode() for word in query]))
        assert sorted(got) == expected, query
        assert len(got) == len(set(got))


#: Words and the share of names that have them.
COMMON = {"most": 0.9, "mostly": 0.3, "half": 0.5, "some": 0.02, "rare": 0.003, "seldom": 0.0032}


def test_two_very_common_words_that_never_meet_find_nothing() -> None:
    builder = WordIndexBuilder()
    for row in range(MAX_LOOKED_AT * 4):
        builder.add([b"odd" if row % 2 else b"even"])
    assert list(builder.finish().match([b"odd", b"even"])) == []


def test_remembered_bit_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnutella.sharing.wordindex.MAX_BITS_BYTES", 2000)
    builder = WordIndexBuilder()
    for _ in range(MAX_LOOKED_AT * 2):
        builder.add([b"common%d" % number for number in range(9)])
    index = builder.finish()
    for number in range(8):
        assert len(list(index.match([b"common%d" % number, b"common%d" % (number + 1)]))) == MAX_LOOKED_AT * 2
    assert 0 < sum(map(len, index._bits.values())) <= 2000 + 300
