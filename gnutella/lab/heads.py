"""The bytes of a network, each kept once: a flooded query is a few chunks, and every node remembers its GUID.

A thousand nodes that remember a thousand GUIDs each would hold a million copies of them, in a million places of the memory.
`Heads` reads the header at the start of a chunk and gives all who ask the same GUID; `same` gives them the same chunk.
"""

from __future__ import annotations

from typing import Any

from gnutella.protocol.frames import HEADER

#: Chunks that are known at a time: those that are under way now, of the queries that run at once.
MAX_CHUNKS = 4096
#: Longest chunk that is kept: a hit comes to few nodes.
MAX_BYTES = 512
#: GUIDs that are kept: more than nodes remember in one generation of their tables.
MAX_GUIDS = 50_000


class Heads(dict[bytes, tuple[Any, ...]]):
    """Chunk -> GUID, kind, TTL, hops, payload length; looked up with `heads[chunk]`, of 23 bytes at least."""

    def __init__(self) -> None:
        super().__init__()
        self._guids: dict[bytes, bytes] = {}
        self._chunks: dict[bytes, bytes] = {}

    def __missing__(self, chunk: bytes) -> tuple[Any, ...]:
        guid, *rest = HEADER.unpack_from(chunk)
        if len(self._guids) >= MAX_GUIDS:
            self._guids.clear()
        head = (self._guids.setdefault(guid, guid), *rest)
        if len(chunk) <= MAX_BYTES:
            if len(self) >= MAX_CHUNKS:
                self.clear()
            self[chunk] = head
        return head

    def same(self, chunk: bytes) -> bytes:
        """The one object for these bytes."""
        if len(chunk) > MAX_BYTES:
            return chunk
        if len(self._chunks) >= MAX_CHUNKS:
            self._chunks.clear()
        return self._chunks.setdefault(chunk, chunk)
