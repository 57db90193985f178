"""The command table: every command of every face, in the order of help.

command = by_name("search.start")
NODE_COMMANDS            # what a console understands
"""

from __future__ import annotations

from dataclasses import replace

from gnutella.control import (
    commands_anonymous,
    commands_files,
    commands_hosts,
    commands_node,
    commands_peers,
    commands_safety,
)
from gnutella.control.table import Command, Param

#: Commands of a console session itself.
SESSION_COMMANDS: tuple[Command, ...] = (
    Command(
        "console.help",
        (("help",), ("?",)),
        "this list, or what one command does",
        params=(Param("verb", "a command", metavar="VERB", many=True),),
        place="session",
    ),
    Command(
        "console.mode",
        (("mode",),),
        "how replies look: human (tables) or machine (status codes and JSON)",
        params=(
            Param("mode", "human or machine", "choice", "MODE", required=True, choices=("human", "machine")),
            Param("width", "columns of the terminal", "number", option=True),
        ),
        place="session",
    ),
    Command(
        "console.events",
        (("events", "on"), ("events", "off")),
        "asynchronous events: a line beginning with 650 (machine) or * (human) for each",
        place="session",
    ),
    Command("console.quit", (("quit",), ("exit",)), "close this console", place="session"),
)

_NAMED = {
    command.name: command
    for room in (commands_node, commands_peers, commands_hosts, commands_files, commands_safety, commands_anonymous)
    for command in room.COMMANDS
}
#: The headings of help, and the commands below each, by table name.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("See how it is", ("node.status", "node.doctor", "event.list")),
    ("Search and fetch", ("search.start", "peer.browse", "download.add", "download.list")),
    ("", ("download.pause", "download.resume", "download.cancel", "upload.list")),
    ("Share", ("share.list", "share.dirs", "share.add", "share.remove", "share.rescan")),
    ("Links to others", ("link.list", "link.open", "link.close", "host.list", "cache.list")),
    ("", ("blocklist.list", "blocklist.reload", "blocklist.check")),
    (
        "Without saying who",
        ("anonymous.search", "anonymous.get", "anonymous.put", "anonymous.jobs", "anonymous.cancel"),
    ),
    ("", ("anonymous.share", "anonymous.unshare", "anonymous.shares", "anonymous.key")),
    ("", ("anonymous.status", "anonymous.explain")),
    ("Understand it", ("query.list", "query.trace", "node.demo", "lab.run")),
    ("Run and set up", ("node.init", "node.run", "console.open", "config.show", "config.diff", "config.set")),
    ("", ("config.check", "token.show", "node.shutdown", "node.version")),
)


def _grouped() -> tuple[Command, ...]:
    """Every command once, in the order of help."""
    listed = []
    heading = ""
    for group, names in _GROUPS:
        heading = group or heading
        listed += [replace(_NAMED.pop(name), group=heading) for name in names]
    return (*listed, *_NAMED.values(), *(replace(command, group="This console") for command in SESSION_COMMANDS))


COMMANDS: tuple[Command, ...] = _grouped()
NODE_COMMANDS: tuple[Command, ...] = tuple(command for command in COMMANDS if command.place == "node")
CONSOLE_COMMANDS: tuple[Command, ...] = tuple(command for command in COMMANDS if command.place in ("node", "session"))
CLI_COMMANDS: tuple[Command, ...] = tuple(command for command in COMMANDS if command.place in ("node", "local"))


def by_name(name: str) -> Command:
    """The command with that table name; KeyError otherwise."""
    return {command.name: command for command in COMMANDS}[name]
