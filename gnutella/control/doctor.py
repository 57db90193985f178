"""`doctor`: what mostly goes wrong on a machine, looked at without asking the network.

Each check gives a row: name, ok (None where it cannot be told), detail, and what to do.  The running node adds what only it
knows; without a node, `offline_checks` says so and looks whether its ports are free.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import socket
import stat
import time
from collections.abc import Callable

from gnutella.control.token import read_tokens, token_path
from gnutella.errors import UserError
from gnutella.settings import Settings
from gnutella.units import format_size

#: Less free space than this is worth a warning: one long film.
MIN_FREE_BYTES = 1 << 30
#: 2025-01-01; a clock before this program was written is wrong.
EARLIEST_TIME = 1735689600.0
#: Files that are open besides links and transfers: database, log, sockets, libraries.
SPARE_FILES = 64

Check = dict[str, object]


def local_checks(directory: str, settings: Settings) -> list[Check]:
    """What can be seen from this process, in the order in which a person would repair it."""
    return [
        check_directory(directory),
        check_disk(directory),
        check_token(directory),
        check_clock(time.time()),
        check_files(settings),
        check_hash_back_end(),
        check_tls(settings),
        *(check_shared(path) for path in settings.sharing.directories),
    ]


def offline_checks(directory: str, settings: Settings) -> list[Check]:
    """As local_checks, and what can be told of a node that does not run."""
    node = _check("daemon", None, f"nothing answers in {directory}", f"gnutella run --dir {directory}")
    return [node, *local_checks(directory, settings), *(check_port(endpoint) for endpoint in settings.network.listen)]


def check_directory(directory: str) -> Check:
    """The node's directory exists, is ours, and is closed to others."""
    try:
        found = os.stat(directory)
    except OSError as error:
        return _check("directory", False, f"{directory}: {error.strerror}", f"gnutella init --dir {directory}")
    if not os.access(directory, os.W_OK | os.X_OK):
        return _check("directory", False, f"{directory} cannot be written", "give another --dir, or its owner's rights")
    if stat.S_IMODE(found.st_mode) & 0o022:
        return _check("directory", False, f"{directory} can be written by others", f"chmod go-w {directory}")
    return _check("directory", True, directory)


def check_disk(directory: str) -> Check:
    """There is room for downloads."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return _check("disk", None, f"{directory}: {error.strerror}")
    fix = "" if free >= MIN_FREE_BYTES else "make room, or move the directory"
    return _check("disk", free >= MIN_FREE_BYTES, f"{format_size(free)} free", fix)


def check_token(directory: str) -> Check:
    """The token file is there and closed to others."""
    try:
        roles = read_tokens(directory)
    except FileNotFoundError:
        return _check("token", None, "no token file yet; TCP consoles need one", f"gnutella token --dir {directory}")
    except UserError as error:
        return _check("token", False, error.message, error.hint)
    return _check("token", True, f"{token_path(directory)}: {', '.join(map(str, sorted(roles)))}")


def check_clock(now: float) -> Check:
    """The clock is not plainly wrong; more cannot be told without asking others."""
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    return _check("clock", now >= EARLIEST_TIME, shown, "" if now >= EARLIEST_TIME else "set the clock; NTP does it")


def check_files(settings: Settings) -> Check:
    """The process may open as many files as links and transfers need."""
    network, transfers = settings.network, settings.transfers
    needed = network.max_links + network.max_leaves + transfers.max_uploads + SPARE_FILES
    needed += transfers.max_downloads * (transfers.max_sources + 1) + settings.control.max_consoles
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = limit == resource.RLIM_INFINITY or limit >= needed
    fix = "" if enough else f"ulimit -n {needed}, or LimitNOFILE={needed} in the unit"
    return _check("open files", enough, f"limit {limit}, needed {needed}", fix)


def check_hash_back_end() -> Check:
    """Which code computes tiger trees."""
    try:
        name: Callable[[], str] = importlib.import_module("gnutella.protocol.tth").backend_name
    except (ImportError, AttributeError) as error:
        return _check("tiger tree", False, f"cannot be loaded: {error}", "install the package again")
    slow = "python" in name().lower()
    return _check(
        "tiger tree", True, f"back end {name()}", "install libgcrypt or librhash: it is much faster" if slow else ""
    )


def check_tls(settings: Settings) -> Check:
    """Encrypted links can be made."""
    if not settings.network.tls:
        return _check("tls", None, "switched off (network.tls)")
    try:
        importlib.import_module("OpenSSL.SSL")
    except ImportError as error:
        return _check("tls", False, f"cannot be loaded: {error}", "pip install 'Twisted[tls]'")
    return _check("tls", True, "pyOpenSSL is there")


def check_shared(path: str) -> Check:
    """A shared directory can be read."""
    if os.access(path, os.R_OK | os.X_OK):
        return _check("shared", True, path)
    return _check("shared", False, f"{path} cannot be read", "mount it, or share remove it")


def check_port(endpoint: str) -> Check:
    """A TCP port is free.  Other kinds of endpoints are left to the node."""
    kind, _, rest = endpoint.partition(":")
    number = rest.partition(":")[0].removeprefix("port=")
    if kind != "tcp" or not number.isdigit() or number == "0":
        return _check("port", None, endpoint)
    host = next((part[10:] for part in endpoint.split(":") if part.startswith("interface=")), "")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(number)))
        except OSError as error:
            return _check(
                "port", False, f"{endpoint}: {error.strerror}", "stop the other program, or change network.listen"
            )
    return _check("port", True, f"{endpoint} is free")


def _check(name: str, ok: bool | None, detail: str, fix: str = "") -> Check:
    return {"name": name, "ok": ok, "detail": detail, "fix": fix}
