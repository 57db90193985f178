"""The flood of anonymous searches over the links of the layer, begun by pivots on behalf of others.

A search starts with SEEK_TTL at its pivot, which is not its origin and may be seen; so a neighbour that passes one on as if it
had begun it, or begins one with less, is lying.  A search that came before is not looked at again.  Every hop waits a fresh
exponential delay.  A pivot starts one a second for each circuit; a link carries five a second each way, and what is beyond
that is dropped and counted.

Pure: `now` is seconds since 1970, sending and answering are the caller's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeAlias

from anonymizer.pacing import FAST_DELAY_S, Chance, exponential
from anonymizer.rates import Bucket
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.terms import normal
from anonymizer.timers import Timers
from anonymizer.wire import SEEK_TTL, Seek

NodeId: TypeAlias = bytes

#: Searches that are remembered, and for how long (design section 3.17).
MAX_SEEN: Final = 65_536
SEEN_S: Final = 600.0
#: With fewer nodes than this a search goes to all links, else to FAN_OUT * sqrt(links) of them (design section 3.10).
SMALL_NET: Final = 500
FAN_OUT: Final = 2
#: Searches a second of one link, each way; bursts of what honest neighbours pass on at the same moment are let in.
LINK_RATE: Final = 5.0
LINK_BURST_OUT: Final = 10
LINK_BURST_IN: Final = 2 * LINK_BURST_OUT
#: Searches a second that a pivot starts for one circuit.
CIRCUIT_RATE: Final = 1.0
CIRCUIT_BURST: Final = 1
#: Circuits whose last search is remembered: all that a pivot has (design section 3.17).
MAX_CIRCUITS: Final = 512


@dataclass(slots=True)
class _Link:
    comes: Bucket = field(default_factory=lambda: Bucket(LINK_RATE, LINK_BURST_IN))
    goes: Bucket = field(default_factory=lambda: Bucket(LINK_RATE, LINK_BURST_OUT))


class SeekFlood:
    """One node's part in the flood; see the module text.

    `send(node, seek)` puts a cell of no circuit on a link; `asked(seek, now)` is called once for each search that comes here or
    starts here, for this node's own shares; `nodes` tells how many nodes are known.
    """

    def __init__(
        self,
        own_id: NodeId,
        chance: Chance,
        timers: Timers,
        send: Callable[[NodeId, Seek], None],
        asked: Callable[[Seek, float], None],
        nodes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._own_id, self._chance, self._timers = own_id, chance, timers
        self._send, self._asked, self._nodes = send, asked, nodes
        self._links: dict[NodeId, _Link] = {}
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._circuits: OrderedDict[Hashable, Bucket] = OrderedDict()
        self.refusals = Refusals()
        #: Searches that started here for others, and cells sent for those of any node.
        self.started = 0
        self.sent = 0

    # -- links -----------------------------------------------------------------------------------------------------------

    def link_up(self, node: NodeId, now: float) -> None:
        self._links[node] = _Link()

    def link_down(self, node: NodeId, now: float) -> None:
        self._links.pop(node, None)

    # -- searches --------------------------------------------------------------------------------------------------------

    def start(
        self, query_id: bytes, reply_key: bytes, text: str, kinds: int, now: float, circuit: Hashable = None
    ) -> bool:
        """As a pivot: search for who sits at the other end of `circuit`.  False, and counted: it says nothing, or too often.

        `query_id` is random and of this search alone; never for a search of this node's own user.
        """
        text = normal(text)
        if not text:
            self.refusals.count(Refusal.SEEK_EMPTY)
            return False
        if not self._may_start(circuit, now):
            self.refusals.count(Refusal.SEEKS_MANY)
            return False
        seek = Seek(query_id, self._own_id, reply_key, SEEK_TTL, text, kinds)
        self.started += 1
        self._remember(query_id, now)
        self._asked(seek, now)
        self._flood(seek, None, now)
        return True

    def receive(self, node: NodeId, seek: Seek, now: float) -> None:
        """A search came in by a link.  Violation(SEEK_FALSE): the neighbour lies and the link has to be closed."""
        link = self._links.get(node)
        if link is None:
            return
        if (seek.ttl == SEEK_TTL) is not (seek.pivot_id == node):
            raise Violation(Refusal.SEEK_FALSE)
        if not link.comes.take(now):
            self.refusals.count(Refusal.SEEKS_MANY)
        elif self._has_seen(seek.query_id, now):
            self.refusals.count(Refusal.SEEK_AGAIN)
        elif seek.pivot_id == self._own_id:
            # One of ours would have been seen; the neighbour may have got it from somebody else.
            self._remember(seek.query_id, now)
            self.refusals.count(Refusal.SEEK_NOT_OURS)
        else:
            self._remember(seek.query_id, now)
            self._asked(seek, now)
            if seek.ttl > 1:
                self._flood(replace(seek, ttl=seek.ttl - 1), node, now)

    def _may_start(self, circuit: Hashable, now: float) -> bool:
        bucket = self._circuits.pop(circuit, None) or Bucket(CIRCUIT_RATE, CIRCUIT_BURST)
        self._circuits[circuit] = bucket
        if len(self._circuits) > MAX_CIRCUITS:
            self._circuits.popitem(last=False)
        return bucket.take(now)

    def _has_seen(self, query_id: bytes, now: float) -> bool:
        return now < self._seen.get(query_id, -math.inf)

    def _remember(self, query_id: bytes, now: float) -> None:
        seen = self._seen
        while seen and next(iter(seen.values())) <= now:
            seen.popitem(last=False)
        if len(seen) >= MAX_SEEN:
            seen.popitem(last=False)
        seen.pop(query_id, None)
        seen[query_id] = now + SEEN_S

    # -- sending ---------------------------------------------------------------------------------------------------------

    def _flood(self, seek: Seek, came: NodeId | None, now: float) -> None:
        nodes = [node for node in self._links if node != came]
        if self._nodes() >= SMALL_NET:
            wanted = min(len(nodes), math.ceil(FAN_OUT * math.sqrt(len(self._links))))
            nodes = [nodes.pop(self._chance.randrange(len(nodes))) for _ in range(wanted)]
        for node in nodes:
            delay = exponential(self._chance, FAST_DELAY_S)
            self._timers.at(now + delay, partial(self._pass_on, node, seek))

    def _pass_on(self, node: NodeId, seek: Seek, now: float) -> None:
        link = self._links.get(node)
        if link is None or seek.pivot_id == node:
            return
        if not link.goes.take(now):
            self.refusals.count(Refusal.SEEKS_MANY)
            return
        self.sent += 1
        self._send(node, seek)

    @property
    def seen(self) -> int:
        """Searches that are remembered."""
        return len(self._seen)
