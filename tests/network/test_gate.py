"""Who is let in: blocked addresses, hosts that hammer, and what the user is told of them."""

from __future__ import annotations

from collections import Counter

from twisted.internet.task import Clock

from gnutella.network import hammering
from gnutella.network.gate import Gate
from gnutella.network.hammering import (
    FIRST_WAIT_S,
    FORGET_S,
    MAX_CONNECTIONS,
    MAX_DATAGRAMS,
    MAX_OFFENCES,
    MAX_WAIT_S,
    WINDOW_S,
    Hammering,
)
from gnutella.reasons import DropReason
from gnutella.settings import SafetySettings

HOST = "80.1.2.3"


class Listed:
    def blocks(self, host: str) -> bool:
        return host.startswith("66.")


def provoke(hammer: Hammering, now: float, host: str = HOST) -> None:
    for _ in range(MAX_OFFENCES + 1):
        hammer.offence(host, now)


def test_as_many_visits_as_a_window_allows_are_heard() -> None:
    hammer = Hammering()
    assert all(hammer.visit(HOST, 0.0) for _ in range(MAX_CONNECTIONS))
    assert not hammer.visit(HOST, 0.0)
    assert hammer.wait_s(HOST, 1.0) == FIRST_WAIT_S - 1.0
    assert hammer.visit("80.1.2.4", 0.0)
    assert hammer.visit(HOST, FIRST_WAIT_S)


def test_visits_of_different_windows_do_not_add_up() -> None:
    hammer = Hammering()
    assert all(hammer.visit(HOST, number * (WINDOW_S / (MAX_CONNECTIONS - 1))) for number in range(5 * MAX_CONNECTIONS))


def test_offences_impose_a_wait_that_doubles_to_an_hour_and_is_forgotten() -> None:
    hammer = Hammering()
    now, waits = 0.0, []
    for _ in range(12):
        provoke(hammer, now)
        waits.append(hammer.wait_s(HOST, now))
        now += waits[-1]
    assert waits[:4] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S, 8 * FIRST_WAIT_S]
    assert waits[-1] == MAX_WAIT_S
    now += FORGET_S
    provoke(hammer, now)
    assert hammer.wait_s(HOST, now) == FIRST_WAIT_S
    assert hammer.imposed == 13


def test_who_goes_on_while_waiting_waits_longer() -> None:
    hammer = Hammering(max_visits=5)
    for _ in range(12):
        hammer.visit(HOST, 0.0)
    assert hammer.wait_s(HOST, 0.0) == 2 * FIRST_WAIT_S
    assert hammer.refused == 7


def test_an_ipv6_network_is_one_host_and_loopback_is_none() -> None:
    hammer = Hammering(max_visits=2)
    assert [hammer.visit(f"2600:1:2:3::{n}", 0.0) for n in range(4)] == [True, True, False, False]
    assert all(hammer.visit(host, 0.0) for host in ("127.0.0.1", "::1") for _ in range(9))
    provoke(hammer, 0.0, "127.0.0.1")
    assert len(hammer) == 1


def test_hosts_are_bounded_and_those_that_wait_stay() -> None:
    hammer = Hammering()
    provoke(hammer, 0.0)
    for number in range(hammering.MAX_HOSTS + 10):
        hammer.visit(f"90.{number >> 8}.{number & 255}.1", 0.0)
    assert len(hammer) == hammering.MAX_HOSTS
    assert hammer.waiting(1.0) == {HOST: FIRST_WAIT_S - 1.0}


def test_gate_counts_each_refusal_with_its_reason() -> None:
    clock, counts = Clock(), Counter[DropReason]()
    gate = Gate(clock.seconds, lambda reason: counts.update([reason]), Listed())
    assert gate.refuses_connection("66.1.1.1")
    assert gate.refuses_datagram("66.1.1.1")
    assert gate.blocks("66.1.1.1")
    assert not gate.blocks(HOST)
    for _ in range(MAX_OFFENCES + 1):
        gate.refused(HOST, DropReason.GARBAGE)
    assert gate.refuses_connection(HOST)
    assert not gate.refuses_datagram(HOST)
    assert counts == {DropReason.BLOCKED: 3, DropReason.HAMMERING: 1}
    assert gate.row() == {"waiting": 1, "waits": [{"host": HOST, "wait_s": FIRST_WAIT_S}], "hammering": 1}


def test_what_working_servents_do_is_no_offence() -> None:
    gate = Gate()
    for _ in range(9 * MAX_OFFENCES):
        gate.refused(HOST, DropReason.SLOTS_FULL)
        gate.refused(HOST, DropReason.NOT_SHARED)
    assert not gate.refuses_connection(HOST)


def test_datagrams_have_a_limit_of_their_own() -> None:
    gate = Gate()
    assert not any(gate.refuses_datagram(HOST) for _ in range(MAX_DATAGRAMS))
    assert gate.refuses_datagram(HOST)
    assert not gate.refuses_connection(HOST)


def test_slowing_can_be_switched_off_and_loopback_knows_no_networks() -> None:
    gate = Gate(safety=SafetySettings(slow_hammering=False, count_networks="all"), profile="loopback")
    assert not any(gate.refuses_connection(HOST) for _ in range(3 * MAX_CONNECTIONS))
    assert gate.shares.counted == "off"
    gate.use_settings(SafetySettings(near_percent=20), "public")
    assert (gate.shares.counted, gate.shares.near_percent) == ("public", 20)
