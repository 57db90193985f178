"""Listening and dialling: what people mistype or what is taken ends in one readable line, and nothing stays open."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol

from gnutella.errors import Refused, UserError
from gnutella.network import dial
from gnutella.network.dial import Dialler
from gnutella.network.ports import Ports, check_endpoint, parse_endpoint
from gnutella.reasons import DropReason
from gnutella.testing.aio import async_test, turns, until
from gnutella.units import Address

pytestmark = pytest.mark.live


class Greeter(Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.got = b""
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.is_lost = True


class Greeters(Factory):
    noisy = False

    def __init__(self) -> None:
        self.made: list[Greeter] = []

    def buildProtocol(self, addr: Any) -> Greeter:
        self.made.append(Greeter())
        return self.made[-1]


@pytest.mark.parametrize(
    "text, said",
    [
        ("6346", "write tcp:6346"),
        ("udp:6346", "begin with one of tcp, tcp6"),
        ("", "begin with one of"),
        ("tcp:", "write tcp:6346"),
        ("tcp:abc", "write tcp:6346"),
        ("tcp:99999", "99999 is no port"),
        ("tcp:6346:interfaces=x", "write tcp:6346"),
        ("systemd:domain=INET:index=0", "socket activation"),
        ("systemd:", "socket activation"),
        ("ssl:6346:privateKey=/no/such/file", "/no/such/file"),
    ],
)
def test_endpoint_that_cannot_be_is_a_readable_error(reactor: Any, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_endpoint(reactor, text, "--listen")
    assert said in str(caught.value)
    assert repr(text) in str(caught.value) and "--listen" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == os.EX_CONFIG


def test_onion_endpoints_are_not_parsed_in_a_check(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("gnutella.network.ports.serverFromString", fail)
    check_endpoint(reactor, "onion:80", "--listen")
    with pytest.raises(AssertionError, match="parsed"):
        parse_endpoint(reactor, "onion:80", "--listen")


@async_test()
async def test_ports_are_opened_named_and_closed(reactor: Any, tmp_path: Path) -> None:
    ports = Ports(reactor)
    path = tmp_path / "s"
    await ports.listen(["tcp:0:interface=127.0.0.1", f"unix:{path}:mode=600"], Greeters(), "--listen")
    assert [address.host for address in ports.addresses] == ["127.0.0.1"]
    assert ports.names == [str(ports.addresses[0]), str(path)]
    assert path.stat().st_mode & 0o777 == 0o600
    await ports.close()
    assert ports.addresses == []
    assert not path.exists()


@async_test()
async def test_port_in_use_is_exit_69_and_opens_none_of_the_others(reactor: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        ports = Ports(reactor)
        with pytest.raises(UserError, match="the port is in use") as caught:
            await ports.listen(["tcp:0:interface=127.0.0.1", text], Greeters(), "--listen")
    assert caught.value.exit_code == os.EX_UNAVAILABLE
    assert ports.addresses == []


@async_test()
async def test_address_of_another_machine_is_a_readable_error(reactor: Any) -> None:
    with pytest.raises(UserError, match="choose an address of this machine") as caught:
        await Ports(reactor).listen(["tcp:0:interface=192.0.2.1"], Greeters(), "--listen")
    assert caught.value.exit_code == os.EX_UNAVAILABLE


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@async_test()
async def test_dialling_connects_a_protocol(reactor: Any, host: str) -> None:
    ports, factory = Ports(reactor), Greeters()
    await ports.listen(["tcp:0:interface=127.0.0.1"], factory, "--listen")
    dialler = Dialler(reactor, 5.0)
    protocol = await dialler.connect(Address(host, ports.addresses[0].port), Greeter())
    assert protocol.transport is not None
    protocol.transport.write(b"hello")
    await until(reactor, lambda: bool(factory.made and factory.made[0].got == b"hello"))
    assert dialler.attempts == 0
    protocol.transport.loseConnection()
    await until(reactor, lambda: factory.made[0].is_lost)
    await ports.close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@async_test()
async def test_refused_connection_says_so(reactor: Any) -> None:
    with pytest.raises(Refused, match="connection refused") as caught:
        await Dialler(reactor, 5.0).connect(Address("127.0.0.1", unused_port()), Greeter())
    assert caught.value.reason is DropReason.DIAL_FAILED


@async_test()
async def test_unknown_name_says_so(reactor: Any) -> None:
    with pytest.raises(Refused, match="no such host name"):
        await Dialler(reactor, 5.0).connect(Address("no-such-host.invalid", 1), Greeter())


def deaf_listener() -> tuple[list[socket.socket], int]:
    """A port whose queue of connections is full, so that it answers no SYN."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = int(listener.getsockname()[1])
    sockets = [listener]
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        sockets.append(client)
    return sockets, port


@async_test()
async def test_attempt_without_an_answer_ends_in_time(reactor: Any) -> None:
    sockets, port = deaf_listener()
    try:
        with pytest.raises(Refused, match=r"no answer in 0\.05 s"):
            await Dialler(reactor, 5.0).connect(Address("127.0.0.1", port), Greeter(), 0.05)
    finally:
        for each in sockets:
            each.close()


@async_test()
async def test_attempts_are_bounded_and_given_up_at_stop(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "MAX_DIALS", 2)
    sockets, port = deaf_listener()
    failures: list[Any] = []
    dialler = Dialler(reactor, 5.0)
    try:
        for _ in range(3):
            dialler.connect(Address("127.0.0.1", port), Greeter()).addBoth(failures.append)
        assert [str(f.value) for f in failures] == ["dial_failed: too many attempts at once"]
        dialler.stop()
        await turns(reactor, 3)
        assert [str(f.value) for f in failures[1:]] == ["dial_failed: given up"] * 2
        dialler.connect(Address("127.0.0.1", port), Greeter()).addBoth(failures.append)
        assert str(failures[3].value) == "dial_failed: this node is stopping"
    finally:
        for each in sockets:
            each.close()
