"""Spam scores: what each sign adds, that none alone makes spam of an honest file, and real hits, which must stay clean."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.message import HitRecord, QueryHit
from gnutella.routing import spam
from gnutella.routing.results import SearchResults
from gnutella.routing.spam import DEFAULT_THRESHOLD, MAX_ECHOED, MAX_OF_SERVENT, SpamJudge, SpamMemory
from gnutella.testing.routers import guid_of
from gnutella.testing.strategies_protocol import hits
from gnutella.units import Address, Guid
from tests.protocol.test_captures import CAPTURES, conversation

QUERY = "purple rain"
HONEST = HitRecord(1, 5_000_000, "Prince - Purple Rain.ogg", b"h" * 20)


def servent(number: int) -> Guid:
    return Guid(bytes(range(number, number + 16)))


def answer(number: int, *records: HitRecord, vendor: bytes = b"GTKG") -> QueryHit:
    return QueryHit(Address(f"10.2.0.{number}", 6346), 1, records, vendor, servent(number))


def judged(
    *answers: QueryHit, query: str = QUERY, memory: SpamMemory | None = None
) -> list[tuple[int, tuple[str, ...]]]:
    results = SearchResults(guid_of(1), judge=SpamJudge(query, memory))
    for one in answers:
        results.add_hit(one, 1)
    return [(row["spam"], tuple(row["spam_reasons"])) for row in results.rows()]


def score(*answers: QueryHit, query: str = QUERY, memory: SpamMemory | None = None) -> int:
    return judged(*answers, query=query, memory=memory)[0][0]


def record(name: str, size: int = 5_000_000, content: int = 1) -> HitRecord:
    return HitRecord(1, size, name, bytes([content]) * 20)


def test_an_honest_file_scores_nothing() -> None:
    assert judged(answer(1, HONEST)) == [(0, ())]


@pytest.mark.parametrize(
    ("name", "size", "points"),
    [
        ("purple rain.exe", 300_000, 65),
        ("Purple_Rain.scr", 90_000, 65),
        ("purple rain.wma", 700_000, 55),
        ("purple rain.asf", 1_500_000, 55),
        ("purple rain.zip", 60_000, 45),
        ("purple rain.ogg", 5_000_000, 10),
        ("purple rain.iso", 700_000_000, 10),
        ("my purple rain notes.exe", 300_000, 35),
        ("prince purple rain.zip", 60_000, 15),
        ("purple rain setup.exe", 60_000_000, 0),
        ("prince - purple rain.mp3", 0, 20),
        ("something else.ogg", 5_000_000, 10),
    ],
)
def test_kind_size_and_name_together_make_spam(name: str, size: int, points: int) -> None:
    assert score(answer(1, record(name, size))) == points


def test_reasons_are_told_the_weightiest_first() -> None:
    assert judged(answer(1, record("purple rain.exe", 300_000))) == [
        (65, ("a program of 293.0 KiB", "named just like the query"))
    ]


def test_one_word_or_a_hash_is_no_name_to_be_copied() -> None:
    assert score(answer(1, record("purple.exe", 300_000)), query="purple") == 35
    assert score(answer(1, record("anything.ogg")), query="urn:sha1:" + "A" * 32) == 0


def test_one_file_under_unrelated_names() -> None:
    same = [record("purple rain live.ogg"), record("linux kernel.ogg"), record("rain of purple.ogg")]
    assert score(answer(1, same[0]), answer(2, same[2])) == 0
    assert score(answer(1, same[0]), answer(2, same[1])) == 45
    memory = SpamMemory()
    assert score(answer(1, record("alice wonderland.ogg")), query="alice wonderland", memory=memory) == 10
    assert score(answer(2, record("purple rain.ogg")), memory=memory) == 45
    assert score(answer(1, same[0]), answer(2, same[1]), query="urn:sha1:" + "A" * 32) == 0
    assert score(answer(2, record("purple rain song.ogg", content=2)), memory=memory) == 0


def test_many_contents_of_one_size() -> None:
    def of(count: int, name: str) -> list[QueryHit]:
        return [answer(n, record(f"{name}.ogg", 123_456, n)) for n in range(1, count + 1)]

    assert [points for points, _ in judged(*of(3, "purple rain"))] == [10] * 3
    assert [points for points, _ in judged(*of(4, "purple rain"))] == [40] * 4
    assert [points for points, _ in judged(*of(4, "prince purple rain"))] == [15] * 4


def test_a_servent_with_a_file_for_every_search() -> None:
    memory = SpamMemory()
    queries = [f"word{n} other{n}" for n in range(MAX_ECHOED + 1)]
    scores = []
    for n, query in enumerate(queries, 1):
        scores.append(score(answer(1, record(f"{query}.zip", 60_000, n)), query=query, memory=memory))
    assert scores == [45, 45, 45, 95]
    shared = record("word9 other9.zip", 60_000, 99)
    assert score(answer(1, shared), query="word9 other9", memory=memory) == 95
    assert score(answer(1, shared), answer(2, shared), query="word9 other9", memory=memory) == 45, "an honest source"


def test_asking_a_small_network_for_full_names_makes_no_spam() -> None:
    memory = SpamMemory()
    for n in range(30):
        query = f"word{n} other{n}"
        assert score(answer(1, record(f"{query}.bin", 1000, n)), query=query, memory=memory) == 10


def test_the_same_search_again_is_no_other_search() -> None:
    memory = SpamMemory()
    for _ in range(9):
        assert score(answer(1, record("purple rain.ogg")), memory=memory) == 10


def test_an_absurd_number_of_results() -> None:
    many = [
        answer(1, HitRecord(n, 1000 + n, f"purple rain {n}.ogg", n.to_bytes(20, "big"))) for n in range(MAX_OF_SERVENT)
    ]
    assert {points for points, _ in judged(*many)} == {0}
    assert {points for points, _ in judged(*many, answer(1, HONEST))} == {25}


@pytest.mark.parametrize(("vendor", "points"), [(b"LIME", 0), (b"", 10), (b"\xff\xfe\0\1", 20), (b"a b!", 20)])
def test_vendors(vendor: bytes, points: int) -> None:
    assert score(answer(1, HONEST, vendor=vendor)) == points
    assert score(answer(1, HONEST, vendor=vendor), answer(2, HONEST)) == 0


def test_no_sha1_and_an_invented_servent_id() -> None:
    assert score(answer(1, HitRecord(1, 5_000_000, "purple rain live.ogg"))) == 10
    invented = QueryHit(Address("10.2.0.1", 6346), 1, (HONEST,), b"GTKG", Guid(b"\xaa" * 16))
    assert score(invented) == 20


def test_copied_alternates() -> None:
    judge = SpamJudge(QUERY)
    first, second = b"1" * 20, b"2" * 20
    others = (Address("10.0.0.1", 1), Address("10.0.0.2", 2))
    judge.note_together([(first, others), (second, others), (b"3" * 20, others[:1]), (b"4" * 20, others[:1])])
    assert judge._copied == {first, second}


def test_a_threshold_decides_what_counts_as_spam() -> None:
    for threshold, expected in ((50, True), (65, True), (66, False), (101, False)):
        results = SearchResults(guid_of(1), judge=SpamJudge(QUERY, threshold=threshold))
        results.add_hit(answer(1, record("purple rain.exe", 300_000)), 1)
        assert results.rows()[0]["likely_spam"] is expected


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spam, "MAX_CONTENTS", 5)
    monkeypatch.setattr(spam, "MAX_SERVENTS", 5)
    memory = SpamMemory()
    for number in range(20):
        memory.other_name(bytes([number]), frozenset(("a",)))
        memory.echoed(bytes([number]), frozenset(("b",)))
    assert (len(memory._names), len(memory._echoed)) == (5, 5)


def real_hits() -> Iterable[tuple[str, QueryHit]]:
    for path in (*CAPTURES, *sorted((Path(__file__).parents[1] / "captures" / "ours").glob("*.jsonl"))):
        for _, message, _ in conversation(path):
            if isinstance(message, QueryHit):
                yield path.stem, message


def test_no_hit_of_real_servents_is_spam() -> None:
    found = list(real_hits())
    assert len(found) >= 3
    for name, hit in found:
        query = " ".join(hit.records[0].name.rpartition(".")[0].split()[:2])
        for words in (query, "urn:sha1:" + "A" * 32, ""):
            assert all(points < DEFAULT_THRESHOLD / 2 for points, _ in judged(hit, query=words)), name


@given(st.text(max_size=30), st.lists(hits(), max_size=4))
def test_any_hits_have_a_score_and_each_point_has_a_reason(query: str, found: list[QueryHit]) -> None:
    for points, reasons in judged(*found, query=query):
        assert 0 <= points <= 100
        assert bool(points) is bool(reasons)
