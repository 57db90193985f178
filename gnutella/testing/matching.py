"""The matching rule of file names, spelled out: what the catalog's index must agree with."""

from __future__ import annotations

from collections.abc import Sequence

from gnutella.sharing.match import MIN_PREFIX


def is_match(query: Sequence[bytes], name_words: Sequence[bytes]) -> bool:
    """Whether each word of a query is a word of the name, or the beginning of one and MIN_PREFIX bytes long."""
    return bool(query) and all(
        any(word == other or (len(word) >= MIN_PREFIX and other.startswith(word)) for other in name_words)
        for word in query
    )
