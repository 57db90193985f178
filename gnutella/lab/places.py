"""Where something stands in a scenario file: what is wrong is told with its line."""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

#: Keys and numbers of list items, from the top of the file: ("action", 2, "node").
Place = tuple[str | int, ...]


#: Lines of one value; a longer one is found by what is around it.
MAX_VALUE_LINES = 200


class Fault(NamedTuple):
    """Something wrong: where, what, and one way to mend it."""

    place: Place
    what: str
    fix: str = ""

    def __str__(self) -> str:
        where = path_of(self.place)
        return f"{where}: {self.what}" if where else self.what


def path_of(place: Place) -> str:
    """As people write it: action[3].node, counted from 1."""
    text = ""
    for part in place:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def place_of(path: str) -> Place:
    """The place that a validation error of msgspec names: `$.action[2].node`, counted from 0."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", path))


def line_of(text: str, place: Place) -> int | None:
    """The line on which that begins, or the nearest thing around it that the file has; None when there is none.

    The first line without which the parser does not know it: whatever TOML's syntax, that is where it is written.
    """
    for length in range(len(place), 0, -1):
        found = _first_line(text.splitlines(), place[:length])
        if found is not None:
            return found
    return None


def _first_line(lines: list[str], place: Place) -> int | None:
    """Looks at ever longer beginnings of the file, by halves: once something is there, it stays."""
    if not _is_known(lines, place):
        return None
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        if _is_known(lines[:middle], place):
            high = middle
        else:
            low = middle + 1
    return low


def _is_known(lines: list[str], place: Place) -> bool:
    found: object = None
    for stop in range(len(lines), max(0, len(lines) - MAX_VALUE_LINES), -1):
        try:
            found = tomllib.loads("\n".join(lines[:stop]))
        except tomllib.TOMLDecodeError:
            continue  # cut within a value of several lines
        break
    for part in place:
        if isinstance(part, int):
            if not isinstance(found, list) or part >= len(found):
                return False
            found = found[part]
        else:
            if not isinstance(found, dict) or part not in found:
                return False
            found = found[part]
    return True
