"""Progress bars that stay in place on a terminal: the rows of `get --wait` and `downloads --watch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from gnutella.control.printers import ended_lines
from gnutella.control.render import progress_line
from gnutella.control.view import Row

#: Bars that are kept in place; older finished ones scroll away as plain lines.
MAX_BARS = 20
_OVER = ("done", "failed", "cancelled")


class LiveBars:
    """One line for each download, redrawn when its row changes.  `size` tells the terminal's width each time."""

    def __init__(self, out: TextIO, width: Callable[[], int], *, colours: bool) -> None:
        self._out = out
        self._width = width
        self._colours = colours
        self._rows: dict[object, Row] = {}
        self._drawn = 0

    def add(self, row: Row) -> None:
        """Show the newest state of one download."""
        self._rows[row.get("id")] = row
        settled = []
        if len(self._rows) > MAX_BARS:
            number = next((key for key, old in self._rows.items() if old.get("state") in _OVER), next(iter(self._rows)))
            settled.append(self._rows.pop(number))
        self._draw(settled)

    def end(self, empty: str = "") -> None:
        """Leave the cursor below the bars; `empty` is said when there were none."""
        if not self._rows and empty:
            self._out.write(empty + "\n")
        for row in self._rows.values():
            self._out.writelines(f"{line}\n" for line in ended_lines(row))
        self._out.flush()

    def _draw(self, settled: list[Row]) -> None:
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        rows = [*settled, *self._rows.values()]
        width = self._width()
        lines = [f"\x1b[2K{progress_line(row, width, colours=self._colours)}\n" for row in rows]
        self._out.write(up + "".join(lines))
        self._out.flush()
        self._drawn = len(self._rows)
