"""Files of this machine's user: those that are published or shared, as they are read, and those that are fetched, as they grow.

What is read has to be a regular file, and the same from its first byte to its last.  What is fetched grows as a hidden file,
named after a hash of its key, and gets its name when all of it is there; a later try goes on with it in place, so however often
the program is killed, no more is fetched again than what was not yet written.

Functions here block for some file I/O; those that read or write contents are for a worker thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from gnutella.errors import UserError
from gnutella.network.files import sync_directory
from gnutella.sharing.paths import safe_target

PARTIAL: Final = ".partial-"
#: What nobody has gone on with for so long is removed: as long as most keys are asked for at all (descriptors last as long).
PARTIAL_KEPT_S: Final = 7 * 86_400.0
#: Opening waits for nobody (a FIFO's writer, a modem), and makes no terminal ours.
_OPENING: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


# -- files that are read -----------------------------------------------------------------------------------------------


def path_of(text: str) -> Path:
    """What the user means, with ~ for a home directory that is there."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody has that name
        return Path(text)


class OpenFile:
    """A regular file, opened: `size` bytes, which must stay as they are.  OSError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | _OPENING)
        except ValueError as error:  # a path with a zero byte in it
            raise OSError(errno.EINVAL, str(error), str(path)) from None
        try:
            self._mark = self._look()
        except OSError:
            self.close()
            raise
        self.size = self._mark[0]
        self._read = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def _look(self) -> tuple[int, int]:
        """Size and time of change."""
        status = os.fstat(self._fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self._path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(self._path))
        return status.st_size, status.st_mtime_ns

    def read(self, count: int) -> bytes:
        """The next bytes, as many as there are, b"" at the end; UserError if the file has changed.  OSError."""
        found = bytearray()
        # No more than one byte more than there should be, or who writes faster than we read is read for ever.
        wanted = min(count, self.size - self._read + 1)
        while len(found) < wanted and (piece := os.read(self._fd, wanted - len(found))):
            found += piece
        self._read += len(found)
        self._sha1.update(found)
        is_end = len(found) < wanted
        if self._read > self.size or (is_end and (self._read != self.size or self._look() != self._mark)):
            raise UserError(
                f"{self._path.name} changed while it was read", "ask again when nobody writes to it any more", 1
            )
        return bytes(found)

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes from the middle, whether or not the file has changed.  OSError."""
        return os.pread(self._fd, count, offset)

    def again(self) -> None:
        """Read it from its first byte again."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._read = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    @property
    def sha1(self) -> bytes:
        """Of all that was read: what the plain overlay knows the file by."""
        return self._sha1.digest()

    def close(self) -> None:
        """No more is read; harmless when it is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_at(path: Path, offset: int, count: int) -> bytes:
    """Bytes from the middle of a regular file.  OSError."""
    file = OpenFile(path)
    try:
        return file.read_at(offset, count)
    finally:
        file.close()


def unreadable(path: Path, error: OSError) -> UserError:
    """Why a file of the user's cannot be read, for the person."""
    code = os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_USAGE
    return UserError(f"{path} cannot be read: {error.strerror or error}", "name a file that you may read", code)


# -- files that are fetched --------------------------------------------------------------------------------------------


def open_partial(directory: Path, routing: bytes, number: int, in_use: Collection[Path]) -> tuple[Path, int]:
    """The hidden file of that key, and its descriptor: what an earlier try left, if nobody uses it, or a new one.  OSError."""
    name = PARTIAL + hashlib.sha256(b"arl1-partial" + routing).hexdigest()[:32]
    left = [path for path in directory.glob(f"{name}-*") if path not in in_use and _is_plain(path)]
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    if not left:
        path = directory / f"{name}-{number}"
        return path, os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    best = max(left, key=lambda path: path.stat().st_size)
    fd = os.open(best, flags)
    # It counts as new, so that nobody takes it for one that is left.
    os.utime(fd)
    return best, fd


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def write_at(fd: int, data: bytes, offset: int) -> None:
    """All of it, there.  OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def name_partial(partial: Path, fd: int, size: int, directory: Path, name: str) -> str:
    """Close a partial file that is whole, and give it a name that nothing has yet; its path.  OSError."""
    try:
        # An earlier try may have left something behind the end, if the disk has garbled it.
        os.ftruncate(fd, size)
        os.fsync(fd)
    finally:
        os.close(fd)
    target = safe_target(str(directory), name)
    os.replace(partial, target)
    sync_directory(str(directory))
    return target


def write_whole(directory: Path, name: str, data: bytes, number: int) -> str:
    """A file with that content, which has its name when all of it is there; its path.  OSError."""
    partial = directory / f"{PARTIAL}document-{number}"
    # One thread writes all of them, so whatever has this name is of an earlier run.
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_at(fd, data, 0)
    except OSError:
        os.close(fd)
        partial.unlink(missing_ok=True)
        raise
    return name_partial(partial, fd, len(data), directory, name)


def remove_stale(directory: Path, in_use: Collection[Path], now: float) -> int:
    """Remove partial files that nobody has written to for PARTIAL_KEPT_S; how many those were."""
    removed = 0
    for path in directory.glob(f"{PARTIAL}*"):
        with suppress(OSError):
            if path not in in_use and now - path.lstat().st_mtime > PARTIAL_KEPT_S:
                path.unlink()
                removed += 1
    return removed


def unwritable(name: str, error: OSError) -> UserError:
    """Why a fetched file cannot be kept, for the person."""
    if error.errno in _NO_SPACE:
        return UserError(f"disk full: no room for {name}", "free some space, and ask for it again", os.EX_CANTCREAT)
    what = f"cannot write {name}: {error.strerror or error}"
    return UserError(what, "mend that, and ask for it again", os.EX_CANTCREAT)
