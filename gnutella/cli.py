"""The program `gnutella`: the command table on a command line.

Verbs, options and help come from gnutella.control.commands; each command gets an argparse parser made from its row.  Commands
of the node go to its control socket in machine mode; the few local ones are in gnutella.control.local.  Exit codes: 0, 1, 64,
69, 70, 73, 75, 77, 78 as in docs/reference/commands.md, 130 after Ctrl-C.  A user's mistake is one line on stderr.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from gnutella import __version__
from gnutella.control.commands import CLI_COMMANDS
from gnutella.control.grammar import Invocation, convert, parse, resolve
from gnutella.control.help import help_lines, help_on, overview_lines
from gnutella.control.order import Order
from gnutella.control.paths import default_directory
from gnutella.control.render import printable
from gnutella.control.table import Command, Param
from gnutella.errors import UserError

#: Exit status after Ctrl-C and after a closed pipe, as shells count signals.
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        for line in error.message.split("\n"):
            print(f"gnutella: {printable(line)}{f' ({printable(error.hint)})' if error.hint else ''}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _run(argv: list[str]) -> int:
    words, leading = _leading_options(argv)
    if leading.version or words == ["version", "--short"]:
        print(__version__)
        return 0
    if leading.help or not words:
        return _overview(sys.stdout if leading.help else sys.stderr)
    if words[0] == "help":
        return _help(words[1:])
    command, rest = resolve(words, CLI_COMMANDS)
    if command.name == "node.run":
        return _start_daemon(leading.dir, rest)
    if command.name == "lab.run":
        return _run_lab(rest)
    order = order_of(command, rest, leading)
    if order is None:
        print("\n".join(help_lines(command, _width())))
        return 0
    if order.invocation.command.place == "local":
        from gnutella.control.local import run_local

        return run_local(order)
    from gnutella.control.remote import run_remote

    return run_remote(order)


def order_of(command: Command, words: list[str], leading: argparse.Namespace) -> Order | None:
    """What the words after the verb ask for; None for help.  UserError (64) for what cannot be read."""
    if {"--help", "-h"} & set(words[: words.index("--")] if "--" in words else words):
        return None
    given = parser_of(command).parse_intermixed_args(words)
    values = {param.name: _value(param, getattr(given, param.name)) for param in command.params}
    invocation = Invocation(command, values)
    if command.bare and not any(values[param.name] for param in command.positionals):
        invocation = parse([*_by_name(command.bare).spoken[0]], CLI_COMMANDS)
    directory = given.dir or leading.dir
    return Order(
        invocation,
        os.path.abspath(os.path.expanduser(directory)) if directory else default_directory(),
        as_json=given.json or leading.json,
    )


def parser_of(command: Command) -> argparse.ArgumentParser:
    """The argparse parser of one command, with --dir and --json."""
    parser = _Parser(prog=f"gnutella {command.words}", add_help=False, usage=f"gnutella {command.usage}")
    _add_common(parser)
    for param in command.params:
        if param.kind == "flag":
            parser.add_argument(f"--{param.name}", dest=param.name, action="store_true")
        elif param.option:
            parser.add_argument(f"--{param.name}", dest=param.name, metavar=param.shown, default=None)
        else:
            count = ("+" if param.required else "*") if param.many else None if param.required else "?"
            parser.add_argument(param.name, metavar=param.shown, nargs=count)
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse with our one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog.removeprefix('gnutella ')}: {message}", f"usage: {self.usage}")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", metavar="DIR", help="the node's directory")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _leading_options(argv: list[str]) -> tuple[list[str], argparse.Namespace]:
    """Options before the verb, and the words from the verb on."""
    parser = _Parser(prog="gnutella", add_help=False, usage="gnutella [--dir DIR] [--json] COMMAND …")
    _add_common(parser)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", "-V", action="store_true")
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] == "--dir" else 1
    return argv[at:], parser.parse_args(argv[:at])


def _value(param: Param, given: object) -> object:
    if isinstance(given, list):
        return tuple(convert(param, text) for text in given)
    if not isinstance(given, str):
        return given if isinstance(given, bool) else param.default
    is_path = param.kind in ("directory", "file") and not (
        param.handle and given.isdigit() and not os.path.isdir(given)
    )
    return convert(param, os.path.abspath(os.path.expanduser(given)) if is_path else given)


def _by_name(name: str) -> Command:
    return next(command for command in CLI_COMMANDS if command.name == name)


def _overview(out: object) -> int:
    lines = ["usage: gnutella COMMAND [options] [--dir DIR] [--json]", "", *overview_lines(CLI_COMMANDS, _width())]
    print("\n".join(lines), file=out)  # type: ignore[call-overload]
    return 0 if out is sys.stdout else os.EX_USAGE


def _help(words: list[str]) -> int:
    if not words:
        return _overview(sys.stdout)
    print("\n".join(help_on(words, CLI_COMMANDS, _width())))
    return 0


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _run_lab(words: list[str]) -> int:
    """The lab has verbs and options of its own; the servent does not need it, so it is imported by name."""
    main: Callable[[list[str]], int] = importlib.import_module("gnutella.lab.cli").main
    return main(words)


def _start_daemon(directory: str | None, options: list[str]) -> int:
    """Become `twist gnutella`: same process, so that signals and supervisors see the daemon itself.

    The log is text also where it is no terminal's: twist would write JSON into journals and container logs.
    """
    where = ["--dir", directory] if directory else []
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "twisted", "--log-format", "text", "gnutella", *where, *options])


if __name__ == "__main__":
    sys.exit(main())
