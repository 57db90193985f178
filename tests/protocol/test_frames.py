"""The walker of the relay path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import frames, missing
from gnutella.protocol.kinds import HEADER_SIZE, MAX_PAYLOAD, encode_header, parse_header
from gnutella.reasons import DropReason
from gnutella.testing.strategies_routing import any_message
from gnutella.units import Guid

GUID = Guid(bytes(range(16)))


@given(st.lists(any_message(), max_size=5), st.integers(0, 500))
def test_a_walk_finds_each_whole_message_and_stops_before_the_incomplete_one(whole: list[bytes], kept: int) -> None:
    stream = b"".join(whole)
    last = whole[-1] if whole else b""
    cut_off = min(kept, len(last))
    stream = stream[: len(stream) - cut_off]
    found = list(frames(stream))
    expected = whole[:-1] if cut_off else whole
    assert [frame.message for frame in found] == expected
    for frame in found:
        header = parse_header(frame.message)
        assert (frame.guid, frame.kind, frame.ttl, frame.hops, frame.length) == tuple(header)
        assert frame.payload == frame.message[HEADER_SIZE:]


@given(any_message(), st.integers(0, 255), st.integers(0, 255))
def test_passing_on_changes_ttl_and_hops_only(message: bytes, ttl: int, hops: int) -> None:
    (frame,) = frames(message)
    passed = frame.passed_on(ttl, hops)
    assert (passed[17], passed[18]) == (ttl, hops)
    assert (passed[:17], passed[19:]) == (message[:17], message[19:])


@given(any_message(), st.integers(0, 3000))
def test_missing_bytes_never_overshoot_the_message(message: bytes, arrived: int) -> None:
    part = message[: min(arrived, len(message) - 1)]
    lacking = missing(part)
    assert 0 < lacking <= len(message) - len(part)
    if len(part) >= HEADER_SIZE:
        assert lacking == len(message) - len(part)


def test_a_length_beyond_any_message_is_refused_after_the_messages_before_it() -> None:
    good = encode_header(GUID, 0, 1, 0, 0)
    largest = encode_header(GUID, 0x81, 1, 0, MAX_PAYLOAD) + bytes(MAX_PAYLOAD)
    walk = frames(good + largest + encode_header(GUID, 0x81, 1, 0, MAX_PAYLOAD + 1))
    assert next(walk).length == 0
    assert next(walk).length == MAX_PAYLOAD
    with pytest.raises(RemoteViolation) as caught:
        next(walk)
    assert caught.value.reason is DropReason.MESSAGE_TOO_LARGE
