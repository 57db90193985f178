"""Our routing table: the first one waits until the library is read, but not for long."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from gnutella.network.own_words import HOLD_S, LOOK_S, OwnWords
from gnutella.network.workers import Workers
from gnutella.protocol.qrp import hashes_of


@dataclass(frozen=True)
class Named:
    name: str
    sha1: bytes | None = None


@dataclass(frozen=True, eq=False)
class Shelf:
    files: tuple[Named, ...] = ()


class Told:
    """What was told, of a library that is read when `is_settled` says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.is_settled = False
        self.hashes: list[set[int]] = []
        self.words = OwnWords(
            Workers(self.clock, inline=True),  # type: ignore[arg-type]  # a Clock calls nothing from threads, nor do these
            lambda hashes: self.hashes.append(set(hashes)),
            self.clock,
            lambda: self.is_settled,
        )


SONG, BOOK = Named("song"), Named("book")


def words(*files: Named) -> set[int]:
    return set(hashes_of({file.name for file in files}))


def test_the_first_table_waits_until_the_library_is_read() -> None:
    told = Told()
    told.words.library_changed(Shelf())
    told.words.library_changed(Shelf((SONG,)))
    told.clock.advance(2 * LOOK_S)
    assert told.hashes == []
    told.words.library_changed(Shelf((SONG, BOOK)))
    told.is_settled = True
    told.clock.advance(LOOK_S)
    assert told.hashes == [words(SONG, BOOK)]


def test_it_does_not_wait_for_a_large_library() -> None:
    told = Told()
    told.words.library_changed(Shelf((SONG,)))
    told.clock.pump([LOOK_S] * int(HOLD_S / LOOK_S))
    assert told.hashes == [words(SONG)]


def test_later_ones_do_not_wait() -> None:
    told = Told()
    told.is_settled = True
    shelf = Shelf((SONG,))
    told.words.library_changed(shelf)
    told.is_settled = False
    told.words.library_changed(shelf)
    told.words.library_changed(Shelf((BOOK,)))
    assert told.hashes == [words(SONG), words(BOOK)]


def test_a_node_that_stops_leaves_no_call_behind() -> None:
    told = Told()
    told.words.library_changed(Shelf((SONG,)))
    assert told.clock.getDelayedCalls()
    ensureDeferred(told.words.stop())
    assert not told.clock.getDelayedCalls()
