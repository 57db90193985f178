"""What every node may know of a block: its kind, where on the ring it belongs, and whether its bytes are its key's."""

from __future__ import annotations

import hashlib
from enum import Enum

from anonymizer.chk import BLOCK_BYTES, check_block, routing_of
from anonymizer.ssk import RECORD_BYTES, check_record, parse_record
from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

#: Kinds of key.
CHK, SSK = 1, 2
ROUTING_BYTES = 32
#: What a content block begins with: version and algorithm.
BLOCK_HEAD = b"\x01\x01"
#: Size of the bytes under each kind.
SIZES = {CHK: BLOCK_BYTES, SSK: RECORD_BYTES}
#: The ring has this many places.
RING = 1 << 64


class Outcome(Enum):
    """What became of a block that was to be kept."""

    STORED = "stored"
    KNOWN = "known"
    #: The rule keeps what it has: the store is full of nearer ones, or has a newer record.
    REFUSED = "refused"
    #: The disk refused; nothing of the block is left there.
    DISK = "disk"


def verify(kind: int, routing: bytes, data: bytes) -> None:
    """RemoteViolation(BAD_BLOCK) unless `data` is what may stand under this key."""
    if kind == CHK:
        check_block(routing, data)
    elif kind == SSK:
        check_record(routing, data)
    else:
        raise RemoteViolation(DropReason.BAD_BLOCK, "unknown kind of key")


def routing_in(kind: int, data: bytes) -> bytes:
    """The key that a block is of, the block being verified on the way; RemoteViolation(BAD_BLOCK) if it is none."""
    if kind == CHK:
        routing = routing_of(data)
        if len(data) != BLOCK_BYTES or data[:2] != BLOCK_HEAD:
            raise RemoteViolation(DropReason.BAD_BLOCK, "no block of this version")
        return routing
    routing = parse_record(data).routing
    verify(kind, routing, data)
    return routing


def second_place(kind: int, routing: bytes) -> int:
    """Where manifests and records are stored once more: whoever sits near the first place has no say about this one."""
    return location(kind, hashlib.sha256(routing + b"\x01").digest())


def location(kind: int, routing: bytes) -> int:
    """The place of a key on the ring: 64 bits of SHA-256(routing + kind), so that nobody chooses it freely."""
    return int.from_bytes(hashlib.sha256(routing + bytes((kind,))).digest()[:8], "big")


def distance(a: int, b: int) -> int:
    """The way between two places, the shorter way round."""
    return min((a - b) % RING, (b - a) % RING)
