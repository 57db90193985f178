"""The text of an anonymous search: one form of it, whoever typed it and on whatever system, and when a name answers it.

A text is what gtk-gnutella calls canonical words (gnutella.protocol.words), each once, in the order in which they were typed:
case, accents, punctuation and spaces carry nothing that finds a file, and would tell searchers apart.  No locale is asked.
Every word has to be a word of the name or begin one, as in searches of the plain overlay; a beginning shorter than MIN_PREFIX
bytes has to be the whole word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from anonymizer.wire import MAX_SEEK_TEXT
from gnutella.protocol.words import canonical_words, keywords

#: As in searches of the plain overlay: three Latin letters, one Chinese one.
MIN_PREFIX = 3
#: Words shorter than this in total ask for nothing.
MIN_LETTERS = 2
#: Words of one search: more than fit into its text usefully, and each of them is looked up.
MAX_WORDS = 32


def words_of(text: str) -> tuple[str, ...]:
    """The distinct words of a search; none if it asks for nothing, or for more than a search may."""
    words = tuple(canonical_words(text)) if len(text) <= MAX_SEEK_TEXT else ()
    if len(words) > MAX_WORDS or len(" ".join(words).encode("utf-8", "replace")) > MAX_SEEK_TEXT:
        return ()
    return words if sum(len(word.encode("utf-8", "replace")) for word in words) >= MIN_LETTERS else ()


def normal(text: str) -> str:
    """The one form of a search text; empty if it asks for nothing, or is longer than MAX_SEEK_TEXT bytes."""
    return " ".join(words_of(text))


def index_words(name: str) -> tuple[str, ...]:
    """The words under which a name is found: canonical ones, and those that join what an apostrophe parts."""
    joined = [word for word in keywords(name) if word.isalnum()]
    return tuple(dict.fromkeys([*canonical_words(name), *joined]))


def answers(words: Iterable[str], found: Collection[str]) -> bool:
    """Whether a name with the words `found` answers a search for `words`."""
    return all(
        word in found or (len(word.encode()) >= MIN_PREFIX and any(other.startswith(word) for other in found))
        for word in words
    )
