"""The rule that everything hangs on: what acts for the own user cannot reach what asks others, and the other way round.

A node that starts a key request, a flood or a query does it as somebody's pivot.  If no module of the origin's side can import
the route, directly or through others, then no line of code can ask it for what the own user wants.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Acts for the own user, or answers in his name.
ORIGIN = {
    "client",
    "channel",
    "lanes",
    "transfer",
    "asking",
    "documents",
    "decoys",
    "meter",
    "client_cache",
    "search",
    "responder",
    "shares",
    "anchoring",
    "jobs",
    "ownfiles",
    "layer",
    "view",
}
#: Acts for others.
OTHERS = {"route", "pivot", "pivot_blocks", "pivot_searches", "outflow", "gateway", "seek", "store", "anchors", "plain"}
#: What those for others must not reach.
PRIVATE = {"client_cache", "client", "channel", "lanes", "transfer", "asking", "documents"}
#: Rooms that are built one after another: a name may be missing until its room is there, but not be another one.
LATER: set[str] = set()
#: Joins the rooms, and hands each what it may have.
JOINS = {"core", "service", "standing"}


def modules() -> set[str]:
    return {path.stem for path in (ROOT / "anonymizer").glob("*.py")}


def imports_of(text: str) -> set[str]:
    """Modules of the package that this text imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("anonymizer.")}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports in the package are absolute"
            if node.module == "anonymizer":
                found |= {alias.name for alias in node.names}
            elif node.module and node.module.startswith("anonymizer."):
                found.add(node.module.split(".")[1])
    return found


@cache
def graph() -> dict[str, set[str]]:
    return {path.stem: imports_of(path.read_text(encoding="utf-8")) for path in (ROOT / "anonymizer").glob("*.py")}


def reach(start: str, edges: dict[str, set[str]]) -> set[str]:
    """Everything that is loaded with it."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in edges.get(waiting.pop(), set()) - found:
            found.add(name)
            waiting.append(name)
    return found


@pytest.mark.parametrize("name", sorted(ORIGIN))
def test_the_origins_side_cannot_reach_what_acts_for_others(name: str) -> None:
    assert reach(name, graph()) & (OTHERS | JOINS) == set()


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_what_acts_for_others_cannot_reach_what_the_own_user_has(name: str) -> None:
    assert reach(name, graph()) & (PRIVATE | JOINS) == set()


def test_the_names_of_the_rule_are_those_of_modules() -> None:
    assert {*ORIGIN, *OTHERS, *PRIVATE} - LATER <= modules()
    assert LATER <= ORIGIN | OTHERS


def test_nothing_is_imported_by_a_name_that_is_made_up_at_run_time() -> None:
    for path in (ROOT / "anonymizer").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "importlib" not in text and "__import__" not in text, path.name


def test_the_rule_would_be_seen_to_be_broken() -> None:
    """By hand: a detour over one more module, and an import within a function."""
    detour = {"client": {"helper"}, "helper": imports_of("def f():\n    from anonymizer.route import Route\n")}
    assert "route" in reach("client", detour)
    assert imports_of("from anonymizer import route, stem\nimport anonymizer.store as s\n") == {
        "route",
        "stem",
        "store",
    }
