"""The serving side of virtual transfers: production request parsing, answers, slots and GIV, over a virtual stream."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.lab.checking import Trees, is_treed, tree_for
from gnutella.lab.content import content_of
from gnutella.protocol import thex
from gnutella.protocol.http import HeadReader, format_status, read_request
from gnutella.protocol.http_fields import Giv, format_giv
from gnutella.routing.events import PushReceived
from gnutella.transfers.upload import BUSY_RETRY_S, Refusal, SendFile, SendTree, UploadSlots, answer

if TYPE_CHECKING:
    from gnutella.lab.downloads import Downloads
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: Bytes that are written at a time, so that a slow line shows.
PIECE = 16_384


@lru_cache(maxsize=8)
def _content(name: str, size: int) -> bytes:
    return content_of(name, size)


class Uploading:
    """One connection of a downloader, or to one that pushed us."""

    def __init__(self, net: Network, end: End, slots: UploadSlots) -> None:
        self._net = net
        self._slots = slots
        self._reader = HeadReader()
        self._has_slot = False
        end.talk = self

    def receive(self, end: End, data: bytes) -> None:
        """Requests, one after the other."""
        net = self._net
        try:
            head = self._reader.feed(data)
            while head is not None and end.is_open:
                given = answer(read_request(head), Trees(end.node.catalog))
                self._answer(end, given)
                head = self._reader.feed(head.surplus)
        except RemoteViolation as violation:
            net.disconnect(end, violation.reason.value)

    def _answer(self, end: End, given: object) -> None:
        net, host = self._net, end.peer.node.address.host
        if isinstance(given, Refusal):
            net.transmit(end, format_status(given.status, [("Content-Length", "0"), *given.extra]))
        elif isinstance(given, SendTree) and is_treed(given.file.size):
            body = thex.serialise(tree_for(given.file.name, given.file.size))
            fields = [("Content-Type", thex.CONTENT_TYPE), ("Content-Length", str(len(body)))]
            net.transmit(end, format_status(200, fields) + body)
        elif not isinstance(given, SendFile):
            net.transmit(end, format_status(404, [("Content-Length", "0")]))
        elif not self._has_slot and self._slots.take(host) is not None:
            net.transmit(end, format_status(503, [("Content-Length", "0"), ("Retry-After", str(BUSY_RETRY_S))]))
        else:
            self._has_slot = True
            net.transmit(end, format_status(given.status, given.headers))
            body = _content(given.file.name, given.file.size)[given.span.start : given.span.stop]
            for at in range(0, len(body), PIECE):
                net.transmit(end, body[at : at + PIECE])

    def closed(self, end: End) -> None:
        """Its slot is free again."""
        if self._has_slot:
            self._has_slot = False
            self._slots.release(end.peer.node.address.host)


class Callee:
    """An incoming connection that has said nothing yet: a downloader's request, or the GIV of somebody we pushed."""

    def __init__(self, downloads: Downloads, end: End) -> None:
        self._downloads = downloads
        self._data = b""
        end.talk = self

    def receive(self, end: End, data: bytes) -> None:
        """Decide by the first bytes."""
        self._data += data
        if len(self._data) < 4:
            return
        if self._data.startswith(b"GIV "):
            line, gap, rest = self._data.partition(b"\n\n")
            if gap:
                self._downloads.called(end, line, rest)
        else:
            talk = Uploading(self._downloads.net, end, end.node.upload_slots())
            talk.receive(end, self._data)

    def closed(self, end: End) -> None:
        """It went as it came."""


def answer_push(downloads: Downloads, node: LabNode, event: PushReceived) -> bool:
    """Call whoever pushed us, and offer the file; False when that is not possible."""
    net, push = downloads.net, event.push
    caller = net.node_at(push.address)
    if caller is None:
        return False
    end = downloads.dial(node, caller)
    if end is None:
        return False
    Uploading(net, end, node.upload_slots())
    net.clock.after(2 * end.latency_s, _send_giv, net, end, Giv(push.index, node.servent_id, ""))
    return True


def _send_giv(net: Network, end: End, giv: Giv) -> None:
    if end.is_open:
        net.transmit(end, format_giv(giv))
