"""Leaf or ultrapeer, while the node runs: gathers the facts, asks the policy, and has the links opened anew after a change.

What is decided, and why, is gnutella.superpeers.roles; here is what a handshake may change (a leaf that asks, an ultrapeer that
guides) and what is counted for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from gnutella.network.measures import demands_of
from gnutella.protocol.handshake import HandshakeRefused, Peer, Refusal
from gnutella.reasons import DropReason
from gnutella.routing.hosts import HostCache
from gnutella.settings import NetworkSettings
from gnutella.superpeers.facts import Facts, judge
from gnutella.superpeers.roles import Decision, RolePolicy, needs_ultrapeers
from gnutella.units import Address, Guid, LinkId

#: How long a refusal for want of a slot counts, and how many are kept (our own numbers).
FULL_LIFE_S = 60.0
MAX_FULL = 64


class Met(Protocol):
    """What is asked of a link, open or not."""

    @property
    def host(self) -> str: ...
    @property
    def incoming(self) -> bool: ...
    @property
    def dialled(self) -> Address | None: ...
    @property
    def peer(self) -> Peer | None: ...
    @property
    def we_are_leaf(self) -> bool: ...
    @property
    def began_at(self) -> float: ...


class Linked(Protocol):
    """What is asked of the roster of all links."""

    @property
    def open(self) -> Mapping[LinkId, Met]: ...
    def opening(self) -> Iterable[Met]: ...
    def summary(self) -> Mapping[str, int]: ...


class Owner(Protocol):
    """What a change of the role asks of the service of all links."""

    def turn(self, *, is_leaf: bool, reason: str) -> None: ...


class Roles:
    """One node's.  `measure` gives what is known but for links; this adds those."""

    def __init__(
        self,
        owner: Owner,
        roster: Linked,
        hosts: HostCache,
        servent_id: Guid,
        policy: RolePolicy,
        measure: Callable[[], Facts] = Facts,
    ) -> None:
        self.policy = policy
        self._owner = owner
        self._roster = roster
        self._hosts = hosts
        self._servent_id = servent_id
        self._measure = measure
        self._full: deque[float] = deque(maxlen=MAX_FULL)
        self._is_told = self.is_leaf

    @property
    def is_leaf(self) -> bool:
        return self.policy.role == "leaf"

    def use_settings(self, settings: NetworkSettings, now: float) -> None:
        """Another role is taken with the next tick."""
        self.policy.demands = demands_of(settings)
        self.policy.use_setting(settings.role, now)

    # -- what handshakes ask -------------------------------------------------------------------------------------------

    def needed(self, link: Met | None = None) -> bool | None:
        """X-Ultrapeer-Needed, as the peer of `link` is told; None: we say nothing.

        Of two without leaves only the one with the greater id asks the other one to become its leaf: both would obey.
        """
        if self.is_leaf:
            return None
        linked = self._roster.summary()
        needed = needs_ultrapeers(linked["ultrapeers"], linked["leaves"], self.policy.demands)
        other = None if link is None or link.peer is None else link.peer.servent_id
        if needed is False and not linked["leaves"] and other is not None and other > self._servent_id:
            return None
        return needed

    def met(self, link: Met, peer: Peer, now: float) -> Refusal | None:
        """A peer says what it is: a leaf that asks us, a leaf, may make an ultrapeer of us; None: go on."""
        if link.incoming:
            if self.is_leaf and peer.is_ultrapeer is False:
                self._follow(self.policy.knocked(self._facts(now, self._rival(link, peer)), now))
        elif link.we_are_leaf is not self.is_leaf and not (self.is_leaf and peer.ultrapeer_needed is False):
            return Refusal(503, "My role changed meanwhile", DropReason.ROLE_CHANGED)
        return None

    def become_leaf(self, now: float) -> bool:
        """An ultrapeer that we dialled says that it needs no other: whether we are its leaf from now on."""
        was_leaf = self.is_leaf
        if not self.policy.guided(self._facts(now), now):
            return False
        if not was_leaf:
            self._follow(self.policy.decision())
        return True

    def refused(self, link: Met, refusal: HandshakeRefused | None, now: float) -> bool:
        """A host that we dialled refused us; whether it was a leaf, which takes no leaf, as we told that we are."""
        peer = None if refusal is None else refusal.peer
        if refusal is None or peer is None:
            return False
        if peer.is_ultrapeer and refusal.code == DropReason.SLOTS_FULL.http:
            self._full.append(now)
        return peer.is_ultrapeer is False and link.we_are_leaf

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Decide anew; call it each second."""
        self._follow(self.policy.decide(self._facts(now), now))

    def status(self, now: float) -> dict[str, object]:
        """As `gnutella status` shows it."""
        decision = self.policy.decision()
        return {
            "role": decision.role,
            "role_setting": self.policy.setting,
            "role_reason": decision.reason,
            "role_since_s": round(now - decision.since, 1),
            "ultrapeer_needed": self.needed(),
            "role_facts": [finding.row() for finding in judge(self._facts(now), self.policy.demands)],
        }

    # -- inside --------------------------------------------------------------------------------------------------------

    def _follow(self, decision: Decision) -> None:
        if self._is_told is not (decision.role == "leaf"):
            self._is_told = decision.role == "leaf"
            self._owner.turn(is_leaf=self._is_told, reason=decision.reason)

    def _rival(self, link: Met, peer: Peer) -> Address | None:
        """Where the peer that dials us is being dialled by us, if the one of the two with the greater id is we."""
        if peer.listen is None or peer.servent_id is None or peer.servent_id > self._servent_id:
            return None
        return Address(link.host, peer.listen.port)

    def _facts(self, now: float, besides: Address | None = None) -> Facts:
        linked = self._roster.summary()
        said = [
            link.peer.ultrapeer_needed for link in self._roster.open.values() if link.peer and link.peer.is_ultrapeer
        ]
        while self._full and self._full[0] < now - FULL_LIFE_S:
            self._full.popleft()
        return replace(
            self._measure(),
            ultrapeers=linked["ultrapeers"],
            leaves=linked["leaves"],
            candidates=self._candidates(now, besides) if self.is_leaf and not linked["ultrapeers"] else 0,
            wanted_by=said.count(True),
            not_wanted_by=said.count(False),
            full=len(self._full),
        )

    def _candidates(self, now: float, besides: Address | None) -> int:
        """Ultrapeers known that may be dialled, and whoever is being dialled and may be one, but for `besides`.

        Who was a leaf when we last heard of it is none: in an island whose last ultrapeer is gone all dial each other at the
        same time, and somebody must say yes.  Nor is who has not answered for long.
        """
        dialled = {link.dialled: link.began_at for link in self._roster.opening() if link.dialled is not None}
        oldest = now - self.policy.demands.answer_s
        hopeful = {a for a, began_at in dialled.items() if began_at >= oldest and not self._hosts.is_leaf(a)}
        if besides is not None:
            hopeful.discard(besides)
        return len(hopeful) + self._hosts.ultrapeers(now, {*dialled, *([besides] if besides else ())})
