"""Payloads <-> values for every kind of message, and the one place to import them from.

    message = parse_payload(QUERY, payload)          # RemoteViolation is all that it raises
    payload_of(message) == payload                   # where the payload was written in canonical form
    encode(guid, ttl=4, hops=0, message=message)     # header and payload

What is canonical is listed in the test of the captures; in short: items of a query in our order with 1C between them.
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.errors import RemoteViolation
from gnutella.protocol.hit import MAX_RECORDS, HitRecord, QueryHit
from gnutella.protocol.kinds import (
    BYE,
    DHT,
    HEADER_SIZE,
    HSEP,
    KIND_NAMES,
    MAX_PAYLOAD,
    PING,
    PONG,
    PUSH,
    QUERY,
    QUERY_HIT,
    ROUTE_TABLE,
    RUDP,
    VENDOR,
    VENDOR_STANDARD,
    Header,
    encode_header,
    parse_header,
)
from gnutella.protocol.offer import OfferedFile, hit_payloads, make_record
from gnutella.protocol.ping import Ping, Pong, honest_kbytes
from gnutella.protocol.query import Query, make_query, normalise_text
from gnutella.protocol.signals import Bye, Hsep, Push, RoutePatch, RouteReset, Unknown, decode_route_table
from gnutella.protocol.vendor import VendorMessage
from gnutella.reasons import DropReason
from gnutella.units import Guid

__all__ = [
    "BYE",
    "DHT",
    "HEADER_SIZE",
    "HSEP",
    "KIND_NAMES",
    "MAX_PAYLOAD",
    "MAX_RECORDS",
    "PING",
    "PONG",
    "PUSH",
    "QUERY",
    "QUERY_HIT",
    "ROUTE_TABLE",
    "RUDP",
    "VENDOR",
    "VENDOR_STANDARD",
    "Bye",
    "Header",
    "HitRecord",
    "Hsep",
    "Message",
    "OfferedFile",
    "Ping",
    "Pong",
    "Push",
    "Query",
    "QueryHit",
    "RoutePatch",
    "RouteReset",
    "Unknown",
    "VendorMessage",
    "encode",
    "encode_header",
    "honest_kbytes",
    "hit_payloads",
    "make_query",
    "make_record",
    "normalise_text",
    "parse_header",
    "parse_payload",
    "payload_of",
]

Message = Ping | Pong | Query | QueryHit | Push | Bye | RouteReset | RoutePatch | VendorMessage | Hsep | Unknown

_DECODERS: dict[int, Callable[[bytes], Message]] = {
    PING: Ping.decode,
    PONG: Pong.decode,
    BYE: Bye.decode,
    ROUTE_TABLE: decode_route_table,
    VENDOR: VendorMessage.decode,
    VENDOR_STANDARD: lambda payload: VendorMessage.decode(payload, is_standard=True),
    PUSH: Push.decode,
    QUERY: Query.decode,
    QUERY_HIT: QueryHit.decode,
    HSEP: Hsep.decode,
}


def parse_payload(kind: int, payload: bytes) -> Message:
    """The message; a kind that is not read here gives Unknown.  RemoteViolation says which rule was broken."""
    if len(payload) > MAX_PAYLOAD:
        raise RemoteViolation(DropReason.MESSAGE_TOO_LARGE, f"{len(payload)} bytes")
    decode = _DECODERS.get(kind)
    return Unknown(kind, payload) if decode is None else decode(payload)


def payload_of(message: Message) -> bytes:
    """The payload of a message."""
    return message.encode()


def encode(guid: Guid, ttl: int, hops: int, message: Message) -> bytes:
    """The whole message: header and payload."""
    payload = message.encode()
    return encode_header(guid, message.kind, ttl, hops, len(payload)) + payload
