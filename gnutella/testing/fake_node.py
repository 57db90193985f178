"""A node in memory for tests of consoles and clients: it answers every question of `NodeView` and touches no network.

    node = FakeNode(directory, clock)          # clock: a reactor, or twisted.internet.task.Clock
    node.answers["alice"] = [hit_row("alice.txt", 1000)]

Searches whose first word is a key of `answers` get those hits, one every `hit_every_s`; downloads grow by `step` bytes every
`step_s` until they are done.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gnutella import __version__
from gnutella.control.events import Journal
from gnutella.control.relay_view import RelayView
from gnutella.control.view import MAX_HIT_LISTS, HitRef, Row
from gnutella.errors import UserError
from gnutella.reasons import DropReason
from gnutella.relaying import view_of
from gnutella.settings_file import Loaded, load, with_runtime
from gnutella.units import Address, Guid


def hit_row(name: str, size: int, address: str = "127.0.0.1:6346", **more: object) -> dict[str, object]:
    """A hit, with hashes made from its name."""
    urn = "urn:sha1:" + _base32(hashlib.sha1(name.encode("utf-8", "replace")).digest())
    row: dict[str, object] = {
        "name": name,
        "size": size,
        "urn": urn,
        "tth": _base32(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:24]),
        "hops": 1,
        "vendor": "PYGN",
        "magnet": f"magnet:?xt={urn}",
        "sources": [{"address": address, "servent_id": "00" * 16, "push": False}],
    }
    return {**row, **more}


class FakeHits:
    """A hit list; `give` adds a row."""

    def __init__(self, guid: Guid, on_row: Callable[[Row], None] | None = None) -> None:
        self.guid = guid
        self.rows: list[Row] = []
        self.stopped = False
        self._on_row = on_row

    def give(self, row: Row) -> None:
        """One more hit, unless the list was stopped."""
        if not self.stopped:
            self.rows.append({"hit": len(self.rows) + 1, **row})
            if self._on_row:
                self._on_row(self.rows[-1])

    def stop(self) -> None:
        """Take no more."""
        self.stopped = True


class FakeNode:
    """See the module text.  Public attributes may be changed by tests at any time."""

    def __init__(self, directory: str, clock: Any, now: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.clock = clock
        self.journal = Journal(now)
        self.config: Loaded = load(None)
        self.drops: Counter[DropReason] = Counter()
        self.answers: dict[str, list[Row]] = {}
        self.hit_every_s = 0.01
        self.step = 300_000
        self.step_s = 0.05
        self.links: list[dict[str, object]] = []
        self.known_hosts: list[Row] = []
        self.shared: list[Row] = []
        self.directories: list[dict[str, object]] = []
        self.lists: list[Row] = []
        self.transfers: dict[int, dict[str, object]] = {}
        self.traces: dict[Guid, list[Row]] = {}
        self.queries: list[Row] = []
        self.searches: list[tuple[str, tuple[str, ...], int]] = []
        self.ttls: list[int | None] = []
        self.is_stopping = False
        self.layer: Any = None
        self.on_shutdown: Callable[[], object] = lambda: None
        self._lists: dict[Guid, FakeHits] = {}
        self._numbers = itertools.count(1)
        self._calls: list[Any] = []

    # -- the node ------------------------------------------------------------------------------------------------------

    async def set_config(self, key: str, value: str) -> Row:
        """As the real one, kept in memory."""
        self.config = with_runtime(self.config, key, value)
        self.journal.add("config_changed", key=key, value=self.config.value(key))
        row = next(row for row in self.config.rows() if row["key"] == key)
        return {**row, "applies": "now"}

    def relay(self) -> RelayView:
        """Off, unless a test gave it a layer."""
        return view_of(self.layer)

    def count_drop(self, reason: DropReason) -> None:
        """Counted in `drops`."""
        self.drops[reason] += 1

    def status(self) -> Row:
        """A leaf with whatever the test gave it."""
        limits = self.config.settings
        return {
            "version": __version__,
            "servent_id": "5a" * 16,
            "role": "leaf",
            "role_setting": "auto",
            "role_reason": "its ultrapeers need no other one",
            "role_since_s": 60.0,
            "ultrapeer_needed": None,
            "role_facts": [{"fact": "uptime", "value": "1 min 01 s", "wanted": "1 h 00 min or more", "met": False}],
            "uptime_s": 61.5,
            "listen": ["127.0.0.1:6346"],
            "links": {"ultrapeers": len(self.links), "leaves": 0, "peers": 0},
            "shared": {"files": len(self.shared), "bytes": sum(int(str(row["size"])) for row in self.shared)},
            "reachable": {"tcp": True, "udp": None},
            "ready": True,
            "profile": limits.network.profile,
            "hashing": {"pending": 0, "current": ""},
            "transfers": {"downloads": len(self.transfers), "uploads": 0, "download_rate": 0, "upload_rate": 0},
            "limits": {
                "max_links": limits.network.max_links,
                "max_leaves": limits.network.max_leaves,
                "max_uploads": limits.transfers.max_uploads,
                "max_downloads": limits.transfers.max_downloads,
                "upload_kib_s": limits.transfers.upload_kib_s,
                "download_kib_s": limits.transfers.download_kib_s,
            },
        }

    async def checks(self) -> Sequence[Row]:
        """One port that listens."""
        return [{"name": "port", "ok": True, "detail": "listening on 127.0.0.1:6346", "fix": ""}]

    def blocklists(self) -> Sequence[Row]:
        """What the test put there."""
        return list(self.lists)

    async def blocklist_reload(self) -> Sequence[Row]:
        """Nothing is read."""
        return list(self.lists)

    def blocklist_check(self, address: str) -> Row:
        """Addresses that begin with 6 are blocked."""
        is_listed = address.startswith("6")
        return {"address": address, "blocked": is_listed, "path": "/bad.p2p" if is_listed else "", "line": 1}

    def shutdown(self) -> None:
        """Remember it."""
        self.is_stopping = True
        self.on_shutdown()

    # -- links ---------------------------------------------------------------------------------------------------------

    def peers(self) -> Sequence[Row]:
        """The links."""
        return list(self.links)

    async def connect(self, address: Address) -> Row:
        """Port 1 refuses; everything else is an ultrapeer at once."""
        if address.port == 1:
            raise UserError(f"cannot connect to {address}: connection refused", "is it running?", 69)
        row: dict[str, object] = {
            "address": str(address),
            "direction": "out",
            "role": "ultrapeer",
            "vendor": f"PyGnutella/{__version__}",
            "since_s": 0.0,
            "deflate": True,
            "tls": False,
            "rx_messages": 3,
            "tx_messages": 4,
            "dropped": 0,
        }
        self.links.append(row)
        self.journal.add("link_opened", address=str(address), direction="out", role="ultrapeer", vendor=row["vendor"])
        return row

    async def disconnect(self, address: str) -> Row:
        """Remove it."""
        for row in self.links:
            if row["address"] == address:
                self.links.remove(row)
                self.journal.add("link_closed", address=address, reason=DropReason.USER_CLOSED.value, detail="")
                return row
        raise UserError(f"no link to {address}", "peers lists them", 1)

    def hosts(self) -> Sequence[Row]:
        """What the test put there."""
        return list(self.known_hosts)

    def web_caches(self) -> Sequence[Row]:
        """None."""
        return []

    # -- files ---------------------------------------------------------------------------------------------------------

    async def share_add(self, directory: str) -> Row:
        """Remember it; no disk is read."""
        row: dict[str, object] = {"path": directory, "files": 0, "bytes": 0, "source": "runtime"}
        self.directories.append(row)
        return row

    async def share_remove(self, directory: str) -> Row:
        """Forget it."""
        for row in self.directories:
            if row["path"] == directory:
                self.directories.remove(row)
                return row
        raise UserError(f"{directory} is not shared", "share dirs lists them", 1)

    def share_list(self) -> Iterable[Row]:
        """What the test put there."""
        return iter(self.shared)

    def share_directories(self) -> Sequence[Row]:
        """What was added."""
        return list(self.directories)

    async def share_rescan(self) -> Row:
        """Nothing to look at."""
        return {"files": len(self.shared), "bytes": 0, "pending": 0}

    # -- searches ------------------------------------------------------------------------------------------------------

    def search(
        self,
        words: str,
        kinds: Sequence[str] = (),
        limit: int = 0,
        on_row: Callable[[Row], None] | None = None,
        ttl: int | None = None,
    ) -> FakeHits:
        """Hits of `answers`, over time."""
        self.searches.append((words, tuple(kinds), limit))
        self.ttls.append(ttl)
        hits = self._new_list(on_row)
        self.journal.add("search_started", guid=hits.guid.hex(), words=words)
        self.queries.append({"guid": hits.guid.hex(), "time": 1700000000.0, "words": words, "own": True, "steps": 1})
        self.traces[hits.guid] = [{"time": 1700000000.25, "step": "sent", "link": "127.0.0.1:6346", "reason": ""}]
        for number, row in enumerate(self.answers.get(words.split()[0], []), 1):
            self._calls.append(self.clock.callLater(self.hit_every_s * number, hits.give, row))
        return hits

    def hit(self, ref: HitRef) -> Row | None:
        """By number, in one list or the newest."""
        guid = ref.search if ref.search is not None else next(reversed(self._lists), None)
        rows = self._lists[guid].rows if guid in self._lists else []
        return rows[ref.number - 1] if 1 <= ref.number <= len(rows) else None

    async def browse(self, address: Address) -> FakeHits:
        """What this node shares itself, as if the peer did."""
        if address.port == 1:
            raise UserError(f"cannot connect to {address}: connection refused", "is it running?", 69)
        hits = self._new_list(None)
        for row in self.shared:
            hits.give({**row, "sources": [{"address": str(address), "servent_id": "", "push": False}]})
        return hits

    def trace(self, guid: Guid) -> Sequence[Row] | None:
        """Of a search made here."""
        return self.traces.get(guid)

    def traced(self) -> Sequence[Row]:
        """All searches made here."""
        return list(self.queries)

    def _new_list(self, on_row: Callable[[Row], None] | None) -> FakeHits:
        hits = FakeHits(Guid(next(self._numbers).to_bytes(16, "big")), on_row)
        self._lists[hits.guid] = hits
        while len(self._lists) > MAX_HIT_LISTS:
            del self._lists[next(iter(self._lists))]
        return hits

    # -- transfers -----------------------------------------------------------------------------------------------------

    async def get(self, target: HitRef | str, to: str = "") -> Row:
        """A download that grows by itself; a name that begins with `stuck` never does, one with `broken` fails."""
        row = self.hit(target) if isinstance(target, HitRef) else hit_row(str(target)[-12:], 1_000_000)
        assert row is not None
        number = len(self.transfers) + 1
        self.transfers[number] = {
            "id": number,
            "state": "queued",
            "name": to or row["name"],
            "size": row["size"],
            "downloaded": 0,
            "speed": 0,
            "sources": 1,
            "eta_s": None,
            "path": "",
            "error": "",
        }
        self.journal.add("download_added", id=number, name=row["name"], size=row["size"])
        self._later(number)
        return dict(self.transfers[number])

    def downloads(self) -> Sequence[Row]:
        """Copies of the rows."""
        return [dict(row) for row in self.transfers.values()]

    async def pause(self, download: int) -> Row:
        """Stop its growth."""
        return self._changed(download, state="paused", speed=0)

    async def resume(self, download: int) -> Row:
        """Let it grow again."""
        row = self._changed(download, state="queued", error="")
        self._later(download)
        return row

    async def cancel(self, download: int) -> Row:
        """Forget it."""
        row = self._changed(download, state="cancelled")
        del self.transfers[download]
        self.journal.add("download_cancelled", id=download, name=row["name"])
        return row

    def uploads(self) -> Sequence[Row]:
        """None."""
        return []

    def stop(self) -> None:
        """Cancel every timer, so that a test leaves none."""
        for call in self._calls:
            if call.active():
                call.cancel()

    def _later(self, number: int) -> None:
        if not str(self.transfers[number]["name"]).startswith("stuck"):
            self._calls.append(self.clock.callLater(self.step_s, self._grow, number))

    def _grow(self, number: int) -> None:
        row = self.transfers.get(number)
        if row is None or row["state"] not in ("queued", "transferring"):
            return
        if str(row["name"]).startswith("broken"):
            self._changed(number, state="failed", error="no source has it any more")
            self.journal.add("download_failed", id=number, name=row["name"], error=row["error"])
            return
        size, got = int(str(row["size"])), int(str(row["downloaded"])) + self.step
        if got >= size:
            path = f"{self.directory}/incoming/{row['name']}"
            self._changed(number, state="done", downloaded=size, speed=0, eta_s=0, path=path)
            self.journal.add("download_finished", id=number, name=row["name"], size=size, path=path)
            return
        speed = int(self.step / self.step_s)
        self._changed(number, state="transferring", downloaded=got, speed=speed, eta_s=(size - got) / speed)
        self._later(number)

    def _changed(self, number: int, **changes: object) -> dict[str, object]:
        row = self.transfers.get(number)
        if row is None:
            raise UserError(f"no download {number}", "downloads lists them", 1)
        if row["state"] != changes.get("state", row["state"]):
            self.journal.add("download_state", id=number, name=row["name"], state=changes["state"])
        row.update(changes)
        return dict(row)


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=")


def serve(directory: str) -> None:
    """Run a fake node in `directory` until SIGTERM: for tests of real clients, and to try a console without a network.

    Prints one line of JSON with the open doors when they are open; the TCP console takes a free port.
    """
    import json
    import os

    from twisted.internet.defer import Deferred

    from gnutella.control.doors import ConsoleDoors
    from gnutella.settings import ControlSettings
    from gnutella.testing.aio import current_reactor

    reactor = current_reactor()
    os.makedirs(directory, mode=0o700, exist_ok=True)
    node = FakeNode(directory, reactor)
    node.answers.update(EXAMPLES)
    node.shared = [{"hit": 1, "path": "/shared/alice.txt", "hits": 2, "uploads": 1, **hit_row("alice.txt", 150_000)}]
    doors = ConsoleDoors(reactor, node, ControlSettings(console="tcp:0:interface=127.0.0.1"), directory)

    async def start() -> None:
        print(json.dumps(await doors.open()), flush=True)

    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(doors.close()))
    node.on_shutdown = lambda: reactor.callLater(0, reactor.stop)
    Deferred.fromCoroutine(start()).addErrback(lambda failure: failure.printTraceback())
    reactor.run()


#: What a fake node that serves answers to `search alice`, `search stuck`, `search broken` and `search evil`.
EXAMPLES: dict[str, list[Row]] = {
    "alice": [hit_row("alice wonderland.txt", 1_500_000), hit_row("アリス.txt", 5_000_000, hops=2)],
    "stuck": [hit_row("stuck.bin", 100)],
    "broken": [hit_row("broken.bin", 100)],
    "evil": [hit_row("evil\x1b[2J\x9b31m\u202egpj.exe", 7, vendor="\x1b]0;owned\x07")],
}

if __name__ == "__main__":
    import sys

    serve(sys.argv[1])
