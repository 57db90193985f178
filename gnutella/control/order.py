"""What a command line asks for, once it is understood; and how its output should look."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TextIO

from gnutella.control.grammar import Invocation
from gnutella.control.printers import printer_for
from gnutella.control.view import Row


@dataclass(frozen=True)
class Order:
    """One command with its values, the node's directory (absolute), and whether JSON is wanted."""

    invocation: Invocation
    directory: str
    as_json: bool = False


def wants_colours(out: TextIO) -> bool:
    """Colours go to terminals only, and not where NO_COLOR or TERM=dumb say otherwise (https://no-color.org)."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"


def width_of(out: TextIO) -> int:
    """Columns of the terminal; of a pipe, what COLUMNS says, or wide enough that nothing useful is cut."""
    if out.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return 132


def json_line(row: Row) -> str:
    """One row on one line, in ASCII, so that nothing in it can act on a terminal."""
    return json.dumps(row, default=str, ensure_ascii=True)


def show_rows(order: Order, rows: list[dict[str, object]]) -> None:
    """Print the rows of a local command."""
    command = order.invocation.command
    whole = [command.complete(row) for row in rows]
    if order.as_json:
        lines = [json_line(row) for row in whole]
    else:
        printer = printer_for(order.invocation, width_of(sys.stdout), colours=wants_colours(sys.stdout))
        lines = [line for row in whole for line in printer.add(row)] + printer.end()
    print("\n".join(lines))
