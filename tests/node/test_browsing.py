"""Browse host, both ways: what we share as hit messages, and hit messages as a list."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gnutella.browsing import browse_answer, browsed
from gnutella.protocol.frames import frames
from gnutella.protocol.hit import MAX_RECORDS
from gnutella.protocol.message import QUERY_HIT, HitRecord, Ping, QueryHit, encode
from gnutella.routing.results import MAX_ROWS
from gnutella.routing.router import Router
from gnutella.settings import RoutingSettings
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.testing.routers import guid_of
from gnutella.units import Address

HERE = Address("10.2.0.1", 6346)


def sha1(number: int) -> bytes:
    return number.to_bytes(20, "big")


def catalog(count: int) -> Catalog:
    return Catalog.build(
        SharedFile(number, f"file {number}.ogg", number, 0, f"/s/file {number}.ogg", sha1(number), bytes(24))
        for number in range(1, count + 1)
    )


def node(files: Catalog) -> Router:
    return Router(RoutingSettings(), guid_of(5), files, lambda _: HERE, random.Random(1), allow_private=True, now=0.0)


def answer_of(count: int) -> bytes:
    files = catalog(count)
    return b"".join(browse_answer(files, node(files), HERE, random.Random(2)))


def test_nothing_shared_is_an_empty_answer() -> None:
    assert answer_of(0) == b""
    assert browsed(b"", random.Random(1)).rows() == []


def test_all_that_is_shared_comes_back_from_one_servent() -> None:
    answer = answer_of(MAX_RECORDS + 3)
    results = browsed(answer, random.Random(1))
    assert [row["name"] for row in results.rows()] == [f"file {number}.ogg" for number in range(1, MAX_RECORDS + 4)]
    first = results.rows()[0]
    assert first["sources"] == [{"address": str(HERE), "servent_id": guid_of(5).hex(), "push": False}]
    assert (first["hops"], first["vendor"], first["size"]) == (0, "PYGN", 1)
    assert len({frame.guid for frame in frames(answer)}) == 1


def test_a_firewalled_node_asks_for_pushes() -> None:
    files = catalog(1)
    router = node(files)
    router.self.is_firewalled = True
    answer = b"".join(browse_answer(files, router, HERE, random.Random(2)))
    assert browsed(answer, random.Random(1)).rows()[0]["sources"][0]["push"] is True


def test_other_messages_and_broken_hits_are_left_out() -> None:
    good = encode(guid_of(1), 1, 0, QueryHit(HERE, 1, (HitRecord(1, 1, "good", sha1(1)),), b"GTKG", guid_of(5)))
    broken = guid_of(1) + bytes([QUERY_HIT, 1, 0]) + (20).to_bytes(4, "little") + b"\xff" * 20
    answer = encode(guid_of(2), 1, 0, Ping()) + broken + good
    assert [row["name"] for row in browsed(answer, random.Random(1)).rows()] == ["good"]


def test_what_came_before_an_impossible_length_is_kept() -> None:
    huge = guid_of(1) + bytes([QUERY_HIT, 1, 0]) + b"\xff\xff\xff\x7f"
    assert len(browsed(answer_of(3) + huge, random.Random(1)).rows()) == 3


def test_a_cut_answer_keeps_its_whole_messages() -> None:
    answer = answer_of(MAX_RECORDS * 2)
    some = browsed(answer[:-5], random.Random(1)).rows()
    assert 0 < len(some) < MAX_RECORDS * 2


def test_a_library_beyond_the_bound_is_cut() -> None:
    assert len(browsed(answer_of(MAX_ROWS + 10), random.Random(1)).rows()) == MAX_ROWS


@given(st.binary(max_size=300), st.integers(0, 1 << 16))
def test_any_answer_can_be_read(noise: bytes, at: int) -> None:
    answer = bytearray(answer_of(2))
    start = at % len(answer)
    answer[start : start + len(noise) // 4] = noise
    assert len(browsed(bytes(answer), random.Random(1)).rows()) <= MAX_ROWS
    browsed(noise, random.Random(1))
