"""What a query asks for, and when a file name answers it.

The rule, a union of what real servents do: every word of the query must be a word of the file name or begin one.  gtk-gnutella
and LimeWire both match beginnings of words (that is why their routing tables hold shortened forms, protocol digest 7.2); a
beginning shorter than MIN_PREFIX must be the whole word, or `a` would find everything.  Words are gtk-gnutella's canonical
ones: accents and case do not matter, punctuation separates; a name also has LimeWire's joined form (`dont` for `don't`).
Order and repetition do not matter; there is no exclusion (`-` separates words), since no servent of the network has one.

A query with hashes is answered by hash; its words decide only when no hash is known here (digest 7.4).  Reading a query never
raises: what cannot be read asks for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gnutella.errors import RemoteViolation
from gnutella.protocol import ggep
from gnutella.protocol.words import ASCII_FOLD, canonical, keywords

#: Bytes of UTF-8 from which a query word matches as a beginning: three Latin letters, two Cyrillic ones, one Chinese one.
MIN_PREFIX = 3
#: A text beyond this asks for nothing; gtk-gnutella forwards no query beyond 256 bytes and reads none beyond 1024 (digest 12).
MAX_TEXT = 1024
#: Words shorter than this in total ask for nothing: one-letter queries are dropped everywhere (digest 2.4).
MIN_LETTERS = 2
#: Hashes of one query that are looked up; nobody sends more than a few.
MAX_URNS = 16
#: The text of "What's new?" (digest 2.4).
WHATS_NEW = b"WhatIsNewXOXO"

_SHA1_URN = re.compile(
    rb"(?:urn:)?(?:sha1:([a-z2-7]{32})|bitprint:([a-z2-7]{32})\.[a-z2-7]{39})[\0 ]*", re.IGNORECASE
).fullmatch
_JOINING = re.compile(r"[$'+<=>^`|~]").search
_DIGITS = b"abcdefghijklmnopqrstuvwxyz234567"
#: Base32 digits to those that int(x, 32) knows; everything else becomes a character it refuses.
_BASE32 = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[i] if (i := _DIGITS.find(bytes((c,)).lower())) >= 0 else 33 for c in range(256)
)

_KINDS = {
    0x04: "aac aif aiff ape au flac m4a m4b mid midi mka mod mp2 mp3 mpc oga ogg opus ra wav wma wv",
    0x08: "3gp asf avi divx flv m2ts m4v mkv mov mp4 mpe mpeg mpg ogm ogv qt rm rmvb ts vob webm wmv",
    0x10: "azw3 chm csv djvu doc docx epub fb2 htm html md mobi odp ods odt pdf ppt pptx ps rtf tex txt xls xlsx xml",
    0x20: "bmp gif heic ico jpeg jpg jxl png psd svg tga tif tiff webp xcf",
    0x40: "bat cab com dll exe msi msix zip rar 7z",
    0x80: "apk appimage bz2 deb dmg gz iso jar pkg rpm run sh tar tgz xz zst",
}
#: Extension to media bit of GGEP "M" (digest 3.3); archives count as programs, as they do in LimeWire's filter.
_KIND_OF = {extension: bit for bit, names in _KINDS.items() for extension in names.split()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query, read.  `words` are canonical, in UTF-8; `media` is a mask of kinds or 0 for all."""

    words: tuple[bytes, ...] = ()
    sha1s: tuple[bytes, ...] = ()
    media: int = 0
    is_whats_new: bool = False


NOTHING = Wanted()


def is_askable(text: bytes, words: Sequence[bytes]) -> bool:
    """Whether a query text of these words is neither too long nor too short to be answered."""
    return len(text) <= MAX_TEXT and sum(map(len, words)) >= MIN_LETTERS


def words_of(text: bytes) -> list[bytes]:
    """Distinct canonical words of a query text; none if it is too long, too short or not UTF-8."""
    if text.isascii():
        words = text.translate(ASCII_FOLD).split()
    else:
        try:
            words = canonical(text[: MAX_TEXT + 1].decode("utf-8")).encode("utf-8").split()
        except UnicodeDecodeError:
            return []
    if not is_askable(text, words):
        return []
    return words if len(words) < 2 else list(dict.fromkeys(words))


def indexed_words(name: str) -> list[bytes]:
    """The words under which a file name is found: canonical ones, and LimeWire's keywords that are such words."""
    if name.isascii():
        words = name.encode("ascii").translate(ASCII_FOLD).split()
        if not _JOINING(name):
            return list(dict.fromkeys(words))
    else:
        words = canonical(name).encode("utf-8", "ignore").split()
    joined = [word for word in keywords(name) if word.isalnum()]
    return list(dict.fromkeys([*words, *(word.encode("utf-8", "ignore") for word in joined)]))


def has_no_urn(extensions: bytes) -> bool:
    """Whether the extensions can hold no hash: neither a URN, nor GGEP u or H (nor WH).  Cheap, for the relay path.

    Without a hash a query finds nothing if the words of its text find nothing, whatever else it says.
    """
    return b":" not in extensions and b"H" not in extensions and b"u" not in extensions


def decode_sha1(base32: bytes) -> bytes | None:
    """The 20 bytes of 32 base32 digits of either case; None if they are not that."""
    try:
        return int(base32.translate(_BASE32), 32).to_bytes(20, "big")
    except (ValueError, OverflowError):
        return None


def media_of(name: str) -> int:
    """The media bit of a file name by its extension; 0 if the extension is unknown."""
    return _KIND_OF.get(name.rpartition(".")[2].lower(), 0)


def read_query(payload: bytes) -> Wanted:
    """What a query's payload (flags word, text, NUL, extensions) asks for."""
    end = payload.find(b"\0", 2)
    text, extensions = (payload[2:end], payload[end + 1 :]) if end >= 0 else (payload[2:], b"")
    if not extensions:
        return Wanted(tuple(words_of(text)))
    start = extensions.find(b"\xc3")
    plain = extensions if start < 0 else extensions[:start]
    sha1s = _sha1s(plain)
    values = {} if start < 0 else _ggep_values(extensions, start)
    sha1s += _ggep_sha1s(values)
    if text == WHATS_NEW and "WH" in values:
        # "What's new" together with a hash is refused by gtk-gnutella (digest 2.4).
        return NOTHING if sha1s else Wanted(is_whats_new=True)
    media = int.from_bytes(values.get("M", b"")[:8], "little") & 0xFC
    words = words_of(text)
    if "XQ" in values:
        # The whole text of a query too long for LimeWire's text field, which then holds some of its words (digest 2.4).
        longer = words_of(values["XQ"])
        words = list(dict.fromkeys(words + longer)) if words and longer else []
    return Wanted(tuple(words), tuple(dict.fromkeys(sha1s))[:MAX_URNS], media)


def _sha1s(extensions: bytes) -> list[bytes]:
    """Hashes of the URNs among the extensions that come before a GGEP block."""
    found = (_SHA1_URN(item) for item in extensions.split(b"\x1c"))
    digests = (decode_sha1(urn[1] or urn[2]) for urn in found if urn)
    return [digest for digest in digests if digest is not None]


def _ggep_values(extensions: bytes, start: int) -> dict[str, bytes]:
    try:
        block, _ = ggep.Ggep.decode(extensions, start)
    except RemoteViolation:
        return {}
    return dict(reversed(block.items))


def _ggep_sha1s(values: dict[str, bytes]) -> list[bytes]:
    """Hashes in GGEP H (01 or 02, then SHA-1, digest 3.3) and u (a URN without `urn:`)."""
    digests = _sha1s(values["u"]) if "u" in values else []
    binary = values.get("H", b"")
    if (binary[:1] == b"\1" and len(binary) == 21) or (binary[:1] == b"\2" and len(binary) == 45):
        digests.append(binary[1:21])
    return digests
