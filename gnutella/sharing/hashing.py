"""SHA-1 and tiger tree of a file in one pass over its bytes.

The SHA-1 names a file on the network, the tree lets a downloader check it piece by piece; both are made from one read, a block
at a time while it lies in the core's cache.  Pure: whoever reads the file feeds the hasher (network/hash_jobs.py).

    hasher = FileHasher(size=5); hasher.update(b"hello"); hasher.finish().sha1
"""

from __future__ import annotations

import hashlib

from gnutella.errors import GnutellaError
from gnutella.protocol.tiger_backends import Buffer
from gnutella.protocol.tth import BLOCK_SIZE, FileHash, TreeHasher, node_size_for

__all__ = ["BLOCK_SIZE", "FileChanged", "FileHash", "FileHasher", "FileUnreadable", "hash_bytes"]


class FileChanged(GnutellaError):
    """A file's size or time of change moved while it was hashed, or it is shorter than the range asked for."""


class FileUnreadable(GnutellaError):
    """A file cannot be opened or read, is gone, or is no regular file."""


class FileHasher:
    """Hashes `size` bytes that come in pieces; blocks of BLOCK_SIZE bytes are fastest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._tree = TreeHasher(node_size_for(size))

    @property
    def done(self) -> int:
        """Bytes hashed so far."""
        return self._tree.size

    def update(self, data: Buffer) -> None:
        """The next bytes of the file; FileChanged if there are more than it had."""
        if self._tree.size + len(data) > self._size:
            raise FileChanged(f"the file grew beyond {self._size} bytes while it was hashed")
        self._sha1.update(data)
        self._tree.update(data)

    def finish(self) -> FileHash:
        """The names of the content; FileChanged if bytes are missing."""
        if self._tree.size != self._size:
            raise FileChanged(f"the file shrank from {self._size} to {self._tree.size} bytes while it was hashed")
        tree = self._tree.finish()
        return FileHash(self._sha1.digest(), tree.root, tree.nodes, self._size)


def hash_bytes(data: Buffer) -> FileHash:
    """The names of a content in memory."""
    hasher = FileHasher(len(data))
    hasher.update(data)
    return hasher.finish()
