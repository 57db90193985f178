"""Which address we tell others to reach us at.

A wrong one cuts a servent off silently: nobody can fetch from it, and gtk-gnutella marks its hits as bogus.  In order: what
the user said (`network.advertise`); on the public network what peers report they see, once reports of different networks
agree; else the address of the socket that leads to the asking peer.
"""

from __future__ import annotations

import ipaddress
import os

from gnutella.errors import UserError
from gnutella.networks import is_loopback, is_public, wide
from gnutella.settings import NetworkSettings
from gnutella.units import DEFAULT_PORT, Address, parse_address

__all__ = ["OwnAddresses", "is_loopback", "is_public", "plain_host"]

#: Equal reports in a row, from peers of as many different /16 networks, before one is believed (gtk-gnutella; digest 1.4).
REPORTS_NEEDED = 3
_MAPPED = "::ffff:"


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
        self._believed: str | None = None
        self._candidate = ""
        self._reporters: set[str] = set()
        self.port: int | None = None
        #: Nobody can connect to us, as far as is known: then no handshake says where (network.standing).
        self.is_firewalled = settings.firewalled

    def __call__(self, link_host: str) -> Address:
        """The address for a peer that reaches us at `link_host`."""
        port = self.port or DEFAULT_PORT
        if self._advertised is not None:
            return Address(self._advertised.host, self._advertised.port or port)
        if self._believed is not None and not is_loopback(link_host):
            return Address(self._believed, port)
        return Address(plain_host(link_host), port)

    @property
    def external(self) -> str | None:
        """Our IP as the Internet sees it, if it is known."""
        return self._advertised.host if self._advertised is not None else self._believed

    def report(self, reporter: str, seen_as: str | None) -> bool:
        """A peer at `reporter` says that we come from `seen_as`; True when that changed what we believe."""
        if not self._believes_reports or seen_as is None or not is_public(seen_as) or not is_public(reporter):
            return False
        if seen_as != self._candidate:
            self._candidate, self._reporters = seen_as, set()
        self._reporters.add(wide(reporter))
        if len(self._reporters) < REPORTS_NEEDED or seen_as == self._believed:
            return False
        self._believed = seen_as
        return True
