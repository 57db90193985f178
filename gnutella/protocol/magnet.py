"""Magnet links: what to fetch, said in one line that people can mail to each other.

`magnet:?xt=urn:sha1:<32>&xl=<size>&dn=<name>&kt=<keywords>&xs=http://host:port/uri-res/N2R?urn:sha1:...`; keys in any order,
unknown ones ignored, numbered ones (`xt.1`) taken as plain.  Sources are only those that ask a host by URN, so that a link
cannot make us request anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from gnutella.errors import RemoteViolation
from gnutella.protocol.http import parse_number
from gnutella.protocol.urn import b32encode, parse_urn, sha1_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, parse_address

#: A link; browsers take 2 KiB to 64 KiB, and 16 sources with names stay below this.
MAX_MAGNET = 8192
MAX_PARAMETERS = 64
#: Sources kept of one link.
MAX_SOURCES = 16
#: Longest names on common file systems are 255 bytes; the safe path function cuts further.
MAX_NAME = 255

_SCHEME = "magnet:?"


@dataclass(frozen=True, slots=True)
class Magnet:
    """`size` is None when the link does not say it; `name` and `keywords` are empty then."""

    sha1: bytes | None
    tth: bytes | None = None
    size: int | None = None
    name: str = ""
    sources: tuple[Address, ...] = ()
    keywords: str = ""


def parse_magnet(text: str) -> Magnet:
    """Read a link; BAD_URN when it is none, is too long, or names two different files."""
    text = text.strip()
    if not text[: len(_SCHEME)].lower() == _SCHEME or len(text) > MAX_MAGNET:
        raise RemoteViolation(DropReason.BAD_URN, "no magnet link, or one that is too long")
    sha1: bytes | None = None
    tth: bytes | None = None
    size: int | None = None
    name = keywords = ""
    sources: dict[Address, None] = {}
    for parameter in text[len(_SCHEME) :].split("&")[:MAX_PARAMETERS]:
        key, _, value = parameter.partition("=")
        key, value = key.lower().partition(".")[0], unquote(value.replace("+", " "))
        if key == "xt":
            found_sha1, found_tth = _urns(value)
            if sha1 and found_sha1 and sha1 != found_sha1:
                raise RemoteViolation(DropReason.BAD_URN, "two files in one magnet link")
            sha1, tth = sha1 or found_sha1, tth or found_tth
        elif key == "xl":
            size = parse_number(value)
        elif key == "dn":
            name = name or value[:MAX_NAME]
        elif key == "kt":
            keywords = keywords or value[:MAX_NAME]
        elif key in ("xs", "as") and (address := _source(value)) is not None:
            sources[address] = None
    return Magnet(sha1, tth, size, name, tuple(sources)[:MAX_SOURCES], keywords)


def _urns(value: str) -> tuple[bytes | None, bytes | None]:
    try:
        urn = parse_urn(value)
    except RemoteViolation:
        return None, None
    return urn.sha1, urn.tth


def _source(value: str) -> Address | None:
    if value[:7].lower() != "http://" or "/uri-res/n2r?" not in value.lower():
        return None
    try:
        return parse_address(value[7:].partition("/")[0], default_port=80)
    except ValueError:
        return None


def format_magnet(magnet: Magnet) -> str:
    """The link; `parse_magnet` of it gives the same value."""
    parts: list[str] = []
    if magnet.sha1 is not None and magnet.tth is not None:
        parts.append(f"xt=urn:bitprint:{b32encode(magnet.sha1)}.{b32encode(magnet.tth)}")
    elif magnet.sha1 is not None:
        parts.append(f"xt={sha1_urn(magnet.sha1)}")
    elif magnet.tth is not None:
        parts.append(f"xt=urn:tree:tiger:{b32encode(magnet.tth)}")
    if magnet.size is not None:
        parts.append(f"xl={magnet.size}")
    if magnet.name:
        parts.append(f"dn={quote(magnet.name, safe='', errors='replace')}")
    if magnet.keywords:
        parts.append(f"kt={quote(magnet.keywords, safe='', errors='replace')}")
    if magnet.sha1 is not None:
        for address in magnet.sources[:MAX_SOURCES]:
            location = f"http://{address}/uri-res/N2R?{sha1_urn(magnet.sha1)}"
            parts.append(f"xs={quote(location, safe='')}")
    return _SCHEME + "&".join(parts)
