"""Push and GIV, both ways, without sockets.

A servent that cannot be dialled is asked through the overlay to call us: it connects and says `GIV <index>:<servent id>/...`.
`PendingPushes` remembers whom we asked, so that a call nobody asked for is refused; `PushLimits` says how often we let others
make us call somewhere, since a push names any address that its sender likes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gnutella.units import Address, Guid

T = TypeVar("T")

#: Pushes of ours that are waited for at one time.
MAX_PENDING = 256
#: Calls to one IP address: one a second, as LimeWire and gtk-gnutella allow.
CALLS_PER_HOST_S = 1.0
#: Calls at one time in total: a flood of pushes must not become a flood of connections.
MAX_CALLS = 16
#: Hosts whose last call is remembered.
MAX_HOSTS = 1024


@dataclass(frozen=True, slots=True)
class PendingPush(Generic[T]):
    """Somebody whose call is expected until `until`; `ticket` is the asker's."""

    servent_id: Guid
    until: float
    ticket: T


class PendingPushes(Generic[T]):
    """Calls that we asked for, by servent id; several downloads may wait for the same servent."""

    def __init__(self) -> None:
        self._waiting: list[PendingPush[T]] = []

    def expect(self, servent_id: Guid, until: float, ticket: T) -> bool:
        """Wait for a call; False when too many are waited for."""
        if len(self._waiting) >= MAX_PENDING:
            return False
        self._waiting.append(PendingPush(servent_id, until, ticket))
        return True

    def match(self, servent_id: Guid, now: float) -> T | None:
        """The longest waiting ticket for that servent, which is then no longer waited for; None: nobody asked."""
        for pending in self._waiting:
            if pending.servent_id == servent_id and pending.until >= now:
                self._waiting.remove(pending)
                return pending.ticket
        return None

    def expire(self, now: float) -> list[T]:
        """Tickets whose call did not come."""
        late = [pending for pending in self._waiting if pending.until < now]
        self._waiting = [pending for pending in self._waiting if pending.until >= now]
        return [pending.ticket for pending in late]

    def withdraw(self, ticket: T) -> None:
        """Wait no longer for that ticket."""
        self._waiting = [pending for pending in self._waiting if pending.ticket is not ticket]

    def discard(self, is_unwanted: Callable[[T], bool]) -> None:
        """Wait no longer for these tickets."""
        self._waiting = [pending for pending in self._waiting if not is_unwanted(pending.ticket)]

    def __len__(self) -> int:
        return len(self._waiting)


class PushLimits:
    """How often pushes of others make us call."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, float] = OrderedDict()
        self._calling = 0

    def begin(self, address: Address, now: float) -> bool:
        """Whether to call `address` now; if so, say `end` once the attempt is over."""
        last = self._last.get(address.host)
        if self._calling >= MAX_CALLS or (last is not None and now - last < CALLS_PER_HOST_S):
            return False
        self._last[address.host] = now
        self._last.move_to_end(address.host)
        if len(self._last) > MAX_HOSTS:
            self._last.popitem(last=False)
        self._calling += 1
        return True

    def end(self) -> None:
        """An attempt is over."""
        self._calling -= 1
