"""One part of the catalog: files as columns, and an inverted index over their words.  Immutable once built.

A million files must fit beside everything else in 1 GiB, so nothing here is an object a file: names, hashes and numbers are
columns, and a file becomes a value only when somebody asks for it.  The words are one sorted list; the rows of all words are
one array in the same order, so that the rows of a word, or of all words with a given beginning, are one slice of it.

A query takes the word with the fewest rows and checks the others against the canonical text of each of these rows.  Where
even the rarest word has very many rows, whole rows sets are combined as bits instead, so that no query costs much.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gnutella.errors import LocalMisuse
from gnutella.sharing.match import MIN_PREFIX, indexed_words, media_of

#: Rows of the rarest word that are checked one by one (0.2 us each) before the query is answered with bit sets.
MAX_CHECKED = 1024
#: Bit sets kept; each has a bit a file, so they cost at most 64 x 125 kB at a million files.
MAX_BITSETS = 64

_KEY_BITS = 64
_KEY_MASK = (1 << _KEY_BITS) - 1
_ROW_BITS = 32
_BUCKET_SHIFT = _KEY_BITS - 8
_SET_BYTES = re.compile(rb"[^\0]")


class SharedFile(NamedTuple):
    """One file that is offered, as a query hit, an upload or a listing needs it.

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
            self._keys.extend(packed >> _ROW_BITS for packed in bucket)
            self._rows.extend(packed & 0xFFFFFFFF for packed in bucket)

    def rows(self, key: int) -> Iterator[int]:
        """Rows with that key."""
        at = bisect_left(self._keys, key)
        while at < len(self._keys) and self._keys[at] == key:
            yield self._rows[at]
            at += 1


def sha1_key(sha1: bytes) -> int:
    """Key of a SHA-1: its first 8 bytes."""
    return int.from_bytes(sha1[:8], "big")


def path_key(path: str) -> int:
    """Key of a local path; different in each process."""
    return hash(path) & _KEY_MASK


class Segment:
    """See the module text.  Built by SegmentBuilder; rows are numbered from 0 in order of file index."""

    __slots__ = (
        "_bitsets",
        "_by_path",
        "_by_sha1",
        "_directories",
        "_directory_of",
        "_heads",
        "_indexes",
        "_mtimes",
        "_names",
        "_names_at",
        "_odd_names",
        "_postings",
        "_postings_at",
        "_sha1s",
        "_sizes",
        "_texts",
        "_texts_at",
        "_tths",
        "_words",
        "newest",
        "rows",
    )

    def __init__(self, columns: SegmentBuilder) -> None:
        self.rows = len(columns.sizes)
        self._indexes = columns.indexes
        self._sizes = columns.sizes
        self._mtimes = columns.mtimes
        self._sha1s = bytes(columns.sha1s)
        self._tths = bytes(columns.tths)
        self._names = bytes(columns.names)
        self._names_at = columns.names_at
        self._odd_names = columns.odd_names
        self._directories = list(columns.directories)
        self._directory_of = columns.directory_of
        self._texts = bytes(columns.texts)
        self._texts_at = columns.texts_at
        self._by_sha1 = KeyColumn(columns.sha1_keys)
        self._by_path = KeyColumn(columns.path_keys)
        self._words, self._postings_at, self._postings = columns.invert()
        self._heads = _heads(self._words)
        self._bitsets: dict[tuple[int, int], int] = {}
        self.newest = columns.newest_rows()

    # -- rows ----------------------------------------------------------------------------------------------------------

    def file(self, row: int) -> SharedFile:
        """The file of a row."""
        start = self._names_at[row]
        name = self._names[start : self._names_at[row + 1]].decode("utf-8")
        directory, beneath = self._directories[self._directory_of[row]]
        relative = beneath + (self._odd_names.get(row) or name if self._odd_names else name)
        mtime_ns = self._mtimes[row]
        tth = self._tths[row * 24 : row * 24 + 24]
        return SharedFile(
            self._indexes[row],
            name,
            self._sizes[row],
            mtime_ns // 1_000_000_000,
            f"{directory}/{relative}",
            self._sha1s[row * 20 : row * 20 + 20],
            tth if tth != _NO_TTH else None,
            relative,
            directory,
            mtime_ns,
        )

    def size(self, row: int) -> int:
        """Bytes of the file of a row."""
        return self._sizes[row]

    def index(self, row: int) -> int:
        """File index of a row."""
        return self._indexes[row]

    def mtime_ns(self, row: int) -> int:
        """Time of last change of the file of a row."""
        return self._mtimes[row]

    def media(self, row: int) -> int:
        """Media bit of the name of a row (match.media_of)."""
        name = self._names[max(self._names_at[row], self._names_at[row + 1] - 12) : self._names_at[row + 1]]
        return media_of(name.decode("utf-8", "replace"))

    def row_of_index(self, index: int) -> int | None:
        """The row of a file index."""
        row = bisect_left(self._indexes, index)
        return row if row < self.rows and self._indexes[row] == index else None

    def rows_of_sha1(self, sha1: bytes) -> list[int]:
        """Rows of the files with that content."""
        rows = self._by_sha1.rows(sha1_key(sha1))
        return [row for row in rows if self._sha1s[row * 20 : row * 20 + 20] == sha1]

    def row_of_path(self, path: str) -> int | None:
        """The row of a local path."""
        for row in self._by_path.rows(path_key(path)):
            if self.file(row).path == path:
                return row
        return None

    def words(self) -> Sequence[bytes]:
        """All words of all names, sorted."""
        return self._words

    # -- matching ------------------------------------------------------------------------------------------------------

    def match(self, words: Sequence[bytes]) -> Iterable[int]:
        """Rows whose names have, for each word, that word or one that begins with it.  No order is promised."""
        spans: list[tuple[int, int]] = []
        vocabulary = self._words
        fewest, rarest = -1, 0
        for number, word in enumerate(words):
            head = self._heads.get(word[:MIN_PREFIX])
            if head is None:
                return ()
            low, high = head
            if len(word) > MIN_PREFIX:
                low = bisect_left(vocabulary, word, low, high)
                if low == high or not vocabulary[low].startswith(word):
                    return ()
                high = bisect_left(vocabulary, word + b"\xff", low, high)
            count = self._postings_at[high] - self._postings_at[low]
            if fewest < 0 or count < fewest:
                fewest, rarest = count, number
            spans.append((low, high))
        return self._rows_of(words, spans, rarest) if spans else ()

    def _rows_of(self, words: Sequence[bytes], spans: list[tuple[int, int]], rarest: int) -> Iterable[int]:
        low, high = spans[rarest]
        rows: Iterable[int] = self._postings[self._postings_at[low] : self._postings_at[high]]
        if high - low > 1:
            # One name may have several of the words; duplicates go, and the exact word, which is sorted first, stays first.
            rows = dict.fromkeys(rows)
        if len(words) == 1:
            return rows
        needles = [_needle(word) for number, word in enumerate(words) if number != rarest]
        return self._check(rows, needles, spans)

    def _check(self, rows: Iterable[int], needles: list[bytes], spans: list[tuple[int, int]]) -> Iterator[int]:
        texts, texts_at = self._texts, self._texts_at
        left = MAX_CHECKED
        checked = iter(rows)
        found: set[int] = set()
        for row in checked:
            text = texts[texts_at[row] : texts_at[row + 1]]
            for needle in needles:
                if needle not in text:
                    break
            else:
                found.add(row)
                yield row
            left -= 1
            if not left:
                break
        else:
            return
        yield from (row for row in self._intersect(spans) if row not in found)

    def _intersect(self, spans: list[tuple[int, int]]) -> Iterator[int]:
        both = -1
        for span in spans:
            both &= self._bitset(span)
            if not both:
                return
        octets = both.to_bytes((both.bit_length() + 7) // 8, "little")
        for hit in _SET_BYTES.finditer(octets):
            at = hit.start()
            octet = octets[at]
            yield from (at * 8 + bit for bit in range(8) if octet >> bit & 1)

    def _bitset(self, span: tuple[int, int]) -> int:
        bits = self._bitsets.get(span)
        if bits is None:
            # Digits, highest row first, since int() reads powers of two in linear time.
            digits = bytearray(b"0") * self.rows
            for row in self._postings[self._postings_at[span[0]] : self._postings_at[span[1]]]:
                digits[~row] = 49
            bits = int(digits, 2)
            if len(self._bitsets) >= MAX_BITSETS:
                del self._bitsets[next(iter(self._bitsets))]
            self._bitsets[span] = bits
        return bits


_NO_TTH = bytes(24)


def _needle(word: bytes) -> bytes:
    """What the canonical text of a matching row contains; texts begin and end with a space."""
    return b" " + word if len(word) >= MIN_PREFIX else b" " + word + b" "


def _heads(words: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
    """For each first MIN_PREFIX bytes of the sorted words: from where to where they are."""
    heads: dict[bytes, tuple[int, int]] = {}
    start, head = 0, b""
    for at, word in enumerate(words):
        if word[:MIN_PREFIX] != head:
            if at:
                heads[head] = (start, at)
            start, head = at, word[:MIN_PREFIX]
    if words:
        heads[head] = (start, len(words))
    return heads


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
        self.odd_names: dict[int, str] = {}
        self.directories: dict[tuple[str, str], int] = {}
        self.directory_of = array("I")
        self.texts = bytearray()
        self.texts_at = array("I", (0,))
        self.sha1_keys = array("Q")
        self.path_keys = array("Q")
        self._word_ids: dict[bytes, int] = {}
        self._row_words = array("I")
        self._row_words_at = array("I", (0,))

    def add(self, file: SharedFile) -> None:
        """Take one more file; it must be hashed, and its index above all before."""
        if file.sha1 is None or (self.indexes and file.index <= self.indexes[-1]):
            raise LocalMisuse("files are added hashed and in order of their index")
        row = len(self.sizes)
        directory, relative = file.directory, file.relative
        if not relative:
            directory, _, relative = file.path.rpartition("/")
            relative = relative or file.name
        beneath, _, filename = relative.rpartition("/")
        place = (directory, beneath + "/" if beneath else "")
        if filename != file.name:
            self.odd_names[row] = filename
        self.indexes.append(file.index)
        self.sizes.append(file.size)
        self.mtimes.append(file.mtime_ns or file.mtime * 1_000_000_000)
        self.sha1s += file.sha1
        self.tths += file.tth or _NO_TTH
        self.names += file.name.encode("utf-8")
        self.names_at.append(len(self.names))
        self.directory_of.append(self.directories.setdefault(place, len(self.directories)))
        self.sha1_keys.append(sha1_key(file.sha1))
        self.path_keys.append(path_key(f"{directory}/{relative}"))
        self._add_words(indexed_words(file.name))

    def _add_words(self, words: list[bytes]) -> None:
        ids = self._word_ids
        self.texts += b" " + b" ".join(words) + b" "
        self.texts_at.append(len(self.texts))
        self._row_words.extend([ids.setdefault(word, len(ids)) for word in words])
        self._row_words_at.append(len(self._row_words))

    def finish(self) -> Segment:
        """The segment; the builder is spent."""
        return Segment(self)

    def invert(self) -> tuple[list[bytes], array[int], array[int]]:
        """Sorted words, where the rows of each begin (and one more), and the rows: a counting sort, without big steps."""
        buckets: dict[bytes, list[bytes]] = {}
        for word in self._word_ids:
            buckets.setdefault(word[:2], []).append(word)
        words: list[bytes] = []
        for first in sorted(buckets):
            words.extend(sorted(buckets[first]))
        rank = array("I", bytes(4 * len(words)))
        for at, word in enumerate(words):
            rank[self._word_ids[word]] = at
        self._word_ids = {}
        next_at = array("I", bytes(4 * (len(words) + 1)))
        for word_id in self._row_words:
            next_at[rank[word_id] + 1] += 1
        for at in range(len(words)):
            next_at[at + 1] += next_at[at]
        postings_at = next_at[:]
        postings = array("I", bytes(4 * len(self._row_words)))
        start = 0
        for row in range(len(self.sizes)):
            end = self._row_words_at[row + 1]
            for word_id in self._row_words[start:end]:
                at = rank[word_id]
                postings[next_at[at]] = row
                next_at[at] += 1
            start = end
        self._row_words = array("I")
        return words, postings_at, postings

    def newest_rows(self) -> tuple[int, ...]:
        """Rows of the files changed last, newest first."""
        return newest(range(len(self.sizes)), self.mtimes)


#: Files that "What's new?" is answered with: as many as one query hit holds (digest 2.5).
MAX_NEWEST = 10


def newest(rows: Iterable[int], mtimes: Sequence[int]) -> tuple[int, ...]:
    """At most MAX_NEWEST of `rows`, the latest first; in small steps, unlike heapq or a sort."""
    best: list[tuple[int, int]] = []
    oldest = -(1 << 63)
    for row in rows:
        if mtimes[row] > oldest or len(best) < MAX_NEWEST:
            best.append((mtimes[row], row))
            best.sort(reverse=True)
            del best[MAX_NEWEST:]
            oldest = best[-1][0] if len(best) == MAX_NEWEST else oldest
    return tuple(row for _, row in best)
