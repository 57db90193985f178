"""How fast contents are named: SHA-1, tiger tree, both in one read, and through a worker process.

    python benchmarks/hashing.py [--mib 512] [--backend librhash]

MB/s are 10^6 bytes a second of CPU time (user + system), so that a busy machine does not blur them; for the worker, of its own
CPU time, with the elapsed time beside it.  The file is read from the page cache.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from gnutella.network.hashers import HashWorkers
from gnutella.protocol import tiger_backends
from gnutella.protocol.tth import BLOCK_SIZE, TreeHasher, node_size_for
from gnutella.sharing.hashing import FileHasher

MIB = 1024 * 1024
#: What plain Python gets instead of --mib; it takes a second for each 2.7 MB.
SLOW_MIB = 8
#: What arrives between two checks of a download.
ARRIVAL = 4 * MIB


def rate(size: int, feed: Callable[[bytes], object]) -> float:
    """MB/s of CPU time for `size` bytes in blocks that lie in the cache, as they do after a read."""
    block = os.urandom(BLOCK_SIZE)
    start = time.process_time()
    for _ in range(size // BLOCK_SIZE):
        feed(block)
    return size / (time.process_time() - start) / 1e6


def in_process(name: str, mib: int) -> None:
    """The three figures of one back end."""
    os.environ[tiger_backends.ENVIRONMENT] = name
    tiger_backends.backend.cache_clear()
    tiger_backends.backend()
    size = (SLOW_MIB if name == "python" else mib) * MIB
    tree = rate(size, TreeHasher(node_size_for(size)).update)
    sha1 = rate(mib * MIB, hashlib.sha1().update)
    both = rate(size, FileHasher(size).update)
    print(f"{name:10}  tree alone {tree:7.1f}   SHA-1 alone {sha1:7.1f}   both {both:7.1f} MB/s", flush=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def through_worker(reactor: Any, names: Sequence[str], mib: int) -> None:
    """A whole file, and a download's checks as its data arrives, for each back end."""
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            os.environ[tiger_backends.ENVIRONMENT] = name
            size = (SLOW_MIB if name == "python" else mib) * MIB
            path = os.path.join(directory, name)
            block = os.urandom(MIB)
            with open(path, "wb") as file:
                for _ in range(size // MIB):
                    file.write(block)
            workers = HashWorkers(reactor)
            await workers.hash_nodes(path, 0, 1024, 1024)  # the process is up
            (pid,) = workers.pids
            cpu, clock = cpu_seconds(pid), time.perf_counter()
            names_found = await workers.hash_file(path)
            middle, middle_clock = cpu_seconds(pid), time.perf_counter()
            tree, handle = names_found.as_tree(), workers.open_sha1(path)
            step = max(ARRIVAL, tree.node_size)
            await gatherResults(
                workers.verify(path, at, min(step, size - at), tree.node_size, handle) for at in range(0, size, step)
            )
            assert await handle.digest(size) == names_found.sha1
            end, end_clock = cpu_seconds(pid), time.perf_counter()
            await workers.stop()
            os.unlink(path)
            print(
                f"{name:10}  whole file {size / (middle - cpu) / 1e6:7.1f} ({size / (middle_clock - clock) / 1e6:.1f} elapsed)"
                f"   arriving, checked and SHA-1 {size / (end - middle) / 1e6:7.1f}"
                f" ({size / (end_clock - middle_clock) / 1e6:.1f} elapsed) MB/s",
                flush=True,
            )


def main() -> None:
    """Print the figures of every back end that is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512, help="MiB hashed by each library (default 512)")
    parser.add_argument("--backend", choices=list(tiger_backends.BACKENDS), help="only this one")
    options = parser.parse_args()
    wanted = [options.backend] if options.backend else list(tiger_backends.BACKENDS)
    names = [name for name in wanted if tiger_backends.load(name) is not None]
    chosen = os.environ.get(tiger_backends.ENVIRONMENT, "")
    print(f"chosen by itself: {tiger_backends.choose(chosen).name}; installed: {', '.join(names)}\nin this process:")
    for name in names:
        in_process(name, options.mib)
    print("through one worker process (MB/s of its CPU time):")
    react(lambda reactor: Deferred.fromCoroutine(through_worker(reactor, names, options.mib)))


if __name__ == "__main__":
    main()
