"""The hits of one search, grouped into numbered rows: one file each, with everybody who has it.

Files are the same when SHA-1 and size are; without a SHA-1, when name and size are.  (A size that disagrees with the SHA-1's
other sources makes a row of its own, so that nobody can spoil the row of an honest source.)  Numbers start at 1 and never
change: they are the handles that a person types.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gnutella.protocol.hit import HitRecord, QueryHit
from gnutella.protocol.magnet import Magnet, format_magnet
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.routing.events import HitReceived
from gnutella.routing.sorts import sort_of, wanted_sorts
from gnutella.routing.spam import NO_VERDICT, SpamJudge, Verdict
from gnutella.units import Address, Guid

#: Files of one search, and sources of one file, that are kept; more are only counted (our own numbers).
MAX_ROWS = 1000
MAX_SOURCES = 64
#: Sources that a row's magnet link names.
_MAGNET_SOURCES = 4

_Key = tuple[bytes, int] | tuple[str, int]


@dataclass(frozen=True, slots=True)
class HitSource:
    """One servent that has a file: how to reach it, and what it calls the file."""

    address: Address
    servent_id: Guid
    index: int
    name: str
    vendor: str
    #: It cannot be dialled: ask for a push, over one of its proxies if it told any.
    needs_push: bool
    push_proxies: tuple[Address, ...] = ()
    reads_tls: bool = False
    is_partial: bool = False
    #: Other addresses that this source says have the file.
    alternates: tuple[Address, ...] = ()

    def row(self) -> dict[str, Any]:
        """Keys address, servent_id (hex), push."""
        return {"address": str(self.address), "servent_id": self.servent_id.hex(), "push": self.needs_push}


@dataclass(slots=True)
class Hit:
    """One row: a file and its sources, in order of arrival."""

    number: int
    name: str
    size: int
    sha1: bytes | None
    hops: int
    sources: list[HitSource] = field(default_factory=list)
    spam: Verdict = NO_VERDICT
    is_spam: bool = False
    #: Tree roots as told by how many sources; they may lie.
    _tths: Counter[bytes] = field(default_factory=Counter)

    @property
    def urn(self) -> str | None:
        return sha1_urn(self.sha1) if self.sha1 is not None else None

    @property
    def tth(self) -> bytes | None:
        """The tree root that most sources tell, of equals the first."""
        return self._tths.most_common(1)[0][0] if self._tths else None

    def magnet(self) -> str:
        """A link to the file, with the first sources that can be dialled."""
        dialled = tuple(source.address for source in self.sources if not source.needs_push)[:_MAGNET_SOURCES]
        return format_magnet(Magnet(self.sha1, self.tth, self.size, self.name, dialled))

    def add(self, source: HitSource, tth: bytes | None, hops: int) -> bool:
        """Note a source; False when it is here already or the row is full."""
        if len(self.sources) >= MAX_SOURCES or any(old.servent_id == source.servent_id for old in self.sources):
            return False
        self.sources.append(source)
        self.hops = min(self.hops, hops)
        if tth is not None:
            self._tths[tth] += 1
        return True

    def row(self) -> dict[str, Any]:
        """The row that users see; its keys are those of the product contract."""
        tth = self.tth
        return {
            "hit": self.number,
            "name": self.name,
            "size": self.size,
            "urn": self.urn,
            "tth": b32encode(tth) if tth is not None else None,
            "hops": self.hops,
            "vendor": self.sources[0].vendor,
            "magnet": self.magnet(),
            "sources": [source.row() for source in self.sources],
            "spam": self.spam.score,
            "spam_reasons": list(self.spam.reasons),
            "likely_spam": self.is_spam,
        }


class SearchResults:
    """All hits of one search; `kinds` lets only some sorts of files through (sorts.SORTS), `limit` so many rows.

    `judge` says how likely each is spam; without one, none is.
    """

    def __init__(
        self, guid: Guid, kinds: Iterable[str] = (), limit: int = MAX_ROWS, judge: SpamJudge | None = None
    ) -> None:
        self.guid = guid
        #: Results that found no room.
        self.omitted = 0
        self._judge = judge
        #: Results in all rows together: files at different servents.
        self.kept = 0
        self._wanted = wanted_sorts(kinds)
        self._limit = min(limit or MAX_ROWS, MAX_ROWS)
        self._hits: dict[_Key, Hit] = {}
        self._numbered: list[Hit] = []

    def __len__(self) -> int:
        return len(self._numbered)

    @property
    def is_full(self) -> bool:
        """No further row will be made; known ones may still gain sources."""
        return len(self._numbered) >= self._limit

    def add(self, event: HitReceived) -> list[Hit]:
        """Take in one message; gives the rows that are new."""
        return self.add_hit(event.hit, event.hops)

    def add_hit(self, hit: QueryHit, hops: int) -> list[Hit]:
        """Take in the records of one hit; gives the rows that are new."""
        new: list[Hit] = []
        if self._judge is not None:
            self._judge.note_together((record.sha1, record.alternates) for record in hit.records)
        for record in hit.records:
            if self._wanted and sort_of(record.name) not in self._wanted:
                continue
            key: _Key = (record.sha1, record.size) if record.sha1 is not None else (record.name, record.size)
            row = self._hits.get(key)
            if row is None:
                if self.is_full:
                    self.omitted += 1
                    continue
                row = Hit(len(self._numbered) + 1, record.name, record.size, record.sha1, hops)
                self._hits[key] = row
                self._numbered.append(row)
                new.append(row)
            source = _source(hit, record)
            if self._judge is not None:
                self._judge.note(row, source)
            if row.add(source, record.tth, hops):
                self.kept += 1
            else:
                self.omitted += len(row.sources) >= MAX_SOURCES
        for row in new:
            self._look_at(row)
        return new

    def hit(self, number: int) -> Hit | None:
        """The row of that number, with its sources for a download."""
        return self._look_at(self._numbered[number - 1]) if 0 < number <= len(self._numbered) else None

    def hits(self) -> list[Hit]:
        """All rows, by number."""
        return list(self._numbered)

    def rows(self) -> list[dict[str, Any]]:
        """All rows as users see them: hit, name, size, urn, tth, hops, vendor, magnet, sources, spam, spam_reasons."""
        return [self._look_at(hit).row() for hit in self._numbered]

    def _look_at(self, hit: Hit) -> Hit:
        """Judge it by what is known now."""
        if self._judge is not None:
            hit.spam = self._judge.verdict(hit)
            hit.is_spam = hit.spam.score >= self._judge.threshold
        return hit


def _source(hit: QueryHit, record: HitRecord) -> HitSource:
    vendor = "".join(chr(byte) if 32 < byte < 127 else "?" for byte in hit.vendor)
    return HitSource(
        address=hit.address,
        servent_id=hit.servent_id,
        index=record.index,
        name=record.name,
        vendor=vendor,
        needs_push=bool(hit.needs_push),
        push_proxies=hit.push_proxies,
        reads_tls=hit.reads_tls,
        is_partial=record.is_partial,
        alternates=record.alternates,
    )
