"""The telnet bytes of a console stream, taken out and answered (RFC 854, 855, 860).  Pure.

We negotiate nothing: every DO is answered WONT, every WILL with DONT, once for each option and kind.  Interrupt Process becomes
an interrupt, Abort Output and Break too; Are You There is answered.  A stream without telnet bytes passes unchanged, so raw
clients (nc, scripts) need not know.
"""

from __future__ import annotations

from typing import NamedTuple

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
IP, AO, AYT, BREAK, EOF, SUSP, ABORT = 244, 245, 246, 243, 236, 237, 238
#: Ctrl-C as a plain byte, which clients in character mode send.
ETX = 3
TIMING_MARK = 6
#: Subnegotiations are skipped; one that is longer than this is taken for garbage and ends there.
MAX_SUBNEGOTIATION = 512


class Heard(NamedTuple):
    """What a chunk held: the plain bytes, what to answer at once, and whether the person interrupts."""

    data: bytes
    answer: bytes
    interrupt: bool


class TelnetBytes:
    """Incremental; any cut of the stream gives the same plain bytes and answers."""

    def __init__(self) -> None:
        self._state = "data"
        self._verb = 0
        self._skipped = 0
        self._answered: set[tuple[int, int]] = set()

    def receive(self, chunk: bytes) -> Heard:
        """Take the telnet bytes out of the next bytes of the stream."""
        if self._state == "data" and IAC not in chunk and ETX not in chunk:
            return Heard(chunk, b"", False)
        data, answer, interrupt = bytearray(), bytearray(), False
        for byte in chunk:
            if self._state == "data":
                if byte == IAC:
                    self._state = "iac"
                elif byte == ETX:
                    interrupt = True
                else:
                    data.append(byte)
            elif self._state == "iac":
                interrupt = self._command(byte, data, answer) or interrupt
            elif self._state == "option":
                answer += self._refuse(byte)
                self._state = "data"
            else:
                self._skip(byte)
        return Heard(bytes(data), bytes(answer), interrupt)

    def _command(self, byte: int, data: bytearray, answer: bytearray) -> bool:
        self._state = "data"
        if byte == IAC:
            data.append(IAC)
        elif byte in (DO, DONT, WILL, WONT):
            self._state, self._verb = "option", byte
        elif byte == SB:
            self._state, self._skipped = "sub", 0
        elif byte == AYT:
            answer += b"\r\n[yes]\r\n"
        return byte in (IP, AO, BREAK, SUSP, ABORT)

    def _refuse(self, option: int) -> bytes:
        """WONT for DO, DONT for WILL.  Only a timing mark is answered each time: the client waits for that answer."""
        if self._verb not in (DO, WILL):
            return b""
        if (self._verb, option) in self._answered and option != TIMING_MARK:
            return b""
        self._answered.add((self._verb, option))
        return bytes((IAC, WONT if self._verb == DO else DONT, option))

    def _skip(self, byte: int) -> None:
        self._skipped += 1
        if self._state == "sub-iac":
            self._state = "data" if byte == SE else "sub"
        elif byte == IAC:
            self._state = "sub-iac"
        if self._skipped > MAX_SUBNEGOTIATION:
            self._state = "data"
