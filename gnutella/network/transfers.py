"""Downloads and uploads of one node: the service that the node, the commands and the peer port use.

transfers = Transfers(reactor, settings, directory, store, workers, hashers, catalog=..., dial=..., ...)
await transfers.start()                        # unfinished downloads go on by themselves
row = await transfers.add(sha1, size=..., name=..., sources=[KnownSource(Address("192.0.2.1", 6346))])
transfers.http_protocol(host), transfers.giv_protocol(host)       # for the peer port
transfers.answer_push(push)                                       # for a push addressed to us
await transfers.stop()
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import UserError
from gnutella.network import transfer_store
from gnutella.network.assembly import Disk
from gnutella.network.browsing import Browse
from gnutella.network.downloads import Around, DownloadRun
from gnutella.network.exchange import Emit, Exchange
from gnutella.network.giving import Givings, ProxyWay
from gnutella.network.guard import guarded
from gnutella.network.hashers import HashWorkers
from gnutella.network.push_proxy import PushDesk
from gnutella.network.sourcing import Outside
from gnutella.network.store import Store
from gnutella.network.transfer_store import DownloadRecord, KnownSource
from gnutella.network.workers import Workers
from gnutella.protocol import thex
from gnutella.protocol.message import Push
from gnutella.protocol.push_http import node_info_field, proxies_field
from gnutella.protocol.tth import Tree, node_size_for
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.transfers.download import Download
from gnutella.transfers.lifetime import ACTIVE, State
from gnutella.transfers.sources import Source, SourceBook
from gnutella.transfers.upload import Offered, Offers, TokenBucket
from gnutella.units import Address, Guid

__all__ = ["KnownSource", "Links", "Transfers"]

#: Seconds between two requests to the overlay for sources of one download; more often is a flood (gtk-gnutella bans it).
FIND_INTERVAL_S = 1800.0
#: Seconds between two such requests of any downloads: a hundred of them at a start would be a flood too.
FIND_PAUSE_S = 2.0
#: Downloads kept at a time, finished ones included.
MAX_DOWNLOADS = 20_000
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Links:
    """What transfers need of the rest of the node; all of it may be faked.

    `dial(address, protocol, timeout_s)` connects a protocol.  `send_push` routes a push, False if it cannot.  `own_address`
    is where pushed servents call us.  `find_sources(sha1)` asks the overlay; hits come back through `add_sources`.  `adopt`
    gets each finished file (path, SHA-1, TTH), `uploaded` the SHA-1 of each file that somebody begins to fetch, `busy` each
    second whether all upload slots are taken.  `pass_on_push` is for pushes to leaves of ours, `push_proxies` are
    those of our own that it takes to reach us, `address_at(host)` where we are
    for who reaches us at that IP of ours.
    """

    catalog: Callable[[], Offers]
    dial: Callable[[Address, Any, float], Deferred[Any]]
    send_push: Callable[[Push], bool]
    own_address: Callable[[], Address]
    servent_id: Guid
    count_drop: Callable[[DropReason], None]
    emit: Emit
    user_agent: str
    adopt: Callable[[str, bytes, bytes | None], object] = lambda path, sha1, tth: None
    find_sources: Callable[[bytes], object] = lambda sha1: None
    uploaded: Callable[[bytes], None] = lambda sha1: None
    busy: Callable[[bool], None] = lambda is_busy: None
    browse: Callable[[], Iterable[bytes]] | None = None
    allow_private: bool = True
    pass_on_push: Callable[[Push], bool] = lambda push: False
    push_proxies: Callable[[], tuple[Address, ...]] = tuple
    address_at: Callable[[str], Address] | None = None
    dial_timeout_s: float = 10.0
    incoming: Path | None = field(default=None)


class Transfers:
    """See the module text."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: TransferSettings,
        directory: Path,
        store: Store,
        workers: Workers,
        hashers: HashWorkers,
        links: Links,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._store = store
        self._links = links
        self.exchange = Exchange(
            reactor,
            settings,
            links.catalog,
            self._tree_of,
            user_agent=links.user_agent,
            count_drop=links.count_drop,
            emit=links.emit,
            browse=links.browse,
            uploaded=links.uploaded,
            push_desk=PushDesk(reactor.seconds, links.pass_on_push),
            about_us=lambda: (proxies_field(proxies),) if (proxies := links.push_proxies()) else (),
        )
        self._dial = guarded(links.dial, partial(links.count_drop, DropReason.INTERNAL_ERROR))
        self._givings = self._make_givings()
        bucket = TokenBucket(settings.download_kib_s * 1024, reactor.seconds())
        self._outside = Outside(
            reactor,
            settings,
            self._dial,
            self._givings.push,
            self._givings.withdraw,
            links.count_drop,
            links.user_agent,
            links.allow_private,
            bucket,
            links.dial_timeout_s,
            self._about_us,
        )
        disk = Disk(store, workers, hashers, directory / "incomplete", links.incoming or directory / "incoming")
        self._around = Around(disk, self._outside, links.emit, links.adopt, self._may_start, self._pump)
        self._runs: dict[int, DownloadRun] = {}
        self._asked_at: dict[int, float] = {}
        self._next_find_at = 0.0
        #: Downloads that use a slot, while all of them are looked at; None otherwise.
        self._busy: int | None = None
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = reactor

    def _make_givings(self) -> Givings:
        links = self._links
        return Givings(
            self._reactor,
            links.servent_id,
            self._settings.push_timeout_s,
            links.send_push,
            links.own_address,
            self._dial,
            self.exchange.protocol,
            self._name_of,
            links.count_drop,
            ProxyWay(
                links.user_agent,
                links.address_at or (lambda host: links.own_address()),
                links.allow_private,
                links.emit,
            ),
        )

    def _about_us(self) -> tuple[tuple[str, str], ...]:
        links = self._links
        proxies = links.push_proxies()
        return (node_info_field(links.servent_id, links.own_address(), proxies),) if proxies else ()

    # -- life ------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what was not finished."""
        for record in await self._store.run(transfer_store.load_downloads):
            self._runs[record.id] = DownloadRun(self._around, self._download(record))
        self._start_ticking()
        self._pump()

    def _start_ticking(self) -> None:
        self._ticker.start(1.0, now=False).addErrback(self._tick_failed)

    async def stop(self) -> None:
        """Close every connection, record what is on disk."""
        if self._ticker.running:
            self._ticker.stop()
        self._givings.stop()
        self.exchange.stop()
        for run in list(self._runs.values()):
            await run.stop()

    def apply(self, settings: TransferSettings) -> None:
        """Take other settings from now on; running connections keep their time-outs."""
        self._settings = self._outside.settings = settings
        self._outside.bucket.rate = settings.download_kib_s * 1024
        self._givings.timeout_s = settings.push_timeout_s
        self.exchange.apply(settings)

    def _download(self, record: DownloadRecord) -> Download:
        book = SourceBook(self._settings.retry_s)
        for source in record.sources:
            _add(book, source)
        state = State(record.state)
        return Download(
            record.id,
            record.sha1,
            record.tth,
            record.size,
            record.name,
            record.added,
            book,
            State.LOCATING if state in ACTIVE else state,
            record.error,
            record.path,
            (record.size or 0) if state is State.DONE else record.downloaded,
        )

    def _tick(self) -> None:
        now = self._reactor.seconds()
        self.exchange.sweep()
        self._links.busy(self.exchange.slots.is_full)
        self._givings.sweep()
        for run in list(self._runs.values()):
            if run.download.is_active:
                run.tick(now)
        self._pump()

    def _tick_failed(self, failure: Failure) -> None:
        self.log.failure("a fault while looking after transfers", failure=failure)
        self._start_ticking()

    def _pump(self) -> None:
        """Let downloads go on, the older ones first."""
        now = self._reactor.seconds()
        self._busy = self._count_busy()
        try:
            for run in list(self._runs.values()):
                if not run.download.is_active:
                    continue
                was_busy = run.is_busy
                run.pump()
                self._busy += run.is_busy - was_busy
                self._may_find(run.download, now)
        finally:
            # Left behind by a fault, it would let downloads start that are beyond the limit.
            self._busy = None

    def _count_busy(self) -> int:
        return sum(run.is_busy for run in self._runs.values())

    def _may_start(self) -> bool:
        busy = self._count_busy() if self._busy is None else self._busy
        return busy < self._settings.max_downloads

    def _may_find(self, download: Download, now: float) -> None:
        """Ask the overlay for sources of a download that has none, if it is its turn."""
        is_due = now >= max(self._next_find_at, self._asked_at.get(download.id, now))
        if download.state is State.LOCATING and is_due:
            self._next_find_at = now + FIND_PAUSE_S
            self._asked_at[download.id] = now + FIND_INTERVAL_S
            self._links.find_sources(download.sha1)

    # -- downloads -------------------------------------------------------------------------------------------------------

    async def add(
        self,
        sha1: bytes,
        *,
        name: str,
        size: int | None = None,
        tth: bytes | None = None,
        sources: Iterable[KnownSource] = (),
    ) -> dict[str, object]:
        """Download the content with that SHA-1; its row, once it is kept durably.

        A download of the same content that exists already gets the sources, and goes on if it was paused or had failed.
        """
        wanted = list(sources)
        known = self._find(sha1)
        if known is not None:
            await self._add_sources(known, wanted)
            if known.download.state in (State.PAUSED, State.FAILED):
                await known.resume()
            self._pump()
            return known.download.row(self._reactor.seconds())
        if len(self._runs) >= MAX_DOWNLOADS:
            raise UserError(f"{MAX_DOWNLOADS} downloads are kept", "cancel some of them", os.EX_TEMPFAIL)
        name = name.strip()[:MAX_NAME] or sha1_urn(sha1)[9:]
        now = self._reactor.seconds()
        record = DownloadRecord(0, sha1, tth, size, name, State.LOCATING.value, now, None, None)
        add = partial(transfer_store.add_download, sha1=sha1, tth=tth, size=size, name=name, now=now)
        record.id = await self._store.run(add, durable=True)
        run = self._runs[record.id] = DownloadRun(self._around, self._download(record))
        self._links.emit("download_added", {"id": record.id, "name": name, "size": size})
        await self._add_sources(run, wanted)
        self._pump()
        return run.download.row(self._reactor.seconds())

    def _find(self, sha1: bytes) -> DownloadRun | None:
        """The download of that content which is not finished, or whose file is still there."""
        for run in self._runs.values():
            download = run.download
            if download.sha1 == sha1 and (download.state is not State.DONE or os.path.exists(download.path or "")):
                return run
        return None

    def add_sources(self, sha1: bytes, sources: Iterable[KnownSource]) -> None:
        """Hits for a content that is being downloaded; others are ignored."""
        run = self._find(sha1)
        if run is not None and run.download.state is not State.DONE:
            adding = Deferred.fromCoroutine(self._add_sources(run, list(sources)))
            adding.addCallbacks(lambda _: self._pump(), lambda failure: self.log.failure("sources", failure=failure))

    async def _add_sources(self, run: DownloadRun, sources: list[KnownSource]) -> None:
        book = run.download.sources
        new = [source for source in sources if _add(book, source) is not None]
        if new:
            add = partial(transfer_store.add_sources, download_id=run.download.id, sources=new)
            await self._store.run(add, durable=True)

    def downloads(self) -> list[dict[str, object]]:
        """Rows of `gnutella downloads`, by id."""
        now = self._reactor.seconds()
        return [run.download.row(now) for run in self._runs.values()]

    def download(self, number: int) -> dict[str, object]:
        """One row; UserError (exit 1) for an unknown id."""
        return self._run(number).download.row(self._reactor.seconds())

    def received(self, number: int) -> dict[str, int]:
        """Bytes that each source of a download sent, by address (or servent id), since the node started."""
        return {source.label: source.received for source in self._run(number).download.sources}

    def givers(self, sha1: bytes, limit: int) -> tuple[Address, ...]:
        """Sources that can be dialled and sent bytes of that content since the node started."""
        run = self._find(sha1)
        found = () if run is None else (source for source in run.download.sources if source.received)
        return tuple(s.address for s in found if s.address is not None and not s.needs_push)[:limit]

    async def pause(self, number: int) -> dict[str, object]:
        """Stop a download for now; its row."""
        await self._run(number).pause()
        self._pump()
        return self.download(number)

    async def resume(self, number: int) -> dict[str, object]:
        """Let a paused or failed download go on, and a resting one ask its sources now; its row."""
        await self._run(number).resume()
        return self.download(number)

    async def cancel(self, number: int) -> dict[str, object]:
        """Forget a download and remove its partial file; its last row.  A finished file stays."""
        run = self._run(number)
        await run.cancel()
        self._runs.pop(number, None)
        self._asked_at.pop(number, None)
        self._pump()
        return run.download.row(self._reactor.seconds())

    def _run(self, number: int) -> DownloadRun:
        run = self._runs.get(number)
        if run is None:
            raise UserError(f"no download {number}", "see `gnutella downloads`", 1)
        return run

    # -- uploads ---------------------------------------------------------------------------------------------------------

    def uploads(self) -> list[dict[str, object]]:
        """Rows of `gnutella uploads`."""
        return self.exchange.rows()

    def status(self) -> dict[str, object]:
        """For `gnutella status`: downloads, uploads (active ones), download_rate, upload_rate (bytes a second)."""
        active = [run.download for run in self._runs.values() if run.download.state is State.TRANSFERRING]
        return {
            "downloads": len(active),
            "uploads": self.exchange.slots.taken,
            "download_rate": round(sum(download.speed for download in active)),
            "upload_rate": round(self.exchange.speed()),
        }

    def _name_of(self, index: int) -> str | None:
        file = self._links.catalog().by_index(index)
        return None if file is None else file.name

    def _tree_of(self, file: Offered) -> Deferred[bytes | None]:
        """The tree of a shared file as it is served."""
        sha1, tth, size = file.sha1, file.tth, file.size
        if sha1 is None or tth is None:
            return succeed(None)

        async def look_up() -> bytes | None:
            nodes = await self._store.run(partial(transfer_store.load_shared_tree, path=file.path, sha1=sha1))
            if nodes is None or len(nodes) % 24:
                return None
            depth = max(0, (len(nodes) // 24 - 1).bit_length())
            tree = Tree(size, node_size_for(size, depth), nodes)
            return thex.serialise(tree) if tree.root == tth else None

        return Deferred.fromCoroutine(look_up())

    # -- the peer port ---------------------------------------------------------------------------------------------------

    def http_protocol(self, peer_host: str) -> IProtocol:
        """For an incoming connection whose first bytes are an HTTP request."""
        protocol: IProtocol = self.exchange.protocol(peer_host)
        return protocol

    def giv_protocol(self, peer_host: str) -> IProtocol:
        """For an incoming connection whose first bytes are GIV."""
        protocol: IProtocol = self._givings.receiver(peer_host)
        return protocol

    def answer_push(self, push: Push) -> bool:
        """A push was addressed to us: call its sender and serve what is asked; False when too many are asked for."""
        return self._givings.answer(push)

    def browse(self, address: Address) -> Deferred[bytes]:
        """All query hit messages of a peer's browse host answer; Refused when it cannot be had."""
        browse = Browse(self._reactor, self._settings, self._links.user_agent)
        browse.start(self._dial, address, self._links.dial_timeout_s)
        return browse.result


def _add(book: SourceBook, source: KnownSource) -> Source | None:
    return book.add(source.address, source.servent_id, source.index, source.name, source.needs_push, source.proxies)
