"""Web caches over real sockets: whole nodes that ask and serve, curl, and servers that mean no good."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from gnutella.errors import Refused, RemoteViolation, UserError
from gnutella.network.small_get import get, resolve
from gnutella.node import Node, address_of, prepare
from gnutella.protocol.gwebcache import MAX_ANSWER, parse_answer
from gnutella.reasons import DropReason
from gnutella.routing.web_caches import WebCaches
from gnutella.testing.aio import async_test, until
from gnutella.testing.machine import tool
from gnutella.testing.whole_nodes import node_in, started

pytestmark = pytest.mark.live


def node(directory: Path, reactor: Any, *caches: str, profile: str = "lan", serve: bool = False) -> Node:
    """A node that dials on its own; multicast is off, since it listens on loopback."""
    bootstrap = {"udp_host_caches": (), "gwebcaches": caches, "serve_cache": serve}
    return node_in(directory, reactor, network={"profile": profile}, bootstrap=bootstrap)


def url_of(server: Node) -> str:
    return f"http://{address_of(server)}/gwc"


class Script(Protocol):
    """A web server that says the same to everybody."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        self.factory.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard.append(data)
        self.transport.write(self.factory.says)
        if self.factory.repeats:
            self.transport.registerProducer(self, False)
        elif self.factory.closes:
            self.transport.loseConnection()

    def resumeProducing(self) -> None:
        self.transport.write(self.factory.repeats)

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.open.discard(self)


@asynccontextmanager
async def server(
    reactor: Any, says: bytes, repeats: bytes = b"", *, closes: bool = True
) -> AsyncIterator[tuple[str, Any]]:
    """Its URL, and what it heard."""
    factory: Any = Factory.forProtocol(Script)
    factory.says, factory.repeats, factory.closes, factory.heard, factory.open = says, repeats, closes, [], set()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield f"http://localhost:{port.getHost().port}/gwc", factory
    finally:
        await port.stopListening()
        await until(reactor, lambda: not factory.open)


def page(body: bytes, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), head, body)


@async_test(30)
async def test_an_island_finds_itself_through_one_node_that_serves_as_cache(reactor: Any, tmp_path: Path) -> None:
    async with started(node(tmp_path / "a", reactor, serve=True), node(tmp_path / "b", reactor)) as (a, b):
        await a.links.connect(address_of(b))
        c = node(tmp_path / "c", reactor, url_of(a))
        async with started(c):
            await until(reactor, lambda: c.links.summary()["peers"] == 2)
            (row,) = c.face.web_caches()
            assert (row["url"], row["state"], row["version"]) == (url_of(a), "good", 2)
            (event,) = [event for event in c.journal.since(0) if event.type == "web_cache_asked"]
            assert event.data == {"url": url_of(a), "hosts": 2, "error": ""}
            serves: Any = a.face.status()["bootstrap"]
            assert serves["serves"] == {"url": url_of(a), "requests": 1, "updates": 0, "hosts": 0}


@pytest.mark.parametrize(("ultrapeers", "leaves", "wants"), [(0, 0, True), (2, 40, True), (8, 40, False)])
@async_test()
async def test_leaves_are_none_of_the_links_for_which_hosts_are_sought(
    reactor: Any, tmp_path: Path, ultrapeers: int, leaves: int, wants: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(node(tmp_path / "a", reactor)) as (a,):
        counts = {"ultrapeers": ultrapeers, "leaves": leaves, "peers": ultrapeers + leaves}
        monkeypatch.setattr(a.links.roster, "summary", lambda: counts)
        assert a.bootstrap._needs_hosts() is wants
        assert (a.udp._needs().links, a.udp._needs().is_lonely) == (wants, not counts["peers"])


@async_test(30)
async def test_a_cache_that_was_asked_is_left_alone_also_after_a_restart(reactor: Any, tmp_path: Path) -> None:
    async with server(reactor, page(b"I|WARNING|come back later\r\n")) as (url, heard):
        for _ in range(2):
            async with started(node(tmp_path / "a", reactor, url)) as (a,):
                await until(reactor, lambda a=a: bool(a.face.web_caches()[0]["next_try_s"]))  # type: ignore[misc]
                await until(reactor, lambda a=a: a.bootstrap._client._running is None)  # type: ignore[misc]
            (row,) = a.face.web_caches()
            assert (row["state"], row["failures"]) == ("failed", 1)
        assert a.router.counters.drops[DropReason.CACHE_REFUSED] == 0, "not asked in the second run"
        assert len(heard.heard) == 1
        request = heard.heard[0].decode()
        assert request.startswith("GET /gwc?get=1&net=gnutella&hostfile=1&client=PYGN&version=")
        assert "User-Agent: PyGnutella/" in request


@async_test(30)
async def test_that_a_cache_is_asked_is_on_disk_before_it_is(reactor: Any, tmp_path: Path) -> None:
    """What is killed then does not ask again."""
    async with server(reactor, b"", closes=False) as (url, heard):
        async with started(node(tmp_path / "a", reactor, url)):
            await until(reactor, lambda: bool(heard.heard))
            db = sqlite3.connect(tmp_path / "a" / "state.db")
            ((kept, next_at),) = db.execute("SELECT url, next_at FROM web_caches").fetchall()
            db.close()
            assert kept == url and next_at > reactor.seconds() + 3000


HOSTILE = {
    "endless body": (b"HTTP/1.1 200 OK\r\n\r\n", b"80.1.2.3:6346\n" * 100, DropReason.CACHE_FAILED),
    "endless head": (b"HTTP/1.1 200 OK\r\n", b"X-Y: " + b"z" * 900 + b"\r\n", DropReason.CACHE_FAILED),
    "endless line": (b"HTTP/1.1 200 OK\r\nX: ", b"z" * 4000, DropReason.CACHE_FAILED),
    "size of a disk": (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nx", b"", DropReason.CACHE_FAILED),
    "no HTTP": (b"\0\xff" * 500 + b"\r\n\r\n", b"", DropReason.CACHE_FAILED),
    "redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n",
        b"",
        DropReason.CACHE_FAILED,
    ),
    "error": (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", b"", DropReason.CACHE_FAILED),
    "a web page": (page(b"<html><body>Welcome to nginx</body></html>"), b"", DropReason.BAD_CACHE_ANSWER),
    "ten thousand lines of nothing": (page(b"a\n" * 10_000), b"", DropReason.BAD_CACHE_ANSWER),
    "warning": (page(b"WARNING: \x1b[2J\r\n"), b"", DropReason.CACHE_REFUSED),
}


@pytest.mark.parametrize("kind", HOSTILE)
@async_test()
async def test_hostile_pages_are_refused_within_bounds(reactor: Any, kind: str) -> None:
    says, repeats, reason = HOSTILE[kind]
    async with server(reactor, says, repeats) as (url, heard):
        with pytest.raises((Refused, RemoteViolation)) as caught:
            answer = parse_answer(await get(reactor, url, "127.0.0.1", max_bytes=MAX_ANSWER, user_agent="Test"))
            WebCaches([url], random.Random(1), allow_private=True).answered(url, answer, 0.0)
        refused: Any = caught.value
        assert refused.reason is reason
        assert len(heard.heard) == 1


@pytest.mark.parametrize("kind", ["endless body", "warning"])
@async_test(30)
async def test_hostile_caches_are_refused_counted_and_left_alone(reactor: Any, tmp_path: Path, kind: str) -> None:
    says, repeats, reason = HOSTILE[kind]
    async with server(reactor, says, repeats) as (url, heard):
        async with started(node(tmp_path / "a", reactor, url)) as (a,):
            await until(reactor, lambda: a.router.counters.drops[reason] == 1)
            assert len(a.hosts) == 0 and len(heard.heard) == 1
            (row,) = a.face.web_caches()
            assert row["failures"] == 1
            (event,) = [event for event in a.journal.since(0) if event.type == "web_cache_asked"]
            assert event.data["error"] and "\x1b" not in str(event.data)
            assert row["error"] == event.data["error"]
            status: Any = a.face.status()["bootstrap"]
            (source,) = [source for source in status["sources"] if source["source"] == "web caches"]
            assert source["state"] == "failed" and source["detail"].startswith("1 of 1 asked in vain: ")
            (check,) = [check for check in await a.face.checks() if check["name"] == "web caches"]
            assert check["ok"] is False and check["fix"]
            assert a.router.counters.drops[DropReason.INTERNAL_ERROR] == 0


@async_test(30)
async def test_of_ten_thousand_hosts_a_few_are_taken_and_private_ones_never_in_public(
    reactor: Any, tmp_path: Path
) -> None:
    lines = [f"H|127.0.{n >> 8}.{n & 255}:1|9" for n in range(10, 10_010)]
    async with server(reactor, page("\r\n".join(lines).encode()[:60_000])) as (url, _):
        async with started(node(tmp_path / "a", reactor, url)) as (a,):
            await until(reactor, lambda: a.face.web_caches()[0]["state"] == "good")
            assert 0 < len(a.hosts) <= 50
    body = get(reactor, url, "127.0.0.1", max_bytes=1000, user_agent="Test")
    with pytest.raises(Refused, match="ConnectionRefusedError"):  # it is gone
        await body


@async_test()
async def test_in_the_public_network_no_name_leads_to_a_private_address(reactor: Any, tmp_path: Path) -> None:
    async with server(reactor, page(b"80.1.2.3:6346\n")) as (url, heard):
        async with started(node(tmp_path / "a", reactor, url, profile="public")) as (a,):
            await until(reactor, lambda: a.router.counters.drops[DropReason.CACHE_FAILED] == 1)
            assert heard.heard == [] and len(a.hosts) == 0
    with pytest.raises(Refused, match="no address for it"):
        await resolve(reactor, "169.254.169.254", allow_private=False)
    with pytest.raises(Refused, match="no address"):
        await resolve(reactor, "no-such-host.invalid", allow_private=True)


@async_test()
async def test_a_cache_on_a_blocklist_is_not_asked(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnutella.network.gate.Gate.is_listed", lambda gate, host: host == "127.0.0.1")
    async with server(reactor, page(b"80.1.2.3:6346\n")) as (url, heard):
        async with started(node(tmp_path / "a", reactor, url)) as (a,):
            await until(reactor, lambda: a.router.counters.drops[DropReason.BLOCKED] >= 1)
            assert heard.heard == [] and a.face.web_caches()[0]["failures"] == 1


@async_test()
async def test_a_server_that_says_nothing_is_given_up(reactor: Any) -> None:
    async with server(reactor, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff", closes=False) as (
        url,
        heard,
    ):
        with pytest.raises(Refused, match="TimeoutError"):
            await get(reactor, url, "127.0.0.1", max_bytes=1000, user_agent="Test", timeout_s=0.2)
        await until(reactor, lambda: not heard.open)


@async_test()
async def test_a_node_on_loopback_asks_nobody(reactor: Any, tmp_path: Path) -> None:
    async with started(node(tmp_path / "a", reactor, "http://127.0.0.1:1/gwc", profile="loopback")) as (a,):
        assert a.face.web_caches() == []


class Asker(Protocol):
    """Says its pieces, one after another, and keeps what comes back."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.heard = b""
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.heard)


async def ask(reactor: Any, server: Node, *pieces: bytes) -> bytes:
    asker: Any = Asker()
    await connectProtocol(TCP4ClientEndpoint(reactor, *address_of(server)), asker)
    for piece in pieces:
        asker.transport.write(piece)
        await until(reactor, lambda: True)
        pause: Deferred[None] = Deferred()
        reactor.callLater(0.01, pause.callback, None)
        await pause
    heard: bytes = await asker.done
    return heard


@async_test()
async def test_the_door_tells_requests_of_the_cache_from_those_for_files(reactor: Any, tmp_path: Path) -> None:
    async with started(node(tmp_path / "a", reactor, serve=True)) as (a,):
        whole = await ask(reactor, a, b"GET /gwc?hostfile=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Connection: close" in head
        assert parse_answer(body).hosts == (address_of(a),)
        rest = [b"ET", b" /gw", b"c", b"?ping=1 HTTP/1.0\r", b"\n\r\n"]
        assert (await ask(reactor, a, b"G", *rest)).endswith(b"\r\n\r\nPONG PyGnutella 0.1.0\r\n")
        assert (await ask(reactor, a, b"HEAD /gwc?ping=1 HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n")
        assert (await ask(reactor, a, b"GET /gwc?a=1 HTTP/1.1\r\nContent-Length: 4\r\n\r\n")).startswith(
            b"HTTP/1.1 400"
        )
        for path in (b"/gwcx", b"/g", b"/uri-res/N2R?urn:sha1:x"):
            answer = await ask(reactor, a, b"GET " + path[:2], path[2:] + b" HTTP/1.0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 404"), path
        assert (await ask(reactor, a, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert a.router.counters.drops[DropReason.INTERNAL_ERROR] == 0


@async_test()
async def test_a_request_that_never_ends_is_cut_off(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnutella.network.cache_door.TIMEOUT_S", 0.2)
    async with started(node(tmp_path / "a", reactor, serve=True)) as (a,):
        assert await ask(reactor, a, b"GET /gwc?ping=1 HTTP/1.1\r\nX: y") == b""
        assert await ask(reactor, a, b"GET /g") == b""
        assert a.router.counters.drops[DropReason.SLOW] == 2


@async_test()
async def test_without_the_setting_there_is_no_cache(reactor: Any, tmp_path: Path) -> None:
    async with started(node(tmp_path / "a", reactor)) as (a,):
        assert (await ask(reactor, a, b"GET /gwc?ping=1 HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 404")


@pytest.mark.realtool
@async_test(30)
async def test_curl_reads_the_cache_and_may_update_it(reactor: Any, tmp_path: Path) -> None:
    def curl(query: str) -> str:
        command = [tool("curl"), "-sS", "--fail", "--max-time", "10", f"{url_of(a)}?{query}"]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()

    async with started(node(tmp_path / "a", reactor, serve=True)) as (a,):
        assert await deferToThread(curl, "update=1&net=gnutella&ip=127.0.0.1:7001&client=TEST") == "I|update|OK\r\n"
        assert await deferToThread(curl, "ip=192.0.2.1:7001") == "WARNING: tell your own address, from that address\r\n"
        told = await deferToThread(curl, "get=1&net=gnutella&client=TEST&version=1")
        assert [line.split("|")[:2] for line in told.splitlines()] == [
            ["H", str(address_of(a))],
            ["H", "127.0.0.1:7001"],
        ]
        assert a.router.counters.drops[DropReason.BOGUS_UPDATE] == 1


def test_a_url_that_cannot_be_a_caches_is_a_readable_error(tmp_path: Path, reactor: Any) -> None:
    (tmp_path / "gnutella.toml").write_text('[bootstrap]\ngwebcaches = ["http://c.example/?x=1"]\n')
    with pytest.raises(UserError, match=r"line 2: bootstrap.gwebcaches.*no user, query or fragment"):
        prepare(str(tmp_path), None, {}, {}, reactor)
