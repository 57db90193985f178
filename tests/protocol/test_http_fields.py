"""Gnutella's own header fields, and the GIV line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol import http_fields as fields
from gnutella.protocol.http import Headers, Span
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

SHA1 = bytes(range(20))
TTH = bytes(range(24))
GUID = Guid(bytes(range(16)))


def test_giv_lines_of_other_servents_are_read_whatever_the_letter_case() -> None:
    for line in (b"GIV 7:" + GUID.hex().upper().encode() + b"/file", b"GIV 7:" + GUID.hex().encode() + b"/file\r"):
        assert fields.parse_giv(line) == fields.Giv(7, GUID, "file")
    assert fields.parse_giv(b"GIV 0:" + GUID.hex().encode()).name == ""


@pytest.mark.parametrize(
    "line",
    [b"", b"GIV", b"GIV x:" + b"0" * 32, b"GIV 1:" + b"0" * 31, b"GIV 1:" + b"0" * 33, b"giv 1:" + b"0" * 32 + b"/f"],
)
def test_what_is_no_giv_line_is_refused(line: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        fields.parse_giv(line)
    assert caught.value.reason is DropReason.GARBAGE


@given(st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16), st.text(max_size=300))
def test_a_giv_line_ends_with_two_line_feeds_and_nothing_else_breaks_it(index: int, guid: bytes, name: str) -> None:
    wire = fields.format_giv(fields.Giv(index, Guid(guid), name))
    assert wire.endswith(b"\n\n") and wire.count(b"\n") == 2 and len(wire) < fields.MAX_GIV
    parsed = fields.parse_giv(wire[:-2])
    assert (parsed.index, parsed.servent_id) == (index, guid)


def test_queue_places() -> None:
    place = fields.parse_queue("position=2, length=5, limit=1, pollMin=45, pollMax=120")
    assert place == fields.QueuePlace(2, 45, 120)
    assert fields.parse_queue('position="1",pollMin=90,pollMax=10') == fields.QueuePlace(1, 90, 90)
    assert fields.parse_queue("position=1,pollMin=99999999") == fields.QueuePlace(
        1, fields.MAX_WAIT_S, fields.MAX_WAIT_S
    )
    assert fields.parse_queue("length=5") is None and fields.parse_queue(None) is None


def test_retry_after_is_seconds_and_bounded() -> None:
    assert fields.parse_retry_after("60") == 60
    assert fields.parse_retry_after("99999999999") == fields.MAX_WAIT_S
    assert fields.parse_retry_after("Wed, 21 Oct 2026 07:28:00 GMT") is None
    assert fields.parse_retry_after(None) is None


def test_alternates_are_plausible_each_once_and_bounded() -> None:
    headers = Headers(
        [
            ("X-Alt", "tls=4, 66.7.8.9, 80.5.6.7:6348, 66.7.8.9:6346, 127.0.0.1, 0.0.0.0, 224.1.1.1, x, 1.2.3.4:0"),
            (
                "Alt-Location",
                f"http://81.5.6.7:99/uri-res/N2R?{sha1_urn(SHA1)} 2026-01-01T00:00Z, http://82.1.1.1/get/1/x",
            ),
        ]
    )
    expected = [Address("66.7.8.9", 6346), Address("80.5.6.7", 6348), Address("81.5.6.7", 99)]
    assert fields.parse_alternates(headers, allow_private=False) == expected
    many = Headers([("X-Alt", ",".join(f"66.7.8.{n}" for n in range(250)))])
    assert len(fields.parse_alternates(many, allow_private=False)) == fields.MAX_ALTERNATES


def test_available_ranges() -> None:
    assert fields.parse_available(None, 100) is None
    assert fields.parse_available("bytes", 100) == []
    assert fields.parse_available("bytes 0-49, 90-200, 100-101, 7-6, x-y", 100) == [Span(0, 50), Span(90, 100)]
    assert len(fields.parse_available("bytes " + "0-1," * 1000, 100) or []) == fields.MAX_AVAILABLE


def test_content_urns_of_either_header_are_merged() -> None:
    headers = Headers(
        [("X-Gnutella-Content-URN", f"urn:md5:x, {sha1_urn(SHA1)}"), ("x-content-urn", f"urn:ttroot:{b32encode(TTH)}")]
    )
    urn = fields.parse_content_urns(headers)
    assert (urn.sha1, urn.tth) == (SHA1, TTH)


def test_a_tree_location_is_believed_only_on_the_same_host() -> None:
    value = fields.format_thex_uri(SHA1, b32encode(TTH))
    assert fields.parse_thex_uri(value) == (value.partition(";")[0], TTH)
    for bad in (None, "", "/get/1/x;" + b32encode(TTH), value[:-1], "/uri-res/N2X?urn:sha1:A;" + b32encode(TTH)):
        assert fields.parse_thex_uri(bad) is None


def test_features_are_names_with_versions() -> None:
    headers = Headers(
        [("X-Features", "browse/1.0, Queue/0.1 ,chat"), ("X-Features", ",".join(f"f{n}" for n in range(200)))]
    )
    features = fields.parse_features(headers)
    assert features["queue"] == "0.1" and features["chat"] == "" and len(features) == 64


@given(st.text(max_size=80))
def test_a_disposition_cannot_be_broken_out_of(name: str) -> None:
    value = fields.format_disposition(name)
    assert re.fullmatch(r'attachment; filename="[ !#$&-\[\]-~]*"; filename\*=UTF-8\'\'[A-Za-z0-9._~%-]*', value)
    assert re.fullmatch(r"[A-Za-z0-9._~%-]*", fields.quote_name(name))
