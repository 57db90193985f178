"""What is kept of downloads, against a real database file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from gnutella.network import transfer_store as kept
from gnutella.network.schema import MIGRATIONS
from gnutella.network.transfer_store import KnownSource
from gnutella.transfers.ranges import RangeSet
from gnutella.units import Address, Guid

SHA1 = b"\1" * 20


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA foreign_keys=ON")
    for script in MIGRATIONS:
        connection.executescript(script)
    yield connection
    connection.close()


def test_a_download_is_read_back_with_its_sources_and_progress(db: sqlite3.Connection) -> None:
    number = kept.add_download(db, SHA1, b"\2" * 24, 100, "näme", 5.0)
    sources = [
        KnownSource(Address("192.0.2.1", 6346), Guid(b"\3" * 16), 7, "x", False),
        KnownSource(None, Guid(b"\4" * 16), None, "", True, (Address("192.0.2.9", 1), Address("2001:db8::1", 2))),
    ]
    kept.add_sources(db, number, sources)
    kept.save_ranges(db, SHA1, [(0, 10)], [(20, 25)])
    (record,) = kept.load_downloads(db)
    assert (record.id, record.sha1, record.tth, record.size, record.name) == (number, SHA1, b"\2" * 24, 100, "näme")
    assert (record.state, record.error, record.path, record.downloaded, record.sources) == (
        "locating",
        None,
        None,
        15,
        sources,
    )


def test_states_sizes_and_paths_are_kept(db: sqlite3.Connection) -> None:
    number = kept.add_download(db, SHA1, None, None, "x", 5.0)
    kept.set_size(db, number, 9)
    kept.set_state(db, number, "failed", "disk full")
    kept.announce_path(db, number, "/x/\udcff")
    (record,) = kept.load_downloads(db)
    assert (record.size, record.state, record.error, record.path) == (9, "failed", "disk full", "/x/\udcff")
    kept.save_ranges(db, SHA1, [(0, 9)], [])
    kept.finish(db, number, SHA1)
    (record,) = kept.load_downloads(db)
    assert (record.state, record.error, record.downloaded) == ("done", None, 0)
    kept.remove(db, number, SHA1)
    assert kept.load_downloads(db) == []


def test_ended_downloads_are_listed_up_to_a_bound_and_active_ones_all(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_LISTED", 2)
    numbers = [kept.add_download(db, bytes([n]) * 20, None, 1, "x", 0.0) for n in range(6)]
    for number in numbers[:4]:
        kept.set_state(db, number, "done", None)
    assert [record.id for record in kept.load_downloads(db)] == [*numbers[2:4], *numbers[4:]]


def test_ranges_outside_the_file_are_not_believed(db: sqlite3.Connection) -> None:
    kept.save_ranges(db, SHA1, [(0, 10), (90, 200)], [(30, 40)])
    have, verified = kept.load_ranges(db, SHA1, 100)
    assert (have, verified) == (RangeSet([(0, 10), (30, 40)]), RangeSet([(0, 10)]))


def test_trees_are_found_by_content_or_by_path(db: sqlite3.Connection) -> None:
    assert kept.load_tree(db, SHA1) is None and kept.load_shared_tree(db, "/x", SHA1) is None
    insert = "INSERT INTO hash_cache (path, size, mtime_ns, sha1, tth, tree) VALUES (?, 1, 1, ?, ?, ?)"
    db.execute(insert, ("/x", SHA1, b"t" * 24, b"cached"))
    db.execute(insert, (b"/\xff", b"\5" * 20, b"t" * 24, b"odd"))
    assert kept.load_shared_tree(db, "/x", SHA1) == b"cached"
    assert kept.load_shared_tree(db, "/\udcff", b"\5" * 20) == b"odd"
    assert kept.load_shared_tree(db, "/x", b"\5" * 20) is None
    kept.save_tree(db, SHA1, b"t" * 24, 5, b"fetched")
    assert kept.load_tree(db, SHA1) == (b"t" * 24, 5, b"fetched")
    assert kept.load_shared_tree(db, "/x", SHA1) == b"fetched"
    kept.drop_tree(db, SHA1)
    assert kept.load_tree(db, SHA1) is None
