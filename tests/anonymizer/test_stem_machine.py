"""Whatever links do and whatever comes over them, the tables of a stem stay whole and within their bounds."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anonymizer.cells import LARGE_BODY, SMALL_BODY, Command
from anonymizer.credit import WINDOW, cost_of
from anonymizer.edges import ABSENCE_S
from anonymizer.reasons import Violation
from anonymizer.stem import MAX_HELD, Stem
from anonymizer.wire import SEALED_SIZE, Ciphertext, Close, CloseReason, Credit, Open, Phase, Post, Seek, cell_of, parse

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
        #: What was drawn for each edge, and units under way on each channel that we opened or that was opened to us.
        self.drawn: dict[bytes, tuple[bytes, bool]] = {}
        self.sent: dict[tuple[bytes, int], int] = {}
        #: Since when there is no link to those that were linked.
        self.away: dict[bytes, float] = {}
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
            if self.now - self.away.pop(node, self.now) > ABSENCE_S:
                self.drawn.clear()
            self.stem.link_up(node, is_client)
            if kind is not None:
                self.stem.guards.fill([node] if kind else [], self.now)
                self.stem.make_edge(node, kind)

    @rule(node=NODES)
    def drop_edge(self, node: bytes) -> None:
        self.stem.drop_edge(node, self.now)
        self.drawn.clear()

    @rule(node=NODES)
    def link_down(self, node: bytes) -> None:
        if node in self.links:
            self.links.remove(node)
            self.away[node] = self.now
            self.stem.link_down(node, self.now)

    @rule(
        node=NODES, channel=CHANNELS, pivot=st.sampled_from(IDS), budget=st.sampled_from((0, 8)), seal=st.integers(0, 1)
    )
    def opening(self, node: bytes, channel: int, pivot: bytes, budget: int, seal: int) -> None:
        body = Open(Phase.BRIDGE if budget else Phase.STEM, pivot, budget, bytes((seal,)) * SEALED_SIZE)
        self._receive(node, body, channel)

    @rule(
        node=NODES,
        channel=CHANNELS,
        body=st.sampled_from(
            (
                Close(CloseReason.DONE),
                Ciphertext(bytes(SMALL_BODY)),
                Ciphertext(bytes(LARGE_BODY)),
                Credit(1),
                Credit(200),
            )
        ),
        times=st.sampled_from((1, 1, 20, 70)),
    )
    def more(self, node: bytes, channel: int, body: Close | Ciphertext | Credit, times: int) -> None:
        for _ in range(times):
            self._receive(node, body, channel)

    @rule(data=st.data(), is_all=st.booleans())
    def credit(self, data: st.DataObject, is_all: bool) -> None:
        """A neighbour gives back what it has, or some of it."""
        owed = sorted((key, units) for key, units in self.sent.items() if units and key[0] in self.links)
        if owed:
            (node, channel), units = data.draw(st.sampled_from(owed))
            given = units if is_all else 1
            self.sent[node, channel] -= given
            self._receive(node, Credit(min(WINDOW, given)), channel)

    @rule(node=NODES, pivot=st.sampled_from(IDS), budget=st.sampled_from((0, 8)), number=st.integers(0, 3))
    def post(self, node: bytes, pivot: bytes, budget: int, number: int) -> None:
        phase = Phase.BRIDGE if budget else Phase.STEM
        self._receive(node, Post(phase, pivot, budget, bytes((number,)) * SEALED_SIZE), 0)

    @rule(pivot=st.sampled_from(IDS[1:]), number=st.integers(4, 9))
    def post_own(self, pivot: bytes, number: int) -> None:
        guard = self.stem.guard(self.now)
        assert self.stem.post(pivot, bytes((number,)) * SEALED_SIZE, self.now) is (guard is not None)

    @rule(node=NODES)
    def other(self, node: bytes) -> None:
        assert self.stem.send(node, Seek(bytes(16), OWN, bytes(32), 3, "x", 0), "seek") is (node in self.links)

    def _receive(self, node: bytes, body: Open | Close | Ciphertext | Credit | Post, channel: int) -> None:
        if node in self.links:
            try:
                self.stem.receive(node, cell_of(body, channel), self.now)
            except Violation as violation:
                assert violation.reason.costs == "link"

    @rule(pivot=st.sampled_from(IDS[1:]), is_bridge=st.booleans())
    def open_own(self, pivot: bytes, is_bridge: bool) -> None:
        opens = self.stem.open_bridge if is_bridge else self.stem.open
        number = opens(pivot, bytes(SEALED_SIZE), self.now)
        if number is not None:
            self.open_here.add(number)

    @rule(data=st.data(), is_close=st.booleans(), times=st.sampled_from((1, 10, 100)))
    def say(self, data: st.DataObject, is_close: bool, times: int) -> None:
        if self.open_here:
            number = data.draw(st.sampled_from(sorted(self.open_here)))
            if is_close:
                self.stem.close(number, CloseReason.DONE, self.now)
                self.open_here.remove(number)
            else:
                for _ in range(times):
                    self.stem.say(number, bytes(LARGE_BODY), self.now)

    @rule(seconds=st.sampled_from((0.01, 1.0, 100.0, 4_000.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for node, cell in self.stem.due(self.now, blocked=set(IDS[:2])):
            assert node in self.links
            if cell.command is Command.CELL:
                units = self.sent.get((node, cell.channel), 0) + cost_of(cell)
                assert units <= WINDOW
                self.sent[node, cell.channel] = units
            elif cell.command is Command.OPEN:
                self.sent.pop((node, cell.channel), None)
            body = parse(cell)
            assert not isinstance(body, Open | Post) or (body.budget == 0) is (body.phase is Phase.STEM)
        self.stem.tick(self.now)

    @invariant()
    def tables_are_whole(self) -> None:
        assert self.stem.circuits >= len(self.open_here)
        assert 0 <= self.stem.held <= MAX_HELD
        assert all(0 <= self.stem.room(number) <= 64 for number in self.open_here)
        if not self.links:
            assert (self.stem.circuits, self.stem.held) == (0, 0)

    @invariant()
    def what_was_drawn_stays(self) -> None:
        for node in self.links:
            if self.stem.is_edge(node):
                goes = self.stem.next_edge(node)
                assert goes is None or (goes != node and self.stem.is_edge(goes))
                if self.away and node not in self.drawn:
                    continue  # it may lead to one that stands in
                first, coin = self.drawn.setdefault(node, (goes or b"", self.stem.ends_stem(node)))
                assert coin is self.stem.ends_stem(node)
                assert not self.stem.is_edge(first) or goes == first

    @invariant()
    def own_circuits_have_one_way(self) -> None:
        guard = self.stem.guard(self.now)
        assert guard is None or (guard in self.stem.guards and self.stem.is_edge(guard))


TestStems = Stems.TestCase
TestStems.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
