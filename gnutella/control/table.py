"""The words of the command table: what a command, a parameter and a column are.

The table itself is `gnutella.control.commands.COMMANDS`.  Console, command line, help, and the reference pages are made from
it, and nothing about a command is written down twice.  See docs/reference/commands.md for the table as people read it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from gnutella.routing.sorts import SORTS

if TYPE_CHECKING:
    from gnutella.control.call import Call
    from gnutella.control.view import Row

#: What `--kind` may ask for.
KINDS = SORTS


class Role(IntEnum):
    """What a caller may do; each role may do all that the lower ones may."""

    READ = 1
    CONTROL = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Role:
        """`read`, `control` or `admin`; KeyError otherwise."""
        return cls[name.upper()]

    def __str__(self) -> str:
        return self.name.lower()


#: How a value is written: parsed by gnutella.control.grammar, shown in help by its metavar.
ParamKind = Literal["text", "number", "seconds", "address", "guid", "choice", "choices", "flag", "directory", "file"]
#: How a cell is shown by gnutella.control.render.
ColumnKind = Literal["text", "number", "size", "rate", "duration", "clock", "truth", "list", "json"]
#: Where a command runs: in the node, in the program that is typed (which may ask the node), or in the console session only.
Place = Literal["node", "local", "session"]
#: How rows are shown to people: a table, one block of lines, progress lines, or events.
Layout = Literal["table", "block", "progress", "events"]


@dataclass(frozen=True)
class Param:
    """One thing that follows the verb: positional, or `--name value` when `option`.

    `many` takes all that is left, at least one when required.  `handle` names the command whose last listing a bare number
    refers to, and the key of the row that is meant.
    """

    name: str
    help: str
    kind: ParamKind = "text"
    metavar: str = ""
    option: bool = False
    required: bool = False
    many: bool = False
    default: object = None
    choices: tuple[str, ...] = ()
    handle: tuple[str, str] | None = None

    @property
    def shown(self) -> str:
        """The placeholder in help: `H:P`, `S`, `WORDS…`."""
        name = self.metavar or {"seconds": "S", "address": "H:P", "number": "N"}.get(self.kind, self.name.upper())
        return name + ("…" if self.many else "")


@dataclass(frozen=True)
class Column:
    """One key of a command's rows.  `in_table` False: only in JSON.  The widest `flexible` column gives way first.

    `comes_last`: in a table it stands behind the others, and so is the first that a narrow terminal does not show.
    """

    key: str
    kind: ColumnKind = "text"
    title: str = ""
    width: int = 0
    flexible: bool = False
    in_table: bool = True
    comes_last: bool = False
    default: object = None
    meaning: str = ""

    @property
    def heading(self) -> str:
        """The title of the column in a table."""
        return self.title or self.key.replace("_", " ")


@dataclass(frozen=True)
class Command:
    """One row of the table.

    `spoken` are the ways to say it, the first one being the one that help shows.  `run` sends rows through its Call and raises
    UserError; commands with place "local" or "session" have none.  `streams`: rows come over time, so tables cannot wait for
    the last one.  `empty` is said when there was no row.  `bare` names the command that is meant when no positional follows.
    `group` is the heading that help lists it under.
    """

    name: str
    spoken: tuple[tuple[str, ...], ...]
    help: str
    role: Role = Role.READ
    params: tuple[Param, ...] = ()
    columns: tuple[Column, ...] = ()
    run: Callable[[Call], Awaitable[None]] | None = None
    place: Place = "node"
    layout: Layout = "table"
    streams: bool = False
    empty: str = ""
    bare: str = ""
    details: str = ""
    examples: tuple[str, ...] = ()
    group: str = ""

    @property
    def words(self) -> str:
        """How it is said: `share add`."""
        return " ".join(self.spoken[0])

    @property
    def positionals(self) -> tuple[Param, ...]:
        """Parameters by place."""
        return tuple(param for param in self.params if not param.option)

    @property
    def options(self) -> tuple[Param, ...]:
        """Parameters by name."""
        return tuple(param for param in self.params if param.option)

    @property
    def usage(self) -> str:
        """`search WORDS… [--wait S] [--limit N]`."""
        parts = [self.words]
        parts += [param.shown if param.required else f"[{param.shown}]" for param in self.positionals]
        parts += [
            f"[--{param.name}]" if param.kind == "flag" else f"[--{param.name} {param.shown}]" for param in self.options
        ]
        return " ".join(parts)

    def complete(self, row: Row) -> dict[str, object]:
        """`row` with every column in the table's order, then what else it has."""
        whole: dict[str, object] = {column.key: row.get(column.key, column.default) for column in self.columns}
        whole.update(row)
        return whole


#: Exit code of each error class; the last two digits of the console's status code tell it.
NOTHING_FOUND = 1
USAGE = os.EX_USAGE
UNAVAILABLE = os.EX_UNAVAILABLE
GAVE_UP = os.EX_TEMPFAIL
NOT_PERMITTED = os.EX_NOPERM
CONFIG = os.EX_CONFIG
FAULT = os.EX_SOFTWARE
CANNOT_MAKE = os.EX_CANTCREAT

#: Exit code -> status code of an error line; 570 is a fault of our own.
STATUS_OF: Mapping[int, int] = {
    NOTHING_FOUND: 551,
    USAGE: 564,
    UNAVAILABLE: 569,
    FAULT: 570,
    CANNOT_MAKE: 573,
    GAVE_UP: 575,
    NOT_PERMITTED: 577,
    CONFIG: 578,
}
EXIT_OF: Mapping[int, int] = {status: code for code, status in STATUS_OF.items()}
MEANING_OF: Mapping[int, str] = {
    0: "done",
    NOTHING_FOUND: "nothing found, or it failed",
    USAGE: "the command line cannot be read",
    UNAVAILABLE: "the daemon, or the peer, cannot be reached",
    FAULT: "a fault of ours; the node's log tells more",
    CANNOT_MAKE: "a directory or file cannot be made, or another node has the directory",
    GAVE_UP: "gave up waiting",
    NOT_PERMITTED: "not permitted",
    CONFIG: "the configuration is wrong, or lacks something",
}
