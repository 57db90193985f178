"""Downloads in virtual time: the production planner, judge, source book and push tables over virtual streams.

A download searches for words, takes the first file that comes, and fetches it from all its sources until it is whole; what is
whole must have the bytes that were shared, or the rule `byte-exact` is broken.  Leaves are checked while they arrive
(checking.py).  What has arrived lies on the node's disk
(disk.py).  Ranges are noted when a sync has made them safe, and after a restart of the node the download goes on from its
notes: bytes that are noted must be there, or the rule `noted-safe` is broken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gnutella.errors import RemoteViolation
from gnutella.lab import chance
from gnutella.lab.checking import Checking
from gnutella.lab.content import Content, content_of
from gnutella.lab.disk import Disk, DiskFile
from gnutella.lab.fetching import Fetching
from gnutella.lab.stream import Fault, Line
from gnutella.lab.uploads import Callee, answer_push
from gnutella.lab.watch import InvariantBroken
from gnutella.protocol.http import Span
from gnutella.protocol.http_fields import parse_giv
from gnutella.protocol.message import Push
from gnutella.protocol.tth import node_size_for
from gnutella.reasons import DropReason
from gnutella.routing.events import PushReceived
from gnutella.routing.results import Hit
from gnutella.transfers.planner import Plan
from gnutella.transfers.push import PendingPushes, PushLimits
from gnutella.transfers.ranges import RangeSet
from gnutella.transfers.sources import Phase, Source, SourceBook

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: How often sources are looked after.
SWEEP_S = 1.0
#: Sources used at a time, and how long a push may take: defaults of [transfers].
MAX_SOURCES = 8
PUSH_S = 30.0
RETRY_S = 60.0
#: Stands among a download's contributors for bytes from before a restart.
_BEFORE = 0


@dataclass(eq=False)
class Download:
    """One file on its way to one node."""

    node: LabNode
    hit: Hit
    sha1: bytes
    started_at: float
    plan: Plan
    book: SourceBook
    file: DiskFile
    #: Ranges that are safe on disk, as the node's database has them.
    noted: RangeSet = field(default_factory=RangeSet)
    #: Counts the starts of its node.
    runs: int = 0
    state: str = "transferring"
    error: str = ""
    ended_at: float = 0.0
    contributors: set[int] = field(default_factory=set)
    #: Of the noted ranges, what was found right by the tree.
    noted_right: RangeSet = field(default_factory=RangeSet)
    #: What was found wrong, to be fetched again.
    wrong: list[Span] = field(default_factory=list)
    checking: Checking = field(init=False)
    #: What ever came, whatever the disk made of it: the rule `noted-safe` looks here.
    arrived: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.arrived = bytearray(self.hit.size)
        self.checking = Checking(self.hit.size, self.book)

    def check(self) -> None:
        """Look at the leaves that are complete; what is wrong is noted no more."""
        for span in self.checking.check(self.plan, self.file.content):
            self.wrong.append(span)
            self.noted.remove(span.start, span.stop)

    @property
    def is_whole(self) -> bool:
        """Every byte is there, and every leaf was right."""
        return self.plan.is_complete and self.checking.is_done

    def row(self) -> dict[str, Any]:
        """Keys of report.DOWNLOAD_COLUMNS."""
        return {
            "download": self.hit.name,
            "by": self.node.name,
            "state": self.state,
            "size": self.hit.size,
            "sources": len(self.contributors - {_BEFORE}),
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
        self._disks: dict[str, Disk] = {}
        #: Faults that wait for a transfer: (from, to) -> them.
        self._faults: dict[tuple[str, str], list[Fault]] = {}
        net.push_received = self.push_received
        net.went_down = self.went_down
        net.came_up = self.came_up

    def add(self, node: LabNode, hit: Hit) -> Download | None:
        """Fetch a file that a search found; None without a SHA-1."""
        if hit.sha1 is None:
            return None
        file = DiskFile(self.disk_of(node), hit.size)
        now = self.net.clock.now
        download = Download(node, hit, hit.sha1, now, Plan(hit.size, node_size_for(hit.size)), _book_of(hit), file)
        self.all.append(download)
        self._sweep(download, download.runs)
        return download

    # -- the disk ------------------------------------------------------------------------------------------------------

    def disk_of(self, node: LabNode) -> Disk:
        """The disk that a node's downloads go to."""
        disk = self._disks.get(node.name)
        if disk is None:
            disk = self._disks[node.name] = Disk(chance.source(self.net.seed, "disk", node.name))
        return disk

    def keep(self, download: Download) -> None:
        """Make safe what has arrived, and note it then."""
        download.check()
        mark, leaves = download.file.begin_sync(), download.checking.leaves
        notes = (
            RangeSet(download.plan.have),
            RangeSet(leaves.verified if leaves is not None else ()),
            len(download.wrong),
        )
        at = max(self.net.clock.now, download.file.disk.free_at)
        self.net.clock.at(at, self._kept, download, download.runs, mark, *notes)

    def _kept(self, download: Download, run: int, mark: int, have: RangeSet, right: RangeSet, wrong: int) -> None:
        if download.runs == run and download.state == "transferring":
            download.file.end_sync(mark)
            for span in download.wrong[wrong:]:
                have.remove(span.start, span.stop)
            download.noted, download.noted_right = have, right
            if have.total == download.hit.size and download.is_whole:
                self._verify(download)

    def went_down(self, node: LabNode, is_power_failure: bool | None) -> None:
        """A node stopped; None for is_power_failure: in order, so that all it had written is safe."""
        for download in self._of(node):
            download.runs += 1
            if is_power_failure is None:
                download.file.end_sync(download.file.begin_sync())
                download.noted = RangeSet(download.plan.have)
                download.noted_right = RangeSet(download.checking.leaves.verified if download.checking.leaves else ())
            else:
                download.file.crash(is_power_failure=is_power_failure)
            download.error = "the node went away"
            self._check_notes(download)
        for download in self._of(node, "done"):
            download.file.crash(is_power_failure=bool(is_power_failure))
            self._check_whole(download)

    def came_up(self, node: LabNode) -> None:
        """A node runs again: its downloads go on with what they had noted."""
        self._pending.pop(node.name, None)
        for download in self._of(node):
            self._check_notes(download)
            download.plan = Plan(download.hit.size, node_size_for(download.hit.size), download.noted)
            download.book = download.checking.book = _book_of(download.hit)
            download.checking.begin(download.plan, RangeSet(download.noted_right))
            download.contributors = {_BEFORE} if download.noted.total else set()
            self._sweep(download, download.runs)

    def _of(self, node: LabNode, state: str = "transferring") -> list[Download]:
        return [each for each in self.all if each.node is node and each.state == state]

    def _check_notes(self, download: Download) -> None:
        """What is noted is what arrived, byte by byte, unless a line corrupted it: then the whole file's hash finds it."""
        if any(download.file.content[start:stop] != download.arrived[start:stop] for start, stop in download.noted):
            where = self.net.clock.now, download.node.name
            raise InvariantBroken("noted-safe", *where, f"{download.hit.name} lacks bytes that it has noted")

    def dial(self, node: LabNode, peer: LabNode) -> End | None:
        """A connection for a transfer; None when the peer cannot be reached."""
        end = self.net.call(node, peer, self._line, lambda end: Callee(self, end))
        for side in (end, end.peer) if end is not None else ():
            for fault in self._faults.pop((side.node.name, side.peer.node.name), []):
                self.net.add_fault(side, fault)
        return end

    def strike(self, sender: LabNode, receiver: LabNode, fault: Fault) -> None:
        """Let a fault strike what one sends to the other over a connection of a transfer: one that is open, else the next."""
        found = [end for end in sender.opening.values() if end.peer.node is receiver and end.is_transfer]
        for end in found:
            self.net.add_fault(end, fault)
        if not found:
            self._faults.setdefault((sender.name, receiver.name), []).append(fault)

    # -- sources -------------------------------------------------------------------------------------------------------

    def _sweep(self, download: Download, run: int) -> None:
        """Ask sources that may be asked; again each second."""
        if download.state != "transferring" or download.runs != run or not download.node.is_up:
            return
        now = self.net.clock.now
        if download.plan.is_complete:
            self.keep(download)
            if download.is_whole:
                return
        for other, source in self._waiting(download.node).expire(now):
            if source.phase is Phase.PUSHING:
                other.book.rest(source, now, DropReason.PUSH_UNANSWERED)
        room = download.file.disk.room
        download.error = (
            "disk is full" if room is not None and room < download.hit.size - download.file.taken.total else ""
        )
        ready = [] if download.error else download.book.ready(now)
        for source in ready[: MAX_SOURCES - download.book.busy()]:
            self._reach(download, source, now)
        if not download.book.usable() and not download.checking.doubt_tree():
            self._end(download, "failed", "no source is left")
            return
        self.net.clock.after(SWEEP_S, self._sweep, download, run)

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
        if hashlib.sha1(download.file.content).digest() != download.sha1:
            checking = download.checking
            if checking.leaves is not None and not checking.has_rechecked:
                # The disk may have lost leaves that had been found right: look at all of them once more.
                checking.has_rechecked = True
                checking.leaves.forget()
                self._sweep(download, download.runs)
                return
            checking.doubt_tree()
            culprits = download.contributors
            if len(culprits) == 1:
                source = download.book.get(next(iter(culprits)))
                if source is not None:
                    download.book.drop(source, DropReason.SOURCE_CORRUPT)
            download.plan = Plan(download.hit.size, node_size_for(download.hit.size))
            download.contributors = set()
            download.noted, download.noted_right = RangeSet(), RangeSet()
            download.runs += 1
            self.net.clock.after(SWEEP_S, self._sweep, download, download.runs)
            return
        self._check_whole(download)
        self._end(download, "done", "")
        self._offer(download)

    def _offer(self, download: Download) -> None:
        """What is whole is shared from now on, as [sharing] share_incoming has it; unless the node had it already."""
        node, hit = download.node, download.hit
        if node.catalog.by_sha1(download.sha1) is None:
            self.net.publish(node, [Content(hit.name, hit.size, download.sha1).shared(1)])

    def _check_whole(self, download: Download) -> None:
        if bytes(download.file.content) != content_of(download.hit.name, download.hit.size):
            where = self.net.clock.now, download.node.name
            raise InvariantBroken("byte-exact", *where, f"{download.hit.name} is not as shared")

    def _end(self, download: Download, state: str, error: str) -> None:
        download.state, download.error, download.ended_at = state, error, self.net.clock.now
        self.net.record.note(self.net.clock.now, download.node.name, f"download {state}", download.hit.name)


def _book_of(hit: Hit) -> SourceBook:
    book = SourceBook(RETRY_S)
    for source in hit.sources:
        book.add(source.address, source.servent_id, source.index, source.name, source.needs_push)
    return book
