"""What a hash worker does, step by step: read a block, hash it, look for something more urgent.

`HashJobs` takes requests and gives replies, both plain dictionaries (hash_worker.py moves them through pipes, hashers.py makes
and reads them).  A step handles one block, so that a check of arriving data waits at most one block for the hashing of a shared
file.  Urgency: ranges that just arrived, then SHA-1s catching up, then whole files; within each, first come first served.

Requests carry `id`, `op` and the operation's own fields:
    file    path, size, mtime_ns (or None)                      -> sha1, tth, tree, size
    verify  path, offset, length, node_size, handle, expected   -> nodes, sha1_offset
    sha1    path, handle, upto, digest                          -> sha1_offset, digest
    cancel, close (handle): no reply
Replies are {"id", "ok"}, {"id", "done"} as a file proceeds, or {"id", "error", "text"}.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator
from typing import Any

from gnutella.errors import LocalMisuse
from gnutella.protocol.tth import BLOCK_SIZE, DIGEST_SIZE, TreeHasher, node_count
from gnutella.sharing.hashing import FileChanged, FileHasher, FileUnreadable

Request = dict[str, Any]
Reply = dict[str, Any]
Job = Generator[int | None, None, Reply]

#: SHA-1 states kept; a download holds one.  A state that is dropped is made again by reading from the start.
MAX_HANDLES = 256
#: Bytes between two notices of progress.
PROGRESS_STEP = 4 * 1024 * 1024
#: Nodes answered to one request; a served level has at most 2048 (depth 11).
MAX_NODES = 16384

_URGENCY = {"verify": 0, "sha1": 1, "file": 2}
_ERRORS = {FileChanged: "changed", FileUnreadable: "unreadable", LocalMisuse: "misuse"}


class _Sha1:
    """A SHA-1 over the first `offset` bytes of a file that still grows."""

    __slots__ = ("offset", "state")

    def __init__(self) -> None:
        self.state = hashlib.sha1(usedforsecurity=False)
        self.offset = 0

    def feed(self, block: memoryview, at: int) -> None:
        """Take what `block`, which begins at file offset `at`, adds on; nothing if it does not join."""
        if at <= self.offset < at + len(block):
            self.state.update(block[self.offset - at :])
            self.offset = at + len(block)

    def copy(self) -> _Sha1:
        other = _Sha1()
        other.state, other.offset = self.state.copy(), self.offset
        return other


class HashJobs:
    """Jobs of one worker; not safe for several threads."""

    def __init__(self) -> None:
        self._queues: tuple[deque[tuple[int, Job]], ...] = (deque(), deque(), deque())
        self._sha1s: OrderedDict[int, _Sha1] = OrderedDict()
        self._memory = bytearray(BLOCK_SIZE)
        self._view = memoryview(self._memory)

    @property
    def is_busy(self) -> bool:
        """Whether a step would do something."""
        return any(self._queues)

    def accept(self, request: Request) -> None:
        """Queue a request, or obey a cancel or close at once."""
        operation = request["op"]
        if operation == "cancel":
            for queue in self._queues:
                for entry in [entry for entry in queue if entry[0] == request["id"]]:
                    queue.remove(entry)
                    entry[1].close()
        elif operation == "close":
            self._sha1s.pop(request["handle"], None)
        else:
            make = {"file": self._file, "verify": self._verify, "sha1": self._sha1}[operation]
            self._queues[_URGENCY[operation]].append((request["id"], make(request)))

    def step(self) -> Reply | None:
        """Do one block of the most urgent job; what is to be told now, if anything."""
        queue = next((queue for queue in self._queues if queue), None)
        if queue is None:
            return None
        number, job = queue[0]
        try:
            done = next(job)
        except StopIteration as end:
            queue.popleft()
            return {"id": number, "ok": end.value}
        except (FileChanged, FileUnreadable, LocalMisuse) as wrong:
            queue.popleft()
            return {"id": number, "error": _ERRORS[type(wrong)], "text": str(wrong)}
        return None if done is None else {"id": number, "done": done}

    # -- the three operations ------------------------------------------------------------------------------------------

    def _file(self, request: Request) -> Job:
        path = request["path"]
        fd = _open(path)
        try:
            before = os.fstat(fd)
            _expect(request, before)
            hasher = FileHasher(before.st_size)
            told = 0
            for _, block in self._blocks(fd, 0, before.st_size):
                hasher.update(block)
                if hasher.done - told >= PROGRESS_STEP:
                    told = hasher.done
                    yield told
                else:
                    yield None
            _expect_unmoved(path, fd, before)
        finally:
            os.close(fd)
        found = hasher.finish()
        return {
            "sha1": found.sha1.hex(),
            "tth": found.tth.hex(),
            "tree": found.tree.hex(),
            "size": found.size,
        }

    def _verify(self, request: Request) -> Job:
        offset, length, node_size = request["offset"], request["length"], request["node_size"]
        _check_range(offset, length, node_size)
        wanted = None if request["expected"] is None else bytes.fromhex(request["expected"])
        if wanted is not None and len(wanted) != DIGEST_SIZE * node_count(length, node_size):
            raise LocalMisuse(f"{len(wanted)} bytes of expected nodes for {length} bytes in nodes of {node_size}")
        sha1 = None if request["handle"] is None else self._sha1_of(request["handle"])
        nodes = bytearray()
        fd = _open(request["path"])
        try:
            # A group is one large node in several blocks, or several small nodes in one block.
            group = max(node_size, BLOCK_SIZE)
            for start in range(offset, offset + length, group):
                kept = None if sha1 is None else sha1.copy()
                known = len(nodes)
                nodes += yield from self._group(fd, start, min(start + group, offset + length), node_size, sha1)
                is_wrong = wanted is not None and nodes[known:] != wanted[known : len(nodes)]
                if is_wrong and sha1 is not None and kept is not None:
                    # The SHA-1 must never have seen bytes that will be fetched again.
                    sha1.state, sha1.offset = kept.state, kept.offset
                    sha1 = None
        finally:
            os.close(fd)
        reached = self._sha1s.get(request["handle"]) if request["handle"] is not None else None
        return {"nodes": nodes.hex(), "sha1_offset": reached.offset if reached else 0}

    def _group(
        self, fd: int, start: int, stop: int, node_size: int, sha1: _Sha1 | None
    ) -> Generator[int | None, None, bytes]:
        """The joined nodes of one group, its bytes fed to `sha1` too."""
        tree = TreeHasher(node_size)
        for at, block in self._blocks(fd, start, stop - start):
            tree.update(block)
            if sha1 is not None:
                sha1.feed(block, at)
            yield None
        return tree.finish().nodes

    def _sha1(self, request: Request) -> Job:
        upto = request["upto"]
        sha1 = self._sha1_of(request["handle"])
        fd = _open(request["path"])
        try:
            # A check of arriving data may take the SHA-1 on while this waits, so ask anew for each block where it is.
            while sha1.offset < upto:
                for at, block in self._blocks(fd, sha1.offset, min(BLOCK_SIZE, upto - sha1.offset)):
                    sha1.feed(block, at)
                yield None
        finally:
            os.close(fd)
        if request["digest"] and sha1.offset != upto:
            raise LocalMisuse(f"the SHA-1 of {upto} bytes was asked for after {sha1.offset} bytes")
        return {"sha1_offset": sha1.offset, "digest": sha1.state.hexdigest() if request["digest"] else ""}

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _sha1_of(self, handle: int) -> _Sha1:
        found = self._sha1s.get(handle)
        if found is None:
            found = self._sha1s[handle] = _Sha1()
            if len(self._sha1s) > MAX_HANDLES:
                self._sha1s.popitem(last=False)
        self._sha1s.move_to_end(handle)
        return found

    def _blocks(self, fd: int, start: int, length: int) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of the range, block by block; a block's memory is used again for the next."""
        for at in range(start, start + length, BLOCK_SIZE):
            view = self._view[: min(BLOCK_SIZE, start + length - at)]
            _read_into(fd, view, at)
            yield at, view


def _open(path: str) -> int:
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as wrong:
        raise FileUnreadable(f"{path!r} cannot be opened: {_reason(wrong)}") from wrong
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileUnreadable(f"{path!r} is no regular file")
    return fd


def _read_into(fd: int, view: memoryview, at: int) -> None:
    filled = 0
    while filled < len(view):
        try:
            got = os.preadv(fd, [view[filled:]], at + filled)
        except OSError as wrong:
            raise FileUnreadable(f"reading at {at + filled} failed: {_reason(wrong)}") from wrong
        if not got:
            raise FileChanged(f"the file ends at {at + filled}, before the end of the range")
        filled += got


def _expect(request: Request, found: os.stat_result) -> None:
    for name, wanted, value in (
        ("size", request["size"], found.st_size),
        ("time of change", request["mtime_ns"], found.st_mtime_ns),
    ):
        if wanted is not None and wanted != value:
            raise FileChanged(f"the file's {name} moved from {wanted} to {value}")


def _expect_unmoved(path: str, fd: int, before: os.stat_result) -> None:
    """FileChanged if the file was written, replaced or removed since `before`."""
    after = os.fstat(fd)
    try:
        named = os.stat(path)
    except OSError as wrong:
        raise FileChanged(f"the file went away while it was hashed: {_reason(wrong)}") from wrong
    moved = (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
    if moved or (named.st_dev, named.st_ino) != (before.st_dev, before.st_ino):
        raise FileChanged("the file was changed while it was hashed")


def _check_range(offset: int, length: int, node_size: int) -> None:
    if offset < 0 or length <= 0 or node_size <= 0 or offset % node_size:
        raise LocalMisuse(f"bytes {offset}+{length} are no whole nodes of {node_size} bytes")
    if length > node_size * MAX_NODES:
        raise LocalMisuse(f"bytes {offset}+{length} have more than {MAX_NODES} nodes of {node_size} bytes")


def _reason(wrong: Exception) -> str:
    return (isinstance(wrong, OSError) and wrong.strerror) or str(wrong)


def split_nodes(joined: bytes) -> list[bytes]:
    """Digests of 24 bytes each."""
    return [joined[at : at + DIGEST_SIZE] for at in range(0, len(joined), DIGEST_SIZE)]
