"""What relay.py does: it accepts for each servent, finds out who calls, and carries the bytes as a link of the lab would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from gnutella.lab.callers import owner_of
from gnutella.lab.stream import PATIENCE_S, Fault, FaultKind, Line, Stream

HOST = "127.0.0.1"
#: Connections that wait to be accepted; a whole network may dial one node at once.
BACKLOG = 512
#: How long a power failure of one side stays unnoticed by the other: Linux' tcp_retries2.
DEAF_S = 924.6
#: First bytes of a connection that is a link; all others are transfers.
_LINK = b"GNUTELLA"


@dataclass(eq=False, slots=True)
class Front:
    """One servent as others reach it.  `group` is its part of the network during a partition."""

    name: str
    port: Any = None
    number: int = 0
    behind: int = 0
    process: int = 0
    is_shut: bool = False
    gateway: str | None = None
    group: int = 0
    ends: set[Wire] = field(default_factory=set)


class ReactorTime:
    """A reactor's time, as streams want it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    @property
    def now(self) -> float:
        """Seconds."""
        return float(self._reactor.seconds())

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan `call`."""
        self._reactor.callLater(max(0.0, when - self.now), call, *arguments)

    def timer(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> _Timer:
        """Plan `call`, unless it is cancelled."""
        return _Timer(self._reactor.callLater(delay_s, call, *arguments))


class _Timer:
    """A delayed call that may be cancelled more than once, and too late."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        """It will not happen."""
        if self._call.active():
            self._call.cancel()


class Wire(Protocol):
    """One side of a relayed connection: the socket to `node`, which sends here.  `peer` is the socket to the other one."""

    transport: Any
    peer: Wire

    def __init__(self, relays: Relays, node: Front, line: Line, rng: Random) -> None:
        self.node = node
        self.stream = Stream(line, rng)
        self.is_open = True
        self.is_link: bool | None = None
        self._relays = relays
        self._waiting: list[bytes] | None = []
        self._pauses: set[str] = set()

    def connectionMade(self) -> None:
        """Somebody is there: the other side's bytes may come."""
        if not self.is_open:
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(_Pull(self.peer), True)
        waiting, self._waiting = self._waiting or [], None
        for piece in waiting:
            self.transport.write(piece)

    def dataReceived(self, data: bytes) -> None:
        if self.is_link is None:
            self.is_link = self.peer.is_link = data.startswith(_LINK)
            self._relays.begun(self)
        self.stream.send(self._relays, self, data)

    def write(self, piece: bytes) -> None:
        """Bytes of the peer, at the end of their way."""
        if not self.is_open:
            return
        if self._waiting is not None:
            self._waiting.append(piece)
        else:
            self.transport.write(piece)

    def pause(self, why: str) -> None:
        """Take no bytes for that reason."""
        self._pauses.add(why)
        if self.is_open and self.transport is not None:
            self.transport.pauseProducing()

    def resume(self, why: str) -> None:
        """That reason is no more."""
        self._pauses.discard(why)
        if self.is_open and self.transport is not None and not self._pauses:
            self.transport.resumeProducing()

    def abort(self) -> None:
        """Close this socket, whatever is still to be written."""
        if self.transport is not None:
            self.transport.abortConnection()
        self.connectionLost()

    def finish(self) -> None:
        """Close this socket once all is written."""
        if self.transport is None:
            self.connectionLost()
        elif self.is_open:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.is_open:
            self.is_open = False
            self.node.ends.discard(self)
            self._relays.closed(self)


class _Pull:
    """A full socket holds up who sends into it."""

    def __init__(self, source: Wire) -> None:
        self._source = source

    def pauseProducing(self) -> None:
        self._source.pause("full")

    def resumeProducing(self) -> None:
        self._source.resume("full")

    def stopProducing(self) -> None:
        """The socket is gone; `closed` hears of it."""


class _Accepting(Factory):
    """The listening side of one front."""

    noisy = False

    def __init__(self, relays: Relays, front: Front) -> None:
        self._relays = relays
        self._front = front

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self._relays.accepted(self._front, addr)


class _Dialling(Factory):
    """Gives the one protocol of one connection to a servent."""

    noisy = False

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._wire


class Relays:
    """All fronts and what passes through them; a stream.Carrier.  `order_*` are the orders of relay.py."""

    def __init__(self, reactor: Any, seed: int = 1) -> None:
        self.clock = ReactorTime(reactor)
        self._reactor = reactor
        self._rng = Random(seed)
        self._fronts: dict[str, Front] = {}
        self._lines: dict[frozenset[str], Line] = {}
        self._other_line = Line(0.0)
        self._is_parted = False
        self._outside = Front("")
        #: Faults that wait for a transfer: (from, to) -> them.
        self._faults: dict[tuple[str, str], list[Fault]] = {}

    # -- orders --------------------------------------------------------------------------------------------------------

    def order_front(self, name: str, port: int) -> int:
        """Listen for that node."""
        front = self._fronts.setdefault(name, Front(name))
        try:
            front.port = self._reactor.listenTCP(port, _Accepting(self, front), BACKLOG, HOST)
        except CannotListenError:
            return 0
        front.number = int(front.port.getHost().port)
        return front.number

    def order_behind(self, name: str, port: int, process: int) -> bool:
        """Its servent listens there."""
        front = self._fronts[name]
        front.behind, front.process = port, process
        return True

    def order_shut(self, name: str, gateway: str | None) -> bool:
        """Let nobody in, but those behind the same gateway."""
        self._fronts[name].is_shut, self._fronts[name].gateway = True, gateway
        return True

    def order_open(self, name: str) -> bool:
        """Let everybody in."""
        self._fronts[name].is_shut = False
        return True

    def order_line(self, one: str | None, other: str | None, line: dict[str, Any]) -> bool:
        """What connections are like from now on."""
        made = Line(**line)
        if one is None or other is None:
            self._other_line = made
        else:
            self._lines[frozenset((one, other))] = made
        return True

    def order_part(self, groups: dict[str, int]) -> bool:
        """Connections that span groups hold their bytes."""
        self._is_parted = True
        for front in self._fronts.values():
            front.group = groups.get(front.name, 0)
        for wire in self._wires():
            if wire.node.group != wire.peer.node.group:
                wire.stream.hold(self, wire, PATIENCE_S)
        return True

    def order_heal(self) -> bool:
        """All hear each other."""
        self._is_parted = False
        for wire in self._wires():
            for side in (wire, wire.peer):
                if side.stream.held is not None and side.peer.is_open:
                    side.stream.release(self, side)
        return True

    def order_fault(self, sender: str, receiver: str, kind: FaultKind, at_byte: int, seconds: float, on: str) -> int:
        """Strike what is open; for a transfer, else the next one."""
        struck = [
            wire
            for wire in self._fronts[sender].ends
            if wire.peer.node.name == receiver and wire.is_link is (on == "link")
        ]
        for wire in struck:
            wire.stream.add(Fault(kind, wire.stream.offset + at_byte, seconds))
        if not struck and on != "link":
            self._faults.setdefault((sender, receiver), []).append(Fault(kind, at_byte, seconds))
        return len(struck)

    def order_vanish(self, name: str) -> int:
        """Peers of that node are not told."""
        vanished = list(self._fronts[name].ends)
        for wire in vanished:
            wire.is_open = False
            wire.node.ends.discard(wire)
            wire.stream.forget()
            if wire.transport is not None:
                wire.transport.abortConnection()
            if wire.peer.is_open:
                wire.peer.stream.hold(self, wire.peer, DEAF_S)
        return len(vanished)

    # -- connections ---------------------------------------------------------------------------------------------------

    def accepted(self, front: Front, addr: Any) -> Protocol | None:
        """A caller has come; None hangs up at once."""
        by_process = {known.process: known for known in self._fronts.values() if known.process}
        owner = owner_of(addr.host, addr.port, front.number, by_process)
        caller = by_process.get(owner, self._outside) if owner is not None else self._outside
        if not front.behind or not self._may_call(caller, front):
            return None
        line = self._lines.get(frozenset((caller.name, front.name)), self._other_line)
        near, far = (Wire(self, node, line, Random(self._rng.random())) for node in (caller, front))
        near.peer, far.peer = far, near
        for wire in (near, far):
            wire.node.ends.add(wire)
        endpoint = TCP4ClientEndpoint(self._reactor, HOST, front.behind)
        endpoint.connect(_Dialling(far)).addErrback(lambda _: far.connectionLost())
        return near

    def _may_call(self, caller: Front, front: Front) -> bool:
        if self._is_parted and caller.group != front.group:
            return False
        return not front.is_shut or (front.gateway is not None and caller.gateway == front.gateway)

    def _wires(self) -> list[Wire]:
        return [wire for front in (*self._fronts.values(), self._outside) for wire in front.ends]

    def begun(self, wire: Wire) -> None:
        """The first bytes told what a connection is."""
        if wire.is_link:
            return
        for side in (wire, wire.peer):
            for fault in self._faults.pop((side.node.name, side.peer.node.name), []):
                side.stream.add(fault)

    def closed(self, wire: Wire) -> None:
        """A socket is gone: the other goes too, after what is still on the way to it."""
        if wire.peer.is_open and wire.stream.held is None:
            self.clock.at(self._end_of(wire), wire.peer.finish)

    def _end_of(self, wire: Wire) -> float:
        return max(self.clock.now + wire.stream.line.latency_s, wire.stream.last_arrival)

    # -- what streams ask ----------------------------------------------------------------------------------------------

    def deliver(self, end: Wire, data: bytes) -> None:
        """Bytes are through."""
        end.write(data)

    def broken(self, end: Wire) -> None:
        """The connection is gone for both."""
        for side in (end, end.peer):
            side.abort()

    def block(self, end: Wire) -> None:
        """Too much is on the way."""
        end.pause("line")

    def unblock(self, end: Wire) -> None:
        """There is room again."""
        end.resume("line")

    def struck(self, end: Wire, kind: str, at_byte: int) -> None:
        """Nothing is recorded of a live run."""

    def drained(self, end: Wire) -> None:
        """What came before the end is on its way."""
        self.clock.at(self._end_of(end), end.peer.finish)
