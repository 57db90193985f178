"""Commands about the node itself: status, doctor, events, settings, token, shutdown; and those of the program that is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.control.events import EVENT_TYPES
from gnutella.control.table import Column, Command, Param, Role

if TYPE_CHECKING:
    from gnutella.control.call import Call
    from gnutella.control.events import Event

#: Events shown by `events` without --since.
RECENT_EVENTS = 10

STATUS_COLUMNS = (
    Column("version"),
    Column("servent_id", meaning="32 hexadecimal digits, kept over restarts"),
    Column("role", meaning="leaf or ultrapeer: what the node tells others it is"),
    Column("uptime_s", "duration", "uptime"),
    Column("listen", "list", default=[], meaning="host:port of each open port for peers"),
    Column("links", "json", meaning="{ultrapeers, leaves, peers}; peers counts all links"),
    Column("shared", "json", meaning="{files, bytes}"),
    Column(
        "reachable", "json", meaning="{tcp, udp}: true, false, or null while unknown; true once somebody came unasked"
    ),
    Column("ready", "truth", default=False, meaning="the listener is up and the shared files are served"),
    Column(
        "bootstrap",
        "json",
        default={},
        meaning="{hosts, web_caches, serves, mdns, sources}: how many are known, {url, requests, updates, hosts} of our own "
        "cache or null, {state, services} of mDNS or null, and {source, state, detail} of multicast, UDP host caches, mDNS and "
        "web caches; state off, absent, idle, asking, good or failed",
    ),
    Column(
        "nat",
        "json",
        default={},
        meaning="{state, method, address, expires_s, detail}: the port mapping of our router; state off, idle, asking, mapped, "
        "refused or silent",
    ),
    Column(
        "external", default=None, meaning="our address as the Internet sees it, or null while that is not agreed on"
    ),
    Column("profile", meaning="lan, public or loopback"),
    Column("hashing", "json", meaning="{pending, current}"),
    Column("transfers", "json", meaning="{downloads, uploads, download_rate, upload_rate}, rates in bytes a second"),
    Column(
        "limits", "json", meaning="{max_links, max_leaves, max_uploads, max_downloads, upload_kib_s, download_kib_s}"
    ),
    Column(
        "traffic",
        "json",
        default={},
        meaning="counts since the node was made: bytes, messages by kind, drops by reason",
    ),
    Column(
        "safety",
        "json",
        default={},
        meaning="{blocklists, blocklists_broken, ranges, blocked, network_full, waiting, waits, hammering}; waits are "
        "{host, wait_s} of those that came too often",
    ),
    Column("consoles", "list", default=[], meaning="endpoints of the open control sockets and consoles"),
    Column("role_setting", default="", meaning="network.role: auto, leaf or ultrapeer"),
    Column("role_reason", default="", meaning="why it has this role"),
    Column("role_since_s", "duration", default=0, meaning="how long it has had this role"),
    Column(
        "ultrapeer_needed", "truth", default=None, meaning="what it tells peers as X-Ultrapeer-Needed; null: nothing"
    ),
    Column(
        "role_facts",
        "json",
        default=[],
        meaning="what is measured for `auto`: {fact, value, wanted, met}; met is null where it cannot be told",
    ),
)
DOCTOR_COLUMNS = (
    Column("ok", "truth", "", 4, meaning="true, false, or null where it cannot be told"),
    Column("name", width=16),
    Column("detail", flexible=True, default=""),
    Column("fix", flexible=True, default="", meaning='what to do; "" when all is well'),
)
CONFIG_COLUMNS = (
    Column("key", width=28, meaning="section.key of gnutella.toml"),
    Column("value", "json", flexible=True, meaning="in force"),
    Column("source", meaning="default, file, env, option or runtime"),
    Column(
        "detail", default="", meaning="line of the file, variable, or option; the value after a restart, if another"
    ),
    Column("default", "json", in_table=False),
    Column("after_restart", "json", in_table=False, meaning="the value after a restart, if another; else null"),
)
EVENT_COLUMNS = (
    Column("id", "number", meaning="counts from 1 while the node runs"),
    Column("time", "clock", meaning="seconds since 1970"),
    Column("type", width=20),
    Column("data", "json", flexible=True, meaning="keys by type, see events.md"),
)


async def run_status(call: Call) -> None:
    call.row(call.node.status())


async def run_doctor(call: Call) -> None:
    from gnutella.control.doctor import local_checks  # only here: the command line starts faster without it

    rows = [*local_checks(call.node.directory, call.node.config.settings), *await call.node.checks()]
    for row in rows:
        call.row(row)
    call.end["ok"] = all(row.get("ok") is not False for row in rows)


async def run_events(call: Call) -> None:
    """Replay, then follow for --wait seconds.  Listening starts before the replay, so that nothing falls in between."""
    journal = call.node.journal
    since = call.values.get("since")
    start = since if isinstance(since, int) else max(0, journal.last_id - RECENT_EVENTS)
    limit = call.number("limit")
    wanted = set(call.several("type"))

    def show(event: Event) -> None:
        if (not wanted or event.type in wanted) and not (limit and call.rows >= limit):
            call.row(event.row())
        if limit and call.rows >= limit:
            call.wake()

    last = start
    for event in journal.since(start):
        show(event)
        last = event.id
        await call.room()
    wait = None if call.flag("follow") else call.seconds("wait") or 0.0
    while wait != 0 and not call.interrupted and not (limit and call.rows >= limit):
        # A reader that is slower than the node reads from the ring, not from a queue of its own.
        unsubscribe = journal.subscribe(lambda event: call.wake())
        started = call.clock.seconds()
        try:
            if journal.last_id == last:
                await call.pause(wait)
        finally:
            unsubscribe()
        for event in journal.since(last):
            show(event)
            last = event.id
            await call.room()
        if wait is not None:
            wait = max(0.0, wait - (call.clock.seconds() - started))


async def run_config_show(call: Call) -> None:
    prefix = call.text("key")
    for row in call.node.config.rows():
        if str(row["key"]).startswith(prefix):
            call.row(row)


async def run_config_diff(call: Call) -> None:
    for row in call.node.config.changes():
        call.row(row)


async def run_config_set(call: Call) -> None:
    call.row(await call.node.set_config(call.text("key"), call.text("value")))


async def run_shutdown(call: Call) -> None:
    call.row({"stopping": True})
    call.node.shutdown()


COMMANDS: tuple[Command, ...] = (
    Command(
        "node.status",
        (("status",), ("node", "status")),
        "one screen: role, links, reachability, what is shared, transfers, limits",
        columns=STATUS_COLUMNS,
        run=run_status,
        layout="block",
    ),
    Command(
        "node.doctor",
        (("doctor",), ("node", "doctor")),
        "check what mostly goes wrong: ports, clock, disk, limits, token, sockets",
        columns=DOCTOR_COLUMNS,
        run=run_doctor,
        details="Without a running daemon it checks what it can.  Exit code 1 when a check failed.",
    ),
    Command(
        "event.list",
        (("events",), ("event", "list")),
        "what happens in the node, from the journal",
        params=(
            Param("since", "events after this number; without it the last ten", "number", option=True),
            Param(
                "follow",
                "go on until interrupted; the command line does so unless --wait is given",
                "flag",
                option=True,
            ),
            Param("wait", "go on for this long", "seconds", option=True),
            Param("limit", "end after so many events", "number", option=True),
            Param(
                "type",
                "only these types, separated by commas",
                "choices",
                "TYPE,…",
                option=True,
                choices=tuple(EVENT_TYPES),
            ),
        ),
        columns=EVENT_COLUMNS,
        run=run_events,
        layout="events",
        streams=True,
        empty="no events",
        details="In a console, `events on` and `events off` switch asynchronous events; see docs/reference/events.md.",
        examples=("events --since 0", "events --type hit_received,download_finished"),
    ),
    Command(
        "config.show",
        (("config", "show"),),
        "every setting, its value and where that comes from",
        params=(Param("key", "only keys that begin so", metavar="KEY"),),
        columns=CONFIG_COLUMNS,
        run=run_config_show,
        empty="no such setting",
        examples=("config show network",),
    ),
    Command(
        "config.diff",
        (("config", "diff"),),
        "settings changed at run time",
        columns=(
            Column("key", width=28),
            Column("value", "json", meaning="in effect"),
            Column("configured", "json", meaning="what it would be without the change"),
        ),
        run=run_config_diff,
        empty="nothing was changed at run time",
    ),
    Command(
        "config.set",
        (("config", "set"),),
        "change a setting at run time; it is kept in state.db, never in gnutella.toml",
        Role.ADMIN,
        (
            Param("key", "section.key", metavar="KEY", required=True),
            Param("value", 'the new value; lists by commas; "" takes the change back', metavar="VALUE", default=""),
        ),
        (*CONFIG_COLUMNS, Column("applies", default="now", meaning='"now", or "restart" when it needs one')),
        run_config_set,
        examples=("config set transfers.upload_kib_s 200",),
    ),
    Command(
        "config.check",
        (("config", "check"),),
        "check a settings file without a daemon",
        params=(Param("file", "the file; without it, the node's own", "file", "FILE"),),
        columns=(
            Column("path", flexible=True),
            Column("ok", "truth"),
            Column("keys", "number", meaning="keys that it sets"),
        ),
        place="local",
    ),
    Command(
        "node.shutdown",
        (("shutdown",), ("node", "shutdown")),
        "stop the daemon: Bye to peers, state flushed",
        Role.ADMIN,
        columns=(Column("stopping", "truth"),),
        run=run_shutdown,
        layout="block",
    ),
    Command(
        "token.show",
        (("token",), ("token", "show")),
        "print the token that TCP consoles ask for",
        params=(
            Param(
                "role",
                "read, control or admin",
                "choice",
                "ROLE",
                option=True,
                default="admin",
                choices=("read", "control", "admin"),
            ),
        ),
        columns=(Column("role"), Column("token"), Column("path")),
        place="local",
        details="The file DIR/token (mode 600) is made when it is not there.  Only its owner can read it.",
    ),
    Command(
        "node.init",
        (("init",),),
        "write a commented gnutella.toml and the token; asks nothing, overwrites nothing",
        columns=(Column("kind"), Column("path", flexible=True), Column("created", "truth")),
        place="local",
    ),
    Command(
        "node.run",
        (("run",),),
        "run the daemon in the foreground",
        params=(Param("options", "options of the daemon, see `gnutella run --help`", many=True),),
        place="local",
        details="The same as `twist --log-format text gnutella …`.",
        examples=("run --dir ./node --listen tcp:6346 --share ~/Public",),
    ),
    Command(
        "lab.run",
        (("lab",),),
        "scripted query tests over many nodes: a scenario file, in virtual time or with real processes",
        params=(Param("words", "FILE.toml, or compare, trace, fuzz, schema; see `gnutella lab --help`", many=True),),
        place="local",
        details="Exit code 1 when an expectation of the scenario failed.",
        examples=("lab tests/scenarios/line.toml --seed 7",),
    ),
    Command(
        "node.demo",
        (("demo",),),
        "five servents on loopback: share, search, download, and see why; offline, nothing to configure",
        params=(
            Param("keep", "leave the nodes running and print how to reach them", "flag", option=True),
            Param("nodes", "how many nodes", "number", option=True, default=5),
        ),
        place="local",
    ),
    Command(
        "console.open",
        (("console",),),
        "a console on the running node, with history and completion",
        place="local",
        details="With input from a pipe it sends the lines and prints every reply.",
    ),
    Command(
        "node.version",
        (("version",),),
        "the version of this program",
        columns=(Column("version"), Column("python"), Column("twisted")),
        place="local",
    ),
)
