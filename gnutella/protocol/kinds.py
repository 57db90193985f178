"""The 23-byte message header and the kinds of message that it names.

GUID (16), kind, TTL, hops, payload length (32 bits little endian).  Digest 2.1.  The relay path does not use this module's
objects; it reads the same offsets in place (frames.py).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason
from gnutella.units import Guid

PING = 0x00
PONG = 0x01
BYE = 0x02
ROUTE_TABLE = 0x30
VENDOR = 0x31
VENDOR_STANDARD = 0x32
PUSH = 0x40
RUDP = 0x41
DHT = 0x44
QUERY = 0x80
QUERY_HIT = 0x81
HSEP = 0xCD

KIND_NAMES: dict[int, str] = {
    PING: "ping",
    PONG: "pong",
    BYE: "bye",
    ROUTE_TABLE: "route_table",
    VENDOR: "vendor",
    VENDOR_STANDARD: "vendor_standard",
    PUSH: "push",
    RUDP: "rudp",
    DHT: "dht",
    QUERY: "query",
    QUERY_HIT: "query_hit",
    HSEP: "hsep",
}

HEADER_SIZE = 23
#: Largest payload of any message: LimeWire and gtk-gnutella close the link above it.
MAX_PAYLOAD = 65536

_HEADER = struct.Struct("<16sBBBI")


class Header(NamedTuple):
    """What stands before each payload; `length` is that of the payload."""

    guid: Guid
    kind: int
    ttl: int
    hops: int
    length: int


def parse_header(buf: bytes, pos: int = 0) -> Header:
    """The header at `buf[pos]`.  MESSAGE_TOO_LARGE for a length beyond MAX_PAYLOAD, GARBAGE for less than 23 bytes."""
    if len(buf) - pos < HEADER_SIZE:
        raise RemoteViolation(DropReason.GARBAGE, "less than a header")
    guid, kind, ttl, hops, length = _HEADER.unpack_from(buf, pos)
    if length > MAX_PAYLOAD:
        raise RemoteViolation(DropReason.MESSAGE_TOO_LARGE, f"{length} bytes announced")
    return Header(Guid(guid), kind, ttl, hops, length)


def encode_header(guid: Guid, kind: int, ttl: int, hops: int, length: int) -> bytes:
    """The 23 bytes."""
    return _HEADER.pack(guid, kind, ttl, hops, length)
