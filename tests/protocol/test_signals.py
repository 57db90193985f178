"""Pings, pongs, pushes, byes, route table updates and horizon sizes: limits and refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import (
    BYE,
    HSEP,
    PING,
    PONG,
    PUSH,
    ROUTE_TABLE,
    Bye,
    Hsep,
    Ping,
    Pong,
    Push,
    RoutePatch,
    RouteReset,
    honest_kbytes,
    parse_payload,
    payload_of,
)
from gnutella.protocol.ping import MAX_EXTRA
from gnutella.protocol.signals import MAX_BYE, MAX_HSEP_TRIPLES
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

ID = Guid(bytes(range(16)))
HOST = Address("80.1.2.3", 6346)
PONG_BYTES = payload_of(Pong(HOST, 1, 2))
PUSH_BYTES = payload_of(Push(ID, 7, HOST))
BLOCK = Ggep.of({"TLS": b""}).encode()


def reason_of(kind: int, payload: bytes) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        parse_payload(kind, payload)
    return caught.value.reason


EXTENDED = [
    (PING, b"", DropReason.BAD_PING),
    (PONG, PONG_BYTES, DropReason.BAD_PONG),
    (PUSH, PUSH_BYTES, DropReason.BAD_PUSH),
]


@pytest.mark.parametrize(("kind", "fixed", "reason"), EXTENDED, ids=["ping", "pong", "push"])
def test_what_follows_the_fixed_part_is_one_block_and_nuls(kind: int, fixed: bytes, reason: DropReason) -> None:
    for after in (b"", b"\0", b"\0\0", BLOCK, BLOCK + b"\0"):
        assert payload_of(parse_payload(kind, fixed + after)) == fixed + after
    assert reason_of(kind, fixed + BLOCK + BLOCK) is reason
    assert reason_of(kind, fixed + b"\0x") is reason
    for broken in (b"xyz", BLOCK[:-1], b"\xc3"):
        assert reason_of(kind, fixed + broken) is DropReason.BAD_GGEP


@pytest.mark.parametrize(("kind", "fixed", "reason"), EXTENDED, ids=["ping", "pong", "push"])
def test_extensions_have_a_largest_size(kind: int, fixed: bytes, reason: DropReason) -> None:
    largest = fixed + BLOCK + bytes(MAX_EXTRA - len(BLOCK))
    assert payload_of(parse_payload(kind, largest)) == largest
    assert reason_of(kind, fixed + BLOCK + bytes(MAX_EXTRA - len(BLOCK) + 1)) is reason


def test_what_is_cut_short_is_refused() -> None:
    assert reason_of(PONG, PONG_BYTES[:-1]) is DropReason.BAD_PONG
    assert reason_of(PUSH, PUSH_BYTES[:-1]) is DropReason.BAD_PUSH
    assert reason_of(BYE, b"\xc8") is DropReason.BAD_BYE
    assert reason_of(HSEP, bytes(23)) is DropReason.BAD_HSEP
    assert reason_of(HSEP, b"") is DropReason.BAD_HSEP
    for payload in (b"", b"\0", b"\0\0\0\1\0", b"\0\0\0\1\0\7\7", b"\1\1\1\0", b"\2\0\0\1\0\7"):
        assert reason_of(ROUTE_TABLE, payload) is DropReason.BAD_ROUTE_TABLE


def test_a_push_to_nowhere_is_refused() -> None:
    assert reason_of(PUSH, payload_of(Push(ID, 7, Address("80.1.2.3", 0)))) is DropReason.BAD_PUSH
    assert reason_of(PUSH, payload_of(Push(ID, 7, Address("0.0.0.0", 1)))) is DropReason.BAD_PUSH


def test_a_bye_has_a_largest_size() -> None:
    largest = Bye(200, "x" * (MAX_BYE - 3))
    assert parse_payload(BYE, payload_of(largest)) == largest
    assert reason_of(BYE, payload_of(Bye(200, "x" * (MAX_BYE - 2)))) is DropReason.BAD_BYE


def test_horizon_sizes_reach_seven_hops() -> None:
    assert parse_payload(HSEP, bytes(24 * MAX_HSEP_TRIPLES)) == Hsep(((0, 0, 0),) * MAX_HSEP_TRIPLES)
    assert reason_of(HSEP, bytes(24 * (MAX_HSEP_TRIPLES + 1))) is DropReason.BAD_HSEP


@pytest.mark.parametrize(
    ("payload", "bye"),
    [
        (b"\xc8\0", Bye(200, "", "", b"")),
        (b"\xc8\0no end", Bye(200, "no end", "", b"")),
        (b"\xc8\0caf\xe9\0", Bye(200, "café")),
        (b"\xc8\0text\0more", Bye(200, "text", "", b"\0more")),
        (b"\xc8\0text\r\nServer: x\r\n\0", Bye(200, "text", "Server: x\r\n")),
    ],
)
def test_byes_of_odd_servents_are_read(payload: bytes, bye: Bye) -> None:
    assert parse_payload(BYE, payload) == bye


def test_route_table_updates_keep_numbers_that_make_no_sense_for_the_table_to_judge() -> None:
    assert parse_payload(ROUTE_TABLE, b"\0\3\0\0\0\0") == RouteReset(3, 0)
    assert parse_payload(ROUTE_TABLE, b"\1\0\0\x09\x63") == RoutePatch(0, 0, 9, 99, b"")


@given(st.integers(0, 2**40))
def test_no_share_is_taken_for_an_ultrapeers_mark(kbytes: int) -> None:
    told = honest_kbytes(kbytes)
    assert not Pong(HOST, 0, told).is_ultrapeer
    assert told in (kbytes, kbytes - 1, 0xFFFFFFFF)
    assert honest_kbytes(8) == 7


def test_an_ultrapeer_is_known_by_up_or_by_its_kilobytes() -> None:
    assert Pong(HOST, 0, 8).is_ultrapeer
    assert not Pong(HOST, 0, 4).is_ultrapeer
    assert Pong(HOST, 0, 9, Ggep.of({"UP": b"\1\2\3"})).is_ultrapeer


def test_values_in_pongs_that_cannot_be_read_are_as_if_not_there() -> None:
    pong = Pong(HOST, 0, 9, Ggep.of({"DU": bytes(9), "UP": b"\1", "IPP": b"short", "6": b"\1", "VC": b"G"}))
    assert (pong.daily_uptime_s, pong.free_slots, pong.packed_hosts, pong.ipv6) == (None, None, (), None)
    bare = Pong(HOST, 0, 9)
    assert (bare.daily_uptime_s, bare.free_slots, bare.packed_hosts, bare.ipv6, bare.vendor) == (
        None,
        None,
        (),
        None,
        b"",
    )


def test_ipv6_addresses_stand_in_ggep() -> None:
    six = Ggep.of({"6": bytes.fromhex("20010db8000000000000000000000001")})
    there = Address("2001:db8::1", 6346)
    assert Pong(HOST, 0, 0, six).ipv6 == there
    assert Push(ID, 0, HOST, six).ipv6 == there
    assert payload_of(Pong(there, 0, 0))[2:6] == bytes((127, 0, 0, 0))
    assert Push(ID, 0, HOST).ipv6 is None


def test_an_empty_scp_asks_as_a_leaf() -> None:
    assert Ping(Ggep.of({"SCP": b""})).wants_packed_hosts
    assert not Ping(Ggep.of({"SCP": b""})).is_ultrapeer
    assert not Ping().wants_packed_hosts
