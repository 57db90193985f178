"""A blocking client of the control socket, for the command line and for scripts in Python.  No reactor.

    with NodeClient("/srv/node/control.sock") as node:
        for row in node.rows("search alice --wait 3"):
            print(row["hit"], row["name"])
        print(node.end["guid"])

It speaks the console's machine mode; errors of a command arrive as UserError with the exit code of the product contract.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from gnutella.control.table import EXIT_OF, FAULT, GAVE_UP, NOT_PERMITTED, UNAVAILABLE
from gnutella.errors import UserError

#: Seconds to connect and to be greeted; the node is on this machine.
CONNECT_TIMEOUT_S = 10.0
#: Seconds of silence after which a command that does not wait by itself is given up.
SILENCE_S = 300.0
#: Longest reply line that is taken; a row with very many sources stays far below.
MAX_REPLY_LINE = 8 << 20


class NodeClient:
    """One connection to a node's control socket at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.end: dict[str, object] = {}
        self.is_open = False
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect and choose machine mode.  UserError: 69 nobody there, 77 not ours."""
        self._socket = connect(self.path)
        self.is_open = True
        try:
            self._send("mode machine")
            while not self._line(CONNECT_TIMEOUT_S).startswith("250 "):
                pass
        except UserError:
            self.close()
            raise

    def rows(self, line: str, silence_s: float | None = SILENCE_S) -> Iterator[dict[str, object]]:
        """Send one command line; its rows as they come.  `end` holds the closing object afterwards.

        `silence_s` None: wait for ever.  UserError as the node says, or 75 after too long a silence.
        """
        self.ask(line)
        yield from self.rest(silence_s)

    def ask(self, line: str) -> None:
        """Send one command line; `rest` has its rows.  So several nodes may work at the same time."""
        self._send(line)
        self.end = {}

    def rest(self, silence_s: float | None = SILENCE_S) -> Iterator[dict[str, object]]:
        """What is still to come of the reply after `ask`, or after an exception ended `rows`."""
        while True:
            reply = self._line(silence_s)
            status, mark, text = reply[:3], reply[3:4], reply[4:]
            if status == "250" and mark == "-":
                yield _object(text)
            elif status == "250":
                self.end = _object(text)
                return
            elif status.startswith("5"):
                message, _, hint = text.partition(" | ")
                raise UserError(message, hint, EXIT_OF.get(int(status) if status.isdigit() else 0, FAULT))

    def interrupt(self) -> None:
        """Ask the running command to end with what it has."""
        try:
            self._send("")
        except UserError:
            pass

    def close(self) -> None:
        """Hang up."""
        self.is_open = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _gone(self) -> UserError:
        self.is_open = False
        return UserError("the daemon closed the connection", "did it stop?  gnutella status", UNAVAILABLE)

    def _send(self, line: str) -> None:
        if self._socket is None:
            raise self._gone()
        try:
            self._socket.sendall(line.encode("utf-8", "replace") + b"\n")
        except OSError:
            raise self._gone() from None

    def _line(self, silence_s: float | None) -> str:
        if self._socket is None:
            raise self._gone()
        self._socket.settimeout(silence_s)
        while b"\n" not in self._buffer:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                hint = "is the node very busy?  gnutella doctor"
                raise UserError(f"the daemon said nothing for {silence_s:g} s", hint, GAVE_UP) from None
            except OSError:
                raise self._gone() from None
            if not data or len(self._buffer) > MAX_REPLY_LINE:
                raise self._gone()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")


def connect(path: str) -> socket.socket:
    """A connection to the socket at `path`.  UserError: 69 nobody there, 77 not ours."""
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(CONNECT_TIMEOUT_S)
    try:
        line.connect(path)
    except PermissionError:
        line.close()
        raise UserError(f"{path}: permission denied", "it belongs to another user", NOT_PERMITTED) from None
    except OSError as error:
        line.close()
        hint = f"start one: twistd -n gnutella --dir {path.removesuffix('/control.sock')}"
        why = error.strerror or str(error)
        raise UserError(f"no daemon is reachable at {path}: {why}", hint, UNAVAILABLE) from None
    return line


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError("the daemon's reply cannot be read", "is it of another version?", FAULT)
    return found
