"""Query hits of our own: what we tell of a shared file, so that every servent can ask for it.

The SHA-1 goes out as text `urn:sha1:`, which is all that LimeWire reads; GGEP H only to askers that said they read it, else TT
with the tree root; LF for large files, CT for their age (digest 2.5, pitfalls 7 to 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from gnutella import VENDOR_CODE
from gnutella.protocol.addresses import encode_hosts, encode_hosts6, ipv6_value
from gnutella.protocol.ggep import Ggep, le_encode
from gnutella.protocol.hit import (
    FIXED_BYTES,
    FORBIDDEN_IN_NAME,
    LARGE_FILE,
    MAX_NAME_BYTES,
    MAX_RECORDS,
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
#: Records kept ready, some 600 bytes each: what is asked for is asked for again (our own number).
MAX_READY_RECORDS = 4096


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
    return _record(file.index, file.name, file.size, file.sha1, file.tth, file.mtime, wants_ggep_h)


def _record(
    index: int, name: str, size: int, sha1: bytes | None, tth: bytes | None, mtime: int, wants_ggep_h: bool
) -> HitRecord:
    values: dict[str, bytes] = {}
    extras: tuple[bytes, ...] = ()
    if sha1 is not None:
        extras = (sha1_urn(sha1).encode("ascii"),)
    if sha1 is not None and wants_ggep_h:
        values["H"] = b"\x02" + sha1 + tth if tth is not None else b"\x01" + sha1
    elif tth is not None:
        values["TT"] = tth
    if size >= LARGE_FILE:
        values["LF"] = le_encode(size)
    if mtime > 0:
        values["CT"] = le_encode(mtime)
    ggep = Ggep.of(values) if values else None
    return HitRecord(index, size, wire_name(name), sha1, tth, ggep, extras)


def hit_payloads(
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
    ipv6: str = "",
) -> list[bytes]:
    """Payloads of hits for `files`, each with at most 10 records and about `max_bytes`; none for no files.

    `address` is where peers reach us; an IPv6 one, and `ipv6` where there is one beside it, goes into GGEP 6.  `is_busy`: all
    upload slots are taken.  `token`: what an asker wants to see in each hit that comes out of band (SO).
    """
    proxies = tuple(push_proxies)[:MAX_OWN_PROXIES]
    flags = needs_push, is_busy, has_uploaded
    # A token is for one asker and query, and not worth keeping.
    make = _empty_hit.__wrapped__ if token else _empty_hit
    empty = make(address, servent_id, speed_kbit, flags, reads_tls, can_browse, proxies, token, ipv6)
    room = max_bytes - len(empty)
    groups: list[list[bytes]] = []
    left = 0
    for file in files:
        told = _record_tail(file.name, file.size, file.sha1, file.tth, file.mtime, wants_ggep_h)
        record = file.index.to_bytes(4, "little") + told
        if not groups or len(record) > left or len(groups[-1]) == MAX_RECORDS:
            groups.append([])
            left = room
        groups[-1].append(record)
        left -= len(record)
    return [bytes((len(group),)) + empty[1:FIXED_BYTES] + b"".join(group) + empty[FIXED_BYTES:] for group in groups]


@lru_cache(maxsize=MAX_READY_RECORDS)
def _record_tail(name: str, size: int, sha1: bytes | None, tth: bytes | None, mtime: int, wants_ggep_h: bool) -> bytes:
    """A record after its index, which alone tells one node's copy of a file from another's."""
    return _record(0, name, size, sha1, tth, mtime, wants_ggep_h).encode()[4:]


@lru_cache(maxsize=MAX_READY_RECORDS)
def _empty_hit(
    address: Address,
    servent_id: Guid,
    speed_kbit: int,
    flags: tuple[bool, bool, bool],
    reads_tls: bool,
    can_browse: bool,
    proxies: tuple[Address, ...],
    token: bytes,
    ipv6: str,
) -> bytes:
    """A hit with everything but records."""
    ggep = _trailer(ipv6 or address.host, reads_tls, can_browse, proxies, token)
    return QueryHit(address, speed_kbit, (), VENDOR_CODE, servent_id, *flags, None, ggep).encode()


def _trailer(host: str, reads_tls: bool, can_browse: bool, proxies: tuple[Address, ...], token: bytes) -> Ggep | None:
    values: dict[str, bytes] = {}
    if token:
        values["SO"] = token
    if can_browse:
        values["BH"] = b""
    if ":" in host:
        values["6"] = ipv6_value(host)
    if reads_tls:
        values["TLS"] = b""
    if packed := encode_hosts(proxies):
        values["PUSH"] = packed
    if packed := encode_hosts6(proxies):
        values["PUSH6"] = packed
    return Ggep.of(values) if values else None
