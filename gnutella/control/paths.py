"""Where a node keeps its things when nobody says: the directory, and the control socket in it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gnutella.settings import ControlSettings

#: Overrides the default directory, for shells and containers that always mean the same node.
DIRECTORY_VARIABLE = "GNUTELLA_DIR"
CONFIG_NAME = "gnutella.toml"
SOCKET_NAME = "control.sock"


def default_directory(environ: Mapping[str, str] | None = None) -> str:
    """$GNUTELLA_DIR, else $XDG_STATE_HOME/gnutella, else ~/.local/state/gnutella; absolute.

    Relative values of XDG_STATE_HOME are ignored, as the XDG base directory specification asks.
    """
    environ = os.environ if environ is None else environ
    given = environ.get(DIRECTORY_VARIABLE, "")
    if given:
        return os.path.abspath(os.path.expanduser(given))
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "gnutella")


def config_path(directory: str) -> str | None:
    """The node's settings file, None when there is none."""
    path = os.path.join(directory, CONFIG_NAME)
    return path if os.path.exists(path) else None


def control_endpoint(settings: ControlSettings, directory: str) -> str:
    """The endpoint string of the control socket, "off" when there is none."""
    if settings.control:
        return settings.control
    path = os.path.join(directory, SOCKET_NAME).replace("\\", "\\\\").replace(":", "\\:")
    return f"unix:{path}:mode=600"


def socket_path(endpoint: str) -> str | None:
    """The path of a `unix:` endpoint, None for any other."""
    if not endpoint.startswith("unix:"):
        return None
    path, at = "", 5
    while at < len(endpoint) and endpoint[at] != ":":
        at += endpoint[at] == "\\"
        path += endpoint[at : at + 1]
        at += 1
    return path.removeprefix("address=")
