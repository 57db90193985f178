"""HTTP heads in any pieces, targets, ranges, the chunked coding; and each limit of theirs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol import http
from gnutella.protocol.http import ByIndex, ByUrn, Elsewhere, Head, HeadReader, PushProxy, Root, Span, TreeOf
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.testing import strategies_http as strategies

SHA1 = bytes(range(20))
URN = sha1_urn(SHA1)


def read(data: bytes) -> Head:
    head = HeadReader().feed(data)
    assert head is not None
    return head


def reason_of(call: object, *args: object) -> DropReason:
    with pytest.raises(RemoteViolation) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value.reason


@given(strategies.header_items(), st.binary(max_size=30), st.data())
def test_a_head_reads_the_same_in_any_pieces(items: list[tuple[str, str]], surplus: bytes, data: st.DataObject) -> None:
    wire = http.format_head("GET / HTTP/1.1", items)
    reader = HeadReader()
    head = None
    for piece in data.draw(strategies.chunkings(wire)):
        assert head is None
        head = reader.feed(piece)
    assert head is not None
    assert (head.first_line, head.headers.items, head.surplus) == ("GET / HTTP/1.1", items, b"")
    assert read(wire + surplus).surplus == surplus


@given(st.binary(max_size=400))
def test_bytes_that_are_no_head_raise_nothing_but_violations(data: bytes) -> None:
    for wire in (data + b"\r\n\r\n", b"HTTP/1.1 " + data + b"\n\n", b"GET /" + data + b" HTTP/1.1\r\n\r\n"):
        for reading in (http.read_request, http.read_response):
            try:
                head = HeadReader().feed(wire)
                if head is not None:
                    reading(head)
            except RemoteViolation as error:
                assert error.reason in (
                    DropReason.HEAD_BROKEN,
                    DropReason.HEAD_TOO_LARGE,
                    DropReason.REQUEST_BROKEN,
                    DropReason.METHOD,
                )


def test_bare_line_feeds_folded_lines_and_leading_blank_lines_are_read() -> None:
    head = read(b"\r\n\nGET / HTTP/1.0\nX-Alt: 1.2.3.4\n , 5.6.7.8\nA:b\n\nrest")
    assert head.headers.items == [("X-Alt", "1.2.3.4 , 5.6.7.8"), ("A", "b")]
    assert head.surplus == b"rest"


def test_two_pipelined_heads_are_read_one_after_the_other() -> None:
    reader = HeadReader()
    first = reader.feed(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
    assert first is not None
    second = reader.feed(first.surplus)
    assert second is not None
    assert (first.first_line, second.first_line, second.surplus) == ("GET /a HTTP/1.1", "GET /b HTTP/1.1", b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"GET /" + b"a" * http.MAX_LINE,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * http.MAX_HEAD_LINES,
        b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 4000 + b"\r\n") * 5,
        b"\n" * (http.MAX_HEAD_BYTES + 2),
    ],
)
def test_a_head_beyond_its_bounds_is_refused(wire: bytes) -> None:
    assert reason_of(HeadReader().feed, wire) is DropReason.HEAD_TOO_LARGE
    reader = HeadReader()
    with pytest.raises(RemoteViolation):
        for byte in wire:
            reader.feed(bytes([byte]))


@pytest.mark.parametrize("line", [b"no colon", b": nameless", b"bad name: x", b"A: nul\0", b" folded first"])
def test_a_broken_header_line_is_refused(line: bytes) -> None:
    assert reason_of(HeadReader().feed, b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n") is DropReason.HEAD_BROKEN


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (f"/uri-res/N2R?{URN}", ByUrn(SHA1)),
        (f"/URI-RES/n2r?{URN.upper()}", ByUrn(SHA1)),
        (f"/uri-res/N2R?urn:bitprint:{URN[9:]}.{'A' * 39}", ByUrn(SHA1)),
        (f"/uri-res/N2X?{URN}", TreeOf(SHA1)),
        (f"/uri-res/N2X?{URN};{'A' * 39}", TreeOf(SHA1)),
        ("/uri-res/N2R?urn:sha1:AAA", Elsewhere()),
        ("/uri-res/N2R?urn:ed2k:31d6cfe0d16ae931b73c59d7e0c089c0", Elsewhere()),
        ("/get/17/a%20b%C3%A9.ogg", ByIndex(17, "a bé.ogg")),
        ("/get/17/a b.ogg", ByIndex(17, "a b.ogg")),
        ("/get/17/%E9", ByIndex(17, "é")),
        ("/get/17/..%2F..%2Fetc%2Fpasswd", ByIndex(17, "../../etc/passwd")),
        ("/get/-1/x", Elsewhere()),
        ("/get/1²/x", Elsewhere()),
        ("/get/99999999999999999999/x", Elsewhere()),
        ("/get/1/", Elsewhere()),
        ("/get/1", Elsewhere()),
        ("/", Root()),
        ("http://1.2.3.4:6346/", Root()),
        ("/gnutella/push-proxy?ServerId=AAAA", PushProxy("ServerId=AAAA")),
        ("/favicon.ico", Elsewhere()),
    ],
)
def test_targets(text: str, target: http.Target) -> None:
    assert http.parse_target(text) == target


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"POST / HTTP/1.1", DropReason.METHOD),
        (b"GET /", DropReason.REQUEST_BROKEN),
        (b"GET / HTTP/2", DropReason.REQUEST_BROKEN),
        (b"GET index.html HTTP/1.1", DropReason.REQUEST_BROKEN),
        (b"GET /\x01 HTTP/1.1", DropReason.REQUEST_BROKEN),
        (b"G(T / HTTP/1.1", DropReason.REQUEST_BROKEN),
        (b"GET / HTTP/1.1\r\nContent-Length: 3", DropReason.REQUEST_BROKEN),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked", DropReason.REQUEST_BROKEN),
    ],
)
def test_requests_that_are_not_served_say_why(line: bytes, reason: DropReason) -> None:
    assert reason_of(http.read_request, read(line + b"\r\n\r\n")) is reason


@pytest.mark.parametrize(
    ("wire", "keeps_alive"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
    ],
)
def test_keep_alive_follows_version_and_connection_field(wire: bytes, keeps_alive: bool) -> None:
    assert http.read_request(read(wire)).keeps_alive is keeps_alive


def test_a_response_says_its_length_and_whether_the_connection_lives_on() -> None:
    response = http.read_response(read(b"HTTP/1.1 206 Partial\r\nContent-Length: 7\r\n\r\n"))
    assert (response.status, response.length, response.keeps_alive) == (206, 7, True)
    endless = http.read_response(read(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert (endless.length, endless.is_chunked, endless.keeps_alive) == (None, False, False)
    chunked = http.read_response(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"))
    assert (chunked.length, chunked.is_chunked, chunked.keeps_alive) == (None, True, True)
    assert http.read_response(read(b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n")).length == 0


@pytest.mark.parametrize(
    "wire",
    [
        b"GIV 1:2/3\n\n",
        b"HTTP/1.1 2000 OK\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: -1\n\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0x10\n\n",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: gzip\n\n",
    ],
)
def test_a_response_of_ambiguous_length_is_refused(wire: bytes) -> None:
    assert reason_of(http.read_response, read(wire)) is DropReason.HEAD_BROKEN


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_value_breaks_out_of_its_line(phrase: str, value: str) -> None:
    wire = http.format_status(200, [("X-Echo", value)], phrase)
    assert wire.count(b"\n") == 3 and wire.count(b"\r") == 3
    assert read(wire).headers.items[0][0] == "X-Echo"


@pytest.mark.parametrize(
    ("value", "span"),
    [
        (None, None),
        ("bytes=0-9", Span(0, 10)),
        ("bytes=90-", Span(90, 100)),
        ("bytes=90-1000", Span(90, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes 5-6", Span(5, 7)),
        (" Bytes = 5 - 6 ", Span(5, 7)),
        ("pages=1-2", None),
    ],
)
def test_single_ranges(value: str | None, span: Span | None) -> None:
    assert http.parse_range(value, 100) == span


@pytest.mark.parametrize(
    "value", ["bytes=0-1,5-6", "bytes=100-", "bytes=9-8", "bytes=-0", "bytes=-", "bytes=a-b", "bytes=", "bytes=--5"]
)
def test_ranges_of_which_nothing_can_be_served(value: str) -> None:
    assert reason_of(http.parse_range, value, 100) is DropReason.RANGE


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(0, 10**12))
def test_content_range_round_trips(start: int, length: int, rest: int) -> None:
    span = Span(start, start + length)
    size = span.stop + rest
    assert http.parse_content_range(http.format_content_range(span, size)) == (span, size)
    assert http.parse_range(http.format_range(span), size) == span


@pytest.mark.parametrize("value", ["bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bytes 1-2", "bytes 1-2/x", "9" * 40])
def test_an_impossible_content_range_is_refused(value: str) -> None:
    assert reason_of(http.parse_content_range, value) is DropReason.HEAD_BROKEN


def test_content_range_of_unknown_total_and_odd_spelling() -> None:
    assert http.parse_content_range("bytes 0-1/*") == (Span(0, 2), None)
    assert http.parse_content_range("bytes=0-1/9") == (Span(0, 2), 9)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=9), st.data())
def test_the_chunked_coding_is_undone_in_any_pieces(parts: list[bytes], rest: bytes, data: st.DataObject) -> None:
    wire = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"
    chunked = http.Chunked()
    body = b"".join(b"".join(chunked.feed(piece)) for piece in data.draw(strategies.chunkings(wire)))
    assert (body, chunked.surplus) == (b"".join(parts), b"")
    whole = http.Chunked()
    assert b"".join(whole.feed(wire + rest)) == body and whole.surplus == rest


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"x\r\n", DropReason.HEAD_BROKEN),
        (b"\r\n", DropReason.HEAD_BROKEN),
        (b"-1\r\n", DropReason.HEAD_BROKEN),
        (b"1\r\nab\r\n", DropReason.HEAD_BROKEN),
        (b"f" * 16 + b"\r\n", DropReason.HEAD_BROKEN),
        (b"1" * (http.MAX_CHUNK_LINE + 1), DropReason.HEAD_TOO_LARGE),
        (b"0\r\n" + (b"A: " + b"b" * 200 + b"\r\n") * 90, DropReason.HEAD_TOO_LARGE),
    ],
)
def test_a_broken_chunked_coding_is_refused(wire: bytes, reason: DropReason) -> None:
    assert reason_of(http.Chunked().feed, wire) is reason
