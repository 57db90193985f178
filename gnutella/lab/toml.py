"""Writes what tomllib reads: tables of plain values, for scenarios that the fuzzer found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def toml_of(tables: Mapping[str, Any]) -> str:
    """A document of top-level values, tables of values, and arrays of such tables."""
    lines: list[str] = []
    plain = {key: value for key, value in tables.items() if not _is_nested(value)}
    lines += [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in tables.items():
        if key in plain:
            continue
        heads = [(f"[{key}]", value)] if isinstance(value, Mapping) else [(f"[[{key}]]", item) for item in value]
        for head, table in heads:
            lines += ["", head, *(f"{name} = {_value(item)}" for name, item in table.items())]
    return "\n".join(lines) + "\n"


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
