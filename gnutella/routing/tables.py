"""Query routing of this node: what links told of themselves, what we tell of ourselves, and whom a query is led to.

Leaves get the queries that their tables match, at whatever TTL; neighbours with a table get those on their last hop only when
it matches (digest 4.3 rule 8).  A leaf without a table gets everything for GRACE_S seconds and then nothing.  A table that
breaks the rules of digest 7.5 closes its link with Bye 413.

`Tables.guide` is on the relay path, once a query, as soon as any link has a table.
"""

from __future__ import annotations

from collections.abc import Collection

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import HOPS_AT, TTL_AT
from gnutella.protocol.kinds import HEADER_SIZE, ROUTE_TABLE
from gnutella.protocol.message import RoutePatch, RouteReset, encode
from gnutella.reasons import DropReason
from gnutella.routing.guids import fresh_guid
from gnutella.routing.link import Link
from gnutella.routing.switchboard import Switchboard
from gnutella.superpeers.announce import MAX_WAIT_LEAF_S, MAX_WAIT_ULTRAPEER_S, Announcer
from gnutella.superpeers.lastmile import LastMile
from gnutella.superpeers.lookup import asked_by
from gnutella.units import LinkId

#: A leaf's table should be here by then.  Until then it gets every query, as in [S06]; gtk-gnutella sends it none at all, and
#: calls peers useless after 300 s without one (digest 7.4, 6.2).  Our own number: a library is read in less.
GRACE_S = 60.0

#: Queries and the peers that they go to, as bits of a LastMile.
_Mail = list[tuple[int, bytes]]


class Tables:
    """One node's."""

    def __init__(self, board: Switchboard) -> None:
        self.leaves = LastMile()
        self.neighbours = LastMile()
        #: Some link has a table, so that `guide` must be asked.
        self.is_used = False
        self._board = board
        self._own = Announcer(MAX_WAIT_LEAF_S if board.is_leaf else MAX_WAIT_ULTRAPEER_S)
        #: Leaves without a table, and until when they get everything; in order.
        self._grace: dict[LinkId, float] = {}
        self._to_leaves: _Mail = []
        self._to_neighbours: _Mail = []
        self._last_hop: list[bytes] = []
        board.on_removed.append(self._closed)

    # -- links ---------------------------------------------------------------------------------------------------------

    def opened(self, link: Link, now: float) -> None:
        """Before the link is used: what it gets without a table, and whether it wants ours."""
        if link.info.is_leaf:
            self._grace[link.id] = now + GRACE_S
        if link.info.reads_tables:
            self._own.opened(link.id, is_deflated=link.info.is_deflated)

    def receive(self, link: Link, message: RouteReset | RoutePatch, now: float) -> None:
        """A part of the link's table.  A leaf relays nothing, so it has no use for it."""
        if self._board.is_leaf:
            return
        mile = self._mile(link)
        try:
            is_changed = mile.receive(link.id, message, now)
        except RemoteViolation as violation:
            self._board.close(link, violation.reason, violation.detail)
            return
        if is_changed and link.is_guided != bool(mile.bit(link.id)):
            link.is_guided = not link.is_guided
            self._grace.pop(link.id, None)
            link.is_muted = link.info.is_leaf and not link.is_guided
            self._links_changed()

    def hush(self, link: Link, *, is_hushed: bool, is_withheld: bool) -> None:
        """Lead no queries to a link that wants none, and tell others nothing of its table; or do so again."""
        self._mile(link).hush(link.id, is_hushed, is_withheld=is_withheld)

    def set_own(self, hashes: Collection[int]) -> None:
        """What our library answers to."""
        self._own.set_own(hashes)

    def role_changed(self) -> None:
        """We are a leaf now, or no more: other peers read our table, at another pace."""
        self._own.max_wait_s = MAX_WAIT_LEAF_S if self._board.is_leaf else MAX_WAIT_ULTRAPEER_S

    def tick(self, now: float) -> None:
        """Send what is due of our table; stop sending to leaves that have not told theirs in time."""
        self._end_grace(now)
        board = self._board
        busy = {link.id for link in board.links.values() if link.queue is not None} if board.has_blocked else ()
        merge = None if board.is_leaf else (self.leaves.version, self.leaves.largest_bits, self.leaves.merged)
        for link_id, messages in self._own.due(now, merge, busy):
            link = board.links[link_id]
            for message in messages:
                board.send(link, ROUTE_TABLE, 0, encode(fresh_guid(board.rng), 1, 0, message))

    # -- queries -------------------------------------------------------------------------------------------------------

    def guide(self, source: Link, data: bytes, start: int, end: int, ttl: int, hops: int) -> bool:
        """Lead the query at data[start:end] to whoever's table matches; whether the others get it too.

        `ttl` and `hops` are those it is forwarded with; TTL 0 is for leaves only, who get it with 1.  What is led goes out with
        `deliver`.  False: it makes its last hop, and neighbours that have a table are no part of its flood.
        """
        asked = asked_by(data[start + HEADER_SIZE : end])
        leaves, is_last = self.leaves.match(asked), ttl == 1 and self.neighbours.complete != 0
        if leaves and source.info.is_leaf:
            leaves &= ~self.leaves.bit(source.id)
        if not (leaves or is_last):
            return True
        message = data[start : start + TTL_AT] + bytes((ttl or 1, hops)) + data[start + HOPS_AT + 1 : end]
        if leaves:
            self._to_leaves.append((leaves, message))
        if is_last:
            neighbours = self.neighbours.match(asked) & ~self.neighbours.bit(source.id)
            if neighbours:
                self._to_neighbours.append((neighbours, message))
            self._last_hop.append(message)
            self._count_last_hop(source, neighbours)
        return not is_last

    def deliver(self, source: Link) -> None:
        """Send what was led somewhere since the last time."""
        if self._last_hop:
            messages, self._last_hop = self._last_hop, []
            self._board.flood_unguided(source, b"".join(messages), len(messages))
        if self._to_leaves:
            mail, self._to_leaves = self._to_leaves, []
            self._post(self.leaves, mail)
        if self._to_neighbours:
            mail, self._to_neighbours = self._to_neighbours, []
            self._post(self.neighbours, mail)

    def led_to(self) -> list[LinkId]:
        """Links that the query guided last goes to because of their tables; for its trace."""
        return [
            *(self.leaves.links(self._to_leaves[-1][0]) if self._to_leaves else ()),
            *(self.neighbours.links(self._to_neighbours[-1][0]) if self._to_neighbours else ()),
        ]

    def askers(self, payload: bytes, reach: dict[LinkId, int]) -> list[Link]:
        """The links that a query of our own goes to; `reach` is the TTL that each would get it with."""
        asked = asked_by(payload) if self.is_used else ()
        found = {*self.leaves.links(self.leaves.match(asked)), *self.neighbours.links(self.neighbours.match(asked))}

        def is_asked(link: Link) -> bool:
            if link.max_hops == 0:
                return False
            if not link.is_guided:
                return not link.is_muted
            return link.id in found or (reach[link.id] > 1 and not link.info.is_leaf)

        return [link for link in self._board.links.values() if is_asked(link)]

    def neighbours_for(self, payload: bytes, ttl: int) -> list[Link]:
        """The ultrapeers that a query with that TTL is of use to: on its last hop those whose tables match, or have none."""
        found = set(self.neighbours.links(self.neighbours.match(asked_by(payload)))) if ttl == 1 else ()
        return [
            link
            for link in self._board.links.values()
            if not link.info.is_leaf and (ttl > 1 or not link.is_guided or link.id in found)
        ]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _mile(self, link: Link) -> LastMile:
        return self.leaves if link.info.is_leaf else self.neighbours

    def _closed(self, link: Link) -> None:
        self._mile(link).leave(link.id)
        self._own.closed(link.id)
        self._grace.pop(link.id, None)
        self.is_used = bool(self.leaves.complete or self.neighbours.complete)

    def _links_changed(self) -> None:
        self.is_used = bool(self.leaves.complete or self.neighbours.complete)
        self._board.links_changed()

    def _end_grace(self, now: float) -> None:
        over = []
        for link_id, until in self._grace.items():
            if until > now:
                break
            over.append(link_id)
        for link_id in over:
            del self._grace[link_id]
            self._board.links[link_id].is_muted = True
        if over:
            self._links_changed()

    def _count_last_hop(self, source: Link, neighbours: int) -> None:
        counters = self._board.counters
        if neighbours or self._board.unguided(source):
            counters.queries_relayed += 1
        else:
            source.dropped += 1
            counters.drops[DropReason.NO_TABLE_MATCH] += 1

    def _post(self, mile: LastMile, mail: _Mail) -> None:
        boxes: dict[LinkId, list[bytes]] = {}
        for peers, message in mail:
            for link_id in mile.links(peers):
                if link_id in boxes:
                    boxes[link_id].append(message)
                else:
                    boxes[link_id] = [message]
        board = self._board
        for link_id, messages in boxes.items():
            link = board.links.get(link_id)
            if link is not None:
                board.send_queries(link, messages)
