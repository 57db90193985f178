"""What datagrams are to the router: hits out of band in both directions, and queries by UDP (digest 8.5, 8.6).

    query, guid = oob.asking(query, guid)                        # before a search of ours is sent
    reason = oob.datagram(header, payload, source, now)          # a vendor message, a hit or a pong; None when it was taken
    reason = oob.query(header, payload, source, own, now)        # a query, whose key udp.py has checked

What goes out is emitted as SendDatagram.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import PONG, QUERY, QUERY_HIT, VENDOR, Header, encode_header
from gnutella.protocol.message import Query, VendorMessage
from gnutella.protocol.offer import MAX_DATAGRAM_HIT
from gnutella.protocol.oob import asking_oob, oob_guid
from gnutella.protocol.query import MASK_MAX_HITS
from gnutella.protocol.vendor import Body, OobAck, OobReplies, body_of
from gnutella.reasons import DropReason
from gnutella.routing.actions import SendDatagram
from gnutella.routing.answers import Answers, wants_hits_elsewhere
from gnutella.routing.guids import fresh_guid
from gnutella.routing.hits import Hits
from gnutella.routing.link import Link, LinkInfo
from gnutella.routing.oob_claims import Claims
from gnutella.routing.oob_offers import SPACING_S, Offers
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.seams import Shared
from gnutella.routing.switchboard import BY_UDP, OWN, Switchboard
from gnutella.routing.tables import Tables
from gnutella.units import Address, Guid, is_plausible_peer

#: Vendor messages that are read by UDP.
RECEIVED = ((b"LIME", 11, 3), (b"LIME", 12, 3))
#: Files that one query by UDP is answered with at most (our own number: some ten datagrams).
MAX_FILES = 32

#: Files that match a query's payload, at most so many.
LookUp = Callable[[bytes, int], Sequence[Shared]]
#: Why a query cannot be read or forwarded; None when it can.
Judge = Callable[[Frame], DropReason | None]
#: Acts on a vendor message that came by UDP: its GUID, data and source, and the time; the reason if it is dropped.
Reader = Callable[[Guid, Body, Address, float], DropReason | None]


class OutOfBand:
    """Of one node whose UDP port is open."""

    def __init__(
        self,
        board: Switchboard,
        paths: ReversePaths,
        answers: Answers,
        hits: Hits,
        tables: Tables,
        secret: bytes,
        look_up: LookUp,
        judge: Judge,
        is_reached: Callable[[], bool],
        *,
        allow_private: bool,
        now: float,
    ) -> None:
        self._board = board
        self._paths = paths
        self._answers = answers
        self._tables = tables
        self._allow_private = allow_private
        self._look_up = look_up
        self._judge = judge
        self._is_reached = is_reached
        self.claims = Claims(board, paths, hits, secret, now)
        self.offers = Offers(board, answers, is_reached, allow_private=allow_private, now=now)
        self._readers: dict[type, Reader] = {OobAck: self.offers.acknowledged}
        #: Stands for the UDP port where queries are led.
        self._port = Link(BY_UDP, LinkInfo("", ""), now)

    def tick(self, now: float) -> None:
        """Whatever is due."""
        self.claims.tick(now)
        self.offers.tick(now)

    # -- our own searches ----------------------------------------------------------------------------------------------

    def asking(self, query: Query) -> tuple[Query, Guid | None]:
        """A query of ours as it is sent, and the GUID that it must have then; None where hits come over links only.

        All links must agree on where we are, and that must be an IPv4 address: one fits into the GUID.  A leaf's ultrapeers
        refuse any other address than the one they see (digest 8.4).
        """
        board, address = self._board, self.hits_address()
        if address is None:
            return query, None
        if board.is_leaf and any(link.info.local_host != address.host for link in board.links.values()):
            return query, None
        asking = asking_oob(query)
        return (query, None) if asking is None else (asking, oob_guid(fresh_guid(board.rng), address))

    def hits_address(self) -> Address | None:
        """Where hits by UDP reach us; None where they do not, or are not wanted."""
        board = self._board
        mode = board.settings.oob
        if mode == "off" or self._answers.self.is_firewalled or (mode == "auto" and not self._is_reached()):
            return None
        addresses = {self._answers.address_for(link) for link in board.links.values()}
        if len(addresses) != 1:
            return None
        (address,) = addresses
        fits = ":" not in address.host and is_plausible_peer(address, allow_private=self._allow_private)
        return address if fits else None

    # -- what comes ----------------------------------------------------------------------------------------------------

    def datagram(self, header: Header, payload: bytes, source: Address, now: float) -> DropReason | None:
        """A hit, a vendor message, or a pong for none of the pings of udp.py; the reason if it is dropped."""
        if header.kind == QUERY_HIT:
            return self.claims.hit(header.guid, header.hops, payload, source, now)
        if header.kind == PONG:
            return None if self.offers.ponged(header.guid, source, now) else DropReason.UNREQUESTED_PONG
        if header.kind != VENDOR:
            return DropReason.NOT_OVER_UDP
        try:
            message = VendorMessage.decode(payload)
            body = body_of(message)
        except RemoteViolation as violation:
            return violation.reason
        if isinstance(body, OobReplies):
            return self.claims.announced(header.guid, body, message.version, source, now)
        reader = self._readers.get(type(body))
        return DropReason.NOT_OVER_UDP if reader is None or body is None else reader(header.guid, body, source, now)

    def read(self, body: type, reader: Reader) -> None:
        """From now on `reader` acts on that vendor message (a dataclass of vendor.py) when it comes by UDP."""
        self._readers[body] = reader

    def query(self, header: Header, payload: bytes, source: Address, own: Address, now: float) -> DropReason | None:
        """A query by UDP: answered from the library, and led to leaves; `own` is where the asker reaches us."""
        message = encode_header(header.guid, QUERY, header.ttl, header.hops, header.length) + payload
        frame = Frame(header.guid, QUERY, header.ttl, header.hops, message, 0, len(message))
        reason = self._refusal(frame, source)
        if reason is not None:
            return reason
        self._paths.queries.put(frame.guid, BY_UDP, now)
        self._paths.askers.put(frame.guid, source, now)
        flags = int.from_bytes(payload[:2], "big")
        found = self._look_up(payload, min(flags & MASK_MAX_HITS or MAX_FILES, MAX_FILES))
        if found:
            self._answer(frame, found, flags, source, own)
        self._lead(frame)
        return None

    def _refusal(self, frame: Frame, source: Address) -> DropReason | None:
        known = self._paths.queries.get(frame.guid)
        if known is not None or frame.guid in self._paths.searches:
            return DropReason.OWN_MESSAGE if known in (None, OWN) else DropReason.DUPLICATE
        reason = self._judge(frame)
        if reason is None and wants_hits_elsewhere(frame, source.host):
            reason = DropReason.FORGED_RETURN
        return reason

    def _answer(self, frame: Frame, found: Sequence[Shared], flags: int, source: Address, own: Address) -> None:
        board, delay_s = self._board, 0.0
        for hit in self._answers.hits(frame.guid, frame.hops, found, flags, own, max_bytes=MAX_DATAGRAM_HIT):
            board.emit(SendDatagram(source, hit, delay_s))
            delay_s += SPACING_S * (0.5 + board.rng.random())
        board.counters.queries_answered += 1
        board.counters.results_sent += len(found)

    def _lead(self, frame: Frame) -> None:
        """To the leaves that may have it, as the last hop of any query."""
        if self._board.is_leaf:
            return
        hops = frame.hops + 1
        if self._tables.is_used:
            self._tables.guide(self._port, frame.data, frame.start, frame.end, 0, hops)
            self._tables.deliver(self._port)
        if self._board.has_leaves:
            self._board.flood_leaves(self._port, frame.passed_on(1, hops), 1)
