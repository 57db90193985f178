"""Signed documents over own circuits: newest numbers, forks, editions, and pivots that hide or lie."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from anonymizer.documents import Document, Documents
from anonymizer.errors import (
    AnonymityError,
    DataNotFound,
    IntegrityFailure,
    NoAnonymousRoute,
    PivotTimeout,
    StateNotKept,
)
from anonymizer.inner import FailReason, FetchKeys, StoreBlock
from anonymizer.ssk import DOCUMENT_BYTES, KEYWORD_DOCUMENT, WriteKey, keyword_key, merge
from anonymizer.uri import KskUri, SskUri, UskUri
from anonymizer.usk import document_name
from anonymizer.wire import BLOCK_SIZES, BlockType, CloseReason
from gnutella.errors import LocalMisuse
from gnutella.testing.relay_pivot import FarEnd, RelayPivots
from tests.anonymizer.transfers import channels_of

KEY = WriteKey(b"s" * 32, b"r" * 32)


class Answers:
    """What was answered, by a library of documents over scripted pivots."""

    def __init__(self, net: RelayPivots, rows: dict[bytes, int] | None = None) -> None:
        self.net = net
        self._channels = channels_of(net)
        self.documents = Documents(self._channels, rows)
        self.found: list[Document | AnonymityError] = []

    def _done(self, found: Document | AnonymityError, now: float) -> None:
        self.found.append(found)

    def _wait(self) -> Document | AnonymityError:
        count = len(self.found)
        self.net.origin = self._channels
        self.net.run_until(lambda: len(self.found) > count)
        self.net.settle()
        assert len(self.found) == count + 1 and not self.net.circuits and len(self.net.timers) == 0
        assert set(self.net.closed) <= {CloseReason.DONE}
        return self.found[-1]

    def read(self, uri: SskUri | UskUri | KskUri) -> Document | AnonymityError:
        self.net.timers.at(self.net.now, lambda now: self.documents.read(uri, self._done, now))
        return self._wait()

    def write(self, name: str, data: bytes, key: WriteKey = KEY) -> Document | AnonymityError:
        self.net.timers.at(self.net.now, lambda now: self.documents.write(key, name, data, self._done, now))
        return self._wait()

    def publish(self, name: str, data: bytes) -> Document | AnonymityError:
        self.net.timers.at(self.net.now, lambda now: self.documents.publish(KEY, name, data, self._done, now))
        return self._wait()


def ssk(name: str) -> SskUri:
    return SskUri(KEY.read_key, name)


def usk(name: str, edition: int = 0) -> UskUri:
    return UskUri(KEY.read_key, name, edition)


def place(net: RelayPivots, name: str, number: int, data: bytes) -> bytes:
    """A record that is there without anybody having stored it."""
    record = KEY.write(name, number, data, net.rng.randbytes(16))
    routing = KEY.read_key.routing(name)
    net.blocks[routing] = merge(net.blocks.get(routing, ()), record)
    return routing


def test_what_was_written_is_read_in_both_its_places_and_replaced_by_the_next() -> None:
    net = RelayPivots(pivots=20)
    answers = Answers(net)
    assert isinstance(answers.read(ssk("site")), DataNotFound)
    for number, text in enumerate((b"one", b"two", b"three")):
        written = answers.write("site", text)
        assert isinstance(written, Document) and written.number == number
        assert {block.second for block in net.stored[-2:]} == {False, True}
        read = Answers(net).read(ssk("site"))
        assert isinstance(read, Document)
        assert (read.data, read.number, read.edition, read.is_fork) == (text, number, None, False)


def test_documents_are_asked_for_by_one_pivot() -> None:
    net = RelayPivots()
    place(net, "site", 4, b"text")
    read = Answers(net).read(ssk("site"))
    assert isinstance(read, Document) and read.pivots == 1 and len(net.pivots_used) == 1


def test_a_fork_is_shown() -> None:
    net = RelayPivots()
    place(net, "site", 4, b"one text")
    place(net, "site", 4, b"another")
    read = Answers(net).read(ssk("site"))
    assert isinstance(read, Document) and read.is_fork and read.number == 4


def test_an_older_document_than_one_seen_before_is_never_shown() -> None:
    net = RelayPivots(pivots=20)
    routing = place(net, "site", 4, b"old")
    old = net.blocks[routing]
    place(net, "site", 5, b"new")
    answers = Answers(net)
    assert isinstance(answers.read(ssk("site")), Document)
    new, net.blocks[routing] = net.blocks[routing], old
    used = len(net.pivots_used)
    assert isinstance(answers.read(ssk("site")), IntegrityFailure)
    assert len(net.pivots_used) - used == 4, "others are asked before"
    again = Answers(net, answers.documents.rows())
    assert isinstance(again.read(ssk("site")), IntegrityFailure)
    net.blocks[routing] = new
    read = again.read(ssk("site"))
    assert isinstance(read, Document) and read.data == b"new"


def test_one_pivot_with_an_old_document_costs_another_circuit() -> None:
    net = RelayPivots(pivots=20)
    routing = place(net, "site", 4, b"old")
    old = net.blocks[routing][0]
    place(net, "site", 5, b"new")
    answers = Answers(net)
    answers.read(ssk("site"))
    backward = len(net.pivots_used)
    net.lies = lambda pivot_id, block: old if net.pivots_used.index(pivot_id) == backward else block
    read = answers.read(ssk("site"))
    assert isinstance(read, Document) and read.data == b"new" and read.pivots == 2


def test_pivots_that_lie_are_left_and_what_they_say_is_not_shown() -> None:
    net = RelayPivots(pivots=20)
    place(net, "site", 4, b"text")
    net.lies = lambda pivot_id, block: bytes(BLOCK_SIZES[BlockType.SSK]) if pivot_id == net.pivots_used[0] else block
    read = Answers(net).read(ssk("site"))
    assert isinstance(read, Document) and read.data == b"text" and len(net.pivots_used) == 2
    net.lies = lambda pivot_id, block: bytes(BLOCK_SIZES[BlockType.SSK])
    assert isinstance(Answers(net).read(ssk("site")), PivotTimeout)


def test_a_silent_pivot_is_left_after_a_time() -> None:
    net = RelayPivots(pivots=20)
    place(net, "site", 4, b"text")
    net.timers.at(net.now + 0.001, lambda now: net.silent.update(net.pivots_used[:1]))
    read = Answers(net).read(ssk("site"))
    assert isinstance(read, Document) and read.data == b"text" and len(net.pivots_used) == 2


def test_no_way_is_not_taken_for_missing_while_there_are_others_to_ask() -> None:
    net = RelayPivots(pivots=20)
    place(net, "site", 4, b"text")
    net.fate = lambda end, routing: FailReason.NO_ROUTE if end.pivot_id == net.pivots_used[0] else None
    read = Answers(net).read(ssk("site"))
    assert isinstance(read, Document) and read.data == b"text"
    net.fate = lambda end, routing: FailReason.NO_ROUTE
    assert isinstance(Answers(net).read(ssk("site")), DataNotFound)


def test_keywords_are_documents_of_everybody() -> None:
    net = RelayPivots()
    key = keyword_key("a word")
    assert isinstance(Answers(net).write(KEYWORD_DOCUMENT, b"text", key), Document)
    read = Answers(net).read(KskUri("a word"))
    assert isinstance(read, Document) and read.data == b"text"


# -- editions ------------------------------------------------------------------------------------------------------------


def test_new_editions_are_found_and_nobody_goes_back() -> None:
    net = RelayPivots(pivots=30)
    owner, reader = Answers(net), Answers(net)
    for edition in range(6):
        published = owner.publish("site", b"edition %d" % edition)
        assert isinstance(published, Document) and published.edition == edition
        read = reader.read(usk("site"))
        assert isinstance(read, Document) and (read.edition, read.data) == (edition, b"edition %d" % edition)
    newest = KEY.read_key.routing(document_name("site", 5))
    hidden = net.blocks.pop(newest)
    assert isinstance(reader.read(usk("site")), DataNotFound)
    net.blocks[newest] = hidden
    read = reader.read(usk("site"))
    assert isinstance(read, Document) and read.edition == 5


@pytest.mark.parametrize("count", [1, 2, 9, 40, 700])
def test_the_newest_of_many_editions_is_found_and_each_batch_has_its_own_pivot(count: int) -> None:
    net = RelayPivots(pivots=30)
    for edition in range(count):
        place(net, document_name("site", edition), 0, b"%d" % edition)
    read = Answers(net).read(usk("site"))
    assert isinstance(read, Document) and read.edition == count - 1 and read.data == b"%d" % (count - 1)
    assert all(len(end.told) == 1 and isinstance(end.told[0], FetchKeys) for end in net.all_ends)
    assert len(set(net.pivots_used)) == len(net.pivots_used) == read.pivots


def test_a_key_with_an_edition_is_never_answered_with_an_earlier_one() -> None:
    net = RelayPivots(pivots=20)
    for edition in range(3):
        place(net, document_name("site", edition), 0, b"text")
    assert isinstance(Answers(net).read(usk("site", 3)), DataNotFound)
    read = Answers(net).read(usk("site", 1))
    assert isinstance(read, Document) and read.edition == 2


def test_few_pivots_are_used_again_for_further_batches() -> None:
    net = RelayPivots(pivots=2)
    for edition in range(40):
        place(net, document_name("site", edition), 0, b"text")
    read = Answers(net).read(usk("site"))
    assert isinstance(read, Document) and read.edition == 39 and read.pivots > 2


# -- writing that fails --------------------------------------------------------------------------------------------------


def test_a_number_is_never_signed_twice_though_storing_failed() -> None:
    net = RelayPivots(pivots=20)
    answers = Answers(net)

    def first_only(end: FarEnd, block: StoreBlock) -> int:
        return 0

    net.copies = first_only
    assert isinstance(answers.write("site", b"lost"), NoAnonymousRoute)
    assert isinstance(answers.publish("blog", b"lost"), NoAnonymousRoute)
    net.copies = lambda end, block: 3
    restarted = Answers(net, answers.documents.rows())
    written = restarted.write("site", b"kept")
    assert isinstance(written, Document) and written.number == 1
    published = restarted.publish("blog", b"kept")
    assert isinstance(published, Document) and published.edition == 1
    read = Answers(net).read(usk("blog"))
    assert isinstance(read, Document) and (read.edition, read.data) == (1, b"kept")


class Disk:
    """What keeps the numbers; `fails` names why it does not, and `is_dead` has it say nothing: the program is killed there."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.rows, self.fails, self.is_dead = answers, answers.documents.rows(), "", False
        answers.documents.keep = self.keep

    def keep(self, then: Callable[[AnonymityError | None, float], None], now: float) -> None:
        if self.fails:
            then(StateNotKept("a number", self.fails), now)
        elif not self.is_dead:
            self.rows = self.answers.documents.rows()
            then(None, now)


@pytest.mark.parametrize("way", ["write", "publish"])
def test_no_number_is_signed_before_it_is_kept(way: str) -> None:
    """A program that is killed when a record has left, before it has heard of it, takes another number the next time."""
    net = RelayPivots(pivots=20)
    answers = Answers(net)
    disk = Disk(answers)
    seen: list[dict[bytes, int]] = []

    def stored(end: FarEnd, block: StoreBlock) -> int:
        seen.append(disk.rows)
        return 0

    net.copies = stored
    getattr(answers, way)("site", b"first")
    assert seen and all(row and max(row.values()) == 0 for row in seen)
    net.copies = lambda end, block: 3
    again = getattr(Answers(net, seen[0]), way)("site", b"second")
    assert isinstance(again, Document) and (again.number, again.edition) in ((1, None), (0, 1))


@pytest.mark.parametrize("way", ["write", "publish"])
@pytest.mark.parametrize("is_dead", [False, True])
def test_what_cannot_be_kept_is_not_signed(way: str, is_dead: bool) -> None:
    net = RelayPivots(pivots=20)
    answers = Answers(net)
    disk = Disk(answers)
    disk.fails, disk.is_dead = "" if is_dead else "disk full", is_dead
    found: list[object] = []
    getattr(answers.documents, way)(KEY, "site", b"text", lambda document, now: found.append(document), net.now)
    net.settle()
    assert net.stored == []
    assert found == [] if is_dead else isinstance(found[0], StateNotKept) and "disk full" in str(found[0])


def test_nothing_is_shown_whose_number_is_not_kept() -> None:
    net = RelayPivots(pivots=20)
    Answers(net).publish("site", b"text")
    answers = Answers(net)
    disk = Disk(answers)
    disk.fails = "disk full"
    assert isinstance(answers.read(usk("site")), StateNotKept)
    disk.fails = ""
    shown = answers.read(usk("site"))
    assert isinstance(shown, Document) and max(disk.rows.values()) == 0


def test_one_of_both_places_is_enough_and_a_dead_circuit_is_replaced() -> None:
    net = RelayPivots(pivots=20)
    net.copies = lambda end, block: 0 if block.second else 1
    answers = Answers(net)
    net.timers.at(net.now + 0.1, lambda now: net.kill(1))
    assert isinstance(answers.write("site", b"text"), Document)


def test_without_a_guard_nothing_is_written_or_read() -> None:
    net = RelayPivots()
    net.has_guard = False
    answers = Answers(net)
    assert isinstance(answers.read(ssk("site")), NoAnonymousRoute)
    assert isinstance(answers.write("site", b"text"), NoAnonymousRoute)
    assert isinstance(answers.publish("site", b"text"), NoAnonymousRoute)
    assert net.log == []


def test_what_does_not_fit_is_refused_before_anything_is_sent() -> None:
    net = RelayPivots()
    answers = Answers(net)
    for action in (answers.documents.write, answers.documents.publish):
        with pytest.raises(LocalMisuse):
            action(KEY, "site", bytes(DOCUMENT_BYTES + 1), answers._done, net.now)
    assert net.log == []


def test_what_is_kept_on_disk_does_not_hold_names() -> None:
    answers = Answers(RelayPivots(pivots=20))
    answers.write("a telling name", random.Random(1).randbytes(DOCUMENT_BYTES))
    answers.publish("a telling name", b"")
    rows = answers.documents.rows()
    assert rows and all(b"telling" not in key for key in rows)
