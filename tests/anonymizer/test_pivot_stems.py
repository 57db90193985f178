"""Pivots on the stems of the program: windows, bridges and ends are those that relays have."""

from __future__ import annotations

import pytest

from anonymizer.fields import Body
from anonymizer.inner import Anchor, Anchored, Attach, Fail, FailReason, FetchKeys, InnerBlock, InnerBye
from anonymizer.pivot import Pivot
from anonymizer.timers import Timers
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.pivot_world import ScriptedRoute, ScriptedSeek, content, key_of
from gnutella.testing.relay_net import RelayNet, RelayNode
from gnutella.testing.relay_nodes import NOW

CHK = BlockType.CHK
BLOCKS = dict(content(n) for n in range(160))
KEYS = [key_of(routing) for routing in BLOCKS]
TOKEN = b"t" * 16


class PivotedNode(RelayNode):
    """A node of the net whose pivot is the program's; the stem counts from 0, the pivot from 1970."""

    def __init__(self, net: RelayNet, number: int) -> None:
        super().__init__(net, number)
        self.timers = Timers()
        self.route = ScriptedRoute()
        self.pivot = Pivot(
            self.id,
            self.keys,
            self,
            self,
            self.route,
            ScriptedSeek(),
            net.rng,
            self.timers,
            new_key=net.new_key,
            pivot_key=self._pivot_key,
            rate=None,
        )

    def _pivot_key(self, node_id: bytes) -> bytes | None:
        return next((node.keys.public[0][1:] for node in self.net.nodes if node.id == node_id), None)

    # -- Circuits and Bridges, for the pivot -----------------------------------------------------------------------------

    def open(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        raise AssertionError("a pivot opens no circuit of its own")

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        raise AssertionError("a pivot posts nothing")

    def open_bridge(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        return self.stem.open_bridge(pivot_id, sealed, now - NOW)

    def room(self, number: int) -> int:
        return self.stem.room(number)

    def say(self, number: int, body: Body | bytes, now: float = 0.0) -> None:
        if isinstance(body, bytes):
            self.stem.say(number, body, now - NOW)
        else:
            super().say(number, body)

    def close(self, number: int, reason: CloseReason = CloseReason.DONE, now: float = NOW) -> None:
        self.stem.close(number, reason, now - NOW if now > NOW else self.net.clock.now)
        self.net.wake(self)

    # -- from the stem ---------------------------------------------------------------------------------------------------

    def _arrived(self, number: int, sealed: bytes, came_from: bytes, now: float) -> bool:
        return self.pivot.arrived(number, sealed, came_from, NOW + now)

    def _heard(self, number: int, data: bytes, now: float) -> None:
        if self.pivot.has(number):
            self.pivot.heard(number, data, NOW + now)
        else:
            super()._heard(number, data, now)

    def _ended(self, number: int, reason: CloseReason, now: float) -> None:
        if self.pivot.has(number):
            self.pivot.ended(number, reason, NOW + now)
        else:
            super()._ended(number, reason, now)

    def _has_room(self, number: int, now: float) -> None:
        self.pivot.has_room(number, NOW + now)


class PivotedNet(RelayNet):
    def make(self, number: int) -> RelayNode:
        return PivotedNode(self, number)

    def wake(self, node: RelayNode) -> None:
        assert isinstance(node, PivotedNode)
        node.timers.run(NOW + self.clock.now)
        if (when := node.timers.next_at) is not None:
            self.clock.at(when - NOW + 1e-6, super().wake, node)
        super().wake(node)


@pytest.fixture(scope="module")
def net() -> PivotedNet:
    return PivotedNet(10, seed=3)


def pivot_of(
    net: PivotedNet, origin: RelayNode, first: Body, without: tuple[RelayNode, ...] = ()
) -> tuple[PivotedNode, int]:
    """A pivot that a circuit of the origin reaches, and its number."""
    for node in net.nodes:
        if node is origin or node in without:
            continue
        number = origin.request(node, first)
        net.clock.run(until=net.clock.now + 20)
        if number is not None and number in origin._near and number not in origin.ends:
            assert isinstance(node, PivotedNode)
            return node, number
    raise AssertionError("no pivot can be reached")


def test_more_blocks_than_a_window_holds_come_whole_and_in_order(net: PivotedNet) -> None:
    origin = net.nodes[0]
    pivot, number = pivot_of(net, origin, FetchKeys((key_of(bytes(32)),)))
    for routing, block in BLOCKS.items():
        pivot.route.blocks[CHK, routing, False] = (block,)
    for first in range(0, 160, 16):
        origin.say(number, FetchKeys(tuple(KEYS[first : first + 16])))
        if first % 64 == 48:
            net.clock.run(until=net.clock.now + 10)
    net.clock.run(until=net.clock.now + 20)
    said = origin.answers[number]
    assert said[0] == Fail(FailReason.NOT_FOUND, bytes(32))
    assert [body.block for body in said if isinstance(body, InnerBlock)] == list(BLOCKS.values())
    origin.say(number, InnerBye())
    net.clock.run(until=net.clock.now + 20)
    assert origin.ends[number] is CloseReason.DONE
    assert (pivot.pivot.circuits, pivot.pivot.refusals.rows()) == (0, {})


def test_a_block_comes_from_a_provider_over_two_stems_and_a_bridge(net: PivotedNet) -> None:
    provider, origin = net.nodes[1], net.nodes[2]
    there, anchor = pivot_of(net, provider, Anchor(TOKEN, bytes(32)), (origin,))
    assert provider.answers[anchor] == [Anchored(TOKEN)]
    here, number = pivot_of(net, origin, Attach(there.id, TOKEN), (provider, there))
    origin.say(number, FetchKeys((KEYS[0], KEYS[1])))
    net.clock.run(until=net.clock.now + 20)
    asked = [body for body in provider.answers[anchor] if isinstance(body, FetchKeys)]
    assert [key for body in asked for key in body.keys] == KEYS[:2]
    provider.say(anchor, InnerBlock(CHK, BLOCKS[KEYS[0][1:]]))
    net.clock.run(until=net.clock.now + 20)
    assert origin.answers[number] == [InnerBlock(CHK, BLOCKS[KEYS[0][1:]])]
    assert here.pivot.bridges == 1
    provider.close(anchor)
    net.clock.run(until=net.clock.now + 20)
    assert origin.answers[number][1:] == [Fail(FailReason.PROVIDER_GONE, KEYS[1][1:])]
    origin.close(number)
    net.clock.run(until=net.clock.now + 20)
    assert (here.pivot.bridges, here.pivot.circuits, there.pivot.circuits) == (0, 0, 0)
