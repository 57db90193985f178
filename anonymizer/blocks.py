"""What every node may know of a block: its kind, where on the ring it belongs, and whether its bytes are its key's."""

from __future__ import annotations

import hashlib

from anonymizer.chk import BLOCK_BYTES, check_block
from anonymizer.ssk import RECORD_BYTES, check_record
from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

#: Kinds of key.
CHK, SSK = 1, 2
ROUTING_BYTES = 32
#: Size of the bytes under each kind.
SIZES = {CHK: BLOCK_BYTES, SSK: RECORD_BYTES}
#: The ring has this many places.
RING = 1 << 64


def verify(kind: int, routing: bytes, data: bytes) -> None:
    """RemoteViolation(BAD_BLOCK) unless `data` is what may stand under this key."""
    if kind == CHK:
        check_block(routing, data)
    elif kind == SSK:
        check_record(routing, data)
    else:
        raise RemoteViolation(DropReason.BAD_BLOCK, "unknown kind of key")


def location(kind: int, routing: bytes) -> int:
    """The place of a key on the ring: 64 bits of SHA-256(routing + kind), so that nobody chooses it freely."""
    return int.from_bytes(hashlib.sha256(routing + bytes((kind,))).digest()[:8], "big")


def distance(a: int, b: int) -> int:
    """The way between two places, the shorter way round."""
    return min((a - b) % RING, (b - a) % RING)
