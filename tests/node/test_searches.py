"""Searches of a node on a fake clock: numbering, bounds, ends, and further sources of a download."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.task import Clock

from gnutella.control.events import Journal
from gnutella.control.view import MAX_HIT_LISTS, HitRef
from gnutella.errors import UserError
from gnutella.protocol.message import HitRecord, Query, QueryHit, encode
from gnutella.protocol.urn import sha1_urn
from gnutella.routing.events import HitReceived
from gnutella.routing.results import MAX_ROWS, Hit
from gnutella.searches import FIND_S, LINGER_S, Searches, query_for
from gnutella.testing.routers import guid_of
from gnutella.units import Address, Guid, LinkId

SHA1, OTHER = b"1" * 20, b"2" * 20


class Overlay:
    """Takes the queries and never answers by itself."""

    def __init__(self) -> None:
        self.asked: list[Query] = []
        self.ttls: list[int | None] = []
        self.stopped: list[Guid] = []
        self.kept: dict[Guid, int] = {}

    def search(self, query: Query, ttl: int | None = None) -> Guid:
        self.asked.append(query)
        self.ttls.append(ttl)
        return guid_of(len(self.asked))

    def stop_search(self, guid: Guid) -> None:
        self.stopped.append(guid)

    def search_keeps(self, guid: Guid, results: int) -> None:
        self.kept[guid] = results


class Desk:
    """Searches with everything around them."""

    def __init__(self) -> None:
        self.overlay, self.clock = Overlay(), Clock()
        self.journal = Journal(self.clock.seconds)
        self.sources: list[Hit] = []
        self.searches = Searches(self.overlay, self.journal, self.clock, random.Random(1), self.sources.append)

    def hit(self, search: Guid, servent: int, *records: HitRecord) -> None:
        found = QueryHit(Address("10.2.0.1", 6346 + servent), 1, records, b"GTKG", guid_of(100 + servent))
        self.searches.hit_received(HitReceived(search, found, 2, LinkId(1)))

    def events(self, kind: str) -> list[Any]:
        return [event.data for event in self.journal.since(0) if event.type == kind]


def test_hits_are_numbered_told_once_and_stay_addressable() -> None:
    desk = Desk()
    told: list[Any] = []
    found = desk.searches.search("purple rain", (), 0, told.append, 3)
    assert desk.overlay.ttls == [3]
    desk.hit(found.guid, 1, HitRecord(1, 10, "purple rain.ogg", SHA1), HitRecord(2, 20, "purple rain.txt", OTHER))
    desk.hit(found.guid, 2, HitRecord(9, 10, "renamed.ogg", SHA1))
    assert [(row["hit"], row["name"]) for row in told] == [(1, "purple rain.ogg"), (2, "purple rain.txt")]
    assert [len(row["sources"]) for row in found.rows] == [2, 1]  # type: ignore[arg-type]
    assert [event["hit"] for event in desk.events("hit_received")] == [1, 2]
    assert desk.overlay.kept == {found.guid: 3}
    found.stop()
    one, two = desk.searches.hit(HitRef(1)), desk.searches.hit(HitRef(2, found.guid))
    assert one is not None and two is not None
    assert (one.sha1, two.sha1) == (SHA1, OTHER)
    assert desk.searches.hit(HitRef(3)) is None
    assert desk.searches.hit(HitRef(0)) is None
    assert desk.searches.hit(HitRef(1, guid_of(77))) is None
    assert desk.searches.words(found.guid) == "purple rain"


def test_without_a_search_there_is_no_hit() -> None:
    assert Desk().searches.hit(HitRef(1)) is None


def test_a_stopped_search_takes_no_more_hits_and_is_told_once() -> None:
    desk = Desk()
    told: list[Any] = []
    found = desk.searches.search("purple", (), 0, told.append)
    found.stop()
    found.stop()
    desk.hit(found.guid, 1, HitRecord(1, 10, "purple", SHA1))
    assert (told, list(found.rows), desk.sources) == ([], [], [])
    assert desk.overlay.stopped == [found.guid]
    assert desk.events("search_stopped") == [{"guid": found.guid.hex(), "hits": 0}]
    assert desk.clock.getDelayedCalls() == []


def test_a_search_that_nobody_stops_ends_by_itself_and_keeps_its_rows() -> None:
    desk = Desk()
    found = desk.searches.search("purple", (), 0, None)
    desk.hit(found.guid, 1, HitRecord(1, 10, "purple", SHA1))
    desk.clock.advance(LINGER_S)
    assert desk.overlay.stopped == [found.guid]
    desk.hit(found.guid, 1, HitRecord(2, 20, "purple too", OTHER))
    assert len(found.rows) == 1
    assert desk.searches.hit(HitRef(1)) is not None


def test_the_oldest_list_gives_way_and_its_search_ends() -> None:
    desk = Desk()
    lists = [desk.searches.search(f"word{number}", (), 0, None) for number in range(MAX_HIT_LISTS + 1)]
    assert desk.overlay.stopped == [lists[0].guid]
    assert desk.searches.words(lists[0].guid) is None
    assert desk.searches.words(lists[1].guid) == "word1"
    desk.hit(lists[0].guid, 1, HitRecord(1, 10, "late", SHA1))
    assert desk.searches.hit(HitRef(1, lists[0].guid)) is None
    desk.searches.stop()
    assert desk.clock.getDelayedCalls() == []


def test_a_number_alone_means_the_newest_list() -> None:
    desk = Desk()
    first, second = (desk.searches.search(words, (), 0, None) for words in ("first", "second"))
    desk.hit(first.guid, 1, HitRecord(1, 10, "first", SHA1))
    assert desk.searches.hit(HitRef(1)) is None
    desk.hit(second.guid, 1, HitRecord(1, 20, "second", OTHER))
    newest = desk.searches.hit(HitRef(1))
    assert newest is not None and newest.name == "second"


def test_kinds_and_limit_bound_the_rows() -> None:
    desk = Desk()
    found = desk.searches.search("purple", ("audio",), 1, None)
    desk.hit(found.guid, 1, HitRecord(1, 1, "purple.txt", b"t" * 20), HitRecord(2, 2, "purple.ogg", SHA1))
    desk.hit(found.guid, 1, HitRecord(3, 3, "purple.mp3", OTHER))
    assert [row["name"] for row in found.rows] == ["purple.ogg"]


def test_no_search_grows_beyond_its_bound() -> None:
    desk = Desk()
    found = desk.searches.search("purple", (), 0, None)
    for number in range(MAX_ROWS + 5):
        desk.hit(found.guid, 1, HitRecord(number, number, "purple", number.to_bytes(20, "big")))
    assert len(found.rows) == MAX_ROWS


def test_a_hit_tells_downloads_of_a_further_source_also_when_its_row_is_old() -> None:
    desk = Desk()
    found = desk.searches.search("purple", (), 0, None)
    for servent in (1, 2):
        desk.hit(found.guid, servent, HitRecord(servent, 10, "purple", SHA1))
    desk.hit(found.guid, 3, HitRecord(1, 10, "no hash"))
    assert [(hit.sha1, hit.sources[0].index) for hit in desk.sources] == [(SHA1, 1), (SHA1, 2)]


def test_looking_for_sources_makes_no_list_and_ends() -> None:
    desk = Desk()
    found = desk.searches.search("purple", (), 0, None)
    desk.searches.find_sources(SHA1)
    assert desk.overlay.asked[-1].urns == (sha1_urn(SHA1),)
    guid = guid_of(2)
    desk.hit(guid, 1, HitRecord(1, 10, "purple", SHA1))
    assert [hit.sha1 for hit in desk.sources] == [SHA1]
    assert list(found.rows) == []
    desk.clock.advance(FIND_S)
    assert desk.overlay.stopped == [guid]
    desk.hit(guid, 2, HitRecord(1, 10, "purple", SHA1))
    assert len(desk.sources) == 1


def test_stop_ends_everything() -> None:
    desk = Desk()
    desk.searches.search("purple", (), 0, None)
    desk.searches.find_sources(SHA1)
    desk.searches.stop()
    assert desk.clock.getDelayedCalls() == []
    assert sorted(desk.overlay.stopped) == [guid_of(1), guid_of(2)]


def test_a_browse_becomes_the_newest_list() -> None:
    desk = Desk()
    desk.searches.search("purple", (), 0, None)
    answer = encode(
        guid_of(9),
        1,
        0,
        QueryHit(Address("10.2.0.1", 6346), 1, (HitRecord(7, 70, "seven", SHA1),), b"GTKG", guid_of(8)),
    )
    found = desk.searches.keep_browse(answer, "browse 10.2.0.1:6346")
    assert [row["name"] for row in found.rows] == ["seven"]
    newest = desk.searches.hit(HitRef(1))
    assert newest is not None and newest.sha1 == SHA1
    found.stop()
    assert desk.overlay.stopped == []


def test_words_and_urns_make_queries() -> None:
    assert query_for("  Purple RAIN ").text == "Purple RAIN"
    urn = sha1_urn(SHA1)
    assert query_for(f" {urn.upper()} ").urns == (urn,)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "  ",
        "?!",
        "urn:",
        "urn:sha1:",
        "urn:sha1:tooshort",
        "urn:tree:tiger:" + "A" * 39,
        "".join(f"w{n * 7919:x}" for n in range(400)),
    ],
)
def test_what_nobody_would_answer_is_refused(words: str) -> None:
    desk = Desk()
    with pytest.raises(UserError) as caught:
        desk.searches.search(words, (), 0, None)
    assert caught.value.exit_code == 64
    assert desk.overlay.asked == []
    assert desk.clock.getDelayedCalls() == []


def test_rows_say_how_likely_they_are_spam_by_the_threshold_of_the_time() -> None:
    desk = Desk()
    setting = [50]
    desk.searches = Searches(
        desk.overlay, desk.journal, desk.clock, random.Random(1), desk.sources.append, lambda: setting[0]
    )
    told: list[Any] = []
    for setting[0], expected in ((50, True), (70, False)):
        found = desk.searches.search("purple rain", (), 0, told.append)
        desk.hit(found.guid, 1, HitRecord(1, 300_000, "purple rain.exe", SHA1))
        assert (told[-1]["spam"], told[-1]["likely_spam"]) == (65, expected)
        assert told[-1]["spam_reasons"] == ["a program of 293.0 KiB", "named just like the query"]
        found.stop()
