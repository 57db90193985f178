"""The address of a host name, of whichever IP version leads somewhere from here.

Twisted's `reactor.resolve` knows IPv4 alone; on a machine that has only IPv6 no host cache would have an address then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from gnutella.network.interfaces import local_host_towards
from gnutella.network.own_address import plain_host

#: Addresses of one name that are looked at; nobody has more who means well.
MAX_ADDRESSES = 16


def resolve_name(
    reactor: Any, name: str, timeout_s: float, way_to: Callable[[str], str | None] = local_host_towards
) -> Deferred[str]:
    """An IP of a host name: an IPv4 one before others, but only one to which there is a way, unless there is a way to none.

    Fails with DNSLookupError, or TimeoutError after `timeout_s`.  The name may be a stranger's.
    """
    try:
        name.encode("idna")
    except UnicodeError:
        return fail(DNSLookupError("no host name"))
    found = _Found()
    reactor.nameResolver.resolveHostName(found, name)
    found.done.addTimeout(timeout_s, reactor)
    return found.done.addCallback(_best, way_to)


def _best(hosts: list[str], way_to: Callable[[str], str | None]) -> str:
    if not hosts:
        raise DNSLookupError("no such host name")
    ranked = sorted(hosts, key=lambda host: ":" in host)
    return next((host for host in ranked if way_to(host) is not None), ranked[0])


@implementer(IResolutionReceiver)
class _Found:
    """Collects what the resolver tells."""

    def __init__(self) -> None:
        self.done: Deferred[list[str]] = Deferred(lambda _: None)
        self._hosts: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing to do; it cannot be taken back."""

    def addressResolved(self, address: IAddress) -> None:
        host = getattr(address, "host", None)
        if isinstance(host, str) and len(self._hosts) < MAX_ADDRESSES:
            self._hosts[plain_host(host)] = None

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(list(self._hosts))
