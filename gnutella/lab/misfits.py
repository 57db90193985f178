"""What msgspec says of a scenario file, in words for people: which key, which value, what may be written instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gnutella.lab.places import Fault, Place, place_of

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<key>[^`]*)`")
_WANTED = re.compile(r"^Expected (?P<wanted>.*?)(?:, got .*)?$", re.DOTALL)
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
#: Longest value that is shown.
MAX_SHOWN = 60


def explained(error: msgspec.ValidationError, tables: Mapping[str, Any], struct: type) -> Fault:
    """The place, the value and a way to mend it."""
    found = _PLACE.match(str(error))
    what, place = (found["what"], place_of((found["path"] or "$")[1:])) if found else (str(error), ())
    unknown, missing, wanted = _UNKNOWN.search(what), _MISSING.search(what), _WANTED.match(what)
    if unknown is not None:
        key = unknown["key"]
        return Fault(
            (*place, key),
            f"there is no such key (its value is {_shown(tables, (*place, key))})",
            _nearest(key, place, tables, struct),
        )
    if missing is not None:
        return Fault(place, f"{missing['key']} is missing", f"write {missing['key']} = ...")
    value = _shown(tables, place)
    if wanted is not None:
        return Fault(place, f"{value} does not fit", f"write {_plain(wanted['wanted'])}")
    return Fault(place, f"{value} cannot be written here", _kinds(place, struct))


def _value(tables: Any, place: Place) -> Any:
    for part in place:
        try:
            tables = tables[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tables


def _shown(tables: Any, place: Place) -> str:
    text = repr(_value(tables, place))
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _plain(wanted: str) -> str:
    """msgspec's names of types as TOML's readers know them."""
    wanted = wanted.replace("`", "").replace(" | null", "").replace("|", "or")
    return re.sub(r"\b(int|float|str|bool|array|object)\b", lambda name: _WORDS[name[0]], wanted)


def _definition(place: Place, tables: Any, struct: type) -> dict[str, Any]:
    """The part of the schema that describes what is there; {} when it cannot be told."""
    schema = msgspec.json.schema(struct)
    found: Any = schema
    for at in range(len(place) + 1):
        while isinstance(found, dict) and "$ref" in found:
            found = schema["$defs"][found["$ref"].rpartition("/")[2]]
        if isinstance(found, dict) and "anyOf" in found:
            found = _choice(found, schema, _value(tables, place[:at]))
        if at == len(place):
            break
        part = place[at]
        found = found.get("items", {}) if isinstance(part, int) else found.get("properties", {}).get(part, {})
    return found if isinstance(found, dict) else {}


def _choice(union: dict[str, Any], schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """Which of several tables is meant: the action of that name, or the only table."""
    tables = [schema["$defs"][part["$ref"].rpartition("/")[2]] for part in union["anyOf"] if "$ref" in part]
    kind = value.get("do") if isinstance(value, dict) else None
    meant = [table for table in tables if table["properties"].get("do", {}).get("enum") == [kind]]
    return meant[0] if meant else tables[0] if len(tables) == 1 else {}


def _nearest(key: str, place: Place, tables: Any, struct: type) -> str:
    known = list(_definition(place, tables, struct).get("properties", {}))
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _kinds(place: Place, struct: type) -> str:
    """The words that may stand there: kinds of actions, or an enumeration."""
    if place and place[-1] == "do":
        definitions = msgspec.json.schema(struct)["$defs"].values()
        kinds = [kind["enum"][0] for one in definitions if (kind := one.get("properties", {}).get("do"))]
        return f"there are {', '.join(sorted(kinds))}"
    allowed = _definition(place, {}, struct).get("enum", [])
    return f"there are {', '.join(map(str, allowed))}" if allowed else ""
