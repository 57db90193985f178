"""A12, replay: what was sent once is sent again, by the same link and by others, at once and late; does anything happen twice?

What a replay could gain is an effect that somebody sees: a search that is flooded again, a post that arrives again, a key
request that goes on again.  The objects are the program's pivot, stem, seals of posts, and route.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from anonymizer.inner import InnerSeek
from anonymizer.posts import open_post, seal_post
from anonymizer.reasons import Violation
from anonymizer.route import Route
from anonymizer.seal import Replays, Unsealer
from anonymizer.stem import Stem
from anonymizer.timers import Timers
from anonymizer.wire import BRIDGE_BUDGET, AnyBody, BlockType, CloseReason, Fetch, Phase, Post, cell_of
from gnutella.testing.pivot_world import EDGE, Far, PivotWorld
from gnutella.testing.route_net import HeldBlocks

SPY: Final = b"s" * 32
#: Replays come within so long of each other, and so within the window in which a seal opens, or after it.
SPREAD_S: Final = 1_800.0


class Forgets(Replays):
    """`replay`: a pivot that keeps no record of the seals it opened."""

    def check(self, seal: bytes, now: float) -> None:
        """Nothing is known."""

    def add(self, seal: bytes) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """So many were sent again, and so many had an effect."""

    sent: int
    effects: int


def openings(count: int, seed: int, forgets: bool = False) -> Replayed:
    """A search in a seal: how often is it flooded again?"""
    world, rng = PivotWorld(seed=seed), random.Random(seed)
    node = world.nodes[0]
    if forgets:
        node.pivot._unsealer = Unsealer(node.id, node.keys, Forgets())
    far = world.open(InnerSeek("purple elephant", 0, 64, bytes(32), False))
    assert len(node.seek.started) == 1
    begun = world.now
    for at in range(count):
        when = begun + SPREAD_S * at / count
        world.run(when - world.now)
        number = 10_000 + at
        world._others[node.id, number] = Far(world, node, number, far.opening)
        if node.pivot.arrived(number, far.opening.sealed, rng.choice((EDGE, SPY)), when):
            node.pivot.ended(number, CloseReason.DONE, when)
    return Replayed(count, len(node.seek.started) - 1)


def posts(count: int, seed: int, forgets: bool = False) -> Replayed:
    """A hit in a post: how often does it get to the searcher again?  By the stem's record, and by that of seals."""
    world, rng = PivotWorld(seed=seed), random.Random(seed)
    node, delivered = world.nodes[0], 0
    replays = Forgets() if forgets else Replays()

    def posted(sealed: bytes, now: float) -> None:
        nonlocal delivered
        try:
            open_post(node.id, node.keys, replays, sealed, now)
        except Violation:
            return
        delivered += 1

    stem = lone_stem(node.id, rng, posted)
    sealed = seal_post(node.id, node.keys.public[0][1:], rng.randbytes(16), rng.randbytes(200), world.now)
    for at in range(count + 1):
        when = world.now + SPREAD_S * at / count
        stem.receive(rng.choice((EDGE, SPY)), cell_of(Post(Phase.BRIDGE, node.id, BRIDGE_BUDGET, sealed)), when)
        if forgets:
            stem._delivered = type(stem._delivered)()
    return Replayed(count, delivered - 1)


def lone_stem(own_id: bytes, rng: random.Random, posted: object = print) -> Stem:
    """One with two links and no edges."""
    stem = Stem(own_id, rng, heard=print, ended=print, arrived=_refuse, posted=posted, has_room=print)  # type: ignore[arg-type]
    for node in (EDGE, SPY):
        stem.link_up(node, is_client=False)
    return stem


def _refuse(number: int, sealed: bytes, came_from: bytes, now: float) -> bool:
    return False


def fetches(count: int, seed: int, forgets: bool = False) -> Replayed:
    """A key request that a relay has passed on: how often does it pass it on again?"""
    rng, timers, sent = random.Random(seed), Timers(), list[AnyBody]()

    def send(to: bytes, body: AnyBody) -> None:
        if isinstance(body, Fetch):
            sent.append(body)

    nodes = [rng.randbytes(32) for _ in range(6)]
    route = Route(rng.randbytes(32), rng, timers, HeldBlocks(), send)
    for node in (EDGE, SPY, *nodes):
        route.link_up(node, 0.0)
    wanted = Fetch(rng.randbytes(16), BlockType.CHK, rng.randbytes(32), 10, False)
    route.receive(EDGE, wanted, 0.0)
    first = len(sent)
    for at in range(count):
        # Within the ten minutes for which ids are kept; the request itself waits for an answer all the while.
        again = Fetch(rng.randbytes(16), wanted.type, rng.randbytes(32), 10, False) if forgets else wanted
        try:
            route.receive(rng.choice((EDGE, SPY)), again, 5.0 * at / count)
        except Violation:
            continue
    return Replayed(count, len(sent) - first)
