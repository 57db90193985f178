"""The anonymous share index: what this node offers within the layer, apart from the plain library.

A row is a name, a size, a kind and the key of a file that is either stored in the layer (inserted) or served through pivots
that lead here (anchored).  It holds no path.  Nothing of it gets into the plain library, nor the other way round: the same
file in both says to everybody who compares them that they are one person's, which is what the warning is for.

A file belongs in here when it can be fetched, not before: who announces a file while it is being inserted shows where it
comes from.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from anonymizer.errors import BadKey, QuotaExceeded
from anonymizer.hits import MAX_FILE, HitContent
from anonymizer.reasons import Refusal, Violation
from anonymizer.terms import MIN_PREFIX, answers, index_words, words_of
from anonymizer.uri import ChkUri, parse_uri

#: Some 10 MB; a search takes less than a millisecond of it.
MAX_SHARES: Final = 10_000

#: name, size, mime, kinds, URI, whether it is anchored, sha1, tth
Row: TypeAlias = tuple[str, int, str, int, str, bool, bytes, bytes]


@dataclass(frozen=True, slots=True)
class AnonymousShare:
    """A file offered in the layer.  `kinds` are bits of a search's filter; hashes are empty where they are not told."""

    name: str
    size: int
    mime: str
    kinds: int
    uri: ChkUri
    is_anchored: bool
    sha1: bytes = b""
    tth: bytes = b""

    def hit(self) -> HitContent:
        """As a provider tells it, without anchors."""
        return HitContent(
            self.name, self.size, self.mime, self.kinds, self.uri.routing, self.uri.key, self.sha1, self.tth
        )

    def row(self) -> Row:
        return (
            self.name,
            self.size,
            self.mime,
            self.kinds,
            str(self.uri),
            self.is_anchored,
            self.sha1,
            self.tth,
        )


class ShareIndex:
    """See the module text.  Files are known by the routing key of their manifest."""

    def __init__(self, limit: int = MAX_SHARES) -> None:
        self._limit = limit
        self._shares: dict[bytes, AnonymousShare] = {}
        self._words: dict[bytes, frozenset[str]] = {}
        #: In the order in which they were added, so that one search finds the same again where there are too many.
        self._of_word: dict[str, dict[bytes, None]] = {}
        self._sorted: list[str] = []

    def __len__(self) -> int:
        return len(self._shares)

    def __iter__(self) -> Iterator[AnonymousShare]:
        return iter(self._shares.values())

    def get(self, routing: bytes) -> AnonymousShare | None:
        return self._shares.get(routing)

    def add(self, share: AnonymousShare) -> None:
        """Offer it, in place of one with the same key.

        QuotaExceeded if there are as many as may be; Violation(HIT_BROKEN) if no hit could tell it.
        """
        if not 0 <= share.size <= MAX_FILE:
            raise Violation(Refusal.HIT_BROKEN, "no size")
        HitContent.from_map(share.hit().to_map(), Refusal.HIT_BROKEN)
        routing = share.uri.routing
        if routing not in self._shares and len(self._shares) >= self._limit:
            raise QuotaExceeded(f"{self._limit} files are offered anonymously, which is the most")
        self.remove(routing)
        self._shares[routing] = share
        self._words[routing] = words = frozenset(index_words(share.name, share.sha1))
        for word in words:
            if word not in self._of_word:
                self._of_word[word] = {}
                insort(self._sorted, word)
            self._of_word[word][routing] = None

    def remove(self, routing: bytes) -> bool:
        """Offer it no more; False: it was not offered."""
        if self._shares.pop(routing, None) is None:
            return False
        for word in self._words.pop(routing):
            rows = self._of_word[word]
            del rows[routing]
            if not rows:
                del self._of_word[word]
                del self._sorted[bisect_left(self._sorted, word)]
        return True

    # -- searching -------------------------------------------------------------------------------------------------------

    def search(self, text: str, kinds: int = 0, limit: int = MAX_SHARES) -> list[AnonymousShare]:
        """Files whose names have all words of the text, of one of these kinds (0: of any), at most `limit`."""
        words = words_of(text)
        if not words:
            return []
        # The rarest word says which names are looked at.
        found: list[AnonymousShare] = []
        for routing in self._rows_of(min(words, key=self._count)):
            share = self._shares[routing]
            if (not kinds or share.kinds & kinds) and answers(words, self._words[routing]):
                found.append(share)
                if len(found) == limit:
                    break
        return found

    def _beginning_with(self, word: str) -> list[str]:
        """The words that a word of a search stands for."""
        if len(word.encode()) < MIN_PREFIX:
            return [word] if word in self._of_word else []
        end = bisect_left(self._sorted, word[:-1] + chr(min(ord(word[-1]) + 1, 0x10FFFF)))
        return self._sorted[bisect_left(self._sorted, word) : end]

    def _count(self, word: str) -> int:
        return sum(len(self._of_word[other]) for other in self._beginning_with(word))

    def _rows_of(self, word: str) -> Iterator[bytes]:
        seen: set[bytes] = set()
        for other in self._beginning_with(word):
            for routing in self._of_word[other]:
                if routing not in seen:
                    seen.add(routing)
                    yield routing

    # -- over restarts ---------------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """What to keep on disk, encrypted: it says what this node offers."""
        return [share.row() for share in self._shares.values()]

    def restore(self, rows: Iterable[Row]) -> int:
        """What was kept; rows that are none are left out.  How many were taken."""
        before = len(self)
        for name, size, mime, kinds, text, is_anchored, sha1, tth in rows:
            try:
                uri = parse_uri(text)
                if isinstance(uri, ChkUri):
                    self.add(AnonymousShare(name, size, mime, kinds, uri, is_anchored, sha1, tth))
            except (BadKey, QuotaExceeded, Violation):
                continue
        return len(self) - before


def sibling_warning(sha1: bytes, is_plain: Callable[[bytes], bool]) -> str | None:
    """What to say to who offers the file with that SHA-1 anonymously; None: it is not in the plain library, or has none."""
    if not sha1 or not is_plain(sha1):
        return None
    return (
        "this file is in the plain library too: who finds it both ways learns that this node's address and its "
        "anonymous shares belong together; remove it from one of them"
    )
