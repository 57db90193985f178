"""What the nodes share: files whose bytes, hashes and words follow from their name alone.

A file of the lab is never stored: `Content` makes any of its bytes when a transfer asks for them.  Zipf content gives the
popular files to many nodes and lets them be asked for often, as measured on the real network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from gnutella.lab.chance import Zipf, below, choose
from gnutella.sharing.catalog import SharedFile

#: Size of a file that a scenario does not give a size for.
DEFAULT_SIZE = 4096
#: Largest file of the lab: it is made in memory.
MAX_SIZE = 64 * 1024 * 1024
_BLOCK = 1 << 20
#: When the lab's files were last changed: 2000-01-01, so that no run depends on today.
MTIME = 946_684_800
_SYLLABLES = ("ba", "do", "fen", "gu", "hal", "jo", "ki", "lu", "mar", "ne", "or", "pi", "qua", "ru", "so", "ti")


@dataclass(frozen=True, slots=True)
class Content:
    """One distinct file: name, size and SHA-1."""

    name: str
    size: int
    sha1: bytes

    @classmethod
    def of(cls, name: str, size: int = DEFAULT_SIZE) -> Content:
        """The file of that name and size."""
        return cls(name, size, hashlib.sha1(content_of(name, size)).digest())

    def shared(self, index: int) -> SharedFile:
        """As a catalog offers it."""
        return SharedFile(index, self.name, self.size, MTIME, f"/lab/{self.name}", self.sha1, None)

    @property
    def content(self) -> bytes:
        """All its bytes."""
        return content_of(self.name, self.size)


def content_of(name: str, size: int) -> bytes:
    """The bytes that a file of that name and size has in every run."""
    blocks = (size + _BLOCK - 1) // _BLOCK
    made = (
        hashlib.shake_128(f"{name}\x1f{size}\x1f{number}".encode()).digest(min(_BLOCK, size - number * _BLOCK))
        for number in range(blocks)
    )
    return b"".join(made)


def shelf(names: Sequence[str], size: int = DEFAULT_SIZE) -> list[SharedFile]:
    """Files of these names for one node, numbered from 1."""
    return [Content.of(name, size).shared(number) for number, name in enumerate(names, 1)]


def word_of(number: int) -> str:
    """A made-up word for a number, different for each."""
    word = ""
    while True:
        word += _SYLLABLES[number & 15]
        number >>= 4
        if not number:
            return word


class ZipfContent:
    """`files` distinct files; popular ones lie on many nodes, and are asked for often.

    The k-th file is called `tune <word of k> <genre>.ogg`; asking for its words finds it and no other.
    """

    def __init__(self, files: int, exponent: float, size: int = DEFAULT_SIZE) -> None:
        self.files = [
            Content.of(f"tune {word_of(number)}x{number} genre{number % 7}.ogg", size) for number in range(files)
        ]
        self._popularity = Zipf(files, exponent)

    def words_of(self, rank: int) -> str:
        """What a user types to find the file of that rank."""
        return f"tune {word_of(rank)}x{rank}"

    def draw(self, rng: Random) -> int:
        """A rank, as users ask."""
        return self._popularity.draw(rng)

    def spread(self, nodes: int, copies: int, rng: Random) -> list[list[Content]]:
        """What each node has: `copies` of files by popularity, each file at least once, none twice on a node."""
        holdings: list[dict[int, None]] = [{} for _ in range(nodes)]
        for rank in range(len(self.files)):
            holdings[below(rng, nodes)][rank] = None
        for _ in range(max(0, copies - len(self.files))):
            rank = self.draw(rng)
            for node in choose_some(rng, nodes, 8):
                if rank not in holdings[node]:
                    holdings[node][rank] = None
                    break
        return [[self.files[rank] for rank in held] for held in holdings]


def choose_some(rng: Random, nodes: int, count: int) -> list[int]:
    """A few different node numbers."""
    return choose(rng, range(nodes), count) if nodes <= count else [below(rng, nodes) for _ in range(count)]
