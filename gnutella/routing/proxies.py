"""Push proxies: who passes pushes on to us, and to whom we do (LIME/21 and 22, GTKG/21; digest 2.9, 9.7).

A servent that nobody can connect to asks some ultrapeers, and names those that agree in its hits: a downloader asks them
directly, which works where the way back through the overlay is gone.

What a peer says of itself is held against its link.  It may ask for one servent id, which no other link has and, unless its
handshake named it, whose hits came over no other link; and it is a proxy of ours only if it was asked, and only at the IP that
its link leads to, so that nobody can make our hits name a third party.
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.protocol.offer import MAX_OWN_PROXIES
from gnutella.protocol.vendor import Body, PushProxyAck, PushProxyCancel, PushProxyRequest
from gnutella.reasons import DropReason
from gnutella.routing.answers import Self
from gnutella.routing.link import Link
from gnutella.routing.reach import Reachability
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import Switchboard
from gnutella.units import Address, Guid, LinkId, is_plausible_peer

#: Ultrapeers that are asked at a time: as many as hits tell.
MAX_ASKED = MAX_OWN_PROXIES
#: Seconds until one that did not answer is given up for another (our own number).
ANSWER_S = 30.0
#: Seconds until it may be asked again after that.
AGAIN_S = 300.0


class PushProxies:
    """One node's, both ways.  `address_for` is where a given peer reaches us."""

    def __init__(
        self,
        board: Switchboard,
        paths: ReversePaths,
        signals: Signals,
        state: Self,
        reach: Reachability,
        address_for: Callable[[Link], Address],
        *,
        allow_private: bool,
    ) -> None:
        self._board = board
        self._paths = paths
        self._signals = signals
        self._state = state
        self._reach = reach
        self._address_for = address_for
        self._allow_private = allow_private
        #: Links that were asked, and until when they may answer; those that agreed.
        self._asked: dict[LinkId, float] = {}
        self._ours: dict[LinkId, Address] = {}
        signals.read(b"LIME", 21, 2, self._requested)
        signals.read(b"GTKG", 21, 1, self._cancelled)
        signals.read(b"LIME", 22, 2, self._acknowledged)
        board.on_removed.append(self._removed)

    # -- others' -------------------------------------------------------------------------------------------------------

    def _requested(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        """A peer wants to be pushed through us."""
        assert isinstance(body, PushProxyRequest)
        board, own = self._board, self._address_for(link)
        if board.is_leaf or ":" in own.host:  # the acknowledgement has room for IPv4 alone
            return
        named = link.info.servent_id or link.shown_id
        is_taken = board.is_anothers(link, guid)
        if link.info.servent_id is None:
            is_taken = is_taken or board.is_elsewhere(link, self._paths.servent(guid))
        if is_taken or guid == board.servent_id or not any(guid) or named not in (None, guid):
            board.drop(link, DropReason.PROXY_REFUSED, guid.hex())
            return
        if link.proxied_id is not None:
            self._forget(link)
        link.proxied_id = guid
        board.proxied[guid] = link.id
        self._signals.tell(link, PushProxyAck(own), guid)

    def _cancelled(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        """A peer can be reached by now.  Which servent it is, its link says."""
        assert isinstance(body, PushProxyCancel)
        self._forget(link)

    def _forget(self, link: Link) -> None:
        if link.proxied_id is not None and self._board.proxied.get(link.proxied_id) == link.id:
            del self._board.proxied[link.proxied_id]
        link.proxied_id = None

    # -- ours ----------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Ask as many as are wanted."""
        state, board = self._state, self._board
        if not (state.is_firewalled or (board.is_leaf and not self._reach.tcp)):
            self._give_up()
            return
        wanted = MAX_ASKED - len(self._ours) - sum(until > now for until in self._asked.values())
        for link in list(board.links.values()) if wanted > 0 else ():
            asked_lately = now < self._asked.get(link.id, float("-inf")) + AGAIN_S
            if asked_lately or link.id in self._ours or not link.info.is_ultrapeer or wanted <= 0:
                continue
            if self._signals.tell(link, PushProxyRequest(), board.servent_id):
                self._asked[link.id] = now + ANSWER_S
                wanted -= 1

    def _give_up(self) -> None:
        """Others can reach us: nobody need pass on anything."""
        if not self._ours:
            return
        given_up, self._ours = list(self._ours), {}
        self._asked.clear()
        self._set()
        for link_id in given_up:
            if (link := self._board.links.get(link_id)) is not None:
                self._signals.tell(link, PushProxyCancel(), self._board.servent_id)

    def _acknowledged(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        """An ultrapeer agrees."""
        assert isinstance(body, PushProxyAck)
        address = Address(link.info.host, body.address.port)
        is_sound = is_plausible_peer(address, allow_private=self._allow_private)
        if link.id not in self._asked or guid != self._board.servent_id or not is_sound:
            self._board.drop(link, DropReason.PROXY_UNREQUESTED)
            return
        if len(self._ours) < MAX_ASKED:
            self._ours[link.id] = address
            self._set()

    def _removed(self, link: Link) -> None:
        self._forget(link)
        self._asked.pop(link.id, None)
        if self._ours.pop(link.id, None) is not None:
            self._set()

    def _set(self) -> None:
        self._state.push_proxies = tuple(self._ours.values())
