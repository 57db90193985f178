"""Searches of this node: query out, hits in, numbered rows that stay addressable.

The daemon keeps the newest hit lists, so that `gnutella search` and a later `gnutella get 1`, which are different connections,
speak of the same row.  Every row has a spam score with reasons; `spam_threshold` tells from where on it is likely spam.  A
search that nobody stops ends by itself after LINGER_S; its rows stay until MAX_HIT_LISTS newer lists push it out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from gnutella.browsing import browsed
from gnutella.control.events import Journal
from gnutella.control.view import MAX_HIT_LISTS, HitRef, Row
from gnutella.errors import RemoteViolation, UserError
from gnutella.protocol.query import MAX_FORWARDED_QUERY, Query, make_query
from gnutella.protocol.urn import parse_urn, sha1_urn
from gnutella.routing.events import HitReceived
from gnutella.routing.results import MAX_ROWS, Hit, SearchResults
from gnutella.routing.seams import Chance
from gnutella.routing.spam import DEFAULT_THRESHOLD, SpamJudge, SpamMemory
from gnutella.units import Guid

#: Seconds after which a search takes no more hits: reverse paths in the network live about ten minutes (digest 4.1).
LINGER_S = 600.0
#: Seconds for which hits are taken of a query that only looks for further sources.
FIND_S = 60.0


class Asker(Protocol):
    """The part of the links service that sends queries."""

    def search(self, query: Query, ttl: int | None = None) -> Guid: ...
    def stop_search(self, guid: Guid) -> None: ...
    def search_keeps(self, guid: Guid, results: int) -> None: ...


class HitListOf:
    """The numbered hits of one search or browse (control.view.HitList)."""

    def __init__(self, results: SearchResults, words: str, end: Callable[[HitListOf], None]) -> None:
        self.results = results
        self.words = words
        self.on_row: Callable[[Row], None] | None = None
        self.timer: IDelayedCall | None = None
        self._end = end

    @property
    def guid(self) -> Guid:
        return self.results.guid

    @property
    def rows(self) -> Sequence[Row]:
        return self.results.rows()

    def stop(self) -> None:
        """Take no more hits; a second call does nothing."""
        self.on_row = None
        self._end(self)


class Searches:
    """The node's hit lists, newest last.  `clock` is the reactor; `on_sources` gets each file found with its sources."""

    def __init__(
        self,
        asker: Asker,
        journal: Journal,
        clock: Any,
        rng: Chance,
        on_sources: Callable[[Hit], None],
        spam_threshold: Callable[[], int] = lambda: DEFAULT_THRESHOLD,
    ) -> None:
        self._asker = asker
        self._rng = rng
        self._on_sources = on_sources
        self._spam_threshold = spam_threshold
        self._spam = SpamMemory()
        self._journal = journal
        self._clock = clock
        self._lists: OrderedDict[Guid, HitListOf] = OrderedDict()
        self._open: set[Guid] = set()
        self._finding: dict[Guid, IDelayedCall] = {}

    def search(
        self,
        words: str,
        kinds: Sequence[str],
        limit: int,
        on_row: Callable[[Row], None] | None,
        ttl: int | None = None,
    ) -> HitListOf:
        """Send a query for words or for one URN; UserError (64) for words that no servent would answer."""
        query = query_for(words)
        guid = self._asker.search(query, ttl)
        judge = SpamJudge(words, self._spam, self._spam_threshold())
        found = HitListOf(SearchResults(guid, kinds, limit or MAX_ROWS, judge), words, self._stop)
        found.on_row = on_row
        found.timer = self._clock.callLater(LINGER_S, found.stop)
        self._open.add(guid)
        self._keep(found)
        self._journal.add("search_started", guid=guid.hex(), words=words)
        return found

    def keep_browse(self, answer: bytes, words: str) -> HitListOf:
        """Make the hits of a browse answer (query hit messages one after the other) the newest list."""
        found = HitListOf(browsed(answer, self._rng), words, self._stop)
        self._keep(found)
        return found

    def find_sources(self, sha1: bytes) -> None:
        """Ask the overlay who has a content that is being downloaded; hits go to `on_sources`."""
        guid = self._asker.search(query_for(sha1_urn(sha1)))
        self._finding[guid] = self._clock.callLater(FIND_S, self._found_enough, guid)

    def hit_received(self, event: HitReceived) -> None:
        """Take in the hit of one of our queries."""
        if event.guid in self._finding or event.guid in self._open:
            self._tell_downloads(event)
        found = self._lists.get(event.guid)
        if found is None or event.guid not in self._open:
            return
        for hit in found.results.add(event):
            self._journal.add(
                "hit_received", guid=event.guid.hex(), hit=hit.number, name=hit.name, size=hit.size, urn=hit.urn
            )
            if found.on_row is not None:
                found.on_row(hit.row())
        self._asker.search_keeps(event.guid, found.results.kept)

    def hit(self, ref: HitRef) -> Hit | None:
        """The hit that `ref` names, with its sources; None when there is no such number or list."""
        if not self._lists:
            return None
        found = self._lists.get(ref.search) if ref.search is not None else next(reversed(self._lists.values()))
        return found.results.hit(ref.number) if found is not None else None

    def words(self, guid: Guid) -> str | None:
        """What the query of that GUID asked for; None when it is none of the lists kept."""
        found = self._lists.get(guid)
        return found.words if found is not None else None

    def stop(self) -> None:
        """End all searches; the node stops."""
        for guid in list(self._finding):
            self._found_enough(guid)
        for found in list(self._lists.values()):
            found.stop()

    def _tell_downloads(self, event: HitReceived) -> None:
        """Late sources of a file that is being downloaded already are sources too."""
        results = SearchResults(event.guid)
        results.add(event)
        for hit in results.hits():
            if hit.sha1 is not None:
                self._on_sources(hit)

    def _found_enough(self, guid: Guid) -> None:
        timer = self._finding.pop(guid)
        if timer.active():
            timer.cancel()
        self._asker.stop_search(guid)

    def _keep(self, found: HitListOf) -> None:
        self._lists[found.guid] = found
        while len(self._lists) > MAX_HIT_LISTS:
            _, oldest = self._lists.popitem(last=False)
            oldest.stop()

    def _stop(self, found: HitListOf) -> None:
        if found.timer is not None and found.timer.active():
            found.timer.cancel()
        found.timer = None
        if found.guid in self._open:
            self._open.discard(found.guid)
            self._asker.stop_search(found.guid)
            self._journal.add("search_stopped", guid=found.guid.hex(), hits=len(found.results))


def query_for(words: str) -> Query:
    """The query that asks for `words`, or for one URN if that is what they are."""
    text = words.strip()
    if text.lower().startswith("urn:"):
        try:
            sha1 = parse_urn(text).sha1
        except RemoteViolation:
            sha1 = None
        if sha1 is None:
            raise UserError(f"{text!r} is no URN that can be searched", "write urn:sha1: and 32 letters and digits")
        return make_query("", urns=(sha1_urn(sha1),))
    query = make_query(text)
    if len(query.encode()) > MAX_FORWARDED_QUERY:
        raise UserError("the words are longer than other servents forward", "search for fewer or shorter words")
    return query
