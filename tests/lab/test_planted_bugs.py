"""Each of these routing bugs, planted into the production router, is caught by an invariant within one standard run.

The standard run has what a router meets: a mesh, leaves, repeated questions, hits from afar, pushes, and links that push back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gnutella.lab import chance, topology
from gnutella.lab.content import shelf
from gnutella.lab.net import Network
from gnutella.lab.stream import Line
from gnutella.lab.sums import check_balance
from gnutella.lab.watch import InvariantBroken
from gnutella.protocol.frames import HOPS_AT, TTL_AT, Frame, frames
from gnutella.protocol.kinds import PING, QUERY, QUERY_HIT
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.routing.hits import Hits
from gnutella.routing.link import Link
from gnutella.routing.pings import Pings
from gnutella.routing.pushes import Pushes
from gnutella.routing.relay import Relay
from gnutella.routing.seen import Generations
from gnutella.routing.switchboard import Switchboard
from gnutella.settings import RoutingSettings
from gnutella.units import LinkId

ULTRAPEERS, LEAVES = 20, 8
#: So few that the questions of one run fill it, and not so few that a chunk of pongs turns it.
GENERATION, QUESTIONS = 24, 60


def standard_run(seed: int = 3) -> Network:
    """Twenty routers, eight leaves, sixty questions, some pushes, one slow line; InvariantBroken ends it."""
    net = Network(seed, routing=RoutingSettings(trace="off", query_ttl=4, ping_interval_s=5.0))
    rng = chance.source(seed, "standard run")
    for number in range(ULTRAPEERS + LEAVES):
        names = [f"common song {number}.ogg", f"rare take {number % 5}.ogg"] if number % 2 else []
        net.add(f"n{number}", shelf(names), is_leaf=number >= ULTRAPEERS, query_generation=GENERATION)
    nodes = list(net.nodes.values())
    for one, other in topology.superpeers(ULTRAPEERS, LEAVES, 4, 3, rng):
        net.connect(nodes[one], nodes[other], Line(chance.between(rng, 0.01, 0.05)))
    net.clock.run(2.0)
    for number in range(QUESTIONS):
        asker = chance.pick(rng, nodes)
        quest = net.search(asker, ("common song", "rare take", "nothing here")[number % 3])
        net.clock.run(net.clock.now + 0.7)
        for hit in quest.results.hits()[:1] if quest.results is not None else ():
            push = Push(hit.sources[0].servent_id, 1, asker.address)
            net.cause(asker, asker.router.send_push(push, net.clock.now)[1])
            net.clock.run(net.clock.now + 0.3)
    net.clock.run(net.clock.now + 5.0)
    check_balance(net)
    return net


#: A chunk takes one of these two ways through the relay.
WAYS = ("walk", "lone")


def no_duplicate_check(patch: pytest.MonkeyPatch) -> None:
    def forgetful(treat: Callable[..., int]) -> Callable[..., int]:
        def treated(self: Relay, link: Link, data: bytes, now: float) -> int:
            self._paths.queries.young.clear()
            self._paths.queries.old.clear()
            return treat(self, link, data, now)

        return treated

    for way in WAYS:
        patch.setattr(Relay, way, forgetful(getattr(Relay, way)))


def seen_guids_forgotten_too_early(patch: pytest.MonkeyPatch) -> None:
    room = Generations.room

    def hasty(self: Generations[Any, Any], entries: int, now: float) -> object:
        self._turn(now)
        self._turn(now)
        return room(self, entries, now)

    patch.setattr(Generations, "room", hasty)


def rewriting(byte: int, change: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Forwarded queries get another byte in their headers."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        flood = Switchboard.flood

        def changed(self: Switchboard, source: Link, data: bytes, count: int) -> None:
            made = bytearray(data)
            made[byte] = (made[byte] + change) & 0xFF
            flood(self, source, bytes(made), count)

        patch.setattr(Switchboard, "flood", changed)

    return plant


def query_sent_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Switchboard, "targets", lambda self, source: tuple(self.links))


def spent_query_forwarded(patch: pytest.MonkeyPatch) -> None:
    def onward(treat: Callable[..., int]) -> Callable[..., int]:
        def treated(self: Relay, link: Link, data: bytes, now: float) -> int:
            new = [f for f in frames(data) if f.kind == QUERY and f.ttl == 1 and f.guid not in self._paths.queries]
            done = treat(self, link, data, now)
            for frame in new if done else ():
                self._board.flood(link, frame.passed_on(1, frame.hops + 1), 1)
            return done

        return treated

    for way in WAYS:
        patch.setattr(Relay, way, onward(getattr(Relay, way)))


def own_query_relayed(patch: pytest.MonkeyPatch) -> None:
    refusal = Relay._refusal

    def careless(self: Relay, link: Link, frame: Frame, now: float) -> DropReason | None:
        reason = refusal(self, link, frame, now)
        return None if reason is DropReason.OWN_MESSAGE else reason

    patch.setattr(Relay, "_refusal", careless)


def hits_flooded(patch: pytest.MonkeyPatch) -> None:
    def route(self: Hits, link: Link, frame: Frame, now: float) -> None:
        self._board.flood(link, frame.passed_on(max(1, frame.ttl - 1), frame.hops + 1), 1)

    patch.setattr(Hits, "_route", route)


def hits_to_the_wrong_link(patch: pytest.MonkeyPatch) -> None:
    send = Switchboard.send

    def astray(self: Switchboard, link: Link, kind: int, hops: int, message: bytes) -> None:
        others = [other for other in self.links.values() if other is not link]
        send(self, others[0] if kind == QUERY_HIT and others else link, kind, hops, message)

    patch.setattr(Switchboard, "send", astray)


def hits_sent_twice(patch: pytest.MonkeyPatch) -> None:
    send = Switchboard.send

    def twice(self: Switchboard, link: Link, kind: int, hops: int, message: bytes) -> None:
        send(self, link, kind, hops, message)
        if kind == QUERY_HIT and hops:
            send(self, link, kind, hops, message)

    patch.setattr(Switchboard, "send", twice)


def pings_passed_on(patch: pytest.MonkeyPatch) -> None:
    ping = Pings.ping

    def passed_on(self: Pings, link: Link, frame: Frame, now: float) -> None:
        ping(self, link, frame, now)
        if frame.ttl > 1:
            for other in self._board.links.values():
                if other is not link:
                    self._board.send(other, PING, frame.hops + 1, frame.passed_on(frame.ttl - 1, frame.hops + 1))

    patch.setattr(Pings, "ping", passed_on)


def pongs_to_everybody(patch: pytest.MonkeyPatch) -> None:
    pong = Pings._pong

    def everybody(self: Pings, link: Link, frame: Frame, payload: bytes, hops: int) -> None:
        for other in list(self._board.links.values()):
            pong(self, other, frame, payload, hops)

    patch.setattr(Pings, "_pong", everybody)


def pushes_flooded(patch: pytest.MonkeyPatch) -> None:
    def route(self: Pushes, link: Link, frame: Frame) -> None:
        for other in self._board.links.values():
            if other is not link and frame.ttl > 1:
                self._board.send(other, frame.kind, frame.hops + 1, frame.passed_on(frame.ttl - 1, frame.hops + 1))

    patch.setattr(Pushes, "_route", route)


def leaf_forgets_its_role(patch: pytest.MonkeyPatch) -> None:
    """Its router takes it for an ultrapeer."""
    begin = Switchboard.__init__

    def forgetful(self: Switchboard, *arguments: Any, is_leaf: bool = False) -> None:
        begin(self, *arguments)

    patch.setattr(Switchboard, "__init__", forgetful)


def leaf_passes_pushes_on(patch: pytest.MonkeyPatch) -> None:
    """It sends one that names it on to another ultrapeer."""
    receive = Pushes.receive

    def passed_on(self: Pushes, link: Link, frame: Frame, now: float) -> None:
        receive(self, link, frame, now)
        for other in self._board.links.values():
            if self._board.is_leaf and other is not link:
                self._board.send(other, frame.kind, frame.hops + 1, frame.passed_on(frame.ttl - 1, frame.hops + 1))
                return

    patch.setattr(Pushes, "receive", passed_on)


def table_without_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Generations, "_turn", lambda self, now: None)


def forwarded_not_counted(patch: pytest.MonkeyPatch) -> None:
    flood_to = Switchboard._flood_to

    def uncounted(self: Switchboard, targets: tuple[LinkId, ...], data: bytes, count: int) -> None:
        before = {link: self.links[link].tx_messages for link in targets}
        flood_to(self, targets, data, count)
        for link, messages in before.items():
            self.links[link].tx_messages = messages

    patch.setattr(Switchboard, "_flood_to", uncounted)


def new_guid_at_each_hop(patch: pytest.MonkeyPatch) -> None:
    flood = Switchboard.flood

    def renamed(self: Switchboard, source: Link, data: bytes, count: int) -> None:
        flood(self, source, bytes(reversed(data[:16])) + data[16:], count)

    patch.setattr(Switchboard, "flood", renamed)


BUGS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], set[str]]] = {
    "no duplicate check": (no_duplicate_check, {"handled-twice"}),
    "seen GUIDs are forgotten too early": (seen_guids_forgotten_too_early, {"handled-twice"}),
    "TTL is not lowered": (rewriting(TTL_AT, 1), {"ttl"}),
    "hops are not raised": (rewriting(HOPS_AT, -1), {"ttl"}),
    "a query goes back where it came from": (query_sent_back, {"sent-back"}),
    "a query with its TTL spent is passed on": (spent_query_forwarded, {"ttl", "leaf-relays"}),
    "one's own query is relayed when it comes back": (own_query_relayed, {"handled-twice"}),
    "the GUID changes at each hop": (new_guid_at_each_hop, {"unheard-of"}),
    "hits are flooded": (hits_flooded, {"hit-astray"}),
    "hits go to another link": (hits_to_the_wrong_link, {"hit-astray"}),
    "hits are relayed twice": (hits_sent_twice, {"hit-astray"}),
    "pings are passed on": (pings_passed_on, {"pong-astray"}),
    "pongs go to everybody": (pongs_to_everybody, {"pong-astray"}),
    "pushes are flooded": (pushes_flooded, {"push-astray"}),
    "a leaf forgets its role": (leaf_forgets_its_role, {"leaf-relays"}),
    "a leaf passes pushes on": (leaf_passes_pushes_on, {"leaf-relays"}),
    "the table of seen GUIDs grows without bound": (table_without_bound, {"bounds"}),
    "forwarded messages are not counted": (forwarded_not_counted, {"balance"}),
}


def test_the_standard_run_breaks_no_rule() -> None:
    net = standard_run()
    drops = {reason for node in net.nodes.values() for reason in node.drops()}
    assert {DropReason.DUPLICATE, DropReason.TTL_SPENT} <= drops
    assert any(node.pushes for node in net.nodes.values())


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught_within_one_standard_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, rules = BUGS[name]
    plant(monkeypatch)
    with pytest.raises(InvariantBroken) as caught:
        standard_run()
    assert caught.value.rule in rules
