"""Commands about blocklists: what was read of them, read them again, is this address on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.control.table import NOTHING_FOUND, Column, Command, Param, Role
from gnutella.errors import UserError

if TYPE_CHECKING:
    from gnutella.control.call import Call

LIST_COLUMNS = (
    Column("path", flexible=True, width=32),
    Column("state", width=6, meaning="ok; broken; or kept: broken now, and the last good one holds"),
    Column("ranges", "number", default=0),
    Column("bad_lines", "number", default=0, meaning="lines that were passed over"),
    Column("blocked", "number", default=0, meaning="how often it kept somebody out"),
    Column("loaded", "clock", meaning="when the ranges that hold were read, seconds since 1970"),
    Column("error", flexible=True, default="", meaning="why the file as it is now could not be used"),
)
CHECK_COLUMNS = (
    Column("address", width=21),
    Column("blocked", "truth", default=False),
    Column("path", flexible=True, default="", meaning="the list that has it"),
    Column("line", "number", meaning="where in that list; null when it is on none"),
)
EMPTY = "no blocklist; see safety.blocklists"


async def run_list(call: Call) -> None:
    for row in call.node.blocklists():
        call.row(row)


async def run_reload(call: Call) -> None:
    for row in await call.node.blocklist_reload():
        call.row(row)


async def run_check(call: Call) -> None:
    row = call.node.blocklist_check(call.text("address"))
    call.row(row)
    if not row["blocked"]:
        raise UserError(f"{row['address']} is on no blocklist", "", NOTHING_FOUND)


COMMANDS: tuple[Command, ...] = (
    Command(
        "blocklist.list",
        (("blocklist", "list"), ("blocklist",)),
        "the blocklists, and what was read of them",
        columns=LIST_COLUMNS,
        run=run_list,
        empty=EMPTY,
    ),
    Command(
        "blocklist.reload",
        (("blocklist", "reload"),),
        "read the blocklists again; links to hosts that are on one now are closed",
        Role.CONTROL,
        columns=LIST_COLUMNS,
        run=run_reload,
        empty=EMPTY,
    ),
    Command(
        "blocklist.check",
        (("blocklist", "check"),),
        "whether an address is on a blocklist, and on which line",
        params=(Param("address", "an IP address", metavar="ADDRESS", required=True),),
        columns=CHECK_COLUMNS,
        run=run_check,
        details="Exit code 1 when it is on none.",
        examples=("blocklist check 192.0.2.7",),
    ),
)
