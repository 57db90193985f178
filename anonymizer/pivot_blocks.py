"""Blocks at a pivot: keys that circuits ask for, by the route and by who is anchored, and blocks that they give to be stored.

Each key that is asked for is answered once.  What is not found at its first place is looked for at its second if it may have
one: signed records have, and what is asked for alone, for that is an entry point more often than not.  What was found is kept
nowhere; now and then it is stored anew, long after, so that what is read spreads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from anonymizer.anchors import Source
from anonymizer.blocks import routing_in
from anonymizer.fields import Body
from anonymizer.inner import Fail, FailReason, FetchKeys, InnerBlock, InnerStored, StoreBlock
from anonymizer.outflow import Job, Line, Outflow
from anonymizer.pacing import Chance, exponential
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seams import Found, Routes
from anonymizer.timers import Timers
from anonymizer.wire import MAX_COPIES, BlockType
from gnutella.errors import RemoteViolation

#: Keys and blocks that a circuit has under way: the window of a transfer.
MAX_WANTED: Final = 128
#: Chance that a block is stored anew by who fetched it, by how it was found, and the mean of the delay.
BY_ANCHOR_CHANCE: Final = 1 / 8
BY_ROUTE_CHANCE: Final = 1 / 200
REINSERT_S: Final = 300.0
#: Blocks that wait to be stored anew: 8 MiB.
MAX_REINSERTS: Final = 256


@dataclass(slots=True)
class Want:
    """A key that a circuit waits for: where it was asked for, and whether it has a second place."""

    key: bytes
    has_second: bool
    by_route: bool = False
    tried: list[Source] = field(default_factory=list)
    verdict: FailReason | None = None

    def failed(self, reason: FailReason) -> None:
        """A source has no block, and says why: of several, what leaves most hope counts."""
        known = (FailReason.OVERLOAD, FailReason.NOT_FOUND)
        self.verdict = next((one for one in known if one in (reason, self.verdict)), FailReason.PROVIDER_GONE)


@dataclass(slots=True, eq=False)
class Visit(Line):
    """A circuit that ends here.

    `sources` are who may have what the route has not, each with the number of the bridge to it, if there is one; `provider` is
    the other end as others' source.  What `is_bridge` comes from another pivot and gets nothing but what one provider has.
    """

    wants: dict[bytes, Want] = field(default_factory=dict)
    stores: int = 0
    searches: set[bytes] = field(default_factory=set)
    sources: list[tuple[Source, int | None]] = field(default_factory=list)
    provider: Source | None = None
    is_bridge: bool = False
    source_first: bool = False
    attaches: int = 0

    @property
    def has_source(self) -> bool:
        """Whether one of them is still there."""
        return any(not source.is_gone for source, _ in self.sources)

    def next_source(self, want: Want) -> Source | None:
        """One that was not asked for this key; keys are spread over them."""
        left = [source for source, _ in self.sources if not source.is_gone and source not in want.tried]
        return left[want.key[1] % len(left)] if left else None


class BlockDesk:
    """What one pivot does for its circuits with blocks.

    `say` says an answer or does a job, `outflow` knows what still waits.
    """

    def __init__(
        self,
        route: Routes,
        chance: Chance,
        timers: Timers,
        refusals: Refusals,
        say: Callable[[Visit, Body | Job, float], None],
        outflow: Outflow,
    ) -> None:
        self._route, self._chance, self._timers, self._refusals = route, chance, timers, refusals
        self._say, self._outflow = say, outflow
        self._reinserts: set[bytes] = set()

    @property
    def reinserts(self) -> int:
        """Blocks that wait to be stored anew."""
        return len(self._reinserts)

    def _is_busy(self, visit: Visit) -> bool:
        return len(visit.wants) + visit.stores + len(visit.waiting) >= MAX_WANTED

    def fetch(self, visit: Visit, said: FetchKeys, now: float) -> None:
        """These keys are wanted."""
        new: list[bytes] = []
        for key in said.keys:
            if key in visit.wants:
                self._refusals.count(Refusal.KEY_ASKED_TWICE)
            elif self._is_busy(visit):
                self.refuse(visit, key[1:], now)
            elif visit.is_open:
                has_second = len(said.keys) == 1 or key[0] == BlockType.SSK
                visit.wants[key] = Want(key, has_second)
                new.append(key)
        if not visit.is_open:
            return
        if visit.is_bridge or visit.source_first:
            self._by_source(visit, new, FailReason.PROVIDER_GONE, now)
            return
        for key in new:
            if (want := visit.wants.get(key)) is not None:
                self._by_route(visit, want, False, now)

    def refuse(self, visit: Visit, routing: bytes, now: float) -> None:
        """It is more than a circuit has at a time."""
        self._refusals.count(Refusal.PIVOT_BUSY)
        self._say(visit, Fail(FailReason.OVERLOAD, routing), now)

    def _by_route(self, visit: Visit, want: Want, second: bool, now: float) -> None:
        want.by_route = True

        def done(found: Found) -> None:
            # Whenever that is: what time it is then, the timers know.
            self._timers.at(now, lambda when: self._routed(visit, want, second, found, when))

        self._route.fetch(BlockType(want.key[0]), want.key[1:], done, now, second)

    def _routed(self, visit: Visit, want: Want, second: bool, found: Found, now: float) -> None:
        if visit.wants.get(want.key) is not want:
            return
        if found.blocks:
            self._found(visit, want, found.blocks, BY_ROUTE_CHANCE, now)
        elif want.has_second and not second and found.reason is not FailReason.OVERLOAD:
            self._by_route(visit, want, True, now)
        else:
            self._by_source(visit, [want.key], found.reason or FailReason.NOT_FOUND, now)

    def _by_source(self, visit: Visit, keys: Sequence[bytes], reason: FailReason, now: float) -> None:
        """Ask who has not been asked; `reason` is why there is no block if there is nobody."""
        asked: dict[Source, list[bytes]] = {}
        for want in [visit.wants[key] for key in keys]:
            if (source := visit.next_source(want)) is not None:
                want.tried.append(source)
                asked.setdefault(source, []).append(want.key)
            elif visit.is_bridge or want.by_route:
                self._lacks(visit, want, reason, now)
            else:
                self._by_route(visit, want, False, now)

        def answer(key: bytes, block: bytes | None, reason: FailReason, when: float) -> None:
            self._sourced(visit, key, block, reason, when)

        for source, those in asked.items():
            source.ask(those, answer, now)

    def _sourced(self, visit: Visit, key: bytes, block: bytes | None, reason: FailReason, now: float) -> None:
        want = visit.wants.get(key)
        if want is None:
            return
        visit.source_first = block is not None
        if block is not None:
            self._found(visit, want, (block,), BY_ANCHOR_CHANCE, now)
        else:
            want.failed(reason)
            self._by_source(visit, [key], reason, now)

    def _found(self, visit: Visit, want: Want, found: tuple[bytes, ...], chance: float, now: float) -> None:
        kind, routing = BlockType(want.key[0]), want.key[1:]
        del visit.wants[want.key]
        for block in found:
            if self._outflow.has_room_for(visit, len(block)):
                self._say(visit, InnerBlock(kind, block), now)
            else:
                self.refuse(visit, routing, now)
        if not visit.is_bridge:
            self._store_anew(kind, routing, found[0], chance, now)

    def _lacks(self, visit: Visit, want: Want, reason: FailReason, now: float) -> None:
        if visit.wants.pop(want.key, None) is None:
            return
        if want.verdict is not None and reason is not FailReason.OVERLOAD:
            reason = want.verdict
        elif visit.attaches and not visit.has_source and reason is not FailReason.OVERLOAD:
            reason = FailReason.PROVIDER_GONE
        self._say(visit, Fail(reason, want.key[1:]), now)

    def _store_anew(self, kind: BlockType, routing: bytes, block: bytes, chance: float, now: float) -> None:
        if len(self._reinserts) >= MAX_REINSERTS or routing in self._reinserts or self._chance.random() >= chance:
            return
        self._reinserts.add(routing)

        def store(when: float) -> None:
            self._reinserts.discard(routing)
            self._route.store(kind, routing, block, lambda copies, then: None, when)

        self._timers.at(now + exponential(self._chance, REINSERT_S), store)

    def take(self, visit: Visit, said: StoreBlock, now: float) -> None:
        """This block is to be stored, in its turn; Violation if it is none."""
        try:
            routing = routing_in(said.type, said.block)
        except RemoteViolation:
            raise Violation(Refusal.BLOCK_BROKEN) from None
        if self._is_busy(visit) or not self._outflow.has_room_for(visit, len(said.block)):
            self.refuse(visit, routing, now)
        else:
            self._say(visit, Job(len(said.block), lambda when: self._store(visit, said, routing, when)), now)

    def _store(self, visit: Visit, said: StoreBlock, routing: bytes, now: float) -> None:
        visit.stores += 1

        def done(copies: int, when: float) -> None:
            visit.stores -= 1
            self._say(visit, InnerStored(routing, min(copies, MAX_COPIES)), when)

        self._route.store(said.type, routing, said.block, done, now, said.second)
