"""Where the messages of a byte stream lie: the walker of the relay path.

A link's stream is messages back to back, each a 23-byte header (digest 2.1) and its payload.  Nothing here decodes a payload:
a frame only says kind, TTL, hops, GUID and the payload's place.  The relay's innermost loop (routing/relay.py) unpacks
`HEADER` itself, since a call for each message would double its cost; everybody else walks with `frames`.

    for frame in frames(data):
        print(frame.kind, frame.ttl, frame.hops, frame.payload)
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from gnutella.errors import RemoteViolation
from gnutella.protocol.kinds import HEADER_SIZE, MAX_PAYLOAD
from gnutella.reasons import DropReason
from gnutella.units import Guid

#: GUID, kind, TTL, hops, payload length: the header, little endian.
HEADER = Struct("<16sBBBI")
#: TTL and hops lie here in a header; forwarding rewrites these two bytes and no other.
TTL_AT = 17
HOPS_AT = 18


class Frame(NamedTuple):
    """One message inside `data`: from `start` (its header) to `end`."""

    guid: Guid
    kind: int
    ttl: int
    hops: int
    data: bytes
    start: int
    end: int

    @property
    def length(self) -> int:
        """Payload bytes."""
        return self.end - self.start - HEADER_SIZE

    @property
    def payload(self) -> bytes:
        return self.data[self.start + HEADER_SIZE : self.end]

    @property
    def message(self) -> bytes:
        """Header and payload as they came."""
        return self.data[self.start : self.end]

    def passed_on(self, ttl: int, hops: int) -> bytes:
        """The message with another TTL and hops, all else untouched."""
        data, start = self.data, self.start
        return data[start : start + TTL_AT] + bytes((ttl, hops)) + data[start + HOPS_AT + 1 : self.end]


def frames(data: bytes, start: int = 0) -> Iterator[Frame]:
    """The whole messages of `data`; stops before an incomplete one.

    A header that announces more than MAX_PAYLOAD raises RemoteViolation(MESSAGE_TOO_LARGE) once the messages before it were
    given out.
    """
    size = len(data)
    while start + HEADER_SIZE <= size:
        guid, kind, ttl, hops, length = HEADER.unpack_from(data, start)
        if length > MAX_PAYLOAD:
            raise RemoteViolation(DropReason.MESSAGE_TOO_LARGE, f"{length} bytes announced")
        end = start + HEADER_SIZE + length
        if end > size:
            return
        yield Frame(Guid(guid), kind, ttl, hops, data, start, end)
        start = end


def missing(data: bytes | bytearray) -> int:
    """How many bytes the incomplete message at the start of `data` needs at least before looking at it again is worth it."""
    if len(data) < HEADER_SIZE:
        return HEADER_SIZE - len(data)
    length: int = HEADER.unpack_from(data)[4]
    return HEADER_SIZE + length - len(data)
