"""Pivots of the program and what is around them, scripted, in virtual time: circuits, bridges, the route, the flood, a gateway.

`PivotWorld` carries cells between far ends (origins and providers, with real seals) and pivots, each after a short delay and in
order; `log` has what a relay beside the pivot would see.  What the route holds is in `blocks`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer import inner
from anonymizer.chk import DATA, pad, seal
from anonymizer.fields import Body
from anonymizer.inner import FailReason
from anonymizer.pivot import Pivot
from anonymizer.seal import End, Opening, PivotKeys, Replays, Unsealer
from anonymizer.seams import Found, Gateway
from anonymizer.timers import Timers
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.relay_nodes import NOW

DELAY_S = 0.05
EDGE = b"e" * 32


def content(number: int) -> tuple[bytes, bytes]:
    """(routing, sealed) of a content block."""
    block = seal(pad(b"%d" % number), hashlib.sha256(b"file").digest(), DATA, number)
    return block.routing, block.sealed


def key_of(routing: bytes, kind: BlockType = BlockType.CHK) -> bytes:
    return bytes((kind,)) + routing


@dataclass(frozen=True)
class RouteResult:
    """What a fetch came to."""

    blocks: tuple[bytes, ...]
    reason: FailReason | None


class ScriptedRoute:
    """A route that finds what is in `blocks`, at once, or when `answer_all` is called if `is_slow`."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[int, bytes, bool], tuple[bytes, ...]] = {}
        self.reason = FailReason.NOT_FOUND
        self.is_slow = False
        self.asked: list[tuple[int, bytes, bool]] = []
        self.stored: list[tuple[int, bytes, bytes, bool]] = []
        self.waiting: list[Callable[[], None]] = []

    def fetch(
        self, type: BlockType, routing: bytes, done: Callable[[Found], None], now: float, second: bool = False
    ) -> None:
        self.asked.append((type, routing, second))
        found = self.blocks.get((type, routing, second), ())
        result = RouteResult(found, None if found else self.reason)
        if self.is_slow:
            self.waiting.append(lambda: done(result))
        else:
            done(result)

    def store(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        done: Callable[[int, float], None],
        now: float,
        second: bool = False,
    ) -> None:
        self.stored.append((type, routing, block, second))
        if self.is_slow:
            self.waiting.append(lambda: done(3, now))
        else:
            done(3, now)

    def answer_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()


class ScriptedSeek:
    """A flood that goes nowhere; `started` has (query_id, reply_key, text, kinds, circuit)."""

    def __init__(self) -> None:
        self.started: list[tuple[bytes, bytes, str, int, Hashable]] = []
        self.takes = True

    def start(
        self, query_id: bytes, reply_key: bytes, text: str, kinds: int, now: float, circuit: Hashable = None
    ) -> bool:
        if self.takes:
            self.started.append((query_id, reply_key, text, kinds, circuit))
        return self.takes


class ScriptedGateway:
    """The plain overlay; `asked` has (text, urn, hit)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, Callable[[str, int, str, str, int, float], bool]]] = []
        self.takes = True

    def query(
        self, text: str, urn: str | None, hit: Callable[[str, int, str, str, int, float], bool], now: float
    ) -> bool:
        if self.takes:
            self.asked.append((text, urn, hit))
        return self.takes


@dataclass(eq=False)
class Far:
    """The other end of a circuit: an origin, or a provider.  `heard` has what the pivot said, `ended` why it ended."""

    world: PivotWorld
    node: PivotNode
    number: int
    opening: Opening
    heard: list[Body] = field(default_factory=list)
    ended: CloseReason | None = None
    end: End | None = None
    react: Callable[[Far, Body], None] | None = None

    def say(self, body: Body) -> None:
        assert self.end is not None, "not open"
        self.world.up(self.node, self.number, self.end.say(body))

    def say_raw(self, data: bytes) -> None:
        self.world.up(self.node, self.number, data)

    def hear(self, data: bytes) -> None:
        assert self.ended is None, "said after the end"
        if self.end is None:
            self.end = self.opening.opened(data)
            return
        body = self.end.hear(data)
        self.heard.append(body)
        if self.react is not None:
            self.react(self, body)


class Liar:
    """A pivot that the test speaks for, at the other end of a bridge; it serves one."""

    def __init__(self, world: PivotWorld, node_id: bytes) -> None:
        self.world, self.id = world, node_id
        self.keys = PivotKeys(world.now, world.new_key)
        self.heard: list[Body] = []
        self.ended: CloseReason | None = None
        self._end: End | None = None
        self._other: tuple[PivotNode, int] | None = None

    def arrive(self, node: PivotNode, number: int, sealed: bytes) -> None:
        self._other = node, number
        unsealed = Unsealer(self.id, self.keys, Replays()).open(sealed, self.world.now)
        cell, self._end = unsealed.answer(self.world.new_key())
        self.world.up(node, number, cell)

    def say(self, body: Body) -> None:
        assert self._end is not None
        assert self._other is not None
        self.world.up(*self._other, self._end.say(body))

    def hear(self, data: bytes) -> None:
        assert self._end is not None
        self.heard.append(self._end.hear(data))


class PivotNode:
    """One pivot and what it has: its route, its flood, its side of circuits (`Circuits` and `Bridges`)."""

    def __init__(self, world: PivotWorld, number: int, gateway: Gateway | None, rate: float | None) -> None:
        self.world = world
        self.id = hashlib.sha256(b"pivot %d" % number).digest()
        self.keys = PivotKeys(world.now, world.new_key)
        self.route, self.seek = ScriptedRoute(), ScriptedSeek()
        self.rooms: dict[int, int] = {}
        #: Circuits that have ended, as the pivot knows.
        self.over: set[int] = set()
        #: What was sent at which time: (time, circuit, size of the cell, or why it was closed).
        self.log: list[tuple[float, int, int | CloseReason]] = []
        self.pivot = Pivot(
            self.id,
            self.keys,
            self,
            self,
            self.route,
            self.seek,
            world.chance,
            world.timers,
            gateway,
            new_key=world.new_key,
            pivot_key=world.pivot_key,
            rate=rate,
        )

    # -- Circuits and Bridges --------------------------------------------------------------------------------------------

    def open(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        raise AssertionError("a pivot opens no circuit of its own")

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        raise AssertionError("a pivot posts nothing")

    def say(self, number: int, data: bytes, now: float) -> None:
        assert number not in self.over, "said after the end"
        self.log.append((now, number, len(data)))
        if number in self.rooms:
            self.rooms[number] -= 1
        self.world.down(self, number, data)

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        assert number not in self.over, "ended twice"
        self.over.add(number)
        self.log.append((now, number, reason))
        self.world.closed(self, number, reason)

    def room(self, number: int) -> int:
        return self.rooms.get(number, 64)

    def hear_end(self, number: int, reason: CloseReason, now: float) -> None:
        """The stem tells the pivot."""
        if number not in self.over:
            self.over.add(number)
            self.pivot.ended(number, reason, now)

    def open_bridge(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        return self.world.bridge(self, pivot_id, sealed)


class PivotWorld:
    """See the module text."""

    def __init__(
        self, count: int = 1, *, seed: int = 1, gateway: Gateway | None = None, rate: float | None = None
    ) -> None:
        self.chance = random.Random(seed)
        self.timers = Timers()
        self.now = float(NOW)
        self.nodes = [PivotNode(self, number, gateway, rate) for number in range(count)]
        self._by_id = {node.id: node for node in self.nodes}
        self._numbers = 0
        #: Who is at the other end of (pivot's id, number): a far end, or another pivot and its number.
        self._others: dict[tuple[bytes, int], Far | Liar | tuple[PivotNode, int]] = {}
        self._liars: dict[bytes, Liar] = {}

    def new_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.chance.randbytes(32))

    def pivot_key(self, node_id: bytes) -> bytes | None:
        node = self._by_id.get(node_id) or self._liars.get(node_id)
        return None if node is None else node.keys.public[0][1:]

    # -- what far ends do ------------------------------------------------------------------------------------------------

    def opening(self, node: PivotNode, first: bytes) -> Opening:
        secret = self.chance.randbytes(32)
        return Opening(node.id, node.keys.public[0][1:], first, self.now, secret, self.new_key())

    def open(self, first: Body | None = None, node: PivotNode | None = None, edge: bytes = EDGE) -> Far:
        """A circuit to the first pivot; the pivot has answered, or refused, when this returns."""
        return self.open_raw(inner.encode(first or inner.Dummy()), node or self.nodes[0], edge)

    def open_raw(self, first: bytes, node: PivotNode, edge: bytes = EDGE) -> Far:
        """The same with any bytes as its first instruction."""
        self._numbers += 1
        far = Far(self, node, self._numbers, self.opening(node, first))
        self._others[node.id, far.number] = far
        self.run(0.0)
        if not node.pivot.arrived(far.number, far.opening.sealed, edge, self.now):
            far.ended = CloseReason.REFUSED
            del self._others[node.id, far.number]
        self.run(2 * DELAY_S)
        return far

    def hang_up(self, far: Far) -> None:
        """The far end closes."""
        if self._others.pop((far.node.id, far.number), None) is not None:
            self._later(lambda now: far.node.hear_end(far.number, CloseReason.DONE, now))

    def liar(self, node_id: bytes) -> Liar:
        """A pivot that the test speaks for."""
        liar = self._liars[node_id] = Liar(self, node_id)
        return liar

    def cut(self, node: PivotNode) -> None:
        """That pivot is gone, with all circuits to it from other pivots."""
        del self._by_id[node.id]
        for (pivot_id, number), other in list(self._others.items()):
            if pivot_id == node.id and isinstance(other, tuple):
                self.closed(node, number, CloseReason.NOROUTE)

    def run(self, seconds: float) -> None:
        """What happens within that time."""
        until = self.now + seconds
        while (when := self.timers.next_at) is not None and when <= until:
            self.now = max(self.now, when)
            self.timers.run(self.now)
        self.now = until

    # -- cells -----------------------------------------------------------------------------------------------------------

    def _later(self, call: Callable[[float], Any]) -> None:
        self.timers.at(self.now + DELAY_S, call)

    def up(self, node: PivotNode, number: int, data: bytes) -> None:
        self._later(lambda now: node.pivot.heard(number, data, now))

    def down(self, node: PivotNode, number: int, data: bytes) -> None:
        other = self._others.get((node.id, number))
        if other is None:
            return  # closed from the other side, which the pivot has not heard yet
        if isinstance(other, Far | Liar):
            self._later(lambda now: None if other.ended is not None else other.hear(data))
        else:
            self.up(*other, data)

    def closed(self, node: PivotNode, number: int, reason: CloseReason) -> None:
        other = self._others.pop((node.id, number), None)
        if isinstance(other, Far | Liar):
            self._later(lambda now: setattr(other, "ended", reason))
        elif other is not None:
            far, its = other
            self._others.pop((far.id, its), None)
            self._later(lambda now: far.hear_end(its, reason, now))

    def bridge(self, node: PivotNode, pivot_id: bytes, sealed: bytes) -> int | None:
        other, liar = self._by_id.get(pivot_id), self._liars.get(pivot_id)
        if liar is not None:
            self._numbers += 1
            number = self._numbers
            self._others[node.id, number] = liar
            self._later(lambda now: liar.arrive(node, number, sealed))
            return number
        if other is None:
            return None
        self._numbers += 2
        near, far = self._numbers - 1, self._numbers
        self._others[node.id, near], self._others[other.id, far] = (other, far), (node, near)

        def arrive(now: float) -> None:
            if not other.pivot.arrived(far, sealed, node.id, now):
                self.closed(other, far, CloseReason.REFUSED)

        self._later(arrive)
        return near
