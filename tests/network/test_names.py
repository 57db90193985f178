"""Host names become addresses of the IP version that leads somewhere."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock

from gnutella.network.names import MAX_ADDRESSES, resolve_name

FOUR, SIX = "192.0.2.7", "2001:db8::7"


class Resolver(Clock):
    """A reactor whose resolver knows one name; `answers` None is silence."""

    def __init__(self, answers: list[str] | None) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []

    @property
    def nameResolver(self) -> Any:
        return self

    def resolveHostName(self, receiver: Any, name: str) -> None:
        self.asked.append(name)
        receiver.resolutionBegan(self)
        for host in self.answers or ():
            receiver.addressResolved((IPv6Address if ":" in host else IPv4Address)("TCP", host, 0))
        if self.answers is not None:
            receiver.resolutionComplete()


def outcome(resolving: Deferred[str]) -> object:
    got: list[object] = []
    resolving.addCallbacks(got.append, lambda failure: got.append(failure.type))
    return got[0] if got else None


@pytest.mark.parametrize(
    ("answers", "ways", "host"),
    [
        ([SIX, FOUR], {FOUR, SIX}, FOUR),
        ([SIX, FOUR], {SIX}, SIX),
        ([FOUR], {SIX}, FOUR),
        ([SIX], {SIX}, SIX),
        (["192.0.2.1", FOUR], {FOUR}, FOUR),
        (["::ffff:192.0.2.7"], {FOUR}, FOUR),
        ([], {FOUR}, DNSLookupError),
    ],
)
def test_an_address_is_chosen_to_which_there_is_a_way(answers: list[str], ways: set[str], host: object) -> None:
    got = resolve_name(Resolver(answers), "cache.example", 10.0, lambda host: host if host in ways else None)
    assert outcome(got) == host


def test_a_resolver_that_is_silent_is_given_up() -> None:
    reactor = Resolver(None)
    got: list[object] = []
    resolve_name(reactor, "cache.example", 10.0).addCallbacks(got.append, lambda failure: got.append(failure.type))
    reactor.advance(9.0)
    assert got == []
    reactor.advance(1.0)
    assert got == [TimeoutError]


@pytest.mark.parametrize("name", ["x" * 64, "a..b", "\udc80.example"])
def test_what_cannot_be_a_name_is_not_asked(name: str) -> None:
    reactor = Resolver([FOUR])
    assert outcome(resolve_name(reactor, name, 10.0)) is DNSLookupError
    assert reactor.asked == []


def test_of_a_name_with_a_thousand_addresses_a_few_are_looked_at() -> None:
    looked: list[str] = []
    answers = [f"10.0.{number >> 8}.{number & 255}" for number in range(1000)]
    got = resolve_name(Resolver(answers), "many.example", 10.0, lambda host: looked.append(host))
    assert outcome(got) == answers[0]
    assert len(looked) == MAX_ADDRESSES
