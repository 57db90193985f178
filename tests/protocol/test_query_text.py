"""Queries: our own, the extensions of others in every order and separator, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation, UserError
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import Query, make_query, normalise_text, payload_of
from gnutella.protocol.query import MAX_FORWARDED_QUERY, MAX_QUERY, MAX_VISIBLE_CHARS, oob_address
from gnutella.protocol.urn import Urn, bitprint_urn, sha1_urn, tree_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

SHA1 = bytes(range(20))
TTH = bytes(range(24))
URN = sha1_urn(SHA1)
#: What LimeWire refuses in a text (digest 2.4).
REFUSED_BY_LIMEWIRE = set("_#!|?<>^():;/\\[]{}+\t\n\r\f")


def reason_of(payload: bytes) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        Query.decode(payload)
    return caught.value.reason


def read(extensions: bytes) -> Query:
    return Query.decode(b"\x88\0words\0" + extensions)


@given(st.text(max_size=300), st.booleans(), st.integers(0, 1000))
def test_a_query_of_ours_is_one_that_every_servent_takes(text: str, is_firewalled: bool, max_hits: int) -> None:
    try:
        query = make_query(text, is_firewalled=is_firewalled, max_hits=max_hits)
    except UserError:
        assert not any(c.isalnum() for c in text)
        return
    payload = payload_of(query)
    assert Query.decode(payload) == query
    assert not REFUSED_BY_LIMEWIRE & set(query.text)
    assert query.flags & 0x8800 == 0x8800
    assert (query.is_firewalled, query.max_hits) == (is_firewalled, min(max_hits, 255))
    single = " " not in query.text
    assert single or (len(query.text) <= MAX_VISIBLE_CHARS and len(payload) <= MAX_FORWARDED_QUERY)
    words = query.full_text.split()
    assert set(query.text.split()) <= set(words)
    assert normalise_text(text).split()[: len(words)] == words


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("Don't stop!", "Don t stop"),
        ("  a_b-c.d\t(e)  ", "a b c d e"),
        ("Cafe\u0301 Übung", "Café Übung"),
        ("हिन्दी", "हिन्दी"),
        ("東京 2", "東京 2"),
        ("***", ""),
    ],
)
def test_outgoing_text_keeps_letters_digits_and_marks(typed: str, sent: str) -> None:
    assert normalise_text(typed) == sent


def test_a_long_text_goes_whole_into_xq() -> None:
    query = make_query("some quite unbelievably long linux distribution name")
    assert query.full_text == "some quite unbelievably long linux distribution name"
    assert query.text == "some unbelievably distribution"
    assert query.text != query.full_text


def test_a_text_beyond_the_forwarded_size_loses_its_last_words() -> None:
    query = make_query("word " * 200)
    assert len(payload_of(query)) <= MAX_FORWARDED_QUERY
    assert query.full_text.split() == ["word"] * len(query.full_text.split())


def test_a_query_for_a_hash_has_the_text_that_means_no_words() -> None:
    query = make_query("", (URN,))
    assert payload_of(query) == b"\x88\0\\\0" + URN.encode()
    assert (query.full_text, query.hashes) == ("", (Urn(SHA1),))
    assert make_query("two words", (URN,)).hashes == (Urn(SHA1),)


def test_nothing_to_ask_for_is_the_users_mistake() -> None:
    with pytest.raises(UserError):
        make_query("?!")
    with pytest.raises(RemoteViolation):
        make_query("", ("urn:sha1:short",))


def test_extensions_are_read_whether_a_nul_or_a_1c_stands_between_them() -> None:
    ggep = Ggep.of({"PR": b""}).encode()
    expected = Query("words", 0x8800, (URN,), Ggep.of({"PR": b""}), "<a/>", (b"urn:",))
    for items in ([b"urn:", URN.encode(), b"<a/>"], [b"<a/>", URN.encode(), b"urn:"]):
        for separator in (b"\0", b"\x1c", b"\x1c\0", b"\x1c\x1c"):
            assert read(separator.join([*items, ggep])) == expected


def test_what_ends_a_query_is_kept() -> None:
    ggep = Ggep.of({"SO": b"\0\x1c"}).encode()
    for extensions in (
        b"\0",
        b"\0\0\0",
        URN.encode() + b"\0",
        ggep + b"\0",
        URN.encode() + b"\x1c" + ggep + b"\0\0",
        ggep,
    ):
        query = read(extensions)
        assert payload_of(query) == b"\x88\0words\0" + extensions
    assert read(URN.encode() + b"\0").urns == (URN,)
    assert read(ggep + b"\0").ggep == Ggep.of({"SO": b"\0\x1c"})


def test_hashes_come_from_text_and_from_ggep() -> None:
    block = Ggep.of({"H": b"\2" + SHA1 + TTH, "u": b"ttroot:" + tree_urn(TTH)[15:].encode(), "TT": b"short"})
    query = read(bitprint_urn(SHA1, TTH).upper().encode() + b"\x1c" + block.encode())
    assert query.hashes == (Urn(SHA1, TTH), Urn(SHA1, TTH), Urn(tth=TTH))
    broken = Ggep.of({"H": b"\3" + SHA1, "u": b"sha1:nothing"})
    assert read(broken.encode()).hashes == ()


def test_urns_of_other_schemes_are_extensions_like_any_other() -> None:
    query = read(b"urn:ed2k:abc\x1curn:sha1:\x1cfree text")
    assert (query.urns, query.extras) == ((), (b"urn:ed2k:abc", b"urn:sha1:", b"free text"))


def test_flags_mean_nothing_without_the_mark() -> None:
    speed = Query("old servent", 0x7FFF)
    assert (speed.is_marked, speed.wants_oob, speed.is_firewalled, speed.wants_ggep_h, speed.max_hits) == (
        False,
    ) * 4 + (0,)


def test_an_out_of_band_query_has_its_address_in_the_guid() -> None:
    guid = Guid(bytes.fromhex("50010203e5f60718ff293a4b5cca1800"))
    assert oob_address(guid) == Address("80.1.2.3", 6346)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", DropReason.BAD_QUERY),
        (b"\x80", DropReason.BAD_QUERY),
        (b"\x80\0", DropReason.BAD_QUERY),
        (b"\x80\0no end", DropReason.BAD_QUERY),
        (b"\x80\0\xff\xfe\0", DropReason.BAD_QUERY),
        (b"\x80\0\xed\xa0\x80\0", DropReason.BAD_QUERY),
        (b"\x80\0x\0<\xff>", DropReason.BAD_QUERY),
        (b"\x80\0x\0urn:sha1:AAAA", DropReason.BAD_URN),
        (b"\x80\0x\0urn:bitprint:" + b"A" * 72, DropReason.BAD_URN),
        (b"\x80\0x\0\xc3", DropReason.BAD_GGEP),
        (b"\x80\0x\0\xc3\x81X\x7f", DropReason.BAD_GGEP),
        (b"\x80\0" + b"x" * MAX_QUERY, DropReason.QUERY_TOO_LONG),
    ],
)
def test_queries_that_cannot_be_read(payload: bytes, reason: DropReason) -> None:
    assert reason_of(payload) is reason


def test_the_longest_query_is_read() -> None:
    assert len(Query.decode(b"\x80\0" + b"x" * (MAX_QUERY - 3) + b"\0").text) == MAX_QUERY - 3
