"""Threads for what would block the reactor: SQLite, directory walks, reading a local file's tree.

The only module that starts threads.  A `Workers` is a small pool of its own, so that a slow directory walk never queues
behind the name resolver, nor the other way round.  `inline=True` runs each job at once in the caller, for tests on a fake
clock.  Hashing does not belong here: it holds the interpreter and has processes of its own (network/hashers.py).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnutella.errors import GnutellaError

P = ParamSpec("P")
T = TypeVar("T")

#: Enough for one directory walk beside one short job; the machine's cores belong to the reactor and to the hashers.
DEFAULT_THREADS = 2


class ThreadCaller(Protocol):
    """The part of the reactor that is used here."""

    def callFromThread(self, callable: Callable[..., object], *args: object) -> object: ...


class WorkersStopped(GnutellaError):
    """A job was given to, or still waited in, a pool that has been stopped."""


class _Job:
    """One call: its work, and the way to deliver its outcome in the reactor thread."""

    __slots__ = ("call", "deliver", "is_cancelled")

    def __init__(self, call: Callable[[], object], deliver: Callable[[object], None]) -> None:
        self.call = call
        self.deliver = deliver
        self.is_cancelled = False


class Workers:
    """A pool of at most `count` threads, started when first needed.  `count=1` keeps the order of its jobs."""

    def __init__(
        self,
        reactor: ThreadCaller,
        *,
        count: int = DEFAULT_THREADS,
        inline: bool = False,
        name: str = "gnutella-worker",
    ) -> None:
        self._reactor = reactor
        self._count = count
        self._inline = inline
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._is_stopped = False
        self._all_ended: Deferred[None] = Deferred()

    @property
    def pending(self) -> int:
        """Jobs that are queued or running."""
        return self._unfinished

    def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call `fn` in a thread; its result or exception arrives in the reactor thread.

        Cancelling drops a job that has not begun; one that runs goes on, and its result is thrown away.
        """
        if self._is_stopped:
            return defer.fail(WorkersStopped(f"{self._name} has been stopped"))
        if self._inline:
            return defer.execute(fn, *args, **kwargs)
        job = _Job(lambda: fn(*args, **kwargs), lambda _: None)

        def cancel(_: Deferred[T]) -> None:
            job.is_cancelled = True

        result: Deferred[T] = Deferred(cancel)

        def deliver(outcome: object) -> None:
            self._unfinished -= 1
            if not job.is_cancelled:
                result.callback(outcome)  # type: ignore[arg-type]

        job.deliver = deliver
        self._unfinished += 1
        self._jobs.put(job)
        if len(self._threads) < min(self._count, self._unfinished):
            self._start_thread()
        return result

    def stop(self, *, finish: bool = False) -> Deferred[None]:
        """Take no more jobs; fires when the running ones, and with `finish` the queued ones, are done.

        Without `finish` the queued ones fail with WorkersStopped.
        """
        if self._is_stopped:
            return defer.succeed(None)
        self._is_stopped = True
        if not finish:
            self._fail_queued()
        if not self._threads:
            return defer.succeed(None)
        for _ in self._threads:
            self._jobs.put(None)
        return self._all_ended

    def _fail_queued(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                job.deliver(Failure(WorkersStopped(f"{self._name} has been stopped")))

    def _start_thread(self) -> None:
        # A daemon thread, so that a job which hangs in the kernel (a dead network mount) cannot keep the process alive.
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.is_cancelled:
                outcome: object = None
            else:
                try:
                    outcome = job.call()
                except BaseException:  # noqa: BLE001 - not swallowed: it is the Deferred's failure
                    outcome = Failure()
            self._reactor.callFromThread(job.deliver, outcome)
        self._reactor.callFromThread(self._thread_ended, threading.current_thread())

    def _thread_ended(self, thread: threading.Thread) -> None:
        thread.join()
        self._threads.remove(thread)
        if not self._threads:
            self._all_ended.callback(None)
