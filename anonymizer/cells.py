"""Cells: the only thing that goes over a link of the relay layer, in two sizes, with a header that no relay ever copies.

     0  u8   version 0xA1            8  u16  length of the body
     1  u8   command                10  u16  reserved
     2  u8   flags                  12  u32  reserved
     3  u8   reserved               16  body, then zeros up to 1,536 or 33,792 bytes
     4  u32  channel (0: the link)

All numbers are big-endian.  What is reserved is sent as zero, and a cell where it is not, or with a flag, size or channel
that its command does not have, breaks the protocol.  No counter of any kind is in the header, so nothing in it tells how far
the cell has come.  Commands are written in hexadecimal.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from anonymizer.reasons import Refusal, Violation
from gnutella.errors import LocalMisuse

VERSION = 0xA1
HEADER_SIZE = 16
#: A block of 32 KiB with its headers fits into a large cell; 22 small ones are as long as a large one.
SMALL_SIZE, LARGE_SIZE = 1_536, 33_792
SMALL_BODY, LARGE_BODY = SMALL_SIZE - HEADER_SIZE, LARGE_SIZE - HEADER_SIZE
#: Cells are written to TLS in pieces of at most this size, a third of a large cell, so that records have few lengths.
TLS_SLICE = 11_264
LARGE, LAST, SLOW = 1, 2, 4
MAX_CHANNEL = 2**32 - 1

_HEADER = struct.Struct(">BBBBIHHI")
_ZEROS = bytes(LARGE_BODY)


class Command(IntEnum):
    """What a cell is."""

    PAD = 0x00
    HELLO = 0x01
    PING = 0x02
    PONG = 0x03
    BYE = 0x04
    DESC = 0x05
    DESC_REQ = 0x06
    EDGE_REQ = 0x07
    EDGE_ACK = 0x08
    EDGE_DROP = 0x09
    OPEN = 0x10
    CELL = 0x11
    CLOSE = 0x12
    CREDIT = 0x13
    POST = 0x14
    FETCH = 0x20
    ACCEPTED = 0x21
    BLOCK = 0x22
    NOTFOUND = 0x23
    NOROUTE = 0x24
    REJECT = 0x25
    STORE = 0x26
    STORED = 0x27
    OFFER = 0x28
    TAKE = 0x29
    SEEK = 0x30


class Shape(NamedTuple):
    """What a command's cells may look like: flags beside LARGE, whether they may be large, whether they are of a circuit."""

    flags: int = 0
    large: bool = False
    has_channel: bool = False


#: The delay class is the flag SLOW and nothing else, where it is chosen (OPEN, POST) and where it is passed on (FETCH);
#: cells of a circuit have the class of their circuit.
SHAPES: dict[int, Shape] = dict.fromkeys(Command, Shape())
SHAPES |= {
    Command.DESC: Shape(flags=LAST, large=True),
    Command.OPEN: Shape(flags=SLOW, has_channel=True),
    Command.CELL: Shape(large=True, has_channel=True),
    Command.CLOSE: Shape(has_channel=True),
    Command.CREDIT: Shape(has_channel=True),
    Command.POST: Shape(flags=SLOW, large=True),
    Command.FETCH: Shape(flags=SLOW),
    Command.BLOCK: Shape(large=True),
    Command.STORE: Shape(large=True),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, without its fill.  `channel` is a number of this one link; 0 is the link itself."""

    command: Command
    body: bytes = b""
    channel: int = 0
    is_large: bool = False
    is_last: bool = False
    is_slow: bool = False

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return LARGE_SIZE if self.is_large else SMALL_SIZE

    @property
    def flags(self) -> int:
        return self.is_large * LARGE | self.is_last * LAST | self.is_slow * SLOW

    def encode(self) -> bytes:
        """The whole cell with its fill.  LocalMisuse if it breaks a rule that `decode` would refuse it for."""
        try:
            _check_shape(self.command, self.flags, self.channel)
        except Violation as violation:
            raise LocalMisuse(f"{self.command.name} cell: {violation}") from None
        room = self.size - HEADER_SIZE - len(self.body)
        if room < 0 or not 0 <= self.channel <= MAX_CHANNEL:
            raise LocalMisuse(f"{self.command.name} cell with {len(self.body)} bytes on channel {self.channel}")
        head = _HEADER.pack(VERSION, self.command, self.flags, 0, self.channel, len(self.body), 0, 0)
        return b"".join((head, self.body, _ZEROS[:room]))


def _head(data: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Size, command, flags, channel and length of body of the cell whose header is at `at`, all of which are checked."""
    version, command, flags, reserved8, channel, length, reserved16, reserved32 = _HEADER.unpack_from(data, at)
    if version != VERSION:
        raise Violation(Refusal.BAD_VERSION)
    if command not in SHAPES:
        raise Violation(Refusal.UNKNOWN_COMMAND, f"{command:#04x}")
    if reserved8 or reserved16 or reserved32 or flags & ~(LARGE | LAST | SLOW):
        raise Violation(Refusal.RESERVED_BITS)
    _check_shape(command, flags, channel)
    size = LARGE_SIZE if flags & LARGE else SMALL_SIZE
    if length > size - HEADER_SIZE:
        raise Violation(Refusal.BODY_TOO_LONG, f"{length} bytes")
    return size, command, flags, channel, length


def decode(data: bytes) -> Cell:
    """The one cell that `data` is, header and fill checked, its body not yet read."""
    if len(data) < HEADER_SIZE or (head := _head(data, 0))[0] != len(data):
        raise Violation(Refusal.WRONG_SIZE, f"{len(data)} bytes")
    return _cell(data, 0, *head)


def _cell(data: bytes, at: int, size: int, command: int, flags: int, channel: int, length: int) -> Cell:
    end = at + HEADER_SIZE + length
    if data[end : at + size] != _ZEROS[: size - HEADER_SIZE - length]:
        raise Violation(Refusal.FILL_NOT_ZERO)
    body = data[at + HEADER_SIZE : end]
    return Cell(Command(command), body, channel, bool(flags & LARGE), bool(flags & LAST), bool(flags & SLOW))


class Walker:
    """Cuts the stream of one link into cells; keeps at most one unfinished cell.

    After a Violation the link is of no use any more: every later call raises the same one.
    """

    __slots__ = ("_broken", "_needed", "_pieces", "pending")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        #: Bytes of an unfinished cell; always less than LARGE_SIZE.
        self.pending = 0
        #: So many are needed before there is more to say about it.
        self._needed = HEADER_SIZE
        self._broken: Violation | None = None

    def feed(self, data: bytes) -> Iterator[Cell]:
        """The cells that `data` completes, in order.  A bad header is refused as soon as it is here.

        Take all that comes before the next call.
        """
        if self._broken is not None:
            raise self._broken
        self._pieces.append(data)
        self.pending += len(data)
        if self.pending < self._needed:
            return
        stream = b"".join(self._pieces)
        at, self._needed = 0, HEADER_SIZE
        try:
            while len(stream) - at >= HEADER_SIZE:
                head = _head(stream, at)
                if at + head[0] > len(stream):
                    self._needed = head[0]
                    break
                cell = _cell(stream, at, *head)
                at += head[0]
                yield cell
        except Violation as violation:
            self._broken, at = violation, len(stream)
            raise
        finally:
            self._pieces = [stream[at:]]
            self.pending = len(stream) - at


def slices(data: bytes) -> Iterator[bytes]:
    """What is written to TLS, one piece at a time: see TLS_SLICE."""
    return (data[at : at + TLS_SLICE] for at in range(0, len(data), TLS_SLICE))


def _check_shape(command: int, flags: int, channel: int) -> None:
    shape = SHAPES[command]
    if flags & LARGE and not shape.large:
        raise Violation(Refusal.WRONG_SIZE, Command(command).name)
    if flags & ~LARGE & ~shape.flags:
        raise Violation(Refusal.WRONG_FLAGS, Command(command).name)
    if (channel != 0) is not shape.has_channel:
        raise Violation(Refusal.WRONG_CHANNEL, Command(command).name)
