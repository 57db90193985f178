"""The hosts of `connect`: links that are to be open always, and when to dial them again after they failed.

Doubling waits, longer ones after a refusal: gtk-gnutella bans a host that shakes hands more than twice a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from gnutella.errors import UserError
from gnutella.reasons import DropReason
from gnutella.routing.hosts import HostCache
from gnutella.units import Address, LinkId, parse_address

#: How long a leaf is left alone that refused us, a leaf too: it may be an ultrapeer by then.  In an island that is soon; on the
#: public network gtk-gnutella bans who shakes hands twice a minute (digest 12).
LEAF_PAUSE_S = 2.0
PUBLIC_LEAF_PAUSE_S = 120.0
#: The same while we have an ultrapeer: nobody needs another one at once, and who knocks each few seconds is soon shut out.
LEAF_PAUSE_LINKED_S = 120.0

#: First wait after a connection that failed, and after a handshake that was refused or a link that broke early.
FIRST_WAIT_S = 2.0
FIRST_WAIT_REFUSED_S = 30.0
MAX_WAIT_S = 300.0
#: A link that lived this long was no failure: the waits begin anew.
GOOD_LIFE_S = 60.0
#: How long a host that refused us by these codes is left alone (digest 12: 30 min after 4xx, 5 min after 5xx).
BACK_OFF_4XX_S = 1800.0
BACK_OFF_5XX_S = 300.0
#: How long a host of the host cache is left alone whose link ended before GOOD_LIFE_S, and one that the user disconnected.
EARLY_END_PAUSE_S = 60.0
#: The same in an island, where links end early because roles change: the host is as good as it was.
ISLAND_PAUSE_S = 2.0
USER_PAUSE_S = 1800.0
#: Ends of links that say nothing against the host.
_HARMLESS = frozenset(
    (DropReason.SHUTDOWN, DropReason.ALREADY_LINKED, DropReason.ROLE_CHANGED, DropReason.PEER_CHANGED)
)
#: Codes of a Bye that mean that the peer's role changed (gtk-gnutella, and an older one; digest 3.8).
_ROLE_CODES = (203, 504)


#: How soon hosts are asked for by ping while too few are known to dial (our own number; a ping is answered once a second), then
#: after twice that, and so on up to a minute: gtk-gnutella's ultrapeers answer a leaf once a minute and throw the rest away.
ASK_AGAIN_S = 5.0
MAX_ASK_AGAIN_S = 60.0
#: And how long after a link was opened: its first ping asks as well, and a second one in the same second is dropped.
ASK_AFTER_OPENING_S = 1.5
#: Dials of the host cache begun in one tick.
MAX_DIALS_A_TICK = 4
#: Attempts at once for each link that a leaf wants which has none: a dead host takes 10 s to be known as one.  What is too many
#: is refused when it answers.
ATTEMPTS_OF_ORPHAN = 3


class Attempt(Protocol):
    """What is asked of a link that is open or being opened."""

    @property
    def is_leaf(self) -> bool: ...
    @property
    def is_accepted(self) -> bool: ...
    @property
    def dialled(self) -> Address | None: ...


def dials_due(wanted: int, links: Iterable[Attempt], *, we_are_leaf: bool) -> int:
    """How many hosts to dial now, so that there are `wanted` links beside those to leaves; `links` are all that there are."""
    links = [link for link in links if not link.is_leaf]
    accepted = sum(link.is_accepted for link in links)
    attempts = sum(link.dialled is not None and not link.is_accepted for link in links)
    lacking = (wanted - accepted) * (ATTEMPTS_OF_ORPHAN if we_are_leaf and not accepted else 1)
    return max(0, min(lacking - attempts, MAX_DIALS_A_TICK))


@dataclass(slots=True)
class _Target:
    address: Address
    due_at: float = 0.0
    failures: int = 0
    is_busy: bool = False


class Targets:
    """Which of them to dial now."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._targets = {address: _Target(address) for address in addresses}

    def __contains__(self, address: Address) -> bool:
        return address in self._targets

    def due(self, now: float) -> list[Address]:
        """Those to dial; each counts as busy until `failed` or `lost`."""
        due = [target for target in self._targets.values() if not target.is_busy and target.due_at <= now]
        for target in due:
            target.is_busy = True
        return [target.address for target in due]

    def failed(self, address: Address, now: float, *, is_refused: bool = False) -> None:
        """No connection, or the handshake was refused."""
        target = self._targets.get(address)
        if target is None:
            return
        first = FIRST_WAIT_REFUSED_S if is_refused else FIRST_WAIT_S
        target.is_busy = False
        target.due_at = now + min(MAX_WAIT_S, first * 2.0 ** min(target.failures, 16))
        target.failures += 1

    def postpone(self, address: Address, until: float) -> None:
        """It takes no such link just now, which is no failure."""
        target = self._targets.get(address)
        if target is not None:
            target.is_busy = False
            target.due_at = until

    def dialling(self, address: Address) -> None:
        """It is being dialled for another reason."""
        target = self._targets.get(address)
        if target is not None:
            target.is_busy = True

    def lost(self, address: Address | None, now: float, lived_s: float) -> None:
        """A link to it ended after `lived_s` seconds; None for one that was not dialled."""
        target = self._targets.get(address) if address is not None else None
        if address is None or target is None:
            return
        if lived_s >= GOOD_LIFE_S:
            target.failures = 0
        self.failed(address, now)

    def drop(self, address: Address) -> None:
        """Dial it no more: the user closed that link."""
        self._targets.pop(address, None)


def addresses_in(texts: Iterable[str]) -> list[Address]:
    """The addresses of the setting `network.connect`; UserError (78) for one that cannot be read."""
    try:
        return [parse_address(text) for text in texts]
    except ValueError as error:
        raise UserError(f"network.connect: {error}", "write host:port", os.EX_CONFIG) from None


class Asking:
    """When to ask the neighbours for hosts: soon when there is somebody new to ask, ever less often when it does not help."""

    def __init__(self) -> None:
        self._asked: frozenset[LinkId] = frozenset()
        self._asked_at = 0.0
        self._wait_s = 0.0

    def opened(self, now: float) -> None:
        """A link was opened: it is asked soon, though not at once."""
        self._asked_at, self._wait_s = now, ASK_AFTER_OPENING_S

    def is_due(self, now: float, links: Iterable[LinkId], *, is_lacking: bool) -> bool:
        """Whether to ask now; then it counts as done.  `links` are the open ones; `is_lacking`: there is nobody to dial."""
        if not is_lacking:
            return False
        asked = frozenset(links)
        if asked - self._asked:
            self._wait_s = min(self._wait_s, ASK_AGAIN_S)
        if now - self._asked_at < self._wait_s:
            return False
        self._asked, self._asked_at = asked, now
        self._wait_s = min(MAX_ASK_AGAIN_S, max(ASK_AGAIN_S, 2.0 * self._wait_s))
        return True


class Leaves:
    """Hosts that refused us, a leaf, because they are leaves: when they are dialled again."""

    def __init__(self, hosts: HostCache, pause_s: float = LEAF_PAUSE_S) -> None:
        self._hosts = hosts
        self._pause_s = pause_s
        self._resting: set[Address] = set()

    def refused(self, address: Address, now: float, *, is_alone: bool) -> float:
        """It is a leaf; until when it rests.  `is_alone`: we have no ultrapeer."""
        until = now + (self._pause_s if is_alone else max(self._pause_s, LEAF_PAUSE_LINKED_S))
        self._hosts.learn(address, now, is_ultrapeer=False)
        self._hosts.postpone(address, until)
        if not is_alone and address in self._hosts:
            self._resting.add(address)
        return until

    def ask_again(self, now: float) -> None:
        """Our last ultrapeer is gone, and theirs may have been the same: let them rest no longer."""
        for address in self._resting:
            self._hosts.recall(address, now)
        self._resting.clear()


def back_off(code: int) -> float | None:
    """Seconds after a refusal; None: the host cache's own back-off, as for a link that exists already."""
    if code == 409:
        return None
    return BACK_OFF_4XX_S if 400 <= code < 500 else BACK_OFF_5XX_S


def parted(code: int) -> DropReason:
    """Why a link ended, by the code of the peer's Bye."""
    return DropReason.PEER_CHANGED if code in _ROLE_CODES else DropReason.PEER_BYE


def rest_after(
    hosts: HostCache, address: Address, reason: DropReason, now: float, lived_s: float, *, is_public: bool
) -> None:
    """A link to that host ended after `lived_s` seconds: let it rest, if there is reason to."""
    pause_s = pause_after(reason, lived_s)
    if pause_s == EARLY_END_PAUSE_S and not is_public:
        hosts.postpone(address, now + ISLAND_PAUSE_S)
    elif pause_s:
        hosts.failed(address, now, pause_s)


def pause_after(reason: DropReason, lived_s: float) -> float:
    """Seconds for which the host of a link that ended is not dialled without being asked to; 0 for none."""
    if reason is DropReason.USER_CLOSED:
        return USER_PAUSE_S
    return EARLY_END_PAUSE_S if lived_s < GOOD_LIFE_S and reason not in _HARMLESS else 0.0


def advice_for(reason: DropReason) -> str:
    """What a person may try who dialled a host in vain; "" where there is nothing to say."""
    if reason is DropReason.DIAL_FAILED:
        return "is a servent running there?"
    if reason is DropReason.HANDSHAKE_REFUSED:
        return "try another servent"
    return ""
