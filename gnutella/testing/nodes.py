"""A node made of links and a router only: real sockets, a library in a list, no files and no transfers.

node = LinkNode(reactor, files=[FakeFile(1, "purple rain.ogg", 5)])
await node.start()
await node.links.connect(other.address)
node.search("purple")           # hits arrive in node.hits
await node.stop()
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnutella.network.dial import Dialler
from gnutella.network.links import Links
from gnutella.network.own_address import OwnAddresses
from gnutella.network.tls import PeerTls
from gnutella.protocol.message import Query, QueryHit
from gnutella.protocol.qrp import hashes_of
from gnutella.reasons import DropReason
from gnutella.routing.events import HitReceived
from gnutella.routing.hosts import HostCache
from gnutella.routing.router import Router
from gnutella.settings import NetworkSettings, RoutingSettings
from gnutella.units import Address, Guid


@dataclass(frozen=True, slots=True)
class FakeFile:
    """A shared file that exists only in hits."""

    index: int
    name: str
    size: int
    tth: bytes | None = None
    mtime: int = 0

    @property
    def sha1(self) -> bytes:
        return hashlib.sha1(self.name.encode()).digest()


class ListLibrary:
    """Matches files whose name holds every word of the query."""

    def __init__(self, files: Sequence[FakeFile] = ()) -> None:
        self.files = list(files)
        self.file_count = len(self.files)
        self.kbytes = sum(file.size for file in self.files) // 1024

    def answer(self, payload: bytes, limit: int) -> list[FakeFile]:
        words = payload[2:].partition(b"\0")[0].decode("utf-8", "replace").lower().split()
        found = [file for file in self.files if words and all(word in file.name.lower() for word in words)]
        return found[:limit]


class LinkNode:
    """See the module text.  `settings` are those of the network section; loopback and a free port by default."""

    def __init__(
        self,
        reactor: Any,
        *,
        files: Sequence[FakeFile] = (),
        seed: int = 0,
        tls_directory: Path | None = None,
        routing: RoutingSettings | None = None,
        **settings: Any,
    ) -> None:
        rng = random.Random(seed or random.getrandbits(64))
        settings = {"listen": ("tcp:0:interface=127.0.0.1",), "profile": "loopback", **settings}
        network = NetworkSettings(**settings)
        self.events: list[object] = []
        self.servent_id = Guid(rng.getrandbits(128).to_bytes(16, "big"))
        own = OwnAddresses(network)
        self.router = Router(
            routing or RoutingSettings(),
            self.servent_id,
            ListLibrary(files),
            own,
            rng,
            allow_private=network.profile != "public",
            is_leaf=network.role == "leaf",
            now=reactor.seconds(),
        )
        self.router.set_words(hashes_of(file.name for file in files))
        self._reactor = reactor
        self.hosts = HostCache()
        self.dialler = Dialler(reactor, network.dial_timeout_s)
        tls = PeerTls(tls_directory) if tls_directory is not None else None
        self.links = Links(
            reactor, network, self.router, own, self.hosts, self.dialler, rng, self.events.append, tls=tls
        )

    async def start(self) -> None:
        await self.links.listen()
        self.links.start()

    async def stop(self) -> None:
        await self.links.stop()
        self.dialler.stop()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.links.addresses[0]

    def search(self, text: str) -> Guid:
        guid, actions = self.router.search(Query(text), self._reactor.seconds())
        self.links.execute(actions)
        return guid

    @property
    def hits(self) -> list[QueryHit]:
        """Hits for own queries, in order of arrival."""
        return [event.hit for event in self.events if isinstance(event, HitReceived)]

    def drops(self, reason: DropReason) -> int:
        """How often something was refused for that reason."""
        return self.router.counters.drops[reason]

    def seen(self, kind: type) -> list[Any]:
        """Events of one type."""
        return [event for event in self.events if isinstance(event, kind)]
