"""Port mappings by UPnP, with miniupnpc (the extra `nat`): slow calls of a C library, in a thread of their own.

Routers that speak neither PCP nor NAT-PMP mostly speak this.  The library talks SOAP to whoever answers first in the local
network, so what it says is believed no more than any router: see `OwnAddresses.mapped`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.network.workers import ThreadCaller, Workers, WorkersStopped

#: Milliseconds that the library listens for routers.
DISCOVER_MS = 2000
#: Seconds for which a mapping is asked, and until it is renewed; routers that only know endless ones get 0.
LIFETIME_S = 7200
RENEW_S = LIFETIME_S / 2
#: Seconds until a router that was not found, or said no, is asked again.
RETRY_S = 600.0
#: External ports tried when ours is taken by another host of the network.
MAX_PORTS = 5
DESCRIPTION = "Gnutella"


class Mapped(NamedTuple):
    """Where the router says that we are reached."""

    host: str | None
    port: int


class UpnpFailed(Exception):
    """No router, or it said no; the text is for people."""


class Igd(Protocol):
    """An Internet gateway device; each call may take seconds and runs in a thread.  Raises UpnpFailed."""

    def add(self, port: int, wished: int) -> Mapped:
        """Map `port` of ours, TCP and UDP, to `wished` or another one."""
        ...

    def remove(self) -> None:
        """Take back what `add` has mapped, if anything."""
        ...


def find_igd() -> Igd | None:
    """None without the extra."""
    try:
        library = importlib.import_module("miniupnpc")
    except ImportError:
        return None
    return MiniUpnp(library)


class MiniUpnp:
    """Igd by miniupnpc.  Its errors are bare Exceptions, `Exception: Success` among them when nobody answered."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._router: Any = None
        self._external: int | None = None

    def add(self, port: int, wished: int) -> Mapped:
        """As Igd says."""
        router = self._router or self._discover()
        error = "it maps no port"
        for external in dict.fromkeys((wished, port, *range(port + 1, port + MAX_PORTS))):
            try:
                for kind in ("TCP", "UDP"):
                    self._map(router, external, kind, port)
                self._router, self._external = router, external
                return Mapped(self._external_host(router), external)
            except Exception as caught:  # noqa: BLE001 - see the class
                error = str(caught)
        self._router = None
        raise UpnpFailed(error)

    def remove(self) -> None:
        """As Igd says."""
        external, self._external = self._external, None
        for kind in ("TCP", "UDP") if external is not None and self._router is not None else ():
            try:
                self._router.deleteportmapping(external, kind)
            except Exception as error:  # noqa: BLE001 - see the class
                raise UpnpFailed(str(error)) from None

    def _discover(self) -> Any:
        router = self._library.UPnP()
        router.discoverdelay = DISCOVER_MS
        try:
            if not router.discover():
                raise UpnpFailed("no router answers")
            router.selectigd()
        except UpnpFailed:
            raise
        except Exception:  # noqa: BLE001 - see the class
            raise UpnpFailed("no router answers") from None
        return router

    def _map(self, router: Any, external: int, kind: str, port: int) -> None:
        def ask(lifetime_s: int) -> None:
            if not router.addportmapping(external, kind, router.lanaddr, port, DESCRIPTION, "", lifetime_s):
                raise UpnpFailed(f"port {external} is not to be had")

        try:
            ask(LIFETIME_S)
        except Exception as error:
            if "OnlyPermanentLeasesSupported" not in str(error):
                raise
            ask(0)

    def _external_host(self, router: Any) -> str | None:
        try:
            return str(router.externalipaddress()) or None
        except Exception:  # noqa: BLE001 - see the class; the mapping stands without it
            return None


class UpnpMapping:
    """Keeps one port mapped; `mapped(host, port)` is called when that changes, with None for no mapping."""

    log = Logger()

    def __init__(self, reactor: Any, igd: Igd, port: int, mapped: Callable[[str | None, int | None], None]) -> None:
        self._reactor = reactor
        self._igd = igd
        self._port = port
        self._mapped = mapped
        thread_caller: ThreadCaller = reactor
        self._workers = Workers(thread_caller, count=1, name="gnutella-upnp")
        self._external: int | None = None
        self._again: Any = None
        self._is_stopped = False
        self.state = "asking"
        self.detail = ""

    def start(self) -> None:
        """Ask, and go on asking."""
        self._again = None
        asking = self._workers.run(self._igd.add, self._port, self._external or self._port)
        asking.addCallbacks(self._added, self._failed)

    def stop(self) -> Deferred[None]:
        """Take the mapping back; fires when that is done, or has failed."""
        self._is_stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        # It waits its turn behind a question that is still under way, whose answer would come too late here.
        removing = self._workers.run(self._igd.remove)
        removing.addErrback(lambda failure: failure.trap(UpnpFailed) and None)
        return removing.addCallback(lambda _: self._workers.stop())

    def _added(self, mapping: Mapped) -> None:
        if self._is_stopped:
            return
        self._external = mapping.port
        self.state, self.detail = "mapped", ""
        self._again = self._reactor.callLater(RENEW_S, self.start)
        self._mapped(*mapping)

    def _failed(self, failure: Failure) -> None:
        if self._is_stopped or failure.check(WorkersStopped):
            return
        self.state = "silent"
        if failure.check(UpnpFailed):
            self.detail = str(failure.value)[:200]
        else:
            self.log.failure("a fault in UPnP", failure)
            self.detail = type(failure.value).__name__
        self._external = None
        self._again = self._reactor.callLater(RETRY_S, self.start)
        self._mapped(None, None)
