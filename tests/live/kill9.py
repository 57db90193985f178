"""A download whose both ends are killed again and again, and the proxy between them that counts what was fetched.

Two bare transfer services are killed here, whole daemons in kill9_daemons.py.  Used by test_kill9.py with a few kills and by
benchmarks/kill9.py with many.  Run in plain threads and processes, without a
reactor, because nothing here may share anything with the code under test.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnutella.protocol.http import HeadReader, read_response
from gnutella.protocol.tth import node_size_for

#: Most bytes of one read of the proxy.
READ = 65536


class CountingProxy:
    """Passes connections on to `target` and counts the bytes of file bodies that came from there, whoever got them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.body_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._is_stopped = True
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ, None)
        while not self._is_stopped:
            for key, _ in selector.select(0.1):
                if key.data is None:
                    self._accept(selector)
                else:
                    key.data.readable(selector, key.fileobj)
        for key in list(selector.get_map().values()):
            if key.data is not None:
                key.data.close(selector)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            client.close()
            return
        pair = _Pair(self, client, server)
        selector.register(client, selectors.EVENT_READ, pair)
        selector.register(server, selectors.EVENT_READ, pair)


class _Pair:
    """One connection through the proxy."""

    def __init__(self, proxy: CountingProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._reader = HeadReader()
        self._left = 0
        self._is_file = False

    def readable(self, selector: selectors.BaseSelector, sock: Any) -> None:
        other = self._client if sock is self._server else self._server
        try:
            data = sock.recv(READ)
            if data and sock is self._server:
                self._count(data)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.close(selector)

    def close(self, selector: selectors.BaseSelector) -> None:
        for sock in (self._client, self._server):
            try:
                selector.unregister(sock)
            except (KeyError, ValueError):
                pass
            sock.close()

    def _count(self, data: bytes) -> None:
        while data:
            if self._left:
                piece = min(self._left, len(data))
                self._left -= piece
                if self._is_file:
                    self._proxy.body_bytes += piece
                data = data[piece:]
                continue
            head = self._reader.feed(data)
            if head is None:
                return
            response = read_response(head)
            self._left = response.length or 0
            self._is_file = response.status in (200, 206) and response.headers.get("content-type") != "application/dime"
            data = head.surplus


class Node:
    """One process of transfer_node, killed and started at will."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._command = [sys.executable, "-m", "gnutella.testing.transfer_node", str(directory), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.said: list[dict[str, Any]] = []
        self.has_ended_badly = False

    def start(self, *more: str) -> None:
        process = self._process = subprocess.Popen(
            [*self._command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                self.said.append(json.loads(line))
            except ValueError:
                pass  # cut off by the kill

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        process = self._process
        if process is not None:
            self.has_ended_badly |= process.poll() is not None
            process.send_signal(signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def heard(self, key: str, value: object = None) -> dict[str, Any] | None:
        found = (line for line in self.said if key in line and value in (None, line[key]))
        return next(found, None)

    def wait_for(self, key: str, value: object = None, timeout_s: float = 60.0) -> dict[str, Any]:
        end = time.monotonic() + timeout_s
        while (line := self.heard(key, value)) is None:
            if time.monotonic() > end:
                raise AssertionError(f"no {key}={value} in {timeout_s} s; the last that was said: {self.said[-3:]}")
            time.sleep(0.005)
        return line


@dataclass
class Outcome:
    """What became of it."""

    size: int
    leaf: int
    fetched: int
    kills: dict[str, int] = field(default_factory=dict)
    #: Files seen in incoming/ that were not the finished one.
    early: list[str] = field(default_factory=list)
    is_right: bool = False
    is_clean: bool = False
    #: Lines of either log that nobody may provoke.
    faults: list[str] = field(default_factory=list)

    @property
    def surplus(self) -> int:
        """Bytes fetched more than once."""
        return self.fetched - self.size

    @property
    def bound(self) -> int:
        """One leaf for each kill, there being one source."""
        return self.leaf * sum(self.kills.values())


def run(directory: Path, size: int, kills: int, seed: int, upload_kib_s: int, longest_s: float) -> Outcome:
    """Download `size` random bytes while either side is killed `kills` times, at moments drawn from `seed`."""
    rng = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    original = directory / "original.bin"
    digest = make_file(original, size, rng)
    up = Node(directory / "up", "--share", str(original), "--upload-kib-s", str(upload_kib_s), "--inline-hashing")
    up.start()
    port = str(up.wait_for("port")["port"])
    up.wait_for("shared")
    proxy = CountingProxy(int(port))
    down = Node(directory / "down")
    incoming = directory / "down" / "incoming"
    outcome = Outcome(size, node_size_for(size), 0, {"uploader": 0, "downloader": 0})
    try:
        down.start("--get", digest, str(size), "got.bin", f"127.0.0.1:{proxy.port}")
        down.wait_for("id")
        for _ in range(kills):
            time.sleep(rng.uniform(0.01, longest_s))
            if down.heard("state", "done"):
                break
            victim = rng.choice(("uploader", "downloader"))
            outcome.kills[victim] += 1
            if victim == "uploader":
                up.kill()
                up.said.clear()
                up.start("--port", port)
            else:
                down.kill()
                down.said.clear()
                outcome.early += [path.name for path in incoming.glob("*") if sha1_of(path) != digest]
                down.start()
        row = down.wait_for("state", "done", 120.0)
        outcome.is_right = sha1_of(Path(row["path"])) == digest
        outcome.is_clean = len(list(incoming.iterdir())) == 1
    finally:
        for node in (down, up):
            node.kill()
        proxy.stop()
    outcome.fetched = proxy.body_bytes
    assert not up.has_ended_badly and not down.has_ended_badly
    return outcome


def make_file(path: Path, size: int, rng: random.Random) -> str:
    """Random bytes on the disk; their SHA-1 in hex."""
    digest = hashlib.sha1()
    with open(path, "wb") as file:
        left = size
        while left:
            block = rng.randbytes(min(left, 1 << 20))
            digest.update(block)
            file.write(block)
            left -= len(block)
        os.fsync(file.fileno())
    return digest.hexdigest()


def sha1_of(path: Path) -> str:
    """In hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
