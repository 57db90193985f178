"""What the router tells the node, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.protocol.message import Push, QueryHit
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid, LinkId


@dataclass(frozen=True, slots=True)
class HitReceived:
    """A query hit for a query of our own."""

    guid: Guid
    hit: QueryHit
    hops: int
    link: LinkId


@dataclass(frozen=True, slots=True)
class PushReceived:
    """A push addressed to us: dial `push.address` and send GIV."""

    push: Push
    link: LinkId


@dataclass(frozen=True, slots=True)
class HostLearned:
    """A plausible address from a pong, for the host cache; `is_ultrapeer` None where the pong does not tell."""

    address: Address
    files: int
    kbytes: int
    is_ultrapeer: bool | None
    daily_uptime_s: int | None
    free_leaf_slots: int | None = None


@dataclass(frozen=True, slots=True)
class ByeReceived:
    """The peer said Bye; the edge closes the link."""

    link: LinkId
    code: int
    text: str
    headers: str = ""


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """A message was dropped for a reason worth a warning (not for the everyday ones, which are only counted)."""

    link: LinkId
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectBackAsked:
    """A peer wants to know whether it can be reached there: connect, say nothing much, close; or send a ping of GUID `ping`."""

    address: Address
    ping: Guid | None


@dataclass(frozen=True, slots=True)
class ReachLearned:
    """Whether others reach us has turned out, or changed; None: not known."""

    tcp: bool | None
    udp: bool | None
