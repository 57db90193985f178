"""The relay program (relay.py) as a live run has it: orders given, answers read."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from types import TracebackType
from typing import Any

from gnutella.errors import UserError
from gnutella.lab.stream import Line

#: Seconds that the relay has to go when its input has ended.
END_S = 10.0


class Fronts:
    """See the module text.  Leaving its context ends the relay, and with it all connections."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Fronts:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gnutella.lab.relay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # it went before
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    @property
    def process(self) -> int:
        """Id of the relay; 0 before it runs."""
        return self._process.pid if self._process is not None else 0

    def open(self, name: str, port: int = 0) -> int:
        """A port that leads to that node."""
        found = int(self._order("front", name, port))
        if not found:
            raise UserError(f"port {port} for {name} is in use", "run it again", 69)
        return found

    def lead(self, name: str, port: int, process: int) -> None:
        """Its servent is up."""
        self._order("behind", name, port, process)

    def shut(self, name: str, *, gateway: str | None = None) -> None:
        """Nobody can connect to it any more, but those behind the same gateway."""
        self._order("shut", name, gateway)

    def unshut(self, name: str) -> None:
        """Everybody can."""
        self._order("open", name)

    def line(self, one: str | None, other: str | None, line: Line) -> None:
        """What connections between the two are like; None, None: between all others."""
        self._order("line", one, other, asdict(line))

    def part(self, groups: dict[str, int]) -> None:
        """A partition."""
        self._order("part", groups)

    def heal(self) -> None:
        """Its end."""
        self._order("heal")

    def fault(self, sender: str, receiver: str, kind: str, at_byte: int, seconds: float, on: str) -> int:
        """Strike what one sends to the other; how many connections there are."""
        return int(self._order("fault", sender, receiver, kind, at_byte, seconds, on))

    def vanish(self, name: str) -> None:
        """Its peers are not told that it is gone."""
        self._order("vanish", name)

    def _order(self, *order: object) -> Any:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise UserError("the relay of the live run has gone", "is the package installed whole?", 70)
        return json.loads(answer)
