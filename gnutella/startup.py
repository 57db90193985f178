"""What happens before a node starts: its directory, its settings, and a look at whether it can run at all.

All of it is synchronous and runs before twistd forks, so that each mistake is one readable line and an exit code: 64 usage,
69 a port in use, 73 the directory is in use or cannot be made, 78 configuration.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from gnutella.control.paths import default_directory
from gnutella.errors import UserError
from gnutella.network.store import DirectoryLock
from gnutella.settings import Settings
from gnutella.settings_file import Loaded, load

#: Where the settings are looked for in the node's directory when --config is not given.
SETTINGS_FILE = "gnutella.toml"


def resolve_directory(given: str | None) -> Path:
    """The node's directory, absolute, made with mode 700 if it is new; UserError (73) if it cannot be."""
    directory = Path(given).expanduser().absolute() if given else Path(default_directory())
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--dir: cannot make {str(directory)!r}: {error.strerror}", "name another directory", os.EX_CANTCREAT
        ) from None
    return directory


def load_settings(
    directory: Path, config: str | None, overrides: Mapping[str, object], environ: Mapping[str, str]
) -> Loaded:
    """All layers of the settings, run-time changes included; ConfigError (78) lists what is wrong."""
    path = Path(config).expanduser() if config else directory / SETTINGS_FILE
    if config and not path.is_file():
        raise UserError(f"--config: no file {str(path)!r}", "write one with gnutella init", os.EX_CONFIG)
    return load(str(path) if path.is_file() else None, environ, overrides, runtime_settings(directory))


def runtime_settings(directory: Path) -> dict[str, object]:
    """The run-time changes kept in state.db; empty when there is none, or the file cannot be read (the node then says so)."""
    path = directory / "state.db"
    if not path.exists():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as connection:
            rows = connection.execute("SELECT key, value FROM settings").fetchall()
        return {str(key): json.loads(value) for key, value in rows}
    except (sqlite3.Error, ValueError):
        return {}


def check(directory: Path, settings: Settings) -> None:
    """UserError if another node has the directory (73) or a TCP port is in use (69).

    A look only: the node takes both for itself when it starts, and says so in the same words if it lost a race.
    """
    lock = DirectoryLock(directory)
    lock.acquire()
    lock.release()
    for option, endpoint in _endpoints(settings):
        _check_port(option, endpoint)


def _endpoints(settings: Settings) -> Iterator[tuple[str, str]]:
    for endpoint in settings.network.listen:
        yield "--listen", endpoint
    if settings.control.console != "off":
        yield "--console", settings.control.console


def _check_port(option: str, endpoint: str) -> None:
    kind, _, rest = endpoint.partition(":")
    if kind not in ("tcp", "tcp6"):
        return
    fields = rest.split(":interface=")
    port_text = fields[0].split(":")[0]
    if not port_text.isdigit() or int(port_text) == 0:
        return
    interface = fields[1].split(":")[0] if len(fields) > 1 and kind == "tcp" else ""
    family = socket.AF_INET6 if kind == "tcp6" else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((interface or ("::" if kind == "tcp6" else "0.0.0.0"), int(port_text)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"{option}: port {port_text} is in use",
                    f"give another one, such as {option} tcp:0",
                    os.EX_UNAVAILABLE,
                ) from None
            raise UserError(
                f"{option} {endpoint}: {error.strerror}", "give a port above 1023 of this machine", os.EX_UNAVAILABLE
            ) from None
