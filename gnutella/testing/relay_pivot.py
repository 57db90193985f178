"""The far side of own circuits, for tests: stems, pivots and all that is behind, scripted, in virtual time.

`RelayPivots` is a `Circuits`: seals are opened with the keys that the descriptors of `known` have, cells go up and down over
hops of exponential delay that keep order, and what a pivot finds is in `blocks`.  What goes wrong is said by the fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer import inner
from anonymizer.beat import REST_MEAN_S
from anonymizer.blocks import verify
from anonymizer.cells import LARGE_BODY, LARGE_SIZE, SMALL_SIZE
from anonymizer.chk import routing_of
from anonymizer.descr import PIVOT, Descriptor
from anonymizer.fields import Body
from anonymizer.inner import Dummy, Fail, FailReason, FetchKeys, InnerBlock, InnerStored, StoreBlock
from anonymizer.known import MIN_AGE_S, KnownNodes
from anonymizer.seal import End, PivotKeys, Replays, Unsealer
from anonymizer.ssk import merge, parse_record
from anonymizer.timers import Timers
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.relay_nodes import NOW, descriptor_of

#: Large cells that the first hop takes before it gives credit.
WINDOW = 64


class Origin(Protocol):
    """Who has the circuits."""

    def heard(self, number: int, data: bytes, now: float) -> object: ...
    def ended(self, number: int, reason: CloseReason, now: float) -> object: ...
    def has_room(self, number: int, now: float) -> object: ...


@cache
def _pivot(number: int, capabilities: int) -> tuple[PivotKeys, Descriptor]:
    """The same keys for the same number: making them takes longer than most tests."""
    secret = hashlib.sha256(b"pivot key %d" % number).digest()
    keys = PivotKeys(NOW, lambda: X25519PrivateKey.from_private_bytes(secret))
    return keys, descriptor_of(number, pivot_keys=keys.public, capabilities=capabilities)


@dataclass
class FarEnd:
    """One circuit, as its pivot has it."""

    pivot_id: bytes
    opened_at: float
    end: End | None = None
    up_at: float = 0.0
    down_at: float = 0.0
    under_way: int = 0
    #: Cells that said nothing; what it was told else, in order.
    dummies: int = 0
    told: list[Body] = field(default_factory=list)
    hold_s: float = 0.0
    #: What it was asked for and has not said: (time, number of keys) at each change.
    outstanding: list[tuple[float, int]] = field(default_factory=list)
    _asked: int = 0

    def asked(self, change: int, now: float) -> None:
        self._asked += change
        self.outstanding.append((now, self._asked))


class RelayPivots:
    """See the module text.  `log` has what the guard sees of us: (time, "open" | "small" | "large" | "close", circuit)."""

    def __init__(
        self, seed: int = 1, *, pivots: int = 12, hops: int = 10, hop_s: float = 0.025, hold_s: float = 0.0
    ) -> None:
        self.rng = Random(seed)
        self.timers = Timers()
        self.now = float(NOW)
        self.origin: Origin | None = None
        self.known = KnownNodes(b"o" * 32)
        self.blocks: dict[bytes, tuple[bytes, ...]] = {}
        self.stored: list[StoreBlock] = []
        self.log: list[tuple[float, str, int]] = []
        self.circuits: dict[int, FarEnd] = {}
        self.all_ends: list[FarEnd] = []
        self.pivots_used: list[bytes] = []
        self.closed: list[CloseReason] = []
        self.posts: list[tuple[bytes, bytes]] = []
        #: No guard takes anything; no seal is answered; which pivots say nothing more once they are open.
        self.has_guard, self.answers_seals = True, True
        self.silent: set[bytes] = set()
        #: What these pivots say in place of a block; what becomes of a key (None: as `blocks` has it).
        self.lies: Callable[[bytes, bytes], bytes] | None = None
        self.fate: Callable[[FarEnd, bytes], FailReason | None] = lambda end, routing: None
        #: Whether a block that is stored is, in so many copies.
        self.copies: Callable[[FarEnd, StoreBlock], int] = lambda end, block: 3
        #: Any other instruction.
        self.others: Callable[[FarEnd, Body], list[Body]] = lambda end, body: []
        self._hops, self._hop_s, self._hold_s = hops, hop_s, hold_s
        self._number = 0
        self._unsealers: dict[bytes, Unsealer] = {}
        for number in range(pivots):
            self.add_pivot(number)

    def new_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.rng.randbytes(32))

    def add_pivot(self, number: int, *, age_s: float = 2 * MIN_AGE_S, capabilities: int = PIVOT) -> bytes:
        """Another node that is known for so long; its id."""
        keys, descriptor = _pivot(number, capabilities)
        self.known.restore([(descriptor.data, NOW - age_s, [b"a", b"b", b"c"])], NOW)
        self._unsealers[descriptor.node_id] = Unsealer(descriptor.node_id, keys, Replays())
        return descriptor.node_id

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while (when := self.timers.next_at) is not None and when <= until:
            self.now = max(self.now, when)
            self.timers.run(self.now)
        self.now = until

    def settle(self) -> None:
        """Let circuits that are needed no more come to their end."""
        self.run(20 * REST_MEAN_S)

    def run_until(self, is_over: Callable[[], bool], at_most: float = 3_600.0) -> float:
        """Let time pass until it is over; how many seconds that took.  AssertionError if nothing more happens before."""
        start = self.now
        while not is_over():
            when = self.timers.next_at
            assert when is not None and when <= start + at_most, "it does not end"
            self.now = max(self.now, when)
            self.timers.run(self.now)
        return self.now - start

    # -- Circuits --------------------------------------------------------------------------------------------------------

    def open(self, pivot_id: bytes, sealed: bytes, now: float) -> int | None:
        if not self.has_guard:
            return None
        self._number += 1
        number = self._number
        hold_s = sum(self.rng.expovariate(1 / self._hold_s) for _ in range(4)) if self._hold_s else 0.0
        self.circuits[number] = FarEnd(pivot_id, now, up_at=now, down_at=now, hold_s=hold_s)
        self.all_ends.append(self.circuits[number])
        self.pivots_used.append(pivot_id)
        self.log.append((now, "open", number))
        if self.answers_seals:
            self._up(number, now, lambda when: self._arrived(number, sealed, when))
        return number

    def say(self, number: int, data: bytes, now: float) -> None:
        end = self.circuits.get(number)
        if end is None:
            return
        is_large = len(data) == LARGE_BODY
        self.log.append((now, "large" if is_large else "small", number))
        if is_large:
            assert end.under_way < WINDOW, "beyond the window"
            end.under_way += 1
            self.timers.at(now + 4 * self._hop_s, lambda when: self._credit(number, when))
        self._up(number, now + end.hold_s, lambda when: self._told(number, data, when))

    def close(self, number: int, reason: CloseReason, now: float) -> None:
        if self.circuits.pop(number, None) is not None:
            self.log.append((now, "close", number))
            self.closed.append(reason)

    def room(self, number: int) -> int:
        end = self.circuits.get(number)
        return 0 if end is None else WINDOW - end.under_way

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        self.posts.append((pivot_id, sealed))
        return self.has_guard

    def kill(self, number: int, reason: CloseReason = CloseReason.NOROUTE) -> None:
        """A relay on its way is gone; we hear of it at once."""
        if self.circuits.pop(number, None) is not None and self.origin is not None:
            self.origin.ended(number, reason, self.now)

    @property
    def bytes_up(self) -> int:
        """What left the origin, in whole cells."""
        return sum(LARGE_SIZE if what == "large" else SMALL_SIZE for _, what, _ in self.log)

    # -- behind it -------------------------------------------------------------------------------------------------------

    def _credit(self, number: int, now: float) -> None:
        end = self.circuits.get(number)
        if end is not None:
            end.under_way -= 1
            if end.under_way == WINDOW - 1 and self.origin is not None:
                self.origin.has_room(number, now)

    def _delay(self) -> float:
        return sum(self.rng.expovariate(1 / self._hop_s) for _ in range(self._hops)) if self._hop_s else 0.0

    def _up(self, number: int, now: float, arrives: Callable[[float], None]) -> None:
        end = self.circuits[number]
        end.up_at = max(end.up_at, now + self._delay())
        self.timers.at(end.up_at, lambda when: arrives(when) if number in self.circuits else None)

    def down(self, number: int, data: bytes, now: float) -> None:
        """A cell for the origin, whatever it is."""
        end = self.circuits.get(number)
        if end is None:
            return
        end.down_at = max(end.down_at, now + self._delay())

        def arrives(when: float) -> None:
            if number in self.circuits and self.origin is not None:
                self.origin.heard(number, data, when)

        self.timers.at(end.down_at, arrives)

    def answer(self, number: int, body: Body) -> None:
        """The pivot says it."""
        end = self.circuits[number]
        assert end.end is not None
        self.down(number, end.end.say(body), self.now)

    def _arrived(self, number: int, sealed: bytes, now: float) -> None:
        end = self.circuits[number]
        unsealed = self._unsealers[end.pivot_id].open(sealed, now)
        cell, end.end = unsealed.answer(self.new_key())
        self.down(number, cell, now)
        self._do(number, inner.decode(unsealed.first), now)

    def _told(self, number: int, data: bytes, now: float) -> None:
        end = self.circuits[number]
        if end.end is None:
            return
        said = end.end.hear(data)
        if isinstance(said, Dummy):
            end.dummies += 1
        else:
            self._do(number, said, now)

    def _do(self, number: int, body: Body, now: float) -> None:
        end = self.circuits[number]
        end.told.append(body)
        if end.pivot_id in self.silent or end.end is None:
            return
        for said in self._answers(end, body):
            self.down(number, end.end.say(said), now)
            if isinstance(body, FetchKeys):
                self.timers.at(end.down_at, lambda when: end.asked(-1, when))

    def _answers(self, end: FarEnd, body: Body) -> list[Body]:
        if isinstance(body, FetchKeys):
            end.asked(len(body.keys), self.now)
            return [said for key in body.keys for said in self._found(end, BlockType(key[0]), key[1:])]
        if isinstance(body, StoreBlock):
            return [self._store(end, body)]
        return self.others(end, body)

    def _found(self, end: FarEnd, kind: BlockType, routing: bytes) -> list[Body]:
        fate = self.fate(end, routing)
        if fate is None and routing not in self.blocks:
            fate = FailReason.NOT_FOUND
        if fate is not None:
            return [Fail(fate, routing)]
        blocks = self.blocks[routing]
        return [InnerBlock(kind, block if self.lies is None else self.lies(end.pivot_id, block)) for block in blocks]

    def _store(self, end: FarEnd, body: StoreBlock) -> Body:
        routing = routing_of(body.block) if body.type is BlockType.CHK else parse_record(body.block).routing
        verify(body.type, routing, body.block)
        copies = self.copies(end, body)
        if copies:
            self.stored.append(body)
            held = self.blocks.get(routing, ())
            self.blocks[routing] = merge(held, body.block) if body.type is BlockType.SSK else (body.block,)
        return InnerStored(routing, copies)
