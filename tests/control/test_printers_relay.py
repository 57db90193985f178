"""What the relay layer says, as a person sees it: keys are whole, nothing is wider than the terminal but a key."""

from __future__ import annotations

import pytest

from gnutella.control.commands import CONSOLE_COMMANDS
from gnutella.control.grammar import parse
from gnutella.control.printers import printer_for
from gnutella.control.view import Row

KEY = "arl:chk:" + "A" * 52 + "," + "B" * 52 + ",1"
DONE: Row = {"id": 1, "state": "done", "name": "a.txt", "size": 7, "level": "relay", "pivots": 2, "effective_set": 4.5}
STATUS: Row = {
    "ready": False,
    "why": "AnonymitySetTooSmall: 4 other nodes of 20, 4 links of 3",
    "level": "relay",
    "links": 4,
    "nodes": 5,
    "pivots": 4,
    "effective_set": 4.5,
    "assumed_spies": 0.1,
    "chance_first_hop": 0.1,
    "guard": "ready",
    "guard_age_s": 90.0,
    "guard_doubtful": True,
    "own_share": 0.62,
    "cover": "CoverPoor",
    "circuits": 3,
    "relayed": 2048,
    "stored": {"cache": 2, "store": 11},
    "refused": {"route_loop": 142},
}


def shown(line: str, *rows: Row, width: int = 80) -> list[str]:
    printer = printer_for(parse(line.split(), CONSOLE_COMMANDS), width)
    return [line for row in rows for line in printer.add(row)] + printer.end()


@pytest.mark.parametrize("width", [40, 80, 132])
def test_status_says_all_that_matters_within_the_width(width: int) -> None:
    lines = shown("anonymous status", STATUS, width=width)
    text = " ".join(" ".join(lines).split())
    for part in (
        "no, AnonymitySetTooSmall",
        "among 4.5 nodes",
        "doubtful",
        "62%",
        "CoverPoor",
        "route loop 142",
        "11 blocks",
    ):
        assert part in text
    assert max(map(len, lines)) < width


def test_status_of_a_node_that_knows_nobody() -> None:
    text = "\n".join(shown("anonymous status", {"ready": False, "level": "relay", "effective_set": None}))
    assert "among nobody" in text and "none yet" in text and "nothing" in text


def test_explanations_are_wrapped_below_their_topics() -> None:
    lines = shown("anonymous explain", {"topic": "your requests", "text": "word " * 50}, width=60)
    assert lines[0] == "Your requests" and len(lines) > 4 and max(map(len, lines)) < 60


def test_what_was_inserted_tells_its_keys_whole_and_how_it_was_done() -> None:
    document = KEY.replace("chk", "usk") + "/notes/3"
    waiting: Row = {"id": 1, "state": "announcing", "name": "a.txt"}
    lines = shown("publish a.txt", waiting, {**DONE, "uri": KEY, "document": document})
    assert "signs a new edition" in lines[0]
    assert lines[2:] == [
        f"     {KEY}",
        f"     {document}",
        "     relay level, 2 pivots, worth a choice among 4.5 nodes",
    ]


def test_what_was_fetched_tells_where_it_is_and_not_the_key_again() -> None:
    moving: Row = {"id": 1, "state": "fetching", "name": "a.txt", "size": 100, "downloaded": 50, "sources": 2}
    lines = shown("anonymous get arl:chk:x", moving, {**DONE, "uri": KEY, "path": "/d/a.txt"})
    assert "50%" in lines[0] and "2 circuits" in lines[0]
    assert lines[1].endswith("/d/a.txt") and KEY not in "".join(lines)


@pytest.mark.parametrize("line", ["anonymous search alice", "search alice --anonymous relay"])
def test_hits_are_shown_alike_by_both_commands(line: str) -> None:
    hit: Row = {"hit": 1, "name": "a.txt", "size": 7, "uri": KEY, "level": "relay", "pivots": 1, "effective_set": 4.5}
    heading, row, worth = shown(line, hit)
    assert heading.split() == ["#", "name", "size", "outside"]
    assert row.split() == ["1", "a.txt", "7", "B"] and worth.startswith("relay level, 1 pivot, ")
    assert len(shown("search alice", {"hit": 1, "name": "a"})) == 2


def test_shares_stand_above_their_keys_and_none_is_said() -> None:
    rows: list[Row] = [{"name": name, "size": 1, "uri": KEY + name, "way": "inserted"} for name in ("a", "b")]
    _, first, key, second, other = shown("anonymous shares", *rows)
    assert (first.split()[0], key.strip(), second.split()[0], other.strip()) == ("a", KEY + "a", "b", KEY + "b")
    assert shown("anonymous shares") == ["nothing; anonymous share FILE, or publish FILE"]
