"""Every kind of message: vectors of real clients, there and back, and any bytes at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import (
    HEADER_SIZE,
    KIND_NAMES,
    MAX_PAYLOAD,
    PING,
    Bye,
    Header,
    Hsep,
    Message,
    Ping,
    Pong,
    Push,
    Query,
    RoutePatch,
    RouteReset,
    Unknown,
    encode,
    encode_header,
    parse_header,
    parse_payload,
    payload_of,
)
from gnutella.reasons import DropReason
from gnutella.testing import strategies_protocol as strategies
from gnutella.units import Address, Guid

DOCUMENT = json.loads((Path(__file__).parents[1] / "vectors/messages.json").read_text())
VECTORS: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in DOCUMENT["messages"]}
SERVENT_ID = Guid(bytes.fromhex(DOCUMENT["conventions"]["servent_guid"]))
SHA1_TEXT = "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"
SHA1 = bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709")
TTH = bytes.fromhex("5d9ed00a030e638bdb753a6a24fb900e5a63b8e73e6c25b6")
HOST = Address("80.1.2.3", 6346)

#: What any payload may be refused for.
REASONS = {
    DropReason.BAD_PING,
    DropReason.BAD_PONG,
    DropReason.BAD_QUERY,
    DropReason.QUERY_TOO_LONG,
    DropReason.BAD_HIT,
    DropReason.BOGUS_HIT,
    DropReason.BAD_PUSH,
    DropReason.BAD_BYE,
    DropReason.BAD_HSEP,
    DropReason.BAD_GGEP,
    DropReason.BAD_URN,
    DropReason.BAD_VENDOR,
    DropReason.BAD_ROUTE_TABLE,
}


def message(name: str) -> Any:
    vector = VECTORS[name]
    return parse_payload(int(vector["header"]["func"], 16), bytes.fromhex(vector["payload_hex"]))


def ggep_of(read: Any) -> dict[str, bytes]:
    assert isinstance(read.ggep, Ggep)
    return dict(read.ggep.items)


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_is_read_and_written_back_byte_for_byte(name: str) -> None:
    vector = VECTORS[name]
    wire = bytes.fromhex(vector["hex"])
    header = parse_header(wire)
    expected = vector["header"]
    assert header.guid.hex() == expected["guid"]
    assert header[1:] == (int(expected["func"], 16), expected["ttl"], expected["hops"], expected["size"])
    read = parse_payload(header.kind, wire[HEADER_SIZE:])
    assert not isinstance(read, Unknown)
    assert encode(header.guid, header.ttl, header.hops, read) == wire


def test_vectors_of_pings() -> None:
    assert message("ping_alive") == Ping()
    assert message("ping_udp_scp_leaf") == Ping(Ggep.of({"SCP": b"\0"}))
    assert not message("ping_udp_scp_leaf").is_ultrapeer
    assert message("ping_udp_scp_ultra_tls").is_ultrapeer
    assert message("ping_udp_scp_ultra_tls").wants_packed_hosts
    assert not message("ping_udp_query_key_request").wants_packed_hosts


def test_vectors_of_pongs() -> None:
    assert message("pong_plain") == Pong(HOST, 12, 3456)
    assert not message("pong_plain").is_ultrapeer
    assert message("pong_plain").daily_uptime_s is None
    modern = message("pong_ultrapeer_ggep")
    assert (modern.address, modern.files, modern.kbytes) == (HOST, 12, 4096)
    assert modern.is_ultrapeer
    assert (modern.daily_uptime_s, modern.free_slots, modern.vendor) == (7261, (25, 4), b"GTKG")
    packed = message("pong_udp_ipp_tls")
    assert packed.packed_hosts == (Address("24.1.2.3", 6346), Address("66.7.8.9", 10000))
    assert ggep_of(packed)["IPP_TLS"] == b"\x40"
    caches = ggep_of(message("pong_phc_deflated"))
    assert caches["PHC"] == b"24.1.2.3:9999&tls=1\n66.7.8.9\n80.5.6.7:6346\n"
    assert caches["IP"].hex() == "c904050631d4"
    assert ggep_of(message("pong_query_key")) == {"QK": bytes.fromhex("8badf00d")}


def test_vectors_of_queries() -> None:
    assert message("query_plain") == Query("gnutella howto", 0x8000)
    flagged = message("query_flags_no_ext")
    assert (flagged.text, flagged.is_firewalled, flagged.wants_ggep_h, flagged.max_hits) == ("red hat", True, True, 32)
    by_urn = message("query_urn_huge")
    assert (by_urn.urns, by_urn.full_text) == (("urn:sha1:" + SHA1_TEXT,), "")
    assert [urn.sha1 for urn in by_urn.hashes] == [SHA1]
    full = message("query_text_urn_xml_ggep")
    assert (full.text, full.urns, full.extras) == ("album", (), (b"urn:sha1:",))
    assert full.xml == '<audio title="x"/>'
    assert ggep_of(full) == {"M": b"\x04", "PR": b""}
    assert ggep_of(message("query_whats_new")) == {"WH": b"\1"}
    assert message("query_oob_v3").wants_oob
    assert message("query_index_all").text == "    "
    long = message("query_long_xq")
    assert (long.text, long.full_text) == ("unbelievably linux", "unbelievably long linux distribution name")


def test_vectors_of_hits() -> None:
    plain = message("hit_minimal_qhd")
    assert (plain.address, plain.speed, plain.vendor, plain.servent_id) == (HOST, 350, b"TEST", SERVENT_ID)
    assert (plain.needs_push, plain.is_busy, plain.has_uploaded, plain.is_measured) == (False, False, False, False)
    (record,) = plain.records
    assert (record.index, record.size, record.name, record.sha1) == (7, 1234567, "hello.txt", None)
    assert plain.ggep is None


def test_vector_of_a_hit_with_urn_tree_and_sources() -> None:
    hit = message("hit_urn_ggep")
    (record,) = hit.records
    assert (record.name, record.size, record.sha1, record.tth, record.created) == ("empty.bin", 0, SHA1, TTH, 10**9)
    assert record.alternates == (Address("24.0.2.3", 6346), Address("66.7.8.9", 10000))
    assert (hit.needs_push, hit.can_browse, hit.reads_tls) == (True, True, True)
    assert hit.push_proxies == (Address("66.7.8.9", 6346),)


def test_vector_of_a_hit_for_a_large_file() -> None:
    hit = message("hit_bitprint_largefile")
    (record,) = hit.records
    assert (record.size, record.sha1, record.tth) == (5_000_000_000, SHA1, TTH)
    assert (hit.needs_push, hit.has_uploaded) == (False, True)
    assert ggep_of(hit) == {"FW": b"\1"}


def test_vector_of_a_hit_with_xml_and_chat_byte() -> None:
    hit = message("hit_limewire_xml")
    assert [(record.name, record.size, record.sha1) for record in hit.records] == [
        ("a.mp3", 100, SHA1),
        ("b.mp3", 200, None),
    ]
    assert hit.xml.startswith(b"{plaintext}<?xml")
    assert hit.xml.endswith(b"</audios>")
    assert hit.private_head == b"\0"
    assert hit.can_browse


def test_vector_of_a_hit_for_a_partial_file() -> None:
    hit = message("hit_partial")
    assert hit.records[0].is_partial
    assert hit.records[0].sha1 == SHA1
    assert ggep_of(hit) == {"SO": bytes.fromhex("01020304")}


def test_vectors_of_signals() -> None:
    assert message("push") == Push(SERVENT_ID, 7, Address("80.9.8.7", 6346))
    assert not message("push").wants_tls
    assert message("push_tls").wants_tls
    assert message("push_fw2fw").wants_firewall_transfer
    assert message("bye_200") == Bye(200, "Servent shutdown")
    assert message("bye_503_headers") == Bye(503, "Too many connections", "Server: Test/1.0\r\n\r\n")
    assert message("qrp_reset_65536") == RouteReset(65536, 7)
    assert message("qrp_patch_16slots_raw") == RoutePatch(1, 1, 0, 4, bytes.fromhex("00000a00000000a0"))
    assert message("qrp_patch_16slots_1bit") == RoutePatch(1, 1, 0, 1, bytes.fromhex("0402"))
    assert message("hsep") == Hsep(((1, 12, 3456), (33, 400, 700000)))


@given(strategies.guids(), st.integers(0, 255), st.integers(0, 255), strategies.messages())
def test_messages_go_there_and_back(guid: Guid, ttl: int, hops: int, value: Message) -> None:
    wire = encode(guid, ttl, hops, value)
    header = parse_header(wire)
    assert header == Header(guid, value.kind, ttl, hops, len(wire) - HEADER_SIZE)
    back = parse_payload(header.kind, wire[HEADER_SIZE:])
    assert type(back) is type(value)
    assert payload_of(back) == wire[HEADER_SIZE:]


@given(strategies.headers(), st.binary(max_size=3))
def test_headers_go_there_and_back(header: Header, before: bytes) -> None:
    wire = before + encode_header(*header)
    assert parse_header(wire, len(before)) == header


@pytest.mark.parametrize("length", [MAX_PAYLOAD + 1, 1 << 31, 0xFFFFFFFF])
def test_a_header_that_announces_too_much_is_refused(length: int) -> None:
    with pytest.raises(RemoteViolation) as caught:
        parse_header(encode_header(SERVENT_ID, PING, 1, 0, length))
    assert caught.value.reason is DropReason.MESSAGE_TOO_LARGE


def test_less_than_a_header_is_refused() -> None:
    with pytest.raises(RemoteViolation) as caught:
        parse_header(bytes(30), 8)
    assert caught.value.reason is DropReason.GARBAGE


def test_more_than_any_message_may_have_is_refused() -> None:
    assert parse_payload(0x99, bytes(MAX_PAYLOAD)) == Unknown(0x99, bytes(MAX_PAYLOAD))
    for kind in (*KIND_NAMES, 0x99):
        with pytest.raises(RemoteViolation) as caught:
            parse_payload(kind, bytes(MAX_PAYLOAD + 1))
        assert caught.value.reason is DropReason.MESSAGE_TOO_LARGE


@given(st.integers(0, 255), st.binary(max_size=40))
def test_a_kind_that_is_not_read_is_kept_as_it_is(kind: int, payload: bytes) -> None:
    if kind not in KIND_NAMES:
        assert parse_payload(kind, payload) == Unknown(kind, payload)
        assert payload_of(Unknown(kind, payload)) == payload


def check_any_payload(kind: int, payload: bytes) -> None:
    try:
        read = parse_payload(kind, payload)
    except RemoteViolation as violation:
        assert violation.reason in REASONS
    else:
        again = parse_payload(kind, payload_of(read))
        assert payload_of(again) == payload_of(read)


@given(st.sampled_from(sorted(KIND_NAMES)), st.binary(max_size=120))
def test_any_bytes_are_a_message_or_refused(kind: int, payload: bytes) -> None:
    check_any_payload(kind, payload)


@given(st.data())
def test_damaged_messages_are_read_or_refused(data: st.DataObject) -> None:
    value = data.draw(strategies.messages())
    check_any_payload(value.kind, data.draw(strategies.damaged(st.just(payload_of(value)))))


@given(st.sampled_from(sorted(VECTORS)), st.data())
def test_damaged_vectors_are_read_or_refused(name: str, data: st.DataObject) -> None:
    vector = VECTORS[name]
    sound = st.just(bytes.fromhex(vector["payload_hex"]))
    check_any_payload(int(vector["header"]["func"], 16), data.draw(strategies.damaged(sound)))
