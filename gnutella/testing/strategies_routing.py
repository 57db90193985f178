"""Hypothesis strategies for routing: streams of messages as links carry them, from well-behaved to hostile.

GUIDs come from a small pool, so that duplicates, hits for known queries and pushes for known servents really occur.
"""

from __future__ import annotations

import ipaddress
import itertools

from hypothesis import strategies as st

from gnutella.protocol.kinds import BYE, PING, PONG, PUSH, QUERY, QUERY_HIT, encode_header
from gnutella.protocol.message import HitRecord, Pong, Push, Query, QueryHit
from gnutella.routing.blocklist import Range
from gnutella.testing.routers import OWN_SERVENT, guid_of
from gnutella.testing.strategies_protocol import messages
from gnutella.units import Address, Guid

#: GUIDs and servent ids that occur.
POOL = 6


def pooled_guids() -> st.SearchStrategy[Guid]:
    """One of few GUIDs."""
    return st.integers(1, POOL).map(guid_of)


def servent_ids() -> st.SearchStrategy[Guid]:
    """One of few servents, our own among them."""
    return st.integers(100, 100 + POOL).map(guid_of) | st.just(OWN_SERVENT)


def listen_addresses() -> st.SearchStrategy[Address]:
    """Where servents of a private network listen, and addresses where nobody can."""
    plausible = st.integers(1, 254).map(lambda last: Address(f"10.5.5.{last}", 6346))
    return plausible | st.sampled_from(
        (Address("255.255.255.255", 1), Address("224.0.0.1", 80), Address("8.8.8.8", 53))
    )


def payloads(kind: int) -> st.SearchStrategy[bytes]:
    """A readable payload of a routed kind."""
    if kind == PING:
        return st.just(b"")
    if kind == PONG:
        return st.builds(Pong, listen_addresses(), st.integers(0, 99), st.integers(0, 99)).map(Pong.encode)
    if kind == QUERY:
        texts = st.sampled_from(("hello", "hello world", "nothing", "x" * 300, "", " "))
        return st.builds(Query, texts).map(Query.encode)
    if kind == PUSH:
        return st.builds(Push, servent_ids(), st.integers(0, 9), listen_addresses()).map(Push.encode)
    record = st.builds(HitRecord, st.integers(0, 9), st.integers(0, 999), st.sampled_from(("a.txt", "b.ogg")))
    records = st.lists(record, min_size=1, max_size=3).map(tuple)
    hits = st.builds(QueryHit, listen_addresses(), st.just(1), records, st.just(b"TEST"), servent_ids(), st.booleans())
    return hits.map(QueryHit.encode)


def routed(ttls: st.SearchStrategy[int], hops: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """Whole readable messages of the five routed kinds."""

    def whole(kind: int) -> st.SearchStrategy[bytes]:
        return st.builds(
            lambda guid, ttl, hop, payload: encode_header(guid, kind, ttl, hop, len(payload)) + payload,
            pooled_guids(),
            ttls,
            hops,
            payloads(kind),
        )

    return st.sampled_from((PING, PONG, QUERY, QUERY, QUERY, QUERY_HIT, QUERY_HIT, PUSH)).flatmap(whole)


def polite() -> st.SearchStrategy[bytes]:
    """Whole messages within all limits of TTL and hops."""
    return routed(st.integers(1, 7), st.integers(0, 7))


def any_message() -> st.SearchStrategy[bytes]:
    """Whole messages of any kind, TTL and hops, readable or not; no Bye, which ends a link."""
    byte = st.integers(0, 255)
    kinds = byte.filter(lambda kind: kind != BYE)
    bodies = st.binary(max_size=60) | messages().map(lambda message: message.encode()[:2000])
    odd = st.builds(
        lambda guid, kind, ttl, hops, payload: encode_header(guid, kind, ttl, hops, len(payload)) + payload,
        pooled_guids(),
        kinds,
        byte,
        byte,
        bodies,
    )
    return polite() | odd | routed(byte, byte)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces; `places` are taken modulo its length."""
    marks = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in itertools.pairwise(marks)]


def cut_places() -> st.SearchStrategy[list[int]]:
    """Where to cut a stream."""
    return st.lists(st.integers(0, 100_000), max_size=12)


def ips() -> st.SearchStrategy[str]:
    """IP addresses as text, near each other often enough that ranges hold some."""
    near = st.integers(0, 300)
    return st.one_of(
        st.integers(0, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number))),
        near.map(lambda number: str(ipaddress.IPv4Address(0x0A000000 + number))),
        near.map(lambda number: str(ipaddress.IPv6Address((0x20010DB8 << 96) + number))),
    )


@st.composite
def blocked_ranges(draw: st.DrawFn) -> Range:
    """Ranges of both IP versions that overlap each other and `ips`."""
    version = draw(st.sampled_from((4, 6)))
    base = 0x0A000000 if version == 4 else 0x20010DB8 << 96
    first = draw(st.integers(0, 300))
    return Range(version, base + first, base + first + draw(st.integers(0, 100)))


def blocklist_line(blocked: Range) -> bytes:
    """A range as a line; IPv4 ones as in a P2P list."""
    make = ipaddress.IPv4Address if blocked.version == 4 else ipaddress.IPv6Address
    name = "Some Company:" if blocked.version == 4 else ""
    return f"{name}{make(blocked.first)}-{make(blocked.last)}\n".encode()
