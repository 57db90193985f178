"""How descriptors spread: news are pushed over every link, and a new link is asked for all that its other side knows.

At most one cell a second goes over a link, so what spreads shows by no burst who told it first, and a flood of strangers costs
each link what one cell costs.  Who sends more than that, with some room for cells that waited together, is not listened to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from anonymizer.cells import LARGE_BODY
from anonymizer.descr import Descriptor
from anonymizer.known import KnownNodes
from anonymizer.reasons import Refusal, Refusals
from anonymizer.timers import Timer, Timers
from anonymizer.wire import MAX_DESCRIPTORS, AnyBody, Descriptors, DescriptorsWanted

#: Between two cells of descriptors on one link.
CELL_S: Final = 1.0
#: Cells that may come at once: those that a link's queue held back.
BURST: Final = 16.0
#: Between two times that one link may be asked for all.
PULL_S: Final = 600.0
#: Bytes of CBOR around each descriptor of a cell, and around them all.
_ITEM_HEAD, _BODY_HEAD = 3, 5


@dataclass(slots=True)
class _Link:
    """`news` waits to be pushed, by id; `pages` are the answer to a pull."""

    tokens: float = BURST
    filled_at: float = 0.0
    pulled_at: float | None = None
    asked_at: float | None = None
    may_at: float = 0.0
    timer: Timer | None = None
    news: dict[bytes, bytes] = field(default_factory=dict)
    pages: deque[tuple[bytes, ...]] = field(default_factory=deque)


class Gossip:
    """One node's.  `own` gives its descriptor (empty: it has none to tell); `heard` is told of what was news."""

    def __init__(
        self,
        known: KnownNodes,
        own: Callable[[], bytes],
        timers: Timers,
        send: Callable[[bytes, AnyBody], None],
        heard: Callable[[Descriptor, float], None],
    ) -> None:
        self._known, self._own, self._timers, self._send, self._heard = known, own, timers, send, heard
        self._links: dict[bytes, _Link] = {}
        self.refusals = Refusals()

    def link_up(self, node: bytes, now: float) -> None:
        """Tell our own, and ask for the rest."""
        link = self._links[node] = _Link(filled_at=now, may_at=now)
        if own := self._own():
            link.news[b""] = own
            self._plan(node, link)
        self._ask(node, link, now)

    def link_down(self, node: bytes) -> None:
        link = self._links.pop(node, None)
        if link is not None and link.timer is not None:
            link.timer.cancel()

    def pull(self, now: float) -> None:
        """Ask all links again: there is room for more classes."""
        for node, link in self._links.items():
            if link.asked_at is None or now - link.asked_at >= PULL_S:
                self._ask(node, link, now)

    def tell_own(self) -> None:
        """Our own descriptor is a new one."""
        if own := self._own():
            self._push(b"", own, without=b"")

    def receive(self, node: bytes, body: Descriptors | DescriptorsWanted, now: float) -> None:
        link = self._links[node]
        if isinstance(body, DescriptorsWanted):
            if link.pulled_at is not None and now - link.pulled_at < PULL_S:
                self.refusals.count(Refusal.GOSSIP_FAST)
                return
            link.pulled_at = now
            link.pages = deque(self._known.pages(body.bits, now))
            self._plan(node, link)
            return
        link.tokens = min(BURST, link.tokens + (now - link.filled_at) / CELL_S)
        link.filled_at = now
        if link.tokens < 1.0:
            self.refusals.count(Refusal.GOSSIP_FAST)
            return
        link.tokens -= 1.0
        for data in body.descriptors:
            if (descriptor := self._known.hear(data, node, now)) is not None:
                self._push(descriptor.node_id, data, without=node)
                self._heard(descriptor, now)

    def _ask(self, node: bytes, link: _Link, now: float) -> None:
        link.asked_at = now
        self._send(node, DescriptorsWanted(self._known.bits))

    def _push(self, node_id: bytes, data: bytes, without: bytes) -> None:
        for node, link in self._links.items():
            # Nobody needs to hear of himself.
            if node not in (without, node_id):
                link.news[node_id] = data
                self._plan(node, link)

    def _plan(self, node: bytes, link: _Link) -> None:
        if link.timer is None and (link.news or link.pages):
            link.timer = self._timers.at(link.may_at, partial(self._tell, node, link))

    def _tell(self, node: bytes, link: _Link, now: float) -> None:
        link.timer = None
        link.may_at = now + CELL_S
        self._send(node, Descriptors(_packed(link.news) if link.news else link.pages.popleft()))
        self._plan(node, link)


def _packed(news: dict[bytes, bytes]) -> tuple[bytes, ...]:
    """Take out as many as one cell holds, the oldest first."""
    taken: list[bytes] = []
    size = _BODY_HEAD
    for key, data in list(news.items()):
        size += _ITEM_HEAD + len(data)
        if size > LARGE_BODY or len(taken) == MAX_DESCRIPTORS:
            break
        taken.append(news.pop(key))
    return tuple(taken)
