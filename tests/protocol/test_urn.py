"""Base32 and URNs: vectors of real clients, spelling, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.urn import (
    MAX_BASE32_CHARS,
    MAX_URN_CHARS,
    Urn,
    b32decode,
    b32encode,
    bitprint_urn,
    is_known_scheme,
    parse_urn,
    sha1_urn,
    tree_urn,
)
from gnutella.reasons import DropReason
from gnutella.testing import strategies_protocol as strategies

BASE32 = json.loads((Path(__file__).parents[1] / "vectors/base32.json").read_text())
EMPTY_SHA1 = bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709")
EMPTY_TTH = bytes.fromhex("5d9ed00a030e638bdb753a6a24fb900e5a63b8e73e6c25b6")


def refused(text: str) -> bool:
    with pytest.raises(RemoteViolation) as caught:
        parse_urn(text)
    return caught.value.reason is DropReason.BAD_URN


@pytest.mark.parametrize("vector", BASE32["vectors"], ids=lambda v: v["base32"][:12] or "empty")
def test_base32_vectors_of_real_clients(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    assert b32encode(raw) == vector["base32"]
    assert b32decode(vector["base32"]) == raw
    assert b32decode(vector["base32"].lower()) == raw


def test_urn_vectors_of_real_clients() -> None:
    sha1, bitprint = (vector["text"] for vector in BASE32["urns"])
    assert parse_urn(sha1) == Urn(EMPTY_SHA1)
    assert sha1_urn(EMPTY_SHA1) == sha1
    assert parse_urn(bitprint) == Urn(EMPTY_SHA1, EMPTY_TTH)
    assert bitprint_urn(EMPTY_SHA1, EMPTY_TTH) == bitprint


@given(st.binary(max_size=160))
def test_base32_goes_there_and_back(raw: bytes) -> None:
    assert b32decode(b32encode(raw)) == raw


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z2-7]{0,60}"))
def test_any_text_is_the_one_spelling_of_its_bytes_or_refused(text: str) -> None:
    try:
        raw = b32decode(text)
    except RemoteViolation as violation:
        assert violation.reason is DropReason.BAD_URN
    else:
        assert b32encode(raw) == text.upper()


@pytest.mark.parametrize("text", ["A", "AAA", "AAAAAA", "AB", "A=", "A8", "0A", "1A", "A A", "_A", "+A", "\xe4A", "ſA"])
def test_what_is_no_base32_is_refused(text: str) -> None:
    with pytest.raises(RemoteViolation) as caught:
        b32decode(text)
    assert caught.value.reason is DropReason.BAD_URN


def test_base32_has_a_longest_text() -> None:
    assert len(b32decode("A" * MAX_BASE32_CHARS)) == 160
    with pytest.raises(RemoteViolation):
        b32decode("A" * (MAX_BASE32_CHARS + 8))


@given(strategies.urns())
def test_urns_read_in_any_letter_case(text: str) -> None:
    assert parse_urn(text) == parse_urn(text.lower()) == parse_urn(text.upper())
    assert is_known_scheme(text)


@pytest.mark.parametrize("prefix", ["urn:tree:tiger:", "urn:tree:tiger/:", "urn:tree:tiger/1024:", "urn:ttroot:"])
def test_each_name_of_a_tree_root_is_read(prefix: str) -> None:
    assert parse_urn(prefix + b32encode(EMPTY_TTH)) == Urn(tth=EMPTY_TTH)
    assert parse_urn(tree_urn(EMPTY_TTH)) == Urn(tth=EMPTY_TTH)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "urn:",
        "urn:sha1:",
        "urn:sha1:AAAA",
        "urn:sha1:" + "A" * 31,
        "urn:sha1:" + "A" * 33,
        "urn:sha1:" + "A" * 31 + "8",
        "urn:md5:" + "A" * 26,
        "sha1:" + "A" * 32,
        "urn:bitprint:" + "A" * 32,
        "urn:bitprint:" + "A" * 32 + "." + "A" * 38,
        "urn:bitprint:" + "A" * 32 + "." + "A" * 38 + "B",
        "urn:ttroot:" + "A" * 32,
    ],
)
def test_what_is_no_urn_of_ours_is_refused(text: str) -> None:
    assert refused(text)


def test_an_over_long_urn_is_refused_before_it_is_looked_at() -> None:
    assert refused("urn:sha1:" + "A" * MAX_URN_CHARS)


@given(st.text(max_size=150))
def test_any_text_is_a_urn_or_refused(text: str) -> None:
    try:
        urn = parse_urn(text)
    except RemoteViolation as violation:
        assert violation.reason is DropReason.BAD_URN
    else:
        assert urn.sha1 or urn.tth
