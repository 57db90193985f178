"""From gnutella.toml, environment, options and run-time changes to `Settings`, with the origin of every value.

Precedence: defaults < file < environment (GNUTELLA_SECTION_KEY) < options < run-time changes.  The file is only ever read.  All
that is wrong is collected into one `ConfigError`: file and line, key, value and one fix each.

    loaded = load("/etc/gnutella.toml", os.environ, {"network.role": "leaf"})
    loaded.settings.network.role, loaded.origins["network.role"].source
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple, get_type_hints

import msgspec

from gnutella.errors import UserError
from gnutella.settings import Settings
from gnutella.settings_check import did_you_mean, quoted, raw_of, value_of

Source = Literal["default", "file", "env", "option", "runtime"]

#: A configuration is a page or two; finding the line of an error is quadratic in its size.
MAX_FILE_BYTES = 65536
ENV_PREFIX = "GNUTELLA_"
#: Options of the daemon that set a key; for error texts and `config show`.
OPTION_NAMES = {
    "network.listen": "--listen",
    "network.connect": "--connect",
    "network.role": "--role",
    "network.profile": "--profile",
    "sharing.directories": "--share",
    "control.control": "--control",
    "control.console": "--console",
}
#: Keys that take effect only when the node starts; the others may change while it runs.
RESTART_KEYS = frozenset(
    {
        "anonymous.enabled",
        "anonymous.layer",
        "anonymous.connect",
        "anonymous.cache_mib",
        "anonymous.store_mib",
        "anonymous.min_age_h",
        "anonymous.min_sources",
        "anonymous.by_network",
        "anonymous.pivot",
        "anonymous.gateway",
        "anonymous.links",
        "anonymous.circuit_kib_s",
        "anonymous.relay_kib_s",
        "network.listen",
        "network.ipv6",
        "network.connect",
        "network.profile",
        "network.tls",
        "network.user_agent",
        "network.advertise",
        "network.nat",
        "network.dial_timeout_s",
        "bootstrap.multicast",
        "bootstrap.mdns",
        "bootstrap.udp_host_caches",
        "bootstrap.gwebcaches",
        "bootstrap.serve_cache",
        "routing.ping_interval_s",
        "sharing.directories",
        "sharing.share_incoming",
        "sharing.watch",
        "sharing.hash_workers",
        "control.control",
        "control.console",
        "control.max_consoles",
    }
)


class Origin(NamedTuple):
    """Where a value comes from: `detail` is `line 4`, a variable or an option."""

    source: Source
    detail: str = ""


class ConfigError(UserError):
    """Exit 78; `problems` holds one line each, and the message all of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems), exit_code=os.EX_CONFIG)
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Loaded:
    """Effective settings; `configured` and `origins` are without the run-time changes.  Keys are `section.key`.

    `at_start` are the settings with which the node that has these was started: its RESTART_KEYS are still in force.
    """

    settings: Settings
    configured: Settings
    origins: Mapping[str, Origin]
    runtime: Mapping[str, object]
    path: str = ""
    at_start: Loaded | None = None

    def value(self, key: str) -> object:
        """The effective value of `section.key`."""
        return value_in(self.settings, key)

    def origin(self, key: str) -> Origin:
        """Where the effective value of `section.key` comes from."""
        return Origin("runtime") if key in self.runtime else self.origins.get(key, Origin("default"))

    def waits_for_restart(self, key: str) -> bool:
        """Whether the value of `section.key` was changed since the node started, and cannot change while it runs."""
        return self.in_force(key) != self.value(key)

    def in_force(self, key: str) -> object:
        """The value by which the node works: for RESTART_KEYS that with which it was started."""
        return (self.at_start or self).value(key) if key in RESTART_KEYS else self.value(key)

    def rows(self) -> list[dict[str, object]]:
        """Every key: key, value (in force), source, detail, default, after_restart (None when that is the same)."""
        defaults = Settings()
        return [self._row(key, defaults) for key in keys()]

    def changes(self) -> list[dict[str, object]]:
        """Run-time changes only: key, value, configured."""
        return [
            {"key": key, "value": _plain(self.value(key)), "configured": _plain(value_in(self.configured, key))}
            for key in self.runtime
        ]

    def _row(self, key: str, defaults: Settings) -> dict[str, object]:
        later = _plain(self.value(key)) if self.waits_for_restart(key) else None
        in_force = self if later is None or self.at_start is None else self.at_start
        origin = in_force.origin(key)
        details = [origin.detail, "" if later is None else f"after restart: {msgspec.json.encode(later).decode()}"]
        return {
            "key": key,
            "value": _plain(in_force.value(key)),
            "source": origin.source,
            "detail": "; ".join(filter(None, details)),
            "default": _plain(value_in(defaults, key)),
            "after_restart": later,
        }


class _Given(NamedTuple):
    """One value that somebody gave, still to be checked; `place` opens its error line."""

    key: str
    raw: object
    origin: Origin
    place: str
    base: str


def load(
    path: str | None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    runtime: Mapping[str, object] | None = None,
) -> Loaded:
    """Put the layers together.  `path` None: no file; a path that cannot be read is an error.

    `overrides` and `runtime` map `section.key` to plain values (lists, numbers, texts); ConfigError lists all that is wrong.
    Run-time values that no longer fit (kept by an older version) are left out rather than refused.
    """
    problems: list[str] = []
    given = list(_file_values(path, problems)) if path else []
    given += _env_values(environ or {}, problems)
    given += _option_values(overrides or {}, problems)
    configured, origins = _apply(given, problems)
    if problems:
        raise ConfigError(problems)
    settings, kept = configured, {}
    for key, raw in (runtime or {}).items():
        try:
            settings = _replaced(settings, key, value_of(key, keys()[key], raw, os.getcwd()))
        except (KeyError, ValueError):
            continue
        kept[key] = raw
    return Loaded(settings, configured, origins, kept, path or "")


def with_runtime(loaded: Loaded, key: str, text: str) -> Loaded:
    """`loaded` with a run-time change written as text, or taken back when `text` is empty.

    UserError (64) for an unknown key or a bad value.  Keep `.runtime` in state.db and hand it to `load` at the next start.
    """
    kind = keys().get(key)
    if kind is None:
        raise UserError(f"no setting {quoted(key)}", did_you_mean(key, keys()) or "gnutella config show lists them")
    runtime = dict(loaded.runtime)
    value = value_in(loaded.configured, key)
    runtime.pop(key, None)
    if text:
        try:
            value = value_of(key, kind, raw_of(kind, text), os.getcwd())
        except ValueError as error:
            raise UserError(f"{key} = {quoted(text)}: {error}") from None
        runtime[key] = _plain(value)
    return replace(loaded, settings=_replaced(loaded.settings, key, value), runtime=runtime)


@cache
def keys() -> dict[str, Any]:
    """Every key with its type, in the order of the file."""
    found: dict[str, Any] = {}
    for section, struct in get_type_hints(Settings).items():
        for name, kind in get_type_hints(struct, include_extras=True).items():
            found[f"{section}.{name}"] = kind
    return found


def value_in(settings: Settings, key: str) -> object:
    """`settings.section.key`; AttributeError for an unknown one."""
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)


def _apply(given: list[_Given], problems: list[str]) -> tuple[Settings, dict[str, Origin]]:
    settings, origins = Settings(), {}
    for item in given:
        try:
            value = value_of(item.key, keys()[item.key], item.raw, item.base)
        except ValueError as error:
            problems.append(f"{item.place}: {item.key} = {quoted(item.raw)}: {error}")
            continue
        settings = _replaced(settings, item.key, value)
        origins[item.key] = item.origin
    return settings, origins


def _replaced(settings: Settings, key: str, value: object) -> Settings:
    section, _, name = key.partition(".")
    changed = msgspec.structs.replace(getattr(settings, section), **{name: value})
    return msgspec.structs.replace(settings, **{section: changed})


def _file_values(path: str, problems: list[str]) -> Iterator[_Given]:
    text = _read(path, problems)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path} {_syntax_error(str(error))}")
        return
    sections = get_type_hints(Settings)
    base = os.path.dirname(os.path.abspath(path))
    for section, table in document.items():
        if section not in sections:
            hint = did_you_mean(section, sections) or f"sections are {', '.join(sections)}"
            problems.append(f"{path} line {_line_of(text, section)}: unknown section [{section}]; {hint}")
        elif not isinstance(table, dict):
            where = _line_of(text, section)
            problems.append(f"{path} line {where}: {section} = {quoted(table)}: write a section, [{section}]")
        else:
            yield from _section_values(path, text, section, table, base, problems)


def _section_values(
    path: str, text: str, section: str, table: dict[str, object], base: str, problems: list[str]
) -> Iterator[_Given]:
    names = [key.partition(".")[2] for key in keys() if key.startswith(section + ".")]
    for name, raw in table.items():
        line = _line_of(text, section, name)
        place = f"{path} line {line}"
        if name in names:
            yield _Given(f"{section}.{name}", raw, Origin("file", f"line {line}"), place, base)
        else:
            hint = did_you_mean(name, names) or f"[{section}] has {', '.join(names)}"
            problems.append(f"{place}: unknown key {section}.{name} = {quoted(raw)}; {hint}")


def _read(path: str, problems: list[str]) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            problems.append(f"{path}: larger than {MAX_FILE_BYTES} bytes; is it the right file?")
            return ""
        return data.decode("utf-8")
    except OSError as error:
        problems.append(f"{path}: {error.strerror}; `gnutella init` writes one")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: byte {error.start} is no UTF-8; save the file as UTF-8")
    return ""


def _syntax_error(text: str) -> str:
    """tomllib's words, with the place first: `line 3, column 8: ...`."""
    message, _, place = text.rpartition(" (at ")
    return f"{place.rstrip(')')}: {message[:1].lower()}{message[1:]}; check quotes, brackets and ="


def _line_of(text: str, section: str, name: str | None = None) -> int:
    """Line on which a key of a valid document begins: the first line that the parser needs to know the key."""
    lines = text.splitlines()
    start = 1
    for end in range(1, len(lines) + 1):
        try:
            table = tomllib.loads("\n".join(lines[:end])).get(section)
        except tomllib.TOMLDecodeError:
            continue
        if table is not None and (name is None or (isinstance(table, dict) and name in table)):
            return start
        start = end + 1
    return start


def _env_values(environ: Mapping[str, str], problems: list[str]) -> Iterator[_Given]:
    """Variables GNUTELLA_SECTION_KEY; others that begin with GNUTELLA_ (such as GNUTELLA_DIR) are not ours to judge."""
    variables = {ENV_PREFIX + key.replace(".", "_").upper(): key for key in keys()}
    sections = tuple(f"{ENV_PREFIX}{section.upper()}_" for section in get_type_hints(Settings))
    for name, text in sorted(environ.items()):
        key = variables.get(name)
        if key is not None:
            yield _Given(key, raw_of(keys()[key], text), Origin("env", name), f"environment {name}", os.getcwd())
        elif name.startswith(sections):
            hint = did_you_mean(name, variables) or "unset it"
            problems.append(f"environment: unknown variable {name}={quoted(text)}; {hint}")


def _option_values(overrides: Mapping[str, object], problems: list[str]) -> Iterator[_Given]:
    for key, raw in overrides.items():
        name = OPTION_NAMES.get(key, key)
        if key not in keys():
            problems.append(f"option {name}: unknown key; {did_you_mean(key, keys())}")
            continue
        kind = keys()[key]
        value = raw_of(kind, raw) if isinstance(raw, str) else raw
        yield _Given(key, value, Origin("option", name), f"option {name}", os.getcwd())


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
