"""Nodes of the relay layer for tests: keys made from a number, and descriptors signed with them."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anonymizer.descr import HOUR_S, PIVOT, VERSION, Descriptor, sign

#: A Sunday in 2026, on the hour.
NOW = 495_000 * HOUR_S


def signing_key(number: int) -> Ed25519PrivateKey:
    """The same key for the same number."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"test node %d" % number).digest())


def descriptor_of(number: int, **changed: Any) -> Descriptor:
    """Of a reachable pivot in a /16 of its own, for numbers up to 40,000."""
    key = signing_key(number)
    fields: dict[str, Any] = {
        "version": VERSION,
        "key": key.public_key().public_bytes_raw(),
        "pivot_keys": (b"\1" + bytes(32),),
        "host": f"{20 + number // 250}.{number % 250}.1.1",
        "port": 6346,
        "capabilities": PIVOT,
        "bandwidth": 1,
        "issued_h": NOW // HOUR_S,
        "expires_h": NOW // HOUR_S + 168,
        "sequence": 1,
    }
    return sign(Descriptor(**(fields | changed)), key)
