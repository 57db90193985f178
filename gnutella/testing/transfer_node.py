"""A node that only transfers: port, uploads, downloads, store and hashing, without overlay, library or console.

For tests and benchmarks of transfers over real sockets; files are shared by `share`, which hashes them.

    node = TransferNode(reactor, directory)
    await node.start()
    await node.share(path)
    await other.transfers.add(sha1, name="a", size=size, sources=[KnownSource(node.address)])
    await node.stop()

As a program it is one process of such a test: `python -m gnutella.testing.transfer_node DIR --share FILE`, or `--get`.  It says
its port, what it shares and each change of its downloads as JSON lines, and runs until it is killed or stdin ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from gnutella.network.demux import Doors, PeerPort
from gnutella.network.dial import Dialler
from gnutella.network.hashers import HashWorkers
from gnutella.network.store import open_store
from gnutella.network.transfers import KnownSource, Links, Transfers
from gnutella.network.workers import Workers
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.sharing.hashing import FileHash
from gnutella.testing.aio import current_reactor
from gnutella.units import Address, Guid, parse_address


class TransferNode:
    """See the module text.  `inline_hashing` spares the worker process where speed does not matter."""

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        settings: TransferSettings | None = None,
        *,
        servent_id: bytes = b"\x11" * 16,
        inline_hashing: bool = True,
        browse: Iterable[bytes] | None = None,
    ) -> None:
        self._reactor = reactor
        self.directory = directory
        self.settings = settings or TransferSettings(retry_s=1.0)
        self.catalog = Catalog()
        self.drops: Counter[DropReason] = Counter()
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.pushes: list[Push] = []
        self.adopted: list[str] = []
        self.searched: list[bytes] = []
        self.servent_id = Guid(servent_id)
        self.push_route: Any = None
        self.store = open_store(directory, reactor)
        self.workers = Workers(reactor)
        self.hashers = HashWorkers(reactor, inline=inline_hashing)
        self._dialler = Dialler(reactor, 10.0)
        self._port: Any = None
        links = Links(
            catalog=lambda: self.catalog,
            dial=lambda address, protocol, timeout_s: self._dialler.connect(address, protocol, timeout_s),
            send_push=self._send_push,
            own_address=lambda: self.address,
            servent_id=self.servent_id,
            count_drop=self._count,
            emit=lambda kind, data: self.events.append((kind, data)),
            user_agent="TransferNode/0.1",
            adopt=lambda path, sha1, tth: self.adopted.append(path),
            find_sources=self.searched.append,
            browse=None if browse is None else lambda: browse,
        )
        self.transfers = Transfers(reactor, self.settings, directory, self.store, self.workers, self.hashers, links)

    def _count(self, reason: DropReason) -> None:
        self.drops[reason] += 1

    def _send_push(self, push: Push) -> bool:
        self.pushes.append(push)
        return False if self.push_route is None else bool(self.push_route(push))

    @property
    def address(self) -> Address:
        """Where it listens."""
        host = self._port.getHost()
        return Address(host.host, host.port)

    async def start(self, port: int = 0) -> None:
        """Open the store and a port on loopback, take up old downloads."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.store.open()
        doors = Doors(
            link=lambda settled: Protocol(),  # nobody links here
            http=self.transfers.http_protocol,
            giv=self.transfers.giv_protocol,
            tls=None,
            count=self._count,
        )
        self.peer_port = PeerPort(self._reactor, doors, 10.0)
        self._port = self._reactor.listenTCP(port, self.peer_port, interface="127.0.0.1")
        await self.transfers.start()

    async def stop(self) -> None:
        """Close everything."""
        listening: Deferred[None] | None = self._port.stopListening()
        if listening is not None:
            await listening
        self.peer_port.abort_half_open()
        self._dialler.stop()
        await self.transfers.stop()
        await self.hashers.stop()
        await self.workers.stop()
        await self.store.close()

    async def share(self, path: Path, name: str = "", *, has_tree: bool = True) -> FileHash:
        """Hash a file, unless that was done before, and offer it under `name`; its hashes."""
        status = os.stat(path)
        found = await self._known_hash(path, status) or await self.hashers.hash_file(str(path))
        index = self.catalog.file_count + 1
        tth = found.tth if has_tree else None
        file = SharedFile(
            index, name or path.name, found.size, int(status.st_mtime), str(path), found.sha1, tth,
            mtime_ns=status.st_mtime_ns,
        )  # fmt: skip
        self.catalog = self.catalog.with_changes([file])

        def keep(db: Any) -> None:
            db.execute(
                "INSERT OR REPLACE INTO hash_cache (path, size, mtime_ns, sha1, tth, tree) VALUES (?, ?, ?, ?, ?, ?)",
                (str(path), found.size, status.st_mtime_ns, found.sha1, found.tth, found.tree),
            )

        await self.store.run(keep)
        return found

    async def _known_hash(self, path: Path, status: os.stat_result) -> FileHash | None:
        def look(db: sqlite3.Connection) -> FileHash | None:
            key = (str(path), status.st_size, status.st_mtime_ns)
            row = db.execute(
                "SELECT sha1, tth, tree, size FROM hash_cache WHERE path = ? AND size = ? AND mtime_ns = ?", key
            ).fetchone()
            return None if row is None else FileHash(*row)

        return await self.store.run(look)

    def row(self, number: int = 1) -> dict[str, object]:
        """A download's row."""
        return self.transfers.download(number)


# -- as a program ------------------------------------------------------------------------------------------------------


class _Quit(Protocol):
    """Ends the process with its stdin, so that no test leaves one behind."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def connectionLost(self, reason: Any = None) -> None:
        if self._reactor.running:
            self._reactor.stop()


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


async def _main(reactor: Any, options: argparse.Namespace) -> None:
    settings = TransferSettings(retry_s=1.0, upload_kib_s=options.upload_kib_s)
    node = TransferNode(reactor, options.directory, settings, inline_hashing=options.inline_hashing)
    await node.start(options.port)
    _say(port=node.address.port)
    for path in options.share:
        found = await node.share(path)
        _say(shared=str(path), sha1=found.sha1.hex(), size=found.size)
    if options.get:
        sha1, size, name, *sources = options.get
        known = [KnownSource(parse_address(source)) for source in sources]
        await node.transfers.add(bytes.fromhex(sha1), size=int(size), name=name, sources=known)
    shown: dict[object, object] = {}

    def look() -> None:
        for row in node.transfers.downloads():
            if shown.get(row["id"]) != row["state"]:
                shown[row["id"]] = row["state"]
                _say(**row, seconds=reactor.seconds())
        # A node that only shares is measured, too: it has nothing to look at.
        if node.transfers.downloads():
            reactor.callLater(0.005, look)

    look()


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--share", type=Path, action="append", default=[])
    parser.add_argument("--get", nargs="+", metavar="SHA1 SIZE NAME HOST:PORT", help="and further sources")
    parser.add_argument("--upload-kib-s", type=int, default=0)
    parser.add_argument("--inline-hashing", action="store_true")
    options = parser.parse_args()
    reactor = current_reactor()
    standard_io: Any = stdio.StandardIO  # its type is that of the Windows one

    def fail(failure: Failure) -> None:
        failure.printTraceback(file=sys.stderr)
        os._exit(1)

    standard_io(_Quit(reactor), stdin=0, stdout=2)
    Deferred.fromCoroutine(_main(reactor, options)).addErrback(fail)
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
