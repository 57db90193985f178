"""Fuzzing targets of the relay layer's keys: CBOR, blocks, manifests, keys as text.

They are among those of gnutella.testing.fuzz_targets.
"""

from __future__ import annotations

from collections.abc import Callable

from anonymizer import cbor
from anonymizer.blocks import CHK, SSK, verify
from anonymizer.chk import CHECK, DATA, pad, seal
from anonymizer.errors import BadKey, IntegrityFailure
from anonymizer.files import FileReader, Splitter
from anonymizer.manifest import Manifest, Segment, encode_node, encode_root, parse_node, parse_root, seal_root
from anonymizer.ssk import WriteKey, check_record, merge
from anonymizer.uri import ChkUri, KskUri, OwnUri, SskUri, UskUri, parse_uri
from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

_KEY = bytes(range(32))
_OWNER = WriteKey(_KEY, bytes(32))
_ROUTING = _OWNER.read_key.routing("page")
_BLOCK = seal(pad(b"some data"), _KEY, DATA, 0)
_LIMIT = 1 << 20
_SEGMENTS = (
    Segment(16, tuple(bytes((n,)) * 32 for n in range(32))),
    Segment(2, (_KEY, bytes(32), bytes(range(1, 33)))),
)


def _cbor(data: bytes) -> None:
    assert cbor.encode(cbor.decode(data, _LIMIT), _LIMIT) == data


def _block(data: bytes) -> None:
    """The kind first, 1 for content, 2 for a record: nothing but the very bytes passes for a content key."""
    kind = data[0] if data else 0
    verify(kind, _BLOCK.routing if kind == CHK else _ROUTING, data[1:])
    if kind == CHK:
        assert data[1:] == _BLOCK.sealed
    elif kind == SSK:
        assert check_record(_ROUTING, data[1:]).routing == _ROUTING
        assert merge((), data[1:]) == (data[1:],)


def _manifest(data: bytes) -> None:
    """A root's text, and what a reader makes of it: blocks to ask for, or a named error, and an end."""
    manifest = parse_root(data)
    assert parse_root(encode_root(manifest)) == manifest
    assert manifest.size > 0 or not manifest.segments
    block, key = seal_root(manifest)
    reader = FileReader(ChkUri(block.routing, key))
    assert reader.ask(64) == [block.routing]
    try:
        reader.receive(block.routing, block.sealed)
        asked = reader.ask(64)
        assert len(asked) <= 64
        for routing in asked:
            try:
                reader.receive(routing, _BLOCK.sealed)
            except RemoteViolation as violation:
                assert violation.reason is DropReason.BAD_BLOCK
        assert reader.take() == []
    except IntegrityFailure as failure:
        assert block.routing.hex() not in str(failure)


def _node(data: bytes) -> None:
    segments = parse_node(data, [16, 2])
    assert encode_node(segments) == data


def _sealed_text(data: bytes) -> None:
    """Any text that its publisher sealed as a manifest."""
    block = seal(pad(data[:32_768]), _KEY, DATA, 0)
    reader = FileReader(ChkUri(block.routing, _KEY))
    reader.ask(1)
    try:
        reader.receive(block.routing, block.sealed)
    except IntegrityFailure:
        return
    raise AssertionError("a manifest under a key that is not its own")


def _key_text(data: bytes) -> None:
    try:
        uri = parse_uri(data.decode("utf-8", "replace"))
    except BadKey:
        return
    assert parse_uri(str(uri)) == uri


def _file(data: bytes) -> None:
    """A file goes out and comes back; the bytes are its contents."""
    splitter = Splitter(_KEY)
    blocks = [*splitter.feed(data)]
    uri, last = splitter.finish("a/b")
    held = {block.routing: block.sealed for block in [*blocks, *last]}
    reader, found = FileReader(uri), b""
    while not reader.is_done:
        for routing in reader.ask(64):
            reader.receive(routing, held[routing])
        found += b"".join(reader.take())
    assert found == data


RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "cbor": (8, _cbor),
    "key_block": (4, _block),
    "manifest": (6, _manifest),
    "manifest_node": (3, _node),
    "manifest_sealed": (1, _sealed_text),
    "key_text": (4, _key_text),
    "key_file": (1, _file),
}

_ROOT = encode_root(
    Manifest(17 * 32_768 + 5, "audio/ogg", bytes(32), _KEY, _SEGMENTS, (), bytes(range(20)), bytes(range(24)))
)

#: Sound inputs by name of the target.
SEEDS: dict[str, tuple[bytes, ...]] = {
    "cbor": (_ROOT, cbor.encode({0: 1, 1: [True, None, -1, "ä", b"bytes"], 2: {300: {7: []}}}, _LIMIT)),
    "key_block": (
        bytes((CHK,)) + _BLOCK.sealed,
        bytes((CHK,)) + seal(pad(b""), _KEY, CHECK, 1).sealed,
        bytes((SSK,)) + _OWNER.write("page", 1, b"an edition", bytes(16)),
        bytes((SSK,)) + _OWNER.write("page", 2**64 - 1, b"another", bytes(16)),
    ),
    "manifest": (
        _ROOT,
        encode_root(Manifest(0, "a/b", bytes(32), _KEY, ())),
        encode_root(Manifest(300 * 32_768, "a/b", bytes(32), _KEY, (_SEGMENTS[1],), (_KEY,))),
    ),
    "manifest_node": (encode_node(_SEGMENTS),),
    "manifest_sealed": (_ROOT,),
    "key_text": tuple(
        str(uri).encode()
        for uri in (
            ChkUri(_KEY, bytes(32)),
            SskUri(_OWNER.read_key, "a page/ä"),
            UskUri(_OWNER.read_key, "site", 12),
            KskUri("keyword"),
            OwnUri(_OWNER),
        )
    ),
    "key_file": (b"contents", bytes(40_000)),
}
