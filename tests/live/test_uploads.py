"""The upload server over real sockets: raw requests byte for byte, curl as a client, slots, time-outs, changed files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from gnutella.network import exchange, sending
from gnutella.network.tls import PeerTls
from gnutella.protocol import thex
from gnutella.protocol.http import HeadReader, ResponseHead, read_response
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.sharing.hashing import FileHash, hash_bytes
from gnutella.testing.aio import async_test, until
from gnutella.testing.machine import tool
from gnutella.testing.transfer_node import TransferNode

pytestmark = pytest.mark.live

NAME = 'a "b" <c>é.bin'
DATA = bytes(range(256)) * 2048


class Client(Protocol):
    """A raw connection."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True


class Server:
    """A node with one shared file, and ways to ask it."""

    def __init__(self, reactor: Any, node: TransferNode, path: Path, found: FileHash) -> None:
        self.reactor, self.node, self.path, self.found = reactor, node, path, found
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        address = self.node.address
        client = Client()
        await connectProtocol(TCP4ClientEndpoint(self.reactor, address.host, address.port), client)
        self.clients.append(client)
        return client

    async def ask(self, request: str, client: Client | None = None, *, body: bool = True) -> tuple[ResponseHead, bytes]:
        client = client or await self.connect()
        client.data = b""
        client.transport.write(request.encode("latin-1"))
        await until(self.reactor, lambda: b"\r\n\r\n" in client.data or client.is_closed)
        head = HeadReader().feed(client.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert head is not None
        response = read_response(head)
        size = (response.length or 0) if body else 0
        await until(self.reactor, lambda: len(client.data.partition(b"\r\n\r\n")[2]) >= size or client.is_closed)
        return response, client.data.partition(b"\r\n\r\n")[2]

    @property
    def urn(self) -> str:
        return f"/uri-res/N2R?{sha1_urn(self.found.sha1)}"


@asynccontextmanager
async def serving(reactor: Any, directory: Path, settings: TransferSettings | None = None) -> AsyncIterator[Server]:
    node = TransferNode(reactor, directory / "node", settings)
    await node.start()
    path = directory / "shared.bin"
    path.write_bytes(DATA)
    server = Server(reactor, node, path, await node.share(path, NAME))
    try:
        yield server
    finally:
        for client in server.clients:
            client.transport.abortConnection()
        await until(reactor, lambda: all(client.is_closed for client in server.clients))
        await node.stop()


@async_test()
async def test_a_whole_file_by_urn_with_all_its_headers(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        response, body = await server.ask(f"GET {server.urn} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (response.status, body, response.keeps_alive) == (200, DATA, True)
        headers = response.headers
        assert headers.get("content-type") == "application/octet-stream"
        assert sha1_urn(server.found.sha1) in str(headers.get("x-gnutella-content-urn"))
        assert str(headers.get("x-thex-uri")).endswith(f";{b32encode(server.found.tth)}")
        assert headers.get("x-features") and headers.get("server") == "TransferNode/0.1"
        assert "filename*=UTF-8''a%20%22b%22%20%3Cc%3E%C3%A9.bin" in str(headers.get("content-disposition"))


@async_test()
async def test_ranges_index_form_head_and_bitprint(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        by_name = "/get/1/a%20%22b%22%20%3Cc%3E%C3%A9.bin"
        client = await server.connect()
        for target, field, status, span in (
            (server.urn, "bytes=5-9", 206, (5, 10)),
            (by_name, "bytes=-3", 206, (len(DATA) - 3, len(DATA))),
            (by_name, f"bytes={len(DATA) - 1}-", 206, (len(DATA) - 1, len(DATA))),
            (
                f"/uri-res/N2R?urn:bitprint:{server.urn[-32:]}.{b32encode(server.found.tth)}",
                "bytes=0-",
                200,
                (0, len(DATA)),
            ),
        ):
            response, body = await server.ask(f"GET {target} HTTP/1.1\r\nRange: {field}\r\n\r\n", client)
            assert (response.status, body) == (status, DATA[slice(*span)])
        response, body = await server.ask(f"HEAD {by_name} HTTP/1.1\r\n\r\n", client, body=False)
        assert (response.status, response.length, body) == (200, len(DATA), b"")


@pytest.mark.parametrize(
    ("request_line", "status", "reason"),
    [
        ("GET /get/1/other.bin HTTP/1.1", 404, DropReason.NOT_SHARED),
        ("GET /get/2/x HTTP/1.1", 404, DropReason.NOT_SHARED),
        ("GET /get/1/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1", 404, DropReason.NOT_SHARED),
        (f"GET /uri-res/N2R?{sha1_urn(bytes(20))} HTTP/1.1", 404, DropReason.NOT_SHARED),
        ("GET /<script>alert(1)</script> HTTP/1.1", 404, DropReason.NOT_HERE),
        ("GET /etc/passwd HTTP/1.1", 404, DropReason.NOT_HERE),
        ("POST / HTTP/1.1", 501, DropReason.METHOD),
        ("GET / HTTP/9.9", 400, DropReason.REQUEST_BROKEN),
        ("GET / HTTP/1.1\r\nContent-Length: 5", 400, DropReason.REQUEST_BROKEN),
        ("GET /" + "a" * 5000 + " HTTP/1.1", 413, DropReason.HEAD_TOO_LARGE),
    ],
)
@async_test()
async def test_refusals_are_fixed_text_and_counted(
    reactor: Any, tmp_path: Path, request_line: str, status: int, reason: DropReason
) -> None:
    async with serving(reactor, tmp_path) as server:
        response, body = await server.ask(f"{request_line}\r\n\r\n")
        assert (response.status, body) == (status, f"{reason.meaning}\n".encode())
        assert server.node.drops[reason] == 1
        assert response.headers.get("content-type") == "text/plain; charset=utf-8"


@async_test()
async def test_a_range_beyond_the_file_and_several_ranges_are_416(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        for field in (f"bytes={len(DATA)}-", "bytes=0-1,3-4"):
            response, _ = await server.ask(f"GET {server.urn} HTTP/1.1\r\nRange: {field}\r\n\r\n")
            assert response.status == 416
            assert response.headers.get("content-range") == f"bytes */{len(DATA)}"


@async_test()
async def test_a_hundred_pipelined_requests_are_answered_in_order(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        client = await server.connect()
        asked = [f"GET {server.urn} HTTP/1.1\r\nRange: bytes={n * 7}-{n * 7 + 99}\r\n\r\n" for n in range(100)]
        client.transport.write("".join(asked).encode())
        await until(reactor, lambda: client.data.count(b"HTTP/1.1 206") == 100 and client.data.endswith(DATA[693:793]))
        reader, bodies, rest = HeadReader(), [], client.data
        while rest:
            head = reader.feed(rest)
            assert head is not None
            bodies.append(head.surplus[:100])
            rest = head.surplus[100:]
        assert bodies == [DATA[n * 7 : n * 7 + 100] for n in range(100)]


@async_test()
async def test_the_tree_is_served_and_leads_to_its_root(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        response, body = await server.ask(f"GET /uri-res/N2X?{sha1_urn(server.found.sha1)} HTTP/1.1\r\n\r\n")
        assert (response.status, response.headers.get("content-type")) == (200, "application/dime")
        assert thex.parse(body, server.found.tth, len(DATA)).nodes == hash_bytes(DATA).tree
        await server.node.store.run(lambda db: db.execute("DELETE FROM hash_cache"))
        response, _ = await server.ask(f"GET /uri-res/N2X?{sha1_urn(server.found.sha1)} HTTP/1.1\r\n\r\n")
        assert response.status == 404 and server.node.drops[DropReason.TREE_UNKNOWN] == 1


@async_test()
async def test_a_file_changed_on_disk_is_not_served(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        client = await server.connect()
        response, _ = await server.ask(f"GET {server.urn} HTTP/1.1\r\n\r\n", client)
        assert response.status == 200
        os.utime(server.path, ns=(1, 1))
        response, _ = await server.ask(f"GET {server.urn} HTTP/1.1\r\n\r\n", client)
        assert response.status == 503 and response.headers.get("retry-after")
        server.path.unlink()
        response, _ = await server.ask(f"GET {server.urn} HTTP/1.1\r\n\r\n")
        assert response.status == 503 and server.node.drops[DropReason.FILE_CHANGED] == 2


@async_test()
async def test_a_file_cut_while_it_is_sent_breaks_the_connection(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path, TransferSettings(upload_kib_s=256)) as server:
        client = await server.connect()
        client.transport.write(f"GET {server.urn} HTTP/1.1\r\n\r\n".encode())
        await until(reactor, lambda: len(client.data) > 1000)
        os.truncate(server.path, 1000)
        await until(reactor, lambda: client.is_closed)
        assert server.node.drops[DropReason.FILE_CHANGED] == 1
        assert len(client.data.partition(b"\r\n\r\n")[2]) < len(DATA)


@async_test()
async def test_slots_in_total_and_for_each_host_are_503_with_a_time(reactor: Any, tmp_path: Path) -> None:
    settings = TransferSettings(max_uploads=3, max_uploads_per_host=1, upload_kib_s=64)
    async with serving(reactor, tmp_path, settings) as server:
        first = await server.connect()
        first.transport.write(f"GET {server.urn} HTTP/1.1\r\n\r\n".encode())
        await until(reactor, lambda: len(server.node.transfers.uploads()) == 1)
        response, _ = await server.ask(f"GET {server.urn} HTTP/1.1\r\n\r\n")
        assert response.status == 503 and response.headers.get("retry-after") == "60"
        assert server.node.drops[DropReason.UPLOAD_PER_HOST] == 1
        server.node.transfers.apply(TransferSettings(max_uploads=1, max_uploads_per_host=9, upload_kib_s=64))
        response, _ = await server.ask(f"GET {server.urn} HTTP/1.1\r\n\r\n")
        assert response.status == 503 and server.node.drops[DropReason.UPLOAD_SLOTS] == 1
        row = server.node.transfers.uploads()[0]
        assert row["sent"] == row["downloaded"] and 0 < int(str(row["sent"])) < int(str(row["size"]))
        assert (row["state"], row["name"], row["size"]) == ("transferring", NAME, len(DATA))
        first.transport.abortConnection()
        await until(reactor, lambda: not server.node.transfers.uploads())
        response, _ = await server.ask(f"HEAD {server.urn} HTTP/1.1\r\n\r\n", body=False)
        assert response.status == 200


@async_test()
async def test_a_request_that_does_not_end_and_an_idle_connection_are_closed(reactor: Any, tmp_path: Path) -> None:
    settings = TransferSettings(request_timeout_s=0.5, idle_timeout_s=0.5)
    async with serving(reactor, tmp_path, settings) as server:
        slow, idle = await server.connect(), await server.connect()
        slow.transport.write(b"GET / HT")
        idle.transport.write(b"HEAD / HTTP/1.1\r\n\r\n")
        await until(reactor, lambda: slow.is_closed and idle.is_closed)
        assert slow.data.startswith(b"HTTP/1.1 408") and idle.data.startswith(b"HTTP/1.1 200")
        assert server.node.drops[DropReason.SLOW] == 1 and server.node.drops[DropReason.HTTP_IDLE] == 1


@async_test()
async def test_a_peer_that_does_not_read_is_given_up(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path, TransferSettings(idle_timeout_s=0.5)) as server:
        client = await server.connect()
        client.transport.pauseProducing()
        for _ in range(40):
            client.transport.write(f"GET {server.urn} HTTP/1.1\r\n\r\n".encode())
        await until(reactor, lambda: server.node.drops[DropReason.UPLOAD_STALLED] == 1)
        await until(reactor, lambda: not server.node.transfers.exchange.connections)
        assert server.node.transfers.exchange.slots.taken == 0
        client.transport.resumeProducing()


@async_test()
async def test_a_rate_limit_is_kept(reactor: Any, tmp_path: Path) -> None:
    """By the bucket's own arithmetic: never more than burst + rate * time can have been sent."""
    async with serving(reactor, tmp_path, TransferSettings(upload_kib_s=256)) as server:
        begin = reactor.seconds()
        client = await server.connect()
        client.transport.write(f"GET {server.urn} HTTP/1.1\r\n\r\n".encode())
        await until(reactor, lambda: len(client.data) > 200_000)
        sent = server.node.transfers.exchange.bytes_sent
        assert sent <= 256 * 1024 * (reactor.seconds() - begin + 0.25) + sending.MIN_GRANT


@async_test()
async def test_browsers_get_a_greeting_and_browse_host_is_chunked(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        response, body = await server.ask("GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n")
        assert (response.status, body) == (200, exchange.GREETING)
        response, _ = await server.ask("GET / HTTP/1.1\r\nAccept: application/x-gnutella-packets\r\n\r\n")
        assert response.status == 404
        server.node.transfers.exchange.browse = lambda: [b"one", b"two"]
        response, _ = await server.ask("GET / HTTP/1.1\r\nAccept: application/x-gnutella-packets\r\n\r\n")
        assert response.is_chunked
        await until(reactor, lambda: server.clients[-1].data.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"))
        old = await server.connect()
        old.transport.write(b"GET / HTTP/1.0\r\nAccept: application/x-gnutella-packets\r\n\r\n")
        await until(reactor, lambda: old.is_closed)
        assert old.data.endswith(b"\r\n\r\nonetwo")


@pytest.mark.realtool
@async_test(timeout_s=30)
async def test_curl_fetches_resumes_and_saves_under_the_real_name(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        url = f"http://{server.node.address}{server.urn}"
        target = tmp_path / "got"
        target.write_bytes(DATA[:1000])

        def curl(*options: str) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                [tool("curl"), "-sS", "--max-time", "20", *options], capture_output=True, cwd=tmp_path, check=True
            )

        resumed: Deferred[object] = deferToThread(curl, "-C", "-", "-o", str(target), url)
        await resumed
        assert target.read_bytes() == DATA
        twice: Any = await deferToThread(curl, "-w", "%{num_connects} ", "-o", "one", url, "-o", "two", url)
        assert twice.stdout == b"1 0 "
        assert (tmp_path / "two").read_bytes() == DATA


@async_test()
async def test_a_half_close_ends_the_connection_after_every_answer(reactor: Any, tmp_path: Path) -> None:
    """Requests in one write and the end at once: the file, the refusal and the tree all arrive; what is half said does not."""
    async with serving(reactor, tmp_path) as server:
        tree = f"/uri-res/N2X?{sha1_urn(server.found.sha1)}"
        whole = "".join(f"GET {target} HTTP/1.1\r\n\r\n" for target in (server.urn, "/get/7/none", tree))
        for half_said in ("", "GET /get/1/"):
            client = await server.connect()
            client.transport.write((whole + half_said).encode())
            client.transport.loseWriteConnection()
            await until(reactor, lambda client=client: client.is_closed)  # type: ignore[misc]
            assert [client.data.count(line) for line in (b"HTTP/1.1 200", b"HTTP/1.1 404")] == [2, 1]
            assert DATA in client.data and client.data.count(b"HTTP/1.1 ") == 3
        await until(reactor, lambda: not server.node.transfers.exchange.connections)


@async_test()
async def test_a_half_close_before_a_whole_request_closes(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        for said in ("GE", f"GET {server.urn} HTTP/1.1\r\n", f"GET {server.urn} HTTP/1.1\r\nRange: byt"):
            client = await server.connect()
            client.transport.write(said.encode())
            await until(reactor, lambda: server.node.peer_port.connections == 1)
            client.transport.loseWriteConnection()
            await until(reactor, lambda client=client: client.is_closed)  # type: ignore[misc]
            assert client.data == b""


@pytest.mark.realtool
@async_test()
async def test_nc_that_closes_its_half_gets_the_whole_file(reactor: Any, tmp_path: Path) -> None:
    async with serving(reactor, tmp_path) as server:
        address = server.node.address
        request = f"GET {server.urn} HTTP/1.1\r\n\r\n".encode()

        def ask() -> bytes:
            command = [tool("nc"), "-N", address.host, str(address.port)]
            return subprocess.run(command, input=request, capture_output=True, timeout=20, check=True).stdout

        answer = await deferToThread(ask)
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(DATA)


@async_test()
async def test_over_tls_the_same_bytes_come_in_blocks(reactor: Any, tmp_path: Path) -> None:
    """sendfile would put plain bytes into an encrypted connection; there, blocks are read and written."""
    async with serving(reactor, tmp_path) as server:
        tls = PeerTls(tmp_path / "tls")

        class Encrypted(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.startTLS(tls.server)
                self.inner = server.node.transfers.exchange.protocol("192.0.2.1")
                self.inner.makeConnection(self.transport)  # type: ignore[no-untyped-call]

            def dataReceived(self, data: bytes) -> None:
                self.inner.dataReceived(data)

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                self.inner.connectionLost(reason)

        port = reactor.listenTCP(0, Factory.forProtocol(Encrypted), interface="127.0.0.1")
        client = Client()
        server.clients.append(client)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await connectProtocol(endpoint, client)
        client.transport.startTLS(tls.client)
        for _ in range(2):
            response, body = await server.ask(f"GET {server.urn} HTTP/1.1\r\n\r\n", client)
            assert (response.status, body) == (200, DATA)
        await port.stopListening()
