"""The library on the real reactor: inotify, threads, hash workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from gnutella.network import watch
from gnutella.network.hashers import HashWorkers
from gnutella.network.library import LibraryService
from gnutella.network.store import open_store
from gnutella.network.watch import Sign, TreeWatch
from gnutella.network.workers import Workers
from gnutella.settings import SharingSettings
from gnutella.sharing.hashing import hash_bytes
from gnutella.testing.aio import async_test, turns, until

pytestmark = pytest.mark.live


class Watched:
    def __init__(self, reactor: Any, share: Path, library: LibraryService) -> None:
        self.reactor = reactor
        self.share = share
        self.library = library

    def names(self) -> list[str]:
        return sorted(file.relative for file in self.library.catalog.files)

    async def become(self, *names: str) -> None:
        await until(self.reactor, lambda: self.names() == sorted(names))

    async def ready(self) -> None:
        await until(self.reactor, lambda: self.library.is_ready and not self.library.status()["scanning"])


@pytest_twisted.async_yield_fixture()
async def watched(reactor: Any, tmp_path: Path) -> AsyncIterator[Watched]:
    share = tmp_path / "share"
    (share / "album").mkdir(parents=True)
    (share / "album/one.mp3").write_text("one")
    node = tmp_path / "node"
    node.mkdir()
    store = open_store(node, reactor)
    await store.open()
    workers = Workers(reactor)
    hashers = HashWorkers(reactor, inline=True)
    settings = SharingSettings(directories=(str(share),))
    library = LibraryService(reactor, settings, store, workers, hashers, lambda _: None, private_dirs=(str(node),))
    await library.start()
    house = Watched(reactor, share, library)
    await house.become("album/one.mp3")
    await house.ready()
    yield house
    await library.stop()
    await hashers.stop()
    await workers.stop()
    await store.close()


@async_test()
async def test_a_file_written_into_a_watched_directory_is_shared(watched: Watched) -> None:
    (watched.share / "album/two.mp3").write_text("two")
    await watched.become("album/one.mp3", "album/two.mp3")
    assert watched.library.catalog.by_sha1(hash_bytes(b"two").sha1) is not None
    assert watched.library.status()["watch"] == "watching"
    assert watched.library.status()["watched_directories"] == 2


@async_test()
async def test_a_file_that_is_rewritten_is_hashed_again(watched: Watched) -> None:
    (watched.share / "album/one.mp3").write_text("one, but longer")
    sha1 = hash_bytes(b"one, but longer").sha1
    await until(watched.reactor, lambda: watched.library.catalog.by_sha1(sha1) is not None)
    assert watched.names() == ["album/one.mp3"]


@async_test()
async def test_a_deleted_file_and_a_deleted_directory_go(watched: Watched) -> None:
    (watched.share / "two.mp3").write_text("two")
    await watched.become("album/one.mp3", "two.mp3")
    shutil.rmtree(watched.share / "album")
    await watched.become("two.mp3")
    (watched.share / "two.mp3").unlink()
    await watched.become()
    # The watch of the share itself lives on.
    (watched.share / "three.mp3").write_text("three")
    await watched.become("three.mp3")


@async_test()
async def test_a_tree_that_is_made_at_once_is_found_whole(watched: Watched) -> None:
    for number in range(5):
        (watched.share / f"new/a{number}/b").mkdir(parents=True)
        (watched.share / f"new/a{number}/b/file.txt").write_text(f"{number}")
    await watched.become("album/one.mp3", *(f"new/a{number}/b/file.txt" for number in range(5)))


@async_test()
async def test_a_renamed_directory_takes_its_files_along(watched: Watched) -> None:
    os.rename(watched.share / "album", watched.share / "record")
    await watched.become("record/one.mp3")
    (watched.share / "record/two.mp3").write_text("two")
    await watched.become("record/one.mp3", "record/two.mp3")


@async_test()
async def test_a_file_moved_out_is_shared_no_more(watched: Watched, tmp_path: Path) -> None:
    os.rename(watched.share / "album/one.mp3", tmp_path / "one.mp3")
    await watched.become()


@async_test()
async def test_a_download_that_is_being_written_is_shared_when_it_has_its_name(watched: Watched) -> None:
    part = watched.share / "film.avi.part"
    part.write_text("half")
    os.rename(part, watched.share / "film.avi")
    await watched.become("album/one.mp3", "film.avi")


@async_test()
async def test_where_no_more_can_be_watched_the_status_says_so(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MAX_WATCHES", 2)
    (watched.share / "more").mkdir()
    await until(watched.reactor, lambda: str(watched.library.status()["watch"]).startswith("not all watched"))


@async_test()
async def test_lost_events_lead_to_a_walk_over_everything(watched: Watched) -> None:
    # A file that no event tells of: its directory is not watched.
    assert watched.library._watch is not None
    watched.library._watch.drop(str(watched.share / "album"))
    (watched.share / "album/unseen.mp3").write_text("unseen")
    watched.library._event(Sign.LOST, "")
    await watched.become("album/one.mp3", "album/unseen.mp3")


@async_test()
async def test_the_kernels_overflow_is_told(reactor: Any, tmp_path: Path) -> None:
    told: list[tuple[Sign, str]] = []
    tree = TreeWatch.open(reactor, lambda sign, path: told.append((sign, path)))
    assert tree is not None
    tree.add(str(tmp_path))
    # Nothing reads while the kernel's queue fills up.
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    assert limit <= 100_000, "this test writes that many events"
    for number in range(limit // 2 + 10):
        path = os.path.join(tmp_path, str(number % 7))
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        os.unlink(path)
    await until(reactor, lambda: (Sign.LOST, "") in told)
    tree.close()
    await turns(reactor, 2)
    assert tree.count >= 0


@async_test()
async def test_nothing_is_told_after_close(reactor: Any, tmp_path: Path) -> None:
    told: list[tuple[Sign, str]] = []
    tree = TreeWatch.open(reactor, lambda sign, path: told.append((sign, path)))
    assert tree is not None
    tree.add(str(tmp_path))
    assert tree.count == 1
    (tmp_path / "a").write_text("a")
    tree.close()
    await turns(reactor, 5)
    assert told == []
