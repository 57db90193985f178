"""Key routing at one node, rule by rule: what it answers, whom it asks, what it keeps, when it gives up."""

from __future__ import annotations

import random
from typing import TypeVar

import pytest

from anonymizer import failures as failures_module
from anonymizer import walks
from anonymizer.backoff import Backoff, Cause
from anonymizer.blocks import CHK, SSK, distance, location, second_place
from anonymizer.chk import BLOCK_BYTES, routing_of
from anonymizer.failures import Failures
from anonymizer.fetching import MAX_FREE_FAILURES, Fetched
from anonymizer.inner import FailReason
from anonymizer.neighbours import Coins, place_of
from anonymizer.offers import OFFER_S, Offers
from anonymizer.reasons import Refusal, Violation
from anonymizer.route import Route
from anonymizer.ssk import WriteKey
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
)
from gnutella.errors import RemoteViolation
from gnutella.testing.route_net import HeldBlocks

T = TypeVar("T")
OWN = bytes(32)
#: What a request comes from; it is never asked.
SOURCE = b"S" * 32
BLOCK = b"\x01\x01" + bytes(BLOCK_BYTES - 2)
ROUTING = routing_of(BLOCK)
PLACE = location(CHK, ROUTING)
#: Neighbours, the nearest to the block first.
NEAR = sorted((bytes((n,)) * 32 for n in range(1, 7)), key=lambda node: distance(place_of(node), PLACE))
OTHER = b"\x01\x01" + b"\x01" * (BLOCK_BYTES - 2)
KEY = WriteKey(b"k" * 32, b"r" * 32)
DOCUMENT = KEY.read_key.routing("news")


def record(sequence: int, data: bytes = b"") -> bytes:
    return KEY.write("news", sequence, data, bytes(16))


def uid(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Lone:
    """One node whose neighbours are the test; `sent` has what they were sent since it was last taken."""

    def __init__(
        self, *, links: int = 6, seed: int = 1, own: bytes = OWN, bytes_per_s: float = 1e9, may_store: bool = True
    ) -> None:
        self.timers, self.blocks, self.now = Timers(), HeldBlocks(), 1_000.0
        self.out: list[tuple[bytes, AnyBody]] = []
        self.bans: list[bytes] = []
        self.route = Route(
            own,
            random.Random(seed),
            self.timers,
            self.blocks,
            lambda node, body: self.out.append((node, body)),
            ban=lambda node, now: self.bans.append(node),
            bytes_per_s=bytes_per_s,
            may_store=may_store,
        )
        for node in (SOURCE, *NEAR[:links]):
            self.route.link_up(node, self.now)

    def hear(self, node: bytes, *bodies: AnyBody) -> list[tuple[bytes, AnyBody]]:
        for body in bodies:
            self.route.receive(node, body, self.now)
        return self.sent()

    def wait(self, seconds: float) -> list[tuple[bytes, AnyBody]]:
        self.now += seconds
        self.timers.run(self.now)
        return self.sent()

    def sent(self) -> list[tuple[bytes, AnyBody]]:
        out, self.out[:] = list(self.out), []
        return out

    def ask(self, number: int = 1, htl: int = 6, routing: bytes = ROUTING) -> list[tuple[bytes, AnyBody]]:
        """A FETCH from the source."""
        return self.hear(SOURCE, Fetch(uid(number), BlockType.CHK, routing, htl, False))

    def fetch(self, type: BlockType = BlockType.CHK, routing: bytes = ROUTING) -> list[Fetched]:
        told: list[Fetched] = []
        self.route.fetch(type, routing, told.append, self.now)
        return told

    def store(self, block: bytes = BLOCK) -> list[int]:
        told: list[int] = []
        self.route.store(BlockType.CHK, routing_of(block), block, lambda copies, now: told.append(copies), self.now)
        return told


def only(out: list[tuple[bytes, AnyBody]], kind: type[T]) -> list[tuple[bytes, T]]:
    return [(node, body) for node, body in out if isinstance(body, kind)]


# -- the way -----------------------------------------------------------------------------------------------------------


def test_a_request_is_accepted_and_goes_to_the_neighbour_nearest_to_its_key_with_a_hop_less() -> None:
    node = Lone()
    assert node.ask() == [
        (SOURCE, Accepted(uid(1))),
        (NEAR[0], Fetch(uid(1), BlockType.CHK, ROUTING, 5, False)),
    ]


def test_a_request_for_the_second_place_goes_there() -> None:
    node = Lone()
    out = node.hear(SOURCE, Fetch(uid(1), BlockType.CHK, ROUTING, 6, True))
    place = second_place(CHK, ROUTING)
    assert only(out, Fetch)[0][0] == min(NEAR, key=lambda peer: distance(place_of(peer), place)) != NEAR[0]


def test_a_request_that_was_here_is_refused_while_it_runs_and_after_its_end_by_pivot_and_relay_alike() -> None:
    relay, pivot = Lone(), Lone()
    relay.ask(7)
    pivot.fetch()
    own = only(pivot.sent(), Fetch)[0][1].uid
    for node, number in ((relay, uid(7)), (pivot, own)):
        again = Fetch(number, BlockType.CHK, ROUTING, 6, False)
        expected = [(NEAR[2], Reject(number, RejectReason.LOOP, 0))]
        assert node.hear(NEAR[2], again) == expected
        node.hear(NEAR[0], NotFound(number))
        assert node.hear(NEAR[2], again) == expected
        node.wait(walks.RECENT_S + 1)
        assert (NEAR[2], Accepted(number)) in node.hear(NEAR[2], again)


def test_hops_that_are_used_up_end_a_request_without_asking_anybody() -> None:
    found = [Lone(seed=seed).ask(htl=1)[1:] for seed in range(40)]
    ended = [out for out in found if out == [(SOURCE, NotFound(uid(1)))]]
    went = [out for out in found if only(out, Fetch) and only(out, Fetch)[0][1].htl == 1]
    assert len(ended) + len(went) == 40
    assert 3 <= len(ended) <= 20


def test_coins_belong_to_the_link_and_fall_as_they_shall() -> None:
    node = Lone()
    passed = set()
    for number in range(1, 50):
        passed |= {body.htl for _, body in only(node.ask(number, htl=MAX_HTL), Fetch)}
        node.route.link_down(SOURCE, node.now)
        node.route.link_up(SOURCE, node.now)
    assert len(passed) == 1
    coins = [Coins(bytes(32), uid(number)) for number in range(2_000)]
    assert 0.45 < sum(coin.lower(MAX_HTL) < MAX_HTL for coin in coins) / 2_000 < 0.55
    assert 0.22 < sum(coin.lower(1) < 1 for coin in coins) / 2_000 < 0.28
    assert all(coin.lower(htl) == htl - 1 for coin in coins[:9] for htl in range(2, MAX_HTL))


def test_own_requests_pass_coins_of_their_own_that_are_drawn_once() -> None:
    seen = set()
    for seed in range(20):
        node = Lone(seed=seed)
        htls = set()
        for number in range(10):
            node.fetch(routing=bytes((number,)) * 32)
            htls |= {body.htl for _, body in only(node.sent(), Fetch)}
        assert len(htls) == 1
        seen |= htls
    assert seen == {MAX_HTL, MAX_HTL - 1}


def test_a_dead_end_is_left_for_the_next_neighbour_with_the_hops_that_it_had() -> None:
    node = Lone()
    node.ask(htl=8)
    assert node.hear(NEAR[0], NoRoute(uid(1), 3)) == [(NEAR[1], Fetch(uid(1), BlockType.CHK, ROUTING, 3, False))]
    for tried in (1, 2, 3, 4):
        node.hear(NEAR[tried], Accepted(uid(1)), NoRoute(uid(1), 9))
    assert node.hear(NEAR[5], NoRoute(uid(1), 2)) == [(SOURCE, NoRoute(uid(1), 2))]
    assert node.route.sizes()["walks"] == 0


def test_a_dead_end_that_had_no_hops_left_is_the_end() -> None:
    node = Lone()
    node.ask()
    assert node.hear(NEAR[0], NoRoute(uid(1), 0)) == [(SOURCE, NotFound(uid(1)))]


def test_near_a_pivot_a_dead_end_costs_no_hops_but_only_so_often() -> None:
    node = Lone(links=7)
    told = node.fetch()
    sent = only(node.sent(), Fetch)
    for _ in range(MAX_FREE_FAILURES):
        peer, body = sent[-1]
        sent += only(node.hear(peer, NoRoute(body.uid, 2)), Fetch)
    assert [peer for peer, _ in sent][:3] == NEAR[:3]
    assert {body.htl for _, body in sent} <= {MAX_HTL, MAX_HTL - 1}
    node.hear(sent[-1][0], NoRoute(sent[-1][1].uid, 2))
    assert [fetched.reason for fetched in told] == [FailReason.NO_ROUTE]


def test_not_found_is_final_and_the_neighbour_is_passed_over_for_that_key_for_three_minutes() -> None:
    node = Lone()
    node.ask()
    assert node.hear(NEAR[0], NotFound(uid(1))) == [(SOURCE, NotFound(uid(1)))]
    assert only(node.ask(2), Fetch)[0][0] == NEAR[1]
    assert only(node.ask(3, htl=9), Fetch)[0][0] == NEAR[0]  # it was asked with fewer hops
    node.hear(NEAR[0], NoRoute(uid(3), 0))
    node.wait(failures_module.REFUSE_S + 60)
    assert only(node.ask(4), Fetch)[0][0] == NEAR[0]


def test_a_key_that_the_nearest_few_did_not_find_is_refused_for_a_while() -> None:
    node = Lone()
    for number in range(3):
        node.ask(number)
        node.hear(NEAR[number], NotFound(uid(number)))
    node.wait(60)
    assert node.ask(9) == [
        (SOURCE, Accepted(uid(9))),
        (SOURCE, Reject(uid(9), RejectReason.RECENTLY_FAILED, 120)),
    ]
    told = node.fetch()
    assert [fetched.reason for fetched in told] == []  # it has more hops than those that failed
    assert node.route.refusals[Refusal.ROUTE_FAILED_LATELY] == 1


def test_what_a_neighbour_knows_to_have_failed_lately_is_passed_on() -> None:
    node = Lone()
    node.ask()
    out = node.hear(NEAR[0], Reject(uid(1), RejectReason.RECENTLY_FAILED, 100))
    assert out == [(SOURCE, Reject(uid(1), RejectReason.RECENTLY_FAILED, 100))]
    node.ask(2)
    out = node.hear(NEAR[1], Reject(uid(2), RejectReason.RECENTLY_FAILED, 3_600))
    assert out == [(SOURCE, Reject(uid(2), RejectReason.RECENTLY_FAILED, 180))]
    told = node.fetch()
    peer, body = only(node.sent(), Fetch)[0]
    node.hear(peer, Reject(body.uid, RejectReason.RECENTLY_FAILED, 100))
    assert [fetched.reason for fetched in told] == [FailReason.NOT_FOUND]


def test_a_loop_further_on_costs_neither_hops_nor_the_neighbours_standing() -> None:
    node = Lone()
    node.ask()
    assert only(node.hear(NEAR[0], Reject(uid(1), RejectReason.LOOP, 0)), Fetch) == [
        (NEAR[1], Fetch(uid(1), BlockType.CHK, ROUTING, 5, False))
    ]
    assert only(node.ask(2), Fetch)[0][0] == NEAR[0]


def test_an_overloaded_neighbour_is_asked_last_for_a_doubling_time() -> None:
    node = Lone()
    for number, length in enumerate((1, 2, 4)):
        node.ask(number)
        out = node.hear(NEAR[0], Reject(uid(number), RejectReason.OVERLOAD_LOCAL, 0))
        assert only(out, Fetch)[0][0] == NEAR[1]
        node.hear(NEAR[1], Reject(uid(number), RejectReason.LOOP, 0))
        node.wait(length - 0.1)
        assert only(node.ask(10 + number), Fetch)[0][0] == NEAR[1]
        node.wait(0.2)
    assert only(node.ask(20), Fetch)[0][0] == NEAR[0]


def test_when_all_are_overloaded_the_one_who_asked_is_told_that_it_was_elsewhere() -> None:
    node = Lone(links=2)
    node.ask()
    node.hear(NEAR[0], Reject(uid(1), RejectReason.OVERLOAD_LOCAL, 5))
    out = node.hear(NEAR[1], Reject(uid(1), RejectReason.OVERLOAD_REMOTE, 5))
    assert [body.reason for _, body in only(out, Reject)] == [RejectReason.OVERLOAD_REMOTE]


def test_back_offs_double_up_to_their_most_and_begin_anew_after_a_good_answer() -> None:
    backoff, now, lengths = Backoff(), 0.0, []
    for _ in range(6):
        backoff.blame(Cause.TRANSFER, now)
        backoff.blame(Cause.TRANSFER, now)  # begun before: counts once
        lengths.append(backoff.until - now)
        now = backoff.until
    assert lengths == [30, 60, 120, 240, 480, 480]
    backoff.delivered()
    backoff.blame(Cause.TRANSFER, now)
    assert backoff.until - now == 30
    assert backoff.barred_until <= now
    backoff.blame(Cause.ROUTE, now, 1e9)
    assert backoff.until - now == 300
    backoff.blame(Cause.MANDATORY, now)
    assert backoff.barred_until == now + 1


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_neighbour_that_does_not_accept_in_ten_seconds_is_left_and_not_asked_for_a_second() -> None:
    node = Lone()
    node.ask()
    assert node.wait(walks.ACCEPT_S - 0.1) == []
    assert only(node.wait(0.2), Fetch)[0][0] == NEAR[1]
    assert only(node.ask(2), Fetch)[0][0] == NEAR[1]
    # What it says now is too late, but for the block itself.
    assert node.hear(NEAR[0], NotFound(uid(1))) == []
    assert node.route.refusals[Refusal.ROUTE_STRAY] == 1
    with pytest.raises(Violation):
        node.hear(NEAR[0], Block(uid(1), BlockType.CHK, OTHER))
    assert node.hear(NEAR[0], Block(uid(1), BlockType.CHK, BLOCK)) == [(SOURCE, Block(uid(1), BlockType.CHK, BLOCK))]
    assert node.hear(NEAR[1], NotFound(uid(1))) == []


def test_a_neighbour_that_accepts_and_goes_silent_is_left_for_the_next_and_for_half_a_minute_until_time_is_over() -> (
    None
):
    node = Lone()
    node.ask(htl=9)
    node.hear(NEAR[0], Accepted(uid(1)))
    assert node.wait(walks.SEARCH_S * 12 / 16 - 0.1) == []
    assert only(node.wait(0.2), Fetch)[0][0] == NEAR[1]
    assert only(node.ask(2), Fetch)[0][0] == NEAR[1]
    out = [answer for _ in range(50) for answer in node.wait(1)]
    assert (SOURCE, NotFound(uid(1))) in out


def test_a_pivot_whose_neighbour_goes_silent_does_what_a_relay_does() -> None:
    """Who could tell the two apart by swallowing a request would know pivots."""
    for seed in range(20):
        seen = []
        for is_pivot in (True, False):
            node = Lone(seed=seed)
            node.route._walks._coins = node.route._neighbours.get(SOURCE).coins  # type: ignore[union-attr]
            if is_pivot:
                told, out = node.fetch(), node.sent()
            else:
                told, out = [], node.ask(htl=MAX_HTL)
            steps = []
            for _ in range(140):
                steps += [(round(node.now, 1), peer, body.htl) for peer, body in only(out, Fetch)]
                for peer, body in only(out, Fetch):
                    node.hear(peer, Accepted(body.uid))
                out = node.wait(0.5)
            assert bool(told) is is_pivot
            seen.append(steps)
        assert seen[0] == seen[1]


def test_every_request_ends_within_its_life() -> None:
    node = Lone()
    told, stored = node.fetch(), node.store()
    for _ in range(300):
        for peer, body in node.sent():
            if isinstance(body, Fetch | Store):
                node.route.receive(peer, Accepted(body.uid), node.now)
        node.now += 1
        node.timers.run(node.now)
    assert len(told) == len(stored) == 1
    assert told[0].at - 1_000 <= walks.FETCH_LIFE_S + 1
    assert (node.route.sizes()["walks"], node.route.sizes()["liability"], len(node.timers)) == (0, 0, 0)


def test_a_link_that_ends_takes_its_requests_along_and_frees_those_that_went_over_it() -> None:
    node = Lone()
    node.ask()
    node.hear(NEAR[5], Fetch(uid(2), BlockType.CHK, ROUTING, 6, False))
    node.route.link_down(NEAR[0], node.now)
    assert [(peer, body.uid) for peer, body in only(node.sent(), Fetch)] in (
        [(NEAR[1], uid(1)), (NEAR[1], uid(2))],
        [(NEAR[1], uid(2)), (NEAR[1], uid(1))],
    )
    node.route.link_down(SOURCE, node.now)
    assert node.route.sizes()["walks"] == 1
    assert node.hear(NEAR[1], NotFound(uid(1))) == []


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_what_is_here_is_answered_no_sooner_than_what_is_fetched() -> None:
    waits = []
    for number in range(60):
        node, begun = Lone(seed=number), 1_000.0
        node.blocks.cache[CHK, ROUTING] = (BLOCK,)
        node.ask()
        while not (out := only(node.wait(0.001), Block)):
            assert node.now - begun < 0.07
        assert out == [(SOURCE, Block(uid(1), BlockType.CHK, BLOCK))]
        waits.append(node.now - begun)
    assert min(waits) >= 0.02
    assert max(waits) - min(waits) > 0.025


def test_a_fetched_block_is_held_as_long_and_not_longer() -> None:
    node = Lone()
    node.ask()
    assert node.hear(NEAR[0], Accepted(uid(1)), Block(uid(1), BlockType.CHK, BLOCK)) == []
    assert node.wait(0.06) == [(SOURCE, Block(uid(1), BlockType.CHK, BLOCK))]
    node.blocks.cache.clear()
    node.ask(2)
    node.wait(1)
    assert node.hear(NEAR[0], Block(uid(2), BlockType.CHK, BLOCK)) == [(SOURCE, Block(uid(2), BlockType.CHK, BLOCK))]


@pytest.mark.parametrize(("htl", "is_kept"), [(12, False), (11, False), (10, True), (2, True)])
def test_only_relays_that_cannot_be_next_to_the_pivot_keep_what_they_pass_on(htl: int, is_kept: bool) -> None:
    node = Lone()
    node.ask(htl=htl)
    node.hear(NEAR[0], Block(uid(1), BlockType.CHK, BLOCK))
    assert bool(node.blocks.cache) is is_kept
    assert node.blocks.store == {}


def test_the_pivot_keeps_nothing_of_what_it_fetches() -> None:
    node = Lone()
    told = node.fetch()
    peer, body = only(node.sent(), Fetch)[0]
    node.hear(peer, Block(body.uid, BlockType.CHK, BLOCK))
    node.wait(0.1)
    assert [(fetched.blocks, fetched.reason) for fetched in told] == [((BLOCK,), None)]
    assert (node.blocks.cache, node.blocks.store) == ({}, {})


def test_the_pivot_answers_from_the_store_as_any_node() -> None:
    node = Lone()
    node.blocks.store[CHK, ROUTING] = (BLOCK,)
    told = node.fetch()
    assert (told, node.sent()) == ([], [])
    node.wait(0.06)
    assert told[0].blocks == (BLOCK,)
    assert told[0].at - 1_000 >= 0.02


@pytest.mark.parametrize("position", [0, 1, 2, 20, 16_000, BLOCK_BYTES - 1])
def test_a_block_that_is_not_its_keys_is_neither_kept_nor_passed_on_and_costs_link_and_a_ban(position: int) -> None:
    node = Lone()
    node.ask()
    bad = bytearray(BLOCK)
    bad[position] ^= 0x40
    with pytest.raises(Violation) as caught:
        node.hear(NEAR[0], Block(uid(1), BlockType.CHK, bytes(bad)))
    assert caught.value.reason.costs == "link"
    assert (node.bans, node.blocks.cache, node.sent()) == ([NEAR[0]], {}, [])
    assert node.route.refusals[Refusal.BAD_BLOCK] == 1
    # The link ends, and another is asked.
    node.route.link_down(NEAR[0], node.now)
    assert only(node.sent(), Fetch)[0][0] == NEAR[1]


def test_a_record_where_contents_were_asked_for_is_a_bad_block() -> None:
    node = Lone()
    node.ask()
    with pytest.raises(Violation):
        node.hear(NEAR[0], Block(uid(1), BlockType.SSK, record(1)))


def test_an_answer_from_whom_nobody_asked_is_counted_and_nothing_else() -> None:
    node = Lone()
    node.ask()
    for body in (Block(uid(1), BlockType.CHK, BLOCK), NotFound(uid(1)), NoRoute(uid(1), 1), Accepted(uid(1))):
        assert node.hear(NEAR[1], body) == []
    assert node.hear(NEAR[0], Stored(uid(1), 1)) == []
    assert node.route.refusals[Refusal.ROUTE_STRAY] == 5
    assert node.route.sizes()["walks"] == 1


def test_both_records_of_a_fork_reach_the_reader_by_relay_and_pivot() -> None:
    one, two = sorted((record(3, b"a"), record(3, b"b")))
    holder, relay, pivot = Lone(), Lone(), Lone()
    holder.blocks.put(BlockType.SSK, DOCUMENT, one, "store", lambda outcome: None)
    holder.blocks.put(BlockType.SSK, DOCUMENT, two, "store", lambda outcome: None)
    holder.hear(SOURCE, Fetch(uid(1), BlockType.SSK, DOCUMENT, 5, False))
    answers = [body for _, body in only(holder.wait(0.1), Block)]
    assert [body.more for body in answers] == [True, False]
    peer = only(relay.hear(SOURCE, Fetch(uid(1), BlockType.SSK, DOCUMENT, 6, False)), Fetch)[0][0]
    assert relay.hear(peer, answers[0]) == []
    relay.hear(peer, answers[1])
    assert [body for _, body in only(relay.wait(0.1), Block)] == answers
    assert relay.blocks.cache == {}
    told = pivot.fetch(BlockType.SSK, DOCUMENT)
    peer, asked = only(pivot.sent(), Fetch)[0]
    pivot.hear(peer, *(Block(asked.uid, body.type, body.block, body.more) for body in answers))
    pivot.wait(0.1)
    assert [set(fetched.blocks) for fetched in told] == [{one, two}]


def test_a_fork_whose_second_record_never_comes_is_passed_on_as_what_came() -> None:
    node = Lone()
    peer = only(node.hear(SOURCE, Fetch(uid(1), BlockType.SSK, DOCUMENT, 6, False)), Fetch)[0][0]
    node.hear(peer, Block(uid(1), BlockType.SSK, record(3), more=True))
    assert only(node.wait(2.1), Block) == [(SOURCE, Block(uid(1), BlockType.SSK, record(3)))]


def test_a_newer_record_replaces_an_older_one_where_it_is_stored_and_no_cache_keeps_any() -> None:
    node = Lone(links=0)
    for sequence, expected in ((1, 1), (3, 3), (2, 3)):
        node.hear(SOURCE, Store(uid(sequence), 1, BlockType.SSK, False, record(sequence)))
        assert (node.blocks.cache, node.blocks.store[2, DOCUMENT]) == ({}, (record(expected),))


def test_a_newer_record_renews_the_one_that_is_stored_where_it_passes_and_at_its_pivot_and_nowhere_else() -> None:
    place = location(SSK, DOCUMENT)
    # A node with a neighbour that is nearer, so that the record passes.
    own = max((bytes((n,)) * 32 for n in range(64, 90)), key=lambda node: distance(place_of(node), place))
    relay, pivot, empty = Lone(own=own), Lone(own=own), Lone(own=own)
    for node in (relay, pivot):
        node.blocks.put(BlockType.SSK, DOCUMENT, record(1), "store", lambda outcome: None)
    for node in (relay, empty):
        assert only(node.hear(SOURCE, Store(uid(1), 6, BlockType.SSK, False, record(2))), Store)
    pivot.route.store(BlockType.SSK, DOCUMENT, record(2), lambda copies, now: None, pivot.now)
    assert relay.blocks.store[SSK, DOCUMENT] == pivot.blocks.store[SSK, DOCUMENT] == (record(2),)
    assert empty.blocks.store == {}


def test_blocks_on_a_slow_disk_are_answered_when_they_come() -> None:
    node = Lone()
    asked: list[object] = []
    node.blocks.get = lambda type, routing, done: asked.append(done)  # type: ignore[method-assign]
    assert node.ask() == [(SOURCE, Accepted(uid(1)))]
    node.now += 1
    asked[0]((BLOCK,))  # type: ignore[operator]
    assert node.sent() == []
    assert node.wait(0) == [(SOURCE, Block(uid(1), BlockType.CHK, BLOCK))]
    node.ask(2)
    node.wait(walks.FETCH_LIFE_S + 1)
    asked[1]((BLOCK,))  # type: ignore[operator]
    assert node.wait(1) == []  # it had ended


# -- storing -----------------------------------------------------------------------------------------------------------


def nearest_node() -> bytes:
    """A node that is nearer to the block than all its neighbours."""
    best = distance(place_of(NEAR[0]), PLACE)
    return next(
        made
        for number in range(10_000)
        if distance(place_of(made := number.to_bytes(32, "big")), PLACE) < best and made not in (SOURCE, *NEAR)
    )


def test_a_block_goes_to_a_nearer_neighbour_and_what_that_says_goes_back() -> None:
    node = Lone(own=SOURCE[::-1].replace(b"S", b"T"))
    out = node.hear(SOURCE, Store(uid(1), 6, BlockType.CHK, False, BLOCK))
    assert out == [(SOURCE, Accepted(uid(1))), (NEAR[0], Store(uid(1), 5, BlockType.CHK, False, BLOCK))]
    assert node.hear(NEAR[0], Accepted(uid(1)), Stored(uid(1), 3)) == [(SOURCE, Stored(uid(1), 3))]
    assert (list(node.blocks.cache), node.blocks.store) == ([(CHK, ROUTING)], {})


def test_the_nearest_node_keeps_the_block_and_hands_copies_to_the_two_next() -> None:
    node = Lone(own=nearest_node())
    out = node.hear(SOURCE, Store(uid(1), 12, BlockType.CHK, False, BLOCK))
    copies = only(out, Store)
    assert [(peer, body.htl) for peer, body in copies] == [(NEAR[0], 1), (NEAR[1], 1)]
    assert len({body.uid for _, body in copies} | {uid(1)}) == 3
    assert list(node.blocks.store) == [(CHK, ROUTING)]
    assert node.hear(NEAR[0], Accepted(copies[0][1].uid), Stored(copies[0][1].uid, 1)) == []
    # One that does not take it is replaced by the next.
    again = only(node.hear(NEAR[1], Reject(copies[1][1].uid, RejectReason.OVERLOAD_LOCAL, 1)), Store)
    assert [peer for peer, _ in again] == [NEAR[2]]
    assert node.hear(NEAR[2], Stored(again[0][1].uid, 1)) == [(SOURCE, Stored(uid(1), 3))]
    assert node.route.sizes()["walks"] == node.route.sizes()["stores"] == 0


def test_copies_that_are_never_confirmed_are_not_counted() -> None:
    node = Lone(own=nearest_node(), links=2)
    node.hear(SOURCE, Store(uid(1), 12, BlockType.CHK, False, BLOCK))
    out = [answer for _ in range(60) for answer in only(node.wait(1), Stored)]
    assert out == [(SOURCE, Stored(uid(1), 1))]
    node.wait(200)
    assert node.route.sizes()["walks"] == 0


def test_a_copy_is_kept_where_it_arrives_and_goes_nowhere() -> None:
    node = Lone()
    out = node.hear(SOURCE, Store(uid(1), 1, BlockType.CHK, False, BLOCK))
    assert out == [(SOURCE, Accepted(uid(1))), (SOURCE, Stored(uid(1), 1))]
    assert list(node.blocks.store) == [(CHK, ROUTING)]


def test_a_node_that_is_farther_than_whom_it_came_from_does_not_keep_a_block() -> None:
    node = Lone(links=0)
    block = next(
        made
        for number in range(1_000)
        if distance(
            place_of(SOURCE), location(CHK, routing_of(made := b"\x01\x01" + number.to_bytes(BLOCK_BYTES - 2, "big")))
        )
        < distance(place_of(OWN), location(CHK, routing_of(made)))
    )
    out = node.hear(SOURCE, Store(uid(1), 7, BlockType.CHK, False, block))
    assert out[0] == (SOURCE, Accepted(uid(1)))
    assert isinstance(out[1][1], NoRoute)
    assert node.blocks.store == {}


def test_a_pivot_keeps_a_block_only_where_it_is_nearest_as_any_node_would() -> None:
    node = Lone(own=nearest_node())
    told = node.store()
    copies = only(node.sent(), Store)
    assert [peer for peer, _ in copies] == NEAR[:2]
    for peer, body in copies:
        node.hear(peer, Stored(body.uid, 1))
    assert told == [3]
    assert (node.blocks.cache, list(node.blocks.store)) == ({}, [(CHK, ROUTING)])
    node = Lone(own=SOURCE[::-1].replace(b"S", b"T"))
    told = node.store()
    ((peer, body),) = only(node.sent(), Store)
    assert peer == NEAR[0]
    node.hear(peer, Stored(body.uid, 2))
    assert told == [2]
    assert (node.blocks.cache, node.blocks.store) == ({}, {})


@pytest.mark.parametrize("htl", [11, 12])
def test_a_relay_that_may_be_next_to_the_pivot_does_not_cache_what_it_stores_onwards(htl: int) -> None:
    node = Lone(own=SOURCE[::-1].replace(b"S", b"T"))
    node.hear(SOURCE, Store(uid(1), htl, BlockType.CHK, False, BLOCK))
    node.hear(NEAR[0], Stored(uid(1), 3))
    assert node.blocks.cache == {}


def test_a_node_that_is_rarely_up_passes_a_block_on_though_it_is_nearest() -> None:
    node = Lone(own=nearest_node(), may_store=False)
    out = node.hear(SOURCE, Store(uid(1), 6, BlockType.CHK, False, BLOCK))
    assert only(out, Store) == [(NEAR[0], Store(uid(1), 5, BlockType.CHK, False, BLOCK))]
    assert node.hear(NEAR[0], Stored(uid(1), 3)) == [(SOURCE, Stored(uid(1), 3))]
    assert node.blocks.store == {}


def test_a_store_of_what_is_no_block_costs_the_link() -> None:
    for body in (
        Store(uid(1), 5, BlockType.CHK, False, b"\x02" + BLOCK[1:]),
        Store(uid(1), 5, BlockType.SSK, False, record(1)[:-1] + b"\0"),
    ):
        node = Lone()
        with pytest.raises(Violation):
            node.hear(SOURCE, body)
        assert (node.bans, node.sent(), node.blocks.store) == ([SOURCE], [], {})


def test_our_own_pivot_is_told_when_it_stores_what_is_no_such_block() -> None:
    node = Lone()
    with pytest.raises(RemoteViolation):
        node.route.store(BlockType.CHK, ROUTING, OTHER, lambda copies, now: None, node.now)


def test_without_neighbours_a_store_is_one_copy_and_a_fetch_has_no_route() -> None:
    node = Lone(links=0)
    node.route.link_down(SOURCE, node.now)
    told, stored = node.fetch(), node.store()
    assert ([fetched.reason for fetched in told], stored) == ([FailReason.NO_ROUTE], [1])


# -- load and bounds ---------------------------------------------------------------------------------------------------


def test_requests_beyond_what_can_be_answered_in_two_minutes_are_refused() -> None:
    node = Lone(bytes_per_s=10 * 33_792 / walks.LIABILITY_S)
    out = [node.ask(number)[0][1] for number in range(10)]
    refused = [body for body in out if isinstance(body, Reject)]
    assert len(refused) == 5  # a link has half, if others may come
    assert {body.reason for body in refused} == {RejectReason.OVERLOAD_LOCAL}
    assert all(body.retry_s > 0 for body in refused)
    assert isinstance(node.hear(NEAR[3], Fetch(uid(77), BlockType.CHK, ROUTING, 5, False))[0][1], Accepted)
    # Our own pivot has no more than a link.
    told = [*node.fetch(), *node.fetch(routing=bytes(32))]
    assert [fetched.reason for fetched in told] == [FailReason.OVERLOAD]
    node.hear(NEAR[0], NotFound(uid(0)))
    assert node.route.refusals[Refusal.ROUTE_OVERLOAD] >= 5


def test_tables_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "MAX_WALKS", 5)
    monkeypatch.setattr(walks, "MAX_WALKS_OF_LINK", 3)
    monkeypatch.setattr(walks, "MAX_STORES", 1)
    monkeypatch.setattr(walks, "MAX_RECENT", 8)
    node = Lone()
    for number in range(4):
        node.ask(number)
    assert node.route.refusals[Refusal.ROUTE_FULL] == 1
    for number in range(10, 14):
        node.hear(NEAR[3], Store(uid(number), 1, BlockType.CHK, False, BLOCK))
        node.hear(NEAR[3], Fetch(uid(number + 10), BlockType.CHK, ROUTING, 5, False))
    assert node.route.sizes()["walks"] == 5
    node.hear(NEAR[4], Fetch(uid(99), BlockType.CHK, ROUTING, 5, False))
    assert node.route.sizes()["walks"] == 5
    assert node.route.sizes()["recent"] <= 8


def test_a_store_beyond_those_whose_blocks_are_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "MAX_STORES", 1)
    node = Lone(own=SOURCE[::-1].replace(b"S", b"T"))
    node.hear(SOURCE, Store(uid(1), 6, BlockType.CHK, False, BLOCK))
    out = node.hear(SOURCE, Store(uid(2), 6, BlockType.CHK, False, OTHER))
    assert [body.reason for _, body in only(out, Reject)] == [RejectReason.OVERLOAD_LOCAL]


def test_failures_and_offers_are_bounded_by_number_and_of_each_key() -> None:
    failures, offers = Failures(limit=3), Offers(bytes(32), limit=3)
    for number in range(9):
        failures.failed((BlockType.CHK, uid(number), False), SOURCE, 5, 1e9)
        offers.heard(SOURCE, uid(number), 0.0)
    assert len(failures) == len(offers) == 3
    key = (BlockType.CHK, uid(8), False)
    for number in range(50):
        failures.failed(key, uid(number), 5, 1e9)
        failures.waits(key, uid(number), 5, 0.0)
        offers.heard(uid(number), uid(8), 0.0)
    assert len(failures.passed_over(key, 5, 0.0)) == failures_module.MAX_NODES
    assert len(failures.take_waiting(BlockType.CHK, uid(8), 1.0)) == failures_module.MAX_NODES
    assert len(offers.of(uid(8), 1.0)) == 3
    assert offers.of(uid(8), OFFER_S + 1) == []
    failures.waits(key, SOURCE, 5, 0.0)
    assert failures.take_waiting(BlockType.CHK, uid(8), failures_module.LISTEN_S + 1) == []


# -- offers ------------------------------------------------------------------------------------------------------------


def missed(htl: int = 6) -> Lone:
    """A node that was asked by the source and asked NEAR[0], in vain."""
    node = Lone()
    node.ask(1, htl=htl)
    node.hear(NEAR[0], NotFound(uid(1)))
    return node


def test_a_block_that_comes_late_is_offered_to_who_asked_and_who_was_asked_and_given_for_the_proof_alone() -> None:
    node = missed()
    node.hear(NEAR[3], Fetch(uid(2), BlockType.CHK, ROUTING, 9, False))
    offers = dict(only(node.hear(NEAR[0], Block(uid(2), BlockType.CHK, BLOCK)), Offer))
    assert set(offers) == {SOURCE, NEAR[0]}
    node.wait(1)
    proof = offers[SOURCE].proof
    assert node.hear(SOURCE, Take(ROUTING, proof)) == [(SOURCE, Block(proof[:16], BlockType.CHK, BLOCK))]
    # Not for another's proof, not for another key, not after its time.
    assert node.hear(NEAR[4], Take(ROUTING, proof)) == []
    assert node.hear(SOURCE, Take(bytes(32), proof)) == []
    node.wait(2 * OFFER_S + 1)
    assert node.hear(SOURCE, Take(ROUTING, proof)) == []
    assert node.route.refusals[Refusal.BAD_PROOF] == 3


def test_an_offered_block_is_taken_checked_cached_and_offered_on() -> None:
    node = missed()
    proof = b"p" * 32
    assert node.hear(NEAR[2], Offer(ROUTING, proof)) == [(NEAR[2], Take(ROUTING, proof))]
    out = node.hear(NEAR[2], Block(proof[:16], BlockType.CHK, BLOCK))
    assert {peer for peer, _ in only(out, Offer)} == {SOURCE, NEAR[0]}
    assert list(node.blocks.cache) == [(CHK, ROUTING)]
    assert node.route.sizes()["takes"] == 0


def test_an_offer_of_a_bad_block_costs_link_and_ban() -> None:
    node = missed()
    node.hear(NEAR[2], Offer(ROUTING, b"p" * 32))
    with pytest.raises(Violation):
        node.hear(NEAR[2], Block(b"p" * 16, BlockType.CHK, OTHER))
    assert (node.bans, node.blocks.cache) == ([NEAR[2]], {})
    node.route.link_down(NEAR[2], node.now)
    assert node.route.sizes()["takes"] == 0


def test_near_a_pivot_an_offer_is_only_remembered_and_asked_first_the_next_time() -> None:
    node = missed(htl=12)
    assert node.hear(NEAR[5], Offer(ROUTING, b"p" * 32)) == []
    assert only(node.ask(3, htl=12), Fetch)[0][0] == NEAR[5]


def test_an_offer_of_what_nobody_asked_for_is_counted_and_forgotten() -> None:
    node = Lone()
    assert node.hear(NEAR[0], Offer(ROUTING, bytes(32))) == []
    assert node.route.refusals[Refusal.OFFER_UNWANTED] == 1
    assert node.route.sizes()["offers"] == 0


def test_an_offer_that_is_not_kept_is_blamed() -> None:
    node = missed()
    node.hear(NEAR[2], Offer(ROUTING, b"p" * 32))
    node.wait(walks.ACCEPT_S + 1)
    assert node.route.sizes()["takes"] == 0
    assert node.route.refusals[Refusal.ROUTE_TIMEOUT] == 1
    node.hear(NEAR[3], Offer(ROUTING, b"q" * 32))
    node.hear(NEAR[3], NotFound(b"q" * 16))
    assert node.route.sizes()["takes"] == 0


def test_any_number_of_neighbours_will_do() -> None:
    for links in (1, 2, 20, 30):
        node = Lone(links=0)
        for number in range(links):
            node.route.link_up(b"n" + bytes((number,)) * 31, node.now)
        told, tried = node.fetch(), []
        while not told:
            ((peer, body),) = only(node.sent(), Fetch)
            tried.append(peer)
            node.route.receive(peer, Reject(body.uid, RejectReason.LOOP, 0), node.now)
        assert [fetched.reason for fetched in told] == [FailReason.NO_ROUTE]
        assert len(set(tried)) == len(tried) == links + 1
