"""Out-of-band hits for searches of ours and of our leaves: what is announced is claimed, and only that is taken (digest 8.5).

A servent that has hits announces how many.  It is acknowledged with the number that the search still wants and with a token
made for its address and this search.  Its hits must come from that address, with the token, and may have no more records than
were wanted.  An acknowledgement is barely longer than the announcement, so that nobody can use us against others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.hit import SERVENT_ID_BYTES
from gnutella.protocol.kinds import QUERY_HIT, encode_header
from gnutella.protocol.message import QueryHit, encode
from gnutella.protocol.oob import SECURE
from gnutella.protocol.vendor import OobAck, OobReplies
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.actions import SendDatagram
from gnutella.routing.hits import MIN_HIT, Hits
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.seen import Generations
from gnutella.routing.switchboard import BY_UDP, Switchboard
from gnutella.routing.tokens import Tokens
from gnutella.routing.udp_limits import Buckets, network_key
from gnutella.units import Address, Guid

#: Seconds for which a token holds at least: others keep hits for 2 to 3 minutes and send them over up to two more.
TOKEN_LIFE_S = 180.0
#: Claims in a generation.  A flood at ALL_PER_S fills one in 40 s: what was claimed before it holds for that long at least, and
#: hits of most servents come within seconds.
MAX_CLAIMS = 4096
#: Records wanted of one announcement at most: what one servent has shall not crowd out all others (our own number).
MAX_WANTED = 64
#: Acknowledgements of one announcement that is repeated: gtk-gnutella tries three times.
MAX_ACKS = 3
#: Announcements taken of one network (udp_limits.network_key) and of all, a second and at once.  Our own numbers: a popular
#: search draws a few hundred within seconds.
NETWORK_PER_S, NETWORK_BURST = 4.0, 32.0
ALL_PER_S, ALL_BURST = 100.0, 400.0
MAX_NETWORKS = 4096
_TTL = 1


@dataclass(slots=True)
class _Claim:
    """What one servent may still send for one search."""

    wanted: int
    left: int
    acks: int = 0
    seen: set[bytes] = field(default_factory=set)


class Claims:
    """All of one node."""

    def __init__(self, board: Switchboard, paths: ReversePaths, hits: Hits, secret: bytes, now: float) -> None:
        self._board = board
        self._paths = paths
        self._hits = hits
        self._tokens = Tokens(secret, TOKEN_LIFE_S, b"out-of-band hits")
        self._claims: Generations[tuple[Guid, Address], _Claim] = Generations(MAX_CLAIMS, TOKEN_LIFE_S, now)
        self._networks = Buckets(MAX_NETWORKS, NETWORK_PER_S, NETWORK_BURST, now)
        self._all = Buckets(1, ALL_PER_S, ALL_BURST, now)

    def announced(
        self, guid: Guid, replies: OobReplies, version: int, source: Address, now: float
    ) -> DropReason | None:
        """Hits wait at `source`: ask for those that the search still has room for, 0 if none."""
        search = self._search(guid)
        if search is None:
            return DropReason.UNREQUESTED_ANNOUNCE
        if version < SECURE:
            return DropReason.OOB_INSECURE
        if not replies.hits:
            return DropReason.BAD_VENDOR
        claim = self._claims.get((guid, source))
        if claim is not None and claim.acks >= MAX_ACKS:
            return DropReason.UDP_RATE
        if not self._networks.take(network_key(source), now):
            return DropReason.UDP_RATE
        if not self._all.take("", now):
            return DropReason.UDP_BUSY
        if claim is None:
            room = self._board.settings.max_hits_per_query - self._paths.results(search)
            wanted = max(0, min(replies.hits, MAX_WANTED, room))
            claim = _Claim(wanted, wanted)
            self._claims.put((guid, source), claim, now)
        claim.acks += 1
        self._acknowledge(guid, claim, source, now)
        return None

    def hit(self, guid: Guid, hops: int, payload: bytes, source: Address, now: float) -> DropReason | None:
        """A hit that came by UDP; the reason if it is not taken."""
        if self._search(guid) is None:
            return DropReason.UNREQUESTED_HIT
        claim = self._claims.get((guid, source))
        if claim is None:
            return DropReason.OOB_TOKEN
        if len(payload) < MIN_HIT:
            return DropReason.BAD_HIT
        try:
            hit = QueryHit.decode(payload)
        except RemoteViolation as violation:
            return violation.reason
        token = hit.ggep.get("SO") if hit.ggep is not None else None
        if token is None or not self._tokens.holds(token, now, source, guid):
            return DropReason.OOB_TOKEN
        if self._hits.is_bogus(payload[-SERVENT_ID_BYTES:], guid):
            return DropReason.BOGUS_HIT
        digest = hashlib.blake2b(payload, digest_size=8).digest()
        if digest in claim.seen:
            return DropReason.DUPLICATE
        if len(hit.records) > claim.left:
            return DropReason.HIT_QUOTA
        claim.left -= len(hit.records)
        claim.seen.add(digest)
        if guid in self._paths.searches:
            return self._hits.take(guid, hit, hops + 1, BY_UDP, now)
        message = encode_header(guid, QUERY_HIT, _TTL, hops, len(payload)) + payload
        return self._hits.to_leaf(Frame(guid, QUERY_HIT, _TTL, hops, message, 0, len(message)), now)

    def _search(self, guid: Guid) -> Guid | None:
        """The search that has this GUID for others: one of ours, or of a leaf that is still here."""
        if guid in self._paths.searches:
            return guid
        search = self._paths.proxied.get(guid)
        asker = None if search is None else self._paths.queries.get(search)
        return search if asker in self._board.links else None

    def tick(self, now: float) -> None:
        """Forget claims and rates that are over."""
        self._claims.tick(now)
        self._networks.tick(now)

    def __len__(self) -> int:
        return len(self._claims)

    def _acknowledge(self, guid: Guid, claim: _Claim, source: Address, now: float) -> None:
        ack = message_of(OobAck(claim.wanted, self._tokens.make(now, source, guid)))
        self._board.trace.step(guid, now, f"hits announced by UDP, {claim.wanted} wanted", None)
        self._board.emit(SendDatagram(source, encode(guid, _TTL, 0, ack)))
