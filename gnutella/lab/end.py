"""One side of a virtual link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.lab.stream import Line, Stream
from gnutella.protocol.frames import frames
from gnutella.routing.link import LinkInfo
from gnutella.units import LinkId

if TYPE_CHECKING:
    from gnutella.lab.node import LabNode
    from gnutella.lab.talk import Talk


@dataclass(eq=False, slots=True)
class End:
    """One side of a link: what its node sends arrives at `peer`.

    `sent` and `arrived` count whole messages that the router of this side sent and was given.
    """

    id: LinkId
    node: LabNode
    line: Line
    latency_s: float
    is_open: bool = True
    #: The router of this side knows the link and gets its bytes.
    is_ready: bool = False
    stream: Stream | None = None
    #: It is, or shall become, a link of the overlay, not a connection for a transfer; the other side dialled it.
    is_link: bool = False
    is_incoming: bool = False
    #: What the handshake told the router of the other side.
    info: LinkInfo | None = None
    #: While a handshake runs, or on a connection for a transfer, it gets the bytes, not the router.
    talk: Talk | None = None
    #: An incomplete message at this side.
    partial: bytes = b""
    #: GUIDs of the last pings that asked this side for pongs; of those some may have come too fast to count.
    asked_by: tuple[bytes, ...] = ()
    sent: int = 0
    arrived: int = 0
    #: Messages sent from here that reached a side that had closed.
    lost: int = 0
    #: Bytes on the way to this side may have been changed, or are not those of a servent.
    is_damaged: bool = False
    is_foreign: bool = False
    #: No link: a connection of a download.
    is_transfer: bool = False
    peer: End = None  # type: ignore[assignment]

    def join(self, other: End) -> None:
        """The two sides of one link."""
        self.peer, other.peer = other, self

    @property
    def host(self) -> str:
        """IP of the other side."""
        return self.peer.node.address.host

    @property
    def is_leaf(self) -> bool:
        """The other side said that it is a leaf."""
        return self.info is not None and self.info.is_leaf


def messages_in(data: bytes) -> int:
    """Whole messages of a chunk; none in a block of a handshake, which as a header would announce too much."""
    try:
        return sum(1 for _ in frames(data))
    except RemoteViolation:
        return 0
