"""A1: a tenth of the nodes collude, know the whole graph, and see what passes them.  Small runs, fixed seeds, three sigma."""

from __future__ import annotations

from functools import cache

import pytest

from anonymizer.stem import Stem
from anonymizer.wire import Open, Phase, parse
from gnutella.testing.anonymity.graph import Adversary
from gnutella.testing.anonymity.neighbours import Findings, Series, one_by_one, series
from gnutella.testing.anonymity.stats import Share, mean
from gnutella.testing.anonymity.stem_net import Sighting, StemNet
from gnutella.testing.anonymity.twins import CoinForEach, CountsHops, GuardForEach

NODES, SPIES = 100, 0.1


@cache
def findings(kind: type[Stem] = Stem) -> Findings:
    found = Findings()
    for seed in range(8):
        found.extend(one_by_one(NODES, SPIES, 120, seed, kind))
    return found


@cache
def linked(kind: type[Stem] = Stem) -> Series:
    found = Series()
    for seed in range(8):
        found.extend(series(NODES, SPIES, 12, 8, seed, kind))
    return found


def at_most(found: Share, goal: float) -> None:
    assert found.value <= goal + 3 * found.sigma(goal)


def test_a_name_is_rarely_right_and_never_sure() -> None:
    found = findings()
    at_most(found.precision, 0.35)
    at_most(found.recall, 0.12)
    at_most(found.surer_than(0.9), 0.01)
    assert found.degree > 0.5
    assert found.degree_of_system > 0.83
    assert found.lost < 0.02 * len(found.verdicts)


def test_spies_are_as_often_right_as_they_think() -> None:
    """What the adversary computes is what happens: a wrong graph, or wrong chances, would show here."""
    found = findings()
    expected = mean(verdict.best for verdict in found.seen)
    assert abs(found.precision.value - expected) < 3.5 * found.precision.sigma(expected)
    # Some spy sees f / (1 - (1 - f)(1 - q)) of all circuits.
    assert abs(found.some_spy_sees.value - 0.308) < 0.06


def test_a_counter_of_hops_makes_spies_sure() -> None:
    assert findings(CountsHops).surer_than(0.9).value > 0.2
    assert findings(CountsHops).effective_set < findings().effective_set / 2


def test_many_circuits_tell_no_more_than_one() -> None:
    found = linked()
    at_most(named(found), 0.12)
    # Each of eight pivots is not the origin, which is known of one pivot as well; nothing else is learnt.
    assert mean(verdict.best for verdict in found.last) < mean(verdict.best for verdict in found.first) + 0.08
    assert not any(verdict.best > 0.9 for verdict in found.last)


@pytest.mark.parametrize("kind", [CoinForEach, GuardForEach])
def test_ways_that_are_drawn_for_each_circuit_show_their_origin(kind: type[Stem]) -> None:
    broken, ours = named(linked(kind)), named(linked())  # type: ignore[arg-type]
    assert broken.value > ours.value + 0.08


def named(found: Series) -> Share:
    return Share(sum(verdict.is_right for verdict in found.last), found.origins)


def test_the_adversary_foresees_every_bridge() -> None:
    """From where a stem ends, the spies know the way to the pivot: it is computed, and compared with what happens."""
    net = StemNet(60, seed=5)
    ways: list[Sighting] = []
    net.watch = lambda sighting: ways.append(sighting) if isinstance(parse(sighting.cell), Open) else None
    checked = 0
    for _ in range(80):
        ways.clear()
        origin, pivot = net.rng.sample(net.nodes, 2)
        origin.open(pivot, net.seal())
        net.clock.run(net.clock.now + 30)
        phases = [getattr(parse(way.cell), "phase", None) for way in ways]
        ends = [at for at in range(1, len(ways)) if phases[at - 1] != phases[at]]
        if not ends:
            continue
        stem_end, first = ways[ends[0] - 1], ways[ends[0]]
        spied = Adversary(net, [first.to])
        foreseen = spied.bridge((stem_end.came, stem_end.to), pivot.number)
        if first.to != pivot.number:
            assert foreseen is not None
        assert foreseen is None or foreseen[1:3] == (first.came, first.to)
        checked += 1
    assert checked > 20


def test_a_posterior_sums_up_to_one_and_names_no_spy() -> None:
    net = StemNet(60, seed=5)
    spy = net.nodes[1].chosen[0]
    posterior = Adversary(net, [spy]).posterior([((Phase.STEM, 1, spy, 0), 7)])
    assert sum(posterior.values()) == pytest.approx(1)
    assert spy not in posterior
    assert max(posterior, key=posterior.__getitem__) == 1
    assert 7 not in posterior
