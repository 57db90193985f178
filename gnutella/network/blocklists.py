"""The blocklists of one node: read in a worker, watched for changes, asked before anything is dialled, taken or believed.

A list that cannot be read keeps the one that was read before it, and its row says why.  Lists are the user's own files; what
they name is blocked, private addresses and loopback included.
"""

from __future__ import annotations

import gzip
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.network.workers import Workers
from gnutella.routing.blocklist import MAX_LINE, BlockList, BrokenList, parse_blocklist

#: Bytes of a list, inflated: five times the largest public one.
MAX_BYTES = 256 * 1024 * 1024
#: Lists at a time; each address is looked up in all of them.
MAX_LISTS = 16
#: Seconds between two looks whether a file has changed.
LOOK_S = 5.0
#: Lines after which the worker lets the reactor thread run, and for how long it does.
LINES_AT_ONCE = 2000
PAUSE_S = 0.001
_GZIP = b"\x1f\x8b"

Row = dict[str, object]
#: What tells one version of a file from another; None: there is no file.
_Stamp = tuple[int, int, int] | None


@dataclass(slots=True)
class _Source:
    """One file; `blocks` is what was last read of it without fault."""

    path: str
    blocks: BlockList | None = None
    stamp: _Stamp = None
    error: str = ""
    loaded_at: float | None = None
    blocked: int = 0

    def row(self) -> Row:
        """Keys path, state (ok, broken, or kept: the last good one holds), ranges, bad_lines, blocked, loaded, error."""
        blocks = self.blocks
        state = "ok" if not self.error else "broken" if blocks is None else "kept"
        return {
            "path": self.path,
            "state": state,
            "ranges": 0 if blocks is None else len(blocks),
            "bad_lines": 0 if blocks is None else blocks.bad_lines,
            "blocked": self.blocked,
            "loaded": self.loaded_at,
            "error": self.error,
        }


class Blocklists:
    """See the module text.  `changed` is called after lists were read anew; `clock` gives the time of the epoch."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        workers: Workers,
        paths: Iterable[str] = (),
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workers = workers
        self._sources: dict[str, _Source] = {path: _Source(path) for path in list(paths)[:MAX_LISTS]}
        self._changed = changed
        self._clock = clock
        self._lock = DeferredLock()
        self._looks = LoopingCall(self._look)
        self._looks.clock = reactor

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read every list, then look now and then whether one has changed."""
        await self.reload()
        self._looks.start(LOOK_S, now=False).addErrback(self._look_failed)

    async def stop(self) -> None:
        """Look no more."""
        if self._looks.running:
            self._looks.stop()

    def use_paths(self, paths: Iterable[str]) -> bool:
        """Take these files from now on, known ones with what was read of them; True if there are new ones to be read."""
        known = self._sources
        self._sources = {path: known.get(path) or _Source(path) for path in list(paths)[:MAX_LISTS]}
        return self._sources.keys() != known.keys()

    # -- questions -----------------------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return any(source.blocks for source in self._sources.values())

    def blocks(self, host: str) -> bool:
        """Whether some list has this IP; names are on none."""
        for source in self._sources.values():
            if source.blocks is not None and source.blocks.find(host) is not None:
                source.blocked += 1
                return True
        return False

    def check(self, host: str) -> Row:
        """Which list has this IP, and on which line: address, blocked, path, line."""
        for source in self._sources.values():
            if source.blocks is not None and (line := source.blocks.find(host)) is not None:
                return {"address": host, "blocked": True, "path": source.path, "line": line}
        return {"address": host, "blocked": False, "path": "", "line": None}

    def rows(self) -> list[Row]:
        """Each list, in the order of the setting."""
        return [source.row() for source in self._sources.values()]

    # -- reading -------------------------------------------------------------------------------------------------------

    def reload(self, *, only_changed: bool = False) -> Deferred[list[Row]]:
        """Read all lists, or those whose file has changed; their rows.  Never fails for what stands in them."""
        return Deferred.fromCoroutine(self._reload(only_changed=only_changed))

    async def _reload(self, *, only_changed: bool) -> list[Row]:
        await self._lock.acquire()
        try:
            any_read = False
            for source in list(self._sources.values()):
                known = source.stamp if only_changed else False
                stamp, blocks, error = await self._workers.run(_read, source.path, known)
                if not only_changed or stamp != source.stamp:
                    self._take(source, stamp, blocks, error)
                    any_read = True
            if any_read:
                self._changed()
        finally:
            self._lock.release()
        return self.rows()

    def _take(self, source: _Source, stamp: _Stamp, blocks: BlockList | None, error: str) -> None:
        source.stamp, source.error = stamp, error
        if blocks is not None:
            source.blocks, source.loaded_at = blocks, round(self._clock(), 3)
            self.log.info("blocklist {path!r}: {count} ranges", path=source.path, count=len(blocks))
        else:
            kept = "nothing is blocked by it" if source.blocks is None else "the one read before is kept"
            self.log.error("blocklist {path!r}: {error}; {kept}", path=source.path, error=error, kept=kept)

    def _look(self) -> Deferred[list[Row]] | None:
        """Not while a long list is still being read."""
        return None if self._lock.locked or not self._sources else self.reload(only_changed=True)

    def _look_failed(self, failure: Failure) -> None:
        self.log.failure("blocklists are not watched any more", failure)


def _read(path: str, known: _Stamp | bool) -> tuple[_Stamp, BlockList | None, str]:
    """In a worker: the file's stamp, and its ranges or what is wrong; neither when the stamp is `known`."""
    stamp: _Stamp = None
    try:
        found = os.stat(path)
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp == known:
            return stamp, None, ""
        with open(path, "rb") as file:
            head = file.read(2)
            if not head:
                return stamp, None, "the file is empty; to block nothing, take it out of safety.blocklists"
            file.seek(0)
            if head != _GZIP:
                return stamp, parse_blocklist(_lines(file)), ""
            with gzip.GzipFile(fileobj=file) as inflated:
                return stamp, parse_blocklist(_lines(inflated)), ""
    except BrokenList as error:
        return stamp, None, str(error)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return stamp, None, "the compressed file is cut short or damaged"
    except OSError as error:
        return stamp, None, error.strerror or str(error)


def _lines(file: Any) -> Iterator[bytes]:
    """Lines of at most MAX_LINE bytes, what is longer is passed over; gives way to the reactor thread now and then."""
    left = MAX_BYTES
    number = 0
    while line := file.readline(MAX_LINE):
        left -= len(line)
        number += 1
        yield line
        while len(line) == MAX_LINE and line[-1:] != b"\n":
            line = file.readline(MAX_LINE)
            left -= len(line)
        if left < 0:
            raise BrokenList(f"more than {MAX_BYTES} bytes")
        if number % LINES_AT_ONCE == 0:
            time.sleep(PAUSE_S)
