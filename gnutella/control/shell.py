"""`gnutella console`: the interactive face of the control socket, with history and completion; or a pipe to it.

On a terminal each line is understood here, so tables know the real width and colours; the node does the work.  With input from
a pipe the lines go to the node as they are, and everything it says is printed, as nc would do.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Protocol

from gnutella import __version__
from gnutella.control.client import NodeClient, connect
from gnutella.control.commands import CONSOLE_COMMANDS
from gnutella.control.events import EVENT_TYPES
from gnutella.control.grammar import Invocation, line_of, parse, split
from gnutella.control.help import help_on, overview_lines
from gnutella.control.live import LiveBars
from gnutella.control.order import Order, wants_colours, width_of
from gnutella.control.printers import printer_for, shows_progress
from gnutella.control.remote import find_socket
from gnutella.control.render import printable
from gnutella.control.table import UNAVAILABLE, Command
from gnutella.errors import UserError

HISTORY_NAME = "console_history"
MAX_HISTORY = 1000
PROMPT = "gnutella> "


def run_shell(order: Order) -> int:
    """Until `quit`, Ctrl-D, or the node goes away; the exit code."""
    path = find_socket(order.directory)
    if not sys.stdin.isatty():
        return _pipe(path)
    with NodeClient(path) as node, _line_editing(order.directory):
        print(
            f"PyGnutella {__version__}, node in {order.directory}.  Tab completes, help lists the commands, Ctrl-D leaves."
        )
        return _loop(node)


def _loop(node: NodeClient) -> int:
    while True:
        try:
            line = input(PROMPT)
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print()
            continue
        try:
            if not _line(node, line):
                return 0
        except UserError as error:
            print(f"error: {printable(str(error))}")
            if error.exit_code == UNAVAILABLE and not node.is_open:
                return error.exit_code


def _line(node: NodeClient, line: str) -> bool:
    """Do one line; False to leave."""
    words = split(line)
    if not words:
        return True
    invocation = parse(words, CONSOLE_COMMANDS)
    name = invocation.command.name
    if name == "console.quit":
        return False
    if name == "console.help":
        verb = invocation.values.get("verb")
        width = width_of(sys.stdout)
        known = help_on(list(verb), CONSOLE_COMMANDS, width) if isinstance(verb, tuple) and verb else None
        print("\n".join(known or overview_lines(CONSOLE_COMMANDS, width)))
    elif name == "console.mode":
        print("this console is for people; programs use the socket or gnutella --json")
    elif name == "console.events":
        if words[1].lower().startswith("on"):
            follow = parse(["events", "--follow"], CONSOLE_COMMANDS)
            _show(node, follow)
    else:
        _show(node, invocation)
    return True


def _show(node: NodeClient, invocation: Invocation) -> None:
    """One reply; Ctrl-C ends a long one and keeps the console."""
    with _interrupts_to(node):
        rows = node.rows(line_of(invocation.command, invocation.values), None)
        colours = wants_colours(sys.stdout)
        if shows_progress(invocation) and colours:
            bars = LiveBars(sys.stdout, lambda: width_of(sys.stdout), colours=True)
            for row in rows:
                bars.add(row)
            bars.end(invocation.command.empty)
            return
        printer = printer_for(invocation, width_of(sys.stdout), colours=colours)
        for row in rows:
            for line in printer.add(row):
                print(line, flush=True)
        for line in printer.end():
            print(line)


@contextlib.contextmanager
def _interrupts_to(node: NodeClient) -> Iterator[None]:
    """The first Ctrl-C asks the node to end the command, whose last rows then still come; a second one ends the console.

    A handler, not `except KeyboardInterrupt`: the exception may come at any place, also while a row is being printed.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        node.interrupt()

    before = signal.signal(signal.SIGINT, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _line_editing(directory: str) -> Iterator[None]:
    """readline with our history and completion, where Python has it."""
    try:
        import readline
    except ImportError:
        yield
        return
    path = os.path.join(directory, HISTORY_NAME)
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(MAX_HISTORY)
    readline.set_completer_delims(" \t")
    readline.set_completer(lambda text, state: _nth(complete(readline.get_line_buffer(), text), state))
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        forget_private(readline)
        with contextlib.suppress(OSError):
            old = os.umask(0o077)
            readline.write_history_file(path)
            os.umask(old)


class History(Protocol):
    """The part of readline that lines are taken back with; positions of items begin with 1, those that are removed with 0."""

    def get_current_history_length(self) -> int: ...
    def get_history_item(self, index: int, /) -> str | None: ...
    def remove_history_item(self, pos: int, /) -> None: ...


def forget_private(history: History) -> None:
    """Take back lines that say what was asked for anonymously, and keys: they are not for the disk."""
    for number in range(history.get_current_history_length(), 0, -1):
        words = (history.get_history_item(number) or "").split()
        is_private = words[:1] in (["anonymous"], ["publish"]) or "--anonymous" in words
        if is_private or any(word.startswith(("arl:", "--anonymous=")) for word in words):
            history.remove_history_item(number - 1)


def complete(line: str, text: str) -> list[str]:
    """What `text`, the last word of `line`, may become: verbs, their second words, options, choices."""
    before = split(line[: len(line) - len(text)]) if text else split(line)
    if text.startswith("--") and before:
        return sorted(
            f"--{param.name} "
            for command in _said(before)
            for param in command.options
            if _begins(param.name, text[2:])
        )
    if before and before[-1] == "--type":
        return sorted(name for name in EVENT_TYPES if _begins(name, text))
    found = set()
    for command in CONSOLE_COMMANDS:
        form = command.spoken[0]
        if len(form) > len(before) and all(_begins(word, said) for word, said in zip(form, before, strict=False)):
            found.add(form[len(before)] + " ")
    return sorted(word for word in found if _begins(word, text))


def _said(words: list[str]) -> list[Command]:
    return [c for c in CONSOLE_COMMANDS if list(c.spoken[0]) == [word.lower() for word in words[: len(c.spoken[0])]]]


def _begins(word: str, text: str) -> bool:
    return word.startswith(text.lower())


def _nth(found: list[str], number: int) -> str | None:
    return found[number] if number < len(found) else None


def _pipe(path: str) -> int:
    """stdin to the node, the node to stdout, until the node has answered everything."""
    with connect(path) as line, selectors.DefaultSelector() as ready:
        line.settimeout(None)
        ready.register(line, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is line:
                    data = line.recv(65536)
                    if not data:
                        return 0
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
                else:
                    data = os.read(sys.stdin.fileno(), 65536)
                    if data:
                        line.sendall(data)
                    else:
                        ready.unregister(sys.stdin)
                        line.shutdown(socket.SHUT_WR)
