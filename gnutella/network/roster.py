"""Which links there are: all of them from their first byte to their last, by number once they are open, by name for traces."""

from __future__ import annotations

from gnutella.network.link import PeerLink, Phase
from gnutella.units import Address, LinkId

#: Names of links that are kept for traces after the link is gone.
MAX_NAMES = 4096
#: Phases of links that are none any more, for all but their last bytes.
ENDING = (Phase.CLOSING, Phase.CLOSED)


class Roster:
    """The links of one node."""

    def __init__(self) -> None:
        #: Links by number, in order of opening.
        self.open: dict[LinkId, PeerLink] = {}
        #: Also those that are being dialled, shake hands, or say their last words.
        self.all: set[PeerLink] = set()
        self._names: dict[LinkId, str] = {}
        self._last_id = 0

    def opened(self, link: PeerLink) -> None:
        """Its handshake is over: give it a number."""
        self._last_id += 1
        link.id = LinkId(self._last_id)
        self.open[link.id] = link
        self._names[link.id] = str(link.address)
        if len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]

    def counted(self) -> list[PeerLink]:
        """Links that take a slot: open, or accepted and about to open."""
        return [link for link in self.all if link.is_accepted and link.phase not in ENDING]

    def opening(self) -> list[PeerLink]:
        """Links that are not open yet."""
        return [link for link in self.all if not link.id and link.phase not in ENDING]

    def twin(self, link: PeerLink) -> PeerLink | None:
        """Another open link to the same servent: both sides dialled at the same time."""
        if link.servent_id is None:
            return None
        return next((other for other in self.open.values() if other.servent_id == link.servent_id), None)

    def leading_to(self, address: Address) -> list[PeerLink]:
        """Links to whoever can be dialled at `address`, but for those that end."""
        return [link for link in self.all if address in (link.reached_at, link.dialled) and link.phase not in ENDING]

    def find(self, text: str) -> PeerLink | None:
        """The open link whose row of `peers` says `text`: its address, or its number."""
        for link in self.open.values():
            names = {str(link.address), str(Address(link.host, link.port)), str(link.dialled), str(link.id)}
            if text.strip() in names:
                return link
        return None

    def addresses(self) -> set[Address]:
        """Where the peers of all links can be dialled, as far as that is known."""
        return {address for link in self.all for address in (link.reached_at, link.dialled) if address is not None}

    def reached(self) -> set[Address | None]:
        """Where the peers of open links can be dialled."""
        return {link.reached_at for link in self.open.values()}

    def summary(self) -> dict[str, int]:
        """How many of each role are linked: ultrapeers, leaves, peers (all of them)."""
        roles = [None if link.peer is None else link.peer.is_ultrapeer for link in self.open.values()]
        return {"ultrapeers": roles.count(True), "leaves": roles.count(False), "peers": len(roles)}

    def local_host(self) -> str | None:
        """Our IP on the oldest open link, which is as good a guess as any; None without links."""
        return next((link.local_host for link in self.open.values()), None)

    def name(self, link: LinkId | None) -> str:
        """Address of a link, also of one that is gone (if not long); "" for this node itself."""
        return "" if link is None or link < 0 else self._names.get(link, f"link {link}")
