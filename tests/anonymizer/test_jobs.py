"""Jobs on a disk that fills up, under files that change, and in a program that is killed: what is there is whole, or hidden."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, execute, succeed

from anonymizer.chk import DATA_BYTES
from anonymizer.client_cache import ClientCache
from anonymizer.inner import FetchKeys
from anonymizer.jobs import FetchJob, Job, PutJob
from anonymizer.ownfiles import PARTIAL_KEPT_S, remove_stale
from anonymizer.ssk import WriteKey
from anonymizer.uri import ChkUri, OwnUri, SskUri, parse_uri
from gnutella.control.relay_view import Terms
from gnutella.control.table import STATUS_OF
from gnutella.errors import UserError
from gnutella.network.workers import Workers
from gnutella.testing.relay_pivot import RelayPivots
from tests.anonymizer.test_client import client_of
from tests.anonymizer.transfers import publish

DATA = random.Random(5).randbytes(40 * DATA_BYTES + 77)
SMALL = Terms("relay", 12)
KEY = WriteKey(b"s" * 32, b"r" * 32)


class World:
    """A layer without links: jobs on a real directory, pivots in virtual time.  To forget one is to kill the program."""

    def __init__(self, directory: Path, seed: int = 1) -> None:
        self.net = RelayPivots(seed, pivots=12)
        self.cache = ClientCache()
        self.client = client_of(self.net, self.cache)
        self.directory = directory
        self.disk = Workers(None, inline=True)  # type: ignore[arg-type]
        self.jobs: list[Job] = []
        self.listed: list[str] = []
        self.sha1s: list[bytes] = []

    def now(self) -> float:
        return self.net.now

    def wake(self) -> None:
        pass

    def partials_in_use(self) -> set[Path]:
        return {job.partial for job in self.jobs if isinstance(job, FetchJob) and not job.is_over}

    def list_inserted(self, name: str, size: int, uri: ChkUri, sha1: bytes) -> Deferred[None]:
        self.listed.append(name)
        self.sha1s.append(sha1)
        return succeed(None)

    def _begin(self, job: Any, start: Callable[[], None]) -> Any:
        start()
        self.jobs.append(job)
        return job

    def get(self, uri: Any, to: str = "tale.txt") -> FetchJob:
        job = FetchJob(self, len(self.jobs) + 1, "unnamed", to)  # type: ignore[arg-type]
        return self._begin(job, lambda: job.start(uri, SMALL))  # type: ignore[no-any-return]

    def put(self, path: Path, owner: OwnUri | None = None, *, convergent: bool = False) -> PutJob:
        job = PutJob(self, len(self.jobs) + 1, path, owner, "news" if owner else "")  # type: ignore[arg-type]
        return self._begin(job, lambda: job.start(SMALL, convergent=convergent, is_listed=True))  # type: ignore[no-any-return]

    def run(self, job: Job, is_over: Callable[[], bool] | None = None) -> Job:
        self.net.run_until(is_over or (lambda: job.is_over))
        return job

    @property
    def asked(self) -> int:
        """Keys that pivots were asked for."""
        return sum(len(body.keys) for end in self.net.all_ends for body in end.told if isinstance(body, FetchKeys))


class Dying:
    """The disk of a program that is killed after so many writes: nothing is done, or heard of, any more."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def run(self, fn: Callable[..., Any], *args: object) -> Deferred[Any]:
        self.left -= 1
        return execute(fn, *args) if self.left >= 0 else Deferred()


def begun(directory: Path, blocks: int, seed: int = 1) -> FetchJob:
    """A fetch of DATA that has written so many blocks when the program is killed."""
    world = World(directory, seed)
    world.disk = Dying(blocks)  # type: ignore[assignment]
    job = world.get(publish(world.net, DATA, redundant=False))
    world.net.run(60)
    assert not job.is_over and world.disk.left < 0  # type: ignore[attr-defined]
    return job


def shown(directory: Path) -> list[str]:
    """What a user sees there."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def hidden(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.name.startswith("."))


def failure(job: Job) -> UserError:
    assert job.state == "failed" and isinstance(job.error, UserError), job.row
    assert job.error.exit_code in STATUS_OF
    return job.error


# -- kills -----------------------------------------------------------------------------------------------------------------


def test_a_fetch_that_is_killed_again_and_again_asks_for_nothing_twice_that_was_written(tmp_path: Path) -> None:
    for kill, blocks in enumerate((10, 18, 26)):
        begun(tmp_path, blocks, kill)
        assert shown(tmp_path) == [] and len(hidden(tmp_path)) == 1
    world = World(tmp_path)
    job = world.run(world.get(publish(world.net, DATA, redundant=False)))
    assert job.state == "done" and Path(job.path).read_bytes() == DATA and hidden(tmp_path) == []
    # It asks for the manifest, and for what was not there.
    assert world.asked == len(DATA) // DATA_BYTES + 1 - 26 + 1


def test_what_an_earlier_try_left_is_checked_and_what_is_behind_the_end_is_cut(tmp_path: Path) -> None:
    begun(tmp_path, 20)
    (left,) = hidden(tmp_path)
    with left.open("r+b") as file:
        file.seek(3 * DATA_BYTES)
        file.write(b"garbled by the disk")
        file.seek(60 * DATA_BYTES)
        file.write(b"never was part of it")
    again = World(tmp_path)
    job = again.run(again.get(publish(again.net, DATA, redundant=False)))
    assert job.state == "done" and Path(job.path).read_bytes() == DATA
    assert again.asked == len(DATA) // DATA_BYTES + 1 - 20 + 1 + 1


def test_a_link_in_the_place_of_a_partial_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path.with_name("victim")
    victim.write_bytes(b"mine")
    first = World(tmp_path)
    job = first.get(publish(first.net, DATA))
    (left,) = hidden(tmp_path)
    left.unlink()
    left.symlink_to(victim)
    again = World(tmp_path)
    # Its own new file has that name: it is refused, by name, and nothing is written there.
    job = again.get(publish(again.net, DATA))
    assert failure(job).exit_code == os.EX_CANTCREAT and victim.read_bytes() == b"mine"


def test_two_fetches_of_one_key_have_a_file_each(tmp_path: Path) -> None:
    world = World(tmp_path)
    uri = publish(world.net, DATA)
    one, two = world.get(uri), world.get(uri)
    assert len(hidden(tmp_path)) == 2
    world.run(one, lambda: one.is_over and two.is_over)
    assert shown(tmp_path) == ["tale (2).txt", "tale.txt"] and hidden(tmp_path) == []
    assert all((tmp_path / name).read_bytes() == DATA for name in shown(tmp_path))


def test_a_cancelled_fetch_is_gone_on_with_for_a_week_and_then_removed(tmp_path: Path) -> None:
    world = World(tmp_path)
    job = world.get(publish(world.net, DATA))
    path = job.partial
    old = world.get(SskUri(KEY.read_key, "other"))
    os.utime(path, (0, world.now() - PARTIAL_KEPT_S - 1))
    (tmp_path / "kept.txt").write_bytes(b"")
    os.utime(tmp_path / "kept.txt", (0, 0))
    assert remove_stale(tmp_path, world.partials_in_use(), world.now()) == 0
    job.cancel()
    old.cancel()
    os.utime(path, (0, world.now() - PARTIAL_KEPT_S + 60))
    assert remove_stale(tmp_path, world.partials_in_use(), world.now()) == 0 and hidden(tmp_path) == [path]
    assert remove_stale(tmp_path, world.partials_in_use(), world.now() + 120) == 1
    assert hidden(tmp_path) == [] and shown(tmp_path) == ["kept.txt"]


def test_a_document_has_its_name_when_all_of_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.client.documents.write(KEY, "page", b"text of a page", lambda *_: None, world.now())
    world.net.settle()
    seen: list[list[str]] = []
    writing = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        seen.append(shown(tmp_path))
        return writing(fd, data[:5], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    job = world.run(world.get(SskUri(KEY.read_key, "page"), "page.txt"))
    assert seen == [[]] * 3 and job.state == "done", job.row
    assert (tmp_path / "page.txt").read_bytes() == b"text of a page" and hidden(tmp_path) == []


# -- disks -----------------------------------------------------------------------------------------------------------------


class Full:
    """A disk that takes so many bytes more, and then says why it takes none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, number: int = errno.ENOSPC) -> None:
        self.room, self._number, self._write = room, number, os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if self.room <= 0:
            raise OSError(self._number, os.strerror(self._number))
        count = self._write(fd, data[: self.room], offset)
        self.room -= count
        return count


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "disk full"), (errno.EDQUOT, "disk full"), (errno.EFBIG, "too large")]
)
def test_a_full_disk_ends_a_fetch_by_name_and_a_later_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    disk = Full(monkeypatch, 9 * DATA_BYTES + 100, number)
    world = World(tmp_path)
    error = failure(world.run(world.get(publish(world.net, DATA))))
    assert says in str(error) and "tale.txt" in str(error) and error.exit_code == os.EX_CANTCREAT
    world.net.settle()
    assert not world.net.circuits and shown(tmp_path) == []
    disk.room = 1 << 30
    later = World(tmp_path)
    job = later.run(later.get(publish(later.net, DATA)))
    assert job.state == "done" and Path(job.path).read_bytes() == DATA
    assert later.asked <= len(DATA) // DATA_BYTES + 2 - 9


def test_a_full_disk_leaves_nothing_of_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.client.documents.write(KEY, "page", b"text of a page", lambda *_: None, world.now())
    world.net.settle()
    Full(monkeypatch, 5)
    error = failure(world.run(world.get(SskUri(KEY.read_key, "page"), "page.txt")))
    assert "disk full" in str(error) and error.exit_code == os.EX_CANTCREAT
    assert shown(tmp_path) == [] and hidden(tmp_path) == []


def test_a_directory_that_is_gone_ends_a_fetch_by_name(tmp_path: Path) -> None:
    world = World(tmp_path / "gone")
    error = failure(world.get(publish(world.net, DATA)))
    assert "cannot write tale.txt" in str(error) and error.exit_code == os.EX_CANTCREAT


# -- files that are published ------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_bytes(DATA)
    return path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "directory", "missing", "device", "endless", "zero byte", "below a file"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, source: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    places = {"device": "/dev/tty", "endless": "/dev/zero", "zero byte": "a\0b", "below a file": str(source / "x")}
    path = Path(places.get(kind, path))
    world = World(tmp_path)
    with pytest.raises(UserError, match="cannot be read") as refused:
        world.put(path)
    assert refused.value.exit_code in (os.EX_USAGE, os.EX_NOPERM) and world.net.log == []


def test_a_file_that_may_not_be_read_is_refused_as_such(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match="Permission denied") as refused:
        World(source.parent).put(source)
    assert refused.value.exit_code == os.EX_NOPERM


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


CHANGES: dict[str, Callable[[Path], None]] = {
    "longer": grow,
    "shorter": lambda path: os.truncate(path, 5_000),
    "another": rewrite,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("convergent", [False, True])
def test_a_file_that_changes_while_it_is_published_gets_no_key(
    source: Path, monkeypatch: pytest.MonkeyPatch, change: str, convergent: bool
) -> None:
    world = World(source.parent)
    reading, reads = os.read, []

    def read(fd: int, count: int) -> bytes:
        reads.append(count)
        if len(reads) == 2:
            CHANGES[change](source)
        return reading(fd, min(count, 10_000))

    monkeypatch.setattr(os, "read", read)
    job = world.put(source, OwnUri(KEY), convergent=convergent)
    error = failure(world.run(job))
    assert "source.txt changed while it was read" in str(error) and error.exit_code == 1
    assert (job.uri, job.document, world.listed) == ("", "", [])
    world.net.settle()
    assert not world.net.circuits


def test_a_file_that_vanishes_while_it_is_published_is_published_whole(source: Path) -> None:
    world = World(source.parent)
    job = world.put(source, convergent=True)
    source.unlink()
    assert world.run(job).state == "done" and world.listed == ["source.txt"]
    assert world.sha1s == [hashlib.sha1(DATA).digest()]
    uri = job.uri
    again = World(source.parent)
    again.net.blocks = world.net.blocks
    got = again.run(again.get(parse_uri(uri)))
    assert Path(got.path).read_bytes() == DATA


def test_a_disk_that_fails_to_read_ends_a_put_by_name(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(fd: int, count: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "read", read)
    world = World(source.parent)
    error = failure(world.run(world.put(source)))
    assert "source.txt cannot be read: Input/output error" in str(error) and error.exit_code == os.EX_USAGE
