"""One part of the catalog: files as columns, found by words, hash, path and index.  Immutable once built.

A million files must fit beside everything else in 1 GiB, so nothing here is an object a file: names, hashes and numbers are
columns, and a file becomes a value only when somebody asks for it.  What finds a file by its words is in wordindex.py.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gnutella.errors import LocalMisuse
from gnutella.sharing.match import indexed_words, media_of
from gnutella.sharing.wordindex import WordIndexBuilder

#: Files that "What's new?" is answered with: as many as one query hit holds (digest 2.5).
MAX_NEWEST = 10

_KEY_MASK = (1 << 64) - 1
_ROW_BITS = 32
_ROW_MASK = (1 << _ROW_BITS) - 1
_BUCKET_SHIFT = 56
_NO_TTH = bytes(24)
_NS = 1_000_000_000
#: Bytes at the end of a name that hold the longest extension known to match.media_of, a dot and one more.
_SUFFIX = 12


@dataclass(frozen=True, slots=True)
class SharedFile:
    """One file that is offered.

    `name` is what others are told: valid UTF-8 without control characters.  `path` is where it lies here (undecodable bytes
    as surrogates), `directory` the shared directory it was found in, `relative` the path beneath that.
    """

    index: int
    name: str
    size: int
    mtime: int
    path: str
    sha1: bytes | None
    tth: bytes | None
    relative: str = ""
    directory: str = ""
    mtime_ns: int = 0


class FoundFile:
    """A file that matched a query, as a query hit shows it; reads its columns only when asked.  `file` is all of it."""

    __slots__ = ("_row", "_segment")

    def __init__(self, segment: Segment, row: int) -> None:
        self._segment = segment
        self._row = row

    @property
    def index(self) -> int:
        """The file index that a download may name."""
        return self._segment.indexes[self._row]

    @property
    def name(self) -> str:
        """The name told to others."""
        return self._segment.name(self._row)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._segment.sizes[self._row]

    @property
    def mtime(self) -> int:
        """Seconds since 1970 of the last change."""
        return self._segment.mtimes[self._row] // _NS

    @property
    def sha1(self) -> bytes | None:
        """20 bytes."""
        return self._segment.sha1(self._row)

    @property
    def tth(self) -> bytes | None:
        """24 bytes, the root of the tiger tree."""
        return self._segment.tth(self._row)

    @property
    def file(self) -> SharedFile:
        """The whole row as a value."""
        return self._segment.file(self._row)

    def __repr__(self) -> str:
        return f"FoundFile({self.index}, {self.name!r})"


class KeyColumn:
    """Finds rows by a 64-bit key: sorted keys and their rows, 12 bytes a file.  Keys may collide; callers compare."""

    __slots__ = ("_keys", "_rows")

    def __init__(self, keys: Sequence[int]) -> None:
        # Sorted bucket by bucket: one sort of a million keys would hold the interpreter for a second.
        buckets: list[list[int]] = [[] for _ in range(256)]
        for row, key in enumerate(keys):
            buckets[key >> _BUCKET_SHIFT].append(key << _ROW_BITS | row)
        self._keys = array("Q")
        self._rows = array("I")
        for bucket in buckets:
            bucket.sort()
            self._keys.extend([packed >> _ROW_BITS for packed in bucket])
            self._rows.extend([packed & _ROW_MASK for packed in bucket])

    def rows(self, key: int) -> Iterator[int]:
        """Rows with that key."""
        at = bisect_left(self._keys, key)
        while at < len(self._keys) and self._keys[at] == key:
            yield self._rows[at]
            at += 1


def _sha1_key(sha1: bytes) -> int:
    return int.from_bytes(sha1[:8], "big")


def _path_key(path: str) -> int:
    return hash(path) & _KEY_MASK


class Segment:
    """See the module text.  Built by SegmentBuilder; rows are numbered from 0 in order of file index."""

    def __init__(self, builder: SegmentBuilder) -> None:
        self.indexes = builder.indexes
        self.sizes = builder.sizes
        self.mtimes = builder.mtimes
        self.rows = len(self.sizes)
        self._sha1s = bytes(builder.sha1s)
        self._tths = bytes(builder.tths)
        self._names = bytes(builder.names)
        self._names_at = builder.names_at
        self._filenames = builder.filenames
        self._directories = list(builder.directories)
        self._directory_of = builder.directory_of
        self._by_sha1 = KeyColumn(builder.sha1_keys)
        self._by_path = KeyColumn(builder.path_keys)
        self.words = builder.words.finish()
        #: Files and bytes of each shared directory.
        self.totals = builder.totals
        #: Rows of the files changed last, newest first.
        self.newest = _newest(self.mtimes)

    def name(self, row: int) -> str:
        """The name told to others."""
        return self._names[self._names_at[row] : self._names_at[row + 1]].decode("utf-8")

    def sha1(self, row: int) -> bytes:
        """20 bytes."""
        return self._sha1s[row * 20 : row * 20 + 20]

    def tth(self, row: int) -> bytes | None:
        """24 bytes, or None if only the SHA-1 is known."""
        tth = self._tths[row * 24 : row * 24 + 24]
        return tth if tth != _NO_TTH else None

    def media(self, row: int) -> int:
        """Media bit of the name of a row (match.media_of)."""
        start, end = self._names_at[row], self._names_at[row + 1]
        return media_of(self._names[max(start, end - _SUFFIX) : end].decode("utf-8", "replace"))

    def place(self, row: int) -> tuple[str, str]:
        """The shared directory, and the path beneath it."""
        directory, beneath = self._directories[self._directory_of[row]]
        filename = self._filenames.get(row) if self._filenames else None
        return directory, beneath + (self.name(row) if filename is None else filename)

    def file(self, row: int) -> SharedFile:
        """The file of a row."""
        directory, relative = self.place(row)
        return SharedFile(
            self.indexes[row],
            self.name(row),
            self.sizes[row],
            self.mtimes[row] // _NS,
            f"{directory}/{relative}",
            self.sha1(row),
            self.tth(row),
            relative,
            directory,
            self.mtimes[row],
        )

    def rows_where(self, is_wanted: Callable[[str, str], bool]) -> list[int]:
        """Rows of all places, given as shared directory and path beneath with a slash at its end, that are wanted."""
        ids = {number for number, place in enumerate(self._directories) if is_wanted(*place)}
        return [row for row, number in enumerate(self._directory_of) if number in ids] if ids else []

    def row_of_index(self, index: int) -> int | None:
        """The row of a file index."""
        row = bisect_left(self.indexes, index)
        return row if row < self.rows and self.indexes[row] == index else None

    def rows_of_sha1(self, sha1: bytes) -> list[int]:
        """Rows of the files with that content."""
        return [row for row in self._by_sha1.rows(_sha1_key(sha1)) if self.sha1(row) == sha1]

    def row_of_path(self, path: str) -> int | None:
        """The row of a local path."""
        for row in self._by_path.rows(_path_key(path)):
            if "/".join(self.place(row)) == path:
                return row
        return None


def _newest(mtimes: Sequence[int]) -> tuple[int, ...]:
    """At most MAX_NEWEST rows, the latest first; in small steps, unlike heapq or a sort."""
    best: list[tuple[int, int]] = []
    oldest = -(1 << 63)
    for row, mtime in enumerate(mtimes):
        if mtime > oldest or len(best) < MAX_NEWEST:
            best.append((mtime, row))
            best.sort(reverse=True)
            del best[MAX_NEWEST:]
            oldest = best[-1][0]
    return tuple(row for _, row in best)


class SegmentBuilder:
    """Collects files, in order of their index, and makes a Segment of them.  For one use."""

    def __init__(self) -> None:
        self.indexes = array("I")
        self.sizes = array("Q")
        self.mtimes = array("q")
        self.sha1s = bytearray()
        self.tths = bytearray()
        self.names = bytearray()
        self.names_at = array("I", (0,))
        #: Names on disk, of the rows where they differ from what others are told.
        self.filenames: dict[int, str] = {}
        self.directories: dict[tuple[str, str], int] = {}
        self.directory_of = array("I")
        self.totals: dict[str, tuple[int, int]] = {}
        self.sha1_keys = array("Q")
        self.path_keys = array("Q")
        self.words = WordIndexBuilder()

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, file: SharedFile) -> None:
        """Take one more file; it must be hashed, and its index above all before."""
        if file.sha1 is None:
            raise LocalMisuse("only hashed files are offered")
        self._add(file, file.sha1, indexed_words(file.name))

    def copy(self, segment: Segment, row: int) -> None:
        """Take a file over from another segment, without cutting its name into words again."""
        self._add(segment.file(row), segment.sha1(row), segment.words.words_of(row))

    def _add(self, file: SharedFile, sha1: bytes, words: list[bytes]) -> None:
        if self.indexes and file.index <= self.indexes[-1]:
            raise LocalMisuse("files are added in order of their index")
        directory, relative = file.directory, file.relative
        if not relative:
            directory, _, relative = file.path.rpartition("/")
            relative = relative or file.name
        beneath, slash, filename = relative.rpartition("/")
        if filename != file.name:
            self.filenames[len(self.sizes)] = filename
        place = (directory, beneath + slash)
        self.indexes.append(file.index)
        self.sizes.append(file.size)
        self.mtimes.append(file.mtime_ns or file.mtime * _NS)
        self.sha1s += sha1
        self.tths += file.tth or _NO_TTH
        self.names += file.name.encode("utf-8")
        self.names_at.append(len(self.names))
        self.directory_of.append(self.directories.setdefault(place, len(self.directories)))
        self.sha1_keys.append(_sha1_key(sha1))
        self.path_keys.append(_path_key(f"{directory}/{relative}"))
        files, size = self.totals.get(directory, (0, 0))
        self.totals[directory] = (files + 1, size + file.size)
        self.words.add(words)

    def finish(self) -> Segment:
        """The segment; the builder is spent."""
        return Segment(self)


def merge(parts: Iterable[tuple[Segment, frozenset[int]]]) -> Segment:
    """One segment of the rows of several that have not gone, in order of index."""
    order: list[tuple[int, Segment, int]] = []
    for segment, dead in parts:
        order.extend((segment.indexes[row], segment, row) for row in range(segment.rows) if row not in dead)
    order.sort(key=lambda item: item[0])
    builder = SegmentBuilder()
    for _, segment, row in order:
        builder.copy(segment, row)
    return builder.finish()
