"""Which address we tell others: what the user said, what networks agree on, or that of the socket."""

from __future__ import annotations

import os
from typing import Any

import pytest

from gnutella.errors import UserError
from gnutella.network.own_address import MAX_VOTES, OwnAddresses, is_loopback, is_public, plain_host
from gnutella.settings import NetworkSettings
from gnutella.units import DEFAULT_PORT, Address

#: Three peers in three /16 networks, and two more in the first one.
FAR = ["80.1.2.3", "81.1.2.3", "82.1.2.3"]
US, NOT_US = "24.1.2.3", "24.9.9.9"


def own(port: int | None = 7000, **settings: Any) -> OwnAddresses:
    addresses = OwnAddresses(NetworkSettings(**settings))
    addresses.port = port
    return addresses


@pytest.mark.parametrize("profile", ["lan", "loopback", "public"])
def test_address_of_the_socket_is_told_while_nothing_else_is_known(profile: str) -> None:
    assert own(profile=profile)("192.168.1.5") == Address("192.168.1.5", 7000)
    assert own(profile=profile)("::ffff:192.168.1.5") == Address("192.168.1.5", 7000)
    assert own(None, profile=profile)("192.168.1.5").port == DEFAULT_PORT


def test_what_the_user_said_comes_first() -> None:
    assert own(advertise="24.1.2.3:99")("192.168.1.5") == Address("24.1.2.3", 99)
    assert own(advertise="24.1.2.3")("192.168.1.5") == Address("24.1.2.3", 7000)
    assert own(advertise="24.1.2.3").external == "24.1.2.3"


@pytest.mark.parametrize("text", ["my.host.example", "1.2.3.4:x", "1.2.3.4:0", "999.1.1.1"])
def test_advertised_nonsense_is_a_readable_error(text: str) -> None:
    with pytest.raises(UserError, match="network.advertise") as caught:
        own(advertise=text)
    assert caught.value.exit_code == os.EX_CONFIG


def test_three_networks_that_agree_are_believed_and_told_once() -> None:
    addresses = own(profile="public")
    assert [addresses.report(peer, US) for peer in FAR] == [False, False, True]
    assert addresses("192.168.1.5") == Address(US, 7000)
    assert addresses("127.0.0.1") == Address("127.0.0.1", 7000)
    assert addresses.external == US
    assert not addresses.report("83.1.2.3", US)


def test_reports_of_one_network_count_once() -> None:
    addresses = own(profile="public")
    assert not any(addresses.report(f"80.1.{n}.3", US) for n in range(20))
    assert addresses.external is None


def test_another_report_in_between_neither_helps_nor_harms() -> None:
    addresses = own(profile="public")
    for peer, seen in zip([*FAR[:2], "90.1.1.1", *FAR[:2]], [US, US, NOT_US, US, US], strict=True):
        assert not addresses.report(peer, seen)
    assert addresses.report(FAR[2], US)


def test_belief_changes_when_the_networks_agree_on_another_address() -> None:
    addresses = own(profile="public")
    for peer in FAR:
        addresses.report(peer, US)
    assert [addresses.report(peer, NOT_US) for peer in FAR] == [False, False, True]
    assert addresses.external == NOT_US


@pytest.mark.parametrize(
    "peer, seen", [("192.168.1.1", US), (FAR[0], "192.168.1.5"), (FAR[0], None), (FAR[0], "127.0.0.1")]
)
def test_private_reports_and_private_reporters_do_not_count(peer: str, seen: str | None) -> None:
    addresses = own(profile="public")
    addresses.report(peer, seen)
    assert addresses._four._votes == addresses._six._votes == {}


def test_a_liar_between_honest_peers_changes_nothing() -> None:
    addresses = own(profile="public")
    said = [addresses.report(peer, seen) for peer in FAR for peer, seen in ((peer, US), ("90.1.1.1", NOT_US))]
    assert said == [False, False, False, False, True, False]
    for n in range(50):
        addresses.report(f"90.1.{n}.1", NOT_US)
    assert addresses.external == US


def test_a_new_address_is_believed_when_more_networks_say_so_than_the_old_one() -> None:
    addresses = own(profile="public")
    for n in range(MAX_VOTES):
        addresses.report(f"{40 + n}.1.1.1", US)
    said = [addresses.report(f"{60 + n}.1.1.1", NOT_US) for n in range(5)]
    assert said == [False, False, False, False, True]
    assert addresses.external == NOT_US


def test_our_router_is_believed_until_three_networks_see_something_else() -> None:
    addresses = own(profile="public")
    assert addresses.mapped(US, 7777)
    assert addresses("192.168.1.5") == Address(US, 7777) and addresses.ports == {7000, 7777}
    assert addresses("127.0.0.1") == Address("127.0.0.1", 7000)
    assert not addresses.mapped(US, 7777)
    assert addresses.mapped(US, 7778)
    assert [addresses.report(peer, NOT_US) for peer in FAR] == [False, False, True]
    assert addresses.mapped(None, None)
    assert addresses("192.168.1.5") == Address(NOT_US, 7000)


def test_one_peer_that_agrees_with_the_router_keeps_it_believed() -> None:
    addresses = own(profile="public")
    addresses.mapped(US, 7777)
    addresses.report("90.1.1.1", US)
    assert not any(addresses.report(peer, NOT_US) for peer in FAR)
    assert addresses.external == US


@pytest.mark.parametrize("host", ["192.168.0.2", "100.64.1.1", "0.0.0.0", None])
def test_a_router_behind_another_one_maps_nothing_that_could_be_told(host: str | None) -> None:
    addresses = own(profile="public")
    assert not addresses.mapped(host, 7777)
    assert addresses("192.168.1.5") == Address("192.168.1.5", 7000)


def test_reports_are_ignored_outside_the_public_network() -> None:
    addresses = own(profile="lan")
    assert not any(addresses.report(peer, US) for peer in FAR)
    assert addresses("192.168.1.5").host == "192.168.1.5"


def test_kinds_of_hosts() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "128.0.0.1", "localhost")] == [True] * 3 + [
        False
    ] * 2
    assert [is_public(host) for host in ("24.1.2.3", "10.0.0.1", "127.0.0.1", "x")] == [True, False, False, False]
    assert [plain_host(host) for host in ("::ffff:1.2.3.4", "::1", "1.2.3.4")] == ["1.2.3.4", "::1", "1.2.3.4"]


FAR6 = ["2600:1::1", "2601:1::1", "2602:1::1"]
US6 = "2a00:1:2::7"


def test_reports_of_each_family_are_counted_by_themselves() -> None:
    addresses = own(profile="public")
    told = [(addresses.report(peer, US), addresses.report(peer6, US6)) for peer, peer6 in zip(FAR, FAR6, strict=True)]
    assert told == [(False, False), (False, False), (True, True)]
    assert (addresses.external, addresses.ipv6) == (US, US6)
    assert addresses("2a00:9::9") == Address(US, 7000), "IPv6 goes beside it"
    assert addresses("::1") == Address("::1", 7000)


def test_ipv6_alone_is_told_as_what_others_see() -> None:
    addresses = own(profile="public")
    assert addresses("2a00:9::9") == Address("2a00:9::9", 7000)
    for peer in FAR6:
        addresses.report(peer, US6)
    assert addresses("2a00:9::9") == Address(US6, 7000)
    assert addresses("192.168.1.5") == Address("192.168.1.5", 7000)
    assert addresses.external == US6


@pytest.mark.parametrize(
    ("profile", "host", "is_told"),
    [
        ("lan", "fd00::5", True),
        ("public", "fd00::5", False),
        ("public", "2a00:1::5", True),
        ("lan", "fe80::5%eth0", False),
        ("lan", "::1", False),
        ("lan", "::ffff:10.0.0.1", False),
        ("lan", "10.0.0.1", False),
    ],
)
def test_the_end_of_a_link_over_ipv6_is_told_where_others_can_use_it(profile: str, host: str, is_told: bool) -> None:
    addresses = own(profile=profile)
    assert addresses.linked_at(host) is is_told
    assert addresses.ipv6 == (host if is_told else None)
    assert not addresses.linked_at(host), "it is news once"


def test_an_advertised_address_is_all_that_is_told() -> None:
    assert own(advertise="24.1.2.3").ipv6 is None
    assert own(advertise="[2a00:1::5]:99").ipv6 == "2a00:1::5"
