"""How two nodes agree that the link between them is a stem edge.

Edges of our own choice lead to guards and to nobody else, so whoever dials in to us never carries what is ours.  Of the edges
that others ask for we take as many as there is room for, one from each network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anonymizer.reasons import Refusal, Refusals
from anonymizer.seams import Edges, Guards
from anonymizer.wire import AnyBody, EdgeAnswer, EdgeDrop, EdgeRequest

#: Between two requests of one node.
REQUEST_S: Final = 3_600.0
#: Without an answer for so long, the request counts as refused.
ANSWER_S: Final = 60.0
#: Requests whose times are remembered, each way; the oldest goes.
MAX_REMEMBERED: Final = 4_096


class EdgeTalk:
    """One node's.  `network` tells that of a linked node (empty: networks do not count)."""

    def __init__(
        self,
        edges: Edges,
        guards: Guards,
        send: Callable[[bytes, AnyBody], None],
        network: Callable[[bytes], str],
    ) -> None:
        self._edges, self._guards, self._send, self._network = edges, guards, send, network
        self._links: set[bytes] = set()
        #: When who asked us, and when we asked whom.
        self._asked_us: dict[bytes, float] = {}
        self._asked: dict[bytes, float] = {}
        self._waiting: dict[bytes, float] = {}
        self._accepted: dict[bytes, str] = {}
        self.refusals = Refusals()

    def link_up(self, node: bytes, now: float) -> None:
        """One that was an edge is asked again: it may have been started anew and know of none, and would refuse circuits."""
        self._links.add(node)
        if self._edges.is_edge(node):
            self._ask(node, now)

    def link_down(self, node: bytes) -> None:
        self._links.discard(node)
        self._waiting.pop(node, None)

    def receive(self, node: bytes, body: EdgeRequest | EdgeAnswer | EdgeDrop, now: float) -> None:
        if isinstance(body, EdgeRequest):
            self._send(node, EdgeAnswer(self._takes(node, now)))
        elif isinstance(body, EdgeDrop):
            self._accepted.pop(node, None)
            self._edges.drop_edge(node, now)
        elif self._waiting.pop(node, None) is None:
            self.refusals.count(Refusal.EDGE_UNASKED)
        elif not body.accepted:
            self._guards.refused(node, now)
            self._edges.drop_edge(node, now)
        elif not self._edges.make_edge(node, True) and not self._edges.is_edge(node):
            # Others answered first, and there is no room any more.
            self._send(node, EdgeDrop())
        else:
            # If it is lost it may be asked for at once; who holds it says how often that may be.
            self._asked.pop(node, None)

    def _takes(self, node: bytes, now: float) -> bool:
        if self._edges.is_edge(node):
            return True
        if _is_recent(self._asked_us, node, now):
            self.refusals.count(Refusal.EDGE_OFTEN)
            return False
        _remember(self._asked_us, node, now)
        if node in self._waiting or node in self._guards.wanted(now):
            # Both want it: it is of either one's choice.
            return self._edges.make_edge(node, True)
        network = self._network(node)
        self._accepted = {other: its for other, its in self._accepted.items() if self._is_edge(other)}
        if network and network in self._accepted.values():
            return False
        if not self._edges.make_edge(node, False):
            return False
        self._accepted[node] = network
        return True

    def tick(self, now: float) -> None:
        """Ask guards that are linked; give up those that do not answer."""
        for node in [node for node, since in self._waiting.items() if now - since > ANSWER_S]:
            del self._waiting[node]
            self._guards.refused(node, now)
        for node in list(self._guards.wanted(now)):
            if not self._edges.has_room(True):
                return
            if node in self._accepted and self._is_edge(node):
                # Of its choice it is an edge already; ours can it be only if the stem says so.
                if self._edges.make_edge(node, True):
                    del self._accepted[node]
                else:
                    self._guards.refused(node, now)
                continue
            is_open = node in self._links and not self._edges.is_edge(node) and node not in self._waiting
            if is_open and not _is_recent(self._asked, node, now):
                self._ask(node, now)

    def _ask(self, node: bytes, now: float) -> None:
        _remember(self._asked, node, now)
        self._waiting[node] = now
        self._send(node, EdgeRequest())

    def drop(self, node: bytes, now: float) -> None:
        """An edge of ours shall be none any more."""
        if self._is_edge(node):
            self._edges.drop_edge(node, now)
            self._send(node, EdgeDrop())

    def _is_edge(self, node: bytes) -> bool:
        return node in self._links and self._edges.is_edge(node)


def _is_recent(times: dict[bytes, float], node: bytes, now: float) -> bool:
    return node in times and now - times[node] < REQUEST_S


def _remember(times: dict[bytes, float], node: bytes, now: float) -> None:
    times.pop(node, None)
    while len(times) >= MAX_REMEMBERED:
        del times[next(iter(times))]
    times[node] = now
