"""What the watch lets pass of a query that a leaf's status drives on, and what it does not: a query that is handled twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gnutella.lab.content import shelf
from gnutella.lab.end import End
from gnutella.lab.net import Network
from gnutella.lab.stream import Line
from gnutella.lab.watch import InvariantBroken
from gnutella.protocol.kinds import QUERY
from gnutella.protocol.message import Query, encode
from gnutella.protocol.vendor import Body, HopsFlow, QueryStatus
from gnutella.protocol.vendor_out import message_of
from gnutella.routing.dynamic import Dynamic
from gnutella.routing.guidance import ENOUGH
from gnutella.routing.link import Link
from gnutella.routing.relay import Relay
from gnutella.settings import RoutingSettings
from gnutella.units import Guid

NEIGHBOURS = 24


class Hub:
    """An ultrapeer with two leaves and many neighbours; the leaf "asker" has a query that the hub is driving."""

    def __init__(self) -> None:
        self.net = net = Network(1, routing=RoutingSettings(trace="off"))
        net.use("dynamic")
        self.hub = net.add("hub", is_ultrapeer=True)
        line = Line(0.01)
        for name in ("asker", "other"):
            net.connect(net.add(name, is_leaf=True), self.hub, line)
        for number in range(NEIGHBOURS):
            net.connect(net.add(f"n{number}", shelf([f"tune {number}.ogg"]), is_ultrapeer=True), self.hub, line)
        net.clock.run(90.0)
        asker = net.nodes["asker"]
        self.guid = net.ask(asker, Query("tune"), 4).guid
        net.clock.run(net.clock.now + 0.015)
        assert 0 < len(self.asked()) < NEIGHBOURS

    def end(self, name: str) -> End:
        """The hub's side of its link with that node."""
        end = self.hub.end_towards(self.net.nodes[name])
        assert end is not None
        return end

    def asked(self) -> dict[int, int]:
        """Links that the hub has asked, and with what TTL."""
        number = self.hub.number
        return {link: ttl for (node, link), ttl in self.net.watch.lives[self.guid].driven.items() if node == number}

    def hears(self, name: str, *messages: bytes) -> None:
        """A chunk reaches the hub."""
        self.net.deliver(self.end(name), b"".join(messages))

    def says(self, body: Body) -> bytes:
        return encode(Guid(self.guid), 1, 0, message_of(body))

    def copy(self, ttl: int = 3) -> bytes:
        return encode(Guid(self.guid), ttl, 1, Query("tune"))


def steps_at_any_status(self: Dynamic, link: Link, guid: Guid, body: Any, now: float) -> None:
    """A planted bug if `link` is not the asker's; else what a router may do that did not ask before."""
    running = self._running.get(guid)
    if running is not None:
        self._step(running, now)


def forgets_whom_it_asked(self: Dynamic, link: Link, guid: Guid, body: Any, now: float) -> None:
    running = self._running[guid]
    for _ in range(NEIGHBOURS):
        running.query.asked.clear()
        self._step(running, now)


def floods_anew(self: Dynamic, link: Link, guid: Guid, body: Any, now: float) -> None:
    board = self._board
    data = encode(guid, 3, 1, Query("tune"))
    for other in board.links.values():
        if other is not link and other.info.is_leaf:
            board.send(other, QUERY, 1, data)


def broken(hub: Hub, name: str, *messages: bytes) -> str:
    with pytest.raises(InvariantBroken) as caught:
        hub.hears(name, *messages)
    return caught.value.rule


def test_a_status_of_the_asker_drives_its_query_on(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    before = hub.asked()
    monkeypatch.setattr(Dynamic, "_told", steps_at_any_status)
    hub.hub.router._signals.read(b"BEAR", 12, 1, hub.hub.router._dynamic._told)
    hub.hears("asker", hub.says(QueryStatus(0)))
    assert len(hub.asked()) > len(before)


@pytest.mark.parametrize(
    ("bug", "name", "kept"),
    [
        (steps_at_any_status, "other", 0),
        (steps_at_any_status, "n3", 0),
        (steps_at_any_status, "asker", ENOUGH),
        (forgets_whom_it_asked, "asker", 0),
        (floods_anew, "asker", 0),
    ],
    ids=[
        "another leaf's status drives it on",
        "a neighbour's does",
        "it is driven on though its leaf has enough",
        "whom it asked is asked again",
        "leaves get it again",
    ],
)
def test_a_planted_bug_of_driving_is_caught(
    bug: Callable[..., None], name: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(Dynamic, "_told", bug)
    hub.hub.router._signals.read(b"BEAR", 12, 1, hub.hub.router._dynamic._told)
    assert broken(hub, name, hub.says(QueryStatus(kept))) == "handled-twice"


@pytest.mark.parametrize("beside", [HopsFlow(5), QueryStatus(0)], ids=["hops flow", "a query status"])
def test_a_query_that_is_handled_twice_is_caught_beside_a_vendor_message_of_its_guid(
    beside: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(Relay, "_refusal", lambda self, link, frame, now: None)
    for way in ("walk", "lone"):
        monkeypatch.setattr(Relay, way, forgetful(getattr(Relay, way)))
    assert broken(hub, "n3", hub.says(beside), hub.copy()) == "handled-twice"


def forgetful(treat: Callable[..., int]) -> Callable[..., int]:
    def treated(self: Relay, link: Link, data: bytes, now: float) -> int:
        self._paths.queries.young.clear()
        self._paths.queries.old.clear()
        return treat(self, link, data, now)

    return treated
