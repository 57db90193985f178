"""Manifests: which blocks make a file, and the keys that open them.

A file is cut into blocks, sixteen blocks and up to sixteen check blocks make a segment.  The root names the segments; if they
are more than fit one block (15 MiB) it names segments of nodes, each of which names thirty segments of the level below.  The
design has 16 KiB as a limit; but texts are padded to whole blocks, and each level costs a reader a round trip.  The size of the
file decides the shape of the tree, so that a manifest of any other shape is refused before anything is asked for.

    root = {0: size, 1: mime, 2: sha256, 3: file key, 4: segments, 5: keys of node levels, 6: sha1, 7: tiger tree}
    node = {4: segments};  segment = [number of sources, routing keys of sources and checks in one string]

The root, as every node, is one block.  Its key is the hash of its text, which holds a key itself; so no key seals two texts.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from anonymizer import cbor
from anonymizer.chk import DATA, DATA_BYTES, KEY_BYTES, Block, pad, seal
from anonymizer.fec import MAX_CHECKS, MAX_SOURCES
from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

#: Text of a root or a node; above it there is a level more.
MAX_TEXT_BYTES = 31 * 1024
#: Segments that one text names: thirty of 1,029 bytes, and room for the fields of a root.
NODE_SEGMENTS = 30
#: Levels of nodes below the root.
MAX_LEVELS = 2
#: Largest file whose root has no more than these levels: 3.6 TB.
MAX_FILE_BYTES = NODE_SEGMENTS * (MAX_SOURCES * NODE_SEGMENTS) ** MAX_LEVELS * MAX_SOURCES * DATA_BYTES
#: RFC 6838 allows 127 characters for each half; nobody has longer ones than this for both.
MAX_MIME_BYTES = 127
_MIME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*\Z")
_ROUTING_BYTES = 32
_SIZE, _MIME_TYPE, _SHA256, _KEY, _SEGMENTS, _NODE_KEYS, _SHA1, _TTH = range(8)


@dataclass(frozen=True, slots=True)
class Segment:
    """`sources` blocks, and the check blocks after them."""

    sources: int
    routings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A root.  `segments` are those of the highest level; `node_keys[n]` opens the nodes that name level n."""

    size: int
    mime: str
    sha256: bytes
    key: bytes
    segments: tuple[Segment, ...]
    node_keys: tuple[bytes, ...] = ()
    sha1: bytes | None = None
    tth: bytes | None = None
    level: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", len(self.node_keys))


def items_of(size: int) -> list[int]:
    """Blocks of each level for a file of `size` bytes: data blocks, blocks of nodes that name their segments, and so on."""
    items = [-(-size // DATA_BYTES)]
    while (segments := -(-items[-1] // MAX_SOURCES)) > NODE_SEGMENTS:
        items.append(-(-segments // NODE_SEGMENTS))
    return items


def sources_of(items: int, first: int, last: int | None = None) -> list[int]:
    """Number of sources of the segments `first` to `last` (exclusive) of a level with `items` blocks."""
    count = -(-items // MAX_SOURCES)
    return [
        min(MAX_SOURCES, items - MAX_SOURCES * n) for n in range(first, count if last is None else min(last, count))
    ]


def encode_root(manifest: Manifest) -> bytes:
    fields: dict[int, cbor.Value] = {
        _SIZE: manifest.size,
        _MIME_TYPE: manifest.mime,
        _SHA256: manifest.sha256,
        _KEY: manifest.key,
        _SEGMENTS: _written(manifest.segments),
    }
    if manifest.node_keys:
        fields[_NODE_KEYS] = b"".join(manifest.node_keys)
    if manifest.sha1 is not None:
        fields[_SHA1] = manifest.sha1
    if manifest.tth is not None:
        fields[_TTH] = manifest.tth
    return cbor.encode(fields, MAX_TEXT_BYTES)


def encode_node(segments: tuple[Segment, ...]) -> bytes:
    return cbor.encode({_SEGMENTS: _written(segments)}, MAX_TEXT_BYTES)


def parse_root(text: bytes) -> Manifest:
    """The root with this text; RemoteViolation(BAD_MANIFEST) unless it can describe a file.  Later versions may add fields."""
    fields = cbor.decode_map(text, MAX_TEXT_BYTES, DropReason.BAD_MANIFEST)
    size = fields.integer(_SIZE, 0, MAX_FILE_BYTES)
    mime = fields.text(_MIME_TYPE, MAX_MIME_BYTES)
    if not _MIME.match(mime):
        raise RemoteViolation(DropReason.BAD_MANIFEST, "no MIME type")
    items = items_of(size)
    levels = len(items) - 1
    if _NODE_KEYS in fields and not levels:
        raise RemoteViolation(DropReason.BAD_MANIFEST, "keys of levels that it has not")
    keys = fields.octets(_NODE_KEYS, levels * KEY_BYTES) if levels else b""
    return Manifest(
        size=size,
        mime=mime,
        sha256=fields.octets(_SHA256, 32),
        key=fields.octets(_KEY, KEY_BYTES),
        segments=_read(fields, sources_of(items[-1], 0)),
        node_keys=tuple(keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)),
        sha1=fields.octets(_SHA1, 20) if _SHA1 in fields else None,
        tth=fields.octets(_TTH, 24) if _TTH in fields else None,
    )


def parse_node(text: bytes, sources: list[int]) -> tuple[Segment, ...]:
    """The segments that a node names, which must have these numbers of sources; else RemoteViolation(BAD_MANIFEST)."""
    fields = cbor.decode_map(text, MAX_TEXT_BYTES, DropReason.BAD_MANIFEST)
    found = _read(fields, sources)
    fields.finish()
    return found


def text_key(text: bytes) -> bytes:
    """The key that seals a root: the hash of its text."""
    return hashlib.sha256(b"arl1-root" + text).digest()


def seal_root(manifest: Manifest) -> tuple[Block, bytes]:
    """The block of a root, and the key that opens it."""
    text = encode_root(manifest)
    key = text_key(text)
    return seal(pad(text), key, DATA, 0), key


def _written(segments: tuple[Segment, ...]) -> cbor.Value:
    return [[segment.sources, b"".join(segment.routings)] for segment in segments]


def _read(fields: cbor.Fields, sources: list[int]) -> tuple[Segment, ...]:
    found = []
    for item, count in zip(fields.array(_SEGMENTS, len(sources), len(sources)), sources, strict=True):
        if not isinstance(item, list) or len(item) != 2 or item[0] != count or isinstance(item[0], bool):
            raise RemoteViolation(DropReason.BAD_MANIFEST, "a segment of another shape")
        names = item[1]
        if not isinstance(names, bytes) or len(names) % _ROUTING_BYTES:
            raise RemoteViolation(DropReason.BAD_MANIFEST, "a segment without names")
        routings = tuple(names[at : at + _ROUTING_BYTES] for at in range(0, len(names), _ROUTING_BYTES))
        if not count <= len(routings) <= count + MAX_CHECKS or len(set(routings)) != len(routings):
            raise RemoteViolation(DropReason.BAD_MANIFEST, "a segment with too few, too many or repeated names")
        found.append(Segment(count, routings))
    return tuple(found)
