"""Signed documents over own circuits: read and written by number, the newest edition found, and never gone back from.

A document is one record (anonymizer.ssk); a name with editions is one document for each (anonymizer.usk).  The numbers that
were seen and those that were written are remembered, on disk if the owner keeps `rows`: a reader is never given less than it
had, and a writer that failed half-way takes the next number instead of signing two texts with one.

Pure: `now` is seconds since 1970.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from anonymizer.asking import Asking, Reads, Records, Stores
from anonymizer.channel import Channels, Picks
from anonymizer.errors import AnonymityError, DataNotFound, NoAnonymousRoute
from anonymizer.ssk import DOCUMENT_BYTES, KEYWORD_DOCUMENT, SALT_BYTES, ReadKey, WriteKey, keyword_key
from anonymizer.uri import KskUri, SskUri, UskUri
from anonymizer.usk import EditionSearch, RollbackGuard, document_name
from gnutella.errors import LocalMisuse


@dataclass(frozen=True, slots=True)
class Document:
    """What was read, or written.  `number` is its sequence number, `edition` that of an updatable key.

    `is_fork`: its owner signed two texts with one number; this is the one that everybody takes.
    """

    data: bytes
    number: int
    edition: int | None
    is_fork: bool
    pivots: int


Done = Callable[[Document | AnonymityError, float], None]
#: Keeps the numbers, and then goes on, with the error if that failed.
Keep = Callable[[Callable[[AnonymityError | None, float], None], float], None]


def _keep_at_once(then: Callable[[AnonymityError | None, float], None], now: float) -> None:
    """There is no disk."""
    then(None, now)


class Documents:
    """Of one node.  `rows` is what an earlier run kept of the numbers that it saw and wrote.

    Nothing is signed, and nothing is shown, before `keep` has gone on: no crash makes a number go back.
    """

    def __init__(self, channels: Channels, rows: dict[bytes, int] | None = None) -> None:
        self._channels = channels
        self._numbers = RollbackGuard(rows)
        self.keep: Keep = _keep_at_once

    def rows(self) -> dict[bytes, int]:
        """For the disk: hashes of names, and the highest number of each.  They tell what was read, to who has the keys."""
        return self._numbers.rows()

    # -- one document ----------------------------------------------------------------------------------------------------

    def read(self, uri: SskUri | UskUri | KskUri, done: Done, now: float, picks: Picks | None = None) -> None:
        """The newest that is found; for a keyword this takes 100 ms of work (see keyword_key)."""
        picks = Picks() if picks is None else picks
        done = self._shown_by(done)
        if isinstance(uri, UskUri):
            _Search(self, uri, done, picks).start(now)
        elif isinstance(uri, KskUri):
            self._read(keyword_key(uri.keyword).read_key, KEYWORD_DOCUMENT, done, picks, now)
        else:
            self._read(uri.key, uri.name, done, picks, now)

    def _shown_by(self, done: Done) -> Done:
        """Shows what was found once its number is kept."""

        def show(found: Document | AnonymityError, now: float) -> None:
            if isinstance(found, AnonymityError):
                done(found, now)
            else:
                self.keep(lambda error, when: done(error or found, when), now)

        return show

    def _read(self, key: ReadKey, name: str, done: Done, picks: Picks, now: float) -> None:
        routing = key.routing(name)

        def answered(found: Records | AnonymityError, when: float) -> None:
            if isinstance(found, AnonymityError):
                done(found, when)
            elif routing not in found:
                done(DataNotFound(), when)
            else:
                done(self.opened(key, name, None, found[routing], picks), when)

        self.ask([routing], answered, picks, now)

    def opened(
        self, key: ReadKey, name: str, edition: int | None, records: tuple[bytes, ...], picks: Picks
    ) -> Document | AnonymityError:
        """The document that these records are, or why they are none."""
        document = name if edition is None else document_name(name, edition)
        try:
            reading = key.read(document, records)
            self._numbers.accept(key.routing(document), reading.sequence)
            if edition is not None:
                self._numbers.accept(_editions(key, name), edition)
        except AnonymityError as error:
            return error
        return Document(reading.data, reading.sequence, edition, reading.is_fork, picks.count)

    def ask(
        self, routings: list[bytes], done: Callable[[Records | AnonymityError, float], None], picks: Picks, now: float
    ) -> None:
        """The records under these keys, by a pivot that the request has not had."""
        asking = Reads(self._channels, picks, routings, done, self._numbers.highest)
        self._start(asking, picks, done, now)

    def _start(self, asking: Asking, picks: Picks, failed: Callable[[AnonymityError, float], None], now: float) -> None:
        """By a pivot that the request has not had; where there are few, by any."""
        try:
            try:
                asking.start(now)
            except NoAnonymousRoute:
                picks.again()
                asking.start(now)
        except NoAnonymousRoute as error:
            failed(error, now)

    def seen(self, key: ReadKey, name: str) -> int:
        """The highest edition that was seen, or -1."""
        return self._numbers.highest(_editions(key, name))

    # -- writing ---------------------------------------------------------------------------------------------------------

    def write(self, key: WriteKey, name: str, data: bytes, done: Done, now: float) -> None:
        """Replace the document: its number is one more than any that is found, was seen or was written."""
        _check_size(data)
        picks, routing = Picks(), key.read_key.routing(name)

        def answered(found: Document | AnonymityError, when: float) -> None:
            if isinstance(found, AnonymityError) and not isinstance(found, DataNotFound):
                done(found, when)
                return
            best = -1 if isinstance(found, AnonymityError) else found.number
            number = self._next(best, routing, b"written" + routing)
            self._kept(done, lambda at: self._store(key, name, number, None, data, done, picks, at), when)

        self._read(key.read_key, name, answered, picks, now)

    def publish(self, key: WriteKey, name: str, data: bytes, done: Done, now: float) -> None:
        """A new edition, after the newest that is found, was seen or was written."""
        _check_size(data)
        picks, editions = Picks(), _editions(key.read_key, name)

        def answered(found: Document | AnonymityError, when: float) -> None:
            if isinstance(found, AnonymityError) and not isinstance(found, DataNotFound):
                done(found, when)
                return
            best = -1 if isinstance(found, AnonymityError) or found.edition is None else found.edition
            edition = self._next(best, editions, b"written" + editions)
            document = document_name(name, edition)
            self._kept(done, lambda at: self._store(key, document, 0, edition, data, done, picks, at), when)

        _Search(self, UskUri(key.read_key, name, 0), answered, picks).start(now)

    def _kept(self, done: Done, sign: Callable[[float], None], now: float) -> None:
        """Sign a number once it is kept."""
        self.keep(lambda error, when: sign(when) if error is None else done(error, when), now)

    def _next(self, found: int, seen: bytes, written: bytes) -> int:
        """A number that was never used."""
        number = max(found, self._numbers.highest(seen), self._numbers.highest(written)) + 1
        self._numbers.accept(written, number)
        return number

    def _store(
        self,
        key: WriteKey,
        name: str,
        number: int,
        edition: int | None,
        data: bytes,
        done: Done,
        picks: Picks,
        now: float,
    ) -> None:
        chance = self._channels.chance.getrandbits(8 * SALT_BYTES).to_bytes(SALT_BYTES, "big")
        record = key.write(name, number, data, chance)
        stored = partial(self._stored, Document(data, number, edition, False, picks.count), done)
        asking = Stores(self._channels, picks, key.read_key.routing(name), record, stored)
        self._start(asking, picks, done, now)

    def _stored(self, document: Document, done: Done, error: AnonymityError | None, now: float) -> None:
        done(document if error is None else error, now)


def _editions(key: ReadKey, name: str) -> bytes:
    """What the editions of a name are remembered under."""
    return hashlib.sha256(b"arl1-editions" + key.routing(name)).digest()


def _check_size(data: bytes) -> None:
    if len(data) > DOCUMENT_BYTES:
        raise LocalMisuse(f"a document has at most {DOCUMENT_BYTES} bytes")


class _Search:
    """The newest edition: batches of probes, each by another pivot."""

    def __init__(self, documents: Documents, uri: UskUri, done: Done, picks: Picks) -> None:
        self._documents, self._key, self._name, self._done, self._picks = documents, uri.key, uri.name, done, picks
        self._least = max(uri.edition, documents.seen(uri.key, uri.name))
        # The newest that is known is asked for again, with those after it: its text is what is wanted if there is no newer one.
        self._search = EditionSearch(self._least - 1)
        self._records: dict[int, tuple[bytes, ...]] = {}

    def start(self, now: float) -> None:
        wanted = {self._key.routing(document_name(self._name, edition)): edition for edition in self._search.wanted}
        if not wanted:
            self._end(now)
            return
        self._documents.ask(list(wanted), partial(self._answered, wanted), self._picks, now)

    def _answered(self, wanted: dict[bytes, int], found: Records | AnonymityError, now: float) -> None:
        if isinstance(found, AnonymityError):
            self._done(found, now)
            return
        for routing, edition in wanted.items():
            if routing in found:
                self._records[edition] = found[routing]
            if edition in self._search.wanted:
                self._search.answer(edition, routing in found)
        newest = self._search.newest
        self._records = {edition: records for edition, records in self._records.items() if edition >= newest}
        self.start(now)

    def _end(self, now: float) -> None:
        newest = self._search.newest
        if newest < self._least or newest not in self._records:
            self._done(DataNotFound("no edition as new as the one that is known was found"), now)
            return
        self._done(self._documents.opened(self._key, self._name, newest, self._records[newest], self._picks), now)
