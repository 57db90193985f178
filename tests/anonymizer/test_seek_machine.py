"""Whatever comes over the links, a flood asks each search once, sends none back, and stays within its bounds."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anonymizer.reasons import Refusal, Violation
from anonymizer.seek import LINK_BURST_OUT, LINK_RATE, MAX_CIRCUITS, SEEN_S, SeekFlood
from anonymizer.timers import Timers
from anonymizer.wire import SEEK_TTL, Seek, cell_of, parse
from gnutella.testing.relay_nodes import NOW

IDS = [bytes((n,)) * 32 for n in range(6)]
OWN = IDS[0]
NODES = st.sampled_from(IDS[1:])
QUERIES = st.integers(0, 6).map(lambda n: bytes((n,)) * 16)


class Floods(RuleBasedStateMachine):
    """One node.  `asked` has when each search was asked last, where it came from, and what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.now = float(NOW)
        #: Since when.
        self.links: dict[bytes, float] = {}
        self.asked: dict[bytes, tuple[float, bytes | None, Seek]] = {}
        self.came: bytes | None = None
        self.sent: Counter[bytes] = Counter()
        self.timers = Timers()
        self.flood = SeekFlood(OWN, random.Random(1), self.timers, self._send, self._asked)

    def _send(self, node: bytes, seek: Seek) -> None:
        assert node in self.links
        assert node != seek.pivot_id
        assert parse(cell_of(seek)) == seek
        _, _, asked = self.asked[seek.query_id]
        assert seek.ttl == (SEEK_TTL if seek.pivot_id == OWN else asked.ttl - 1)
        self.sent[node] += 1

    def _asked(self, seek: Seek, now: float) -> None:
        before = self.asked.get(seek.query_id)
        assert before is None or now - before[0] >= SEEN_S, "asked twice"
        self.asked[seek.query_id] = now, self.came, seek

    @rule(node=NODES)
    def link_up(self, node: bytes) -> None:
        if node not in self.links:
            self.links[node] = self.now
            self.sent[node] = 0
            self.flood.link_up(node, self.now)

    @rule(node=NODES)
    def link_down(self, node: bytes) -> None:
        self.links.pop(node, None)
        self.flood.link_down(node, self.now)

    @rule(
        node=NODES, query=QUERIES, pivot=st.sampled_from(IDS), ttl=st.integers(1, SEEK_TTL), repeat=st.integers(1, 30)
    )
    def receive(self, node: bytes, query: bytes, pivot: bytes, ttl: int, repeat: int) -> None:
        self.came = node
        lies = (ttl == SEEK_TTL) is not (pivot == node)
        for _ in range(repeat):
            try:
                self.flood.receive(node, Seek(query, pivot, bytes(32), ttl, "purple elephant", 0), self.now)
            except Violation as violation:
                assert violation.reason is Refusal.SEEK_FALSE
                assert lies
                assert node in self.links
            else:
                assert not lies or node not in self.links

    @rule(number=st.integers(0, 2**64), circuit=st.integers(0, 3), text=st.text(max_size=20))
    def start(self, number: int, circuit: int, text: str) -> None:
        self.came, query = None, number.to_bytes(16, "little")
        if query in self.asked:
            return  # a pivot draws each anew
        self.flood.start(query, bytes(32), text, 0, self.now, circuit)

    @rule(seconds=st.sampled_from((0.01, 0.3, 5.0, SEEN_S)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.timers.run(self.now)

    @invariant()
    def within_bounds(self) -> None:
        for node, since in self.links.items():
            assert self.sent[node] <= LINK_BURST_OUT + LINK_RATE * (self.now - since)
        assert self.flood.seen <= len(self.asked) + 7
        assert len(self.flood._circuits) <= MAX_CIRCUITS
        assert set(self.flood._links) == set(self.links)


TestFloods = Floods.TestCase
TestFloods.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
