"""What relaying costs: an ultrapeer, its neighbours, and queries that go from one of them to all others.

    python benchmarks/relay.py                                  # our own node, started here on loopback
    python benchmarks/relay.py --queries 5000000                # is memory flat?
    python benchmarks/relay.py --leaves 100                     # and leaves with files, tables and matching queries
    python benchmarks/relay.py --host H --port P --pid PID      # any other servent

The neighbours are real ones as far as the servent can tell: they shake hands as ultrapeers, uncompressed, answer pings, and
send distinct queries (GUID and words) of equal size.  What comes out at the others is walked frame by frame and compared with
what went in; nothing may be lost.  CPU is user + system time of the servent's process, from /proc.  Without --rate the senders
keep --window queries on the way, which finds the servent's own speed without overrunning it.

Leaves (gnutella/testing/leaf_swarm.py) hold --leaf-files files each and tell their routing tables; half of the queries are two
words of a file that one of them has.  What each leaf got is compared with its files: `leaf_missed` must be 0;
of the pairs of a query and a leaf without such a file, `leaf_false_positives` is the share in which the leaf got it though
it lacks a word, and `leaf_words_apart` that in which it has the words, but in several files, which no table can tell.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gnutella.testing.leaf_swarm import LeafSwarm

HEADER = 23
PING, QUERY = 0x00, 0x80
TEXT = b"relay benchmark %08x %02x"
READ = 1 << 20
#: Chunks sent between two looks at what came; who only sends makes the servent drop.
READ_EVERY = 16


def query(number: int, index: int) -> bytearray:
    """One query: flags, words, NUL; TTL 3 after one hop."""
    payload = b"\xc0\x00" + TEXT % (number, index) + b"\0"
    guid = number.to_bytes(4, "big") + bytes((index,)) + SALT + b"\xff" + SALT + bytes(3) + b"\0"
    return bytearray(guid + bytes((QUERY, 3, 1)) + len(payload).to_bytes(4, "little") + payload)


SALT = os.urandom(3)
SIZE = len(query(0, 0))
_WORDS = HEADER + 2 + TEXT.index(b"%")


class Chunks:
    """Chunks of distinct queries, each made from the one before by writing the columns that hold its number."""

    def __init__(self, size: int, texts: list[bytes] | None = None) -> None:
        self._buffer = bytearray().join(query(0, index) for index in range(size))
        self._size = size
        self._texts = texts
        self.asked: Counter[bytes] = Counter()
        self.made = 0

    def _with_texts(self, texts: list[bytes]) -> bytes:
        """The texts are taken in turn; only the GUIDs number the queries."""
        buffer, size = self._buffer, self._size
        for column, byte in enumerate(self.made.to_bytes(4, "big")):
            buffer[column::SIZE] = bytes((byte,)) * size
        at = self.made * size % len(texts)
        chosen = (texts + texts)[at : at + size]
        for index, text in enumerate(chosen):
            start = index * SIZE + HEADER + 2
            buffer[start : start + len(text)] = text
        self.asked.update(chosen)
        self.made += 1
        return bytes(buffer)

    def next(self) -> bytes:
        if self._texts:
            return self._with_texts(self._texts)
        buffer, number = self._buffer, self.made
        for column, byte in enumerate(number.to_bytes(4, "big")):
            buffer[column::SIZE] = bytes((byte,)) * self._size
        for column, digit in enumerate(b"%08x" % number, _WORDS):
            buffer[column::SIZE] = bytes((digit,)) * self._size
        self.made += 1
        return bytes(buffer)


def checksum_of_chunk(number: int, size: int) -> int:
    """Sum over the chunk of all five numbered bytes of the GUIDs."""
    return size * sum(number.to_bytes(4, "big")) + size * (size - 1) // 2


class Neighbour:
    """One link to the servent.  Counts the queries that come, and sums their numbers."""

    def __init__(self, host: str, port: int, number: int) -> None:
        own = f"127.0.0.{number + 2}" if host.startswith("127.") else ""
        self.socket = socket.create_connection((host, port), 10, (own, 0) if own else None)
        self._shake(own or self.socket.getsockname()[0], number)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._space = memoryview(bytearray(READ + 2 * 65536))
        self._kept = 0
        self.queries = 0
        self.checksum = 0
        self.others = 0
        self.unsent = memoryview(b"")

    def _shake(self, own: str, number: int) -> None:
        guid = os.urandom(16).hex()
        lines = [
            "GNUTELLA CONNECT/0.6", f"Listen-IP: {own}:{7000 + number}", "User-Agent: RelayBenchmark/1.0", "GGEP: 0.5",
            "X-Ultrapeer: True", "X-Query-Routing: 0.1", "X-Ultrapeer-Query-Routing: 0.1", "X-Dynamic-Querying: 0.1",
            "X-Degree: 32", "X-Max-TTL: 4", "Pong-Caching: 0.1", f"GUID: {guid}", "", "",
        ]  # fmt: skip
        self.socket.sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = self.socket.recv(4096)
            if not piece:
                sys.exit(f"the servent closed during the handshake: {answer[:200]!r}")
            answer += piece
        if not re.match(rb"GNUTELLA/0\.6 200 ", answer) or not answer.endswith(b"\r\n\r\n"):
            sys.exit(f"the servent refused: {answer.splitlines()[0]!r}")
        self.socket.sendall(b"GNUTELLA/0.6 200 OK\r\n\r\n")

    def read(self) -> None:
        """Take what is there; walk it frame by frame, runs of queries of our size at once."""
        try:
            count = self.socket.recv_into(self._space[self._kept : self._kept + READ])
        except BlockingIOError:
            return
        if not count:
            sys.exit("the servent closed a link")
        data = bytes(self._space[: self._kept + count])
        at, end = 0, len(data)
        while end - at >= HEADER:
            length = int.from_bytes(data[at + 19 : at + 23], "little")
            if data[at + 16] == QUERY and length == SIZE - HEADER:
                whole = (end - at) // SIZE
                if not whole:
                    break
                stop = at + whole * SIZE
                # The kind and the low byte of the length of each frame, as long as all are queries of our size.
                kinds, lengths = data[at + 16 : stop : SIZE], data[at + 19 : stop : SIZE]
                same = (SIZE - HEADER).to_bytes(1, "little")
                run = min(whole - len(kinds.lstrip(b"\x80")), whole - len(lengths.lstrip(same)))
                stop = at + run * SIZE
                self.checksum += sum(sum(data[at + column : stop : SIZE]) for column in range(5))
                self.queries += run
                at = stop
            elif end - at < HEADER + length:
                break
            else:
                self._other(data[at : at + HEADER + length])
                at += HEADER + length
        self._kept = end - at
        self._space[: self._kept] = data[at:]

    def _other(self, message: bytes) -> None:
        self.others += 1
        if message[16] == PING:
            pong = message[:16] + bytes((0x01, 1, 0)) + (14).to_bytes(4, "little")
            port, host = self.socket.getsockname()[1], socket.inet_aton(self.socket.getsockname()[0])
            self.unsent = memoryview(bytes(self.unsent) + pong + port.to_bytes(2, "little") + host + bytes(8))

    def write(self, data: bytes = b"") -> bool:
        """Send what waits and then `data`; whether all of it went."""
        if data:
            self.unsent = memoryview(bytes(self.unsent) + data)
        while self.unsent:
            try:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            except BlockingIOError:
                return False
        return True


class Process:
    """CPU and memory of the servent."""

    def __init__(self, pid: int) -> None:
        self._directory = Path("/proc") / str(pid)
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")

    def cpu_s(self) -> float:
        fields = (self._directory / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * self._tick_s

    def rss_mib(self) -> float:
        match = re.search(r"VmRSS:\s+(\d+) kB", (self._directory / "status").read_text())
        return int(match[1]) / 1024 if match else 0.0


class Run:
    """One measurement."""

    def __init__(self, options: argparse.Namespace, host: str, port: int, pid: int) -> None:
        self.process = Process(pid)
        self.neighbours = [Neighbour(host, port, number) for number in range(options.neighbours)]
        self.senders = self.neighbours[: options.senders]
        self.chunk: int = options.chunk
        self.chunk_count = -(-options.queries // self.chunk)
        self.total = self.chunk_count * self.chunk
        self.rate: float = options.rate
        self.window: int = options.window
        self.sent_by = dict.fromkeys(self.neighbours, 0)
        self.sums_by = dict.fromkeys(self.neighbours, 0)
        self.sum = 0
        idle_mib = self.process.rss_mib()
        self._epoll = select.epoll()
        self._by_fd = {n.socket.fileno(): n for n in self.neighbours}
        for fd in self._by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        # Neighbours that answered nothing while thousands of leaves link would be taken for dead.
        self.swarm = LeafSwarm(host, port, options.leaves, files=options.leaf_files, meanwhile=lambda: self.poll(0))
        self.swarm.tell_tables()
        self.chunks = Chunks(self.chunk, self.swarm.texts if options.leaves else None)
        for fd in self.swarm.sockets:
            self._epoll.register(fd, select.EPOLLIN)
        self.settle(1.0 + options.leaves / 200)
        self.leaf_kib = (self.process.rss_mib() - idle_mib) * 1024 / max(1, options.leaves)

    def poll(self, timeout_s: float) -> None:
        for fd, _ in self._epoll.poll(timeout_s):
            if fd in self._by_fd:
                self._by_fd[fd].read()
            else:
                self.swarm.read(fd)
        for neighbour in self.neighbours:
            if neighbour.unsent:
                neighbour.write()

    def settle(self, seconds: float) -> None:
        """Let first pings and pongs pass."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            self.poll(rest)

    def expected(self, neighbour: Neighbour) -> int:
        return self.chunks.made * self.chunk - self.sent_by[neighbour]

    def _may_send(self, started: float) -> bool:
        if self.rate:
            return self.chunks.made * self.chunk <= (time.monotonic() - started) * self.rate
        return max(self.expected(n) - n.queries for n in self.neighbours) <= self.window

    def measure(self) -> dict[str, object]:
        self.settle(1.0)
        rss = [self.process.rss_mib()]
        marks = [self.chunk_count * part // 4 for part in (1, 2, 3, 4)]
        cpu, own_cpu, started = self.process.cpu_s(), time.process_time(), time.monotonic()
        last_progress, last_count = started, 0
        while True:
            for _ in range(READ_EVERY):
                if self.chunks.made == self.chunk_count or not self._may_send(started):
                    break
                self._send()
            is_behind = self.chunks.made < self.chunk_count and self._may_send(started)
            self.poll(0 if is_behind else 0.001 if self.chunks.made < self.chunk_count else 0.1)
            count = sum(n.queries for n in self.neighbours) + self.swarm.received
            done = min(
                (self.chunks.made * self.chunk - max(self.expected(n) - n.queries for n in self.neighbours))
                // self.chunk,
                1 << 62,
            )
            while marks and done >= marks[0]:
                marks.pop(0)
                rss.append(self.process.rss_mib())
            now = time.monotonic()
            if count != last_count:
                last_progress, last_count = now, count
            if self.chunks.made == self.chunk_count and all(n.queries >= self.expected(n) for n in self.neighbours):
                self.settle(0.5)  # what is still on its way to leaves
                break
            if now - last_progress > 5.0:
                break  # what has not come by now is lost
        seconds = last_progress - started
        return self._report(seconds, self.process.cpu_s() - cpu, time.process_time() - own_cpu, rss)

    def _send(self) -> None:
        sender = self.senders[self.chunks.made % len(self.senders)]
        if sender.unsent and not sender.write():
            self.poll(0.001)
            return
        number = self.chunks.made
        sender.write(self.chunks.next())
        self.sent_by[sender] += self.chunk
        checksum = checksum_of_chunk(number, self.chunk)
        self.sums_by[sender] += checksum
        self.sum += checksum

    def _report(self, seconds: float, cpu_s: float, own_cpu_s: float, rss: list[float]) -> dict[str, object]:
        expected = sum(self.expected(n) for n in self.neighbours)
        received = sum(n.queries for n in self.neighbours)
        intact = all(n.checksum == self.sum - self.sums_by[n] for n in self.neighbours)
        return {
            **self._report_of_leaves(),
            "neighbours": len(self.neighbours),
            "senders": len(self.senders),
            "query_bytes": SIZE,
            "queries_per_chunk": self.chunk,
            "queries": self.total,
            "forwards": received,
            "lost": expected - received,
            "intact": intact,
            "seconds": round(seconds, 3),
            "queries_per_s": round(self.total / seconds),
            "forwards_per_s": round(received / seconds),
            "cpu_us_per_query": round(cpu_s / self.total * 1e6, 2),
            "cpu_share": round(cpu_s / seconds, 2),
            "rss_mib": [round(value, 1) for value in rss],
            "other_messages": sum(n.others for n in self.neighbours),
            "generator_cpu_share": round(own_cpu_s / seconds, 2),
        }

    def _report_of_leaves(self) -> dict[str, object]:
        swarm = self.swarm
        if not swarm.leaves:
            return {}
        verdict = swarm.verdict(self.chunks.asked)
        return {
            "leaves": len(swarm.leaves),
            "leaf_table_slots": dict(swarm.slots),
            "leaf_deliveries_per_query": round(swarm.received / self.total, 2),
            "leaf_due": verdict.due,
            "leaf_missed": verdict.missed,
            "leaf_false_positives": round(verdict.falsely / max(1, verdict.pairs), 6),
            "leaf_words_apart": round(verdict.in_vain / max(1, verdict.pairs), 6),
            "kib_per_idle_leaf": round(self.leaf_kib, 1),
        }


def start_own_node(directory: str, leaves: int) -> tuple[subprocess.Popen[bytes], int]:
    """A daemon as a user starts it, on a free port, in a directory of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = [
        "--dir",
        directory,
        "--role",
        "ultrapeer",
        "--profile",
        "loopback",
        "--listen",
        f"tcp:{port}:interface=127.0.0.1",
        "--console",
        "off",
    ]
    with Path(directory, "log").open("wb") as log:
        environment = {**os.environ, "GNUTELLA_NETWORK_MAX_LEAVES": str(max(100, leaves))}
        command = [sys.executable, "-m", "twisted", "gnutella", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    for _ in range(200):
        time.sleep(0.05)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
    process.kill()
    sys.exit("our own node did not start: " + Path(directory, "log").read_text()[-2000:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", help="a servent that runs already (with --port and --pid); default: start our own")
    parser.add_argument("--port", type=int)
    parser.add_argument("--pid", type=int, help="its process, for CPU and memory")
    parser.add_argument("--neighbours", type=int, default=8)
    parser.add_argument("--leaves", type=int, default=0, help="leaves with routing tables; 2000 at most")
    parser.add_argument("--leaf-files", type=int, default=10, help="files that each of them has")
    parser.add_argument("--senders", type=int, default=1, help="neighbours that send; each query goes to all others")
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="queries a second; default: as fast as they are relayed"
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=27,
        choices=range(1, 257),
        metavar="N",
        help="queries a write, 1 to 256; 27 fill a segment",
    )
    parser.add_argument("--window", type=int, default=4096, help="queries on the way at once, without --rate")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    if options.host and not (options.port and options.pid):
        parser.error("--host needs --port and --pid")
    if options.host:
        result = Run(options, options.host, options.port, options.pid).measure()
    else:
        with tempfile.TemporaryDirectory(prefix="relay-") as directory:
            node, port = start_own_node(directory, options.leaves)
            try:
                result = Run(options, "127.0.0.1", port, node.pid).measure()
            finally:
                node.terminate()
                node.wait(10)
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:20} {value}")
    return 0 if result["lost"] == 0 and result["intact"] else 1


if __name__ == "__main__":
    sys.exit(main())
