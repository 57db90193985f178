"""The meter: closed forms against the design's figures, and the share of own bytes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from anonymizer.cells import LARGE_BODY, LARGE_SIZE, SMALL_BODY, SMALL_SIZE
from anonymizer.errors import CoverPoor
from anonymizer.meter import KNOWN_GRAPH, MAX_OWN_SHARE, WINDOW_MIN, Meter, Metered, effective_set, precision
from anonymizer.wire import CloseReason
from gnutella.testing.relay_pivot import RelayPivots


@pytest.mark.parametrize(("nodes", "expected"), [(1000, 0.32575), (20, 0.3625), (300, 0.3275)])
def test_the_node_before_a_spy_is_the_origin_with_crowds_chance(nodes: int, expected: float) -> None:
    assert precision(nodes) == pytest.approx(expected)


def test_the_bound_for_many_nodes() -> None:
    assert precision(10**7) == pytest.approx(1 - 0.75 * 0.9, abs=1e-6)


@pytest.mark.parametrize("nodes", [5, 20, 50, 300])
def test_the_effective_set_is_the_entropy_of_the_posterior(nodes: int) -> None:
    others = nodes - round(0.1 * nodes) - 1
    chances = [precision(nodes)] + [(1 - precision(nodes)) / others] * others
    assert sum(chances) == pytest.approx(1.0)
    assert effective_set(nodes) == pytest.approx(2 ** -sum(p * math.log2(p) for p in chances))
    assert 1.0 < effective_set(nodes) < nodes


def test_it_grows_with_the_network_and_is_one_for_nobody() -> None:
    sizes = [effective_set(nodes) for nodes in range(2, 400)]
    assert [effective_set(0), effective_set(1)] == [1.0, 1.0]
    assert all(later >= earlier - 1 for earlier, later in pairwise(sizes)) and sizes[-1] > sizes[50]


def test_no_more_is_shown_than_spies_with_the_graph_leave() -> None:
    meter = Meter()
    assert effective_set(301) > KNOWN_GRAPH
    assert meter.reading(2, 300, None, 0.0).set_size == KNOWN_GRAPH
    assert meter.reading(2, 9, 60.0, 0.0).set_size == effective_set(10)
    assert meter.reading(2, 9, 60.0, 0.0).row() == {
        "level": "relay",
        "pivots": 2,
        "edge_age_s": 60.0,
        "nodes": 10,
        "effective_set": round(effective_set(10), 1),
        "own_share": None,
        "warning": None,
    }


def test_mostly_own_bytes_are_warned_of_for_as_long_as_they_count() -> None:
    meter = Meter()
    meter.own(10_000, 0.0)
    assert meter.own_share(0.0) is None and meter.warning(0.0) is None
    meter.own(300_000, 30.0)
    meter.forwarded(200_000, 70.0)
    share = meter.own_share(80.0)
    assert share is not None and share == pytest.approx(310 / 510) and share > MAX_OWN_SHARE
    assert isinstance(meter.warning(80.0), CoverPoor)
    assert meter.reading(1, 30, None, 80.0).row()["warning"] == "CoverPoor"
    meter.forwarded(200_000, 80.0)
    assert meter.warning(90.0) is None
    meter.forwarded(1_000, 70.0)
    assert meter.own_share(60.0 * WINDOW_MIN + 30.0) == 0.0
    assert meter.own_share(60.0 * WINDOW_MIN + 200.0) is None


def test_cells_of_own_circuits_are_counted_whole() -> None:
    net, meter = RelayPivots(), Meter()
    metered = Metered(net, meter)
    pivot_id = next(iter(net.known)).node_id
    net.answers_seals = False
    number = metered.open(pivot_id, b"", net.now)
    assert number is not None and metered.room(number) == 64
    net.circuits[number].pivot_id = pivot_id
    metered.post(pivot_id, b"", net.now)
    metered.close(number, CloseReason.DONE, net.now)
    for size in (LARGE_BODY, SMALL_BODY):
        metered.say(number, bytes(size), net.now)
    net.has_guard = False
    assert metered.open(pivot_id, b"", net.now) is None
    meter.forwarded(10**6, net.now)
    own = LARGE_SIZE + 4 * SMALL_SIZE
    assert meter.own_share(net.now) == pytest.approx(own / (own + 10**6))
