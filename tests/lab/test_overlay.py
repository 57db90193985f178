"""The lab from Python; it needs no event loop, so these tests drive the coroutines by hand."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from gnutella.lab.overlay import Overlay
from gnutella.lab.scenario import parse


def play(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run to the end; nothing in virtual time ever suspends."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_a_search_gives_rows_with_the_product_keys() -> None:
    async def story() -> None:
        async with Overlay({"alice": ["hello world.txt"], "bob": [], "carol": []}, topology="line") as net:
            hits = await net["carol"].search("hello world")
            assert [hit["name"] for hit in hits] == ["hello world.txt"]
            assert hits[0]["hops"] == 2
            assert hits[0]["sources"][0]["address"] == str(net["alice"].node.address)
            assert await net["carol"].search("nothing of the kind") == []

    play(story())


def test_nodes_come_go_and_share() -> None:
    async def story() -> None:
        async with Overlay(["alice", "bob"], links=[("alice", "bob")], topology="explicit", latency_ms=5.0) as net:
            await net["bob"].publish("late song.ogg")
            assert len(await net["alice"].search("late song")) == 1
            await net["bob"].leave()
            await net.run(1.0)
            assert net["alice"].peers == []
            await net["bob"].join("alice")
            assert len(await net["alice"].search("late song")) == 1
            net.partition(["alice"], ["bob"])
            assert await net["alice"].search("late song") == []
            net.heal()
            assert len(await net["alice"].search("late song")) == 1
            net.add("carol", ["late song.ogg"])
            net.link("carol", "alice")
            assert len((await net["bob"].search("late song"))[0]["sources"]) == 1

    play(story())


def test_numbered_networks_and_traces() -> None:
    async def story() -> None:
        traces = []
        for _ in range(2):
            async with Overlay(12, topology="random_regular", degree=3, seed=5) as net:
                await net["n3"].search("anything")
                await net["n4"].kill(power_failure=True)
                await net.run(2.0)
                traces.append(net.trace)
        assert traces[0] == traces[1]

    play(story())


def test_a_scenario_can_be_looked_at_while_it_runs() -> None:
    async def story() -> None:
        scenario = parse('[topology]\nkind = "ring"\nnodes = 5\n[[action]]\ndo = "leave"\nat_s = 2\nnode = "n1"\n')
        async with Overlay.of(scenario) as net:
            await net.run(1.0)
            assert len(net["n0"].peers) == 2
            await net.run(2.0)
            assert net["n0"].peers == ["n4"]

    play(story())


def test_a_wrong_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no node 'zoe'"):
        Overlay(["alice"], links=[("alice", "zoe")], topology="explicit")
    with pytest.raises(RuntimeError):
        _ = Overlay(["alice"]).network
