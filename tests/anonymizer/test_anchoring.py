"""Serving files through anchors: what is listed where and for how long, which blocks leave, and how fast."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anonymizer import anchoring as module
from anonymizer.anchoring import (
    BLOCK_BURST,
    BLOCK_RATE,
    MAX_QUEUED,
    MAX_READING,
    MAX_TOKENS,
    MIN_LEFT_S,
    TOKEN_S,
    Anchoring,
)
from anonymizer.channel import MAX_REOPENS, Channels
from anonymizer.chk import DATA, Block, pad, seal
from anonymizer.errors import QuotaExceeded
from anonymizer.fields import Body
from anonymizer.inner import Anchor, Anchored, Dummy, Fail, FailReason, FetchKeys, InnerBlock, place_of
from anonymizer.reasons import Refusal
from anonymizer.wire import BlockType
from gnutella.testing.relay_pivot import FarEnd, RelayPivots

FILES = [bytes((n,)) * 32 for n in range(8)]


def blocks(count: int) -> list[Block]:
    return [seal(pad(b"block %d" % n), bytes(32), DATA, n) for n in range(count)]


class Provider:
    """A provider with scripted pivots that list all tokens, unless `refuse` says otherwise."""

    def __init__(self, seed: int = 1, *, copies: int = 1, held: list[Block] | None = None, max_groups: int = 4) -> None:
        self.net = RelayPivots(seed, pivots=30)
        self.net.others = self._others
        self.held = {block.routing: block.sealed for block in held or []}
        self.asked: list[bytes] = []
        self.waiting: list[Callable[[], None]] | None = None
        self.tokens: list[tuple[bytes, Anchor]] = []
        self.got: list[Body] = []
        self.refuse = False
        self.channels = Channels(
            b"o" * 32, self.net, self.net.known, self.net.rng, self.net.timers, self.net.new_key, lambda: "guard"
        )
        self.net.origin = self.channels
        self.anchoring = Anchoring(
            self.channels, self.net.timers, self.net.new_key, self._read, copies=copies, max_groups=max_groups
        )

    def _read(self, routing: bytes, done: Callable[[bytes | None, float], None]) -> None:
        self.asked.append(routing)
        if self.waiting is None:
            done(self.held.get(routing), self.net.now)
        else:
            self.waiting.append(lambda: done(self.held.get(routing), self.net.now))

    def _others(self, end: FarEnd, body: Body) -> list[Body]:
        if not isinstance(body, Anchor):
            self.got.append(body)
            return []
        self.tokens.append((end.pivot_id, body))
        return [Fail(FailReason.OVERLOAD, place_of(body.token)) if self.refuse else Anchored(body.token)]

    def serve(self, *files: bytes) -> Provider:
        for routing in files or FILES[:1]:
            self.anchoring.add(routing, self.net.now)
        self.net.run(20.0)
        return self

    def fetch(self, *keys: bytes, kind: BlockType = BlockType.CHK) -> None:
        """The pivot asks on the newest circuit."""
        for at in range(0, len(keys), 16):
            self.net.answer(
                max(self.net.circuits), FetchKeys(tuple(bytes((kind,)) + key for key in keys[at : at + 16]))
            )

    def hints(self, routing: bytes = FILES[0]) -> list[tuple[bytes, bytes]]:
        return [(hint.pivot_id, hint.token) for hint in self.anchoring.hints(routing, self.net.now)]


def test_a_file_is_listed_at_a_pivot_and_hits_name_it_only_then() -> None:
    made = Provider()
    made.anchoring.add(FILES[0], made.net.now)
    assert made.hints() == []
    made.net.run(20.0)
    ((pivot, anchor),) = made.tokens
    assert made.hints() == [(pivot, anchor.token)]
    assert made.hints(FILES[1]) == []
    assert FILES[0] in made.anchoring


def test_each_file_has_a_token_of_its_own_on_one_circuit_and_copies_at_other_pivots() -> None:
    made = Provider(copies=2).serve(*FILES)
    assert len(made.net.circuits) == 2
    tokens = [anchor.token for _, anchor in made.tokens]
    assert len(set(tokens)) == len(tokens) == 2 * len(FILES)
    assert all(len(made.hints(routing)) == 2 for routing in FILES)


def test_tokens_are_renewed_before_they_end_at_times_that_differ() -> None:
    firsts = []
    for seed in range(20):
        made = Provider(seed).serve()
        start = made.net.now
        made.net.run_until(lambda made=made: len(made.tokens) == 2)  # type: ignore[misc]
        firsts.append(made.net.now - start)
        assert made.tokens[0] == made.tokens[1]
        for _ in range(6):
            made.net.run(300.0)
            assert made.hints()
    assert max(firsts) < TOKEN_S
    assert len({round(first) for first in firsts}) > 10


def test_a_listing_that_nobody_confirms_again_is_told_no_more() -> None:
    made = Provider().serve()
    made.net.others = lambda end, body: []
    made.net.run(TOKEN_S - MIN_LEFT_S - 20.0)
    assert made.hints()
    made.net.run(MIN_LEFT_S)
    assert made.hints() == []


def test_a_lost_circuit_is_replaced_at_another_pivot_with_other_tokens() -> None:
    made = Provider().serve(*FILES[:2])
    before = set(made.hints(FILES[0]) + made.hints(FILES[1]))
    made.net.kill(1)
    assert made.hints() == []
    made.net.run(60.0)
    after = set(made.hints(FILES[0]) + made.hints(FILES[1]))
    assert len(after) == len(before) == 2
    assert not {pivot for pivot, _ in before} & {pivot for pivot, _ in after}
    assert not {token for _, token in before} & {token for _, token in after}


def test_when_all_is_lost_it_is_tried_again_later_by_itself() -> None:
    made = Provider()
    made.net.answers_seals = False
    made.anchoring.add(FILES[0], made.net.now)
    made.net.run_until(lambda: len(made.net.pivots_used) > 1 + MAX_REOPENS)
    made.net.answers_seals = True
    made.net.run(300.0)
    assert made.hints()


def test_without_a_guard_it_waits_for_one() -> None:
    made = Provider()
    made.net.has_guard = False
    made.anchoring.add(FILES[0], made.net.now)
    assert made.net.log == []
    made.net.has_guard = True
    made.net.run(1_500.0)
    assert made.hints()


def test_blocks_of_the_file_are_read_on_demand_and_sent() -> None:
    held = blocks(3)
    made = Provider(held=held).serve()
    assert made.asked == []
    made.fetch(held[0].routing, bytes(32), held[2].routing)
    made.net.run(100.0)
    # What needs no large cell need not wait for a turn.
    assert made.got == [
        Fail(FailReason.NOT_FOUND, bytes(32)),
        InnerBlock(BlockType.CHK, held[0].sealed),
        InnerBlock(BlockType.CHK, held[2].sealed),
    ]
    made.fetch(held[0].routing, kind=BlockType.SSK)
    made.net.run(100.0)
    assert made.got[3:] == [Fail(FailReason.NOT_FOUND, held[0].routing)]
    assert made.anchoring.served == 2


def test_a_file_that_was_changed_serves_no_wrong_block() -> None:
    one, other = blocks(2)
    made = Provider(held=[Block(one.routing, other.sealed), Block(other.routing, b"short")]).serve()
    made.fetch(one.routing, other.routing)
    made.net.run(100.0)
    assert [type(body) for body in made.got] == [Fail, Fail]
    assert made.anchoring.refusals[Refusal.PROVIDED_CHANGED] == 2


def test_blocks_leave_within_window_and_rate() -> None:
    held = blocks(150)
    made = Provider(held=held).serve()
    start = made.net.now
    made.fetch(*(block.routing for block in held))
    made.net.run_until(lambda: made.anchoring.served == len(held), 300.0)
    assert made.net.now - start > (len(held) - BLOCK_BURST) / BLOCK_RATE
    made.net.run(100.0)
    assert [body.block for body in made.got if isinstance(body, InnerBlock)] == [block.sealed for block in held]


def test_slow_disks_are_not_asked_for_everything_at_once() -> None:
    held = blocks(60)
    made = Provider(held=held).serve()
    made.waiting = []
    made.fetch(*(block.routing for block in held))
    made.net.run(20.0)
    assert len(made.waiting) == MAX_READING
    while made.waiting:
        made.waiting.pop(0)()
        made.net.run(1.0)
    assert made.anchoring.served == len(held)


def test_more_keys_than_may_wait_are_refused() -> None:
    made = Provider().serve()
    made.waiting = []
    made.fetch(*(n.to_bytes(32, "big") for n in range(MAX_QUEUED + MAX_READING + 5)))
    made.net.run(20.0)
    assert made.got.count(Fail(FailReason.OVERLOAD, (MAX_QUEUED + MAX_READING + 4).to_bytes(32, "big"))) == 1
    assert made.anchoring.refusals[Refusal.PROVIDER_BUSY] == len(made.got) >= 5


def test_a_block_that_was_read_for_a_lost_circuit_goes_nowhere() -> None:
    held = blocks(1)
    made = Provider(held=held).serve()
    made.waiting = []
    made.fetch(held[0].routing)
    made.net.run(5.0)
    made.net.kill(1)
    made.net.run(60.0)
    made.waiting.pop()()
    made.net.run(5.0)
    assert (made.got, made.anchoring.served) == ([], 0)


def test_a_token_that_is_refused_is_another_one_next_time() -> None:
    made = Provider()
    made.refuse = True
    made.serve()
    assert made.hints() == []
    made.refuse = False
    made.net.run(TOKEN_S)
    assert made.hints()
    assert made.tokens[0][1].token != made.tokens[-1][1].token
    assert made.anchoring.refusals[Refusal.ANCHOR_REFUSED] == 1


def test_a_pivot_that_says_nonsense_is_left() -> None:
    made = Provider().serve()
    made.net.answer(1, Dummy())
    made.net.run(60.0)
    assert len(made.net.pivots_used) == 2
    assert made.hints()


def test_what_is_removed_is_not_told_and_the_last_one_ends_the_circuit() -> None:
    made = Provider().serve(*FILES[:2])
    assert made.anchoring.remove(FILES[0], made.net.now)
    assert not made.anchoring.remove(FILES[0], made.net.now)
    assert made.hints(FILES[0]) == []
    assert made.hints(FILES[1])
    made.anchoring.remove(FILES[1], made.net.now)
    made.net.settle()
    assert made.net.circuits == {}
    made.net.run(5_000.0)
    assert len(made.net.pivots_used) == 1
    made.serve(FILES[2])
    assert made.hints(FILES[2])


def test_stop_ends_everything() -> None:
    made = Provider(copies=2).serve(*FILES)
    made.anchoring.stop(made.net.now)
    made.net.settle()
    assert (len(made.anchoring), made.net.circuits) == (0, {})
    made.net.run(5_000.0)
    assert len(made.net.timers) == 0


def test_files_are_bounded_by_circuits_and_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 2)
    made = Provider(max_groups=2).serve(*FILES[:4])
    assert len(made.net.circuits) == 2
    with pytest.raises(QuotaExceeded):
        made.anchoring.add(FILES[5], made.net.now)
    made.anchoring.add(FILES[0], made.net.now)
    assert len(made.anchoring) == 4
    assert MAX_TOKENS == 256
