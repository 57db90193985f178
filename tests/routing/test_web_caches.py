"""Whom of the web caches to ask, and when."""

from __future__ import annotations

import random

import pytest

from gnutella.errors import RemoteViolation
from gnutella.protocol.gwebcache import CacheAnswer
from gnutella.reasons import DropReason
from gnutella.routing.web_caches import (
    GAP_S,
    MAX_CACHES,
    MAX_REST_S,
    REST_S,
    UPDATE_GAP_S,
    CacheTask,
    WebCacheRow,
    WebCaches,
)
from gnutella.units import Address

ONE, TWO = "http://one.example/gwc", "http://two.example/gwc"
HOST = Address("80.1.2.3", 6346)
GOOD = CacheAnswer(2, hosts=(HOST,))


def make(*urls: str, private: bool = False) -> WebCaches:
    return WebCaches(urls, random.Random(1), allow_private=private)


def ask(caches: WebCaches, now: float, *, update: bool = False) -> CacheTask | None:
    return caches.due(now, needs_hosts=not update, may_update=update)


def test_a_cache_is_asked_once_an_hour_at_most() -> None:
    caches = make(ONE)
    task = ask(caches, 0.0)
    assert task is not None and (task.url, task.spec, task.is_update) == (ONE, 0, False)
    assert caches.answered(ONE, GOOD, 1.0) == ([HOST], 0)
    assert ask(caches, REST_S - 1) is None
    again = ask(caches, REST_S)
    assert again is not None and again.spec == 2


def test_one_is_asked_at_a_time_and_another_only_after_a_pause() -> None:
    caches = make(ONE, TWO)
    first = ask(caches, 0.0)
    assert first is not None and ask(caches, 60.0) is None, "the first has not answered"
    caches.failed(first.url, 61.0)
    second = ask(caches, 61.0)
    assert second is not None and second.url != first.url
    caches.failed(second.url, 62.0)
    third = make(ONE, TWO)
    task = ask(third, 0.0)
    assert task is not None
    third.failed(task.url, 0.5)
    assert ask(third, GAP_S - 1) is None


def test_nobody_is_asked_while_hosts_are_not_needed() -> None:
    assert make(ONE).due(0.0, needs_hosts=False, may_update=False) is None
    assert ask(make(), 0.0) is None


def test_failures_double_the_rest_up_to_a_week() -> None:
    caches = make(ONE)
    now = 0.0
    for failures in range(10):
        assert ask(caches, now) is not None
        caches.failed(ONE, now)
        rest = min(MAX_REST_S, REST_S * 2**failures)
        assert ask(caches, now + rest - 1) is None
        now += rest
    assert ask(caches, now) is not None
    caches.answered(ONE, GOOD, now)
    assert ask(caches, now + REST_S) is not None, "a success forgives"


def test_a_cache_that_only_says_no_counts_as_failed() -> None:
    caches = make(ONE)
    ask(caches, 0.0)
    with pytest.raises(RemoteViolation) as caught:
        caches.answered(ONE, CacheAnswer(2, remark="WARNING \x1b[2J too soon"), 0.0)
    assert caught.value.reason is DropReason.CACHE_REFUSED and "\x1b" not in caught.value.detail
    assert caches.rows()[0].failures == 1 and caches.working() == []


def test_rests_are_kept_over_a_restart_and_a_wrong_clock_does_not_make_them_endless() -> None:
    caches = make(ONE)
    ask(caches, 1000.0)
    again = make(ONE, TWO)
    again.load(caches.rows(), 1001.0)
    task = ask(again, 1001.0)
    assert task is not None and task.url == TWO
    wrong = make(ONE)
    wrong.load([WebCacheRow(ONE, 1e12, 0, 0.0, 7)], 0.0)
    assert ask(wrong, MAX_REST_S - 1) is None
    late = ask(wrong, MAX_REST_S)
    assert late is not None and late.spec == 0


def test_what_a_cache_tells_is_judged() -> None:
    caches = make(ONE)
    ask(caches, 0.0)
    bad = [Address("192.168.1.1", 6346), Address("127.0.0.1", 6346), Address("224.0.0.1", 1)]
    urls = (TWO, "http://192.168.1.1/gwc", "http://x.example/?reboot=1", "gopher://x.example/")
    hosts, bogus = caches.answered(ONE, CacheAnswer(2, hosts=(*bad, HOST), urls=urls), 0.0)
    assert (hosts, bogus) == ([HOST], 6)
    assert {row.url for row in caches.rows()} == {ONE, TWO}


def test_in_the_local_network_a_stranger_can_only_name_caches_of_servents() -> None:
    """Any other URL there may be the switch of something."""
    caches = make(ONE, private=True)
    assert caches.learn("http://192.168.1.7:6346/gwc")
    assert not caches.learn("http://192.168.1.1/reboot")
    assert caches.learn("http://public.example/cache.php")
    tasks = {}
    for now in range(0, 60, 20):
        task = ask(caches, float(now))
        assert task is not None
        tasks[task.url] = task.may_be_private
        caches.answered(task.url, GOOD, float(now))
    assert tasks == {ONE: True, "http://192.168.1.7:6346/gwc": True, "http://public.example/cache.php": False}


def test_there_is_a_bound_and_a_learned_one_that_failed_gives_way() -> None:
    caches = make(ONE)
    for n in range(2 * MAX_CACHES):
        caches.learn(f"http://c{n}.example/gwc")
    assert len(caches) == MAX_CACHES and not caches.learn(TWO)
    caches.failed("http://c5.example/gwc", 0.0)
    assert caches.learn(TWO) and len(caches) == MAX_CACHES
    assert "http://c5.example/gwc" not in {row.url for row in caches.rows()}
    for _ in range(9):
        caches.failed(ONE, 0.0)
    caches.failed(TWO, 0.0)
    assert not caches.learn("http://new.example/gwc") or ONE in {row.url for row in caches.rows()}


def test_those_that_worked_come_first_and_only_they_are_told() -> None:
    caches = make(ONE)
    caches.learn(TWO)
    caches.answered(TWO, GOOD, 5.0)
    task = ask(caches, 10.0)
    assert task is not None and task.url == TWO and caches.working() == [TWO]


def test_we_are_told_of_to_one_working_cache_an_hour() -> None:
    caches = make(ONE, TWO)
    assert ask(caches, 0.0, update=True) is None, "none has answered yet"
    for url in (ONE, TWO):
        caches.answered(url, GOOD, 1.0)
    task = ask(caches, 20.0, update=True)
    assert task is not None and task.is_update
    caches.left_out()
    assert ask(caches, 20.0 + UPDATE_GAP_S - 1, update=True) is None
    assert ask(caches, 20.0 + UPDATE_GAP_S, update=True) is not None


def test_a_cache_of_version_1_is_asked_for_other_caches_every_other_time() -> None:
    caches = make(ONE)
    asked = []
    for hour in range(4):
        task = ask(caches, hour * REST_S)
        assert task is not None
        asked.append(task.wants_urls)
        caches.answered(ONE, CacheAnswer(1, hosts=(HOST,)), hour * REST_S)
    assert asked == [False, True, False, True]
