"""The blocks that answer others, on disk, and reached from the reactor through one thread.

    blocks = DiskBlocks(directory, salt, place, workers, woken, capacities)
    await blocks.open()

What is asked for twice at the same time is read once.  When more waits than the disk takes, what passes by is not kept any
more, and what is to be stored is refused: the route says so, and another node keeps it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from anonymizer.blocks import Outcome
from anonymizer.ssk import merge
from anonymizer.store import BlockStore, Nearest, Recent
from anonymizer.wire import BlockType
from gnutella.network.workers import WorkersStopped

#: Blocks that wait to be written, 8 MiB; and keys that wait to be looked for.
MAX_WRITES: Final = 256
MAX_READS: Final = 1_024

T = TypeVar("T")


class Runs(Protocol):
    """A thread that does one thing after the other."""

    def run(self, fn: Callable[..., T], *args: object) -> Deferred[T]: ...


class DiskBlocks:
    """seams.Blocks on two BlockStores below `directory`: `cache` for what passed by, `store` for what belongs near `place`.

    `runs` has one thread only; `woken` is called after answers that came late, for what they have led to.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        salt: bytes,
        place: int,
        runs: Runs,
        woken: Callable[[], None],
        capacities: tuple[int, int],
    ) -> None:
        self._runs, self._woken = runs, woken
        self._cache = BlockStore(directory / "cache", salt, Recent(), capacities[0])
        self._store = BlockStore(directory / "store", salt, Nearest(place), capacities[1])
        self._reading: dict[tuple[int, bytes], list[Callable[[tuple[bytes, ...]], None]]] = {}
        self._writing = 0
        self._is_failing = False
        #: What became of what was asked: each outcome, and busy.
        self.counts: Counter[str] = Counter()

    def open(self) -> Deferred[None]:
        """Find what is there.  Fails with OSError where the directories cannot be used."""
        return self._runs.run(self._open)

    def _open(self) -> None:
        self._cache.open()
        self._store.open()

    @property
    def held(self) -> dict[str, int]:
        """Blocks on disk, by place."""
        return {"cache": len(self._cache), "store": len(self._store)}

    @property
    def failures(self) -> int:
        """Blocks that the disk did not take, or gave back torn or not at all."""
        lost = sum(store.counts[word] for store in (self._cache, self._store) for word in ("torn", "unreadable"))
        return self.counts[Outcome.DISK.value] + lost

    def get(self, type: BlockType, routing: bytes, done: Callable[[tuple[bytes, ...]], None]) -> None:
        """See seams.Blocks."""
        key = (int(type), routing)
        if key in self._reading:
            self._reading[key].append(done)
            return
        if len(self._reading) >= MAX_READS:
            self.counts["busy"] += 1
            done(())
            return
        self._reading[key] = [done]
        self._runs.run(self._get, *key).addCallbacks(
            self._found, self._not_found, callbackArgs=(key,), errbackArgs=(key,)
        )

    def _get(self, kind: int, routing: bytes) -> tuple[bytes, ...]:
        stored, cached = self._store.get(kind, routing), self._cache.get(kind, routing)
        if kind == BlockType.CHK:
            return stored or cached
        for record in cached:
            stored = merge(stored, record)
        return stored

    def _found(self, blocks: tuple[bytes, ...], key: tuple[int, bytes]) -> None:
        for done in self._reading.pop(key):
            done(blocks)
        self._woken()

    def _not_found(self, failure: Failure, key: tuple[int, bytes]) -> None:
        if not failure.check(WorkersStopped):
            self.log.failure("a block could not be looked for", failure)
        self._found((), key)

    def put(
        self,
        type: BlockType,
        routing: bytes,
        block: bytes,
        place: Literal["cache", "store"],
        done: Callable[[Outcome], None],
    ) -> None:
        """See seams.Blocks."""
        if self._writing >= MAX_WRITES:
            self.counts["busy"] += 1
            done(Outcome.REFUSED)
            return
        self._writing += 1
        store = self._cache if place == "cache" else self._store
        running: Deferred[Outcome] = self._runs.run(store.put, int(type), routing, block)
        running.addErrback(self._not_kept)
        running.addCallback(self._kept, done)

    def _not_kept(self, failure: Failure) -> Outcome:
        if not failure.check(WorkersStopped):
            self.log.failure("a block could not be kept", failure)
        return Outcome.DISK

    def _kept(self, outcome: Outcome, done: Callable[[Outcome], None]) -> None:
        self._writing -= 1
        self.counts[outcome.value] += 1
        self._tell(outcome)
        done(outcome)
        self._woken()

    def _tell(self, outcome: Outcome) -> None:
        """Once when the disk begins to take nothing, and once when it takes blocks again."""
        if outcome is Outcome.DISK and not self._is_failing:
            self.log.error("the disk takes no blocks of the relay layer; others are asked to keep them")
        elif outcome is Outcome.STORED and self._is_failing:
            self.log.info("the disk takes blocks of the relay layer again")
        if outcome in (Outcome.DISK, Outcome.STORED):
            self._is_failing = outcome is Outcome.DISK
