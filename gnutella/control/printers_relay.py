"""How what the relay layer says is shown to a person: its screen, its explanations, hits, and keys on lines of their own.

A key is far longer than a column and of no use when it is cut, so it stands whole below its row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from gnutella.control.render import MIN_FLEXIBLE, Table, colour, number_of, printable
from gnutella.control.table import Column
from gnutella.control.view import Row
from gnutella.units import format_duration, format_size

#: Columns left of a text, and before a key.
_LABEL, _INDENT = 12, 5


def key_lines(row: Row) -> list[str]:
    """The keys that a row tells, whole: of what was inserted or offered, and of the document that points to it."""
    if row.get("path"):
        return []  # what was fetched: its key is known to who asked
    indent = " " * _INDENT
    return [f"{indent}{printable(str(row[key]))}" for key in ("uri", "document") if row.get(key)]


def worth_line(row: Row) -> str:
    """How a request was done: `relay level, 2 pivots, as good as hidden among 4.5 nodes`; empty where nothing is told."""
    if not row.get("level"):
        return ""
    pivots = int(number_of(row, "pivots"))
    text = f"{printable(str(row['level']))} level, {pivots} pivot{'' if pivots == 1 else 's'}"
    size = row.get("effective_set")
    return f"{text}, worth a choice among {size} nodes" if size is not None else text


class KeyedTable:
    """A table with the key of each row below it; at the end, how the request was done if that is told."""

    def __init__(
        self, columns: tuple[Column, ...], width: int, empty: str = "", *, colours: bool = False, streams: bool = False
    ) -> None:
        shown = [column for column in columns if column.key not in ("uri", "document")]
        self._table = Table(shown, width, colours=colours, streams=streams)
        self._empty, self._streams = empty, streams
        self._rows: list[Row] = []
        self._has_heading = False

    def add(self, row: Row) -> list[str]:
        self._rows.append(row)
        return self._with_keys(self._table.add(row))

    def end(self) -> list[str]:
        if not self._has_heading and not self._rows:
            return [self._empty] if self._empty else []
        last = self._rows[-1] if self._rows else {}
        worth = worth_line(last) if self._streams else ""
        return self._with_keys(self._table.flush()) + ([worth] if worth else [])

    def _with_keys(self, lines: list[str]) -> list[str]:
        found = []
        for line in lines:
            found.append(line)
            if not self._has_heading:
                self._has_heading = True
            elif not self._streams:
                found += key_lines(self._rows.pop(0))
        return found


def explain_lines(row: Row, width: int, *, colours: bool = False) -> list[str]:
    """One topic: its name, and below it the text."""
    topic = printable(str(row.get("topic")))
    text = printable(str(row.get("text")))
    indent = "  "
    lines = textwrap.wrap(text, max(MIN_FLEXIBLE, width - 1), initial_indent=indent, subsequent_indent=indent)
    return [colour(f"{topic[:1].upper()}{topic[1:]}", "bold", colours), *lines]


def relay_status_lines(row: Row, width: int, *, colours: bool = False) -> list[str]:
    """The one screen of `anonymous status`."""
    ready = colour("yes", "green", colours) if row.get("ready") else colour("no", "yellow", colours)
    why = f", {printable(str(row['why']))}" if row.get("why") else ""
    fields = [
        ("ready", f"{ready}{why}"),
        ("levels", printable(str(row.get("level")))),
        ("hidden", _hidden(row)),
        ("first hop", _guard(row)),
        (
            "others",
            f"{_count(row, 'nodes')} known, {_count(row, 'pivots')} that may be picked; {_count(row, 'links')} links",
        ),
        ("carries", _carries(row)),
        ("own share", _own(row)),
        ("jobs", f"{_count(row, 'jobs')} going on"),
        ("refused", _refused(row)),
    ]
    lines = []
    for name, text in fields:
        first, *others = textwrap.wrap(text, max(MIN_FLEXIBLE, width - _LABEL - 1), break_on_hyphens=False) or [""]
        lines += [f"{colour(f'{name:<10}', 'dim', colours)}  {first}", *(" " * _LABEL + line for line in others)]
    return lines


def _count(row: Row, key: str) -> int:
    return int(number_of(row, key))


def _hidden(row: Row) -> str:
    size = row.get("effective_set")
    if size is None:
        return "among nobody: no other node may be picked yet"
    return f"worth a choice among {size} nodes, if {number_of(row, 'assumed_spies'):.0%} of the nodes work together"


def _guard(row: Row) -> str:
    if row.get("guard") != "ready":
        return "none yet"
    doubtful = "; doubtful: many circuits end before they are answered" if row.get("guard_doubtful") else ""
    return (
        f"the same for {format_duration(number_of(row, 'guard_age_s'))}; a spy with a chance of "
        f"{number_of(row, 'chance_first_hop'):.0%}{doubtful}"
    )


def _carries(row: Row) -> str:
    stored = row.get("stored")
    held = stored if isinstance(stored, Mapping) else {}
    return (
        f"{format_size(_count(row, 'relayed'))} relayed for others, {_count(row, 'circuits')} circuits now; "
        f"{_count(held, 'store')} blocks stored, {_count(held, 'cache')} cached"
    )


def _own(row: Row) -> str:
    share = row.get("own_share")
    if share is None:
        return "too little was sent to tell"
    poor = "; CoverPoor: it shows in this node's volume" if row.get("cover") != "good" else ""
    return f"{number_of(row, 'own_share'):.0%} of what went up in the last ten minutes{poor}"


def _refused(row: Row) -> str:
    refused = row.get("refused")
    counts = refused if isinstance(refused, Mapping) else {}
    return ", ".join(f"{printable(str(name)).replace('_', ' ')} {count}" for name, count in counts.items()) or "nothing"
