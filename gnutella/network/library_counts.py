"""How often each shared file was hit and uploaded, by SHA-1: counted in memory, added to state.db now and then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.network import library_store
from gnutella.network.store import Store

#: Seconds after which counts are written; a kill loses no more than these.
FLUSH_S = 30.0


class FileCounts:
    """Hits and uploads of files."""

    _log = Logger()

    def __init__(self, reactor: Any, store: Store) -> None:
        self._reactor = reactor
        self._store = store
        self._kept: dict[bytes, tuple[int, int]] = {}
        self._added: dict[bytes, tuple[int, int]] = {}
        self._call: IDelayedCall | None = None

    async def start(self) -> None:
        """Read what was counted before."""
        self._kept = await self._store.run(library_store.load_counts)

    async def stop(self) -> None:
        """Write what was counted."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        await self._write()

    def of(self, sha1: bytes | None) -> tuple[int, int]:
        """Hits and uploads of a file."""
        hits, uploads = self._kept.get(sha1 or b"", (0, 0))
        more_hits, more_uploads = self._added.get(sha1 or b"", (0, 0))
        return hits + more_hits, uploads + more_uploads

    def count_hits(self, sha1s: Iterable[bytes]) -> None:
        """These files were told to somebody who searched."""
        for sha1 in sha1s:
            self._add(sha1, 1, 0)

    def count_upload(self, sha1: bytes) -> None:
        """Somebody fetched this file, or a part of it."""
        self._add(sha1, 0, 1)

    def _add(self, sha1: bytes, hits: int, uploads: int) -> None:
        before = self._added.get(sha1, (0, 0))
        self._added[sha1] = (before[0] + hits, before[1] + uploads)
        if self._call is None:
            self._call = self._reactor.callLater(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._call = None
        Deferred.fromCoroutine(self._write()).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("counts of files could not be kept", failure=failure)

    async def _write(self) -> None:
        added, self._added = self._added, {}
        if not added:
            return
        for sha1, (hits, uploads) in added.items():
            before = self._kept.get(sha1, (0, 0))
            self._kept[sha1] = (before[0] + hits, before[1] + uploads)
        await self._store.run(lambda connection: library_store.add_counts(connection, added))
