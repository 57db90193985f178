"""`gnutella demo`: five real servents on loopback, a dozen files, searches, a download from two sources, and why.

With the relay layer installed, one file is also fetched anonymously, among eight nodes (gnutella.demo_relay).

Everything runs in one process and a temporary directory, on free ports of 127.0.0.1, and leaves nothing behind.  Two of the
five are ultrapeers, the hubs; the others are leaves:

    edge-1 --- hub-1 --- hub-2 --- edge-2      edge-3 is linked to both hubs, so that a
                  \\____ edge-3 ____/           duplicate can be seen being dropped
"""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import provider

from gnutella.control.view import HitRef
from gnutella.demo_files import LARGE_NAME, DemoFile, write_files
from gnutella.demo_relay import NODES as RELAY_NODES
from gnutella.demo_relay import Inserted, fetch_anonymously, missing, put_anonymously
from gnutella.demo_relay import settings as relay_settings
from gnutella.demo_show import Show
from gnutella.errors import UserError
from gnutella.network.memory import counts_of
from gnutella.node import Node, address_of, build, start_nodes
from gnutella.settings import (
    AnonymousSettings,
    ControlSettings,
    NetworkSettings,
    RoutingSettings,
    Settings,
    SharingSettings,
)
from gnutella.sharing.hashing import hash_bytes

MIN_NODES, MAX_NODES = 5, 64
#: Seconds until each thing must have happened; loopback needs a few hundredths of them.
PATIENCE_S = 10.0
#: Seconds without a further hit after which a search is over.
QUIET_S = 0.3
POLL_S = 0.02


class DemoFailed(UserError):
    """Something that must work did not."""


def main(*, json: bool = False, keep: bool = False, nodes: int = MIN_NODES) -> int:
    """Run the demo; the exit code."""
    if not MIN_NODES <= nodes <= MAX_NODES:
        raise UserError(f"--nodes {nodes}", f"give a number from {MIN_NODES} to {MAX_NODES}")
    from twisted.internet import reactor  # noqa: TID251 - this is a main program

    failures: list[str] = []
    show = Show(json, sys.stdout)
    with _directory(keep) as directory:
        demo = Demo(reactor, Path(directory), nodes, show)
        done = _run(reactor, demo, keep)
        if done:
            failures.append(done)
    if failures:
        print(f"gnutella: demo: {failures[0]}", file=sys.stderr)
    return 1 if failures else 0


def _run(reactor: Any, demo: Demo, keep: bool) -> str:
    """Run the reactor until the demo is over; what went wrong, or "".

    KeyboardInterrupt if a signal came before the end, BrokenPipeError if nobody reads on what it shows.
    """
    wrong: list[str] = []
    broken_off: list[bool] = []
    unread: list[BrokenPipeError] = []
    unhandled = _watch_log(wrong)

    async def play() -> None:
        has_ended = False
        try:
            await demo.play()
            has_ended = True
            if keep:
                demo.show.kept(demo.all_nodes)
                await Deferred()
        except UserError as error:
            wrong.append(str(error))
        except CancelledError:
            broken_off.append(not has_ended)
        except BrokenPipeError as error:
            unread.append(error)
        finally:
            await demo.stop()
            reactor.stop()

    def failed(failure: Any) -> None:
        wrong.append(f"{failure.type.__name__}: {failure.getErrorMessage()}")

    def begin() -> None:
        playing = Deferred.fromCoroutine(play())
        _on_signal(lambda: reactor.callFromThread(playing.cancel))
        playing.addErrback(failed)

    # The reactor's own handlers too: without that for SIGCHLD, hash workers may stay behind.
    reactor.callWhenRunning(begin)
    try:
        reactor.run()
    finally:
        globalLogPublisher.removeObserver(unhandled)
    if any(broken_off):
        raise KeyboardInterrupt
    if unread:
        raise unread[0]
    return wrong[0] if wrong else ""


def _on_signal(call: Callable[[], object]) -> None:
    """Call once, at the first SIGINT or SIGTERM; further ones are ignored, since the end is short."""

    def ring(*_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        call()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ring)


def _watch_log(wrong: list[str]) -> ILogObserver:
    """A fault that some part only logs is a failure of the demo too."""

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical) and "log_failure" in event:
            wrong.append(f"a fault was logged: {event['log_failure'].getErrorMessage()}")

    observer: ILogObserver = observe
    globalLogPublisher.addObserver(observer)
    return observer


@contextlib.contextmanager
def _directory(keep: bool) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="gnutella-demo-", ignore_cleanup_errors=True) as directory:
        yield directory


class Demo:
    """The play: nodes, their links, queries, a download."""

    def __init__(self, reactor: Any, directory: Path, count: int, show: Show) -> None:
        self.reactor = reactor
        self.show = show
        self.names = ["hub-1", "hub-2", *(f"edge-{number}" for number in range(1, count - 1))]
        self.nodes: dict[str, Node] = {}
        #: Nodes that take part in nothing but the relay layer, so that it has enough.
        self.relays: dict[str, Node] = {}
        self._without = missing()
        self._directory = directory
        self._count = count
        self._files: dict[str, list[DemoFile]] = {}
        self._putting: Deferred[Inserted | Exception]

    async def play(self) -> None:
        """All of it; DemoFailed when something did not happen."""
        begun = self.reactor.seconds()
        self._files = write_files(self._directory, self.names)
        await self._start()
        if not self._without:
            self._putting = Deferred.fromCoroutine(self._put())
        await self._until(self._is_hashed, "the shared files are hashed")
        links = await self._link()
        await self._until(self._is_guided, "the leaves told their hubs what they have")
        self.show.overlay(self.nodes, links, self.reactor.seconds() - begun)
        asker = self.nodes["edge-1"]
        wonderland = await self._query(asker, "alice wonderland", at_least=2)
        await self._query(asker, "moby whale", at_least=1)
        await self._query(asker, "no such thing", at_least=0)
        urn = str(next(row["urn"] for row in wonderland.rows if row["name"] == LARGE_NAME))
        found = await self._query(asker, urn, at_least=1, sources=2)
        await self._download(asker, found)
        await self._anonymous()
        self.show.traffic([counts_of(node.router.counters) for node in self.nodes.values()])
        self.show.ending(self.reactor.seconds() - begun)

    @property
    def all_nodes(self) -> dict[str, Node]:
        """Those that are only relays too."""
        return {**self.nodes, **self.relays}

    async def stop(self) -> None:
        """Stop all nodes."""
        for waiting in [node.stopService() for node in self.all_nodes.values()]:
            await waiting

    async def _start(self) -> None:
        """All nodes; with the layer, the first one before those that begin at it."""
        first = self.names[0]
        begun = 0 if self._without else RELAY_NODES
        self.nodes[first] = self._node(first)
        if begun:
            await start_nodes([self.nodes[first]])
        connect = (str(address_of(self.nodes[first])),) if begun else ()
        for number, name in enumerate(self.names[1:], 1):
            self.nodes[name] = self._node(name, connect if number < begun else ())
        for number in range(1, begun - len(self.names) + 1):
            self.relays[f"relay-{number}"] = self._node(f"relay-{number}", connect)
        await start_nodes([node for name, node in self.all_nodes.items() if name != first or not begun])

    def _node(self, name: str, connect: tuple[str, ...] = ()) -> Node:
        has_layer = name == self.names[0] and not self._without
        settings = Settings(
            network=NetworkSettings(
                listen=("tcp:0:interface=127.0.0.1",),
                profile="loopback",
                role="ultrapeer" if name.startswith("hub") else "leaf",
            ),
            routing=RoutingSettings(trace="all"),
            sharing=SharingSettings(directories=(str(self._directory / name / "shared"),), watch=False, rescan_s=0),
            control=ControlSettings(console="off"),
            anonymous=relay_settings(connect) if connect or has_layer else AnonymousSettings(),
        )
        return build(settings, self.reactor, self._directory / name)

    async def _link(self) -> int:
        pairs = [("hub-1", "hub-2"), ("edge-1", "hub-1"), ("edge-2", "hub-2"), ("edge-3", "hub-1"), ("edge-3", "hub-2")]
        pairs += [(f"edge-{n}", f"hub-{1 + n % 2}") for n in range(4, self._count - 1)]
        for one, other in pairs:
            await self.nodes[one].links.connect(address_of(self.nodes[other]))
        return len(pairs)

    def _is_hashed(self) -> bool:
        return all(
            self.nodes[name].library.catalog.file_count == len(files) for name, files in self._files.items() if files
        )

    def _is_guided(self) -> bool:
        hubs = [node for name, node in self.nodes.items() if name.startswith("hub")]
        return all(hub.router.has_table(link) for hub in hubs for link in hub.router.links())

    async def _query(self, asker: Node, words: str, at_least: int, sources: int = 1) -> Any:
        begun = self.reactor.seconds()
        first: list[float] = []
        found = asker.face.search(words, on_row=lambda _: first.append(self.reactor.seconds() - begun))

        def enough() -> bool:
            rows = found.rows
            return len(rows) >= at_least and (not rows or len(rows[0]["sources"]) >= sources)  # type: ignore[arg-type]

        await self._until(enough, f"{at_least} hits for {words!r}")
        await self._quiet()
        self.show.query(words, found, first[0] if first else None, self.nodes)
        found.stop()
        return found

    async def _download(self, asker: Node, found: Any) -> None:
        begun = self.reactor.seconds()
        hit = asker.searches.hit(HitRef(1, found.guid))
        assert hit is not None
        row = await asker.face.get(HitRef(1, found.guid))

        number = int(str(row["id"]))

        def state() -> dict[str, Any]:
            return asker.transfers.download(number)

        await self._until(lambda: state()["state"] in ("done", "failed"), "the download ends")
        ended = state()
        if ended["state"] != "done":
            raise DemoFailed(f"the download failed: {ended['error']}")
        arrived = hash_bytes(Path(str(ended["path"])).read_bytes())
        if arrived.sha1 != hit.sha1 or arrived.tth != hit.tth:
            raise DemoFailed("the downloaded file is not the one that was asked for")
        self.show.download(ended, asker, self.nodes, self.reactor.seconds() - begun)

    async def _anonymous(self) -> None:
        if self._without:
            self.show.no_anonymous(self._without)
            return
        put = await self._putting
        if isinstance(put, Exception):
            raise put
        await fetch_anonymously(self.all_nodes, put, "edge-2", "edge-1", self._until, self.show)

    async def _put(self) -> Inserted | Exception:
        """While the other steps are shown; what went wrong is raised when it is waited for."""
        try:
            return await put_anonymously(self.all_nodes, "edge-2", self._directory, self._until)
        except Exception as error:  # noqa: BLE001 - see above
            return error

    async def _until(self, is_so: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        deadline = self.reactor.seconds() + patience_s
        while not is_so():
            if self.reactor.seconds() > deadline:
                raise DemoFailed(f"waited {patience_s:g} s in vain: {what}")
            await deferLater(self.reactor, POLL_S, lambda: None)

    async def _quiet(self) -> None:
        """Wait until no node has handled a message for a while, so that the trace of a query is complete."""

        def handled() -> int:
            return sum(node.router.counters.rx_messages for node in self.nodes.values())

        before = -1
        while before != handled():
            before = handled()
            await deferLater(self.reactor, QUIET_S, lambda: None)
