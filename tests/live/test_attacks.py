"""Whatever anybody sends to any port of a running daemon: refused, counted by reason, no fault in the log, bounded memory.

Each attack is bounded to a second or two; benchmarks/fuzz.py is for the long ones.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gnutella.network.demux import MAX_HALF_OPEN
from gnutella.protocol.message import BYE, HitRecord, Ping, Pong, Push, Query, QueryHit, encode
from gnutella.protocol.urn import sha1_urn
from gnutella.testing.machine import needs_root
from gnutella.units import Address
from tests.live.attacker import SHORT, Peer, counted, guid, message, said_to
from tests.live.daemon import PATIENCE_S, Daemon, refused, wait_until

pytestmark = pytest.mark.live

#: What a whole module of attacks may leave in memory: caches that fill up to their bounds.
MAX_GROWTH_KIB = 96 * 1024


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    base = tmp_path_factory.mktemp("attacks")
    (base / "music").mkdir()
    (base / "music" / "purple.ogg").write_bytes(b"p" * 5000)
    (base / "secret.txt").write_text("secret of the victim")
    with Daemon(base / "node", "--share", str(base / "music"), environ=SHORT) as node:
        wait_until(lambda: node.status()["shared"]["files"] == 1, "the file is hashed")
        before = node.memory_kib()
        yield node
        assert node.memory_kib() - before < MAX_GROWTH_KIB
        assert node.stop() < 1
        assert node.faults() == []


# -- bytes on the ports ------------------------------------------------------------------------------------------------------


def test_noise_on_every_port(victim: Daemon) -> None:
    rng = random.Random(7)
    with counted(victim, "garbage"):
        for size in (1, 5, 100, 3000, 70_000):
            said_to(victim.address, rng.randbytes(size))
        for data in (b"\0" * 1000, b"\xff" * 1000, b"GNUTELLA FOO", b"SSH-2.0-x\r\n"):
            assert said_to(victim.address, data) == b""
    with counted(victim):
        sizes = (1, 100, 70_000)
        noise = [rng.randbytes(size) + b"\n" * 5 for size in sizes]
        with ThreadPoolExecutor() as pool:
            # A console that is silent stays open: the waits are at the same time.
            list(pool.map(said_to, [victim.console] * len(noise), noise))
        for size in sizes:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(victim.directory / "control.sock"))
                line.settimeout(PATIENCE_S)
                try:
                    line.sendall(rng.randbytes(size) + b"\nmode machine\nstatus\n")
                    line.shutdown(socket.SHUT_WR)
                    while line.recv(65536):
                        pass
                except ConnectionError:
                    pass


def test_every_known_beginning_followed_by_noise(victim: Daemon) -> None:
    rng = random.Random(8)
    heads = (
        b"GNUTELLA CONNECT/0.6\r\n",
        b"GNUTELLA CONNECT/",
        b"GET / HTTP/1.1\r\n",
        b"GIV ",
        b"\x16\x03\x01",
        b"HEAD ",
    )
    with counted(victim, "head_broken"):
        for head in heads:
            for size in (10, 2000):
                said_to(victim.address, head + rng.randbytes(size) + b"\r\n\r\n")


def test_slow_beginnings_are_cut_off(victim: Daemon) -> None:
    begun = (b"", b"G", b"GNUTELLA CONNECT/0.6\r\nUser-", b"GET /uri-res/N2R?", b"GIV 1:", b"\x16\x03\x01")
    with counted(victim, "slow"), ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(victim.address, PATIENCE_S)) for _ in begun]
        for line, data in zip(lines, begun, strict=True):
            line.sendall(data)
        for line in lines:
            line.settimeout(PATIENCE_S)
            try:
                while line.recv(4096):
                    pass
            except ConnectionError:
                pass


def test_floods_of_headers_are_cut_off(victim: Daemon) -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(5000)) + b"\r\n"
    long = b"X-Long: " + b"y" * 200_000 + b"\r\n\r\n"
    with counted(victim, "head_too_large"):
        for flood in (many, long):
            said_to(victim.address, b"GET / HTTP/1.1\r\n" + flood)
            said_to(victim.address, b"GNUTELLA CONNECT/0.6\r\n" + flood)


def test_too_many_connections_are_turned_away_and_the_port_opens_again(tmp_path: Path) -> None:
    with Daemon(tmp_path / "node") as node:
        address = node.address
        with counted(node, "port_full"), ExitStack() as stack:
            for _ in range(MAX_HALF_OPEN + 10):
                stack.enter_context(socket.create_connection(address, PATIENCE_S))
            wait_until(lambda: node.dropped().get("port_full"), "some are turned away")
        with Peer(node):
            pass
        assert node.stop() < 1


# -- HTTP --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/get/1/../../secret.txt",
        "/get/1/..%2f..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/get/1//etc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1/../secret.txt",
        "/get/-1/purple.ogg",
        "/get/99999999999999999999/purple.ogg",
        "/get/1/" + "a" * 3000,
        "/uri-res/N2R?urn:sha1:" + "../" * 10,
        "/uri-res/N2R?" + "urn:sha1:" * 300,
        "/get/1/%00",
        "/get/1/%",
        "*",
    ],
)
def test_no_target_leads_out_of_what_is_shared(victim: Daemon, target: str) -> None:
    with counted(victim):
        answer = said_to(victim.address, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert b"secret of" not in answer and b"root:" not in answer


def test_requests_that_ask_for_the_impossible(victim: Daemon) -> None:
    (row,) = victim.rows("share list")
    path = f"/uri-res/N2R?{row['urn']}"
    with counted(victim, "range", "method", "not_shared"):
        for ranges in ("bytes=9999-", "bytes=5-1", "bytes=-0", "bytes=99999999999999999999999-"):
            answer = said_to(
                victim.address, f"GET {path} HTTP/1.1\r\nRange: {ranges}\r\nConnection: close\r\n\r\n".encode()
            )
            assert answer[9:12] in (b"416", b"200", b"400"), answer[:100]
        for method in ("POST", "DELETE", "OPTIONS", "TRACE"):
            answer = said_to(victim.address, f"{method} {path} HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n".encode())
            assert answer[9:12] in (b"501", b"405"), answer[:100]
        nobody = sha1_urn(b"n" * 20)
        assert b" 404 " in said_to(victim.address, f"GET /uri-res/N2R?{nobody} HTTP/1.0\r\n\r\n".encode())


def test_a_thousand_requests_at_once_on_one_connection(victim: Daemon) -> None:
    with counted(victim):
        said_to(victim.address, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)


# -- links -------------------------------------------------------------------------------------------------------------------


def test_a_length_beyond_all_bounds_closes_the_link_with_a_bye(victim: Daemon) -> None:
    with Peer(victim) as peer, counted(victim, "message_too_large"):
        peer.send(guid(1) + b"\x80\x04\x00" + b"\xff\xff\xff\x7f")
        assert peer.end() == 400


def test_the_largest_messages_are_dropped_and_bounded(victim: Daemon) -> None:
    with Peer(victim) as peer, counted(victim, "query_too_long"):
        for number in range(30):
            payload = b"\x80\0" + b"a" * 65_000 + b"\0"
            peer.send(guid(100 + number) + b"\x80\x03\x00" + len(payload).to_bytes(4, "little") + payload)
        for number in range(30):
            payload = random.Random(number).randbytes(65_000)
            peer.send(guid(200 + number) + b"\x81\x03\x00" + len(payload).to_bytes(4, "little") + payload)


def test_noise_as_messages_ends_the_link(victim: Daemon) -> None:
    rng = random.Random(9)
    with Peer(victim) as peer, counted(victim, "too_many_bad"):
        for number in range(200):
            payload = rng.randbytes(rng.randrange(300))
            kind = rng.choice(b"\x00\x01\x02\x30\x31\x32\x40\x80\x81\xcd\x77")
            if kind != BYE:
                peer.send(guid(300 + number) + bytes([kind, 3, 1]) + len(payload).to_bytes(4, "little") + payload)
        assert peer.end() in (0, 501)


def test_a_deflate_bomb_and_a_broken_stream_end_the_link(victim: Daemon) -> None:
    encoding = ("Accept-Encoding: deflate", "Content-Encoding: deflate")
    with Peer(victim, *encoding) as peer, counted(victim, "deflate_bomb"):
        hit = b"\x81\x03\x00" + (65_000).to_bytes(4, "little") + b"\1" * 65_000
        peer.send(zlib.compress(b"".join(guid(number) + hit for number in range(200)), 9))
        peer.is_ended()
    with Peer(victim, *encoding) as peer, counted(victim, "deflate_broken"):
        peer.send(zlib.compress(message(2, 3, 1, Ping()))[:8] + random.Random(1).randbytes(500))
        peer.is_ended()


def test_floods_of_duplicates_end_the_link(victim: Daemon) -> None:
    with Peer(victim) as peer, counted(victim, "duplicate", "too_many_duplicates"):
        peer.send(message(400, 3, 1, Query("again and again")) * 500)
        assert peer.end() == 401


def test_wrong_ttls_are_counted_and_too_many_end_the_link(victim: Daemon) -> None:
    with Peer(victim) as peer, counted(victim, "ttl_zero", "too_many_ttl"):
        peer.send(message(500, 0, 1, Query("nothing left")))
        for number in range(50):
            peer.send(message(501 + number, 200, 100, Query("forever")))
        assert peer.end() == 403


def test_hits_and_pongs_that_nobody_asked_for(victim: Daemon) -> None:
    record = HitRecord(1, 100, "unasked.ogg", b"u" * 20)
    with Peer(victim) as peer, counted(victim, "unrequested_hit", "no_route"):
        peer.send(message(599, 3, 1, Query("answers itself")))
        peer.send(message(599, 3, 1, QueryHit(Address("10.0.0.1", 6346), 1, (record,), b"EVIL", guid(1))))
        for number in range(50):
            hit = QueryHit(Address("10.0.0.1", 6346), 1, (record,), b"EVIL", guid(number))
            peer.send(message(600 + number, 3, 1, hit))
        for number in range(50):
            peer.send(message(700 + number, 3, 1, Pong(Address("10.0.0.2", 6346), 1, 1)))
            peer.send(message(800 + number, 3, 1, Pong(Address("0.0.0.0", 0), 2**32 - 1, 2**32 - 1)))
            peer.send(message(900 + number, 3, 1, Push(guid(number), 1, Address("127.0.0.1", 1))))
    assert {"unrequested_pong", "bogus_pong"} & victim.dropped().keys()


# -- names -------------------------------------------------------------------------------------------------------------------

TRICKS = [
    "../../../escaped.txt",
    "..\\..\\escaped.txt",
    "/etc/cron.d/escaped",
    "C:\\escaped.txt",
    ".bashrc",
    "a\x1b[2Jb",
    "..",
    "-rf",
    "con",
]


class Giver:
    """An HTTP server on a thread that gives one content to whoever asks for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with line:
                if b"N2X" in line.recv(4096):
                    line.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    continue
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._content)}\r\nConnection: close\r\n\r\n"
                line.sendall(head.encode() + self._content)

    def close(self) -> None:
        self._server.close()


@pytest.mark.parametrize("name", TRICKS)
def test_a_hit_with_a_tricky_name_lands_inside_incoming_or_nowhere(victim: Daemon, name: str) -> None:
    content = f"content of {name}".encode()
    sha1 = hashlib.sha1(content).digest()
    giver = Giver(content)
    outside = {path for path in victim.directory.parent.rglob("*") if "incoming" not in path.parts}
    with counted(victim), Peer(victim) as peer, socket.socket(socket.AF_UNIX) as line:
        line.connect(str(victim.directory / "control.sock"))
        line.sendall(b"mode machine\nsearch tricky --wait 20 --limit 1\n")
        asked = peer.queries()[0]
        evil = HitRecord(1, len(content), "PLACE", sha1)
        hit = encode(asked, 3, 0, QueryHit(Address("127.0.0.1", giver.port), 1, (evil,), b"EVIL", guid(1)))
        raw = hit.replace(b"PLACE", name.encode())
        grown = len(raw) - 23
        before = victim.dropped().get("bogus_hit", 0)
        peer.send(raw[:19] + grown.to_bytes(4, "little") + raw[23:])
        wait_until(lambda: b"250-" in _peek(line) or victim.dropped().get("bogus_hit", 0) > before, "hit or refusal")
        if victim.dropped().get("bogus_hit", 0) == before:
            rows = victim.rows("get 1 --wait 20")
            assert rows[-1]["state"] == "done", rows[-1]
            landed = Path(rows[-1]["path"])
            assert landed.parent == victim.directory / "incoming"
            assert landed.read_bytes() == content and not landed.name.startswith((".", "-"))
            assert landed.name.isprintable() and "\\" not in landed.name
            victim.rows(f"cancel {rows[-1]['id']}")
    giver.close()
    now = {path for path in victim.directory.parent.rglob("*") if "incoming" not in path.parts}
    assert {path for path in now - outside if "escaped" in path.name} == set()


def _peek(line: socket.socket) -> bytes:
    line.settimeout(0.05)
    try:
        return line.recv(65536, socket.MSG_PEEK)
    except TimeoutError:
        return b""


# -- consoles ----------------------------------------------------------------------------------------------------------------


def test_a_console_line_without_an_end_is_cut_off(victim: Daemon) -> None:
    with counted(victim, "line_too_long"):
        said_to(victim.console, b"x" * 2_000_000)


def test_guessed_tokens_are_counted_and_slowed_down(victim: Daemon) -> None:
    with counted(victim, "bad_token", "token_rate"):
        for _ in range(5):
            assert b"servent id" not in said_to(victim.console, b"guess\n" * 3 + b"status\n")


def test_many_consoles_and_a_command_flood(victim: Daemon) -> None:
    with counted(victim):
        with ExitStack() as stack:
            for _ in range(100):
                line = stack.enter_context(socket.socket(socket.AF_UNIX))
                line.settimeout(1.0)
                try:
                    line.connect(str(victim.directory / "control.sock"))
                    line.sendall(b"status\n" * 500)
                except OSError:
                    continue
        wait_until(victim.is_ready, "it answers again")


# -- disks -------------------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of its own at `place`; root only."""
    place.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True
    ).returncode:
        pytest.skip("cannot mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def giver_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    base = tmp_path_factory.mktemp("giving")
    (base / "music").mkdir()
    (base / "music" / "large.bin").write_bytes(random.Random(3).randbytes(6_000_000))
    with Daemon(base / "giver", "--share", str(base / "music")) as node:
        wait_until(lambda: node.status()["shared"]["files"] == 1, "the file is hashed")
        yield node


@needs_root
@pytest.mark.parametrize("where", ["node/incomplete", "node"])
def test_a_full_disk_stops_a_download_with_a_reason_and_it_goes_on_later(
    tmp_path: Path, giver_node: Daemon, where: str
) -> None:
    with small_disk(tmp_path / where, "8m"), Daemon(tmp_path / "node", "--connect", giver_node.peer) as node:
        filler = tmp_path / where / "filler"
        filler.write_bytes(b"f" * 4_000_000)
        wait_until(lambda: node.rows("peers"), "the link is open")
        (hit,) = node.rows("search large --limit 1 --wait 20")
        (row,) = node.rows("get 1")
        wait_until(lambda: node.rows("downloads")[0]["state"] in ("failed", "paused"), "it is stopped")
        failed = node.rows("downloads")[0]
        assert "disk full" in failed["error"], failed
        assert node.is_alive and node.is_ready()
        filler.unlink()
        node.rows(f"resume {row['id']}")
        wait_until(lambda: node.rows("downloads")[0]["state"] == "done", "it is done")
        done = Path(node.rows("downloads")[0]["path"])
        assert sha1_urn(hashlib.sha1(done.read_bytes()).digest()) == hit["urn"]
        assert node.stop() < 1
        assert node.faults() == []


@needs_root
def test_a_disk_without_any_room_is_one_readable_error_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "node", "64k"):
        (tmp_path / "node" / "filler").write_bytes(b"f" * 60_000)
        listen = ("--listen", "tcp:0:interface=127.0.0.1", "--console", "off")
        code, lines = refused("--dir", str(tmp_path / "node"), *listen)
        assert code in (73, 77), lines
        assert len(lines) == 1


def test_shares_that_cannot_be_read_or_go_away(tmp_path: Path) -> None:
    for name in ("gone", "locked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.txt").write_text(name)
    (tmp_path / "locked" / "file.txt").chmod(0)
    (tmp_path / "locked" / "loop").symlink_to(tmp_path / "locked")
    (tmp_path / "locked" / "out.txt").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "locked" / "pipe")
    shares = ("--share", str(tmp_path / "gone"), "--share", str(tmp_path / "locked"))
    with Daemon(tmp_path / "node", *shares) as node:
        wait_until(lambda: any(row["name"] == "file.txt" for row in node.rows("share list")), "it is hashed")
        names = {row["path"] for row in node.rows("share list")}
        assert str(tmp_path / "gone" / "file.txt") in names
        assert not {path for path in names if path.endswith(("passwd", "out.txt", "pipe"))}
        (tmp_path / "gone" / "file.txt").unlink()
        (tmp_path / "gone").rmdir()
        node.rows("share rescan")
        wait_until(lambda: all("gone" not in row["path"] for row in node.rows("share list")), "it is gone")
        assert node.is_ready()
        assert node.stop() < 1
        assert node.faults() == []


def test_a_state_file_that_breaks_while_the_node_runs(tmp_path: Path) -> None:
    with Daemon(tmp_path / "node") as node:
        for name in ("state.db", "state.db-wal"):
            (tmp_path / "node" / name).write_bytes(b"garbage" * 5000)
        reply = node.ask("get urn:sha1:" + "A" * 32, "config set network.max_links 3", "status")
        assert reply[-1].startswith("250")
        assert all(line[:3] in ("250", "573") for line in reply), reply
        assert node.stop() < 1
        assert node.faults() == []
