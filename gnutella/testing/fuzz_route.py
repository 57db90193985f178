"""Fuzzing target of key routing: one node, neighbours that say anything in any order, and what must hold whatever they say.

The input is read in steps of four bytes: what happens, by which neighbour, with which key or request, with how many hops.
"""

from __future__ import annotations

import random

from anonymizer.blocks import BLOCK_HEAD, verify
from anonymizer.chk import BLOCK_BYTES, routing_of
from anonymizer.fetching import Fetched
from anonymizer.reasons import Violation
from anonymizer.route import Route
from anonymizer.timers import Timers
from anonymizer.wire import (
    MAX_HTL,
    Accepted,
    AnyBody,
    Block,
    BlockType,
    Fetch,
    NoRoute,
    NotFound,
    Offer,
    Reject,
    RejectReason,
    Store,
    Stored,
    Take,
    cell_of,
    parse,
)
from gnutella.testing.relay_nodes import NOW
from gnutella.testing.route_net import HeldBlocks

STEP = 4
#: Steps of one input that are taken; more make it slower and find no more.
MAX_STEPS = 256
_NODES = [bytes((number,)) * 32 for number in range(1, 9)]
_BLOCKS = [BLOCK_HEAD + bytes((number,)) * (BLOCK_BYTES - 2) for number in range(3)]
_KEYS = [routing_of(block) for block in _BLOCKS]
#: Seconds that pass, by the byte.
_WAITS = (0.0, 0.03, 1.0, 11.0, 25.0, 61.0, 200.0, 700.0)


class _Fuzzed:
    """The node, and what its neighbours may do to it."""

    def __init__(self) -> None:
        self.timers, self.blocks, self.now = Timers(), HeldBlocks(), float(NOW)
        self.links = set(_NODES)
        self.uids: list[bytes] = [bytes(16)]
        self.begun = self.ended = 0
        self.route = Route(bytes(32), random.Random(1), self.timers, self.blocks, self._sent, bytes_per_s=10_000)
        for node in _NODES:
            self.route.link_up(node, self.now)

    def _sent(self, node: bytes, body: AnyBody) -> None:
        assert node in self.links
        assert parse(cell_of(body)) == body
        if isinstance(body, Fetch | Store):
            self.uids.append(body.uid)
        elif isinstance(body, Take):
            self.uids.append(body.proof[:16])

    def _fetched(self, fetched: Fetched) -> None:
        self.ended += 1
        for block in fetched.blocks:
            verify(BlockType.CHK, routing_of(block), block)
            assert block in _BLOCKS

    def _stored(self, copies: int, now: float) -> None:
        self.ended += 1
        assert 0 <= copies <= 3

    def step(self, kind: int, who: int, what: int, htl: int) -> None:
        node, key = _NODES[who % len(_NODES)], what % len(_KEYS)
        if kind % 16 >= 12:
            self._own(kind % 16, node, key, htl)
            return
        uid = self.uids[-1 - (what // 4) % min(len(self.uids), 16)]
        fresh = bytes((kind, who, what, htl)) * 4
        hops, second, reason = 1 + htl % MAX_HTL, bool(htl & 16), RejectReason(htl % 4)
        bodies: tuple[AnyBody, ...] = (
            Fetch(fresh, BlockType.CHK, _KEYS[key], hops, second),
            Fetch(uid, BlockType.CHK, _KEYS[key], hops, second),
            Store(fresh, hops, BlockType.CHK, second, _BLOCKS[key]),
            Store(uid, hops, BlockType.CHK, second, _BLOCKS[key]),
            Accepted(uid),
            Block(uid, BlockType.CHK, _BLOCKS[key]),
            NotFound(uid),
            NoRoute(uid, htl % (MAX_HTL + 1)),
            Reject(uid, reason, what),
            Stored(uid, htl % 4),
            Offer(_KEYS[key], fresh * 2),
            Take(_KEYS[key], fresh * 2),
        )
        if node in self.links:
            try:
                self.route.receive(node, bodies[kind % 16], self.now)
            except Violation as violation:
                assert violation.reason.costs == "link"
                self._down(node)

    def _own(self, kind: int, node: bytes, key: int, htl: int) -> None:
        """What the pivot, the links and time do."""
        if kind == 12:
            self.begun += 1
            self.route.fetch(BlockType.CHK, _KEYS[key], self._fetched, self.now, bool(htl & 1))
        elif kind == 13:
            self.begun += 1
            self.route.store(BlockType.CHK, _KEYS[key], _BLOCKS[key], self._stored, self.now, bool(htl & 1))
        elif kind == 14:
            self.now += _WAITS[htl % len(_WAITS)]
            self.timers.run(self.now)
        elif node in self.links:
            self._down(node)
        else:
            self.links.add(node)
            self.route.link_up(node, self.now)

    def _down(self, node: bytes) -> None:
        self.links.discard(node)
        self.route.link_down(node, self.now)

    def finish(self) -> None:
        """Time for all that was begun to end; nothing is left."""
        for _ in range(3):
            self.now += 130
            self.timers.run(self.now)
        sizes = self.route.sizes()
        assert self.begun == self.ended
        assert (sizes["walks"], sizes["stores"], sizes["takes"], sizes["liability"]) == (0, 0, 0, 0)


def run(data: bytes) -> None:
    fuzzed = _Fuzzed()
    for at in range(0, min(len(data), STEP * MAX_STEPS) - STEP + 1, STEP):
        fuzzed.step(*data[at : at + STEP])
    fuzzed.finish()


#: A fetch that goes from neighbour to neighbour, a store with its copies, an offer that is taken, silence.
SEEDS = [
    bytes((0, 0, 0, 5, 4, 1, 0, 0, 8, 1, 0, 0, 4, 2, 0, 0, 5, 2, 0, 0, 14, 0, 0, 1, 6, 3, 0, 0)),
    bytes((13, 0, 1, 0, 4, 3, 0, 0, 9, 3, 0, 3, 2, 4, 2, 0, 14, 0, 0, 3, 9, 5, 0, 1, 15, 3, 0, 0)),
    bytes((0, 0, 0, 5, 6, 1, 0, 0, 6, 2, 0, 0, 10, 4, 0, 0, 5, 4, 0, 0, 11, 4, 0, 0, 12, 0, 0, 0)),
    bytes((12, 0, 0, 0, 4, 1, 0, 0, 14, 0, 0, 4, 7, 2, 0, 3, 14, 0, 0, 5, 1, 2, 0, 3, 15, 1, 0, 0)),
]
