"""Walks the shared directories and says which files may be offered, and why others are not.

A file is offered when it is a regular, readable file of at least one byte in a shared directory or beneath, neither hidden
nor unfinished.  Links are never followed: one that leads out would offer what nobody shared, one that stays inside leads to
a file that is offered anyway.  A walk goes in steps, so that a worker thread can be asked for a little at a time; each step
compares what it finds with the catalog and returns only what is new or changed.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from gnutella.sharing.catalog import Catalog
from gnutella.sharing.paths import MAX_NAME_BYTES, shown_name

#: Directories within directories; deeper ones are loops of bind mounts or somebody's accident.
MAX_DEPTH = 32
#: Directory entries that one step looks at.
STEP_ENTRIES = 2000
#: Endings of files that other programs have not finished writing.
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".!ut", ".!qb", ".!bt", ".aria2", ".tmp")


class Refusal(Enum):
    """Why a file or directory is not offered; the values are shown in the library's status."""

    HIDDEN = "hidden"
    UNFINISHED = "unfinished"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    NOT_REGULAR = "not_regular"
    LINK = "link"
    LINK_OUTSIDE = "link_outside"
    PRIVATE = "private"
    NAME_TOO_LONG = "name_too_long"
    TOO_DEEP = "too_deep"
    TOO_MANY = "too_many"


class Found(NamedTuple):
    """A file that may be offered once it is hashed."""

    path: str
    directory: str
    relative: str
    name: str
    size: int
    mtime_ns: int


class Seen(NamedTuple):
    """What one step of a walk brought: files that the catalog has not like this, and directories with their time of change."""

    changed: list[Found]
    directories: list[tuple[str, int]]


class Rules(NamedTuple):
    """What a walk must know: the shared directories, directories that are never offered, and how many files there may be."""

    shares: tuple[str, ...]
    private: frozenset[str] = frozenset()
    max_files: int = 1_000_000

    def share_of(self, path: str) -> str | None:
        """The shared directory that holds `path`; the innermost, if one is within another."""
        holding = [share for share in self.shares if path.startswith(share + "/")]
        return max(holding, key=len, default=None)


def examine(path: str, share: str) -> Found | Refusal | None:
    """The file at `path` in the shared directory `share`; None if nothing is there (any more), or a directory."""
    name = os.path.basename(path)
    refusal = _refused_name(name)
    if refusal:
        return refusal
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Refusal.UNREADABLE
    if stat.S_ISDIR(status.st_mode):
        return None
    return _refused_status(path, share, status) or Found(
        path, share, path[len(share) + 1 :], shown_name(name), status.st_size, status.st_mtime_ns
    )


def _refused_name(name: str) -> Refusal | None:
    if name.startswith("."):
        return Refusal.HIDDEN
    if name.lower().endswith(UNFINISHED):
        return Refusal.UNFINISHED
    if len(shown_name(name).encode("utf-8")) > MAX_NAME_BYTES:
        return Refusal.NAME_TOO_LONG
    return None


def _refused_status(path: str, share: str, status: os.stat_result) -> Refusal | None:
    if stat.S_ISLNK(status.st_mode):
        return _refused_link(path, share)
    if not stat.S_ISREG(status.st_mode):
        return Refusal.NOT_REGULAR
    if not status.st_mode & 0o444 or not os.access(path, os.R_OK):
        return Refusal.UNREADABLE
    if not status.st_size:
        return Refusal.EMPTY
    return None


def _refused_link(path: str, share: str) -> Refusal:
    target = os.path.realpath(path)
    return Refusal.LINK if target.startswith(share + "/") else Refusal.LINK_OUTSIDE


class Walk:
    """One walk over `starts` (default: all shared directories).  `catalog` is the snapshot it compares with.

    Only one thread may call `step` at a time.  `refused` counts what is not offered.
    """

    def __init__(self, rules: Rules, catalog: Catalog, starts: Iterable[str] | None = None) -> None:
        self.refused: Counter[Refusal] = Counter()
        #: Shared directories that could not be read at all.
        self.missing: list[str] = []
        self._rules = rules
        self._catalog = catalog
        self._seen = bytearray()
        self._files = 0
        self._entries = self._all_entries(list(rules.shares if starts is None else starts))
        self._directories: list[tuple[str, int]] = []
        self.is_done = False

    def step(self, entries: int = STEP_ENTRIES) -> Seen:
        """Look at some more directory entries."""
        changed: list[Found] = []
        for _ in range(entries):
            try:
                found = next(self._entries)
            except StopIteration:
                self.is_done = True
                break
            if found is not None and self._is_new(found):
                changed.append(found)
        directories, self._directories = self._directories, []
        return Seen(changed, directories)

    def gone(self) -> list[int]:
        """Indexes of the catalog that this walk, which must have been over everything, did not meet."""
        seen = self._seen
        return [index for index in self._catalog.indexes() if index >= len(seen) or not seen[index]]

    def _is_new(self, found: Found) -> bool:
        if self._files >= self._rules.max_files:
            self.refused[Refusal.TOO_MANY] += 1
            return False
        self._files += 1
        known = self._catalog.by_path(found.path)
        if known is None:
            return True
        if known.index >= len(self._seen):
            self._seen.extend(bytes(known.index + 1024 - len(self._seen)))
        self._seen[known.index] = 1
        return (known.size, known.mtime_ns) != (found.size, found.mtime_ns)

    def _all_entries(self, starts: Collection[str]) -> Iterator[Found | None]:
        """Each entry of each directory: a file that may be offered, else None."""
        for start in starts:
            share = start if start in self._rules.shares else self._rules.share_of(start)
            if share is None or (start != share and not self._may_enter(start, share)):
                continue
            waiting = [start]
            while waiting:
                yield from self._entries_of(waiting.pop(), share, waiting)

    def _may_enter(self, path: str, share: str) -> bool:
        refusal: Refusal | None = None
        if path in self._rules.private:
            refusal = Refusal.PRIVATE
        elif any(part.startswith(".") for part in path[len(share) + 1 :].split("/")):
            refusal = Refusal.HIDDEN
        elif path.count("/") - share.count("/") > MAX_DEPTH:
            refusal = Refusal.TOO_DEEP
        if refusal:
            self.refused[refusal] += 1
        # A share within a share is walked on its own.
        return refusal is None and path not in self._rules.shares

    def _entries_of(self, path: str, share: str, waiting: list[str]) -> Iterator[Found | None]:
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(path)
            # The time is taken before the listing: what comes in after it makes the time move.
            self._directories.append((path, status.st_mtime_ns))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if self._may_enter(entry.path, share):
                            waiting.append(entry.path)
                        yield None
                        continue
                    found = examine(entry.path, share)
                    if isinstance(found, Refusal):
                        self.refused[found] += 1
                    yield found if isinstance(found, Found) else None
        except OSError:
            self.refused[Refusal.UNREADABLE] += 1
            if path == share:
                self.missing.append(share)
