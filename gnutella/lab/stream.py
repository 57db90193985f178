"""A link's byte stream where it is not perfect: slow, lossy, held up, cut, corrupted, broken; one direction of one link.

What the models mean.  `latency_s` is one way.  `bytes_s` is the line's rate: bytes queue behind each other, and a sender that
has more than `capacity` of them under way is pushed back, as a full socket buffer does.  `loss` is the chance of each segment
to be lost; a stream never loses bytes, so a lost segment arrives one retransmission time-out later (0.2 s, doubled each time,
as TCP does it), and after MAX_RETRANSMISSIONS the link breaks.  A held stream (partition, power failure of the other side)
keeps its bytes and sends them when released; held for longer than its patience, the link breaks.  Faults strike at any byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from gnutella.lab.carrier import Cancellable, Carrier, Side

#: Bytes under way at which the sender is pushed back: a socket buffer of 64 KiB, as Linux starts with.
CAPACITY = 65_536
#: A segment of a stream, for losses.
SEGMENT = 1460
#: First retransmission time-out (Linux' minimum), doubled with each loss in a row.
RETRANSMISSION_S = 0.2
#: Losses of one segment in a row after which the link breaks (the upper end of RFC 1122's R2).
MAX_RETRANSMISSIONS = 8
#: How much later the bytes after a cut arrive.
CUT_S = 0.001
#: A held stream breaks after this long: eight doubled time-outs and some more.
PATIENCE_S = 120.0

FaultKind = Literal["break", "stall", "corrupt", "cut"]


@dataclass(frozen=True, slots=True)
class Line:
    """What a link is like, in both directions; see the module text.  `bytes_s` 0 is without limit."""

    latency_s: float = 0.02
    jitter_s: float = 0.0
    bytes_s: float = 0.0
    loss: float = 0.0
    capacity: int = CAPACITY

    @property
    def is_plain(self) -> bool:
        """Nothing but a constant latency."""
        return not (self.jitter_s or self.bytes_s or self.loss)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to the byte number `at_byte` (from 0) of a stream.

    break: the link is gone before this byte.  stall: this byte and all after it wait `seconds`.  corrupt: one bit is turned
    over.  cut: the bytes from here on arrive in a later piece.
    """

    kind: FaultKind
    at_byte: int
    seconds: float = 1.0


@dataclass(eq=False, slots=True)
class Stream:
    """The sending side of an imperfect direction."""

    line: Line
    rng: Random
    faults: list[Fault] = field(default_factory=list)
    offset: int = 0
    free_at: float = 0.0
    last_arrival: float = 0.0
    in_flight: int = 0
    is_blocked: bool = False
    held: list[bytes] | None = None
    patience: Cancellable | None = None

    def send(self, net: Carrier, end: Side, data: bytes) -> None:
        """Put bytes in; they leave at `end.peer` as the line allows."""
        self.in_flight += len(data)
        for piece in self._struck(net, end, data):
            if self.held is not None:
                self.held.append(piece)
            else:
                self._plan(net, end, piece)
        if self.in_flight > self.line.capacity and not self.is_blocked and end.is_open:
            self.is_blocked = True
            net.block(end)

    def add(self, fault: Fault) -> None:
        """One more fault; its byte counts from the stream's first."""
        self.faults.append(fault)
        self.faults.sort(key=lambda fault: fault.at_byte)

    def hold(self, net: Carrier, end: Side, patience_s: float = PATIENCE_S) -> None:
        """Nothing gets through from now on."""
        if self.held is None:
            self.held = []
            self.patience = net.clock.timer(patience_s, net.broken, end)

    def release(self, net: Carrier, end: Side) -> None:
        """Bytes get through again: those that were held, one retransmission time-out late."""
        waiting = self.held or []
        self.forget()
        self.last_arrival = max(self.last_arrival, net.clock.now + RETRANSMISSION_S)
        for piece in waiting:
            self._plan(net, end, piece)
        if not end.is_open:
            net.drained(end)

    def forget(self) -> None:
        """What is held will never arrive."""
        self.held = None
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None

    def _plan(self, net: Carrier, end: Side, piece: bytes) -> None:
        line, now = self.line, net.clock.now
        self.free_at = max(now, self.free_at)
        if line.bytes_s:
            self.free_at += len(piece) / line.bytes_s
        delay = line.latency_s + (line.jitter_s * self.rng.random() if line.jitter_s else 0.0)
        if line.loss:
            tries = max(self._losses() for _ in range(0, len(piece), SEGMENT))
            if tries > MAX_RETRANSMISSIONS:
                net.clock.at(self.free_at + PATIENCE_S, net.broken, end)
                self.hold(net, end)
                return
            delay += RETRANSMISSION_S * (2**tries - 1)
        self.last_arrival = max(self.last_arrival, self.free_at + delay)
        net.clock.at(self.last_arrival, self.arrive, net, end, piece)

    def _losses(self) -> int:
        """How often one segment is lost in a row."""
        tries = 0
        while tries <= MAX_RETRANSMISSIONS and self.rng.random() < self.line.loss:
            tries += 1
        return tries

    def arrive(self, net: Carrier, end: Side, piece: bytes) -> None:
        """A piece reaches the other side."""
        self.in_flight -= len(piece)
        net.deliver(end.peer, piece)
        if self.is_blocked and self.in_flight * 2 <= self.line.capacity:
            self.is_blocked = False
            if end.is_open:
                net.unblock(end)

    def _struck(self, net: Carrier, end: Side, data: bytes) -> Iterator[bytes]:
        """The pieces of `data` between the faults that lie in it; each fault strikes when its piece is asked for."""
        start, self.offset = self.offset, self.offset + len(data)
        while self.faults and self.faults[0].at_byte < self.offset:
            fault = self.faults.pop(0)
            at = max(0, fault.at_byte - start)
            if at and fault.kind != "corrupt":
                yield data[:at]
                data, start, at = data[at:], start + at, 0
            data = self._strike(net, end, fault, data, at)
        yield data

    def _strike(self, net: Carrier, end: Side, fault: Fault, data: bytes, at: int) -> bytes:
        now = net.clock.now
        net.struck(end, fault.kind, fault.at_byte)
        if fault.kind == "corrupt":
            return data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :]
        arrival = max(self.last_arrival, now + self.line.latency_s)
        if fault.kind == "break":
            net.clock.at(arrival, net.broken, end)
            self.hold(net, end)
        else:
            self.last_arrival = arrival + (fault.seconds if fault.kind == "stall" else CUT_S)
        return data
