"""UDP host caches: three pings, a rest, and patience with those that do not answer; and when to call into the LAN."""

from __future__ import annotations

import random
from itertools import pairwise

from gnutella.routing.lan import FIRST_WITHIN_S, MAX_LONELY_WAIT_S, MAX_WAIT_S, Calls
from gnutella.routing.udp_caches import (
    AT_ONCE,
    ATTEMPTS,
    MAX_CACHES,
    MAX_FAILURES,
    MAX_LINES,
    MAX_REST_S,
    REST_S,
    ROUND_S,
    TIMEOUT_S,
    UdpCaches,
    parse_cache,
    parse_phc,
)
from gnutella.units import Address

CACHE = Address("cache.example", 3558)


def caches(*configured: Address) -> UdpCaches:
    return UdpCaches(configured, random.Random(1))


def pinged_at(known: UdpCaches, seconds: int, start: int = 0) -> list[int]:
    """The seconds in which something was pinged."""
    return [now for now in range(start, start + seconds) if known.due(float(now), needs_hosts=True)]


def test_a_cache_that_is_silent_is_pinged_three_times_and_then_rested() -> None:
    times = pinged_at(caches(CACHE), 300)
    step = int(TIMEOUT_S)
    assert times[:ATTEMPTS] == [0, step, 2 * step]
    # The use has failed once the last ping has had its time, and the rest is twice as long.
    failed_at = ATTEMPTS * step
    assert len(times) == ATTEMPTS
    assert pinged_at(caches(CACHE), 1000)[ATTEMPTS] >= failed_at + 2 * REST_S


def test_an_answer_ends_the_use_and_the_cache_rests_for_180_seconds() -> None:
    known = caches(CACHE)
    assert known.due(0.0, needs_hosts=True) == [CACHE]
    known.answered(CACHE, 1.0)
    again = pinged_at(known, 400, 1)[0]
    assert 1 + REST_S <= again <= 1 + REST_S + ROUND_S


def test_failures_lengthen_the_rest_up_to_an_hour_and_an_answer_forgives_them() -> None:
    known = caches(CACHE)
    times = pinged_at(known, 60_000)
    gaps = [later - earlier for earlier, later in pairwise(times) if later - earlier > TIMEOUT_S]
    assert gaps == sorted(gaps) and gaps[-1] <= MAX_REST_S + TIMEOUT_S + ROUND_S and gaps[-1] >= MAX_REST_S
    known.answered(CACHE, 60_000.0)
    assert pinged_at(known, 1000, 60_000)[0] <= 60_000 + REST_S + ROUND_S


def test_a_cache_learned_from_others_is_dropped_after_five_failures_and_a_configured_one_is_not() -> None:
    learned = Address("192.0.2.7", 6346)
    known = caches(CACHE)
    known.learn(learned)
    pinged_at(known, 30_000)
    assert CACHE in known and learned not in known
    assert MAX_FAILURES == 5


def test_nobody_is_asked_when_there_are_hosts_enough() -> None:
    known = caches(CACHE)
    assert known.due(0.0, needs_hosts=False) == []
    assert known.due(1.0, needs_hosts=True) == [CACHE]
    assert known.due(1.0 + TIMEOUT_S, needs_hosts=False) == []
    # That was no failure: the ordinary rest, not the doubled one.
    assert pinged_at(known, 400, 22)[0] <= 1 + TIMEOUT_S + REST_S + ROUND_S


def test_five_caches_are_in_use_at_a_time_and_rounds_are_ten_seconds_apart() -> None:
    known = caches(*(Address(f"192.0.2.{n}", 6346) for n in range(1, 13)))
    first = known.due(0.0, needs_hosts=True)
    assert len(first) == AT_ONCE
    for cache in first:
        known.answered(cache, 1.0)
    assert known.due(ROUND_S - 1, needs_hosts=True) == []
    second = known.due(ROUND_S, needs_hosts=True)
    assert len(second) == AT_ONCE and not set(first) & set(second)


def test_no_more_caches_are_noted_than_the_bound() -> None:
    known = caches()
    for number in range(MAX_CACHES + 20):
        known.learn(Address(f"10.0.{number // 250}.{number % 250}", 6346))
    assert len(known) == MAX_CACHES


def test_each_node_asks_in_another_order() -> None:
    all_of_them = [Address(f"192.0.2.{n}", 6346) for n in range(1, 6)]
    orders = {tuple(UdpCaches(all_of_them, random.Random(seed)).due(0.0, needs_hosts=True)) for seed in range(10)}
    assert len(orders) > 1


def test_a_list_of_caches_is_read_line_by_line() -> None:
    raw = (
        b"a.example:3558&tls=1\nb.example\n\nnot a host\n192.0.2.1:99999\n192.0.2.2:1\r\n[::1]:5\nc\xff.example:1\n-x:1"
    )
    six = Address("::1", 5)
    assert parse_phc(raw) == [Address("a.example", 3558), Address("b.example", 6346), Address("192.0.2.2", 1), six]
    assert len(parse_phc(b"a.example\n" * (MAX_LINES + 5))) == MAX_LINES
    assert parse_cache("x" * 254) is None and parse_cache("[2a02:8388::1%e0]:5") is None


# -- calls -------------------------------------------------------------------------------------------------------------


def called_at(calls: Calls, seconds: float, *, is_lonely: bool = False) -> list[float]:
    ticks = (tick / 2 for tick in range(int(2 * seconds)))
    return [now for now in ticks if calls.due(now, wants_links=True, is_lonely=is_lonely)]


def test_calls_come_at_once_and_then_more_and_more_rarely() -> None:
    times = called_at(Calls(random.Random(1), 0.0), 7200.0)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] <= FIRST_WITHIN_S + 0.5
    assert gaps[0] < 4 and gaps[:8] == sorted(gaps[:8])
    assert 0.9 * MAX_WAIT_S <= gaps[-1] <= 1.1 * MAX_WAIT_S + 1
    assert len(times) < 25


def test_a_node_without_links_calls_each_minute_at_least() -> None:
    times = called_at(Calls(random.Random(1), 0.0), 3600.0, is_lonely=True)
    assert max(later - earlier for earlier, later in pairwise(times)) <= MAX_LONELY_WAIT_S


def test_a_node_that_has_its_links_does_not_call() -> None:
    calls = Calls(random.Random(1), 0.0)
    assert not any(calls.due(float(now), wants_links=False, is_lonely=False) for now in range(1000))
    assert calls.due(1000.0, wants_links=True, is_lonely=False)
