"""Pushes: only calls that were asked for, and not too many of our own."""

from __future__ import annotations

from gnutella.transfers import push
from gnutella.transfers.push import PendingPushes, PushLimits
from gnutella.units import Address, Guid

ONE, TWO = Guid(b"\1" * 16), Guid(b"\2" * 16)


def test_a_call_is_matched_once_and_in_time() -> None:
    pending: PendingPushes[str] = PendingPushes()
    assert pending.expect(ONE, 10.0, "a") and pending.expect(ONE, 20.0, "b")
    assert pending.match(TWO, 5.0) is None
    assert pending.match(ONE, 5.0) == "a"
    assert pending.match(ONE, 15.0) == "b"
    assert pending.match(ONE, 15.0) is None


def test_late_and_withdrawn_ones_are_forgotten() -> None:
    pending: PendingPushes[str] = PendingPushes()
    pending.expect(ONE, 10.0, "a")
    pending.expect(TWO, 30.0, "b")
    assert pending.match(ONE, 10.5) is None
    assert pending.expire(10.5) == ["a"] and len(pending) == 1
    pending.withdraw("b")
    pending.expect(ONE, 10.0, "c")
    pending.discard(lambda ticket: ticket == "c")
    assert len(pending) == 0


def test_pending_pushes_are_bounded() -> None:
    pending: PendingPushes[int] = PendingPushes()
    assert all(pending.expect(ONE, 10.0, number) for number in range(push.MAX_PENDING))
    assert not pending.expect(TWO, 10.0, -1)


def test_calls_to_one_host_are_a_second_apart_and_bounded_in_all() -> None:
    limits = PushLimits()
    assert limits.begin(Address("192.0.2.1", 1), 0.0)
    assert not limits.begin(Address("192.0.2.1", 2), 0.5)
    assert limits.begin(Address("192.0.2.1", 2), 1.0)
    for host in range(2, push.MAX_CALLS):
        assert limits.begin(Address(f"192.0.2.{host}", 1), 1.0)
    assert not limits.begin(Address("192.0.2.200", 1), 1.0)
    limits.end()
    assert limits.begin(Address("192.0.2.200", 1), 1.0)


def test_hosts_remembered_are_bounded() -> None:
    limits = PushLimits()
    for number in range(push.MAX_HOSTS + 1):
        assert limits.begin(Address(f"10.0.{number >> 8}.{number & 255}", 1), 0.0)
        limits.end()
    assert limits.begin(Address("10.0.0.0", 1), 0.0)
