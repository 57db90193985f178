"""Dynamic queries of this node: its own searches and those of its leaves, sent gradually (protocol digest 8).

superpeers/dynamic.py decides whom each goes to next and with which TTL; here are the links it may choose from, what came back
so far, and the time: the first step is made at once, the others by `tick`.  A leaf that guides its query says how much it
keeps of what came (guidance.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.protocol.kinds import QUERY, encode_header
from gnutella.protocol.query import FLAG_GUIDED
from gnutella.protocol.vendor import Body, QueryStatus, QueryStatusRequest
from gnutella.reasons import DropReason
from gnutella.routing.guidance import ENOUGH, MAX_KEPT, SHARED_BY, Guided, is_undivided
from gnutella.routing.link import Link
from gnutella.routing.oob_proxy import OobProxy
from gnutella.routing.reverse import ReversePaths
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import OWN, Switchboard
from gnutella.routing.tables import Tables
from gnutella.superpeers.dynamic import (
    HOP_S,
    LEAVES_EACH,
    WANTED_HASH,
    WANTED_LEAF,
    WANTED_OWN,
    DynamicQuery,
    Neighbour,
)
from gnutella.superpeers.lookup import Asked, asked_by
from gnutella.units import Guid, LinkId

#: Queries that are driven at the same time, and those of one leaf among them (our own numbers: a leaf may ask one each five
#: seconds, and a query runs for ten or twenty).
MAX_RUNNING = 1024
MAX_OF_LEAF = 16
#: A step waits that long for what the leaf says (our own number; gtk-gnutella waits for up to 40 s).
PATIENCE_S = 1.0
#: A leaf asks several ultrapeers.  One whose own leaves have that share of what is wanted lets them answer first, for about so
#: many seconds, more or less by half; then it asks the leaf what it keeps of all.  So not all of them ask further at once.
PATIENT_SHARE = 0.5
PATIENT_S = 2.0
#: With that share of what is wanted, a leaf is asked before each step: others may have found the rest (our own number).
NEAR_SHARE = 0.5
#: So often it is left to the others then (our own number: a second each).
MAX_YIELDED = 3
#: Results routed to a leaf that guides its query are at most that many times those wanted (digest 8.2).
MAX_SENT = 20


@dataclass(slots=True)
class Running:
    """One query.  `source` is the leaf that asked, or OWN; `hops` what it is sent with; `max_ttl` the most it gets.

    `sent_as` is its GUID for others (oob_proxy.py), `payload` what they get.
    """

    guid: Guid
    sent_as: Guid
    payload: bytes
    source: LinkId
    max_ttl: int
    asked_for: Asked
    query: DynamicQuery
    guided: Guided | None = None
    #: Its leaf has been asked, and the next step waits for the answer.
    is_asking: bool = False
    #: How often it was left to other ultrapeers of the leaf to ask further.
    yielded: int = 0

    @property
    def hops(self) -> int:
        return 0 if self.source == OWN else 1


class Dynamic:
    """All of them."""

    def __init__(
        self, board: Switchboard, tables: Tables, paths: ReversePaths, signals: Signals, proxy: OobProxy
    ) -> None:
        self._board = board
        self._tables = tables
        self._paths = paths
        self._signals = signals
        self._proxy = proxy
        self._running: dict[Guid, Running] = {}
        self._of_leaf: dict[LinkId, int] = {}
        signals.read(b"BEAR", 12, 1, self._told)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_used(self) -> bool:
        """Whether queries are driven at all; a leaf leaves it to its ultrapeers."""
        return self._board.settings.dynamic_queries and not self._board.is_leaf

    def has_room(self, leaf: Link) -> bool:
        """Whether another query of that leaf may be driven."""
        return len(self._running) < MAX_RUNNING and self._of_leaf.get(leaf.id, 0) < MAX_OF_LEAF

    def start(self, guid: Guid, payload: bytes, source: Link | None, max_ttl: int, now: float) -> None:
        """Send a query gradually from now on; our leaves have been asked already.  Our own push out the oldest of too many."""
        while len(self._running) >= MAX_RUNNING:
            self.stop(next(iter(self._running)))
        asked_for, leaves = asked_by(payload), self._tables.leaves
        source_id = OWN if source is None else source.id
        expected = (leaves.match(asked_for) & ~leaves.bit(source_id)).bit_count()
        query = DynamicQuery(
            self._wanted(payload, is_own=source is None), 1 + len(leaves) if len(leaves) else LEAVES_EACH, expected, now
        )
        sent = (guid, payload) if source is None else self._proxy.disguised(source, guid, payload, now)
        running = self._running[guid] = Running(guid, *sent, source_id, max_ttl, asked_for, query)
        if source is not None:
            self._of_leaf[source_id] = self._of_leaf.get(source_id, 0) + 1
            flags = int.from_bytes(payload[:2], "big")
            if flags & FLAG_GUIDED and source.reads_vendor(b"BEAR", 11):
                running.guided = Guided(is_undivided(source.info.user_agent))
        if running.guided is not None and expected >= PATIENT_SHARE * query.wanted:
            query.next_at = now + PATIENT_S * (0.5 + self._board.rng.random())
            return
        self._step(running, now)
        if source is not None and query.asked:
            self._board.counters.queries_relayed += 1

    def stop(self, guid: Guid) -> None:
        """Send it no further."""
        running = self._running.pop(guid, None)
        if running is not None and running.source != OWN:
            left = self._of_leaf[running.source] - 1
            if left:
                self._of_leaf[running.source] = left
            else:
                del self._of_leaf[running.source]

    def tick(self, now: float) -> None:
        """The steps that are due; ends what nobody waits for any more."""
        links = self._board.links
        for running in list(self._running.values()):
            if not self.is_used or (running.source != OWN and running.source not in links):
                self.stop(running.guid)
            elif running.query.next_at <= now and not self._asks(running, now):
                self._step(running, now)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _wanted(self, payload: bytes, *, is_own: bool) -> int:
        if payload[2:3] in (b"\0", b"\\"):  # no words: it asks for hashes
            return WANTED_HASH
        return WANTED_OWN if is_own else WANTED_LEAF

    def _step(self, running: Running, now: float) -> None:
        board, query, hops = self._board, running.query, running.hops
        running.is_asking = False
        results = self._results(running)
        came = self._paths.results(running.guid)
        for link_id, ttl in query.step(now, results, self._neighbours(running), came):
            header = encode_header(running.sent_as, QUERY, ttl, hops, len(running.payload))
            board.send_queries(board.links[link_id], [header + running.payload])
            board.trace.step(running.guid, now, "forwarded to", link_id)
        if query.is_over:
            board.trace.step(running.guid, now, f"asked enough, {self._paths.results(running.guid)} results")
            self.stop(running.guid)

    def _results(self, running: Running) -> float:
        """Results so far, as they count; no end of them when no more would be passed on."""
        routed = self._paths.results(running.guid)
        if routed >= min(self._board.settings.max_hits_per_query, MAX_SENT * running.query.wanted):
            return float("inf")
        return routed if running.guided is None else running.guided.results(routed)

    def _neighbours(self, running: Running) -> list[Neighbour]:
        """Whom it may be sent to, in random order."""
        mile, board, hops = self._tables.neighbours, self._board, running.hops
        found = set(mile.links(mile.match(running.asked_for)))
        rows = [
            (
                board.rng.random(),
                Neighbour(
                    link.id,
                    link.info.degree,
                    max(1, min(running.max_ttl, link.info.max_ttl - hops)),
                    link.id in found if link.is_guided else None,
                    extends=link.info.extends_probes,
                    is_dynamic=link.info.is_dynamic,
                ),
            )
            for link in board.links.values()
            if link.id != running.source and _takes(link, hops)
        ]
        return [row for _, row in sorted(rows, key=lambda row: row[0])]

    def _asks(self, running: Running, now: float) -> bool:
        """Whether its leaf is asked first what it keeps, which may be enough; the step is made soon, answered or not."""
        guided, leaf = running.guided, self._board.links.get(running.source)
        if guided is None or leaf is None or running.is_asking:
            return False
        routed, results = self._paths.results(running.guid), self._results(running)
        # What came since it told counts whole: it is asked whether that really is the end.
        is_open = results < running.query.wanted or routed > guided.routed
        is_near = is_open and NEAR_SHARE * running.query.wanted <= results < float("inf")
        if not guided.is_due(routed, len(running.query.asked), now, is_near=is_near):
            return False
        running.query.next_at = now + PATIENCE_S
        running.is_asking = self._signals.tell(leaf, QueryStatusRequest(), running.guid)
        return running.is_asking

    def _yields(self, running: Running, now: float) -> bool:
        """Whether another ultrapeer of the leaf may ask further.

        Where one more neighbour of one of them would give more than is missing, all would otherwise ask one in the same moment.
        """
        gain = self._paths.results(running.guid) / running.query.horizon
        missing = SHARED_BY * (running.query.wanted - self._results(running))
        chance = max(missing / gain, 1 / SHARED_BY) if gain else 1.0
        if missing <= 0 or running.yielded >= MAX_YIELDED or self._board.rng.random() < chance:
            return False
        running.yielded += 1
        running.is_asking = False
        running.query.next_at = now + HOP_S
        return True

    def _told(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        """A leaf's status of its query."""
        assert isinstance(body, QueryStatus)
        running = self._running.get(guid)
        if running is None and self._paths.queries.get(guid) == link.id and link.info.is_leaf:
            return  # of a query that has come to its end: the two crossed
        if running is None or running.source != link.id:
            self._board.drop(link, DropReason.STATUS_ASTRAY)
        elif body.kept == ENOUGH:
            self._board.trace.step(guid, now, "ended by its leaf", link.id)
            self._paths.proxied.discard(running.sent_as)
            self.stop(guid)
        elif body.kept > MAX_KEPT:
            self._board.drop(link, DropReason.STATUS_ABSURD, f"{body.kept} results kept")
        else:
            if running.guided is None:  # told of its own accord
                running.guided = Guided(is_undivided(link.info.user_agent))
            running.guided.told(body.kept, self._paths.results(guid))
            if running.is_asking and not self._yields(running, now):  # at once: what it keeps is true now
                self._step(running, now)


def _takes(link: Link, hops: int) -> bool:
    """Whether a neighbour takes queries of so many hops now: it wants them, and not too much waits for it already."""
    if link.info.is_leaf or (link.max_hops is not None and hops >= link.max_hops):
        return False
    return link.queue is None or not link.queue.is_busy
