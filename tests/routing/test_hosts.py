"""The host cache: whom to dial first, whom not yet, whom never again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gnutella.networks import Shares
from gnutella.routing.hosts import (
    DEAD_S,
    FIRST_BACK_OFF_S,
    MAX_BACK_OFF_S,
    MAX_DEAD,
    MAX_FAILURES,
    MAX_KEPT_BACK_OFF_S,
    HostCache,
    HostRow,
)
from gnutella.units import Address


def host(number: int) -> Address:
    return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 6346)


GOOD, BETTER, NEW, ULTRA, BAD = (host(number) for number in range(5))


def test_success_comes_before_novelty_and_failure_last() -> None:
    hosts = HostCache()
    for address in (BAD, NEW, GOOD, BETTER):
        hosts.learn(address, 1.0)
    hosts.learn(ULTRA, 1.0, is_ultrapeer=True, daily_uptime_s=3600)
    hosts.worked(GOOD, 10.0)
    hosts.worked(BETTER, 20.0)
    hosts.failed(BAD, 30.0)
    assert hosts.choose(9, 1000.0) == [BETTER, GOOD, ULTRA, NEW, BAD]
    assert hosts.choose(2, 1000.0, exclude={BETTER}) == [GOOD, ULTRA]
    assert hosts.to_tell(9) == [BETTER, GOOD, ULTRA, NEW]


def test_a_failed_host_rests_twice_as_long_each_time() -> None:
    hosts = HostCache()
    now = 1.0
    hosts.worked(GOOD, now)
    for failures in range(10):
        hosts.failed(GOOD, now)
        rest = min(MAX_BACK_OFF_S, FIRST_BACK_OFF_S * 2**failures)
        assert hosts.choose(1, now + rest - 1) == []
        assert hosts.choose(1, now + rest) == [GOOD]
        now += rest
    hosts.worked(GOOD, now)
    hosts.failed(GOOD, now)
    assert hosts.choose(1, now + FIRST_BACK_OFF_S) == [GOOD], "a success forgives"


def test_a_host_that_never_works_is_forgotten() -> None:
    hosts = HostCache()
    hosts.learn(BAD, 0.0)
    for _ in range(MAX_FAILURES):
        hosts.failed(BAD, 0.0)
    assert BAD not in hosts
    hosts.failed(BAD, 0.0)
    assert len(hosts) == 0


def test_a_forgotten_host_is_not_taken_up_again_for_half_an_hour_unless_it_works() -> None:
    hosts = HostCache()
    for address in (BAD, GOOD):
        hosts.learn(address, 0.0)
        for _ in range(MAX_FAILURES):
            hosts.failed(address, 10.0)
    assert not hosts.learn(BAD, 9.0 + DEAD_S) and BAD not in hosts
    hosts.worked(GOOD, 20.0)
    assert hosts.choose(9, 20.0) == [GOOD], "it dialled us, say"
    assert hosts.learn(BAD, 10.0 + DEAD_S) and BAD in hosts


def test_the_dead_are_remembered_within_a_bound() -> None:
    hosts = HostCache()
    for number in range(MAX_DEAD + 1):
        hosts.learn(host(number), 0.0)
        for _ in range(MAX_FAILURES):
            hosts.failed(host(number), 0.0)
    assert hosts.learn(host(0), 1.0), "the first one gave way"
    assert not hosts.learn(host(1), 1.0)


def test_a_told_back_off_overrides_ours() -> None:
    hosts = HostCache()
    hosts.learn(BAD, 0.0)
    hosts.failed(BAD, 0.0, back_off_s=1800.0)
    assert hosts.choose(1, 1799.0) == []
    assert hosts.choose(1, 1800.0) == [BAD]


def test_learning_says_what_is_new_and_forgetting_forgets() -> None:
    hosts = HostCache()
    assert hosts.learn(NEW, 0.0)
    assert not hosts.learn(NEW, 1.0)
    hosts.forget(NEW)
    assert NEW not in hosts


def test_the_worst_go_when_it_is_full() -> None:
    hosts = HostCache(max_hosts=50)
    for number in range(50):
        hosts.learn(host(number), float(number))
    hosts.worked(host(0), 60.0)
    hosts.failed(host(49), 60.0)
    for number in range(50, 60):
        hosts.learn(host(number), 61.0)
        assert len(hosts) <= 50
    assert host(0) in hosts
    assert host(49) not in hosts
    assert host(1) not in hosts, "of those nobody tried, the ones not heard of for longest"


def test_rows_bring_everything_back_after_a_restart() -> None:
    hosts = HostCache()
    hosts.worked(GOOD, 5.0)
    hosts.learn(ULTRA, 6.0, is_ultrapeer=True, daily_uptime_s=77)
    hosts.learn(BAD, 7.0)
    hosts.failed(BAD, 7.0)
    again = HostCache()
    again.learn(ULTRA, 9.0)
    again.load(hosts.rows())
    assert {row[:2]: row[2:] for row in again.rows()} == {
        GOOD: (5.0, 5.0, 0, False, None, 0.0),
        ULTRA: (9.0, 0.0, 0, False, None, 0.0),
        BAD: (7.0, 0.0, 1, False, None, 7.0 + FIRST_BACK_OFF_S),
    }
    assert again.choose(9, 0.0) == [GOOD, ULTRA], "a back-off goes on after a restart"
    assert again.choose(9, 7.0 + FIRST_BACK_OFF_S) == [GOOD, ULTRA, BAD]
    assert [row[:2] for row in again.ranked()] == [GOOD, ULTRA, BAD]


def test_a_back_off_from_a_clock_that_was_wrong_ends() -> None:
    hosts = HostCache()
    hosts.load([HostRow(*BAD, 100.0, 0.0, 1, False, None, 1e12)])
    assert hosts.choose(1, 100.0) == []
    assert hosts.choose(1, 100.0 + MAX_KEPT_BACK_OFF_S) == [BAD]


def test_one_network_of_the_internet_has_a_bounded_part_of_it() -> None:
    hosts = HostCache(max_hosts=100)
    hosts.worked(Address("80.1.0.1", 6346), 1.0)
    for number in range(50):
        hosts.learn(Address(f"80.1.2.{number}", 6346), 2.0)
        hosts.learn(host(number), 2.0)
    held = {address for row in hosts.rows() if (address := Address(*row[:2])).host.startswith("80.")}
    assert len(held) == 5 and Address("80.1.0.1", 6346) in held
    assert len(hosts) == 55
    hosts.forget(Address("80.1.0.1", 6346))
    assert hosts.learn(Address("80.1.9.9", 6346), 3.0) and len(hosts) == 55


def test_those_chosen_come_from_different_networks_as_long_as_there_are_some() -> None:
    hosts = HostCache()
    hosts.shares = Shares()
    for number in range(9):
        hosts.worked(Address(f"80.1.{number}.1", 6346), 100.0 + number)
    for number in range(3):
        hosts.learn(Address(f"9{number}.1.1.1", 6346), 1.0)
    chosen = [address.host for address in hosts.choose(4, 200.0)]
    assert chosen[0] == "80.1.8.1" and {one[:2] for one in chosen} == {"80", "90", "91", "92"}
    assert "80" not in {one.host[:2] for one in hosts.choose(3, 200.0, beside=["80.1.77.1"])}
    assert [one.host[:2] for one in hosts.choose(5, 200.0, beside=["80.1.77.1"])].count("80") == 2


def test_hosts_that_are_refused_are_neither_learned_nor_kept() -> None:
    hosts = HostCache()
    hosts.learn(GOOD, 1.0)
    hosts.learn(NEW, 1.0)
    hosts.refuses = lambda name: name == GOOD.host
    assert not hosts.learn(host(9)._replace(host=GOOD.host), 1.0)
    assert hosts.forget_refused() == 1
    hosts.worked(GOOD, 2.0)
    hosts.load([HostRow(*GOOD, 1.0, 1.0, 0, True, None, 0.0)])
    assert [Address(*row[:2]) for row in hosts.rows()] == [NEW]


@given(st.lists(st.tuples(st.sampled_from(("learn", "worked", "failed", "forget")), st.integers(0, 30)), max_size=120))
def test_it_never_holds_more_than_its_bound_and_chooses_only_what_it_holds(steps: list[tuple[str, int]]) -> None:
    hosts = HostCache(max_hosts=12)
    for now, (what, number) in enumerate(steps):
        if what == "forget":
            hosts.forget(host(number))
        else:
            getattr(hosts, what)(host(number), float(now))
        assert len(hosts) <= 12
    chosen = hosts.choose(100, 1e9)
    assert len(chosen) == len(set(chosen)) == len(hosts)
    assert all(address in hosts for address in chosen)


def test_a_host_that_worked_is_what_it_said_it_is() -> None:
    hosts = HostCache()
    for _ in range(MAX_FAILURES):
        hosts.learn(ULTRA, 1.0)
        hosts.failed(ULTRA, 1.0)
    assert ULTRA not in hosts and not hosts.learn(ULTRA, 2.0)
    hosts.worked(ULTRA, 3.0, is_ultrapeer=True, has_room=True)
    assert hosts.ranked()[0].is_ultrapeer and hosts.has_room(ULTRA)
    hosts.learn(ULTRA, 4.0)
    assert hosts.ranked()[0].is_ultrapeer
