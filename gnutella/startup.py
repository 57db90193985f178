"""What happens before a node starts: its directory, its settings, and a look at whether it can run at all.

All of it is synchronous and runs before twistd forks, so that each mistake is one readable line and an exit code: 64 usage,
69 a port in use, 73 the directory is in use or cannot be made, 78 configuration.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from gnutella.control.paths import control_endpoint, default_directory, socket_path
from gnutella.control.render import printable
from gnutella.errors import UserError
from gnutella.network.store import DirectoryLock
from gnutella.relaying import check_layer
from gnutella.settings import Settings
from gnutella.settings_file import Loaded, load

#: Where the settings are looked for in the node's directory when --config is not given.
SETTINGS_FILE = "gnutella.toml"
#: Bytes that the path of a UNIX socket may have (sun_path of unix(7), less the closing NUL).
MAX_SOCKET_PATH = 107


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


def complain(error: UserError, out: TextIO | None) -> None:
    """Write a user's mistake as people read it: one line for each thing that is wrong."""
    if out is not None:
        for line in str(error).split("\n"):
            print(f"gnutella: {printable(line)}", file=out, flush=True)


def load_settings(
    directory: Path,
    config: str | None,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    runtime: Mapping[str, object],
) -> Loaded:
    """All layers of the settings, `runtime` (changes made while a node ran) on top; ConfigError (78) lists what is wrong."""
    path = Path(config) if config else directory / SETTINGS_FILE
    if config and not path.is_file():
        raise UserError(f"--config: no file {str(path)!r}", "write one with gnutella init", os.EX_CONFIG)
    return load(str(path) if path.is_file() else None, environ, overrides, runtime)


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
    """UserError if the relay layer is missing (78), another node has the directory (73) or a TCP port is in use (69).

    A look only: the node takes both for itself when it starts, and says so in the same words if it lost a race.
    """
    check_layer(settings.anonymous)
    lock = DirectoryLock(directory)
    lock.acquire()
    lock.release()
    for option, endpoint in _endpoints(settings):
        _check_port(option, endpoint)
    path = socket_path(control_endpoint(settings.control, str(directory)))
    if path is not None and len(os.fsencode(path)) > MAX_SOCKET_PATH:
        hint = "name a directory with a shorter path, or --control unix:/short/path"
        raise UserError(f"--control: {path!r} is too long for a socket", hint, os.EX_CONFIG)


def _endpoints(settings: Settings) -> Iterator[tuple[str, str]]:
    for endpoint in settings.network.listen:
        yield "--listen", endpoint
    if settings.control.console != "off":
        yield "--console", settings.control.console


def _check_port(option: str, endpoint: str) -> None:
    kind, *fields = [field.replace("\\:", ":") for field in re.split(r"(?<!\\):", endpoint)]
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    port = named.get("port") or next((field for field in fields if "=" not in field), "")
    if kind not in ("tcp", "tcp6") or not port.isdigit() or int(port) == 0:
        return
    interface = named.get("interface", "")
    is_v6 = kind == "tcp6" or ":" in interface
    family, everywhere = (socket.AF_INET6, "::") if is_v6 else (socket.AF_INET, "0.0.0.0")
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((interface or everywhere, int(port)))
        except OSError as error:
            raise _cannot_bind(option, endpoint, port, error) from None


def _cannot_bind(option: str, endpoint: str, port: str, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        hint = f"give another one, such as {option} tcp:0"
        return UserError(f"{option}: port {port} is in use", hint, os.EX_UNAVAILABLE)
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(f"{option}: port {port}: not permitted", "give a port above 1023", os.EX_NOPERM)
    return UserError(f"{option} {endpoint}: {error.strerror}", "give an address of this machine", os.EX_UNAVAILABLE)
