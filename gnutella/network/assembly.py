"""The disk side of one download: bytes in, a verified file out.

Order is everything here.  Bytes are written, then noted in the journal, and now and then the store is told; so whatever these
two say is on disk is on disk, wherever the process is killed.  Complete leaves are hashed in a worker process, which reads
them back from the page cache; wrong ones are taken out again and their sender is named.  The file gets its name only after its
whole SHA-1 was right.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import GnutellaError
from gnutella.network import transfer_store
from gnutella.network.files import (
    DiskTrouble,
    PartialFile,
    disk_trouble,
    find_placed,
    open_partial,
    partial_path,
    place,
)
from gnutella.network.hashers import HashWorkers, Sha1Handle
from gnutella.network.journal import RangeJournal, journal_path
from gnutella.network.store import Store
from gnutella.network.workers import Workers
from gnutella.protocol.http import Span
from gnutella.protocol.tth import DIGEST_SIZE, Tree, node_size_for
from gnutella.sharing.hashing import FileChanged, FileUnreadable
from gnutella.sharing.paths import safe_target
from gnutella.transfers.planner import Plan
from gnutella.transfers.ranges import RangeSet
from gnutella.transfers.verify import LeafCheck, Verdict

#: Bytes that may be ahead of the hashes; beyond, nothing more is asked for.
MAX_UNVERIFIED = 64 * 1024 * 1024
#: Checks with the worker at a time: one being worked on, one waiting.
MAX_CHECKS = 2
#: The SHA-1 is told to catch up when the checked front of the file is this far ahead of it.
SHA1_LAG = 32 * 1024 * 1024
#: Names tried for a finished file; each further one means that somebody took the name in between.
MAX_NAMES = 100


@dataclass(frozen=True, slots=True)
class Disk:
    """What every assembly of a node shares."""

    store: Store
    workers: Workers
    hashers: HashWorkers
    incomplete: Path
    incoming: Path


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Whom an assembly tells."""

    #: More is recorded, or checked: more may be asked for.
    moved: Callable[[], None]
    #: These sources sent wrong bytes (by key); the tree itself is doubtful if the flag is set.
    wrong: Callable[[set[int], bool], None]
    #: The disk or the store failed.
    failed: Callable[[GnutellaError], None]


class Assembly:
    """One partial file; bytes may be written once `open` is done."""

    log = Logger()

    def __init__(self, disk: Disk, sha1: bytes, size: int, callbacks: Callbacks) -> None:
        self._disk = disk
        self.sha1 = sha1
        self.size = size
        self.path = partial_path(disk.incomplete, sha1)
        self._callbacks = callbacks
        self.plan = Plan(size, node_size_for(size))
        self.leaves: LeafCheck | None = None
        self._part: PartialFile | None = None
        self._journal: RangeJournal | None = None
        self._handle: Sha1Handle | None = None
        self._is_dirty = False
        self._is_saving = False
        self._waiters: list[Deferred[None]] = []
        self._checks = 0
        self._is_catching_up = False
        self._is_closed = False
        #: Sources of which anything is in the file, for files without a tree; 0 for those from before a restart.
        self.contributors: set[int] = set()

    # -- opening, closing ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file and read what is known of it; DiskTrouble, StoreError."""
        part, journal = await self._disk.workers.run(_open_both, self.path, self.size)
        if self._is_closed:
            part.close()
            journal.close()
            return
        self._part, self._journal = part, journal
        noted = journal.read(self.size)

        def load(db: sqlite3.Connection) -> tuple[list[Span], Plan, LeafCheck | None]:
            have, verified = transfer_store.load_ranges(db, self.sha1, self.size)
            for span in noted:
                have.add(*span)
            if part.is_new:
                have.clear()
                verified.clear()
            rest = have.copy()
            for span in verified:
                rest.remove(*span)
            transfer_store.save_ranges(db, self.sha1, list(verified), list(rest))
            found = transfer_store.load_tree(db, self.sha1)
            plan = Plan(self.size, node_size_for(self.size), have)
            if found is None or found[1] != self.size:
                return list(have), plan, None
            return list(have), plan, _leaf_check(Tree(self.size, _node_size(found[2], self.size), found[2]), verified)

        spans, self.plan, self.leaves = await self._disk.store.run(load)
        journal.clear()
        if spans:
            self.contributors.add(0)
        if self.leaves is not None:
            for start, stop in spans:
                self.leaves.wrote(0, start, stop)
        self._handle = self._disk.hashers.open_sha1(str(self.path))
        self.check()

    @property
    def is_open(self) -> bool:
        """Whether bytes can be written."""
        return self._handle is not None and not self._is_closed

    async def close(self) -> None:
        """Record what is there and close the file."""
        if self._is_closed:
            return
        if self.is_open and (self._is_saving or self._is_dirty):
            await self._saved()
        if self._journal is not None:
            self._journal.clear()
        self._shut()

    def _shut(self) -> None:
        self._is_closed = True
        if self._handle is not None:
            self._handle.close()
        if self._part is not None:
            self._part.close()
        if self._journal is not None:
            self._journal.close()

    async def remove(self) -> None:
        """Close the file and remove it."""
        self._is_dirty = False
        self._shut()
        await self._disk.workers.run(_remove_both, self.path)

    # -- bytes -----------------------------------------------------------------------------------------------------------

    def write(self, source: int, data: bytes) -> None:
        """The next bytes of a source's first request."""
        assert self._part is not None and self._journal is not None
        count = len(data)
        offset, fresh = self.plan.arrived(source, count)
        for start, stop in fresh:
            whole = stop - start == count
            try:
                self._part.write(data if whole else memoryview(data)[start - offset : stop - offset], start)
                self._journal.wrote(source, start, stop)
            except DiskTrouble as error:
                self.plan.discard(start, stop)
                self._callbacks.failed(error)
                return
            if self.leaves is not None:
                self.leaves.wrote(source, start, stop)
        self.contributors.add(source)
        self._is_dirty = True

    @property
    def lag(self) -> int:
        """Bytes on disk that the hashes have not seen."""
        if self.leaves is not None:
            return self.plan.have.total - self.leaves.verified.total
        return max(0, self.plan.have.prefix() - (self._handle.offset if self._handle else 0))

    @property
    def is_ready(self) -> bool:
        """Whether every byte is there and every leaf that can be checked was right."""
        return self.plan.is_complete and (self.leaves is None or self.leaves.is_complete)

    # -- recording -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every second: tell the store what is new."""
        if self._is_dirty:
            self.save()

    def save(self) -> None:
        """Tell the store what is on disk."""
        self._is_dirty = True
        if not self._is_saving and not self._is_closed:
            Deferred.fromCoroutine(self._save()).addErrback(self._trouble)

    async def _save(self) -> None:
        self._is_saving = True
        try:
            while self._is_dirty:
                self._is_dirty = False
                await self._disk.store.run(self._saving())
        finally:
            self._is_saving = False
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def _saving(self) -> Callable[[sqlite3.Connection], None]:
        """The transaction, with copies made now: the database thread shares nothing with the plan."""
        checked = list(self.leaves.verified) if self.leaves else []
        other = self.plan.have.copy()
        for span in checked:
            other.remove(*span)
        rest = list(other)
        return lambda db: transfer_store.save_ranges(db, self.sha1, checked, rest)

    async def _saved(self) -> None:
        """Wait until what is on disk now is recorded."""
        self.save()
        if self._is_saving:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter

    # -- checking --------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Have the worker look at whatever is complete and unchecked."""
        if not self.is_open:
            return
        if self.leaves is None:
            self._catch_up(self.plan.have.prefix())
            return
        while self._checks < MAX_CHECKS and (batch := self.leaves.next_batch(self.plan.have)) is not None:
            self._checks += 1
            Deferred.fromCoroutine(self._check(self.leaves, batch)).addErrback(self._trouble)
        front = self.leaves.verified.prefix()
        if self._handle is not None and front - self._handle.offset > SHA1_LAG and not self._checks:
            self._catch_up(front)

    async def _check(self, leaves: LeafCheck, batch: Span) -> None:
        assert self._handle is not None
        first, last = batch.start // leaves.leaf, -(-batch.stop // leaves.leaf)
        try:
            found = await self._disk.hashers.verify(
                str(self.path),
                batch.start,
                batch.stop - batch.start,
                leaves.leaf,
                self._handle,
                leaves.nodes[first:last],
            )
        except BaseException:
            leaves.abandoned(batch)
            raise
        finally:
            self._checks -= 1
        if self._is_closed or leaves is not self.leaves:
            return
        self._is_dirty = True
        self._take(leaves.checked(batch, found.nodes))
        self.check()
        self._callbacks.moved()

    def _take(self, verdict: Verdict) -> None:
        for start, stop in verdict.bad:
            self.plan.discard(start, stop)
            if self._handle is not None and self._handle.offset > start:
                self._handle.rewind()
        if verdict.bad:
            self._callbacks.wrong(verdict.culprits, verdict.is_tree_doubtful)

    def _catch_up(self, front: int) -> None:
        """Take the SHA-1 on to `front`; what comes meanwhile is taken by the next call."""
        if self._handle is None or self._is_catching_up or front <= self._handle.offset:
            return
        self._is_catching_up = True

        async def advance(handle: Sha1Handle) -> None:
            try:
                await handle.advance(front)
            finally:
                self._is_catching_up = False
            if not self._is_closed:
                self._callbacks.moved()
                self.check()

        Deferred.fromCoroutine(advance(self._handle)).addErrback(self._trouble)

    def use_tree(self, tree: Tree) -> None:
        """A tree is known now: check everything by it."""
        self.leaves = _leaf_check(tree, None)
        for start, stop in self.plan.have:
            self.leaves.wrote(0, start, stop)
        if self._handle is not None:
            self._handle.rewind()
        self.check()

    def drop_tree(self) -> None:
        """The tree is not to be believed."""
        self.leaves = None
        self.check()

    def discard_all(self) -> None:
        """The file is wrong as a whole and nothing says where: begin anew."""
        self.plan.discard(0, self.size)
        self.contributors.clear()
        if self.leaves is not None:
            self.leaves.forget()
        if self._handle is not None:
            self._handle.rewind()
        if self._journal is not None:
            self._journal.clear()
        self.save()

    def _trouble(self, failure: Failure) -> None:
        error = failure.value
        if self._is_closed:
            return
        if isinstance(error, FileChanged | FileUnreadable):
            error = DiskTrouble(f"partial file {str(self.path)!r} was changed by somebody else")
        if not isinstance(error, GnutellaError):
            self.log.failure("assembly of a download", failure=failure)
            error = DiskTrouble("a fault of this program; its log tells more")
        self._callbacks.failed(error)

    # -- the end ---------------------------------------------------------------------------------------------------------

    async def has_right_sha1(self) -> bool:
        """Whether the whole file, all of it being there, is the one that was asked for."""
        assert self._handle is not None
        await self._saved()
        return await self._handle.digest(self.size) == self.sha1

    async def publish(self, download_id: int, name: str) -> str:
        """Give the file its name in the directory of finished files; the path."""
        disk, part = self._disk, self._part
        assert part is not None
        for _ in range(MAX_NAMES):
            target = await disk.workers.run(_choose, disk.incoming, name)
            await disk.store.run(
                partial(transfer_store.announce_path, download_id=download_id, path=target), durable=True
            )
            if await disk.workers.run(place, part, target):
                await disk.store.run(lambda db: transfer_store.finish(db, download_id, self.sha1), durable=True)
                self._shut()
                await disk.workers.run(_remove_both, self.path)
                return target
        raise DiskTrouble(f"no free name for {name!r} in {str(disk.incoming)!r}")


async def was_placed(disk: Disk, sha1: bytes, announced: str, size: int) -> bool:
    """After a restart: whether the file got its announced name before the process ended; its content is hashed to be sure."""
    if not await disk.workers.run(find_placed, partial_path(disk.incomplete, sha1), announced, size):
        return False
    try:
        return (await disk.hashers.hash_file(announced)).sha1 == sha1
    except (FileChanged, FileUnreadable):
        return False


def _open_both(path: Path, size: int) -> tuple[PartialFile, RangeJournal]:
    part = open_partial(path, size)
    try:
        return part, RangeJournal(journal_path(path))
    except OSError as error:
        part.close()
        raise disk_trouble(error, path) from None


def _remove_both(path: Path) -> None:
    path.unlink(missing_ok=True)
    journal_path(path).unlink(missing_ok=True)


def _choose(incoming: Path, name: str) -> str:
    incoming.mkdir(mode=0o755, parents=True, exist_ok=True)
    return str(safe_target(str(incoming), name))


def _node_size(nodes: bytes, size: int) -> int:
    """The span of one node of a level with that many nodes."""
    count = len(nodes) // DIGEST_SIZE
    return node_size_for(size, max(0, (count - 1).bit_length()))


def _leaf_check(tree: Tree, verified: RangeSet | None) -> LeafCheck:
    return LeafCheck(tree.size, tree.node_size, [tree.node(number) for number in range(tree.count)], verified)
