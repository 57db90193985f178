"""A node that only transfers: port, uploads, downloads, store and hashing, without overlay, library or console.

For tests and benchmarks of transfers over real sockets; files are shared by `share`, which hashes them.

    node = TransferNode(reactor, directory)
    await node.start()
    await node.share(path)
    await other.transfers.add(sha1, name="a", size=size, sources=[KnownSource(node.address)])
    await node.stop()
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from gnutella.network.demux import Doors, PeerPort
from gnutella.network.dial import Dialler
from gnutella.network.hashers import HashWorkers
from gnutella.network.store import open_store
from gnutella.network.transfers import Links, Transfers
from gnutella.network.workers import Workers
from gnutella.protocol.message import Push
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.sharing.hashing import FileHash
from gnutella.units import Address, Guid


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
        """Hash a file and offer it under `name`; its hashes."""
        found = await self.hashers.hash_file(str(path))
        status = os.stat(path)
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

    def row(self, number: int = 1) -> dict[str, object]:
        """A download's row."""
        return self.transfers.download(number)
