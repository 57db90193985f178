"""Signed descriptors: what is read, and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.descr import HOUR_S, MAX_AHEAD_S, check_times, location_of, read, sign
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import MAX_DESCRIPTOR
from gnutella.errors import LocalMisuse
from gnutella.testing.relay_nodes import NOW, descriptor_of, signing_key

SOUND = descriptor_of(1)


def reason_of(data: bytes) -> Refusal:
    with pytest.raises(Violation) as caught:
        read(data)
    return caught.value.reason


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 3),
    st.integers(0, 2**63 - 1),
    st.integers(1, 168),
    st.ip_addresses().map(str),
)
def test_a_descriptor_is_read_as_it_was_signed(bits: int, bandwidth: int, sequence: int, hours: int, host: str) -> None:
    until = NOW // HOUR_S + hours
    made = descriptor_of(2, capabilities=bits, bandwidth=bandwidth, sequence=sequence, expires_h=until, host=host)
    assert read(made.data) == made
    assert len(made.data) <= MAX_DESCRIPTOR


def test_the_id_is_the_hash_of_the_key_as_certificates_hold_it() -> None:
    spki = signing_key(1).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert SOUND.node_id == hashlib.sha256(spki).digest()
    assert SOUND.location == location_of(SOUND.node_id)
    assert 0 <= location_of(bytes(32)) < 1


@given(st.integers(0, len(SOUND.data) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(at: int, mask: int) -> None:
    data = bytearray(SOUND.data)
    data[at] ^= mask
    with pytest.raises(Violation):
        read(bytes(data))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"host": ""}, Refusal.DESCRIPTOR_BROKEN),
        ({"port": 0}, Refusal.DESCRIPTOR_BROKEN),
        ({"host": "example.org"}, Refusal.DESCRIPTOR_ADDRESS),
        ({"host": "2001:DB8::1"}, Refusal.DESCRIPTOR_ADDRESS),
        ({"host": "1.2.3.04"}, Refusal.DESCRIPTOR_ADDRESS),
        ({"expires_h": SOUND.issued_h}, Refusal.DESCRIPTOR_TOO_LASTING),
        ({"expires_h": SOUND.issued_h + 169}, Refusal.DESCRIPTOR_TOO_LASTING),
        ({"version": 2}, Refusal.DESCRIPTOR_BROKEN),
        ({"bandwidth": 4}, Refusal.DESCRIPTOR_BROKEN),
        ({"capabilities": 0x10000}, Refusal.DESCRIPTOR_BROKEN),
        ({"pivot_keys": (b"\1" + bytes(32),) * 5}, Refusal.DESCRIPTOR_BROKEN),
        ({"pivot_keys": (bytes(1_218),)}, Refusal.DESCRIPTOR_BROKEN),
        ({"signature": bytes(64)}, Refusal.DESCRIPTOR_FORGED),
        ({"sequence": 2}, Refusal.DESCRIPTOR_FORGED),
        ({"key": bytes(32)}, Refusal.DESCRIPTOR_FORGED),
    ],
)
def test_each_rule_of_a_descriptor_is_held(changed: dict[str, Any], reason: Refusal) -> None:
    assert reason_of(cbor2.dumps(replace(SOUND, **changed).to_map(), canonical=True)) is reason


def test_long_descriptors_are_neither_made_nor_read() -> None:
    long = {"pivot_keys": (bytes(1_217), bytes(1_217))}
    with pytest.raises(LocalMisuse):
        descriptor_of(1, **long)
    assert reason_of(bytes(MAX_DESCRIPTOR + 1)) is Refusal.DESCRIPTOR_BROKEN
    with pytest.raises(LocalMisuse):
        sign(SOUND, signing_key(2))


def test_times_are_those_of_an_hour() -> None:
    check_times(SOUND, NOW + 168 * HOUR_S - 1)
    check_times(SOUND, NOW - MAX_AHEAD_S)
    for now, reason in (
        (NOW + 168 * HOUR_S, Refusal.DESCRIPTOR_EXPIRED),
        (NOW - MAX_AHEAD_S - 1, Refusal.DESCRIPTOR_FUTURE),
    ):
        with pytest.raises(Violation) as caught:
            check_times(SOUND, now)
        assert caught.value.reason is reason


def test_one_without_address_may_be_known() -> None:
    assert read(descriptor_of(1, host="", port=0).data).address is None
