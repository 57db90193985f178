"""The library: shared directories, kept in step with the disk, and the catalog made of them.

Everything that takes time happens elsewhere (directory walks and catalog building in a worker thread, hashing in processes,
the hash cache in the store's thread); the last catalog answers meanwhile.  Changes come from three sides: commands, inotify,
and a timed walk over everything, which also serves where inotify cannot.  They meet in an inbox, which one coroutine empties.

    library = LibraryService(reactor, settings.sharing, store, workers, hashers, router.set_library)
    await library.start()
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import UserError
from gnutella.network import library_store
from gnutella.network.hash_queue import FileHashers, HashQueue
from gnutella.network.library_counts import FileCounts
from gnutella.network.live_catalog import LiveCatalog
from gnutella.network.store import Store
from gnutella.network.watch import Sign, TreeWatch
from gnutella.network.workers import Workers, WorkersStopped
from gnutella.protocol.tth import FileHash
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.settings import SharingSettings
from gnutella.sharing.catalog import Catalog
from gnutella.sharing.scan import Found, Refusal, Rules, Walk, examine

T = TypeVar("T")

#: Seconds that changes are collected: copying an album is one new snapshot, not twenty.
SETTLE_S = 0.3
#: A new snapshot is not begun before this many times the seconds that the last one took.
REST_FACTOR = 4.0
#: Seconds until a file that changed while it was hashed is looked at again; doubles up to the other.
RETRY_S, MAX_RETRY_S = 2.0, 120.0
#: Seconds between walks when inotify cannot watch everything.
UNWATCHED_RESCAN_S = 300.0
#: Paths in the inbox; beyond, everything is walked instead.
MAX_INBOX = 10_000
#: While a walk brings files with known hashes, a snapshot is made each time the catalog would grow by half, but not for less.
MIN_BULK = 512

Row = dict[str, object]


@dataclass(slots=True)
class _Inbox:
    """What to look at next."""

    everything: bool = False
    trees: dict[str, None] = field(default_factory=dict)
    gone_trees: dict[str, None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.everything or bool(self.trees or self.gone_trees or self.files)

    def bound(self) -> None:
        """Give up on single paths where there are too many."""
        if len(self.trees) + len(self.gone_trees) + len(self.files) > MAX_INBOX:
            self.everything = True
        if self.everything:
            for paths in (self.trees, self.gone_trees, self.files):
                paths.clear()


class LibraryService:
    """See the module text.  `extra_dirs` (finished downloads) are offered too.  `private_dirs` are neither shared nor
    entered from a share above them; a directory within one may be shared by its own name."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: SharingSettings,
        store: Store,
        workers: Workers,
        hashers: FileHashers,
        on_snapshot: Callable[[Catalog], object],
        extra_dirs: Iterable[str] = (),
        private_dirs: Iterable[str] = (),
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._store = store
        self._workers = workers
        self._live = LiveCatalog(reactor, store, workers, on_snapshot)
        self._sources: dict[str, str] = {os.path.realpath(path): "config" for path in settings.directories}
        self._sources |= {os.path.realpath(path): "incoming" for path in extra_dirs}
        self._private = frozenset(os.path.realpath(path) for path in private_dirs)
        self._queue = HashQueue(hashers, settings.hash_workers, self._hashed, self._changed_while_hashed)
        self._watch: TreeWatch | None = None
        self._note = "watching" if settings.watch else "not watched: walked on a timer (sharing.watch is off)"
        self._retries: Counter[str] = Counter()
        self._inbox = _Inbox()
        self._waiting: list[Deferred[None]] = []
        self._refused: Counter[Refusal] = Counter()
        self._is_updating = False
        self._is_stopped = False
        self._calls: dict[str, IDelayedCall] = {}
        self._tasks: set[Deferred[None]] = set()
        #: True once everything was walked for the first time: what was hashed before is offered.
        self.is_ready = False
        self.counts = FileCounts(reactor, store)

    # -- life ------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what is kept, then begin the first walk and return; the catalog grows meanwhile."""
        for directory in await self._store.run(library_store.load_shares):
            self._sources.setdefault(directory, "runtime")
        for directory in [
            path for path, source in self._sources.items() if source != "incoming" and self._is_private(path)
        ]:
            self._log.warn("not sharing {path}: it is the node's own", path=repr(directory)[:300])
            del self._sources[directory]
        await self.counts.start()
        if self._settings.watch:
            self._watch = TreeWatch.open(self._reactor, self._event)
            if self._watch is None:
                self._note = "not watched: inotify is not to be had here; walked on a timer"
        self._look(everything=True)

    async def stop(self) -> None:
        """End walks, hashing and watches; keep what was hashed and counted.  Leaves nothing in the reactor."""
        self._is_stopped = True
        for call in self._calls.values():
            if call.active():
                call.cancel()
        self._calls.clear()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._queue.stop()
        await DeferredList(list(self._tasks))
        await self._live.save()
        await self.counts.stop()
        self._tell_waiting()

    def _spawn(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        task = Deferred.fromCoroutine(work)
        self._tasks.add(task)
        task.addErrback(self._failed)
        task.addBoth(lambda _: self._tasks.discard(task))

    def _failed(self, failure: Failure) -> None:
        if not (self._is_stopped and failure.check(WorkersStopped)):
            self._log.failure("the library could not be brought up to date", failure=failure)

    def _later(self, name: str, delay_s: float, call: Callable[..., object], *args: object) -> None:
        """One call of that name at a time; the first one made stands."""
        if self._is_stopped or name in self._calls:
            return

        def run() -> None:
            del self._calls[name]
            call(*args)

        self._calls[name] = self._reactor.callLater(delay_s, run)

    # -- what is shared --------------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The snapshot that answers now."""
        return self._live.current

    def use_settings(self, settings: SharingSettings) -> None:
        """Take another bound and another interval of walks from now on; directories and watching stay."""
        self._settings = settings

    @property
    def is_settled(self) -> bool:
        """All files are offered that are there, as far as we know: nothing is being looked for or hashed."""
        return not (self._is_updating or self._queue.pending or self._live.waiting)

    def status(self) -> Row:
        """files, bytes, hashing{pending, current, done_bytes}, refused{why: how many}, unreadable, scanning, watch (a note)."""
        queue = self._queue
        return {
            "files": self._live.current.file_count,
            "bytes": self._live.current.total_bytes,
            "hashing": {"pending": queue.pending, "current": queue.current, "done_bytes": queue.done_bytes},
            "refused": {
                refusal.value: count for refusal, count in sorted(self._refused.items(), key=lambda r: r[0].value)
            },
            "unreadable": queue.unreadable,
            "scanning": self._is_updating,
            "watch": self._note,
            "watched_directories": self._watch.count if self._watch is not None else 0,
        }

    def directories(self) -> list[Row]:
        """Rows path, files, bytes, source ("config", "runtime" or "incoming")."""
        totals = self._live.current.totals()
        return [self._directory_row(path, totals) for path in self._sources]

    def _directory_row(self, path: str, totals: Mapping[str, tuple[int, int]]) -> Row:
        files, size = totals.get(path, (0, 0))
        return {"path": path, "files": files, "bytes": size, "source": self._sources.get(path, "runtime")}

    def rows(self) -> Iterator[Row]:
        """Shared files, lazily: path, name, size, urn, tth, hits, uploads."""
        for file in self._live.current.files:
            hits, uploads = self.counts.of(file.sha1)
            yield {
                "path": file.path,
                "name": file.name,
                "size": file.size,
                "urn": sha1_urn(file.sha1) if file.sha1 else "",
                "tth": b32encode(file.tth) if file.tth else "",
                "hits": hits,
                "uploads": uploads,
            }

    async def add(self, directory: str) -> Row:
        """Share a directory from now on, also after a restart; its row.  UserError (64) if it cannot be."""
        path = os.path.realpath(os.path.expanduser(directory))
        if not os.path.isdir(path):
            raise UserError(f"{directory!r} is no directory", "name an existing one")
        if path == "/" or self._is_private(path):
            raise UserError(f"{directory!r} cannot be shared", "it holds what is nobody else's business; name another")
        if not os.access(path, os.R_OK | os.X_OK):
            raise UserError(f"{directory!r} cannot be read", "check its permissions", os.EX_NOPERM)
        if path not in self._sources:
            await self._store.run(lambda connection: library_store.save_share(connection, path), durable=True)
            self._sources[path] = "runtime"
            self._look(trees=[path], at_once=True)
        return self._directory_row(path, self._live.current.totals())

    async def remove(self, directory: str) -> Row:
        """Share a directory no more; its last row.  UserError (1) if it was not shared."""
        path = directory if directory in self._sources else os.path.realpath(os.path.expanduser(directory))
        if path not in self._sources:
            raise UserError(f"{directory!r} is not shared", "share dirs lists what is", 1)
        row = self._directory_row(path, self._live.current.totals())
        await self._store.run(lambda connection: library_store.drop_share(connection, path), durable=True)
        del self._sources[path]
        self._queue.discard(lambda found: found.directory == path)
        if self._watch is not None:
            self._watch.drop(path)
        await self._live.publish()
        self._live.remove_indexes(await self._workers.run(self._live.current.indexes_in_share, path))
        await self._live.publish()
        # Where another share holds this one, its files are still offered: the walk brings them back.
        self._look(everything=True, at_once=True)
        return row

    def rescan(self) -> Deferred[Row]:
        """Walk everything; when done, and what was hashed before is offered: files, bytes, pending."""
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        self._look(everything=True, at_once=True)

        def row(_: None) -> Row:
            return {
                "files": self._live.current.file_count,
                "bytes": self._live.current.total_bytes,
                "pending": self._queue.pending,
            }

        return done.addCallback(row)

    async def adopt(self, path: str, sha1: bytes, tth: bytes | None) -> None:
        """Offer a finished download at once: it lies at `path` and is known to have these hashes."""
        rules = self._rules()
        share = rules.share_of(path)
        found = examine(path, share) if share is not None else None
        if not isinstance(found, Found):
            return
        self._live.hashed(found, sha1, tth)
        self._queue.discard(lambda waiting: waiting.path == path)
        self._live.accept(found, (sha1, tth))
        await self._live.publish()

    def _is_private(self, path: str) -> bool:
        return path in self._private

    # -- what there is to look at ----------------------------------------------------------------------------------------

    def _rules(self) -> Rules:
        return Rules(tuple(self._sources), self._private, self._settings.max_files)

    def _event(self, sign: Sign, path: str) -> None:
        if sign is Sign.FILE:
            self._inbox.files[path] = None
        elif sign is Sign.TREE:
            self._inbox.trees[path] = None
        elif sign is Sign.TREE_GONE:
            self._inbox.gone_trees[path] = None
        elif sign is Sign.LOST:
            self._log.warn("the kernel dropped notices of changed files; walking all shared directories")
            self._inbox.everything = True
        else:
            self._note = f"not all watched: no more watches to be had; walked every {UNWATCHED_RESCAN_S:.0f} s"
            self._log.warn("cannot watch {path}; see fs.inotify.max_user_watches", path=repr(path)[:300])
            self._schedule_walk()
        self._look()

    def _look(self, *, everything: bool = False, trees: Sequence[str] = (), at_once: bool = False) -> None:
        self._inbox.everything |= everything
        self._inbox.trees |= dict.fromkeys(trees)
        self._inbox.bound()
        if not self._is_updating and not self._is_stopped and self._inbox:
            if at_once or everything:
                self._begin()
            else:
                self._later("settle", SETTLE_S, self._begin)

    def _begin(self) -> None:
        if not self._is_updating and not self._is_stopped:
            self._spawn(self._update())

    async def _update(self) -> None:
        """Empty the inbox.  Never runs twice at a time."""
        self._is_updating = True
        waiting: list[Deferred[None]] = []
        try:
            while self._inbox and not self._is_stopped:
                inbox, self._inbox = self._inbox, _Inbox()
                if inbox.everything:
                    waiting, self._waiting = self._waiting, []
                    await self._walk_everything()
                else:
                    await self._look_at(inbox)
                await self._live.publish()
                while waiting:
                    waiting.pop().callback(None)
        except BaseException:
            while waiting and not self._is_stopped:
                waiting.pop().errback(Failure())
            raise
        finally:
            self._is_updating = False
            self._waiting.extend(waiting)
            self._schedule_walk()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)

    async def _walk_everything(self) -> None:
        await self._live.publish()
        walk = Walk(self._rules(), self._live.current)
        await self._follow(walk)
        if self._is_stopped:
            return
        gone = await self._workers.run(walk.gone)
        self._live.remove_indexes(gone)
        # The hashes of a disk that is only not mounted are kept.
        paths = await self._workers.run(_paths_outside, self._live.current, gone, walk.missing)
        if paths:
            await self._store.run(lambda connection: library_store.drop_hashes(connection, paths))
        self._refused = walk.refused
        self.is_ready = True

    def _schedule_walk(self) -> None:
        every_s = self._settings.rescan_s
        if self._watch is None or self._watch.is_full:
            every_s = min(every_s or UNWATCHED_RESCAN_S, UNWATCHED_RESCAN_S)
        if every_s:
            self._later("walk", every_s, self._walk_again)

    def _walk_again(self) -> None:
        self._look(everything=True)

    async def _look_at(self, inbox: _Inbox) -> None:
        await self._live.publish()
        for path in inbox.gone_trees:
            if self._watch is not None:
                self._watch.drop(path)
            self._queue.discard(lambda found, above=path + "/": found.path.startswith(above))  # type: ignore[misc]
            self._live.remove_indexes(await self._workers.run(self._live.current.indexes_beneath, path))
        rules = self._rules()
        shares = {path: share for path in inbox.files if (share := rules.share_of(path)) is not None}
        seen = await self._workers.run(_examine_all, shares)
        gone = {path for path, found in seen if not isinstance(found, Found)}
        if gone:
            self._queue.discard(lambda waiting: waiting.path in gone)
        changed: list[Found] = []
        for path, found in seen:
            known = self._live.at_path(path)
            if not isinstance(found, Found):
                if known is not None:
                    self._live.remove(known)
            elif known is None or (known.size, known.mtime_ns) != (found.size, found.mtime_ns):
                changed.append(found)
        await self._take(changed)
        if inbox.trees:
            await self._follow(Walk(rules, self._live.current, inbox.trees))

    async def _follow(self, walk: Walk) -> None:
        """Take a walk to its end, step by step."""
        while not walk.is_done and not self._is_stopped:
            seen = await self._workers.run(walk.step)
            self._watch_all(seen.directories)
            await self._take(seen.changed)

    def _watch_all(self, directories: Iterable[tuple[str, int]]) -> None:
        if self._watch is None:
            return
        for path, mtime_ns in directories:
            self._watch.add(path)
            try:
                if os.lstat(path).st_mtime_ns != mtime_ns:
                    # Something came or went between the listing and the watch.
                    self._inbox.trees[path] = None
            except OSError:
                self._inbox.gone_trees[path] = None

    # -- what comes of it ------------------------------------------------------------------------------------------------

    async def _take(self, changed: Sequence[Found]) -> None:
        """New and changed files: offered if their hashes are known, else hashed."""
        if not changed:
            return
        known = await self._store.run(lambda connection: library_store.known_hashes(connection, changed))
        for found in changed:
            hashes = known.get(found.path)
            if hashes is None and (hashes := self._live.moved_here(found)) is not None:
                self._live.hashed(found, *hashes)
            if hashes is not None:
                self._live.accept(found, hashes)
                continue
            stale = self._live.at_path(found.path)
            if stale is not None:
                self._live.remove(stale)
            if self._live.current.file_count + self._live.waiting + self._queue.pending >= self._settings.max_files:
                self._refused[Refusal.TOO_MANY] += 1
            else:
                self._queue.add(found)
        if self._live.waiting >= max(MIN_BULK, self._live.current.file_count // 2):
            await self._live.publish()

    def _hashed(self, found: Found, result: FileHash) -> None:
        self._retries.pop(found.path, None)
        self._live.hashed(found, result.sha1, result.tth, result.tree)
        if found.directory in self._sources:
            self._live.accept(found, (result.sha1, result.tth))
        self._later("publish", max(SETTLE_S, REST_FACTOR * self._live.cost_s), self._publish_soon)

    def _publish_soon(self) -> None:
        self._spawn(self._live.publish())

    def _changed_while_hashed(self, found: Found) -> None:
        if len(self._retries) > MAX_INBOX:
            self._retries.clear()
        self._retries[found.path] += 1
        delay_s = min(RETRY_S * 2 ** min(self._retries[found.path] - 1, 16), MAX_RETRY_S)
        self._later(f"retry {found.path}", delay_s, self._event, Sign.FILE, found.path)


def _examine_all(shares: Mapping[str, str]) -> list[tuple[str, Found | Refusal | None]]:
    return [(path, examine(path, share)) for path, share in shares.items()]


def _paths_outside(catalog: Catalog, indexes: Iterable[int], directories: Iterable[str]) -> list[str]:
    """Paths of files that are in none of these directories."""
    above = tuple(directory + "/" for directory in directories)
    files = (catalog.by_index(index) for index in indexes)
    return [file.path for file in files if file is not None and not file.path.startswith(above)]
