"""Tiger trees: how a file's content is named and checked piece by piece (docs/protocol/hashes.md).

A leaf is Tiger(00 + up to 1024 bytes), a node Tiger(01 + left + right), an odd last node is promoted unchanged; the empty file
is one empty leaf.  A servent keeps and serves one level of the tree: so many nodes that each covers a piece small enough to
fetch again.  `Tree` is that level together with all that follows from it.

    tree = tree_of(b"..."); tree.root; tree.span(0); tree.holds(0, b"...")
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.protocol.tiger import DIGEST_SIZE
from gnutella.protocol.tiger_backends import (
    BLOCK_SIZE,
    LEAF_SIZE,
    Buffer,
    TreeBackend,
    backend,
    backend_name,
    combine,
    parents,
)
from gnutella.reasons import DropReason

__all__ = [
    "BLOCK_SIZE",
    "DIGEST_SIZE",
    "LEAF_SIZE",
    "MAX_DEPTH",
    "FileHash",
    "Tree",
    "TreeHasher",
    "backend_name",
    "node_count",
    "node_size_for",
    "roots",
    "tree_depth_for",
    "tree_of",
]

_KIB = 1024
#: A file smaller than the i-th bound is served at depth i; digest 9.8, as gtk-gnutella and LimeWire agree up to 4 GiB.
_DEPTH_BOUNDS = tuple(
    kib * _KIB for kib in (256, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10)
)
_DEPTH_BOUNDS += (256 * _KIB * _KIB, 1024 * _KIB * _KIB)
#: gtk-gnutella neither serves nor reads deeper trees.
MAX_DEPTH = len(_DEPTH_BOUNDS)


def tree_depth_for(size: int) -> int:
    """Levels below the root that are kept and served for a file of `size` bytes: 0 to MAX_DEPTH."""
    return next((depth for depth, bound in enumerate(_DEPTH_BOUNDS) if size < bound), MAX_DEPTH)


def node_size_for(size: int, depth: int | None = None) -> int:
    """Bytes that one node covers at `depth` (default: the served depth): the smallest power of two times 1024 that reaches."""
    nodes = 1 << (tree_depth_for(size) if depth is None else depth)
    node_size = LEAF_SIZE
    while node_size * nodes < size:
        node_size *= 2
    return node_size


def node_count(size: int, node_size: int) -> int:
    """Nodes of `node_size` bytes over a file of `size` bytes; an empty file has one."""
    return -(-size // node_size) or 1


def roots(data: Buffer, node_size: int) -> list[bytes]:
    """The nodes over each `node_size` bytes of `data`.  A shorter last piece is right only at the end of its file."""
    joined = backend().roots(data, node_size)
    return [joined[at : at + DIGEST_SIZE] for at in range(0, len(joined), DIGEST_SIZE)]


@dataclass(frozen=True)
class Tree:
    """One level of a file's tiger tree: `nodes`, joined, each over `node_size` bytes of `size`.

    LocalMisuse if the numbers do not fit each other.  Whether the level leads to a root known from elsewhere is asked with
    `verified`; the root itself is computed when first needed.
    """

    size: int
    node_size: int
    nodes: bytes

    def __post_init__(self) -> None:
        if self.node_size < LEAF_SIZE or self.node_size & (self.node_size - 1):
            raise LocalMisuse(f"{self.node_size} bytes are no node of a tree with 1024-byte leaves")
        if self.size < 0 or len(self.nodes) != DIGEST_SIZE * node_count(self.size, self.node_size):
            raise LocalMisuse(f"{len(self.nodes)} bytes of nodes do not cover a file of {self.size} bytes")

    @cached_property
    def root(self) -> bytes:
        """The file's TTH: 24 bytes."""
        return combine(self.nodes, backend().tiger)

    @property
    def depth(self) -> int:
        """Levels from the root (0) down to this one."""
        return (self.count - 1).bit_length()

    @property
    def count(self) -> int:
        """Nodes of this level."""
        return len(self.nodes) // DIGEST_SIZE

    def node(self, index: int) -> bytes:
        """The digest of the `index`-th piece."""
        return self.nodes[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE]

    def span(self, index: int) -> tuple[int, int]:
        """(first byte, byte after the last) of the `index`-th piece."""
        return index * self.node_size, min((index + 1) * self.node_size, self.size)

    def holds(self, index: int, data: Buffer) -> bool:
        """Whether `data`, the whole `index`-th piece, is what the tree says."""
        start, stop = self.span(index)
        return len(data) == stop - start and backend().roots(data, self.node_size) == self.node(index)

    def levels(self) -> list[bytes]:
        """The tree from its root down to this level, each level's digests joined."""
        found = [self.nodes]
        while len(found[-1]) > DIGEST_SIZE:
            found.append(parents(found[-1], backend().tiger))
        return found[::-1]

    def verified(self, root: bytes) -> Tree:
        """This tree, if it leads to `root`; RemoteViolation(BAD_TREE) if not."""
        if self.root != root:
            raise RemoteViolation(DropReason.BAD_TREE, "the nodes do not lead to the root")
        return self

    @classmethod
    def from_levels(cls, size: int, levels: list[bytes], root: bytes) -> Tree:
        """The lowest of `levels` (root first), when every level is what the one below makes it and the top is `root`.

        BAD_TREE otherwise, or if the levels' lengths are not those of a file of `size` bytes.
        """
        if not levels or len(levels) > MAX_DEPTH + 1:
            raise RemoteViolation(DropReason.BAD_TREE, f"{len(levels)} levels")
        try:
            tree = cls(size, node_size_for(size, len(levels) - 1), levels[-1])
        except LocalMisuse as wrong:
            raise RemoteViolation(DropReason.BAD_TREE, str(wrong)) from None
        if tree.levels() != levels or levels[0] != root:
            raise RemoteViolation(DropReason.BAD_TREE, "a level is not what the one below makes it")
        return tree


class TreeHasher:
    """A tree made from data that comes in pieces of any length; memory is one block and one level of nodes."""

    def __init__(self, node_size: int) -> None:
        if node_size < LEAF_SIZE or node_size & (node_size - 1):
            raise LocalMisuse(f"{node_size} bytes are no node of a tree with 1024-byte leaves")
        self._backend: TreeBackend = backend()
        self._node_size = node_size
        self._block = min(node_size, BLOCK_SIZE)
        self._waiting = bytearray()
        self._parts = bytearray()  # of the node that is not full yet, each over one block
        self._nodes = bytearray()
        self.size = 0

    def update(self, data: Buffer) -> None:
        """More of the file; without a copy where `data` is whole blocks and comes on a block's bound."""
        self.size += len(data)
        view = memoryview(data)
        if self._waiting:
            missing = min(self._block - len(self._waiting), len(view))
            self._waiting += view[:missing]
            view = view[missing:]
            if len(self._waiting) < self._block:
                return
            self._add(self._backend.roots(bytes(self._waiting), self._block))
            self._waiting.clear()
        whole = len(view) - len(view) % self._block
        if whole:
            self._add(self._backend.roots(data if whole == len(data) else view[:whole], self._block))
        self._waiting += view[whole:]

    def finish(self) -> Tree:
        """The tree of all that came; the hasher is used up."""
        if self._waiting or not self.size:
            self._add(self._backend.roots(bytes(self._waiting), self._block))
        if self._parts:
            self._nodes += combine(bytes(self._parts), self._backend.tiger)
        return Tree(self.size, self._node_size, bytes(self._nodes))

    def _add(self, digests: bytes) -> None:
        if self._block == self._node_size:
            self._nodes += digests
            return
        self._parts += digests
        step = self._node_size // self._block * DIGEST_SIZE
        while len(self._parts) >= step:
            self._nodes += combine(bytes(self._parts[:step]), self._backend.tiger)
            del self._parts[:step]


def tree_of(data: Buffer, depth: int | None = None) -> Tree:
    """The tree of a whole content in memory, at `depth` (default: the served depth)."""
    hasher = TreeHasher(node_size_for(len(data), depth))
    hasher.update(data)
    return hasher.finish()


@dataclass(frozen=True, slots=True)
class FileHash:
    """All names of one content: SHA-1 (20 bytes), tiger tree root (24 bytes) and the level of the tree that is served.

    `tree` is that level's nodes, 24 bytes each, at the depth `tree_depth_for(size)`.
    """

    sha1: bytes
    tth: bytes
    tree: bytes
    size: int

    def as_tree(self) -> Tree:
        """The served level as a Tree."""
        return Tree(self.size, node_size_for(self.size), self.tree)
