"""What attacks on a running daemon are made of: links as bytes, and the claim that all of it is counted and does no harm."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from gnutella.protocol.frames import frames
from gnutella.protocol.message import BYE, Bye, Message, encode
from gnutella.units import Guid
from tests.live.daemon import PATIENCE_S, Daemon, wait_until

#: Seconds after which a side that says nothing is taken to have said all; longer than the time-outs below.
SILENCE_S = 1.3
#: Seconds that the daemon under attack waits for handshakes and requests.
SHORT = {f"GNUTELLA_{key}_TIMEOUT_S": "1" for key in ("NETWORK_HANDSHAKE", "TRANSFERS_REQUEST", "TRANSFERS_PUSH")}


@contextmanager
def counted(node: Daemon, *reasons: str) -> Iterator[None]:
    """What is done here is refused for these reasons, and leaves the node alive and without a fault."""
    before = node.dropped()
    yield
    wait_until(
        lambda: all(node.dropped().get(reason, 0) > before.get(reason, 0) for reason in reasons),
        f"{reasons} are counted; before: {before}",
    )
    assert node.dropped().get("internal_error", 0) == 0, node.faults()
    assert node.is_alive and node.faults() == []


def said_to(address: tuple[str, int], data: bytes) -> bytes:
    """Send, and read until the other side closes, or a time passes in which it says nothing."""
    with socket.create_connection(address, PATIENCE_S) as line:
        line.settimeout(SILENCE_S)
        got = b""
        try:
            line.sendall(data)
            while more := line.recv(65536):
                got += more
        except (TimeoutError, ConnectionError):
            pass
        return got


class Peer:
    """A link to the victim, as bytes."""

    def __init__(self, node: Daemon, *headers: str, is_leaf: bool = False) -> None:
        self._line = socket.create_connection(node.address, PATIENCE_S)
        lines = [
            "GNUTELLA CONNECT/0.6",
            "User-Agent: attacker",
            f"X-Ultrapeer: {not is_leaf}",
            "GGEP: 0.5",
            "Bye-Packet: 0.1",
            *headers,
        ]
        self._line.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._line.recv(1)
        assert head.startswith(b"GNUTELLA/0.6 200"), head
        answer = (
            "GNUTELLA/0.6 200 OK\r\n" + "".join(f"{line}\r\n" for line in headers if "Content-Enc" in line) + "\r\n"
        )
        self._line.sendall(answer.encode())
        self.got = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._line.close()

    def send(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except ConnectionError:
            pass  # closed for what was sent before

    def queries(self) -> list[Guid]:
        """GUIDs of the queries that came so far; waits for one."""
        found: list[Guid] = []
        self._line.settimeout(PATIENCE_S)
        while not found:
            self.got += self._line.recv(65536)
            found = [Guid(bytes(frame.guid)) for frame in frames(self.got) if frame.kind == 0x80]
        return found

    def waiting(self) -> bool:
        """Read what is there already; whether anything has come at all."""
        self._line.settimeout(0.1)
        try:
            self.got += self._line.recv(1 << 20)
        except TimeoutError:
            pass
        return bool(self.got)

    def is_open(self) -> bool:
        """Whether the victim has not closed it."""
        self._line.settimeout(0.1)
        try:
            while more := self._line.recv(65536):
                self.got += more
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        return False

    def end(self) -> int:
        """Read until the victim closes; the code of its Bye, 0 without one."""
        self.is_ended()
        byes = [Bye.decode(frame.payload).code for frame in frames(self.got) if frame.kind == BYE]
        return byes[0] if byes else 0

    def is_ended(self) -> None:
        """Read until the victim closes."""
        self._line.settimeout(PATIENCE_S)
        try:
            while more := self._line.recv(65536):
                self.got += more
        except ConnectionError:
            pass


def guid(number: int) -> Guid:
    return Guid(hashlib.md5(b"%d" % number).digest())


def message(number: int, ttl: int, hops: int, content: Message) -> bytes:
    return encode(guid(number), ttl, hops, content)
