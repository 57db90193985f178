"""How the two families of servents cut a file name or a query into words.

gtk-gnutella makes *canonical words*: folded case, no accents, letters and digits only, cut where the script changes.
LimeWire makes *keywords*: nearly the same folding, but ASCII punctuation is partly dropped without cutting (`don't` is
`dont`) and partly kept inside the word (`[2004]`).  Both put shortened forms of a word into their routing tables, so that the
beginning of a word finds it.  Rules: protocol digest 7.2 and 7.3; its table 13.2 was made by running both programs.

    >>> canonical_words("Déjà_Vu (Live) [2004].mp3")
    ['deja', 'vu', 'live', '2004', 'mp3']
    >>> keywords("don't stop.mp3")
    ['dont', 'stop', 'mp3']
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: Trailing characters that gtk-gnutella cuts from a word, one after the other (digest 7.2).
MAX_CUTS = 5
#: A cut form must be longer than this many bytes of UTF-8 (digest 7.2).
CUT_BYTES = 3
#: LimeWire shortens words longer than this, by one and by two characters (digest 7.2).
STEM_LENGTH = 4

#: For bytes.translate: ASCII letters folded, digits kept, everything else (also each byte beyond ASCII) a space.
ASCII_FOLD = bytes(ord(chr(c).lower()) if c < 128 and chr(c).isalnum() else 32 for c in range(256))

_LETTERS = frozenset({"Ll", "Lm", "Lo", "Nd", "Cn"})
#: Canonical combining classes of marks that change the letter: nukta, kana voicing, virama.  Other marks are accents.
_KEPT_MARKS = frozenset({7, 8, 9})
_DROPPED_KINDS = frozenset({"Sc", "Sk", "Sm", "So", "Pi", "Pf", "Cc", "Cf", "Cs"})
_DROPPED_ASCII = frozenset("$'+<=>^`|~")
_NOT_PLAIN = re.compile(r"[^0-9A-Za-z \-._/*()\\,]").search
_SEPARATORS = re.compile(r"[ \-._+/*()\\,]+")

#: First code points of scripts that file names mix; between two of them a word ends.  Sorted; a run lasts until the next row.
#: Row 0 is Latin with the digits: gtk-gnutella and LimeWire both cut by Unicode blocks, and ASCII digits are in the Latin one.
_SCRIPTS = (
    (0x0000, "latin"),
    (0x0370, "greek"),
    (0x0400, "cyrillic"),
    (0x0530, "armenian"),
    (0x0590, "hebrew"),
    (0x0600, "arabic"),
    (0x0700, "other"),
    (0x0900, "indic"),
    (0x0E00, "thai"),
    (0x0F00, "other"),
    (0x1100, "hangul"),
    (0x1200, "other"),
    (0x1E00, "latin"),
    (0x1F00, "greek"),
    (0x2000, "other"),
    (0x2E80, "han"),
    (0x3040, "hiragana"),
    (0x30A0, "katakana"),
    (0x3100, "other"),
    (0x3130, "hangul"),
    (0x3190, "other"),
    (0x31F0, "katakana"),
    (0x3200, "other"),
    (0x3400, "han"),
    (0xA000, "other"),
    (0xAC00, "hangul"),
    (0xD800, "other"),
    (0xF900, "han"),
    (0xFB00, "other"),
    (0x20000, "han"),
    (0x30000, "other"),
)


def _script_pattern() -> re.Pattern[str]:
    """One alternative a script: a run of characters of that script."""
    ranges: dict[str, list[str]] = {}
    ends = [start - 1 for start, _ in _SCRIPTS[1:]] + [0x10FFFF]
    for (start, script), end in zip(_SCRIPTS, ends, strict=True):
        ranges.setdefault(script, []).append(f"\\U{start:08x}-\\U{end:08x}")
    return re.compile("|".join(f"[{''.join(parts)}]+" for parts in ranges.values()))


_RUNS = _script_pattern()


def _cut_by_script(text: str) -> str:
    return " ".join(_RUNS.findall(text))


def _fold(text: str) -> str:
    """Folded case, no compatibility forms; what is upper case afterwards came out of a sign such as ™."""
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).casefold())


def canonical(text: str) -> str:
    """The text as gtk-gnutella compares it: canonical words, one space between them."""
    if text.isascii():
        return b" ".join(text.encode("ascii").translate(ASCII_FOLD).split()).decode("ascii")
    kept: list[str] = []
    for char in _fold(text):
        kind = unicodedata.category(char)
        if kind in _LETTERS or (kind[0] == "M" and unicodedata.combining(char) in _KEPT_MARKS):
            kept.append(char)
        elif kind[0] != "M":
            kept.append(" ")
    spaced = unicodedata.normalize("NFC", "".join(kept))
    return " ".join(_cut_by_script(part) for part in spaced.split())


def canonical_words(text: str) -> list[str]:
    """Distinct canonical words in order of appearance."""
    return list(dict.fromkeys(canonical(text).split()))


def is_plain(text: str) -> bool:
    """Whether both families cut the text into the same words: ASCII letters and digits, and what separates for both."""
    return _NOT_PLAIN(text) is None


def cut_forms(word: str) -> list[str]:
    """The word and the shortened forms that gtk-gnutella puts into its routing table, longest first."""
    forms = [word]
    for length in range(len(word) - 1, max(0, len(word) - 1 - MAX_CUTS), -1):
        if len(word[:length].encode("utf-8", "surrogatepass")) <= CUT_BYTES:
            break
        forms.append(word[:length])
    return forms


def stem_forms(keyword: str) -> list[str]:
    """The keyword and LimeWire's shortened forms of it."""
    return [keyword, keyword[:-1], keyword[:-2]] if len(keyword) > STEM_LENGTH else [keyword]


def normalise(text: str) -> str:
    """The text as LimeWire normalises it before it looks for keywords."""
    kept: list[str] = []
    for char in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()):
        if char in _DROPPED_ASCII:
            continue
        if char.isascii():
            kept.append(char if char.isprintable() else " ")
            continue
        kind = unicodedata.category(char)
        if kind[0] == "Z":
            kept.append(" ")
        elif kind not in _DROPPED_KINDS and (kind[0] != "M" or unicodedata.combining(char) in _KEPT_MARKS):
            kept.append(char)
    folded = unicodedata.normalize("NFC", "".join(kept))
    return folded if folded.isascii() else " ".join(_cut_by_script(part) for part in folded.split(" "))


def keywords(text: str) -> list[str]:
    """Distinct LimeWire keywords in order of appearance."""
    return [word for word in dict.fromkeys(_SEPARATORS.split(normalise(text).replace("\t", " "))) if word.strip()]


def _unique(groups: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(word for group in groups for word in group))


def canonical_index_words(name: str) -> list[str]:
    """What gtk-gnutella enters into its routing table for a file name."""
    return _unique(cut_forms(word) for word in canonical_words(name))


def keyword_index_words(name: str) -> list[str]:
    """What LimeWire enters into its routing table for a file name."""
    return _unique(stem_forms(word) for word in keywords(name))


def route_words(name: str) -> list[str]:
    """What we enter for a file name: the words of both families, so that either one's queries are led here."""
    return _unique((canonical_index_words(name), keyword_index_words(name)))
