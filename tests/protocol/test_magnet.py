"""Magnet links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.magnet import MAX_MAGNET, MAX_SOURCES, Magnet, format_magnet, parse_magnet
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.reasons import DropReason
from gnutella.testing import strategies_http as strategies
from gnutella.units import Address

SHA1 = bytes(range(20))
TTH = bytes(range(24))


@given(strategies.magnets())
def test_a_link_round_trips(magnet: Magnet) -> None:
    assert parse_magnet(format_magnet(magnet)) == magnet


@given(st.text(max_size=200))
def test_text_that_is_no_link_raises_nothing_but_violations(text: str) -> None:
    for candidate in (text, f"magnet:?{text}"):
        try:
            parse_magnet(candidate)
        except RemoteViolation as error:
            assert error.reason is DropReason.BAD_URN


def test_keys_come_in_any_order_and_unknown_ones_are_ignored() -> None:
    link = (
        f"MAGNET:?dn=a+b%20c&foo=bar&xt.2=urn:tree:tiger:{b32encode(TTH)}&xl=12&XT.1={sha1_urn(SHA1)}&kt=x+y"
        f"&xs=http%3A%2F%2F1.2.3.4%3A6346%2Furi-res%2FN2R%3F{sha1_urn(SHA1)}&as=http://5.6.7.8/other&xt=urn:ed2k:00"
    )
    assert parse_magnet(link) == Magnet(SHA1, TTH, 12, "a b c", (Address("1.2.3.4", 6346),), "x y")


def test_a_bitprint_gives_both_hashes_and_a_bad_size_none() -> None:
    magnet = parse_magnet(f"magnet:?xt=urn:bitprint:{b32encode(SHA1)}.{b32encode(TTH)}&xl=-5")
    assert (magnet.sha1, magnet.tth, magnet.size) == (SHA1, TTH, None)


@pytest.mark.parametrize(
    "link",
    [
        "http://example.invalid/",
        f"magnet:?xt={sha1_urn(SHA1)}&xt={sha1_urn(bytes(20))}",
        f"magnet:?xt={sha1_urn(SHA1)}&dn=" + "a" * MAX_MAGNET,
    ],
)
def test_links_that_cannot_be_followed_are_refused(link: str) -> None:
    with pytest.raises(RemoteViolation) as caught:
        parse_magnet(link)
    assert caught.value.reason is DropReason.BAD_URN


def test_sources_are_bounded() -> None:
    urls = "".join(f"&xs=http://1.2.3.{n}/uri-res/N2R?{sha1_urn(SHA1)}" for n in range(40))
    assert len(parse_magnet(f"magnet:?xt={sha1_urn(SHA1)}{urls}").sources) == MAX_SOURCES
