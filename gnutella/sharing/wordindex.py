"""An inverted index over the words of file names: which rows have these words, or words that begin with them?

The distinct words are one sorted list, and the rows of all words are one array in the same order, so that the rows of one
word, and of all words with a given beginning, are one slice of that array.  A query starts from its rarest word and keeps
the rows that have the others too.  How it looks them up depends on how many there are:

- for a word in many names there is a set of bits, made when it is first asked for;
- two words that are neither common nor very unlike in number are intersected as sets;
- else each row's text is searched;
- where even the rarest word is in very many names, the bit sets are combined as a whole.

So a query of two very common words that never meet, which is what an attacker would send, costs no more than a good one.
Immutable, but for the bits it remembers; only one thread may ask.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from gnutella.sharing.match import MIN_PREFIX

#: A word in more than one of this many names is looked up in a bit set.
DENSE_SHARE = 256
#: Above this share bit sets are made in another way, five times as fast.
VERY_DENSE_SHARE = 32
#: For so few rows no bit set is made (0.15 us a row it holds); each row's text is searched, at twice the cost of a bit set.
FEW_ROWS = 16
#: Two rarer words, of which one has at most so many times the rows of the other, are intersected as sets.
LIKE_FACTOR = 6
#: Rows looked at one by one before the bit sets of very common words are combined.
MAX_LOOKED_AT = 1024
#: Bytes of all bit sets that are remembered: all the common words of a hundred thousand names, 500 of a million.
MAX_BITS_BYTES = 64 * 1024 * 1024
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
        known = self.words
        heads = self._heads
        lows: list[tuple[int, int]] = []
        # Most queries end here, at a word that no name has.
        for word in words:
            head = heads.get(word[:MIN_PREFIX])
            if head is None:
                return ()
            low, high = head
            if len(word) > MIN_PREFIX:
                low = bisect_left(known, word, low, high)
                if low == high or not known[low].startswith(word):
                    return ()
            lows.append((low, high))
        spans: list[tuple[int, Span, bytes]] = []
        at = self._postings_at
        for word, (low, high) in zip(words, lows, strict=True):
            if len(word) > MIN_PREFIX:
                high = bisect_left(known, word + b"\xff", low, high)
            spans.append((at[high] - at[low], (low, high), word))
        return self._rows_of(spans) if spans else ()

    def _rows_of(self, spans: list[tuple[int, Span, bytes]]) -> Iterable[int]:
        if len(spans) == 1:
            return self._span_rows(spans[0][1])
        spans.sort()
        count, span, _ = spans[0]
        next_count, next_span, _ = spans[1]
        if count > FEW_ROWS and next_count < min(count * LIKE_FACTOR, self._rows // DENSE_SHARE):
            meeting = set(self._postings_of(span)).intersection(self._postings_of(next_span))
            return self._filter(meeting, [spans[0], *spans[2:]])
        rows = self._span_rows(span)
        if count > MAX_LOOKED_AT and count * DENSE_SHARE > self._rows:
            return self._look_then_meet(iter(rows), spans)
        return self._filter(rows, spans)

    def _span_rows(self, span: Span) -> Iterable[int]:
        # One name may have several of the words.  The exact word is sorted first, so its rows come first.
        rows = self._postings_of(span)
        return _distinct(rows) if span[1] - span[0] > 1 else rows

    def _postings_of(self, span: Span) -> array[int]:
        return self._postings[self._postings_at[span[0]] : self._postings_at[span[1]]]

    def _filter(self, rows: Iterable[int], spans: list[tuple[int, Span, bytes]]) -> Iterable[int]:
        """Those of the `rows` of the first span that are in all others."""
        is_few = spans[0][0] <= FEW_ROWS
        needles = []
        for others, span, word in spans[1:]:
            if span in self._bits or (not is_few and others * DENSE_SHARE > self._rows):
                rows = _with_bit(rows, self._bits_of(span))
            else:
                needles.append(_needle(word))
        return self._with_needles(rows, needles) if needles else rows

    def _look_then_meet(self, rows: Iterator[int], spans: list[tuple[int, Span, bytes]]) -> Iterator[int]:
        # Words that often meet give enough rows at once, and the caller stops.
        found = set()
        for row in self._filter(islice(rows, MAX_LOOKED_AT), spans):
            found.add(row)
            yield row
        yield from (row for row in self._meet([span for _, span, _ in spans]) if row not in found)

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
            bits = self._make_bits(self._postings_of(span))
            if len(self._bits) * len(bits) >= MAX_BITS_BYTES:
                del self._bits[next(iter(self._bits))]
            self._bits[span] = bits
        return bits

    def _make_bits(self, rows: array[int]) -> bytes:
        length = self._rows // 8 + 1
        if len(rows) * VERY_DENSE_SHARE > self._rows:
            # As digits, highest row first, since int() reads powers of two in linear time.
            digits = bytearray(b"0") * self._rows
            for row in rows:
                digits[~row] = 49
            return int(digits, 2).to_bytes(length, "little")
        octets = bytearray(length)
        for row in rows:
            octets[row >> 3] |= 1 << (row & 7)
        return bytes(octets)


def _with_bit(rows: Iterable[int], bits: bytes) -> Iterator[int]:
    return (row for row in rows if bits[row >> 3] >> (row & 7) & 1)


def _distinct(rows: Iterable[int]) -> Iterator[int]:
    seen: set[int] = set()
    for row in rows:
        if row not in seen:
            seen.add(row)
            yield row


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
