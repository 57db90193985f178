"""Hits and posts: who can read what, what all of them have in common, and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import inner
from anonymizer.hits import (
    HIT_PLAIN,
    MAX_ANCHORS,
    SEALED_HIT_SIZE,
    AnchorHint,
    HitContent,
    is_name,
    open_hit,
    seal_hit,
)
from anonymizer.inner import MAX_NAME, fill
from anonymizer.posts import open_post, seal_post
from anonymizer.reasons import Refusal, Violation
from anonymizer.seal import SEAL_PLAIN, WINDOW_MIN, Opening, PivotKeys, Replays, hpke_seal, key_id
from anonymizer.wire import SEALED_SIZE
from gnutella.errors import LocalMisuse
from gnutella.testing.relay_nodes import NOW

ID, UID = bytes(range(32)), bytes(range(16))
HIT = HitContent("elephant.txt", 1 << 20, "text/plain", 0x10, bytes(32), ID, bytes(20), bytes(24))
HINT = AnchorHint(ID, UID, bytes(32))


def key(number: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(hashlib.sha256(b"hits%d" % number).digest())


def public(number: int) -> bytes:
    return key(number).public_key().public_bytes_raw()


def persona(number: int = 0) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"persona%d" % number).digest())


NAMES = st.text(min_size=1, max_size=80).filter(lambda name: is_name(name) and len(name.encode()) <= MAX_NAME)
HITS = st.builds(
    HitContent,
    NAMES,
    st.integers(0, 2**63 - 1),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=127),
    st.integers(0, 255),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.sampled_from((b"", bytes(20))),
    st.sampled_from((b"", bytes(24))),
    st.lists(st.binary(min_size=80, max_size=80), max_size=MAX_ANCHORS).map(tuple),
)


@given(HITS, st.booleans())
def test_the_searcher_reads_what_the_provider_wrote_and_all_hits_are_of_one_size(hit: HitContent, signs: bool) -> None:
    if signs:
        hit = hit.signed(persona())
    sealed = seal_hit(public(1), hit)
    assert open_hit(key(1), sealed) == hit
    assert len(sealed) == SEALED_HIT_SIZE
    with pytest.raises(Violation, match="hit_broken"):
        open_hit(key(2), sealed)


def test_the_longest_hit_fits_into_a_post_and_into_a_cell_of_a_circuit() -> None:
    longest = HitContent("x" * MAX_NAME, 2**63 - 1, "y" * 127, 255, ID, ID, bytes(20), bytes(24), (bytes(80),) * 3)
    longest = longest.signed(persona())
    assert len(longest.encode(HIT_PLAIN)) <= HIT_PLAIN - 2
    sealed = seal_hit(public(1), longest)
    assert len(inner.plain_of(inner.Hit(sealed))) == inner.SMALL_PLAIN
    assert len(seal_post(ID, public(3), UID, sealed, NOW)) == SEALED_SIZE


@given(st.integers(0, SEALED_HIT_SIZE - 1), st.integers(0, 7))
def test_a_hit_that_was_changed_is_none(place: int, bit: int) -> None:
    sealed = bytearray(seal_hit(public(1), HIT))
    sealed[place] ^= 1 << bit
    with pytest.raises(Violation) as caught:
        open_hit(key(1), bytes(sealed))
    assert caught.value.reason is Refusal.HIT_BROKEN


@given(st.binary(max_size=HIT_PLAIN - 2) | HITS.map(lambda hit: hit.encode(HIT_PLAIN)[:-1]))
def test_whatever_is_sealed_to_the_searcher_is_a_hit_or_refused(data: bytes) -> None:
    sealed = hpke_seal(public(1), b"arl1-hit" + public(1), fill(data, HIT_PLAIN))
    try:
        hit = open_hit(key(1), sealed)
    except Violation as violation:
        assert violation.reason is Refusal.HIT_BROKEN
    else:
        assert hit.encode(HIT_PLAIN) == data


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../elephant"},
        {"name": ".."},
        {"name": "a\x1bb"},
        {"name": "a\\b"},
        {"name": ""},
        {"name": "x" * 256},
        {"mime": "text/plain\n"},
        {"mime": "té"},
        {"sha1": bytes(19)},
        {"tth": bytes(20)},
        {"persona": bytes(95)},
        {"size": 2**63},
        {"anchors": (bytes(80),) * 4},
        {"anchors": (bytes(79),)},
        {"kinds": 256},
    ],
)
def test_hits_beyond_their_bounds_are_neither_written_nor_read(changed: dict[str, object]) -> None:
    broken = replace(HIT, **changed)  # type: ignore[arg-type]
    with pytest.raises(LocalMisuse):
        broken.encode(HIT_PLAIN)
    with pytest.raises(Violation):
        HitContent.from_map(broken.to_map(), Refusal.HIT_BROKEN)


def test_anchors_lead_to_pivots() -> None:
    hit = HIT.with_anchors([HINT, replace(HINT, token=bytes(16))])
    assert open_hit(key(1), seal_hit(public(1), hit)).hints == (HINT, replace(HINT, token=bytes(16)))
    assert hit.uri.routing == HIT.routing
    with pytest.raises(LocalMisuse):
        seal_hit(public(1), HIT.with_anchors([HINT] * (MAX_ANCHORS + 1)))


def test_a_persona_is_who_signed_all_of_it() -> None:
    signed = HIT.with_anchors([HINT]).signed(persona())
    assert open_hit(key(1), seal_hit(public(1), signed)).signer == persona().public_key().public_bytes_raw()
    assert HIT.signer is None
    other = persona(2).public_key().public_bytes_raw() + signed.persona[32:]
    for forged in (replace(signed, name="other.txt"), replace(signed, anchors=()), replace(signed, persona=other)):
        with pytest.raises(Violation, match="did not sign"):
            open_hit(key(1), seal_hit(public(1), forged))


def test_nothing_is_sealed_to_a_key_that_is_none() -> None:
    with pytest.raises(Violation, match="no key"):
        seal_hit(bytes(32), HIT)


# -- posts ---------------------------------------------------------------------------------------------------------------

KEYS = PivotKeys(NOW, lambda: key(3))
SEALED_HIT = seal_hit(public(1), HIT)


def post(now: float = NOW, pivot: bytes = ID) -> bytes:
    return seal_post(pivot, public(3), UID, SEALED_HIT, now)


def test_the_pivot_learns_the_search_and_nothing_of_the_hit() -> None:
    content = open_post(ID, KEYS, Replays(), post(), NOW + 60)
    assert (content.query_id, content.sealed) == (UID, SEALED_HIT)
    with pytest.raises(Violation):
        open_hit(key(3), content.sealed)


def test_a_post_is_taken_once_in_its_time_by_its_pivot() -> None:
    replays, sealed = Replays(), post()
    open_post(ID, KEYS, replays, sealed, NOW)
    refused = {
        Refusal.SEAL_REPLAYED: sealed,
        Refusal.SEAL_TIME: post(NOW - 60 * (WINDOW_MIN + 1)),
        Refusal.SEAL_BROKEN: post(pivot=bytes(32)),
        Refusal.SEAL_SUITE: b"\2" + sealed[1:],
    }
    for reason, again in refused.items():
        with pytest.raises(Violation) as caught:
            open_post(ID, KEYS, replays, again, NOW)
        assert caught.value.reason is reason


def test_a_seal_of_one_kind_is_none_of_the_other() -> None:
    opening = Opening(ID, public(3), inner.encode(inner.Dummy()), NOW, ID, key(5)).sealed
    assert len(opening) == len(post())
    with pytest.raises(Violation, match="seal_broken"):
        open_post(ID, KEYS, Replays(), opening, NOW)


@given(st.binary(max_size=SEAL_PLAIN - 2))
def test_whatever_is_posted_is_read_or_refused(data: bytes) -> None:
    info = b"arl1-post" + ID + key_id(public(3))
    for sealed in (b"\1" + hpke_seal(public(3), info, fill(data, SEAL_PLAIN)), data):
        try:
            content = open_post(ID, KEYS, Replays(), sealed, NOW)
        except Violation as violation:
            assert violation.reason.costs == "circuit"
        else:
            assert content.encode(SEAL_PLAIN) == data
