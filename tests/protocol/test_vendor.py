"""Vendor messages: what the vectors and the captures hold, unknown ones, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol import vendor
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import VENDOR, VENDOR_STANDARD, parse_payload, payload_of
from gnutella.protocol.vendor import KNOWN, MAX_LISTED, Body, VendorMessage, body_of
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.testing import strategies_protocol as strategies
from gnutella.testing.strategies_vendor import bodies
from gnutella.units import Address, Guid

VECTORS = {
    vector["name"]: bytes.fromhex(vector["payload_hex"])
    for vector in json.loads((Path(__file__).parents[1] / "vectors/messages.json").read_text())["messages"]
    if vector["name"].startswith("vm_")
}
SERVENT_ID = Guid(bytes.fromhex("0f1e2d3c4b5a6978ff8796a5b4c3d200"))
URN = "urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"

BODIES: dict[str, Body] = {
    "vm_messages_supported": vendor.MessagesSupported(
        (
            (b"BEAR", 4, 1),
            (b"BEAR", 7, 1),
            (b"BEAR", 11, 1),
            (b"GTKG", 7, 2),
            (b"LIME", 11, 2),
            (b"LIME", 21, 1),
        )
    ),
    "vm_features_supported": vendor.FeaturesSupported(((b"WHAT", 1), (b"TLS!", 1))),
    "vm_tcp_connect_back": vendor.TcpConnectBack(6346),
    "vm_udp_connect_back_v1": vendor.UdpConnectBack(6346, SERVENT_ID),
    "vm_udp_connect_back_v2": vendor.UdpConnectBack(6346, None),
    "vm_hops_flow_0": vendor.HopsFlow(0),
    "vm_push_proxy_request": vendor.PushProxyRequest(),
    "vm_push_proxy_ack": vendor.PushProxyAck(Address("80.1.2.3", 6346)),
    "vm_query_status_request": vendor.QueryStatusRequest(),
    "vm_query_status_response": vendor.QueryStatus(37),
    "vm_reply_number_v2": vendor.OobReplies(25, True),
    "vm_reply_number_v3": vendor.OobReplies(25, True),
    "vm_oob_ack_v2": vendor.OobAck(10, None),
    "vm_oob_ack_v3": vendor.OobAck(10, bytes.fromhex("deadbeef")),
    "vm_oob_proxy_veto": vendor.OobProxyVeto(3),
    "vm_head_ping": vendor.HeadPing(3, URN, None),
    "vm_head_ping_guid": vendor.HeadPing(0x13, URN, Ggep.of({"PUSH": SERVENT_ID})),
}


def body(vendor_code: bytes, selector: int, version: int, data: bytes) -> Body | None:
    return body_of(VendorMessage(vendor_code, selector, version, data))


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_is_read(name: str) -> None:
    message = parse_payload(VENDOR, VECTORS[name])
    assert isinstance(message, VendorMessage)
    assert payload_of(message) == VECTORS[name]
    read = body_of(message)
    if name == "vm_head_pong_v2":
        assert isinstance(read, vendor.HeadPong)
        assert (read.code, read.queue, read.alternates) == (1, -4, (Address("24.1.2.3", 6346),))
        assert read.ggep.get("V") == b"TEST"
    else:
        assert read == BODIES[name]


def test_kind_32_stays_kind_32() -> None:
    message = parse_payload(VENDOR_STANDARD, VECTORS["vm_hops_flow_0"])
    assert isinstance(message, VendorMessage)
    assert message.is_standard
    assert message.kind == VENDOR_STANDARD


def test_labels_are_those_of_the_documentation() -> None:
    assert VendorMessage(b"BEAR", 4, 1).label == "BEAR/4v1"
    assert VendorMessage(bytes(4), 10, 0).label == "null/10v0"
    assert VendorMessage(b"\xff\xfe\0\1", 1, 1).label.isprintable() is False  # so that logs must repr it


@pytest.mark.parametrize(("code", "selector", "version"), [(b"XXXX", 1, 1), (b"BEAR", 4, 9), (b"LIME", 24, 1)])
def test_messages_that_are_not_known_here_are_none(code: bytes, selector: int, version: int) -> None:
    assert body(code, selector, version, b"anything") is None


def test_the_shapes_of_the_vectors_are_not_the_only_ones() -> None:
    assert body(b"LIME", 12, 1, b"\x05") == vendor.OobReplies(5, None)
    assert body(b"LIME", 13, 1, b"") == vendor.OobProxyVeto(0xFF)
    assert body(b"LIME", 7, 1, bytes.fromhex("50010203ca18")) == vendor.ConnectBackRedirect(Address("80.1.2.3", 6346))
    assert body(b"LIME", 8, 1, bytes.fromhex("50010203ca18")) == vendor.ConnectBackRedirect(Address("80.1.2.3", 6346))
    # LimeWire may append a second list, which is left alone.
    assert body(bytes(4), 10, 1, b"\1\0WHAT\1\0\1\0XXXX\1\0\0\0") == vendor.FeaturesSupported(((b"WHAT", 1),))
    empty = body(b"LIME", 24, 2, Ggep.of({"X": b""}).encode())
    assert isinstance(empty, vendor.HeadPong)
    assert (empty.code, empty.queue, empty.alternates) == (None, None, ())


@pytest.mark.parametrize("name", sorted(set(VECTORS) - {"vm_oob_proxy_veto"}))
def test_each_cut_of_a_vector_is_refused(name: str) -> None:
    payload = VECTORS[name]
    for size in range(len(payload)):
        with pytest.raises(RemoteViolation) as caught:
            message = parse_payload(VENDOR, payload[:size])
            assert isinstance(message, VendorMessage)
            body_of(message)
        assert caught.value.reason in (DropReason.BAD_VENDOR, DropReason.BAD_GGEP)


def test_lists_have_a_longest_length() -> None:
    most = MAX_LISTED.to_bytes(2, "little") + bytes(8 * MAX_LISTED)
    read = body(bytes(4), 0, 0, most)
    assert isinstance(read, vendor.MessagesSupported)
    assert len(read.messages) == MAX_LISTED
    with pytest.raises(RemoteViolation) as caught:
        body(bytes(4), 0, 0, b"\xff\xff" + bytes(8 * 0xFFFF))
    assert caught.value.reason is DropReason.BAD_VENDOR


@pytest.mark.parametrize("token", [None, b"", bytes(17)])
def test_an_ack_without_a_usable_token_is_refused(token: bytes | None) -> None:
    block = Ggep.of({"X": b"1"} if token is None else {"SO": token}).encode()
    with pytest.raises(RemoteViolation) as caught:
        body(b"LIME", 11, 3, b"\x05" + block)
    assert caught.value.reason is DropReason.BAD_VENDOR


def test_a_head_ping_for_a_broken_urn_is_refused() -> None:
    with pytest.raises(RemoteViolation) as caught:
        body(b"LIME", 23, 2, b"\0" + b"x" * 41)
    assert caught.value.reason is DropReason.BAD_URN


@given(st.sampled_from(sorted(KNOWN)), st.integers(0, 3), st.binary(max_size=60))
def test_any_data_is_read_or_refused(key: tuple[bytes, int], version: int, data: bytes) -> None:
    try:
        read = body(*key, version, data)
    except RemoteViolation as violation:
        assert violation.reason in (DropReason.BAD_VENDOR, DropReason.BAD_GGEP, DropReason.BAD_URN)
    else:
        assert (read is not None) == (version in KNOWN[key].versions)


@given(st.sampled_from(sorted(VECTORS)), st.data())
def test_damaged_vectors_are_read_or_refused(name: str, data: st.DataObject) -> None:
    payload = data.draw(strategies.damaged(st.just(VECTORS[name])))
    try:
        message = parse_payload(VENDOR, payload)
        assert isinstance(message, VendorMessage)
        body_of(message)
    except RemoteViolation as violation:
        assert violation.reason in (DropReason.BAD_VENDOR, DropReason.BAD_GGEP, DropReason.BAD_URN)
    else:
        assert payload_of(message) == payload


@given(bodies())
def test_whatever_we_send_is_read_as_it_was_meant(sent: Body) -> None:
    message = message_of(sent)
    assert body_of(VendorMessage.decode(message.encode())) == sent


@pytest.mark.parametrize(
    "name", ["vm_hops_flow_0", "vm_push_proxy_ack", "vm_reply_number_v3", "vm_query_status_response"]
)
def test_what_we_send_are_the_bytes_of_the_vectors(name: str) -> None:
    assert message_of(BODIES[name]).encode() == VECTORS[name]


def test_nobody_is_asked_to_dial_somebody_else() -> None:
    with pytest.raises(KeyError):
        message_of(vendor.ConnectBackRedirect(Address("80.1.2.3", 6346)))
