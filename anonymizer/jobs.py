"""What a user has asked for and waits for: fetches, insertions and offers, as rows that commands show.

A fetched file grows as a hidden file of the directory `anonymous/`, named after a hash of its key, so that a later try goes on
where this one was cut off; it gets its name when all of it was verified.  The directory is not shared with the plain overlay.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from anonymizer.chk import DATA_BYTES, convergent_hash
from anonymizer.documents import Document
from anonymizer.errors import AnonymityError, BadKey, DataNotFound
from anonymizer.layer import Layer
from anonymizer.meter import Reading
from anonymizer.mimes import ending_of, mime_of
from anonymizer.ownfiles import (
    OpenFile,
    name_partial,
    open_partial,
    unreadable,
    unwritable,
    write_at,
    write_whole,
)
from anonymizer.ssk import KEYWORD_DOCUMENT, WriteKey, keyword_key
from anonymizer.transfer import Get, Progress, Put
from anonymizer.uri import ChkUri, KskUri, OwnUri, SskUri, UskUri, parse_uri
from gnutella.errors import UserError

if TYPE_CHECKING:
    from gnutella.control.relay_view import Terms

#: Blocks that wait to be written before no more is asked for, and before it is asked again.
MAX_UNWRITTEN: Final = 128
LEAST_UNWRITTEN: Final = 32
#: Seconds over which a speed is measured.
SPEED_S: Final = 5.0


class Job(ABC):
    """See gnutella.control.relay_view.Job.  Numbers are of one run of the node."""

    log = Logger()
    ACTIVE: ClassVar[str] = "fetching"

    def __init__(self, layer: Layer, number: int, name: str) -> None:
        self._layer, self.number, self.name = layer, number, name
        self.state = "opening"
        self.size = self.done_bytes = 0
        self.path = self.uri = self.document = ""
        self.error: Exception | None = None
        self.reading: Reading | None = None
        self._calls: list[Callable[[], None]] = []
        self._marks: list[tuple[float, int]] = []
        self._began_at = layer.now()
        self._first_byte_s: float | None = None
        self._took_s: float | None = None
        self.circuits = 0

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def row(self) -> dict[str, object]:
        """As the columns of `anonymous get` say."""
        speed = self._speed()
        left = self.size - self.done_bytes
        is_timed = speed > 0 and self.size and not self.is_over
        told = {} if self.reading is None else self.reading.row()
        return {
            "id": self.number,
            "state": "waiting" if self.state == "opening" and self._layer.client.channels.patience() else self.state,
            "name": self.name,
            "size": self.size,
            "downloaded": self.done_bytes,
            "speed": 0 if self.is_over else round(speed),
            "sources": 0 if self.is_over else self.circuits,
            "eta_s": round(left / speed, 1) if is_timed else None,
            "first_byte_s": None if self._first_byte_s is None else round(self._first_byte_s, 3),
            "took_s": None if self._took_s is None else round(self._took_s, 3),
            "path": self.path,
            "uri": self.uri,
            "document": self.document,
            "error": "" if self.error is None else str(self.error),
            **{key: told.get(key) for key in ("level", "pivots", "effective_set", "edge_age_s")},
        }

    def _speed(self) -> float:
        if len(self._marks) < 2:
            return 0.0
        (then, before), (now, after) = self._marks[0], self._marks[-1]
        return (after - before) / (now - then) if now > then else 0.0

    def changed(self, call: Callable[[], None]) -> Callable[[], None]:
        self._calls.append(call)
        return lambda: self._calls.remove(call)

    def cancel(self) -> None:
        """End it; what has come of it is kept for another try."""
        if not self.is_over:
            self._stop(self._layer.now())
            self._over("cancelled")

    @abstractmethod
    def _stop(self, now: float) -> None:
        """Let go of everything."""

    def _progress(self, done: int, size: int | None, now: float) -> None:
        self.done_bytes, self.size = done, self.size if size is None else size
        if self.state == "opening":
            self.state = self.ACTIVE
        if done and self._first_byte_s is None:
            self._first_byte_s = now - self._began_at
        self._marks.append((now, done))
        while now - self._marks[0][0] > SPEED_S:
            del self._marks[0]

    def _over(self, state: str, error: Exception | None = None) -> None:
        self.state, self.error = state, error
        self._took_s = self._layer.now() - self._began_at
        for call in list(self._calls):
            call()

    def _fail(self, error: Exception) -> None:
        if not self.is_over:
            self._over("failed", error)

    def _broke(self, failure: Failure) -> None:
        """A fault of the disk, or of ours."""
        if self.is_over:
            return
        self._stop(self._layer.now())
        error = failure.value
        if isinstance(error, OSError):
            self._fail(self._trouble(error))
        elif isinstance(error, UserError):
            self._fail(error)
        else:
            self.log.failure("a job of the relay layer broke", failure)
            self._fail(UserError("a fault of ours ended it", "the node's log tells more", os.EX_SOFTWARE))

    @abstractmethod
    def _trouble(self, error: OSError) -> UserError:
        """What the person is told when the disk does not do what the job needs."""

    def read_now(self, picks: Any) -> None:
        """How it is done: level, pivots, and what they are worth."""
        self.reading = self._layer.client.reading(picks, self._layer.now())


class FetchJob(Job):
    """Fetches what a key stands for: a file, or the file that a document points to, or the document itself."""

    def __init__(self, layer: Layer, number: int, name: str, to: str, anchors: tuple[Any, ...] = ()) -> None:
        super().__init__(layer, number, to or name)
        self._to, self._anchors = to, anchors
        self._get: Get | None = None
        self._fd = -1
        self._partial = Path()
        self._unwritten = self._end = 0
        self._is_fetched = False

    def start(self, uri: ChkUri | SskUri | UskUri | KskUri, terms: Terms) -> None:
        """Begin; AnonymityError where the conditions are not met."""
        client, now = self._layer.client, self._layer.now()
        client.admit(terms.level, terms.accept_small_set or None, now)
        self.uri = str(uri)
        if isinstance(uri, ChkUri):
            self._file(uri, now)
        elif isinstance(uri, KskUri):
            # Work of a tenth of a second, on purpose.
            self._layer.disk.run(keyword_key, uri.keyword).addCallbacks(self._keyed, self._broke)
        else:
            self._ask(uri)

    def _keyed(self, key: WriteKey) -> None:
        self._ask(SskUri(key.read_key, KEYWORD_DOCUMENT))

    def _ask(self, uri: SskUri | UskUri) -> None:
        if not self.is_over:
            self._layer.client.documents.read(uri, self._read, self._layer.now())
            self._layer.wake()

    def _read(self, found: Document | AnonymityError, now: float) -> None:
        if self.is_over:
            return
        if isinstance(found, AnonymityError):
            self._fail(found)
            return
        try:
            uri = parse_uri(found.data.decode("ascii"))
        except (BadKey, UnicodeDecodeError):
            uri = None
        if isinstance(uri, ChkUri):
            self._file(uri, now)
        else:
            self._document(found)

    def _document(self, found: Document) -> None:
        """The document is all there is."""
        self.size = self.done_bytes = len(found.data)
        self._layer.disk.run(write_whole, self._layer.directory, self.name, found.data, self.number).addCallbacks(
            self._kept, self._broke
        )

    def _file(self, uri: ChkUri, now: float) -> None:
        layer = self._layer
        try:
            self._partial, self._fd = open_partial(layer.directory, uri.routing, self.number, layer.partials_in_use())
        except OSError:
            self._broke(Failure())
            return
        self._get = Get(
            self._layer.client.channels,
            self._layer.cache,
            uri,
            self._data,
            self._finished,
            self._tell,
            self._held,
            self._anchors,
        )
        self._get.start(now)
        self._layer.wake()

    @property
    def partial(self) -> Path:
        """Where it grows."""
        return self._partial

    def _held(self, number: int) -> bytes | None:
        """What an earlier try left there, which is checked before it counts."""
        if self._fd < 0:
            return None
        try:
            return os.pread(self._fd, DATA_BYTES, number * DATA_BYTES) or None
        except OSError:
            return None

    def _tell(self, progress: Progress) -> None:
        assert self._get is not None
        self.circuits = self._get.lanes.picks.count
        self.read_now(self._get.lanes.picks)
        self._progress(progress.done, progress.size, self._layer.now())

    def _data(self, offset: int, data: bytes) -> None:
        self._unwritten += 1
        self._end = offset + len(data)
        if self._unwritten >= MAX_UNWRITTEN and self._get is not None:
            self._get.pause()
        self._layer.disk.run(write_at, self._fd, data, offset).addCallbacks(self._written, self._broke)

    def _written(self, _: None) -> None:
        self._unwritten -= 1
        if self._get is not None and self._unwritten == LEAST_UNWRITTEN and not self._get.is_over:
            self._get.resume(self._layer.now())
            self._layer.wake()
        self._complete()

    def _finished(self, error: AnonymityError | None, now: float) -> None:
        if self._get is not None:
            self.read_now(self._get.lanes.picks)
        if error is not None:
            self._close()
            self._fail(error)
            return
        self._is_fetched = True
        self._complete()

    def _complete(self) -> None:
        """All of it has been verified and written."""
        if not self._is_fetched or self._unwritten or self.is_over or self._fd < 0:
            return
        manifest = None if self._get is None else self._get.manifest
        name = self.name
        if not self._to and "." not in name and manifest is not None:
            name += ending_of(manifest.mime)
        fd, self._fd = self._fd, -1
        self._layer.disk.run(name_partial, self._partial, fd, self._end, self._layer.directory, name).addCallbacks(
            self._kept, self._broke
        )

    def _kept(self, target: str) -> None:
        self.path, self.name = target, Path(target).name
        self._over("done")

    def _trouble(self, error: OSError) -> UserError:
        return unwritable(self.name, error)

    def _stop(self, now: float) -> None:
        if self._get is not None:
            self._get.cancel(now)
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            # After what is still to be written.
            fd, self._fd = self._fd, -1
            self._layer.disk.run(os.close, fd).addErrback(lambda _: None)


class PutJob(Job):
    """Inserts a file, and then, if that was asked for, a new edition of a document that points to it."""

    ACTIVE = "inserting"

    def __init__(self, layer: Layer, number: int, path: Path, owner: OwnUri | KskUri | None, document: str) -> None:
        super().__init__(layer, number, path.name)
        self._path, self._owner, self._name = path, owner, document
        self._put: Put | None = None
        self._file: OpenFile

    def start(self, terms: Terms, *, convergent: bool, is_listed: bool) -> None:
        """Begin; AnonymityError where the conditions are not met, UserError if the file cannot be read."""
        client, now = self._layer.client, self._layer.now()
        client.admit(terms.level, terms.accept_small_set or None, now)
        self._is_listed = is_listed
        try:
            self._file = OpenFile(self._path)
        except OSError as error:
            raise unreadable(self._path, error) from None
        self.size = self._file.size
        if convergent:
            self._layer.disk.run(self._hash).addCallbacks(self._insert, self._broke)
        else:
            self._insert(os.urandom(32))

    def _hash(self) -> bytes:
        digest = convergent_hash()
        while data := self._file.read(1 << 20):
            digest.update(data)
        self._file.again()
        return digest.digest()

    def _insert(self, key: bytes) -> None:
        if self.is_over:
            return
        self._put = Put(
            self._layer.client.channels,
            key,
            self._read,
            self._finished,
            self._tell,
            mime=mime_of(self._path.name),
            size=self.size,
        )
        self._put.start(self._layer.now())
        self._layer.wake()

    def _read(self, count: int, back: Callable[[bytes, float], None]) -> None:
        def fed(data: bytes) -> None:
            if not self.is_over:
                back(data, self._layer.now())
                self._layer.wake()

        reading: Deferred[bytes] = self._layer.disk.run(self._file.read, count)
        reading.addCallback(fed).addErrback(self._broke)

    def _tell(self, progress: Progress) -> None:
        put = self._put
        assert put is not None
        self.circuits = put.lanes.picks.count
        self.read_now(put.lanes.picks)
        share = put.stored / put.made if put.made else 0.0
        # Blocks and check blocks are stored evenly, so their share is that of the file.
        self._progress(min(self.size, round(share * self.size)), None, self._layer.now())

    def _finished(self, error: AnonymityError | None, now: float) -> None:
        self._close()
        put = self._put
        if error is not None or put is None or put.uri is None:
            self._fail(error or DataNotFound("it was not stored"))
            return
        self.uri, self.done_bytes = str(put.uri), self.size
        if self._is_listed:
            # It can be fetched, whether or not this node remembers to offer it.
            listing = self._layer.list_inserted(self._path.name, self.size, put.uri, self._file.sha1)
            listing.addBoth(lambda _: self._announce(self._layer.now()))
        else:
            self._announce(now)

    def _announce(self, now: float) -> None:
        """The file is stored."""
        if self.is_over:
            return
        if self._owner is None:
            self._over("done")
            return
        self.state = "announcing"
        # It opens a circuit, which must not follow at once on the last block.
        channels = self._layer.client.channels
        channels.timers.at(now + channels.turn(), self._publish)

    def _publish(self, now: float) -> None:
        if self.is_over:
            return
        assert self._owner is not None
        if isinstance(self._owner, KskUri):
            self._layer.disk.run(keyword_key, self._owner.keyword).addCallbacks(self._write, self._broke)
            return
        documents = self._layer.client.documents
        documents.publish(self._owner.key, self._name, self.uri.encode(), self._announced, now)
        self._layer.wake()

    def _write(self, key: WriteKey) -> None:
        if not self.is_over:
            documents, now = self._layer.client.documents, self._layer.now()
            documents.write(key, KEYWORD_DOCUMENT, self.uri.encode(), self._announced, now)
            self._layer.wake()

    def _announced(self, found: Document | AnonymityError, now: float) -> None:
        if self.is_over:
            return
        if isinstance(found, AnonymityError):
            self._fail(found)
            return
        if isinstance(self._owner, OwnUri):
            self.document = str(UskUri(self._owner.key.read_key, self._name, found.edition or 0))
        else:
            self.document = str(self._owner)
        self._over("done")

    def _stop(self, now: float) -> None:
        if self._put is not None:
            self._put.cancel(now)
        self._close()

    def _close(self) -> None:
        # In its turn: the thread may be reading.
        self._layer.disk.run(self._file.close).addErrback(lambda _: None)

    def _trouble(self, error: OSError) -> UserError:
        return unreadable(self._path, error)


class ShareJob(Job):
    """Offers a file without inserting it: reads it once, then answers for it."""

    ACTIVE = "reading"

    def __init__(self, layer: Layer, number: int, path: Path) -> None:
        super().__init__(layer, number, path.name)
        self._path = path

    def start(self, terms: Terms) -> None:
        """Begin; AnonymityError where the conditions are not met."""
        self._layer.client.admit(terms.level, terms.accept_small_set or None, self._layer.now())
        self.state = self.ACTIVE
        self._layer.serve(self._path, lambda: not self.is_over).addCallbacks(self._served, self._broke)

    def _served(self, file: Any) -> None:
        if not self.is_over:
            self.uri, self.size, self.done_bytes = str(file.uri), file.size, file.size
            self._over("done")

    def _stop(self, now: float) -> None:
        """Reading ends by itself."""

    def _trouble(self, error: OSError) -> UserError:
        return unreadable(self._path, error)
