"""What the router needs of its neighbours, as typing.Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gnutella.protocol.offer import OfferedFile
from gnutella.units import Address

#: One shared file as a query hit shows it.
Shared = OfferedFile


class Library(Protocol):
    """The catalog, as far as the router sees it.  `answer` is on the relay path: a miss must cost <= 2 us."""

    #: Numbers for our pongs.
    file_count: int
    kbytes: int

    def answer(self, payload: bytes, limit: int) -> Sequence[Shared]:
        """Files matching the raw payload of a query message (flags word, text, NUL, extensions), at most `limit`.

        Never raises for bad input: what cannot be read matches nothing.
        """
        ...


class OwnAddress(Protocol):
    """Which address the node tells a given peer to reach it at.

    `link_host` is our IP as that peer reaches it (LinkInfo.local_host).
    """

    def __call__(self, link_host: str) -> Address: ...


class Chance(Protocol):
    """The part of random.Random that routing uses."""

    def getrandbits(self, k: int, /) -> int: ...
    def random(self) -> float: ...
