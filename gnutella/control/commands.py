"""The command table: every command of every face, in the order of help.

command = by_name("search.start")
NODE_COMMANDS            # what a console understands
"""

from __future__ import annotations

from gnutella.control import commands_files, commands_hosts, commands_node, commands_peers, commands_safety
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

_PEERS = {command.name: command for command in commands_peers.COMMANDS}
_NODE = {command.name: command for command in commands_node.COMMANDS}

COMMANDS: tuple[Command, ...] = (
    _NODE["node.status"],
    _PEERS["link.list"],
    _PEERS["link.open"],
    _PEERS["link.close"],
    *commands_hosts.COMMANDS,
    _PEERS["search.start"],
    _PEERS["peer.browse"],
    _PEERS["query.trace"],
    _PEERS["query.list"],
    *commands_files.COMMANDS,
    *commands_safety.COMMANDS,
    *(command for command in commands_node.COMMANDS if command.name != "node.status"),
    *SESSION_COMMANDS,
)
NODE_COMMANDS: tuple[Command, ...] = tuple(command for command in COMMANDS if command.place == "node")
CONSOLE_COMMANDS: tuple[Command, ...] = tuple(command for command in COMMANDS if command.place in ("node", "session"))
CLI_COMMANDS: tuple[Command, ...] = tuple(command for command in COMMANDS if command.place in ("node", "local"))


def by_name(name: str) -> Command:
    """The command with that table name; KeyError otherwise."""
    return {command.name: command for command in COMMANDS}[name]
