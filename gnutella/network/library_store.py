"""What the library keeps in state.db: shared directories, hashes of files by path, size and time, trees, and counts.

Functions for `Store.run`: each gets the connection and is one transaction.  A path that is no UTF-8 is kept as its bytes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gnutella.sharing.scan import Found

#: Paths asked for in one statement; SQLite takes 999 parameters everywhere.
_AT_ONCE = 500


class Hashed(NamedTuple):
    """One row of the hash cache."""

    found: Found
    sha1: bytes
    tth: bytes | None
    tree: bytes


def _key(path: str) -> str | bytes:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _path(key: str | bytes) -> str:
    return key if isinstance(key, str) else os.fsdecode(key)


def load_shares(connection: sqlite3.Connection) -> list[str]:
    """Directories that were shared at run time."""
    return [_path(key) for (key,) in connection.execute("SELECT directory FROM shares ORDER BY rowid")]


def save_share(connection: sqlite3.Connection, directory: str) -> None:
    """Keep a directory."""
    connection.execute("INSERT OR IGNORE INTO shares (directory) VALUES (?)", (_key(directory),))


def drop_share(connection: sqlite3.Connection, directory: str) -> None:
    """Keep it no more."""
    connection.execute("DELETE FROM shares WHERE directory = ?", (_key(directory),))


def load_counts(connection: sqlite3.Connection) -> dict[bytes, tuple[int, int]]:
    """Hits and uploads of each file by SHA-1."""
    rows = connection.execute("SELECT sha1, hits, uploads FROM file_counts")
    return {sha1: (hits, uploads) for sha1, hits, uploads in rows}


def add_counts(connection: sqlite3.Connection, added: Mapping[bytes, tuple[int, int]]) -> None:
    """Add hits and uploads to what is kept."""
    connection.executemany(
        "INSERT INTO file_counts (sha1, hits, uploads) VALUES (?, ?, ?) "
        "ON CONFLICT (sha1) DO UPDATE SET hits = hits + excluded.hits, uploads = uploads + excluded.uploads",
        [(sha1, hits, uploads) for sha1, (hits, uploads) in added.items()],
    )


def known_hashes(connection: sqlite3.Connection, files: Sequence[Found]) -> dict[str, tuple[bytes, bytes | None]]:
    """SHA-1 and TTH by path, of the files that were hashed with this size and time of change."""
    known: dict[str, tuple[bytes, bytes | None]] = {}
    wanted = {found.path: found for found in files}
    keys = [_key(found.path) for found in files]
    for at in range(0, len(keys), _AT_ONCE):
        part = keys[at : at + _AT_ONCE]
        rows = connection.execute(
            f"SELECT path, size, mtime_ns, sha1, tth FROM hash_cache WHERE path IN ({','.join('?' * len(part))})", part
        )
        for key, size, mtime_ns, sha1, tth in rows:
            found = wanted[_path(key)]
            if (found.size, found.mtime_ns) == (size, mtime_ns):
                known[found.path] = (sha1, tth or None)
    return known


def save_hashes(connection: sqlite3.Connection, hashed: Iterable[Hashed]) -> None:
    """Keep hashes, and trees for those who verify what they fetch from us."""
    for found, sha1, tth, tree in hashed:
        connection.execute(
            "INSERT OR REPLACE INTO hash_cache (path, size, mtime_ns, sha1, tth, tree) VALUES (?, ?, ?, ?, ?, NULL)",
            (_key(found.path), found.size, found.mtime_ns, sha1, tth or b""),
        )
        if tree and tth:
            connection.execute(
                "INSERT OR REPLACE INTO trees (sha1, tth, size, nodes) VALUES (?, ?, ?, ?)",
                (sha1, tth, found.size, tree),
            )


def drop_hashes(connection: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Forget files that are gone."""
    connection.executemany("DELETE FROM hash_cache WHERE path = ?", [(_key(path),) for path in paths])
