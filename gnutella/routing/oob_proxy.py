"""Out-of-band hits for our leaves: an ultrapeer asks for them in a leaf's stead, and passes them on over the leaf's link.

A leaf that cannot be sent datagrams asks without the flag for hits by UDP.  We add it, and write our own address into the GUID
that the query has from us on; all its other bytes stay, so that whoever sees the copies of several ultrapeers of one leaf can
tell that they are the same (digest 4.3 rule 3, 8.5).  Hits come back to that GUID, by UDP or over links, and get the leaf's
again.  A leaf that does not want this says so: once with LIME/13, or in a query with GGEP NP.

    guid, payload = proxy.disguised(leaf, guid, payload, now)     # as the query is to be sent to others
    paths.proxied.get(guid)                                       # the leaf's own GUID
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.errors import RemoteViolation
from gnutella.protocol.message import Query
from gnutella.protocol.oob import SECURE, asking_oob, oob_guid
from gnutella.protocol.vendor import Body, OobProxyVeto
from gnutella.routing.answers import Answers
from gnutella.routing.link import Link
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import BY_PROXY, Switchboard
from gnutella.units import Address, Guid

#: Seconds for which the address that queries ask for hits at is not worked out anew (our own number): it takes a look at
#: every link, and there may be thousands.
ADDRESS_LIFE_S = 10.0
#: GGEP key of a query that is not to be proxied (digest 3.3).
NO_PROXY = "NP"


class OobProxy:
    """Of one node.  `hits_address` gives where hits by UDP reach us, None where they do not or are not wanted."""

    def __init__(self, board: Switchboard, paths: ReversePaths, answers: Answers, signals: Signals) -> None:
        self._board = board
        self._paths = paths
        self._answers = answers
        self.hits_address: Callable[[], Address | None] = lambda: None
        self._address: Address | None = None
        self._asked_at = float("-inf")
        signals.read(b"LIME", 13, 1, self._vetoed)

    def disguised(self, leaf: Link, guid: Guid, payload: bytes, now: float) -> tuple[Guid, bytes]:
        """GUID and payload that others get of a leaf's query; those of the leaf where it is not proxied."""
        asking = self._asking(leaf, payload)
        address = self._hits_address(now) if asking is not None else None
        if asking is None or address is None:
            return guid, payload
        ours = oob_guid(guid, address)
        if ours in self._paths.queries or ours in self._paths.searches:
            return guid, payload
        self._paths.queries.put(ours, BY_PROXY, now)
        self._paths.proxied.put(ours, guid, now)
        self._answers.asked(guid, now)
        if guid in self._board.trace:
            self._board.trace.step(guid, now, f"asked for hits by UDP, as {ours.hex()}")
        return ours, asking.encode()

    def _asking(self, leaf: Link, payload: bytes) -> Query | None:
        """The query as one that asks for hits by UDP; None if that is not to be."""
        if not self._board.settings.oob_proxy or leaf.vetoes_oob >= SECURE:
            return None
        try:
            query = Query.decode(payload)
        except RemoteViolation:
            return None
        if query.wants_oob or (query.ggep is not None and NO_PROXY in query.ggep):
            return None
        return asking_oob(query)

    def _hits_address(self, now: float) -> Address | None:
        if now - self._asked_at >= ADDRESS_LIFE_S:
            self._asked_at = now
            self._address = self.hits_address()
        return self._address

    def _vetoed(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        assert isinstance(body, OobProxyVeto)
        link.vetoes_oob = body.version
