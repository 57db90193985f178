r"""What a query looks up in routing tables: hashes of its words and URNs (protocol digest 7.4).

A query goes to whoever has all of its words, or any of its URNs.  Words are those of three letters and more; only a query
without such a word asks for its shorter ones.  That is as lax as the laxer of the real servents in each point but one: of three
and more words gtk-gnutella asks for two thirds.  We ask for all, as LimeWire does, since no servent's file name answers a query
of which it lacks a word.  Where the two families cut a text differently, either one's words will do.

    >>> [len(words) for words in asked_by(b"\x80\0purple elephant\0")]
    [2]
"""

from __future__ import annotations

import re
from typing import TypeAlias

from gnutella.errors import RemoteViolation
from gnutella.protocol.qrp import hash32, hash32_exact
from gnutella.protocol.query import URN_ONLY_TEXT, Query
from gnutella.protocol.urn import sha1_urn
from gnutella.protocol.words import ASCII_FOLD, canonical_words, keywords

#: Shorter words are looked up only when a query has no others (gtk-gnutella; digest 7.4).
MIN_LENGTH = 3
#: URNs of one query that are looked up; nobody sends more than a few.
MAX_URNS = 16

#: 32-bit hashes of which all must be present, for each way to satisfy the query.
Asked: TypeAlias = tuple[tuple[int, ...], ...]

#: As words.is_plain, for bytes.
_NOT_PLAIN = re.compile(rb"[^0-9A-Za-z \-._/*()\\,]").search
_MULTIPLIER = 0x4F1BBCDC


def asked_by(payload: bytes) -> Asked:
    """The hashes that a query message's payload asks for; nothing for one that cannot be read.  Never raises."""
    end = payload.find(b"\0", 2)
    text = payload[2:end] if end >= 0 else payload[2:]
    if _NOT_PLAIN(text) is None:
        words = text.translate(ASCII_FOLD).split()
        asked: Asked = (tuple([_hash(word) for word in words if len(word) >= MIN_LENGTH] or map(_hash, words)),)
        if not words:
            asked = ()
    else:
        asked = _asked_by_text(text)
    if 0 <= end < len(payload) - 1 and _may_have_urns(payload[end + 1 :]):
        asked += _asked_by_urns(payload)
    return asked


def _hash(word: bytes) -> int:
    """qrp.hash32 of a word that is lower-case ASCII."""
    mixed = int.from_bytes(word, "little")
    while mixed > 0xFFFFFFFF:
        mixed = mixed & 0xFFFFFFFF ^ mixed >> 32
    return mixed * _MULTIPLIER & 0xFFFFFFFF


def _asked_by_text(raw: bytes) -> Asked:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ()
    if text == URN_ONLY_TEXT:
        return ()
    ways = [tuple(hash32(word) for word in _looked_up(words)) for words in (canonical_words(text), keywords(text))]
    return tuple(dict.fromkeys(way for way in ways if way))


def _looked_up(words: list[str]) -> list[str]:
    return [word for word in words if len(word) >= MIN_LENGTH] or words


def _may_have_urns(extensions: bytes) -> bool:
    """False when there can be neither a URN nor GGEP H or u; cheap, for the relay path."""
    return b":" in extensions or b"H" in extensions or b"u" in extensions


def _asked_by_urns(payload: bytes) -> Asked:
    try:
        urns = Query.decode(payload).hashes[:MAX_URNS]
    except RemoteViolation:
        return ()
    texts = dict.fromkeys(sha1_urn(urn.sha1) for urn in urns if urn.sha1 is not None)
    return tuple((spelled(text),) for text in texts for spelled in (hash32, hash32_exact))
