"""One download on its way: opens the partial file, has it filled and checked, and gives the finished file its name.

`DownloadRun` moves a `transfers.download.Download` through its life.  `Sourcing` talks to sources, `Assembly` keeps the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import GnutellaError
from gnutella.network import transfer_store
from gnutella.network.assembly import Assembly, Callbacks, Disk, was_placed
from gnutella.network.sourcing import Outside, Sourcing
from gnutella.protocol.tth import Tree
from gnutella.reasons import DropReason
from gnutella.transfers.download import Download
from gnutella.transfers.lifetime import Input, State
from gnutella.transfers.sources import Phase, Source

#: Share of a new measurement in the smoothed speed.
SPEED_SHARE = 0.3
#: The SHA-1 of nothing: an empty file needs no source.
EMPTY_SHA1 = bytes.fromhex("da39a3ee5e6b4b0d3255bfef95601890afd80709")
#: Largest size believed of a source: what a signed 64-bit file offset can name.
MAX_SIZE = 2**63 - 1

Emit = Callable[[str, Mapping[str, object]], None]
Adopt = Callable[[str, bytes, bytes | None], object]


@dataclass(frozen=True, slots=True)
class Around:
    """What every run of a node shares."""

    disk: Disk
    outside: Outside
    emit: Emit
    #: A finished file: path, SHA-1, TTH.
    adopt: Adopt
    #: Whether that run may take a slot now; and what to call when one is free again.
    may_start: Callable[[], bool]
    freed: Callable[[], None]


class DownloadRun:
    """See the module text.  Calls come from the service (user, clock) and from below (Sourcing, Assembly)."""

    log = Logger()

    def __init__(self, around: Around, download: Download) -> None:
        self._around = around
        self.download = download
        self.sourcing = Sourcing(around.outside, download, self)
        self._assembly: Assembly | None = None
        self._is_opening = False
        self._is_pumping = False
        self._is_closing = False
        self._is_finishing = False
        self._is_stopped = False
        #: Held while the file is opened, and while it gets its name: that is not to be interrupted.
        self._file_lock = DeferredLock()
        self._has_rechecked = False
        self._tree_source: Source | None = None
        self._recent = 0
        self._last_progress = -1
        self._quiet_s = 0

    # -- what the service does -------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether it uses a slot: it has sources at work, or is being verified."""
        return self.download.sources.busy() > 0 or self._is_finishing or self._is_opening

    def pump(self) -> None:
        """Go on, as far as possible now."""
        if self._is_pumping:
            return  # a dial that failed at once; what it leaves to do is done a second later at most
        self._is_pumping = True
        try:
            self._pump(self.is_busy or self._around.may_start())
        finally:
            self._is_pumping = False

    def _pump(self, may_start: bool) -> None:
        download = self.download
        if download.size is None and download.sha1 == EMPTY_SHA1:
            download.size = 0
        if not download.is_active or self._is_finishing or self._is_opening or self._is_closing or self._is_stopped:
            return
        self._look_at_sources()
        if self._assembly is None and download.size is not None:
            is_whole = download.size == download.downloaded or download.path is not None
            if is_whole or download.sources.busy() or (may_start and download.sources.ready(self._now())):
                self._spawn(self._open(download.size), "open")
            return
        if self._assembly is not None and self._assembly.is_ready:
            self._finish()
        elif self._assembly is not None or download.sources.usable():
            self.sourcing.pump(may_start)

    def tick(self, now: float) -> None:
        """Every second."""
        download = self.download
        if self._assembly is not None:
            have = self._assembly.plan.have.total
            download.speed += (max(0, have - download.downloaded) - download.speed) * SPEED_SHARE
            self._quiet_s = 0 if have != download.downloaded else self._quiet_s + 1
            download.downloaded = have
            self._assembly.tick()
        if not download.is_active:
            return
        self.sourcing.tick(now)
        if download.state is State.TRANSFERRING and (self._quiet_s > 3 or not self.sourcing.connected):
            self._happened(Input.SILENCE)
        self._progress()

    def _progress(self) -> None:
        download = self.download
        if download.downloaded != self._last_progress and download.is_active:
            self._last_progress = download.downloaded
            keys = ("id", "name", "downloaded", "size", "speed")
            row = download.row(self._now())
            self._around.emit("download_progress", {key: row[key] for key in keys})

    async def pause(self) -> None:
        """Stop; what is on disk stays."""
        await self._settled()
        if self._happened(Input.PAUSE):
            await self._store_state()
            await self._close()

    async def resume(self) -> None:
        """Go on after a pause or a failure."""
        self.download.sources.wake()
        if self._happened(Input.RESUME):
            self.download.restarts = 0
            await self._store_state()
        self.pump()

    async def cancel(self) -> None:
        """Forget it and remove its partial file."""
        await self._settled()
        was_done = self.download.state is State.DONE
        self._happened(Input.CANCEL)
        self.sourcing.stop()
        assembly, self._assembly = self._assembly, None
        if assembly is None and not was_done:
            assembly = Assembly(self._around.disk, self.download.sha1, self.download.size or 0, self._callbacks())
        if assembly is not None:
            await assembly.remove()
        await self._run(transfer_store.remove, download_id=self.download.id, sha1=self.download.sha1)
        self._around.emit("download_cancelled", {"id": self.download.id, "name": self.download.name})

    async def stop(self) -> None:
        """The node stops: record what is there, close everything."""
        await self._settled()
        self._is_stopped = True
        await self._close()

    async def _settled(self) -> None:
        """Wait while the file is being opened or getting its name."""
        await self._file_lock.acquire()
        self._file_lock.release()

    async def _close(self) -> None:
        self.sourcing.stop()
        self.sourcing.assembly = None
        assembly, self._assembly = self._assembly, None
        if assembly is not None:
            self.download.downloaded = assembly.plan.have.total
            self._is_closing = True
            try:
                await assembly.close()
            finally:
                self._is_closing = False
            self.pump()  # it may have been resumed meanwhile

    # -- what Sourcing tells ---------------------------------------------------------------------------------------------

    def size_known(self, size: int) -> None:
        """A source told the size."""
        if self.download.size is None and size <= MAX_SIZE:
            self.download.size = size
            self._spawn(self._run(transfer_store.set_size, download_id=self.download.id, size=size), "size")

    def tree_known(self, tree: Tree, source: Source) -> None:
        """A source gave the tree."""
        if self._assembly is None or self._assembly.leaves is not None:
            return
        self._tree_source = source
        sha1, size = self.download.sha1, tree.size
        self._spawn(self._run(transfer_store.save_tree, sha1=sha1, tth=tree.root, size=size, nodes=tree.nodes), "tree")
        self.download.tth = self.download.tth or tree.root
        self._assembly.use_tree(tree)

    def moved(self) -> None:
        """Something changed below: the state may, too."""
        download = self.download
        if not download.is_active or self._is_finishing:
            return
        if (
            self._assembly is not None
            and self._assembly.plan.have.total > download.downloaded
            and self.sourcing.connected
        ):
            self._happened(Input.SOURCES)
            self._happened(Input.BYTES)
        self.pump()

    def dropped(self, source: Source) -> None:
        """A source will not be asked again."""
        reason = source.reason.value if source.reason else ""
        self._around.emit("source_dropped", {"id": self.download.id, "address": source.label, "reason": reason})

    # -- what Assembly tells ---------------------------------------------------------------------------------------------

    def _callbacks(self) -> Callbacks:
        return Callbacks(self._advanced, self._wrong_bytes, self._fail)

    def _advanced(self) -> None:
        if self._assembly is not None and self.download.is_active and not self._is_finishing:
            if self._assembly.is_ready:
                self._finish()
            else:
                self.sourcing.pump(may_dial=False)

    def _wrong_bytes(self, culprits: set[int], is_tree_doubtful: bool) -> None:
        if is_tree_doubtful:
            self._doubt_tree()
            return
        for key in culprits:
            source = self.download.sources.get(key)
            if source is not None and source.phase is not Phase.DROPPED:
                self.sourcing.drop(source, DropReason.SOURCE_CORRUPT)

    def _doubt_tree(self) -> None:
        """Different sources contradict the tree: do without one; the SHA-1 of the whole file decides."""
        download = self.download
        if self._assembly is None or download.distrusts_trees:
            return
        download.distrusts_trees = True
        self._spawn(self._run(transfer_store.drop_tree, sha1=download.sha1), "tree")
        self._assembly.drop_tree()
        download.pardon()
        if self._tree_source is not None:
            self.sourcing.drop(self._tree_source, DropReason.SOURCE_CORRUPT)
            self._tree_source = None

    def _fail(self, error: GnutellaError) -> None:
        """The disk or the store does not go on."""
        if self._is_stopped:
            return  # what fails because the node stops is no state to be kept
        self.download.error = str(error)
        if self._happened(Input.FAIL):
            data = {"id": self.download.id, "name": self.download.name, "error": self.download.error}
            self._around.emit("download_failed", data)
            self._spawn(self._store_state(), "state")
            self._spawn(self._close(), "close")

    # -- opening and finishing -------------------------------------------------------------------------------------------

    async def _open(self, size: int) -> None:
        self._is_opening = True
        download, disk = self.download, self._around.disk
        try:
            if download.path is not None and await was_placed(disk, download.sha1, download.path, size):
                await self._run(transfer_store.finish, download_id=download.id, sha1=download.sha1)
                self._placed(download.path)
                return
            download.path = None
            assembly = Assembly(disk, download.sha1, size, self._callbacks())
            await self._file_lock.run(Deferred.fromCoroutine, assembly.open())
            if not download.is_active or self._is_stopped:  # paused, removed, or the node stops, meanwhile
                await (assembly.remove() if download.state is State.CANCELLED else assembly.close())
                return
            self._assembly = self.sourcing.assembly = assembly
            download.downloaded = assembly.plan.have.total
        except GnutellaError as error:
            self._fail(error)
        finally:
            self._is_opening = False
        self.pump()

    def _finish(self) -> None:
        self._is_finishing = True
        self._happened(Input.COMPLETE)
        self.sourcing.stop()
        self._spawn(self._verify_and_place(), "finish")

    async def _verify_and_place(self) -> None:
        assembly, download = self._assembly, self.download
        assert assembly is not None
        try:
            is_right = await assembly.has_right_sha1()
            if download.state is not State.VERIFYING or self._is_stopped:
                return
            if not is_right:
                self._wrong_file(assembly)
                return
            await self._file_lock.acquire()
            try:
                path = await assembly.publish(download.id, download.name)
                self._assembly = self.sourcing.assembly = None
                self._placed(path)
            finally:
                self._file_lock.release()
        except GnutellaError as error:
            self._fail(error)
        finally:
            self._is_finishing = False
        self.pump()

    def _placed(self, path: str) -> None:
        download = self.download
        download.path, download.downloaded = path, download.size or 0
        if download.state is not State.VERIFYING:
            self._happened(Input.COMPLETE)
        self._happened(Input.RIGHT)
        keys = ("id", "name", "size", "path")
        row = download.row(self._now())
        self._around.emit("download_finished", {key: row[key] for key in keys})
        self._around.adopt(path, download.sha1, download.tth)
        self._around.outside.reactor.callLater(0, self._around.freed)

    def _wrong_file(self, assembly: Assembly) -> None:
        """All bytes are there, and the SHA-1 is another."""
        download = self.download
        self._happened(Input.WRONG)
        if assembly.leaves is not None and not self._has_rechecked:
            # A power cut may have taken leaves that had been found right: look at all of them once more.
            self._has_rechecked = True
            assembly.leaves.forget()
            assembly.check()
            return
        contributors = set(assembly.contributors)
        if assembly.leaves is not None:
            self._doubt_tree()
        reason = download.wrong_file(contributors)
        for source in download.sources:
            if source.phase is Phase.DROPPED and source.key in contributors:
                self.dropped(source)
        assembly.discard_all()
        if reason is not None:
            self._fail(GnutellaError(f"the file was wrong {download.restarts} times: {reason.meaning}"))

    # -- state -----------------------------------------------------------------------------------------------------------

    def _look_at_sources(self) -> None:
        download = self.download
        if download.sources.usable():
            self._happened(Input.SOURCES)
            return
        is_corrupt = any(source.reason is DropReason.SOURCE_CORRUPT for source in download.sources)
        if is_corrupt and self._assembly is not None and self._assembly.leaves is not None and not self._is_finishing:
            # Nobody agrees with the tree: rather doubt the tree than stop here for ever.
            self._doubt_tree()
        elif not (self._assembly is not None and self._assembly.plan.is_complete):
            self._happened(Input.NO_SOURCES)

    def _happened(self, event: Input) -> bool:
        if not self.download.happened(event):
            return False
        data = {"id": self.download.id, "name": self.download.name, "state": self.download.state.value}
        self._around.emit("download_state", data)
        return True

    async def _store_state(self) -> None:
        download = self.download
        await self._run(
            transfer_store.set_state, download_id=download.id, state=download.state.value, error=download.error
        )

    async def _run(self, function: Callable[..., None], **values: Any) -> None:
        await self._around.disk.store.run(partial(function, **values), durable=True)

    def _spawn(self, coroutine: Any, what: str) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(self._spawn_failed, what)

    def _spawn_failed(self, failure: Failure, what: str) -> None:
        self.log.failure("download {id}: {what}", failure=failure, id=self.download.id, what=what)
        self._fail(failure.value if isinstance(failure.value, GnutellaError) else GnutellaError("see the log"))

    def _now(self) -> float:
        return float(self._around.outside.reactor.seconds())
