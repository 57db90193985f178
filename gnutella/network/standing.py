"""How this node stands with others: whether they can reach it, and the calls that it makes so that they learn the same.

It holds what the settings say against what turned out (routing.reach), and sets what hits, queries and handshakes tell.  On
the public network a node takes itself for firewalled until somebody has reached it: said too early, the contrary cuts it off
from everybody who believes it (digest 14, pitfall 13).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.network.guard import Dial
from gnutella.network.own_address import OwnAddresses, is_loopback, is_public
from gnutella.reasons import DropReason
from gnutella.routing.events import ConnectBackAsked
from gnutella.routing.router import Router
from gnutella.settings import NetworkSettings
from gnutella.units import Address, Guid

#: What a connect-back says before it closes (digest 2.9).
HELLO = b"\n\n"
#: Connect-backs under way, and seconds for each (our own numbers): they share the limit of all dials, and take little of it.
MAX_CALLS = 8
CALL_S = 10.0


class Standing:
    """See the module text.  `ping(address, guid)` sends a UDP ping; `told` is called when a fact has changed."""

    log = Logger()

    def __init__(
        self,
        clock: Callable[[], float],
        settings: NetworkSettings,
        router: Router,
        own_address: OwnAddresses,
        dial: Dial,
        ping: Callable[[Address, Guid], None],
        told: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._router = router
        self._own_address = own_address
        self._dial = dial
        self._ping = ping
        self._told = told
        self._calls = 0
        self._udp_port: int | None = None
        self._apply()

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def tcp(self) -> bool | None:
        """Whether others can connect to us; None: not known."""
        return False if self._settings.firewalled else self._router.reach.tcp

    @property
    def udp(self) -> bool | None:
        """Whether datagrams of others come through; None: not known."""
        return self._router.reach.udp

    def use_settings(self, settings: NetworkSettings) -> None:
        """Judge by other settings from now on."""
        self._settings = settings
        self.listen(self._udp_port)

    def listen(self, udp_port: int | None) -> None:
        """The ports are open (`udp_port`: None if that one is not), or the address has changed: peers may be asked."""
        self._udp_port = udp_port
        own = self._own_address
        port = own(own.external or "").port  # of both; a router may map it to another one than ours
        is_open = own.port is not None and not self._settings.firewalled
        self._router.reach.listen(port if is_open else None, None if udp_port is None else port)
        self._apply()

    def moved(self) -> None:
        """We have another address: what is known is known of the old one."""
        self._router.reach.forget()
        self.listen(self._udp_port)

    def reached(self, host: str, *, by_udp: bool = False) -> None:
        """Somebody at `host` came.  Those who share our machine or our LAN prove nothing about the networks beyond."""
        profile = self._settings.profile
        if is_public(host) if profile == "public" else profile == "loopback" or not is_loopback(host):
            self._router.reach.reached(self._clock(), by_udp=by_udp)

    def learned(self) -> None:
        """The router has learned a fact."""
        self._apply()
        self.log.info("reachable by TCP: {tcp}, by UDP: {udp}", tcp=self.tcp, udp=self.udp)
        self._told()

    def _apply(self) -> None:
        is_doubtful = self.tcp is None and self._settings.profile == "public"
        self._router.self.is_firewalled = self._own_address.is_firewalled = self.tcp is False or is_doubtful

    # -- calls ---------------------------------------------------------------------------------------------------------

    def call_back(self, event: ConnectBackAsked) -> None:
        """A peer wants to know whether it can be reached."""
        if event.ping is not None:
            self._ping(event.address, event.ping)
        elif self._calls >= MAX_CALLS:
            self._router.count_drop(DropReason.RATE)
        else:
            self._calls += 1
            self._dial(event.address, _Caller(), CALL_S).addCallbacks(self._called, self._call_failed)

    def _called(self, _: object) -> None:
        self._calls -= 1

    def _call_failed(self, _: Failure) -> None:
        self._calls -= 1
        self._router.count_drop(DropReason.DIAL_FAILED)


class _Caller(Protocol):
    """Says HELLO and closes."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.write(HELLO)
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Whatever it answers is not wanted."""
        self.transport.abortConnection()
