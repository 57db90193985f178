"""Which hosts belong together, and which share of the slots they may have."""

from __future__ import annotations

import pytest
from hypothesis import given

from gnutella.networks import Shares, host_key, near, wide
from gnutella.testing.strategies_routing import ips


@pytest.mark.parametrize(
    ("host", "keys"),
    [
        ("192.0.2.7", ("192.0.2.7", "192.0.2.0/24", "192.0.0.0/16")),
        ("2001:db8:1:2:3:4:5:6", ("2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32")),
        ("fe80::1%eth0", ("fe80::1%eth0", "fe80::/48", "fe80::/32")),
        ("fd00::5", ("fd00::5", "fd00::/48", "fd00::/32")),
        ("::1", ("::1", "::/48", "::/32")),
        ("no:address", ("no:address", "no:address", "no:address")),
    ],
)
def test_networks_of_a_host(host: str, keys: tuple[str, str, str]) -> None:
    assert (host_key(host), near(host), wide(host)) == keys


def test_key_of_a_host_has_the_same_networks() -> None:
    key = host_key("2600:1:2:3::9")
    assert (near(key), wide(key)) == (near("2600:1:2:3::9"), wide("2600:1:2:3::9"))


def test_one_24_and_one_16_have_their_shares() -> None:
    shares = Shares()
    near_ones = [f"80.1.2.{n}" for n in range(3)]
    assert shares.crowded("80.1.2.9", near_ones[:2], 32) is None
    assert shares.crowded("80.1.2.9", near_ones, 32) == "80.1.2.0/24"
    wide_ones = [f"80.1.{n}.1" for n in range(8)]
    assert shares.crowded("80.1.99.1", wide_ones[:7], 32) is None
    assert shares.crowded("80.1.99.1", wide_ones, 32) == "80.1.0.0/16"
    assert shares.crowded("80.2.99.1", wide_ones, 32) is None


def test_the_same_for_ipv6_by_48_and_32() -> None:
    shares = Shares()
    assert shares.crowded("2600:1:2::9", [f"2600:1:2:{n}::1" for n in range(3)], 32) == "2600:1:2::/48"
    assert shares.crowded("2600:1:99::9", [f"2600:1:{n}::1" for n in range(8)], 32) == "2600:1::/32"
    assert shares.crowded("2600:1:99::9", ["80.1.2.3"] * 32, 32) is None


def test_an_office_is_no_crowd_unless_asked_for() -> None:
    office = [f"192.168.1.{n}" for n in range(30)]
    assert Shares().crowded("192.168.1.99", office, 32) is None
    assert Shares(counted="all").crowded("192.168.1.99", office, 32) == "192.168.1.0/24"
    assert Shares(counted="all").crowded("127.0.0.1", ["127.0.0.1"] * 30, 32) is None
    assert Shares(counted="off").crowded("80.1.2.9", ["80.1.2.3"] * 30, 32) is None


def test_one_host_cannot_shut_out_its_neighbours() -> None:
    assert Shares().limits(20, at_least=4) == (6, 6)
    assert Shares().crowded("80.1.2.9", ["80.1.2.3"] * 4, 20, at_least=4) is None


def test_very_few_slots_are_for_everybody() -> None:
    assert Shares().crowded("80.1.2.9", [], 1) is None


@given(ips())
def test_networks_hold_each_other(host: str) -> None:
    assert wide(near(host)) == wide(host)
    assert near(host_key(host)) == near(host)
