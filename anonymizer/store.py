"""Blocks on disk, as a cache or as a store, that the disk alone does not give away.

One file for each key.  Its name is an HMAC of the key under the node's salt, and the place of the key on the ring under a pad;
its contents are sealed under a key drawn from salt and routing key.  Who has the disk without the salt sees how many blocks
there are.  A file is written beside its place and renamed, so a killed process leaves the old, the new or a leftover that the
next start removes; what is torn nevertheless does not open, and is removed.  Nothing that fails verification gets in or out.

All methods block for one file's worth of I/O: run them in one worker thread.
"""

from __future__ import annotations

import bisect
import hashlib
import hmac
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from anonymizer.blocks import RING, SIZES, SSK, Outcome, distance, location, verify
from anonymizer.chk import derive
from anonymizer.ssk import merge
from gnutella.errors import LocalMisuse, RemoteViolation

#: Blocks of a cache, and of a store (design section 3.17): 2 GiB each.
MAX_BLOCKS = 65_536
SALT_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12
_NAME = re.compile(r"[0-9a-f]{64}-[0-9a-f]{16}\Z")
_LEFTOVER = ".part"
_FOLDER = re.compile(r"[0-9a-f]{2}\Z")


class Rule(Protocol):
    """Which blocks a full store gives up.  Knows names only; `place` is the ring location of the key."""

    def add(self, name: str, place: int) -> None: ...
    def touch(self, name: str) -> None: ...
    def remove(self, name: str, place: int) -> None: ...
    def victim(self, place: int | None) -> str | None:
        """The block to give up for one at `place`, if that is not rather refused; without a place, in any case."""


class Recent:
    """Gives up what was not used for longest."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def add(self, name: str, place: int) -> None:
        self._names[name] = None
        self._names.move_to_end(name)

    def touch(self, name: str) -> None:
        self._names.move_to_end(name)

    def remove(self, name: str, place: int) -> None:
        self._names.pop(name, None)

    def victim(self, place: int | None) -> str | None:
        return next(iter(self._names), None)


class Nearest:
    """Keeps what is nearest this node's own place on the ring, whether or not anybody asks for it."""

    def __init__(self, own: int) -> None:
        self._own = own
        self._far: list[tuple[int, str]] = []

    def add(self, name: str, place: int) -> None:
        bisect.insort(self._far, (distance(self._own, place), name))

    def touch(self, name: str) -> None:
        """Being asked for changes nothing."""

    def remove(self, name: str, place: int) -> None:
        entry = (distance(self._own, place), name)
        at = bisect.bisect_left(self._far, entry)
        if at < len(self._far) and self._far[at] == entry:
            del self._far[at]

    def victim(self, place: int | None) -> str | None:
        if not self._far or (place is not None and self._far[-1][0] <= distance(self._own, place)):
            return None
        return self._far[-1][1]


class BlockStore:
    """The blocks below `directory`, which nothing else writes to.  `salt` is the node's secret: without it, all is lost."""

    def __init__(self, directory: Path, salt: bytes, rule: Rule, capacity: int = MAX_BLOCKS) -> None:
        if len(salt) != SALT_BYTES or not 0 < capacity <= MAX_BLOCKS:
            raise LocalMisuse("a salt or a capacity beyond its size")
        self._directory = directory
        self._naming, self._placing, self._sealing, self._mixing = (
            derive(salt, b"arl1-store-" + use) for use in (b"name", b"place", b"seal", b"nonce")
        )
        self._rule = rule
        self._capacity = capacity
        self._places: dict[str, int] = {}
        #: What happened, by word: each outcome, and hit, miss, torn, evicted, leftover.
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    def open(self) -> None:
        """Find what is there, oldest first; remove leftovers and what is beyond the capacity.  Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in self._found():
            place = self._place_in(name)
            self._places[name] = place
            self._rule.add(name, place)
        while len(self._places) > self._capacity and (victim := self._rule.victim(None)):
            self._drop(victim, "evicted")

    def get(self, kind: int, routing: bytes) -> tuple[bytes, ...]:
        """What is held under this key: one block, or the records of a fork, or nothing.  Only what verifies."""
        name = self._name(kind, routing)
        found = self._read(kind, routing, name) if name in self._places else ()
        if found:
            self._rule.touch(name)
        self.counts["hit" if found else "miss"] += 1
        return found

    def put(self, kind: int, routing: bytes, data: bytes) -> Outcome:
        """Keep a block; RemoteViolation(BAD_BLOCK), and nothing kept, unless it is that key's."""
        verify(kind, routing, data)
        outcome = self._put(kind, routing, data)
        self.counts[outcome.value] += 1
        return outcome

    def _put(self, kind: int, routing: bytes, data: bytes) -> Outcome:
        name, place = self._name(kind, routing), location(kind, routing)
        held = self._read(kind, routing, name) if name in self._places else ()
        wanted = merge(held, data) if kind == SSK else (data,)
        if held == wanted:
            return Outcome.KNOWN if data in held else Outcome.REFUSED
        if name not in self._places and len(self._places) >= self._capacity:
            victim = self._rule.victim(place)
            if victim is None:
                return Outcome.REFUSED
            self._drop(victim, "evicted")
        if not self._write(name, self._seal(kind, routing, name, b"".join(wanted))):
            return Outcome.DISK
        if name not in self._places:
            self._places[name] = place
            self._rule.add(name, place)
        return Outcome.STORED

    def _found(self) -> list[str]:
        files: list[tuple[int, str]] = []
        for folder in sorted(os.listdir(self._directory)):
            if not _FOLDER.match(folder):
                continue
            with os.scandir(self._directory / folder) as entries:
                for entry in entries:
                    if _NAME.match(entry.name) and entry.name[:2] == folder:
                        files.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
                    elif entry.name.endswith(_LEFTOVER):
                        os.unlink(entry.path)
                        self.counts["leftover"] += 1
        return [name for _, name in sorted(files)]

    def _name(self, kind: int, routing: bytes) -> str:
        hashed = hmac.digest(self._naming, bytes((kind,)) + routing, "sha256").hex()
        return f"{hashed}-{location(kind, routing) ^ self._pad(hashed):016x}"

    def _place_in(self, name: str) -> int:
        return (int(name[65:], 16) ^ self._pad(name[:64])) % RING

    def _pad(self, hashed: str) -> int:
        return int.from_bytes(hmac.digest(self._placing, hashed.encode(), "sha256")[:8], "big")

    def _key(self, kind: int, routing: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(hmac.digest(self._sealing, bytes((kind,)) + routing, "sha256"))

    def _seal(self, kind: int, routing: bytes, name: str, content: bytes) -> bytes:
        # Made of the content: a record that is replaced by a newer one never shares key and nonce with it.
        nonce = hmac.digest(self._mixing, hashlib.sha256(content).digest(), "sha256")[:_NONCE_BYTES]
        return _VERSION + nonce + self._key(kind, routing).encrypt(nonce, content, name.encode())

    def _read(self, kind: int, routing: bytes, name: str) -> tuple[bytes, ...]:
        """The blocks in a file; a file that does not open or verify is removed.  A disk that fails to read is a miss."""
        try:
            raw = self._path(name).read_bytes()
        except FileNotFoundError:
            self._forget(name)
            return ()
        except OSError:
            self.counts["unreadable"] += 1
            return ()
        try:
            return self._opened(kind, routing, name, raw)
        except (InvalidTag, RemoteViolation, ValueError):
            self._drop(name, "torn")
            return ()

    def _opened(self, kind: int, routing: bytes, name: str, raw: bytes) -> tuple[bytes, ...]:
        end = len(_VERSION) + _NONCE_BYTES
        if raw[: len(_VERSION)] != _VERSION or len(raw) <= end:
            raise ValueError("another version, or cut off")
        content = self._key(kind, routing).decrypt(raw[len(_VERSION) : end], raw[end:], name.encode())
        found = tuple(_cut(content, SIZES[kind]))
        for data in found:
            verify(kind, routing, data)
        return found

    def _write(self, name: str, raw: bytes) -> bool:
        path = self._path(name)
        part = path.with_name(name + _LEFTOVER)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb", buffering=0) as file:
                written = file.write(raw)
                if written != len(raw):
                    # What a full disk does with the last block.
                    raise OSError("cut off")
            os.replace(part, path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        return True

    def _drop(self, name: str, why: str) -> None:
        self._forget(name)
        self.counts[why] += 1
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError:
            self.counts["unremovable"] += 1

    def _forget(self, name: str) -> None:
        self._rule.remove(name, self._places.pop(name))

    def _path(self, name: str) -> Path:
        return self._directory / name[:2] / name


def _cut(content: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]
