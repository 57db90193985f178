"""The sources of one download: who can be asked, when again, and why not.

A source rests after a refusal or a failure, for as long as it asked for (Retry-After, X-Queue) or for a growing time; it is
dropped for good when it answered with a permanent error, sent wrong bytes or offers another file.  A source that is merely
away is never dropped: files addressed by their hash outlive a night's power cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from gnutella.reasons import DropReason
from gnutella.transfers.ranges import RangeSet
from gnutella.units import Address, Guid

#: Sources remembered for one download: LimeWire keeps 100 alternate locations, gtk-gnutella 256.
MAX_KNOWN = 256
#: Waits after the first failures in a row, before `retry_s` and its doublings: peers restart within seconds.
EARLY_RETRIES_S = (1.0, 5.0, 15.0)
#: Longest wait of our own choice.
MAX_RETRY_S = 3600.0


class Phase(Enum):
    """What a source does for us at present."""

    IDLE = "idle"
    DIALLING = "dialling"
    PUSHING = "waiting for its call"
    CONNECTED = "connected"
    RESTING = "resting"
    DROPPED = "dropped"


@dataclass(slots=True)
class Source:
    """One peer that offers the file.  `address` is None when it can only be pushed."""

    key: int
    address: Address | None = None
    servent_id: Guid | None = None
    index: int | None = None
    name: str = ""
    needs_push: bool = False
    #: Who passes pushes on to it.
    proxies: tuple[Address, ...] = ()
    phase: Phase = Phase.IDLE
    retry_at: float = 0.0
    reason: DropReason | None = None
    failures: int = 0
    #: Bytes that this source sent.
    received: int = 0
    #: Smoothed bytes a second while it sends, and the seconds of a round trip to it.
    speed: float = 0.0
    latency_s: float = 0.0
    #: Ask by /get/<index>/<name>, because it did not know the URN.
    by_index: bool = False
    #: What a partial source has; None for a whole one.
    available: RangeSet | None = None
    #: Direct dialling failed, so the next attempt is a push.
    try_push: bool = False
    #: Where its tiger tree is, from X-Thex-URI; None when unknown or of no use.
    tree_path: str | None = None
    tree_root: bytes | None = None
    #: Where it redirected us to on the same host.
    path: str | None = None
    has_no_tree: bool = False

    @property
    def label(self) -> str:
        """For people: its address, or its servent id."""
        return str(self.address) if self.address else (self.servent_id.hex() if self.servent_id else "?")

    @property
    def can_ask_by_index(self) -> bool:
        """Whether /get/<index>/<name> is left to be tried."""
        return not self.by_index and self.index is not None and bool(self.name)

    @property
    def can_push(self) -> bool:
        """Whether a push could reach it."""
        return self.servent_id is not None


@dataclass(slots=True)
class SourceBook:
    """Sources by key; keys count from 1, since 0 stands for bytes from before a restart."""

    retry_s: float
    _by_key: dict[int, Source] = field(default_factory=dict)
    _last_key: int = 0

    def add(
        self,
        address: Address | None,
        servent_id: Guid | None = None,
        index: int | None = None,
        name: str = "",
        needs_push: bool = False,
        proxies: tuple[Address, ...] = (),
    ) -> Source | None:
        """Remember a source; None when it is known, cannot be reached at all, or the book is full.

        Known means the same address or, among those that must be pushed, the same servent.
        """
        if address is None and servent_id is None:
            return None
        for known in self._by_key.values():
            is_same_servent = servent_id is not None and known.servent_id == servent_id
            if (address is not None and known.address == address) or (is_same_servent and known.address == address):
                if known.servent_id is None:
                    known.servent_id = servent_id
                if known.index is None:
                    known.index, known.name = index, name
                if proxies:  # the latest are those that it still has
                    known.proxies = proxies
                return None
        if len(self._by_key) >= MAX_KNOWN:
            return None
        self._last_key += 1
        source = Source(self._last_key, address, servent_id, index, name, needs_push and servent_id is not None)
        source.proxies = proxies
        self._by_key[source.key] = source
        return source

    def __iter__(self) -> Iterator[Source]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: int) -> Source | None:
        """The source with that key."""
        return self._by_key.get(key)

    def ready(self, now: float) -> list[Source]:
        """Sources that can be asked now: never tried ones first, then those with the fewest failures."""
        found = [
            source
            for source in self._by_key.values()
            if source.phase is Phase.IDLE or (source.phase is Phase.RESTING and source.retry_at <= now)
        ]
        return sorted(found, key=lambda source: (source.failures, source.needs_push, source.key))

    def busy(self) -> int:
        """Sources that are being dialled, pushed or used."""
        phases = (Phase.DIALLING, Phase.PUSHING, Phase.CONNECTED)
        return sum(source.phase in phases for source in self._by_key.values())

    def usable(self) -> int:
        """Sources that are not dropped."""
        return sum(source.phase is not Phase.DROPPED for source in self._by_key.values())

    def rest(self, source: Source, now: float, reason: DropReason, wait_s: float | None = None) -> None:
        """Leave a source alone for `wait_s`, or for a time that grows with its failures in a row."""
        if source.phase is Phase.DROPPED:
            return
        if wait_s is None:
            wait_s = self._backoff(source.failures)
            source.failures += 1
        source.phase, source.reason, source.retry_at, source.speed = Phase.RESTING, reason, now + wait_s, 0.0

    def _backoff(self, failures: int) -> float:
        if failures < len(EARLY_RETRIES_S):
            return min(EARLY_RETRIES_S[failures], self.retry_s)
        return float(min(self.retry_s * 2 ** min(failures - len(EARLY_RETRIES_S), 12), MAX_RETRY_S))

    def succeeded(self, source: Source) -> None:
        """It sent bytes: earlier failures are forgiven."""
        source.failures = 0
        source.reason = None

    def drop(self, source: Source, reason: DropReason) -> None:
        """Never ask it again for this file."""
        source.phase, source.reason, source.speed = Phase.DROPPED, reason, 0.0

    def wake(self) -> None:
        """The user resumes: nobody rests, failures are forgiven; what was dropped stays dropped."""
        for source in self._by_key.values():
            source.failures = 0
            if source.phase is Phase.RESTING:
                source.phase, source.retry_at = Phase.IDLE, 0.0

    def why_stalled(self, now: float) -> str:
        """One line for people: why nothing arrives."""
        if not self._by_key:
            return "no source is known yet"
        resting = [source for source in self._by_key.values() if source.phase is Phase.RESTING]
        if resting:
            soonest = min(resting, key=lambda source: source.retry_at)
            why = soonest.reason.meaning if soonest.reason else "it rests"
            return f"{soonest.label}: {why}; asked again in {max(0.0, soonest.retry_at - now):.0f} s"
        dropped = [source for source in self._by_key.values() if source.phase is Phase.DROPPED]
        if len(dropped) == len(self._by_key):
            last = dropped[-1]
            return f"every source was dropped; {last.label}: {last.reason.meaning if last.reason else 'unknown'}"
        return "waiting for a connection"
