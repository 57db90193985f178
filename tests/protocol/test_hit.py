"""Query hits: our own as each client reads them, and the hits of hostile and of very old servents."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella import VENDOR_CODE
from gnutella.errors import RemoteViolation
from gnutella.protocol.ggep import Ggep, le_encode
from gnutella.protocol.hit import LARGE_FILE, MAX_ALTERNATES, MAX_FILE_SIZE, MAX_NAME_BYTES, MAX_PUSH_PROXIES
from gnutella.protocol.message import MAX_RECORDS, HitRecord, QueryHit, hit_payloads, make_record, payload_of
from gnutella.protocol.offer import MAX_OWN_HIT, wire_name
from gnutella.protocol.urn import bitprint_urn, sha1_urn
from gnutella.reasons import DropReason
from gnutella.testing import strategies_protocol as strategies
from gnutella.units import Address, Guid

SHA1 = bytes(range(20))
TTH = bytes(range(1, 25))
ID = Guid(bytes(range(16)))
HOST = Address("80.1.2.3", 6346)
URN = sha1_urn(SHA1).encode()
TRAILER = b"TEST\x02\x1c\x01"


@dataclass(frozen=True)
class File:
    """A row of the catalog, as far as a hit needs it."""

    index: int = 7
    name: str = "hello.txt"
    size: int = 1234
    sha1: bytes | None = SHA1
    tth: bytes | None = None
    mtime: int = 0


def raw_record(name: bytes = b"a", extensions: bytes = b"", field: int = 5) -> bytes:
    return struct.pack("<II", 1, field) + name + b"\0" + extensions + b"\0"


def raw_hit(*records: bytes, count: int | None = None, trailer: bytes = TRAILER, servent_id: bytes = ID) -> bytes:
    number = len(records) if count is None else count
    return struct.pack("<BH4BI", number, 6346, 80, 1, 2, 3, 350) + b"".join(records) + trailer + servent_id


def reason_of(payload: bytes) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        QueryHit.decode(payload)
    return caught.value.reason


def made(files: list[File], address: Address = HOST, **told: Any) -> list[QueryHit]:
    return [QueryHit.decode(payload) for payload in hit_payloads(files, address, ID, **told)]


def ours(file: File, **told: Any) -> QueryHit:
    (hit,) = made([file], **told)
    return hit


def record_bytes(hit: QueryHit) -> bytes:
    """The extension block of the only record of a hit."""
    payload = payload_of(hit)
    start = payload.index(b"\0", 19) + 1
    return payload[start : payload.index(b"\0", start)]


# -- ours ---------------------------------------------------------------------------------------------------------------


def test_our_hit_has_the_sha1_as_text_whether_or_not_h_is_read() -> None:
    assert record_bytes(ours(File())) == URN
    for tth, value in ((None, b"\1" + SHA1), (TTH, b"\2" + SHA1 + TTH)):
        block = record_bytes(ours(File(tth=tth), wants_ggep_h=True))
        assert block.startswith(URN + b"\x1c\xc3")
        assert Ggep.decode(block[len(URN) + 1 :])[0] == Ggep.of({"H": value})


def test_our_hit_has_tree_root_size_and_time_in_ggep() -> None:
    file = File(tth=TTH, size=5_000_000_000, mtime=1_000_000_000)
    record = QueryHit.decode(payload_of(ours(file))).records[0]
    assert (record.sha1, record.tth, record.size, record.created) == (SHA1, TTH, file.size, file.mtime)
    assert record.ggep is not None
    assert list(record.ggep) == ["TT", "LF", "CT"]
    assert payload_of(ours(file))[15:19] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize("size", [0, 1, LARGE_FILE - 1, LARGE_FILE, 0xFFFFFFFF, 0x100000000, MAX_FILE_SIZE])
def test_sizes_on_both_sides_of_each_border(size: int) -> None:
    payload = payload_of(ours(File(size=size)))
    record = QueryHit.decode(payload).records[0]
    assert record.size == size
    assert (record.ggep is not None and "LF" in record.ggep) == (size >= LARGE_FILE)
    assert struct.unpack_from("<I", payload, 15) == (size if size < LARGE_FILE else 0xFFFFFFFF,)


def test_our_trailer_is_what_each_client_reads() -> None:
    payload = payload_of(ours(File()))
    assert payload[-16:] == ID
    assert payload[-23:-16] == VENDOR_CODE + b"\x02\x0c\x01"


def test_our_trailer_says_that_our_files_can_be_listed_where_they_can() -> None:
    payload = payload_of(ours(File(), can_browse=True))
    assert payload.endswith(VENDOR_CODE + b"\x02\x2c\x21\xc3\x82BH\x40" + ID)
    assert QueryHit.decode(payload).can_browse
    assert not QueryHit.decode(payload_of(ours(File()))).can_browse


@pytest.mark.parametrize("needs_push", [True, False])
@pytest.mark.parametrize("is_busy", [True, False])
@pytest.mark.parametrize("has_uploaded", [True, False])
def test_push_has_its_value_in_the_first_byte_and_the_others_in_the_second(
    needs_push: bool, is_busy: bool, has_uploaded: bool
) -> None:
    told = {"needs_push": needs_push, "is_busy": is_busy, "has_uploaded": has_uploaded}
    payload = payload_of(ours(File(), **told))
    first, second = payload[-18:-16]
    assert first == 0x0C | needs_push
    assert second == 0x01 | is_busy << 2 | has_uploaded << 3
    hit = QueryHit.decode(payload)
    assert (hit.needs_push, hit.is_busy, hit.has_uploaded, hit.is_measured) == (needs_push, is_busy, has_uploaded, None)


def test_many_files_make_several_hits_within_the_bounds() -> None:
    files = [File(index=number, name=f"file {number} " + "x" * 200, tth=TTH) for number in range(25)]
    hits = made(files, wants_ggep_h=True, reads_tls=True, push_proxies=[HOST] * 9)
    assert [record.index for hit in hits for record in hit.records] == list(range(25))
    for hit in hits:
        payload = payload_of(hit)
        assert len(payload) <= MAX_OWN_HIT
        assert QueryHit.decode(payload).records == hit.records
        assert hit.reads_tls
        assert hit.push_proxies == (HOST,) * 4
    small = made([File(index=number) for number in range(21)])
    assert [len(hit.records) for hit in small] == [10, 10, 1]
    assert made([]) == []


def test_an_ipv6_node_tells_its_address_in_ggep() -> None:
    here = Address("2001:db8::1", 6346)
    (hit,) = made([File()], here, push_proxies=[here])
    read = QueryHit.decode(payload_of(hit))
    assert payload_of(hit)[3:7] == bytes((127, 0, 0, 0)), "for those that read IPv4 only"
    assert read.address == here
    assert read.ipv6 == here
    assert read.push_proxies == (here,)


@given(st.text(min_size=1, max_size=300))
def test_whatever_a_shared_file_is_called_its_record_is_one_that_we_would_read(name: str) -> None:
    record = make_record(File(name=name), wants_ggep_h=False)
    assert QueryHit.decode(payload_of(ours(File(name=name)))).records == (record,)


def test_names_that_peers_refuse_are_mended() -> None:
    assert wire_name("a/b\\c\nd\x9b") == "a_b_c_d_"
    assert [wire_name(name) for name in ("", ".", "..", "...")] == ["_", "_", "_", "..."]
    assert wire_name("caf\udce9") == "caf?"
    assert wire_name("é" * 400) == "é" * (MAX_NAME_BYTES // 2)


def test_a_file_without_hashes_has_a_bare_record() -> None:
    assert make_record(File(sha1=None), wants_ggep_h=True) == HitRecord(7, 1234, "hello.txt")


# -- theirs ---------------------------------------------------------------------------------------------------------------


@given(strategies.hits())
def test_a_hit_goes_there_and_back(hit: QueryHit) -> None:
    back = QueryHit.decode(payload_of(hit))
    plain = (
        "address",
        "speed",
        "vendor",
        "servent_id",
        "needs_push",
        "is_busy",
        "has_uploaded",
        "is_measured",
        "ggep",
        "xml",
    )
    for name in plain:
        assert getattr(back, name) == getattr(hit, name)
    assert [(r.index, r.size, r.name, r.sha1, r.tth) for r in back.records] == [
        (r.index, r.size, r.name, r.sha1, r.tth) for r in hit.records
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"/etc/passwd",
        b"../x",
        b"..",
        b".",
        b"a\\b",
        b"a\nb",
        b"a\rb",
        b"a\x1bb",
        b"a\x7fb",
        b"\xc2\x85",
        b"caf\x85",
    ],
)
def test_a_name_that_is_a_path_or_has_control_characters_is_bogus(name: bytes) -> None:
    assert reason_of(raw_hit(raw_record(name))) is DropReason.BOGUS_HIT


@pytest.mark.parametrize("name", ["..foo", "...", "a..b", ". .", "ü" * 300, "~", "con", "a:b", "\u202egpj.exe"])
def test_a_name_that_is_only_strange_is_kept(name: str) -> None:
    assert QueryHit.decode(raw_hit(raw_record(name.encode()))).records[0].name == name


def test_a_name_in_latin_1_is_read() -> None:
    assert QueryHit.decode(raw_hit(raw_record(b"caf\xe9"))).records[0].name == "café"


def test_a_name_has_a_longest_length() -> None:
    assert QueryHit.decode(raw_hit(raw_record(b"x" * MAX_NAME_BYTES))).records[0].name == "x" * MAX_NAME_BYTES
    assert reason_of(raw_hit(raw_record(b"x" * (MAX_NAME_BYTES + 1)))) is DropReason.BOGUS_HIT


@pytest.mark.parametrize("count", [0, 2, 10, 11, 255])
def test_a_hit_that_claims_records_which_are_not_there_is_refused(count: int) -> None:
    assert reason_of(raw_hit(raw_record(), count=count)) is DropReason.BAD_HIT


def test_a_hit_has_at_most_ten_records() -> None:
    assert len(QueryHit.decode(raw_hit(*[raw_record()] * MAX_RECORDS)).records) == MAX_RECORDS
    assert reason_of(raw_hit(*[raw_record()] * (MAX_RECORDS + 1))) is DropReason.BAD_HIT


@pytest.mark.parametrize("size", [0, 12, 26])
def test_a_hit_of_255_records_in_a_few_bytes_is_refused(size: int) -> None:
    assert reason_of((b"\xff" * size)[:size]) is DropReason.BAD_HIT


def test_each_cut_of_a_hit_is_refused_or_read_without_what_is_missing() -> None:
    whole = raw_hit(raw_record(b"name", URN), trailer=TRAILER, servent_id=b"I" * 16)
    for size in range(len(whole)):
        try:
            hit = QueryHit.decode(whole[:size])
        except RemoteViolation as violation:
            assert violation.reason in (DropReason.BAD_HIT, DropReason.BOGUS_HIT)
        else:  # the servent id is then made of bytes of the trailer
            assert hit.servent_id == whole[size - 16 : size]


@pytest.mark.parametrize(("at", "value"), [(1, b"\0\0"), (3, b"\0\0\0\0")], ids=["port 0", "address 0.0.0.0"])
def test_a_hit_without_an_address_is_bogus(at: int, value: bytes) -> None:
    payload = raw_hit(raw_record())
    assert reason_of(payload[:at] + value + payload[at + len(value) :]) is DropReason.BOGUS_HIT


def test_a_hit_without_a_servent_id_is_bogus() -> None:
    assert reason_of(raw_hit(raw_record(), servent_id=bytes(16))) is DropReason.BOGUS_HIT


def test_a_hit_without_trailer_is_read() -> None:
    hit = QueryHit.decode(raw_hit(raw_record(), trailer=b""))
    assert (hit.vendor, hit.needs_push, hit.open_data) == (b"", None, None)
    assert payload_of(hit) == raw_hit(raw_record(), trailer=b"")


@pytest.mark.parametrize("trailer", [b"T", b"TEST", b"TEST\x03\x1c\x01", b"TEST\xff\x1c\x01"])
def test_a_trailer_cut_short_is_refused(trailer: bytes) -> None:
    assert reason_of(raw_hit(raw_record(), trailer=trailer)) is DropReason.BAD_HIT


@pytest.mark.parametrize(
    "trailer", [b"TEST\0", b"TEST\x01\x1c", b"TEST\0private", b"TEST\x06\x1c\x01\xff\xffzz", TRAILER]
)
def test_trailers_of_odd_servents_are_read_and_kept(trailer: bytes) -> None:
    payload = raw_hit(raw_record(), trailer=trailer)
    assert payload_of(QueryHit.decode(payload)) == payload


def test_ggep_in_the_trailer_counts_only_if_both_bits_say_so() -> None:
    block = Ggep.of({"BH": b""}).encode()
    for flags, found in ((b"\x20\x20", True), (b"\x20\x00", False), (b"\x00\x20", False)):
        for before in (b"", b"\1", b"\xc3\x00", b"\xc3\xff"):
            payload = raw_hit(raw_record(), trailer=b"TEST\x02" + flags + before + block + b"after")
            hit = QueryHit.decode(payload)
            assert hit.can_browse is found
            assert payload_of(hit) == payload


def test_a_private_area_full_of_magic_bytes_costs_a_few_tries() -> None:
    block = Ggep.of({"BH": b""}).encode()
    assert not QueryHit.decode(raw_hit(raw_record(), trailer=b"TEST\x02\x20\x20" + b"\xc3" * 9000 + block)).can_browse


def test_a_flag_of_a_received_hit_can_be_changed() -> None:
    hit = QueryHit.decode(raw_hit(raw_record()))
    busy = QueryHit.decode(payload_of(replace(hit, is_busy=True, open_data=None)))
    assert (hit.is_busy, busy.is_busy) == (False, True)


def test_hashes_come_from_text_first_and_broken_ones_are_passed_over() -> None:
    other = bytes(20)
    block = Ggep.of({"H": b"\1" + other, "TT": TTH}).encode(nul_free=True)
    record = QueryHit.decode(
        raw_hit(raw_record(b"a", b"urn:sha1:broken\x1c" + URN + b"\x1c192 kbps\x1c" + block))
    ).records[0]
    assert (record.sha1, record.tth) == (SHA1, TTH)
    assert record.extras == (b"urn:sha1:broken", URN, b"192 kbps")
    bitprint = bitprint_urn(SHA1, TTH).encode()
    record = QueryHit.decode(raw_hit(raw_record(b"a", bitprint))).records[0]
    assert (record.sha1, record.tth) == (SHA1, TTH)


@pytest.mark.parametrize(
    "extensions",
    [
        b"\xc3",
        b"\xc3\x81X\x7f",
        b"192 kbps\x1c\xc3\xa9t\xc3\xa9",
        b"\x1c\x1c",
        b"\x1c" + Ggep.of({"CT": b"\1"}).encode(),
        URN + b"\x1c\xc3\xa1X\x41x",
        Ggep.of({"CT": b"\1"}).encode() + b"\x1c" + URN,
    ],
)
def test_extensions_that_cannot_be_read_cost_only_themselves(extensions: bytes) -> None:
    hit = QueryHit.decode(raw_hit(raw_record(b"name", extensions)))
    assert hit.records[0].name == "name"
    assert (hit.records[0].sha1 == SHA1) == (URN in extensions)
    assert payload_of(hit) == raw_hit(raw_record(b"name", extensions))


@pytest.mark.parametrize("field", [0, 5, LARGE_FILE, 0xFFFFFFFE, 0xFFFFFFFF])
@pytest.mark.parametrize("large", [None, b"", b"\0\0", bytes(range(9)), le_encode(7), le_encode(5_000_000_000)])
def test_each_pair_of_size_fields_is_read_and_written_back(field: int, large: bytes | None) -> None:
    block = b"" if large is None else Ggep.of({"LF": large}).encode(nul_free=True)
    payload = raw_hit(raw_record(b"a", block, field))
    hit = QueryHit.decode(payload)
    usable = bool(large) and any(large or b"") and len(large or b"") <= 8
    assert hit.records[0].size == (int.from_bytes(large or b"", "little") if usable else field)
    assert payload_of(hit) == payload


def test_a_size_beyond_any_file_is_bogus() -> None:
    block = Ggep.of({"LF": le_encode(MAX_FILE_SIZE + 1)}).encode(nul_free=True)
    assert reason_of(raw_hit(raw_record(b"a", block))) is DropReason.BOGUS_HIT


def test_lists_of_hosts_are_bounded_and_broken_ones_are_empty() -> None:
    entry = b"\x18\1\2\3\xca\x18"
    block = Ggep.of({"ALT": entry * 20}).encode(nul_free=True)
    trailer = b"TEST\x02\x20\x20" + Ggep.of({"PUSH": entry * 20}).encode()
    hit = QueryHit.decode(raw_hit(raw_record(b"a", block), trailer=trailer))
    assert len(hit.records[0].alternates) == MAX_ALTERNATES
    assert len(hit.push_proxies) == MAX_PUSH_PROXIES
    trailer = b"TEST\x02\x20\x20" + Ggep.of({"PUSH": entry + b"x"}).encode()
    assert QueryHit.decode(raw_hit(raw_record(), trailer=trailer)).push_proxies == ()


def test_xml_that_claims_more_than_there_is_stays_private() -> None:
    payload = raw_hit(raw_record(), trailer=b"TEST\x04\x1c\x01\xff\xffshort\0")
    hit = QueryHit.decode(payload)
    assert (hit.xml, hit.private_head) == (b"", b"short\0")
    assert payload_of(hit) == payload
