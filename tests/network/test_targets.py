"""When the hosts of `connect` are dialled again."""

from __future__ import annotations

import itertools

from gnutella.network.targets import (
    ASK_AGAIN_S,
    FIRST_WAIT_REFUSED_S,
    FIRST_WAIT_S,
    GOOD_LIFE_S,
    LEAF_PAUSE_LINKED_S,
    LEAF_PAUSE_S,
    MAX_ASK_AGAIN_S,
    MAX_WAIT_S,
    Asking,
    Leaves,
    Targets,
)
from gnutella.routing.hosts import HostCache
from gnutella.units import Address, LinkId

ONE, OTHER = Address("80.1.2.3", 1), Address("80.1.2.4", 2)


def test_all_are_due_at_start_and_busy_until_they_ended() -> None:
    targets = Targets([ONE, OTHER])
    assert targets.due(0.0) == [ONE, OTHER]
    assert targets.due(1000.0) == []
    targets.failed(ONE, 1000.0)
    assert targets.due(1000.0 + FIRST_WAIT_S) == [ONE]


def test_waits_double_up_to_a_limit() -> None:
    targets, now, waits = Targets([ONE]), 0.0, []
    for _ in range(12):
        assert targets.due(now) == [ONE]
        targets.failed(ONE, now)
        begun = now
        while not targets.due(now):
            now += 1.0
        targets._targets[ONE].is_busy = False
        waits.append(now - begun)
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == MAX_WAIT_S


def test_refusal_makes_it_wait_longer() -> None:
    targets = Targets([ONE])
    targets.due(0.0)
    targets.failed(ONE, 0.0, is_refused=True)
    assert targets.due(FIRST_WAIT_REFUSED_S - 1) == []
    assert targets.due(FIRST_WAIT_REFUSED_S) == [ONE]


def test_link_that_lived_well_is_redialled_soon() -> None:
    targets = Targets([ONE])
    for _ in range(5):
        targets.due(1e9)
        targets.failed(ONE, 0.0)
    targets.due(1e9)
    targets.lost(ONE, 0.0, GOOD_LIFE_S)
    assert targets.due(FIRST_WAIT_S) == [ONE]


def test_link_that_broke_early_counts_as_a_failure() -> None:
    targets = Targets([ONE])
    targets.due(0.0)
    targets.lost(ONE, 0.0, 1.0)
    targets.due(FIRST_WAIT_S)
    targets.lost(ONE, 10.0, 1.0)
    assert targets.due(10.0 + FIRST_WAIT_S) == []
    assert targets.due(10.0 + 2 * FIRST_WAIT_S) == [ONE]


def test_dropped_and_unknown_ones_are_left_alone() -> None:
    targets = Targets([ONE])
    targets.drop(ONE)
    targets.failed(ONE, 0.0)
    targets.lost(OTHER, 0.0, 1.0)
    assert targets.due(1e9) == []
    assert ONE not in targets


def test_leaves_rest_long_while_there_is_an_ultrapeer_and_are_asked_at_once_when_there_is_none() -> None:
    hosts = HostCache()
    leaves = Leaves(hosts)
    known, met = Address("10.0.0.1", 1), Address("10.0.0.2", 2)
    assert leaves.refused(known, 100.0, is_alone=True) == 100.0 + LEAF_PAUSE_S
    assert leaves.refused(met, 100.0, is_alone=False) == 100.0 + LEAF_PAUSE_LINKED_S
    assert hosts.choose(2, 100.0 + LEAF_PAUSE_S) == [known]
    leaves.ask_again(103.0)
    assert set(hosts.choose(2, 103.0)) == {known, met}


def test_a_host_that_failed_is_not_recalled() -> None:
    hosts = HostCache()
    leaves = Leaves(hosts)
    met = Address("10.0.0.2", 2)
    leaves.refused(met, 100.0, is_alone=False)
    hosts.failed(met, 101.0)
    leaves.ask_again(102.0)
    assert hosts.choose(1, 103.0) == []


def test_neighbours_are_asked_for_hosts_ever_less_often_when_it_does_not_help() -> None:
    """An ultrapeer of gtk-gnutella threw away 350 pings that a leaf of ours sent it in 36 minutes."""
    asking, links = Asking(), [LinkId(1)]
    asked = [now for now in range(100, 500) if asking.is_due(float(now), links, is_lacking=True)]
    waits = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert waits[:4] == [ASK_AGAIN_S, 2 * ASK_AGAIN_S, 4 * ASK_AGAIN_S, 8 * ASK_AGAIN_S]
    assert set(waits[4:]) == {MAX_ASK_AGAIN_S}


def test_somebody_new_is_asked_soon_and_nobody_when_nothing_lacks() -> None:
    asking, old, new = Asking(), LinkId(1), LinkId(2)
    for now in range(100, 500):
        asking.is_due(float(now), [old], is_lacking=True)
    assert not asking.is_due(500.0, [old, new], is_lacking=False)
    assert asking.is_due(500.0, [old, new], is_lacking=True)
    assert not asking.is_due(500.0 + ASK_AGAIN_S, [old], is_lacking=True)
    assert asking.is_due(500.0 + MAX_ASK_AGAIN_S, [old], is_lacking=True)
