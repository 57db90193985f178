"""What a TLS client says that it speaks (ALPN), read from its first bytes before anybody answers.

RFC 8446 section 4.1.2 and RFC 7301 section 3.1.  One port serves several protocols inside TLS, each with other demands on TLS
itself, so the choice has to be made before the handshake.  Nothing else of the hello is looked at, and nothing is believed.
"""

from __future__ import annotations

from typing import Final

from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

#: Hellos have some 200 to 2,000 bytes, post-quantum keys included; a TLS record has 2**14 at most.
MAX_CLIENT_HELLO: Final = 16_384
#: Records that one hello may be cut into: who cuts it finer does it to be looked at again and again.
MAX_RECORDS: Final = 16
_HANDSHAKE, _CLIENT_HELLO, _ALPN = 0x16, 1, 16


class _Reader:
    """Takes fields off the front."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise RemoteViolation(DropReason.TLS_FAILED, "a field beyond the end of its hello")
        self._at += count
        return found

    def vector(self, width: int) -> bytes:
        """What a length of `width` bytes stands before."""
        return self.take(int.from_bytes(self.take(width), "big"))

    @property
    def is_over(self) -> bool:
        return self._at == len(self._data)


def alpn_of(data: bytes) -> tuple[bytes, ...] | None:
    """The protocols that the client offers, in its order; empty: it names none.  None: the hello is not complete yet.

    RemoteViolation: these bytes begin no client hello that could be read.
    """
    hello = _message(data)
    if hello is None:
        return None
    reader = _Reader(hello)
    reader.take(2 + 32)  # version and random
    for width in (1, 2, 1):  # session, ciphers, compression
        reader.vector(width)
    if reader.is_over:
        return ()
    extensions = _Reader(reader.vector(2))
    while not extensions.is_over:
        kind = int.from_bytes(extensions.take(2), "big")
        body = extensions.vector(2)
        if kind == _ALPN:
            return _names(body)
    return ()


def _names(body: bytes) -> tuple[bytes, ...]:
    names = _Reader(_Reader(body).vector(2))
    found: list[bytes] = []
    while not names.is_over:
        found.append(names.vector(1))
    return tuple(found)


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records; None: not all of it is here."""
    message, at = b"", 0
    for _ in range(MAX_RECORDS):
        head = data[at : at + 5]
        if head[:1] not in (b"", bytes((_HANDSHAKE,))) or head[1:2] not in (b"", b"\3"):
            raise RemoteViolation(DropReason.TLS_FAILED, "no handshake record")
        if len(head) < 5:
            return None
        length = int.from_bytes(head[3:], "big")
        if not 0 < length <= MAX_CLIENT_HELLO:
            raise RemoteViolation(DropReason.TLS_FAILED, "a record of that length")
        message += data[at + 5 : at + 5 + length]
        if message[0:1] not in (b"", bytes((_CLIENT_HELLO,))):
            raise RemoteViolation(DropReason.TLS_FAILED, "no client hello")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > MAX_CLIENT_HELLO:
                raise RemoteViolation(DropReason.TLS_FAILED, "a hello of that length")
            if len(message) >= 4 + size:
                return message[4 : 4 + size]
        at += 5 + length
        if at > len(data):
            return None
    raise RemoteViolation(DropReason.TLS_FAILED, "a hello in that many records")
