"""Words of file names: what gtk-gnutella and LimeWire made of them when they were run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.words import (
    CUT_BYTES,
    MAX_CUTS,
    canonical,
    canonical_index_words,
    canonical_words,
    cut_forms,
    keyword_index_words,
    keywords,
    normalise,
    route_words,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/qrp.json").read_text())
NAMES = pytest.mark.parametrize("case", VECTORS["tokenise"], ids=lambda case: case["name"])


@NAMES
def test_canonical_words_are_those_of_gtk_gnutella(case: dict[str, Any]) -> None:
    expected = case["gtk_gnutella"]
    assert canonical(case["name"]) == expected["canonical"]
    assert canonical_words(case["name"]) == expected["words"]
    assert canonical_index_words(case["name"]) == expected["index_words"]


@NAMES
def test_keywords_are_those_of_limewire(case: dict[str, Any]) -> None:
    expected = case["limewire"]
    assert normalise(case["name"]) == expected["normalised"]
    assert keywords(case["name"]) == expected["keywords"]
    assert keyword_index_words(case["name"]) == expected["index_words"]


@NAMES
def test_our_table_has_the_words_of_both(case: dict[str, Any]) -> None:
    both = {*case["gtk_gnutella"]["index_words"], *case["limewire"]["index_words"]}
    assert set(route_words(case["name"])) == both


def test_limewires_classes_of_ascii_punctuation() -> None:
    classes = VECTORS["limewire_ascii_classes"]
    for char in classes["deleted"]:
        assert keywords(f"aa{char}bb") == ["aabb"]
    for char in classes["kept_inside_word"]:
        assert keywords(f"aa{char}bb") == [f"aa{char}bb"]
    for char in classes["separators"]:
        assert keywords(f"aa{char}bb") == ["aa", "bb"]


def test_digits_belong_to_the_latin_script() -> None:
    assert canonical_words("мир2004") == ["мир", "2004"]
    assert canonical_words("mp3x264") == ["mp3x264"]


def test_cut_forms_stop_after_five_and_above_three_bytes() -> None:
    assert cut_forms("abcdefghijkl") == [f"{'abcdefghijkl'[:length]}" for length in range(12, 6, -1)]
    assert len(cut_forms("abcdefghijkl")) == 1 + MAX_CUTS
    assert cut_forms("abcd") == ["abcd"]
    assert cut_forms("日本") == ["日本"]
    assert all(len(form.encode()) > CUT_BYTES for form in cut_forms("прив"))


@given(st.text(max_size=80))
def test_canonical_text_is_words_between_single_spaces_and_stays_so(text: str) -> None:
    once = canonical(text)
    assert once == " ".join(once.split())
    assert canonical(once) == once
    assert canonical_words(text) == list(dict.fromkeys(once.split()))


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=80))
def test_the_short_way_for_ascii_gives_the_same_words(text: str) -> None:
    # A character beyond ASCII at the end, which is no letter, takes the long way.
    assert canonical(text) == canonical(text + "\N{EM DASH}")


@given(st.text(max_size=80))
def test_every_whole_word_is_in_the_table(name: str) -> None:
    table = route_words(name)
    assert set(canonical_words(name)) | set(keywords(name)) <= set(table)
    assert all(table)
