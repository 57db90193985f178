"""Queries: a word of flags, the search text, then extensions (URNs, XML, GGEP).

Extensions are separated by 1C; a NUL is read as a separator too, since old servents end each with one.  GGEP is last, because
its values may hold either byte.  Digest 2.4.  `make_query` builds our own, `normalise_text` says what remains of a user's
text.  Errors: BAD_QUERY, BAD_URN, BAD_GGEP, QUERY_TOO_LONG.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from gnutella.errors import RemoteViolation, UserError
from gnutella.protocol.addresses import ipv4_text
from gnutella.protocol.ggep import MAGIC, Ggep
from gnutella.protocol.kinds import QUERY
from gnutella.protocol.urn import Urn, is_known_scheme, parse_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

#: The flags word has the meaning below; without it the word is a speed of ancient servents.  Three more flags
#: are not looked at: 0x2000 (wants XML), 0x1000 (guided by a leaf), 0x0200 (can do firewall-to-firewall transfers).
FLAG_MARK = 0x8000
FLAG_FIREWALLED = 0x4000
FLAG_GUIDED = 0x1000
FLAG_GGEP_H = 0x0800
FLAG_OOB = 0x0400
MASK_MAX_HITS = 0x00FF

#: Largest query that is read; gtk-gnutella closes the link above it (and forwards only up to 256).
MAX_QUERY = 1024
#: Largest query that real servents forward, hence what ours are cut to.
MAX_FORWARDED_QUERY = 256
#: Visible characters; LimeWire discards longer texts that lack the whole in GGEP XQ.
MAX_VISIBLE_CHARS = 30
#: Text of a query that has only URNs.
URN_ONLY_TEXT = "\\"

_SEPARATOR = re.compile(rb"[\x00\x1c]")


@dataclass(frozen=True, slots=True)
class Query:
    """`urns` are those with a hash that is read here, spelled as they came; `extras` all other items.

    `trailing` is what follows the last item, most often nothing or a NUL.
    """

    kind: ClassVar[int] = QUERY
    text: str
    flags: int = FLAG_MARK | FLAG_GGEP_H
    urns: tuple[str, ...] = ()
    ggep: Ggep | None = None
    xml: str = ""
    extras: tuple[bytes, ...] = ()
    trailing: bytes = b""

    @property
    def is_marked(self) -> bool:
        """Whether the flags word is one."""
        return bool(self.flags & FLAG_MARK)

    @property
    def wants_oob(self) -> bool:
        """Hits may come by UDP to the address in the GUID."""
        return self.flags & (FLAG_MARK | FLAG_OOB) == FLAG_MARK | FLAG_OOB

    @property
    def is_firewalled(self) -> bool:
        """The asker cannot be connected to; a firewalled servent need not answer."""
        return self.flags & (FLAG_MARK | FLAG_FIREWALLED) == FLAG_MARK | FLAG_FIREWALLED

    @property
    def wants_ggep_h(self) -> bool:
        """The asker reads GGEP H in hits."""
        return self.flags & (FLAG_MARK | FLAG_GGEP_H) == FLAG_MARK | FLAG_GGEP_H

    @property
    def max_hits(self) -> int:
        """Hits wanted; 0 is no limit."""
        return self.flags & MASK_MAX_HITS if self.is_marked else 0

    @property
    def full_text(self) -> str:
        """The whole text: GGEP XQ where the visible one is a subset of it, else the visible one; none for a URN query."""
        raw = self.ggep.get("XQ") if self.ggep is not None else None
        if raw:
            return raw.decode("utf-8", "replace")
        return "" if self.text == URN_ONLY_TEXT else self.text

    @property
    def hashes(self) -> tuple[Urn, ...]:
        """The hashes asked for: of the URNs, and of GGEP u and H; unreadable GGEP ones are left out."""
        found = [parse_urn(text) for text in self.urns]
        if self.ggep is not None:
            found += ggep_hashes(self.ggep)
        return tuple(found)

    def encode(self) -> bytes:
        """The payload, in the one order that all servents read: URNs, other items, XML, GGEP."""
        items = [urn.encode("ascii") for urn in self.urns]
        items += self.extras
        if self.xml:
            items.append(self.xml.encode("utf-8"))
        if self.ggep is not None and self.ggep.items:
            items.append(self.ggep.encode())
        body = self.text.encode("utf-8", "replace") + b"\0" + b"\x1c".join(items) + self.trailing
        return self.flags.to_bytes(2, "big") + body

    @staticmethod
    def decode(payload: bytes) -> Query:
        """A text that is not UTF-8 or not ended is refused, and so is a known kind of URN with a wrong hash."""
        if len(payload) > MAX_QUERY:
            raise RemoteViolation(DropReason.QUERY_TOO_LONG, f"{len(payload)} bytes")
        text_end = payload.find(b"\0", 2)
        if text_end < 0:
            raise RemoteViolation(DropReason.BAD_QUERY, "a text without its end")
        flags = payload[0] << 8 | payload[1]
        try:
            text = payload[2:text_end].decode("utf-8")
        except UnicodeDecodeError:
            raise RemoteViolation(DropReason.BAD_QUERY, "a text that is not UTF-8") from None
        if text_end + 1 == len(payload):
            return Query(text, flags)
        return Query(text, flags, *_decode_extensions(payload, text_end + 1))


_Extensions = tuple[tuple[str, ...], Ggep | None, str, tuple[bytes, ...], bytes]


def _decode_extensions(payload: bytes, pos: int) -> _Extensions:
    urns: list[str] = []
    extras: list[bytes] = []
    ggep: Ggep | None = None
    xml = ""
    size = len(payload)
    while pos < size:
        if payload[pos] == MAGIC:
            ggep, pos = Ggep.decode(payload, pos)
            break
        if not payload[pos] and not payload[pos:].strip(b"\0"):
            break
        found = _SEPARATOR.search(payload, pos)
        end = found.start() if found else size
        item = payload[pos:end]
        # The NULs that end the payload stay in `trailing`; a 1C has done its work.
        pos = end if end < size and not payload[end] and not payload[end:].strip(b"\0") else end + 1
        if item[:4].lower() == b"urn:" and is_known_scheme(urn := item.decode("latin-1")) and not urn.endswith(":"):
            parse_urn(urn)
            urns.append(urn)
        elif item[:1] in (b"<", b"{"):
            xml = xml or _xml_text(item)  # one is all that any servent sends
        elif item:
            extras.append(item)
    return tuple(urns), ggep, xml, tuple(extras), payload[pos:]


def _xml_text(item: bytes) -> str:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteViolation(DropReason.BAD_QUERY, "XML that is not UTF-8") from None


def ggep_hashes(ggep: Ggep) -> list[Urn]:
    """The hashes in GGEP H, u and TT; what cannot be read is left out."""
    found: list[Urn] = []
    for key, value in ggep.items:
        if key == "H":
            if len(value) == 21 and value[0] == 1:
                found.append(Urn(value[1:]))
            elif len(value) == 45 and value[0] == 2:
                found.append(Urn(value[1:21], value[21:]))
        elif key == "TT" and len(value) == 24:
            found.append(Urn(tth=value))
        elif key == "u":
            try:
                found.append(parse_urn("urn:" + value.decode("latin-1")))
            except RemoteViolation:
                continue
    return found


def oob_address(guid: Guid) -> Address:
    """Where an out-of-band query wants its hits: IPv4 in bytes 0-3 of its GUID, port in 13-14."""
    return Address(ipv4_text(guid[:4]), guid[13] | guid[14] << 8)


def normalise_text(text: str) -> str:
    """`text` with everything but letters, digits and marks made one space (digest 7.3): LimeWire refuses punctuation."""
    kept = "".join(
        c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in unicodedata.normalize("NFC", text)
    )
    return " ".join(kept.split())


def make_query(
    text: str,
    urns: tuple[str, ...] = (),
    *,
    is_firewalled: bool = False,
    max_hits: int = 0,
) -> Query:
    """A query of ours that all servents take.  UserError when neither a word nor a URN is left to ask for.

    A text of more than 30 characters goes whole into GGEP XQ, and its longest words that fit are the visible text.
    """
    for urn in urns:
        parse_urn(urn)
    flags = FLAG_MARK | FLAG_GGEP_H | (FLAG_FIREWALLED if is_firewalled else 0) | min(max_hits, MASK_MAX_HITS)
    words = normalise_text(text)
    if not words:
        if not urns:
            raise UserError("nothing to search for", "give at least one letter or digit, or a urn:sha1")
        return Query(URN_ONLY_TEXT, flags, urns)
    if len(words) <= MAX_VISIBLE_CHARS:
        return Query(words, flags, urns)
    return _shortened(words, flags, urns)


def _shortened(words: str, flags: int, urns: tuple[str, ...]) -> Query:
    parts = words.split(" ")
    while True:
        query = Query(_visible(parts), flags, urns, Ggep.of({"XQ": " ".join(parts).encode("utf-8")}))
        if len(query.encode()) <= MAX_FORWARDED_QUERY or len(parts) == 1:
            return query
        parts.pop()


def _visible(parts: list[str]) -> str:
    room = MAX_VISIBLE_CHARS + 1
    chosen: set[int] = set()
    for number in sorted(range(len(parts)), key=lambda n: -len(parts[n])):
        if len(parts[number]) < room or not chosen:
            chosen.add(number)
            room -= len(parts[number]) + 1
    return " ".join(part for number, part in enumerate(parts) if number in chosen)
