"""Leaf guidance: a leaf tells the ultrapeers that drive its query how many results it keeps (protocol digest 8.3).

As an ultrapeer we ask for it (BEAR/11) when ASK_EVERY results are new since, or a few and ASK_LINKS neighbours, and go by
what the leaf keeps rather than by what it was sent.  As a leaf we answer (BEAR/12), tell of our own accord when TELL_EVERY more
are kept, as LimeWire's leaves do, and end the query when its user does.

Who divides the count by the ultrapeers that a leaf asks is not agreed on: gtk-gnutella's ultrapeer does it, LimeWire's leaf
does.  We are of gtk-gnutella's kind, and do whatever the other side does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnutella import USER_AGENT
from gnutella.protocol.vendor import Body, QueryStatus, QueryStatusRequest
from gnutella.reasons import DropReason
from gnutella.routing.link import Link
from gnutella.routing.reverse import MAX_SEARCHES
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import Switchboard
from gnutella.units import Guid

#: A leaf is asked for its status after that many new results, or that many more neighbours (digest 8.3).
ASK_EVERY = 20
ASK_LINKS = 3
#: An answer is waited for that long, and that many may fail to come before the leaf is asked no more.
ANSWER_S = 40.0
MAX_MISSED = 2
#: Count that ends the query.
ENOUGH = 0xFFFF
#: More than that nobody keeps of one query (our own number: forty times what we pass on of it).
MAX_KEPT = 10_000
#: Ultrapeers that a leaf is taken to have asked: by gtk-gnutella's ultrapeers, by LimeWire's leaves.
SHARED_BY = 3
DIVIDED_BY = 4
#: A leaf tells again when it keeps that many more (our own number: a LimeWire ultrapeer stops above 38).
TELL_EVERY = 10
#: User agents that tell, and expect, undivided counts.
_UNDIVIDED = ("gtk-gnutella", USER_AGENT.partition("/")[0])


def is_undivided(user_agent: str) -> bool:
    """Whether counts of and for this servent are those of all ultrapeers together."""
    return user_agent.startswith(_UNDIVIDED)


@dataclass(slots=True)
class Guided:
    """What a leaf said of one of its queries; `routed` is always the number of results that went to it through us."""

    is_undivided: bool
    #: What it kept when it last told, as our share, and how many it had been sent by then.
    kept: float = 0.0
    routed: int = 0
    asked_at: float | None = None
    missed: int = 0
    _asked_at_links: int = 0

    def results(self, routed: int) -> float:
        """Results as far as they count."""
        return self.kept + routed - self.routed

    def is_due(self, routed: int, links: int, now: float, *, is_near: bool = False) -> bool:
        """Whether to ask the leaf now, after so many neighbours were asked; notes it if so.

        `is_near`: it has almost enough.
        """
        if self.asked_at is not None:
            if now - self.asked_at < ANSWER_S:
                return False
            self.missed += 1
            self.asked_at = None
        if self.missed >= MAX_MISSED:
            return False
        new = routed - self.routed
        if not is_near and (not new or (new < ASK_EVERY and links - self._asked_at_links < ASK_LINKS)):
            return False
        self.asked_at, self._asked_at_links = now, links
        return True

    def told(self, kept: int, routed: int) -> None:
        """The leaf keeps so many."""
        self.kept = kept / SHARED_BY if self.is_undivided else float(kept)
        self.routed = routed
        self.asked_at = None
        self.missed = 0


class Kept:
    """The leaf's side: what we keep of our own searches, and what our ultrapeers know of it."""

    def __init__(self, board: Switchboard, signals: Signals) -> None:
        self._board = board
        self._signals = signals
        self._kept: dict[Guid, int] = {}
        self._told: dict[Guid, int] = {}
        signals.read(b"BEAR", 11, 1, self._asked)

    def __len__(self) -> int:
        return len(self._kept)

    def start(self, guid: Guid) -> None:
        """We ask a query of our own, as a leaf."""
        while len(self._kept) >= MAX_SEARCHES:
            oldest = next(iter(self._kept))
            del self._kept[oldest], self._told[oldest]
        self._kept[guid] = self._told[guid] = 0

    def note(self, guid: Guid, kept: int) -> None:
        """Of that search so many results are kept now."""
        if guid in self._kept:
            self._kept[guid] = min(kept, MAX_KEPT)

    def stop(self, guid: Guid) -> None:
        """The search is over, and nobody needs to go on with it."""
        if guid in self._kept:
            del self._kept[guid], self._told[guid]
            self._tell(guid, None)

    def tick(self) -> None:
        """Tell what has changed by much."""
        for guid, kept in self._kept.items():
            if kept - self._told[guid] >= TELL_EVERY:
                self._told[guid] = kept
                self._tell(guid, kept)

    def _asked(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        assert isinstance(body, QueryStatusRequest)
        kept = self._kept.get(guid)
        if kept is None or link.info.is_leaf:
            self._board.drop(link, DropReason.STATUS_ASTRAY)
        else:
            self._tell_one(link, guid, kept)

    def _tell(self, guid: Guid, kept: int | None) -> None:
        if self._board.is_leaf:
            for link in list(self._board.links.values()):
                self._tell_one(link, guid, kept)

    def _tell_one(self, link: Link, guid: Guid, kept: int | None) -> None:
        if kept is None:
            self._signals.tell(link, QueryStatus(ENOUGH), guid)
        else:
            divisor = 1 if is_undivided(link.info.user_agent) else DIVIDED_BY
            self._signals.tell(link, QueryStatus(kept // divisor), guid)
