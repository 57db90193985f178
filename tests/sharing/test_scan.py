"""Walks over shared directories: what is offered, what is refused and why."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.sharing.paths import MAX_NAME_BYTES
from gnutella.sharing.scan import MAX_DEPTH, UNFINISHED, Found, Refusal, Rules, Walk, examine


def write(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def rules(*shares: Path, private: tuple[Path, ...] = (), max_files: int = 100) -> Rules:
    return Rules(tuple(map(str, shares)), frozenset(map(str, private)), max_files)


def walked(walk: Walk, entries: int = 1000) -> list[str]:
    found: list[Found] = []
    while not walk.is_done:
        found += walk.step(entries).changed
    return sorted(file.relative for file in found)


def catalog_of(found: list[Found]) -> Catalog:
    return Catalog.build(
        SharedFile(
            at,
            f.name,
            f.size,
            0,
            f.path,
            hashlib.sha1(f.path.encode()).digest(),
            None,
            f.relative,
            f.directory,
            f.mtime_ns,
        )
        for at, f in enumerate(found, 1)
    )


def test_files_at_any_depth_are_found(tmp_path: Path) -> None:
    for name in ("a.txt", "b/c.txt", "b/d/e.txt"):
        write(tmp_path / name)
    walk = Walk(rules(tmp_path), Catalog())
    seen = walk.step()
    assert sorted(found.relative for found in seen.changed) == ["a.txt", "b/c.txt", "b/d/e.txt"]
    assert [path for path, _ in seen.directories] == [str(tmp_path), str(tmp_path / "b"), str(tmp_path / "b/d")]
    found = next(found for found in seen.changed if found.name == "e.txt")
    status = os.stat(tmp_path / "b/d/e.txt")
    assert found == Found(
        str(tmp_path / "b/d/e.txt"), str(tmp_path), "b/d/e.txt", "e.txt", status.st_size, status.st_mtime_ns
    )
    assert not walk.refused


def test_small_steps_find_the_same(tmp_path: Path) -> None:
    names = [f"{at % 3}/{at}.txt" for at in range(20)]
    for name in names:
        write(tmp_path / name)
    assert walked(Walk(rules(tmp_path), Catalog()), 1) == sorted(names)


@pytest.mark.parametrize("ending", UNFINISHED)
def test_unfinished_files_are_refused(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"film.avi{ending.upper()}")
    assert examine(str(path), str(tmp_path)) is Refusal.UNFINISHED


def test_hidden_files_and_directories_are_refused(tmp_path: Path) -> None:
    write(tmp_path / ".secret/a.txt")
    write(tmp_path / ".b.txt")
    walk = Walk(rules(tmp_path), Catalog())
    assert walked(walk) == []
    assert walk.refused == {Refusal.HIDDEN: 2}


def test_links_are_refused_and_those_that_lead_out_are_told_apart(tmp_path: Path) -> None:
    share = tmp_path / "share"
    write(share / "a.txt")
    write(tmp_path / "outside/secret.txt")
    (share / "in").symlink_to(share / "a.txt")
    (share / "out").symlink_to(tmp_path / "outside/secret.txt")
    (share / "outdir").symlink_to(tmp_path / "outside")
    (share / "loop").symlink_to(share)
    (share / "nowhere").symlink_to("/does/not/exist")
    (share / "sneaky").symlink_to(tmp_path / "share-2")
    walk = Walk(rules(share), Catalog())
    assert walked(walk) == ["a.txt"]
    assert walk.refused == {Refusal.LINK: 1, Refusal.LINK_OUTSIDE: 5}


def test_what_is_no_regular_readable_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    write(tmp_path / "mine").chmod(0)
    walk = Walk(rules(tmp_path), Catalog())
    assert walked(walk) == []
    assert walk.refused == {Refusal.NOT_REGULAR: 1, Refusal.EMPTY: 1, Refusal.UNREADABLE: 1}


def test_a_name_that_grows_too_long_when_shown_is_refused(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/" + b"\xe9" * (MAX_NAME_BYTES // 2 + 1)
    with open(raw, "wb") as file:
        file.write(b"x")
    assert examine(os.fsdecode(raw), str(tmp_path)) is Refusal.NAME_TOO_LONG


def test_private_directories_are_never_entered(tmp_path: Path) -> None:
    write(tmp_path / "node/token")
    write(tmp_path / "a.txt")
    walk = Walk(rules(tmp_path, private=(tmp_path / "node",)), Catalog())
    assert walked(walk) == ["a.txt"]
    assert walk.refused == {Refusal.PRIVATE: 1}


def test_directories_too_deep_are_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * MAX_DEPTH)
    write(deep / "a.txt")
    write(deep / "d/b.txt")
    walk = Walk(rules(tmp_path), Catalog())
    assert [Path(name).name for name in walked(walk)] == ["a.txt"]
    assert walk.refused == {Refusal.TOO_DEEP: 1}


def test_files_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    for at in range(5):
        write(tmp_path / f"{at}.txt")
    walk = Walk(rules(tmp_path, max_files=3), Catalog())
    assert len(walked(walk)) == 3
    assert walk.refused == {Refusal.TOO_MANY: 2}


def test_a_share_that_is_not_there_is_told(tmp_path: Path) -> None:
    walk = Walk(rules(tmp_path / "gone", tmp_path), Catalog())
    assert walked(walk) == []
    assert walk.missing == [str(tmp_path / "gone")]
    assert walk.refused == {Refusal.UNREADABLE: 1}


def test_a_share_within_a_share_is_walked_once(tmp_path: Path) -> None:
    write(tmp_path / "inner/a.txt")
    inner = tmp_path / "inner"
    walk = Walk(rules(tmp_path, inner), Catalog())
    (found,) = walk.step().changed
    assert (found.directory, found.relative) == (str(inner), "a.txt")
    assert rules(tmp_path, inner).share_of(str(inner / "a.txt")) == str(inner)
    assert rules(tmp_path).share_of("/elsewhere/a.txt") is None


def test_only_what_the_catalog_does_not_know_is_told_and_what_is_gone(tmp_path: Path) -> None:
    for name in ("same", "changed", "gone", "touched"):
        write(tmp_path / name)
    catalog = catalog_of(Walk(rules(tmp_path), Catalog()).step().changed)
    write(tmp_path / "new")
    write(tmp_path / "changed", "longer")
    os.utime(tmp_path / "touched", ns=(1, 1))
    (tmp_path / "gone").unlink()
    walk = Walk(rules(tmp_path), catalog)
    assert walked(walk) == ["changed", "new", "touched"]
    gone = catalog.by_path(str(tmp_path / "gone"))
    assert gone is not None
    assert walk.gone() == [gone.index]


def test_a_walk_may_begin_within_a_share_but_not_where_it_must_not_look(tmp_path: Path) -> None:
    share = tmp_path / "share"
    write(share / "a/b/c.txt")
    write(share / "a/.hidden/d.txt")
    (share / "link").symlink_to(tmp_path)
    assert walked(Walk(rules(share), Catalog(), [str(share / "a/b")])) == ["a/b/c.txt"]
    for start in ("a/.hidden", "link", "a/.hidden/deeper"):
        assert walked(Walk(rules(share), Catalog(), [str(share / start)])) == []
    assert walked(Walk(rules(share), Catalog(), [str(tmp_path)])) == []


def test_a_path_that_is_gone_or_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    assert examine(str(tmp_path / "d"), str(tmp_path)) is None
    assert examine(str(tmp_path / "never"), str(tmp_path)) is None
    assert examine(str(write(tmp_path / "f") / "under"), str(tmp_path)) is None
