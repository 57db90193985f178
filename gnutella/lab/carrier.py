"""What a stream (stream.py) needs of what carries it: the virtual network, or the relays between real servents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Cancellable(Protocol):
    """Something planned that may be called off."""

    def cancel(self) -> object:
        """It will not happen."""


class Time(Protocol):
    """Virtual time, or a reactor's."""

    @property
    def now(self) -> float:
        """Seconds from some start."""

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan `call` for a time that is not past."""

    def timer(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> Cancellable:
        """Plan `call` for `delay_s` from now, unless it is cancelled."""


class Named(Protocol):
    """A node, as far as a stream knows it."""

    @property
    def name(self) -> str:
        """In the scenario."""


class Side(Protocol):
    """One side of a connection."""

    @property
    def node(self) -> Named:
        """Who sends here."""

    @property
    def peer(self) -> Any:
        """The other side."""

    @property
    def is_open(self) -> bool:
        """Whether this side still has it."""


class Carrier(Protocol):
    """Takes what comes out of a stream, and is told when it takes no more."""

    @property
    def clock(self) -> Time:
        """Its time."""

    def deliver(self, end: Any, data: bytes) -> None:
        """Bytes reach the side `end`."""

    def broken(self, end: Any) -> None:
        """The connection is gone for both sides, with all that is on the way."""

    def block(self, end: Any) -> None:
        """The stream of this side takes no more."""

    def unblock(self, end: Any) -> None:
        """The stream of this side takes bytes again."""

    def struck(self, end: Any, kind: str, at_byte: int) -> None:
        """A fault struck what this side sends."""

    def drained(self, end: Any) -> None:
        """What a closed side had sent is on its way at last."""
