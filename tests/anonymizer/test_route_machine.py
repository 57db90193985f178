"""Whatever neighbours do, the tables of a route keep their bounds, nothing unchecked gets in, and each request ends once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anonymizer.blocks import Outcome, verify
from anonymizer.chk import BLOCK_BYTES, routing_of
from anonymizer.fetching import Fetched
from anonymizer.reasons import Violation
from anonymizer.route import MAX_TAKES, Route
from anonymizer.ssk import WriteKey
from anonymizer.timers import Timers
from anonymizer.walks import FETCH_LIFE_S, STORE_LIFE_S
from anonymizer.wire import (
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
from gnutella.testing.route_net import HeldBlocks

IDS = [bytes((n,)) * 32 for n in range(8)]
NODES = st.sampled_from(IDS[1:])
KEY = WriteKey(b"k" * 32, b"r" * 32)
CONTENTS = [b"\x01\x01" + bytes((n,)) * (BLOCK_BYTES - 2) for n in range(3)]
RECORDS = [KEY.write("news", number, b"", bytes(16)) for number in (1, 2)]
BLOCKS = [*((BlockType.CHK, block) for block in CONTENTS), *((BlockType.SSK, record) for record in RECORDS)]
KEYS = [*((BlockType.CHK, routing_of(block)) for block in CONTENTS), (BlockType.SSK, KEY.read_key.routing("news"))]
#: Ids of blocks that are taken.
PROOFS = {node[:16] for node in IDS}
HTLS = st.integers(1, 12)


class SlowBlocks(HeldBlocks):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def get(self, type: BlockType, routing: bytes, done: Callable[[tuple[bytes, ...]], None]) -> None:
        self.waiting.append(lambda: HeldBlocks.get(self, type, routing, done))

    def put(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        place: Literal["cache", "store"],
        done: Callable[[Outcome], None],
    ) -> None:
        verify(type, routing, block)
        self.waiting.append(lambda: HeldBlocks.put(self, type, routing, block, place, done))


class Routes(RuleBasedStateMachine):
    """One node; `asked` are what it asked whom and may be answered, `open` its own requests that have not ended."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.timers, self.blocks = Timers(), SlowBlocks()
        self.links: set[bytes] = set()
        self.open: dict[int, float] = {}
        self.asked: list[tuple[bytes, AnyBody]] = []
        #: Requests of neighbours, and how often each got its final answer.
        self.begun: dict[tuple[bytes, bytes], int] = {}
        self.answers: dict[tuple[bytes, bytes], int] = {}
        self.number = 1
        self.route = Route(IDS[0], random.Random(1), self.timers, self.blocks, self._sent, bytes_per_s=20_000)

    def _sent(self, node: bytes, body: AnyBody) -> None:
        assert node in self.links
        assert parse(cell_of(body)) == body
        if isinstance(body, Fetch | Store | Take):
            self.asked.append((node, body))
        elif isinstance(body, Reject | NotFound | NoRoute | Stored) or (isinstance(body, Block) and not body.more):
            self.answers[node, body.uid] = self.answers.get((node, body.uid), 0) + 1
        if isinstance(body, Block):
            assert body.block in (CONTENTS if body.type is BlockType.CHK else RECORDS)

    def _receive(self, node: bytes, body: AnyBody) -> None:
        if node in self.links:
            try:
                self.route.receive(node, body, self.now)
            except Violation as violation:
                assert violation.reason.costs == "link"
                self.link_down(node)

    @rule(node=NODES)
    def link_up(self, node: bytes) -> None:
        if node not in self.links:
            self.links.add(node)
            self.route.link_up(node, self.now)

    @rule(node=NODES)
    def link_down(self, node: bytes) -> None:
        self.links.discard(node)
        self.route.link_down(node, self.now)
        # What came by the link is answered no more.
        for table in (self.begun, self.answers):
            for key in [key for key in table if key[0] == node]:
                del table[key]

    @rule(node=NODES, key=st.sampled_from(KEYS), htl=HTLS, second=st.booleans(), again=st.booleans())
    def fetch_comes(self, node: bytes, key: tuple[BlockType, bytes], htl: int, second: bool, again: bool) -> None:
        self._receive(node, Fetch(self._uid(node, again), *key, htl, second))

    @rule(node=NODES, block=st.sampled_from(BLOCKS), htl=HTLS, second=st.booleans(), again=st.booleans())
    def store_comes(self, node: bytes, block: tuple[BlockType, bytes], htl: int, second: bool, again: bool) -> None:
        self._receive(node, Store(self._uid(node, again), htl, block[0], second, block[1]))

    def _uid(self, node: bytes, again: bool) -> bytes:
        self.number += not again
        uid = self.number.to_bytes(16, "big")
        if node in self.links:
            self.begun[node, uid] = self.begun.get((node, uid), 0) + 1
        return uid

    @rule(key=st.sampled_from(KEYS), second=st.booleans())
    def own_fetch(self, key: tuple[BlockType, bytes], second: bool) -> None:
        number = self._own(FETCH_LIFE_S)

        def done(fetched: Fetched) -> None:
            del self.open[number]
            assert (fetched.reason is None) is bool(fetched.blocks)
            for block in fetched.blocks:
                verify(*key, block)

        self.route.fetch(*key, done, self.now, second)

    @rule(at=st.integers(0, len(BLOCKS) - 1), second=st.booleans())
    def own_store(self, at: int, second: bool) -> None:
        number, (type, block) = self._own(STORE_LIFE_S), BLOCKS[at]

        def done(copies: int, now: float) -> None:
            del self.open[number]
            assert 0 <= copies <= 3

        self.route.store(type, KEYS[min(at, 3)][1], block, done, self.now, second)

    def _own(self, life_s: float) -> int:
        self.number += 1
        self.open[self.number] = self.now + life_s
        return self.number

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), htl=st.integers(0, 12), reason=st.sampled_from(RejectReason), block=st.sampled_from(BLOCKS))
    def answer(self, data: st.DataObject, htl: int, reason: RejectReason, block: tuple[BlockType, bytes]) -> None:
        """Anything at all, from who was asked or from another."""
        node, body = data.draw(st.sampled_from(self.asked[-20:]))
        uid = body.proof[:16] if isinstance(body, Take) else body.uid if isinstance(body, Fetch | Store) else bytes(16)
        more = data.draw(st.booleans()) and block[0] is BlockType.SSK
        answers: list[AnyBody] = [
            Accepted(uid),
            NotFound(uid),
            NoRoute(uid, htl),
            Reject(uid, reason, htl * 30),
            Stored(uid, htl % 4),
            Block(uid, *block, more),
        ]
        if isinstance(body, Fetch):
            right = [(type, held) for type, held in BLOCKS if (type, body.routing) in KEYS and type is body.type]
            answers += [Block(uid, *one) for one in right]
        self._receive(data.draw(st.sampled_from([node, node, node, IDS[1]])), data.draw(st.sampled_from(answers)))

    @rule(node=NODES, key=st.sampled_from(KEYS), proof=st.sampled_from(IDS), is_take=st.booleans())
    def offer(self, node: bytes, key: tuple[BlockType, bytes], proof: bytes, is_take: bool) -> None:
        self._receive(node, Take(key[1], proof) if is_take else Offer(key[1], proof))

    @rule(number=st.integers(1, 9))
    def disk(self, number: int) -> None:
        for _ in range(min(number, len(self.blocks.waiting))):
            self.blocks.waiting.pop(0)()

    @rule(seconds=st.sampled_from((0.0, 0.05, 3.0, 11.0, 61.0, 700.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.timers.run(self.now)

    @invariant()
    def tables_keep_their_bounds(self) -> None:
        sizes = self.route.sizes()
        assert sizes["takes"] <= min(MAX_TAKES, 4)
        assert sizes["failures"] <= 2 * len(KEYS)
        assert sizes["offers"] <= len(KEYS)
        assert 0 <= sizes["liability"] <= 20_000 * 120
        assert 0 <= sizes["stores"] <= sizes["walks"]
        assert sizes["walks"] >= len(self.open)
        assert (sizes["walks"] == 0) is (sizes["liability"] == 0)

    @invariant()
    def nobody_is_answered_more_often_than_he_asked(self) -> None:
        for asked, count in self.answers.items():
            assert count <= self.begun.get(asked, 0) or asked[1] in PROOFS

    @invariant()
    def nothing_outlives_its_time(self) -> None:
        assert all(until + 700 >= self.now for until in self.open.values())

    def teardown(self) -> None:
        for _ in range(3):
            self.now += 130
            self.timers.run(self.now)
        assert self.open == {}
        assert {key: n for key, n in self.answers.items() if key[1] not in PROOFS} == self.begun
        sizes = self.route.sizes()
        assert (sizes["walks"], sizes["stores"], sizes["takes"], sizes["liability"]) == (0, 0, 0, 0)
        assert len(self.timers) == 0


TestRoutes = Routes.TestCase
TestRoutes.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
