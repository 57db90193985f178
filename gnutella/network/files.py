"""Files of transfers: partial files that grow, their way to their final place, and shared files opened for reading.

A partial file is DIR/incomplete/<SHA-1 in base32>.part, as long as the file from the start, so that a full disk shows before
anything is fetched.  Bytes are written where they belong, straight to the page cache, which outlives a killed process; they
are forced to the disk once, before the file gets its name.  It gets its name by a hard link, which never replaces anything;
on another file system (incoming/ on a larger disk) a copy of it does.

Functions that may wait for the disk are called through `Workers`; only `PartialFile.write` runs in the reactor's thread.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

from gnutella.errors import GnutellaError
from gnutella.protocol.urn import b32encode
from gnutella.units import format_size

SUFFIX = ".part"

#: Read and written at a time where a finished file must be copied.
COPY_BYTES = 1024 * 1024

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
#: Reasons for which a hard link cannot be made although the names are fine: FAT, some network mounts, some containers.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


class DiskTrouble(GnutellaError):
    """The disk does not take the file; the text is one line for people."""


def disk_trouble(error: OSError, path: Path, size: int = 0) -> DiskTrouble:
    """The readable form of a failed system call."""
    if error.errno in _NO_SPACE:
        needed = f": {format_size(size)} needed" if size else ""
        return DiskTrouble(f"disk full{needed} in {str(path.parent)!r}; free some space and resume")
    if error.errno == errno.EFBIG:
        return DiskTrouble(f"file of {format_size(size)} is larger than the file system of {str(path.parent)!r} takes")
    return DiskTrouble(f"cannot use {str(path)!r}: {error.strerror or error}")


def partial_path(directory: Path, sha1: bytes) -> Path:
    """Where the partial file of that content lies: a name made of the hash alone."""
    return directory / (b32encode(sha1) + SUFFIX)


class PartialFile:
    """An open partial file.  `is_new` says that it was not there, or not of this size, so that nothing in it counts."""

    def __init__(self, path: Path, size: int, fd: int, is_new: bool) -> None:
        self.path = path
        self.size = size
        self.is_new = is_new
        self._fd = fd

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Put `data` at `offset`; DiskTrouble when the disk does not take it."""
        try:
            written = os.pwrite(self._fd, data, offset)
            if written != len(data):
                view = memoryview(data)
                while written < len(view):
                    written += os.pwrite(self._fd, view[written:], offset + written)
        except OSError as error:
            raise disk_trouble(error, self.path) from None

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def sync(self) -> None:
        """Wait until the disk has it all."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise disk_trouble(error, self.path) from None


def open_partial(path: Path, size: int) -> PartialFile:
    """Open or make a partial file of `size` bytes, its space reserved.  DiskTrouble leaves no new file behind."""
    fd, is_new = -1, False
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise DiskTrouble(f"{str(path)!r} is no regular file")
        is_new = status.st_size != size or (size > 0 and not status.st_blocks)
        if is_new:
            os.ftruncate(fd, 0)
            _reserve(fd, size)
    except (OSError, DiskTrouble) as error:
        if fd >= 0:
            os.close(fd)
            if is_new:
                path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_trouble(error, path, size) from None
        raise
    return PartialFile(path, size, fd, is_new)


def _reserve(fd: int, size: int) -> None:
    if not size:
        return
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(fd, size)  # file systems that cannot reserve: a full disk shows while writing instead


def place(part: PartialFile, target: str) -> bool:
    """Give a complete partial file the name `target` and remove the partial one; False when that name is taken.

    The caller has recorded `target` durably before, so that a crash in between is understood (`find_placed`).
    """
    part.sync()
    try:
        _link(part.path, target)
        sync_directory(os.path.dirname(target))
        part.path.unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise disk_trouble(error, part.path, part.size) from None
    return True


def _link(source: Path, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            _copy(source, target)
            return
        if error.errno not in _NO_LINKS:
            raise
        _move(source, target)


def _move(source: str | Path, target: str) -> None:
    """Without hard links: take the name first, then put the file over our own empty placeholder."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    os.rename(source, target)


def _copy(source: Path, target: str) -> None:
    """To another file system: a whole copy beside `target` first, hidden so that nobody offers it, then the name."""
    copy = os.path.join(os.path.dirname(target), f".{source.name}")
    try:
        with open(source, "rb") as reader, open(copy, "wb") as writer:
            shutil.copyfileobj(reader, writer, COPY_BYTES)
            writer.flush()
            os.fsync(writer.fileno())
        try:
            os.link(copy, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _move(copy, target)
    finally:
        Path(copy).unlink(missing_ok=True)


def sync_directory(directory: str) -> None:
    """Wait until the disk has the directory's entries."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def find_placed(part_path: Path, announced: str, size: int) -> bool:
    """After a restart: whether `announced` is the finished file, of which then only the partial name may have to go.

    True when both names are one file, or when only the announced one is there with the right size (its content is hashed by
    the caller).
    """
    try:
        target = os.stat(announced, follow_symlinks=False)
    except OSError:
        return False
    if not stat.S_ISREG(target.st_mode) or target.st_size != size:
        return False
    try:
        part = os.stat(part_path, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if (part.st_dev, part.st_ino) == (target.st_dev, target.st_ino):
        part_path.unlink(missing_ok=True)
        return True
    return False


class SharedHandle:
    """A shared file opened for sending.  It goes on being the file that was hashed, or says that it is not."""

    def __init__(self, path: str, size: int, mtime_ns: int) -> None:
        """OSError if it cannot be opened.  `mtime_ns` is the time of change when it was hashed, 0 if unknown."""
        # Without O_NONBLOCK a pipe that took the file's place would hang us.
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        self.path = path
        self._size = size
        self._mtime_ns = mtime_ns

    def is_unchanged(self) -> bool:
        """Whether size and time of change are those of the hashed file."""
        status = os.fstat(self.fd)
        return (
            stat.S_ISREG(status.st_mode) and status.st_size == self._size and self._mtime_ns in (0, status.st_mtime_ns)
        )

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
