"""Connect-backs that peers ask of us (BEAR/7 over TCP, GTKG/7 by UDP): so that they learn whether they can be reached.

Whoever asks names a port and nothing else: we dial the IP that its link comes from, each IP once in GAP_S, all of them
together at a bounded rate.  Redirects (LIME/7 and 8), by which LimeWire's ultrapeers had others dial for them, let anybody
aim us at a third party, so they are refused.
"""

from __future__ import annotations

from gnutella.protocol.vendor import Body, TcpConnectBack, UdpConnectBack
from gnutella.reasons import DropReason
from gnutella.routing.events import ConnectBackAsked
from gnutella.routing.link import Link
from gnutella.routing.seen import Generations
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.udp_limits import source_key
from gnutella.units import Address, Guid, is_plausible_peer

#: Seconds between two connect-backs of one sort to one address (our own number; servents ask again after many minutes).
GAP_S = 60.0
#: Connect-backs of both sorts a second, on average and at once (our own numbers): a hundred leaves may come at the same time.
PER_SECOND = 2.0
BURST = 100.0
#: Addresses noted in a generation of GAP_S: no more than the rate lets through.
_MAX_HOSTS = int(PER_SECOND * GAP_S + BURST)


class ConnectBacks:
    """Says which of them are done; the edge does them (ConnectBackAsked)."""

    def __init__(self, board: Switchboard, signals: Signals, *, allow_private: bool, now: float) -> None:
        self._board = board
        self._allow_private = allow_private
        self._done: Generations[tuple[str, bool], float] = Generations(_MAX_HOSTS, GAP_S, now)
        self._credit = BURST
        self._credited_at = now
        signals.read(b"BEAR", 7, 1, self._tcp)
        signals.read(b"GTKG", 7, 2, self._udp)
        signals.refuse(b"LIME", 7, DropReason.CONNECT_BACK_FORGED)
        signals.refuse(b"LIME", 8, DropReason.CONNECT_BACK_FORGED)

    def tick(self, now: float) -> None:
        """Forget whom we have called long ago."""
        self._done.tick(now)

    def _tcp(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        assert isinstance(body, TcpConnectBack)
        self._asked(link, body.port, None, now)

    def _udp(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        assert isinstance(body, UdpConnectBack)
        self._asked(link, body.port, body.guid or guid, now)

    def _asked(self, link: Link, port: int, ping: Guid | None, now: float) -> None:
        address = Address(link.info.host, port)
        if not is_plausible_peer(address, allow_private=self._allow_private):
            self._board.drop(link, DropReason.BAD_VENDOR, f"a connect-back to {address}")
        elif not self._may(source_key(address), ping is not None, now):
            self._board.drop(link, DropReason.RATE)
        else:
            self._board.emit(ConnectBackAsked(address, ping))

    def _may(self, source: str, is_udp: bool, now: float) -> bool:
        last = self._done.get((source, is_udp))
        self._credit = min(BURST, self._credit + max(0.0, now - self._credited_at) * PER_SECOND)
        self._credited_at = now
        if self._credit < 1.0 or (last is not None and now - last < GAP_S):
            return False
        self._credit -= 1.0
        self._done.put((source, is_udp), now, now)
        return True
