"""Checks of single setting values beyond their type: endpoints, addresses, directories; and values written as text.

All raise ValueError whose text says what is wrong, and mostly one fix.  Nothing here opens, resolves or creates anything, so
that `gnutella config check` has no effects (an `onion:` endpoint, for one, looks for Tor while Twisted parses it).
"""

from __future__ import annotations

import difflib
import os
import re
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Literal, get_args, get_origin

import msgspec

from gnutella.protocol.gwebcache import check_url
from gnutella.units import parse_address

#: Endpoint prefixes that Twisted brings, with the number of positional arguments that each needs at least.
ENDPOINT_PREFIXES = {"tcp": 1, "tcp6": 1, "ssl": 1, "tls": 1, "unix": 1, "systemd": 0, "onion": 0}
#: Words that switch a door off.
OFF = "off"
#: The word that stands for the list of addresses that comes with the program.
BUILT_IN = "default"
#: Longest value that is quoted whole in an error.
MAX_QUOTED = 80


def quoted(value: object) -> str:
    """`value` as it is shown in an error: repr, cut."""
    text = repr(value)
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "role"?` or the empty text."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def check_endpoint(text: str) -> str:
    """An endpoint string of Twisted, looked at but not opened."""
    parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", text)]
    prefix, arguments = parts[0], parts[1:]
    if prefix not in ENDPOINT_PREFIXES:
        raise ValueError(f"no endpoint kind {quoted(prefix)}; write for example tcp:6346 or unix:/path:mode=600")
    named = dict(part.split("=", 1) for part in arguments if "=" in part)
    positional = [part for part in arguments if "=" not in part]
    if len(positional) < ENDPOINT_PREFIXES[prefix] and not ("port" in named or "address" in named):
        raise ValueError(f"{quoted(text)} lacks the {'path' if prefix == 'unix' else 'port'} after {prefix}:")
    if prefix in ("tcp", "tcp6", "ssl", "tls"):
        _check_port(named.get("port") or positional[-1])
    if "mode" in named and not re.fullmatch(r"[0-7]{3,4}", named["mode"]):
        raise ValueError(f"mode {quoted(named['mode'])} is not octal; write mode=600")
    return text


def check_door(text: str) -> str:
    """An endpoint string, "off", or empty for the default."""
    return text if text in ("", OFF) else check_endpoint(text)


def check_peer(text: str) -> str:
    """host:port of a peer."""
    parse_address(text)
    return text


def check_cache(text: str) -> str:
    """host:port of a UDP host cache, or the word for the built-in ones."""
    return text if text == BUILT_IN else check_peer(text)


def check_web_cache(text: str) -> str:
    """The URL of a GWebCache, in one spelling."""
    return check_url(text, allow_private=True)


def check_advertise(text: str) -> str:
    """IP or IP:port, or empty."""
    if text:
        parse_address(text)
    return text


def check_directory(text: str, base: str) -> str:
    """An existing directory as an absolute path; relative ones count from `base`."""
    path = os.path.abspath(os.path.join(base, os.path.expanduser(text)))
    if not os.path.isdir(path):
        what = "is no directory" if os.path.exists(path) else "does not exist"
        raise ValueError(f"{quoted(path)} {what}; create it or leave it out")
    return path


def check_file(text: str, base: str) -> str:
    """A file as an absolute path; it may be missing yet, since scripts fetch it."""
    path = os.path.abspath(os.path.join(base, os.path.expanduser(text)))
    if not text or os.path.isdir(path):
        raise ValueError(f"{quoted(text)} is no file; write the path of a list")
    return path


def check_token_text(text: str) -> str:
    """Text that goes into a header: printable ASCII."""
    if not text.isascii() or not (text == "" or text.isprintable()):
        raise ValueError("only printable ASCII can go into a header")
    return text


#: Checks by key; of a list, each item is checked.  Directories and files are checked with their base by `value_of`.
CHECKS: dict[str, Callable[[str], str]] = {
    "network.listen": check_endpoint,
    "network.connect": check_peer,
    "anonymous.connect": check_peer,
    "network.advertise": check_advertise,
    "bootstrap.udp_host_caches": check_cache,
    "bootstrap.gwebcaches": check_web_cache,
    "network.user_agent": check_token_text,
    "control.control": check_door,
    "control.console": check_door,
}
DIRECTORY_KEYS = frozenset({"sharing.directories"})
FILE_KEYS = frozenset({"safety.blocklists"})


def value_of(key: str, kind: object, raw: object, base: str) -> object:
    """`raw` (from TOML, or a Python value) as a value of type `kind`, checked; relative directories count from `base`."""
    try:
        value = msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"{_readable(str(error))}; write {describe(kind)}") from None
    if key in DIRECTORY_KEYS:
        return tuple(check_directory(item, base) for item in typing.cast("tuple[str, ...]", value))
    if key in FILE_KEYS:
        return tuple(check_file(item, base) for item in typing.cast("tuple[str, ...]", value))
    check = CHECKS.get(key)
    if check is None:
        return value
    if isinstance(value, tuple):
        return tuple(check(item) for item in value)
    return check(typing.cast(str, value))


def raw_of(kind: object, text: str) -> object:
    """What a text from the environment or from `config set` stands for, still to be checked by `value_of`.

    Lists are separated by commas; truth is yes/no, true/false, on/off, 1/0; tables are name=value lists.
    """
    bare = _bare(kind)
    if get_origin(bare) is tuple:
        return _items(text)
    if get_origin(bare) is dict:
        return dict(item.partition("=")[::2] for item in _items(text))
    if bare is bool:
        return _truth(text)
    if bare in (int, float):
        try:
            return int(text) if bare is int else float(text)
        except ValueError:
            return text
    return text


def describe(kind: object) -> str:
    """What a person may write for a value of this type: `a whole number from 0 to 64`."""
    bare, meta = _bare(kind), _meta(kind)
    if get_origin(bare) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(bare))
    if get_origin(bare) is tuple:
        return 'a list of texts, ["…", "…"]'
    if get_origin(bare) is dict:
        return 'a table, {"name" = "value"}'
    if bare is bool:
        return "true or false"
    if bare is str:
        return 'a text, "…"'
    name = "a whole number" if bare is int else "a number"
    low = (
        f" from {meta.ge:g}"
        if meta and meta.ge is not None
        else f" above {meta.gt:g}"
        if meta and meta.gt is not None
        else ""
    )
    return f"{name}{low}" + (f" to {meta.le:.15g}" if meta and meta.le is not None else "")


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _check_port(text: str) -> None:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ValueError(f"{quoted(text)} is no port between 0 and 65535")


def _truth(text: str) -> object:
    word = text.strip().lower()
    if word in ("1", "yes", "true", "on"):
        return True
    return False if word in ("0", "no", "false", "off") else text


def _bare(kind: object) -> object:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _meta(kind: object) -> msgspec.Meta | None:
    found = (
        [item for item in get_args(kind)[1:] if isinstance(item, msgspec.Meta)] if get_origin(kind) is Annotated else []
    )
    return found[0] if found else None


def _readable(text: str) -> str:
    """msgspec's words without its JSON path and back quotes."""
    names = {
        "`str`": "a text",
        "`int`": "a whole number",
        "`float`": "a number",
        "`bool`": "true or false",
        "`array`": "a list",
    }
    text = re.sub(
        r" - at `\$(.*)`$", lambda m: f" (item {m[1].strip('[.]')})" if m[1].strip("[.]").isdigit() else "", text
    )
    for name, word in names.items():
        text = text.replace(name, word)
    return text.replace("`", "").replace("Expected", "expected").replace("Invalid", "invalid")
