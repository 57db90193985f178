"""The virtual network: latency, rates, losses, faults, partitions, failures, firewalls."""

from __future__ import annotations

import pytest

from gnutella.lab import topology
from gnutella.lab.content import shelf
from gnutella.lab.net import Network
from gnutella.lab.node import LabNode
from gnutella.lab.stream import PATIENCE_S, Fault, Line
from gnutella.lab.sums import check_balance, drop_reasons
from gnutella.network.admission import MAX_LEAF_LINKS
from gnutella.reasons import DropReason
from gnutella.settings import RoutingSettings


def pair(line: Line | None = None, *, seed: int = 1, full: bool = False) -> tuple[Network, LabNode, LabNode]:
    net = Network(seed, routing=RoutingSettings(trace="off", ping_interval_s=5.0))
    alice, bob = net.add("alice"), net.add("bob", shelf(["hello world.txt"]))
    net.connect(alice, bob, line or Line(0.05), full=full)
    return net, alice, bob


def test_a_hit_comes_back_after_two_latencies() -> None:
    net, alice, _ = pair()
    net.clock.run(1.0)
    quest = net.search(alice, "hello")
    net.clock.run(2.0)
    assert quest.first_hit_ms == 100.0
    assert (quest.found, quest.expected, quest.hops, quest.messages) == (1, 1, 1, 1)
    check_balance(net)


def test_a_full_handshake_makes_the_same_link() -> None:
    net, alice, bob = pair(full=True)
    net.clock.run(0.19)
    assert not alice.ends
    net.clock.run(1.0)
    assert [peer.name for peer in alice.neighbours()] == ["bob"]
    assert [peer.name for peer in bob.neighbours()] == ["alice"]
    quest = net.search(alice, "hello")
    net.clock.run(2.0)
    assert quest.found == 1


def test_a_slow_line_delays_by_its_rate() -> None:
    net, alice, _ = pair(Line(0.01, bytes_s=100.0))
    net.clock.run(10.0)
    quest = net.search(alice, "hello")
    net.clock.run(20.0)
    assert quest.first_hit_ms is not None and quest.first_hit_ms > 1000.0


def test_a_lossy_line_delivers_everything_and_some_of_it_late() -> None:
    net, alice, _ = pair(Line(0.01, loss=0.2))
    times = []
    for _ in range(30):
        quest = net.search(alice, "hello")
        net.clock.run(net.clock.now + 40.0)
        assert quest.found == 1
        times.append(quest.first_hit_ms or 0.0)
    assert min(times) == pytest.approx(20.0)
    assert max(times) >= 220.0


def test_a_line_that_loses_nearly_all_breaks() -> None:
    net, alice, bob = pair(Line(0.01, loss=0.95))
    net.clock.run(300.0)
    assert not alice.ends and not bob.ends


def test_cut_and_stalled_streams_lose_nothing() -> None:
    net, alice, bob = pair()
    net.clock.run(1.0)
    towards_bob = alice.end_towards(bob)
    assert towards_bob is not None
    for byte in range(40):
        net.add_fault(towards_bob, Fault("cut", byte))
    net.add_fault(towards_bob, Fault("stall", 30, 3.0))
    quest = net.search(alice, "hello")
    net.clock.run(3.0)
    assert quest.found == 0
    net.clock.run(10.0)
    assert quest.found == 1


def test_a_broken_stream_ends_the_link_on_both_sides() -> None:
    net, alice, bob = pair()
    net.clock.run(1.0)
    end = alice.end_towards(bob)
    assert end is not None
    net.add_fault(end, Fault("break", 10))
    quest = net.search(alice, "hello")
    net.clock.run(2.0)
    assert not alice.ends and not bob.ends
    assert not alice.router.links() and not bob.router.links()
    assert quest.found == 0


def test_corrupt_bytes_are_survived() -> None:
    for byte in range(40):
        net, alice, bob = pair(seed=byte)
        net.clock.run(1.0)
        end = alice.end_towards(bob)
        assert end is not None
        net.add_fault(end, Fault("corrupt", byte))
        net.search(alice, "hello")
        net.clock.run(60.0)
        assert bob.received_by_kind()


def test_a_partition_holds_bytes_until_it_heals() -> None:
    net, alice, _ = pair()
    net.clock.run(1.0)
    net.partition([["alice"], ["bob"]])
    quest = net.search(alice, "hello")
    net.clock.run(10.0)
    assert quest.found == 0 and alice.ends
    net.heal()
    net.clock.run(12.0)
    assert quest.found == 1


def test_a_long_partition_breaks_links_and_forbids_new_ones() -> None:
    net, alice, bob = pair()
    net.clock.run(1.0)
    net.partition([["alice"]])
    net.search(alice, "hello")
    net.clock.run(2.0 + PATIENCE_S)
    assert not alice.ends and not bob.ends
    assert net.connect(alice, bob) is None
    net.heal()
    assert net.connect(alice, bob) is not None


def test_a_killed_node_breaks_its_links_and_comes_back_empty() -> None:
    net, alice, bob = pair()
    net.clock.run(1.0)
    net.kill(bob)
    net.clock.run(2.0)
    assert not alice.ends
    net.revive(bob)
    assert bob.servent_id == bob.router.servent_id and not bob.ends
    assert net.connect(alice, bob) is not None
    quest = net.search(alice, "hello")
    net.clock.run(3.0)
    assert quest.found == 1


def test_a_power_failure_is_found_out_by_silence() -> None:
    net, alice, bob = pair()
    net.clock.run(1.0)
    net.kill(bob, is_power_failure=True)
    net.clock.run(20.0)
    assert alice.ends
    net.clock.run(80.0)
    assert not alice.ends
    assert alice.closes == {DropReason.NO_ALIVE_REPLY: 1}


def test_a_node_that_leaves_says_bye() -> None:
    net, alice, bob = pair()
    net.clock.run(1.0)
    net.leave(bob)
    net.clock.run(2.0)
    assert not alice.ends
    assert alice.received_by_kind()[0x02] == 1
    check_balance(net)


def test_a_firewalled_node_dials_and_is_not_dialled() -> None:
    net = Network(1)
    inside, outside = net.add("inside", is_firewalled=True), net.add("outside")
    assert net.connect(outside, inside) is None
    assert net.connect(inside, outside) is not None


def test_a_leaf_has_a_few_links_and_none_to_leaves() -> None:
    net = Network(1)
    leaf, other = net.add("leaf", is_leaf=True), net.add("other", is_leaf=True)
    ultrapeers = [net.add(f"u{number}") for number in range(MAX_LEAF_LINKS + 1)]
    assert net.connect(leaf, other) is None
    assert all(net.connect(leaf, ultrapeer) for ultrapeer in ultrapeers[:-1])
    assert net.connect(leaf, ultrapeers[-1]) is None
    assert net.connect(ultrapeers[-1], leaf) is None


@pytest.mark.parametrize("full", [False, True])
def test_a_leaf_of_several_ultrapeers_passes_nothing_between_them(full: bool) -> None:
    net = Network(1, routing=RoutingSettings(trace="off"))
    one, other = net.add("one"), net.add("other", shelf(["hello world.txt"]))
    leaf = net.add("leaf", shelf(["hello leaf.txt"]), is_leaf=True)
    for ultrapeer in (one, other):
        net.connect(leaf, ultrapeer, full=full)
    net.clock.run(3.0)
    quest = net.search(one, "hello")
    net.clock.run(5.0)
    assert [arrival.node for life in quest.lives for arrival in life.arrivals] == ["leaf"]
    assert net.search(leaf, "hello").expected == 1


def test_a_jam_is_pushed_back_and_drops_are_counted() -> None:
    net = Network(3, routing=RoutingSettings(trace="off"))
    nodes = [net.add(f"n{number}") for number in range(3)]
    net.connect(nodes[0], nodes[1], Line(0.01))
    net.connect(nodes[1], nodes[2], Line(0.01, bytes_s=200.0, capacity=400))
    for _ in range(1500):
        net.search(nodes[0], "some words that are long enough", keeps_hits=False)
        net.clock.run(net.clock.now + 0.0005)
    end = nodes[1].end_towards(nodes[2])
    assert end is not None and nodes[1].router.queued_bytes(end.id) > 90_000
    assert drop_reasons(net)[DropReason.LINK_BUSY] > 0
    net.clock.run(net.clock.now + 20.0)
    assert nodes[1].router.queued_bytes(end.id) == 0


@pytest.mark.parametrize(
    "kind", ["line", "ring", "star", "tree", "complete", "random_regular", "power_law", "small_world"]
)
@pytest.mark.parametrize("nodes", [2, 3, 10, 101])
def test_topologies_are_connected_and_have_no_double_links(kind: str, nodes: int) -> None:
    from gnutella.lab.chance import source

    pairs = topology.KINDS[kind](nodes, 4, source(1, kind, nodes), 0.2)
    assert len(topology.parts(nodes, pairs)) == 1
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all(0 <= one < nodes and 0 <= other < nodes and one != other for one, other in pairs)


def test_random_regular_graphs_are_regular() -> None:
    from gnutella.lab.chance import source

    degrees = [0] * 200
    for one, other in topology.random_regular(200, 4, source(1, "regular")):
        degrees[one] += 1
        degrees[other] += 1
    assert sum(degree == 4 for degree in degrees) > 190
