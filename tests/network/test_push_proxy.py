"""Asking push proxies for a push, and being asked, without sockets."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gnutella.errors import Refused
from gnutella.network.push_proxy import ANSWER_S, FORGET_S, MAX_ASKED, PUSH_GAP_S, ProxyRound, PushDesk
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.testing.routers import guid_of
from gnutella.units import Address

SERVENT = guid_of(1)
PROXIES = [Address(f"80.1.2.{number}", 6346) for number in range(1, 9)]
ASKER = "192.0.2.7"
PUSH = Push(SERVENT, 3, Address(ASKER, 6346))


class Round:
    """One round with dials that the test answers."""

    def __init__(self, proxies: list[Address], refused: bool = False) -> None:
        self.clock = Clock()
        self.dialled: list[tuple[Address, Any, Deferred[Any]]] = []
        self.ended: list[Address | None] = []
        self._refused = refused
        self.round = ProxyRound(
            self.clock, self._dial, "Ours/1", lambda host: Address(host, 7), SERVENT, 3, proxies, self.ended.append
        )

    def _dial(self, address: Address, protocol: Any, timeout_s: float) -> Deferred[Any]:
        attempt: Deferred[Any] = (
            fail(Refused(DropReason.DIAL_FAILED, "no")) if self._refused else Deferred(lambda _: None)
        )
        self.dialled.append((address, protocol, attempt))
        return attempt

    def connect(self, number: int) -> StringTransport:
        """The attempt of that number succeeds."""
        _, protocol, attempt = self.dialled[number]
        transport = StringTransport(hostAddress=Address("10.0.0.9", 50000))
        protocol.makeConnection(transport)
        if not attempt.called:  # given up meanwhile
            attempt.callback(protocol)
        return transport

    def answer(self, number: int, data: bytes) -> None:
        self.dialled[number][1].dataReceived(data)


def test_the_request_names_the_servent_and_where_it_shall_call() -> None:
    asked = Round(PROXIES[:1])
    lines = asked.connect(0).value().decode().split("\r\n")
    assert lines[0].startswith("GET /gnutella/push-proxy?ServerId=") and lines[0].endswith("&file=3 HTTP/1.1")
    assert "X-Node: 10.0.0.9:7" in lines
    assert "Host: 80.1.2.1:6346" in lines


@pytest.mark.parametrize("status", [b"202 Accepted", b"203 Non-Authoritative"])
def test_the_first_proxy_that_agrees_ends_the_round(status: bytes) -> None:
    asked = Round(PROXIES)
    assert len(asked.dialled) == MAX_ASKED
    first, second = asked.connect(0), asked.connect(1)
    asked.answer(0, b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
    assert first.disconnected and asked.ended == []
    third = asked.connect(2)
    asked.answer(2, b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert asked.ended == [PROXIES[2]]
    assert second.disconnected and third.disconnected
    assert asked.clock.getDelayedCalls() == []
    asked.answer(1, b"HTTP/1.1 202 Accepted\r\n\r\n")
    assert asked.ended == [PROXIES[2]]
    late = asked.connect(3)
    assert late.disconnected and late.value() == b""


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 x\r\n\r\n", b"\0\1\2\3\r\n\r\n", b"x" * 20_000, None])
def test_when_none_agrees_that_is_the_result(answer: bytes | None) -> None:
    asked = Round(PROXIES[:2])
    asked.connect(0)
    if answer is None:
        asked.dialled[0][1].connectionLost()
    else:
        asked.answer(0, answer)
    assert asked.ended == []
    asked.dialled[1][2].errback(Refused(DropReason.DIAL_FAILED, "no answer"))
    assert asked.ended == [None]
    assert not asked.round.is_open


def test_proxies_that_say_nothing_are_given_up() -> None:
    asked = Round(PROXIES[:2])
    transport = asked.connect(0)
    asked.answer(0, b"HTTP/1.1 20")
    asked.clock.advance(ANSWER_S)
    assert asked.ended == [None]
    assert transport.disconnected


def test_no_attempt_at_all_is_an_end_too() -> None:
    asked = Round(PROXIES, refused=True)
    assert asked.ended == [None]
    assert asked.clock.getDelayedCalls() == []


def test_a_round_that_is_given_up_tells_nothing() -> None:
    asked = Round(PROXIES[:2])
    transport = asked.connect(0)
    asked.round.cancel()
    assert asked.ended == []
    assert transport.disconnected
    assert asked.clock.getDelayedCalls() == []


# -- the desk ----------------------------------------------------------------------------------------------------------


def test_a_leaf_calls_who_asked_and_nobody_else() -> None:
    passed: list[Push] = []
    desk = PushDesk(Clock().seconds, lambda push: not passed.append(push))  # type: ignore[func-returns-value]
    assert desk.refusal(PUSH, "203.0.113.1") is DropReason.PUSH_FORGED
    assert passed == []
    assert desk.refusal(PUSH, ASKER) is None
    assert passed == [PUSH]


def test_each_asker_gets_a_push_a_second() -> None:
    clock = Clock()
    desk = PushDesk(clock.seconds, lambda push: True)
    assert desk.refusal(PUSH, ASKER) is None
    assert desk.refusal(PUSH, ASKER) is DropReason.PUSH_RATE
    other = Push(SERVENT, 3, Address("192.0.2.8", 6346))
    assert desk.refusal(other, "192.0.2.8") is None
    clock.advance(PUSH_GAP_S)
    assert desk.refusal(PUSH, ASKER) is None
    clock.advance(2 * FORGET_S)
    assert desk.refusal(PUSH, ASKER) is None


def test_a_servent_that_is_not_ours_to_push_is_gone() -> None:
    assert PushDesk(Clock().seconds, lambda push: False).refusal(PUSH, ASKER) is DropReason.NOT_PROXIED
    assert DropReason.NOT_PROXIED.http == 410
