"""Members find each other, keep links and stem edges, notice who died, and take no more of anything than they should."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from anonymizer import membership
from anonymizer.descr import location_of
from anonymizer.gossip import BURST, PULL_S
from anonymizer.membership import MISSED_PINGS, Manners
from anonymizer.own import REFRESH_S, OwnFacts
from anonymizer.reasons import Refusal
from anonymizer.seal import PIVOT_KEY_S
from anonymizer.stem import MAX_ACCEPTED, MAX_INITIATED
from anonymizer.targets import MAX_LINKS, MIN_LINKS, distance, is_next
from anonymizer.wire import (
    Bye,
    ByeReason,
    Descriptors,
    DescriptorsWanted,
    EdgeAnswer,
    EdgeDrop,
    EdgeRequest,
    Pad,
    Ping,
    Pong,
)
from gnutella.testing.relay_members import MemberNet
from gnutella.testing.relay_nodes import NOW, descriptor_of


def net_of(count: int, seed: int = 1, **options: Any) -> MemberNet:
    """Each knows one that came before it."""
    net = MemberNet(count, seed, **options)
    for number, member in enumerate(net.members[1:], 1):
        net.introduce(member, net.members[net.rng.randrange(number)])
    return net


def pair(**options: Any) -> MemberNet:
    return net_of(2, **options)


@pytest.mark.parametrize("is_lan", [False, True])
def test_who_knows_one_knows_all_after_a_minute(is_lan: bool) -> None:
    net = net_of(30, lan=is_lan)
    net.clock.run(90.0)
    for member in net.members:
        assert len(member.known) == 29
        assert MIN_LINKS <= len(member.links) <= MAX_LINKS
        assert sum(member.links.values()) <= MAX_LINKS // 2  # of others' choice
        kinds = list(member.edges.edges.values())
        assert kinds.count(True) <= MAX_INITIATED and kinds.count(False) <= MAX_ACCEPTED
        assert member.membership.refused() == {}
    made = [kind for member in net.members for kind in member.edges.edges.values()]
    assert len(made) >= 60  # of 120 ends that there is room for


def test_links_are_of_two_sides_and_so_are_edges() -> None:
    net = net_of(12)
    net.clock.run(60.0)
    for member in net.members:
        for node, is_incoming in member.links.items():
            assert net.by_id[node].links[member.id] is not is_incoming
        for node in member.edges.edges:
            assert member.id in net.by_id[node].edges.edges


def test_strangers_are_no_guards_before_their_day() -> None:
    net = net_of(8, min_age_s=86_400.0, min_sources=3)
    net.clock.run(30.0)
    assert all(not member.edges.edges for member in net.members)
    assert all(len(member.known) == 7 for member in net.members)


def test_nobody_links_twice_into_one_network() -> None:
    net = MemberNet(3, 1)
    one, two, three = net.members
    three.host = two.host.rpartition(".")[0] + ".9"
    assert net.introduce(one, two)
    refusal = one.membership.admits(three.id, three.host, net.time, is_incoming=True)
    assert refusal is Refusal.LINK_NETWORK
    net.cut(one, two)
    assert one.membership.admits(three.id, three.host, net.time, is_incoming=True) is None


def test_nobody_links_with_himself_twice_or_with_whom_he_banned() -> None:
    net = pair()
    one, two = net.members
    admits = one.membership.admits
    assert admits(one.id, "", net.time, is_incoming=True) is Refusal.LINK_SELF
    assert admits(two.id, two.host, net.time, is_incoming=True) is Refusal.LINK_TWICE
    net.cut(one, two)
    one.membership.ban(two.id, net.time)
    assert admits(two.id, two.host, net.time, is_incoming=False) is Refusal.LINK_BANNED
    net.clock.run(3.0)
    assert one.links == {}  # nor is it dialled
    assert admits(two.id, two.host, net.time + 3_600, is_incoming=False) is None


def test_others_choose_half_of_our_links_at_most() -> None:
    net = MemberNet(14, 1, manners=Manners(pad_rate=0.0, target_links=0))
    hub = net.members[0]
    taken = [net.introduce(other, hub) for other in net.members[1:]]
    assert taken.count(True) == MAX_LINKS // 2
    other = net.members[-1]
    assert hub.membership.admits(other.id, other.host, net.time, is_incoming=True) is Refusal.LINKS_FULL


def test_beyond_the_most_links_the_oldest_goes_that_is_no_edge_and_no_neighbour_on_the_ring() -> None:
    net = MemberNet(9, 1, manners=Manners(pad_rate=0.0, target_links=0, max_links=6))
    hub, *others = net.members
    net.introduce(hub, others[0])
    hub.edges.make_edge(others[0].id, True)
    for other in others[1:]:
        net.introduce(hub, other)
    here, places = location_of(hub.id), [location_of(other.id) for other in others]
    near = {other.id for other in others if is_next(here, location_of(other.id), places)}
    assert len(near) == 2 and len(hub.links) == 6
    assert {others[0].id, *near} <= set(hub.links)
    # The first goes when the seventh comes, before the neighbours of the end are all there.
    then = [location_of(other.id) for other in others[:7]]
    free = [other.id for other in others[1:7] if not is_next(here, location_of(other.id), then)]
    assert hub.drops[0] == (free[0], ByeReason.FULL) and len(hub.drops) == 2


def test_a_neighbour_on_the_ring_is_let_in_where_it_is_full_and_takes_the_place_of_others_that_came_by_themselves() -> (
    None
):
    net = MemberNet(40, 1, manners=Manners(pad_rate=0.0, target_links=0, max_links=6))
    hub, *others = net.members
    here = location_of(hub.id)
    others.sort(key=lambda member: distance(here, location_of(member.id)), reverse=True)
    ours = others[:3]
    for other in ours:
        net.introduce(hub, other)
    for other in others[3:]:
        net.introduce(other, hub)
    assert {other.id for other in ours} <= set(hub.links), "links of our own choice are not for others to end"
    assert len(hub.links) == 6 and sum(hub.membership.links.values()) == 3
    places = [location_of(other.id) for other in others]
    assert all(other.id in hub.links for other in others if is_next(here, location_of(other.id), places))


def test_whoever_is_full_dials_its_neighbours_on_the_ring_and_nobody_else() -> None:
    net = MemberNet(30, 1, manners=Manners(pad_rate=0.0, target_links=10, max_links=10))
    for before, after in pairwise(net.members):
        net.introduce(before, after)
    net.clock.run(150.0)
    ring = sorted(net.members, key=lambda member: location_of(member.id))
    assert all(after.id in before.links for before, after in zip(ring, ring[1:] + ring[:1], strict=True))


def test_cover_is_half_a_cell_a_second_on_each_link_and_no_more_in_all_than_on_as_many_as_are_aimed_at() -> None:
    for count, expected in ((3, 3 * 0.5), (6, 6 * 0.5), (10, 6 * 0.5)):
        net = MemberNet(count + 1, 1, manners=Manners(target_links=6))
        hub, *others = net.members
        for other in others:
            net.introduce(hub, other)
        net.clock.run(30.0)
        hub.sent.clear()
        net.clock.run(330.0)
        rate = sum(isinstance(body, Pad) for _, body in hub.sent) / 300.0
        assert abs(rate - expected) < 0.25 * expected, (count, len(hub.links), rate)


def test_who_answers_no_ping_is_dead_after_three() -> None:
    net = pair()
    one, two = net.members
    net.clock.run(5.0)
    two.is_silent = True
    net.clock.run(400.0)
    assert (two.id, ByeReason.SILENT) in one.drops
    first = one.drops.index((two.id, ByeReason.SILENT))
    pings = [body for _, body in one.sent if isinstance(body, Ping)]
    assert first == 0 and len(pings) >= MISSED_PINGS
    assert one.membership.refusals[Refusal.LINK_SILENT] >= 1


def test_pongs_are_measured_and_none_is_taken_that_was_not_asked_for() -> None:
    net = pair()
    one, two = net.members
    net.clock.run(200.0)
    assert one.edges.round_trips == pytest.approx([0.04] * len(one.edges.round_trips))
    assert len(one.edges.round_trips) >= 2
    before = len(one.edges.round_trips)
    one.membership.receive(two.id, Pong(b"elephant"), net.time)
    assert len(one.edges.round_trips) == before
    assert one.membership.refusals[Refusal.PONG_UNASKED] == 1


def test_a_slow_pong_does_not_make_virtual_stems_long() -> None:
    net = pair()
    one, two = net.members
    two.is_silent = True
    while not (pings := [body for _, body in one.sent if isinstance(body, Ping)]):
        net.clock.run(net.clock.now + 1.0)
    one.membership.receive(two.id, Pong(pings[0].nonce), net.time + 1_000.0)
    assert one.edges.round_trips == [membership.MAX_ROUND_TRIP_S]


def test_cover_goes_over_each_link_at_its_rate() -> None:
    net = pair(manners=Manners())
    one, _ = net.members
    net.clock.run(400.0)
    pads = sum(isinstance(body, Pad) for _, body in one.sent)
    assert 140 <= pads <= 260  # 200 expected, deviation 14


def test_news_are_told_on_at_one_cell_a_second_but_not_to_who_told() -> None:
    net = MemberNet(3, 1, manners=Manners(pad_rate=0.0, target_links=0))
    one, two, three = net.members
    net.introduce(one, two)
    net.introduce(one, three)
    net.clock.run(30.0)
    one.sent.clear()
    begun = len(three.known)
    for number in range(100, 112):
        one.membership.receive(two.id, Descriptors((descriptor_of(number).data,)), net.time)
        net.clock.run(net.clock.now + 0.25)
    net.clock.run(net.clock.now + 2.0)
    told = [(node, body) for node, body in one.sent if isinstance(body, Descriptors)]
    assert {node for node, _ in told} == {three.id}
    assert len(told) <= 5  # in three seconds and a bit, several in each cell
    assert len(three.known) == begun + 12


def test_gossip_faster_than_it_may_be_is_not_read() -> None:
    net = pair()
    one, two = net.members
    net.clock.run(60.0)
    known = len(one.known)
    for number in range(100, 100 + int(BURST) + 4):
        one.membership.receive(two.id, Descriptors((descriptor_of(number).data,)), net.time)
    assert len(one.known) == known + BURST
    assert one.membership.refused() == {"gossip_fast": 4}


def test_a_second_pull_within_ten_minutes_is_not_answered() -> None:
    net = pair()
    one, two = net.members
    net.clock.run(30.0)
    one.sent.clear()
    one.membership.receive(two.id, DescriptorsWanted(0), net.time)
    net.clock.run(40.0)
    assert one.membership.refused() == {"gossip_fast": 1}
    assert not [body for _, body in one.sent if isinstance(body, Descriptors)]
    net.clock.run(PULL_S + 40.0)
    one.membership.receive(two.id, DescriptorsWanted(0), net.time)
    net.clock.run(PULL_S + 60.0)
    assert [body for _, body in one.sent if isinstance(body, Descriptors)]


def test_a_new_edition_spreads_and_comes_at_random_times() -> None:
    net = net_of(6)
    net.clock.run(60.0)
    one = net.members[0]
    one.membership.change(OwnFacts(None, 0, 3), net.time)
    net.clock.run(90.0)
    for other in net.members[1:]:
        kept = other.known.get(one.id)
        assert kept is not None and kept.bandwidth == 3 and not kept.host
    own = one.membership.own
    times = [hour for hour in range(40 * 24) if own.tick(NOW + 3_600 * (hour + 1))]
    gaps = [after - before for before, after in pairwise(times)]
    assert len(set(gaps)) > 8  # no clock of any kind
    assert 4 <= sum(gaps) / len(gaps) <= 1.5 * REFRESH_S / 3_600


def test_a_turned_pivot_key_is_told_at_once() -> None:
    net = pair()
    own = net.members[0].membership.own
    before = own.current
    assert own.tick(NOW + PIVOT_KEY_S)
    assert own.current.pivot_keys[1] == before.pivot_keys[0]
    assert own.current.sequence > before.sequence
    assert not own.change(own.facts, NOW + PIVOT_KEY_S)


def asked(net: MemberNet) -> list[bool]:
    """What the first member answered the second about edges."""
    one, two = net.members
    return [body.accepted for node, body in one.sent if isinstance(body, EdgeAnswer) and node == two.id]


def test_a_node_asks_for_an_edge_once_an_hour() -> None:
    net = pair(min_sources=9)
    one, two = net.members
    ask = one.membership.receive
    ask(two.id, EdgeRequest(), net.time)
    assert asked(net) == [True] and one.edges.edges == {two.id: False}
    ask(two.id, EdgeDrop(), net.time)
    assert one.edges.edges == {}
    ask(two.id, EdgeRequest(), net.time + 3_599)
    assert asked(net) == [True, False]
    ask(two.id, EdgeRequest(), net.time + 3_600)
    assert asked(net) == [True, False, True]
    assert one.membership.refused() == {"edge_often": 1}


def test_an_answer_nobody_asked_for_makes_no_edge() -> None:
    net = pair(min_sources=9)
    one, two = net.members
    one.membership.receive(two.id, EdgeAnswer(True), net.time)
    assert one.edges.edges == {}
    assert one.membership.refused() == {"edge_unasked": 1}


def test_only_two_edges_are_accepted_and_one_of_each_network() -> None:
    net = MemberNet(5, 1, min_sources=9, manners=Manners(pad_rate=0.0, target_links=0))
    hub, *others = net.members
    for other in others:
        net.introduce(other, hub)
        hub.membership.receive(other.id, EdgeRequest(), net.time)
    assert hub.edges.edges == {others[0].id: False, others[1].id: False}


def test_who_dials_in_gets_no_edge_that_carries_what_is_ours() -> None:
    net = MemberNet(2, 1, min_sources=0)
    one, two = net.members
    net.introduce(two, one)
    one.membership.receive(two.id, EdgeRequest(), net.time)
    net.clock.run(30.0)
    assert one.edges.edges == {two.id: False}
    assert one.guards.gone == {two.id}  # another guard, please


def test_after_a_bye_that_node_is_left_alone_for_a_while() -> None:
    net = pair()
    one, two = net.members
    net.clock.run(30.0)
    one.membership.receive(two.id, Bye(ByeReason.FULL), net.time)
    assert one.links == {} and one.membership.wanted() == []
    net.clock.run(60.0)
    assert one.membership.wanted() == []


def test_the_median_of_three_clocks_tells_of_ours() -> None:
    net = net_of(6)
    net.clock.run(30.0)
    membership, now = net.members[0].membership, NOW + net.clock.now
    nodes = list(membership.links)
    assert len(nodes) >= 3 and membership.clock_skew_s is None
    for node, ahead in zip(nodes[:3], (10, 10, -900), strict=True):
        membership.clock_said(node, int(now // 60) + ahead, now)
    assert membership.clock_skew_s == 600.0
    membership.clock_said(b"?" * 32, 0, now)
    membership.link_down(nodes[0], now)
    assert membership.clock_skew_s is None
