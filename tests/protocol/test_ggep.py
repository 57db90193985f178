"""GGEP: vectors of real clients with their reject list, codings, bombs, limits."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.protocol.addresses import MAX_HOSTS, decode_hosts, decode_hosts6, encode_hosts, encode_hosts6
from gnutella.protocol.ggep import (
    FLAG_COBS,
    MAX_INFLATED,
    MAX_ITEMS,
    MAX_VALUE,
    Ggep,
    cobs_decode,
    cobs_encode,
    encode_length,
    inflate,
    le_decode,
    le_encode,
)
from gnutella.reasons import DropReason
from gnutella.testing import strategies_protocol as strategies
from gnutella.units import Address

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/ggep.json").read_text())


def refused(raw: bytes) -> RemoteViolation:
    with pytest.raises(RemoteViolation) as caught:
        Ggep.decode(raw)
    assert caught.value.reason is DropReason.BAD_GGEP
    return caught.value


def block(flags: int, key: bytes, value: bytes) -> bytes:
    return b"\xc3" + bytes((0x80 | flags | len(key),)) + key + encode_length(len(value)) + value


@pytest.mark.parametrize("vector", VECTORS["lengths"], ids=lambda v: str(v["length"]))
def test_length_vectors(vector: dict[str, Any]) -> None:
    length = vector["length"]
    assert encode_length(length).hex() == vector["hex"]
    raw = b"\xc3\x81X" + bytes.fromhex(vector["hex"]) + bytes(length)
    assert Ggep.decode(raw) == (Ggep((("X", bytes(length)),)), len(raw))


@pytest.mark.parametrize("vector", VECTORS["cobs"], ids=range(len(VECTORS["cobs"])))
def test_cobs_vectors(vector: dict[str, Any]) -> None:
    raw, coded = bytes.fromhex(vector["raw"]), bytes.fromhex(vector["cobs"])
    assert cobs_decode(coded) == raw
    if "note" not in vector:  # the form with a needless 01 at the end is read, not written
        assert cobs_encode(raw) == coded


@pytest.mark.parametrize("vector", VECTORS["blocks"], ids=lambda v: v["name"])
def test_block_vectors(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["hex"])
    ours = Ggep.of({item["id"]: bytes.fromhex(item["data"]) for item in vector["items"]})
    ggep, end = Ggep.decode(wire)
    assert (ggep, end) == (ours, len(wire))
    assert ggep.encode() == wire
    deflated = [item["id"] for item in vector["items"] if "deflate" in item["encode"]]
    built = ours.encode(nul_free=any("cobs" in item["encode"] for item in vector["items"]), deflate=deflated)
    if deflated:  # any zlib stream will do
        assert Ggep.decode(built)[0] == ours
        assert len(built) < sum(len(value) for _, value in ours.items)
    else:
        assert built == wire


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["why"])
def test_reject_list(vector: dict[str, Any]) -> None:
    refused(bytes.fromhex(vector["hex"]))


def test_value_vectors() -> None:
    values = {(vector["key"], vector["meaning"]): bytes.fromhex(vector["hex"]) for vector in VECTORS["values"]}
    assert le_decode(values["DU", "7261 seconds average daily uptime"]) == 7261
    assert le_decode(values["DU", "0 seconds"]) == 0
    assert le_decode(values["LF", "file size 5000000000"]) == 5_000_000_000
    assert le_encode(2**31) == values["LF", "2^31 = 2147483648"]
    hosts = (Address("24.1.2.3", 6346), Address("66.7.8.9", 10000))
    assert decode_hosts(values["IPP", "24.1.2.3:6346 and 66.7.8.9:10000"]) == hosts
    assert encode_hosts(hosts) == values["IPP", "24.1.2.3:6346 and 66.7.8.9:10000"]


@given(strategies.ggep_blocks(), st.booleans(), st.binary(max_size=4))
def test_blocks_go_there_and_back(ggep: Ggep, nul_free: bool, after: bytes) -> None:
    wire = ggep.encode(nul_free=nul_free)
    assert not (nul_free and b"\0" in wire)
    back, end = Ggep.decode(b"xy" + wire + after, 2)
    assert (back, end) == (ggep, 2 + len(wire))
    assert back.encode(nul_free=nul_free) == wire
    assert list(back) == [key for key, _ in ggep.items]
    assert len(back) == len(ggep.items)


@given(strategies.ggep_blocks())
def test_a_block_that_came_with_nuls_is_coded_anew_where_none_may_be(ggep: Ggep) -> None:
    back = Ggep.decode(ggep.encode())[0]
    coded = back.encode(nul_free=True)
    assert b"\0" not in coded
    assert Ggep.decode(coded)[0] == ggep


@given(st.binary(max_size=600))
def test_cobs_goes_there_and_back(raw: bytes) -> None:
    coded = cobs_encode(raw)
    assert b"\0" not in coded
    assert cobs_decode(coded) == raw


@pytest.mark.parametrize("coded", ["00", "0500", "03aa", "ff00", "02aa00", "04aa00aa", "ff" + "78" * 253])
def test_broken_cobs_is_refused(coded: str) -> None:
    refused(block(FLAG_COBS, b"X", bytes.fromhex(coded)))


@given(st.binary(max_size=80) | strategies.damaged(strategies.ggep_blocks().map(lambda g: g.encode(nul_free=True))))
def test_any_bytes_are_a_block_or_refused(raw: bytes) -> None:
    try:
        ggep, end = Ggep.decode(raw)
    except RemoteViolation as violation:
        assert violation.reason is DropReason.BAD_GGEP
    else:
        assert 4 <= end <= len(raw)
        assert 0 < len(ggep) <= MAX_ITEMS
        assert Ggep.decode(ggep.encode())[0] == ggep


def test_the_first_of_two_values_of_a_key_counts() -> None:
    ggep = Ggep.decode(b"\xc3\x01X\x41a\x81X\x41b")[0]
    assert ggep.get("X") == b"a"
    assert "X" in ggep
    assert "x" not in ggep
    assert ggep.adding({"X": b"c", "Y": b""}).items == (("X", b"c"), ("Y", b""))


def test_a_block_ends_where_it_is_told_to() -> None:
    wire = Ggep.of({"SO": b"1234"}).encode()
    with pytest.raises(RemoteViolation):
        Ggep.decode(wire, 0, len(wire) - 1)
    assert Ggep.decode(wire + b"\xc3", 0, len(wire))[1] == len(wire)


def test_more_keys_than_the_limit_are_refused() -> None:
    most = {f"K{number}": b"" for number in range(MAX_ITEMS)}
    assert len(Ggep.decode(Ggep.of(most).encode())[0]) == MAX_ITEMS
    refused(Ggep.of(most | {"one": b"more"}).encode())


def test_a_deflate_bomb_is_refused_at_the_limit() -> None:
    fits, bomb = (zlib.compress(bytes(size)) for size in (MAX_INFLATED, MAX_INFLATED + 1))
    assert len(Ggep.decode(block(0x20, b"X", fits))[0].items[0][1]) == MAX_INFLATED
    assert "beyond" in str(refused(block(0x20, b"X", bomb)))
    assert "beyond" in str(refused(block(0x20, b"X", zlib.compress(bytes(100_000_000)))))


def test_many_values_share_the_limit_of_inflated_bytes() -> None:
    half = zlib.compress(bytes(MAX_INFLATED // 2))
    first = b"\xc3\x21A" + encode_length(len(half)) + half
    assert len(Ggep.decode(first + b"\xa1B" + encode_length(len(half)) + half)[0]) == 2
    refused(first + b"\x21B" + encode_length(len(half)) + half + block(0x20, b"C", zlib.compress(b"x"))[1:])


def test_raw_deflate_is_read_as_well_as_zlib() -> None:
    packer = zlib.compressobj(wbits=-15)
    raw = packer.compress(b"hosts " * 30) + packer.flush()
    assert Ggep.decode(block(0x20, b"X", raw))[0].get("X") == b"hosts " * 30
    assert inflate(zlib.compress(b"abc"), 3) == b"abc"


@pytest.mark.parametrize("size", [0, 1, 5, 20])
def test_a_deflated_value_that_stops_early_is_refused(size: int) -> None:
    refused(block(0x20, b"X", zlib.compress(b"some words that do not repeat")[:size]))


@given(st.integers(0, 2**64 - 1))
def test_minimal_numbers_go_there_and_back(number: int) -> None:
    raw = le_encode(number)
    assert le_decode(raw) == number
    assert not raw.endswith(b"\0")


def test_a_number_has_at_most_eight_bytes() -> None:
    with pytest.raises(RemoteViolation) as caught:
        le_decode(bytes(9))
    assert caught.value.reason is DropReason.BAD_GGEP


@given(st.lists(strategies.addresses(), max_size=8))
def test_host_vectors_go_there_and_back(hosts: list[Address]) -> None:
    assert decode_hosts(encode_hosts(hosts)) == tuple(hosts)
    mixed = [*hosts, Address("2001:db8::1", 7)]
    assert encode_hosts(mixed) == encode_hosts(hosts)
    assert decode_hosts6(encode_hosts6(mixed)) == (Address("2001:db8::1", 7),)


def test_host_vectors_have_limits() -> None:
    many = [Address("10.0.0.1", port) for port in range(1, MAX_HOSTS + 5)]
    assert decode_hosts(encode_hosts(many)) == tuple(many[:MAX_HOSTS])
    for read, size in ((decode_hosts, 7), (decode_hosts6, 12)):
        with pytest.raises(RemoteViolation):
            read(bytes(size))


def test_what_we_cannot_write_is_our_mistake() -> None:
    for values in ({"": b""}, {"sixteen letters!": b""}, {"nul\0": b""}, {"X": bytes(MAX_VALUE + 1)}):
        with pytest.raises(LocalMisuse):
            Ggep.of(values).encode()
    with pytest.raises(LocalMisuse):
        encode_hosts([Address("a.name.example", 1)])
    assert Ggep(()).encode() == b""
