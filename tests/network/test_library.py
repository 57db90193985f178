"""The library: from directories to a catalog, on a clock, with hashing and threads done at once in the caller."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnutella.errors import UserError
from gnutella.network import library_store
from gnutella.network.hash_queue import FileHashers
from gnutella.network.hashers import HashWorkers
from gnutella.network.library import MIN_BULK, RETRY_S, SETTLE_S, UNWATCHED_RESCAN_S, LibraryService
from gnutella.network.library_counts import FLUSH_S
from gnutella.network.store import Store, StoreError, open_store
from gnutella.network.watch import Sign
from gnutella.network.workers import Workers
from gnutella.protocol.tth import FileHash
from gnutella.settings import SharingSettings
from gnutella.sharing.catalog import Catalog
from gnutella.sharing.hashing import FileChanged, hash_bytes
from gnutella.testing.aio import async_test
from gnutella.testing.strategies_sharing import query_payload


class Hashers:
    """Hashes at once, or when told to, and counts."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.is_held = False
        self.held: list[tuple[str, Deferred[FileHash]]] = []
        self.failures: list[Exception] = []
        self.progress: Callable[[int], object] | None = None

    def hash_file(
        self,
        path: str,
        size: int | None = None,
        mtime_ns: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Deferred[FileHash]:
        self.paths.append(os.path.basename(path))
        done: Deferred[FileHash] = Deferred()
        if self.is_held:
            self.held.append((path, done))
            self.progress = progress
        else:
            self.finish(path, done)
        return done

    def finish(self, path: str, done: Deferred[FileHash]) -> None:
        if self.failures:
            done.errback(self.failures.pop(0))
        else:
            done.callback(hash_bytes(Path(path).read_bytes()))

    def release(self) -> None:
        self.is_held = False
        held, self.held = self.held, []
        for path, done in held:
            if not done.called:
                self.finish(path, done)


class House:
    """A library with all it needs, in a temporary directory."""

    def __init__(
        self, directory: Path, *, settings: SharingSettings | None = None, hashers: FileHashers | None = None
    ) -> None:
        self.clock = Clock()
        self.share = directory / "share"
        self.share.mkdir(exist_ok=True)
        self.hashers = Hashers()
        self.snapshots: list[Catalog] = []
        self.node = directory / "node"
        self.node.mkdir(exist_ok=True)
        self.store: Store = open_store(self.node, self.reactor(), inline=True)
        self.library = LibraryService(
            self.clock,
            settings or SharingSettings(directories=(str(self.share),), watch=False),
            self.store,
            Workers(self.reactor(), inline=True),
            hashers or self.hashers,
            self.snapshots.append,
            private_dirs=(str(self.node),),
        )

    def reactor(self) -> Any:
        return self.clock

    async def start(self) -> House:
        await self.store.open()
        await self.library.start()
        self.clock.advance(SETTLE_S)
        return self

    async def stop(self) -> None:
        await self.library.stop()
        await self.store.close()
        assert self.clock.getDelayedCalls() == []

    def write(self, name: str, content: str = "") -> Path:
        path = self.share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or name)
        return path

    async def rescan(self) -> dict[str, object]:
        row = await self.library.rescan()
        self.clock.advance(SETTLE_S)
        return row

    def names(self) -> list[str]:
        return sorted(file.relative for file in self.library.catalog.files)

    def index_of(self, name: str) -> int:
        file = self.library.catalog.by_path(str(self.share / name))
        assert file is not None
        return file.index


@pytest_twisted.async_yield_fixture()
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    house.write("Some Song.mp3")
    house.write("deep/er/Other Song.ogg")
    await house.start()
    yield house
    await house.stop()


@async_test()
async def test_files_are_hashed_and_answer_queries(house: House) -> None:
    assert house.names() == ["Some Song.mp3", "deep/er/Other Song.ogg"]
    catalog = house.library.catalog
    assert house.snapshots[-1] is catalog
    assert [file.name for file in catalog.answer(query_payload("some song"), 10)] == ["Some Song.mp3"]
    names = hash_bytes(b"Some Song.mp3")
    found = catalog.by_sha1(names.sha1)
    assert found is not None
    assert (found.tth, found.size) == (names.tth, 13)
    assert house.library.is_ready


@async_test()
async def test_new_changed_and_removed_files_are_found_by_a_rescan(house: House) -> None:
    index = house.index_of("Some Song.mp3")
    house.write("Some Song.mp3", "longer than before")
    house.write("New.txt")
    shutil.rmtree(house.share / "deep")
    row = await house.rescan()
    assert house.names() == ["New.txt", "Some Song.mp3"]
    assert row["pending"] == 0
    assert house.index_of("Some Song.mp3") == index
    assert house.library.catalog.by_sha1(hash_bytes(b"longer than before").sha1) is not None
    assert house.library.catalog.by_sha1(hash_bytes(b"Some Song.mp3").sha1) is None


@async_test()
async def test_nothing_is_hashed_twice_even_after_a_restart(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write("a.txt")
    await house.start()
    await house.rescan()
    assert house.hashers.paths == ["a.txt"]
    await house.stop()
    again = await House(tmp_path).start()
    assert again.names() == ["a.txt"]
    assert again.hashers.paths == []
    await again.stop()


@async_test()
async def test_what_was_rewritten_while_the_node_was_down_is_hashed_anew(tmp_path: Path) -> None:
    """Neither the same size nor the same time alone makes it the file that was hashed."""
    first = House(tmp_path)
    path = first.write("song", "abc")
    other = first.write("longer", "abc")
    await first.start()
    await first.stop()
    time_ns = path.stat().st_mtime_ns, other.stat().st_mtime_ns
    path.write_text("xyz")
    os.utime(path, ns=(time_ns[0] + 1000, time_ns[0] + 1000))
    other.write_text("abcdef")
    os.utime(other, ns=(time_ns[1], time_ns[1]))
    second = await House(tmp_path).start()
    assert sorted(second.hashers.paths) == ["longer", "song"]
    assert {file.sha1 for file in second.library.catalog.files} == {hash_bytes(now).sha1 for now in (b"xyz", b"abcdef")}
    await second.stop()


@async_test()
async def test_a_name_that_is_no_utf_8_is_shared_and_its_hash_kept(tmp_path: Path) -> None:
    house = House(tmp_path)
    raw = os.fsencode(house.share) + b"/caf\xe9 song.mp3"
    with open(raw, "wb") as file:
        file.write(b"x")
    await house.start()
    (found,) = house.library.catalog.answer(query_payload("cafe"), 10)
    assert found.name == "café song.mp3"
    assert os.fsencode(house.library.catalog.by_index(found.index).path) == raw  # type: ignore[union-attr]
    await house.stop()
    again = await House(tmp_path).start()
    assert again.hashers.paths == []
    assert again.library.catalog.file_count == 1
    await again.stop()


@async_test()
async def test_trees_are_kept_for_those_who_fetch(house: House) -> None:
    names = hash_bytes(b"Some Song.mp3")
    kept = await house.store.run(
        lambda connection: connection.execute(
            "SELECT tth, size, nodes FROM trees WHERE sha1 = ?", (names.sha1,)
        ).fetchone()
    )
    assert kept == (names.tth, 13, names.tree)


@async_test()
async def test_the_old_catalog_answers_while_files_are_hashed(house: House) -> None:
    before = house.library.catalog
    house.hashers.is_held = True
    path = house.write("Late.txt")
    await house.rescan()
    assert house.library.catalog is before
    assert house.hashers.progress is not None
    house.hashers.progress(1)
    status: Any = house.library.status()
    assert status["hashing"] == {"pending": 1, "current": str(path), "done_bytes": 1}
    house.hashers.release()
    house.clock.advance(SETTLE_S)
    assert "Late.txt" in house.names()
    assert house.library.status()["hashing"] == {"pending": 0, "current": "", "done_bytes": 0}


@async_test()
async def test_many_files_hashed_in_a_moment_are_one_snapshot(house: House) -> None:
    before = len(house.snapshots)
    for number in range(20):
        house.write(f"n{number}.txt")
    house.library.rescan()
    house.clock.advance(SETTLE_S)
    assert len(house.names()) == 22
    assert len(house.snapshots) <= before + 2


@async_test()
async def test_a_moved_file_is_not_hashed_again_and_gets_another_index(house: House) -> None:
    index = house.index_of("Some Song.mp3")
    os.utime(house.share / "Some Song.mp3", ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    await house.rescan()
    hashed = len(house.hashers.paths)
    (house.share / "sub").mkdir()
    os.rename(house.share / "Some Song.mp3", house.share / "sub/Some Song.mp3")
    house.library._event(Sign.FILE, str(house.share / "Some Song.mp3"))
    house.clock.advance(SETTLE_S)
    house.library._event(Sign.TREE, str(house.share / "sub"))
    house.clock.advance(SETTLE_S)
    assert house.names() == ["deep/er/Other Song.ogg", "sub/Some Song.mp3"]
    assert len(house.hashers.paths) == hashed
    assert house.index_of("sub/Some Song.mp3") != index


@async_test()
async def test_a_file_that_comes_back_has_its_old_index(house: House) -> None:
    index = house.index_of("Some Song.mp3")
    (house.share / "Some Song.mp3").unlink()
    await house.rescan()
    house.write("Another.txt")
    await house.rescan()
    house.write("Some Song.mp3", "new content")
    await house.rescan()
    assert house.index_of("Some Song.mp3") == index
    assert house.index_of("Another.txt") != index


@async_test()
async def test_directories_come_and_go_at_run_time_and_stay_after_a_restart(house: House, tmp_path: Path) -> None:
    more = tmp_path.parent / f"{tmp_path.name}-more"
    more.mkdir()
    (more / "Extra.txt").write_text("extra")
    assert (await house.library.add(str(more)))["source"] == "runtime"
    house.clock.advance(SETTLE_S)
    assert house.library.catalog.by_path(str(more / "Extra.txt")) is not None
    assert {row["path"]: row["files"] for row in house.library.directories()} == {str(house.share): 2, str(more): 1}
    kept = await house.store.run(lambda connection: connection.execute("SELECT directory FROM shares").fetchall())
    assert kept == [(str(more),)]
    row = await house.library.remove(str(more))
    assert row["files"] == 1
    assert house.library.catalog.by_path(str(more / "Extra.txt")) is None
    assert await house.store.run(lambda connection: connection.execute("SELECT * FROM shares").fetchall()) == []
    assert len(house.library.directories()) == 1


@async_test()
async def test_a_share_within_a_share_stays_offered_when_the_inner_one_is_removed(house: House) -> None:
    await house.library.add(str(house.share / "deep"))
    house.clock.advance(SETTLE_S)
    await house.library.remove(str(house.share / "deep"))
    house.clock.advance(SETTLE_S)
    assert house.names() == ["Some Song.mp3", "deep/er/Other Song.ogg"]


@async_test()
async def test_what_must_not_be_shared_is_refused(house: House, tmp_path: Path) -> None:
    for directory in (
        "/",
        str(house.node),
        str(tmp_path / "share2"),
        str(house.share / "Some Song.mp3"),
    ):
        with pytest.raises(UserError):
            await house.library.add(directory)
    with pytest.raises(UserError) as caught:
        await house.library.remove(str(tmp_path))
    assert caught.value.exit_code == 1


@async_test()
async def test_a_directory_within_the_nodes_own_may_be_shared_by_name(house: House) -> None:
    (house.node / "sub").mkdir()
    (house.node / "sub" / "b.txt").write_text("b")
    await house.library.add(str(house.node / "sub"))
    house.clock.advance(SETTLE_S)
    assert "b.txt" in house.names()


@async_test()
async def test_the_nodes_own_directory_is_never_offered(tmp_path: Path) -> None:
    settings = SharingSettings(directories=(str(tmp_path), str(tmp_path / "node")), watch=False)
    house = House(tmp_path, settings=settings)
    (house.node / "token").write_text("secret")
    house.write("a.txt")
    await house.start()
    assert house.names() == ["share/a.txt"]
    assert house.library.status()["refused"] == {"private": 1}
    assert [row["path"] for row in house.library.directories()] == [str(tmp_path)]
    await house.stop()


@async_test()
async def test_refusals_are_counted_in_the_status(house: House, tmp_path: Path) -> None:
    house.write(".hidden")
    house.write("movie.avi.part")
    (house.share / "empty").touch()
    (house.share / "out").symlink_to(house.node / "state.db")
    (house.share / "in").symlink_to(house.share / "Some Song.mp3")
    os.mkfifo(house.share / "pipe")
    house.write("secret.txt").chmod(0)
    await house.rescan()
    assert house.names() == ["Some Song.mp3", "deep/er/Other Song.ogg"]
    assert house.library.status()["refused"] == {
        "empty": 1,
        "hidden": 1,
        "link": 1,
        "link_outside": 1,
        "not_regular": 1,
        "unfinished": 1,
        "unreadable": 1,
    }


@async_test()
async def test_no_more_files_than_the_limit_are_shared(tmp_path: Path) -> None:
    share = str(tmp_path / "share")
    house = House(tmp_path, settings=SharingSettings(directories=(share,), watch=False, max_files=3))
    for number in range(5):
        house.write(f"n{number}.txt")
    await house.start()
    assert house.library.catalog.file_count == 3
    assert house.library.status()["refused"] == {"too_many": 2}
    await house.stop()


@async_test()
async def test_a_file_that_changes_while_it_is_hashed_is_tried_again_later(house: House) -> None:
    house.hashers.failures.append(FileChanged("it grew"))
    house.write("growing.txt")
    await house.rescan()
    assert "growing.txt" not in house.names()
    house.clock.advance(RETRY_S)
    house.clock.advance(SETTLE_S)
    house.clock.advance(SETTLE_S)
    assert "growing.txt" in house.names()


@async_test()
async def test_a_file_that_cannot_be_hashed_is_logged_and_left_out(house: House) -> None:
    house.hashers.failures.append(RuntimeError("the worker died"))
    house.write("bad.txt")
    await house.rescan()
    assert "bad.txt" not in house.names()
    assert house.library.status()["unreadable"] == 1


@async_test()
async def test_a_finished_download_is_offered_at_once(house: House) -> None:
    path = house.write("Download.iso", "content")
    names = hash_bytes(b"content")
    await house.library.adopt(str(path), names.sha1, names.tth)
    assert house.library.catalog.by_sha1(names.sha1) is not None
    await house.rescan()
    assert "Download.iso" not in house.hashers.paths
    await house.library.adopt("/somewhere/else.iso", names.sha1, names.tth)
    assert len(house.names()) == 3


@async_test()
async def test_a_walk_that_fails_is_told_and_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch, flush_failures: Callable[..., list[Any]]
) -> None:
    def broken(*_: object) -> None:
        raise StoreError("the disk is full")

    house.write("Later.txt")
    with monkeypatch.context() as patched:
        patched.setattr(library_store, "known_hashes", broken)
        with pytest.raises(StoreError):
            await house.rescan()
    assert len(flush_failures(StoreError)) == 1
    house.clock.advance(UNWATCHED_RESCAN_S)
    house.clock.advance(SETTLE_S)
    assert "Later.txt" in house.names()


@async_test()
async def test_a_walk_comes_by_itself(house: House) -> None:
    house.write("Later.txt")
    house.clock.advance(UNWATCHED_RESCAN_S)
    house.clock.advance(SETTLE_S)
    assert "Later.txt" in house.names()


@async_test()
async def test_hits_and_uploads_are_counted_and_kept(house: House) -> None:
    sha1 = hash_bytes(b"Some Song.mp3").sha1
    house.library.counts.count_hits([sha1, sha1])
    house.library.counts.count_upload(sha1)
    house.clock.advance(FLUSH_S)
    house.library.counts.count_hits([sha1])
    rows = {row["name"]: row for row in house.library.rows()}
    assert (rows["Some Song.mp3"]["hits"], rows["Some Song.mp3"]["uploads"]) == (3, 1)
    assert (rows["Other Song.ogg"]["hits"], rows["Other Song.ogg"]["uploads"]) == (0, 0)
    assert set(rows["Some Song.mp3"]) == {"path", "name", "size", "urn", "tth", "hits", "uploads"}
    await house.library.counts.stop()
    kept = await house.store.run(lambda connection: connection.execute("SELECT * FROM file_counts").fetchall())
    assert kept == [(sha1, 3, 1)]


@async_test()
async def test_a_missing_share_takes_its_files_away_but_keeps_their_hashes(house: House, tmp_path: Path) -> None:
    os.rename(house.share, tmp_path / "unmounted")
    await house.rescan()
    assert house.names() == []
    os.rename(tmp_path / "unmounted", house.share)
    await house.rescan()
    assert len(house.names()) == 2
    assert len(house.hashers.paths) == 2


@async_test()
async def test_stopping_within_a_walk_and_while_hashing_leaves_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.hashers.is_held = True
    house.write("a.txt")
    await house.start()
    assert len(house.hashers.held) == 1
    waiting = house.library.rescan()
    await house.stop()
    assert (await waiting)["files"] == 0
    assert house.library.status()["hashing"] == {"pending": 0, "current": "", "done_bytes": 0}


@async_test()
async def test_a_large_share_known_from_before_comes_in_several_snapshots(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(MIN_BULK * 3):
        house.write(f"n{number}.txt", "x")
    await house.start()
    await house.stop()
    again = await House(tmp_path).start()
    assert again.library.catalog.file_count == MIN_BULK * 3
    assert len({file.index for file in again.library.catalog.files}) == MIN_BULK * 3
    await again.stop()


@async_test()
async def test_real_hashers_work_behind_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    hashers = HashWorkers(house.clock, inline=True)
    house = House(tmp_path, hashers=hashers)
    house.write("real.txt", "content")
    await house.start()
    assert house.library.catalog.by_sha1(hash_bytes(b"content").sha1) is not None
    await house.stop()
    await hashers.stop()
