"""Who may be linked: slots, duplicates, ourselves, roles, and hosts that knock too often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from gnutella.network import admission
from gnutella.network.admission import MAX_HANDSHAKES, MAX_LEAF_LINKS, WINDOW_S, Admission
from gnutella.protocol.handshake import Peer, Refusal
from gnutella.protocol.headers import Headers
from gnutella.protocol.peer import read_peer
from gnutella.reasons import DropReason
from gnutella.settings import NetworkSettings
from gnutella.units import Address, Guid

OURS = Guid(bytes(range(16)))
THEIRS = Guid(bytes(range(16, 32)))


@dataclass
class FakeLink:
    host: str = "80.1.2.3"
    is_leaf: bool = False
    servent_id: Guid | None = None
    reached_at: Address | None = None


def peer(**headers: str) -> Peer:
    fields = {"x_ultrapeer": "True", **headers}
    return read_peer(Headers((name.replace("_", "-"), value) for name, value in fields.items()), "0.6")


def rules(**settings: Any) -> Admission:
    return Admission(NetworkSettings(**settings), OURS)


def ask(these: Admission, host: str, newcomer: Peer, links: list[FakeLink], now: float) -> Refusal | None:
    return these.incoming(host, newcomer, links, links, now)


def reason(refusal: Any) -> DropReason | None:
    return None if refusal is None else refusal.reason


def test_newcomer_is_welcome() -> None:
    assert ask(rules(), "80.1.2.3", peer(), [], 0.0) is None


def test_ourselves_are_refused_whoever_dialled() -> None:
    self_seen = peer(guid=OURS.hex())
    assert reason(ask(rules(), "80.1.2.3", self_seen, [], 0.0)) is DropReason.SELF_LINK
    assert reason(rules().either_way("80.1.2.3", self_seen, [])) is DropReason.SELF_LINK


def test_second_link_to_one_servent_is_refused_by_its_id() -> None:
    refusal = ask(rules(), "90.1.1.1", peer(guid=THEIRS.hex()), [FakeLink(servent_id=THEIRS)], 0.0)
    assert (refusal is not None and refusal.code, reason(refusal)) == (409, DropReason.ALREADY_LINKED)


@pytest.mark.parametrize(
    "known, told, same",
    [(None, {}, True), (THEIRS, {}, True), (None, {"guid": THEIRS.hex()}, True), (THEIRS, {"guid": "ee" * 16}, False)],
)
def test_second_link_is_found_by_address_where_an_id_is_missing(
    known: Guid | None, told: dict[str, str], same: bool
) -> None:
    link = FakeLink(servent_id=known, reached_at=Address("80.1.2.3", 6346))
    newcomer = peer(listen_ip="10.0.0.1:6346", **told)  # the host counts as we see it, not as it says
    assert reason(rules().either_way("80.1.2.3", newcomer, [link])) is (DropReason.ALREADY_LINKED if same else None)
    assert rules().either_way("80.1.2.4", newcomer, [link]) is None


def test_leaf_takes_no_leaf() -> None:
    leaf = peer(x_ultrapeer="False")
    assert reason(ask(rules(role="leaf"), "80.1.2.3", leaf, [], 0.0)) is DropReason.LEAF_TO_LEAF
    assert ask(rules(role="leaf"), "80.1.2.3", peer(), [], 0.0) is None
    assert ask(rules(role="auto"), "80.1.2.3", leaf, [], 0.0) is None


def test_a_leaf_takes_ultrapeers_only_and_five_at_most() -> None:
    leaf = rules(role="leaf")
    without_role = peer(x_ultrapeer="")
    assert reason(ask(leaf, "80.1.2.3", without_role, [], 0.0)) is DropReason.LEAF_TO_LEAF
    four = [FakeLink(f"1.1.1.{number}") for number in range(MAX_LEAF_LINKS - 1)]
    assert ask(leaf, "80.1.2.3", peer(), four, 0.0) is None
    assert reason(ask(leaf, "80.1.2.3", peer(), [*four, FakeLink("1.1.1.9")], 0.0)) is DropReason.SLOTS_FULL
    assert (leaf.wanted_links, rules(role="leaf", want_links=2).wanted_links, rules().wanted_links) == (4, 2, 8)


def test_slots_of_leaves_and_of_others_are_counted_apart() -> None:
    full = rules(max_links=2, max_leaves=1)
    links = [FakeLink("1.1.1.1"), FakeLink("2.2.2.2"), FakeLink("3.3.3.3", is_leaf=True)]
    assert reason(ask(full, "80.1.2.3", peer(), links, 0.0)) is DropReason.SLOTS_FULL
    assert reason(ask(full, "80.1.2.3", peer(x_ultrapeer="False"), links, 0.0)) is DropReason.SLOTS_FULL
    assert ask(full, "80.1.2.3", peer(x_ultrapeer="False"), links[:2], 0.0) is None
    assert ask(full, "80.1.2.3", peer(), links[1:], 0.0) is None


def test_one_host_has_its_share_of_links_but_loopback_is_exempt() -> None:
    two = rules(max_links_per_host=2)
    for host, expected in (("80.1.2.3", DropReason.SLOTS_FULL), ("127.0.0.1", None), ("80.1.2.4", None)):
        links = [FakeLink("80.1.2.3"), FakeLink("80.1.2.3"), *[FakeLink("127.0.0.1")] * 3]
        assert reason(ask(two, host, peer(), links, 0.0)) is expected


def test_one_network_has_its_share_of_links_and_of_leaves() -> None:
    these = rules(max_links=32, max_leaves=100)
    ultrapeers = [FakeLink(f"80.1.2.{n}") for n in range(3)]
    leaves = [FakeLink(f"80.1.2.{n}", is_leaf=True) for n in range(10)]
    assert reason(ask(these, "80.1.2.99", peer(), ultrapeers, 0.0)) is DropReason.NETWORK_FULL
    assert ask(these, "80.1.2.99", peer(), ultrapeers[:2] + leaves, 0.0) is None
    assert reason(ask(these, "80.1.2.99", peer(x_ultrapeer="False"), leaves, 0.0)) is DropReason.NETWORK_FULL
    assert ask(these, "80.1.2.99", peer(x_ultrapeer="False"), leaves[:9] + ultrapeers, 0.0) is None
    office = [FakeLink(f"192.168.1.{n}") for n in range(20)]
    assert ask(these, "192.168.1.99", peer(), office, 0.0) is None


def test_an_ipv6_host_is_its_64() -> None:
    two = rules(max_links_per_host=2)
    links = [FakeLink("2600:1:2:3::1"), FakeLink("2600:1:2:3::2")]
    assert reason(ask(two, "2600:1:2:3::3", peer(), links, 0.0)) is DropReason.SLOTS_FULL
    assert ask(two, "2600:1:2:4::3", peer(), links, 0.0) is None


def test_host_that_knocks_too_often_is_refused_until_the_window_is_over() -> None:
    strict = rules()
    for _ in range(MAX_HANDSHAKES):
        assert ask(strict, "80.1.2.3", peer(), [], 0.0) is None
        assert ask(strict, "127.0.0.1", peer(), [], 0.0) is None
    refusal = ask(strict, "80.1.2.3", peer(), [], 1.0)
    assert (refusal is not None and refusal.code, reason(refusal)) == (429, DropReason.TOO_MANY_HANDSHAKES)
    assert ask(strict, "127.0.0.1", peer(), [], 1.0) is None
    assert ask(strict, "80.1.2.4", peer(), [], 1.0) is None
    assert ask(strict, "80.1.2.3", peer(), [], WINDOW_S) is None


def test_table_of_knocking_hosts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_HOSTS_COUNTED", 4)
    strict = rules()
    for n in range(50):
        assert ask(strict, f"80.1.2.{n}", peer(), [], 0.0) is None
    assert len(strict._handshakes) == 4
