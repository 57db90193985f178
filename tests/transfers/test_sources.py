"""The source book: who is known, who rests for how long, and what is said about it."""

from __future__ import annotations

from gnutella.reasons import DropReason
from gnutella.transfers.download import MAX_RESTARTS, Download
from gnutella.transfers.sources import EARLY_RETRIES_S, MAX_KNOWN, MAX_RETRY_S, Phase, SourceBook
from gnutella.units import Address, Guid

HERE = Address("192.0.2.1", 6346)
GUID = Guid(b"\1" * 16)


def test_a_source_is_known_once_and_learns_what_was_missing() -> None:
    book = SourceBook(60.0)
    first = book.add(HERE)
    assert first is not None and book.add(HERE, GUID, 7, "x", True) is None
    assert (first.servent_id, first.index, first.name) == (GUID, 7, "x")
    assert book.add(None, None) is None
    assert book.add(None, Guid(b"\2" * 16), needs_push=True) is not None
    assert book.add(None, Guid(b"\2" * 16), needs_push=True) is None
    assert len(book) == 2


def test_the_book_is_bounded() -> None:
    book = SourceBook(60.0)
    for port in range(1, MAX_KNOWN + 10):
        book.add(Address("192.0.2.1", port))
    assert len(book) == MAX_KNOWN


def test_waits_grow_to_a_bound_and_bytes_forgive() -> None:
    book = SourceBook(60.0)
    source = book.add(HERE)
    assert source is not None
    waits = []
    for _ in range(20):
        book.rest(source, 0.0, DropReason.DIAL_FAILED)
        waits.append(source.retry_at)
        assert book.ready(source.retry_at - 0.1) == [] and book.ready(source.retry_at) == [source]
    assert tuple(waits[:3]) == EARLY_RETRIES_S and waits[3:5] == [60.0, 120.0] and waits[-1] == MAX_RETRY_S
    book.succeeded(source)
    book.rest(source, 0.0, DropReason.SOURCE_BROKE)
    assert source.retry_at == EARLY_RETRIES_S[0]
    book.rest(source, 0.0, DropReason.SOURCE_BUSY, 77.0)
    assert source.retry_at == 77.0 and source.failures == 1
    book.wake()
    assert source.phase is Phase.IDLE and source.failures == 0


def test_a_dropped_source_stays_dropped_and_the_reason_is_told() -> None:
    book = SourceBook(60.0)
    source = book.add(HERE)
    assert source is not None
    assert book.why_stalled(0.0) == "waiting for a connection"
    book.rest(source, 0.0, DropReason.SOURCE_BUSY, 30.0)
    assert book.why_stalled(10.0).endswith("asked again in 20 s")
    book.drop(source, DropReason.SOURCE_CORRUPT)
    book.rest(source, 0.0, DropReason.SOURCE_BUSY)
    book.wake()
    assert source.phase is Phase.DROPPED and book.usable() == 0 and book.ready(1e9) == []
    assert DropReason.SOURCE_CORRUPT.meaning in book.why_stalled(0.0)


def test_a_wrong_file_blames_its_only_sender_and_gives_up_in_the_end() -> None:
    book = SourceBook(60.0)
    one, two = book.add(HERE), book.add(Address("192.0.2.2", 1))
    assert one is not None and two is not None
    download = Download(1, b"\0" * 20, None, 10, "x", 0.0, book)
    assert download.wrong_file({one.key, two.key}) is None and book.usable() == 2
    assert download.wrong_file({two.key}) is None and two.phase is Phase.DROPPED
    for _ in range(MAX_RESTARTS - 2):
        assert download.wrong_file({0}) is None
    assert download.wrong_file({0}) is DropReason.SOURCE_CORRUPT
    download.pardon()
    assert book.ready(0.0) == [one, two]


def test_a_source_that_tells_other_push_proxies_has_those() -> None:
    book = SourceBook(60.0)
    servent, first, second = Guid(b"\2" * 16), (Address("192.0.2.1", 1),), (Address("192.0.2.2", 1),)
    source = book.add(None, servent, needs_push=True, proxies=first)
    assert source is not None and source.proxies == first
    assert book.add(None, servent, needs_push=True, proxies=second) is None
    assert source.proxies == second
    assert book.add(None, servent, needs_push=True) is None
    assert source.proxies == second, "saying nothing says nothing"
