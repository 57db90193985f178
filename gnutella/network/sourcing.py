"""The network side of one download: its connections to sources, what each is asked, and what its answers mean.

`pump` dials sources and keeps every open connection supplied with requests, as far as the plan, the window of the source, the
hashes and the pace allow.  It owns no state of the download's life; `Run` (downloads.py) is told what matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnutella.errors import RemoteViolation
from gnutella.network.assembly import MAX_UNVERIFIED, Assembly
from gnutella.network.fetch import Fetch, Kind, Request
from gnutella.protocol import thex
from gnutella.protocol.http import ResponseHead, Span
from gnutella.protocol.http_fields import (
    parse_alternates,
    parse_available,
    parse_thex_uri,
    quote_name,
)
from gnutella.protocol.push_http import parse_proxies
from gnutella.protocol.tth import Tree
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.settings import TransferSettings
from gnutella.transfers import judge
from gnutella.transfers.download import Download
from gnutella.transfers.planner import piece_for, window_for
from gnutella.transfers.ranges import RangeSet
from gnutella.transfers.sources import Phase, Source
from gnutella.transfers.upload import TokenBucket
from gnutella.units import Address

#: Redirections followed on one connection.
MAX_REDIRECTS = 3
#: Seconds a partial source that has nothing for us is left alone.
PARTIAL_WAIT_S = 60.0
#: Seconds over which speeds are smoothed, and for which a source without bytes does not count as stalled.
SPEED_SHARE = 0.3
SETTLE_S = 2.0
#: Asked of a source of which no size is known.
FEATURES = (("X-Features", "browse/1.0, queue/0.1"), ("X-Queue", "0.1"))

Dial = Callable[[Address, Fetch, float], Deferred[Any]]


@dataclass(slots=True)
class Outside:
    """What downloads use of the rest of the node."""

    reactor: Any
    settings: TransferSettings
    dial: Dial
    #: Ask that source, through the overlay, to call us; False when that cannot be done now.
    push: Callable[[Sourcing, Source], bool]
    withdraw: Callable[[Source], None]
    count_drop: Callable[[DropReason], None]
    user_agent: str
    allow_private: bool
    bucket: TokenBucket
    dial_timeout_s: float
    #: Header fields that tell a source who we are.
    about_us: Callable[[], tuple[tuple[str, str], ...]] = tuple


class Run(Protocol):
    """Whom the network side tells."""

    def size_known(self, size: int) -> None:
        """A source told the size of the file."""

    def tree_known(self, tree: Tree, source: Source) -> None:
        """A source gave a tree that leads to the root."""

    def moved(self) -> None:
        """Bytes arrived, or a connection came or went."""

    def dropped(self, source: Source) -> None:
        """A source will not be asked again."""


@dataclass(slots=True)
class Line:
    """One connection to a source."""

    source: Source
    opened_at: float
    meaning: judge.Meaning | None = None
    #: Body bytes of the current answer so far.
    came: int = 0
    has_sent: bool = False
    has_told_features: bool = False
    redirects: int = 0
    poll_at: float = 0.0
    asks_tree: bool = False
    tree: list[bytes] = field(default_factory=list)
    recent: int = 0


class Sourcing:
    """See the module text.  `assembly` is set by the run once the file is open."""

    log = Logger()

    def __init__(self, outside: Outside, download: Download, run: Run) -> None:
        self._outside = outside
        self.download = download
        self._run = run
        self.assembly: Assembly | None = None
        self._lines: dict[Fetch, Line] = {}
        self._dialling: dict[Fetch, Source] = {}
        self._is_tree_asked = False
        self._wake: IDelayedCall | None = None
        self._is_stopped = True

    # -- supply ----------------------------------------------------------------------------------------------------------

    def pump(self, may_dial: bool = True) -> None:
        """Dial who can be dialled, ask what can be asked."""
        self._is_stopped = False
        now = self._outside.reactor.seconds()
        if may_dial:
            room = self._room()
            for source in self.download.sources.ready(now)[: max(0, room)]:
                self._dial(source)
        for fetch in list(self._lines):
            self._feed(fetch)

    def _room(self) -> int:
        """How many more sources may be used."""
        wanted = self._outside.settings.max_sources
        assembly = self.assembly
        if self.download.restarts:
            wanted = 1  # one at a time, so that the next wrong file has one author
        elif assembly is not None:
            # A source for each leaf that is left, no more: small files need one connection.
            left = assembly.plan.size - assembly.plan.have.total
            wanted = min(wanted, -(-left // assembly.plan.leaf))
        elif self.download.size is None:
            wanted = 1
        return wanted - self.download.sources.busy()

    def tick(self, now: float) -> None:
        """Every second: speeds and time-outs."""
        for fetch, line in list(self._lines.items()):
            source = line.source
            source.speed += (line.recent - source.speed) * (SPEED_SHARE if line.has_sent else 1.0)
            line.recent = 0
            if self.assembly is not None and now - line.opened_at > SETTLE_S:
                self.assembly.plan.set_speed(source.key, source.speed)
            fetch.sweep(now)

    @property
    def connected(self) -> int:
        """Open connections."""
        return len(self._lines)

    def stop(self) -> None:
        """Close every connection; sources may be asked again later."""
        self._is_stopped = True
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        for fetch in [*self._lines, *self._dialling]:
            self._close(fetch, Phase.IDLE)
        for source in self.download.sources:
            if source.phase in (Phase.PUSHING, Phase.DIALLING):
                self._outside.withdraw(source)
                source.phase = Phase.IDLE

    def drop(self, source: Source, reason: DropReason) -> None:
        """Ask a source never again for this file."""
        for fetch, line in list(self._lines.items()):
            if line.source is source:
                self._close(fetch, Phase.IDLE)
        self._outside.count_drop(reason)
        self.download.sources.drop(source, reason)
        self._run.dropped(source)

    # -- connections -----------------------------------------------------------------------------------------------------

    def _fetch(self) -> Fetch:
        settings, outside = self._outside.settings, self._outside
        return Fetch(outside.reactor, self, outside.user_agent, settings.request_timeout_s, settings.idle_timeout_s)

    def _dial(self, source: Source) -> None:
        if source.address is None or source.needs_push or source.try_push:
            self._push(source)
            return
        source.phase = Phase.DIALLING
        fetch = self._fetch()
        self._dialling[fetch] = source
        attempt = self._outside.dial(source.address, fetch, self._outside.dial_timeout_s)
        attempt.addErrback(self._dial_failed, fetch, source)

    def _dial_failed(self, failure: Failure, fetch: Fetch, source: Source) -> None:
        if self._dialling.pop(fetch, None) is None:
            return  # stopped meanwhile, or failed after it was open
        if source.can_push and not source.try_push:
            source.try_push = True
            self._push(source)
            return
        self._rest(source, DropReason.DIAL_FAILED)
        self._run.moved()

    def _push(self, source: Source) -> None:
        source.phase = Phase.PUSHING
        if not self._outside.push(self, source):
            self.push_failed(source)

    def push_failed(self, source: Source) -> None:
        """The call we asked for did not come."""
        source.try_push = False
        self._rest(source, DropReason.PUSH_UNANSWERED)
        self._run.moved()

    def called(self, source: Source) -> Fetch | None:
        """The source called (GIV): the protocol for its connection, None when it is not wanted any more."""
        if self._is_stopped or source.phase is not Phase.PUSHING:
            return None
        source.phase = Phase.DIALLING
        fetch = self._fetch()
        self._dialling[fetch] = source
        return fetch

    def opened(self, fetch: Fetch) -> None:
        """Fetch is connected."""
        source = self._dialling.pop(fetch)
        source.phase = Phase.CONNECTED
        if source.address is not None:
            fetch.host_header = str(source.address)
        self._lines[fetch] = Line(source, self._outside.reactor.seconds())
        self._feed(fetch)
        self._run.moved()

    def lost(self, fetch: Fetch, reason: DropReason, detail: str) -> None:
        """Fetch is over."""
        line = self._lines.pop(fetch, None)
        if line is None:
            self._dialling.pop(fetch, None)
            return
        source = line.source
        self._forget_request(line)
        if source.phase is Phase.CONNECTED:
            if line.has_sent and not detail:
                source.phase = Phase.IDLE  # it ended the connection in order, after bytes
            else:
                if line.has_sent:
                    source.failures = 0
                self._rest(source, reason)
        self._run.moved()

    def _close(self, fetch: Fetch, phase: Phase) -> None:
        line = self._lines.pop(fetch, None)
        source = line.source if line is not None else self._dialling.pop(fetch, None)
        fetch.close()
        if line is not None:
            self._forget_request(line)
        if source is not None and source.phase is not Phase.DROPPED:
            source.phase = phase

    def _forget_request(self, line: Line) -> None:
        if line.asks_tree:
            line.asks_tree = self._is_tree_asked = False
        if self.assembly is not None:
            self.assembly.plan.give_back(line.source.key)

    def _rest(self, source: Source, reason: DropReason, wait_s: float | None = None) -> None:
        self._outside.count_drop(reason)
        self.download.sources.rest(source, self._outside.reactor.seconds(), reason, wait_s)

    # -- asking ----------------------------------------------------------------------------------------------------------

    def _feed(self, fetch: Fetch) -> None:
        """Ask a source as much as may be asked of it now."""
        line = self._lines.get(fetch)
        if line is None or not fetch.is_open or self._is_stopped:
            return
        if line.poll_at:
            if self._outside.reactor.seconds() < line.poll_at:
                return
            line.poll_at = 0.0
        assembly = self.assembly
        if assembly is None:
            if self.download.size is None and not fetch.outstanding:
                self._ask(fetch, line, Kind.SIZE)
            return
        if not assembly.is_open:
            return
        while self._lines.get(fetch) is line and self._ask_more(fetch, line, assembly):
            pass

    def _ask_more(self, fetch: Fetch, line: Line, assembly: Assembly) -> bool:
        """Ask one thing more; False when there is nothing to ask, or it is not the time."""
        source, plan = line.source, assembly.plan
        if fetch.outstanding and not fetch.is_proved:
            return False
        if self._wants_tree(line, assembly):
            line.asks_tree = self._is_tree_asked = True
            self._ask(fetch, line, Kind.TREE)
            return True
        window = window_for(plan.leaf, source.latency_s, source.speed)
        piece = self._paced(piece_for(window))
        owed = plan.owed(source.key)
        if assembly.lag > MAX_UNVERIFIED or not piece or (owed and owed + piece > window):
            return False
        span = plan.ask(source.key, piece, source.available)
        if span is None:
            if source.available is not None and not fetch.outstanding:
                self._close(fetch, Phase.IDLE)
                self._rest(source, DropReason.SOURCE_BUSY, PARTIAL_WAIT_S)
            return False
        self._outside.bucket.spend(span.stop - span.start, self._outside.reactor.seconds())
        if self._outside.bucket.rate:
            self._lines[fetch] = self._lines.pop(fetch)  # next time the other sources come first
        self._ask(fetch, line, Kind.DATA, span)
        return True

    def _paced(self, piece: int) -> int:
        """The size of a request that the download rate allows; 0 for later."""
        bucket = self._outside.bucket
        wait = bucket.wait_s(1, self._outside.reactor.seconds())
        if not wait:
            return piece if not bucket.rate else max(1024, min(piece, int(bucket.rate) // max(1, len(self._lines))))
        if self._wake is None:
            self._wake = self._outside.reactor.callLater(wait, self._woken)
        return 0

    def _woken(self) -> None:
        self._wake = None
        self.pump(may_dial=False)

    def _wants_tree(self, line: Line, assembly: Assembly) -> bool:
        source, download = line.source, self.download
        if assembly.leaves is not None or self._is_tree_asked or download.distrusts_trees or source.has_no_tree:
            return False
        return source.tree_path is not None and assembly.size > assembly.plan.leaf

    def _ask(self, fetch: Fetch, line: Line, kind: Kind, span: Span = Span(0, 0)) -> None:  # noqa: B008 - immutable
        source = line.source
        headers: list[tuple[str, str]] = []
        if not line.has_told_features:
            line.has_told_features = True
            headers += [*FEATURES, *self._outside.about_us()]
        if kind is Kind.TREE:
            path = source.tree_path or ""
            headers.append(("Accept", thex.CONTENT_TYPE))
        else:
            headers.append(("X-Gnutella-Content-URN", sha1_urn(self.download.sha1)))
            path = source.path or self._path(source)
        fetch.ask(Request(kind, path, span), headers)

    def _path(self, source: Source) -> str:
        if source.by_index and source.index is not None:
            return f"/get/{source.index}/{quote_name(source.name)}"
        return f"/uri-res/N2R?{sha1_urn(self.download.sha1)}"

    # -- answers ---------------------------------------------------------------------------------------------------------

    def answered(self, fetch: Fetch, request: Request, response: ResponseHead) -> int | None:
        """Fetch got a head."""
        line = self._lines[fetch]
        line.came = 0
        if request.kind is Kind.TREE:
            line.tree.clear()
            return thex.MAX_BODY if response.status == 200 else None
        self._learn(line.source, response)
        asked = request.span if request.kind is Kind.DATA else None
        meaning = line.meaning = judge.judge(response, asked, self.download.sha1, self.download.size)
        if not isinstance(meaning, judge.Bytes) or request.kind is Kind.SIZE:
            return None
        distance = fetch.round_trip_s()
        if distance is None and fetch.outstanding == 1:
            waited = self._outside.reactor.seconds() - request.asked_at
            distance = min(waited, line.source.latency_s) if line.has_sent else waited
        if distance is not None:
            line.source.latency_s = distance
        return meaning.span.stop - meaning.span.start

    def _learn(self, source: Source, response: ResponseHead) -> None:
        for address in parse_alternates(response.headers, allow_private=self._outside.allow_private):
            self.download.sources.add(address)
        tree = parse_thex_uri(response.headers.get("x-thex-uri"))
        if tree is not None and tree[1] == (self.download.tth or tree[1]):
            source.tree_path, source.tree_root = tree
        if proxies := parse_proxies(response.headers, allow_private=self._outside.allow_private):
            source.proxies = proxies
        if self.download.size is not None:
            spans = parse_available(response.headers.get("x-available-ranges"), self.download.size)
            whole = spans is not None and any(span == Span(0, self.download.size) for span in spans)
            source.available = None if spans is None or whole else RangeSet(spans)

    def received(self, fetch: Fetch, request: Request, data: bytes) -> None:
        """Fetch got body bytes."""
        line = self._lines[fetch]
        line.came += len(data)
        if request.kind is Kind.TREE:
            line.tree.append(data)
            return
        assembly = self.assembly
        if assembly is None:
            return
        line.recent += len(data)
        line.source.received += len(data)
        if not line.has_sent:
            line.has_sent = True
            self.download.sources.succeeded(line.source)
        assembly.write(line.source.key, data)

    def completed(self, fetch: Fetch, request: Request, response: ResponseHead) -> None:
        """Fetch got all of an answer."""
        line = self._lines.get(fetch)
        if line is None:
            return
        meaning, line.meaning = line.meaning, None
        if request.kind is Kind.TREE:
            self._tree_came(line, response)
        elif not isinstance(meaning, judge.Bytes):
            assert meaning is not None
            self._not_served(fetch, line, meaning, response)
            return
        elif request.kind is Kind.SIZE:
            self._run.size_known(meaning.total)
        elif self.assembly is not None:
            if line.came < request.span.stop - request.span.start:
                self.assembly.plan.refuse(line.source.key)
            self.assembly.check()
        self._feed(fetch)
        self._run.moved()

    def _tree_came(self, line: Line, response: ResponseHead) -> None:
        line.asks_tree = self._is_tree_asked = False
        source, body = line.source, b"".join(line.tree)
        line.tree.clear()
        assembly, root = self.assembly, self.download.tth or source.tree_root
        if assembly is None or root is None or assembly.leaves is not None:
            return
        if response.status != 200:
            source.has_no_tree = True
            return
        try:
            tree = thex.parse(body, root, assembly.size)
        except RemoteViolation as violation:
            source.has_no_tree = True
            self._outside.count_drop(violation.reason)
            return
        self._run.tree_known(tree, source)

    def _not_served(self, fetch: Fetch, line: Line, meaning: judge.Meaning, response: ResponseHead) -> None:
        """An answer without bytes of the file."""
        source = line.source
        self._forget_request(line)
        # Answers to requests asked ahead would follow; a new connection is simpler than telling them apart.
        can_go_on = response.keeps_alive and not fetch.outstanding
        again, wait = False, 0.0
        match meaning:
            case judge.Moved(path) if line.redirects < MAX_REDIRECTS:
                line.redirects += 1
                source.path, again = path, True
            case judge.Unknown() if source.can_ask_by_index:
                source.by_index, source.path, again = True, None, True
            case judge.Wait(seconds, place) if place is not None and can_go_on:
                line.poll_at = self._outside.reactor.seconds() + seconds
                source.reason = DropReason.SOURCE_BUSY
                return
            case judge.Wait(seconds):
                wait = seconds
            case judge.NotThere():
                wait = PARTIAL_WAIT_S
            case judge.Unusable(reason, detail):
                self.log.debug("source {source}: {detail}", source=source.label, detail=detail)
                self.drop(source, reason)
            case _:
                self.drop(source, DropReason.SOURCE_REFUSED)
        if again and can_go_on:
            self._feed(fetch)
            return
        self._close(fetch, Phase.IDLE)
        if wait:
            self._rest(source, DropReason.SOURCE_BUSY, wait)
        self._run.moved()
