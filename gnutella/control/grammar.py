"""The grammar of a command line: words, quotes, abbreviations, options.  Pure.

    line    = verb-words { word | --name value | --name=value }
    word    = characters, "with spaces", 'as they are', or \\x for a single character

`verb-words` are the spoken form of a command; each may be cut short while it stays unambiguous.  Nothing here raises for a bad
line but UserError (64), which names the word and one fix.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gnutella.control.table import Command, Param
from gnutella.errors import UserError
from gnutella.settings_check import did_you_mean, quoted
from gnutella.units import parse_address

#: Words of one line; a search of more words than this is no search.
MAX_WORDS = 256
#: Longest time that may be waited for, seconds.
MAX_SECONDS = 86400.0
#: Largest number that is read: 2^53 - 1, the largest that every JSON reader takes.
MAX_NUMBER = 9007199254740991

_SPACE = " \t\r\n\v\f"


class Invocation(NamedTuple):
    """A command with its checked values, one for each parameter."""

    command: Command
    values: Mapping[str, object]


def split(line: str) -> list[str]:
    """The words of a line.  A quote that is never closed runs to the end: a slip, not an error."""
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(line)
    for char in characters:
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"':
                (word := word or []).append(next(characters, "\\"))
            else:
                (word := word or []).append(char)
        elif char in "\"'":
            word, quote = word if word is not None else [], char
        elif char in _SPACE:
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = word if word is not None else []
            word.append(next(characters, "\\") if char == "\\" else char)
    if word is not None:
        words.append("".join(word))
    return words


def quote(word: str) -> str:
    """`word` such that `split` gives it back; without line ends, which become spaces."""
    plain = "".join(" " if char in "\r\n\0" else char for char in word)
    if plain and not any(char in _SPACE + "\"'\\" for char in plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def resolve(words: Sequence[str], commands: Iterable[Command]) -> tuple[Command, list[str]]:
    """The command that the line's first words say, and the words after it.

    The longest spoken form wins, whole words win over abbreviations; UserError for an unknown or an ambiguous verb.
    """
    found: dict[str, tuple[tuple[int, int], Command]] = {}
    for command in commands:
        for form in command.spoken:
            if len(form) <= len(words) and all(map(_abbreviates, words, form)):
                whole = sum(map(str.__eq__, map(str.lower, words), form))
                best = found.get(command.name, ((0, 0), command))
                found[command.name] = max(best, ((len(form), whole), command), key=lambda item: item[0])
    if not found:
        raise _unknown_verb(words, list(commands))
    top = max(rank for rank, _ in found.values())
    winners = [command for rank, command in found.values() if rank == top]
    if len(winners) > 1:
        said = " ".join(words[: top[0]])
        raise UserError(f"{quoted(said)} is ambiguous", "one of: " + ", ".join(sorted(c.words for c in winners)))
    return winners[0], list(words[top[0] :])


def parse(words: Sequence[str], commands: Sequence[Command]) -> Invocation:
    """A whole line as an invocation."""
    command, rest = resolve(words, commands)
    values = values_of(command, rest)
    if command.bare and not any(values[param.name] for param in command.positionals):
        command = next(other for other in commands if other.name == command.bare)
        return Invocation(command, values_of(command, rest))
    return Invocation(command, values)


def values_of(command: Command, words: Sequence[str]) -> dict[str, object]:
    """Checked values of all parameters, from the words after the verb."""
    if len(words) > MAX_WORDS:
        raise UserError(f"{len(words)} words are too many", f"at most {MAX_WORDS}")
    given: dict[str, list[str]] = {}
    free: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            free += rest
            break
        if word.startswith("--"):
            _take_option(command, word, rest, given)
        else:
            free.append(word)
    _place(command, free, given)
    return {param.name: _value(command, param, given.get(param.name)) for param in command.params}


def line_of(command: Command, values: Mapping[str, object]) -> str:
    """A line that parses to the same command and values: how the command line speaks to the console."""
    options: list[str] = []
    free: list[str] = []
    for param in command.params:
        value = values.get(param.name)
        if value is None or value is False or value == ():
            continue
        texts = [str(item) for item in value] if isinstance(value, (tuple, list)) else [str(value)]
        if not param.option:
            free += [quote(text) for text in texts]
        elif param.kind == "flag":
            options.append(f"--{param.name}")
        else:
            options.append(f"--{param.name}={quote(','.join(texts))}")
    return " ".join([command.words, *options, *(["--", *free] if free else [])])


def convert(param: Param, text: str) -> object:
    """One value from its text; UserError names the parameter, the text and what may be written."""
    try:
        return _CONVERTERS.get(param.kind, _as_text)(param, text)
    except ValueError as error:
        name = f"--{param.name}" if param.option else param.shown
        raise UserError(f"{name} {quoted(text)}: {error}", f"help tells what {param.shown} may be") from None


def _abbreviates(word: str, whole: str) -> bool:
    return whole.startswith(word.lower())


def _unknown_verb(words: Sequence[str], commands: list[Command]) -> UserError:
    if not words:
        return UserError("no command", "help lists them")
    first = words[0].lower()
    group = sorted({c.words for c in commands for form in c.spoken if len(form) > 1 and form[0] == first})
    if group:
        said = " ".join(words[:2])
        return UserError(
            f"no command {quoted(said)}" if len(words) > 1 else f"{first} what?", "one of: " + ", ".join(group)
        )
    names = {form[0] for command in commands for form in command.spoken}
    return UserError(f"no command {quoted(words[0])}", did_you_mean(first, names) or "help lists them")


def _take_option(command: Command, word: str, rest: list[str], given: dict[str, list[str]]) -> None:
    name, equals, value = word[2:].partition("=")
    known = [param for param in command.options if param.name == name] or [
        param for param in command.options if param.name.startswith(name) and name
    ]
    if len(known) != 1:
        names = [param.name for param in command.options]
        close = did_you_mean(name, names)
        hint = close or ("options: " + ", ".join(f"--{item}" for item in names) if names else "it takes no options")
        raise UserError(f"{command.words} has no option {quoted('--' + name)}", hint)
    param = known[0]
    if param.kind == "flag":
        if equals:
            raise UserError(f"--{param.name} takes no value", f"write --{param.name} alone")
        given[param.name] = ["yes"]
    elif equals:
        given[param.name] = [value]
    elif rest:
        given[param.name] = [rest.pop(0)]
    else:
        raise UserError(f"--{param.name} lacks its value", f"write --{param.name} {param.shown}")


def _place(command: Command, free: list[str], given: dict[str, list[str]]) -> None:
    for param in command.positionals:
        if free:
            given[param.name] = free if param.many else [free[0]]
            free = [] if param.many else free[1:]
        elif param.required:
            raise UserError(f"{command.words} lacks {param.shown}", f"usage: {command.usage}")
    if free:
        raise UserError(f"{command.words} does not take {quoted(free[0])}", f"usage: {command.usage}")


def _value(command: Command, param: Param, texts: list[str] | None) -> object:
    if texts is None:
        return () if param.many else False if param.kind == "flag" else param.default
    if param.kind == "flag":
        return True
    if param.many:
        return tuple(convert(param, text) for text in texts)
    return convert(param, texts[0])


def _as_text(param: Param, text: str) -> str:
    if param.required and not text:
        raise ValueError("is empty")
    return text


def _as_number(param: Param, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_NUMBER):
        raise ValueError("is no whole number")
    return int(text)


def _as_seconds(param: Param, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("is no number of seconds") from None
    if not (math.isfinite(seconds) and 0 <= seconds <= MAX_SECONDS):
        raise ValueError(f"is not between 0 and {MAX_SECONDS:g} seconds")
    return seconds


def _as_address(param: Param, text: str) -> str:
    if param.handle and text.isascii() and text.isdigit():
        return text
    return str(parse_address(text))


def _as_guid(param: Param, text: str) -> str:
    if param.handle and text.isascii() and text.isdigit() and len(text) < 10 and (text == "0" or text[0] != "0"):
        return text
    if len(text) != 32 or not all(char in "0123456789abcdefABCDEF" for char in text):
        raise ValueError(("is no row number and" if param.handle else "is") + " no GUID of 32 hexadecimal digits")
    return text.lower()


def _as_choice(param: Param, text: str) -> str:
    word = text.lower()
    if word not in param.choices:
        raise ValueError(f"is none of {', '.join(param.choices)}")
    return word


def _as_choices(param: Param, text: str) -> tuple[str, ...]:
    return tuple(_as_choice(param, word.strip()) for word in text.split(",") if word.strip())


def _as_directory(param: Param, text: str) -> str:
    if param.handle and text.isascii() and text.isdigit():
        return text
    path = os.path.expanduser(text)
    if not os.path.isabs(path):
        raise ValueError("is no absolute path")
    return os.path.normpath(path)


_CONVERTERS = {
    "text": _as_text,
    "number": _as_number,
    "seconds": _as_seconds,
    "address": _as_address,
    "guid": _as_guid,
    "choice": _as_choice,
    "choices": _as_choices,
    "directory": _as_directory,
    "file": _as_text,
}
