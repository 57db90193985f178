"""GUESS 0.2, the side that is asked: queries by UDP, one ultrapeer at a time (digest 8.6).

Whoever asks must first have received a query key at the address it asks from, so that nobody can have hits sent to a third
party.  A key is given in the pong for a ping with an empty GGEP QK, and to queries with a wrong one; it holds for half a day to
a whole one.  A query with a sound key is acknowledged by a pong with hosts to ask next; its hits follow.
"""

from __future__ import annotations

from gnutella.networks import Shares, near, wide
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.message import Query
from gnutella.reasons import DropReason
from gnutella.routing.tokens import Tokens
from gnutella.routing.udp_limits import Buckets, source_key
from gnutella.units import Address

#: What pongs say of us in GGEP GUE: major and minor version in half a byte each.
GUESS_VERSION = b"\x02"
#: The same in handshakes (digest 1.3).
GUESS_HEADER = (("X-Guess", "0.2"),)
#: Seconds in which keys are made alike; each holds for one to two of these.  gtk-gnutella keeps keys for 86,000 s and asks anew
#: when told another (digest 8.6).
KEY_LIFE_S = 43_200.0
#: Queries of one host a second, and at once: what a leaf may send (digest 12); GUESS asks each ultrapeer once a search.
QUERIES_PER_S, QUERY_BURST = 0.2, 10.0
#: Queries of one near and one wide network (networks.py), of those whose networks count: a tenth and a quarter of all a second,
#: and at once more than one host may have (our own numbers).
NEAR_PER_S, NEAR_BURST = 2.0, 15.0
WIDE_PER_S, WIDE_BURST = 5.0, 20.0
#: Queries of all hosts (our own numbers): each may look into the whole library.
ALL_QUERIES_PER_S, ALL_QUERY_BURST = 20.0, 40.0
#: Hosts whose rate is noted in a generation: more cannot pass the limit of all queries in the time a bucket takes to fill.
MAX_ASKERS = 2048


class Guess:
    """Keys, and how often they may be used."""

    def __init__(self, secret: bytes, now: float) -> None:
        self._keys = Tokens(secret, KEY_LIFE_S, b"query key")
        self._askers = Buckets(MAX_ASKERS, QUERIES_PER_S, QUERY_BURST, now)
        self._near = Buckets(MAX_ASKERS, NEAR_PER_S, NEAR_BURST, now)
        self._wide = Buckets(MAX_ASKERS, WIDE_PER_S, WIDE_BURST, now)
        self._all = Buckets(1, ALL_QUERIES_PER_S, ALL_QUERY_BURST, now)
        #: Whose networks count; the node sets it.
        self.shares = Shares()

    def key_value(self, source: Address, now: float) -> dict[str, bytes]:
        """The key of that host as a pong has it."""
        return {"QK": self._keys.make(now, source)}

    def key_asked_for(self, asked: Ggep | None, source: Address, now: float) -> dict[str, bytes]:
        """The same if a ping asks for it, else nothing."""
        return self.key_value(source, now) if asked is not None and asked.get("QK") == b"" else {}

    def is_keyed(self, query: Query, source: Address, now: float) -> bool:
        """Whether the query has the key of the host it came from."""
        key = query.ggep.get("QK") if query.ggep is not None else None
        return key is not None and self._keys.holds(key, now, source)

    def refusal(self, source: Address, now: float) -> DropReason | None:
        """Take one query for that host; the reason when it has had too many, or its network, or all together have."""
        if not self._askers.take(source_key(source), now):
            return DropReason.UDP_RATE
        host = source.host
        if self.shares.applies_to(host) and not (self._near.take(near(host), now) and self._wide.take(wide(host), now)):
            return DropReason.NETWORK_FULL
        return None if self._all.take("", now) else DropReason.UDP_BUSY

    def tick(self, now: float) -> None:
        """Forget who has asked nothing for long."""
        for buckets in (self._askers, self._near, self._wide):
            buckets.tick(now)
