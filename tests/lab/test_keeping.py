"""Nodes of the lab that look after their links themselves: whom they dial, take, refuse and are told of."""

from __future__ import annotations

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


def kept(net: Network, name: str, *known: LabNode, is_leaf: bool = False, **settings: int) -> LabNode:
    """A node that knows these others."""
    node = net.add(name, is_leaf=is_leaf)
    role = "leaf" if is_leaf else "ultrapeer"
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
    leaf = kept(net, "leaf", full, is_leaf=True)
    net.clock.run(15.0)
    assert names(leaf) == ["other"]
    assert other.end_towards(leaf) is not None and full.end_towards(leaf) is None


def test_a_leaf_keeps_as_many_links_as_the_servent() -> None:
    net = network()
    ultrapeers = [kept(net, f"u{number}") for number in range(8)]
    leaf = kept(net, "leaf", *ultrapeers, is_leaf=True)
    net.clock.run(10.0)
    assert len(leaf.ends) == LEAF_LINKS
    net.kill(leaf.neighbours()[0])
    net.clock.run(20.0)
    assert len(leaf.ends) == LEAF_LINKS


def test_leaves_alone_refuse_each_other() -> None:
    net = network()
    one = kept(net, "one", is_leaf=True)
    two = kept(net, "two", one, is_leaf=True)
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
