"""Conversations of real servents: every message after the handshakes is read and written back.

What is canonical.  All messages of the captures come back byte for byte, without exception.  Three things in them are not
rebuilt but kept as they came: the GGEP blocks (an encoder is free to deflate or COBS-code a value), the compressed data of
route table patches (any zlib stream will do), and the flag bytes of hits (senders fill unused bits in their own ways).
Rebuilt from the decoded values alone, all of these but the patches still give the same bytes, which is tested too.

What is not canonical, and occurs in no capture: NULs instead of 1C between the extensions of a query, or extensions in another
order than URNs, others, XML, GGEP; names and Bye texts that are not UTF-8 (read as Latin-1, written as UTF-8).  Such
messages are relayed by their own bytes, never by re-encoding.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import (
    HEADER_SIZE,
    Bye,
    Header,
    Hsep,
    Message,
    Ping,
    Pong,
    Query,
    QueryHit,
    RoutePatch,
    RouteReset,
    Unknown,
    VendorMessage,
    encode,
    parse_header,
    parse_payload,
)
from gnutella.protocol.vendor import FeaturesSupported, MessagesSupported, PushProxyRequest, TcpConnectBack, body_of

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.jsonl"))
#: Blank lines that end the blocks of each side's handshake.
BLOCKS = {"dialer": 2, "answerer": 1}


def streams(path: Path) -> dict[str, bytes]:
    """What each side sent after its part of the handshake."""
    sent = dict.fromkeys(BLOCKS, b"")
    for line in path.read_text().splitlines():
        row = json.loads(line)
        sent[row["from"]] += bytes.fromhex(row["hex"])
    return {side: data.split(b"\r\n\r\n", BLOCKS[side])[-1] for side, data in sent.items()}


def conversation(path: Path) -> list[tuple[Header, Message, bytes]]:
    found = []
    for data in streams(path).values():
        pos = 0
        while pos < len(data):
            header = parse_header(data, pos)
            end = pos + HEADER_SIZE + header.length
            payload = data[pos + HEADER_SIZE : end]
            assert len(payload) == header.length
            found.append((header, parse_payload(header.kind, payload), data[pos:end]))
            pos = end
    return found


ALL = [(path.stem, *row) for path in CAPTURES for row in conversation(path)]


def of_kind(kind: type[Any]) -> list[Any]:
    return [message for _, _, message, _ in ALL if type(message) is kind]


def rebuilt(value: Any) -> Any:
    """The value without the bytes that it keeps: GGEP blocks and flags are then made anew."""
    if isinstance(value, QueryHit):
        records = tuple(rebuilt(record) for record in value.records)
        value = replace(value, records=records, open_data=None)
    block = getattr(value, "ggep", None)
    return value if block is None else replace(value, ggep=Ggep(block.items))


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_message_of_a_capture_comes_back_byte_for_byte(path: Path) -> None:
    messages = conversation(path)
    assert len(messages) >= 15
    for header, message, wire in messages:
        assert not isinstance(message, Unknown)
        assert encode(header.guid, header.ttl, header.hops, message) == wire


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_message_of_a_capture_is_rebuilt_from_its_values(path: Path) -> None:
    for header, message, wire in conversation(path):
        assert encode(header.guid, header.ttl, header.hops, rebuilt(message)) == wire


def test_each_kind_that_real_servents_sent_is_there() -> None:
    expected = {Ping, Pong, Query, QueryHit, Bye, RouteReset, RoutePatch, VendorMessage, Hsep}
    assert {type(message) for _, _, message, _ in ALL} == expected


def test_the_queries_and_hits_are_understood() -> None:
    assert {query.text for query in of_kind(Query)} == {"purple"}
    assert {(query.max_hits, query.wants_ggep_h, query.wants_oob) for query in of_kind(Query)} == {(50, True, False)}
    hits = of_kind(QueryHit)
    assert len(hits) == 4
    for hit in hits:
        assert hit.vendor == b"GTKG"
        assert hit.reads_tls
        assert hit.ggep is not None
        assert "GTKGV" in hit.ggep
        song, movie = hit.records
        assert (song.size, movie.size) == (23, 3_000_000)
        assert song.name.startswith("purple elephant song")
        assert all(len(record.sha1) == 20 and len(record.tth) == 24 for record in hit.records)
        assert song.created == 0x6B02BAA3
    assert {(hit.address.host, hit.needs_push) for hit in hits} == {("10.77.0.1", False), ("10.77.0.2", True)}
    assert {(hit.address.host, hit.has_uploaded) for hit in hits} == {("10.77.0.1", True), ("10.77.0.2", False)}


def test_the_pongs_pings_and_byes_are_understood() -> None:
    pongs = of_kind(Pong)
    modern = [pong for pong in pongs if pong.vendor == b"GTKG"]
    assert modern
    assert all(pong.is_ultrapeer and pong.free_slots and pong.daily_uptime_s for pong in modern)
    assert {(pong.files, pong.is_ultrapeer) for pong in pongs if not pong.vendor} == {(1, False)}
    pings = of_kind(Ping)
    assert {ping.is_ultrapeer for ping in pings if ping.wants_packed_hosts} == {True, False}
    assert {(bye.code, bye.text) for bye in of_kind(Bye)} == {(200, "normal shutdown")}


def test_the_vendor_messages_are_understood() -> None:
    bodies = [body_of(message) for message in of_kind(VendorMessage)]
    assert None not in bodies
    listed = [body for body in bodies if isinstance(body, MessagesSupported)]
    assert all(len(body.messages) == 27 and (b"LIME", 11, 3) in body.messages for body in listed)
    features = [body for body in bodies if isinstance(body, FeaturesSupported)]
    assert all((b"HSEP", 1) in body.features for body in features)
    assert TcpConnectBack(6346) in bodies
    assert PushProxyRequest() in bodies


def test_the_route_tables_are_understood() -> None:
    assert {(reset.size, reset.infinity) for reset in of_kind(RouteReset)} == {(16384, 2), (65536, 7)}
    patches = {(patch.sequence, patch.count, patch.compressor, patch.bits) for patch in of_kind(RoutePatch)}
    assert patches == {(1, 1, 1, 4), (1, 1, 1, 1)}


def test_the_horizon_sizes_are_understood() -> None:
    assert {horizon.triples[0] for horizon in of_kind(Hsep)} == {(1, 2, 2929)}
