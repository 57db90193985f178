"""Who may be linked to us: slots, duplicates, ourselves, roles, and hosts that knock too often (protocol digest 1.5 to 1.7).

Asked once a handshake, with what the peer said of itself; an answer is a refusal that names its reason, or None.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gnutella.network.gate import Gate
from gnutella.networks import host_key, is_loopback
from gnutella.protocol.handshake import Peer, Refusal
from gnutella.reasons import DropReason
from gnutella.settings import NetworkSettings
from gnutella.units import Address, Guid

#: Handshakes of one host in a window.  gtk-gnutella bans after 2 a minute; several of our nodes may share an address, and a
#: handshake costs us little, so we are more patient.
MAX_HANDSHAKES = 10
WINDOW_S = 60.0
#: Ultrapeers that a leaf keeps, and takes at most (gtk-gnutella; digest 6.2).
LEAF_LINKS, MAX_LEAF_LINKS = 4, 5
#: Hosts counted in a window; more than that in a minute is no crowd that one could sort by host.
MAX_HOSTS_COUNTED = 4096


class Linked(Protocol):
    """What is asked of a link that is open, or accepted and about to open."""

    @property
    def host(self) -> str: ...
    @property
    def is_leaf(self) -> bool: ...
    @property
    def servent_id(self) -> Guid | None: ...
    @property
    def reached_at(self) -> Address | None: ...


class Admission:
    """The rules.  Open links count as duplicates; those that are accepted and about to open take slots as well."""

    def __init__(self, settings: NetworkSettings, servent_id: Guid, gate: Gate | None = None) -> None:
        self._settings = settings
        self._gate = gate or Gate()
        self._servent_id = servent_id
        #: Our role; `auto` means an ultrapeer until somebody decides.
        self.is_leaf = settings.role == "leaf"
        self._window_ends = 0.0
        self._handshakes: dict[str, int] = {}

    def use_settings(self, settings: NetworkSettings) -> None:
        """Judge by other limits from now on; open links stay."""
        self._settings = settings

    @property
    def wanted_links(self) -> int:
        """Links that are kept open by dialling hosts of the host cache."""
        wanted = self._settings.want_links
        return min(LEAF_LINKS, wanted) if self.is_leaf else wanted

    def outgoing(
        self, host: str, peer: Peer, open_links: Iterable[Linked], slots_taken: Iterable[Linked]
    ) -> Refusal | None:
        """A peer at `host` that we dialled says what it is."""
        refusal = self.either_way(host, peer, open_links)
        is_leaf = peer.is_ultrapeer is False
        if refusal is None and not self.has_slot(is_leaf=is_leaf, links=slots_taken):
            return Refusal(503, "No slot is free any more", DropReason.SLOTS_FULL)
        return refusal

    def incoming(
        self, host: str, peer: Peer, open_links: Iterable[Linked], slots_taken: Iterable[Linked], now: float
    ) -> Refusal | None:
        """A peer at `host` wants a link."""
        if self._knocks_too_often(host, now):
            return Refusal(429, "Too many connections from your address", DropReason.TOO_MANY_HANDSHAKES)
        refusal = self.either_way(host, peer, open_links)
        return refusal or self._no_slot(host, peer.is_ultrapeer is False, list(slots_taken))

    def either_way(self, host: str, peer: Peer, open_links: Iterable[Linked]) -> Refusal | None:
        """What speaks against a link whoever dialled."""
        if peer.servent_id == self._servent_id:
            return Refusal(409, "Connected to self", DropReason.SELF_LINK)
        if peer.is_ultrapeer is not True and self.is_leaf:
            return Refusal(503, "Shielded leaf node", DropReason.LEAF_TO_LEAF)
        listens_at = Address(host, peer.listen.port) if peer.listen is not None else None
        for link in open_links:
            known = link.servent_id
            if known is not None and known == peer.servent_id:
                return Refusal(409, "Already connected", DropReason.ALREADY_LINKED)
            # Without ids on both sides, the place where the peer listens has to tell.
            if (known is None or peer.servent_id is None) and listens_at is not None and link.reached_at == listens_at:
                return Refusal(409, "Already connected", DropReason.ALREADY_LINKED)
        return None

    def has_slot(self, *, is_leaf: bool, links: Iterable[Linked]) -> bool:
        """Whether one more link of that kind has room."""
        limit = self._settings.max_leaves if is_leaf else self._settings.max_links
        if self.is_leaf:
            limit = 0 if is_leaf else min(MAX_LEAF_LINKS, limit)
        return sum(link.is_leaf is is_leaf for link in links) < limit

    def _no_slot(self, host: str, is_leaf: bool, links: list[Linked]) -> Refusal | None:
        if not self.has_slot(is_leaf=is_leaf, links=links):
            return Refusal(503, f"Too many {'leaf' if is_leaf else 'ultra'} connections", DropReason.SLOTS_FULL)
        per_host, key = self._settings.max_links_per_host, host_key(host)
        if not is_loopback(host) and sum(host_key(link.host) == key for link in links) >= per_host:
            return Refusal(503, "Too many connections from your address", DropReason.SLOTS_FULL)
        limit = self._settings.max_leaves if is_leaf else self._settings.max_links
        rivals = (link.host for link in links if link.is_leaf is is_leaf)
        if self._gate.shares.crowded(host, rivals, limit, per_host) is not None:
            return Refusal(503, "Too many connections from your network", DropReason.NETWORK_FULL)
        return None

    def _knocks_too_often(self, host: str, now: float) -> bool:
        if is_loopback(host):
            return False
        host = host_key(host)
        if now >= self._window_ends:
            self._window_ends = now + WINDOW_S
            self._handshakes.clear()
        count = self._handshakes.get(host, 0) + 1
        if count > 1 or len(self._handshakes) < MAX_HOSTS_COUNTED:
            self._handshakes[host] = count
        return count > MAX_HANDSHAKES
