"""Hits of one search as numbered rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.magnet import parse_magnet
from gnutella.protocol.message import HitRecord, QueryHit
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.routing.events import HitReceived
from gnutella.routing.results import MAX_ROWS, MAX_SOURCES, SearchResults
from gnutella.routing.sorts import sort_of, wanted_sorts
from gnutella.testing.routers import guid_of
from gnutella.testing.strategies_protocol import hits
from gnutella.units import Address, LinkId

SHA1, OTHER, TTH = b"1" * 20, b"2" * 20, b"t" * 24


def hit(servent: int, *records: HitRecord, hops: int = 1, needs_push: bool = False) -> HitReceived:
    address = Address(f"10.2.{servent >> 8}.{servent & 255}", 6346)
    found = QueryHit(address, 1, records, b"GTKG", guid_of(servent), needs_push)
    return HitReceived(guid_of(1), found, hops, LinkId(0))


def test_the_same_file_of_many_servents_is_one_row() -> None:
    results = SearchResults(guid_of(1))
    (row,) = results.add(hit(1, HitRecord(5, 100, "Song.ogg", SHA1, TTH), hops=3))
    assert results.add(hit(2, HitRecord(9, 100, "renamed.ogg", SHA1), hops=2, needs_push=True)) == []
    assert results.rows() == [
        {
            "hit": 1,
            "name": "Song.ogg",
            "size": 100,
            "urn": sha1_urn(SHA1),
            "tth": b32encode(TTH),
            "hops": 2,
            "vendor": "GTKG",
            "magnet": row.magnet(),
            "sources": [
                {"address": "10.2.0.1:6346", "servent_id": guid_of(1).hex(), "push": False},
                {"address": "10.2.0.2:6346", "servent_id": guid_of(2).hex(), "push": True},
            ],
            "spam": 0,
            "spam_reasons": [],
            "likely_spam": False,
        }
    ]
    assert [(source.index, source.name) for source in row.sources] == [(5, "Song.ogg"), (9, "renamed.ogg")]
    magnet = parse_magnet(row.magnet())
    assert (magnet.sha1, magnet.tth, magnet.size, magnet.name) == (SHA1, TTH, 100, "Song.ogg")
    assert magnet.sources == (Address("10.2.0.1", 6346),), "a firewalled source cannot be dialled"


def test_rows_keep_their_numbers() -> None:
    results = SearchResults(guid_of(1))
    results.add(hit(1, HitRecord(1, 10, "a", SHA1), HitRecord(2, 20, "b", OTHER)))
    results.add(hit(2, HitRecord(1, 30, "c", b"3" * 20), HitRecord(2, 10, "a", SHA1)))
    assert [(row.number, row.name) for row in results.hits()] == [(1, "a"), (2, "b"), (3, "c")]
    found = results.hit(2)
    assert found is not None
    assert found.name == "b"
    assert results.hit(0) is results.hit(4) is None


def test_a_lie_about_the_size_makes_a_row_of_its_own() -> None:
    results = SearchResults(guid_of(1))
    results.add(hit(1, HitRecord(1, 10, "a", SHA1)))
    results.add(hit(2, HitRecord(1, 11, "a", SHA1)))
    assert [row["size"] for row in results.rows()] == [10, 11]


def test_files_without_a_hash_are_told_apart_by_name_and_size() -> None:
    results = SearchResults(guid_of(1))
    results.add(hit(1, HitRecord(1, 10, "a"), HitRecord(2, 10, "b")))
    results.add(hit(2, HitRecord(1, 10, "a")))
    rows = results.rows()
    assert [(row["name"], row["urn"], len(row["sources"])) for row in rows] == [("a", None, 2), ("b", None, 1)]


def test_the_tree_root_of_the_majority_counts() -> None:
    results = SearchResults(guid_of(1))
    for servent, tth in enumerate((b"x" * 24, TTH, TTH)):
        results.add(hit(servent, HitRecord(1, 10, "a", SHA1, tth)))
    assert results.rows()[0]["tth"] == b32encode(TTH)


def test_one_servent_is_one_source() -> None:
    results = SearchResults(guid_of(1))
    for _ in range(3):
        results.add(hit(1, HitRecord(1, 10, "a", SHA1, TTH)))
    assert len(results.rows()[0]["sources"]) == 1


def test_rows_and_sources_are_bounded_and_the_rest_is_counted() -> None:
    results = SearchResults(guid_of(1))
    for number in range(MAX_ROWS + 5):
        results.add(hit(1, HitRecord(number, number, "a")))
    assert len(results) == MAX_ROWS
    assert results.is_full
    assert results.omitted == 5
    for servent in range(2, MAX_SOURCES + 4):
        results.add(hit(servent, HitRecord(0, 0, "a")))
    assert len(results.hits()[0].sources) == MAX_SOURCES
    assert results.omitted == 8


def test_a_limit_of_rows_still_takes_sources_for_them() -> None:
    results = SearchResults(guid_of(1), limit=1)
    results.add(hit(1, HitRecord(1, 10, "a", SHA1), HitRecord(2, 20, "b", OTHER)))
    results.add(hit(2, HitRecord(1, 10, "a", SHA1)))
    assert [len(row["sources"]) for row in results.rows()] == [2]
    assert len(SearchResults(guid_of(1), limit=0)) == 0


def test_only_the_wanted_kinds_of_files_are_taken() -> None:
    results = SearchResults(guid_of(1), kinds=("audio", "program"))
    names = ("a.ogg", "b.EXE", "c.deb", "d.txt", "noending", "e.mkv")
    results.add(hit(1, *(HitRecord(number, 1, name) for number, name in enumerate(names))))
    assert [row["name"] for row in results.rows()] == ["a.ogg", "b.EXE", "c.deb"]


@pytest.mark.parametrize(
    ("name", "sort"),
    [
        ("x.mp3", "audio"),
        ("x.MKV", "video"),
        ("x.jpeg", "image"),
        ("x.pdf", "document"),
        (".mp3", "other"),
        ("x", "other"),
    ],
)
def test_the_ending_says_the_sort(name: str, sort: str) -> None:
    assert sort_of(name) == sort


def test_an_unknown_sort_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'music' is no kind"):
        wanted_sorts(["audio", "music"])


@given(st.lists(hits(), max_size=8))
def test_whatever_hits_say_rows_stay_complete_and_printable(found: list[QueryHit]) -> None:
    results = SearchResults(guid_of(1))
    new = [row for value in found for row in results.add_hit(value, 1)]
    rows = results.rows()
    assert [row.number for row in new] == [row["hit"] for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert row["sources"]
        assert row["vendor"].isprintable()
        assert parse_magnet(row["magnet"]).size == row["size"]
