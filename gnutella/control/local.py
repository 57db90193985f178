"""Commands that need no running node: init, token, config check, version, demo; and the interactive console's start."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from collections.abc import Callable

from gnutella import __version__
from gnutella.control.order import Order, show_rows
from gnutella.control.paths import CONFIG_NAME, config_path
from gnutella.control.table import CONFIG, NOT_PERMITTED, Role
from gnutella.control.token import ensure_tokens, token_path
from gnutella.errors import UserError
from gnutella.settings_file import load


def run_local(order: Order) -> int:
    """Run it; the exit code."""
    return _RUNS[order.invocation.command.name](order)


def run_init(order: Order) -> int:
    """Make the directory, a commented settings file and the tokens; what exists is left alone."""
    from gnutella.control.schema import commented_settings

    directory = order.directory
    _make_directory(directory)
    path = os.path.join(directory, CONFIG_NAME)
    made = _write_new(path, commented_settings())
    had_tokens = os.path.exists(token_path(directory))
    ensure_tokens(directory)
    rows: list[dict[str, object]] = [
        {"kind": "settings", "path": path, "created": made},
        {"kind": "token", "path": token_path(directory), "created": not had_tokens},
    ]
    show_rows(order, rows)
    if not order.as_json:
        print(f"\nnext:  gnutella run --dir {directory}")
    return 0


def run_token(order: Order) -> int:
    """Print one token; the file is made when it is missing."""
    if not os.path.isdir(order.directory):
        raise UserError(f"no node has been in {order.directory}", f"gnutella init --dir {order.directory}", CONFIG)
    role = Role.named(str(order.invocation.values["role"]))
    token = ensure_tokens(order.directory).get(role)
    if token is None:
        raise UserError(f"{token_path(order.directory)} has no token for {role}", f"add a line: {role} <token>", CONFIG)
    if order.as_json:
        show_rows(order, [{"role": str(role), "token": token, "path": token_path(order.directory)}])
    else:
        print(token)
    return 0


def run_check(order: Order) -> int:
    """Check a settings file; ConfigError (78) lists what is wrong."""
    given = order.invocation.values.get("file")
    path = str(given) if given else config_path(order.directory)
    if path is None:
        raise UserError(f"no {CONFIG_NAME} in {order.directory}", "gnutella init writes one", CONFIG)
    loaded = load(path)
    show_rows(order, [{"path": path, "ok": True, "keys": len(loaded.origins)}])
    return 0


def run_version(order: Order) -> int:
    """What this is made of."""
    twisted = importlib.metadata.version("Twisted")
    show_rows(order, [{"version": __version__, "python": platform.python_version(), "twisted": twisted}])
    return 0


def run_demo(order: Order) -> int:
    """The demonstration; it needs neither a directory nor a daemon."""
    values = order.invocation.values
    nodes = values.get("nodes")
    # Imported by name: the demonstration starts whole nodes, which the command line otherwise knows nothing of.
    main: Callable[..., int] = importlib.import_module("gnutella.demo").main
    return main(json=order.as_json, keep=values.get("keep") is True, nodes=nodes if isinstance(nodes, int) else 5)


def run_console(order: Order) -> int:
    """An interactive console, or a pipe to one."""
    from gnutella.control.shell import run_shell

    return run_shell(order)


def _make_directory(directory: str) -> None:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise UserError(f"--dir {directory}: {error.strerror}", "name another directory", os.EX_CANTCREAT) from None


def _write_new(path: str, text: str) -> bool:
    """Write a file that is not there yet; False when it is.  Never overwrites, not even in a race."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "is the directory yours?", NOT_PERMITTED) from None
    return True


_RUNS: dict[str, Callable[[Order], int]] = {
    "node.init": run_init,
    "token.show": run_token,
    "config.check": run_check,
    "node.version": run_version,
    "node.demo": run_demo,
    "console.open": run_console,
}
