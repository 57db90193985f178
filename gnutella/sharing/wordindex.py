"""An inverted index over the words of file names: which rows have these words, or words that begin with them?

The distinct words are one sorted list, and the rows of all words are one array in the same order, so that the rows of one
word, and of all words with a given beginning, are one slice of that array.  A query starts from its rarest word and keeps
the rows that have the others too.  How it looks them up depends on how many there are:

- a word in many names (more than one in DENSE_SHARE) is kept as a set of bits, once it was asked for;
- two words of like frequency are intersected as sets;
- else each row's text is searched.

So a query of two very common words that never meet, which is what an attacker would send, costs no more than a good one.
Immutable, but for the bits it remembers; only one thread may ask.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence

from gnutella.sharing.match import MIN_PREFIX

#: A word in more than one of this many names is looked up in a bit set: that takes no more memory than half its rows.
DENSE_SHARE = 64
#: Fewer rows than this are always looked at one by one (0.1 to 0.2 us each).
FEW_ROWS = 128
#: Sets are intersected when the other word has at most this many times the rows (a row of a set costs 1/8 of a search).
LIKE_FACTOR = 6
#: Bytes of all bit sets that are remembered: 128 words of a million names, all the common words of a hundred thousand.
MAX_BITS_BYTES = 16 * 1024 * 1024
#: Bytes of a bit set that are compared with zero in one step.
_CHUNK = 256
_ZEROS = bytes(_CHUNK)

Span = tuple[int, int]


class WordIndex:
    """See the module text; made by WordIndexBuilder."""

    __slots__ = ("_bits", "_heads", "_postings", "_postings_at", "_rows", "_texts", "_texts_at", "words")

    def __init__(
        self,
        words: list[bytes],
        postings_at: array[int],
        postings: array[int],
        texts: bytes,
        texts_at: array[int],
    ) -> None:
        #: All words, sorted.
        self.words = words
        self._postings_at = postings_at
        self._postings = postings
        self._texts = texts
        self._texts_at = texts_at
        self._rows = len(texts_at) - 1
        self._heads = _heads(words)
        self._bits: dict[Span, bytes] = {}

    def words_of(self, row: int) -> list[bytes]:
        """The words of one row."""
        return self._texts[self._texts_at[row] : self._texts_at[row + 1]].split()

    def match(self, words: Sequence[bytes]) -> Iterable[int]:
        """Rows that have, for each of `words`, that word or (from MIN_PREFIX bytes on) one that begins with it.

        Empty only if nothing matches or no words are given; what is not empty may turn out so when iterated.
        """
        spans: list[tuple[int, Span, bytes]] = []
        known = self.words
        for word in words:
            head = self._heads.get(word[:MIN_PREFIX])
            if head is None:
                return ()
            low, high = head
            if len(word) > MIN_PREFIX:
                low = bisect_left(known, word, low, high)
                if low == high or not known[low].startswith(word):
                    return ()
                high = bisect_left(known, word + b"\xff", low, high)
            spans.append((self._postings_at[high] - self._postings_at[low], (low, high), word))
        return self._rows_of(spans) if spans else ()

    def _rows_of(self, spans: list[tuple[int, Span, bytes]]) -> Iterable[int]:
        if len(spans) == 1:
            return self._span_rows(spans[0][1])
        spans.sort()
        count, span, _ = spans.pop(0)
        if count > FEW_ROWS:
            if count * DENSE_SHARE > self._rows:
                return self._meet([span, *(other for _, other, _ in spans)])
            if spans[0][0] <= count * LIKE_FACTOR:
                rows: Iterable[int] = set(self._span_rows(span)).intersection(self._span_rows(spans.pop(0)[1]))
                return self._filter(rows, spans, 0)
        return self._filter(self._span_rows(span), spans, count)

    def _span_rows(self, span: Span) -> Collection[int]:
        low, high = span
        rows = self._postings[self._postings_at[low] : self._postings_at[high]]
        # One name may have several of the words; duplicates go.  The exact word is sorted first and its rows stay first.
        return dict.fromkeys(rows) if high - low > 1 else rows

    def _filter(self, rows: Iterable[int], spans: list[tuple[int, Span, bytes]], count: int) -> Iterable[int]:
        needles = []
        for others, span, word in spans:
            if count > FEW_ROWS and others * DENSE_SHARE > self._rows:
                rows = _with_bit(rows, self._bits_of(span))
            else:
                needles.append(_needle(word))
        return self._with_needles(rows, needles) if needles else rows

    def _with_needles(self, rows: Iterable[int], needles: list[bytes]) -> Iterator[int]:
        find, texts_at = self._texts.find, self._texts_at
        for row in rows:
            start, end = texts_at[row], texts_at[row + 1]
            for needle in needles:
                if find(needle, start, end) < 0:
                    break
            else:
                yield row

    def _meet(self, spans: list[Span]) -> Iterator[int]:
        meeting = -1
        for span in spans:
            meeting &= int.from_bytes(self._bits_of(span), "little")
        octets = meeting.to_bytes(self._rows // 8 + 1, "little")
        for start in range(0, len(octets), _CHUNK):
            chunk = octets[start : start + _CHUNK]
            if chunk == _ZEROS:
                continue
            for at, octet in enumerate(chunk, start):
                if octet:
                    yield from (at * 8 + bit for bit in range(8) if octet >> bit & 1)

    def _bits_of(self, span: Span) -> bytes:
        """One bit a row, least significant first."""
        bits = self._bits.get(span)
        if bits is None:
            # As digits, highest row first, since int() reads powers of two in linear time.
            digits = bytearray(b"0") * self._rows
            low, high = span
            for row in self._postings[self._postings_at[low] : self._postings_at[high]]:
                digits[~row] = 49
            bits = int(digits, 2).to_bytes(self._rows // 8 + 1, "little")
            if len(self._bits) * len(bits) >= MAX_BITS_BYTES:
                del self._bits[next(iter(self._bits))]
            self._bits[span] = bits
        return bits


def _with_bit(rows: Iterable[int], bits: bytes) -> Iterator[int]:
    return (row for row in rows if bits[row >> 3] >> (row & 7) & 1)


def _needle(word: bytes) -> bytes:
    """What the text of a matching row contains; texts begin and end with a space."""
    return b" " + word if len(word) >= MIN_PREFIX else b" " + word + b" "


def _heads(words: Sequence[bytes]) -> dict[bytes, Span]:
    """For each beginning of MIN_PREFIX bytes, and each shorter word: from where to where it is in the sorted words."""
    heads: dict[bytes, Span] = {}
    start, head = 0, b""
    for at, word in enumerate(words):
        if word[:MIN_PREFIX] != head:
            if at:
                heads[head] = (start, at)
            start, head = at, word[:MIN_PREFIX]
    if words:
        heads[head] = (start, len(words))
    return heads


class WordIndexBuilder:
    """Collects the words of rows 0, 1, 2, ... and makes the index.  For one use."""

    __slots__ = ("_ids", "_row_ids", "_row_ids_at", "_texts", "_texts_at")

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._row_ids = array("I")
        self._row_ids_at = array("I", (0,))
        self._texts = bytearray()
        self._texts_at = array("I", (0,))

    def add(self, words: Sequence[bytes]) -> None:
        """The distinct words of the next row."""
        ids = self._ids
        self._texts += b" " + b" ".join(words) + b" "
        self._texts_at.append(len(self._texts))
        self._row_ids.extend([ids.setdefault(word, len(ids)) for word in words])
        self._row_ids_at.append(len(self._row_ids))

    def finish(self) -> WordIndex:
        """A counting sort in steps that never hold the interpreter for long."""
        words = self._sorted_words()
        rank = array("I", bytes(4 * len(words)))
        for at, word in enumerate(words):
            rank[self._ids[word]] = at
        ranks = array("I", (rank[word_id] for word_id in self._row_ids))
        next_at = array("I", bytes(4 * (len(words) + 1)))
        for at in ranks:
            next_at[at + 1] += 1
        for at in range(len(words)):
            next_at[at + 1] += next_at[at]
        postings_at = next_at[:]
        postings = array("I", bytes(4 * len(ranks)))
        start = 0
        for row in range(len(self._row_ids_at) - 1):
            end = self._row_ids_at[row + 1]
            for at in ranks[start:end]:
                postings[next_at[at]] = row
                next_at[at] += 1
            start = end
        return WordIndex(words, postings_at, postings, bytes(self._texts), self._texts_at)

    def _sorted_words(self) -> list[bytes]:
        buckets: dict[bytes, list[bytes]] = {}
        for word in self._ids:
            buckets.setdefault(word[:2], []).append(word)
        words: list[bytes] = []
        for first in sorted(buckets):
            words.extend(sorted(buckets[first]))
        return words
