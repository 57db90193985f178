"""Downloads in virtual time: the production planner, judge, source book and push tables over virtual streams.

A download searches for words, takes the first file that comes, and fetches it from all its sources until it is whole; what is
whole must have the bytes that were shared, or the rule `byte-exact` is broken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gnutella.errors import RemoteViolation
from gnutella.lab.content import content_of
from gnutella.lab.stream import Line
from gnutella.lab.uploads import Callee, answer_push
from gnutella.lab.watch import InvariantBroken
from gnutella.protocol.http import HeadReader, ResponseHead, Span, format_head, format_range, read_response
from gnutella.protocol.http_fields import parse_giv
from gnutella.protocol.message import Push
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.results import Hit
from gnutella.transfers.judge import Bytes, Unusable, Wait, judge
from gnutella.transfers.planner import Plan
from gnutella.transfers.push import PendingPushes, PushLimits
from gnutella.transfers.sources import Phase, Source, SourceBook

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: Bytes of one request, and of the planner's leaf.
PIECE = 65_536
#: How long hits are waited for, and how often sources are looked after.
SEARCH_S = 3.0
SWEEP_S = 1.0
#: Sources used at a time, and how long a push may take: defaults of [transfers].
MAX_SOURCES = 8
PUSH_S = 30.0
RETRY_S = 60.0


@dataclass(eq=False)
class Download:
    """One file on its way to one node."""

    node: LabNode
    hit: Hit
    sha1: bytes
    started_at: float
    plan: Plan
    book: SourceBook
    data: bytearray
    state: str = "transferring"
    error: str = ""
    ended_at: float = 0.0
    contributors: set[int] = field(default_factory=set)

    def row(self) -> dict[str, Any]:
        """Keys of report.DOWNLOAD_COLUMNS."""
        return {
            "download": self.hit.name,
            "by": self.node.name,
            "state": self.state,
            "size": self.hit.size,
            "sources": len(self.contributors),
            "seconds": round(self.ended_at - self.started_at, 6) if self.ended_at else None,
            "error": self.error,
        }


class Downloads:
    """All downloads of one network, and the calls that pushes lead to."""

    def __init__(self, net: Network, line: Line) -> None:
        self.net = net
        self.all: list[Download] = []
        self._line = line
        self._pending: dict[str, PendingPushes[tuple[Download, Source]]] = {}
        self._limits: dict[str, PushLimits] = {}
        net.push_received = self.push_received

    def add(self, node: LabNode, hit: Hit) -> Download | None:
        """Fetch a file that a search found; None without a SHA-1."""
        if hit.sha1 is None:
            return None
        book = SourceBook(RETRY_S)
        for source in hit.sources:
            book.add(source.address, source.servent_id, source.index, source.name, source.needs_push)
        now = self.net.clock.now
        download = Download(node, hit, hit.sha1, now, Plan(hit.size, PIECE), book, bytearray(hit.size))
        self.all.append(download)
        self._sweep(download)
        return download

    def dial(self, node: LabNode, peer: LabNode) -> End | None:
        """A connection for a transfer; None when the peer cannot be reached."""
        return self.net.call(node, peer, self._line, lambda end: Callee(self, end))

    # -- sources -------------------------------------------------------------------------------------------------------

    def look(self, download: Download) -> None:
        """The last byte came."""
        if download.state == "transferring":
            self._verify(download)

    def _sweep(self, download: Download) -> None:
        """Ask sources that may be asked; again each second."""
        if download.state != "transferring":
            return
        if not download.node.is_up:
            self._end(download, "failed", "the node went away")
            return
        now = self.net.clock.now
        if download.plan.is_complete:
            self._verify(download)
            return
        for other, source in self._waiting(download.node).expire(now):
            if source.phase is Phase.PUSHING:
                other.book.rest(source, now, DropReason.PUSH_UNANSWERED)
        for source in download.book.ready(now)[: MAX_SOURCES - download.book.busy()]:
            self._reach(download, source, now)
        if not download.book.usable():
            self._end(download, "failed", "no source is left")
            return
        self.net.clock.after(SWEEP_S, self._sweep, download)

    def _reach(self, download: Download, source: Source, now: float) -> None:
        if source.needs_push or source.try_push:
            self._push(download, source, now)
            return
        peer = self.net.node_at(source.address) if source.address is not None else None
        end = self.dial(download.node, peer) if peer is not None else None
        if end is None:
            source.try_push = source.can_push and not source.try_push
            download.book.rest(source, now, DropReason.DIAL_FAILED)
            return
        source.phase = Phase.CONNECTED
        talk = Fetching(self, download, source, end)
        self.net.clock.after(2 * end.latency_s, talk.ask, end)

    def _push(self, download: Download, source: Source, now: float) -> None:
        node = download.node
        assert source.servent_id is not None
        push = Push(source.servent_id, source.index or 0, node.address)
        sent, actions = node.router.send_push(push, now)
        self.net.cause(node, actions)
        if sent and self._waiting(node).expect(source.servent_id, now + PUSH_S, (download, source)):
            source.phase = Phase.PUSHING
        else:
            source.try_push = False
            download.book.rest(source, now, DropReason.PUSH_UNANSWERED)

    def _waiting(self, node: LabNode) -> PendingPushes[tuple[Download, Source]]:
        return self._pending.setdefault(node.name, PendingPushes())

    def push_received(self, node: LabNode, event: PushReceived) -> None:
        """Somebody wants to be called."""
        if self._limits.setdefault(node.name, PushLimits()).begin(event.push.address, self.net.clock.now):
            answer_push(self, node, event)
            self._limits[node.name].end()

    def called(self, end: End, line: bytes, rest: bytes) -> None:
        """A GIV came; if it was asked for, the connection is a source now."""
        try:
            giv = parse_giv(line)
        except RemoteViolation as violation:
            self.net.disconnect(end, violation.reason.value)
            return
        ticket = self._waiting(end.node).match(giv.servent_id, self.net.clock.now)
        if ticket is None or ticket[0].state != "transferring":
            self.net.disconnect(end, "nobody asked")
            return
        download, source = ticket
        source.phase = Phase.CONNECTED
        Fetching(self, download, source, end).ask(end)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _verify(self, download: Download) -> None:
        """The whole file is there: right by its SHA-1, or it begins anew."""
        if hashlib.sha1(download.data).digest() != download.sha1:
            culprits = download.contributors
            if len(culprits) == 1:
                source = download.book.get(next(iter(culprits)))
                if source is not None:
                    download.book.drop(source, DropReason.SOURCE_CORRUPT)
            download.plan = Plan(download.hit.size, PIECE)
            download.contributors = set()
            self.net.clock.after(SWEEP_S, self._sweep, download)
            return
        if bytes(download.data) != content_of(download.hit.name, download.hit.size):
            where = self.net.clock.now, download.node.name
            raise InvariantBroken("byte-exact", *where, f"{download.hit.name} is not as shared")
        self._end(download, "done", "")

    def _end(self, download: Download, state: str, error: str) -> None:
        download.state, download.error, download.ended_at = state, error, self.net.clock.now
        self.net.record.note(self.net.clock.now, download.node.name, f"download {state}", download.hit.name)


class Fetching:
    """One connection to one source."""

    def __init__(self, downloads: Downloads, download: Download, source: Source, end: End) -> None:
        self._downloads = downloads
        self._net = downloads.net
        self._download = download
        self._source = source
        self._reader = HeadReader()
        self._asked: Span | None = None
        self._left = 0
        end.talk = self

    def ask(self, end: End) -> None:
        """Request what the planner gives us, or hang up when there is nothing left to do."""
        if not end.is_open:
            return
        download = self._download
        # An empty file is whole before anything is asked.
        self._asked = download.plan.ask(self._source.key, PIECE) if download.state == "transferring" else None
        if self._asked is None:
            self._net.disconnect(end, "nothing left")
            self.closed(end)
            return
        path = f"/uri-res/N2R?{sha1_urn(download.sha1)}"
        fields = [("Host", str(end.peer.node.address)), ("Range", format_range(self._asked))]
        self._net.transmit(end, format_head(f"GET {path} HTTP/1.1", fields))

    def receive(self, end: End, data: bytes) -> None:
        """Heads and bodies."""
        while data and end.is_open:
            if self._left:
                data = self._body(end, data)
                continue
            try:
                head = self._reader.feed(data)
                if head is None:
                    return
                data = head.surplus
                self._head(end, read_response(head))
            except RemoteViolation as violation:
                self._hang_up(end, violation.reason)

    def _head(self, end: End, response: ResponseHead) -> None:
        meaning = judge(response, self._asked, self._download.sha1, self._download.hit.size)
        if isinstance(meaning, Bytes):
            self._left = meaning.span.stop - meaning.span.start
        elif isinstance(meaning, Wait):
            self._hang_up(end, DropReason.SOURCE_BUSY, float(meaning.seconds))
        elif isinstance(meaning, Unusable):
            self._download.book.drop(self._source, meaning.reason)
            self._hang_up(end, meaning.reason)
        else:
            self._download.book.drop(self._source, DropReason.NOT_HERE)
            self._hang_up(end, DropReason.NOT_HERE)

    def _body(self, end: End, data: bytes) -> bytes:
        part, rest = data[: self._left], data[self._left :]
        download, source = self._download, self._source
        start, fresh = download.plan.arrived(source.key, len(part))
        for span in fresh:
            download.data[span.start : span.stop] = part[span.start - start : span.stop - start]
        self._left -= len(part)
        download.contributors.add(source.key)
        download.book.succeeded(source)
        if not self._left:
            if download.plan.is_complete:
                self._downloads.look(download)
            self.ask(end)
        return rest

    def _hang_up(self, end: End, reason: DropReason, wait_s: float | None = None) -> None:
        self._download.book.rest(self._source, self._net.clock.now, reason, wait_s)
        self._net.disconnect(end, reason.value)
        self.closed(end)

    def closed(self, end: End) -> None:
        """What it was to fetch is free again."""
        self._download.plan.give_back(self._source.key)
        self._left = 0
        if self._source.phase is Phase.CONNECTED:
            self._download.book.rest(self._source, self._net.clock.now, DropReason.SOURCE_BROKE)
