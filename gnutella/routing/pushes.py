"""Pushes: to the servent that they name, over the link its hits came from (digest 2.6, 4.5).

By UDP they come from whoever wants a file: for us, or for a servent that chose us as its push proxy.  A source is soon forged,
so such a push may name no other host than its source, and few are answered (push_limits.py).
"""

from __future__ import annotations

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import HEADER_SIZE, PUSH, encode_header
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.guids import fresh_guid
from gnutella.routing.link import Link, wrong_ttl
from gnutella.routing.push_limits import PushAllowance
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.switchboard import BY_UDP, OWN, Switchboard
from gnutella.units import Address, Guid, LinkId, is_plausible_peer

#: Servent id, file index, address: a push is at least that long (digest 2.6).
MIN_PUSH = 26
#: Longest push that is passed on: the fixed part and the GGEP that gtk-gnutella reads (digest 2.1).
MAX_PUSH = MIN_PUSH + 1536


class Pushes:
    """Routes pushes by servent id."""

    def __init__(self, board: Switchboard, paths: ReversePaths, *, allow_private: bool, now: float = 0.0) -> None:
        self._board = board
        self._paths = paths
        self._allow_private = allow_private
        self.allowance = PushAllowance(now)

    def receive(self, link: Link, frame: Frame, now: float) -> None:
        """One push of a link."""
        reason = self._refusal(link, frame)
        if reason is None:
            self._paths.pushes.put(frame.guid, link.id, now)
            reason = self._route(link, frame)
        if reason is not None:
            self._board.drop(link, reason)

    def by_udp(self, guid: Guid, payload: bytes, source: Address, now: float) -> DropReason | None:
        """One push in a datagram; the reason if it is dropped."""
        if not MIN_PUSH <= len(payload) <= MAX_PUSH:
            return DropReason.BAD_PUSH
        if guid in self._paths.pushes:
            return DropReason.DUPLICATE
        servent_id = Guid(payload[:16])
        if servent_id != self._board.servent_id and servent_id not in self._board.proxied:
            return DropReason.NO_ROUTE
        try:
            push = Push.decode(payload)
        except RemoteViolation as violation:
            return violation.reason
        if not is_plausible_peer(push.address, allow_private=self._allow_private):
            return DropReason.BAD_PUSH
        if push.address.host != source.host:
            return DropReason.PUSH_FORGED
        if (reason := self.allowance.refusal(servent_id, source, now)) is not None:
            return reason
        self._paths.pushes.put(guid, BY_UDP, now)
        if servent_id == self._board.servent_id:
            self._board.emit(PushReceived(push, BY_UDP))
            return None
        return None if self.pass_on(push, now) else DropReason.ROUTE_GONE

    def tick(self, now: float) -> None:
        """Forget rates that are over."""
        self.allowance.tick(now)

    def send(self, push: Push, now: float) -> bool:
        """A push of our own; False when no open link leads to that servent."""
        target = self._target(push.servent_id)
        if target is None:
            return False
        self._send(target, push, self._board.settings.max_ttl, now)
        return True

    def pass_on(self, push: Push, now: float) -> bool:
        """A push that somebody asked us to pass on, to a servent that chose us as its proxy; False when it is none."""
        towards = self._board.proxied.get(push.servent_id)
        target = None if towards is None else self._board.links.get(towards)
        if target is None:
            return False
        self._send(target, push, 1, now)
        return True

    def _send(self, target: Link, push: Push, ttl: int, now: float) -> None:
        guid = fresh_guid(self._board.rng)
        self._paths.pushes.put(guid, OWN, now)
        payload = push.encode()
        self._board.send(target, PUSH, 0, encode_header(guid, PUSH, ttl, 0, len(payload)) + payload)

    def _refusal(self, link: Link, frame: Frame) -> DropReason | None:
        reason = wrong_ttl(frame)
        if reason is not None:
            return reason
        if link.info.is_leaf and frame.hops:
            return DropReason.LEAF_RELAYED
        if not MIN_PUSH <= frame.length <= MAX_PUSH:
            return DropReason.BAD_PUSH
        known = self._paths.pushes.get(frame.guid)
        if known is not None:
            return DropReason.OWN_MESSAGE if known == OWN else DropReason.DUPLICATE
        return None

    def _route(self, link: Link, frame: Frame) -> DropReason | None:
        payload_at = frame.start + HEADER_SIZE
        servent_id = Guid(frame.data[payload_at : payload_at + 16])
        if servent_id == self._board.servent_id:
            return self._own(link, frame)
        towards = self._towards(servent_id)
        if towards is None or towards == link.id or self._board.is_leaf:
            return DropReason.NO_ROUTE
        target = self._board.links.get(towards)
        if target is None:
            return DropReason.ROUTE_GONE
        # The servent itself is the last hop and gets its push though the TTL is spent, as a leaf gets its hits.
        is_there = target.info.is_leaf or servent_id in (target.info.servent_id, target.proxied_id)
        if frame.ttl == 1 and not is_there:
            return DropReason.TTL_SPENT
        self._board.send(target, PUSH, frame.hops + 1, frame.passed_on(max(1, frame.ttl - 1), frame.hops + 1))
        return None

    def _own(self, link: Link, frame: Frame) -> DropReason | None:
        try:
            push = Push.decode(frame.payload)
        except RemoteViolation as violation:
            return violation.reason
        if not is_plausible_peer(push.address, allow_private=self._allow_private):
            return DropReason.BAD_PUSH
        self._board.emit(PushReceived(push, link.id))
        return None

    def _target(self, servent_id: Guid) -> Link | None:
        towards = self._towards(servent_id)
        return None if towards is None else self._board.links.get(towards)

    def _towards(self, servent_id: Guid) -> LinkId | None:
        """The link to the servent itself if it is a neighbour, else the one its hits came over."""
        board = self._board
        link = board.proxied.get(servent_id, board.neighbours.get(servent_id))
        return self._paths.servent(servent_id) if link is None else link
