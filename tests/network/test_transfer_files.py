"""Files of transfers: reserved space, names that are never taken from others, journals that outlive the process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.network.files import DiskTrouble, SharedHandle, find_placed, open_partial, partial_path, place
from gnutella.network.journal import RangeJournal, journal_path
from gnutella.transfers.ranges import RangeSet

SHA1 = bytes(range(20))


def test_a_partial_is_named_by_its_hash_reserved_and_found_again(tmp_path: Path) -> None:
    path = partial_path(tmp_path / "incomplete", SHA1)
    assert path.name == "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT.part"
    part = open_partial(path, 100_000)
    assert part.is_new and path.stat().st_size == 100_000 and path.stat().st_blocks * 512 >= 100_000
    part.write(b"abc", 5)
    part.write(memoryview(b"xdefx")[1:4], 8)
    part.close()
    part.close()
    again = open_partial(path, 100_000)
    assert not again.is_new and path.read_bytes()[5:11] == b"abcdef"
    again.close()
    other = open_partial(path, 50)
    assert other.is_new and path.read_bytes() == bytes(50)
    other.close()


def test_a_link_in_the_place_of_a_partial_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    path = tmp_path / "x.part"
    path.symlink_to(target)
    with pytest.raises(DiskTrouble):
        open_partial(path, 10)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ENOSPC, "disk full"), (errno.EDQUOT, "disk full"), (errno.EFBIG, "larger than"), (errno.EIO, "cannot use")],
)
def test_a_disk_that_does_not_take_it_says_why_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    def fail(fd: int, offset: int, size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(DiskTrouble, match=text):
        open_partial(tmp_path / "x.part", 10)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    part = open_partial(tmp_path / "x.part", 10)
    assert (tmp_path / "x.part").stat().st_size == 10
    part.close()


def test_a_failed_write_is_a_disk_trouble(tmp_path: Path) -> None:
    part = open_partial(tmp_path / "x.part", 10)
    part.close()
    with pytest.raises(DiskTrouble):
        part.write(b"x", 0)


def test_a_finished_file_gets_its_name_but_nobody_elses(tmp_path: Path) -> None:
    part = open_partial(tmp_path / "x.part", 3)
    part.write(b"abc", 0)
    taken = tmp_path / "taken"
    taken.write_bytes(b"mine")
    assert not place(part, str(taken))
    assert taken.read_bytes() == b"mine" and part.path.exists()
    assert place(part, str(tmp_path / "free"))
    assert (tmp_path / "free").read_bytes() == b"abc" and not part.path.exists()
    part.close()


def test_without_hard_links_it_still_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", fail)
    part = open_partial(tmp_path / "x.part", 3)
    taken = tmp_path / "taken"
    taken.write_bytes(b"mine")
    assert not place(part, str(taken)) and taken.read_bytes() == b"mine"
    assert place(part, str(tmp_path / "free")) and (tmp_path / "free").stat().st_size == 3
    part.close()


def test_on_another_file_system_a_copy_gets_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def across(source: str | Path, target: str) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "another file system")
        link(source, target)

    monkeypatch.setattr(os, "link", across)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    part = open_partial(tmp_path / "x.part", 3)
    part.write(b"abc", 0)
    (incoming / "taken").write_bytes(b"mine")
    assert not place(part, str(incoming / "taken")) and (incoming / "taken").read_bytes() == b"mine"
    assert place(part, str(incoming / "free"))
    assert sorted(path.name for path in incoming.iterdir()) == ["free", "taken"], "and no copy is left"
    assert (incoming / "free").read_bytes() == b"abc" and not part.path.exists()
    part.close()


def test_after_a_crash_between_name_and_record_the_file_is_recognised(tmp_path: Path) -> None:
    part, target = tmp_path / "x.part", tmp_path / "target"
    assert not find_placed(part, str(target), 3)
    target.write_bytes(b"abc")
    assert find_placed(part, str(target), 3)
    assert not find_placed(part, str(target), 4)
    part.write_bytes(b"abd")
    assert not find_placed(part, str(target), 3), "somebody else's file of that name"
    part.unlink()
    os.link(target, part)
    assert find_placed(part, str(target), 3) and not part.exists()
    target.unlink()
    target.symlink_to(tmp_path)
    assert not find_placed(part, str(target), 3)


def test_a_shared_file_notices_every_change(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    path.write_bytes(b"abc")
    handle = SharedHandle(str(path), 3, path.stat().st_mtime_ns)
    assert handle.is_unchanged()
    os.utime(path, ns=(1, 1))
    assert not handle.is_unchanged()
    handle.close()
    assert not SharedHandle(str(path), 4, 1).is_unchanged()
    os.mkfifo(tmp_path / "fifo")
    assert not SharedHandle(str(tmp_path / "fifo"), 0, 0).is_unchanged()


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 900), st.integers(1, 100)), max_size=40))
def test_a_journal_read_back_holds_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "x.written"
    journal, written = RangeJournal(path), RangeSet()
    for source, start, length in steps:
        journal.wrote(source, start, start + length)
        written.add(start, start + length)
    journal.close()
    again = RangeJournal(path)
    assert again.read(1000) == written
    again.clear()
    assert again.read(1000).total == 0
    again.close()


def test_a_source_that_goes_on_needs_one_record_and_bad_ones_count_for_nothing(tmp_path: Path) -> None:
    path = journal_path(tmp_path / "x.part")
    journal = RangeJournal(path)
    for at in range(0, 1000, 10):
        journal.wrote(1, at, at + 10)
        journal.wrote(2, 5000 + at, 5010 + at)
    assert path.stat().st_size == 32
    journal.close()
    with open(path, "ab") as file:
        file.write((7000).to_bytes(8, "big") + (6000).to_bytes(8, "big"))  # inverted
        file.write((0).to_bytes(8, "big") + (2**63).to_bytes(8, "big"))  # beyond the file
        file.write(b"cut off")
    again = RangeJournal(path)
    assert again.read(10_000) == RangeSet([(0, 1000), (5000, 6000)])
    again.close()
