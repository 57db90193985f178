"""Posts: one-shot messages to a pivot, of which nobody on the way sees what they belong to.

A post is a seal of the size of every other (HPKE to one of the pivot's keys, under a label of its own), in it the search that
it answers, the minute and a sealed hit that the pivot passes on without being able to read it.  A seal is opened once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Final

from anonymizer.fields import Body, Number, Octets
from anonymizer.inner import MAX_SEALED_HIT, fill, unfill
from anonymizer.reasons import Refusal, Violation
from anonymizer.seal import (
    ENC_SIZE,
    SEAL_PLAIN,
    WINDOW_MIN,
    X25519_SUITE,
    PivotKeys,
    Replays,
    hpke_open,
    hpke_seal,
    key_id,
)
from anonymizer.wire import SEALED_SIZE, UID, Kinds

_LABEL: Final = b"arl1-post"


@dataclass(frozen=True, slots=True)
class PostContent(Body):
    """For the pivot: which of its searches this is for, when it was sealed (minutes since 1970), and what to pass on."""

    query_id: bytes
    minute: int
    sealed: bytes
    KINDS: ClassVar[Kinds] = (UID, Number(0, 2**32 - 1), Octets(64, MAX_SEALED_HIT))


def seal_post(pivot_id: bytes, pivot_key: bytes, query_id: bytes, sealed_hit: bytes, now: float) -> bytes:
    """SEALED_SIZE bytes for a POST; LocalMisuse if the key is none.  `now` is seconds since 1970."""
    content = PostContent(query_id, int(now // 60), sealed_hit)
    plain = fill(content.encode(SEAL_PLAIN), SEAL_PLAIN)
    return bytes((X25519_SUITE,)) + hpke_seal(pivot_key, _info(pivot_id, pivot_key), plain)


def open_post(pivot_id: bytes, keys: PivotKeys, replays: Replays, sealed: bytes, now: float) -> PostContent:
    """What was posted, the first time and within the window of a seal; anything else is a Violation(SEAL_…).

    `replays` are those of posts alone: each opens under its own label.
    """
    if len(sealed) != SEALED_SIZE or sealed[0] != X25519_SUITE:
        raise Violation(Refusal.SEAL_SUITE)
    seal = hashlib.sha256(sealed[1 : 1 + ENC_SIZE]).digest()
    replays.check(seal, now)
    plain = _open(pivot_id, keys, sealed[1:])
    content = PostContent.decode(unfill(plain, Refusal.SEAL_CONTENT), SEAL_PLAIN, Refusal.SEAL_CONTENT)
    if abs(int(now // 60) - content.minute) > WINDOW_MIN:
        raise Violation(Refusal.SEAL_TIME)
    replays.add(seal)
    return content


def _open(pivot_id: bytes, keys: PivotKeys, message: bytes) -> bytes:
    for private in keys.private:
        plain = hpke_open(private, _info(pivot_id, private.public_key().public_bytes_raw()), message)
        if plain is not None:
            return plain
    raise Violation(Refusal.SEAL_BROKEN)


def _info(pivot_id: bytes, pivot_key: bytes) -> bytes:
    return _LABEL + pivot_id + key_id(pivot_key)
