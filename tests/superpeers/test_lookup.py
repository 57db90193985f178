"""What a query looks up: the words and URNs whose hashes must be in a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import Query
from gnutella.protocol.qrp import hash32, hash32_exact, hashes_of
from gnutella.protocol.words import canonical_words
from gnutella.superpeers.lookup import MAX_URNS, asked_by

URN = "urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB"


def of(*words: str) -> tuple[int, ...]:
    return tuple(hash32(word) for word in words)


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        ("purple elephant", (("purple", "elephant"),)),
        ("PURPLE-elephant.mp3", (("purple", "elephant", "mp3"),)),
        ("the a of purple", (("the", "purple"),)),
        ("a of", (("a", "of"),)),
        ("don't stop", (("don", "stop"), ("dont", "stop"))),
        ("Déjà vu", (("deja",),)),
        ("a_very_long_gnutella_word", (("very", "long", "gnutella", "word"),)),
        ("", ()),
        ("...", ()),
        ("!!!", (("!!!",),)),
    ],
)
def test_words_of_three_letters_count_and_either_family_may_cut_them(
    text: str, ways: tuple[tuple[str, ...], ...]
) -> None:
    assert asked_by(Query(text).encode()) == tuple(of(*way) for way in ways)


def test_a_urn_is_looked_up_in_both_spellings_and_beside_the_words() -> None:
    either = ((hash32(URN),), (hash32_exact(URN),))
    assert asked_by(Query("\\", urns=(URN,)).encode()) == either
    assert asked_by(Query("\\", urns=(URN.lower(),)).encode()) == either
    assert asked_by(Query("purple", urns=(URN,)).encode()) == (of("purple"), *either)


def test_a_hash_in_ggep_is_looked_up_too() -> None:
    sha1 = bytes(range(20))
    asked = asked_by(Query("\\", ggep=Ggep.of({"H": b"\1" + sha1})).encode())
    assert len(asked) == 2
    assert {way[0] for way in asked} <= hashes_of([], ["urn:sha1:AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"])


def test_urns_beyond_the_limit_are_not_looked_up() -> None:
    urns = tuple(f"urn:sha1:{letter * 31}A" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[: MAX_URNS + 4])
    assert len(asked_by(Query("\\", urns=urns).encode())) == 2 * MAX_URNS


def test_what_cannot_be_read_asks_for_nothing_or_for_its_words() -> None:
    assert asked_by(b"") == ()
    assert asked_by(b"\x80\0\xff\xfe\0") == ()
    assert asked_by(b"\x80\0purple\0urn:sha1:short") == (of("purple"),)


@given(st.binary(max_size=80))
def test_no_payload_raises(payload: bytes) -> None:
    assert all(way for way in asked_by(payload))


@given(st.text(max_size=30), st.data())
def test_the_file_that_a_query_names_in_whole_words_has_all_that_is_asked(name: str, data: st.DataObject) -> None:
    words = canonical_words(name)
    if not words:
        return
    chosen = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=4))
    hashes = hashes_of([name])
    asked = asked_by(Query(" ".join(chosen)).encode())
    assert any(set(way) <= hashes for way in asked)
