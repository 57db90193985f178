"""Files that are offered without being inserted: read once as they are, and served only while they stay so."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from anonymizer.chk import DATA_BYTES, routing_of
from anonymizer.ownfiles import path_of
from anonymizer.served import Served, ServedFile, index_file
from gnutella.errors import UserError

DATA = random.Random(2).randbytes(5 * DATA_BYTES + 9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tale.txt").write_bytes(DATA)
    return tmp_path / "tale.txt"


def indexed(path: Path) -> tuple[Served, ServedFile]:
    served, file = Served(), index_file(path, bytes(32), "text/plain")
    served.add(file)
    return served, file


def test_every_block_is_made_again_of_the_file(path: Path) -> None:
    served, file = indexed(path)
    assert file.size == len(DATA) and len(file.places) == 6 and file.uri.routing in file.nodes
    for routing in (*file.places, *file.nodes):
        block = served.read(routing)
        assert block is not None and routing_of(block) == routing
    assert served.read(bytes(32)) is None


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other(path: Path) -> None:
    path.write_bytes(bytes(len(DATA)))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("change", [fifo, directory, other, Path.unlink, lambda path: os.truncate(path, 0)])
def test_what_is_no_more_what_it_was_is_not_served_and_nothing_waits_for_it(
    path: Path, change: Callable[[Path], object]
) -> None:
    served, file = indexed(path)
    change(path)
    assert [served.read(routing) for routing in file.places] == [None] * 6


@pytest.mark.timeout(20)
@pytest.mark.parametrize("change", [fifo, directory, Path.unlink])
def test_what_is_no_file_is_not_offered(path: Path, change: Callable[[Path], object]) -> None:
    change(path)
    with pytest.raises(UserError, match="cannot be read") as refused:
        index_file(path, bytes(32), "text/plain")
    assert refused.value.exit_code == os.EX_USAGE


def test_a_file_that_grows_while_it_is_read_is_not_offered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = os.read

    def read(fd: int, count: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"more")
        return reading(fd, count)

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(UserError, match="changed while it was read") as refused:
        index_file(path, bytes(32), "text/plain")
    assert refused.value.exit_code == 1


def test_a_home_of_nobody_is_a_name_like_any_other() -> None:
    assert path_of("~nobody-has-this-name/x") == Path("~nobody-has-this-name/x")
    assert path_of("~/x") == Path.home() / "x"
