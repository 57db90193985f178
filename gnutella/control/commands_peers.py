"""Commands about links, searches and what passed through: peers, connect, disconnect, search, browse, trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.control.commands_anonymous import SMALL_SET, search_anonymously, searched_in_the_clear
from gnutella.control.table import KINDS, NOTHING_FOUND, Column, Command, Param, Role
from gnutella.errors import UserError
from gnutella.units import Guid, parse_address

if TYPE_CHECKING:
    from gnutella.control.call import Call
    from gnutella.control.view import Row

#: Seconds that a search takes hits when nothing else is said: most hits of a working search arrive within this.
SEARCH_WAIT_S = 10.0
#: Rows between two looks at the reader's buffer.
ROOM_EVERY = 64

PEER_COLUMNS = (
    Column("address", width=21),
    Column("direction", width=3, title="dir", meaning="out or in"),
    Column("role", width=9, meaning="ultrapeer, leaf, or peer (speaks 0.4 or has no role)"),
    Column("vendor", flexible=True, default="", meaning="User-Agent"),
    Column("since_s", "duration", "since", meaning="age of the link, seconds"),
    Column("deflate", "truth", default=False, comes_last=True),
    Column("tls", "truth", default=False, comes_last=True),
    Column("rx_messages", "number", "rx", default=0),
    Column("tx_messages", "number", "tx", default=0),
    Column("dropped", "number", default=0, meaning="messages from this peer that were dropped"),
    Column("hops_flow", in_table=False, default=None, meaning="it wants only queries of fewer hops; null: all of them"),
)
HIT_COLUMNS = (
    Column("hit", "number", "#", 3, meaning="row number; `get` takes it"),
    Column("name", width=40, flexible=True),
    Column("size", "size", width=9, meaning="bytes"),
    Column("urn", in_table=False, default="", meaning="urn:sha1:…"),
    Column("tth", in_table=False, default="", meaning="base 32 of the tiger tree root"),
    Column("hops", "number", width=4, default=0),
    Column("vendor", width=8, default=""),
    Column("magnet", in_table=False, default=""),
    Column("sources", "list", width=21, default=[], meaning="{address, servent_id, push} each"),
    Column("spam", "number", in_table=False, default=0, meaning="0 to 100; see how-to/stay-safe.md"),
    Column("spam_reasons", "list", in_table=False, default=[], meaning="what makes it so, the weightiest first"),
    Column("likely_spam", "truth", in_table=False, default=False, meaning="spam is at least safety.spam_threshold"),
)
ANONYMOUS = Param(
    "anonymous",
    "hide who asks: relay, a level of the relay layer; or off",
    "text",
    "LEVEL",
    option=True,
    default="off",
)

#: Digits alone may be either; who typed the beginning of a GUID shall learn how long one is.
GUID_HINT = ", or a whole GUID: 32 hexadecimal digits"


def anonymity(call: Call) -> str:
    """The level that `--anonymous` asks for; "" for none."""
    level = call.text("anonymous")
    return "" if level == "off" else level


def from_handle(call: Call, name: str, rows: list[Row]) -> str:
    """The value of a parameter that may be a row number of the session's last listing, or else of `rows`, the present one."""
    text = call.text(name)
    param = next(param for param in call.command.params if param.name == name)
    if param.handle is None or not (text.isascii() and text.isdigit()):
        return text
    if param.kind == "guid" and len(text) == 32:
        return text  # one that happens to have no letters
    listing, key = param.handle
    shown = call.memory.listings.get(listing, rows)
    number = int(text)
    if not 1 <= number <= len(shown):
        hint = "give a number of the last listing" + (GUID_HINT if param.kind == "guid" else "")
        raise UserError(f"no row {number}, there are {len(shown)}", hint, NOTHING_FOUND)
    return str(shown[number - 1].get(key, ""))


async def run_peers(call: Call) -> None:
    rows = list(call.node.peers())
    call.listing(rows)
    for row in rows:
        call.row(row)


async def run_connect(call: Call) -> None:
    call.row(await call.node.connect(parse_address(call.text("address"))))


async def run_disconnect(call: Call) -> None:
    call.row(await call.node.disconnect(from_handle(call, "peer", list(call.node.peers()))))


async def run_search(call: Call) -> None:
    if level := anonymity(call):
        await search_anonymously(call, level)
        return
    words = " ".join(call.several("words"))
    limit = call.number("limit")

    def show(row: Row) -> None:
        if limit and call.rows >= limit:
            return
        call.row(row)
        if limit and call.rows >= limit:
            call.wake()

    hits = call.node.search(words, call.several("kind"), limit, show, call.number("ttl") if call.has("ttl") else None)
    call.memory.hits = hits.guid
    searched_in_the_clear(call)
    call.end["guid"] = hits.guid.hex()
    wait = call.seconds("wait")
    try:
        await call.pause(SEARCH_WAIT_S if wait is None else wait)
    finally:
        hits.stop()
    if not call.rows:
        raise UserError(f"no hits for {words!r}", f"--wait longer, or: gnutella trace {hits.guid.hex()}", NOTHING_FOUND)


async def run_browse(call: Call) -> None:
    address = from_handle(call, "peer", list(call.node.peers()))
    hits = await call.node.browse(parse_address(address))
    call.memory.hits = hits.guid
    searched_in_the_clear(call)
    for number, row in enumerate(hits.rows):
        call.row(row)
        if number % ROOM_EVERY == 0:
            await call.room()
    if not call.rows:
        raise UserError(f"{address} shares nothing", "", NOTHING_FOUND)


async def run_queries(call: Call) -> None:
    rows = list(call.node.traced())
    call.listing(rows)
    for row in rows:
        call.row(row)


async def run_trace(call: Call) -> None:
    guid = from_handle(call, "guid", list(call.node.traced()))
    steps = call.node.trace(Guid(bytes.fromhex(guid)))
    if steps is None:
        raise UserError(f"no trace of {guid}", "trace alone lists what is remembered; see routing.trace", NOTHING_FOUND)
    for step in steps:
        call.row(step)


COMMANDS: tuple[Command, ...] = (
    Command(
        "link.list",
        (("peers",), ("link", "list")),
        "the links of this node",
        columns=PEER_COLUMNS,
        run=run_peers,
        empty="no links",
    ),
    Command(
        "link.open",
        (("connect",), ("link", "open")),
        "open a link to a peer",
        Role.CONTROL,
        (Param("address", "host:port of the peer", "address", required=True),),
        PEER_COLUMNS,
        run_connect,
        examples=("connect 192.0.2.7:6346",),
    ),
    Command(
        "link.close",
        (("disconnect",), ("link", "close")),
        "close a link, with a Bye",
        Role.CONTROL,
        (
            Param(
                "peer",
                "its address, or its row number in `peers`",
                "address",
                "H:P",
                required=True,
                handle=("link.list", "address"),
            ),
        ),
        PEER_COLUMNS,
        run_disconnect,
        examples=("disconnect 2",),
    ),
    Command(
        "search.start",
        (("search",),),
        "ask the network; hits stream in",
        Role.CONTROL,
        (
            Param(
                "words", "words that the name must hold, or one urn:sha1:…", metavar="WORDS", required=True, many=True
            ),
            Param("wait", f"how long hits are taken; {SEARCH_WAIT_S:g} s", "seconds", option=True),
            Param("limit", "end after so many hits", "number", option=True),
            Param("ttl", "how many hops far, 1 to routing.max_ttl; routing.query_ttl", "number", option=True),
            Param("kind", ",".join(KINDS), "choices", "KIND,…", option=True, choices=KINDS),
            Param("all", "also show what is likely spam", "flag", option=True),
            ANONYMOUS,
            SMALL_SET,
        ),
        HIT_COLUMNS,
        run_search,
        streams=True,
        details="Exit code 1 when there was no hit.  Then `get 1` fetches row 1, also from a later command.",
        examples=("search alice wonderland --wait 5", 'search "project gutenberg" --kind document --limit 20'),
    ),
    Command(
        "peer.browse",
        (("browse",),),
        "what a peer shares; `get` takes its row numbers",
        Role.CONTROL,
        (
            Param(
                "peer",
                "host:port, or a row number of `peers`",
                "address",
                "H:P",
                required=True,
                handle=("link.list", "address"),
            ),
        ),
        HIT_COLUMNS,
        run_browse,
        examples=("browse 192.0.2.7:6346",),
    ),
    Command(
        "query.trace",
        (("trace",), ("query", "trace")),
        "the life of one query in this node: from whom, to whom, what was dropped and why",
        params=(
            Param(
                "guid",
                "of the query, or a row number of `trace`; without it: recent queries",
                "guid",
                "GUID",
                handle=("query.list", "guid"),
            ),
        ),
        columns=(
            Column("time", "clock", meaning="seconds since 1970"),
            Column("step", width=10, meaning="received, answered, forwarded, dropped, …"),
            Column("link", width=21, default="", meaning='address of the link; "" for this node'),
            Column("reason", flexible=True, default="", meaning="why it was dropped: see drop-reasons.md"),
        ),
        run=run_trace,
        empty="nothing happened",
        bare="query.list",
    ),
    Command(
        "query.list",
        (("queries",), ("query", "list")),
        "recent queries that can be traced",
        columns=(
            Column("time", "clock", meaning="seconds since 1970"),
            Column("guid", width=32, meaning="32 hexadecimal digits"),
            Column("words", flexible=True),
            Column("own", "truth", default=False, meaning="asked by this node"),
            Column("steps", "number", default=0),
        ),
        run=run_queries,
        empty="no query is remembered; see routing.trace",
    ),
)
