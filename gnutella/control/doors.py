"""Opens and closes the consoles' ports: the UNIX socket of this machine's user, and the telnet-style TCP console.

doors = ConsoleDoors(reactor, node, settings.control, directory)
names = await doors.open()        # ["unix:/…/control.sock", "tcp:127.0.0.1:6347"]
await doors.close()
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from gnutella.control.paths import control_endpoint, socket_path
from gnutella.control.table import CONFIG, UNAVAILABLE
from gnutella.control.telnet import ConsoleFactory, Crowd
from gnutella.control.token import ensure_tokens
from gnutella.control.view import NodeView
from gnutella.errors import UserError
from gnutella.settings import ControlSettings
from gnutella.settings_check import OFF

#: Seconds for a socket in our way to answer; it is on this machine.
PROBE_TIMEOUT_S = 1.0


class ConsoleDoors:
    """Both doors.  `open` may fail with UserError (69: in use; 78: an endpoint that cannot be read); then nothing is open."""

    def __init__(self, reactor: Any, node: NodeView, settings: ControlSettings, directory: str) -> None:
        self._reactor = reactor
        self._node = node
        self._settings = settings
        self._directory = directory
        self._crowd = Crowd(reactor, settings.max_consoles)
        self._ports: list[IListeningPort] = []

    async def open(self) -> list[str]:
        """Listen; what is open now, as people write it."""
        try:
            control = control_endpoint(self._settings, self._directory)
            if control != OFF:
                await self._listen(control, needs_token=not control.startswith("unix:"))
            if self._settings.console not in ("", OFF):
                await self._listen(self._settings.console, needs_token=not self._settings.console.startswith("unix:"))
        except UserError:
            await self.close()
            raise
        return [_name(port) for port in self._ports]

    async def close(self) -> None:
        """Stop listening, hang up on every session, and wait (a second at most) until each has its last reply."""
        ports, self._ports = self._ports, []
        for port in ports:
            await port.stopListening()  # type: ignore[misc]  # a Deferred or None
        await self._crowd.close_all()

    async def _listen(self, endpoint: str, *, needs_token: bool) -> None:
        if needs_token:
            ensure_tokens(self._directory)
        path = socket_path(endpoint)
        if path is not None:
            clear_stale_socket(path)
            # Twisted's own lock believes any live process with the old number, which in a container is always there; and
            # its default mode opens the socket, whose mode is our credential, to everybody.
            endpoint += "" if ":lockfile=" in endpoint else ":lockfile=0"
            endpoint += "" if ":mode=" in endpoint else ":mode=600"
        factory = ConsoleFactory(self._node, self._reactor, needs_token=needs_token, crowd=self._crowd)
        try:
            self._ports.append(await self._start(endpoint, factory))
        except CannotListenError as error:
            hint = "another node? give another --dir, --control or --console"
            raise UserError(f"cannot listen on {endpoint}: {error.socketError}", hint, UNAVAILABLE) from None
        except (ValueError, KeyError, IndexError, OSError) as error:
            raise UserError(
                f"endpoint {endpoint!r}: {error}", "for example tcp:6347:interface=127.0.0.1", CONFIG
            ) from None

    def _start(self, endpoint: str, factory: ConsoleFactory) -> Deferred[IListeningPort]:
        old_mask = os.umask(0o177)  # so that the socket is never open to others, not even before its mode is set
        try:
            opening: Deferred[IListeningPort] = serverFromString(self._reactor, endpoint).listen(factory)
            return opening
        finally:
            os.umask(old_mask)


def clear_stale_socket(path: str) -> None:
    """Remove a socket that nobody serves any more (after kill -9).  UserError (69) when somebody answers there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise UserError(f"{path} is in the way", "it is no socket; move it", UNAVAILABLE)
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise UserError(f"another node answers on {path}", "stop it, or give another --dir", UNAVAILABLE)


def _name(port: IListeningPort) -> str:
    host: Any = port.getHost()
    if hasattr(host, "port"):
        return f"tcp:{host.host}:{host.port}"
    return f"unix:{os.fsdecode(host.name)}"
