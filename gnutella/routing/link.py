"""What the router knows of one link: what its handshake said, and how it behaved since.

`LinkInfo` comes from the network edge and never changes; `Link` is the router's own note of it.  The misbehaviour that closes
a link is judged here, each rule with the source of its number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gnutella.protocol.frames import Frame
from gnutella.reasons import DropReason
from gnutella.routing.flow import SendQueue
from gnutella.units import Address, Guid, LinkId

#: More messages with a wrong TTL than this close the link; gtk-gnutella sends Bye 403 after 10 (digest 4.3 rule 4).
MAX_WRONG_TTLS = 10
#: A GUID that the same link sent before counts against it: beyond this many, and ...
MAX_REPEATS = 5
#: ... beyond this share of what it sent, it is closed (gtk-gnutella, Bye 401; digest 4.6).  The same GUID from another link
#: is what a flood in a mesh does, and counts against nobody.
MAX_REPEAT_SHARE = 0.015
#: Unreadable or unknown messages: this many, and ...
MAX_BAD = 20
#: ... this share of what the link sent, close it; our own numbers: a stream out of step has nearly all of them bad.
MAX_BAD_SHARE = 0.05
#: Messages of others that a leaf may pass on before it is closed (gtk-gnutella: none, Bye 414; we allow a few in flight when a
#: peer changes its role).
MAX_LEAF_RELAYED = 3

#: Beyond this TTL, hops or sum of both a message is not believed at all (gtk-gnutella; digest 4.3 rule 4).
HARD_MAX_TTL = 15
#: A leaf may send this many queries at once, and then one each LEAF_QUERY_S seconds (digest 12).
LEAF_QUERY_BURST = 10.0
LEAF_QUERY_S = 5.0

#: What a link may be closed for when it does it too often -> which reason closes it.
_UNREADABLE = frozenset(
    {
        DropReason.BAD_PING,
        DropReason.BAD_PONG,
        DropReason.BAD_QUERY,
        DropReason.BAD_HIT,
        DropReason.BAD_PUSH,
        DropReason.BAD_GGEP,
        DropReason.BAD_URN,
        DropReason.BAD_VENDOR,
        DropReason.BAD_ROUTE_TABLE,
        DropReason.UNKNOWN_KIND,
    }
)


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the handshake told of a link.

    `local_host` is our IP as that peer reaches it (the socket's own address, or the peer's Remote-IP); `max_ttl` what the peer
    said it accepts (X-Max-TTL); `listen` where it can be dialled; `vendor_messages` whether it announced Vendor-Message;
    `reads_tables` whether it wants our routing table; `is_deflated` whether what we send it is compressed.
    """

    host: str
    local_host: str
    is_leaf: bool = False
    is_ultrapeer: bool = True
    reads_ggep: bool = True
    reads_bye: bool = True
    max_ttl: int = 7
    incoming: bool = False
    listen: Address | None = None
    servent_id: Guid | None = None
    vendor_messages: bool = False
    reads_tables: bool = False
    is_deflated: bool = False
    #: X-Degree, or what gtk-gnutella takes for it where it is not said.
    degree: int = 8
    #: X-Dynamic-Querying, X-Ext-Probes: it drives queries, and passes one on that comes again with a higher TTL.
    is_dynamic: bool = False
    extends_probes: bool = False
    user_agent: str = ""


@dataclass(slots=True)
class Link:
    """One open link as the router sees it; times are those of the caller's clock."""

    id: LinkId
    info: LinkInfo
    opened_at: float
    #: The relay's fast path may be used: an unblocked link that is no leaf.
    is_plain: bool = False
    #: The router has forgotten it: closed by either side.
    is_closed: bool = False
    #: It told its routing table: a leaf gets matching queries only, a neighbour on the last hop.
    is_guided: bool = False
    #: A leaf that did not tell its table in time: it gets no queries.
    is_muted: bool = False
    #: The servent id by which it wants pushes to be passed on to it.
    proxied_id: Guid | None = None
    #: A leaf whose handshake told no servent id: the one that its hits had.
    shown_id: Guid | None = None
    #: Hops flow: it wants only queries of fewer hops than this; None: all of them.
    max_hops: int | None = None
    #: The latest version of hits by UDP that it does not want us to ask for in its stead (LIME/13).
    vetoes_oob: int = 0
    #: Links that get what this one floods, and those of them without a table; None after the set of links changed.
    targets: tuple[LinkId, ...] | None = None
    unguided: tuple[LinkId, ...] | None = None
    #: Start of a message whose rest has not come yet, and how many bytes it lacks at least; at most one message.
    tail: bytearray = field(default_factory=bytearray)
    lacks: int = 0
    rx_messages: int = 0
    rx_bytes: int = 0
    tx_messages: int = 0
    tx_bytes: int = 0
    dropped: int = 0
    wrong_ttls: int = 0
    repeats: int = 0
    bad: int = 0
    leaf_relayed: int = 0
    #: When bytes last came, when the next ping of ours is due, and how many alive pings were answered by silence.
    heard_at: float = 0.0
    next_ping_at: float = 0.0
    #: A link that is quiet is not asked again whether it lives before that.
    next_probe_at: float = 0.0
    silent_pings: int = 0
    #: When a ping of the peer's that asks for pongs was last answered.
    pongs_given_at: float = float("-inf")
    #: Queries that a leaf may still send, and when that was computed.
    query_tokens: float = LEAF_QUERY_BURST
    query_tokens_at: float = 0.0
    #: Set while the transport pushes back.
    blocked_since: float | None = None
    queue: SendQueue | None = None
    #: Reasons already told as MessageRefused.
    warned: set[DropReason] = field(default_factory=set)
    #: Vendor messages that the peer said it reads: (vendor, selector) -> the highest version, those known here only.
    vendor: dict[tuple[bytes, int], int] = field(default_factory=dict)

    @property
    def takes_floods(self) -> bool:
        """It neither pushes back nor wants fewer queries than others."""
        return self.blocked_since is None and self.max_hops is None

    def closing_reason(self, reason: DropReason) -> DropReason | None:
        """Note one dropped message; the reason to close the link for, if that was one too many."""
        self.dropped += 1
        if reason in (DropReason.TTL_ZERO, DropReason.TTL_TOO_HIGH):
            self.wrong_ttls += 1
            return DropReason.TOO_MANY_TTL if self.wrong_ttls > MAX_WRONG_TTLS else None
        if reason in _UNREADABLE:
            self.bad += 1
            too_many = self.bad > MAX_BAD and self.bad > MAX_BAD_SHARE * self.rx_messages
            return DropReason.TOO_MANY_BAD if too_many else None
        if reason is DropReason.LEAF_RELAYED:
            self.leaf_relayed += 1
            return reason if self.leaf_relayed > MAX_LEAF_RELAYED else None
        return None

    def reads_vendor(self, vendor: bytes, selector: int, version: int = 0) -> bool:
        """Whether the peer listed that vendor message, at this version or a later one, in its Messages Supported."""
        return self.vendor.get((vendor, selector), -1) >= version

    def repeats_itself(self) -> bool:
        """Note a GUID that this very link sent before; True when that is one too many."""
        self.repeats += 1
        return self.repeats > MAX_REPEATS and self.repeats > MAX_REPEAT_SHARE * self.rx_messages

    def may_query(self, now: float) -> bool:
        """Whether this leaf has a query to its credit; takes it."""
        earned = max(0.0, now - self.query_tokens_at) / LEAF_QUERY_S
        self.query_tokens = min(LEAF_QUERY_BURST, self.query_tokens + earned)
        self.query_tokens_at = now
        if self.query_tokens < 1.0:
            return False
        self.query_tokens -= 1.0
        return True

    def counters(self) -> dict[str, int]:
        """rx_messages, tx_messages, rx_bytes, tx_bytes, dropped, and hops_flow where it set one."""
        return {
            "rx_messages": self.rx_messages,
            "tx_messages": self.tx_messages,
            "rx_bytes": self.rx_bytes,
            "tx_bytes": self.tx_bytes,
            "dropped": self.dropped,
            **({} if self.max_hops is None else {"hops_flow": self.max_hops}),
        }


def wrong_ttl(frame: Frame) -> DropReason | None:
    """TTL_ZERO or TTL_TOO_HIGH for a message that no servent may send; None for a plausible one."""
    if frame.ttl == 0:
        return DropReason.TTL_ZERO
    return DropReason.TTL_TOO_HIGH if frame.ttl + frame.hops > HARD_MAX_TTL else None
