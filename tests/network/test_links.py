"""The links service on a fake clock and in-memory transports: batches, corks, back-off, bounds, what is told and learned."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gnutella.errors import Refused, UserError
from gnutella.network import roster as roster_module
from gnutella.network.corks import CORK_S
from gnutella.network.events import LinkClosed, LinkFailed, LinkOpened, ReachabilityChanged
from gnutella.network.introductions import MAX_TOLD
from gnutella.network.link import CLOSE_TIMEOUT_S, MAX_CORKED, MAX_LATE_WRITES, TLS_PAUSE_S
from gnutella.network.links import Links
from gnutella.network.own_address import OwnAddresses
from gnutella.network.targets import (
    BACK_OFF_4XX_S,
    EARLY_END_PAUSE_S,
    GOOD_LIFE_S,
    ISLAND_PAUSE_S,
    MAX_DIALS_A_TICK,
    USER_PAUSE_S,
)
from gnutella.network.tls import PeerTls
from gnutella.protocol.frames import frames
from gnutella.protocol.message import PING, QUERY, Query, encode
from gnutella.reasons import DropReason
from gnutella.routing.hosts import HostCache
from gnutella.routing.router import Router
from gnutella.settings import NetworkSettings, RoutingSettings
from gnutella.testing.nodes import ListLibrary
from gnutella.units import Address, Guid

#: What a protocol hears of an orderly end.
ORDERLY_END = Failure(ConnectionDone())

US = Guid(b"U" * 16)


class Wire(StringTransport):
    """A transport of a fake peer; counts the writes."""

    def __init__(self, host: str, port: int = 5000) -> None:
        local, peer = IPv4Address("TCP", "192.168.1.9", 6346), IPv4Address("TCP", host, port)
        super().__init__(hostAddress=local, peerAddress=peer)  # type: ignore[no-untyped-call]
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]
        self.writes.append(data)

    @property
    def sent(self) -> bytes:
        return b"".join(self.writes)

    @property
    def is_aborted(self) -> bool:
        return bool(self.disconnected)


class FakeDialler:
    """Keeps the attempts for the test to decide."""

    def __init__(self) -> None:
        self.attempts: list[tuple[Address, Any, Deferred[Any]]] = []

    def connect(self, address: Address, protocol: Any, timeout_s: float | None = None) -> Deferred[Any]:
        attempt: Deferred[Any] = Deferred()
        self.attempts.append((address, protocol, attempt))
        return attempt

    def succeed(self, number: int = -1) -> tuple[Any, Wire]:
        address, guard, attempt = self.attempts[number]
        wire = Wire(address.host, address.port)
        guard.makeConnection(wire)
        attempt.callback(guard)
        return guard, wire

    def fail(self, number: int = -1) -> None:
        self.attempts[number][2].errback(Failure(Refused(DropReason.DIAL_FAILED, "connection refused")))


class Bench:
    """A Links with everything around it fake but the router."""

    def __init__(self, **settings: Any) -> None:
        network = NetworkSettings(**{"listen": (), "deflate": False, **settings})
        self.clock = Clock()
        self.clock.advance(1000)
        self.events: list[Any] = []
        own = OwnAddresses(network)
        allow_private = network.profile != "public"
        router = Router(
            RoutingSettings(),
            US,
            ListLibrary(),
            own,
            random.Random(1),
            allow_private=allow_private,
            now=self.clock.seconds(),
        )
        self.hosts = HostCache()
        self.dialler = FakeDialler()
        self.links = Links(
            self.clock,
            network,
            router,
            own,
            self.hosts,
            self.dialler,  # type: ignore[arg-type]
            random.Random(2),
            self.events.append,
        )

    def drops(self, reason: DropReason) -> int:
        return self.links.router.counters.drops[reason]

    def incoming(self, host: str, headers: str = "", block_3: str = "") -> tuple[Any, Wire]:
        """A peer that dialled us and whose handshake is over."""
        guard = self.links._port.buildProtocol(IPv4Address("TCP", host, 5000))
        assert guard is not None
        wire = Wire(host)
        guard.makeConnection(wire)  # type: ignore[no-untyped-call]
        guard.dataReceived(f"GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: True\r\nGGEP: 0.5\r\n{headers}\r\n".encode())
        guard.dataReceived(f"GNUTELLA/0.6 200 OK\r\n{block_3}\r\n".encode())
        return guard, wire

    def answer(self, guard: Any, first_line: str = "GNUTELLA/0.6 200 OK", headers: str = "") -> None:
        """What a peer that we dialled says."""
        guard.dataReceived(f"{first_line}\r\nX-Ultrapeer: True\r\n{headers}\r\n".encode())


def queries(count: int, start: int = 0) -> bytes:
    return b"".join(encode(Guid((start + n).to_bytes(16, "big")), 3, 1, Query(f"words {n}")) for n in range(count))


def test_one_write_for_each_link_and_chunk() -> None:
    bench = Bench()
    ends = [bench.incoming(f"80.1.{n}.1") for n in range(4)]
    bench.clock.pump([CORK_S] * 3)
    for _, wire in ends:
        wire.writes.clear()
    ends[0][0].dataReceived(queries(100))
    assert [len(wire.writes) for _, wire in ends] == [0, 1, 1, 1]
    assert [frame.kind for frame in frames(ends[1][1].writes[0])] == [QUERY] * 100
    assert ends[1][1].writes[0] is ends[2][1].writes[0]


def test_busy_link_writes_once_a_cork_and_an_idle_one_at_once() -> None:
    bench = Bench()
    sender, _ = bench.incoming("80.1.1.1")
    _, wire = bench.incoming("80.2.1.1")
    bench.clock.pump([CORK_S] * 3)
    wire.writes.clear()
    for n in range(5):
        sender.dataReceived(queries(2, n * 100))
    assert [len(list(frames(data))) for data in wire.writes] == [2]
    bench.clock.advance(CORK_S)
    assert [len(list(frames(data))) for data in wire.writes] == [2, 8]
    sender.dataReceived(queries(1, 1000))
    assert len(wire.writes) == 2  # it was busy a moment ago
    bench.clock.pump([CORK_S] * 2)
    assert [len(list(frames(data))) for data in wire.writes] == [2, 8, 1]
    sender.dataReceived(queries(1, 2000))
    assert len(wire.writes) == 4
    bench.clock.advance(CORK_S)
    assert bench.clock.getDelayedCalls() == []


def test_bytes_under_a_cork_are_bounded() -> None:
    bench = Bench()
    sender, _ = bench.incoming("80.1.1.1")
    _, wire = bench.incoming("80.2.1.1")
    bench.clock.pump([CORK_S] * 3)
    wire.writes.clear()
    chunk = queries(400)
    for n in range(20):
        sender.dataReceived(queries(400, n * 1000))
    assert len(wire.sent) > 20 * len(chunk) - MAX_CORKED - len(chunk)
    assert max(map(len, wire.writes)) <= MAX_CORKED + 2 * len(chunk)
    assert len(wire.writes) < 20


def test_compressed_link_is_flushed_once_a_cork() -> None:
    bench = Bench(deflate=True)
    sender, _ = bench.incoming("80.1.1.1")
    _, wire = bench.incoming("80.2.1.1", "Accept-Encoding: deflate\r\n")
    bench.clock.advance(CORK_S)
    stream = zlib.decompressobj()
    stream.decompress(wire.sent.partition(b"\r\n\r\n")[2])
    wire.writes.clear()
    for n in range(20):
        sender.dataReceived(queries(2, n * 100))
    assert b"".join(wire.writes) == b""
    bench.clock.advance(CORK_S)
    assert len(wire.writes) == 1
    assert [frame.kind for frame in frames(stream.decompress(wire.writes[0]))] == [QUERY] * 40
    bench.clock.advance(CORK_S * 10)
    assert len(wire.writes) == 1


def test_link_is_blocked_after_a_burst_and_gets_the_rest_later() -> None:
    bench = Bench()
    sender, _ = bench.incoming("80.1.1.1")
    _, wire = bench.incoming("80.2.1.1")
    link = bench.links.roster.open[list(bench.links.roster.open)[1]]
    for _ in range(MAX_LATE_WRITES):
        link.pauseProducing()
    assert not link.is_blocked
    link.resumeProducing()
    for _ in range(MAX_LATE_WRITES + 1):
        link.pauseProducing()
    assert bench.links.peers()[1]["blocked"] is True
    wire.writes.clear()
    sender.dataReceived(queries(5))
    assert wire.writes == []
    link.resumeProducing()
    bench.clock.advance(CORK_S)
    assert [frame.kind for frame in frames(b"".join(wire.writes))] == [QUERY] * 5
    assert bench.links.peers()[1]["blocked"] is False


def test_bye_closes_the_link_and_is_told() -> None:
    bench = Bench()
    guard, wire = bench.incoming("80.1.1.1")
    guard.dataReceived(bytes(16) + b"\x02\x01\x00" + (6).to_bytes(4, "little") + b"\xc8\x00bye\0")
    assert bench.links.peers() == []
    assert wire.disconnecting
    closed = [event for event in bench.events if isinstance(event, LinkClosed)]
    assert [(event.address, event.reason, event.detail) for event in closed] == [
        ("80.1.1.1:5000", DropReason.PEER_BYE, "200 bye")
    ]
    guard.connectionLost(ORDERLY_END)
    assert len([event for event in bench.events if isinstance(event, LinkClosed)]) == 1


def test_peer_that_does_not_close_is_cut_off() -> None:
    bench = Bench()
    guard, wire = bench.incoming("80.1.1.1", "Bye-Packet: 0.1\r\n")
    bench.links.disconnect("80.1.1.1:5000")
    assert b"\x02\x01\x00" in wire.sent
    bench.clock.advance(CLOSE_TIMEOUT_S - 0.1)
    assert not wire.is_aborted
    bench.clock.advance(0.2)
    assert wire.is_aborted
    guard.connectionLost(ORDERLY_END)
    assert bench.clock.getDelayedCalls() == []


def test_bytes_after_the_close_are_ignored() -> None:
    bench = Bench()
    guard, _ = bench.incoming("80.1.1.1")
    _, other = bench.incoming("80.2.1.1")
    other.writes.clear()
    bench.links.disconnect("80.1.1.1:5000")
    guard.dataReceived(queries(3))
    assert other.writes == []


def test_peers_that_agree_on_our_address_are_believed_and_the_node_is_told() -> None:
    bench = Bench(profile="public")
    for n in range(3):
        bench.incoming(f"8{n}.1.1.1", "Remote-IP: 24.1.2.3\r\n")
    assert [event.host for event in bench.events if isinstance(event, ReachabilityChanged)] == ["24.1.2.3"]


def test_public_peers_are_not_told_private_hosts() -> None:
    bench = Bench(profile="lan")
    for host in ("192.168.1.20", "81.1.1.1"):
        bench.incoming(host, f"Listen-IP: {host}:6346\r\n")
    _, near = bench.incoming("192.168.1.21")
    _, far = bench.incoming("82.1.1.1")
    assert b"X-Try-Ultrapeers: 192.168.1.20:6346, 81.1.1.1:6346\r\n" in near.sent
    assert b"X-Try-Ultrapeers: 81.1.1.1:6346\r\n" in far.sent


def test_hosts_told_are_bounded() -> None:
    bench = Bench()
    for n in range(30):
        bench.hosts.learn(Address(f"80.1.2.{n}", 6346), 1.0)
    _, wire = bench.incoming("81.1.1.1")
    line = next(line for line in wire.sent.split(b"\r\n") if line.startswith(b"X-Try"))
    assert line.count(b",") == MAX_TOLD - 1


@pytest.mark.parametrize("profile, learned", [("lan", {"80.1.2.3", "10.1.1.1"}), ("public", {"80.1.2.3"})])
def test_only_plausible_hosts_are_learned(profile: str, learned: set[str]) -> None:
    bench = Bench(profile=profile)
    bench.incoming(
        "81.1.1.1", "X-Try-Ultrapeers: 80.1.2.3:1, 10.1.1.1:2, 0.0.0.0:3, 224.0.0.1:4, x, 255.255.255.255:1\r\n"
    )
    assert {row.host for row in bench.hosts.rows()} == learned


def test_refused_host_is_left_alone_and_its_hosts_are_learned() -> None:
    bench = Bench(want_links=1)
    refuser = Address("80.1.2.3", 6346)
    bench.hosts.learn(refuser, 1.0)
    bench.links.start()
    guard, wire = bench.dialler.succeed()
    bench.answer(guard, "GNUTELLA/0.6 403 Go away", "X-Try-Ultrapeers: 80.9.9.9:1\r\n")
    assert wire.disconnecting
    guard.connectionLost(ORDERLY_END)
    assert bench.drops(DropReason.HANDSHAKE_REFUSED) == 1
    assert Address("80.9.9.9", 1) in bench.hosts
    bench.hosts.forget(Address("80.9.9.9", 1))
    for _ in range(100):
        bench.clock.advance(BACK_OFF_4XX_S / 100 - 0.1)
    assert len(bench.dialler.attempts) == 1
    bench.clock.pump([1.0] * 15)
    assert [address for address, _, _ in bench.dialler.attempts] == [refuser, refuser]


def test_dialler_lets_its_last_block_arrive_before_the_client_hello(tmp_path: Path) -> None:
    bench = Bench()
    bench.links.tls = PeerTls(tmp_path)
    begun: list[Any] = []
    for is_cut in (False, True):
        bench.links.connect(Address(f"10.1.1.{1 + is_cut}", 6346)).addErrback(lambda _: None)
        guard, wire = bench.dialler.succeed()
        wire.startTLS = begun.append  # type: ignore[attr-defined]
        bench.answer(guard, headers="Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n")
        assert wire.sent.endswith(b"Connection: Upgrade\r\n\r\n")
        bench.clock.advance(TLS_PAUSE_S / 2)
        assert not begun[1:] and bool(begun) is is_cut
        if is_cut:
            guard.connectionLost(ORDERLY_END)
        bench.clock.advance(TLS_PAUSE_S)
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("end", "life_s", "pause_s"),
    [
        ("public", 2.0, EARLY_END_PAUSE_S),
        ("lan", 2.0, ISLAND_PAUSE_S),
        ("lan", GOOD_LIFE_S + 1, 0.0),
        ("user", GOOD_LIFE_S + 1, USER_PAUSE_S),
    ],
)
def test_host_whose_link_ended_early_or_by_the_user_is_not_dialled_at_once(
    end: str, life_s: float, pause_s: float
) -> None:
    bench = Bench(profile="lan" if end == "user" else end)
    address = Address("80.1.1.1", 6346)
    bench.links.connect(address)
    guard, _ = bench.dialler.succeed()
    bench.answer(guard)
    bench.clock.advance(life_s)
    if end == "user":
        bench.links.disconnect(str(address))
    else:
        guard.connectionLost(ORDERLY_END)
    now = bench.clock.seconds()
    assert bench.hosts.choose(1, now + pause_s) == [address]
    assert not pause_s or bench.hosts.choose(1, now + pause_s - 1) == []


def test_dials_of_one_tick_and_in_all_are_bounded() -> None:
    bench = Bench(want_links=6)
    for n in range(30):
        bench.hosts.learn(Address(f"80.1.2.{n}", 6346), 1.0)
    bench.links.start()
    assert len(bench.dialler.attempts) == MAX_DIALS_A_TICK
    bench.clock.advance(1)
    assert len(bench.dialler.attempts) == 6
    bench.clock.pump([1.0] * 5)
    assert len(bench.dialler.attempts) == 6
    bench.dialler.fail(0)
    bench.clock.advance(1)
    assert len(bench.dialler.attempts) == 7


def test_kept_host_that_dialled_us_is_not_dialled_until_its_link_ends() -> None:
    bench = Bench(connect=("80.1.2.3:6346",), profile="loopback")
    guard, _ = bench.incoming("80.1.2.3", "Listen-IP: 80.1.2.3:6346\r\n")
    bench.links.start()
    bench.clock.pump([1.0] * 10)
    assert bench.dialler.attempts == []
    guard.connectionLost(ORDERLY_END)
    bench.clock.pump([1.0] * 10)
    assert [address for address, _, _ in bench.dialler.attempts] == [Address("80.1.2.3", 6346)]


def test_loopback_node_dials_nobody_on_its_own() -> None:
    bench = Bench(profile="loopback")
    bench.hosts.learn(Address("127.0.0.1", 6346), 1.0)
    bench.links.start()
    bench.clock.pump([1.0] * 5)
    assert bench.dialler.attempts == []


def test_connect_gives_the_row_of_the_new_link() -> None:
    rows: list[Any] = []
    bench = Bench()
    bench.links.connect(Address("80.1.2.3", 6346)).addBoth(rows.append)
    guard, _ = bench.dialler.succeed()
    bench.answer(guard, headers="User-Agent: Other/1\r\n")
    assert [(row["address"], row["vendor"], row["direction"]) for row in rows] == [("80.1.2.3:6346", "Other/1", "out")]
    assert [event.row["address"] for event in bench.events if isinstance(event, LinkOpened)] == ["80.1.2.3:6346"]


@pytest.mark.parametrize("end", ["fail", "refuse", "close", "garbage"])
def test_connect_that_fails_says_why_and_leaves_nothing(end: str) -> None:
    bench = Bench()
    failures: list[Any] = []
    bench.links.connect(Address("80.1.2.3", 6346)).addBoth(failures.append)
    if end == "fail":
        bench.dialler.fail()
    else:
        guard, _ = bench.dialler.succeed()
        if end == "refuse":
            bench.answer(guard, "GNUTELLA/0.6 503 Full")
        elif end == "garbage":
            guard.dataReceived(b"SMTP ready\r\n\r\n")
        guard.connectionLost(ORDERLY_END)
    assert failures[0].check(UserError)
    assert str(failures[0].value).startswith("no link to 80.1.2.3:6346: ")
    assert len([event for event in bench.events if isinstance(event, LinkFailed)]) == 1
    assert bench.links.roster.all == set()
    assert bench.clock.getDelayedCalls() == []


def test_connect_given_up_while_dialling_cuts_a_late_connection() -> None:
    bench = Bench()
    failures: list[Any] = []
    outcome = bench.links.connect(Address("80.1.2.3", 6346)).addBoth(failures.append)
    outcome.cancel()
    assert failures[0].check(UserError)
    assert bench.links.roster.all == set()
    assert bench.dialler.attempts[0][2].called


def test_names_of_links_outlive_them_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_module, "MAX_NAMES", 2)
    bench = Bench()
    for n in range(3):
        bench.incoming(f"80.{n}.1.1")[0].connectionLost(ORDERLY_END)
    assert [bench.links.name(link) for link in (None, -1, 1, 2, 3)] == [  # type: ignore[arg-type]
        "", "", "link 1", "80.1.1.1:5000", "80.2.1.1:5000",
    ]  # fmt: skip


def test_router_is_ticked_each_second_and_pings_go_out() -> None:
    bench = Bench()
    _, wire = bench.incoming("80.1.1.1")
    wire.writes.clear()
    bench.links.start()
    bench.clock.pump([1.0] * 70)
    assert PING in [frame.kind for frame in frames(b"".join(wire.writes))]


def test_a_fault_in_a_tick_is_counted_and_the_next_tick_comes(
    monkeypatch: pytest.MonkeyPatch, reactor: Any, flush_failures: Callable[..., list[Failure]]
) -> None:
    bench = Bench()
    ticks: list[float] = []

    def tick(now: float) -> list[Any]:
        ticks.append(now)
        if len(ticks) == 2:
            raise ArithmeticError
        return []

    monkeypatch.setattr(bench.links.router, "tick", tick)
    bench.links.start()
    bench.clock.pump([1.0] * 4)
    assert len(ticks) == 5
    assert bench.drops(DropReason.INTERNAL_ERROR) == 1
    assert len(flush_failures(ArithmeticError)) == 1


def test_bad_targets_are_a_readable_error() -> None:
    with pytest.raises(UserError, match="network.connect: "):
        Bench(connect=("host:port",))


def test_user_agent_cannot_smuggle_headers(tmp_path: Path) -> None:
    bench = Bench(user_agent="Mine/1\r\nX-Evil: 1 \u00e9")
    _, wire = bench.incoming("80.1.1.1")
    assert b"\r\nUser-Agent: Mine/1??X-Evil: 1 ?\r\n" in wire.sent
