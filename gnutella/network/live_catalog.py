"""The catalog that answers now, and the changes that will be in the next one.

Files are accepted and removed as the library learns of them; `publish` keeps new hashes in state.db, makes a new snapshot of
all changes in a worker thread, and hands it out.  Gives files their indexes: a path keeps its index while the node runs,
even if its file is away for a while, and no index is ever given to another path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import DeferredLock

from gnutella.network import library_store
from gnutella.network.library_store import Hashed
from gnutella.network.store import Store
from gnutella.network.workers import Workers
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.sharing.scan import Found

K = TypeVar("K")
V = TypeVar("V")

#: Files that left within one run, whose index and hashes are remembered in case they come back or were only moved.
MAX_DEPARTED = 10_000

_NS = 1_000_000_000
Hashes = tuple[bytes, bytes | None]


class LiveCatalog:
    """See the module text.  `on_snapshot` is called in the reactor thread with each new catalog."""

    def __init__(self, reactor: Any, store: Store, workers: Workers, on_snapshot: Callable[[Catalog], object]) -> None:
        self._reactor = reactor
        self._store = store
        self._workers = workers
        self._on_snapshot = on_snapshot
        #: The snapshot that answers.
        self.current = Catalog()
        #: Seconds that the last snapshot took.
        self.cost_s = 0.0
        self._next_index = 1
        self._ready: dict[str, SharedFile] = {}
        self._removed: set[int] = set()
        self._under_way: dict[str, SharedFile] = {}
        self._unsaved: list[Hashed] = []
        self._departed: dict[str, int] = {}
        self._moved: dict[tuple[str, int, int], Hashes] = {}
        self._lock = DeferredLock()

    @property
    def waiting(self) -> int:
        """Files accepted that are not in the snapshot yet."""
        return len(self._ready)

    def at_path(self, path: str) -> SharedFile | None:
        """The file at a path as it was last accepted."""
        return self._ready.get(path) or self._under_way.get(path) or self.current.by_path(path)

    def accept(self, found: Found, hashes: Hashes) -> None:
        """Offer a file from the next snapshot on, in place of an older state of it."""
        known = self.at_path(found.path)
        index = known.index if known is not None else self._departed.pop(found.path, 0)
        if not index:
            index, self._next_index = self._next_index, self._next_index + 1
        path, directory, relative, name, size, mtime_ns = found
        self._ready[path] = SharedFile(index, name, size, mtime_ns // _NS, path, *hashes, relative, directory, mtime_ns)

    def hashed(self, found: Found, sha1: bytes, tth: bytes | None, tree: bytes = b"") -> None:
        """Keep hashes with the next snapshot, so that the file is not read again after a restart."""
        self._unsaved.append(Hashed(found, sha1, tth, tree))

    def moved_here(self, found: Found) -> Hashes | None:
        """Hashes of a file that left another place and had this name, size and time of change: it was moved.

        Times of whole seconds come out of archives, many files at once, and prove nothing.
        """
        if not found.mtime_ns % _NS:
            return None
        return self._moved.get((found.name, found.size, found.mtime_ns))

    def remove(self, file: SharedFile) -> None:
        """Offer a file no more, from the next snapshot on."""
        self._ready.pop(file.path, None)
        self._removed.add(file.index)
        _remember(self._departed, file.path, file.index)
        if file.sha1 is not None:
            _remember(self._moved, (file.name, file.size, file.mtime_ns), (file.sha1, file.tth))

    def remove_indexes(self, indexes: Iterable[int]) -> None:
        """Offer files of the current snapshot no more; of very many, only some are remembered in case they come back."""
        indexes = list(indexes)
        self._removed.update(indexes)
        for index in indexes[:MAX_DEPARTED]:
            file = self.current.by_index(index)
            if file is not None:
                self.remove(file)

    async def publish(self) -> None:
        """Put a snapshot with all changes so far in place.  One at a time; after it `current` is up to date."""
        await self._lock.acquire()
        try:
            await self.save()
            if not self._ready and not self._removed:
                return
            self._under_way, self._ready = self._ready, {}
            removed, self._removed = self._removed, set()
            added = sorted(self._under_way.values(), key=lambda file: file.index)
            removed.update(file.index for file in added)
            began = self._reactor.seconds()
            self.current = await self._workers.run(self.current.with_changes, added, removed)
            self.cost_s = self._reactor.seconds() - began
        finally:
            self._under_way = {}
            self._lock.release()
        self._on_snapshot(self.current)

    async def save(self) -> None:
        """Keep new hashes."""
        unsaved, self._unsaved = self._unsaved, []
        if unsaved:
            await self._store.run(lambda connection: library_store.save_hashes(connection, unsaved))


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > MAX_DEPARTED:
        del memory[next(iter(memory))]
