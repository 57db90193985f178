"""The guard around a protocol that was dialled: faults end that connection, counted; the dialler gets its own protocol."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from gnutella.errors import Refused
from gnutella.network.guard import Guard, guarded
from gnutella.reasons import DropReason
from gnutella.units import Address

ADDRESS = Address("192.0.2.1", 6346)


class Faulty(Protocol):
    """Raises in the method it is told."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.got = b""

    def _maybe(self, where: str) -> None:
        if where == self.where:
            raise RuntimeError("a fault of ours")

    def connectionMade(self) -> None:
        self._maybe("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        self._maybe("dataReceived")
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self._maybe("connectionLost")


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Faulty):
    """Knows what to do with half a connection."""

    def readConnectionLost(self) -> None:
        self.got += b"<end>"

    def writeConnectionLost(self) -> None:
        """Never called here."""


class Wire:
    """A dial seam that connects at once."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.outer: Any = None
        self.faults = 0
        self.dial = guarded(self._dial, self._fault)

    def _fault(self) -> None:
        self.faults += 1

    def _dial(self, address: Address, protocol: Any, timeout_s: float) -> Deferred[Any]:
        assert (address, timeout_s) == (ADDRESS, 7.0)
        self.outer = protocol
        protocol.makeConnection(self.transport)
        return succeed(protocol)


@pytest.mark.parametrize("where", ["connectionMade", "dataReceived", "connectionLost"])
def test_a_fault_inside_is_counted_once_and_ends_the_connection(where: str) -> None:
    wire, inner = Wire(), Faulty(where)
    wire.dial(ADDRESS, inner, 7.0)
    wire.outer.dataReceived(b"abc")
    assert wire.transport.disconnecting == (where != "connectionLost")
    wire.outer.connectionLost(None)
    assert wire.faults == 1


def test_who_dials_gets_its_own_protocol_connected() -> None:
    wire, inner = Wire(), Faulty()
    result: list[object] = []
    wire.dial(ADDRESS, inner, 7.0).addCallback(result.append)
    assert result == [inner] and isinstance(wire.outer, Guard)
    assert inner.transport is wire.transport and inner.connected
    wire.outer.dataReceived(b"abc")
    assert (inner.got, wire.faults) == (b"abc", 0)
    assert not IHalfCloseableProtocol.providedBy(wire.outer)


def test_half_a_connection_is_told_to_who_knows_what_to_do_with_it() -> None:
    wire, inner = Wire(), HalfCloseable()
    wire.dial(ADDRESS, inner, 7.0)
    assert IHalfCloseableProtocol.providedBy(wire.outer)
    wire.outer.readConnectionLost()
    assert inner.got == b"<end>"


def test_an_attempt_that_fails_stays_a_failure() -> None:
    faults: list[None] = []
    dial = guarded(lambda *_: fail(Refused(DropReason.DIAL_FAILED, "no")), lambda: faults.append(None))
    failures: list[Any] = []
    dial(ADDRESS, Faulty(), 7.0).addErrback(failures.append)
    assert failures[0].check(Refused) and faults == []
