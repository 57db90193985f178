"""Keys as text.

    arl:chk:<routing>,<key>,1                a file: its manifest, and the key that opens it
    arl:ssk:<namespace>,<secret>,1/<name>    a signed document
    arl:usk:<namespace>,<secret>,1/<name>/<edition>
    arl:ksk:<keyword>                        a document that everybody who knows the word can read and write
    arl:own:<seed>,<secret>,1                the owner's half of signed documents: never to be told

32 bytes are 52 letters of base32, names are percent-encoded UTF-8.  One key has one text; letters may come in either case.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, unquote_to_bytes

from anonymizer.chk import KEY_BYTES
from anonymizer.errors import BadKey
from anonymizer.ssk import MAX_NAME_BYTES, ReadKey, WriteKey
from anonymizer.usk import MAX_EDITION, document_name
from gnutella.errors import RemoteViolation
from gnutella.protocol.urn import b32decode, b32encode

#: Two keys and a name of which each byte is percent-encoded fit.
MAX_URI_CHARS = 1024
_FORM = re.compile(r"arl:([a-z]{3}):([^/]*)((?:/[^/]*)*)\Z")
_VERSION = "1"
_EDITION = re.compile(r"(0|[1-9][0-9]{0,15})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChkUri:
    """A block, and the key that opens it."""

    routing: bytes
    key: bytes

    def __str__(self) -> str:
        return f"arl:chk:{_pair(self.routing, self.key)}"


@dataclass(frozen=True, slots=True)
class SskUri:
    """A signed document."""

    key: ReadKey
    name: str

    def __str__(self) -> str:
        return f"arl:ssk:{_pair(self.key.namespace, self.key.secret)}/{quote(self.name, safe='')}"


@dataclass(frozen=True, slots=True)
class UskUri:
    """The newest edition of a name, this one or later."""

    key: ReadKey
    name: str
    edition: int

    def __str__(self) -> str:
        pair = _pair(self.key.namespace, self.key.secret)
        return f"arl:usk:{pair}/{quote(self.name, safe='')}/{self.edition}"


@dataclass(frozen=True, slots=True)
class KskUri:
    """A keyword."""

    keyword: str

    def __str__(self) -> str:
        return f"arl:ksk:{quote(self.keyword, safe='')}"


@dataclass(frozen=True, slots=True)
class OwnUri:
    """The owner's key of signed documents."""

    key: WriteKey

    def __str__(self) -> str:
        return f"arl:own:{_pair(self.key.seed, self.key.secret)}"


Uri: TypeAlias = ChkUri | SskUri | UskUri | KskUri | OwnUri


def parse_uri(text: str) -> Uri:
    """The key that `text` names; BadKey, which never repeats the text, if it names none."""
    found = _FORM.match(text) if len(text) <= MAX_URI_CHARS else None
    if found is None:
        raise BadKey("it has not the form arl:kind:…")
    kind, body, path = found[1], found[2], [name_of(part) for part in found[3].split("/")[1:]]
    if kind == "ksk" and not path:
        return KskUri(name_of(body))
    if kind not in ("chk", "ssk", "usk", "own"):
        raise BadKey("unknown kind")
    first, second = _keys(body)
    match kind, path:
        case "chk", []:
            return ChkUri(first, second)
        case "own", []:
            return OwnUri(WriteKey(first, second))
        case "ssk", [name]:
            return SskUri(ReadKey(first, second), name)
        case "usk", [name, edition]:
            if not _EDITION.match(edition) or int(edition) > MAX_EDITION:
                raise BadKey("no number of an edition")
            if len(document_name(name, MAX_EDITION).encode()) > MAX_NAME_BYTES:
                raise BadKey("the name leaves no room for its edition")
            return UskUri(ReadKey(first, second), name, int(edition))
    raise BadKey("its parts are not those of its kind")


def _pair(first: bytes, second: bytes) -> str:
    return f"{b32encode(first)},{b32encode(second)},{_VERSION}"


def _keys(body: str) -> tuple[bytes, bytes]:
    parts = body.split(",")
    if len(parts) != 3 or parts[2] != _VERSION:
        raise BadKey("it needs two keys and the version 1")
    try:
        first, second = b32decode(parts[0]), b32decode(parts[1])
    except RemoteViolation:
        raise BadKey("a key is no base32") from None
    if len(first) != KEY_BYTES or len(second) != KEY_BYTES:
        raise BadKey("a key has not 32 bytes")
    return first, second


def name_of(part: str) -> str:
    """A name as it stands in a key, percent-encoded or not; BadKey if it is none."""
    try:
        name = unicodedata.normalize("NFC", unquote_to_bytes(part).decode())
    except UnicodeError:
        raise BadKey("a name is no UTF-8") from None
    if not name or len(name.encode()) > MAX_NAME_BYTES or any(unicodedata.category(char) == "Cc" for char in name):
        raise BadKey(f"a name has 1 to {MAX_NAME_BYTES} bytes and no control characters")
    return name
