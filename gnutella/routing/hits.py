"""Query hits: back along the path of their query, or to ourselves if we asked.

A relayed hit is not decoded: the number of results is its first byte, the servent id its last sixteen, and those two are all
that routing needs (digest 2.5, 4.4).  A hit of ours is decoded and judged before anybody sees it.
"""

from __future__ import annotations

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import HEADER_SIZE, QUERY_HIT
from gnutella.protocol.message import QueryHit
from gnutella.reasons import DropReason
from gnutella.routing.actions import SendDatagram
from gnutella.routing.events import HitReceived
from gnutella.routing.link import Link, wrong_ttl
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.switchboard import BY_PROXY, BY_UDP, OWN, Switchboard
from gnutella.units import Guid, LinkId, is_plausible_peer

#: Largest hit payload that is passed on (gtk-gnutella; digest 2.1).
MAX_RELAYED_HIT = 16384
#: Count, address and speed (11), one record (4 + 4 + a letter + two NULs) and a servent id: no hit is shorter.
MIN_HIT = 38
#: Longest hit payload that is passed on as a datagram: hits of leaves have up to some 2,000 bytes, and gtk-gnutella sends no
#: datagrams beyond 4096 (digest 2.5).
MAX_DATAGRAM_HIT = 4096 - HEADER_SIZE
_NO_SERVENT = bytes(16)


class Hits:
    """Routes hits by the GUID of their query."""

    def __init__(self, board: Switchboard, paths: ReversePaths, *, allow_private: bool) -> None:
        self._board = board
        self._paths = paths
        self._allow_private = allow_private

    def receive(self, link: Link, frame: Frame, now: float) -> None:
        """One hit of a link."""
        reason = self._refusal(link, frame)
        if reason is None:
            reason = self._route(link, frame, now)
        if reason is not None:
            self._board.drop(link, reason)
            if frame.guid in self._board.trace:
                self._board.trace.step(frame.guid, now, "hit dropped from", link.id, reason.value)

    def _refusal(self, link: Link, frame: Frame) -> DropReason | None:
        reason = wrong_ttl(frame)
        if reason is not None:
            return reason
        if link.info.is_leaf and frame.hops:
            return DropReason.LEAF_RELAYED
        if frame.length < MIN_HIT or not frame.data[frame.start + HEADER_SIZE]:
            return DropReason.BAD_HIT
        servent_id = frame.data[frame.end - 16 : frame.end]
        return DropReason.BOGUS_HIT if self.is_bogus(servent_id, frame.guid) else None

    def _route(self, link: Link, frame: Frame, now: float) -> DropReason | None:
        paths, board = self._paths, self._board
        source = OWN if frame.guid in paths.searches else paths.queries.get(frame.guid)
        if source is None:
            return DropReason.NO_ROUTE
        if source == link.id:
            return DropReason.UNREQUESTED_HIT
        if not self._learns(link, Guid(frame.data[frame.end - 16 : frame.end]), now):
            return DropReason.SERVENT_BORROWED
        if source == OWN:
            return self._own(link, frame, now)
        return DropReason.NO_ROUTE if board.is_leaf else self._back(frame, source, now)

    def _back(self, frame: Frame, source: LinkId, now: float) -> DropReason | None:
        """Pass a hit on to where its query came from."""
        paths, board = self._paths, self._board
        if source == BY_UDP:
            return self._by_udp(frame, now)
        if source == BY_PROXY:
            return self.to_leaf(frame, now)
        target = board.links.get(source)
        if target is None:
            return DropReason.ROUTE_GONE
        if frame.length > MAX_RELAYED_HIT:
            return DropReason.HIT_TOO_LARGE
        if frame.ttl == 1 and not target.info.is_leaf:
            return DropReason.TTL_SPENT
        if not paths.take_quota(
            frame.guid, frame.data[frame.start + HEADER_SIZE], self._board.settings.max_hits_per_query, now
        ):
            return DropReason.HIT_QUOTA
        # A leaf that asked gets its hit though the TTL is spent: it is the last hop anyway (digest 4.3 rule 5).
        board.send(target, QUERY_HIT, frame.hops + 1, frame.passed_on(max(1, frame.ttl - 1), frame.hops + 1))
        if frame.guid in board.trace:
            board.trace.step(frame.guid, now, "hit back to", target.id)
        return None

    def _learns(self, link: Link, servent_id: Guid, now: float) -> bool:
        """Note that this way leads to a servent; False when a leaf may not go by that id (Switchboard.may_show).

        Noted even when the hit goes no further, but only for a query that was asked: nobody may fill the table at will.
        """
        if link.info.is_leaf and not self._board.may_show(link, servent_id):
            return False
        if link.shown_id is None or not self._board.is_elsewhere(link, self._paths.servent(servent_id)):
            self._paths.learn_servent(servent_id, link.id, now)
        return True

    def _own(self, link: Link, frame: Frame, now: float) -> DropReason | None:
        if frame.guid not in self._paths.searches:
            return DropReason.UNREQUESTED_HIT
        try:
            hit = QueryHit.decode(frame.payload)
        except RemoteViolation as violation:
            return violation.reason
        return self.take(frame.guid, hit, frame.hops + 1, link.id, now)

    def take(self, search: Guid, hit: QueryHit, hops: int, link: LinkId, now: float) -> DropReason | None:
        """Tell the node of a hit for a search of ours; why not, if it is dropped."""
        board = self._board
        if not hit.needs_push and not is_plausible_peer(hit.address, allow_private=self._allow_private):
            return DropReason.BOGUS_HIT
        if not self._paths.take_quota(search, len(hit.records), board.settings.max_hits_per_query, now):
            return DropReason.HIT_QUOTA
        board.counters.hits_received += len(hit.records)
        came = "hit arrived by UDP" if link == BY_UDP else "hit arrived from"
        board.trace.step(search, now, came, None if link == BY_UDP else link)
        board.emit(HitReceived(search, hit, hops, link))
        return None

    def is_bogus(self, servent_id: bytes, guid: Guid) -> bool:
        """Whether no servent can have that id."""
        return servent_id in (_NO_SERVENT, guid, self._board.servent_id)

    def to_leaf(self, frame: Frame, now: float) -> DropReason | None:
        """A hit for a query of a leaf that others know under a GUID of ours: it gets the leaf's again."""
        paths, board = self._paths, self._board
        guid = paths.proxied.get(frame.guid)
        asker = None if guid is None else paths.queries.get(guid)
        leaf = None if asker is None else board.links.get(asker)
        if guid is None or leaf is None:
            return DropReason.ROUTE_GONE
        if frame.length > MAX_RELAYED_HIT:
            return DropReason.HIT_TOO_LARGE
        results = frame.data[frame.start + HEADER_SIZE]
        if not paths.take_quota(guid, results, board.settings.max_hits_per_query, now):
            return DropReason.HIT_QUOTA
        message = guid + frame.passed_on(max(1, frame.ttl - 1), frame.hops + 1)[len(guid) :]
        board.send(leaf, QUERY_HIT, frame.hops + 1, message)
        board.trace.step(guid, now, "hit back to", leaf.id)
        return None

    def _by_udp(self, frame: Frame, now: float) -> DropReason | None:
        """A hit of a leaf for a query that came by UDP."""
        asker = self._paths.askers.get(frame.guid)
        if asker is None:
            return DropReason.ROUTE_GONE
        if frame.length > MAX_DATAGRAM_HIT:
            return DropReason.HIT_TOO_LARGE
        results = frame.data[frame.start + HEADER_SIZE]
        if not self._paths.take_quota(frame.guid, results, self._board.settings.max_hits_per_query, now):
            return DropReason.HIT_QUOTA
        data = frame.passed_on(max(1, frame.ttl - 1), frame.hops + 1)
        self._board.emit(SendDatagram(asker, data))
        return None
