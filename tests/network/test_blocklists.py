"""Blocklist files: read in a worker, plain or compressed, watched, and kept when a new version is broken."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnutella.network import blocklists
from gnutella.network.blocklists import LOOK_S, MAX_LISTS, Blocklists
from gnutella.network.workers import Workers


class Reader:
    def __init__(self, *paths: Path) -> None:
        clock: Any = Clock()
        self.clock = clock
        self.changes = 0
        self.lists = Blocklists(
            self.clock, Workers(self.clock, inline=True), map(str, paths), self.changed, lambda: 1700000000.0
        )

    def changed(self) -> None:
        self.changes += 1

    def start(self) -> Reader:
        Deferred.fromCoroutine(self.lists.start())
        return self

    def states(self) -> list[tuple[object, object, object]]:
        return [(row["state"], row["ranges"], row["error"]) for row in self.lists.rows()]


def rewrite(path: Path, data: bytes) -> None:
    """Another version, which the clock of the file system tells from the first."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_bytes(data)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_lists_of_each_kind_are_asked_in_turn(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.p2p", tmp_path / "b.dat.gz"
    plain.write_bytes(b"x:66.1.1.1-66.1.1.9\n")
    packed.write_bytes(gzip.compress(b"077.001.001.001 - 077.001.001.009 , 100 , y\n", mtime=0))
    reader = Reader(plain, packed).start()
    assert reader.states() == [("ok", 1, ""), ("ok", 1, "")]
    assert [reader.lists.blocks(host) for host in ("66.1.1.5", "77.1.1.5", "88.1.1.5")] == [True, True, False]
    assert reader.lists.check("77.1.1.5") == {"address": "77.1.1.5", "blocked": True, "path": str(packed), "line": 1}
    assert reader.lists.check("88.1.1.5")["blocked"] is False
    assert [row["blocked"] for row in reader.lists.rows()] == [1, 1]
    assert reader.lists.rows()[0]["loaded"] == 1700000000.0
    assert reader.changes == 1


def test_a_changed_file_is_read_again_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"66.1.1.1\n")
    reader = Reader(path).start()
    reader.clock.advance(LOOK_S)
    assert reader.changes == 1
    rewrite(path, b"66.1.1.2\n66.1.1.4\n")
    reader.clock.advance(LOOK_S)
    assert reader.changes == 2
    assert [reader.lists.blocks(host) for host in ("66.1.1.1", "66.1.1.2")] == [False, True]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"<html>not here</html>\n", "1 of 1 lines are no address range of a known format"),
        (b"", "the file is empty; to block nothing, take it out of safety.blocklists"),
        (gzip.compress(b"66.1.1.1\n" * 99, mtime=0)[:-12], "the compressed file is cut short or damaged"),
        (b"\x1f\x8b and then nonsense", "the compressed file is cut short or damaged"),
    ],
)
def test_of_a_broken_file_the_last_good_one_holds_and_the_error_shows(tmp_path: Path, data: bytes, error: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"66.1.1.1\n")
    reader = Reader(path).start()
    rewrite(path, data)
    reader.clock.advance(LOOK_S)
    assert reader.states() == [("kept", 1, error)]
    assert reader.lists.blocks("66.1.1.1")
    rewrite(path, b"66.1.1.1\n66.1.1.3\n")
    reader.clock.advance(LOOK_S)
    assert reader.states() == [("ok", 2, "")]


def test_a_file_that_comes_later_or_goes(tmp_path: Path) -> None:
    path = tmp_path / "list"
    reader = Reader(path).start()
    assert reader.states() == [("broken", 0, "No such file or directory")]
    assert not reader.lists
    rewrite(path, b"66.1.1.1\n")
    reader.clock.advance(LOOK_S)
    assert reader.states() == [("ok", 1, "")]
    path.unlink()
    reader.clock.advance(LOOK_S)
    assert reader.states() == [("kept", 1, "No such file or directory")]
    assert reader.lists.blocks("66.1.1.1")


def test_more_bytes_than_a_list_may_have_break_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocklists, "MAX_BYTES", 100)
    path = tmp_path / "list.gz"
    path.write_bytes(gzip.compress(b"66.1.1.1\n" * 20, mtime=0))
    assert Reader(path).start().states() == [("broken", 0, "more than 100 bytes")]


def test_a_line_without_end_is_one_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"x" * 5000 + b"\n" + b"66.1.1.1\n" * 20)
    reader = Reader(path).start()
    assert reader.states() == [("ok", 1, "")]
    assert reader.lists.rows()[0]["bad_lines"] == 1
    assert reader.lists.check("66.1.1.1")["line"] == 2


def test_other_paths_keep_what_was_read_of_those_that_stay(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"66.1.1.1\n")
    second.write_bytes(b"77.1.1.1\n")
    reader = Reader(first).start()
    assert not reader.lists.use_paths([str(first)])
    assert reader.lists.use_paths([str(second), str(first)])
    assert reader.lists.blocks("66.1.1.1")
    assert not reader.lists.blocks("77.1.1.1")
    reader.lists.reload()
    assert reader.lists.blocks("77.1.1.1")
    assert len(Reader(*(tmp_path / str(n) for n in range(MAX_LISTS + 5))).lists.rows()) == MAX_LISTS
