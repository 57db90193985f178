"""The fuzzer: scenarios by chance hold, a planted bug is found and shrunk to a small file that fails the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnutella.errors import UserError
from gnutella.lab import chance
from gnutella.lab.cli import main
from gnutella.lab.fuzz import failure_in, failure_of, fuzz, random_tables, shrunk
from gnutella.lab.scenario import load
from gnutella.protocol.frames import TTL_AT
from gnutella.routing.link import Link
from gnutella.routing.switchboard import Switchboard


def test_random_scenarios_hold(tmp_path: Path) -> None:
    said: list[str] = []
    assert fuzz(60.0, 7, tmp_path, said.append, runs=25) == []
    assert said == ["25 scenarios, 0 failures"]


def test_random_scenarios_are_scenarios() -> None:
    from msgspec import convert

    from gnutella.lab.consistency import check
    from gnutella.lab.scenario import Scenario

    for number in range(100):
        check(convert(random_tables(chance.source(1, number)), Scenario))


def test_a_bug_is_found_shrunk_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flood = Switchboard.flood

    def careless(self: Switchboard, source: Link, data: bytes, count: int) -> None:
        made = bytearray(data)
        made[TTL_AT] += 1
        flood(self, source, bytes(made), count)

    monkeypatch.setattr(Switchboard, "flood", careless)
    found = fuzz(60.0, 1, tmp_path, lambda line: None, runs=8)
    assert found
    small = load(found[0])
    assert failure_in(small) == "invariant ttl"
    assert len(small.action) == 1
    monkeypatch.undo()
    assert failure_in(small) is None


def test_shrinking_keeps_the_failure() -> None:
    tables = random_tables(chance.source(3, "broken"))
    assert failure_of({**tables, "topology": {"kind": "circle"}}) is None
    assert shrunk(tables, "no failure at all")["topology"] == tables["topology"]


def test_the_folder_for_what_is_found_is_made_before_anything_is_looked_for(tmp_path: Path) -> None:
    assert main(["fuzz", "--minutes", "0.001", "--save", str(tmp_path / "new" / "one")]) == 0
    assert (tmp_path / "new" / "one").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--save"):
        main(["fuzz", "--minutes", "60", "--save", str(tmp_path / "file" / "below")])


@pytest.mark.parametrize(
    "words", [["fuzz", "--minutes", "-1"], ["fuzz", "--minutes", "nan"], ["compare", "--nodes", "1"]]
)
def test_numbers_that_make_no_sense_are_told(words: list[str]) -> None:
    with pytest.raises(UserError, match="is no number"):
        main(words)
