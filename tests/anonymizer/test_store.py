"""Blocks on disk: what gets in, what stays, what a killed process, a torn file and a full disk leave."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from anonymizer.blocks import CHK, SSK, Outcome, distance, location
from anonymizer.chk import DATA, Block, pad, seal
from anonymizer.ssk import WriteKey
from anonymizer.store import BlockStore, Nearest, Recent
from gnutella.errors import LocalMisuse, RemoteViolation

SALT = bytes(range(32))
OWNER = WriteKey(bytes(32), bytes(32))
ROUTING = OWNER.read_key.routing("page")


def block(number: int) -> Block:
    return seal(pad(b"block %d" % number), SALT, DATA, number)


def record(number: int, data: bytes = b"") -> bytes:
    return OWNER.write("page", number, data, bytes(16))


def opened(place: Path, capacity: int = 100, rule: Recent | Nearest | None = None, salt: bytes = SALT) -> BlockStore:
    store = BlockStore(place, salt, rule or Recent(), capacity)
    store.open()
    return store


def put(store: BlockStore, number: int) -> Outcome:
    return store.put(CHK, block(number).routing, block(number).sealed)


def held(store: BlockStore, numbers: range) -> list[int]:
    return [number for number in numbers if store.get(CHK, block(number).routing) == (block(number).sealed,)]


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file())


def test_a_block_is_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert put(store, 1) is Outcome.STORED
    assert put(store, 1) is Outcome.KNOWN
    assert held(store, range(3)) == [1]
    again = opened(tmp_path)
    assert len(again) == 1
    assert held(again, range(3)) == [1]
    assert again.counts == {"hit": 1, "miss": 2}


def test_what_is_not_of_its_key_is_never_kept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for kind, data in ((CHK, block(2).sealed), (CHK, b""), (SSK, record(1)), (7, block(1).sealed)):
        with pytest.raises(RemoteViolation):
            store.put(kind, block(1).routing, data)
    assert files(tmp_path) == []
    assert store.get(CHK, block(1).routing) == ()


def test_the_disk_alone_tells_neither_key_nor_contents(tmp_path: Path) -> None:
    put(opened(tmp_path), 1)
    (path,) = files(tmp_path)
    routing, sealed = block(1).routing, block(1).sealed
    assert routing.hex()[:16] not in path.name
    assert f"{location(CHK, routing):016x}" not in path.name
    raw = path.read_bytes()
    assert not any(sealed[at : at + 16] in raw for at in range(0, len(sealed), 16))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    other = opened(tmp_path, salt=bytes(32))
    assert other.get(CHK, routing) == ()


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "version", "moved"])
def test_a_torn_file_is_removed_and_not_shown(tmp_path: Path, damage: str) -> None:
    put(opened(tmp_path), 1)
    (path,) = files(tmp_path)
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        raw = raw[:-1]
    elif damage == "empty":
        raw = bytearray()
    elif damage == "flip":
        raw[len(raw) // 2] ^= 4
    elif damage == "version":
        raw[0] = 9
    path.write_bytes(bytes(raw))
    if damage == "moved":
        put(opened(tmp_path), 2)
        (other,) = set(files(tmp_path)) - {path}
        path.write_bytes(other.read_bytes())
    store = opened(tmp_path)
    assert store.get(CHK, block(1).routing) == ()
    assert store.counts["torn"] == 1
    assert not path.exists()
    assert put(store, 1) is Outcome.STORED
    assert held(store, range(2)) == [1]


def test_leftovers_and_strangers_are_told_apart(tmp_path: Path) -> None:
    put(opened(tmp_path), 1)
    (path,) = files(tmp_path)
    path.with_name(path.name + ".part").write_bytes(b"half")
    path.with_name("notes.txt").write_bytes(b"not ours")
    store = opened(tmp_path)
    assert store.counts["leftover"] == 1
    assert {found.name for found in files(tmp_path)} == {path.name, "notes.txt"}
    path.unlink()
    assert store.get(CHK, block(1).routing) == ()
    assert len(store) == 0


def test_a_cache_gives_up_what_was_not_used_for_longest(tmp_path: Path) -> None:
    store = opened(tmp_path, capacity=3)
    for number in range(3):
        put(store, number)
    held(store, range(1))
    put(store, 3)
    assert held(store, range(5)) == [0, 2, 3]
    assert len(store) == len(files(tmp_path)) == 3
    assert len(opened(tmp_path, capacity=2)) == len(files(tmp_path)) == 2


def test_a_store_keeps_what_is_nearest(tmp_path: Path) -> None:
    own = 1 << 62
    near = sorted(range(12), key=lambda number: distance(own, location(CHK, block(number).routing)))
    store = opened(tmp_path, 4, Nearest(own))
    outcomes = [put(store, number) for number in reversed(near)]
    assert set(outcomes) == {Outcome.STORED}
    assert held(store, range(12)) == sorted(near[:4])
    assert put(store, near[5]) is Outcome.REFUSED
    # The places are known again without the keys.
    again = opened(tmp_path, 4, Nearest(own))
    assert put(again, near[4]) is Outcome.REFUSED
    assert len(opened(tmp_path, 3, Nearest(own))) == 3
    assert held(opened(tmp_path, 3, Nearest(own)), range(12)) == sorted(near[:3])


def test_a_newer_record_replaces_an_older_and_a_fork_shows(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.put(SSK, ROUTING, record(1)) is Outcome.STORED
    first = files(tmp_path)[0].read_bytes()
    assert store.put(SSK, ROUTING, record(3, b"a")) is Outcome.STORED
    assert store.put(SSK, ROUTING, record(2)) is Outcome.REFUSED
    assert store.get(SSK, ROUTING) == (record(3, b"a"),)
    assert store.put(SSK, ROUTING, record(3, b"b")) is Outcome.STORED
    assert store.put(SSK, ROUTING, record(3, b"b")) is Outcome.KNOWN
    assert set(opened(tmp_path).get(SSK, ROUTING)) == {record(3, b"a"), record(3, b"b")}
    (path,) = files(tmp_path)
    assert path.read_bytes()[1:13] != first[1:13]


def test_a_full_disk_keeps_nothing_of_a_block_and_all_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    put(store, 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert put(store, 2) is Outcome.DISK
    assert len(files(tmp_path)) == len(store) == 1
    assert held(store, range(3)) == [1]
    assert put(store, 2) is Outcome.STORED
    assert store.counts["disk"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777: real("/dev/full", os.O_WRONLY))
    assert put(store, 1) is Outcome.DISK
    monkeypatch.undo()
    assert files(tmp_path) == []
    assert put(store, 1) is Outcome.STORED


WRITER = """
import sys
from pathlib import Path
from anonymizer.blocks import CHK
from anonymizer.chk import DATA, pad, seal
from anonymizer.store import BlockStore, Recent
store = BlockStore(Path(sys.argv[1]), bytes(range(32)), Recent(), 20)
store.open()
print("ready", flush=True)
number = 0
while True:
    block = seal(pad(b"block %d" % (number % 40)), bytes(range(32)), DATA, number % 40)
    store.put(CHK, block.routing, block.sealed)
    number += 1
"""


def test_a_killed_process_leaves_whole_blocks_only(tmp_path: Path) -> None:
    for after_s in (0.02, 0.05):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(after_s)
            writer.send_signal(signal.SIGKILL)
        store = opened(tmp_path)
        assert 0 < len(store) == len(files(tmp_path)) <= 20
        assert len(held(store, range(40))) == len(store)
        assert store.counts["torn"] == 0


def test_a_store_has_its_bounds(tmp_path: Path) -> None:
    for salt, capacity in ((b"", 1), (SALT, 0), (SALT, 65_537)):
        with pytest.raises(LocalMisuse):
            BlockStore(tmp_path, salt, Recent(), capacity)
