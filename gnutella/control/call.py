"""One running command: its values, where its rows go, and how it waits.

A face (console, HTTP) makes a Call for each invocation, awaits `command.run(call)` and then writes the end of the reply.  A
command waits only through `pause` and `room`, so it can be interrupted, and it never gets ahead of a slow reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gnutella.control.table import Command, Role
from gnutella.control.view import NodeView, Row
from gnutella.units import Guid


@dataclass
class Memory:
    """What a session remembers for row numbers: its newest hit list, and the last listing of each command."""

    hits: Guid | None = None
    #: Whether the newest search was one of the relay layer.
    is_anonymous: bool = False
    listings: dict[str, list[Row]] = field(default_factory=dict)


class Call:
    """What `Command.run` gets.

    `end` becomes the closing line of a machine reply.  `clock` is the reactor (or a test clock).
    """

    def __init__(
        self,
        node: NodeView,
        clock: IReactorTime,
        command: Command,
        values: Mapping[str, object],
        emit: Callable[[Row], None],
        *,
        memory: Memory | None = None,
        role: Role = Role.ADMIN,
        room: Callable[[], Deferred[None]] | None = None,
    ) -> None:
        self.node = node
        self.clock = clock
        self.command = command
        self.values = values
        self.memory = memory or Memory()
        self.role = role
        self.end: dict[str, object] = {}
        self.rows = 0
        self.interrupted = False
        self._emit = emit
        self._room = room
        self._awake: Deferred[None] | None = None

    def text(self, name: str) -> str:
        """The value of a text-like parameter, "" when it was left out."""
        value = self.values.get(name)
        return "" if value is None else str(value)

    def number(self, name: str, default: int = 0) -> int:
        """The value of a number parameter."""
        value = self.values.get(name)
        return value if isinstance(value, int) else default

    def seconds(self, name: str) -> float | None:
        """The value of a parameter in seconds, None when it was left out."""
        value = self.values.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def has(self, name: str) -> bool:
        """Whether a parameter was given, or has a default."""
        return self.values.get(name) is not None

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return self.values.get(name) is True

    def several(self, name: str) -> tuple[str, ...]:
        """The values of a parameter that takes several."""
        value = self.values.get(name)
        return tuple(value) if isinstance(value, (tuple, list)) else ()

    def row(self, row: Row) -> None:
        """Send one row.  What the caller's buffer cannot take is the face's business; see `room`."""
        self.rows += 1
        self._emit(self.command.complete(row))

    def listing(self, rows: list[Row]) -> None:
        """Remember `rows` as this command's last listing, for row numbers."""
        self.memory.listings[self.command.name] = rows

    async def room(self) -> None:
        """Wait until the reader has taken most of what was sent; long listings call this now and then."""
        if self._room is not None and not self.interrupted:
            await self._room()

    async def pause(self, seconds: float | None) -> None:
        """Wait until `seconds` have passed (None: for ever), or `wake` or `interrupt` is called; at once if interrupted."""
        if self.interrupted or (seconds is not None and seconds <= 0):
            return
        self._awake = Deferred()
        timer: Any = None if seconds is None else self.clock.callLater(seconds, self.wake)
        try:
            await self._awake
        finally:
            self._awake = None
            if timer is not None and timer.active():
                timer.cancel()

    def wake(self) -> None:
        """End the current `pause`, if there is one."""
        waiting, self._awake = self._awake, None
        if waiting is not None:
            waiting.callback(None)

    def interrupt(self) -> None:
        """The person wants no more: the command ends soon, with what it has."""
        self.interrupted = True
        self.wake()
