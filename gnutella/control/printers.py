"""How the rows of one reply are shown to a person: table, status screen, progress lines or events.

A printer takes rows and gives lines; `end` gives what is left.  Human mode of the console and the command line share them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Protocol

from gnutella.control.commands_anonymous import HIT_COLUMNS, SHARE_COLUMNS
from gnutella.control.grammar import Invocation
from gnutella.control.printers_relay import (
    KeyedTable,
    explain_lines,
    key_lines,
    relay_status_lines,
    worth_line,
)
from gnutella.control.render import (
    DEFAULT_WIDTH,
    MIN_FLEXIBLE,
    Table,
    cell,
    clock_time,
    colour,
    number_of,
    printable,
    progress_line,
    share_of,
)
from gnutella.control.table import Column, Command
from gnutella.control.view import Row
from gnutella.units import format_duration, format_size

#: Listings whose row numbers are handles (`disconnect 2`).
NUMBERED = frozenset({"link.list", "share.dirs", "query.list"})
#: A download's progress is told again when it has moved by this share.
PROGRESS_STEP = 0.1


class Printer(Protocol):
    """Rows in, lines out."""

    def add(self, row: Row) -> list[str]: ...

    def end(self) -> list[str]: ...


def printer_for(invocation: Invocation, width: int = DEFAULT_WIDTH, *, colours: bool = False) -> Printer:
    """The printer that fits a command and its options."""
    command = invocation.command
    if shows_progress(invocation):
        return ProgressLines(width, colours=colours)
    if (relay := _relay_printer(invocation, width, colours=colours)) is not None:
        return relay
    if command.layout == "events":
        return Lines(lambda row: [event_line(row, width, colours=colours)], command.empty)
    if command.name == "node.status":
        return Lines(lambda row: status_lines(row, width, colours=colours))
    if command.name == "node.doctor":
        return Lines(lambda row: doctor_lines(row, width, colours=colours))
    if command.layout == "block":
        return Lines(lambda row: block_lines(command, row))
    if any(column.key == "likely_spam" for column in command.columns):
        return HitLines(command, width, colours=colours, shows_all=invocation.values.get("all") is True)
    return TableLines(command, width, colours=colours)


def _relay_printer(invocation: Invocation, width: int, *, colours: bool) -> Printer | None:
    """What the relay layer says has printers of its own; so has a plain verb that asks it."""
    command = invocation.command
    if command.name == "anonymous.status":
        return Lines(lambda row: relay_status_lines(row, width, colours=colours))
    if command.name == "anonymous.explain":
        return Lines(lambda row: explain_lines(row, width, colours=colours))
    if command.columns == SHARE_COLUMNS:
        return KeyedTable(SHARE_COLUMNS, width, command.empty, colours=colours)
    is_search = command.name == "search.start" and invocation.values.get("anonymous") not in (None, "off")
    if command.name == "anonymous.search" or is_search:
        return KeyedTable(HIT_COLUMNS, width, colours=colours, streams=True)
    return None


def shows_progress(invocation: Invocation) -> bool:
    """Whether the rows are states of downloads over time."""
    return invocation.command.layout == "progress" or invocation.values.get("watch") is True


class TableLines:
    """A table; says what is empty."""

    def __init__(self, command: Command, width: int, *, colours: bool = False) -> None:
        numbered = command.name in NUMBERED
        self._table = Table(command.columns, width, colours=colours, streams=command.streams, numbered=numbered)
        self._empty = command.empty
        self._any = False

    def add(self, row: Row) -> list[str]:
        self._any = True
        return self._table.add(row)

    def end(self) -> list[str]:
        return self._table.flush() if self._any else [self._empty] if self._empty else []


class HitLines(TableLines):
    """A table of hits without those that are likely spam, which are counted at its end."""

    def __init__(self, command: Command, width: int, *, colours: bool = False, shows_all: bool = False) -> None:
        super().__init__(command, width, colours=colours)
        self._shows_all = shows_all
        self._hidden = 0

    def add(self, row: Row) -> list[str]:
        if row.get("likely_spam") and not self._shows_all:
            self._hidden += 1
            return []
        return super().add(row)

    def end(self) -> list[str]:
        hidden = [f"{self._hidden} hidden as likely spam, --all shows them"] if self._hidden else []
        return [*super().end(), *hidden]


class Lines:
    """Each row by a function of its own."""

    def __init__(self, draw: Callable[[Row], list[str]], empty: str = "") -> None:
        self._draw = draw
        self._empty = empty

    def add(self, row: Row) -> list[str]:
        self._empty = ""
        return self._draw(row)

    def end(self) -> list[str]:
        return [self._empty] if self._empty else []


class ProgressLines:
    """One line for each change that a reader would want: another state, or a tenth more."""

    def __init__(self, width: int, *, colours: bool = False) -> None:
        self._width = width
        self._colours = colours
        self._told: dict[object, tuple[object, object, float]] = {}

    def add(self, row: Row) -> list[str]:
        state, error, share = row.get("state"), row.get("error"), share_of(row)
        told = self._told.get(row.get("id"))
        if told is not None and told[:2] == (state, error) and abs(share - told[2]) < PROGRESS_STEP:
            return []
        self._told[row.get("id")] = (state, error, share)
        return [progress_line(row, self._width, colours=self._colours), *ended_lines(row)]

    def end(self) -> list[str]:
        return [] if self._told else ["no downloads"]


def ended_lines(row: Row) -> list[str]:
    """What stands below a job of the relay layer that is done: its keys, and how it was done."""
    if row.get("state") != "done":
        return []
    worth = worth_line(row)
    return [*key_lines(row), *([f"     {worth}"] if worth else [])]


def event_line(row: Row, width: int = 0, *, colours: bool = False) -> str:
    """`14:03:07.250     12  link_opened  address=127.0.0.1:6346 direction=out`"""
    data = row.get("data")
    pairs = data.items() if isinstance(data, Mapping) else ()
    shown = " ".join(f"{key}={_value(value)}" for key, value in pairs)
    kind = colour(f"{printable(str(row.get('type')))}", "cyan", colours)
    return f"{clock_time(number_of(row, 'time'))}  {printable(str(row.get('id'))):>5}  {kind}  {shown}".rstrip()


def _value(value: object) -> str:
    text = cell(Column("", "list"), value)
    return f'"{text}"' if " " in text or not text else text


def block_lines(command: Command, row: Row) -> list[str]:
    """One `key  value` line for each column."""
    shown = [column for column in command.columns if column.in_table]
    longest = max([12, *(len(column.heading) for column in shown)])
    return [f"{column.heading:<{longest}}  {cell(column, row.get(column.key))}" for column in shown]


def doctor_lines(row: Row, width: int = DEFAULT_WIDTH, *, colours: bool = False) -> list[str]:
    """One check: its verdict and, below it, what to do."""
    ok = row.get("ok")
    verdict, paint = ("–", "yellow") if ok is None else ("ok", "green") if ok else ("NO", "red")
    lead = f"{verdict:<2}  {printable(str(row.get('name'))):<12}"
    room = max(MIN_FLEXIBLE, width - len(lead) - 3)
    texts = textwrap.wrap(printable(str(row.get("detail") or "")), room)
    if row.get("fix"):
        texts += textwrap.wrap(f"→ {printable(str(row['fix']))}", room, subsequent_indent="  ", break_on_hyphens=False)
    first, *others = texts or [""]
    rest = [f"{'':<{len(lead)}}  {text}" for text in others]
    return [f"{colour(lead[:2], paint, colours)}{lead[2:]}  {first}".rstrip(), *rest]


def status_lines(row: Row, width: int = 0, *, colours: bool = False) -> list[str]:
    """The one screen of `status`; lines beyond `width` go on below their text.  0: none does."""
    links, limits, moving = _sub(row, "links"), _sub(row, "limits"), _sub(row, "transfers")
    shared, hashing, reachable = _sub(row, "shared"), _sub(row, "hashing"), _sub(row, "reachable")
    ready = colour("ready", "green", colours) if row.get("ready") else colour("not ready yet", "yellow", colours)
    profile = f"  {printable(str(row['profile']))}" if row.get("profile") else ""
    fields = [
        (
            "node",
            f"{printable(str(row.get('version')))}{profile}  up {format_duration(number_of(row, 'uptime_s'))}  {ready}",
        ),
        ("role", _role(row)),
        *(("facts", line) for line in _facts(row)),
        ("listening", cell(Column("", "list"), row.get("listen")) or "no"),
        ("consoles", cell(Column("", "list"), row.get("consoles")) or "none"),
        ("reachable", _reachable(reachable)),
        *(("mapped", line) for line in _mapping(_sub(row, "nat"))),
        *(("found by", line) for line in _bootstrap(_sub(row, "bootstrap"))),
        (
            "links",
            _links(row, links, limits),
        ),
        (
            "shared",
            f"{_counted(shared, 'files')}  {format_size(int(number_of(shared, 'bytes')))}{_hashing(hashing)}",
        ),
        (
            "downloads",
            f"{_count(moving, 'downloads')} of {_count(limits, 'max_downloads')}  "
            f"{_rate(moving, 'download_rate', limits, 'download_kib_s')}",
        ),
        (
            "uploads",
            f"{_count(moving, 'uploads')} of {_count(limits, 'max_uploads')}  "
            f"{_rate(moving, 'upload_rate', limits, 'upload_kib_s')}",
        ),
        *(("safety", line) for line in _safety(_sub(row, "safety"))),
        ("servent id", printable(str(row.get("servent_id")))),
    ]
    lines = []
    for name, text in fields:
        first, *others = _wrapped(text, width - 12)
        lines += [f"{colour(f'{name:<10}', 'dim', colours)}  {first}", *(f"{'':<12}{line}" for line in others)]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of that width, but for words that are longer."""
    if len(text) <= width or width < MIN_FLEXIBLE:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _sub(row: Row, key: str) -> Mapping[str, object]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(row: Row, key: str) -> str:
    return str(int(number_of(row, key))) if key in row else "?"


def _counted(row: Row, key: str) -> str:
    return f"{_count(row, key)} {key[:-1] if row.get(key) == 1 else key}"


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _links(row: Row, links: Row, limits: Row) -> str:
    """How many there are, and what an ultrapeer has room for; a leaf takes no leaves, and few ultrapeers."""
    if row.get("role") == "leaf":
        return f"{_count(links, 'peers')} open  {_count(links, 'ultrapeers')} to ultrapeers"
    return (
        f"{_count(links, 'peers')} open  {_count(links, 'ultrapeers')} of {_count(limits, 'max_links')} to ultrapeers  "
        f"{_count(links, 'leaves')} of {_count(limits, 'max_leaves')} leaves"
    )


def _role(row: Row) -> str:
    """The role, who set it, for how long, and why."""
    setting = " (auto)" if row.get("role_setting") == "auto" else ""
    reason = f": {printable(str(row['role_reason']))}" if row.get("role_reason") else ""
    return f"{printable(str(row.get('role')))}{setting} for {format_duration(number_of(row, 'role_since_s'))}{reason}"


def _facts(row: Row) -> list[str]:
    """What was measured for a role that is found, not set; with what an ultrapeer needs where that is not met."""
    if row.get("role_setting", "auto") != "auto":
        return []
    facts = row.get("role_facts")
    told = []
    for fact in facts if isinstance(facts, list) else ():
        wanted = f" (wanted {printable(str(fact['wanted']))})" if fact["met"] is False else ""
        told.append(f"{printable(str(fact['fact']))} {printable(str(fact['value']))}{wanted}")
    return ["; ".join(told)] if told else []


def _reachable(row: Row) -> str:
    """Whether others can connect to us; UDP only where something is known of it."""
    tcp = row.get("tcp")
    shown = "unknown, nobody from outside has connected yet" if tcp is None else "yes" if tcp else "no"
    udp = row.get("udp")
    return f"tcp {shown}" if udp is None else f"tcp {shown}  udp {'yes' if udp else 'no'}"


def _mapping(row: Row) -> list[str]:
    """What became of the port mapping; nothing where no router is asked."""
    if row.get("state") in (None, "off"):
        return []
    what = f"{row.get('method')}  {row.get('address')}" if row.get("state") == "mapped" else f"no, {row.get('state')}"
    detail = f"  {printable(str(row['detail']))}" if row.get("detail") else ""
    return [printable(what) + detail]


def _bootstrap(row: Row) -> list[str]:
    """What else peers are found by, and who may find them through us."""
    if not row:
        return []
    told = [f"{_counted(row, 'hosts')} known"]
    if row.get("web_caches"):
        told.append(_plural(int(number_of(row, "web_caches")), "web cache"))
    mdns, serves = _sub(row, "mdns"), _sub(row, "serves")
    if mdns.get("state") == "running":
        told.append(f"mDNS, {_counted(mdns, 'services')}")
    if serves:
        told.append(f"serves {printable(str(serves.get('url')))}")
    return ["  ".join(told), *_silent(row.get("sources"))]


def _silent(sources: object) -> list[str]:
    """The ways to find peers that do not work, and why."""
    rows = [row for row in sources if isinstance(row, Mapping)] if isinstance(sources, list) else []
    return [
        printable(f"no {row.get('source')}: {row.get('detail')}")
        for row in rows
        if row.get("state") in ("failed", "absent")
    ]


def _safety(row: Row) -> list[str]:
    """What was refused for the node's safety; nothing where there is nothing to tell."""
    told = []
    if row.get("blocklists"):
        broken = f", {_count(row, 'blocklists_broken')} broken" if row.get("blocklists_broken") else ""
        told.append(f"{_count(row, 'ranges')} ranges blocked{broken}, {_count(row, 'blocked')} refused")
    if row.get("hammering"):
        told.append(f"{_count(row, 'waiting')} hosts wait, {_count(row, 'hammering')} visits refused")
    if row.get("network_full"):
        told.append(f"{_count(row, 'network_full')} refused for their network")
    return ["  ".join(told)] if told else []


def _hashing(row: Row) -> str:
    pending = int(number_of(row, "pending"))
    current = printable(str(row.get("current") or ""))
    return f"  {pending} to hash{f', now {current}' if current else ''}" if pending else ""


def _rate(row: Row, key: str, limits: Row, limit_key: str) -> str:
    limit = int(number_of(limits, limit_key))
    return f"{format_size(int(number_of(row, key)))}/s, " + (f"limit {limit} KiB/s" if limit else "no limit")
