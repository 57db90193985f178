"""Many leaves on real sockets, each with files and the routing table made of them; for benchmarks and tests of an ultrapeer.

    swarm = LeafSwarm("127.0.0.1", port, count=100, seed=1)
    swarm.texts                  # queries worth asking; swarm.matching(text) are the leaves that have such a file
    swarm.read(fd)               # when a socket of swarm.sockets is readable
    swarm.verdict(asked)         # what was missed, and what came in vain, after `asked[text]` queries of each text

No reactor: the sockets are the caller's to poll.  Words are of one length, so that all queries are of one size.
"""

from __future__ import annotations

import os
import re
import select
import socket
import string
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from gnutella.protocol import qrp
from gnutella.protocol.frames import frames
from gnutella.protocol.kinds import PING, QUERY
from gnutella.protocol.message import encode
from gnutella.units import Guid

#: Letters of each word.
LETTERS = 13
#: Words that there are for each leaf, and how much flatter than Zipf's law they are spread: a query matches as many leaves of
#: many as of few.
WORDS_A_LEAF, FLATTER = 30, 0.1
WORDS_A_FILE = 4
#: Leaves that are linked, or tell their tables, between two looks at what came for all.
HEAR_EVERY = 50
#: Different texts that `texts` holds.
TEXTS = 2048
_GUID = Guid(b"\x01" * 8 + b"\xff" + b"\x01" * 6 + b"\0")


@dataclass(eq=False, slots=True)
class Leaf:
    """One leaf: its files as sets of words, and what came."""

    socket: socket.socket
    files: list[frozenset[str]]
    kept: bytes = b""
    got: Counter[bytes] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Deliveries that were due since a file of the leaf has all words, and how many of them are missing or doubled.

    Of the `pairs` of query and leaf in which no file has them: how many got the query `in_vain`, since the words are in several
    files of the leaf, and how many `falsely`, since the table says that it has a word which it has not.
    """

    due: int
    missed: int
    in_vain: int
    falsely: int
    pairs: int


class LeafSwarm:
    """See the module text.  `meanwhile` is called now and then while leaves link and tell their tables."""

    def __init__(
        self,
        host: str,
        port: int,
        count: int,
        *,
        seed: int = 1,
        files: int = 10,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._meanwhile = meanwhile
        rng = Random(seed)
        words = ["".join(rng.choices(string.ascii_lowercase, k=LETTERS)) for _ in range(WORDS_A_LEAF * count)]
        weights = [1 / (rank + FLATTER * count) for rank in range(len(words))]
        self.leaves: list[Leaf] = []
        self.sockets: dict[int, Leaf] = {}
        self.received = 0
        self.slots: Counter[int] = Counter()
        for number in range(count):
            kinds = [frozenset(rng.choices(words, weights, k=WORDS_A_FILE)) for _ in range(files)]
            self.leaves.append(leaf := Leaf(_linked(host, port, number), kinds))
            self.sockets[leaf.socket.fileno()] = leaf
            self._hear(number)
        self.texts = [self._text(rng, words, weights) for _ in range(TEXTS if count else 0)]

    def _text(self, rng: Random, words: list[str], weights: list[float]) -> bytes:
        """Two words: of a file that somebody has, every other time, else any."""
        file = sorted(rng.choice(rng.choice(self.leaves).files))
        if rng.random() < 0.5 and len(file) > 1:
            pair = rng.sample(file, 2)
        else:
            pair = rng.choices(words, weights, k=2)
        return " ".join(pair).encode()

    def tell_tables(self) -> None:
        """Each leaf sends its routing table."""
        for number, leaf in enumerate(self.leaves):
            self._hear(number)
            hashes = qrp.hashes_of(" ".join(sorted(file)) + ".ogg" for file in leaf.files)
            bits = qrp.bits_for(len(hashes))
            self.slots[1 << bits] += 1
            table = qrp.full_table(qrp.table_of(hashes, bits))
            leaf.socket.sendall(b"".join(encode(_GUID, 1, 0, message) for message in table))

    def _hear(self, number: int) -> None:
        """Answer what came, once for HEAR_EVERY leaves: the servent closes links that are silent for a minute."""
        if number % HEAR_EVERY == 0:
            waiting = select.poll()
            for fd in self.sockets:
                waiting.register(fd, select.POLLIN)
            for fd, _ in waiting.poll(0):
                self.read(fd)
            self._meanwhile()

    def matching(self, text: bytes) -> list[Leaf]:
        """The leaves that have a file with all words of the text."""
        words = set(text.decode().split())
        return [leaf for leaf in self.leaves if any(words <= file for file in leaf.files)]

    def read(self, fd: int) -> None:
        """Take what came for one leaf; ConnectionError if the servent closed it."""
        leaf = self.sockets[fd]
        data = leaf.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the servent closed the link of a leaf")
        data = leaf.kept + data
        end = 0
        for frame in frames(data):
            end = frame.end
            if frame.kind == QUERY:
                leaf.got[frame.payload[2:].partition(b"\0")[0]] += 1
                self.received += 1
            elif frame.kind == PING:
                leaf.socket.sendall(_pong(frame.guid, leaf.socket))
        leaf.kept = data[end:]

    def verdict(self, asked: Mapping[bytes, int]) -> Verdict:
        """What was received, compared with the files of each leaf."""
        due = missed = in_vain = falsely = pairs = 0
        words_of = {leaf: frozenset().union(*leaf.files) for leaf in self.leaves}
        for text, times in asked.items():
            matching, words = set(self.matching(text)), set(text.decode().split())
            for leaf in self.leaves:
                if leaf in matching:
                    due += times
                    missed += abs(times - leaf.got[text])
                else:
                    pairs += times
                    if words <= words_of[leaf]:
                        in_vain += leaf.got[text]
                    else:
                        falsely += leaf.got[text]
        return Verdict(due, missed, in_vain, falsely, pairs)

    def close(self) -> None:
        """Close all sockets."""
        for leaf in self.leaves:
            leaf.socket.close()


def _linked(host: str, port: int, number: int) -> socket.socket:
    own = f"127.1.{number // 250}.{number % 250 + 1}" if host.startswith("127.") else ""
    link = socket.create_connection((host, port), 10, (own, 0) if own else None)
    lines = [
        "GNUTELLA CONNECT/0.6", f"Listen-IP: {own or link.getsockname()[0]}:{7000 + number}", "User-Agent: LeafSwarm/1.0",
        "GGEP: 0.5", "X-Ultrapeer: False", "X-Query-Routing: 0.1", "X-Ultrapeer-Query-Routing: 0.1",
        "X-Dynamic-Querying: 0.1", "X-Degree: 32", "X-Max-TTL: 4", "X-Requeries: False", "Pong-Caching: 0.1",
        f"GUID: {os.urandom(16).hex()}", "", "",
    ]  # fmt: skip
    link.sendall("\r\n".join(lines).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = link.recv(4096)
        if not piece:
            raise ConnectionError(f"the servent closed during the handshake: {answer[:200]!r}")
        answer += piece
    if not re.match(rb"GNUTELLA/0\.6 200 ", answer):
        raise ConnectionError(f"the servent refused: {answer.splitlines()[0]!r}")
    link.sendall(b"GNUTELLA/0.6 200 OK\r\n\r\n")
    return link


def _pong(guid: Guid, link: socket.socket) -> bytes:
    name: tuple[str, int] = link.getsockname()
    port, host = name[1], socket.inet_aton(name[0])
    return guid + bytes((0x01, 1, 0)) + (14).to_bytes(4, "little") + port.to_bytes(2, "little") + host + bytes(8)
