"""Query hits as they are read and written: records, and the trailer with vendor, flags, GGEP, XML and servent id.

Digest 2.5.  A record has index, 32-bit size, name, NUL, extensions without a NUL inside, NUL; GGEP LF gives sizes beyond
2^31.  Hits are read leniently where servents of twenty years wrote different things (private area, unreadable extensions), and
strictly where a wrong value could do harm (names, sizes, counts).  Errors: BAD_HIT, BOGUS_HIT.  Building ours: offer.py.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import ClassVar

from gnutella.errors import RemoteViolation
from gnutella.protocol.addresses import decode_hosts, decode_hosts6, ipv4_bytes, ipv4_text, ipv6_of, sender_of
from gnutella.protocol.ggep import MAGIC, MAX_LE_BYTES, Ggep, le_encode
from gnutella.protocol.kinds import QUERY_HIT
from gnutella.protocol.query import ggep_hashes
from gnutella.protocol.urn import Urn, parse_urn, sha1_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

#: Records in one hit: LimeWire ignores all results of a larger one, gtk-gnutella drops it.
MAX_RECORDS = 10
#: Bytes of a file name: 255 units of NTFS, three bytes of UTF-8 each; other file systems have less.
MAX_NAME_BYTES = 765
#: Largest file: what SQLite and file offsets can say.
MAX_FILE_SIZE = (1 << 63) - 1
#: From this size on the 32-bit field says FFFFFFFF and GGEP LF has the size; many read the field as signed.
LARGE_FILE = 1 << 31
LARGE_FILE_FIELD = 0xFFFFFFFF
#: Alternate locations of a record [LimeWire], and push proxies of a hit [gtk-gnutella emits 8].
MAX_ALTERNATES = 10
MAX_PUSH_PROXIES = 8
#: Places in the private area at which a GGEP block is tried.
MAX_GGEP_TRIES = 4

#: Flag bits; push has its value in byte 1 and its meaning in byte 2, the others the reverse.
BIT_PUSH = 0x01
BIT_BUSY = 0x04
BIT_UPLOADED = 0x08
BIT_MEASURED = 0x10
BIT_GGEP = 0x20

FIXED_BYTES = 11
SERVENT_ID_BYTES = 16

_FIXED = struct.Struct("<BH4sI")
_RECORD = struct.Struct("<II")
#: A separator of some file system, or a control character of C0, DEL or C1.
FORBIDDEN_IN_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")


@dataclass(frozen=True, slots=True)
class HitRecord:
    """One file.  `size` is the true one (LF applied), `extras` are the text extensions in order (URNs among them).

    `sha1` and `tth` come from whichever extension has them.  `size_field` is set only where the 32-bit field of the
    message does not follow from `size`, `trailing` is what stands after the GGEP block, mostly nothing.  A record made without
    extensions encodes the hashes and sizes it has.
    """

    index: int
    size: int
    name: str
    sha1: bytes | None = None
    tth: bytes | None = None
    ggep: Ggep | None = None
    extras: tuple[bytes, ...] = ()
    size_field: int | None = None
    trailing: bytes = b""

    @property
    def alternates(self) -> tuple[Address, ...]:
        """Other sources (GGEP ALT and ALT6), at most 10 of each; none where the vectors are broken."""
        return _hosts(self.ggep, "ALT", MAX_ALTERNATES)

    @property
    def created(self) -> int | None:
        """Seconds since 1970 (CT)."""
        raw = self.ggep.get("CT") if self.ggep is not None else None
        return int.from_bytes(raw, "little") if raw and len(raw) <= MAX_LE_BYTES else None

    @property
    def is_partial(self) -> bool:
        """The source has only a part of the file (PR0..PR4, PRU)."""
        return self.ggep is not None and any(
            key[:2] == "PR" and key[2:] in ("0", "1", "2", "3", "4", "U") for key in self.ggep
        )

    def encode(self) -> bytes:
        """The record's bytes."""
        ggep, extras = self._complete()
        items = [*extras, ggep.encode(nul_free=True)] if ggep is not None and ggep.items else extras
        field = self.size_field
        if field is None:
            field = self.size if self.size < LARGE_FILE else LARGE_FILE_FIELD
        name = self.name.encode("utf-8", "replace")
        return b"%b%b\0%b%b\0" % (_RECORD.pack(self.index, field), name, b"\x1c".join(items), self.trailing)

    def _complete(self) -> tuple[Ggep | None, tuple[bytes, ...]]:
        """Extensions with what the fields say and they lack."""
        ggep, extras = self.ggep, self.extras
        has_sha1, has_tth = _mentioned(extras + _items(self.trailing), ggep)
        missing: dict[str, bytes] = {}
        if self.sha1 is not None and not has_sha1:
            extras = (sha1_urn(self.sha1).encode("ascii"), *extras)
        if self.tth is not None and not has_tth:
            missing["TT"] = self.tth
        if self.size >= LARGE_FILE and self.size_field is None and (ggep is None or "LF" not in ggep):
            missing["LF"] = le_encode(self.size)
        if missing:
            ggep = (ggep or Ggep(())).adding(missing)
        return ggep, extras


@dataclass(frozen=True, slots=True)
class QueryHit:
    """Files of one servent.  The flags are None where the sender says nothing about them.

    `open_data` are the flag bytes and XML size as they came (None: made from the fields, which is how a flag of a received
    hit is changed); `private_head` and `private_tail` lie before and after the GGEP block.  A hit without trailer, as
    0.4 servents send, has an empty `vendor`.
    """

    kind: ClassVar[int] = QUERY_HIT
    address: Address
    speed: int
    records: tuple[HitRecord, ...]
    vendor: bytes
    servent_id: Guid
    needs_push: bool | None = None
    is_busy: bool | None = None
    has_uploaded: bool | None = None
    is_measured: bool | None = None
    ggep: Ggep | None = None
    xml: bytes = b""
    open_data: bytes | None = None
    private_head: bytes = b""
    private_tail: bytes = b""

    @property
    def push_proxies(self) -> tuple[Address, ...]:
        """Who passes a push on to the sender (PUSH and PUSH6), at most 8 of each."""
        return _hosts(self.ggep, "PUSH", MAX_PUSH_PROXIES)

    @property
    def ipv6(self) -> Address | None:
        """The sender's IPv6 address (GGEP 6), also where `address` is an IPv4 one."""
        return ipv6_of(self.ggep.get("6") if self.ggep is not None else None, self.address.port)

    @property
    def reads_tls(self) -> bool:
        """The listening port takes TLS."""
        return self.ggep is not None and "TLS" in self.ggep

    @property
    def can_browse(self) -> bool:
        """The sender lists all its files on request (BH)."""
        return self.ggep is not None and "BH" in self.ggep

    def encode(self) -> bytes:
        """The payload."""
        host, port = self.address
        parts = [_FIXED.pack(len(self.records), port, ipv4_bytes(host), self.speed)]
        parts += [record.encode() for record in self.records]
        if self.vendor:
            open_data = self._open_data() if self.open_data is None else self.open_data
            parts += (self.vendor, bytes((len(open_data),)), open_data, self.private_head)
            if self.ggep is not None:
                parts.append(self.ggep.encode())
            parts.append(self.private_tail)
            if self.xml:
                parts.append(self.xml + b"\0")
        parts.append(self.servent_id)
        return b"".join(parts)

    def _open_data(self) -> bytes:
        """Two flag bytes, which all servents read, and the XML size only where there is XML."""
        setter = BIT_PUSH if self.needs_push is not None else 0
        enabler = BIT_PUSH if self.needs_push else 0
        for bit, value in (
            (BIT_BUSY, self.is_busy),
            (BIT_UPLOADED, self.has_uploaded),
            (BIT_MEASURED, self.is_measured),
        ):
            if value is not None:
                enabler |= bit
                setter |= bit if value else 0
        if self.ggep is not None and self.ggep.items:
            enabler |= BIT_GGEP
            setter |= BIT_GGEP
        flags = bytes((enabler, setter))
        return flags + (len(self.xml) + 1).to_bytes(2, "little") if self.xml else flags

    @staticmethod
    def decode(payload: bytes) -> QueryHit:
        """BAD_HIT for what cannot be read, BOGUS_HIT for impossible names, sizes, addresses and servent ids."""
        stop = len(payload) - SERVENT_ID_BYTES
        if stop < FIXED_BYTES:
            raise RemoteViolation(DropReason.BAD_HIT, f"{len(payload)} bytes")
        count, port, ip, speed = _FIXED.unpack_from(payload)
        if not 0 < count <= MAX_RECORDS:
            raise RemoteViolation(DropReason.BAD_HIT, f"{count} records")
        servent_id = Guid(payload[stop:])
        if not port or not any(ip) or not any(servent_id):
            raise RemoteViolation(DropReason.BOGUS_HIT, "no address or no servent id")
        pos = FIXED_BYTES
        records: list[HitRecord] = []
        for _ in range(count):
            record, pos = _decode_record(payload, pos, stop)
            records.append(record)
        address = Address(ipv4_text(ip), port)
        if pos == stop:
            return QueryHit(address, speed, tuple(records), b"", servent_id)
        trailer = _decode_trailer(payload, pos, stop)
        if (ggep := trailer[4]) is not None:
            address = sender_of(ip, port, ggep.get("6"))
        return QueryHit(address, speed, tuple(records), payload[pos : pos + 4], servent_id, *trailer)


def _hosts(ggep: Ggep | None, key: str, limit: int) -> tuple[Address, ...]:
    if ggep is None:
        return ()
    try:
        return decode_hosts(ggep.get(key) or b"", limit) + decode_hosts6(ggep.get(key + "6") or b"", limit)
    except RemoteViolation:
        return ()


def _decode_record(payload: bytes, pos: int, stop: int) -> tuple[HitRecord, int]:
    name_at = pos + _RECORD.size
    name_end = payload.find(b"\0", name_at, stop)
    end = payload.find(b"\0", name_end + 1, stop) if name_end >= 0 else -1
    if end < 0:
        raise RemoteViolation(DropReason.BAD_HIT, "a record without its end")
    index, field = _RECORD.unpack_from(payload, pos)
    name = _decode_name(payload[name_at:name_end])
    if end == name_end + 1:
        return HitRecord(index, field, name, size_field=field if field >= LARGE_FILE else None), end + 1
    extras, ggep, trailing = _decode_extensions(payload[name_end + 1 : end])
    hashes = _told(extras + _items(trailing), ggep)
    size, size_field = _true_size(field, ggep)
    return HitRecord(index, size, name, hashes.sha1, hashes.tth, ggep, extras, size_field, trailing), end + 1


def _decode_name(raw: bytes) -> str:
    if not 0 < len(raw) <= MAX_NAME_BYTES:
        raise RemoteViolation(DropReason.BOGUS_HIT, f"a file name of {len(raw)} bytes")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        # Servents older than the UTF-8 rule wrote the character set of their desktop.
        name = raw.decode("latin-1")
    if FORBIDDEN_IN_NAME.search(name) or name in (".", ".."):
        raise RemoteViolation(DropReason.BOGUS_HIT, "a file name that is a path or has control characters")
    return name


def _items(raw: bytes) -> tuple[bytes, ...]:
    return tuple(raw.split(b"\x1c")) if raw else ()


def _decode_extensions(raw: bytes) -> tuple[tuple[bytes, ...], Ggep | None, bytes]:
    """Text items, the GGEP block, and what follows it; a block that cannot be read stays among the items as it is."""
    extras: tuple[bytes, ...] = ()
    block = raw
    if raw[0] != MAGIC:
        text, mark, rest = raw.partition(b"\x1c\xc3")
        extras = tuple(text.split(b"\x1c"))
        if not mark:
            return extras, None, b""
        block = mark[1:] + rest
    try:
        ggep, end = Ggep.decode(block)
    except RemoteViolation:
        return (*extras, block), None, b""
    return extras, ggep, block[end:]


def _told(extras: tuple[bytes, ...], ggep: Ggep | None) -> Urn:
    """The hashes that the extensions give: the first of each kind, text before GGEP; what cannot be read is passed over."""
    sha1: bytes | None = None
    tth: bytes | None = None
    for item in extras:
        if item[:4].lower() == b"urn:":
            try:
                urn = parse_urn(item.decode("latin-1"))
            except RemoteViolation:
                continue
            sha1, tth = sha1 or urn.sha1, tth or urn.tth
    if ggep is not None and (sha1 is None or tth is None):
        for urn in ggep_hashes(ggep):
            sha1, tth = sha1 or urn.sha1, tth or urn.tth
    return Urn(sha1, tth)


def _mentioned(extras: tuple[bytes, ...], ggep: Ggep | None) -> tuple[bool, bool]:
    """Whether some extension is there for a SHA-1, and for a tree root: the schemes only, which is all that encoding needs."""
    schemes = {item[4:8].lower() for item in extras if item[:4].lower() == b"urn:"}
    for key, value in ggep.items if ggep is not None else ():
        if key == "H":
            schemes.add(b"sha1" if value[:1] == b"\1" else b"bitp")
        elif key == "TT":
            schemes.add(b"tree")
        elif key == "u":
            schemes.add(value[:4].lower())
    return not schemes.isdisjoint((b"sha1", b"bitp")), not schemes.isdisjoint((b"bitp", b"tree", b"ttro"))


def _true_size(field: int, ggep: Ggep | None) -> tuple[int, int | None]:
    """The size, and the field where it does not follow from it."""
    raw = ggep.get("LF") if ggep is not None else None
    if not raw or len(raw) > MAX_LE_BYTES or not any(raw):
        return field, field if field >= LARGE_FILE else None
    size = int.from_bytes(raw, "little")
    if size > MAX_FILE_SIZE:
        raise RemoteViolation(DropReason.BOGUS_HIT, "a size beyond any file")
    expected = size if size < LARGE_FILE else LARGE_FILE_FIELD
    return size, None if field == expected else field


_Flag = bool | None
_Trailer = tuple[_Flag, _Flag, _Flag, _Flag, Ggep | None, bytes, bytes, bytes, bytes]


def _decode_trailer(payload: bytes, pos: int, stop: int) -> _Trailer:
    """What follows the vendor code, in the order of QueryHit's fields."""
    private_at = pos + 5 + payload[pos + 4] if pos + 5 <= stop else stop + 1
    if private_at > stop:
        raise RemoteViolation(DropReason.BAD_HIT, "a trailer cut short")
    open_data = payload[pos + 5 : private_at]
    if len(open_data) < 2:
        return None, None, None, None, None, b"", open_data, payload[private_at:stop], b""
    enabler, setter = open_data[0], open_data[1]
    xml_size = int.from_bytes(open_data[2:4], "little") if len(open_data) >= 4 else 0
    xml_at = stop - xml_size
    if xml_size <= 1 or xml_at < private_at or payload[stop - 1]:
        xml_at = stop
    xml = payload[xml_at : stop - 1] if xml_at < stop else b""
    ggep, at, end = None, xml_at, xml_at
    if enabler & setter & BIT_GGEP:
        ggep, at, end = _find_ggep(payload, private_at, xml_at)
    return (
        bool(enabler & BIT_PUSH) if setter & BIT_PUSH else None,
        bool(setter & BIT_BUSY) if enabler & BIT_BUSY else None,
        bool(setter & BIT_UPLOADED) if enabler & BIT_UPLOADED else None,
        bool(setter & BIT_MEASURED) if enabler & BIT_MEASURED else None,
        ggep,
        xml,
        open_data,
        payload[private_at:at],
        payload[end:xml_at],
    )


def _find_ggep(payload: bytes, pos: int, stop: int) -> tuple[Ggep | None, int, int]:
    """The first block from `pos` on that can be read, with its place; chat bytes and the like may stand before it."""
    for _ in range(MAX_GGEP_TRIES):
        at = payload.find(b"\xc3", pos, stop)
        if at < 0:
            break
        try:
            ggep, end = Ggep.decode(payload, at, stop)
        except RemoteViolation:
            pos = at + 1
        else:
            return ggep, at, end
    return None, stop, stop
