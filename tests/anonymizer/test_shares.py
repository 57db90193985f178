"""The anonymous share index: what a search finds, how much fits, and what is said of files that are shared plainly too."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.errors import QuotaExceeded
from anonymizer.reasons import Violation
from anonymizer.shares import AnonymousShare, ShareIndex, sibling_warning
from anonymizer.terms import MAX_WORDS, answers, index_words, normal, words_of
from anonymizer.uri import ChkUri
from anonymizer.wire import MAX_SEEK_TEXT

SHA1 = bytes(range(20))
URN = "urn:sha1:AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"


def share(name: str, kinds: int = 0x10, sha1: bytes = b"", number: int = 0) -> AnonymousShare:
    digest = hashlib.sha256(f"{name}{number}".encode()).digest()
    return AnonymousShare(name, 100, "text/plain", kinds, ChkUri(digest, digest), False, sha1)


def index(*names: str) -> ShareIndex:
    made = ShareIndex()
    for name in names:
        made.add(share(name))
    return made


def found(made: ShareIndex, text: str, kinds: int = 0) -> list[str]:
    return sorted(row.name for row in made.search(text, kinds))


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("  Purple   ELEPHANT ", "purple elephant"),
        ("purple purple", "purple"),
        ("De\u0301ja\u0300 vu", "deja vu"),
        ("Déjà-vu!", "deja vu"),
        ("İSTANBUL ISI", "istanbul isi"),
        ("Straße", "strasse"),
        ("日本語", "日本語"),
        ("\u03f9\u03f2 b", "\u03c3\u03c3 b"),
        ("a", ""),
        ("", ""),
        ("--", ""),
        ("x" * 257, ""),
        ("日" * 100, ""),
        (" ".join(f"w{n}" for n in range(MAX_WORDS + 1)), ""),
        (URN.lower(), URN),
        (URN.replace("A", "a"), URN),
        ("urn:sha1:AAAQ", "urn sha1 aaaq"),
    ],
)
def test_a_text_has_one_form(text: str, normalised: str) -> None:
    assert normal(text) == normalised
    assert normal(normalised) == normalised


@given(st.text(max_size=80))
def test_the_form_of_any_text_is_short_and_stays(text: str) -> None:
    form = normal(text)
    assert len(form.encode()) <= MAX_SEEK_TEXT
    assert normal(form) == form
    assert words_of(form) == words_of(text)


def test_all_words_have_to_be_there_or_begin_one() -> None:
    made = index("Purple Elephant (live).txt", "purple rain.mp3", "don't panic.txt", "Ab.txt")
    assert found(made, "purple") == ["Purple Elephant (live).txt", "purple rain.mp3"]
    assert found(made, "ELEPH purple") == ["Purple Elephant (live).txt"]
    assert found(made, "purple panic") == []
    assert found(made, "pu") == []
    assert found(made, "ab") == ["Ab.txt"]
    assert found(made, "dont") == found(made, "don t") == ["don't panic.txt"]
    assert found(made, "x") == found(made, "") == []


def test_kinds_and_limit() -> None:
    made = ShareIndex()
    for number in range(10):
        made.add(share(f"purple {number}", 0x04 if number < 4 else 0x08))
    assert len(made.search("purple", 0x04)) == 4
    assert len(made.search("purple", 0x0C)) == 10
    assert made.search("purple", 0x40) == []
    assert [row.name for row in made.search("purple", limit=2)] == ["purple 0", "purple 1"]


def test_a_hash_finds_its_file_and_no_word_does_by_it() -> None:
    made = ShareIndex()
    made.add(share("elephant", sha1=SHA1))
    assert found(made, URN) == found(made, URN.lower()) == ["elephant"]
    assert found(made, "urn:sha1:" + "B" * 32) == []
    for text in ("urn", "sha1", "aaaq", URN[9:]):
        assert found(made, text) == []


def test_what_is_gone_is_not_found_and_what_is_changed_is_found_anew() -> None:
    made = index("purple elephant", "purple")
    routing = share("purple").uri.routing
    made.add(replace(share("purple"), name="green"))
    assert found(made, "purple") == ["purple elephant"]
    assert made.remove(routing)
    assert not made.remove(routing)
    assert found(made, "green") == []
    assert len(made) == 1
    assert made._sorted == ["elephant", "purple"]


def test_the_index_is_bounded() -> None:
    made = ShareIndex(limit=2)
    for name in ("one one", "two two"):
        made.add(share(name))
    with pytest.raises(QuotaExceeded):
        made.add(share("three"))
    made.add(replace(share("one one"), name="other"))
    assert sorted(row.name for row in made) == ["other", "two two"]


@pytest.mark.parametrize("changed", [{"name": "a/b"}, {"name": ""}, {"size": -1}, {"sha1": bytes(3)}, {"kinds": 256}])
def test_what_no_hit_could_tell_is_not_taken(changed: dict[str, object]) -> None:
    made = ShareIndex()
    with pytest.raises(Violation):
        made.add(replace(share("purple"), **changed))  # type: ignore[arg-type]
    assert len(made) == 0


def test_rows_come_back_and_broken_ones_are_left_out() -> None:
    made = index("purple elephant", "rain")
    rows = made.rows()
    other = ShareIndex()
    broken = ("x", 1, "", 0, "arl:ksk:x", False, b"", b""), ("x", 1, "", 0, "nonsense", False, b"", b"")
    assert other.restore([*rows, *broken, ("a/b", *rows[0][1:])]) == 2
    assert list(other) == list(made)


def test_who_shares_a_file_both_ways_is_warned() -> None:
    warning = sibling_warning(SHA1, lambda sha1: sha1 == SHA1)
    assert warning is not None and "plain library" in warning
    assert sibling_warning(b"", lambda sha1: True) is None
    assert sibling_warning(bytes(20), lambda sha1: sha1 == SHA1) is None


WORDS = st.sampled_from(["purple", "pur", "purpl", "elephant", "el", "ele", "日本", "日", "rain", "b", URN])
NAMES = st.lists(WORDS.filter(lambda word: ":" not in word), min_size=1, max_size=4).map(" ".join)


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=12), st.lists(WORDS, min_size=1, max_size=3).map(" ".join))
def test_the_index_finds_what_a_look_at_every_name_finds(changes: list[tuple[str, bool]], text: str) -> None:
    made, kept = ShareIndex(), dict[str, AnonymousShare]()
    for name, stays in changes:
        made.add(share(name))
        kept[name] = share(name)
        if not stays:
            made.remove(share(name).uri.routing)
            del kept[name]
    words = words_of(text)
    expected = [name for name in kept if words and answers(words, index_words(name))]
    assert found(made, text) == sorted(expected)
