"""State of one node: SQLite in write-ahead mode, used by one thread only; and the lock on the node's directory.

Every call is one transaction: `store.run(lambda db: db.execute(...))`.  A commit survives `kill -9`; with `durable=True` it
also survives a power cut, which is what an acknowledged download needs and a cache does not.  A full disk, a damaged file or
one written by a newer version end in a `StoreError`, which is shown as one line.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred

from gnutella.errors import LocalMisuse, UserError
from gnutella.network.schema import MIGRATIONS
from gnutella.network.workers import ThreadCaller, Workers

T = TypeVar("T")

#: How long a transaction waits for another process (a person's sqlite3 shell) before it fails.
BUSY_TIMEOUT_S = 5.0
#: After a checkpoint the log file is cut back to this, so that one huge transaction does not leave its size on disk.
MAX_LOG_BYTES = 16 * 1024 * 1024


class StoreError(UserError):
    """The state file cannot be read or written; `message` names it and says why."""


class DirectoryLock:
    """One node for one directory: `flock` on DIR/lock, which the kernel drops when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock, making the directory (mode 700) if needed.  UserError when another node has it."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UserError(
                f"cannot use directory {str(self._directory)!r}: {error.strerror}",
                "name another one with --dir",
                os.EX_CANTCREAT,
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise UserError(
                f"another node runs in directory {str(self._directory)!r}",
                "stop it, or name another directory with --dir",
                os.EX_CANTCREAT,
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())  # for people; nothing reads it
        self._fd = fd

    def release(self) -> None:
        """Give the lock up; harmless when it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Store:
    """The state file.  `workers` must have exactly one thread (or be inline); the store owns and stops it."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self.path = path
        self._workers = workers
        self._connection: sqlite3.Connection | None = None

    def open(self) -> Deferred[None]:
        """Open or make the file and bring its tables up to date; fails with StoreError."""
        return self._workers.run(self._open)

    def run(self, fn: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> Deferred[T]:
        """Call `fn` with the connection, in the database thread, as one transaction; an exception rolls it back."""
        return self._workers.run(self._transact, fn, durable)

    def erase(self) -> Deferred[None]:
        """Leave nothing in the files of what was deleted or replaced before."""
        return self._workers.run(self._erase)

    async def close(self) -> None:
        """Finish what was asked before, close the file, end the thread."""
        await self._workers.run(self._close)
        await self._workers.stop(finish=True)

    def _open(self) -> None:
        try:
            # Made by us, not by SQLite, because of the mode: search words and hosts are nobody else's business.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(f"PRAGMA journal_size_limit={MAX_LOG_BYTES}")
                connection.execute("PRAGMA foreign_keys=ON")
                connection.execute("PRAGMA secure_delete=ON")
                self._migrate(connection)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise self._error(error.strerror or "cannot be opened") from None
        except sqlite3.Error as error:
            raise self._error(str(error)) from None
        self._connection = connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{str(self.path)!r} was written by a newer version of this program",
                "run that version, or name another directory with --dir",
                os.EX_CONFIG,
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            # One transaction a step: killed in the middle, the step is done again as a whole.
            connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version={number}; COMMIT;")

    def _transact(self, fn: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        connection = self._connection
        if connection is None:
            raise LocalMisuse("the store is not open")
        try:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = fn(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # a bug of ours in the statement, not a state of the disk
        except sqlite3.Error as error:
            raise self._error(str(error)) from None
        return result

    def _erase(self) -> None:
        if self._connection is None:
            raise LocalMisuse("the store is not open")
        try:
            # The log has the pages as they were; in the file itself, secure_delete has put zeros there.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise self._error(str(error)) from None

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _error(self, why: str) -> StoreError:
        if "full" in why:
            hint = "free some space"
        elif "malformed" in why or "not a database" in why:
            hint = "move the file away; the node then starts without its old state"
        elif "locked" in why:
            hint = "another program holds it open; close that"
        else:
            hint = "check the permissions of the directory and its disk"
        return StoreError(f"cannot use {str(self.path)!r}: {why}", hint, os.EX_CANTCREAT)


def open_store(directory: Path, reactor: ThreadCaller, *, inline: bool = False) -> Store:
    """A store for DIR/state.db with a thread of its own; call `open()` before use."""
    workers = Workers(reactor, count=1, inline=inline, name="gnutella-store")
    return Store(directory / "state.db", workers)
