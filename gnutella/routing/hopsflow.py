"""Hops flow (BEAR/4): who wants fewer queries at present, and that we do.

A peer says how many hops a query may have made at most, 0 for no queries at all and NORMAL_HOPS for all of them.  What links
said is applied once a tick, so that a peer that changes its mind a thousand times a second costs no more than one that does
it once.  A leaf of ours says 0 while its upload slots are all taken: hits that nobody can be served from are in vain.
"""

from __future__ import annotations

from gnutella.protocol.vendor import Body, HopsFlow
from gnutella.routing.answers import Self
from gnutella.routing.link import Link
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.tables import Tables
from gnutella.units import Guid, LinkId

#: From this value on there is no limit (LimeWire; digest 2.9).
NORMAL_HOPS = 5
#: Who wants fewer gets next to nothing of what neighbours lead here, so they are not told of its table (digest 7.7).
LEAST_HOPS_TOLD = 3
#: Seconds between two looks at whether we are busy (LimeWire; digest 2.9).
LOOK_S = 15.0


class QueryFlow:
    """One node's.  `state.is_busy` is what it tells its ultrapeers."""

    def __init__(self, board: Switchboard, signals: Signals, tables: Tables, state: Self, now: float) -> None:
        self._board = board
        self._signals = signals
        self._tables = tables
        self._state = state
        self._wanted: dict[LinkId, int] = {}
        #: Links that were told that we want no queries.
        self._hushed: set[LinkId] = set()
        self._look_at = now + LOOK_S
        signals.read(b"BEAR", 4, 1, self._receive)
        board.on_removed.append(self._removed)

    def _receive(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        assert isinstance(body, HopsFlow)
        self._wanted[link.id] = body.max_hops

    def _removed(self, link: Link) -> None:
        self._wanted.pop(link.id, None)
        self._hushed.discard(link.id)

    def tick(self, now: float) -> None:
        """Apply what links said since the last time, and say what is to be said."""
        if self._wanted:
            self._apply()
        if (self._board.is_leaf or self._hushed) and now >= self._look_at:
            self._look_at = now + LOOK_S
            self._tell(self._state.is_busy and self._board.is_leaf)

    def _apply(self) -> None:
        wanted, self._wanted = self._wanted, {}
        is_changed = False
        for link_id, hops in wanted.items():
            link = self._board.links[link_id]
            max_hops = None if hops >= NORMAL_HOPS else hops
            if max_hops == link.max_hops:
                continue
            is_withheld = max_hops is not None and max_hops < LEAST_HOPS_TOLD
            self._tables.hush(link, is_hushed=max_hops == 0, is_withheld=is_withheld)
            link.max_hops, is_changed = max_hops, True
        if is_changed:
            self._board.links_changed()

    def _tell(self, is_busy: bool) -> None:
        for link in list(self._board.links.values()):
            if (link.id in self._hushed) is is_busy or not link.info.is_ultrapeer:
                continue
            if self._signals.tell(link, HopsFlow(0 if is_busy else NORMAL_HOPS)):
                (self._hushed.add if is_busy else self._hushed.discard)(link.id)
