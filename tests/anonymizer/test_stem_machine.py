"""Whatever links do and whatever comes over them, the tables of a stem stay whole and within their bounds."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anonymizer.reasons import Violation
from anonymizer.stem import Stem
from anonymizer.wire import SEALED_SIZE, Ciphertext, Close, CloseReason, Open, Phase, cell_of

IDS = [bytes((n,)) * 32 for n in range(7)]
OWN = IDS[0]
NODES = st.sampled_from(IDS[1:])
CHANNELS = st.integers(1, 6)


class Stems(RuleBasedStateMachine):
    """One node; `open_here` are its own circuits and those to it that have not ended."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.open_here: set[int] = set()
        self.links: set[bytes] = set()
        self.stem = Stem(
            OWN,
            random.Random(1),
            heard=self._heard,
            ended=self._ended,
            arrived=self._arrived,
            posted=self._posted,
            has_room=self._has_room,
        )

    def _heard(self, number: int, data: bytes, now: float) -> None:
        assert number in self.open_here

    def _ended(self, number: int, reason: CloseReason, now: float) -> None:
        self.open_here.remove(number)

    def _posted(self, sealed: bytes, now: float) -> None:
        assert sealed

    def _has_room(self, number: int, now: float) -> None:
        assert number in self.open_here
        assert self.stem.room(number) > 0

    def _arrived(self, number: int, sealed: bytes, came: bytes, now: float) -> bool:
        if sealed[0]:
            self.open_here.add(number)
        return bool(sealed[0])

    @rule(node=NODES, is_client=st.booleans(), kind=st.sampled_from((None, True, False)))
    def link_up(self, node: bytes, is_client: bool, kind: bool | None) -> None:
        if node not in self.links:
            self.links.add(node)
            self.stem.link_up(node, is_client)
            if kind is not None:
                self.stem.make_edge(node, kind)

    @rule(node=NODES)
    def link_down(self, node: bytes) -> None:
        if node in self.links:
            self.links.remove(node)
            self.stem.link_down(node, self.now)

    @rule(node=NODES, channel=CHANNELS, pivot=st.sampled_from(IDS), budget=st.integers(0, 8), seal=st.integers(0, 1))
    def opening(self, node: bytes, channel: int, pivot: bytes, budget: int, seal: int) -> None:
        body = Open(Phase.BRIDGE if budget else Phase.STEM, pivot, budget, bytes((seal,)) * SEALED_SIZE)
        self._receive(node, body, channel)

    @rule(node=NODES, channel=CHANNELS, is_close=st.booleans())
    def more(self, node: bytes, channel: int, is_close: bool) -> None:
        self._receive(node, Close(CloseReason.DONE) if is_close else Ciphertext(bytes(1_520)), channel)

    def _receive(self, node: bytes, body: Open | Close | Ciphertext, channel: int) -> None:
        if node in self.links:
            try:
                self.stem.receive(node, cell_of(body, channel), self.now)
            except Violation as violation:
                assert violation.reason.costs == "link"

    @rule(pivot=st.sampled_from(IDS[1:]))
    def open_own(self, pivot: bytes) -> None:
        number = self.stem.open(pivot, bytes(SEALED_SIZE), self.now)
        if number is not None:
            self.open_here.add(number)

    @rule(data=st.data(), is_close=st.booleans())
    def say(self, data: st.DataObject, is_close: bool) -> None:
        if self.open_here:
            number = data.draw(st.sampled_from(sorted(self.open_here)))
            if is_close:
                self.stem.close(number, CloseReason.DONE, self.now)
                self.open_here.remove(number)
            else:
                self.stem.say(number, bytes(1_520), self.now)

    @rule(seconds=st.sampled_from((0.01, 1.0, 100.0, 4_000.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for node, cell in self.stem.due(self.now, blocked=set(IDS[:2])):
            assert node in self.links
            assert cell.channel
        self.stem.tick(self.now)

    @invariant()
    def tables_are_whole(self) -> None:
        assert self.stem.circuits >= len(self.open_here)
        assert self.stem.held >= 0
        if not self.links:
            assert (self.stem.circuits, self.stem.held, self.stem.next_at) == (0, 0, None)


TestStems = Stems.TestCase
TestStems.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
