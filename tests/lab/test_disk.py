"""Disks that are full, slow, or lose what was not yet safe; downloads that go on after all that."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from gnutella.lab.disk import SECTOR, Disk, DiskFile
from gnutella.lab.downloads import Download, Downloads
from gnutella.lab.node import LabNode
from gnutella.lab.runner import build, run
from gnutella.lab.scenario import load
from gnutella.reasons import DropReason
from gnutella.transfers.ranges import RangeSet

SCENARIO = Path(__file__).parent.parent / "scenarios" / "disk.toml"


def file_of(size: int, seed: int = 1, room: int | None = None, bytes_s: float = 0.0) -> DiskFile:
    return DiskFile(Disk(Random(seed), room, bytes_s), size)


def test_a_full_disk_writes_nothing_and_takes_what_fits() -> None:
    file = file_of(100, room=30)
    assert file.write(0, b"a" * 20, 0.0) and not file.write(20, b"b" * 11, 0.0)
    assert file.content == b"a" * 20 + bytes(80)
    assert file.write(20, b"b" * 10, 0.0)


def test_what_is_written_over_takes_no_more_room() -> None:
    file = file_of(100, room=20)
    assert file.write(0, b"a" * 20, 0.0) and file.write(5, b"b" * 15, 0.0)
    assert file.disk.room == 0


def test_a_slow_disk_is_busy_for_as_long_as_it_writes() -> None:
    file = file_of(100, bytes_s=10.0)
    file.write(0, bytes(20), 1.0)
    file.write(20, bytes(30), 2.0)
    assert file.disk.free_at == 6.0


@pytest.mark.parametrize("is_power_failure", [True, False])
def test_what_a_sync_made_safe_outlives_the_node(is_power_failure: bool) -> None:
    for seed in range(20):
        file = file_of(4000, seed)
        file.write(0, b"a" * 2000, 0.0)
        mark = file.begin_sync()
        file.write(2000, b"b" * 2000, 0.0)
        file.end_sync(mark)
        file.crash(is_power_failure=is_power_failure)
        assert file.content[:2000] == b"a" * 2000


def test_a_kill_cuts_the_last_write_alone() -> None:
    lengths = set()
    for seed in range(20):
        file = file_of(2000, seed)
        file.write(0, b"a" * 1000, 0.0)
        file.write(1000, b"b" * 1000, 0.0)
        file.crash(is_power_failure=False)
        assert file.content[:1000] == b"a" * 1000
        lengths.add(file.content.count(b"b"))
    assert len(lengths) > 2


def test_a_power_failure_tears_any_write_at_a_sector() -> None:
    left = set()
    for seed in range(40):
        file = file_of(4 * SECTOR, seed)
        for number in range(2):
            file.write(number * 2 * SECTOR, b"ab"[number : number + 1] * 2 * SECTOR, 0.0)
        file.crash(is_power_failure=True)
        left.add((file.content.count(b"a"), file.content.count(b"b")))
    assert {count for pair in left for count in pair} == {0, SECTOR, 2 * SECTOR}
    assert any(first < second for first, second in left)


def test_a_download_waits_for_room_and_goes_on_from_its_notes() -> None:
    begun = build(load(SCENARIO))
    begun.net.clock.run(19.0)
    (download,) = begun.downloads.all
    assert (download.state, download.error) == ("transferring", "disk is full")
    begun.net.clock.run(31.0)
    assert download.error == "the node went away"
    noted = download.noted.total
    assert 0 < noted < download.hit.size
    begun.net.clock.run(32.0)
    assert download.plan.have.total == noted
    outcome = begun.finish()
    assert outcome.failures == [] and download.state == "done"


def test_noting_what_is_not_safe_yet_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(self: Downloads, download: Download) -> None:
        download.noted = RangeSet(download.plan.have)

    monkeypatch.setattr(Downloads, "keep", hasty)
    assert any("noted-safe" in failure for failure in run(load(SCENARIO)).failures)


def test_trusting_the_file_instead_of_the_notes_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    came_up = Downloads.came_up

    def trusting(self: Downloads, node: LabNode) -> None:
        for download in self._of(node):
            download.noted = RangeSet(download.file.taken)
        came_up(self, node)

    monkeypatch.setattr(Downloads, "came_up", trusting)
    assert any("noted-safe" in failure for failure in run(load(SCENARIO)).failures)


def test_a_byte_that_rots_on_disk_is_found_by_the_hash() -> None:
    begun = build(load(SCENARIO))
    begun.net.clock.run(33.0)
    (download,) = begun.downloads.all
    start = next(iter(download.noted)).start
    download.file.content[start] ^= 1
    outcome = begun.finish()
    assert download.state == "done" and outcome.failures == []
    assert download.runs == 2, "two restarts of the node, none of the download: the tree says which leaf it is"
    assert [span.start <= start < span.stop for span in download.wrong] == [True]
    # Nobody is blamed for what was there before the restart.
    assert not any(source.reason is DropReason.SOURCE_CORRUPT for source in download.book)


def test_calling_torn_bytes_done_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(self: Downloads, download: Download) -> None:
        if download.plan.have.total >= 300_000:
            self._end(download, "done", "")

    monkeypatch.setattr(Downloads, "keep", early)
    assert any("byte-exact" in failure for failure in run(load(SCENARIO)).failures)
