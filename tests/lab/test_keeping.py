"""Nodes of the lab that look after their links themselves: whom they dial, take, refuse and are told of."""

from __future__ import annotations

import pytest

from gnutella.lab import chance
from gnutella.lab.census import census
from gnutella.lab.keeping import Keeper
from gnutella.lab.net import Network
from gnutella.lab.node import LabNode
from gnutella.lab.stream import Line
from gnutella.lab.sums import check_balance
from gnutella.network.admission import LEAF_LINKS
from gnutella.routing.hosts import FIRST_BACK_OFF_S
from gnutella.settings import NetworkSettings, RoutingSettings

LINE = Line(0.02)


def network() -> Network:
    return Network(1, routing=RoutingSettings(trace="off", ping_interval_s=5.0))


def kept(
    net: Network,
    name: str,
    *known: LabNode,
    role: str = "ultrapeer",
    is_firewalled: bool = False,
    **settings: int | str,
) -> LabNode:
    """A node that knows these others."""
    node = net.add(name, is_firewalled=is_firewalled)
    node.keeper = Keeper(net, node, NetworkSettings(role=role, **settings), lambda: LINE)  # type: ignore[arg-type]
    for other in known:
        node.hosts.learn(other.address, 0.0)
    return node


def names(node: LabNode) -> list[str]:
    return sorted(peer.name for peer in node.neighbours())


def test_a_node_dials_whom_it_knows_and_hears_of_others() -> None:
    net = network()
    first = kept(net, "first")
    second = kept(net, "second", first)
    third = kept(net, "third", second)
    net.clock.run(10.0)
    assert names(third) == ["first", "second"]
    check_balance(net)


def test_a_full_ultrapeer_names_others_when_it_refuses() -> None:
    net = network()
    other = kept(net, "other")
    full = kept(net, "full", other, max_leaves=0)
    net.clock.run(5.0)
    leaf = kept(net, "leaf", full, role="leaf")
    net.clock.run(15.0)
    assert names(leaf) == ["other"]
    assert other.end_towards(leaf) is not None and full.end_towards(leaf) is None


def test_a_leaf_keeps_as_many_links_as_the_servent() -> None:
    net = network()
    ultrapeers = [kept(net, f"u{number}") for number in range(8)]
    leaf = kept(net, "leaf", *ultrapeers, role="leaf")
    net.clock.run(10.0)
    assert len(leaf.ends) == LEAF_LINKS
    net.kill(leaf.neighbours()[0])
    net.clock.run(20.0)
    assert len(leaf.ends) == LEAF_LINKS


def test_leaves_alone_refuse_each_other() -> None:
    net = network()
    one = kept(net, "one", role="leaf")
    two = kept(net, "two", one, role="leaf")
    net.clock.run(30.0)
    assert not one.ends and not two.ends


def test_of_two_links_that_cross_one_stays() -> None:
    net = network()
    one = kept(net, "one")
    two = kept(net, "two", one)
    one.hosts.learn(two.address, 0.0)
    net._tick(one, one.lives)
    net._tick(two, two.lives)
    assert one.opening and two.opening
    net.clock.run(0.5)
    assert names(one) == ["two"] and names(two) == ["one"]
    assert one.ends[next(iter(one.ends))].peer.id in two.ends
    net.clock.run(20.0)
    assert len(one.ends) == len(two.ends) == 1
    check_balance(net)


def test_a_dead_host_is_left_alone_for_a_while_and_dialled_again() -> None:
    net = network()
    host = kept(net, "host")
    node = kept(net, "node", host)
    net.kill(host)
    net.clock.run(2.0)
    assert node.hosts.choose(1, net.clock.now) == []
    net.revive(host)
    net.clock.run(FIRST_BACK_OFF_S + 5.0)
    assert names(node) == ["host"]


def test_a_host_without_power_costs_the_time_out() -> None:
    net = network()
    host = kept(net, "host")
    node = kept(net, "node", host, dial_timeout_s=10)
    net.kill(host, is_power_failure=True)
    net.clock.run(9.0)
    assert node.hosts.choose(1, net.clock.now) == [host.address]
    net.clock.run(12.0)
    assert node.hosts.choose(1, net.clock.now) == []


def test_a_handshake_that_gets_no_answer_is_given_up() -> None:
    net = network()
    host = kept(net, "host")
    node = kept(net, "node", host, handshake_timeout_s=3)
    net.clock.run(0.01)
    net._tick(node, node.lives)
    net.clock.run(0.05)
    net.partition([["host"]])
    assert node.opening
    net.clock.run(6.0)
    assert not node.opening and not node.ends


def ultrapeers(net: Network) -> list[str]:
    return [node.name for node in net.nodes.values() if node.is_up and not node.is_leaf]


def test_a_node_alone_becomes_an_ultrapeer_and_those_that_come_its_leaves() -> None:
    net = network()
    first = kept(net, "first", role="auto")
    net.clock.run(0.5)
    assert ultrapeers(net) == [] and first.router.is_leaf
    net.clock.run(30.0)
    assert ultrapeers(net) == ["first"] and not first.router.is_leaf
    second = kept(net, "second", first, role="auto")
    net.clock.run(35.0)
    assert ultrapeers(net) == ["first"] and names(second) == ["first"]
    check_balance(net)


def test_a_firewalled_node_promotes_itself_for_nobody() -> None:
    net = network()
    kept(net, "inside", role="auto", is_firewalled=True)
    net.clock.run(120.0)
    assert ultrapeers(net) == []


def test_an_ultrapeer_without_leaves_steps_back_and_says_whom_it_is_linked_to_then() -> None:
    net = network()
    lone = kept(net, "lone", role="auto")
    net.clock.run(30.0)
    other = kept(net, "other", lone)
    net.clock.run(40.0)
    assert ultrapeers(net) == ["lone", "other"] and names(lone) == ["other"]
    net.clock.run(150.0)
    assert ultrapeers(net) == ["other"] and names(lone) == ["other"]
    assert lone.keeper is not None
    assert [is_leaf for _, is_leaf, _ in lone.keeper.changes] == [False, True]
    assert "no leaves" in lone.keeper.changes[-1][2]
    (end,) = other.ends.values()
    assert end.is_leaf
    check_balance(net)


def test_when_the_last_ultrapeer_dies_a_leaf_takes_its_place() -> None:
    net = network()
    first = kept(net, "first")
    for number in range(3):
        kept(net, f"n{number}", first, role="auto")
    net.clock.run(30.0)
    assert ultrapeers(net) == ["first"]
    net.kill(first)
    net.clock.run(60.0)
    row = census(net)
    assert row["ultrapeers"] >= 1 and row["linked"] == 1 and row["parts"] == 1


def test_a_node_that_comes_back_begins_as_a_leaf() -> None:
    net = network()
    first = kept(net, "first", role="auto")
    net.clock.run(30.0)
    net.kill(first)
    net.revive(first)
    assert first.is_leaf and first.router.is_leaf
    net.clock.run(60.0)
    assert ultrapeers(net) == ["first"]


def orphans(seed: int, delay_s: float) -> tuple[Network, list[LabNode]]:
    """Four nodes of role auto that know one of them and look after their links in the same milliseconds; it dies."""
    net = Network(seed, routing=RoutingSettings(trace="off"))
    nodes = [kept(net, "n0", role="auto", profile="lan")]
    nodes += [kept(net, f"n{number}", nodes[0], role="auto", profile="lan") for number in range(1, 4)]
    net.clock.run(delay_s)
    assert ultrapeers(net) == ["n0"] and all(names(node) == ["n0"] for node in nodes[1:])
    net.kill(nodes[0])
    return net, nodes[1:]


@pytest.mark.parametrize("seed", range(3))
def test_orphans_that_all_knock_at_the_same_time_find_each_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chance, "between", lambda rng, low, high: 0.01 * rng.random())
    net, rest = orphans(seed, 12.0 + seed)
    net.clock.run(net.clock.now + 10.0)
    heads = [node for node in rest if not node.is_leaf]
    assert heads and all(any(not peer.is_leaf for peer in node.neighbours()) for node in rest if node.is_leaf)
    assert all(other is head or head.end_towards(other) is not None for head in heads for other in heads)


@pytest.mark.parametrize("seed", range(2))
def test_leaves_that_linked_in_the_same_moment_know_each_other_after_a_round_trip(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chance, "between", lambda rng, low, high: 0.01 * rng.random())
    net, rest = orphans(seed, 0.25)
    net.clock.run(net.clock.now + 10.0)
    heads = [node for node in rest if not node.is_leaf]
    assert heads and all(any(not peer.is_leaf for peer in node.neighbours()) for node in rest if node.is_leaf)


def test_an_ultrapeer_tells_its_leaves_of_each_other() -> None:
    _, rest = orphans(1, 12.0)
    for node in rest:
        assert {row.host for row in node.hosts.rows()} >= {other.address.host for other in rest if other is not node}
