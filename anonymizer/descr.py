"""Signed descriptors: how the nodes of the layer know each other.

A node's id is the hash of its key, in the form in which TLS certificates hold it, so whoever has a link to it can see that a
descriptor is the linked node's own.  Hours, classes of bandwidth and bits of capability are coarse on purpose.  The set of all
descriptors that a node keeps, and the rules for picking from it, are in anonymizer.known.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from anonymizer import cbor
from anonymizer.fields import Body, Many, Number, Octets, Text
from anonymizer.reasons import Refusal, Violation
from anonymizer.wire import MAX_DESCRIPTOR, Kinds
from gnutella.errors import LocalMisuse
from gnutella.units import Address

VERSION: Final = 1
#: An Ed25519 key as a SubjectPublicKeyInfo begins so (RFC 8410 section 4).
SPKI_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
HOUR_S: Final = 3_600
#: The longest that a descriptor lasts: 7 days.
MAX_LIFETIME_H: Final = 168
#: Hours go up, and clocks may differ by some minutes.
MAX_AHEAD_S: Final = HOUR_S + 300
#: The newest and the one before, each in two suites.
MAX_PIVOT_KEYS: Final = 4
#: A suite byte and a key; that of ML-KEM-768 with X25519 has 1,216 bytes.
MAX_PIVOT_KEY: Final = 1_217
#: Bits of `capabilities`.
PIVOT, GATEWAY, ANCHOR = 1, 2, 4
#: Those read last; what is kept of them, anonymizer.known keeps in any case.
_REMEMBERED: Final = 1_024
_CONTEXT = b"arl1-desc"
_UNSIGNED = bytes(64)


@dataclass(frozen=True)
class Descriptor(Body):
    """One node, in its own words.  `host` is empty and `port` 0 for who cannot be reached.

    `key` is its raw Ed25519 key, `pivot_keys` are HPKE keys, the newest first, each after the byte of its suite; `issued_h` and
    `expires_h` are hours since 1970.
    """

    version: int
    key: bytes
    pivot_keys: tuple[bytes, ...]
    host: str
    port: int
    capabilities: int
    bandwidth: int
    issued_h: int
    expires_h: int
    sequence: int
    signature: bytes = _UNSIGNED
    KINDS: ClassVar[Kinds] = (
        Number(VERSION, VERSION),
        Octets(32),
        Many(Octets(2, MAX_PIVOT_KEY), 0, MAX_PIVOT_KEYS),
        Text(45, 0),
        Number(0, 65_535),
        Number(0, 0xFFFF),
        Number(0, 3),
        Number(0, 2**32 - 1),
        Number(0, 2**32 - 1),
        Number(0, 2**63 - 1),
        Octets(64),
    )

    def check(self) -> None:
        if bool(self.host) is not bool(self.port):
            raise Violation(Refusal.DESCRIPTOR_BROKEN, "half an address")
        if self.host and not _is_canonical_ip(self.host):
            raise Violation(Refusal.DESCRIPTOR_ADDRESS)
        if not 0 < self.expires_h - self.issued_h <= MAX_LIFETIME_H:
            raise Violation(Refusal.DESCRIPTOR_TOO_LASTING)

    @cached_property
    def node_id(self) -> bytes:
        """Who it is about."""
        return node_id_of(self.key)

    @cached_property
    def data(self) -> bytes:
        """The bytes that are gossiped."""
        return self.encode(MAX_DESCRIPTOR)

    @property
    def address(self) -> Address | None:
        return Address(self.host, self.port) if self.host else None

    @cached_property
    def location(self) -> float:
        return location_of(self.node_id)

    def signed_part(self) -> bytes:
        """What the signature is over: all other fields."""
        fields = self.to_map()
        del fields[len(self.KINDS) - 1]
        return _CONTEXT + cbor.encode(fields, MAX_DESCRIPTOR)


def node_id_of(key: bytes) -> bytes:
    """The id of the node with this raw Ed25519 key."""
    return hashlib.sha256(SPKI_PREFIX + key).digest()


def location_of(node_id: bytes) -> float:
    """Where a node lies on the ring of keys, 0 <= it < 1; it cannot be chosen without trying many keys."""
    return (int.from_bytes(hashlib.sha256(b"arl1-loc" + node_id).digest()[:8], "big") >> 11) / 2.0**53


def sign(descriptor: Descriptor, private_key: Ed25519PrivateKey) -> Descriptor:
    """The same with its signature; the key must be the descriptor's."""
    if private_key.public_key().public_bytes_raw() != descriptor.key:
        raise LocalMisuse("a descriptor is signed with its own key")
    signed = replace(descriptor, signature=private_key.sign(descriptor.signed_part()))
    if len(signed.data) > MAX_DESCRIPTOR:
        raise LocalMisuse("descriptor too long")
    return signed


@lru_cache(maxsize=_REMEMBERED)
def read(data: bytes) -> Descriptor:
    """The descriptor that `data` is, its signature verified; its times are not looked at (see `check_times`).

    The last ones are remembered: every link tells of the same nodes.
    """
    descriptor = Descriptor.decode(data, MAX_DESCRIPTOR, Refusal.DESCRIPTOR_BROKEN)
    try:
        Ed25519PublicKey.from_public_bytes(descriptor.key).verify(descriptor.signature, descriptor.signed_part())
    except (InvalidSignature, ValueError):
        raise Violation(Refusal.DESCRIPTOR_FORGED) from None
    # There is one form of each, so it need not be encoded again.
    vars(descriptor)["data"] = data
    return descriptor


def check_times(descriptor: Descriptor, now: float) -> None:
    """Violation if it is past its expiry, or from a time to come."""
    if descriptor.expires_h * HOUR_S <= now:
        raise Violation(Refusal.DESCRIPTOR_EXPIRED)
    if descriptor.issued_h * HOUR_S > now + MAX_AHEAD_S:
        raise Violation(Refusal.DESCRIPTOR_FUTURE)


def _is_canonical_ip(host: str) -> bool:
    try:
        return str(ipaddress.ip_address(host)) == host
    except ValueError:
        return False
