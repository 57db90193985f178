"""IPv6 as servents write it: in pongs, hits, pushes, host vectors, handshakes; and what is no address of a host."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.addresses import NO_IPV4, decode_hosts6, encode_hosts6, ipv6_of, ipv6_value, sender_of
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.headers import Headers
from gnutella.protocol.message import Pong, Push
from gnutella.protocol.peer import Offer, read_peer
from gnutella.units import Address, Guid, is_plausible_peer, parse_address

SIX = Address("2001:470:1f0b::7", 6346)
ID = Guid(bytes(range(16)))


def test_a_pong_without_ipv4_is_where_its_ggep_says() -> None:
    pong = Pong(SIX, 3, 5, Ggep.of({"6": ipv6_value(SIX.host)}))
    written = pong.encode()
    assert written[2:6] == NO_IPV4
    assert Pong.decode(written).address == Pong.decode(written).ipv6 == SIX
    assert Pong.decode(written).encode() == written


def test_a_pong_with_both_keeps_both() -> None:
    both = Pong.decode(Pong(Address("80.1.2.3", 6346), 3, 5, Ggep.of({"6": ipv6_value(SIX.host)})).encode())
    assert (both.address, both.ipv6) == (Address("80.1.2.3", 6346), SIX)


def test_a_push_to_an_ipv6_address() -> None:
    push = Push.make(ID, 7, SIX)
    read = Push.decode(push.encode())
    assert read.address == SIX
    assert push.encode()[20:24] == NO_IPV4
    assert Push.make(ID, 7, Address("80.1.2.3", 6346)).ggep is None


@pytest.mark.parametrize("six", [None, b"", b"x" * 15, b"x" * 17])
def test_without_an_address_in_ggep_the_field_stands_and_is_no_host(six: bytes | None) -> None:
    address = sender_of(NO_IPV4, 6346, six)
    assert address == Address("127.0.0.0", 6346)
    assert not is_plausible_peer(address, allow_private=True)
    assert ipv6_of(six, 6346) is None


@pytest.mark.parametrize(
    ("host", "public", "private"),
    [
        ("2001:470:1f0b::7", True, True),
        ("fd00::7", False, True),
        ("fe80::7", False, True),
        ("fe80::7%eth0", False, True),
        ("::1", False, True),
        ("::", False, False),
        ("ff02::1", False, False),
        ("::ffff:80.1.2.3", False, False),
        ("::ffff:127.0.0.1", False, False),
    ],
)
def test_which_addresses_can_be_a_hosts(host: str, public: bool, private: bool) -> None:
    address = Address(host, 6346)
    assert is_plausible_peer(address, allow_private=False) is public
    assert is_plausible_peer(address, allow_private=True) is private


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:6346", "2001:db8::7"),
        ("80.1.2.3:6346", "80.1.2.3"),
        ("2001:db8::7::1", None),
        ("a:b:c", None),
        ("", None),
    ],
)
def test_remote_ip_with_and_without_brackets(text: str, host: str | None) -> None:
    assert read_peer(Headers([("Remote-IP", text)]), "0.6").remote_ip == host


def test_listening_addresses_in_handshakes() -> None:
    both = read_peer(Headers([("Listen-IP", "80.1.2.3:6346"), ("Node-IPv6", "[2001:db8::7]:6347")]), "0.6")
    assert (both.listen, both.listen6) == (Address("80.1.2.3", 6346), Address("2001:db8::7", 6347))
    only = read_peer(Headers([("Node-IPv6", "[2001:db8::7]:6347")]), "0.6")
    assert only.listen == only.listen6 == Address("2001:db8::7", 6347)
    wrong = read_peer(Headers([("Node-IPv6", "80.1.2.3:6346")]), "0.6")
    assert wrong.listen6 is None
    tries = read_peer(Headers([("X-Try-Ultrapeers", "[2001:db8::7]:6346, 80.1.2.3:6346, 2001:db8::8")]), "0.6")
    assert tries.try_hosts == (Address("2001:db8::7", 6346), Address("80.1.2.3", 6346))


def test_what_we_say_of_ourselves_is_read_back() -> None:
    offer = Offer("x", Address("80.1.2.3", 6346), tls=True, listen6=SIX, speaks_ipv6=True)
    fields = Headers(offer.fields("2001:db8::7"))
    peer = read_peer(fields, "0.6")
    assert (peer.listen, peer.listen6, peer.remote_ip) == (Address("80.1.2.3", 6346), SIX, "2001:db8::7")
    assert peer.features == ("tls/1.0", "ip/6.0")
    assert "X-Features" not in Headers(Offer("x", None).fields("80.1.2.3"))


@given(st.integers(0, 2**128 - 1), st.integers(1, 65535))
def test_every_address_comes_back_from_text_and_vectors(number: int, port: int) -> None:
    address = Address(str(ipaddress.IPv6Address(number)), port)
    assert parse_address(str(address)) == address
    assert decode_hosts6(encode_hosts6([address])) == (address,)
    assert sender_of(NO_IPV4, port, ipv6_value(address.host)) == address


def test_the_scope_of_a_link_local_address_is_not_told() -> None:
    assert ipv6_value("fe80::1%eth0") == ipv6_value("fe80::1")
