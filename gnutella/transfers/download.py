"""One download as the user sees it: what is fetched, where it is in its life, from whom, and why it does not move.

Pure: `gnutella.network.downloads` moves it along and shows its `row`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.reasons import DropReason
from gnutella.transfers.lifetime import ACTIVE, Input, State, accepts, step
from gnutella.transfers.sources import Phase, SourceBook

#: Times that a whole file may turn out wrong before the user has to look at it.
MAX_RESTARTS = 5


@dataclass(slots=True)
class Download:
    """`size` is None until the user, a hit or a source told it; `path` is where the file will be, or is."""

    id: int
    sha1: bytes
    tth: bytes | None
    size: int | None
    name: str
    added: float
    sources: SourceBook
    state: State = State.LOCATING
    error: str | None = None
    path: str | None = None
    #: Bytes on disk, checked or not.
    downloaded: int = 0
    #: Smoothed bytes a second.
    speed: float = 0.0
    #: Times that the whole file was wrong.
    restarts: int = 0
    #: The tree belonged to something else, so none is used any more.
    distrusts_trees: bool = False

    @property
    def is_active(self) -> bool:
        """Whether it goes on by itself."""
        return self.state in ACTIVE

    def happened(self, event: Input) -> bool:
        """Take `event` if it can happen now; whether the state changed."""
        if not accepts(self.state, event):
            return False
        self.state = step(self.state, event)
        if event in (Input.RESUME, Input.RIGHT):
            self.error = None
        return True

    def wrong_file(self, contributors: set[int]) -> DropReason | None:
        """The whole file is wrong and no tree says where: blame its only sender, if there is one, and count.

        The reason to give up, or None to begin anew.
        """
        self.restarts += 1
        if len(contributors) == 1 and (source := self.sources.get(next(iter(contributors)))) is not None:
            self.sources.drop(source, DropReason.SOURCE_CORRUPT)
        return DropReason.SOURCE_CORRUPT if self.restarts > MAX_RESTARTS else None

    def pardon(self) -> None:
        """The tree was wrong, not those who were dropped because of it."""
        for source in self.sources:
            if source.phase is Phase.DROPPED and source.reason is DropReason.SOURCE_CORRUPT:
                source.phase, source.reason = Phase.IDLE, None

    def why_not(self, now: float) -> str | None:
        """The error, or the reason why nothing arrives at present."""
        if self.error is not None or self.state not in (State.LOCATING, State.QUEUED):
            return self.error
        return self.sources.why_stalled(now)

    def row(self, now: float) -> dict[str, object]:
        """As a row of `gnutella downloads`."""
        eta = None
        if self.state is State.TRANSFERRING and self.size is not None and self.speed >= 1:
            eta = round((self.size - self.downloaded) / self.speed)
        return {
            "id": self.id,
            "state": self.state.value,
            "name": self.name,
            "size": self.size,
            "downloaded": self.downloaded,
            "speed": round(self.speed) if self.state is State.TRANSFERRING else 0,
            "sources": self.sources.usable(),
            "eta_s": eta,
            "path": self.path if self.state is State.DONE else None,
            "error": self.why_not(now),
        }
