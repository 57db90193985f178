"""First bytes on the peer port: who gets the connection, and what is refused, in time, bytes and number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gnutella.network import demux
from gnutella.network.demux import Doors, PeerPort
from gnutella.network.guard import Guard
from gnutella.network.hammering import MAX_OFFENCES
from gnutella.reasons import DropReason
from gnutella.testing import strategies_network as strategies

#: What a protocol hears of an orderly end.
ORDERLY_END = Failure(ConnectionDone())

TIMEOUT_S = 20.0


class Taker(Protocol):
    """Takes a connection over and keeps what it gets."""

    def __init__(self, kind: str, host: str = "") -> None:
        self.kind, self.host, self.got, self.lost = kind, host, b"", False

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True


class Port:
    """A PeerPort on a fake clock, with all doors open but TLS."""

    def __init__(self, *, http: bool = True) -> None:
        self.clock = Clock()
        self.counts: Counter[DropReason] = Counter()
        self.takers: list[Taker] = []
        self.settled: list[Callable[[], None]] = []
        doors = Doors(self._link, self._maker("http") if http else None, self._maker("giv"), None, self._count)
        self.factory = PeerPort(self.clock, doors, TIMEOUT_S)

    def inside(self, name: bytes) -> None:
        self.factory._doors.inside[name] = self._link

    def _count(self, reason: DropReason) -> None:
        self.counts[reason] += 1

    def _link(self, settled: Callable[[], None]) -> IProtocol:
        self.settled.append(settled)
        self.takers.append(Taker("link"))
        return self.takers[-1]

    def _maker(self, kind: str) -> Callable[[str], IProtocol]:
        def make(host: str) -> IProtocol:
            self.takers.append(Taker(kind, host))
            return self.takers[-1]

        return make

    def connect(self, host: str = "80.1.2.3") -> tuple[Guard, StringTransport]:
        address = IPv4Address("TCP", host, 5000)
        guard = self.factory.buildProtocol(address)
        assert guard is not None
        transport = StringTransport(peerAddress=address)
        guard.makeConnection(transport)  # type: ignore[no-untyped-call]
        return guard, transport


@pytest.mark.parametrize(
    "data, kind",
    [
        (b"GNUTELLA CONNECT/0.6\r\n", "link"),
        (b"GNUTELLA CONNECT/0.4\n\n", "link"),
        (b"GET /get/1/a HTTP/1.1\r\n", "http"),
        (b"HEAD / HTTP/1.1\r\n", "http"),
        (b"POST / HTTP/1.1\r\n", "http"),
        (b"GIV 1:00/a\n\n", "giv"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_first_bytes_decide_and_nothing_is_lost(data: bytes, kind: str, at_once: bool) -> None:
    port = Port()
    guard, transport = port.connect()
    for piece in [data] if at_once else [bytes([byte]) for byte in data]:
        guard.dataReceived(piece)
    guard.dataReceived(b"more")
    assert [taker.kind for taker in port.takers] == [kind]
    assert port.takers[0].got == data + b"more"
    assert port.takers[0].transport is transport
    assert port.takers[0].host == ("" if kind == "link" else "80.1.2.3")
    guard.connectionLost(ORDERLY_END)
    assert port.takers[0].lost
    assert port.clock.getDelayedCalls() == []
    assert not port.counts


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"SSH-2.0-x\r\n", DropReason.GARBAGE),
        (b"gnutella connect/0.6", DropReason.GARBAGE),
        (b"QUEUE abc 1.2.3.4:5\r\n", DropReason.GARBAGE),
        (b"\x16\x03\x01\x02", DropReason.GARBAGE),  # TLS is off here
        (b"\0", DropReason.GARBAGE),
        (b"\n", DropReason.CONNECT_BACK),
        (b"\r\n\r\n", DropReason.CONNECT_BACK),
        (b"CONNECT BACK\r\n", DropReason.CONNECT_BACK),
    ],
)
def test_anything_else_is_closed_and_counted(data: bytes, reason: DropReason) -> None:
    port = Port()
    guard, transport = port.connect()
    guard.dataReceived(data)
    assert transport.disconnected
    assert transport.value() == b""
    assert port.counts == {reason: 1}
    guard.dataReceived(b"GET / HTTP/1.1\r\n")
    guard.connectionLost(ORDERLY_END)
    assert port.takers == []
    assert port.counts == {reason: 1}
    assert port.clock.getDelayedCalls() == []


def test_protocol_without_a_door_is_closed() -> None:
    port = Port(http=False)
    guard, transport = port.connect()
    guard.dataReceived(b"GET ")
    assert transport.disconnected
    assert port.counts == {DropReason.GARBAGE: 1}


@pytest.mark.parametrize("data", [b"", b"G", b"GNUTELLA CONNECT"])
def test_connection_that_does_not_say_what_it_wants_is_closed_in_time(data: bytes) -> None:
    port = Port()
    guard, transport = port.connect()
    for byte in data:
        port.clock.advance(1)
        guard.dataReceived(bytes([byte]))
    port.clock.advance(TIMEOUT_S - len(data) - 0.1)
    assert not transport.disconnected
    port.clock.advance(0.2)
    assert transport.disconnected
    assert port.counts == {DropReason.SLOW: 1}


def test_peer_that_leaves_without_a_word_is_counted() -> None:
    port = Port()
    guard, _ = port.connect()
    guard.connectionLost(ORDERLY_END)
    assert port.counts == {DropReason.GARBAGE: 1}
    assert port.clock.getDelayedCalls() == []
    assert port.factory.half_open == 0


def test_half_open_connections_are_bounded_in_all() -> None:
    port = Port()
    guards = [port.connect(f"{80 + n // 250}.{n % 250}.1.1")[0] for n in range(demux.MAX_HALF_OPEN)]
    assert port.factory.buildProtocol(IPv4Address("TCP", "90.1.1.1", 1)) is None
    assert port.counts == {DropReason.PORT_FULL: 1}
    guards[0].dataReceived(b"GET / HTTP/1.1\r\n")  # taken over: no longer half open
    port.connect("90.1.1.1")
    guards[1].connectionLost(ORDERLY_END)
    port.connect("90.1.1.2")
    assert port.factory.half_open == demux.MAX_HALF_OPEN


def test_half_open_connections_are_bounded_for_one_address() -> None:
    port = Port()
    for _ in range(demux.MAX_HALF_OPEN_PER_HOST):
        port.connect("80.1.2.3")
    assert port.factory.buildProtocol(IPv4Address("TCP", "80.1.2.3", 1)) is None
    port.connect("80.1.2.4")
    for _ in range(demux.MAX_HALF_OPEN_PER_HOST + 1):
        port.connect("127.0.0.1")
    assert port.counts == {DropReason.PORT_FULL: 1}


def test_half_open_connections_are_bounded_for_one_network() -> None:
    port = Port()
    for number in range(24):
        port.connect(f"80.1.2.{number}")
    assert port.factory.buildProtocol(IPv4Address("TCP", "80.1.2.99", 1)) is None
    for number in range(8):
        port.connect(f"80.1.{number + 3}.1")
    assert port.factory.buildProtocol(IPv4Address("TCP", "80.1.99.1", 1)) is None
    port.connect("80.2.1.1")
    assert port.counts == {DropReason.NETWORK_FULL: 2}


def test_blocked_hosts_and_hosts_that_hammer_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port()
    gate = port.factory._doors.gate
    listed = {"66.1.1.1"}
    gate._lists = type("Lists", (), {"blocks": lambda self, host: host in listed})()
    assert port.factory.buildProtocol(IPv4Address("TCP", "66.1.1.1", 1)) is None
    for _ in range(MAX_OFFENCES + 1):
        port.connect("90.1.1.1")[0].dataReceived(b"\x00")
    assert port.factory.buildProtocol(IPv4Address("TCP", "90.1.1.1", 1)) is None
    _, transport = port.connect("77.1.1.1")
    listed.add("77.1.1.1")
    port.factory.close_listed()
    assert transport.disconnected
    assert port.counts[DropReason.GARBAGE] == MAX_OFFENCES + 1


def test_link_is_half_open_until_its_handshake_is_over() -> None:
    port = Port()
    guard, _ = port.connect()
    guard.dataReceived(b"GNUTELLA CONNECT/")
    assert port.factory.half_open == 1
    port.settled[0]()
    assert (port.factory.half_open, port.factory.connections) == (0, 1)
    guard.connectionLost(ORDERLY_END)
    assert port.factory.connections == 0


def test_connections_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demux, "MAX_INCOMING", 3)
    port = Port()
    for number in range(3):
        port.connect(f"80.{number}.1.1")[0].dataReceived(b"GET / HTTP/1.1\r\n")
    assert port.factory.buildProtocol(IPv4Address("TCP", "90.1.1.1", 1)) is None
    assert port.counts == {DropReason.PORT_FULL: 1}


def test_more_leaves_in_the_settings_are_more_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demux, "MAX_INCOMING", 1)
    doors = demux.Doors(lambda settled: Protocol(), None, None, None, lambda reason: None)
    few = demux.PeerPort(Clock(), doors, 1.0, leaves=demux.LEAVES_WITHIN)
    many = demux.PeerPort(Clock(), doors, 1.0, leaves=demux.LEAVES_WITHIN + 2)
    hosts = [IPv4Address("TCP", f"90.{number}.1.1", 1) for number in range(4)]
    assert [few.buildProtocol(host) is None for host in hosts] == [False, True, True, True]
    assert [many.buildProtocol(host) is None for host in hosts] == [False, False, False, True]


def test_fault_of_our_own_ends_that_connection_and_is_counted(flush_failures: Any, reactor: Any) -> None:
    port = Port()
    guard, transport = port.connect()
    guard.dataReceived(b"GET / HTTP/1.1\r\n")
    port.takers[0].got = None  # type: ignore[assignment]
    guard.dataReceived(b"x")
    assert transport.disconnected
    assert port.counts == {DropReason.INTERNAL_ERROR: 1}
    assert len(flush_failures(TypeError)) == 1
    guard.connectionLost(ORDERLY_END)
    assert port.takers[0].lost


@given(st.binary(max_size=60), st.data())
def test_any_bytes_in_any_cut_are_taken_over_or_refused_alike(data: bytes, draw: st.DataObject) -> None:
    outcomes = []
    for pieces in ([data], draw.draw(strategies.cuts(data)), [bytes([byte]) for byte in data]):
        port = Port()
        guard, _ = port.connect()
        for piece in pieces:
            guard.dataReceived(piece)
        guard.connectionLost(ORDERLY_END)
        outcomes.append(([(taker.kind, taker.got) for taker in port.takers], port.counts))
        assert port.clock.getDelayedCalls() == []
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert sum(outcomes[0][1].values()) + len(outcomes[0][0]) == 1


HELLO = (
    bytes.fromhex("1603010042")
    + b"\1\0\0\x3e\3\3"
    + bytes(32)
    + bytes.fromhex("00000213010100")
    + (b"\0\x13\0\x10\0\x08\0\x06\5arl/1\0\x0a\0\3abc")
)


@pytest.mark.parametrize("at_once", [True, False])
def test_tls_that_offers_a_known_protocol_is_handed_over_unread(at_once: bool) -> None:
    port = Port()
    port.inside(b"arl/1")
    guard, transport = port.connect()
    for piece in [HELLO + b"more"] if at_once else [bytes((byte,)) for byte in HELLO + b"more"]:
        guard.dataReceived(piece)
    assert [taker.got for taker in port.takers] == [HELLO + b"more"]
    assert port.factory.half_open == 1  # until the taker says so
    port.settled[0]()
    assert port.factory.half_open == 0 and not port.counts and transport.value() == b""
    guard.connectionLost(ORDERLY_END)


@pytest.mark.parametrize("inside", [b"", b"arl/2"])
def test_tls_that_offers_it_where_it_is_not_spoken_goes_where_it_always_went(inside: bytes) -> None:
    port = Port()
    if inside:
        port.inside(inside)
    guard, transport = port.connect()
    guard.dataReceived(HELLO)
    assert transport.disconnected and port.takers == []
    assert port.counts == {DropReason.GARBAGE: 1}  # TLS is off here


def test_a_hello_that_does_not_end_is_closed_in_time_and_one_that_is_none_at_once() -> None:
    port = Port()
    port.inside(b"arl/1")
    guard, transport = port.connect()
    guard.dataReceived(HELLO[:-1])
    assert not transport.disconnected
    port.clock.advance(TIMEOUT_S)
    assert transport.disconnected and port.counts == {DropReason.SLOW: 1}
    guard, transport = port.connect()
    guard.dataReceived(b"\x16\3\1\0\0")
    assert transport.disconnected and port.counts[DropReason.GARBAGE] == 1
