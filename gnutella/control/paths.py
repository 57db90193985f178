"""Where a node keeps its things when nobody says: the directory, and the control socket in it."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: Overrides the default directory, for shells and containers that always mean the same node.
DIRECTORY_VARIABLE = "GNUTELLA_DIR"
CONFIG_NAME = "gnutella.toml"


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
