"""What a TLS client offers is read from its first bytes, whatever else they are."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.client_hello import MAX_CLIENT_HELLO, MAX_RECORDS, alpn_of
from gnutella.reasons import DropReason


def hello_of(*protocols: str) -> bytes:
    """As OpenSSL says it."""
    context = ssl.create_default_context()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(came, goes, server_hostname="node.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return goes.read()


HELLO = hello_of("arl/1")


def vector(data: bytes, width: int = 2) -> bytes:
    return len(data).to_bytes(width, "big") + data


def hello(extensions: bytes | None) -> bytes:
    """By hand; without extensions at all for None."""
    body = b"\3\3" + bytes(32) + vector(b"", 1) + vector(b"\x13\1") + vector(b"\0", 1)
    return body + (b"" if extensions is None else vector(extensions))


def records(body: bytes, size: int = 1 << 14) -> bytes:
    message = b"\1" + vector(body, 3)
    return b"".join(b"\x16\3\1" + vector(message[at : at + size]) for at in range(0, len(message), size))


@pytest.mark.parametrize("protocols", [("arl/1",), ("h2", "http/1.1"), ()])
def test_what_openssl_offers_is_read(protocols: tuple[str, ...]) -> None:
    assert alpn_of(hello_of(*protocols)) == tuple(name.encode() for name in protocols)


@pytest.mark.parametrize("extensions", [None, b"", b"\0\x0a" + vector(b"xx")])
def test_a_hello_without_protocols_offers_none(extensions: bytes | None) -> None:
    assert alpn_of(records(hello(extensions))) == ()


def test_bytes_decide_only_when_all_are_there() -> None:
    assert [alpn_of(HELLO[:end]) for end in range(len(HELLO))] == [None] * len(HELLO)
    assert alpn_of(HELLO + b"more, of whatever kind") == (b"arl/1",)


def test_a_hello_in_several_records_is_put_together() -> None:
    body = hello(b"\0\x10" + vector(vector(vector(b"arl/1", 1))))
    assert alpn_of(records(body, 5)) == (b"arl/1",)
    assert alpn_of(records(body, 5)[:-1]) is None
    with pytest.raises(RemoteViolation):
        alpn_of(records(body + bytes(MAX_RECORDS), 1))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\2",
        b"GET / HTTP/1.1",
        b"\x16\3\1\0\0",
        b"\x16\3\1" + (MAX_CLIENT_HELLO + 1).to_bytes(2, "big"),
        b"\x16\3\1\0\4\2\0\0\0",
        b"\x16\3\1\0\4\1\xff\0\0",
        records(hello(b"\0\x10\0\5\0")),
        records(hello(b"\0\x10" + vector(vector(b"\7arl/1")))),
        records(b"\3\3"),
    ],
)
def test_what_is_no_client_hello_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteViolation) as caught:
        alpn_of(data)
    assert caught.value.reason is DropReason.TLS_FAILED


@given(st.binary(max_size=100), st.integers(0, len(HELLO) - 1), st.binary(min_size=1, max_size=4))
def test_anything_is_read_or_refused(data: bytes, at: int, change: bytes) -> None:
    for tried in (data, b"\x16\3\1" + data, HELLO[:at] + change + HELLO[at + len(change) :]):
        try:
            offered = alpn_of(tried)
        except RemoteViolation:
            continue
        assert offered is None or all(len(name) < 256 for name in offered)
