"""Watches directory trees with inotify and tells which paths need a look.

Only tells; what a path is now is for the reader to find out (sharing/scan.py), since any number of events may be folded into
one look.  When the kernel's queue overflows, or its limit of watches is reached, `on_event` is told so, and the owner walks
the trees on a timer instead.  Linux only; `TreeWatch.open` gives None elsewhere.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet import error
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath

try:
    from twisted.internet import inotify
except ImportError:  # pragma: no cover - other systems
    inotify = None  # type: ignore[assignment]

#: Directories watched; each costs about 1 KiB of kernel memory.  Kernels allow all programs of a user 65536 or more together.
MAX_WATCHES = 60_000

_EVENT = struct.Struct("=iIII")


class Sign(Enum):
    """What happened at a path."""

    FILE = "file"  #: a file was written, moved or linked here, or has gone
    TREE = "tree"  #: a directory came
    TREE_GONE = "tree_gone"  #: a directory went
    LOST = "lost"  #: events were lost: anything may have happened
    FULL = "full"  #: no more directories can be watched


OnEvent = Callable[[Sign, str], object]

if inotify is not None:
    _FILE_EVENTS = (
        inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM | inotify.IN_DELETE | inotify.IN_ATTRIB
    )
    _MASK = _FILE_EVENTS | inotify.IN_CREATE | inotify.IN_ONLYDIR | inotify.IN_DONT_FOLLOW
    _GONE = inotify.IN_DELETE | inotify.IN_MOVED_FROM
    _CAME = inotify.IN_CREATE | inotify.IN_MOVED_TO

    class _Reader(inotify.INotify):
        """Twisted's inotify, with its own reading of events.

        The stock one closes everything when one watched directory is deleted, and takes no notice of lost events.
        """

        def __init__(self, reactor: Any, on_event: OnEvent) -> None:
            super().__init__(reactor)  # type: ignore[no-untyped-call]
            self.on_event = on_event
            self.paths: dict[int, str] = {}
            self.numbers: dict[str, int] = {}

        def add(self, path: str) -> bool:
            """Watch one directory; False if that cannot be."""
            if path in self.numbers:
                return True
            if len(self.paths) >= MAX_WATCHES:
                return False
            try:
                number = self._inotify.add(self._fd, FilePath(os.fsencode(path)), _MASK)
            except inotify.INotifyError:
                # No errno comes with it.  A directory that has gone in the meantime is nothing to report.
                return not os.path.isdir(path)
            stale = self.paths.pop(number, None)
            if stale is not None:
                self.numbers.pop(stale, None)
            self.paths[number] = path
            self.numbers[path] = number
            return True

        def drop(self, path: str) -> None:
            """Watch a directory, and all beneath it, no more."""
            above = path + "/"
            for known in [known for known in self.numbers if known == path or known.startswith(above)]:
                number = self.numbers.pop(known)
                self.paths.pop(number, None)
                self._inotify.remove(self._fd, number)

        def _doRead(self, data: bytes) -> None:
            """The stock class calls this with whole events."""
            at = 0
            while at + _EVENT.size <= len(data):
                number, mask, _, size = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                self._event(number, mask, os.fsdecode(data[at : at + size].rstrip(b"\0")))
                at += size

        def _event(self, number: int, mask: int, name: str) -> None:
            if mask & inotify.IN_Q_OVERFLOW:
                self.on_event(Sign.LOST, "")
                return
            directory = self.paths.get(number)
            if directory is None:
                return
            if mask & inotify.IN_IGNORED:
                # The kernel gave the watch up: the directory is gone or its file system unmounted.
                self.paths.pop(number)
                self.numbers.pop(directory, None)
                self.on_event(Sign.TREE_GONE, directory)
                return
            if not name:
                return
            path = f"{directory}/{name}"
            if not mask & inotify.IN_ISDIR:
                if mask & _FILE_EVENTS:
                    self.on_event(Sign.FILE, path)
            elif mask & _GONE:
                self.drop(path)
                self.on_event(Sign.TREE_GONE, path)
            elif mask & _CAME:
                self.on_event(Sign.TREE, path)


class TreeWatch:
    """The watches of one library.  `close` gives the descriptor back."""

    def __init__(self, reader: Any, on_event: OnEvent) -> None:
        self._reader = reader
        self._on_event = on_event
        #: True once a directory could not be watched; the trees must then be walked now and then.
        self.is_full = False

    @classmethod
    def open(cls, reactor: Any, on_event: OnEvent) -> TreeWatch | None:
        """A watch that tells `on_event`; None where inotify is not to be had."""
        if inotify is None:
            return None
        try:
            reader = _Reader(reactor, on_event)
        except (inotify.INotifyError, OSError):
            return None
        reader.startReading()  # type: ignore[no-untyped-call]
        return cls(reader, on_event)

    def add(self, directory: str) -> None:
        """Watch one directory (not what is beneath it)."""
        if not self._reader.add(directory) and not self.is_full:
            self.is_full = True
            self._on_event(Sign.FULL, directory)

    def drop(self, directory: str) -> None:
        """Watch a directory, and all beneath it, no more."""
        self._reader.drop(directory)

    @property
    def count(self) -> int:
        """Directories watched."""
        return len(self._reader.paths)

    def close(self) -> None:
        """Give all watches back; no event comes after this."""
        self._reader.on_event = lambda sign, path: None
        self._reader.connectionLost(Failure(error.ConnectionDone()))
