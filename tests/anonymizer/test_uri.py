"""Keys as text: one text each, and nothing else is one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.errors import BadKey
from anonymizer.ssk import ReadKey, WriteKey
from anonymizer.uri import MAX_URI_CHARS, ChkUri, KskUri, OwnUri, SskUri, Uri, UskUri, parse_uri
from anonymizer.usk import MAX_EDITION

KEY32 = st.binary(min_size=32, max_size=32)
NAMES = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=50)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: len(text.encode()) <= 200)
)
PAIR = "A" * 52 + "," + "A" * 52 + ",1"


def uris() -> st.SearchStrategy[Uri]:
    readers = st.builds(ReadKey, KEY32, KEY32)
    return st.one_of(
        st.builds(ChkUri, KEY32, KEY32),
        st.builds(SskUri, readers, NAMES),
        st.builds(UskUri, readers, NAMES, st.integers(0, MAX_EDITION)),
        st.builds(KskUri, NAMES),
        st.builds(OwnUri, st.builds(WriteKey, KEY32, KEY32)),
    )


@given(uris())
def test_a_key_comes_back_from_its_text(uri: Uri) -> None:
    text = str(uri)
    assert len(text) <= MAX_URI_CHARS
    assert parse_uri(text) == uri
    assert " " not in text
    assert text.isascii()


@given(st.text(max_size=80) | st.text(max_size=40).map(lambda text: f"arl:ksk:{text}"))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    try:
        uri = parse_uri(text)
    except BadKey:
        return
    assert parse_uri(str(uri)) == uri


def test_letters_may_come_in_either_case() -> None:
    assert parse_uri("arl:chk:" + PAIR.lower()) == parse_uri("arl:chk:" + PAIR) == ChkUri(bytes(32), bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arl:",
        "arl:chk:",
        "ARL:chk:" + PAIR,
        "arl:xyz:" + PAIR,
        "arl:chk:" + PAIR[:-1] + "2",
        "arl:chk:" + PAIR + "/name",
        "arl:chk:" + PAIR[1:],
        "arl:chk:" + "A" * 51 + "B" + PAIR[52:],
        "arl:chk:" + "1" * 52 + PAIR[52:],
        "arl:chk:" + PAIR + "\n",
        "arl:ssk:" + PAIR,
        "arl:ssk:" + PAIR + "/",
        "arl:ssk:" + PAIR + "/a/b",
        "arl:ssk:" + PAIR + "/%ff",
        "arl:ssk:" + PAIR + "/%0a",
        "arl:ssk:" + PAIR + "/" + "n" * 256,
        "arl:usk:" + PAIR + "/name",
        "arl:usk:" + PAIR + "/name/01",
        "arl:usk:" + PAIR + "/name/-1",
        "arl:usk:" + PAIR + "/name/\u0661",
        "arl:usk:" + PAIR + f"/name/{MAX_EDITION + 1}",
        "arl:usk:" + PAIR + "/" + "n" * 250 + "/1",
        "arl:ksk:",
        "arl:ksk:a/b",
        "arl:own:" + PAIR + "/x",
        "arl:ksk:" + "n" * MAX_URI_CHARS,
    ],
)
def test_other_texts_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadKey) as caught:
        parse_uri(text)
    assert "AAAA" not in str(caught.value)
