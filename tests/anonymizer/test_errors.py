"""What a user is told: each name is documented, ends the command line as it says, and holds nothing of anybody."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from anonymizer.errors import AnonymityError, AnonymitySetTooSmall, IntegrityFailure, StateNotKept, describe
from gnutella.control.table import STATUS_OF

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "ask-anonymously.md"
ALL = AnonymityError.__subclasses__()
#: Those that need to be told something.
TOLD = {AnonymitySetTooSmall: (3, 1), IntegrityFailure: ("its manifest", b"\7" * 32), StateNotKept: ("it", "disk full")}


def made(kind: type[AnonymityError]) -> AnonymityError:
    name = kind.__name__
    plain: tuple[object, ...] = () if name in ("BadSearch", "DataNotFound") else ("why",)
    return kind(*TOLD.get(kind, plain))  # type: ignore[arg-type]


def test_the_page_says_of_each_name_what_the_program_says_of_it() -> None:
    rows = [f"| `{name}` | {because} | {do} |" for name, because, do in describe()]
    text = PAGE.read_text()
    table = text[text.index("| it says | because | do |") :].splitlines()[2:]
    assert table[:-1] == rows, "the table of this page has to be\n" + "\n".join(rows)
    assert table[-1].startswith("| exit 78 |")


@pytest.mark.parametrize("kind", ALL)
def test_each_begins_with_its_name_and_ends_as_the_reference_says(kind: type[AnonymityError]) -> None:
    error = made(kind)
    assert str(error).startswith(f"{kind.__name__}: ") and "\n" not in str(error)
    assert error.exit_code in STATUS_OF and kind.BECAUSE and kind.DO and kind.__doc__
    assert (b"\7" * 32).hex() not in str(error) and repr(b"\7" * 32)[2:-1] not in str(error)


def exit_codes(path: Path) -> set[str]:
    """Names of exit codes in a module."""
    tree = ast.walk(ast.parse(path.read_text()))
    return {node.attr for node in tree if isinstance(node, ast.Attribute) and node.attr.startswith("EX_")}


def test_no_part_of_the_layer_ends_a_command_in_a_way_that_the_reference_does_not_know() -> None:
    """Or the command line says that it was a fault of ours."""
    used = {name: getattr(os, name) for path in (ROOT / "anonymizer").glob("*.py") for name in exit_codes(path)}
    assert used and {name for name, code in used.items() if code not in STATUS_OF} == set()


def test_each_name_is_used_for_something() -> None:
    text = "".join(path.read_text() for path in (ROOT / "anonymizer").glob("*.py") if path.stem != "errors")
    assert [
        kind.__name__ for kind in ALL if f"{kind.__name__}(" not in text.replace(f"class {kind.__name__}(", "")
    ] == []
