"""The tables of state.db, as the list of steps that lead there.

SQLite's `user_version` counts the steps that a file has been through.  A step, once released, is never edited; a change is a
new step.  Paths have no declared type on purpose: names on disk that are no UTF-8 are stored as BLOBs of their bytes.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE hosts (
        host TEXT NOT NULL, port INTEGER NOT NULL, last_seen REAL NOT NULL DEFAULT 0, last_ok REAL NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, is_ultrapeer INTEGER NOT NULL DEFAULT 0, daily_uptime INTEGER,
        PRIMARY KEY (host, port)) WITHOUT ROWID;
    -- AUTOINCREMENT: the number that a person typed must not come to mean another download.
    CREATE TABLE downloads (
        id INTEGER PRIMARY KEY AUTOINCREMENT, sha1 BLOB, tth BLOB, size INTEGER, name TEXT NOT NULL, state TEXT NOT NULL,
        added REAL NOT NULL, error TEXT, path, priority INTEGER NOT NULL DEFAULT 0, paused INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE download_sources (
        download_id INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE, host TEXT, port INTEGER, servent_id BLOB,
        index_ INTEGER, name TEXT, push_proxies TEXT);
    CREATE INDEX download_sources_by_download ON download_sources (download_id);
    CREATE TABLE partial_ranges (
        sha1 BLOB NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, verified INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (sha1, start)) WITHOUT ROWID;
    CREATE TABLE hash_cache (path PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        sha1 BLOB NOT NULL, tth BLOB NOT NULL, tree BLOB);
    CREATE TABLE trees (sha1 BLOB PRIMARY KEY, tth BLOB NOT NULL, size INTEGER NOT NULL, nodes BLOB NOT NULL);
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE shares (directory PRIMARY KEY);
    CREATE TABLE file_counts (sha1 BLOB PRIMARY KEY, hits INTEGER NOT NULL DEFAULT 0,
        uploads INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    """,
    """
    -- When a host that failed may be dialled again: a restart must not make us knock at once.
    ALTER TABLE hosts ADD COLUMN not_before REAL NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE web_caches (url TEXT PRIMARY KEY, next_at REAL NOT NULL, failures INTEGER NOT NULL,
        last_ok REAL NOT NULL, spec INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    -- What the relay layer keeps: its keys, its guards, whom it knows; nobody else reads it.
    CREATE TABLE relay (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    """,
)
