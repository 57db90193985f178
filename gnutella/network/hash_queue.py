"""Files of the library that wait for their hashes, and those that are being hashed.

Feeds the hash workers a few files at a time, in the order they were found, and tells what came out.  A file that changes
while it is hashed is told as changed, so that its owner looks again later; one that cannot be read is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.protocol.tth import FileHash
from gnutella.sharing.hashing import FileChanged, FileUnreadable
from gnutella.sharing.scan import Found

#: Files given to the workers at once for each worker: the next one waits in its pipe, so that small files go fast.
DEPTH = 4


class FileHashers(Protocol):
    """The part of HashWorkers that is used here."""

    def hash_file(
        self,
        path: str,
        size: int | None = None,
        mtime_ns: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Deferred[FileHash]: ...


class HashQueue:
    """See the module text.  `on_hashed(found, hash)` and `on_changed(found)` are called in the reactor thread."""

    _log = Logger()

    def __init__(
        self,
        hashers: FileHashers,
        workers: int,
        on_hashed: Callable[[Found, FileHash], object],
        on_changed: Callable[[Found], object],
    ) -> None:
        self._hashers = hashers
        self._width = workers * DEPTH
        self._on_hashed = on_hashed
        self._on_changed = on_changed
        self._waiting: dict[str, Found] = {}
        self._running: dict[str, tuple[Found, Deferred[None]]] = {}
        self._progress: dict[str, int] = {}
        self._is_stopped = False
        self._is_feeding = False
        #: Files that could not be read.
        self.unreadable = 0

    @property
    def pending(self) -> int:
        """Files that wait or are being hashed."""
        return len(self._waiting) + len(self._running)

    @property
    def current(self) -> str:
        """The path that has been worked on the longest, or nothing."""
        return next(iter(self._running), "")

    @property
    def done_bytes(self) -> int:
        """Bytes hashed so far of the files that are being hashed."""
        return sum(self._progress.values())

    def add(self, found: Found) -> None:
        """Hash this file; an older state of the same path is forgotten."""
        running = self._running.get(found.path)
        if running is not None:
            if running[0] == found:
                return
            running[1].cancel()
        self._waiting[found.path] = found
        self._feed()

    def discard(self, is_unwanted: Callable[[Found], bool]) -> None:
        """Forget files that wait, and stop those that are being hashed."""
        self._waiting = {path: found for path, found in self._waiting.items() if not is_unwanted(found)}
        for found, job in list(self._running.values()):
            if is_unwanted(found):
                job.cancel()

    def stop(self) -> None:
        """Forget and stop everything; nothing is told after this."""
        self._is_stopped = True
        self.discard(lambda _: True)

    def _feed(self) -> None:
        if self._is_feeding:
            return  # a job that ended at once; the loop below goes on
        self._is_feeding = True
        while self._waiting and len(self._running) < self._width and not self._is_stopped:
            path = next((path for path in self._waiting if path not in self._running), None)
            if path is None:
                break
            self._start(self._waiting.pop(path))
        self._is_feeding = False

    def _start(self, found: Found) -> None:
        path = found.path

        def note(done: int) -> None:
            if path in self._running:
                self._progress[path] = done

        hashing = self._hashers.hash_file(path, found.size, found.mtime_ns, note)
        told: Deferred[None] = hashing.addCallbacks(
            self._hashed, self._failed, callbackArgs=(found,), errbackArgs=(found,)
        )
        if not told.called:
            self._running[path] = (found, told)
        told.addBoth(self._ended, path)

    def _hashed(self, result: FileHash, found: Found) -> None:
        if not self._is_stopped:
            self._on_hashed(found, result)

    def _failed(self, failure: Failure, found: Found) -> None:
        if self._is_stopped or failure.check(CancelledError):
            return
        if failure.check(FileChanged):
            self._on_changed(found)
            return
        self.unreadable += 1
        if not failure.check(FileUnreadable):
            self._log.warn("cannot hash {path}: {why}", path=repr(found.path)[:300], why=failure.getErrorMessage())

    def _ended(self, result: object, path: str) -> None:
        self._running.pop(path, None)
        self._progress.pop(path, None)
        if isinstance(result, Failure):
            self._log.failure("a file was hashed and could not be taken", failure=result)
        self._feed()
