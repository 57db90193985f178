"""Fuzzing targets of the relay layer: cells, what they say, descriptors, seals.

They are among those of gnutella.testing.fuzz_targets.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer import descr, inner, terms, wire
from anonymizer.cells import LARGE_BODY, LARGE_SIZE, SMALL_BODY, Walker
from anonymizer.hits import HIT_PLAIN, MAX_ANCHORS, HitContent, open_hit, seal_hit
from anonymizer.known import KnownNodes
from anonymizer.posts import PostContent, open_post, seal_post
from anonymizer.reasons import Refusal, Violation
from anonymizer.seal import SEAL_PLAIN, Half, Opening, PivotKeys, Replays, SealContent, Unsealer, hpke_seal, key_id
from anonymizer.wire import cell_of, parse
from gnutella.testing import fuzz_links, fuzz_pivot, fuzz_route
from gnutella.testing.relay_nodes import NOW, descriptor_of, signing_key

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


def _descriptor(data: bytes) -> None:
    """Heard of from a link; what is kept is what was signed."""
    nodes = KnownNodes(bytes(32), limit=2)
    heard = nodes.hear(data, _ID, NOW)
    assert len(nodes) == (heard is not None)
    descriptor = descr.read(data)
    assert descriptor.data == data == descriptor.encode(wire.MAX_DESCRIPTOR)
    assert 0 <= descriptor.location < 1


def _key(number: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(hashlib.sha256(b"fuzz%d" % number).digest())


_PIVOT_KEYS = PivotKeys(NOW, lambda: _key(0))
_PIVOT_KEY = _PIVOT_KEYS.public[0][1:]
_SEALED = Opening(_ID, _PIVOT_KEY, inner.encode(inner.Dummy()), NOW, _ID, _key(1)).sealed


def _seal(data: bytes) -> None:
    """As a seal, as what is in one, and as a cell of a circuit."""
    unsealer = Unsealer(_ID, _PIVOT_KEYS, Replays())
    inside = b"\1" + hpke_seal(
        _PIVOT_KEY, b"arl1-open" + _ID + key_id(_PIVOT_KEY), (data + bytes(SEAL_PLAIN))[:SEAL_PLAIN]
    )
    for sealed in (inside, data):
        try:
            first = unsealer.open(sealed, NOW)
        except Violation as violation:
            refused = violation
        else:
            first.answer(_key(2))
            return
    half = Half(_ID)
    try:
        half.open(data)
    except Violation:
        assert half.is_broken
    else:
        raise AssertionError("forged")
    raise refused


_BODIES: tuple[wire.AnyBody, ...] = (
    wire.Hello((1,), 3, b"d" * 300, _ID, 256, 29_700_000),
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

_REPLY = _key(4)
_REPLY_KEY = _REPLY.public_key().public_bytes_raw()
_HIT = HitContent("purple elephant.txt", 1 << 20, "text/plain", 16, _ID, _ID, bytes(20), bytes(24), (bytes(80),) * 2)


def _hit(data: bytes) -> None:
    """As a sealed hit, and as what is in one; what is read is written the same."""
    inside = hpke_seal(_REPLY_KEY, b"arl1-hit" + _REPLY_KEY, (data + bytes(HIT_PLAIN))[:HIT_PLAIN])
    refused: Violation | None = None
    for sealed in (data, inside):
        try:
            hit = open_hit(_REPLY, sealed)
        except Violation as violation:
            refused = violation
        else:
            assert open_hit(_REPLY, seal_hit(_REPLY_KEY, hit)) == hit
            assert len(hit.hints) <= MAX_ANCHORS
            return
    assert refused is not None
    raise refused


def _post(data: bytes) -> None:
    """As a post to this pivot, and as what is in one; it is opened once."""
    replays = Replays()
    info = b"arl1-post" + _ID + key_id(_PIVOT_KEY)
    inside = b"\1" + hpke_seal(_PIVOT_KEY, info, (data + bytes(SEAL_PLAIN))[:SEAL_PLAIN])
    with suppress(Violation):
        open_post(_ID, _PIVOT_KEYS, replays, data, NOW)
    content = open_post(_ID, _PIVOT_KEYS, replays, inside, NOW)
    assert content == open_post(
        _ID, _PIVOT_KEYS, Replays(), seal_post(_ID, _PIVOT_KEY, content.query_id, content.sealed, NOW), NOW
    ) or content.minute != int(NOW // 60)
    try:
        open_post(_ID, _PIVOT_KEYS, replays, inside, NOW)
    except Violation as violation:
        assert violation.reason is Refusal.SEAL_REPLAYED
    else:
        raise AssertionError("opened twice")


def _terms(data: bytes) -> None:
    """A search text has one form, which is short, and a file with that name is found by it."""
    text = data.decode("utf-8", "replace")[:512]
    form = terms.normal(text)
    assert len(form.encode()) <= wire.MAX_SEEK_TEXT
    assert terms.normal(form) == form
    words = terms.words_of(text)
    assert not words or terms.answers(words, terms.index_words(form)) or form.startswith("urn:sha1:")


RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "relay_cells": (6, _cells),
    "relay_inner": (4, _inner),
    "relay_descriptor": (4, _descriptor),
    "relay_seal": (4, _seal),
    "relay_hit": (4, _hit),
    "relay_post": (4, _post),
    "relay_terms": (4, _terms),
    "relay_pivot": (1, fuzz_pivot.run),
    "relay_route": (1, fuzz_route.run),
    **fuzz_links.RUNS,
}
SEEDS: dict[str, list[bytes]] = {
    "relay_cells": [*_SENT, b"".join(sent for sent in _SENT if len(sent) < LARGE_SIZE)],
    "relay_inner": [*(inner.encode(said) for said in _SAID), *(inner.plain_of(said) for said in _SAID)],
    "relay_descriptor": [descriptor_of(1).data, descriptor_of(2, pivot_keys=(), host="2001:db8::1").data],
    "relay_pivot": fuzz_pivot.SEEDS,
    "relay_route": fuzz_route.SEEDS,
    **fuzz_links.SEEDS,
    "relay_seal": [_SEALED, inner.fill(SealContent(_ID, _ID, NOW // 60, b"first").encode(SEAL_PLAIN), SEAL_PLAIN)],
    "relay_hit": [
        seal_hit(_REPLY_KEY, _HIT),
        inner.fill(_HIT.encode(HIT_PLAIN), HIT_PLAIN),
        inner.fill(_HIT.signed(signing_key(1)).encode(HIT_PLAIN), HIT_PLAIN),
    ],
    "relay_post": [
        seal_post(_ID, _PIVOT_KEY, _UID, seal_hit(_REPLY_KEY, _HIT), NOW),
        inner.fill(PostContent(_UID, int(NOW // 60), seal_hit(_REPLY_KEY, _HIT)).encode(SEAL_PLAIN), SEAL_PLAIN),
    ],
    "relay_terms": [b"Purple ELEPHANT (live) [2004].mp3", "Déjà vu 日本語 İ ß ﬁ".encode(), b"urn:sha1:" + b"A" * 32],
}
