"""Which address we tell others to reach us at.

A wrong one cuts a servent off silently: nobody can fetch from it, and gtk-gnutella marks its hits as bogus.  In order: what
the user said (`network.advertise`); on the public network what peers report they see, once reports of different networks
agree, or what our router says when it maps our port; else the address of the socket that leads to the asking peer.

It is a vote: each network has one, its latest, so that one liar, or a hundred in one network, decide nothing, and do not keep
the others from agreeing either.
"""

from __future__ import annotations

import ipaddress
import os
from collections import Counter

from gnutella.errors import UserError
from gnutella.networks import is_loopback, is_public, wide
from gnutella.settings import NetworkSettings
from gnutella.units import DEFAULT_PORT, Address, parse_address

__all__ = ["OwnAddresses", "is_loopback", "is_public", "plain_host"]

#: Votes of different /16 networks before an address is believed (gtk-gnutella; digest 1.4).
REPORTS_NEEDED = 3
#: The last so many networks have a vote: an address that has changed is outvoted by five new ones.
MAX_VOTES = 8
#: Votes of the router that maps our port: one peer that agrees is enough, and three that do not outvote it.
ROUTER_VOTES = 2
_MAPPED = "::ffff:"
#: How addresses begin that mean something on one cable only.
_LINK_LOCAL = ("fe8", "fe9", "fea", "feb")


def plain_host(host: str) -> str:
    """An IP as text without the prefix that sockets for both IP versions put before IPv4."""
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


class OwnAddresses:
    """Implements routing.seams.OwnAddress; `port` is set once our port is open, None while nobody can connect."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._advertised: Address | None = None
        if settings.advertise:
            try:
                self._advertised = parse_address(settings.advertise, 0)  # port 0: whatever port is open
                ipaddress.ip_address(self._advertised.host)
            except ValueError:
                raise UserError(
                    f"network.advertise: {settings.advertise!r} is no IP address",
                    "write 1.2.3.4 or 1.2.3.4:6346",
                    os.EX_CONFIG,
                ) from None
        self._believes_reports = settings.profile == "public"
        self._four, self._six = _Votes(), _Votes()
        #: The address of our end of a link over IPv6, which mostly is what others see: routers seldom change it.
        self._local6: str | None = None
        self._mapped_port: int | None = None
        self.port: int | None = None
        #: Nobody can connect to us, as far as is known: then no handshake says where (network.standing).
        self.is_firewalled = settings.firewalled

    def __call__(self, link_host: str) -> Address:
        """The address for a peer that reaches us at `link_host`; what is believed of IPv4 goes before all else."""
        port = self.port or DEFAULT_PORT
        if self._advertised is not None:
            return Address(self._advertised.host, self._advertised.port or port)
        host = plain_host(link_host)
        if is_loopback(link_host):
            return Address(host, port)
        if self._four.believed is not None:
            return Address(self._four.believed, self._mapped_port or port)
        six = self._six.believed if ":" in host else None
        return Address(six or host, port)

    @property
    def external(self) -> str | None:
        """Our IP as the Internet sees it, if it is known."""
        if self._advertised is not None:
            return self._advertised.host
        return self._four.believed or self._six.believed

    @property
    def ipv6(self) -> str | None:
        """Where we are to be reached over IPv6, as far as links have shown."""
        if self._advertised is not None:
            return self._advertised.host if ":" in self._advertised.host else None
        return self._six.believed or self._local6

    def linked_at(self, local_host: str) -> bool:
        """A link is open at this address of ours; True when it is a new one for IPv6 that others may be told."""
        if ":" not in (host := plain_host(local_host)) or is_loopback(host) or host.lower().startswith(_LINK_LOCAL):
            return False
        if host == self._local6 or (self._believes_reports and not is_public(host)):
            return False
        self._local6 = host
        return True

    def report(self, reporter: str, seen_as: str | None) -> bool:
        """A peer at `reporter` says that we come from `seen_as`; True when that changed what we believe."""
        if not self._believes_reports or seen_as is None or not is_public(seen_as) or not is_public(reporter):
            return False
        return (self._six if ":" in seen_as else self._four).add(wide(reporter), seen_as)

    def mapped(self, host: str | None, port: int | None) -> bool:
        """Our router maps our port to `port` of its address `host`, or None: no more; True when what we tell changes.

        An address that the Internet cannot route counts for nothing: that router has another one before it.
        """
        before = self._four.believed, self._mapped_port
        self._four.router = host if host is not None and port is not None and is_public(host) else None
        self._mapped_port = port if self._four.router is not None else None
        self._four.decide()
        return (self._four.believed, self._mapped_port) != before

    @property
    def ports(self) -> set[int]:
        """Ports under which we may be told of ourselves."""
        known = (self.port or DEFAULT_PORT, self._mapped_port, self._advertised.port if self._advertised else None)
        return {port for port in known if port}


class _Votes:
    """What peers, and perhaps our router, say of our address of one IP version."""

    def __init__(self) -> None:
        self.believed: str | None = None
        self.router: str | None = None
        self._votes: dict[str, str] = {}

    def add(self, network: str, seen_as: str) -> bool:
        """Somebody in that network says so; True when that changed what we believe."""
        self._votes.pop(network, None)
        self._votes[network] = seen_as
        if len(self._votes) > MAX_VOTES:
            del self._votes[next(iter(self._votes))]
        return self.decide()

    def decide(self) -> bool:
        """Count; True when that changed what we believe."""
        votes = Counter(self._votes.values())
        if self.router is not None:
            votes[self.router] += ROUTER_VOTES
        for host, count in votes.most_common(1):
            enough = count >= REPORTS_NEEDED or (self.believed is None and host == self.router)
            if enough and host != self.believed and count > votes[self.believed or ""]:
                self.believed = host
                return True
        return False
