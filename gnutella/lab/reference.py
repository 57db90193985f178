"""docs/reference/scenario.md, made from the structs of scenario.py and the tables of reports, strategies and rules."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec
from msgspec import NODEFAULT, structs

from gnutella.control.schema import field_comments
from gnutella.control.table import Column
from gnutella.lab import census, report
from gnutella.lab import scenario as s
from gnutella.lab.disk import __doc__ as disk_text
from gnutella.lab.live import __doc__ as live_text
from gnutella.lab.strategies import __doc__ as strategies_text
from gnutella.lab.stream import __doc__ as stream_text
from gnutella.lab.telling import COLUMNS as STEPS
from gnutella.lab.watch import __doc__ as watch_text

_MADE = "<!-- Made by `python -m gnutella.docs` from the code; change it there. -->"
#: Keys of a JSON schema that limit a number; larger limits than _HUGE say no more than the type.
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_HUGE = 1 << 62
_HEAD = """\
A scenario is a TOML file: a network, what its nodes share, what happens when, and what must come of it.

    gnutella lab FILE.toml                  run it in virtual time
    gnutella lab FILE.toml --live           run it with real servents on loopback ports
    gnutella lab FILE.toml --html page.html also draw it (needs `pip install 'gnutella-servent[lab]'`)
    gnutella lab trace FILE.toml --query 2  the life of its second question in every node
    gnutella lab compare [FILE.toml]        the same questions, asked in every way
    gnutella lab compare --superpeers       the same in a network of ultrapeers and leaves only
    gnutella lab fuzz --minutes 60          scenarios by chance; what fails is shrunk to a small file
    gnutella lab schema                     the JSON schema of such files, for editors

Exit codes: 0, 1 when something was not as expected, 64 usage, 78 for a file that cannot be used. The same file and the same
seed give the same run, bit for bit, on every machine: the last line of a report is a hash over all that happened.

pytest runs every `scenarios/*.toml` that it comes across (the plugin is installed with the package), `pytest --gnutella-live`
those with `live = true` with real servents too; the ini option `gnutella_scenarios` names other patterns.

The smallest useful file:

```toml
name = "Bob finds what Alice shares"
link = [{ between = ["alice", "bob"] }]

[[node]]
name = "alice"
files = ["hello world.txt"]

[[node]]
name = "bob"

[[action]]
do = "query"
at_s = 1
from = "bob"
text = "hello"
expect = { hits = 1, hops = 1 }
```
"""


def scenario_page() -> str:
    """The page."""
    parts = [
        "# Scenario files",
        _MADE,
        _HEAD.rstrip(),
        *_tables(),
        "## Rules that are checked all the time",
        _text(watch_text, 2),
        "## What links are like",
        _text(stream_text, 2),
        "## What disks are like",
        _text(disk_text, 2),
        "## With real servents",
        _text(live_text, 3),
        "## Ways to search",
        _text(strategies_text, 2),
        "## Reports",
        "`--json` prints a row for each query, one object a line, for each download and each census, then the totals.",
        _columns(report.COLUMNS),
        "A download has",
        _columns(report.DOWNLOAD_COLUMNS),
        "A census has",
        _columns(census.COLUMNS),
        "`gnutella lab compare` has a row for each strategy:",
        _columns(report.COMPARISON),
        "and, for a network of ultrapeers and leaves, one for each strategy and sort of file:",
        _columns(report.TIERS),
        "`gnutella lab trace` has a row for each step:",
        _columns(STEPS),
    ]
    return "\n\n".join(parts) + "\n"


def _tables() -> Iterator[str]:
    places: list[tuple[str, type[msgspec.Struct]]] = [
        ("At the top of the file", s.Scenario),
        ("[network]", s.Network),
        ("[topology]", s.Topology),
        ("[links]", s.Links),
        ("[content]", s.Content),
        ("[[node]]", s.Node),
        ("[[link]]", s.Link),
        ("expect", s.Expect),
        ("expect of a census", s.Linked),
        ("A bound", s.Range),
    ]
    for title, struct in places:
        yield f"## {title}"
        yield inspect.cleandoc(struct.__doc__ or "")
        yield _keys(struct)
    yield "## [[action]]"
    yield "Every action has `do`, its kind, and `at_s`, when it happens, in seconds of virtual time."
    for struct in get_args(s.AnyAction):
        yield f'### do = "{struct.__struct_config__.tag}"'
        yield inspect.cleandoc(struct.__doc__ or "")
        rows = _keys(struct, skip={"at_s"})
        if rows:
            yield rows


def _keys(struct: type[msgspec.Struct], skip: Iterable[str] = ()) -> str:
    comments = {**field_comments(s.Action), **field_comments(struct)}
    properties = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
    rows = []
    for field in structs.fields(struct):
        if field.name in skip:
            continue
        kind = _kind(properties[field.encode_name])
        rows.append((f"`{field.encode_name}`", kind, _default(field), comments.get(field.name, "")))
    return _markdown(("key", "value", "default", "meaning"), rows) if rows else ""


def _kind(schema: dict[str, Any]) -> str:
    """What may be written, from the JSON schema."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [_kind(part) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        return f"table `{schema['$ref'].rpartition('/')[2].lower()}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    words = [{"string": "text", "integer": "whole number"}.get(schema.get("type", ""), schema.get("type", "any"))]
    for key, sign in _LIMITS.items():
        if schema.get(key, _HUGE) < _HUGE:
            words.append(f"{sign} {schema[key]}")
    return " ".join(words)


def _default(field: structs.FieldInfo) -> str:
    if field.default is NODEFAULT:
        return "as for every node" if field.name == "routing" else "" if field.default_factory is NODEFAULT else "empty"
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{list(field.default) if isinstance(field.default, tuple) else field.default!r}`"


def _columns(columns: Iterable[Column]) -> str:
    return _markdown(("key", "meaning"), ((f"`{column.key}`", column.meaning) for column in columns))


def _text(doc: str | None, first: int) -> str:
    """A module's own words, without its first paragraphs."""
    paragraphs = (doc or "").strip().split("\n\n")[first - 1 :]
    return "\n\n".join(part if part.startswith("    ") else inspect.cleandoc(part) for part in paragraphs)


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(list(heads))]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
