"""The state file: transactions, durability, migrations, and readable errors for a bad disk or a second node."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gnutella.errors import UserError
from gnutella.network import schema, store
from gnutella.network.store import DirectoryLock, Store, StoreError
from gnutella.network.workers import Workers


def inline_store(path: Path) -> Store:
    return Store(path, Workers(None, inline=True))  # type: ignore[arg-type]


def now(deferred: Deferred[Any]) -> Any:
    """The result of a Deferred that has fired; raises its failure."""
    out: list[Any] = []
    deferred.addBoth(out.append)
    if hasattr(out[0], "raiseException"):
        out[0].raiseException()
    return out[0]


@pytest.fixture
def state(tmp_path: Path) -> Any:
    opened = inline_store(tmp_path / "state.db")
    now(opened.open())
    yield opened
    now(Deferred.fromCoroutine(opened.close()))


def count_counters(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM counters").fetchone()[0])


def add_counter(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO counters VALUES ('n', 1)")


def test_file_is_made_private_and_in_wal_mode(state: Store) -> None:
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
    assert now(state.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()))[0] == "wal"


def test_all_tables_of_the_rooms_exist(state: Store) -> None:
    names = {row[0] for row in now(state.run(lambda db: db.execute("SELECT name FROM sqlite_master").fetchall()))}
    assert {"hosts", "downloads", "download_sources", "partial_ranges", "hash_cache", "trees", "counters"} <= names
    assert {"settings", "shares", "file_counts"} <= names


def test_exception_rolls_the_transaction_back(state: Store) -> None:
    def broken(db: sqlite3.Connection) -> None:
        add_counter(db)
        raise KeyError("stop")

    with pytest.raises(KeyError):
        now(state.run(broken))
    assert now(state.run(count_counters)) == 0


def test_commit_is_seen_after_reopening(state: Store) -> None:
    now(state.run(add_counter, durable=True))
    again = inline_store(state.path)
    now(again.open())
    assert now(again.run(count_counters)) == 1
    now(Deferred.fromCoroutine(again.close()))


def test_durable_transaction_syncs_and_the_next_one_does_not(state: Store) -> None:
    def level(db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA synchronous").fetchone()[0])

    assert now(state.run(level, durable=True)) == 2
    assert now(state.run(level)) == 1


def test_number_of_a_deleted_download_is_not_given_again(state: Store) -> None:
    def add(db: sqlite3.Connection) -> int | None:
        return db.execute("INSERT INTO downloads (name, state, added) VALUES ('a', 'queued', 0)").lastrowid

    first = now(state.run(add))
    now(state.run(lambda db: db.execute("DELETE FROM downloads").rowcount))
    assert now(state.run(add)) == first + 1


def test_paths_that_are_no_unicode_are_kept_as_bytes(state: Store) -> None:
    path = os.fsencode("caf\udce9")

    def add(db: sqlite3.Connection) -> object:
        db.execute("INSERT INTO shares VALUES (?)", (path,))
        return db.execute("SELECT directory FROM shares").fetchone()[0]

    assert now(state.run(add)) == path


def test_full_disk_is_a_readable_error_and_loses_only_that_transaction(state: Store) -> None:
    now(state.run(add_counter))

    def fill(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO counters VALUES ('lost', 2)")
        db.execute("INSERT INTO trees VALUES (x'00', x'00', 1, zeroblob(10000000))")

    pages = now(state.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0]))
    now(state.run(lambda db: db.execute(f"PRAGMA max_page_count={pages + 10}").fetchone()))
    with pytest.raises(StoreError, match="full.*free some space") as caught:
        now(state.run(fill))
    assert caught.value.exit_code == os.EX_CANTCREAT
    assert "\n" not in str(caught.value)
    assert now(state.run(count_counters)) == 1


def test_damaged_file_is_a_readable_error(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, but long enough to be looked at " * 100)
    with pytest.raises(StoreError, match="not a database.*move the file away"):
        now(inline_store(path).open())


def test_directory_that_is_missing_is_a_readable_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        now(inline_store(tmp_path / "none" / "state.db").open())


def test_bug_in_a_statement_is_not_blamed_on_the_disk(state: Store) -> None:
    now(state.run(add_counter))
    with pytest.raises(sqlite3.IntegrityError):
        now(state.run(add_counter))


@pytest.mark.parametrize("size", [30, 30_000])
def test_what_was_erased_is_in_no_file(state: Store, size: int) -> None:
    """Not in what pages have free, and not in the log of what they were before."""
    secret = b"a name of a file that nobody shall know" * (size // 30)
    keep = "INSERT OR REPLACE INTO relay VALUES ('offers', ?)"
    now(state.run(lambda db: db.execute(keep, (secret,))))
    now(state.run(lambda db: db.execute(keep, (b"nothing",))))

    def on_disk() -> bool:
        return any(secret[:20] in path.read_bytes() for path in state.path.parent.glob("state.db*"))

    assert on_disk()
    now(state.erase())
    assert not on_disk()
    assert now(state.run(lambda db: db.execute("SELECT value FROM relay").fetchone())) == (b"nothing",)


def test_file_of_a_newer_version_is_refused(state: Store) -> None:
    now(state.run(lambda db: db.execute("PRAGMA user_version=999").fetchone()))
    with pytest.raises(StoreError, match="newer version") as caught:
        now(inline_store(state.path).open())
    assert caught.value.exit_code == os.EX_CONFIG


def test_migration_runs_only_the_missing_steps(state: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now(state.run(add_counter))
    monkeypatch.setattr(store, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE counters ADD COLUMN extra"))
    again = inline_store(state.path)
    now(again.open())
    row = now(again.run(lambda db: db.execute("SELECT name, value, extra FROM counters").fetchone()))
    assert row == ("n", 1, None)
    now(Deferred.fromCoroutine(again.close()))


def test_second_node_on_one_directory_is_refused(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path / "node"), DirectoryLock(tmp_path / "node")
    first.acquire()
    with pytest.raises(UserError, match="another node runs") as caught:
        second.acquire()
    assert caught.value.exit_code == os.EX_CANTCREAT
    assert "\n" not in str(caught.value)
    first.release()
    second.acquire()
    assert (tmp_path / "node" / "lock").read_text() == f"{os.getpid()}\n"
    second.release()
    second.release()


def test_directory_that_cannot_be_made_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot use directory"):
        DirectoryLock(tmp_path / "file" / "node").acquire()
