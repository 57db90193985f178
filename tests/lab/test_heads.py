"""Chunks and GUIDs are kept once for all nodes, and never more than the bounds say."""

from __future__ import annotations

import pytest

from gnutella.lab import heads
from gnutella.lab.heads import Heads
from gnutella.protocol.kinds import PING, QUERY, encode_header
from gnutella.units import Guid

GUID = Guid(bytes(range(16)))


def test_a_header_reads_as_the_wire_says() -> None:
    assert Heads()[encode_header(GUID, QUERY, 3, 4, 5) + b"\x80\0abc"] == (GUID, QUERY, 3, 4, 5)


def test_chunks_of_one_guid_share_it() -> None:
    known = Heads()
    one, other = known[encode_header(GUID, PING, 1, 0, 0)], known[encode_header(GUID, PING, 2, 0, 0)]
    assert one[0] is other[0]


def test_equal_chunks_are_one() -> None:
    known = Heads()
    chunks = [encode_header(GUID, PING, 1, 0, 0) for _ in range(2)]
    assert chunks[0] is not chunks[1] and known.same(chunks[0]) is known.same(chunks[1])


def test_no_more_is_kept_than_the_bounds_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MAX_CHUNKS", 8)
    monkeypatch.setattr(heads, "MAX_GUIDS", 4)
    known = Heads()
    for number in range(50):
        chunk = encode_header(Guid(number.to_bytes(16, "big")), PING, 1, 0, 0)
        assert known[known.same(chunk)][0] == chunk[:16]
        assert len(known) <= 8 and len(known._chunks) <= 8 and len(known._guids) <= 4
    known[long := chunk + bytes(heads.MAX_BYTES)]
    assert long not in known and known.same(long) is long
