"""The lab from Python with real servents: the same interface, awaited under Twisted's reactor."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from gnutella.lab.overlay import Overlay
from gnutella.testing.machine import is_running

pytestmark = pytest.mark.live


async def story(*, live: bool) -> list[object]:
    """What comes of it, with neither times nor addresses."""
    nodes = {"alice": ["hello world.txt"], "bob": [], "carol": []}
    told: list[object] = []
    async with Overlay(nodes, topology="line", latency_ms=2.0, live=live) as net:
        hits = await net["carol"].search("hello")
        told.append(await net["carol"].search("hello", ttl=1, wait_s=0.2))
        told += [(hit["name"], hit["hops"], hit["sources"][0]["address"] == net["alice"].address) for hit in hits]
        row = await net["carol"].download("hello", within_s=20.0, search_s=0.5)
        told += [row["state"], row["download"], row["size"]]
        await net["bob"].publish("late song.ogg")
        net.partition(["carol"])
        told.append(await net["carol"].search("late song", wait_s=0.2))
        net.heal()
        await net.run(0.3)
        told.append(len(await net["carol"].search("late song")))
        await net["alice"].kill()
        await net.run(0.3)
        told.append(sorted(net["bob"].peers))
        await net["alice"].join("carol")
        told.append(sorted(net["alice"].peers))
    if live:
        assert not any(is_running(process) for process in net.play.net.processes())
    return told


@pytest_twisted.ensureDeferred
async def test_real_servents_do_what_virtual_ones_do_and_the_reactor_goes_on() -> None:
    running: Any = sys.modules["twisted.internet.reactor"]  # pytest-twisted's
    ticks: list[float] = []
    call = running.callLater(0.2, lambda: ticks.append(1.0))
    lived = await ensureDeferred(story(live=True))
    assert ticks and not call.active()
    assert lived == await story(live=False)


def test_what_cannot_be_live_is_refused_at_once() -> None:
    with pytest.raises(RuntimeError, match="not live"):
        _ = Overlay(["alice"], topology="explicit").play
    with pytest.raises(RuntimeError, match="no virtual network"):
        _ = Overlay(["alice"], topology="explicit", live=True).network
