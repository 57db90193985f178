"""The relay program (relay.py) as a live run has it: orders given, answers read."""

from __future__ import annotations

from dataclasses import asdict

from gnutella.errors import UserError
from gnutella.lab.child import Child
from gnutella.lab.stream import Line


class Fronts(Child):
    """See the module text.  Leaving its context ends the relay, and with it all connections."""

    MODULE, CALLED = "gnutella.lab.relay", "relay of the live run"

    def open(self, name: str, port: int = 0) -> int:
        """A port that leads to that node."""
        found = int(self.order("front", name, port))
        if not found:
            raise UserError(f"port {port} for {name} is in use", "run it again", 69)
        return found

    def lead(self, name: str, port: int, process: int) -> None:
        """Its servent is up."""
        self.order("behind", name, port, process)

    def shut(self, name: str, *, gateway: str | None = None) -> None:
        """Nobody can connect to it any more, but those behind the same gateway."""
        self.order("shut", name, gateway)

    def unshut(self, name: str) -> None:
        """Everybody can."""
        self.order("open", name)

    def line(self, one: str | None, other: str | None, line: Line) -> None:
        """What connections between the two are like; None, None: between all others."""
        self.order("line", one, other, asdict(line))

    def part(self, groups: dict[str, int]) -> None:
        """A partition."""
        self.order("part", groups)

    def heal(self) -> None:
        """Its end."""
        self.order("heal")

    def fault(self, sender: str, receiver: str, kind: str, at_byte: int, seconds: float, on: str) -> int:
        """Strike what one sends to the other; how many connections there are."""
        return int(self.order("fault", sender, receiver, kind, at_byte, seconds, on))

    def vanish(self, name: str) -> None:
        """Its peers are not told that it is gone."""
        self.order("vanish", name)
