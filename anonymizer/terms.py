"""The text of an anonymous search: one form of it, whoever typed it and on whatever system, and when a name answers it.

A text is what gtk-gnutella calls canonical words (gnutella.protocol.words), each once, in the order in which they were typed:
case, accents, punctuation and spaces carry nothing that finds a file, and would tell searchers apart.  No locale is asked.
Every word has to be a word of the name or begin one, as in searches of the plain overlay; a beginning shorter than MIN_PREFIX
bytes has to be the whole word.  A text that is a urn:sha1 finds the file with that hash and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from anonymizer.wire import MAX_SEEK_TEXT
from gnutella.protocol.urn import b32encode
from gnutella.protocol.words import canonical, keywords

#: As in searches of the plain overlay: three Latin letters, one Chinese one.
MIN_PREFIX = 3
#: Words shorter than this in total ask for nothing.
MIN_LETTERS = 2
#: Words of one search: more than fit into its text usefully, and each of them is looked up.
MAX_WORDS = 32
_URN = re.compile(r"urn:sha1:([a-z2-7]{32})", re.IGNORECASE | re.ASCII)
#: What makes a hash a word that no name has and no other word begins.
_HASH = "="


def _words(text: str) -> tuple[str, ...]:
    """Distinct canonical words, of which the canonical words are they themselves."""
    # Once leaves a lunate sigma as a final one, which is a sigma the second time.
    return tuple(dict.fromkeys(canonical(canonical(text)).split()))


def words_of(text: str) -> tuple[str, ...]:
    """The distinct words of a search; none if it asks for nothing, or for more than a search may."""
    if (urn := _URN.fullmatch(text)) is not None:
        return (_HASH + urn[1].lower(),)
    words = _words(text) if len(text) <= MAX_SEEK_TEXT else ()
    if len(words) > MAX_WORDS or len(" ".join(words).encode("utf-8", "replace")) > MAX_SEEK_TEXT:
        return ()
    return words if sum(len(word.encode("utf-8", "replace")) for word in words) >= MIN_LETTERS else ()


def normal(text: str) -> str:
    """The one form of a search text; empty if it asks for nothing, or is longer than MAX_SEEK_TEXT bytes."""
    if _URN.fullmatch(text) is not None:
        return "urn:sha1:" + text[-32:].upper()
    return " ".join(words_of(text))


def index_words(name: str, sha1: bytes = b"") -> tuple[str, ...]:
    """The words under which a file is found: those of its name, with those that an apostrophe joins, and its hash."""
    joined = [word for word in keywords(name) if word.isalnum()]
    hashed = [_HASH + b32encode(sha1).lower()] if sha1 else []
    return tuple(dict.fromkeys([*_words(name), *joined, *hashed]))


def answers(words: Iterable[str], found: Collection[str]) -> bool:
    """Whether a name with the words `found` answers a search for `words`."""
    return all(
        word in found or (len(word.encode()) >= MIN_PREFIX and any(other.startswith(word) for other in found))
        for word in words
    )
