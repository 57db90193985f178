"""One node: the rooms wired together, started in order and stopped in reverse.

    node = build(settings, reactor, directory)      # or prepare(...), which reads settings and checks ports first
    node.startService(); await node.when_ready()

Order of starting: state, control sockets, library, transfers, links.  The control sockets come first of what people see, so
that `gnutella status` works while the library is still being read.  `gnutella.face.Face` is what the commands see of the node.
"""

from __future__ import annotations

import atexit
import os
import random
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella import USER_AGENT, __version__
from gnutella.browsing import browse_answer
from gnutella.control.doors import ConsoleDoors
from gnutella.control.events import Journal
from gnutella.control.token import ensure_tokens
from gnutella.errors import UserError
from gnutella.face import Face
from gnutella.finding import bootstrap_of
from gnutella.happenings import Happenings
from gnutella.logs import LogLevels
from gnutella.network.bootstrap import Bootstrap
from gnutella.network.dial import Dialler
from gnutella.network.hashers import HashWorkers
from gnutella.network.library import LibraryService
from gnutella.network.links import Links
from gnutella.network.measures import Measures, demands_of
from gnutella.network.memory import Memory
from gnutella.network.own_address import OwnAddresses
from gnutella.network.own_words import OwnWords
from gnutella.network.standing import Standing
from gnutella.network.store import DirectoryLock, open_store
from gnutella.network.tls import PeerTls
from gnutella.network.transfers import Links as TransferLinks
from gnutella.network.transfers import Transfers
from gnutella.network.udp import Udp
from gnutella.network.workers import Workers
from gnutella.protocol.message import Push
from gnutella.protocol.query import FLAG_FIREWALLED, Query
from gnutella.relaying import load
from gnutella.reload import ReadAgain, Reload
from gnutella.routing.hosts import HostCache
from gnutella.routing.results import Hit
from gnutella.routing.router import Router
from gnutella.safety import Safety
from gnutella.searches import Searches
from gnutella.settings import Settings
from gnutella.settings_file import Loaded
from gnutella.startup import check, complain, load_settings, resolve_directory, runtime_settings
from gnutella.superpeers.roles import RolePolicy
from gnutella.units import Address, Guid
from gnutella.wanted import holding_of, sources_of

#: Seconds between two times that hosts, counts and the like are written to state.db.
SAVE_INTERVAL_S = 60.0
#: Directories of the node's that nobody may share, not even by name.
PRIVATE_NAMES = ("anonymous", "incomplete", "tls")
#: Seconds that an orderly stop may take in all before the rest is cut off (the product contract says 5).
STOP_TIMEOUT_S = 4.0
#: Seconds that each part gets even when the ones before it took all the time: state is flushed last.
LEAST_STOP_S = 0.2


class Node(Service):
    """A servent.  Everything of it is in `directory`; the settings are those of `loaded`."""

    log = Logger()

    def __init__(self, directory: Path, loaded: Loaded, reactor: Any, read_again: ReadAgain | None = None) -> None:
        self.directory = directory
        self.config = loaded
        self.reactor = reactor
        self.started_at = 0.0
        self.is_ready = False
        settings = loaded.settings
        self.rng = random.Random(secrets.randbits(128))
        self.journal = Journal(reactor.seconds)
        self.store = open_store(directory, reactor)
        self.memory = Memory(self.store)
        self.workers = Workers(reactor)
        self.hashers = HashWorkers(reactor, settings.sharing.hash_workers)
        self.hosts = HostCache()
        self.face = Face(self)
        # Only a daemon owns the process: its signals and its log.
        self._reload = Reload(self, read_again) if read_again is not None else None
        self._log_levels = LogLevels() if read_again is not None else None
        self._lock = DirectoryLock(directory)
        self._doors = ConsoleDoors(reactor, self.face, settings.control, str(directory))
        self.consoles: list[str] = []
        self._starting: Deferred[None] | None = None
        self._ready: list[Deferred[None]] = []
        self._saving = LoopingCall(self._save)
        self._saving.clock = reactor
        self._stages: list[Callable[[], Awaitable[object]]] = []
        # Made in _wire, once state.db has told who we are.
        self.router: Router
        self.links: Links
        self.standing: Standing
        self.udp: Udp
        self.bootstrap: Bootstrap
        self.library: LibraryService
        self.transfers: Transfers
        self.searches: Searches
        self.own_words: OwnWords
        self.safety = Safety(self)
        self.dialler = Dialler(reactor, settings.network.dial_timeout_s, self.safety.gate)
        self.own_address = OwnAddresses(settings.network)
        #: The relay layer, where it is switched on.
        self.layer = load(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to start; `when_ready` tells when it is done.  Exits with a readable line if it cannot."""
        super().startService()  # type: ignore[no-untyped-call]
        self.started_at = self.reactor.seconds()
        if self._log_levels is not None:
            self._log_levels.install(self.config.settings.log)
        if self._reload is not None:
            self._reload.install()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._cannot_start)

    def when_ready(self) -> Deferred[None]:
        """Fires when the listener is up and the library is served; fails if the node cannot start."""
        ready: Deferred[None] = Deferred()
        if self.is_ready:
            ready.callback(None)
        else:
            self._ready.append(ready)
        return ready

    def stopService(self) -> Deferred[None]:
        """Bye to the peers, state to disk; at most STOP_TIMEOUT_S seconds."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        # Each part is noted before it starts: one that is stopped half-way has something to clean up too.
        self._stages.append(self._unlock)
        self._lock.acquire()
        self._stages.append(self.store.close)
        await self.store.open()
        await self.memory.load(self.hosts)
        self._wire(Guid(self.memory.servent_id))
        self._make_directories()
        ensure_tokens(str(self.directory))
        self._stages.append(self._doors.close)
        self.consoles = await self._doors.open()
        self._stages += [self.workers.stop, self.hashers.stop, self.library.stop, self.own_words.stop]
        await self.library.start()
        self.own_words.library_changed(self.library.catalog)
        self._stages.append(self.transfers.stop)
        await self.transfers.start()
        self._stages.append(self.safety.stop)
        await self.safety.start()
        self._stages.append(self._stop_links)
        await self.links.listen()
        self.udp.start(self.links.addresses)
        self.standing.listen(self.udp.addresses[0].port if self.udp.addresses else None)
        self.links.start()
        self._stages.append(self.bootstrap.stop)
        await self.bootstrap.start()
        if self.layer is not None:
            self._stages.append(self.layer.stop)
            await self.layer.start()
        self._saving.start(SAVE_INTERVAL_S, now=False).addErrback(self._save_failed)
        self.journal.add(
            "node_started", version=__version__, servent_id=self.router.servent_id.hex(), listen=self.links.listening
        )
        self.log.info(
            "node {servent_id} of {directory!r} listens on {listen}",
            servent_id=self.router.servent_id.hex(),
            directory=str(self.directory),
            listen=", ".join(self.links.listening),
        )
        self._became_ready()

    def _make_directories(self) -> None:
        for name in ("incoming", "incomplete"):
            try:
                (self.directory / name).mkdir(exist_ok=True)
            except OSError as error:
                what = f"cannot make {str(self.directory / name)!r}: {error.strerror}"
                raise UserError(what, "free some space or name another directory", os.EX_CANTCREAT) from None

    def _wire(self, servent_id: Guid) -> None:
        settings = self.config.settings
        happenings = Happenings(self)
        self.library = LibraryService(
            self.reactor,
            settings.sharing,
            self.store,
            self.workers,
            self.hashers,
            happenings.library_changed,
            extra_dirs=(str(self.directory / "incoming"),) if settings.sharing.share_incoming else (),
            private_dirs=[str(path) for path in (self.directory, *(self.directory / name for name in PRIVATE_NAMES))],
        )
        self.router = Router(
            settings.routing,
            servent_id,
            self.library.catalog,
            self.own_address,
            self.rng,
            allow_private=settings.network.profile != "public",
            is_leaf=settings.network.role != "ultrapeer",
            now=self.reactor.seconds(),
        )
        self.router.self.reads_tls = settings.network.tls
        self.router.self.can_browse = True
        self.transfers = Transfers(
            self.reactor,
            settings.transfers,
            self.directory,
            self.store,
            self.workers,
            self.hashers,
            TransferLinks(
                catalog=lambda: self.library.catalog,
                dial=self.dialler.connect,
                send_push=self._send_push,
                own_address=self._address_for_pushes,
                servent_id=servent_id,
                count_drop=self.router.count_drop,
                emit=happenings.transfer_event,
                user_agent=settings.network.user_agent or USER_AGENT,
                adopt=self._adopt,
                find_sources=lambda sha1: self.searches.find_sources(sha1),
                uploaded=self._uploaded,
                busy=self._busy,
                pass_on_push=self._pass_on_push,
                push_proxies=lambda: own.push_proxies if (own := self.router.self).is_firewalled else (),
                address_at=self.own_address,
                browse=lambda: browse_answer(self.library.catalog, self.router, self._address_for_pushes(), self.rng),
                allow_private=settings.network.profile != "public",
                dial_timeout_s=settings.network.dial_timeout_s,
            ),
        )
        self.bootstrap = bootstrap_of(self)
        self.links = Links(
            self.reactor,
            settings.network,
            self.router,
            self.own_address,
            self.hosts,
            self.dialler,
            self.rng,
            happenings.link_event,
            tls=PeerTls(self.directory) if settings.network.tls else None,
            http=self.bootstrap.http(self.transfers.http_protocol),
            giv=self.transfers.giv_protocol,
            gate=self.safety.gate,
            policy=RolePolicy(settings.network.role, demands_of(settings.network), self.rng, self.reactor.seconds()),
            measure=Measures(
                wall=self.reactor.seconds,
                steady=time.monotonic,
                reach=lambda: (self.face.is_reachable, self.face.is_reachable_by_udp),
                sent=lambda: self.router.counters.tx_bytes,
                uploading=self.transfers.exchange.speed,
                limit=lambda: self.config.settings.transfers.upload_kib_s * 1024,
            ),
        )
        self.own_words = OwnWords(self.workers, self.router.set_words, self.reactor, lambda: self.library.is_settled)
        self.udp = Udp(
            self.reactor,
            settings,
            self.router,
            self.links,
            self.hosts,
            self.own_address,
            self.rng,
            happenings.udp_event,
            self.safety.gate,
        )
        self.safety.wire()
        self.router.reach.has_hole = self.udp.has_hole
        self.router.heads.holding = lambda sha1: holding_of(self.library.catalog, self.transfers, sha1)
        self.standing = Standing(
            self.reactor.seconds,
            settings.network,
            self.router,
            self.own_address,
            self.dialler.connect,
            self.udp.connect_back,
            happenings.reachability_changed,
        )
        self.searches = Searches(
            self, self.journal, self.reactor, self.rng, self._found_sources, self.safety.spam_threshold
        )

    def _became_ready(self) -> None:
        self.is_ready = True
        self.journal.add("node_ready", shared=self.library.catalog.file_count)
        ready, self._ready = self._ready, []
        for waiter in ready:
            waiter.callback(None)

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        self.is_ready = False
        if self._saving.running:
            self._saving.stop()
        self.journal.add("node_stopping", reason="stopped")
        if hasattr(self, "searches"):
            self.searches.stop()
        deadline = self.reactor.seconds() + STOP_TIMEOUT_S
        while self._stages:
            stage = self._stages.pop()
            left = max(LEAST_STOP_S, deadline - self.reactor.seconds())
            try:
                await Deferred.fromCoroutine(_awaited(stage)).addTimeout(left, self.reactor)
            except UserError as error:  # a full disk, say
                self.log.error("a part of the node did not stop in order: {error}", error=str(error))
            except Exception:  # noqa: BLE001 - logged; the other parts must be stopped all the same
                self.log.failure("a part of the node did not stop in order")
        if self._reload is not None:
            self._reload.remove()
        if self._log_levels is not None:
            self._log_levels.remove()

    async def _stop_links(self) -> None:
        await self._save()
        self.dialler.stop()
        await self.udp.stop()
        await self.links.stop()

    async def _unlock(self) -> None:
        self._lock.release()

    def _cannot_start(self, failure: Failure) -> None:
        ready, self._ready = self._ready, []
        if ready:  # somebody waits for it and will tell
            for waiter in ready:
                waiter.errback(failure)
            return
        error = failure.value
        if isinstance(error, CancelledError):  # stopped before it was ready
            return
        if isinstance(error, UserError):
            # Both: twistd has put its log in the place of sys.stderr, and a daemon has no other stderr.
            self.log.error("the node cannot start: {error}", error=str(error))
            complain(error, sys.__stderr__)
            code = error.exit_code
        else:
            self.log.failure("the node cannot start", failure)
            code = os.EX_SOFTWARE
        # twistd ends with 0 or 1 whatever happened; the product contract wants the code of the error.
        atexit.register(_exit_with, code)
        self.reactor.callLater(0, self.reactor.stop)

    # -- what the parts ask of each other ------------------------------------------------------------------------------

    def search(self, query: Query, ttl: int | None = None) -> Guid:
        """searches.Asker: send a query of ours; it says when nobody can connect to us: others like us need not answer then."""
        if self.router.self.is_firewalled:
            query = replace(query, flags=query.flags | FLAG_FIREWALLED)
        guid, actions = self.router.search(query, self.reactor.seconds(), ttl=ttl)
        self.links.execute(actions)
        return guid

    def stop_search(self, guid: Guid) -> None:
        """searches.Asker: take no more hits."""
        self.links.execute(self.router.stop_search(guid))

    def search_keeps(self, guid: Guid, results: int) -> None:
        """searches.Asker: what our ultrapeers shall know of a search, if we are a leaf."""
        self.router.search_keeps(guid, results)

    def _send_push(self, push: Push) -> bool:
        sent, actions = self.router.send_push(push, self.reactor.seconds())
        self.links.execute(actions)
        return sent

    def _pass_on_push(self, push: Push) -> bool:
        passed, actions = self.router.pass_on_push(push, self.reactor.seconds())
        self.links.execute(actions)
        return passed

    def _address_for_pushes(self) -> Address:
        """Where a pushed servent shall call us: what the network sees of us, else where our port listens."""
        own = self.own_address
        return own(own.external or self.links.local_host() or "127.0.0.1")

    def _adopt(self, path: str, sha1: bytes, tth: bytes | None) -> None:
        if self.config.settings.sharing.share_incoming:
            adopting = Deferred.fromCoroutine(self.library.adopt(path, sha1, tth))
            adopting.addErrback(lambda failure: self.log.failure("a finished download could not be offered", failure))

    def _uploaded(self, sha1: bytes) -> None:
        self.library.counts.count_upload(sha1)
        self.router.self.has_uploaded = True

    def _busy(self, is_busy: bool) -> None:
        self.router.self.is_busy = is_busy

    def _found_sources(self, hit: Hit) -> None:
        if hit.sha1 is not None:
            self.transfers.add_sources(hit.sha1, sources_of(hit))

    def use_settings(self, loaded: Loaded) -> None:
        """Take changed settings from now on, as far as they can change while the node runs."""
        self.config = replace(loaded, at_start=self.config.at_start or self.config)
        settings = loaded.settings
        self.safety.use_settings()
        self.links.use_settings(settings.network)
        self.udp.use_settings(settings)
        self.bootstrap.use_settings(settings)
        self.router.use_settings(settings.routing)
        self.library.use_settings(settings.sharing)
        self.transfers.apply(settings.transfers)
        self.standing.use_settings(settings.network)
        if self.layer is not None:
            self.layer.use_settings(settings)
        self.router.self_changed()
        if self._log_levels is not None:
            self._log_levels.use(settings.log)

    async def _save(self) -> None:
        """Keep hosts and counts.  They are caches: where the disk does not take them, the node goes on, and tries again."""
        try:
            await self.memory.save(self.hosts, self.router.counters)
        except UserError as error:
            self.log.error("hosts and counts were not saved: {error}", error=str(error))

    def _save_failed(self, failure: Failure) -> None:
        self.log.failure("state is not saved any more", failure)


def build(settings: Settings, reactor: Any, directory: str | os.PathLike[str], loaded: Loaded | None = None) -> Node:
    """A node in `directory`, not yet started."""
    path = Path(directory).absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    plain = loaded or Loaded(settings, settings, {}, {})
    return Node(path, plain, reactor)


def prepare(
    directory: str | None,
    config: str | None,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    reactor: Any,
) -> Node:
    """A node from options, file and environment; UserError with its exit code for everything a user can have got wrong."""
    path = resolve_directory(directory)

    file = str(Path(config).expanduser().absolute()) if config else None

    def read(runtime: Mapping[str, object]) -> Loaded:
        return load_settings(path, file, overrides, environ, runtime)

    loaded = read(runtime_settings(path))
    check(path, loaded.settings)
    return Node(path, loaded, reactor, read)


async def start_nodes(nodes: list[Node]) -> None:
    """Start several nodes at once and wait until all are ready; for demos and tests."""
    waiting = [node.when_ready() for node in nodes]
    for node in nodes:
        node.startService()
    await DeferredList(waiting, fireOnOneErrback=True, consumeErrors=True)


def address_of(node: Node) -> Address:
    """Where the first TCP port of a started node listens."""
    return node.links.addresses[0]


async def _awaited(stage: Callable[[], Awaitable[object]]) -> None:
    await stage()


def _exit_with(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
