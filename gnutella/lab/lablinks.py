"""Links of a node of the lab as the servent's rules see them: what the network edge knows of each, but for sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from gnutella.lab.end import End
from gnutella.protocol.peer import Peer
from gnutella.units import Address, Guid, LinkId


@dataclass(eq=False, slots=True)
class LabLink:
    """One link, from the dial on.  `end` is None while nobody has answered; `peer` is what the other side said of itself."""

    local_host: str
    dialled: Address | None = None
    end: End | None = None
    peer: Peer | None = None
    is_accepted: bool = False
    #: What we told the other side that we are, and what we are to it since.
    we_are_leaf: bool = False
    began_at: float = 0.0
    opened_at: float = 0.0
    is_tls: bool = False

    @property
    def id(self) -> LinkId:
        return LinkId(0) if self.end is None else self.end.id

    @property
    def host(self) -> str:
        """IP of the other side."""
        if self.end is not None:
            return self.end.peer.node.address.host
        return "" if self.dialled is None else self.dialled.host

    @property
    def incoming(self) -> bool:
        return self.dialled is None

    @property
    def is_leaf(self) -> bool:
        return self.peer is not None and self.peer.is_ultrapeer is False

    @property
    def servent_id(self) -> Guid | None:
        return None if self.peer is None else self.peer.servent_id

    @property
    def reached_at(self) -> Address | None:
        """Where the other side can be dialled, as far as that is known."""
        if self.dialled is not None:
            return self.dialled
        if self.peer is not None and self.peer.listen is not None:
            return Address(self.host, self.peer.listen.port)
        return None


@dataclass(slots=True)
class LabRoster:
    """The links of one node, in the order in which they began."""

    #: Open links by number, and also those that are being opened.
    open: dict[LinkId, LabLink] = field(default_factory=dict)
    all: dict[LabLink, None] = field(default_factory=dict)

    def opening(self) -> list[LabLink]:
        """Links that are not open yet."""
        return [link for link in self.all if link.id not in self.open]

    def counted(self) -> list[LabLink]:
        """Links that take a slot: open, or accepted and about to open."""
        return [link for link in self.all if link.is_accepted]

    def twin(self, link: LabLink) -> LabLink | None:
        """Another open link to the same servent."""
        return next((other for other in self.open.values() if other.servent_id == link.servent_id), None)

    def addresses(self) -> set[Address]:
        """Where the other sides of all links can be dialled, as far as that is known."""
        return {address for link in self.all if (address := link.reached_at) is not None}

    def summary(self) -> dict[str, int]:
        """How many of each role are linked: ultrapeers, leaves, peers (all of them)."""
        roles = [None if link.peer is None else link.peer.is_ultrapeer for link in self.open.values()]
        return {"ultrapeers": roles.count(True), "leaves": roles.count(False), "peers": len(roles)}


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Where a node of the lab can be dialled; nowhere if it is behind a firewall."""

    addresses: list[Address]
