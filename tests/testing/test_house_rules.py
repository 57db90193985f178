"""Rules of the house that a look at the files can hold (docs/explanation/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 500
BANNED_SUFFIXES = ("Manager", "Handler", "Processor", "Engine", "Helper", "Util", "Component", "Data")


@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in modules()}


def modules() -> Iterator[tuple[str, str]]:
    for package in ("gnutella", "anonymizer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_modules_are_short() -> None:
    assert [name for name, text in modules() if text.count("\n") > MAX_LINES] == []


def test_every_module_says_what_it_is() -> None:
    assert [name for name, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_classes_are_named_after_what_they_are() -> None:
    found = [
        f"{name}: {node.name}"
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith(BANNED_SUFFIXES)
    ]
    assert found == []


def test_nothing_is_left_to_do_later() -> None:
    assert [name for name, text in modules() if re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)] == []


def test_twisted_gets_no_package_files_from_us() -> None:
    kept = [path for path in (ROOT / "twisted").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = {path.relative_to(ROOT).as_posix() for path in kept} - {"twisted/plugins/dropin.cache"}
    assert names == {"twisted/plugins/gnutella_plugin.py"}
