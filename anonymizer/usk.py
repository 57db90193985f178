"""Updatable keys: numbered editions of one name, each a signed document of its own, and how to find the newest.

Edition n of `site` is the document `site-n`.  A reader probes ahead of the last edition it knows by 1, 2, 4 and 8; while the
farthest is there the steps grow eightfold, and where nothing is they shrink again.  What was seen once is never gone back
from: whoever hides the newest edition can delay a reader, not set it back.
"""

from __future__ import annotations

from collections import OrderedDict

from anonymizer.errors import IntegrityFailure
from gnutella.errors import LocalMisuse

#: Probes of one batch (design section 3.15), in units of the step.
AHEAD = (1, 2, 4, 8)
MAX_EDITION = 2**48
#: Batches of one search; a search that meets its end among so many editions goes on from the newest next time.
MAX_BATCHES = 64
#: Names whose highest edition is remembered; the one unused for longest goes first.
MAX_GUARDED = 4096


def document_name(name: str, edition: int) -> str:
    return f"{name}-{edition}"


class EditionSearch:
    """One search for the newest edition: ask for `wanted`, tell each outcome with `answer`, until `wanted` is empty."""

    def __init__(self, known: int) -> None:
        """`known` is the highest edition seen so far, or -1."""
        self.newest = known
        self._step = 1
        self._batches = 0
        self._answers: dict[int, bool] = {}

    @property
    def wanted(self) -> tuple[int, ...]:
        """The editions to probe now, together; each is told through `answer` before there are others."""
        return tuple(edition for edition in self._batch() if edition not in self._answers)

    def answer(self, edition: int, is_there: bool) -> None:
        batch = self._batch()
        if edition not in batch:
            raise LocalMisuse("an edition that was not asked for")
        self._answers[edition] = is_there
        while batch and all(probe in self._answers for probe in batch):
            found = [probe for probe in batch if self._answers[probe]]
            if found:
                self.newest = found[-1]
                self._step *= AHEAD[-1] if self.newest == batch[-1] else 1
            elif self._step == 1:
                return
            else:
                self._step //= AHEAD[-1]
            self._batches += 1
            self._answers = {probe: there for probe, there in self._answers.items() if probe > self.newest}
            batch = self._batch()

    def _batch(self) -> list[int]:
        if self._batches >= MAX_BATCHES:
            return []
        ahead = (self.newest + number * self._step for number in AHEAD)
        return [edition for edition in ahead if edition <= MAX_EDITION]


class RollbackGuard:
    """The highest number seen of each name; bounded, and to be kept on disk by its owner."""

    def __init__(self, seen: dict[bytes, int] | None = None) -> None:
        self._seen: OrderedDict[bytes, int] = OrderedDict(seen or {})
        self._trim()

    def highest(self, routing: bytes) -> int:
        """Highest number seen under this name, or -1."""
        return self._seen.get(routing, -1)

    def accept(self, routing: bytes, number: int) -> None:
        """Remember it; IntegrityFailure if a higher one was seen before."""
        if number < self.highest(routing):
            raise IntegrityFailure("an older edition than one seen before", routing)
        self._seen[routing] = number
        self._seen.move_to_end(routing)
        self._trim()

    def rows(self) -> dict[bytes, int]:
        """All of it, for the disk, the one unused for longest first."""
        return dict(self._seen)

    def _trim(self) -> None:
        while len(self._seen) > MAX_GUARDED:
            self._seen.popitem(last=False)
