"""Rows as people read them: cells, tables fitted to a width, progress bars.

All text that came from the network passes through `printable`, so no control character, escape sequence or direction mark of
a file name reaches a terminal.  Nothing here writes; it returns lines.
"""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Mapping, Sequence

from gnutella.control.table import Column
from gnutella.control.view import Row
from gnutella.units import format_duration, format_size

#: Rows that a table looks at before it fixes its widths; later rows are cut to them.
SAMPLE_ROWS = 100
#: A flexible column of a streaming table is not made wider than this for rows that may never come.
MAX_STREAMED = 60
#: A flexible column is not made narrower than this.
MIN_FLEXIBLE = 8
#: Width when the terminal does not tell one.
DEFAULT_WIDTH = 80
#: Narrowest and widest that is believed.
MIN_WIDTH, MAX_WIDTH = 40, 400
#: What an unknown value looks like.
UNKNOWN = "–"
GAP = "  "

_RIGHT = frozenset({"number", "size", "rate", "duration"})
#: States in which data moves, and what it moves by.
_MOVING = {"transferring": "source", "fetching": "circuit", "inserting": "circuit"}
#: What a state that has no bar waits for.
_WAITS = {
    "opening": "finds its way through the relay layer",
    "announcing": "signs a new edition; may take a minute",
}
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_WORD_COLOURS = {
    "done": "green",
    "failed": "red",
    "cancelled": "dim",
    "paused": "yellow",
    "transferring": "cyan",
    "fetching": "cyan",
    "inserting": "cyan",
    "verifying": "cyan",
    "ultrapeer": "cyan",
    "ok": "green",
    "NO": "red",
}


def printable(text: str) -> str:
    """`text` with everything that is not plainly visible written as an escape, as repr does: `\\x1b[2J`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def cells_of(text: str) -> int:
    """Columns of a terminal that `text` takes: two for wide East Asian characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` cut (with an ellipsis) or padded to exactly `width` columns."""
    size = cells_of(text)
    if size > width:
        kept, used = [], 0
        for char in text:
            wide = cells_of(char)
            if used + wide > width - 1:
                break
            kept.append(char)
            used += wide
        text, size = "".join(kept) + "…", used + 1
    pad = " " * (width - size)
    return pad + text if right else text + pad


def fit_end(text: str, width: int) -> str:
    """`text` cut at its front to at most `width` columns: the end of a path tells more than its beginning."""
    if cells_of(text) <= width:
        return text
    start, used = len(text), 1
    while start and used + cells_of(text[start - 1]) <= width:
        start -= 1
        used += cells_of(text[start])
    return f"…{text[start:]}"


def colour(text: str, name: str, wanted: bool) -> str:
    """`text` in a colour, if colours are wanted."""
    return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m" if wanted and name else text


def cell(column: Column, value: object) -> str:
    """One value of a column, on one line and harmless."""
    if value is None:
        return "" if column.default == "" else UNKNOWN
    if isinstance(value, bool) or column.kind == "truth":
        return _truth(column, value)
    if isinstance(value, (int, float)):
        return _numeric(column, value)
    if column.kind == "list" and isinstance(value, (list, tuple)):
        return printable(_listed(value))
    if isinstance(value, (list, tuple, dict, Mapping)) or column.kind == "json":
        return json.dumps(value, default=str, ensure_ascii=True)
    return printable(str(value))


def _truth(column: Column, value: object) -> str:
    if column.key == "ok":
        return "ok" if value else "NO"
    return "yes" if value else "no"


def _numeric(column: Column, value: float) -> str:
    if column.kind == "size":
        return format_size(int(value))
    if column.kind == "rate":
        return f"{format_size(int(value))}/s" if value else UNKNOWN
    if column.kind == "duration":
        return format_duration(value)
    if column.kind == "clock":
        return clock_time(value)
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def clock_time(seconds: float) -> str:
    """Local time of day to the millisecond: `14:03:07.250`."""
    try:
        return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(seconds * 1000) % 1000:03d}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.3f}"


def _listed(values: Sequence[object]) -> str:
    """The first of several sources, and how many more; of plain texts, all."""
    texts = [str(value.get("address", "")) if isinstance(value, Mapping) else str(value) for value in values]
    if values and isinstance(values[0], Mapping):
        more = f" +{len(texts) - 1}" if len(texts) > 1 else ""
        return texts[0] + more
    return ", ".join(texts)


class Table:
    """A table that grows row by row and gives lines when it knows its widths.

    `streams`: each row is given at once, in the columns' own widths; otherwise the first SAMPLE_ROWS rows decide the widths.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        width: int = DEFAULT_WIDTH,
        *,
        colours: bool = False,
        streams: bool = False,
        numbered: bool = False,
    ) -> None:
        shown = sorted((column for column in columns if column.in_table), key=lambda column: column.comes_last)
        self._columns = [Column("", "number", "#", 2), *shown] if numbered else shown
        self._numbered = numbered
        self._available = max(MIN_WIDTH, min(width, MAX_WIDTH)) - 1
        self._colours = colours
        self._streams = streams
        self._waiting: list[list[str]] = []
        self._widths: list[int] = []
        self._count = 0

    def add(self, row: Row) -> list[str]:
        """Lines that can be shown now, the heading first."""
        self._count += 1
        cells = [cell(column, row.get(column.key)) for column in self._columns]
        if self._numbered:
            cells[0] = str(self._count)
        if self._widths:
            return [self._line(cells)]
        self._waiting.append(cells)
        return self.flush() if self._streams or len(self._waiting) >= SAMPLE_ROWS else []

    def flush(self) -> list[str]:
        """Lines still held back; call at the end."""
        if not self._waiting:
            return []
        self._widths = self._fitted()
        heading = GAP.join(
            fit(column.heading, width, right=column.kind in _RIGHT)
            for column, width in zip(self._columns, self._widths, strict=True)
            if width
        ).rstrip()
        lines = [colour(heading, "dim", self._colours), *(self._line(cells) for cells in self._waiting)]
        self._waiting = []
        return lines

    def _fitted(self) -> list[int]:
        """Widths such that a line fits, taking from the widest flexible columns first."""
        widths = []
        for number, column in enumerate(self._columns):
            widest = max(cells_of(cells[number]) for cells in self._waiting)
            wanted = max(widest, column.width) if self._streams else widest
            empty = not self._streams and column.flexible and not widest
            widths.append(0 if empty else min(self._available, max(wanted, cells_of(column.heading))))
        flexible = [number for number, column in enumerate(self._columns) if column.flexible and widths[number]]
        over = self._over(widths)
        if self._streams and over < 0 and flexible:
            widths[flexible[0]] = max(widths[flexible[0]], min(widths[flexible[0]] - over, MAX_STREAMED))
        while over > 0 and any(widths[number] > MIN_FLEXIBLE for number in flexible):
            widest = max(flexible, key=lambda number: widths[number])
            widths[widest] -= 1
            over -= 1
        while self._over(widths) > 0 and sum(map(bool, widths)) > 2:
            last = max(number for number, width in enumerate(widths) if width)
            widths[last] = 0
        return widths

    def _over(self, widths: list[int]) -> int:
        return sum(widths) + len(GAP) * (sum(map(bool, widths)) - 1) - self._available

    def _line(self, cells: list[str]) -> str:
        parts = []
        for column, text, width in zip(self._columns, cells, self._widths, strict=True):
            if width:
                shown = fit(text, width, right=column.kind in _RIGHT)
                parts.append(colour(shown, _WORD_COLOURS.get(text, ""), self._colours))
        line = GAP.join(parts)
        return line if self._colours else line.rstrip()


def bar(share: float, width: int) -> str:
    """A bar of `width` columns, filled to `share` (0..1) in eighths."""
    share = max(0.0, min(1.0, share))
    eighths = int(share * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width, "·")


def number_of(row: Row, key: str) -> float:
    """A number of a row, 0 where it is missing or no number."""
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def share_of(row: Row) -> float:
    """How much of a download is there, 0..1."""
    size = number_of(row, "size")
    return 1.0 if row.get("state") == "done" else min(1.0, number_of(row, "downloaded") / size) if size else 0.0


def progress_line(row: Row, width: int = DEFAULT_WIDTH, *, colours: bool = False) -> str:
    """One download on one line, with a bar while it moves.

    ` 3  alice.txt            ██████▌····  54%  1.2 MiB/s  12.3 s left  2 sources`
    """
    width = max(MIN_WIDTH, min(width, MAX_WIDTH)) - 1
    state = str(row.get("state") or "")
    name = printable(str(row.get("name") or "(unnamed)"))
    number = f"{printable(str(row.get('id', ''))):>3}"
    if state in (*_MOVING, "verifying", "paused"):
        tail = _tail(row, state, width - len(number) - 2 * len(GAP) - 2 * MIN_FLEXIBLE)
        left = width - len(number) - len(tail) - 3 * len(GAP)
        name_width = max(MIN_FLEXIBLE, left * 3 // 5)
        drawn = colour(bar(share_of(row), max(4, left - name_width)), "cyan", colours)
        return f"{number}{GAP}{fit(name, name_width)}{GAP}{drawn}{GAP}{tail}".rstrip()
    shown = colour(fit(state, 12), _WORD_COLOURS.get(state, ""), colours)
    path = printable(str(row.get("path") or ""))
    if state == "done" and path:
        size = f"{format_size(int(number_of(row, 'size'))):>9}"
        room = max(MIN_FLEXIBLE, width - len(number) - 12 - len(size) - 3 * len(GAP))
        return f"{number}{GAP}{shown}{GAP}{size}{GAP}{fit_end(path, room)}".rstrip()
    about = _about(row)
    left = width - len(number) - 12 - 3 * len(GAP)
    name_width = max(MIN_FLEXIBLE, min(cells_of(name), left // 2))
    return f"{number}{GAP}{shown}{GAP}{fit(name, name_width)}{GAP}{fit(about, max(MIN_FLEXIBLE, left - name_width))}".rstrip()


def _tail(row: Row, state: str, room: int) -> str:
    """What stands behind the bar, padded so that the bars of several downloads stand below each other; the least is left
    out first where there is little room."""
    sources, eta = int(number_of(row, "sources")), row.get("eta_s")
    speed = f"{format_size(int(number_of(row, 'speed')))}/s"
    left = f"{format_duration(eta)} left" if isinstance(eta, (int, float)) else ""
    parts = [
        f"{share_of(row) * 100:3.0f}%",
        f"{speed:>12}",
        f"{left:>15}",
        f"{sources:>2} {_MOVING.get(state, 'source')}{'' if sources == 1 else 's'}",
    ]
    if state not in _MOVING:
        parts[1:] = [f"{state:>12}", " " * 15, ""]
    while len(parts) > 1 and len(GAP.join(parts)) > room:
        parts.pop()
    return GAP.join(parts)


def _about(row: Row) -> str:
    error = printable(str(row.get("error") or ""))
    size = number_of(row, "size")
    return error or _WAITS.get(str(row.get("state")), "") or (format_size(int(size)) if size else "")
