"""What is kept of downloads in state.db: functions over a connection, each one transaction's work (network/store.py).

A download is added, paused, resumed, removed, failed and finished durably.  Its ranges are recorded after their bytes were
written: a killed process loses neither, since both are with the kernel by then; what a power cut can do to them, the SHA-1
of the whole file finds out.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnutella.transfers.ranges import RangeSet
from gnutella.units import Address, Guid, parse_address

#: Finished and failed downloads listed after a restart, newest first; older ones stay in the database.
MAX_LISTED = 1000
#: Downloads taken up at a start.
MAX_ACTIVE = 10_000


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A source as the user, a hit or a magnet link named it."""

    address: Address | None = None
    servent_id: Guid | None = None
    index: int | None = None
    name: str = ""
    needs_push: bool = False
    #: Who passes pushes on to it.
    proxies: tuple[Address, ...] = ()


@dataclass(slots=True)
class DownloadRecord:
    """A row of `downloads` with its sources."""

    id: int
    sha1: bytes
    tth: bytes | None
    size: int | None
    name: str
    state: str
    added: float
    error: str | None
    path: str | None
    #: Bytes on disk, checked or not.
    downloaded: int = 0
    sources: list[KnownSource] = field(default_factory=list)


def add_download(
    db: sqlite3.Connection, sha1: bytes, tth: bytes | None, size: int | None, name: str, now: float
) -> int:
    """Its id."""
    cursor = db.execute(
        "INSERT INTO downloads (sha1, tth, size, name, state, added) VALUES (?, ?, ?, ?, 'locating', ?)",
        (sha1, tth, size, name, now),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def add_sources(db: sqlite3.Connection, download_id: int, sources: Iterable[KnownSource]) -> None:
    """Remember sources; the caller knows that they are new."""
    db.executemany(
        "INSERT INTO download_sources (download_id, host, port, servent_id, index_, name, push_proxies)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                download_id,
                source.address.host if source.address else None,
                source.address.port if source.address else None,
                source.servent_id,
                source.index,
                source.name,
                json.dumps({"push": source.needs_push, "proxies": list(map(str, source.proxies))}),
            )
            for source in sources
        ],
    )


def load_downloads(db: sqlite3.Connection) -> list[DownloadRecord]:
    """All that are to go on, and the latest of those that ended, by id."""
    columns = "id, sha1, tth, size, name, state, added, error, path"
    rows = db.execute(
        f"SELECT {columns} FROM downloads WHERE state NOT IN ('done', 'failed') ORDER BY id LIMIT ?", (MAX_ACTIVE,)
    ).fetchall()
    rows += db.execute(
        f"SELECT {columns} FROM downloads WHERE state IN ('done', 'failed') ORDER BY id DESC LIMIT ?", (MAX_LISTED,)
    ).fetchall()
    records = [_record(row) for row in sorted(rows) if row[1] is not None]
    for record in records:
        record.sources = _load_sources(db, record.id)
        (record.downloaded,) = db.execute(
            "SELECT coalesce(sum(stop - start), 0) FROM partial_ranges WHERE sha1 = ?", (record.sha1,)
        ).fetchone()
    return records


def _record(row: tuple[Any, ...]) -> DownloadRecord:
    number, sha1, tth, size, name, state, added, error, path = row
    return DownloadRecord(number, sha1, tth, size, name, state, added, error, _text(path))


def _text(path: object) -> str | None:
    return (
        path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path if isinstance(path, str) else None
    )


def _load_sources(db: sqlite3.Connection, download_id: int) -> list[KnownSource]:
    rows = db.execute(
        "SELECT host, port, servent_id, index_, name, push_proxies FROM download_sources WHERE download_id = ?",
        (download_id,),
    )
    return [
        KnownSource(
            Address(host, port) if host is not None else None,
            Guid(servent_id) if servent_id is not None else None,
            index,
            name or "",
            bool((more := json.loads(extra or "{}")).get("push")),
            tuple(parse_address(text) for text in more.get("proxies", ())),
        )
        for host, port, servent_id, index, name, extra in rows
    ]


def set_state(db: sqlite3.Connection, download_id: int, state: str, error: str | None) -> None:
    """Where a download is in its life."""
    db.execute("UPDATE downloads SET state = ?, error = ? WHERE id = ?", (state, error, download_id))


def set_size(db: sqlite3.Connection, download_id: int, size: int) -> None:
    """The size that a source told."""
    db.execute("UPDATE downloads SET size = ? WHERE id = ?", (size, download_id))


def announce_path(db: sqlite3.Connection, download_id: int, path: str) -> None:
    """The name that the finished file is about to get."""
    value: str | bytes = path
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        value = path.encode("utf-8", "surrogateescape")
    db.execute("UPDATE downloads SET path = ? WHERE id = ?", (value, download_id))


def finish(db: sqlite3.Connection, download_id: int, sha1: bytes) -> None:
    """The file is in its place: its ranges are of no more use."""
    db.execute("UPDATE downloads SET state = 'done', error = NULL WHERE id = ?", (download_id,))
    db.execute("DELETE FROM partial_ranges WHERE sha1 = ?", (sha1,))


def remove(db: sqlite3.Connection, download_id: int, sha1: bytes) -> None:
    """Forget a download and its ranges."""
    db.execute("DELETE FROM downloads WHERE id = ?", (download_id,))
    db.execute("DELETE FROM partial_ranges WHERE sha1 = ?", (sha1,))


def save_ranges(
    db: sqlite3.Connection, sha1: bytes, verified: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]
) -> None:
    """What is on disk: checked leaves, and bytes that are not checked yet."""
    db.execute("DELETE FROM partial_ranges WHERE sha1 = ?", (sha1,))
    rows = [(sha1, start, stop, 1) for start, stop in verified] + [(sha1, start, stop, 0) for start, stop in other]
    db.executemany("INSERT INTO partial_ranges (sha1, start, stop, verified) VALUES (?, ?, ?, ?)", rows)


def load_ranges(db: sqlite3.Connection, sha1: bytes, size: int) -> tuple[RangeSet, RangeSet]:
    """(all that is on disk, the part of it that was checked), both within a file of `size` bytes."""
    have, verified = RangeSet(), RangeSet()
    for start, stop, is_verified in db.execute(
        "SELECT start, stop, verified FROM partial_ranges WHERE sha1 = ?", (sha1,)
    ):
        if 0 <= start < stop <= size:
            have.add(start, stop)
            if is_verified:
                verified.add(start, stop)
    return have, verified


def save_tree(db: sqlite3.Connection, sha1: bytes, tth: bytes, size: int, nodes: bytes) -> None:
    """A tiger tree that leads to `tth`."""
    db.execute("INSERT OR REPLACE INTO trees (sha1, tth, size, nodes) VALUES (?, ?, ?, ?)", (sha1, tth, size, nodes))


def load_tree(db: sqlite3.Connection, sha1: bytes) -> tuple[bytes, int, bytes] | None:
    """(root, size, nodes) of the tree of that content."""
    row = db.execute("SELECT tth, size, nodes FROM trees WHERE sha1 = ?", (sha1,)).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def drop_tree(db: sqlite3.Connection, sha1: bytes) -> None:
    """The tree turned out to belong to something else."""
    db.execute("DELETE FROM trees WHERE sha1 = ?", (sha1,))


def load_shared_tree(db: sqlite3.Connection, path: str, sha1: bytes) -> bytes | None:
    """The nodes of the tree of a shared file, from when it was hashed or fetched."""
    row = db.execute("SELECT nodes FROM trees WHERE sha1 = ?", (sha1,)).fetchone()
    if row is not None:
        return bytes(row[0])
    for key in (path, path.encode("utf-8", "surrogateescape")):
        try:
            row = db.execute("SELECT tree FROM hash_cache WHERE path = ? AND sha1 = ?", (key, sha1)).fetchone()
        except UnicodeEncodeError:
            continue
        if row is not None and row[0] is not None:
            return bytes(row[0])
    return None
