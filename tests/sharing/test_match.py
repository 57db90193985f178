"""What queries ask for, and the rule by which names answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.urn import b32encode, bitprint_urn, sha1_urn
from gnutella.sharing.match import (
    MAX_TEXT,
    MAX_URNS,
    NOTHING,
    Wanted,
    decode_sha1,
    indexed_words,
    media_of,
    read_query,
    words_of,
)
from gnutella.testing.matching import is_match
from gnutella.testing.strategies_sharing import query_payload

SHA1 = bytes(range(20))
TTH = bytes(range(24))


def does_match(query: str, name: str) -> bool:
    return is_match(words_of(query.encode()), indexed_words(name))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("beatles let it be", "The_Beatles - Let It Be.MP3"),
        ("LET be BEATLES", "The_Beatles - Let It Be.MP3"),
        ("beat", "The_Beatles - Let It Be.MP3"),
        ("deja vu", "Déjà_Vu (Live) [2004].mp3"),
        ("DÉJÀ", "deja.txt"),
        ("don't stop", "don't stop.mp3"),
        ("dont stop", "don't stop.mp3"),
        ("strasse", "Straße.ogg"),
        ("привет", "ПРИВЕТ мир.txt"),
        ("пр", "привет.txt"),
        ("日", "日本語ファイル名.avi"),
        ("ファイル", "日本語ファイル名.avi"),
        ("full width", "ＦＵＬＬ ｗｉｄｔｈ.txt"),
        ("22.04", "ubuntu-22.04.3-desktop-amd64.iso"),
        ("be", "Let It Be+Hey Jude.mp3"),
        ("the the", "The Theme.mp3"),
    ],
)
def test_real_names_are_found(query: str, name: str) -> None:
    assert does_match(query, name)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("beatles help", "The Beatles - Let It Be.mp3"),
        ("eatles", "The Beatles.mp3"),
        ("beatless", "The Beatles.mp3"),
        ("be", "The Beatles.mp3"),
        ("a", "A Space Odyssey.mkv"),
        ("", "anything"),
        ("...", "anything"),
        ("п", "привет.txt"),
        ("200", "20.txt"),
    ],
)
def test_other_names_are_not(query: str, name: str) -> None:
    assert not does_match(query, name)


def test_a_minus_excludes_nothing() -> None:
    assert does_match("song -live", "Song (live).mp3")
    assert not does_match("song -live", "Song.mp3")


@pytest.mark.parametrize(
    ("extensions", "sha1s"),
    [
        (sha1_urn(SHA1).encode(), (SHA1,)),
        (sha1_urn(SHA1).lower().encode() + b"\0", (SHA1,)),
        (b"urn:\x1c" + sha1_urn(SHA1).encode() + b"\x1c" + sha1_urn(SHA1[::-1]).encode(), (SHA1, SHA1[::-1])),
        (bitprint_urn(SHA1, TTH).encode(), (SHA1,)),
        (Ggep.of({"H": b"\1" + SHA1}).encode(), (SHA1,)),
        (Ggep.of({"H": b"\2" + SHA1 + TTH}).encode(), (SHA1,)),
        (Ggep.of({"u": b"sha1:" + b32encode(SHA1).encode()}).encode(), (SHA1,)),
        (Ggep.of({"u": bitprint_urn(SHA1, TTH)[4:].encode()}).encode(), (SHA1,)),
        (sha1_urn(SHA1).encode() + b"\x1c" + Ggep.of({"SO": b""}).encode(), (SHA1,)),
        (b"urn:", ()),
        (b"urn:sha1:TOOSHORT", ()),
        (sha1_urn(SHA1).encode() + b"A", ()),
        (Ggep.of({"H": b"\1" + SHA1[:-1]}).encode(), ()),
        (Ggep.of({"H": b"\3" + SHA1}).encode(), ()),
        (b"\xc3\x81H", ()),
    ],
)
def test_hashes_are_read_wherever_they_stand(extensions: bytes, sha1s: tuple[bytes, ...]) -> None:
    assert read_query(query_payload("\\", extensions)) == Wanted((), sha1s)


def test_no_more_hashes_are_looked_up_than_the_limit() -> None:
    urns = b"\x1c".join(sha1_urn(bytes([at]) * 20).encode() for at in range(MAX_URNS + 5))
    assert len(read_query(query_payload("\\", urns)).sha1s) == MAX_URNS


def test_the_long_text_adds_to_the_short_one() -> None:
    long = Ggep.of({"XQ": b"one two three"}).encode()
    assert read_query(query_payload("one two", long)).words == (b"one", b"two", b"three")


def test_whats_new_is_a_query_of_its_own_but_not_with_a_hash() -> None:
    new = Ggep.of({"WH": b"\1"})
    assert read_query(query_payload("WhatIsNewXOXO", new.encode())) == Wanted(is_whats_new=True)
    assert read_query(query_payload("WhatIsNewXOXO")) == Wanted((b"whatisnewxoxo",))
    assert read_query(query_payload("WhatIsNewXOXO", new.adding({"H": b"\1" + SHA1}).encode())) == NOTHING


def test_kinds_of_media_are_read() -> None:
    assert read_query(query_payload("song", Ggep.of({"M": b"\x0c"}).encode())) == Wanted((b"song",), (), 0x0C)
    assert [media_of(name) for name in ("a.MP3", "a.mkv", "a.pdf", "a.jpeg", "a.exe", "a.tar", "mp3", "a.b", "")] == [
        4, 8, 16, 32, 64, 128, 4, 0, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["    ", "", "\\", "*", "a", "x" * (MAX_TEXT + 1), "日" * MAX_TEXT])
def test_texts_that_ask_for_nothing(text: str) -> None:
    assert read_query(query_payload(text)) == NOTHING


def test_a_text_of_the_greatest_length_is_read() -> None:
    assert read_query(query_payload("x" * MAX_TEXT)).words == (b"x" * MAX_TEXT,)


@pytest.mark.parametrize("payload", [b"", b"\x88", b"\x88\0", b"\x88\0\xff\xfe\0", b"\x88\0caf\xe9\0", b"\x88\0ok"])
def test_cut_and_broken_payloads_are_no_error(payload: bytes) -> None:
    assert read_query(payload) in (NOTHING, Wanted((b"ok",)))


@given(st.binary(max_size=200))
def test_reading_never_raises(payload: bytes) -> None:
    wanted = read_query(b"\x88\0" + payload)
    assert all(len(sha1) == 20 for sha1 in wanted.sha1s)
    assert all(word and b" " not in word for word in wanted.words)


@given(st.binary(min_size=20, max_size=20), st.booleans())
def test_base32_is_read_in_either_case(sha1: bytes, lower: bool) -> None:
    text = b32encode(sha1)
    assert decode_sha1((text.lower() if lower else text).encode()) == sha1


@given(st.binary(max_size=40))
def test_what_is_no_base32_is_none(text: bytes) -> None:
    digits = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abcdefghijklmnopqrstuvwxyz")
    if set(text) - digits or not text:
        assert decode_sha1(text) is None
