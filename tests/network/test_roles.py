"""The role of a node while it runs, on a fake clock: a leaf that asks, guidance, links opened anew, Bye with hosts to try."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.address import IPv4Address

from gnutella.network.events import RoleChanged
from gnutella.network.measures import Measures
from gnutella.network.roles import Roles
from gnutella.network.targets import LEAF_PAUSE_S
from gnutella.protocol.frames import frames
from gnutella.protocol.message import BYE, Bye, encode
from gnutella.reasons import DropReason
from gnutella.superpeers.facts import ISLAND
from gnutella.superpeers.roles import RolePolicy
from gnutella.units import Address, Guid
from tests.network.test_links import US, Bench, Wire

LEAF = "X-Ultrapeer: False\r\nListen-IP: 24.1.1.1:6346\r\n"


def auto_bench(**settings: Any) -> Bench:
    """A node of role auto, which begins as a leaf."""
    bench = Bench(profile="lan", **settings)
    links = bench.links
    policy = RolePolicy("auto", ISLAND, random.Random(3), bench.clock.seconds())
    links.roles = Roles(links, links.roster, bench.hosts, US, policy)
    links.router.set_role(is_leaf=True)
    links._admission.is_leaf = links._introductions.is_leaf = True
    return bench


def knock(bench: Bench, host: str, headers: str) -> Any:
    """Block 1 of a peer that dials us; its connection."""
    guard = bench.links._port.buildProtocol(IPv4Address("TCP", host, 5000))
    assert guard is not None
    wire = Wire(host)
    guard.makeConnection(wire)  # type: ignore[no-untyped-call]
    guard.dataReceived(f"GNUTELLA CONNECT/0.6\r\n{headers}\r\n".encode())
    return guard, wire


def test_a_leaf_that_asks_finds_an_ultrapeer_if_nobody_knows_one() -> None:
    bench = auto_bench()
    guard, wire = knock(bench, "24.1.1.1", LEAF)
    assert wire.sent.startswith(b"GNUTELLA/0.6 200 OK") and b"X-Ultrapeer: True" in wire.sent
    guard.dataReceived(b"GNUTELLA/0.6 200 OK\r\n\r\n")
    assert [event.is_leaf for event in bench.events if isinstance(event, RoleChanged)] == [False]
    assert bench.links.summary() == {"ultrapeers": 0, "leaves": 1, "peers": 1}
    assert not bench.links.router.is_leaf


def test_a_leaf_that_knows_an_ultrapeer_sends_leaves_there_and_remembers_them() -> None:
    bench = auto_bench()
    bench.hosts.learn(Address("24.9.9.9", 6346), 1.0, is_ultrapeer=True)
    _, wire = knock(bench, "24.1.1.1", LEAF)
    assert wire.sent.startswith(b"GNUTELLA/0.6 503 ") and b"X-Try-Ultrapeers: 24.9.9.9:6346" in wire.sent
    assert Address("24.1.1.1", 6346) in bench.hosts
    assert bench.drops(DropReason.LEAF_TO_LEAF) == 1 and bench.links.router.is_leaf


def test_an_ultrapeer_follows_guidance_and_opens_its_links_anew() -> None:
    bench = auto_bench()
    bench.links.roles.policy.use_setting("ultrapeer", 1.0)
    bench.links.start()
    bench.links.roles.policy.use_setting("auto", 2.0)
    bench.incoming("24.2.2.2", "Listen-IP: 24.2.2.2:6346\r\nBye-Packet: 0.1\r\n")
    old = bench.links.roster.open[next(iter(bench.links.roster.open))]
    done = bench.links.connect(Address("24.3.3.3", 6346))
    done.addErrback(lambda failure: None)
    guard, wire = bench.dialler.succeed()
    bench.answer(guard, headers="X-Ultrapeer-Needed: False\r\n")
    assert b"X-Ultrapeer: False" in wire.sent.rpartition(b"GNUTELLA/0.6 200 OK")[2]
    assert bench.links.roles.is_leaf and bench.links.router.is_leaf
    assert old.closed_for[0] is DropReason.ROLE_CHANGED
    assert bench.dialler.attempts[-1][0] == Address("24.2.2.2", 6346), "it is dialled again, by a leaf"
    assert [str(link.address) for link in bench.links.roster.open.values()] == ["24.3.3.3:6346"]


def test_leaves_of_one_that_steps_back_are_told_whom_to_turn_to() -> None:
    bench = auto_bench()
    guard, wire = knock(bench, "24.1.1.1", LEAF + "Bye-Packet: 0.1\r\n")
    guard.dataReceived(b"GNUTELLA/0.6 200 OK\r\n\r\n")
    bench.hosts.learn(Address("24.9.9.9", 6346), 1.0, is_ultrapeer=True)
    bench.links.roles.policy.use_setting("leaf", 1.0)
    bench.links.start()
    stream = wire.sent[wire.sent.index(b"\r\n\r\n") + 4 :]
    told = [Bye.decode(frame.payload) for frame in frames(stream) if frame.kind == BYE]
    assert [(bye.code, bye.headers) for bye in told] == [(203, "X-Try-Ultrapeers: 24.9.9.9:6346\r\n")]
    assert bench.links.summary()["peers"] == 0


def test_hosts_of_a_bye_are_kept_and_nonsense_is_not() -> None:
    bench = auto_bench()
    bench.links.roles.policy.use_setting("ultrapeer", 1.0)
    bench.links.start()
    guard, _ = bench.incoming("24.1.1.1", "Bye-Packet: 0.1\r\n")
    words = "x-try-ULTRAPEERS: 24.5.5.5:6346, nonsense, 0.0.0.0:1\r\nX-Try: 24.6.6.6:1\r\n"
    guard.dataReceived(encode(Guid(bytes(range(16))), 1, 0, Bye(203, "I am a leaf now", words)))
    assert Address("24.5.5.5", 6346) in bench.hosts and Address("24.6.6.6", 1) in bench.hosts
    assert len(bench.hosts) == 2
    assert bench.drops(DropReason.PEER_CHANGED) == 1


def test_a_leaf_that_refused_us_is_asked_again_soon() -> None:
    bench = auto_bench(connect=("24.4.4.4:6346",))
    bench.links.start()
    guard, _ = bench.dialler.succeed()
    guard.dataReceived(b"GNUTELLA/0.6 503 Shielded leaf node\r\nX-Ultrapeer: False\r\n\r\n")
    count = len(bench.dialler.attempts)
    bench.clock.advance(LEAF_PAUSE_S / 2)
    assert len(bench.dialler.attempts) == count
    bench.clock.pump([1.0] * int(LEAF_PAUSE_S + 1))
    assert len(bench.dialler.attempts) == count + 1


def test_measures_tell_what_is_known() -> None:
    clock = {"wall": 1000.0, "steady": 0.0}
    sent = [0]
    measure = Measures(
        lambda: clock["wall"], lambda: clock["steady"], lambda: (True, None), lambda: sent[0], lambda: 0.0, lambda: 0
    )
    facts = measure()
    assert (facts.tcp, facts.udp, facts.upload_bytes_s, facts.is_clock_sane) == (True, None, None, True)
    assert facts.files is not None and facts.files > 0
    sent[0] = 1_000_000
    clock["wall"], clock["steady"] = 1010.0, 10.0
    assert measure().upload_bytes_s == 100_000 and measure().uptime_s == 10.0
    clock["wall"] += 3600.0
    assert not measure().is_clock_sane
    clock["steady"] += 601.0
    clock["wall"] += 601.0
    assert measure().is_clock_sane
