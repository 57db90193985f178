"""The queue of a link that pushes back."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.kinds import BYE, PING, PONG, PUSH, QUERY, QUERY_HIT, ROUTE_TABLE, VENDOR
from gnutella.routing.flow import QUEUE_BYTES, Outcome, SendQueue, rank_of

KINDS = (PING, QUERY, PONG, QUERY_HIT, PUSH, ROUTE_TABLE, VENDOR, BYE)
OFFERS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.integers(1, 60)), max_size=60)
LIMIT = 200


def test_kinds_go_from_ping_to_bye() -> None:
    ranks = [max(rank_of(kind, hops) for hops in range(16)) for kind in KINDS]
    assert ranks == sorted(ranks)
    for lower, higher in itertools.pairwise(KINDS):
        if (lower, higher) != (ROUTE_TABLE, VENDOR):
            assert max(rank_of(lower, hops) for hops in range(16)) < min(rank_of(higher, hops) for hops in range(16))


def test_far_queries_go_first_and_far_hits_stay() -> None:
    assert rank_of(QUERY, 5) < rank_of(QUERY, 1)
    assert rank_of(QUERY_HIT, 5) > rank_of(QUERY_HIT, 1)
    assert rank_of(0x99, 3) == rank_of(PING, 3)


@given(OFFERS)
def test_the_queue_keeps_its_bound_and_loses_nothing_silently(offers: list[tuple[int, int, int]]) -> None:
    queue = SendQueue(LIMIT)
    alive: list[tuple[int, int, bytes]] = []
    for number, (kind, hops, size) in enumerate(offers):
        data = number.to_bytes(2, "big") + bytes(size)
        before = list(alive)
        outcome, gone = queue.offer(kind, hops, data)
        if outcome is Outcome.QUEUED:
            alive.append((rank_of(kind, hops), number, data))
            lost = {message.data for message in gone}
            alive = [entry for entry in alive if entry[2] not in lost]
            # Only lower ranks went, and none that ranks above one that stayed.
            lost_ranks = [rank for rank, _, entry in before if entry in lost]
            assert all(rank < rank_of(kind, hops) for rank in lost_ranks)
            stayed = [rank for rank, _, entry in before if entry not in lost]
            assert not lost_ranks or all(rank >= max(lost_ranks) for rank in stayed)
        else:
            assert not gone
            lower = sum(len(entry) for rank, _, entry in alive if rank < rank_of(kind, hops))
            assert queue.size_bytes - lower + len(data) > LIMIT
            assert (outcome is Outcome.FULL) == (rank_of(kind, hops) >= rank_of(QUERY_HIT, 0))
        assert queue.size_bytes == sum(len(entry) for _, _, entry in alive) <= LIMIT
        assert queue.count == len(alive)
    expected = [data for _, _, data in sorted(alive, key=lambda entry: (-entry[0], entry[1]))]
    assert [message.data for message in queue.drain()] == expected
    assert queue.size_bytes == queue.count == 0


def test_a_peer_is_busy_from_the_high_watermark_down_to_the_low_one() -> None:
    queue = SendQueue()
    queue.offer(QUERY, 1, bytes(QUEUE_BYTES // 2))
    assert not queue.is_busy
    queue.offer(QUERY, 0, bytes(10))
    assert queue.is_busy
    # A hit displaces the large query: between the watermarks the peer stays busy, below them it is not.
    queue.offer(QUERY_HIT, 0, bytes(QUEUE_BYTES - 20))
    assert queue.is_busy
    queue.drain()
    assert not queue.is_busy
