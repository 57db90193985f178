"""Ways to search: the seam, and what each of them costs and finds on the same network."""

from __future__ import annotations

import pytest
from msgspec import structs
from zope.interface.verify import verifyObject

from gnutella.lab.compare import compare, standard
from gnutella.lab.net import Network
from gnutella.lab.runner import run
from gnutella.lab.strategies import IStrategy
from gnutella.lab.ways import STRATEGIES


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_provides_the_seam(name: str) -> None:
    strategy = STRATEGIES[name](Network(1))
    assert verifyObject(IStrategy, strategy)
    assert strategy.name == name


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, float]]:
    found = compare(standard(nodes=80, queries=25, degree=4), STRATEGIES)
    assert not any(row["failures"] for row in found)
    return {row["strategy"]: row for row in found}


def test_flooding_finds_nearly_all(rows: dict[str, dict[str, float]]) -> None:
    assert rows["flooding"]["recall"] > 0.9
    assert rows["flooding"]["recall"] > rows["expanding_ring"]["recall"]


def test_one_hop_replication_saves_messages_and_loses_no_hits(rows: dict[str, dict[str, float]]) -> None:
    # It even finds a little more: a copy on its last hop, which would keep a node from passing a later one on, is not sent.
    for plain in ("flooding", "expanding_ring"):
        assert rows[f"{plain}_one_hop"]["messages"] < rows[plain]["messages"]
    for plain in ("flooding", "random_walks"):
        assert rows[f"{plain}_one_hop"]["recall"] >= rows[plain]["recall"]


def test_an_expanding_ring_takes_longer(rows: dict[str, dict[str, float]]) -> None:
    assert rows["expanding_ring"]["p90_ms"] > rows["flooding"]["p90_ms"]


def test_walkers_take_no_more_steps_than_they_may() -> None:
    from gnutella.lab.walks import CHECK_EVERY, STEPS, WALKERS

    outcome = run(structs.replace(standard(nodes=60, queries=10), strategy="random_walks"))
    assert outcome.is_success
    assert max(row["messages"] for row in outcome.rows) <= WALKERS * STEPS * (1 + 1 / CHECK_EVERY)
    assert max(row["messages"] for row in outcome.rows) > WALKERS


def test_hops_of_walks_are_those_of_the_way_back() -> None:
    outcome = run(structs.replace(standard(nodes=60, queries=10), strategy="random_walks"))
    assert all(row["hops"] is None or 1 <= row["hops"] <= 60 for row in outcome.rows)
    assert any(row["found"] for row in outcome.rows)


def test_a_plugin_adds_a_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    from zope.interface import implementer

    from gnutella.lab.strategies import Flooding
    from gnutella.lab.ways import IStrategyMaker, maker_of

    @implementer(IStrategyMaker)
    class Maker:
        name = "whispering"

        def make(self, net: Network) -> IStrategy:
            return Flooding(net)

    assert maker_of("whispering") is None
    monkeypatch.setattr("twisted.plugin.getPlugins", lambda interface: [Maker()])
    outcome = run(structs.replace(standard(nodes=10, queries=2), strategy="whispering"))
    assert outcome.is_success
