"""Pages made from the tables: reference of commands, settings and events; and the commented settings file of `gnutella init`.

The documentation build writes what these functions return, and a check fails when a page in docs/ is not what they say now.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_type_hints

from gnutella.control.commands import COMMANDS
from gnutella.control.events import EVENT_TYPES, MAX_EVENTS
from gnutella.control.table import MEANING_OF, STATUS_OF, Command, Role
from gnutella.settings import Settings
from gnutella.settings_check import describe
from gnutella.settings_file import ENV_PREFIX, OPTION_NAMES, RESTART_KEYS

#: What a key holds where its column says no more.
_KINDS = {
    "text": "text",
    "number": "number",
    "size": "bytes",
    "rate": "bytes a second",
    "duration": "seconds",
    "clock": "seconds since 1970",
    "truth": "true or false",
    "list": "list",
    "json": "object",
}
_MADE = "<!-- Made by `python -m gnutella.docs` from the code; change it there. -->\n\n"


def commands_page() -> str:
    """docs/reference/commands.md"""
    parts = [_MADE, _COMMANDS_HEAD, "| command | does | role |\n|---|---|---|\n"]
    parts += [f"| [`{_cell(c.words)}`](#{_anchor(c)}) | {_cell(c.help)} | {_role(c)} |\n" for c in COMMANDS]
    parts += ["\n## Exit codes and status codes\n\n", "| exit code | status line | meaning |\n|---|---|---|\n"]
    parts += [f"| {code} | {STATUS_OF.get(code, 250)} | {meaning} |\n" for code, meaning in MEANING_OF.items()]
    parts += [_section(command) for command in COMMANDS]
    return "".join(parts)


def settings_page() -> str:
    """docs/reference/settings.md"""
    parts = [_MADE, _SETTINGS_HEAD]
    for section, struct, fields in _sections():
        parts.append(f"\n## [{section}]\n\n{inspect.getdoc(struct)}\n\n")
        parts.append("| key | default | what may be written | meaning |\n|---|---|---|---|\n")
        for name, kind, default, text in fields:
            key = f"{section}.{name}"
            notes = f"{text}" + (f" Option `{OPTION_NAMES[key]}`." if key in OPTION_NAMES else "")
            notes += " Needs a restart." if key in RESTART_KEYS else ""
            parts.append(f"| `{name}` | `{_cell(_toml(default))}` | {_cell(describe(kind))} | {_cell(notes)} |\n")
    return "".join(parts)


def events_page() -> str:
    """docs/reference/events.md"""
    parts = [_MADE, _EVENTS_HEAD, "| type | data | meaning |\n|---|---|---|\n"]
    parts += [f"| `{row.name}` | {', '.join(row.keys)} | {_cell(row.meaning)} |\n" for row in EVENT_TYPES.values()]
    return "".join(parts)


def commented_settings() -> str:
    """A gnutella.toml in which every key is explained and commented out with its default."""
    parts = [_TOML_HEAD]
    for section, struct, fields in _sections():
        parts.append(f"\n# {inspect.getdoc(struct)}\n[{section}]\n")
        parts += [f"# {text}\n#{name} = {_toml(default)}\n" for name, _, default, text in fields]
    return "".join(parts)


@cache
def field_comments(struct: type) -> dict[str, str]:
    """The `#:` comments above the fields of a settings struct, by field name."""
    comments: dict[str, str] = {}
    pending: list[str] = []
    for line in inspect.getsource(struct).splitlines():
        stripped = line.strip()
        if stripped.startswith("#:"):
            pending.append(stripped[2:].strip())
        elif ":" in stripped and stripped.split(":")[0].isidentifier():
            comments[stripped.split(":")[0]] = " ".join(pending)
            pending = []
        else:
            pending = []
    return comments


def _sections() -> Iterator[tuple[str, type, list[tuple[str, Any, object, str]]]]:
    defaults = Settings()
    for section, struct in get_type_hints(Settings).items():
        comments = field_comments(struct)
        kinds = get_type_hints(struct, include_extras=True)
        values = getattr(defaults, section)
        yield section, struct, [(name, kind, getattr(values, name), comments[name]) for name, kind in kinds.items()]


def _section(command: Command) -> str:
    ways = [" ".join(form) for form in command.spoken[1:]]
    parts = [f"\n## {command.words}\n\n```\n{command.usage}\n```\n\n{command.help[:1].upper()}{command.help[1:]}."]
    parts.append(f"  {command.details}\n" if command.details else "\n")
    if ways:
        parts.append("\nAlso said: " + ", ".join(f"`{way}`" for way in ways) + ".\n")
    if command.place == "session":
        parts.append("\nOnly in a console.\n")
    if command.params:
        parts.append("\n| argument | meaning |\n|---|---|\n")
        for param in command.params:
            name = (
                param.shown
                if not param.option
                else f"--{param.name}" + ("" if param.kind == "flag" else f" {param.shown}")
            )
            parts.append(f"| `{_cell(name)}` | {_cell(param.help)} |\n")
    if command.columns:
        parts.append("\n| key | meaning |\n|---|---|\n")
        parts += [
            f"| `{column.key}` | {_cell(column.meaning or _KINDS[column.kind])} |\n" for column in command.columns
        ]
    parts += [f"\n    {example}\n" for example in command.examples]
    return "".join(parts)


def _role(command: Command) -> str:
    return str(command.role) if command.place == "node" else "–" if command.place == "local" else str(Role.READ)


def _anchor(command: Command) -> str:
    return command.words.replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _toml(value: object) -> str:
    """A default as TOML writes it; JSON is near enough for texts, lists, numbers and truth."""
    return "{}" if value == {} else json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


_COMMANDS_HEAD = """# Commands

One table; the command line (`gnutella VERB …`), the console and its help are made from it.  On the command line every command
also takes `--dir DIR` (the node's directory) and `--json` (one JSON object a line, with the keys below; numbers are
numbers).  Verbs may be cut short while they stay unambiguous.

In a console, `mode machine` gives `250-{row}` for each row, `250 {end}` when the reply is complete, `5xx what | hint` for an
error, and `650 {event}` after `events on`.  Replies come in the order of the commands; a writer that closes its half after its
last line still gets all of them.  An empty line or Ctrl-C ends a running command with what it has.

"""
_SETTINGS_HEAD = f"""# Settings

Precedence: defaults < `gnutella.toml` < environment (`{ENV_PREFIX}SECTION_KEY`, lists by commas) < options of the daemon <
run-time changes (`config set`, kept in `state.db`, shown by `config diff`).  The daemon never writes the file;
`gnutella init` writes a commented one, `gnutella config check FILE` checks it.  An endpoint is a string as Twisted reads it:
`tcp:6346`, `tcp:0:interface=127.0.0.1`, `tcp6:6346`, `unix:/path:mode=600`.
"""
_EVENTS_HEAD = f"""# Events

`gnutella events` follows them, `events --since N` replays those after number N, a console in machine mode tells them as `650`
lines after `events on`.  An event is `id` (counts from 1 while the node runs), `time` (seconds since 1970), `type`, and `data`
with the keys below.  The newest {MAX_EVENTS} are kept; who asks for older ones gets a `gap` first.

"""
_TOML_HEAD = """# gnutella.toml: settings of one node.  Every key is optional; a line that begins with # shows the default.
# The node only reads this file.  Run-time changes are kept elsewhere: gnutella config diff
# After an edit: gnutella config check, then restart the node or send it SIGHUP.
"""
