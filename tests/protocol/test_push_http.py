"""Pushes by HTTP: requests as we write them and as others do, and the fields that name proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.hit import MAX_PUSH_PROXIES
from gnutella.protocol.http import Headers, PushProxy, parse_target
from gnutella.protocol.message import Push
from gnutella.protocol.push_http import (
    MAX_PARAMETERS,
    node_info_field,
    parse_proxies,
    proxies_field,
    push_target,
    read_push,
)
from gnutella.reasons import DropReason
from gnutella.testing.strategies_vendor import addresses, guids
from gnutella.units import Address, Guid

SERVENT = Guid(bytes.fromhex("0f1e2d3c4b5a6978ff8796a5b4c3d200"))
BASE32 = "B4PC2PCLLJUXR74HS2S3JQ6SAA"
NODE = Headers((("X-Node", "80.1.2.3:6346"),))


def read(query: str, headers: Headers = NODE) -> Push:
    return read_push(query, headers, allow_private=False)


def test_our_request_is_the_one_that_everybody_understands() -> None:
    assert push_target(SERVENT) == f"/gnutella/push-proxy?ServerId={BASE32}"
    assert push_target(SERVENT, 7) == f"/gnutella/push-proxy?ServerId={BASE32}&file=7"


@given(guids(), st.integers(0, 0xFFFFFFFF))
def test_what_we_ask_is_read_as_it_was_meant(servent_id: Guid, index: int) -> None:
    target = parse_target(push_target(servent_id, index))
    assert isinstance(target, PushProxy)
    assert read(target.query) == Push(servent_id, index, Address("80.1.2.3", 6346))


@pytest.mark.parametrize(
    "query",
    [
        f"ServerId={BASE32}",
        f"serverid={BASE32.lower()}",
        f"SERVERID={BASE32}&tls=true",
        f"guid={SERVENT.hex()}",
        f"Guid={SERVENT.hex().upper()}&x=1",
    ],
)
def test_the_spellings_of_other_servents_are_read(query: str) -> None:
    assert read(query) == Push(SERVENT, 0, Address("80.1.2.3", 6346))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "ServerId=",
        f"ServerId={BASE32}A",
        f"ServerId={BASE32[:-1]}1",
        f"ServerId={SERVENT.hex()}",
        "guid=" + "g" * 32,
        f"guid={SERVENT.hex()[:-1]}",
        f"ServerId={BASE32}&file=x",
        f"ServerId={BASE32}&file=-1",
        f"ServerId={BASE32}&file=4294967296",
        "&".join(["x=1"] * MAX_PARAMETERS) + f"&ServerId={BASE32}",
    ],
)
def test_what_names_nobody_is_refused(query: str) -> None:
    with pytest.raises(RemoteViolation) as caught:
        read(query)
    assert caught.value.reason is DropReason.REQUEST_BROKEN


@pytest.mark.parametrize("node", [None, "", "80.1.2.3", "80.1.2.3:0", "host.example:1", "10.0.0.1:6346", "[fd00::1]:9"])
def test_without_somebody_to_call_there_is_no_push(node: str | None) -> None:
    with pytest.raises(RemoteViolation):
        read(f"ServerId={BASE32}", Headers(() if node is None else (("x-node", node),)))


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_request_is_read_or_refused(query: str, node: str) -> None:
    try:
        push = read(query, Headers((("X-Node", node),)))
    except RemoteViolation as violation:
        assert violation.reason is DropReason.REQUEST_BROKEN
    else:
        assert Push.decode(push.encode()) == push


@given(st.lists(addresses(), max_size=MAX_PUSH_PROXIES, unique=True))
def test_the_proxies_that_we_name_are_those_that_are_read_of_them(proxies: list[Address]) -> None:
    read_back = parse_proxies(Headers((proxies_field(proxies),)), allow_private=True)
    assert set(read_back) <= set(proxies)
    plausible = [Address("80.1.2.3", 1), Address("10.0.0.1", 2)]
    assert parse_proxies(Headers((proxies_field(plausible),)), allow_private=True) == tuple(plausible)
    assert parse_proxies(Headers((proxies_field(plausible),)), allow_private=False) == (plausible[0],)


def test_older_spellings_and_tls_marks_are_understood_and_bounded() -> None:
    many = ", ".join(f"80.1.2.{n}:6346" for n in range(1, 99))
    assert len(parse_proxies(Headers((("X-Push-Proxies", many),)), allow_private=False)) == MAX_PUSH_PROXIES
    mixed = Headers((("X-Pushproxies", "pptls=8, 80.1.2.3:6346, nonsense"),))
    assert parse_proxies(mixed, allow_private=False) == (Address("80.1.2.3", 6346),)


def test_who_is_firewalled_says_who_it_is_in_its_requests() -> None:
    field = node_info_field(SERVENT, Address("24.1.2.3", 6346), [Address("66.7.8.9", 6346)])
    assert field == ("X-FW-Node-Info", "0F1E2D3C4B5A6978FF8796A5B4C3D200; 6346:24.1.2.3; 66.7.8.9:6346")
