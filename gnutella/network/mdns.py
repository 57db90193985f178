"""Finding servents of the local network by mDNS (DNS-SD, `_gnutella._tcp`), with zeroconf (the extra `mdns`).

The library has a thread and a loop of its own.  What blocks (its import, announcing, resolving, closing) runs in one worker of
ours, what it notices comes back into the reactor; nothing of it runs there.  What others announce is judged here: only
addresses on networks of this machine are taken, and not without a bound.
"""

from __future__ import annotations

import importlib
import importlib.util
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.network.interfaces import Interface, is_neighbour, multicast_interfaces
from gnutella.network.sources import Source, SourceState, reason
from gnutella.network.workers import Workers, WorkersStopped
from gnutella.reasons import DropReason
from gnutella.units import Address, is_plausible_peer

SERVICE = "_gnutella._tcp.local."
#: Services of others that are remembered, and resolved, at a time; addresses taken of one (our own numbers).
MAX_SERVICES = 64
MAX_ADDRESSES = 4
#: Milliseconds for one to tell its address.
RESOLVE_MS = 1500
#: Networks that it is announced on, as for multicast.
MAX_NETWORKS = 8
#: So often the networks are looked at again: a daemon may start before its network does, and a laptop moves.
LOOK_S = 5.0


def is_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("zeroconf") is not None


class Mdns:
    """Announces one port and looks for others.  `found` gets addresses, `name` tells this node from others of the network."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        found: Callable[[Sequence[Address]], None],
        count_drop: Callable[[DropReason], None],
        *,
        networks: Callable[[], list[Interface]] = multicast_interfaces,
    ) -> None:
        self._reactor = reactor
        self._name = f"{name}.{SERVICE}"
        self._found = found
        self._count_drop = count_drop
        self._networks = networks
        self._interfaces: list[Interface] = []
        self._port = 0
        self._timer: Any = None
        self._workers = Workers(reactor, count=1, name="gnutella-mdns")
        self._library: _Library | None = None
        self._seen: set[str] = set()
        self._is_stopped = False
        self.state = "idle"
        #: Why it does not run.
        self._because = "not started"

    def start(self, port: int) -> None:
        """Announce `port` and begin to look; says in `state` what became of it (absent, idle, starting, running, failed)."""
        self._port = port
        if not is_installed():
            self.state, self._because = "absent", "the extra is not installed"
            return
        self._because = "no network of this machine carries multicast"
        self._look()

    def _look(self) -> None:
        """Begin on the networks that there are now; again, if they are others than before."""
        self._timer = self._reactor.callLater(LOOK_S, self._look)
        interfaces = self._networks()[:MAX_NETWORKS]
        if interfaces == self._interfaces:
            return
        self._interfaces = interfaces
        self._leave().addErrback(self._fault)
        if not interfaces:
            self.state, self._because = "idle", "no network of this machine carries multicast"
            return
        self.state = "starting"
        self._library = library = _Library(self._name, self._noticed_in_thread)
        hosts = [interface.host for interface in interfaces]
        self._workers.run(library.open, self._port, hosts).addCallbacks(
            lambda _: self._opened(library), lambda failure: self._failed(library, failure)
        )

    def _leave(self) -> Deferred[None]:
        """Say goodbye where it is announced; fires when the library's thread has ended."""
        library, self._library = self._library, None
        self._seen.clear()
        return succeed(None) if library is None else self._workers.run(library.close)

    def stop(self) -> Deferred[None]:
        """Say goodbye; fires when the library's thread has ended."""
        self._is_stopped = True
        self.state = "idle"
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        leaving = self._leave()
        leaving.addErrback(self._fault)
        return leaving.addCallback(lambda _: self._workers.stop())

    @property
    def services(self) -> int:
        """How many of others are there."""
        return len(self._seen)

    def source(self) -> Source:
        """Whether it runs, and why not."""
        if self.state == "running":
            return Source("mDNS", "good", f"{self.services} others")
        if self.state == "starting":
            return Source("mDNS", "asking", "starting")
        state: SourceState = "absent" if self.state == "absent" else "failed" if self.state == "failed" else "idle"
        return Source("mDNS", state, reason(self._because))

    def _opened(self, library: _Library) -> None:
        if self._library is library:
            self.state = "running"

    def _failed(self, library: _Library, failure: Failure) -> None:
        """No multicast on this machine, say: the node lives without it."""
        if self._library is library:
            self.state, self._because = "failed", str(failure.value) or repr(failure.value)
            self.log.warn("no mDNS on this machine: {error!r}", error=str(failure.value))

    def _noticed_in_thread(self, name: str, is_there: bool) -> None:
        self._reactor.callFromThread(self._noticed, name, is_there)

    def _noticed(self, name: str, is_there: bool) -> None:
        """A service came, changed, or went."""
        library = self._library
        if library is None or name.lower() == library.own_name.lower():
            return
        if not is_there:
            self._seen.discard(name)
        elif name not in self._seen and len(self._seen) >= MAX_SERVICES:
            self._count_drop(DropReason.BOGUS_NEIGHBOUR)
        else:
            self._seen.add(name)
            self._workers.run(library.resolve, name).addCallbacks(self._resolved, self._fault)

    def _resolved(self, addresses: list[Address]) -> None:
        if self._is_stopped:
            return
        good = []
        for address in addresses[:MAX_ADDRESSES]:
            is_near = is_neighbour(address.host, self._interfaces)
            if is_near and is_plausible_peer(address, allow_private=True):
                good.append(address)
            else:
                self._count_drop(DropReason.BOGUS_NEIGHBOUR)
        if good:
            self._found(good)

    def _fault(self, failure: Failure) -> None:
        if not failure.check(WorkersStopped):
            self.log.failure("a fault in mDNS", failure)
            self._count_drop(DropReason.INTERNAL_ERROR)


class _Library:
    """zeroconf; every method runs in the worker."""

    def __init__(self, name: str, noticed: Callable[[str, bool], None]) -> None:
        self.own_name = name
        self._noticed = noticed
        self._zeroconf: Any = None
        self._browser: Any = None

    def open(self, port: int, hosts: list[str]) -> None:
        library = importlib.import_module("zeroconf")
        self._zeroconf = library.Zeroconf(interfaces=hosts, ip_version=library.IPVersion.V4Only)
        host_name = f"{self.own_name.removesuffix('.' + SERVICE)}.local."
        info = library.ServiceInfo(
            SERVICE, self.own_name, port, addresses=[socket.inet_aton(host) for host in hosts], server=host_name
        )
        self._zeroconf.register_service(info, allow_name_change=True)
        self.own_name = info.name

        def changed(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
            self._noticed(name, state_change is not library.ServiceStateChange.Removed)

        self._browser = library.ServiceBrowser(self._zeroconf, SERVICE, handlers=[changed])

    def resolve(self, name: str) -> list[Address]:
        info = self._zeroconf.get_service_info(SERVICE, name, timeout=RESOLVE_MS)
        if info is None or not info.port:
            return []
        return [Address(host, info.port) for host in info.parsed_addresses()]

    def close(self) -> None:
        if self._browser is not None:
            self._browser.cancel()  # ends its thread, which close() does not
        if self._zeroconf is not None:
            self._zeroconf.close()
