"""Query hits of our own: what we tell of a shared file, so that every servent can ask for it.

The SHA-1 goes out as text `urn:sha1:`, which is all that LimeWire reads; GGEP H only to askers that said they read it, else TT
with the tree root; LF for large files, CT for their age (digest 2.5, pitfalls 7 to 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gnutella import VENDOR_CODE
from gnutella.protocol.addresses import encode_hosts, encode_hosts6
from gnutella.protocol.ggep import Ggep, le_encode
from gnutella.protocol.hit import (
    FIXED_BYTES,
    FORBIDDEN_IN_NAME,
    LARGE_FILE,
    MAX_NAME_BYTES,
    MAX_RECORDS,
    SERVENT_ID_BYTES,
    HitRecord,
    QueryHit,
)
from gnutella.protocol.urn import sha1_urn
from gnutella.units import Address, Guid

#: Bytes at which gtk-gnutella starts another hit on a TCP link.
MAX_OWN_HIT = 2016
#: The same for a datagram that is not sent again when it is lost.
MAX_DATAGRAM_HIT = 645
#: Push proxies told: LimeWire reads 4.
MAX_OWN_PROXIES = 4


class OfferedFile(Protocol):
    """What a hit says of one shared file; the catalog's rows have it."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha1(self) -> bytes | None: ...
    @property
    def tth(self) -> bytes | None: ...
    @property
    def mtime(self) -> int: ...


def wire_name(name: str) -> str:
    """`name` with the characters replaced that peers refuse, cut to what they read."""
    safe = FORBIDDEN_IN_NAME.sub("_", name.encode("utf-8", "replace").decode("utf-8"))
    raw = safe.encode("utf-8")
    if len(raw) > MAX_NAME_BYTES:
        safe = raw[:MAX_NAME_BYTES].decode("utf-8", "ignore")
    return "_" if safe in ("", ".", "..") else safe


def make_record(file: OfferedFile, wants_ggep_h: bool) -> HitRecord:
    """The record of one file."""
    values: dict[str, bytes] = {}
    extras: tuple[bytes, ...] = ()
    if file.sha1 is not None:
        extras = (sha1_urn(file.sha1).encode("ascii"),)
    if file.sha1 is not None and wants_ggep_h:
        values["H"] = b"\x02" + file.sha1 + file.tth if file.tth is not None else b"\x01" + file.sha1
    elif file.tth is not None:
        values["TT"] = file.tth
    if file.size >= LARGE_FILE:
        values["LF"] = le_encode(file.size)
    if file.mtime > 0:
        values["CT"] = le_encode(file.mtime)
    ggep = Ggep.of(values) if values else None
    return HitRecord(file.index, file.size, wire_name(file.name), file.sha1, file.tth, ggep, extras)


def make_hits(
    files: Iterable[OfferedFile],
    address: Address,
    servent_id: Guid,
    *,
    wants_ggep_h: bool = False,
    needs_push: bool = False,
    is_busy: bool = False,
    has_uploaded: bool = False,
    speed_kbit: int = 0,
    reads_tls: bool = False,
    can_browse: bool = False,
    push_proxies: Iterable[Address] = (),
    max_bytes: int = MAX_OWN_HIT,
    token: bytes = b"",
) -> list[QueryHit]:
    """Hits for `files`, each with at most 10 records and about `max_bytes` of payload; none for no files.

    `address` is where peers reach us; an IPv6 one goes into GGEP 6.  `is_busy`: all upload slots are taken.  `token`: what an
    asker wants to see in each hit that comes out of band (SO).
    """
    ggep = _trailer(address, reads_tls, can_browse, list(push_proxies)[:MAX_OWN_PROXIES], token)
    room = max_bytes - FIXED_BYTES - SERVENT_ID_BYTES - 7 - (len(ggep.encode()) if ggep is not None else 0)
    groups: list[list[HitRecord]] = []
    left = 0
    for file in files:
        record = make_record(file, wants_ggep_h)
        size = len(record.encode())
        if not groups or size > left or len(groups[-1]) == MAX_RECORDS:
            groups.append([])
            left = room
        groups[-1].append(record)
        left -= size
    return [
        QueryHit(
            address, speed_kbit, tuple(group), VENDOR_CODE, servent_id, needs_push, is_busy, has_uploaded, None, ggep
        )
        for group in groups
    ]


def _trailer(address: Address, reads_tls: bool, can_browse: bool, proxies: list[Address], token: bytes) -> Ggep | None:
    values: dict[str, bytes] = {}
    if token:
        values["SO"] = token
    if can_browse:
        values["BH"] = b""
    if ":" in address.host:
        values["6"] = encode_hosts6([address])[:16]
    if reads_tls:
        values["TLS"] = b""
    if packed := encode_hosts(proxies):
        values["PUSH"] = packed
    if packed := encode_hosts6(proxies):
        values["PUSH6"] = packed
    return Ggep.of(values) if values else None
