"""Commands that the node runs: from a command line to its control socket, and its rows to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from gnutella.control.client import SILENCE_S, NodeClient
from gnutella.control.grammar import Invocation, line_of
from gnutella.control.live import LiveBars
from gnutella.control.order import Order, json_line, show_rows, wants_colours, width_of
from gnutella.control.paths import config_path, control_endpoint, socket_path
from gnutella.control.printers import printer_for, shows_progress
from gnutella.control.table import NOTHING_FOUND, UNAVAILABLE
from gnutella.errors import UserError
from gnutella.settings import ControlSettings


def run_remote(order: Order) -> int:
    """Ask the node and print what it says; the exit code.  UserError as the node says, or 69."""
    invocation = _for_command_line(order.invocation)
    try:
        with NodeClient(find_socket(order.directory)) as node:
            return _ask(node, order, invocation)
    except UserError as error:
        if error.exit_code == UNAVAILABLE and invocation.command.name == "node.doctor":
            return _doctor_alone(order)
        raise


def find_socket(directory: str) -> str:
    """The control socket of the node in `directory`, as its settings file and the environment say."""
    settings = ControlSettings()
    path = config_path(directory)
    if path or "GNUTELLA_CONTROL_CONTROL" in os.environ:
        from gnutella.settings_file import load

        try:
            settings = load(path, os.environ).settings.control
        except UserError:
            pass  # the node may still run with what it read when the file was right
    return socket_path(control_endpoint(settings, directory)) or os.path.join(directory, "control.sock")


def _for_command_line(invocation: Invocation) -> Invocation:
    """`events` goes on until Ctrl-C here, since a terminal or a pipe is waiting for nothing else."""
    values = invocation.values
    if invocation.command.name == "event.list" and values.get("wait") is None and not values.get("limit"):
        return Invocation(invocation.command, {**values, "follow": True})
    return invocation


def _ask(node: NodeClient, order: Order, invocation: Invocation) -> int:
    waits = invocation.command.streams or shows_progress(invocation)
    rows = node.rows(line_of(invocation.command, invocation.values), None if waits else SILENCE_S)
    try:
        if order.as_json:
            for row in rows:
                print(json_line(row), flush=True)
        elif shows_progress(invocation) and wants_colours(sys.stdout):
            _show_bars(invocation, rows)
        else:
            _show_lines(invocation, rows)
    except KeyboardInterrupt:
        node.interrupt()
        raise
    return NOTHING_FOUND if node.end.get("ok") is False else 0


def _show_lines(invocation: Invocation, rows: Iterable[dict[str, object]]) -> None:
    printer = printer_for(invocation, width_of(sys.stdout), colours=wants_colours(sys.stdout))
    any_row = False
    try:
        for row in rows:
            any_row = True
            for line in printer.add(row):
                print(line, flush=True)
    except UserError:
        # What came before the error is shown; "no downloads" would be a second, false message.
        print("".join(line + "\n" for line in printer.end() if any_row), end="", flush=True)
        raise
    print("".join(line + "\n" for line in printer.end()), end="")


def _show_bars(invocation: Invocation, rows: Iterable[dict[str, object]]) -> None:
    bars = LiveBars(sys.stdout, lambda: width_of(sys.stdout), colours=True)
    for row in rows:
        bars.add(row)
    bars.end(invocation.command.empty)


def _doctor_alone(order: Order) -> int:
    from gnutella.control.doctor import offline_checks
    from gnutella.settings_file import load

    settings = load(config_path(order.directory), os.environ).settings
    rows = offline_checks(order.directory, settings)
    show_rows(order, rows)
    return NOTHING_FOUND if any(row["ok"] is False for row in rows) else 0
