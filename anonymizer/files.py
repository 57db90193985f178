"""Files as blocks, both ways, with bounded memory and no I/O: bytes in, blocks out; blocks in, bytes out in order.

`Splitter` seals a file segment by segment and ends with its manifest.  `FileReader` says which blocks to ask for, takes them
in any order, uses check blocks in place of lost ones, and hands out the data in order; what it holds is a few segments.
Everything is verified: blocks by their names and seals, nodes by their shape, the whole by its SHA-256.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from anonymizer import fec
from anonymizer.chk import CHECK, DATA, DATA_BYTES, KEY_BYTES, Block, check_block, pad, seal, unpad, unseal
from anonymizer.errors import DataNotFound, IntegrityFailure
from anonymizer.manifest import (
    MAX_FILE_BYTES,
    NODE_SEGMENTS,
    Manifest,
    Segment,
    encode_node,
    items_of,
    parse_node,
    parse_root,
    seal_root,
    sources_of,
    text_key,
)
from anonymizer.uri import ChkUri
from gnutella.errors import LocalMisuse, RemoteViolation

_SEGMENT_BYTES = fec.MAX_SOURCES * DATA_BYTES
#: Segments that a reader has in hand: 64 blocks asked for at once (design section 3.19) and as much that waits for its turn.
WINDOW = 4


def seal_segment(texts: list[bytes], key: bytes, number: int, redundant: bool) -> tuple[Segment, list[Block]]:
    """The blocks of segment `number` of its level: the texts, which are padded, and as many checks if it is redundant."""
    first = number * fec.MAX_SOURCES
    blocks = [seal(text, key, DATA, first + n) for n, text in enumerate(texts)]
    if redundant:
        checks = fec.check_texts(texts, len(texts))
        blocks += [seal(text, key, CHECK, first + n) for n, text in enumerate(checks)]
    return Segment(len(texts), tuple(block.routing for block in blocks)), blocks


class Splitter:
    """Seals one file under `key`, which must be used for no other contents: random, or the digest of `convergent_hash`.

    Holds a segment of data, and 1 KiB of names for each 512 KiB of file.  CPU work: about 30 ms for each MiB.
    """

    def __init__(self, key: bytes, *, redundant: bool = True) -> None:
        if len(key) != KEY_BYTES:
            raise LocalMisuse("a file key has 32 bytes")
        self._key = key
        self._redundant = redundant
        self._rest = bytearray()
        self._size = 0
        self._hash = hashlib.sha256()
        self._segments: list[Segment] = []

    def feed(self, data: bytes) -> Iterator[Block]:
        """The blocks that became complete; go through all of them before feeding more."""
        self._size += len(data)
        if self._size > MAX_FILE_BYTES:
            raise LocalMisuse("a file beyond MAX_FILE_BYTES")
        self._hash.update(data)
        view = memoryview(data)
        while view:
            taken = min(_SEGMENT_BYTES - len(self._rest), len(view))
            self._rest += view[:taken]
            view = view[taken:]
            if len(self._rest) == _SEGMENT_BYTES:
                yield from self._close_segment()

    def finish(self, mime: str, sha1: bytes | None = None, tth: bytes | None = None) -> tuple[ChkUri, list[Block]]:
        """The key of the whole, and the last blocks: data, nodes, and the root at the end."""
        blocks = list(self._close_segment()) if self._rest else []
        segments, node_keys = self._segments, []
        while len(segments) > NODE_SEGMENTS:
            segments, key, more = self._level_above(segments)
            node_keys.append(key)
            blocks += more
        manifest = Manifest(
            self._size, mime, self._hash.digest(), self._key, tuple(segments), tuple(node_keys), sha1, tth
        )
        root, root_key = seal_root(manifest)
        return ChkUri(root.routing, root_key), [*blocks, root]

    def _close_segment(self) -> Iterator[Block]:
        data = bytes(self._rest)
        self._rest.clear()
        texts = [pad(data[at : at + DATA_BYTES]) for at in range(0, len(data), DATA_BYTES)]
        segment, blocks = seal_segment(texts, self._key, len(self._segments), self._redundant)
        self._segments.append(segment)
        yield from blocks

    def _level_above(self, segments: list[Segment]) -> tuple[list[Segment], bytes, list[Block]]:
        texts = [encode_node(tuple(segments[at : at + NODE_SEGMENTS])) for at in range(0, len(segments), NODE_SEGMENTS)]
        # Bound to the texts, for the same file has other nodes when it is sealed without checks; secret as the file key is.
        key = hashlib.sha256(b"arl1-node" + self._key + b"".join(texts)).digest()
        above: list[Segment] = []
        blocks: list[Block] = []
        for at in range(0, len(texts), fec.MAX_SOURCES):
            padded = [pad(text) for text in texts[at : at + fec.MAX_SOURCES]]
            segment, more = seal_segment(padded, key, len(above), self._redundant)
            above.append(segment)
            blocks += more
        return above, key, blocks


@dataclass(slots=True)
class _Pending:
    """A segment that is being fetched: number `number` of its level."""

    level: int
    number: int
    segment: Segment
    known: dict[int, bytes] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    #: Its data once it is complete and waits for its turn.
    ready: list[bytes] | None = None

    def to_ask(self) -> list[int]:
        """Blocks to ask for besides those under way: sources first."""
        short = self.segment.sources - len(self.known) - len(self.asked)
        free = (
            n
            for n in range(len(self.segment.routings))
            if n not in self.known and n not in self.asked and n not in self.lost
        )
        return [n for n, _ in zip(free, range(short), strict=False)] if short > 0 and self.ready is None else []

    def place(self, n: int) -> tuple[int, int]:
        """(kind, index) of block `n` in its level."""
        first, sources = self.number * fec.MAX_SOURCES, self.segment.sources
        return (DATA, first + n) if n < sources else (CHECK, first + n - sources)


class FileReader:
    """Fetches the file of `uri`: ask for what `ask` returns, tell what came by `receive` or `lost`, write what `take` returns.

    IntegrityFailure means that the publisher made it wrong, DataNotFound that too many blocks are lost; both end it.  What
    `take` returned is the file only once `is_done`; until then it is to be kept where nobody takes it for the file.
    """

    def __init__(self, uri: ChkUri, window: int = WINDOW) -> None:
        self.manifest: Manifest | None = None
        self.is_done = False
        self._uri = uri
        self._window = window
        self._root_asked = False
        self._items: list[int] = []
        self._plan: deque[_Pending] = deque()
        self._active: deque[_Pending] = deque()
        self._out: dict[bytes, tuple[_Pending, int]] = {}
        self._healed: list[Block] = []
        self._hash = hashlib.sha256()
        self._size = 0

    def ask(self, limit: int) -> list[bytes]:
        """At most `limit` routing keys to ask for now; each is to be told by `receive` or `lost`."""
        if self.manifest is None:
            if self._root_asked or limit < 1:
                return []
            self._root_asked = True
            return [self._uri.routing]
        self._fill()
        found: list[bytes] = []
        for pending in self._active:
            for n in pending.to_ask()[: max(0, limit - len(found))]:
                routing = pending.segment.routings[n]
                if routing in self._out:
                    raise IntegrityFailure("a manifest names a block twice", routing)
                self._out[routing] = pending, n
                pending.asked.add(n)
                found.append(routing)
        return found

    def receive(self, routing: bytes, sealed: bytes) -> None:
        """A block came.  RemoteViolation if it is not that key's: it stays asked for.  One not asked for is ignored."""
        if self.manifest is None:
            if routing == self._uri.routing:
                self._open_root(sealed)
            return
        if routing not in self._out:
            return
        check_block(routing, sealed)
        pending, n = self._out.pop(routing)
        pending.asked.discard(n)
        pending.known[n] = unseal(routing, sealed, self._key_of(pending.level), *pending.place(n))
        if len(pending.known) >= pending.segment.sources:
            self._complete(pending)

    def lost(self, routing: bytes) -> None:
        """Nobody has this block; DataNotFound if the file cannot be had without it."""
        if self.manifest is None and routing == self._uri.routing:
            raise DataNotFound("nobody who was asked holds the manifest")
        if routing not in self._out:
            return
        pending, n = self._out.pop(routing)
        pending.asked.discard(n)
        pending.lost.add(n)
        if len(pending.segment.routings) - len(pending.lost) < pending.segment.sources:
            raise DataNotFound("too many blocks of a segment are lost")

    def place_of(self, routing: bytes) -> int | None:
        """Which block of the file's data it is; None unless it is one, and asked for."""
        pending, n = self._out.get(routing, (None, 0))
        if pending is None or pending.level:
            return None
        kind, index = pending.place(n)
        return index if kind == DATA else None

    def take(self) -> list[bytes]:
        """The data that is next in the file and complete; IntegrityFailure if the whole is not what it should be."""
        found: list[bytes] = []
        while self._active and self._active[0].ready is not None:
            found += self._active.popleft().ready or []
        for data in found:
            self._hash.update(data)
            self._size += len(data)
        if self.manifest is not None and not (self._plan or self._active) and not self.is_done:
            if self._size != self.manifest.size or self._hash.digest() != self.manifest.sha256:
                raise IntegrityFailure("SHA-256 of the whole file", self._uri.routing)
            self.is_done = True
        return found

    def healed(self) -> list[Block]:
        """Blocks that were lost and could be made again, to be inserted anew; each once."""
        healed, self._healed = self._healed, []
        return healed

    def _open_root(self, sealed: bytes) -> None:
        text = unpad(unseal(self._uri.routing, sealed, self._uri.key, DATA, 0))
        if text_key(text) != self._uri.key:
            raise IntegrityFailure("key of a manifest", self._uri.routing)
        try:
            manifest = parse_root(text)
        except RemoteViolation:
            raise IntegrityFailure("manifest", self._uri.routing) from None
        self.manifest = manifest
        self._items = items_of(manifest.size)
        self._plan.extend(_Pending(manifest.level, n, segment) for n, segment in enumerate(manifest.segments))

    def _key_of(self, level: int) -> bytes:
        if self.manifest is None:
            raise LocalMisuse("no manifest yet")
        return self.manifest.node_keys[level - 1] if level else self.manifest.key

    def _fill(self) -> None:
        """A segment of nodes is the last in hand until it is complete: what it names comes before the rest of the plan."""
        while self._plan and len(self._active) < self._window and not (self._active and self._active[-1].level):
            self._active.append(self._plan.popleft())

    def _complete(self, pending: _Pending) -> None:
        sources = pending.segment.sources
        # Others under way are no longer needed; what comes of them is ignored.
        for n in pending.asked:
            self._out.pop(pending.segment.routings[n], None)
        pending.asked.clear()
        texts = fec.recover(pending.known, sources)
        pending.known.clear()
        self._heal(pending, texts)
        data = [unpad(text) for text in texts]
        if pending.level == 0:
            first = pending.number * fec.MAX_SOURCES
            size = self.manifest.size if self.manifest is not None else 0
            if any(len(piece) != min(DATA_BYTES, size - (first + n) * DATA_BYTES) for n, piece in enumerate(data)):
                raise IntegrityFailure("length of a block")
            pending.ready = data
            return
        self._active.remove(pending)
        below = [child for n, text in enumerate(data) for child in self._children(pending, n, text)]
        self._plan.extendleft(reversed(below))

    def _children(self, pending: _Pending, n: int, text: bytes) -> list[_Pending]:
        level = pending.level - 1
        first = (pending.number * fec.MAX_SOURCES + n) * NODE_SEGMENTS
        try:
            segments = parse_node(text, sources_of(self._items[level], first, first + NODE_SEGMENTS))
        except RemoteViolation:
            raise IntegrityFailure("node of a manifest") from None
        return [_Pending(level, first + number, segment) for number, segment in enumerate(segments)]

    def _heal(self, pending: _Pending, texts: list[bytes]) -> None:
        if not pending.lost:
            return
        sources = pending.segment.sources
        checks = fec.check_texts(texts, len(pending.segment.routings) - sources)
        for n in sorted(pending.lost):
            block = seal([*texts, *checks][n], self._key_of(pending.level), *pending.place(n))
            if block.routing != pending.segment.routings[n]:
                raise IntegrityFailure("check blocks of a segment", pending.segment.routings[n])
            self._healed.append(block)
