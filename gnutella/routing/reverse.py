"""The ways back: which link a query came from, behind which link a servent is, how many results a query has had.

All of them are two-generation tables with fixed bounds.  The sizes: an entry costs about 120 bytes, so all tables full are
about 40 MiB.  Under a flood of 100,000 queries a second the ways back still live for one to two seconds, on the real network
(hundreds of queries a second) for the whole QUERY_LIFE_S.
"""

from __future__ import annotations

from gnutella.routing.seen import Generations
from gnutella.units import Address, Guid, LinkId

#: Queries: (muid -> link), at most 200,000 for 10 to 20 minutes (digest 4.1).
QUERY_GENERATION = 100_000
QUERY_LIFE_S = 600.0
#: Servent ids learned from hits: 15 to 30 minutes (digest 4.1; LimeWire keeps 2 * 50,000).
SERVENT_GENERATION = 50_000
SERVENT_LIFE_S = 900.0
#: Queries that had hits: their results are counted for the quota.
QUOTA_GENERATION = 20_000
#: Pushes, which are routed but never twice.
PUSH_GENERATION = 20_000
#: Queries that came by UDP, and who asked: 3 to 6 minutes (digest 4.1); as many as GUESS takes in that time.
ASKER_GENERATION = 4096
ASKER_LIFE_S = 180.0
#: Queries that came with TTL 1, and may come again with more: the next steps of whoever drives them take seconds.
PROBE_GENERATION = 20_000
PROBE_LIFE_S = 60.0
#: Queries of leaves that others know under another GUID (gtk-gnutella remembers them for 11 minutes; digest 8.5).
PROXIED_GENERATION = 20_000
#: Own searches whose hits are still wanted; the oldest one is given up first (our own number).
MAX_SEARCHES = 1024


class ReversePaths:
    """Every table of the ways back; see the module text."""

    def __init__(self, now: float = 0.0, query_generation: int = QUERY_GENERATION) -> None:
        self.queries: Generations[Guid, LinkId] = Generations(query_generation, QUERY_LIFE_S, now)
        self.pushes: Generations[Guid, LinkId] = Generations(PUSH_GENERATION, QUERY_LIFE_S, now)
        #: Who asked queries that came by UDP.
        self.askers: Generations[Guid, Address] = Generations(ASKER_GENERATION, ASKER_LIFE_S, now)
        #: Queries whose TTL was spent when they came.
        self.probes: Generations[Guid, LinkId] = Generations(PROBE_GENERATION, PROBE_LIFE_S, now)
        #: GUIDs that queries of leaves have from us on -> those that the leaves gave them.
        self.proxied: Generations[Guid, Guid] = Generations(PROXIED_GENERATION, QUERY_LIFE_S, now)
        #: Own searches and when they were asked.
        self.searches: dict[Guid, float] = {}
        self._servents: Generations[Guid, LinkId] = Generations(SERVENT_GENERATION, SERVENT_LIFE_S, now)
        self._results: Generations[Guid, int] = Generations(QUOTA_GENERATION, QUERY_LIFE_S, now)

    def learn_servent(self, servent_id: Guid, link: LinkId, now: float) -> None:
        """A hit of that servent came over this link."""
        self._servents.put(servent_id, link, now)

    def servent(self, servent_id: Guid) -> LinkId | None:
        """The link that the last hit of a servent came over."""
        return self._servents.get(servent_id)

    def take_quota(self, query: Guid, results: int, quota: int, now: float) -> bool:
        """Whether a query may have `results` more results; notes them if so."""
        had = self._results.get(query) or 0
        if had >= quota:
            return False
        self._results.put(query, had + results, now)
        return True

    def results(self, query: Guid) -> int:
        """Results that a query has had."""
        return self._results.get(query) or 0

    def start_search(self, guid: Guid, now: float) -> None:
        while len(self.searches) >= MAX_SEARCHES:
            del self.searches[next(iter(self.searches))]
        self.searches[guid] = now

    def extend(self, query: Guid) -> None:
        """A query that was only a probe is passed on after all: once."""
        self.probes.young.pop(query, None)
        self.probes.old.pop(query, None)

    def tick(self, now: float) -> None:
        """Forget what is too old."""
        self.queries.tick(now)
        self.pushes.tick(now)
        self.askers.tick(now)
        self.probes.tick(now)
        self.proxied.tick(now)
        self._servents.tick(now)
        self._results.tick(now)

    def sizes(self) -> dict[str, int]:
        """Entries by table, for status and tests."""
        return {
            "queries": len(self.queries),
            "servents": len(self._servents),
            "results": len(self._results),
            "askers": len(self.askers),
            "pushes": len(self.pushes),
            "probes": len(self.probes),
            "proxied": len(self.proxied),
            "searches": len(self.searches),
        }
