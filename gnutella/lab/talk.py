"""Whatever speaks on a virtual connection that is no established link: handshakes, transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gnutella.lab.end import End


class Talk(Protocol):
    """One side's part of a conversation."""

    def receive(self, end: End, data: bytes) -> None:
        """Bytes of the other side, cut anywhere."""

    def closed(self, end: End) -> None:
        """The connection is over; the last call."""
