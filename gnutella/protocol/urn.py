"""Base32 and the URNs by which Gnutella names files: SHA-1, Tiger tree root, and both as a bitprint.

Base32 is that of RFC 4648 without padding, written in upper case, read in either.  A SHA-1 has 32 characters, a tree root 39,
a servent id (push proxies) 26.  Reading raises RemoteViolation(BAD_URN) only.  Example:

    sha1_urn(bytes(20)) == "urn:sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""

from __future__ import annotations

import re
from base64 import b32encode as _stdlib_b32encode
from dataclasses import dataclass

from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

SHA1_BYTES = 20
TIGER_BYTES = 24
SHA1_CHARS = 32
TIGER_CHARS = 39
#: Longest text that is read as base32; nothing in Gnutella is longer than a tree root (39), the rest is for our own uses.
MAX_BASE32_CHARS = 256
#: Longest URN that is read: `urn:tree:tiger/1024:` and a tree root fit, and so does a bitprint.
MAX_URN_CHARS = 128

_BASE32 = re.compile(r"[A-Za-z2-7]*\Z")
_TO_DIGITS = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567abcdefghijklmnopqrstuvwxyz",
    "0123456789ABCDEFGHIJKLMNOPQRSTUV0123456789ABCDEFGHIJKLMNOP",
)
#: What names a tree root in the wild: the RFC-like form, the two of the THEX drafts, and gtk-gnutella's.
_TREE_PREFIXES = ("urn:tree:tiger:", "urn:tree:tiger/:", "urn:tree:tiger/1024:", "urn:ttroot:")


@dataclass(frozen=True, slots=True)
class Urn:
    """The hashes that a URN gives; at least one of the two is there."""

    sha1: bytes | None = None
    tth: bytes | None = None


def b32encode(raw: bytes) -> str:
    """`raw` in upper-case base32 without padding."""
    return _stdlib_b32encode(raw).rstrip(b"=").decode("ascii")


def b32decode(text: str) -> bytes:
    """The bytes of `text`; letters in either case, no padding, spare bits zero (so that a value has one spelling)."""
    chars = len(text)
    if chars > MAX_BASE32_CHARS or not _BASE32.match(text):
        raise RemoteViolation(DropReason.BAD_URN, "no base32")
    if chars % 8 in (1, 3, 6):
        raise RemoteViolation(DropReason.BAD_URN, f"{chars} characters are no base32 length")
    if not chars:
        return b""
    spare = chars * 5 % 8
    number = int(text.translate(_TO_DIGITS), 32)
    if number & ((1 << spare) - 1):
        raise RemoteViolation(DropReason.BAD_URN, "base32 with spare bits set")
    return (number >> spare).to_bytes(chars * 5 // 8, "big")


def sha1_urn(sha1: bytes) -> str:
    """`urn:sha1:...` of 20 bytes."""
    return "urn:sha1:" + b32encode(sha1)


def tree_urn(tth: bytes) -> str:
    """`urn:tree:tiger:...` of 24 bytes, the form of magnet links and THEX."""
    return "urn:tree:tiger:" + b32encode(tth)


def bitprint_urn(sha1: bytes, tth: bytes) -> str:
    """`urn:bitprint:SHA1.TREEROOT`."""
    return f"urn:bitprint:{b32encode(sha1)}.{b32encode(tth)}"


def is_known_scheme(text: str) -> bool:
    """Whether `parse_urn` reads URNs of this scheme; others (ed2k, md5, btih) are to be ignored, not refused."""
    return text[:MAX_URN_CHARS].lower().startswith(("urn:sha1:", "urn:bitprint:", *_TREE_PREFIXES))


def parse_urn(text: str) -> Urn:
    """The hashes in `urn:sha1:`, `urn:bitprint:`, `urn:tree:tiger:` or `urn:ttroot:`, in any case."""
    if len(text) > MAX_URN_CHARS:
        raise RemoteViolation(DropReason.BAD_URN, f"{len(text)} characters")
    lower = text.lower()
    if lower.startswith("urn:sha1:"):
        return Urn(sha1=_hash(text[9:], SHA1_CHARS))
    if lower.startswith("urn:bitprint:"):
        sha1, _, tth = text[13:].partition(".")
        return Urn(_hash(sha1, SHA1_CHARS), _hash(tth, TIGER_CHARS))
    for prefix in _TREE_PREFIXES:
        if lower.startswith(prefix):
            return Urn(tth=_hash(text[len(prefix) :], TIGER_CHARS))
    raise RemoteViolation(DropReason.BAD_URN, "no scheme that is known here")


def _hash(text: str, chars: int) -> bytes:
    if len(text) != chars:
        raise RemoteViolation(DropReason.BAD_URN, f"{len(text)} characters where {chars} are due")
    return b32decode(text)
