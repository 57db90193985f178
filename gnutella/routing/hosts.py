"""The host cache: addresses where servents may be found, and how they have served so far (digest 5.4, 5.5).

Whom to dial is decided by success: hosts that worked, the last ones first; then those nobody tried, ultrapeers and the
long-lived first; then those that failed, once their back-off is over.  Bounded; the worst go when it is full.

Nobody shall decide whom we meet: a network of the Internet (/16, IPv6 /32) has a bounded part of the cache, and those that are
chosen together, or beside those that are linked, come from different ones as long as there are others (an eclipse attack
needs all links of a node).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gnutella.networks import Shares, is_public, wide
from gnutella.units import Address

#: Hosts kept (our own number; a row is about 300 bytes).
MAX_HOSTS = 2000
#: Hosts of one network of the Internet, in percent of all: an eclipse would need twenty networks.
MAX_NETWORK_PERCENT = 5
#: When it is full, this many of the worst go at once, so that not every new host costs a sort.
_EVICTED_AT_ONCE = 100
#: The first failure keeps a host out for this long, each further one twice as long ...
FIRST_BACK_OFF_S = 60.0
#: ... up to 30 minutes (gtk-gnutella; digest 5.5).
MAX_BACK_OFF_S = 1800.0
#: Of a back-off that is kept over a restart, no more than this counts from the time when the host was last heard of: a day.
MAX_KEPT_BACK_OFF_S = 86400.0
#: A host that failed this often in a row without ever having worked is forgotten ...
MAX_FAILURES = 6
#: ... and not taken up again for so long, whoever tells of it (gtk-gnutella keeps bad hosts out for 30 min; digest 5.5).
DEAD_S = 1800.0
#: Order of hosts by whether they have slots for leaves.
_ROOM = {True: 0, None: 1, False: 2}
#: Dead hosts remembered; the first ones go when there are more.
MAX_DEAD = 1000


class HostRow(NamedTuple):
    """One host as it is stored; times are in seconds of the caller's clock, 0 meaning never."""

    host: str
    port: int
    last_seen: float
    last_ok: float
    failures: int
    is_ultrapeer: bool
    daily_uptime: int | None
    not_before: float = 0.0


@dataclass(slots=True)
class _Host:
    address: Address
    last_seen: float
    last_ok: float = 0.0
    failures: int = 0
    is_ultrapeer: bool | None = None
    daily_uptime_s: int | None = None
    not_before: float = 0.0
    has_room: bool | None = None

    def rank(self) -> tuple[int, float, bool, int, float]:
        """Larger is better."""
        standing = 1 if not self.failures else -min(self.failures, MAX_FAILURES)
        worked = self.last_ok if not self.failures else 0.0
        return standing, worked, bool(self.is_ultrapeer), self.daily_uptime_s or 0, self.last_seen

    def row(self) -> HostRow:
        return HostRow(
            *self.address,
            self.last_seen,
            self.last_ok,
            self.failures,
            bool(self.is_ultrapeer),
            self.daily_uptime_s,
            self.not_before,
        )


class HostCache:
    """Learns addresses and gives the most promising ones."""

    def __init__(self, max_hosts: int = MAX_HOSTS) -> None:
        self._hosts: dict[Address, _Host] = {}
        self._dead: dict[Address, float] = {}
        self._max_hosts = max_hosts
        #: The hosts of the Internet by their network, in order of arrival.
        self._networks: dict[str, dict[Address, None]] = {}
        #: Which hosts are not to be kept, and which part of the links one network may have; the node sets them.
        self.refuses: Callable[[str], bool] = lambda host: False
        self.shares = Shares(counted="off")

    def __len__(self) -> int:
        return len(self._hosts)

    def __contains__(self, address: Address) -> bool:
        return address in self._hosts

    def learn(
        self,
        address: Address,
        now: float,
        *,
        is_ultrapeer: bool | None = None,
        daily_uptime_s: int | None = None,
        has_room: bool | None = None,
    ) -> bool:
        """Somebody told of this address; True if it is new.  The caller has judged whether it is plausible.

        `has_room`: it has slots for leaves.

        A host that was forgotten because it never worked is not taken up again until DEAD_S are over.
        """
        host = self._hosts.get(address)
        is_new = host is None
        if host is None:
            if self._is_dead(address, now) or self.refuses(address.host):
                return False
            host = self._add(_Host(address, now))
        host.last_seen = max(host.last_seen, now)
        if is_ultrapeer is not None:
            host.is_ultrapeer = is_ultrapeer
        if daily_uptime_s is not None:
            host.daily_uptime_s = daily_uptime_s
        if has_room is not None:
            host.has_room = has_room
        return is_new

    def worked(
        self, address: Address, now: float, *, is_ultrapeer: bool | None = None, has_room: bool | None = None
    ) -> None:
        """A handshake with it succeeded, in which it said what it is and whether it has slots for leaves."""
        self._dead.pop(address, None)
        self.learn(address, now, is_ultrapeer=is_ultrapeer, has_room=has_room)
        host = self._hosts.get(address)
        if host is not None:
            host.last_ok, host.failures, host.not_before = now, 0, 0.0

    def failed(self, address: Address, now: float, back_off_s: float | None = None) -> None:
        """Dialling or the handshake failed; a host that never works is forgotten.

        `back_off_s` overrides the doubling one, where the peer said how unwelcome we are (Bye 4xx: 30 minutes).
        """
        host = self._hosts.get(address)
        if host is None:
            return
        host.failures += 1
        if host.failures >= MAX_FAILURES and not host.last_ok:
            self.forget(address)
            self._bury(address, now + DEAD_S)
            return
        doubled = min(MAX_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(host.failures - 1, 16))
        host.not_before = now + (doubled if back_off_s is None else back_off_s)

    def postpone(self, address: Address, until: float) -> None:
        """Do not dial it before `until`, though nothing speaks against it: it takes no such link just now."""
        host = self._hosts.get(address)
        if host is not None:
            host.not_before = max(host.not_before, until)

    def recall(self, address: Address, now: float) -> None:
        """Undo `postpone`: dial it as soon as you like, unless it failed."""
        host = self._hosts.get(address)
        if host is not None and not host.failures:
            host.not_before = min(host.not_before, now)

    def forget(self, address: Address) -> None:
        """Drop a host, for example our own address."""
        if self._hosts.pop(address, None) is not None and (members := self._networks.get(wide(address.host))):
            members.pop(address, None)
            if not members:
                del self._networks[wide(address.host)]

    def forget_refused(self) -> int:
        """Drop every host that is not to be kept by now; how many went."""
        refused = [address for address in self._hosts if self.refuses(address.host)]
        for address in refused:
            self.forget(address)
        return len(refused)

    def choose(
        self,
        count: int,
        now: float,
        exclude: Collection[Address] = (),
        *,
        ultrapeers_first: bool = False,
        beside: Iterable[str] = (),
    ) -> list[Address]:
        """Up to `count` addresses to dial, the best first; none of `exclude`, and none whose back-off runs.

        `ultrapeers_first`: any that is known to be an ultrapeer before one of which that is not known.  `beside`: hosts that
        are linked; another host of their networks is only chosen when there is none of a new network.
        """
        free = [host for host in self._hosts.values() if host.not_before <= now and host.address not in exclude]
        free.sort(key=_Host.rank, reverse=True)
        if ultrapeers_first:
            free.sort(key=lambda host: (not host.is_ultrapeer, _ROOM[host.has_room]))
        return self._spread([host.address for host in free], count, beside)

    def _spread(self, ranked: list[Address], count: int, beside: Iterable[str]) -> list[Address]:
        """The first `count`, but those of networks that are there already after all others."""
        taken = {wide(host) for host in beside if self.shares.applies_to(host)}
        chosen: list[Address] = []
        others: list[Address] = []
        for address in ranked:
            if len(chosen) == count:
                break
            if not self.shares.applies_to(address.host):
                chosen.append(address)
            elif (network := wide(address.host)) in taken:
                others.append(address)
            else:
                taken.add(network)
                chosen.append(address)
        return chosen + others[: count - len(chosen)]

    def to_tell(
        self, count: int, exclude: Collection[Address] = (), *, is_ultrapeer: bool | None = None
    ) -> list[Address]:
        """Addresses to tell others: those that never failed, with free slots first, then the ones that worked last.

        `is_ultrapeer`: only those that are known to be ultrapeers, or only those that are not; None: both.
        """
        fresh = [
            host
            for host in self._hosts.values()
            if not host.failures and host.address not in exclude and is_ultrapeer in (None, bool(host.is_ultrapeer))
        ]
        fresh.sort(key=_Host.rank, reverse=True)
        fresh.sort(key=lambda host: _ROOM[host.has_room])
        return [host.address for host in fresh[:count]]

    def has_room(self, address: Address) -> bool:
        """Whether it is known to have slots for leaves."""
        host = self._hosts.get(address)
        return host is not None and host.has_room is True

    def is_leaf(self, address: Address) -> bool:
        """Whether it was a leaf when somebody last told."""
        host = self._hosts.get(address)
        return host is not None and host.is_ultrapeer is False

    def ultrapeers(self, now: float, exclude: Collection[Address] = ()) -> int:
        """How many are known to be ultrapeers and may be dialled now; none of `exclude`."""
        return sum(
            bool(host.is_ultrapeer) and host.not_before <= now and host.address not in exclude
            for host in self._hosts.values()
        )

    def rows(self) -> list[HostRow]:
        """Everything, for the store."""
        return [host.row() for host in self._hosts.values()]

    def ranked(self) -> list[HostRow]:
        """Everything, for people: the best first, whether or not a back-off runs."""
        return [host.row() for host in sorted(self._hosts.values(), key=_Host.rank, reverse=True)]

    def load(self, rows: Iterable[HostRow]) -> None:
        """Take rows of the store; what was learned since is kept."""
        for row in rows:
            address = Address(row.host, row.port)
            if address in self._hosts or self.refuses(address.host):
                continue
            self._add(
                _Host(
                    address,
                    row.last_seen,
                    row.last_ok,
                    row.failures,
                    True if row.is_ultrapeer else None,
                    row.daily_uptime,
                    # A clock that was wrong when it was written must not keep a host out for ever.
                    min(row.not_before, row.last_seen + MAX_KEPT_BACK_OFF_S),
                )
            )

    def _is_dead(self, address: Address, now: float) -> bool:
        until = self._dead.get(address)
        if until is not None and until <= now:
            del self._dead[address]
        return until is not None and until > now

    def _bury(self, address: Address, until: float) -> None:
        if len(self._dead) >= MAX_DEAD:
            del self._dead[next(iter(self._dead))]
        self._dead[address] = until

    def _add(self, host: _Host) -> _Host:
        self._make_room(host.address.host)
        self._hosts[host.address] = host
        if is_public(host.address.host):
            self._networks.setdefault(wide(host.address.host), {})[host.address] = None
        return host

    def _make_room(self, newcomer: str) -> None:
        """In the part of the newcomer's network, and in the whole."""
        members = self._networks.get(wide(newcomer), {})
        if members and len(members) >= max(1, self._max_hosts * MAX_NETWORK_PERCENT // 100):
            self.forget(min(members, key=lambda address: self._hosts[address].rank()))
        if len(self._hosts) < self._max_hosts:
            return
        worst = sorted(self._hosts.values(), key=_Host.rank)[: max(1, min(_EVICTED_AT_ONCE, self._max_hosts // 10))]
        for host in worst:
            self.forget(host.address)
