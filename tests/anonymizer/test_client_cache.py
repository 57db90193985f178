"""What the user fetched: bounded, short-lived, and out of reach for whatever answers others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from anonymizer.client_cache import LIFETIME_S, MAX_BLOCKS, MAX_BYTES, ClientCache

PACKAGE = Path(__file__).resolve().parents[2] / "anonymizer"
#: The side of the local user; these may import the cache, and nothing that answers others may import these.
OF_THE_USER = {"client", "client_cache", "core", "jobs", "layer", "service", "standing", "transfer", "view"}


def test_a_block_is_there_for_half_an_hour() -> None:
    cache = ClientCache()
    cache.put(1, b"a", b"data", 100.0)
    assert cache.get(1, b"a", 100.0 + LIFETIME_S) == b"data"
    assert cache.get(2, b"a", 100.0) is None
    assert cache.get(1, b"a", 100.1 + LIFETIME_S) is None
    assert len(cache) == cache.held_bytes == 0


def test_what_is_too_old_is_forgotten_unasked() -> None:
    cache = ClientCache()
    cache.put(1, b"a", b"data", 0.0)
    cache.put(1, b"b", b"data", LIFETIME_S)
    cache.expire(LIFETIME_S + 1)
    assert (len(cache), cache.held_bytes) == (1, 4)
    cache.clear()
    assert (len(cache), cache.held_bytes) == (0, 0)


def test_the_number_of_blocks_is_bounded_and_the_unused_go_first() -> None:
    cache = ClientCache()
    for number in range(MAX_BLOCKS):
        cache.put(1, number.to_bytes(4, "big"), b"x", 0.0)
    assert cache.get(1, bytes(4), 0.0) == b"x"
    cache.put(1, b"one more", b"x", 0.0)
    assert len(cache) == MAX_BLOCKS
    assert cache.get(1, bytes(4), 0.0) == b"x"
    assert cache.get(1, (1).to_bytes(4, "big"), 0.0) is None


def test_the_bytes_are_bounded() -> None:
    assert MAX_BYTES == 64 * 1024 * 1024
    cache = ClientCache(max_bytes=100)
    for number in range(5):
        cache.put(1, bytes((number,)), b"x" * 30, 0.0)
    assert (len(cache), cache.held_bytes) == (3, 90)
    cache.put(1, bytes((4,)), b"y" * 10, 0.0)
    assert cache.held_bytes == 70
    cache.put(1, b"huge", b"x" * 101, 0.0)
    assert cache.get(1, b"huge", 0.0) is None
    assert cache.held_bytes == 70


def imports(text: str) -> Iterator[str]:
    """Modules of the package that a module's text imports, by any form of import."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("anonymizer.") for alias in node.names if "anonymizer" in alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "anonymizer"):
            yield (node.module or "").removeprefix("anonymizer").lstrip(".")
            yield from (alias.name for alias in node.names)


def test_nothing_that_answers_others_can_reach_the_cache() -> None:
    modules = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert "store" in modules
    found = {
        name: bad
        for name, text in modules.items()
        if name not in OF_THE_USER and (bad := OF_THE_USER & {*imports(text)})
    }
    assert found == {}


def test_every_way_to_import_it_would_be_seen() -> None:
    for text in (
        "from anonymizer.client_cache import ClientCache",
        "from anonymizer import client_cache",
        "import anonymizer.client_cache",
        "from .client_cache import ClientCache",
        "from . import client_cache",
        "def late():\n    from anonymizer import client_cache as c",
    ):
        assert "client_cache" in set(imports(text))
