"""One connection of a virtual download: asks for ranges and for the tree, and puts what comes where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnutella.errors import RemoteViolation
from gnutella.protocol import thex
from gnutella.protocol.http import HeadReader, ResponseHead, Span, format_head, format_range, read_response
from gnutella.protocol.http_fields import parse_thex_uri
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.transfers.judge import Bytes, Unusable, Wait, judge
from gnutella.transfers.sources import Phase, Source

if TYPE_CHECKING:
    from gnutella.lab.downloads import Download, Downloads
    from gnutella.lab.end import End

#: Bytes of one request.
PIECE = 65_536


class Fetching:
    """One connection to one source."""

    def __init__(self, downloads: Downloads, download: Download, source: Source, end: End) -> None:
        self._downloads = downloads
        self._net = downloads.net
        self._download = download
        self._source = source
        self._reader = HeadReader()
        self._plan = download.plan
        self._asked: Span | None = None
        self._left = 0
        #: The body of a tree that is on its way.
        self._tree: bytearray | None = None
        end.talk = self

    @property
    def _is_wanted(self) -> bool:
        download = self._download
        return (
            download.state == "transferring" and download.plan is self._plan and self._source.phase is not Phase.DROPPED
        )

    def ask(self, end: End) -> None:
        """Request what the planner gives us, or hang up when there is nothing left to do."""
        if not end.is_open:
            return
        download = self._download
        if self._is_wanted and download.checking.wants_tree(self._source):
            download.checking.asked()
            self._tree = bytearray()
            fields = [("Host", str(end.peer.node.address)), ("Accept", thex.CONTENT_TYPE)]
            self._net.transmit(end, format_head(f"GET {self._source.tree_path} HTTP/1.1", fields))
            return
        # An empty file is whole before anything is asked.
        self._asked = self._plan.ask(self._source.key, PIECE) if self._is_wanted else None
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
                data = self._body(end, data) if self._tree is None else self._leaf_hashes(end, data)
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
        if self._tree is not None:
            self._left = response.length or 0 if response.status == 200 else 0
            if not 0 < self._left <= thex.MAX_BODY:
                self._source.has_no_tree = True
                self._hang_up(end, DropReason.BAD_TREE)
            return
        tree = parse_thex_uri(response.headers.get("x-thex-uri"))
        if tree is not None:
            self._source.tree_path, self._source.tree_root = tree
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

    def _leaf_hashes(self, end: End, data: bytes) -> bytes:
        assert self._tree is not None
        part, rest = data[: self._left], data[self._left :]
        self._tree += part
        self._left -= len(part)
        if not self._left:
            body, self._tree = bytes(self._tree), None
            checking = self._download.checking
            checking.asked(is_over=True)
            try:
                checking.take_tree(self._source, body, self._plan)
            except RemoteViolation:
                self._source.has_no_tree = True
            self._next(end)
        return rest

    def _body(self, end: End, data: bytes) -> bytes:
        part, rest = data[: self._left], data[self._left :]
        download, source = self._download, self._source
        if download.plan is not self._plan:
            self._hang_up(end, DropReason.SOURCE_BROKE)
            return b""
        start, fresh = download.plan.arrived(source.key, len(part))
        for number, span in enumerate(fresh):
            piece = part[span.start - start : span.stop - start]
            if not download.file.write(span.start, piece, self._net.clock.now):
                for lost in fresh[number:]:
                    download.plan.discard(lost.start, lost.stop)
                download.error = "disk is full"
                self._hang_up(end, DropReason.SOURCE_BROKE)
                return b""
            download.arrived[span.start : span.stop] = piece
            download.checking.wrote(source.key, span.start, span.stop)
        self._left -= len(part)
        download.contributors.add(source.key)
        download.book.succeeded(source)
        if not self._left:
            self._downloads.keep(download)
            # What a slow disk has not taken yet holds up the source, too.
            self._net.clock.at(max(self._net.clock.now, download.file.disk.free_at), self._next, end)
        return rest

    def _next(self, end: End) -> None:
        if end.is_open:
            self.ask(end)

    def _hang_up(self, end: End, reason: DropReason, wait_s: float | None = None) -> None:
        self._download.book.rest(self._source, self._net.clock.now, reason, wait_s)
        self._net.disconnect(end, reason.value)
        self.closed(end)

    def closed(self, end: End) -> None:
        """What it was to fetch is free again."""
        self._plan.give_back(self._source.key)
        self._left = 0
        if self._tree is not None:
            self._tree = None
            self._download.checking.asked(is_over=True)
        if self._source.phase is Phase.CONNECTED:
            self._download.book.rest(self._source, self._net.clock.now, DropReason.SOURCE_BROKE)
