"""The relay layer of a running node: the core, its links over real connections, its blocks and state on disk, its jobs.

    layer = layer_of(node); await layer.start(); layer.view.status(); await layer.stop()

gnutella.relaying loads this module by name when the layer is switched on.  It listens on the node's own port: whose TLS
greeting asks for `arl/1` comes here.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from anonymizer import state
from anonymizer.blockio import DiskBlocks
from anonymizer.chk import BLOCK_BYTES
from anonymizer.client import Client
from anonymizer.client_cache import ClientCache
from anonymizer.core import Core, Identity, Ways
from anonymizer.descr import GATEWAY, HOUR_S, PIVOT, node_id_of
from anonymizer.errors import AnonymityError, QuotaExceeded, StateNotKept
from anonymizer.explain import Facts
from anonymizer.jobs import FetchJob
from anonymizer.kinds import kind_bits
from anonymizer.known import KnownNodes
from anonymizer.links import RelayLinks
from anonymizer.membership import Manners
from anonymizer.mimes import mime_of
from anonymizer.neighbours import place_of
from anonymizer.own import OwnFacts
from anonymizer.ownfiles import remove_stale
from anonymizer.plain import PlainGateway
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import PivotKeys
from anonymizer.served import Served, ServedFile, index_file
from anonymizer.shares import AnonymousShare, ShareIndex, sibling_warning
from anonymizer.standing import facts_of, status_of
from anonymizer.tls import ALPN, RelayTls
from anonymizer.uri import ChkUri
from anonymizer.view import RelayFace
from anonymizer.watching import Observer, Sight, sights_of
from anonymizer.wire import ByeReason
from gnutella.control.relay_view import IRelayLayer
from gnutella.errors import GnutellaError, UserError
from gnutella.network.workers import Workers, WorkersStopped
from gnutella.units import Address, parse_address

if TYPE_CHECKING:
    from gnutella.node import Node

#: Where fetched files go; the plain library never shares it.
DIRECTORY: Final = "anonymous"
#: Seconds between two times that known nodes and the like are written, and between two looks at first contacts and addresses.
SAVE_S: Final = 60.0
LOOK_S: Final = 5.0
#: What a node of the layer says in the handshakes of the plain overlay.
ANNOUNCED: Final = ("X-Anon", "arl/1")
#: Addresses to listen on that say nothing of where others find us.
ANY_HOST: Final = ("0.0.0.0", "::")
#: Stale partial files are looked for this often, and at the start.
TIDY_S: Final = 3_600.0
#: With fewer links than this, first contacts are dialled.
FEW_LINKS: Final = 3
#: Guards and documents are written when they have changed, looked at this often.
WATCH_S: Final = 1.0


def layer_of(node: Node) -> RelayLayer:
    """The layer of that node, not started."""
    return RelayLayer(node)


@implementer(IRelayLayer)
class RelayLayer:
    """See the module text."""

    log = Logger()

    def __init__(self, node: Node) -> None:
        self.node, self.reactor = node, node.reactor
        self.settings = node.config.settings.anonymous
        self.directory: Path = node.directory / DIRECTORY
        self.chance = secrets.SystemRandom()
        #: One thread for blocks, one for the user's files: neither waits for the other.
        self._block_runs = Workers(node.reactor, count=1, name="relay-blocks")
        self.disk = Workers(node.reactor, count=1, name="relay-files")
        self.view = RelayFace(self)
        self.served = Served()
        #: Of what is offered, by the routing key of its manifest: never told to anybody, only compared with the library.
        self._sha1: dict[bytes, bytes] = {}
        #: What this node's own disk did not take.
        self.refusals = Refusals()
        self.core: Core
        self.links: RelayLinks
        self.blocks: DiskBlocks
        self.tls: RelayTls
        self._identity: Identity
        #: Rows of the guards as they are on disk.
        self._guards: list[tuple[bytes, float, bool]] = []
        self._loops: list[LoopingCall] = []
        self.is_up = False

    def now(self) -> float:
        """Seconds since 1970."""
        return float(self.reactor.seconds())

    @property
    def client(self) -> Client:
        """The user's side of the core."""
        return self.core.client

    @property
    def cache(self) -> ClientCache:
        """What the user fetched lately."""
        return self.core.cache

    @property
    def shares(self) -> ShareIndex:
        """What anonymous searches are answered with."""
        return self.core.shares

    def status(self) -> dict[str, Any]:
        """How it is."""
        return status_of(self)

    def facts(self) -> Facts:
        """What this node stores, relays and reveals."""
        return facts_of(self)

    def observe(self) -> Observer:
        """Record what this node can see from now on."""
        self.core.watch = observer = Observer(self.core.id)
        return observer

    def sights(self, observers: Mapping[str, Observer], asker: str) -> list[Sight]:
        """What the observers of all nodes, by name, saw of what `asker` asked for."""
        return sights_of(observers, asker)

    def new_key(self) -> X25519PrivateKey:
        """A key for one search."""
        return X25519PrivateKey.generate()

    def wake(self) -> None:
        """The core may have something to do."""
        if self.is_up:
            self.links.wake()

    # -- life ------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read what was kept, open links; UserError if the disk does not have it."""
        kept = await state.load(self.node.store, Ed25519PrivateKey.generate().private_bytes_raw())
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._open(kept)
            await self.blocks.open()
        except OSError as error:
            what = f"the relay layer cannot use {str(error.filename)!r}: {error.strerror}"
            raise UserError(what, "free some space or name another directory", os.EX_CANTCREAT) from None
        self._restore(kept)
        self.core.membership.change(self._facts(), self.now())
        self.is_up = True
        self.links.start()
        self.core.client.start(self.now())
        self.node.links.doors.inside[ALPN] = self.links.door
        self.node.links.announce(*ANNOUNCED)
        for seconds, look in (
            (LOOK_S, self._look),
            (WATCH_S, self._watch),
            (SAVE_S, self._save_often),
            (TIDY_S, self._tidy),
        ):
            loop = LoopingCall(look)
            loop.clock = self.reactor
            loop.start(seconds).addErrback(lambda failure: self.log.failure("a fault of the relay layer", failure))
            self._loops.append(loop)

    def _open(self, kept: state.State) -> None:
        settings, now = self.settings, self.now()
        key = Ed25519PrivateKey.from_private_bytes(kept.keys.key)
        own_id = node_id_of(key.public_key().public_bytes_raw())
        pivot_keys = PivotKeys(now, X25519PrivateKey.generate, kept.turning.pivot_keys)
        self._identity = Identity(key, pivot_keys, kept.keys.secret, kept.turning.sequence)
        per_mib = (1 << 20) / BLOCK_BYTES
        self.blocks = DiskBlocks(
            self.directory / ".blocks",
            kept.keys.salt,
            place_of(own_id),
            self._block_runs,
            self.wake,
            (int(settings.cache_mib * per_mib), int(settings.store_mib * per_mib)),
        )
        known = KnownNodes(
            own_id,
            allow_private=self.node.config.settings.network.profile != "public",
            by_network=settings.by_network,
            min_age_s=settings.min_age_h * HOUR_S,
            min_sources=settings.min_sources,
        )
        self.core = Core(
            self._identity,
            known,
            self.blocks,
            self.chance,
            X25519PrivateKey.generate,
            now,
            drop=self._drop,
            gateway=PlainGateway(self.node) if settings.gateway else None,
            ways=Ways(
                OwnFacts(None, 0),
                Manners(target_links=settings.links),
                settings.circuit_kib_s * 1024.0 or None,
                route_rate=settings.relay_kib_s * 1024.0 or math.inf,
            ),
            numbers=kept.documents.editions,
            read_block=self._read_block,
        )
        self.tls = RelayTls(key)
        self.links = RelayLinks(
            self.reactor, self.core, self.tls, self.chance, self.node.dialler.connect, by_network=settings.by_network
        )

    def _restore(self, kept: state.State) -> None:
        now = self.now()
        self.core.known.restore(kept.seen.nodes, now)
        self.core.stem.guards.must_keep = True
        self.core.stem.guards.restore(kept.kept.guards, now)
        self.core.client.documents.keep = self._keep_documents
        self.core.shares.restore(kept.offers.shares)
        self._sha1 = dict(kept.offers.sha1)
        self._guards = self.core.stem.guards.rows()
        for share in list(self.core.shares):
            if share.is_anchored:
                path, key = kept.offers.anchored.get(str(share.uri), (b"", b""))
                self._index(Path(os.fsdecode(path)), key, lambda: True).addCallbacks(
                    self._served_again, self._not_served, callbackArgs=(share,), errbackArgs=(share,)
                )

    async def stop(self) -> None:
        """Say goodbye, write what is to be kept."""
        self.node.links.doors.inside.pop(ALPN, None)
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self.is_up = False
        self.view.stop()
        if hasattr(self, "links"):
            await self.links.stop()
            await self._save()
        await self.disk.stop(finish=True)
        await self._block_runs.stop(finish=True)

    def use_settings(self, settings: object) -> None:
        """Everything of the layer needs a restart; see settings_file.RESTART_KEYS."""

    def door(self) -> object:
        """What takes connections that ask for the layer."""
        return self.links.door

    def _drop(self, node: bytes, reason: ByeReason, now: float) -> None:
        self.reactor.callLater(0, self.links.drop, node, reason)

    # -- other nodes -----------------------------------------------------------------------------------------------------

    def _facts(self) -> OwnFacts:
        """What our descriptor says: an address only if others can connect."""
        node, settings = self.node, self.settings
        own = node.own_address
        is_closed = node.config.settings.network.firewalled or node.face.is_reachable is False
        address: Address | None = None
        named = (listening.host for listening in node.links.addresses if listening.host not in ANY_HOST)
        host = own.external or node.links.local_host() or next(named, None) or self.links.local_host()
        if host and not is_closed and node.links.addresses:
            address = own(host)
        capabilities = (PIVOT if settings.pivot and address else 0) | (GATEWAY if settings.gateway and address else 0)
        return OwnFacts(address, capabilities)

    def _look(self) -> None:
        """First contacts while there are few links, and our own address."""
        now = self.now()
        self.core.membership.change(self._facts(), now)
        if len(self.links.nodes) < FEW_LINKS:
            known = [self.core.known.get(node) for node in self.links.nodes]
            linked = {descriptor.address for descriptor in known if descriptor is not None}
            own = self.core.membership.own.facts.address
            for address in self._contacts():
                if address not in linked and address != own:
                    self.links.connect(address).addErrback(lambda failure: failure.trap(GnutellaError))
        self.links.wake()

    def _contacts(self) -> list[Address]:
        """Where somebody of the layer may be found: what the settings name, and peers of the plain overlay who say so."""
        named = [parse_address(text) for text in self.settings.connect]
        return list(dict.fromkeys([*named, *self.node.links.saying(*ANNOUNCED)]))

    # -- what is kept ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Guards carry circuits of ours when they are on disk, and not before."""
        guards = self.core.stem.guards.rows()
        if guards != self._guards:
            self._keep(state.KEPT, state.Kept(guards)).addCallbacks(lambda _: self._guards_kept(guards), self._not_kept)

    def _guards_kept(self, guards: list[tuple[bytes, float, bool]]) -> None:
        self._guards = guards
        self.core.stem.guards.kept(guards)

    def _keep_documents(self, then: Callable[[AnonymityError | None, float], None], now: float) -> None:
        """Editions that were seen, or are to be signed, are kept first, so that no crash takes anybody back."""

        def not_kept(failure: Failure) -> None:
            self._not_kept(failure)
            error = failure.value
            why = error.message if isinstance(error, UserError) else "the node stops"
            then(StateNotKept("the newest number of a document", why), self.now())

        def kept(_: None) -> None:
            then(None, self.now())
            self.wake()

        self._keep(state.DOCUMENTS, state.Documents(self.core.client.documents.rows())).addCallbacks(
            kept, not_kept
        ).addErrback(lambda failure: self.log.failure("a fault of the relay layer", failure))

    def _keep(self, part: Any, value: Any) -> Deferred[None]:
        return state.save(self.node.store, part, value)

    def _not_kept(self, failure: Failure) -> None:
        self.refusals.count(Refusal.DISK_STATE)
        self.log.error("the relay layer's state was not saved: {error}", error=failure.getErrorMessage())

    def _save_often(self) -> None:
        Deferred.fromCoroutine(self._save())

    async def _save(self) -> None:
        own = self.core.membership.own
        for part, value in (
            (state.TURNING, state.Turning(self._identity.pivot_keys.rows(), own.current.sequence)),
            (state.SEEN, state.Seen(self.core.known.rows())),
            (state.KEPT, state.Kept(self.core.stem.guards.rows())),
        ):
            await self._keep(part, value).addErrback(self._not_kept)

    # -- files -----------------------------------------------------------------------------------------------------------

    def partials_in_use(self) -> set[Path]:
        """Where jobs that go on write."""
        return {job.partial for job in self.view.all_jobs if isinstance(job, FetchJob) and not job.is_over}

    def _tidy(self) -> None:
        """What was cancelled or failed long ago is not gone on with."""
        self.disk.run(remove_stale, self.directory, self.partials_in_use(), self.now()).addErrback(
            lambda failure: failure.trap(WorkersStopped)
        )

    def list_inserted(self, name: str, size: int, uri: ChkUri, sha1: bytes) -> Deferred[None]:
        """Answer anonymous searches with a file that was inserted; fires when that outlasts a crash."""
        self._sha1[uri.routing] = sha1
        return self._offer(AnonymousShare(name, size, mime_of(name), kind_bits(name), uri, False))

    def _offer(self, share: AnonymousShare) -> Deferred[None]:
        try:
            self.core.shares.add(share)
        except QuotaExceeded:
            return fail()
        except Violation:
            return fail(UserError("no search could tell of a file with this name", "give it another name", os.EX_USAGE))
        return self._keep_offers()

    def _keep_offers(self) -> Deferred[None]:
        """Keep what is offered.  Fails with StateNotKept."""
        anchored = {
            str(share.uri): (os.fsencode(file.path), file.key)
            for share in self.core.shares
            if share.is_anchored and (file := self.served.get(share.uri.routing)) is not None
        }

        def not_kept(failure: Failure) -> None:
            self._not_kept(failure)
            error = failure.value
            raise StateNotKept("what is offered", error.message if isinstance(error, UserError) else "the node stops")

        self._sha1 = {share.uri.routing: self._sha1.get(share.uri.routing, b"") for share in self.core.shares}
        offers = state.Offers(self.core.shares.rows(), anchored, self._sha1)
        return self._keep(state.OFFERS, offers).addErrback(not_kept)

    def serve(self, path: Path, is_wanted: Callable[[], bool]) -> Deferred[ServedFile]:
        """Read a file and offer it by anchors."""

        def offer(file: ServedFile) -> ServedFile | Deferred[ServedFile]:
            if not is_wanted():
                return file
            self.served.add(file)
            self._sha1[file.uri.routing] = file.sha1
            name = path.name
            share = AnonymousShare(name, file.size, mime_of(name), kind_bits(name), file.uri, True)
            self.core.anchoring.add(file.uri.routing, self.now())
            self.wake()
            return self._offer(share).addCallbacks(lambda _: file, lambda failure: withdraw(share, failure))

        def withdraw(share: AnonymousShare, failure: Failure) -> Failure:
            self._withdraw(share)
            return failure

        return self._index(path, os.urandom(32), is_wanted).addCallback(offer)

    def _index(self, path: Path, key: bytes, is_wanted: Callable[[], bool]) -> Deferred[ServedFile]:
        return self.disk.run(index_file, path, key, mime_of(path.name), is_wanted)

    def _served_again(self, file: ServedFile, share: AnonymousShare) -> None:
        if file.uri != share.uri:
            self._not_served(Failure(UserError("it has changed")), share)
            return
        self.served.add(file)
        self._sha1[file.uri.routing] = file.sha1
        self.core.anchoring.add(file.uri.routing, self.now())
        self.wake()

    def _not_served(self, failure: Failure, share: AnonymousShare) -> None:
        self.log.warn("a file that was shared anonymously is gone or has changed; it is offered no more")
        self.core.shares.remove(share.uri.routing)
        self._keep_offers().addErrback(lambda failure: failure.trap(StateNotKept))

    def unshare(self, share: AnonymousShare) -> Deferred[None]:
        """Offer it no more; fires when that outlasts a crash, and its name is not on the disk any more."""
        self._withdraw(share)
        return self._keep_offers().addCallback(lambda _: self.node.store.erase())

    def _withdraw(self, share: AnonymousShare) -> None:
        routing = share.uri.routing
        self.core.shares.remove(routing)
        self.core.anchoring.remove(routing, self.now())
        self.served.remove(routing)
        self.wake()

    def warning(self, share: AnonymousShare) -> str:
        """What gives an offered file away all the same."""
        catalog, sha1 = self.node.library.catalog, self._sha1.get(share.uri.routing, b"")
        return sibling_warning(sha1, lambda sha1: catalog.by_sha1(sha1) is not None) or ""

    def _read_block(self, routing: bytes, done: Callable[[bytes | None, float], None]) -> None:
        def read(block: bytes | None) -> None:
            done(block, self.now())
            self.wake()

        self.disk.run(self.served.read, routing).addCallbacks(read, lambda _: read(None))
