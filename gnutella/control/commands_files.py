"""Commands about files: what is shared, downloads and uploads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gnutella.control.commands_anonymous import SMALL_SET, get_anonymously, was_anonymous
from gnutella.control.commands_peers import ANONYMOUS, ROOM_EVERY, anonymity, from_handle
from gnutella.control.table import GAVE_UP, NOTHING_FOUND, USAGE, Column, Command, Param, Role
from gnutella.control.view import HitRef
from gnutella.errors import UserError
from gnutella.units import format_duration

if TYPE_CHECKING:
    from gnutella.control.call import Call
    from gnutella.control.view import Row

#: Seconds between two looks at the downloads while a person watches; as often as the journal tells progress.
WATCH_S = 1.0
#: States in which a download needs nobody's help to go on.
MOVING = frozenset({"locating", "queued", "transferring", "verifying"})

SHARE_COLUMNS = (
    Column("path", in_table=False, meaning="absolute"),
    Column("name", width=40, flexible=True),
    Column("size", "size", meaning="bytes"),
    Column("urn", in_table=False, default="", meaning='urn:sha1:…; "" until it is hashed'),
    Column("tth", in_table=False, default="", meaning="base 32 of the tiger tree root"),
    Column("hits", "number", default=0, meaning="how often it answered a query"),
    Column("uploads", "number", default=0),
)
DIRECTORY_COLUMNS = (
    Column("path", flexible=True),
    Column("files", "number", default=0),
    Column("bytes", "size", "size", default=0),
    Column("source", default="", meaning="config, runtime or incoming"),
)
TRANSFER_COLUMNS = (
    Column("id", "number", "#", 3, meaning="stays the same until it is cancelled, also over restarts"),
    Column("state", width=12, meaning="locating, queued, transferring, verifying, done, paused, failed or cancelled"),
    Column("name", width=32, flexible=True),
    Column("size", "size", meaning="bytes"),
    Column("downloaded", "size", "got", default=0, meaning="verified or received bytes"),
    Column("speed", "rate", default=0, meaning="bytes a second"),
    Column("sources", "number", default=0),
    Column("eta_s", "duration", "left", meaning="seconds until it is done; null when unknown"),
    Column("path", in_table=False, default="", meaning="where the finished file is"),
    Column("error", flexible=True, default="", meaning="why it failed or waits"),
)
_GOT = replace(next(c for c in TRANSFER_COLUMNS if c.key == "downloaded"), in_table=False, meaning="the same as `sent`")
UPLOAD_COLUMNS = (
    *(_GOT if column.key == _GOT.key else column for column in TRANSFER_COLUMNS),
    Column("sent", "size", default=0, meaning="bytes of the file that this peer got on this connection"),
    Column("address", width=21, default=""),
    Column("vendor", in_table=False, default=""),
)
DIRECTORY = Param("directory", "a directory; all files in and below it", "directory", "DIR", required=True)
DOWNLOAD = Param("id", "number of the download, as `downloads` shows it", "number", "ID", required=True)


async def run_share_add(call: Call) -> None:
    call.row(await call.node.share_add(call.text("directory")))


async def run_share_remove(call: Call) -> None:
    call.row(await call.node.share_remove(from_handle(call, "directory", list(call.node.share_directories()))))


async def run_share_list(call: Call) -> None:
    for number, row in enumerate(call.node.share_list()):
        if call.interrupted:
            return
        call.row(row)
        if number % ROOM_EVERY == 0:
            await call.room()


async def run_share_dirs(call: Call) -> None:
    rows = list(call.node.share_directories())
    call.listing(rows)
    for row in rows:
        call.row(row)


async def run_share_rescan(call: Call) -> None:
    call.row(await call.node.share_rescan())


async def run_get(call: Call) -> None:
    text = call.text("what")
    if level := anonymity(call):
        await get_anonymously(call, text, level)
        return
    _refuse_in_the_clear(call, text)
    target: HitRef | str
    if text.isascii() and text.isdigit():
        target = HitRef(int(text[:10]), call.memory.hits)
        if call.node.hit(target) is None:
            raise UserError(f"no hit {text}", "search first; its rows are numbered from 1", NOTHING_FOUND)
    elif text.lower().startswith(("urn:", "magnet:")):
        target = text
    else:
        raise UserError(f"{text!r} is no hit number, URN or magnet", "get 1, get urn:sha1:… or get 'magnet:?xt=…'")
    row = await call.node.get(target, call.text("to"))
    call.row(row)
    wait = call.seconds("wait")
    if wait is not None:
        await _wait_for(call, row, wait)


def _refuse_in_the_clear(call: Call, text: str) -> None:
    """What was found, or is known, in the relay layer only is never fetched without it unless the user says so."""
    if text.startswith("arl:"):
        raise UserError("a key of the relay layer", f"get {text[:8]}… --anonymous relay", USAGE)
    if text.isascii() and text.isdigit() and was_anonymous(call):
        raise UserError(
            f"hit {text} was found by the relay layer",
            f"get {text} --anonymous relay; or search in the clear first",
            USAGE,
        )


async def _wait_for(call: Call, row: Row, wait: float) -> None:
    """Follow one download until it is done or has failed; GAVE_UP after `wait` seconds."""
    number = row.get("id")
    deadline = call.clock.seconds() + wait
    while row.get("state") in MOVING and not call.interrupted:
        left = deadline - call.clock.seconds()
        if left <= 0:
            raise UserError(
                f"{row.get('name') or number} is still {row.get('state')} after {format_duration(wait)}",
                "it goes on: gnutella downloads --watch",
                GAVE_UP,
            )
        await _pause_until_changed(call, min(left, WATCH_S))
        now = next((found for found in call.node.downloads() if found.get("id") == number), None)
        if now is None:
            raise UserError(f"download {number} was cancelled", "", NOTHING_FOUND)
        if _changed(row, now):
            call.row(now)
        row = now
    if row.get("state") in ("failed", "cancelled"):
        raise UserError(f"{row.get('name') or number} {row.get('state')}: {row.get('error')}", "", NOTHING_FOUND)


async def run_downloads(call: Call) -> None:
    rows = {row.get("id"): row for row in call.node.downloads()}
    for row in rows.values():
        call.row(row)
    if not call.flag("watch"):
        return
    while any(row.get("state") in MOVING for row in rows.values()) and not call.interrupted:
        await _pause_until_changed(call, WATCH_S)
        await call.room()
        now = {row.get("id"): row for row in call.node.downloads()}
        for number, row in now.items():
            if number not in rows or _changed(rows[number], row):
                call.row(row)
        for number in rows.keys() - now.keys():
            call.row({**rows[number], "state": "cancelled", "speed": 0, "eta_s": None})
        rows = now


async def run_pause(call: Call) -> None:
    call.row(await call.node.pause(call.number("id")))


async def run_resume(call: Call) -> None:
    call.row(await call.node.resume(call.number("id")))


async def run_cancel(call: Call) -> None:
    call.row(await call.node.cancel(call.number("id")))


async def run_uploads(call: Call) -> None:
    for row in call.node.uploads():
        call.row(row)


async def _pause_until_changed(call: Call, seconds: float) -> None:
    """Until a download changes its state, or `seconds` pass."""
    ends = ("download_state", "download_finished", "download_failed", "download_cancelled", "download_added")
    unsubscribe = call.node.journal.subscribe(lambda event: call.wake() if event.type in ends else None)
    try:
        await call.pause(seconds)
    finally:
        unsubscribe()


def _changed(before: Row, after: Row) -> bool:
    return any(before.get(key) != after.get(key) for key in ("state", "downloaded", "sources", "error", "name", "size"))


COMMANDS: tuple[Command, ...] = (
    Command(
        "share.list",
        (("share", "list"), ("share",)),
        "the files that are shared",
        columns=SHARE_COLUMNS,
        run=run_share_list,
        empty="no file is offered yet: share add DIR, or wait while files are hashed (see status)",
    ),
    Command(
        "share.dirs",
        (("share", "dirs"),),
        "the directories that are shared",
        columns=DIRECTORY_COLUMNS,
        run=run_share_dirs,
        empty="no directory is shared; share add DIR",
    ),
    Command(
        "share.add",
        (("share", "add"),),
        "share a directory; hashing goes on in the background",
        Role.ADMIN,
        (DIRECTORY,),
        DIRECTORY_COLUMNS,
        run_share_add,
        details="Each file is offered as soon as it is hashed; status shows how many are left.",
        examples=("share add ~/Public",),
    ),
    Command(
        "share.remove",
        (("share", "remove"),),
        "stop sharing a directory; the files stay",
        Role.ADMIN,
        (
            Param(
                "directory",
                "a directory, or its row number in `share dirs`",
                "directory",
                "DIR",
                required=True,
                handle=("share.dirs", "path"),
            ),
        ),
        DIRECTORY_COLUMNS,
        run_share_remove,
    ),
    Command(
        "share.rescan",
        (("share", "rescan"),),
        "look at every shared directory again",
        Role.CONTROL,
        columns=(
            Column("files", "number", default=0),
            Column("bytes", "size", "size", default=0),
            Column("pending", "number", default=0, meaning="files that are still to be hashed"),
        ),
        run=run_share_rescan,
    ),
    Command(
        "download.add",
        (("get",), ("download", "add")),
        "download a hit, a URN or a magnet",
        Role.CONTROL,
        (
            Param(
                "what",
                "row number of the last search, urn:sha1:…, or magnet:?xt=…",
                metavar="HIT|URN|MAGNET",
                required=True,
            ),
            Param("to", "name of the file in incoming/", metavar="NAME", option=True, default=""),
            Param("wait", "wait so long until it is done; exit code 75 when it is not", "seconds", option=True),
            ANONYMOUS,
            SMALL_SET,
        ),
        TRANSFER_COLUMNS,
        run_get,
        layout="progress",
        streams=True,
        examples=("get 1 --wait 60", "get urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB --to alice.txt"),
    ),
    Command(
        "download.list",
        (("downloads",), ("download", "list")),
        "the downloads",
        params=(Param("watch", "follow until none of them moves", "flag", option=True),),
        columns=TRANSFER_COLUMNS,
        run=run_downloads,
        empty="no downloads",
    ),
    Command(
        "download.pause",
        (("pause",), ("download", "pause")),
        "stop a download; what it has is kept",
        Role.CONTROL,
        (DOWNLOAD,),
        TRANSFER_COLUMNS,
        run_pause,
    ),
    Command(
        "download.resume",
        (("resume",), ("download", "resume")),
        "go on with a paused or failed download",
        Role.CONTROL,
        (DOWNLOAD,),
        TRANSFER_COLUMNS,
        run_resume,
    ),
    Command(
        "download.cancel",
        (("cancel",), ("download", "cancel")),
        "forget a download and what it has",
        Role.CONTROL,
        (DOWNLOAD,),
        TRANSFER_COLUMNS,
        run_cancel,
    ),
    Command(
        "upload.list",
        (("uploads",), ("upload", "list")),
        "what others fetch from here",
        columns=UPLOAD_COLUMNS,
        run=run_uploads,
        empty="no uploads",
    ),
)
