"""Fuzzing targets of the relay layer: cells and what they say.

They are among those of gnutella.testing.fuzz_targets.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from anonymizer import inner, wire
from anonymizer.cells import LARGE_BODY, LARGE_SIZE, SMALL_BODY, Walker
from anonymizer.wire import cell_of, parse

_ID, _UID = bytes(range(32)), bytes(range(16))


def _cells(data: bytes) -> None:
    """A link's stream, in two pieces; what is read is written the same."""
    walker = Walker()
    cut = zlib.crc32(data) % (len(data) + 1)
    for piece in (data[:cut], data[cut:]):
        for cell in walker.feed(piece):
            body = parse(cell)
            again = cell_of(body, cell.channel, is_slow=cell.is_slow, is_last=cell.is_last)
            assert again == cell
        assert walker.pending < LARGE_SIZE


def _inner(data: bytes) -> None:
    """The plaintext of a circuit's cell, and the bare instruction."""
    body = inner.read_plain(data) if len(data) in (inner.SMALL_PLAIN, inner.LARGE_PLAIN) else inner.decode(data)
    assert inner.read_plain(inner.plain_of(body)) == body


_BODIES: tuple[wire.AnyBody, ...] = (
    wire.Hello((1,), 3, b"d" * 300, _ID, 256),
    wire.Descriptors((b"d" * 300, b"e" * 400)),
    wire.Open(wire.Phase.STEM, _ID, 0, bytes(wire.SEALED_SIZE)),
    wire.Post(wire.Phase.BRIDGE, _ID, 8, bytes(wire.SEALED_SIZE)),
    wire.Close(wire.CloseReason.IDLE),
    wire.Credit(64),
    wire.Ciphertext(bytes(SMALL_BODY)),
    wire.Ciphertext(bytes(LARGE_BODY)),
    wire.Fetch(_UID, wire.BlockType.CHK, _ID, 12, False),
    wire.Block(_UID, wire.BlockType.SSK, bytes(1_196)),
    wire.Store(_UID, 12, wire.BlockType.CHK, True, bytes(32_788)),
    wire.Reject(_UID, wire.RejectReason.LOOP, 60),
    wire.Offer(_ID, _ID),
    wire.Seek(_UID, _ID, _ID, 4, "purple elephant", 1),
    wire.Pad(),
    wire.Ping(bytes(8)),
)
_ON_CIRCUITS = (wire.Open, wire.Ciphertext, wire.Close, wire.Credit)
_SENT = [cell_of(body, 7 if isinstance(body, _ON_CIRCUITS) else 0).encode() for body in _BODIES]
_SAID = [
    inner.FetchKeys((b"\1" + _ID, b"\2" + _ID)),
    inner.InnerSeek("purple elephant", 0, 64, _ID, True),
    inner.Fail(inner.FailReason.NO_ROUTE, _ID),
    inner.GateHit("elephant.txt", 1 << 20, "urn:sha1:" + "A" * 32, "192.0.2.1", 6346),
]

RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "relay_cells": (6, _cells),
    "relay_inner": (4, _inner),
}
SEEDS: dict[str, list[bytes]] = {
    "relay_cells": [*_SENT, b"".join(sent for sent in _SENT if len(sent) < LARGE_SIZE)],
    "relay_inner": [*(inner.encode(said) for said in _SAID), *(inner.plain_of(said) for said in _SAID)],
}
