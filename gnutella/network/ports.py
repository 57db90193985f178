"""Listening ports: endpoint strings read in one place, and ports that are opened and closed together.

Twisted's parser answers a typing mistake with whatever exception its plugin happens to raise, and a port in use with one that
services swallow; here both are a `UserError` that names the option, the value and one fix.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger

from gnutella.errors import UserError
from gnutella.units import Address

#: Connections that wait to be accepted, as Twisted has it for other ports.
BACKLOG = 50
#: What is offered in error messages; plugins may add more kinds.
KNOWN_KINDS = ("tcp", "tcp6", "unix", "systemd", "ssl", "tls", "onion")
#: Parsing this one already starts looking for a Tor program, so it is only parsed to be listened on.
EAGER_KINDS = ("onion",)

_HINTS = {
    "tcp": "write tcp:6346, or tcp:6346:interface=127.0.0.1",
    "tcp6": "write tcp6:6346, or tcp6:6346:interface=\\:\\:1",
    "unix": "write unix:/path/to/socket:mode=600",
    "systemd": "it needs socket activation by systemd: systemd:domain=INET:index=0",
}


def _mistake(option: str, text: str, why: str, hint: str) -> UserError:
    return UserError(f"{option}: {text!r}: {why}", hint, os.EX_CONFIG)


def parse_endpoint(reactor: Any, text: str, option: str) -> IStreamServerEndpoint:
    """The endpoint that `text` describes; `option` is what the user calls it ("--listen", "network.listen")."""
    kind = text.partition(":")[0]
    if kind not in KNOWN_KINDS:
        hint = f"write tcp:{text}" if text.isdigit() else f"begin with one of {', '.join(KNOWN_KINDS)}"
        raise _mistake(option, text, "no such kind of endpoint", hint)
    hint = _HINTS.get(kind, "see the manual of Twisted's endpoints")
    try:
        endpoint = serverFromString(reactor, text)
    except FileNotFoundError as error:
        raise _mistake(option, text, f"no file {str(error.filename)!r}", hint) from None
    except (ValueError, IndexError, KeyError, TypeError, OSError):
        raise _mistake(option, text, "cannot be read", hint) from None
    port = getattr(endpoint, "_port", 0)
    if isinstance(port, int) and not 0 <= port < 65536:
        raise _mistake(option, text, f"{port} is no port between 0 and 65535", hint)
    return endpoint  # type: ignore[no-any-return]


def check_endpoint(reactor: Any, text: str, option: str) -> None:
    """UserError if `text` is no endpoint; opens nothing and starts nothing."""
    if text.partition(":")[0] not in EAGER_KINDS:
        parse_endpoint(reactor, text, option)


class Ports:
    """Ports that belong together."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: list[IListeningPort] = []

    async def listen(self, texts: Iterable[str], factory: IProtocolFactory, option: str, *, both: bool = False) -> None:
        """Open all of them or, with a UserError, none.  Exit code 69 for a port in use, 77 for one not allowed.

        `both`: a `tcp:` endpoint without an interface means IPv6 as well, where the system has it and the number is free.
        """
        try:
            for text in texts:
                endpoint = parse_endpoint(self._reactor, text, option)
                try:
                    self._ports.append(await endpoint.listen(factory))
                    if both and text.startswith("tcp:") and ":interface=" not in text:
                        self._listen_v6(self.addresses[-1].port, factory)
                except CannotListenError as error:
                    raise _cannot_listen(text, option, error.socketError) from None
                except OSError as error:
                    raise _cannot_listen(text, option, error) from None
        except UserError:
            await self.close()
            raise

    def _listen_v6(self, number: int, factory: IProtocolFactory) -> None:
        """The same number for IPv6 alone: a socket for both could not be told from systems that allow none."""
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as opened:
                opened.setblocking(False)
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.bind(("::", number))
                opened.listen(BACKLOG)
                # It duplicates the descriptor, so ours is closed in any case.
                self._ports.append(self._reactor.adoptStreamPort(opened.fileno(), socket.AF_INET6, factory))
        except OSError as error:
            self.log.info("no IPv6 port {number}: {why!r}; going on with IPv4", number=number, why=str(error))

    async def close(self) -> None:
        """Close all; returns when they are closed."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    @property
    def addresses(self) -> list[Address]:
        """IP and number of each TCP port that is open."""
        hosts: list[Any] = [port.getHost() for port in self._ports]
        return [Address(host.host, host.port) for host in hosts if hasattr(host, "port")]

    @property
    def names(self) -> list[str]:
        """Each open port as people read it: `127.0.0.1:6346`, or the path of a UNIX socket."""
        hosts: list[Any] = [port.getHost() for port in self._ports]
        return [
            str(Address(h.host, h.port)) if hasattr(h, "port") else os.fsdecode(getattr(h, "name", "")) for h in hosts
        ]


def _cannot_listen(text: str, option: str, error: BaseException) -> UserError:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        hint = "stop the program that uses it, or choose another one; tcp:0 takes a free port"
        return UserError(f"{option}: {text!r}: the port is in use", hint, os.EX_UNAVAILABLE)
    if number in (errno.EACCES, errno.EPERM):
        return UserError(f"{option}: {text!r}: not permitted", "choose a port above 1023", os.EX_NOPERM)
    why = getattr(error, "strerror", None) or "cannot be opened"
    return UserError(f"{option}: {text!r}: {why}", "choose an address of this machine", os.EX_UNAVAILABLE)
