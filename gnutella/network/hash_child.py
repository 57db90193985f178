"""The node's end of one hash worker process: jobs handed over, replies taken, its death noticed.

hashers.py decides which child gets which job; hash_worker.py is the other end of the pipes.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import gnutella
from gnutella.errors import GnutellaError, LocalMisuse
from gnutella.network.hash_jobs import Reply, Request
from gnutella.sharing.hashing import FileChanged, FileUnreadable

#: Requests a child holds at a time: enough that it never waits for us, few enough that little is lost with it.
MAX_CHECKS_IN_CHILD = 16
MAX_FILES_IN_CHILD = 4
#: A reply's longest line; MAX_NODES digests in hex are a fifth of it.
MAX_REPLY = 4 * 1024 * 1024
_MAX_LOGGED = 500
_MODULE = "gnutella.network.hash_worker"

_ERRORS: dict[str, type[GnutellaError]] = {
    "changed": FileChanged,
    "unreadable": FileUnreadable,
    "misuse": LocalMisuse,
}


def child_environment() -> dict[str, str]:
    """Ours, and where the child finds this very package when it is run from a checkout rather than installed."""
    here = str(Path(gnutella.__file__).resolve().parent.parent)
    if here in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}


class Job:
    """One request, who waits for its answer, and how often it was tried."""

    __slots__ = ("attempts", "deferred", "progress", "request")

    def __init__(
        self, request: Request, deferred: Deferred[Reply], progress: Callable[[int], object] | None = None
    ) -> None:
        self.request = request
        self.deferred = deferred
        self.progress = progress
        self.attempts = 0

    @property
    def number(self) -> int:
        """The id that its replies carry."""
        return int(self.request["id"])

    @property
    def is_file(self) -> bool:
        """Whether it hashes a whole file: the least urgent kind."""
        return bool(self.request["op"] == "file")

    def take(self, reply: Reply) -> None:
        """Progress, the result, or the error."""
        if "done" in reply:
            if self.progress is not None:
                self.progress(reply["done"])
        elif "ok" in reply:
            self.deferred.callback(reply["ok"])
        else:
            self.deferred.errback(Failure(_ERRORS[reply["error"]](reply["text"])))


class Child(ProcessProtocol):
    """One worker process.  `on_room` is called when it answered, `on_end(child, unfinished jobs)` when it has ended."""

    log = Logger()

    def __init__(self, on_room: Callable[[], None], on_end: Callable[[Child, list[Job]], None]) -> None:
        self._on_room = on_room
        self._on_end = on_end
        self._received = b""
        self._jobs: dict[int, Job] = {}
        self._is_closing = False
        self.ended: Deferred[None] = Deferred()

    def start(self, reactor: IReactorProcess) -> None:
        """Make the process.  -P: nothing is imported from the working directory, which may hold other people's files."""
        args = [sys.executable, "-P", "-m", _MODULE]
        reactor.spawnProcess(
            self, sys.executable, args=args, env=child_environment(), childFDs={0: "w", 1: "r", 2: "r"}
        )

    @property
    def pid(self) -> int | None:
        """Process id; None once it has ended."""
        return cast("int | None", self._process.pid)

    @property
    def load(self) -> int:
        """Jobs it holds."""
        return len(self._jobs)

    def has_room(self, job: Job) -> bool:
        """Whether it takes another job of this kind."""
        files = sum(held.is_file for held in self._jobs.values())
        if job.is_file:
            return files < MAX_FILES_IN_CHILD
        return len(self._jobs) - files < MAX_CHECKS_IN_CHILD

    def give(self, job: Job) -> None:
        """Hand over a job."""
        job.attempts += 1
        self._jobs[job.number] = job
        self.tell(job.request)

    def take_back(self, number: int) -> None:
        """Drop a job, here and there."""
        if self._jobs.pop(number, None) is not None:
            self.tell({"op": "cancel", "id": number})

    def tell(self, request: Request) -> None:
        """Send one line; nothing once it was told to end."""
        if not self._is_closing:
            self._process.writeToChild(0, json.dumps(request).encode("ascii") + b"\n")

    def close(self) -> list[Job]:
        """Tell it to end; the jobs that it did not finish."""
        self._is_closing = True
        jobs, self._jobs = list(self._jobs.values()), {}
        self._process.closeStdin()
        return jobs

    def kill(self) -> None:
        """End it by force."""
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass  # it was quicker

    @property
    def _process(self) -> Any:
        return self.transport

    def outReceived(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        if len(self._received) > MAX_REPLY:
            self.log.error("a hash worker's reply has no end; the worker is killed")
            self.kill()
            return
        for line in lines:
            reply = json.loads(line)
            number = reply["id"]
            job = self._jobs.get(number) if "done" in reply else self._jobs.pop(number, None)
            if job is not None:  # else it was cancelled meanwhile
                job.take(reply)
        if lines:
            self._on_room()

    def errReceived(self, data: bytes) -> None:
        self.log.warn("a hash worker says {text!r}", text=data[-_MAX_LOGGED:])

    def processEnded(self, reason: Failure) -> None:
        jobs, self._jobs = list(self._jobs.values()), {}
        if not self._is_closing:
            self.log.warn("a hash worker ended: {reason}", reason=reason.getErrorMessage())
        self._is_closing = True
        self._on_end(self, jobs)
        self.ended.callback(None)
