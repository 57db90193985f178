"""Effects as values: what the router asks its edge to do.

The network edge executes them on transports, the lab in virtual time, a trace prints them.  An edge executes the actions of
one call in order.  They are structs of msgspec, which are made several times faster than dataclasses: the relay path makes one
for each chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from gnutella.reasons import DropReason
from gnutella.units import Address, Guid, LinkId


class Send(Struct, frozen=True):
    """Write `data` (one or more whole messages) to one link."""

    link: LinkId
    data: bytes


class Flood(Struct, frozen=True):
    """Write the same `data` (`count` whole messages) to each of `links`: one write a link, the bytes shared."""

    links: tuple[LinkId, ...]
    data: bytes
    count: int


class Close(Struct, frozen=True):
    """Close a link for `reason`; the edge sends a Bye with `reason.bye` first if that is not 0 and the peer reads Byes."""

    link: LinkId
    reason: DropReason
    detail: str = ""


class Emit(Struct, frozen=True):
    """Tell the node: an event of gnutella.routing.events."""

    event: object


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send `data` to `to` (host caches may be names) after `delay_s`; to lan.GROUP by multicast with TTL 1.

    An action of the UDP port; what happens on links brings it about as an event (Emit).
    """

    to: Address
    data: bytes
    delay_s: float = 0.0


Action = Send | Flood | Close | Emit


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One line of a query's life in this node; `link` is None for the node itself."""

    guid: Guid
    time: float
    step: str
    link: LinkId | None
    reason: str = ""
