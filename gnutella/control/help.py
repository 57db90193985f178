"""Help texts, made from the command table: the overview and the page of one command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from gnutella.control.grammar import resolve
from gnutella.control.table import Command, Param, Role

_GRAMMAR = "Verbs may be cut short; quotes keep spaces together; row numbers are handles; help VERB tells more."


def overview_lines(commands: Iterable[Command], width: int) -> list[str]:
    """One line for each command, below the headings of their groups if there are several, and how the grammar works."""
    listed = list(commands)
    has_headings = len({command.group for command in listed}) > 1
    heading, lines = "", list[str]()
    longest = max(len(_short(command)) for command in listed)
    for command in listed:
        if has_headings and command.group != heading:
            heading = command.group
            lines += ["", heading] if lines else [heading]
        room = max(20, width - longest - 5)
        texts = textwrap.wrap(command.help, room) or [""]
        lines.append(f"  {_short(command):<{longest}}  {texts[0]}")
        lines += [f"  {'':<{longest}}  {text}" for text in texts[1:]]
    return [*lines, "", *textwrap.wrap(_GRAMMAR, width - 1)]


def help_on(words: Sequence[str], commands: Sequence[Command], width: int) -> list[str]:
    """Help on a verb, or on a group of them such as `share`; UserError for an unknown one."""
    group = [command for command in commands if command.spoken[0][0] == words[0].lower()]
    if len(words) == 1 and len(group) > 1:
        return overview_lines(group, width)
    return help_lines(resolve(words, commands)[0], width)


def help_lines(command: Command, width: int) -> list[str]:
    """Usage, what it does, what follows the verb, which keys its rows have, examples."""
    lines = [
        *textwrap.wrap(f"usage: {command.usage}", width - 1, subsequent_indent="         ", break_on_hyphens=False),
        "",
        *textwrap.wrap(command.help[:1].upper() + command.help[1:] + ".", width - 1),
    ]
    if command.details:
        lines += textwrap.wrap(command.details, width - 1)
    if command.params:
        longest = max(len(_label(param)) for param in command.params)
        lines.append("")
        for param in command.params:
            texts = textwrap.wrap(param.help, max(20, width - longest - 5)) or [""]
            lines.append(f"  {_label(param):<{longest}}  {texts[0]}")
            lines += [f"  {'':<{longest}}  {text}" for text in texts[1:]]
    if command.columns:
        lines += [
            "",
            *textwrap.wrap("keys: " + ", ".join(c.key for c in command.columns), width - 1, subsequent_indent="  "),
        ]
    if command.role > Role.READ:
        lines.append(f"role: {command.role}")
    lines += [f"example: {example}" for example in command.examples]
    return lines


def _short(command: Command) -> str:
    arguments = " ".join(param.shown if param.required else f"[{param.shown}]" for param in command.positionals)
    return f"{command.words} {arguments}".strip()


def _label(param: Param) -> str:
    if not param.option:
        return param.shown
    return f"--{param.name}" if param.kind == "flag" else f"--{param.name} {param.shown}"
