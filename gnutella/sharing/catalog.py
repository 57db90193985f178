"""The catalog: an immutable snapshot of the files that are offered, and the answers to queries.

A snapshot is a few segments (segment.py), each with the rows that have gone since it was built.  A change makes a new
snapshot that shares the unchanged segments: what is added goes into a small segment, small segments are merged into larger
ones as they grow, so there are only ever a few.  The old snapshot answers until the new one is put in its place.

Only hashed files are in it, since others cannot be asked for safely.  A file's index is given by whoever adds the file and
stays with it; an index is never given to another file while the node runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

from gnutella.protocol.words import ASCII_FOLD
from gnutella.sharing import match
from gnutella.sharing.match import Wanted
from gnutella.sharing.segment import MAX_NEWEST, FoundFile, Segment, SegmentBuilder, SharedFile, merge

__all__ = ["Catalog", "FoundFile", "SharedFile"]

#: A new segment swallows those of less than this many times its rows, so that a million files are in at most 4 segments.
MERGE_FACTOR = 16
#: Segments this small are always swallowed; it takes some 10 milliseconds.
SMALL_ROWS = 1024
#: A segment is rebuilt when more than one row in this many has gone.
MAX_DEAD_SHARE = 4

Part: TypeAlias = tuple[Segment, frozenset[int]]
_NONE: tuple[FoundFile, ...] = ()


class Catalog:
    """See the module text.  `answer` implements gnutella.routing.seams.Library."""

    __slots__ = ("_finders", "_parts", "file_count", "kbytes", "total_bytes")

    def __init__(self, parts: Iterable[Part] = (), total_bytes: int = 0) -> None:
        self._parts: tuple[Part, ...] = tuple(parts)
        self._finders = tuple((segment.words.match, segment, dead) for segment, dead in self._parts)
        #: Files, and their bytes; kbytes as pongs tell them.
        self.file_count = sum(segment.rows - len(dead) for segment, dead in self._parts)
        self.total_bytes = total_bytes
        self.kbytes = total_bytes // 1024

    @classmethod
    def build(cls, files: Iterable[SharedFile]) -> Catalog:
        """A snapshot of these files; those without a SHA-1 are left out.  Of two with one index LocalMisuse is raised."""
        hashed = sorted((file for file in files if file.sha1 is not None), key=lambda file: file.index)
        return cls().with_changes(hashed)

    # -- what changes ----------------------------------------------------------------------------------------------------

    def with_changes(self, added: Iterable[SharedFile], removed: Collection[int] = ()) -> Catalog:
        """A new snapshot without the indexes `removed`, then with the files `added`, ordered by index.

        A file that changed is in both.  Costs about 10 us a file added, and now and then the merge of older segments:
        call it in a worker thread.  Raises LocalMisuse for a file that is not hashed, or out of order.
        """
        parts = self._without(removed)
        builder = SegmentBuilder()
        total = self.total_bytes - self._bytes_of(removed)
        for file in added:
            builder.add(file)
            total += file.size
        new: list[Part] = [(builder.finish(), frozenset())] if len(builder) else []
        return Catalog(_merged(parts, new), total)

    def _without(self, removed: Collection[int]) -> list[Part]:
        if not removed:
            return list(self._parts)
        parts: list[Part] = []
        for segment, dead in self._parts:
            gone = {row for index in removed if (row := segment.row_of_index(index)) is not None}
            parts.append((segment, dead | gone))
        return [(segment, dead) for segment, dead in parts if len(dead) < segment.rows]

    def _bytes_of(self, indexes: Iterable[int]) -> int:
        files = (self.by_index(index) for index in indexes)
        return sum(file.size for file in files if file is not None)

    # -- what is asked ---------------------------------------------------------------------------------------------------

    def answer(self, payload: bytes, limit: int) -> Sequence[FoundFile]:
        """Files that match the raw payload of a query message, at most `limit`.  Never raises for bad input."""
        end = payload.find(b"\0", 2)
        text, extensions = (payload[2:end], payload[end + 1 :]) if end >= 0 else (payload[2:], b"")
        if not text.isascii() or (extensions and not match.has_no_urn(extensions)):
            return self.answer_wanted(match.read_query(payload), limit)
        # The relay path: most queries match nothing, and most of these have a word that no name here has.
        words = text.translate(ASCII_FOLD).split()
        found = self._by_words(words, limit, 0)
        if found and extensions:
            return self.answer_wanted(match.read_query(payload), limit)
        return found if found and match.is_askable(text, words) else _NONE

    def answer_wanted(self, wanted: Wanted, limit: int) -> Sequence[FoundFile]:
        """Files that match a query that was read: by hash if one is known here, else by words."""
        if wanted.is_whats_new:
            return self.newest(limit)
        found = [FoundFile(segment, row) for sha1 in wanted.sha1s for segment, row in self._rows_of_sha1(sha1)]
        if found:
            return found[:limit]
        return self._by_words(wanted.words, limit, wanted.media)

    def search(self, text: str, sha1s: Sequence[bytes] = (), limit: int = 100) -> Sequence[FoundFile]:
        """Files that match words, or hashes, as a query with them would."""
        words = match.words_of(text.encode("utf-8", "replace"))
        return self.answer_wanted(Wanted(tuple(words), tuple(sha1s)), limit)

    def _by_words(self, words: Sequence[bytes], limit: int, media: int) -> Sequence[FoundFile]:
        found: list[FoundFile] = []
        for find, segment, dead in self._finders:
            for row in find(words):
                if len(found) >= limit:
                    return found
                if row not in dead and (not media or segment.media(row) & media):
                    found.append(FoundFile(segment, row))
        return found

    def _rows_of_sha1(self, sha1: bytes) -> Iterator[tuple[Segment, int]]:
        for segment, dead in self._parts:
            for row in segment.rows_of_sha1(sha1):
                if row not in dead:
                    yield segment, row

    def by_sha1(self, sha1: bytes) -> SharedFile | None:
        """A file with that content."""
        for segment, row in self._rows_of_sha1(sha1):
            return segment.file(row)
        return None

    def by_index(self, index: int) -> SharedFile | None:
        """The file with that index."""
        for segment, dead in self._parts:
            row = segment.row_of_index(index)
            if row is not None and row not in dead:
                return segment.file(row)
        return None

    def by_path(self, path: str) -> SharedFile | None:
        """The file at that local path."""
        for segment, dead in self._parts:
            row = segment.row_of_path(path)
            if row is not None and row not in dead:
                return segment.file(row)
        return None

    def newest(self, limit: int) -> Sequence[FoundFile]:
        """The files changed last, newest first; at most MAX_NEWEST."""
        rows = [(segment, row) for segment, dead in self._parts for row in segment.newest if row not in dead]
        rows.sort(key=lambda item: item[0].mtimes[item[1]], reverse=True)
        return [FoundFile(segment, row) for segment, row in rows[: min(limit, MAX_NEWEST)]]

    @property
    def files(self) -> Iterator[SharedFile]:
        """All files, made while one iterates, in order of their index."""
        return heapq.merge(*map(_live, self._parts), key=lambda file: file.index)

    def indexes(self) -> Iterator[int]:
        """Indexes of all files, in no order."""
        for segment, dead in self._parts:
            yield from (index for row, index in enumerate(segment.indexes) if row not in dead)

    def indexes_beneath(self, path: str) -> list[int]:
        """Indexes of the files whose local path is beneath the directory `path`, at any depth."""
        above = path + "/"
        return self._indexes_where(lambda directory, beneath: f"{directory}/{beneath}".startswith(above))

    def indexes_in_share(self, directory: str) -> list[int]:
        """Indexes of the files that were found in that shared directory."""
        return self._indexes_where(lambda share, _: share == directory)

    def _indexes_where(self, is_wanted: Callable[[str, str], bool]) -> list[int]:
        return [
            segment.indexes[row]
            for segment, dead in self._parts
            for row in segment.rows_where(is_wanted)
            if row not in dead
        ]

    def totals(self) -> dict[str, tuple[int, int]]:
        """Files and bytes of each shared directory."""
        totals: dict[str, tuple[int, int]] = {}
        for segment, dead in self._parts:
            gone = [(segment.place(row)[0], -1, -segment.sizes[row]) for row in dead]
            for directory, files, size in [*((key, *value) for key, value in segment.totals.items()), *gone]:
                before = totals.get(directory, (0, 0))
                totals[directory] = (before[0] + files, before[1] + size)
        return {directory: total for directory, total in totals.items() if total[0]}

    def words(self) -> Iterable[bytes]:
        """All canonical words of all names, in UTF-8; some more than once.  For routing tables."""
        return chain.from_iterable(segment.words.words for segment, _ in self._parts)

    def __len__(self) -> int:
        return self.file_count


def _live(part: Part) -> Iterator[SharedFile]:
    segment, dead = part
    return (segment.file(row) for row in range(segment.rows) if row not in dead)


def _alive(part: Part) -> int:
    return part[0].rows - len(part[1])


def _is_hollow(part: Part) -> bool:
    return len(part[1]) * MAX_DEAD_SHARE > part[0].rows


def _merged(parts: list[Part], new: list[Part]) -> list[Part]:
    """The parts, largest first; the new one has swallowed those that are not much larger than itself."""
    kept = sorted((part for part in parts if not _is_hollow(part)), key=_alive, reverse=True)
    merging = new + [part for part in parts if _is_hollow(part)]
    if not merging:
        return kept
    rows = sum(map(_alive, merging))
    while kept and (_alive(kept[-1]) <= SMALL_ROWS or _alive(kept[-1]) < MERGE_FACTOR * rows):
        rows += _alive(kept[-1])
        merging.append(kept.pop())
    if merging == new:
        return kept + new
    return [*kept, (merge(merging), frozenset())]
