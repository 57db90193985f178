"""NAT-PMP and PCP datagrams, byte by byte after their RFCs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.portmap import (
    MAX_DATAGRAM,
    MappingAnswer,
    natpmp_ask_address,
    natpmp_map,
    parse_mapping,
    pcp_map,
)
from gnutella.reasons import DropReason

NONCE = bytes(range(12))
PCP_HEAD = bytes.fromhex("02810000 00000e10 00000007") + bytes(12)
PCP_MAPPING = NONCE + bytes.fromhex("06000000 18ca 1b58 00000000000000000000ffff 18010203")


def test_natpmp_questions_are_those_of_rfc_6886() -> None:
    assert natpmp_ask_address() == b"\0\0"
    assert natpmp_map(6346, 7000, 7200, is_tcp=True) == bytes.fromhex("0002 0000 18ca 1b58 00001c20")
    assert natpmp_map(6346, 0, 0, is_tcp=False) == bytes.fromhex("0001 0000 18ca 0000 00000000")


def test_pcp_questions_are_those_of_rfc_6887() -> None:
    four = pcp_map(NONCE, "192.168.1.5", 6346, 7000, 3600, is_tcp=True)
    head = "02010000 00000e10 00000000000000000000ffff c0a80105"
    assert four == bytes.fromhex(head) + NONCE + bytes.fromhex("06000000 18ca 1b58 00000000000000000000ffff 00000000")
    six = pcp_map(NONCE, "2001:db8::5", 6346, 6346, 0, is_tcp=False)
    assert len(six) == 60 and six[36] == 17 and six[-16:] == bytes(16)


def test_natpmp_answers_are_read() -> None:
    address = parse_mapping(bytes.fromhex("0080 0000 00000007 18010203"))
    assert address == MappingAnswer(0, 0, 7, host="24.1.2.3")
    mapped = parse_mapping(bytes.fromhex("0082 0000 00000007 18ca 1b58 00001c20"))
    assert mapped == MappingAnswer(0, 0, 7, True, 6346, 7000, 7200)
    assert not parse_mapping(bytes.fromhex("0081 0000 00000007 18ca 1b58 00001c20")).is_tcp
    refused = parse_mapping(bytes.fromhex("0082 0002 00000007 18ca 0000 00000000"))
    assert (refused.result, refused.port, refused.meaning) == (2, 6346, "not authorised")
    assert parse_mapping(bytes.fromhex("0081 0001 00000007")).meaning == "unsupported version"


def test_pcp_answers_are_read() -> None:
    mapped = parse_mapping(PCP_HEAD + PCP_MAPPING)
    assert mapped == MappingAnswer(2, 0, 7, True, 6346, 7000, 3600, "24.1.2.3", NONCE)
    refused = parse_mapping(bytes.fromhex("02810008 0000001e 00000007") + bytes(12))
    assert (refused.result, refused.meaning, refused.lifetime_s) == (8, "no resources", 30)
    assert parse_mapping(bytes.fromhex("028100ff 0000001e 00000007") + bytes(12)).meaning == "result 255"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\x80\0\0\0\0\0",  # too short
        natpmp_ask_address() + bytes(10),  # a question
        bytes.fromhex("0083 0000 00000007 18ca 1b58 00001c20"),  # an unknown opcode
        bytes.fromhex("0080 0000 00000007 18010203 00"),  # too long
        bytes.fromhex("0182 0000 00000007 18ca 1b58 00001c20"),  # version 1
        PCP_HEAD,  # success without a mapping
        PCP_HEAD + PCP_MAPPING + b"\0",  # no multiple of four
        PCP_HEAD + PCP_MAPPING.replace(b"\x06", b"\x07"),  # neither TCP nor UDP
        bytes((2, 0x82)) + (PCP_HEAD + PCP_MAPPING)[2:],  # opcode PEER
        PCP_HEAD + PCP_MAPPING + bytes(MAX_DATAGRAM - 56),
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        parse_mapping(data)
    assert caught.value.reason is DropReason.BAD_MAPPING


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        answer = parse_mapping(data)
    except RemoteViolation as violation:
        assert violation.reason is DropReason.BAD_MAPPING
    else:
        assert answer.meaning and 0 <= answer.external_port < 65536
