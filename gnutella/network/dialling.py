"""Links that we open ourselves: to the hosts of `connect`, to the best of the host cache, and to whom somebody names.

Whom to dial when is decided by targets.py and the host cache; who waits for a link gets its row, or an error people can read.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnutella.errors import Refused, UserError
from gnutella.network.dial import Dialler
from gnutella.network.guard import Guard
from gnutella.network.link import PeerLink, Phase
from gnutella.network.outcomes import also
from gnutella.network.roster import ENDING, Roster
from gnutella.network.targets import LEAF_PAUSE_S, PUBLIC_LEAF_PAUSE_S, Leaves, Targets, advice_for, back_off, dials_due
from gnutella.protocol.handshake import HandshakeRefused
from gnutella.reasons import DropReason
from gnutella.routing.hosts import HostCache
from gnutella.units import Address

Row = dict[str, object]


class Owner(Protocol):
    """What dialling asks of the service of all links."""

    def new_link(self, address: Address) -> PeerLink: ...
    def link_failed(self, link: PeerLink, reason: DropReason, detail: str) -> None: ...
    def close(self, link: PeerLink, reason: DropReason, detail: str = "") -> None: ...
    def gone(self, link: PeerLink) -> None: ...
    def row(self, link: PeerLink) -> Row: ...
    def fault(self) -> None: ...


class Dialling:
    """Attempts under way, and who waits for them."""

    def __init__(
        self,
        owner: Owner,
        roster: Roster,
        hosts: HostCache,
        dialler: Dialler,
        targets: Targets,
        *,
        is_public: bool,
    ) -> None:
        self._leaves = Leaves(hosts, PUBLIC_LEAF_PAUSE_S if is_public else LEAF_PAUSE_S)
        self.targets = targets
        self._owner = owner
        self._roster = roster
        self._hosts = hosts
        self._dialler = dialler
        self._attempts: dict[PeerLink, Deferred[Any]] = {}
        self._waiting: dict[PeerLink, Deferred[Row]] = {}

    # -- what people ask for -------------------------------------------------------------------------------------------

    def known(self, address: Address) -> Deferred[Row] | None:
        """The outcome for a link that is open, or that somebody (a kept host, the LAN) is opening; None for neither."""
        for link in self._roster.leading_to(address):
            if link.id in self._roster.open:
                return defer.succeed(self._owner.row(link))
            if (first := self._waiting.get(link)) is not None:
                return also(first)
            if link.dialled is not None:
                self._waiting[link] = Deferred()
                return self._waiting[link]
        return None

    def connect(self, address: Address) -> Deferred[Row]:
        """Dial; the row of the link.  UserError (exit 69) says why there is none."""
        outcome: Deferred[Row] = Deferred(lambda _: self._owner.close(link, DropReason.USER_CLOSED))
        link = self.dial(address)
        if link in self._roster.all:
            self._waiting[link] = outcome
        else:
            outcome.errback(UserError(f"no link to {address}: {link.closed_for[1]}", "", os.EX_UNAVAILABLE))
        return outcome

    def opened(self, link: PeerLink, row: Row) -> None:
        """The link, or another one to the same servent, is open: tell who waits for it."""
        if (waiting := self._waiting.pop(link, None)) is not None:
            waiting.callback(row)

    def failed(self, link: PeerLink, reason: DropReason, detail: str) -> None:
        """No link came of it: tell who waits for it."""
        if (waiting := self._waiting.pop(link, None)) is not None:
            what = detail or reason.meaning
            waiting.errback(UserError(f"no link to {link.dialled}: {what}", advice_for(reason), os.EX_UNAVAILABLE))

    # -- dialling ------------------------------------------------------------------------------------------------------

    def dial(self, address: Address) -> PeerLink:
        """Begin to open a link."""
        self.targets.dialling(address)
        link = self._owner.new_link(address)
        self._roster.all.add(link)
        attempt = self._dialler.connect(address, Guard(link, self._owner.fault))
        self._attempts[link] = attempt
        attempt.addBoth(self._dialled, link)
        return link

    def dial_targets(self, now: float) -> None:
        """Dial the hosts of `connect` that are due."""
        reached = self._roster.reached()
        for address in self.targets.due(now):
            if address in reached:  # it dialled us
                self.targets.failed(address, now)
            else:
                self.dial(address)

    def dial_hosts(self, wanted: int, own: Collection[Address], now: float, *, is_leaf: bool) -> bool:
        """Fill up to `wanted` links that are not to leaves from the host cache; `own` are addresses of ourselves.

        True: there are too few hosts for that.
        """
        if not self._roster.summary()["ultrapeers"]:
            self._leaves.ask_again(now)
        links = [link for link in self._roster.all if link.phase not in ENDING]
        missing = dials_due(wanted, links, we_are_leaf=is_leaf)
        if not missing:
            return False
        known = self._roster.addresses().union(own)
        beside = [link.host for link in links if link.host]
        chosen = self._hosts.choose(missing, now, known, ultrapeers_first=True, beside=beside)
        for address in chosen:
            self.dial(address)
        return len(chosen) < missing

    def let_rest(
        self, address: Address, refused: HandshakeRefused | None, reason: DropReason, now: float, *, is_leaf: bool
    ) -> None:
        """A host gave us no link: when it is dialled again, if ever.  `is_leaf`: it refused as a leaf does, and so are we."""
        if reason is DropReason.SELF_LINK:
            self._hosts.forget(address)
            self.targets.drop(address)
        elif reason is DropReason.ROLE_CHANGED:  # we are another one since; what was told is not true any more
            self.targets.postpone(address, now)
        elif is_leaf:
            self.targets.postpone(address, self._leaves.refused(address, now, is_alone=not self._roster.open))
        else:
            self.targets.failed(address, now, is_refused=refused is not None)
            self._hosts.failed(address, now, back_off(refused.code) if refused is not None else None)

    def gone(self, link: PeerLink) -> None:
        """Its connection is gone, or will never be."""
        attempt = self._attempts.pop(link, None)
        if attempt is not None:
            attempt.cancel()

    def stop(self) -> None:
        """Give up all attempts."""
        for attempt in list(self._attempts.values()):
            attempt.cancel()

    def _dialled(self, result: object, link: PeerLink) -> None:
        self._attempts.pop(link, None)
        if not isinstance(result, Failure):
            if link.phase is Phase.CLOSED:  # given up meanwhile
                link.transport.abortConnection()
            return
        error = result.value
        detail = error.detail if isinstance(error, Refused) else type(error).__name__
        if link.phase is not Phase.CLOSED:
            link.phase = Phase.CLOSED
            self._owner.link_failed(link, DropReason.DIAL_FAILED, detail)
        self._owner.gone(link)
