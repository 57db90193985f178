"""What our files answer to, for the routing table: computed from each catalog in a worker thread, one at a time.

    words = OwnWords(workers, router.set_words, reactor, library_is_settled)
    words.library_changed(catalog)         # as often as it changes; catalogs that came meanwhile are skipped
    words.stop()

At the start nothing is told until the library is read, for HOLD_S at most: who has no table of ours sends us every query, who
has an empty one none, and a table that was just told is not told again for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.network.workers import Workers, WorkersStopped
from gnutella.protocol.qrp import hashes_of
from gnutella.protocol.urn import sha1_urn

#: The first table waits that long for a library that is still being read: less than ultrapeers wait for a leaf's table.
HOLD_S = 20.0
#: How often it is looked whether it is read.
LOOK_S = 0.5


class NamedFile(Protocol):
    """What is read of a shared file."""

    @property
    def name(self) -> str: ...
    @property
    def sha1(self) -> bytes | None: ...


class Files(Protocol):
    """The part of a catalog that is read; a snapshot, so that a thread may."""

    @property
    def files(self) -> Iterable[NamedFile]: ...


class OwnWords:
    """Tells `on_hashes` (in the reactor's thread) what the newest catalog answers to."""

    log = Logger()

    def __init__(
        self,
        workers: Workers,
        on_hashes: Callable[[Collection[int]], None],
        clock: Any,
        is_settled: Callable[[], bool],
    ) -> None:
        self._workers = workers
        self._on_hashes = on_hashes
        self._clock = clock
        self._is_settled = is_settled
        #: Until when the first table waits at most.
        self._held_until = 0.0
        self._look: Any = None
        self._has_begun = False
        self._is_busy = False
        self._last: Files | None = None
        self._next: Files | None = None

    def library_changed(self, catalog: Files) -> None:
        """Another snapshot is served; the same one again costs nothing."""
        if catalog is self._last:
            return
        self._last = catalog
        if self._is_busy:
            self._next = catalog
        elif self._has_begun:
            self._begin(catalog)
        elif self._look is None:
            self._held_until = self._clock.seconds() + HOLD_S
            self._look_again()

    async def stop(self) -> None:
        """Look no more whether the library is read."""
        if self._look is not None and self._look.active():
            self._look.cancel()

    def _look_again(self) -> None:
        assert self._last is not None
        if self._is_settled() or self._clock.seconds() >= self._held_until:
            self._has_begun = True
            self._begin(self._last)
        else:
            self._look = self._clock.callLater(LOOK_S, self._look_again)

    def _begin(self, catalog: Files) -> None:
        self._is_busy = True
        self._workers.run(_hashes, catalog).addCallbacks(self._on_hashes, self._failed).addBoth(self._done)

    def _failed(self, failure: Failure) -> None:
        if failure.check(WorkersStopped, CancelledError) is None:
            self.log.failure("the routing table of the library was not made", failure)

    def _done(self, outcome: object) -> None:
        self._is_busy = False
        catalog, self._next = self._next, None
        if isinstance(outcome, Failure):
            self.log.failure("a new routing table was not taken", outcome)
        if catalog is not None:
            self._begin(catalog)


def _hashes(catalog: Files) -> set[int]:
    """Everything that queries may ask of these files; microseconds a file."""
    names = {file.name for file in catalog.files}
    return hashes_of(names, (sha1_urn(file.sha1) for file in catalog.files if file.sha1 is not None))
