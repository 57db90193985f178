"""`twistd gnutella` and `twist gnutella`: the options of the daemon, and the service made of them.

Whatever the user can have got wrong (options, the settings file, a port in use, a directory in use) is found in `makeService`,
before twistd forks or writes its pid file, and ends in one line on stderr and the exit code of the product contract.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import twisted
from twisted.application.service import IService
from twisted.python import usage

from gnutella import __version__
from gnutella.errors import UserError
from gnutella.startup import complain


class Options(usage.Options):
    """See docs/reference/daemon.md; every option has a key in gnutella.toml and an environment variable."""

    synopsis = "[options]"
    longdesc = "A headless Gnutella 0.6 servent. Everything of one node lives in one directory (--dir)."
    optParameters = [
        [
            "dir",
            "d",
            None,
            "Directory of the node: gnutella.toml, state.db, token, control.sock, incoming/, incomplete/.",
        ],
        ["config", "c", None, "Settings file (TOML); default: gnutella.toml in the directory, if it is there."],
        ["role", None, None, "auto (default: as it is fit and needed), leaf or ultrapeer."],
        ["profile", None, None, "lan (default), public or loopback: which addresses are believed."],
        ["control", None, None, "Endpoint of the control socket; default unix:DIR/control.sock:mode=600."],
        [
            "console",
            None,
            None,
            "Endpoint of the telnet-style console; default tcp:6347:interface=127.0.0.1; 'off': none.",
        ],
        ["http", None, None, "Endpoint of the HTTP API; this version has none, so only 'off' has an effect."],
    ]
    optFlags = [["anonymous", None, "Switch the relay layer on (see explanation/relay-layer.md)."]]
    compData = usage.Completions(
        optActions={
            "dir": usage.CompleteDirs(),
            "config": usage.CompleteFiles("*.toml"),
            "role": usage.CompleteList(["auto", "leaf", "ultrapeer"]),
            "profile": usage.CompleteList(["lan", "public", "loopback"]),
        }
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lists: dict[str, list[str]] = {"listen": [], "connect": [], "share": []}

    def opt_listen(self, endpoint: str) -> None:
        """Endpoint that peers connect to; may repeat; default tcp:6346. tcp:0:interface=127.0.0.1 takes a free port."""
        self.lists["listen"].append(endpoint)

    def opt_connect(self, address: str) -> None:
        """HOST:PORT of a link to open at start and to keep open; may repeat."""
        self.lists["connect"].append(address)

    def opt_share(self, directory: str) -> None:
        """Directory whose files are offered; may repeat."""
        self.lists["share"].append(os.path.abspath(os.path.expanduser(directory)))

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        print(f"gnutella {__version__}, Twisted {twisted.__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """As usage.Options, but a mistake is one line and exit code 64, where twistd would print the help and say 1."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            complain(UserError(str(error).rstrip("."), "twistd gnutella --help lists the options"), sys.stderr)
            raise SystemExit(os.EX_USAGE) from None

    def overrides(self) -> dict[str, object]:
        """The options given, as settings keys ("network.listen": (...), …)."""
        keys = {
            "network.listen": tuple(self.lists["listen"]),
            "network.connect": tuple(self.lists["connect"]),
            "sharing.directories": tuple(self.lists["share"]),
            "network.role": self["role"],
            "network.profile": self["profile"],
            "control.control": self["control"],
            "control.console": self["console"],
            "anonymous.enabled": bool(self["anonymous"]),
        }
        return {key: value for key, value in keys.items() if value}


def makeService(options: Options) -> IService:
    """The node as a service; exits with one readable line if it cannot start (64, 69, 73, 78)."""
    # Imported here: twistd has installed the wanted reactor by now, and `twistd --help` stays quick.
    from twisted.internet import reactor

    from gnutella.node import prepare

    try:
        if options["http"] not in (None, "off"):
            print(
                "gnutella: --http: this version has no HTTP API; use the control socket or the console", file=sys.stderr
            )
        service: Any = prepare(options["dir"], options["config"], options.overrides(), os.environ, reactor)
    except UserError as error:
        for line in str(error).split("\n"):
            print(f"gnutella: {line}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    return service  # type: ignore[no-any-return]
