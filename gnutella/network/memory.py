"""What a node remembers over restarts beside files and transfers: who it is, hosts, counts, run-time settings.

Hosts and counts are caches, written now and then and at the end; the servent id and run-time settings are written before
anybody is told of them.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from twisted.internet.defer import Deferred

from gnutella.network.store import Store
from gnutella.protocol.kinds import KIND_NAMES
from gnutella.routing.counters import Counters
from gnutella.routing.hosts import HostCache, HostRow

#: Row of the settings table that holds the servent id; it is no `section.key` that a file could have.
SERVENT_ID_KEY = "servent_id"


class _Kept(NamedTuple):
    servent_id: bytes
    hosts: list[HostRow]
    counters: dict[str, int]


class Memory:
    """Loads once, saves often.  `totals` are the counts of all earlier runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.servent_id = b""
        self.totals: dict[str, int] = {}

    async def load(self, hosts: HostCache) -> None:
        """Read everything; makes a servent id on the first start.  StoreError if the state file cannot be used."""
        kept = await self._store.run(_load, durable=True)
        self.servent_id, self.totals = kept.servent_id, kept.counters
        hosts.load(kept.hosts)

    def save(self, hosts: HostCache, counters: Counters) -> Deferred[None]:
        """Write hosts, and the counts of this run on top of the earlier ones."""
        rows = hosts.rows()
        counts = self.all_time(counters)

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM hosts")
            db.executemany("INSERT INTO hosts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", counts.items())

        return self._store.run(write)

    def all_time(self, counters: Counters) -> dict[str, int]:
        """Counts of this run and all earlier ones, by name."""
        now = counts_of(counters)
        return {name: self.totals.get(name, 0) + now.get(name, 0) for name in {**self.totals, **now}}

    def save_settings(self, runtime: Mapping[str, object]) -> Deferred[None]:
        """Replace the run-time settings; on disk when it fires."""
        rows = [(key, json.dumps(value)) for key, value in runtime.items()]

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM settings WHERE key != ?", (SERVENT_ID_KEY,))
            db.executemany("INSERT INTO settings VALUES (?, ?)", rows)

        return self._store.run(write, durable=True)


def counts_of(counters: Counters) -> dict[str, int]:
    """The counts of one run by name: messages_rx_query, bytes_tx, queries_relayed, dropped_duplicate, …; zeros are left out."""
    counts = {"bytes_rx": counters.rx_bytes, "bytes_tx": counters.tx_bytes}
    for kind, traffic in counters.messages.items():
        name = KIND_NAMES.get(kind, "other")
        counts[f"messages_rx_{name}"] = traffic.rx
        counts[f"messages_tx_{name}"] = traffic.tx
    counts["queries_relayed"], counts["queries_answered"] = counters.queries_relayed, counters.queries_answered
    counts["results_sent"], counts["hits_received"] = counters.results_sent, counters.hits_received
    counts |= {f"dropped_{label}": count for label, count in counters.dropped().items()}
    return {name: count for name, count in counts.items() if count}


def _load(db: sqlite3.Connection) -> _Kept:
    row = db.execute("SELECT value FROM settings WHERE key = ?", (SERVENT_ID_KEY,)).fetchone()
    servent_id = _readable_id(row[0]) if row else None
    if servent_id is None:
        servent_id = _new_servent_id()
        db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (SERVENT_ID_KEY, json.dumps(servent_id.hex())))
    hosts = [HostRow(*columns) for columns in db.execute("SELECT * FROM hosts")]
    return _Kept(servent_id, hosts, dict(db.execute("SELECT name, value FROM counters")))


def _readable_id(text: str) -> bytes | None:
    try:
        value = bytes.fromhex(json.loads(text))
    except (ValueError, TypeError):
        return None
    return value if len(value) == 16 else None


def _new_servent_id() -> bytes:
    """Random, with the marks of a modern servent: byte 8 is FF, byte 15 is 00 (protocol digest 4.2)."""
    value = bytearray(secrets.token_bytes(16))
    value[8], value[15] = 0xFF, 0x00
    return bytes(value)
