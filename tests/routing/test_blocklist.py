"""Blocklists: three formats, comments, what cannot be read, ranges that overlap; look-ups agree with the ipaddress module."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.routing import blocklist
from gnutella.routing.blocklist import MAX_LINE, BlockList, BrokenList, Range, parse_blocklist, parse_line
from gnutella.testing import strategies_routing as strategies


def lines_of(listed: BlockList, hosts: Iterable[str]) -> list[int | None]:
    return [listed.find(host) for host in hosts]


def four(first: str, last: str) -> Range:
    return Range(4, int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last)))


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (b"192.0.2.0/24\n", four("192.0.2.0", "192.0.2.255")),
        (b"192.0.2.77/24 ; SBL1234\r\n", four("192.0.2.0", "192.0.2.255")),
        (b"  192.0.2.7  # him\n", four("192.0.2.7", "192.0.2.7")),
        (b"0.0.0.0/0", four("0.0.0.0", "255.255.255.255")),
        (b"Some: Company, Inc. 1.2.3.4:192.0.2.1-192.0.2.9\n", four("192.0.2.1", "192.0.2.9")),
        (b":192.0.2.1-192.0.2.9", four("192.0.2.1", "192.0.2.9")),
        (b"192.0.2.1-192.0.2.9", four("192.0.2.1", "192.0.2.9")),
        (b"192.000.002.001 - 192.000.002.009 , 000 , a: b, c\r\n", four("192.0.2.1", "192.0.2.9")),
        (b"192.000.002.001 - 192.000.002.009 , 127 , last level that blocks", four("192.0.2.1", "192.0.2.9")),
        (b"192.000.002.001 - 192.000.002.009", four("192.0.2.1", "192.0.2.9")),
        (b"2001:db8::/126", Range(6, 0x20010DB8 << 96, (0x20010DB8 << 96) + 3)),
        (b"2001:db8::1 - 2001:db8::2 # two", Range(6, (0x20010DB8 << 96) + 1, (0x20010DB8 << 96) + 2)),
    ],
)
def test_every_format_is_known_by_its_line(line: bytes, meaning: Range) -> None:
    assert parse_line(line) == meaning


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r\n",
        b"# name:1.2.3.4-1.2.3.5",
        b"  ; x",
        b"// x",
        b"1.2.3.4 - 1.2.3.5 , 128 , allowed",
        b"1.2.3.4-1.2.3.5,200",
    ],
)
def test_comments_and_allowed_ranges_block_nothing(line: bytes) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"1.2.3.256",
        b"1.2.3.4/33",
        b"1.2.3.4-1.2.3.3",
        b"name:1.2.3.4-1.2.3.400",
        b"1.2.3",
        b"2001:db8::/129",
        b"2001:db8::2-2001:db8::1",
        b"\xff\xfe1\x00.",
    ],
)
def test_what_cannot_be_read_is_said_and_not_raised(line: bytes) -> None:
    assert isinstance(parse_line(line), str)


def test_look_up_names_the_line_that_has_the_address() -> None:
    listed = parse_blocklist(
        [b"# head", b"a:10.0.0.0-10.0.0.9", b"10.0.0.5/32", b"10.0.0.8 - 10.0.1.0 , 1 , b", b"::1"]
    )
    hosts = ("9.255.255.255", "10.0.0.0", "10.0.0.5", "10.0.0.9", "10.0.0.10", "10.0.1.0", "10.0.1.1", "::1", "::2")
    assert lines_of(listed, hosts) == [None, 2, 2, 2, 4, 4, None, 5, None]
    assert len(listed) == 3
    assert listed.find("::ffff:10.0.0.5") == 2
    assert lines_of(listed, ("example.org", "10.0.0", "10.0.0.300", "10.0.0.5x", "", "::g")) == [None] * 6


def test_a_few_bad_lines_are_counted_and_many_break_the_list() -> None:
    good = [b"10.0.0.%d" % number for number in range(90)]
    assert parse_blocklist([*good, *[b"<p>"] * 10]).bad_lines == 10
    with pytest.raises(BrokenList, match="11 of 101 lines"):
        parse_blocklist([*good, *[b"<p>"] * 11])
    assert len(parse_blocklist([b"# nothing yet"])) == 0


def test_more_ranges_than_a_list_may_have_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocklist, "MAX_RANGES", 3)
    assert len(parse_blocklist([b"1.1.1.1", b"1.1.1.3", b"::5"])) == 3
    with pytest.raises(BrokenList, match="more than 3 ranges"):
        parse_blocklist([b"1.1.1.1", b"1.1.1.3", b"::5", b"::7"])


@given(st.lists(strategies.blocked_ranges(), max_size=12), st.lists(strategies.ips(), min_size=1, max_size=12))
def test_look_ups_agree_with_looking_at_every_range(ranges: list[Range], hosts: list[str]) -> None:
    lines = [strategies.blocklist_line(found) for found in ranges]
    listed = parse_blocklist(lines)
    for host in hosts:
        ip = ipaddress.ip_address(host)
        expected = [n for n, r in enumerate(ranges, 1) if r.version == ip.version and r.first <= int(ip) <= r.last]
        found = listed.find(host)
        assert (found in expected) if expected else (found is None)


@given(st.lists(st.binary(max_size=MAX_LINE), max_size=5))
def test_any_bytes_are_a_list_or_broken(lines: list[bytes]) -> None:
    try:
        listed = parse_blocklist(lines)
    except BrokenList as error:
        assert str(error)
    else:
        assert len(listed) <= len(lines)
