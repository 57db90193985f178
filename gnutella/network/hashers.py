"""Hashing in child processes, so that neither the reactor nor its interpreter lock ever waits for it.

    hashers = HashWorkers(reactor, count=1)
    found = await hashers.hash_file("/share/a.ogg", progress=print)
    handle = hashers.open_sha1(part)
    checked = await hashers.verify(part, offset, length, node_size, handle, expected_nodes)
    await hashers.stop()

Children start with the first job.  One that dies is replaced and its jobs are tried once more; a job in whose company two
children died fails with HashWorkerLost.  With `inline=True` every job runs at once in the caller, for tests without processes.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorProcess, IReactorTime

from gnutella.errors import GnutellaError, LocalMisuse
from gnutella.network.hash_child import Child, Job
from gnutella.network.hash_jobs import HashJobs, Reply, Request, split_nodes
from gnutella.sharing.hashing import FileHash

#: Jobs waiting here; a library's scan queues file by file, a download its checks as data arrives.
MAX_WAITING = 100_000
#: A job is given to a second child when its first one died, not to a third.
MAX_ATTEMPTS = 2
#: Seconds a child has to end after its stdin was closed; it looks after each block.
STOP_TIMEOUT_S = 5.0


class HashWorkerLost(GnutellaError):
    """The worker died, and so did the one that tried again."""


class HashingStopped(GnutellaError):
    """The hashers were stopped before the job was done."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The nodes of a range, and how far the SHA-1 given along has come (0 without one)."""

    nodes: list[bytes]
    sha1_offset: int


class Sha1Handle:
    """A SHA-1 that follows a growing file from its start, so that the end of a download needs no second read.

    The state lives in a worker; where it is lost with the worker, the next call makes it again from the file.  `offset` is the
    number of bytes taken so far as last heard.  Close it when the download is over.
    """

    def __init__(self, owner: HashWorkers, number: int, path: str) -> None:
        self._owner = owner
        self.number = number
        self.path = path
        self.offset = 0

    async def _ask(self, upto: int, digest: bool) -> Reply:
        request = {"op": "sha1", "path": self.path, "handle": self.number, "upto": upto, "digest": digest}
        reply = await self._owner.submit(request)
        self.offset = reply["sha1_offset"]
        return reply

    def advance(self, upto: int) -> Deferred[int]:
        """Take the file's bytes up to `upto`, which must be there and right; the offset reached."""

        async def ask() -> int:
            return int((await self._ask(upto, False))["sha1_offset"])

        return Deferred.fromCoroutine(ask())

    def digest(self, size: int) -> Deferred[bytes]:
        """The SHA-1 of the first `size` bytes, reading those that were not taken yet.  FileChanged if the file is shorter."""

        async def ask() -> bytes:
            return bytes.fromhex((await self._ask(size, True))["digest"])

        return Deferred.fromCoroutine(ask())

    def rewind(self) -> None:
        """Begin anew: bytes that were taken turned out to be wrong."""
        self._owner.forget_sha1(self.number)
        self.offset = 0

    def close(self) -> None:
        """Give the state up."""
        self._owner.forget_sha1(self.number)


class HashWorkers:
    """`count` worker processes, and the jobs that wait for them.  Checks of arriving data go before whole files."""

    def __init__(self, reactor: Any, count: int = 1, *, inline: bool = False) -> None:
        self._reactor = reactor
        self._count = count
        self._inline = HashJobs() if inline else None
        self._children: list[Child | None] = [None] * count
        self._ending: list[Deferred[None]] = []
        self._checks: deque[Job] = deque()
        self._files: deque[Job] = deque()
        self._numbers = itertools.count(1)
        self._is_stopped = False

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def hash_file(
        self,
        path: str,
        size: int | None = None,
        mtime_ns: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Deferred[FileHash]:
        """SHA-1, TTH and the served level of the tree, in one read.

        FileChanged if the file is not of that `size` and `mtime_ns` (where given) or changes while it is read; FileUnreadable
        if it is gone, forbidden or no regular file.  `progress(bytes done)` is called every 4 MiB.  Cancelling stops the work.
        """

        async def ask() -> FileHash:
            request = {"op": "file", "path": path, "size": size, "mtime_ns": mtime_ns}
            found = await self.submit(request, progress)
            sha1, tth, tree = (bytes.fromhex(found[key]) for key in ("sha1", "tth", "tree"))
            return FileHash(sha1, tth, tree, found["size"])

        return Deferred.fromCoroutine(ask())

    def verify(
        self,
        path: str,
        offset: int,
        length: int,
        node_size: int,
        handle: Sha1Handle | None = None,
        expected: Sequence[bytes] | None = None,
    ) -> Deferred[Verified]:
        """Read a range once: its tree nodes, and the SHA-1 of `handle` taken on where the range joins it.

        `offset` is a multiple of `node_size`; a shorter last node is right only at the end of the file.  With `expected`, the
        SHA-1 takes nothing from the first wrong group of nodes on (a group is a node, or 256 KiB of smaller ones).  Without
        it, the caller must `rewind` the handle if the nodes turn out wrong.
        """

        async def ask() -> Verified:
            request = {
                "op": "verify",
                "path": path,
                "offset": offset,
                "length": length,
                "node_size": node_size,
                "handle": None if handle is None else handle.number,
                "expected": None if expected is None else b"".join(expected).hex(),
            }
            found = await self.submit(request)
            if handle is not None:
                handle.offset = found["sha1_offset"]
            return Verified(split_nodes(bytes.fromhex(found["nodes"])), found["sha1_offset"])

        return Deferred.fromCoroutine(ask())

    def hash_nodes(self, path: str, offset: int, length: int, node_size: int) -> Deferred[list[bytes]]:
        """The tree nodes of a range: `verify` without a SHA-1."""

        async def ask() -> list[bytes]:
            return (await self.verify(path, offset, length, node_size)).nodes

        return Deferred.fromCoroutine(ask())

    def open_sha1(self, path: str) -> Sha1Handle:
        """A SHA-1 that will follow the file at `path` as it grows."""
        return Sha1Handle(self, next(self._numbers), path)

    def forget_sha1(self, number: int) -> None:
        """Drop a handle's state (Sha1Handle.close and rewind call this)."""
        request = {"op": "close", "handle": number}
        if self._inline is not None:
            self._inline.accept(request)
        elif (child := self._children[number % self._count]) is not None:
            child.tell(request)

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Jobs waiting or being worked on."""
        return len(self._checks) + len(self._files) + sum(child.load for child in self._children if child is not None)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [child.pid for child in self._children if child is not None and child.pid is not None]

    def stop(self) -> Deferred[None]:
        """Fail what is not done with HashingStopped and end the children; fires when all are gone."""

        async def wait() -> None:
            for child in children:
                if child is not None:
                    self._end(child, jobs)
            for job in jobs:
                job.deferred.errback(HashingStopped("the node is stopping"))
            await DeferredList(self._ending)

        jobs = [*self._checks, *self._files]
        children = [] if self._is_stopped else self._children
        self._is_stopped = True
        self._checks.clear()
        self._files.clear()
        return Deferred.fromCoroutine(wait())

    def _end(self, child: Child, jobs: list[Job]) -> None:
        jobs += child.close()
        ended: Deferred[None] = Deferred()
        patience = cast(IReactorTime, self._reactor).callLater(STOP_TIMEOUT_S, child.kill)

        def note(_: None) -> None:
            if patience.active():
                patience.cancel()
            ended.callback(None)

        child.ended.addCallback(note)
        self._ending.append(ended)

    # -- giving out ----------------------------------------------------------------------------------------------------

    def submit(self, request: Request, progress: Callable[[int], object] | None = None) -> Deferred[Reply]:
        """Queue a request of hash_jobs.py; its `ok` reply."""
        if self._is_stopped:
            raise HashingStopped("the node is stopping")
        if len(self._checks) + len(self._files) >= MAX_WAITING:
            raise LocalMisuse(f"more than {MAX_WAITING} hash jobs wait")
        request["id"] = next(self._numbers)
        deferred: Deferred[Reply] = Deferred(lambda _: self._cancel(job))
        job = Job(request, deferred, progress)
        if self._inline is not None:
            self._run_inline(self._inline, job)
            return deferred
        (self._files if job.is_file else self._checks).append(job)
        self._dispatch()
        return deferred

    @staticmethod
    def _run_inline(jobs: HashJobs, job: Job) -> None:
        jobs.accept(job.request)
        while jobs.is_busy:
            reply = jobs.step()
            if reply is not None:
                job.take(reply)

    def _dispatch(self) -> None:
        """Hand out what the children have room for, in order; a queue waits when its first job does."""
        for queue in (self._checks, self._files):
            while queue and not self._is_stopped:
                child = self._child_for(queue[0])
                if child is None:
                    break
                child.give(queue.popleft())

    def _child_for(self, job: Job) -> Child | None:
        """The child to take `job`: the one with its SHA-1 if it has one, else the one with least to do."""
        handle: int | None = job.request.get("handle")
        if handle is not None:
            places = [handle % self._count]
        else:
            places = sorted(range(self._count), key=lambda i: child.load if (child := self._children[i]) else 0)
        for place in places:
            child = self._children[place]
            if child is None:
                child = self._children[place] = Child(self._dispatch, self._child_ended)
                child.start(cast(IReactorProcess, self._reactor))
            if child.has_room(job):
                return child
        return None

    def _child_ended(self, child: Child, jobs: list[Job]) -> None:
        """Forget a child that ended; its jobs go first in the queue, but not to a third child."""
        self._children[self._children.index(child)] = None
        for job in reversed(jobs):
            if job.attempts < MAX_ATTEMPTS:
                (self._files if job.is_file else self._checks).appendleft(job)
            else:
                job.deferred.errback(HashWorkerLost("the hash worker died twice over this job"))
        self._dispatch()

    def _cancel(self, job: Job) -> None:
        """Called by Deferred.cancel, which then fails the Deferred."""
        for queue in (self._checks, self._files):
            if job in queue:
                queue.remove(job)
                return
        for child in self._children:
            if child is not None:
                child.take_back(job.number)
        self._dispatch()
