"""Files that are offered without being inserted: sealed blocks made of them when somebody asks.

A file is read once to know the names of its blocks; afterwards each block is read and sealed anew.  A file that has changed
gives other blocks than those that were told, and is not served.

Blocking: run `index_file` and `Served.read` in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anonymizer.chk import DATA, DATA_BYTES, pad, seal
from anonymizer.files import Splitter
from anonymizer.ownfiles import OpenFile, read_at, unreadable
from anonymizer.uri import ChkUri
from gnutella.errors import UserError

#: Bytes that are read at a time while a file is indexed.
READ_BYTES: Final = 1 << 20
#: Files larger than this are inserted or not offered: their block names alone would take 32 MiB of memory.
MAX_SERVED: Final = 32 << 30


@dataclass(frozen=True, slots=True)
class ServedFile:
    """One file.  `places` has the number of each block of data by its routing key, `nodes` the blocks of its manifest."""

    path: Path
    key: bytes
    uri: ChkUri
    size: int
    places: dict[bytes, int]
    nodes: dict[bytes, bytes]
    sha1: bytes


def index_file(path: Path, key: bytes, mime: str, is_wanted: Callable[[], bool] = lambda: True) -> ServedFile:
    """Read a file whose blocks are to be sealed under `key`.  UserError if it cannot be read or is too large."""
    splitter = Splitter(key, redundant=False)
    places: dict[bytes, int] = {}
    size, sha1 = 0, b""
    file: OpenFile | None = None
    try:
        file = OpenFile(path)
        if file.size > MAX_SERVED:
            raise UserError(f"{path.name} is larger than {MAX_SERVED >> 30} GiB", "publish it instead")
        while is_wanted() and (data := file.read(READ_BYTES)):
            size += len(data)
            for block in splitter.feed(data):
                places[block.routing] = len(places)
        sha1 = file.sha1
    except OSError as error:
        raise unreadable(path, error) from None
    finally:
        if file is not None:
            file.close()
    uri, blocks = splitter.finish(mime)
    nodes: dict[bytes, bytes] = {}
    count = -(-size // DATA_BYTES)
    for block in blocks:
        if len(places) < count:
            places[block.routing] = len(places)
        else:
            nodes[block.routing] = block.sealed
    return ServedFile(path, key, uri, size, places, nodes, sha1)


class Served:
    """All of them, by the routing keys of their blocks."""

    def __init__(self) -> None:
        self._files: dict[bytes, ServedFile] = {}
        self._of_block: dict[bytes, ServedFile] = {}

    def add(self, file: ServedFile) -> None:
        """Serve it from now on."""
        self.remove(file.uri.routing)
        self._files[file.uri.routing] = file
        for routing in (*file.places, *file.nodes):
            self._of_block[routing] = file

    def get(self, routing: bytes) -> ServedFile | None:
        """The file with that manifest."""
        return self._files.get(routing)

    def remove(self, routing: bytes) -> ServedFile | None:
        """Serve the file with that manifest no more."""
        file = self._files.pop(routing, None)
        if file is not None:
            for block in (*file.places, *file.nodes):
                self._of_block.pop(block, None)
        return file

    def read(self, routing: bytes) -> bytes | None:
        """The sealed block with that name; None if there is none, or its file is gone or has changed."""
        file = self._of_block.get(routing)
        if file is None:
            return None
        if (node := file.nodes.get(routing)) is not None:
            return node
        number = file.places[routing]
        try:
            data = read_at(file.path, number * DATA_BYTES, DATA_BYTES)
        except OSError:
            return None
        block = seal(pad(data), file.key, DATA, number)
        return block.sealed if block.routing == routing else None
