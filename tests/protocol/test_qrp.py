"""Query routing tables: hashes and tables of real clients, patches there and back, hostile ones refused."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol import qrp
from gnutella.protocol.qrp import RouteTable
from gnutella.protocol.signals import RoutePatch, RouteReset, decode_route_table
from gnutella.protocol.words import keyword_index_words
from gnutella.reasons import DropReason
from gnutella.testing.strategies_sharing import route_tables

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors/qrp.json").read_text())
WHOLE = [table for table in VECTORS["tables"] if "payloads" in table and "omitted" not in table["payloads"][-1]]
STEPPED = [table for table in VECTORS["tables"] if "steps" in table]


def received(table: RouteTable, payloads: list[str]) -> RouteTable:
    for payload in payloads:
        table.receive(decode_route_table(bytes.fromhex(payload)))
    return table


def refused(table: RouteTable, message: RouteReset | RoutePatch) -> str:
    with pytest.raises(RemoteViolation) as caught:
        table.receive(message)
    assert caught.value.reason is DropReason.BAD_ROUTE_TABLE
    return caught.value.detail


@pytest.mark.parametrize("case", VECTORS["spec_vectors"], ids=lambda case: f"{case['word']!r}-{case['bits']}")
def test_hashes_of_the_proposal(case: dict[str, Any]) -> None:
    assert qrp.slot(case["word"], case["bits"]) == case["hash"]


@pytest.mark.parametrize("case", VECTORS["hash_vectors"], ids=lambda case: case["word"][:40])
def test_hashes_of_real_clients(case: dict[str, Any]) -> None:
    assert qrp.hash32(case["word"]) == int(case["hash32"], 16)
    for bits in (13, 14, 16, 17, 20, 21):
        assert qrp.slot(case["word"], bits) == case[f"bits{bits}"]
    unlowered = case.get("gtkg_hash32_of_unlowered_input", case["hash32"])
    assert qrp.hash32_exact(case["word"]) == int(unlowered, 16)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case["encoding"])
def test_tables_of_limewire_are_read(case: dict[str, Any]) -> None:
    table = received(RouteTable(), case["payloads"])
    assert table.is_complete
    assert table.present() == case["present_slots"]
    assert len(table.slots) == case["table_size"]
    assert all(table.has(word) for word in case.get("words_after") or case["words"])


@pytest.mark.parametrize("case", STEPPED, ids=lambda case: case["name"])
def test_steps_of_the_proposal(case: dict[str, Any]) -> None:
    table = RouteTable()
    for step in case["steps"]:
        received(table, step["payloads"])
        assert table.present() == step["present_after"]


def test_eight_raw_chunks_of_limewire_are_read() -> None:
    (case,) = (table for table in VECTORS["tables"] if "omitted" in table.get("payloads", [""])[-1])
    slots = bytearray(case["table_size"])
    for at in case["present_slots"]:
        slots[at] = 1
    messages = list(qrp.full_table(bytes(slots), compress=False))
    assert [
        (patch.sequence, patch.count, len(patch.data)) for patch in messages[1:] if isinstance(patch, RoutePatch)
    ] == [(number, 8, 4096) for number in range(1, 9)]
    table = RouteTable()
    for message in messages:
        table.receive(message)
    assert table.present() == case["present_slots"]


def test_our_messages_are_byte_for_byte_limewires() -> None:
    words, name = VECTORS["limewire_encoder"]
    table = qrp.words_table(words["words"], 4)
    ours = [message.encode() for message in qrp.full_table(table, compress=False)]
    # Theirs begin with kind, TTL, hops and length of the header.
    assert ours == [bytes.fromhex(message)[7:] for message in words["messages_from_func_byte"]]
    theirs = received(RouteTable(), [message[14:] for message in name["messages_from_func_byte"]])
    assert bytes(theirs.slots) == qrp.words_table(keyword_index_words(name["file"]), 16)


@pytest.mark.parametrize("case", VECTORS["routing_rule"], ids=lambda case: f"{case['hits']}of{case['words']}")
def test_rule_of_gtk_gnutella_for_words_found(case: dict[str, Any]) -> None:
    assert qrp.is_led_here(case["words"], case["hits"]) is case["gtk_gnutella"]


@given(
    route_tables(),
    st.sampled_from([(1, 2), (1, 7), (2, 2), (4, 2), (4, 7), (8, 2), (8, 7)]),
    st.booleans(),
    st.integers(1, 600),
)
def test_what_is_sent_arrives(
    tables: tuple[bytes, bytes], entries: tuple[int, int], compress: bool, chunk: int
) -> None:
    (first, second), (bits, infinity) = tables, entries
    table = RouteTable()
    for message in qrp.full_table(first, bits=bits, infinity=infinity, compress=compress, chunk=chunk):
        table.receive(decode_route_table(message.encode()))
    assert bytes(table.slots) == first
    changed = None
    for patch in qrp.patches(first, second, bits=bits, infinity=infinity, compress=compress, chunk=chunk):
        changed = table.receive(decode_route_table(patch.encode()))
    assert bytes(table.slots) == second
    assert changed is not None
    assert set(changed.present) == {at for at in range(len(first)) if second[at] > first[at]}
    assert set(changed.absent) == {at for at in range(len(first)) if second[at] < first[at]}


def test_entries_that_have_no_room_for_infinity_are_not_sent() -> None:
    with pytest.raises(ValueError, match="infinity 7 does not fit entries of 2 bits"):
        qrp.patches(bytes(8), b"\1" * 8, bits=2, infinity=7)


def test_entries_of_two_bits_are_written_highest_first() -> None:
    (patch,) = qrp.patches(bytes((0, 0, 1, 1) * 2), bytes((0, 1, 0, 1) * 2), bits=2, infinity=2, compress=False)
    assert patch == RoutePatch(1, 1, 0, 2, bytes((0b00_11_01_00,)) * 2)


def test_entries_of_two_bits_are_read() -> None:
    table = RouteTable()
    table.receive(RouteReset(8, 1))
    table.receive(RoutePatch(1, 1, 0, 2, bytes((0b11_00_10_00, 0b00_00_01_11))))
    assert table.present() == [0, 2, 7]


def test_a_reset_empties_the_table_and_says_what_went() -> None:
    table = received(RouteTable(), WHOLE[0]["payloads"])
    changed = table.receive(RouteReset(64, 7))
    assert changed is not None
    assert (changed.present, changed.absent) == ((), tuple(WHOLE[0]["present_slots"]))
    assert table.present() == []
    assert not table.is_complete


@pytest.mark.parametrize("size", [0, 4, 9, 1000, 1 << 22, (1 << 32) - 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    assert "slots" in refused(RouteTable(), RouteReset(size, 7))


def test_infinity_zero_is_refused() -> None:
    assert "infinity 0" in refused(RouteTable(), RouteReset(16, 0))


def test_a_patch_before_any_reset_is_refused() -> None:
    assert "before any reset" in refused(RouteTable(), RoutePatch(1, 1, 0, 4, bytes(8)))


@pytest.mark.parametrize(
    ("patch", "detail"),
    [
        (RoutePatch(2, 2, 0, 4, bytes(8)), "chunk 2 of 2"),
        (RoutePatch(1, 0, 0, 4, bytes(8)), "0 chunks"),
        (RoutePatch(1, 1, 2, 4, bytes(8)), "compressor 2"),
        (RoutePatch(1, 1, 0, 3, bytes(8)), "3 bits"),
        (RoutePatch(1, 1, 0, 4, bytes(7)), "7 of the 8 bytes"),
        (RoutePatch(1, 1, 0, 4, bytes(9)), "more than the 8 bytes"),
        (RoutePatch(1, 2, 0, 4, bytes(qrp.MAX_CHUNK + 1)), "a chunk of"),
        (RoutePatch(1, 1, 1, 4, b"no zlib"), "inflated"),
        (RoutePatch(1, 1, 1, 4, zlib.compress(bytes(8))[:-6]), "of the 8 bytes"),
        (RoutePatch(1, 1, 1, 4, zlib.compress(bytes(1 << 20))), "more than the 8 bytes"),
    ],
)
def test_broken_patches_are_refused(patch: RoutePatch, detail: str) -> None:
    table = RouteTable()
    table.receive(RouteReset(16, 7))
    assert detail in refused(table, patch)
    # The table lives on, and takes a good patch.
    table.receive(RoutePatch(1, 1, 0, 4, b"\xa0" + bytes(7)))
    assert table.present() == [0]


def test_chunks_of_one_patch_must_agree() -> None:
    table = RouteTable()
    table.receive(RouteReset(16, 7))
    table.receive(RoutePatch(1, 2, 0, 4, bytes(4)))
    assert "chunk 2 of 3" in refused(table, RoutePatch(2, 3, 0, 4, bytes(4)))


def test_a_reset_within_a_patch_voids_it() -> None:
    table = RouteTable()
    table.receive(RouteReset(16, 7))
    table.receive(RoutePatch(1, 2, 0, 4, b"\xaa" * 4))
    table.receive(RouteReset(16, 7))
    table.receive(RoutePatch(1, 1, 0, 4, b"\x0a" + bytes(7)))
    assert table.present() == [1]


def test_the_largest_table_of_our_own_fits_the_count_of_chunks() -> None:
    table = bytes((0, 1)) * (1 << 20)
    sent = qrp.patches(bytes(len(table)), table, compress=False)
    assert len(sent) <= qrp.MAX_CHUNKS
    assert all(len(patch.data) <= qrp.MAX_CHUNK for patch in sent)


def test_a_table_grows_until_it_is_sparse() -> None:
    assert qrp.bits_for(0) == qrp.OWN_MIN_BITS
    assert qrp.bits_for((1 << 14) // qrp.SPARSE) == 14
    assert qrp.bits_for((1 << 14) // qrp.SPARSE + 1) == 15
    assert qrp.bits_for((1 << 19) // qrp.SPARSE + 1) == 20
    assert qrp.bits_for((1 << 20) // qrp.SPARSE + 1) == 20
    assert qrp.bits_for(10**9) == qrp.OWN_MAX_BITS == 20


@pytest.mark.parametrize("bits", [14, 20, 21])
def test_tables_of_every_size_that_servents_send_are_taken(bits: int) -> None:
    slots = qrp.words_table(["elephant"], bits)
    table = RouteTable()
    for message in qrp.full_table(slots):
        table.receive(decode_route_table(message.encode()))
    assert (table.bits, table.has("elephant"), len(table.present())) == (bits, True, 1)


def test_a_shared_file_is_found_in_the_table_by_words_beginnings_and_urn() -> None:
    urn = "urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB"
    table = RouteTable()
    for message in qrp.full_table(qrp.table_of(qrp.hashes_of(["Ubuntu Guide.pdf"], [urn]), 16)):
        table.receive(message)
    assert all(table.has(word) for word in ("ubuntu", "ubun", "guide", "pdf", urn, urn.lower()))
    assert table.has_hash(qrp.hash32_exact(urn))
    assert not table.has("debian")


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_arbitrary_bytes_are_refused_with_the_one_error(payloads: list[bytes]) -> None:
    table = RouteTable()
    table.receive(RouteReset(16, 7))
    for payload in payloads:
        try:
            table.receive(decode_route_table(payload))
        except RemoteViolation as violation:
            assert violation.reason is DropReason.BAD_ROUTE_TABLE
    assert len(table.slots) in {1 << bits for bits in range(3, 22)}
    assert set(table.slots) <= {0, 1}
