"""One console session: bytes in, effects out.  No I/O; the edge is gnutella.control.telnet.

Replies in machine mode (`mode machine`):

    250-{row}          one JSON object for each row        650 {event}   asynchronous, after `events on`
    250 {end}          the reply is complete               5xx what | hint   it failed; the last two digits tell the exit code

Commands are answered in the order in which they came.  A writer that closed its half still gets every reply, then the end.
Before the token (TCP only) nothing is answered but the wish for it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gnutella import __version__
from gnutella.control.commands import CONSOLE_COMMANDS
from gnutella.control.grammar import Invocation, parse, split
from gnutella.control.help import help_on, overview_lines
from gnutella.control.printers import Printer, event_line, printer_for
from gnutella.control.render import DEFAULT_WIDTH, printable
from gnutella.control.table import FAULT, NOT_PERMITTED, STATUS_OF, Role
from gnutella.control.telnet_bytes import TelnetBytes
from gnutella.control.token import token_in
from gnutella.control.view import Row
from gnutella.errors import UserError
from gnutella.reasons import DropReason

#: Longest line.  Terminals pass at most 4 KiB (N_TTY_BUF_SIZE); a magnet with many sources from a script is a few times that.
MAX_LINE = 16384
#: Bytes that wait while a command runs; the edge stops reading beyond it.
MAX_WAITING = 65536
#: Wrong tokens on one connection.
MAX_WRONG_TOKENS = 3
#: Bytes that mean nothing in a line and would only do harm in a query or a file name: all controls but the tab.
_CONTROLS = bytes(byte for byte in (*range(32), 127) if byte != 9)
PROMPT = b"gnutella> "
ASK_TOKEN = b"token: "

Mode = Literal["human", "machine"]


@dataclass(frozen=True, slots=True)
class Write:
    """Send bytes to the person or program."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Start this command; the session waits for `finish` or `fail`."""

    invocation: Invocation


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Interrupt the running command."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The token was right."""

    role: Role


@dataclass(frozen=True, slots=True)
class Follow:
    """Begin (or end) to hand every event to `event`."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Count a refusal."""

    reason: DropReason


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection once everything is written."""


Effect = Write | Run | Interrupt | Authenticated | Follow | Count | Hangup


class Console:
    """One session.  `role` None: `check` turns a token into a role, or None when it is wrong.

    `newline` ends our lines: CR LF as telnet wants it, a plain LF on the UNIX socket for the tools of this machine.
    """

    def __init__(
        self, role: Role | None, check: Callable[[str], Role | None] | None = None, newline: str = "\r\n"
    ) -> None:
        self._newline = newline
        self.role = role
        self.mode: Mode = "human"
        self.running: Invocation | None = None
        self.following = False
        self._check = check
        self._wrong = 0
        self._width = DEFAULT_WIDTH
        self._telnet = TelnetBytes()
        self._lines_waiting: deque[bytes] = deque()
        self._bytes_waiting = 0
        self._partial = b""
        self._after_cr = False
        self._ended = False
        self._closed = False
        self._printer: Printer | None = None
        self._rows = 0
        self._prompted = False

    # -- what the edge calls -------------------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """The greeting."""
        self._prompted = True
        hello = f"PyGnutella {__version__} console.".encode()
        if self.role is None:
            return [Write(hello + self._text(" `gnutella token` prints the token.") + ASK_TOKEN)]
        return [Write(hello + self._text(" `help` lists the commands.") + PROMPT)]

    def receive(self, chunk: bytes) -> list[Effect]:
        """The next bytes of the connection.  They are only understood here; `advance` answers them."""
        if self._closed or self._ended:
            return []
        heard = self._telnet.receive(chunk)
        effects: list[Effect] = [Write(heard.answer)] if heard.answer else []
        busy = self.running is not None
        data = self._unified(heard.data)
        only_enter = bool(data) and not data.strip(b"\n") and not self._lines_waiting and not self._partial
        if busy and (heard.interrupt or only_enter):
            effects.append(Interrupt())
            data = b"" if only_enter else data
        elif heard.interrupt and self.role is not None:
            self._partial = b""
            effects += self._prompt(self._text(""))
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._lines_waiting.extend(lines)
        self._bytes_waiting += sum(map(len, lines)) + len(lines)
        return effects

    def input_ended(self) -> None:
        """The other side closed its half: what it said is answered by `advance`, then comes Hangup."""
        self._ended = True
        if self._partial:
            self._lines_waiting.append(self._partial)
            self._partial = b""

    def advance(self) -> list[Effect]:
        """Answer the next line that waits; nothing while a command runs, or when no line waits.

        Call again until nothing comes, but not while the connection is full: one short line may have a long answer.
        """
        if self.running is not None or self._closed:
            return []
        while self._lines_waiting:
            line = self._lines_waiting.popleft()
            self._bytes_waiting -= len(line) + 1
            text = line.translate(None, _CONTROLS).decode("utf-8", "replace")
            effects = self._too_long() if len(line) > MAX_LINE else self._line(text)
            if effects:  # an empty line in machine mode has no answer
                return effects
        if len(self._partial) > MAX_LINE:
            return self._too_long()
        return self._hangup() if self._ended else []

    @property
    def wants_input(self) -> bool:
        """False while so much waits that reading should pause."""
        return self._bytes_waiting + len(self._partial) < MAX_WAITING

    def row(self, row: Row) -> bytes:
        """One row of the running command."""
        self._rows += 1
        if self.mode == "machine":
            return self._text("250-" + _json(row))
        return self._lines(self._printer.add(row)) if self._printer else b""

    def finish(self, end: Row) -> list[Effect]:
        """The running command is done; `end` becomes the last line in machine mode."""
        if self.mode == "machine":
            text = self._text("250 " + _json(end))
        else:
            text = self._lines(self._printer.end()) if self._printer else b""
        return self._over(text)

    def fail(self, error: UserError) -> list[Effect]:
        """The running command failed."""
        held = self._lines(self._printer.end()) if self._printer and self._rows else b""
        return self._over(held + self._error(error))

    def event(self, row: Row) -> bytes:
        """An asynchronous event."""
        if self.mode == "machine":
            return self._text("650 " + _json(row))
        line = self._text(f"* {printable(event_line(row))}")
        return self._text("") + line + PROMPT if self._prompted else line

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _unified(self, data: bytes) -> bytes:
        """Every line end (LF, CR LF, CR NUL, lone CR) as LF, wherever the stream was cut."""
        if self._after_cr and data[:1] in (b"\n", b"\0"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r\0", b"\n").replace(b"\r", b"\n")

    def _too_long(self) -> list[Effect]:
        error = UserError(f"a line of more than {MAX_LINE} bytes", "split it")
        return [Count(DropReason.LINE_TOO_LONG), Write(self._error(error)), *self._hangup()]

    def _line(self, line: str) -> list[Effect]:
        self._prompted = False
        if self.role is None:
            return self._token(line.strip())
        words = split(line)
        if not words:
            return self._prompt()
        try:
            invocation = parse(words, CONSOLE_COMMANDS)
            command = invocation.command
            if command.role > self.role:
                raise UserError(
                    f"{command.words} needs the role {command.role}, this token has {self.role}",
                    f"gnutella token --role {command.role}",
                    NOT_PERMITTED,
                )
            if command.place == "session":
                return self._session_command(invocation, words)
        except UserError as error:
            refused: list[Effect] = [Count(DropReason.FORBIDDEN)] if error.exit_code == NOT_PERMITTED else []
            return [*refused, Write(self._error(error)), *self._prompt()]
        self.running, self._rows = invocation, 0
        self._printer = printer_for(invocation, self._width) if self.mode == "human" else None
        return [Run(invocation)]

    def _token(self, given: str) -> list[Effect]:
        if not given:
            return [Write(ASK_TOKEN)]
        role = self._check(token_in(given)) if self._check else None
        if role is not None:
            self.role = role
            welcome = self._text(f"Welcome; role {role}. `help` lists the commands.")
            return [Authenticated(role), Write(welcome), *self._prompt()]
        self._wrong += 1
        effects: list[Effect] = [Count(DropReason.BAD_TOKEN)]
        if self._wrong >= MAX_WRONG_TOKENS:
            return [*effects, Write(self._text("error: wrong token, goodbye")), *self._hangup()]
        return [*effects, Write(self._text("error: wrong token (`gnutella token` prints it)") + ASK_TOKEN)]

    def _session_command(self, invocation: Invocation, words: list[str]) -> list[Effect]:
        name, values = invocation.command.name, invocation.values
        if name == "console.quit":
            return [Write(self._text("250 {}" if self.mode == "machine" else "bye")), *self._hangup()]
        if name == "console.mode":
            return self._set_mode(values)
        if name == "console.events":
            self.following = "on".startswith(words[1].lower())
            text = self._text("250 " + _json({"events": self.following})) if self.mode == "machine" else b""
            return [Follow(self.following), Write(text), *self._prompt()]
        return self._help(values)

    def _set_mode(self, values: Row) -> list[Effect]:
        width = values.get("width")
        self._width = width if isinstance(width, int) else self._width
        self.mode = "machine" if values.get("mode") == "machine" else "human"
        if self.mode == "human":
            return self._prompt()
        # The prompt that stands at the line's beginning would spoil the first status code for a program.
        return [Write(self._text("") + self._text("250 " + _json({"mode": "machine", "version": __version__})))]

    def _help(self, values: Row) -> list[Effect]:
        verb = values.get("verb")
        if verb and isinstance(verb, tuple):
            lines = help_on(list(verb), CONSOLE_COMMANDS, self._width)
        else:
            lines = overview_lines(CONSOLE_COMMANDS, self._width)
        if self.mode == "machine":
            text = self._lines(["250-" + _json({"text": line}) for line in lines] + ["250 {}"])
        else:
            text = self._lines(lines)
        return [Write(text), *self._prompt()]

    # -- replies -------------------------------------------------------------------------------------------------------

    def _over(self, text: bytes) -> list[Effect]:
        self.running = self._printer = None
        return [*([Write(text)] if text else []), *self._prompt()]

    def _prompt(self, before: bytes = b"") -> list[Effect]:
        if self.mode == "machine" or self._closed:
            return []
        self._prompted = True
        return [Write(before + PROMPT)]

    def _hangup(self) -> list[Effect]:
        self._closed = True
        self._lines_waiting.clear()
        self._partial = b""
        return [Hangup()]

    def _lines(self, lines: list[str]) -> bytes:
        return b"".join(map(self._text, lines))

    def _text(self, line: str) -> bytes:
        return (line + self._newline).encode("utf-8", "replace")

    def _error(self, error: UserError) -> bytes:
        message, hint = (printable(part.replace("\n", "; ")) for part in (error.message, error.hint))
        if self.mode == "human":
            text = f"error: {message}" + (f" ({hint})" if hint else "")
        else:
            text = f"{STATUS_OF.get(error.exit_code, STATUS_OF[FAULT])} {message}" + (f" | {hint}" if hint else "")
        return self._text(text)


def _json(row: Row) -> str:
    """One line; ASCII, so that nothing in it can act on a terminal."""
    return json.dumps(row, default=_unusual, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _unusual(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)
