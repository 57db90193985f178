"""The hash worker's process: requests in on stdin, replies out on stdout, one JSON object a line.

Started by hashers.py as `python -m gnutella.network.hash_worker`.  It runs below normal priority, uses one core, opens files
for reading only, and ends when its stdin does, so that it never outlives the node.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys

from gnutella.network.hash_jobs import HashJobs

#: Added to the process's niceness: hashing a library must not slow down what the person does meanwhile.
NICENESS = 5
#: Longest request: one with MAX_NODES expected digests in hex, and a path.
MAX_LINE = 1024 * 1024
_READ = 65536


def serve(source: int, target: int) -> int:
    """Work until `source` ends; the exit status, 1 for a line that cannot be a request of ours."""
    jobs = HashJobs()
    waiting = bytearray()
    poller = select.poll()
    poller.register(source, select.POLLIN)
    while True:
        if poller.poll(0 if jobs.is_busy else None):
            data = os.read(source, _READ)
            if not data:
                return 0
            waiting += data
            *lines, rest = waiting.split(b"\n") if b"\n" in data else [waiting]
            waiting = bytearray(rest)
            if len(waiting) > MAX_LINE:
                return 1
            for line in lines:
                jobs.accept(json.loads(line))
        reply = jobs.step()
        if reply is not None:
            _write(target, json.dumps(reply).encode("ascii") + b"\n")


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def main() -> int:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the node, which then closes our stdin
    os.nice(NICENESS)
    try:
        return serve(0, 1)
    except BrokenPipeError:  # the node is gone
        return 0


if __name__ == "__main__":
    sys.exit(main())
