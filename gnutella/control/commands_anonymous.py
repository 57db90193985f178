"""Commands of the relay layer: fetch, insert, search without telling who asks, and what this node does for others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from gnutella.control.relay_view import Terms
from gnutella.control.table import GAVE_UP, NOTHING_FOUND, USAGE, Column, Command, Param, Role
from gnutella.errors import UserError
from gnutella.routing.sorts import SORTS
from gnutella.units import format_duration

if TYPE_CHECKING:
    from gnutella.control.call import Call
    from gnutella.control.relay_view import Job
    from gnutella.control.view import Row

#: Seconds that a search waits for hits unless told otherwise: stems and answers take longer than the plain overlay.
SEARCH_WAIT_S = 15.0
#: Seconds between two looks at a job while a person watches.
WATCH_S = 1.0
LEVELS = ("relay", "strong")

_HOW = (
    Column("level", in_table=False, default="", meaning="the level that was really used"),
    Column("pivots", "number", in_table=False, default=0, meaning="pivots that worked for it"),
    Column("effective_set", "number", in_table=False, meaning="as many nodes an observer must suspect; see status"),
    Column("edge_age_s", "duration", in_table=False, meaning="age of the stem edge that own requests take"),
)
JOB_COLUMNS = (
    Column("id", "number", "#", 3),
    Column(
        "state",
        width=10,
        meaning="opening, waiting (for the first hop), fetching, inserting, done, failed or cancelled",
    ),
    Column("name", width=32, flexible=True),
    Column("size", "size", meaning="bytes; 0 until its manifest is here"),
    Column("downloaded", "size", "got", default=0, meaning="bytes verified, or inserted"),
    Column("speed", "rate", default=0, meaning="bytes a second"),
    Column("sources", "number", "circuits", default=0),
    Column("eta_s", "duration", "left", meaning="seconds until it is done; null when unknown"),
    Column(
        "first_byte_s",
        "duration",
        in_table=False,
        meaning="seconds from the start to the first bytes that are verified",
    ),
    Column("took_s", "duration", in_table=False, meaning="seconds from the start to its end"),
    Column("path", in_table=False, default="", meaning="where the finished file is"),
    Column("uri", in_table=False, default="", meaning="key of what was inserted"),
    Column("document", in_table=False, default="", meaning="key of the document whose newest edition points to it"),
    Column("error", flexible=True, default="", meaning="why it failed"),
    *_HOW,
)
HIT_COLUMNS = (
    Column("hit", "number", "#", 3),
    Column("name", width=40, flexible=True),
    Column("size", "size"),
    Column("uri", in_table=False, default="", meaning="key to get it with; empty for what only servents outside have"),
    Column("urn", in_table=False, default=""),
    Column("tth", in_table=False, default=""),
    Column("mime", in_table=False, default=""),
    Column("outside", width=21, default="", meaning="address of a servent outside the layer that has it"),
    *_HOW,
)
STATUS_COLUMNS = (
    Column("on", "truth", default=True),
    Column("level", default="relay", meaning="levels that can be asked for"),
    Column("ready", "truth", default=False, meaning="whether a request would be taken"),
    Column("why", default="", meaning="why not"),
    Column("links", "number", default=0, meaning="relay links"),
    Column("nodes", "number", default=0, meaning="other nodes that are known"),
    Column("pivots", "number", default=0, meaning="of these, that may be picked"),
    Column(
        "effective_set", "number", meaning="nodes that an observer on the stem must suspect, on the assumption below"
    ),
    Column(
        "assumed_spies", "number", default=0.1, meaning="share of the picks that is taken to work together against you"
    ),
    Column("chance_first_hop", "number", meaning="chance that the node next to you is one of them"),
    Column("guard", default="", meaning="whether own requests have their first hop"),
    Column("guard_age_s", "duration"),
    Column("own_share", "number", meaning="own part of what goes up to others, last 10 minutes"),
    Column("cover", default="", meaning="good, or CoverPoor"),
    Column("guard_doubtful", "truth", default=False, meaning="many circuits ended before a pivot answered"),
    Column(
        "clock_skew_s",
        "number",
        meaning="seconds by which clocks of others are ahead, to the minute; null: too few tell",
    ),
    Column("circuits", "number", default=0, meaning="circuits through, from and to this node"),
    Column("relayed", "size", default=0, meaning="bytes relayed for others since the start"),
    Column(
        "traffic",
        "json",
        default={},
        meaning="of all relay links since the start: bytes, large and small cells, tx and rx",
    ),
    Column("stored", "json", default={}, meaning="blocks kept for others: cache, store"),
    Column("jobs", "number", default=0),
    Column("refused", "json", default={}, meaning="what was refused, by reason"),
)
EXPLAIN_COLUMNS = (Column("topic", width=18), Column("text", flexible=True))
SHARE_COLUMNS = (
    Column("name", width=40, flexible=True),
    Column("size", "size"),
    Column("uri", flexible=True),
    Column("way", width=9, default="", meaning="inserted, or anchored: served from here by circuits"),
    Column("warning", flexible=True, default="", meaning="what gives it away all the same"),
)
SMALL_SET = Param(
    "accept-small-set", "go on although only so many other nodes are there; give their number", "number", option=True
)
LEVEL = Param("level", "relay; strong is refused for now", "choice", option=True, default="relay", choices=LEVELS)
WAIT = Param("wait", "wait so long at most; exit code 75 when it is not done", "seconds", option=True)


def terms_of(call: Call, level: str) -> Terms:
    """What the user asked for."""
    return Terms(level, call.number("accept-small-set"))


async def follow(call: Call, job: Job) -> None:
    """Show a job until it is over; UserError as it says."""
    wait = call.seconds("wait")
    deadline = None if wait is None else call.clock.seconds() + wait
    shown: Row = {}
    while True:
        row = job.row
        if row != shown:
            call.row(row)
            shown = row
        if job.is_over or call.interrupted:
            break
        left = WATCH_S if deadline is None else min(WATCH_S, deadline - call.clock.seconds())
        if left <= 0:
            raise UserError(
                f"{row.get('name') or row.get('id')} is still {row.get('state')} after {format_duration(wait or 0)}",
                "it goes on: gnutella anonymous jobs",
                GAVE_UP,
            )
        forget = job.changed(call.wake)
        try:
            await call.pause(left)
        finally:
            forget()
    if call.interrupted and not job.is_over:
        job.cancel()
    elif job.error is not None:
        raise job.error


async def get_anonymously(call: Call, what: str, level: str) -> None:
    """`anonymous get`, and `get --anonymous`."""
    await follow(call, call.node.relay().get(what, call.text("to"), terms_of(call, level)))


async def search_anonymously(call: Call, level: str) -> None:
    """`anonymous search`, and `search --anonymous`."""
    words, limit = " ".join(call.several("words")), call.number("limit")

    def show(row: Row) -> None:
        if not limit or call.rows < limit:
            call.row({**row, **search.told})
        if limit and call.rows >= limit:
            call.wake()

    relay = call.node.relay()
    call.memory.is_anonymous = True
    early: list[Row] = []
    hear: list[Callable[[Row], None]] = [early.append]
    search = relay.search(
        words, call.several("kind"), limit, terms_of(call, level), call.flag("gateway"), lambda row: hear[0](row)
    )
    hear[0] = show
    for row in early:
        show(row)
    wait = call.seconds("wait")
    try:
        await call.pause(SEARCH_WAIT_S if wait is None else wait)
    finally:
        search.stop()
    if search.error is not None and not call.rows:
        raise search.error
    if not call.rows:
        raise UserError(f"no hits for {words!r} in the relay layer", "--wait longer", NOTHING_FOUND)


def searched_in_the_clear(call: Call) -> None:
    """Numbers of hits are those of a plain search from now on."""
    call.memory.is_anonymous = False
    with suppress(UserError):
        call.node.relay().searched_at = 0.0


def was_anonymous(call: Call) -> bool:
    """Whether numbers of hits are those of an anonymous search: of this console, or, where it had none, of this node."""
    if call.memory.is_anonymous or call.memory.hits is not None:
        return call.memory.is_anonymous
    with suppress(UserError):
        return call.node.relay().searched_at > 0
    return False


async def run_get(call: Call) -> None:
    await get_anonymously(call, call.text("what"), call.text("level"))


async def run_search(call: Call) -> None:
    await search_anonymously(call, call.text("level"))


async def run_put(call: Call) -> None:
    if call.flag("convergent") and call.text("as"):
        raise UserError("--convergent and --as do not go together", "leave one of them out", USAGE)
    job = call.node.relay().put(
        call.text("file"),
        call.text("as"),
        terms_of(call, call.text("level")),
        convergent=call.flag("convergent"),
        unlisted=call.flag("unlisted"),
    )
    await follow(call, job)


async def run_status(call: Call) -> None:
    call.row(call.node.relay().status())


async def run_explain(call: Call) -> None:
    for row in call.node.relay().explain():
        call.row(row)


async def run_share(call: Call) -> None:
    await follow(call, call.node.relay().share(call.text("file"), terms_of(call, call.text("level"))))


async def run_unshare(call: Call) -> None:
    call.row(await call.node.relay().unshare(call.text("name")))


async def run_shares(call: Call) -> None:
    for row in call.node.relay().shares():
        call.row(row)


async def run_jobs(call: Call) -> None:
    for row in call.node.relay().jobs():
        call.row(row)


async def run_cancel(call: Call) -> None:
    call.row(call.node.relay().cancel(call.number("id")))


async def run_key(call: Call) -> None:
    call.row(call.node.relay().new_key(call.text("name")))


_FILE = Param("file", "a file of this machine", "file", "FILE", required=True)
_PUT_DETAILS = (
    "The file is cut into sealed blocks which other nodes keep; nobody but who has the key that is printed can read them. "
    "--as OWNER/NAME also writes a new edition of that document, whose readers find the newest; --as arl:ksk:WORD the document "
    "of that keyword, which anyone who guesses the word can read and replace. "
    "--convergent makes the same key from the same file: others who have the file can tell that it is there."
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "anonymous.status",
        (("anonymous", "status"), ("anonymous",)),
        "the relay layer: who is there to hide among, what this node carries",
        columns=STATUS_COLUMNS,
        run=run_status,
        layout="block",
    ),
    Command(
        "anonymous.explain",
        (("anonymous", "explain"),),
        "what this node stores, relays and reveals, in plain words",
        columns=EXPLAIN_COLUMNS,
        run=run_explain,
    ),
    Command(
        "anonymous.search",
        (("anonymous", "search"),),
        "search the relay layer; neither who asks nor who answers is told",
        Role.CONTROL,
        (
            Param("words", "words that names must have", metavar="WORDS", required=True, many=True),
            Param("wait", "seconds to wait for hits", "seconds", option=True),
            Param("limit", "stop after so many hits", "number", option=True),
            Param("kind", "only these kinds", "choices", option=True, choices=tuple(SORTS)),
            Param("gateway", "also have the pivot ask the plain overlay, in its own name", "flag", option=True),
            LEVEL,
            SMALL_SET,
        ),
        HIT_COLUMNS,
        run_search,
        streams=True,
        examples=("anonymous search alice", "search alice --anonymous relay"),
    ),
    Command(
        "anonymous.get",
        (("anonymous", "get"),),
        "fetch a key, or a hit of the last anonymous search",
        Role.CONTROL,
        (
            Param("what", "a key (arl:…), or the number of an anonymous hit", metavar="KEY|HIT", required=True),
            Param("to", "name of the file in DIR/anonymous/", metavar="NAME", option=True, default=""),
            WAIT,
            LEVEL,
            SMALL_SET,
        ),
        JOB_COLUMNS,
        run_get,
        layout="progress",
        streams=True,
        examples=("anonymous get arl:chk:…", "get 1 --anonymous relay"),
    ),
    Command(
        "anonymous.put",
        (("anonymous", "put"), ("publish",)),
        "insert a file; prints the key to get it with",
        Role.CONTROL,
        (
            _FILE,
            Param(
                "as",
                "also a new edition of this document of yours",
                metavar="OWNER/NAME|KEYWORD",
                option=True,
                default="",
            ),
            Param("convergent", "the same key for the same file", "flag", option=True),
            Param("unlisted", "do not answer anonymous searches with it", "flag", option=True),
            WAIT,
            LEVEL,
            SMALL_SET,
        ),
        JOB_COLUMNS,
        run_put,
        layout="progress",
        streams=True,
        details=_PUT_DETAILS,
        examples=("publish report.pdf", "publish notes.txt --as arl:own:…/notes"),
    ),
    Command(
        "anonymous.share",
        (("anonymous", "share"),),
        "let anonymous searches find a file of yours without inserting it",
        Role.CONTROL,
        (_FILE, WAIT, LEVEL, SMALL_SET),
        JOB_COLUMNS,
        run_share,
        layout="progress",
        streams=True,
        details="It is served from here through circuits, so who fetches it learns no address and neither do you.",
    ),
    Command(
        "anonymous.unshare",
        (("anonymous", "unshare"),),
        "answer anonymous searches with that file no more",
        Role.CONTROL,
        (Param("name", "its name, as `anonymous shares` shows it", metavar="NAME", required=True),),
        SHARE_COLUMNS,
        run_unshare,
    ),
    Command(
        "anonymous.shares",
        (("anonymous", "shares"),),
        "what this node answers anonymous searches with",
        columns=SHARE_COLUMNS,
        run=run_shares,
        empty="nothing; anonymous share FILE, or publish FILE",
    ),
    Command(
        "anonymous.jobs",
        (("anonymous", "jobs"),),
        "fetches and insertions",
        columns=JOB_COLUMNS,
        run=run_jobs,
        empty="none",
    ),
    Command(
        "anonymous.cancel",
        (("anonymous", "cancel"),),
        "end a fetch or an insertion",
        Role.CONTROL,
        (Param("id", "its number in `anonymous jobs`", "number", "ID", required=True),),
        JOB_COLUMNS,
        run_cancel,
    ),
    Command(
        "anonymous.key",
        (("anonymous", "key"),),
        "make a pair of keys for documents: one to write with, one to read with",
        Role.CONTROL,
        params=(Param("name", "the first document that is to be written with it", metavar="NAME", default="notes"),),
        columns=(
            Column(
                "own", flexible=True, meaning="writes: give it to publish --as; keep it secret, nobody can replace it"
            ),
            Column("read", flexible=True, meaning="reads the newest edition: tell it to your readers"),
        ),
        run=run_key,
        layout="block",
        details="Other names behind the slash are other documents of the same owner.",
        examples=("anonymous key news", "publish news.txt --as arl:own:…/news"),
    ),
)
