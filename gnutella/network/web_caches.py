"""Asking web caches (GWebCache 1 and 2) for hosts, and telling them of us.

`routing.web_caches` says whom to ask and when; here names are resolved, pages fetched within bounds, and all of it kept in
state.db.  That a cache is asked is written down before it is: a node that is killed and started again asks no earlier.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella import __version__
from gnutella.errors import Refused, RemoteViolation, UserError
from gnutella.network.small_get import get, resolve
from gnutella.network.sources import reason
from gnutella.network.store import Store
from gnutella.protocol.gwebcache import MAX_ANSWER, ask_params, ask_url, parse_answer, update_params
from gnutella.reasons import DropReason
from gnutella.routing.web_caches import CacheTask, WebCacheRow, WebCaches
from gnutella.units import Address

TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is asked of the node.

    `learned` gets addresses that may be servents, `told` what became of each request: (url, hosts, error).  `own_address(ip)`
    is what a cache at that IP may be told of us, None for nothing; `may_update` says whether we are worth it at all.
    """

    needs_hosts: Callable[[], bool]
    may_update: Callable[[], bool]
    own_address: Callable[[str], Address | None]
    learned: Callable[[Sequence[Address]], None]
    told: Callable[[str, int, str], None]
    is_blocked: Callable[[str], bool]
    count_drop: Callable[[DropReason], None]
    user_agent: str


class WebCacheClient:
    """Asks one cache at a time, when hosts are needed."""

    log = Logger()

    def __init__(self, reactor: Any, caches: WebCaches, store: Store, around: Surroundings) -> None:
        self._reactor = reactor
        self._caches = caches
        self._store = store
        self._around = around
        self._begins_at = 0.0
        #: Why each cache that failed did, by its URL; as many as there are caches.
        self._errors: dict[str, str] = {}
        self._asked = ""
        self._running: Deferred[None] | None = None
        self._ticks = LoopingCall(self._tick)
        self._ticks.clock = reactor

    async def start(self, after_s: float) -> None:
        """Read what the store has; ask from `after_s` seconds on, since other ways to find hosts come first."""
        self._caches.load(await self._store.run(_load), self._reactor.seconds())
        self._begins_at = self._reactor.seconds() + after_s
        self._ticks.start(TICK_S, now=True).addErrback(self._tick_failed)

    async def stop(self) -> None:
        """Break off what is being asked."""
        if self._ticks.running:
            self._ticks.stop()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        await self._save()

    def _tick(self) -> None:
        now = self._reactor.seconds()
        if self._running is not None or now < self._begins_at:
            return
        around = self._around
        task = self._caches.due(now, needs_hosts=around.needs_hosts(), may_update=around.may_update())
        if task is not None:
            self._asked = task.url
            self._running = Deferred.fromCoroutine(self._do(task))
            self._running.addErrback(self._fault, task).addBoth(self._ended)

    def error(self, url: str) -> str:
        """Why the cache failed the last time that this process asked it, or ""."""
        return self._errors.get(url, "")

    def is_asking(self, url: str) -> bool:
        """Whether it is being asked."""
        return self._running is not None and self._asked == url

    def _ended(self, _: object) -> None:
        self._running = None

    def _fault(self, failure: Failure, task: CacheTask) -> None:
        self._caches.failed(task.url, self._reactor.seconds())
        if not failure.check(CancelledError):  # that is a stop
            self._note(task.url, "a fault of our own; the log says which")
            self.log.failure("a fault while a web cache was asked", failure)
            self._around.count_drop(DropReason.INTERNAL_ERROR)

    def _tick_failed(self, failure: Failure) -> None:
        self.log.failure("web caches are not asked any more", failure)
        self._around.count_drop(DropReason.INTERNAL_ERROR)

    async def _do(self, task: CacheTask) -> None:
        await self._save()
        around = self._around
        try:
            body = await self._fetch(task)
            answer = parse_answer(body) if body is not None else None
        except (Refused, RemoteViolation) as refused:
            self._caches.failed(task.url, self._reactor.seconds())
            self._refused(task, refused)
        else:
            if answer is None:
                self._caches.left_out()
                return
            try:
                hosts, bogus = self._caches.answered(task.url, answer, self._reactor.seconds())
            except RemoteViolation as refused:
                self._refused(task, refused)
            else:
                for _ in range(bogus):
                    around.count_drop(DropReason.BOGUS_CACHED)
                self._errors.pop(task.url, None)
                around.learned(hosts)
                around.told(task.url, len(hosts), "")
        await self._save()

    def _refused(self, task: CacheTask, refused: Refused | RemoteViolation) -> None:
        error = refused.detail or refused.reason.meaning
        self._note(task.url, error)
        self._around.count_drop(refused.reason)
        self._around.told(task.url, 0, error)

    def _note(self, url: str, error: str) -> None:
        known = {row.url for row in self._caches.rows()}
        self._errors = {one: why for one, why in self._errors.items() if one in known}
        self._errors[url] = reason(error)

    async def _fetch(self, task: CacheTask) -> bytes | None:
        """The answer; None when there is nothing that this cache may be told."""
        host = urlsplit(task.url).hostname or ""
        ip = await resolve(self._reactor, host, allow_private=task.may_be_private)
        if self._around.is_blocked(ip):
            raise Refused(DropReason.BLOCKED, f"{ip} is on a blocklist")
        if task.is_update:
            own = self._around.own_address(ip)
            if own is None:
                return None
            other = next((url for url in self._caches.working() if url != task.url), "")
            params = update_params(task.spec, own, other, __version__)
        else:
            params = ask_params(task.spec, wants_urls=task.wants_urls, version=__version__)
        url = ask_url(task.url, params)
        return await get(self._reactor, url, ip, max_bytes=MAX_ANSWER, user_agent=self._around.user_agent)

    async def _save(self) -> None:
        """Where the disk does not take it, the node goes on: it may then ask once too often after a restart."""
        rows = self._caches.rows()
        try:
            await self._store.run(lambda db: _write(db, rows))
        except UserError as error:
            self.log.error("what web caches were asked was not saved: {error}", error=str(error))


def _load(db: sqlite3.Connection) -> list[WebCacheRow]:
    return [WebCacheRow(*row) for row in db.execute("SELECT url, next_at, failures, last_ok, spec FROM web_caches")]


def _write(db: sqlite3.Connection, rows: Sequence[WebCacheRow]) -> None:
    db.execute("DELETE FROM web_caches")
    db.executemany("INSERT INTO web_caches VALUES (?, ?, ?, ?, ?)", rows)
