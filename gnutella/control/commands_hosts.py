"""Commands about where peers are found: the host cache, the web caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.control.commands_peers import ROOM_EVERY
from gnutella.control.table import Column, Command, Param

if TYPE_CHECKING:
    from gnutella.control.call import Call

HOST_COLUMNS = (
    Column("address", width=21),
    Column("state", width=6, meaning="good (its last handshake succeeded), new (never tried) or failed"),
    Column("ultrapeer", "truth", "ultra", default=False, meaning="whether it is known to be one"),
    Column("last_ok", "clock", "worked", meaning="seconds since 1970 of its last handshake that succeeded, or null"),
    Column("last_seen", "clock", "heard of", meaning="seconds since 1970 when somebody told of it last"),
    Column("uptime_s", "duration", "daily", meaning="seconds a day that it is up, as it says; null where it does not"),
    Column("failures", "number", "failed", default=0, meaning="in a row"),
    Column("next_try_s", "duration", "rests", meaning="seconds for which it is not dialled; null: it may be dialled"),
)
CACHE_COLUMNS = (
    Column("url", width=40, flexible=True),
    Column("state", width=6, meaning="good (it answered the last time), new (never asked) or failed"),
    Column("version", "number", meaning="1 or 2; null while it is not known"),
    Column("last_ok", "clock", "answered", meaning="seconds since 1970 of its last answer, or null"),
    Column("failures", "number", "failed", default=0, meaning="in a row"),
    Column("next_try_s", "duration", "rests", meaning="seconds for which it is not asked; null: it may be asked"),
    Column("error", flexible=True, default="", meaning="why it failed, as far as it was asked since the start"),
)


async def run_hosts(call: Call) -> None:
    limit = call.number("limit")
    rows = call.node.hosts()
    for number, row in enumerate(rows[: limit or None]):
        call.row(row)
        if number % ROOM_EVERY == 0:
            await call.room()
    call.end["known"] = len(rows)


async def run_caches(call: Call) -> None:
    for row in call.node.web_caches():
        call.row(row)


COMMANDS: tuple[Command, ...] = (
    Command(
        "host.list",
        (("hosts",), ("host", "list")),
        "the host cache: addresses of servents, the best to dial first",
        params=(Param("limit", "end after so many", "number", option=True),),
        columns=HOST_COLUMNS,
        run=run_hosts,
        empty="no hosts are known",
        details="Kept in state.db, written each minute and at the end; 2000 at most, the worst go first.",
        examples=("hosts --limit 20",),
    ),
    Command(
        "cache.list",
        (("caches",), ("cache", "list")),
        "the web caches (GWebCache) that are asked for hosts when other ways find too few",
        columns=CACHE_COLUMNS,
        run=run_caches,
        empty="no web caches are known; see bootstrap.gwebcaches",
    ),
)
