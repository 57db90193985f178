"""The flood of searches: how far it goes, what is not passed on, and how much of it a link or a circuit gets."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from itertools import count

import pytest

from anonymizer import seek as seek_module
from anonymizer.reasons import Refusal, Violation
from anonymizer.seek import (
    CIRCUIT_RATE,
    LINK_BURST_IN,
    LINK_BURST_OUT,
    LINK_RATE,
    MAX_CIRCUITS,
    SEEN_S,
    SMALL_NET,
    SeekFlood,
)
from anonymizer.timers import Timers
from anonymizer.wire import SEEK_TTL, Seek
from gnutella.testing.relay_nodes import NOW

KEY = bytes(range(32))
IDS = [hashlib.sha256(b"%d" % n).digest() for n in range(60)]
OWN, A, B, C = IDS[:4]


class Flood:
    """One node's flood, with what it sent and what it was asked."""

    def __init__(self, links: list[bytes], nodes: int = 0, own_id: bytes = OWN) -> None:
        self.timers, self.sent, self.asked = Timers(), list[tuple[bytes, Seek]](), list[Seek]()
        self.flood = SeekFlood(
            own_id,
            random.Random(1),
            self.timers,
            lambda node, seek: self.sent.append((node, seek)),
            lambda seek, now: self.asked.append(seek),
            lambda: nodes,
        )
        for node in links:
            self.flood.link_up(node, NOW)

    def out(self, now: float = NOW + 60) -> list[tuple[bytes, Seek]]:
        """What was sent since the last call."""
        self.timers.run(now)
        sent, self.sent[:] = list(self.sent), []
        return sent


def ids() -> Iterator[bytes]:
    return (n.to_bytes(16, "big") for n in count(1))


def seek_of(query: int, ttl: int = 3, pivot: bytes = C) -> Seek:
    return Seek(query.to_bytes(16, "big"), pivot, KEY, ttl, "purple elephant", 0)


def test_a_pivot_begins_with_all_hops_at_all_its_links_and_asks_itself_too() -> None:
    made = Flood([A, B])
    assert made.flood.start(bytes(16), KEY, "Purple  ELÉPHANT!", 4, NOW)
    expected = Seek(bytes(16), OWN, KEY, SEEK_TTL, "purple elephant", 4)
    assert made.asked == [expected]
    assert sorted(made.out()) == sorted([(A, expected), (B, expected)], key=lambda row: row[0])


def test_a_search_goes_on_with_a_hop_less_once_and_not_to_where_it_came_from_or_began() -> None:
    made = Flood([A, B, C, IDS[5]])
    made.flood.receive(A, seek_of(1), NOW)
    made.flood.receive(B, seek_of(1), NOW + 1)
    assert dict(made.out()) == {B: seek_of(1, 2), IDS[5]: seek_of(1, 2)}
    assert made.asked == [seek_of(1)]
    assert made.flood.refusals[Refusal.SEEK_AGAIN] == 1
    made.flood.receive(A, seek_of(2, ttl=1), NOW)
    assert made.out() == []
    assert len(made.asked) == 2


def test_a_neighbour_that_lies_about_the_beginning_loses_its_link() -> None:
    made = Flood([A, B])
    for lie in (seek_of(1, ttl=SEEK_TTL, pivot=B), seek_of(2, ttl=SEEK_TTL - 1, pivot=A)):
        with pytest.raises(Violation) as caught:
            made.flood.receive(A, lie, NOW)
        assert caught.value.reason is Refusal.SEEK_FALSE
        assert caught.value.reason.costs == "link"
    made.flood.receive(A, seek_of(3, ttl=SEEK_TTL, pivot=A), NOW)
    assert made.asked == [seek_of(3, ttl=SEEK_TTL, pivot=A)]


def test_a_search_in_our_name_that_is_not_ours_ends_here() -> None:
    made = Flood([A, B])
    made.flood.receive(A, seek_of(1, pivot=OWN), NOW)
    assert made.flood.refusals[Refusal.SEEK_NOT_OURS] == 1
    assert (made.asked, made.out()) == ([], [])


def test_our_own_search_that_comes_back_is_one_that_was_seen() -> None:
    made = Flood([A, B])
    assert made.flood.start((1).to_bytes(16, "big"), KEY, "purple elephant", 0, NOW)
    made.flood.receive(A, seek_of(1, pivot=OWN), NOW)
    assert made.flood.refusals[Refusal.SEEK_AGAIN] == 1
    assert len(made.asked) == 1


def test_what_asks_for_nothing_does_not_start() -> None:
    made = Flood([A])
    for text in ("a", " -- ", "x" * 300, "日" * 200):
        assert not made.flood.start(bytes(16), KEY, text, 0, NOW)
    assert made.flood.refusals[Refusal.SEEK_EMPTY] == 4
    assert (made.asked, made.out(), made.flood.started) == ([], [], 0)


def test_a_circuit_gets_one_search_a_second_and_no_more_circuits_are_remembered_than_there_are() -> None:
    made, fresh = Flood([A]), ids()
    assert [made.flood.start(next(fresh), KEY, "purple", 0, NOW + n / 10, 7) for n in range(3)] == [True, False, False]
    assert made.flood.start(next(fresh), KEY, "purple", 0, NOW, 8)
    assert made.flood.start(next(fresh), KEY, "purple", 0, NOW + 0.2 + 1 / CIRCUIT_RATE, 7)
    assert made.flood.refusals[Refusal.SEEKS_MANY] == 2
    for circuit in range(MAX_CIRCUITS + 10):
        made.flood.start(next(fresh), KEY, "purple", 0, NOW + 5, circuit)
    assert len(made.flood._circuits) == MAX_CIRCUITS


def test_a_link_carries_so_many_a_second_each_way() -> None:
    made = Flood([A, B])
    for n in range(LINK_BURST_IN + 5):
        made.flood.receive(A, seek_of(n), NOW)
    assert len(made.asked) == LINK_BURST_IN
    assert len(made.out(NOW)) == 0
    sent = made.out(NOW + 1e-9 + 60)
    assert len(sent) == LINK_BURST_OUT
    assert made.flood.refusals[Refusal.SEEKS_MANY] == 5 + LINK_BURST_IN - LINK_BURST_OUT
    for n in range(100, 100 + 20):
        made.flood.receive(A, seek_of(n), NOW + 1)
    assert len(made.asked) == LINK_BURST_IN + LINK_RATE


def test_small_networks_are_asked_whole_and_large_ones_in_part() -> None:
    links = IDS[1:21]
    for nodes, expected in ((SMALL_NET - 1, 19), (SMALL_NET, 9)):
        made = Flood(links, nodes)
        made.flood.receive(A, seek_of(1, pivot=IDS[50]), NOW)
        went = [node for node, _ in made.out()]
        assert len(went) == len(set(went)) == expected
        assert A not in went


def test_a_search_is_remembered_for_its_time_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seek_module, "MAX_SEEN", 3)
    made = Flood([A, B])
    for n in range(4):
        made.flood.receive(A, seek_of(n), NOW + n)
    assert made.flood.seen == 3
    made.flood.receive(B, seek_of(3), NOW + 5)
    made.flood.receive(B, seek_of(0), NOW + 5)
    assert made.flood.refusals[Refusal.SEEK_AGAIN] == 1
    made.flood.receive(B, seek_of(3), NOW + 3 + SEEN_S)
    assert made.flood.refusals[Refusal.SEEK_AGAIN] == 1
    assert made.flood.seen == 2


def test_a_link_that_is_gone_gets_and_gives_nothing() -> None:
    made = Flood([A, B])
    made.flood.receive(A, seek_of(1), NOW)
    made.flood.link_down(B, NOW)
    made.flood.receive(B, seek_of(2), NOW)
    assert made.out() == []
    assert made.asked == [seek_of(1)]


def test_hops_wait_without_a_longest_time() -> None:
    """Each hop draws a fresh delay for each link."""
    made = Flood(IDS[1:40])
    made.flood.receive(A, seek_of(1, pivot=IDS[50]), NOW)
    times = []
    while (when := made.timers.next_at) is not None:
        times.append(when - NOW)
        made.timers.run(when)
    assert len(set(times)) == 38
    assert 0.01 < sum(times) / 38 < 0.05
