"""Signed documents: who can write, who can read, which one stays; and the search for the newest edition."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.blocks import SSK, verify
from anonymizer.errors import BadKey, IntegrityFailure
from anonymizer.ssk import (
    DOCUMENT_BYTES,
    MAX_NAME_BYTES,
    MAX_SEQUENCE,
    RECORD_BYTES,
    ReadKey,
    WriteKey,
    check_record,
    keyword_key,
    merge,
    parse_record,
)
from anonymizer.usk import MAX_BATCHES, MAX_EDITION, MAX_GUARDED, EditionSearch, RollbackGuard, document_name
from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

OWNER = WriteKey(bytes(range(32)), bytes(range(32, 64)))
READER = OWNER.read_key
CHANCE = bytes(16)


def record(number: int, data: bytes = b"x") -> bytes:
    return OWNER.write("page", number, data, CHANCE)


@given(
    st.text(max_size=40),
    st.integers(0, MAX_SEQUENCE),
    st.binary(max_size=DOCUMENT_BYTES),
    st.binary(min_size=16, max_size=16),
)
def test_a_document_comes_back(name: str, number: int, data: bytes, chance: bytes) -> None:
    raw = OWNER.write(name, number, data, chance)
    assert len(raw) == RECORD_BYTES
    verify(SSK, READER.routing(name), raw)
    reading = READER.read(name, [raw])
    assert (reading.sequence, reading.data, reading.is_fork) == (number, data, False)


@given(st.integers(0, RECORD_BYTES * 8 - 1))
def test_no_changed_bit_passes_a_relay(bit: int) -> None:
    changed = bytearray(record(1))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteViolation) as caught:
        check_record(READER.routing("page"), bytes(changed))
    assert caught.value.reason is DropReason.BAD_BLOCK


def test_nobody_else_can_write_under_a_key() -> None:
    other = WriteKey(bytes(32), OWNER.secret)
    with pytest.raises(RemoteViolation, match="another key"):
        check_record(READER.routing("page"), other.write("page", 9, b"forged", CHANCE))
    with pytest.raises(RemoteViolation, match="another key"):
        READER.read("other page", [record(1)])


@pytest.mark.parametrize("raw", [b"", record(1)[:-1], record(1) + b"\0", b"\2" + record(1)[1:]])
def test_other_sizes_and_versions_are_refused(raw: bytes) -> None:
    with pytest.raises(RemoteViolation, match="version"):
        parse_record(raw)


def test_what_its_owner_sealed_wrongly_is_told_apart_from_what_others_broke() -> None:
    body = bytearray(record(1)[:-64])
    body[-1] ^= 1
    resigned = bytes(body) + Ed25519PrivateKey.from_private_bytes(OWNER.seed).sign(bytes(body))
    check_record(READER.routing("page"), resigned)
    with pytest.raises(IntegrityFailure, match="seal of a document"):
        READER.read("page", [resigned])
    with pytest.raises(LocalMisuse):
        READER.read("page", [])


def test_another_secret_asks_for_another_key() -> None:
    assert ReadKey(READER.namespace, bytes(32)).routing("page") != READER.routing("page")


def test_the_same_chance_never_gives_two_texts_one_salt() -> None:
    salts = {
        parse_record(raw).salt for raw in (record(1), record(2), record(1, b"y"), OWNER.write("p", 1, b"x", CHANCE))
    }
    assert len(salts) == 4


def test_documents_have_their_bounds() -> None:
    for number, data, chance in ((0, bytes(DOCUMENT_BYTES + 1), CHANCE), (-1, b"", CHANCE), (0, b"", b"short")):
        with pytest.raises(LocalMisuse):
            OWNER.write("page", number, data, chance)
    with pytest.raises(LocalMisuse):
        OWNER.write("page", MAX_SEQUENCE + 1, b"", CHANCE)
    with pytest.raises(BadKey):
        READER.routing("n" * (MAX_NAME_BYTES + 1))
    with pytest.raises(BadKey):
        keyword_key("")


@given(st.permutations([record(1), record(2), record(3, b"a"), record(3, b"b"), record(3, b"c")]))
def test_the_newest_stays_and_a_fork_shows_in_any_order(order: list[bytes]) -> None:
    kept: tuple[bytes, ...] = ()
    for raw in order:
        kept = merge(kept, raw)
    forks = sorted([record(3, text) for text in (b"a", b"b", b"c")], key=lambda raw: hashlib.sha256(raw).digest())
    assert list(kept) == forks[:2]
    assert READER.read("page", order).is_fork
    assert not READER.read("page", [record(2), record(2), record(1)]).is_fork


@given(st.integers(-1, 100), st.integers(0, 5000))
def test_the_newest_edition_is_found(known: int, ahead: int) -> None:
    search, newest, probes = EditionSearch(known), known + ahead, 0
    while search.wanted:
        for edition in search.wanted:
            search.answer(edition, edition <= newest)
            probes += 1
    assert search.newest == newest
    assert probes <= 120


@given(st.sets(st.integers(0, 60)), st.integers(-1, 30))
def test_holes_among_the_editions_never_set_a_reader_back(there: set[int], known: int) -> None:
    search = EditionSearch(known)
    while search.wanted:
        for edition in search.wanted:
            search.answer(edition, edition in there)
    assert search.newest == known or (search.newest > known and search.newest in there)
    assert not {search.newest + step for step in (1, 2, 4, 8)} & there


def test_an_endless_row_of_editions_ends_the_search() -> None:
    search, batches = EditionSearch(0), 0
    while wanted := search.wanted:
        batches += 1
        for edition in wanted:
            search.answer(edition, edition == wanted[0])
    assert MAX_BATCHES // 2 < batches <= MAX_BATCHES
    everything = EditionSearch(0)
    while everything.wanted:
        for edition in everything.wanted:
            everything.answer(edition, True)
    assert MAX_EDITION // 8 < everything.newest <= MAX_EDITION
    with pytest.raises(LocalMisuse):
        everything.answer(3, True)


def test_what_was_seen_is_never_gone_back_from() -> None:
    guard = RollbackGuard()
    guard.accept(b"a", 5)
    guard.accept(b"a", 5)
    guard.accept(b"a", 7)
    with pytest.raises(IntegrityFailure, match="older edition") as caught:
        RollbackGuard(guard.rows()).accept(b"a", 6)
    assert caught.value.key == b"a"
    assert guard.highest(b"a") == 7
    assert guard.highest(b"b") == -1


def test_the_guard_remembers_so_many_names() -> None:
    guard = RollbackGuard()
    for number in range(MAX_GUARDED + 1):
        guard.accept(number.to_bytes(4, "big"), 1)
    assert len(guard.rows()) == MAX_GUARDED
    assert guard.highest(bytes(4)) == -1


def test_editions_are_documents_of_their_own() -> None:
    assert READER.routing(document_name("site", 1)) != READER.routing(document_name("site", 2))
