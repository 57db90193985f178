"""Seals, their window and their replays, pivot keys, and the ciphers of circuits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer import inner, seal
from anonymizer.fields import Body
from anonymizer.inner import Dummy, InnerCredit, Opened
from anonymizer.reasons import Refusal, Violation
from anonymizer.seal import (
    GENERATION_S,
    MAX_FIRST,
    PIVOT_KEY_S,
    End,
    Half,
    Opening,
    PivotKeys,
    Replays,
    Unsealer,
    hpke_open,
    hpke_seal,
    key_id,
)
from anonymizer.wire import SEALED_SIZE
from gnutella.errors import LocalMisuse
from gnutella.testing.relay_nodes import NOW
from tests.anonymizer.strategies import instructions

PIVOT_ID = bytes(range(32))
SECRET = b"s" * 32


def numbered_keys(seed: str = "") -> Iterator[X25519PrivateKey]:
    number = 0
    while True:
        yield X25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed}{number}".encode()).digest())
        number += 1


class Pivot:
    """One pivot with its keys."""

    def __init__(self, now: float = NOW, limit: int = 100) -> None:
        made = numbered_keys()
        self.keys = PivotKeys(now, lambda: next(made))
        self.replays = Replays(limit)
        self.unsealer = Unsealer(PIVOT_ID, self.keys, self.replays)

    def opening(self, first: bytes = b"", now: float = NOW, which: int = 0) -> Opening:
        """A circuit to it."""
        return Opening(PIVOT_ID, self.keys.public[which][1:], first, now, SECRET, next(EPHEMERAL))

    def refuses(self, sealed: bytes, now: float = NOW) -> Refusal:
        with pytest.raises(Violation) as caught:
            self.unsealer.open(sealed, now)
        return caught.value.reason


EPHEMERAL = numbered_keys("origin")


def circuit() -> tuple[End, End]:
    pivot = Pivot()
    opening = pivot.opening()
    cell, far = pivot.unsealer.open(opening.sealed, NOW).answer(next(EPHEMERAL))
    return opening.opened(cell), far


def test_hpke_is_that_of_the_standard() -> None:
    # RFC 9180, appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, sequence number 0.
    private = X25519PrivateKey.from_private_bytes(
        bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")
    )
    public = bytes.fromhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
    enc = bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
    sealed = bytes.fromhex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28")
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    assert private.public_key().public_bytes_raw() == public
    # The vectors have associated data, which the public interface lacks and seals do not need.
    opened = openssl.hpke._decrypt_with_aad(seal._HPKE, enc + sealed, private, info, b"Count-0")
    assert opened == b"Beauty is truth, truth beauty"
    assert hpke_open(private, info, hpke_seal(public, info, b"plain")) == b"plain"
    assert hpke_open(private, info + b"x", hpke_seal(public, info, b"plain")) is None
    with pytest.raises(LocalMisuse):
        hpke_seal(b"short", info, b"")


@given(st.binary(max_size=MAX_FIRST))
@settings(max_examples=20)
def test_a_seal_is_opened_by_its_pivot_and_has_one_size(first: bytes) -> None:
    pivot = Pivot()
    sealed = pivot.opening(first).sealed
    assert len(sealed) == SEALED_SIZE
    assert pivot.unsealer.open(sealed, NOW).first == first


def test_the_first_instruction_has_a_bound() -> None:
    with pytest.raises(LocalMisuse):
        Pivot().opening(bytes(MAX_FIRST + 1))


def test_a_seal_is_opened_once() -> None:
    pivot = Pivot()
    sealed = pivot.opening().sealed
    pivot.unsealer.open(sealed, NOW)
    assert pivot.refuses(sealed) is Refusal.SEAL_REPLAYED
    assert pivot.refuses(sealed, NOW + 299) is Refusal.SEAL_REPLAYED
    # X25519 ignores the highest bit of a point, HPKE does not.
    other = bytearray(sealed)
    other[32] ^= 0x80
    assert pivot.refuses(bytes(other)) is Refusal.SEAL_BROKEN


def test_replays_are_remembered_for_as_long_as_their_seal_opens() -> None:
    for late in range(0, 1_320, 60):
        pivot = Pivot()
        pivot.unsealer.open(pivot.opening(now=NOW - 700).sealed, NOW - 700)  # begins a generation at any time before
        sealed = pivot.opening(now=NOW + 300).sealed
        pivot.unsealer.open(sealed, NOW)
        assert pivot.refuses(sealed, NOW + late) in (Refusal.SEAL_REPLAYED, Refusal.SEAL_TIME)


def test_the_window_is_five_minutes_each_way() -> None:
    pivot = Pivot()
    for ahead in (-5, 5):
        pivot.unsealer.open(pivot.opening(now=NOW + ahead * 60).sealed, NOW)
    for ahead in (-6, 6):
        assert pivot.refuses(pivot.opening(now=NOW + ahead * 60).sealed) is Refusal.SEAL_TIME
    assert len(pivot.replays) == 2


def test_when_the_memory_is_full_nothing_is_opened_until_the_next_generation() -> None:
    pivot = Pivot(limit=3)
    for _ in range(3):
        pivot.unsealer.open(pivot.opening().sealed, NOW)
    assert pivot.refuses(pivot.opening().sealed) is Refusal.SEALS_FULL
    later = NOW + GENERATION_S
    pivot.unsealer.open(pivot.opening(now=later).sealed, later)
    assert len(pivot.replays) == 4
    much_later = later + 2 * GENERATION_S
    pivot.unsealer.open(pivot.opening(now=much_later).sealed, much_later)
    assert len(pivot.replays) == 1


def test_garbage_is_not_remembered() -> None:
    pivot = Pivot()
    assert pivot.refuses(bytes((1,)) + bytes(SEALED_SIZE - 1)) is Refusal.SEAL_BROKEN
    assert pivot.refuses(bytes((2,)) + pivot.opening().sealed[1:]) is Refusal.SEAL_SUITE
    assert pivot.refuses(pivot.opening().sealed[:-1]) is Refusal.SEAL_SUITE
    assert pivot.refuses(b"") is Refusal.SEAL_SUITE
    public = pivot.keys.public[0][1:]
    info = b"arl1-open" + PIVOT_ID + key_id(public)
    for plain in (bytes(seal.SEAL_PLAIN), b"\xff" * seal.SEAL_PLAIN, b"\0\1\xa0" + b"\1" * (seal.SEAL_PLAIN - 3)):
        assert pivot.refuses(b"\1" + hpke_seal(public, info, plain)) is Refusal.SEAL_CONTENT
    assert len(pivot.replays) == 0


@given(st.integers(0, SEALED_SIZE - 1), st.integers(1, 255))
@settings(max_examples=40)
def test_no_byte_of_a_seal_can_be_changed(at: int, mask: int) -> None:
    pivot = Pivot()
    data = bytearray(pivot.opening().sealed)
    data[at] ^= mask
    assert pivot.refuses(bytes(data)) in (Refusal.SEAL_SUITE, Refusal.SEAL_BROKEN)


def test_a_seal_to_another_pivot_is_not_opened() -> None:
    pivot = Pivot()
    opening = Opening(bytes(32), pivot.keys.public[0][1:], b"", NOW, SECRET, next(EPHEMERAL))
    assert pivot.refuses(opening.sealed) is Refusal.SEAL_BROKEN


def test_pivot_keys_turn_weekly_and_two_are_valid() -> None:
    pivot = Pivot()
    first = pivot.keys.public
    assert len(first) == 1
    assert not pivot.keys.turn(NOW + PIVOT_KEY_S - 1)
    later = NOW + PIVOT_KEY_S
    old = pivot.opening(now=later).sealed
    assert pivot.keys.turn(later)
    assert pivot.keys.public[1:] == first
    pivot.unsealer.open(old, later)
    pivot.unsealer.open(pivot.opening(now=later).sealed, later)
    old = pivot.opening(now=later + PIVOT_KEY_S, which=1).sealed
    assert pivot.keys.turn(later + PIVOT_KEY_S)
    assert len(pivot.keys.public) == 2
    assert pivot.refuses(old, later + PIVOT_KEY_S) is Refusal.SEAL_BROKEN


def test_pivot_keys_last_over_restarts_and_not_too_long() -> None:
    pivot = Pivot()
    pivot.keys.turn(NOW + PIVOT_KEY_S)
    made = numbered_keys("later")

    def again(now: float) -> PivotKeys:
        return PivotKeys(now, lambda: next(made), pivot.keys.rows()[::-1])

    assert again(NOW + PIVOT_KEY_S + 1).public == pivot.keys.public
    assert len(again(NOW + 2 * PIVOT_KEY_S).public) == 2
    assert set(again(NOW + 3 * PIVOT_KEY_S).public).isdisjoint(pivot.keys.public)
    assert again(NOW - 9).rows()[0][1] == NOW - 9  # the clock was set back


@given(st.lists(st.tuples(st.booleans(), instructions()), max_size=5))
@settings(max_examples=20)
def test_both_ends_hear_what_the_other_says(said: list[tuple[bool, Body]]) -> None:
    near, far = circuit()
    for is_up, body in said:
        sender, receiver = (near, far) if is_up else (far, near)
        assert receiver.hear(sender.say(body)) == body


def test_one_bad_cell_ends_a_direction() -> None:
    for spoil in ("flip", "repeat", "swap", "reflect"):
        near, far = circuit()
        one, two = near.say(Dummy()), near.say(Dummy())
        assert one != two
        if spoil != "swap":
            far.hear(one)
        bad = {"flip": two[:-1] + bytes((two[-1] ^ 1,)), "repeat": one, "swap": two, "reflect": far.say(Dummy())}[spoil]
        for data in (bad, two):
            with pytest.raises(Violation) as caught:
                far.hear(data)
            assert caught.value.reason is Refusal.BAD_TAG


def test_what_was_sealed_but_cannot_be_read_is_refused() -> None:
    half, other = Half(SECRET), Half(SECRET)
    end = End(Half(b"x" * 32), other)
    with pytest.raises(Violation) as caught:
        end.hear(half.seal(b"\0" * inner.SMALL_PLAIN))
    assert caught.value.reason is Refusal.BAD_INNER


def test_keys_need_both_halves_and_every_circuit_has_its_own() -> None:
    pivot = Pivot()
    opening = pivot.opening()
    unsealed = pivot.unsealer.open(opening.sealed, NOW)
    cell, _ = unsealed.answer(next(EPHEMERAL))
    _, other = unsealed.answer(next(EPHEMERAL))
    near = opening.opened(cell)
    with pytest.raises(Violation):
        other.hear(near.say(InnerCredit(1)))


def test_an_answer_that_is_none_opens_nothing() -> None:
    pivot = Pivot()
    opening = pivot.opening()
    unsealed = pivot.unsealer.open(opening.sealed, NOW)
    key = seal._first_key(SECRET, opening.sealed)
    for body, reason in ((Dummy(), Refusal.BAD_INNER), (Opened(bytes(32)), Refusal.SEAL_CONTENT)):
        with pytest.raises(Violation) as caught:
            opening.opened(Half(key).seal(inner.plain_of(body)))
        assert caught.value.reason is reason
    cell, _ = unsealed.answer(next(EPHEMERAL))
    with pytest.raises(Violation):
        opening.opened(cell[:-1] + b"\0" if cell[-1] else cell[:-1] + b"\1")


def test_no_key_seals_more_cells_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "MAX_CELLS", 2)
    half = Half(SECRET)
    half.seal(b"")
    half.seal(b"")
    with pytest.raises(LocalMisuse):
        half.seal(b"")
