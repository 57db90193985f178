"""What a node is about to send: first it waits for its time, then for the window of its circuit, then for its turn on the link.

Only Stem puts anything in here.  `held` is all that waits, in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple, TypeAlias, TypeVar

from anonymizer.cells import Cell
from anonymizer.circuits import NodeId, Port, Way
from anonymizer.credit import cost_of
from anonymizer.pacing import FairQueue

#: Bytes of one link that `due` hands out without limit; see its `turn`.
NO_LIMIT: Final = 1 << 62


class Other(NamedTuple):
    """A flow that is no circuit's: what it is, and of which link (None: our own)."""

    name: str
    node: NodeId | None


#: What takes turns on a link: what came in at one port, or one flow of other cells.
Flow: TypeAlias = Port | Other
_K = TypeVar("_K", Other, NodeId)


class Item(NamedTuple):
    """A cell for a link, or none for this node itself; `way` if it counts in a window, and that for `cost` units."""

    node: NodeId | None
    flow: Flow | None
    cell: Cell | None
    way: Way | None
    cost: int


class Outbox:
    """See the module text.  `gone` is told when so many units of a way have left, to the link or to this node itself."""

    def __init__(self, gone: Callable[[Way, int], None]) -> None:
        self._gone = gone
        self._queues: dict[NodeId, FairQueue[Item]] = {}
        self._waiting: list[tuple[float, int, Item]] = []
        self._count = 0
        self._ready: dict[NodeId, None] = {}
        self._others: dict[Other, int] = {}
        self._last = 0.0
        self._is_pending = False
        self.held = 0
        #: Of these, what is in windows of circuits, and what is a flow of its own.
        self.of_circuits = self.of_others = 0
        #: By link, what opens and ends circuits or gives credit.
        self._unread: dict[NodeId, int] = {}

    # -- links -----------------------------------------------------------------------------------------------------------

    def link_up(self, node: NodeId) -> None:
        self._queues[node] = FairQueue()

    def link_down(self, node: NodeId) -> None:
        """What waits for the link is dropped, and what its circuits have left."""
        queue = self._queues.pop(node)
        self._ready.pop(node, None)
        while (item := queue.take()) is not None:
            self._left(item)
        rest = []
        for entry in self._waiting:
            item = entry[2]
            if item.node == node:
                self._left(item)
            elif item.node is not None or (item.way is not None and not item.way.is_closed):
                rest.append(entry)
        heapify(rest)
        self._waiting = rest

    # -- in --------------------------------------------------------------------------------------------------------------

    def later(self, when: float, node: NodeId, flow: Flow, cell: Cell, way: Way | None = None) -> None:
        """The cell is sent to the link at `when`, if the window of `way` is open, and in its turn."""
        item = Item(node, flow, cell, way, 0 if way is None else cost_of(cell))
        if way is not None:
            way.waiting += item.cost
        self._count += 1
        heappush(self._waiting, (when, self._count, self._hold(item, cell)))

    def taken_later(self, when: float, way: Way, cost: int) -> None:
        """This node itself has taken a cell of the way, and is as quick to say so as if it had sent it on."""
        self._count += 1
        heappush(self._waiting, (when, self._count, Item(None, None, None, way, cost)))

    def now(self, node: NodeId, flow: Flow, cell: Cell) -> None:
        """The cell is sent to the link in its turn; it counts in no window."""
        self._queue(self._hold(Item(node, flow, cell, None, 0), cell))

    def waits_of(self, flow: Other) -> int:
        """Bytes of that flow which wait."""
        return self._others.get(flow, 0)

    def waits_for(self, node: NodeId) -> int:
        """Bytes for that link which count in no window and are of circuits all the same."""
        return self._unread.get(node, 0)

    def _hold(self, item: Item, cell: Cell) -> Item:
        self._count_in(item, cell.size)
        return item

    def _count_in(self, item: Item, size: int) -> None:
        """So many bytes more of its kind wait; `size` is negative when they do not any more."""
        node, flow, _, way, _ = item
        self.held += size
        if way is not None:
            way.held += size
            self.of_circuits += size
        elif isinstance(flow, Other):
            self.of_others += size
            _change(self._others, flow, size)
        elif node is not None:
            _change(self._unread, node, size)

    def _left(self, item: Item) -> None:
        """It does not wait any more."""
        cell, way = item.cell, item.way
        if cell is not None and (way is None or not way.is_dropped):
            self._count_in(item, -cell.size)

    def _queue(self, item: Item) -> None:
        node, flow, cell, _, _ = item
        assert node is not None
        assert cell is not None
        self._queues[node].put(flow, cell.size, item)
        self._ready[node] = None
        self._is_pending = True

    # -- windows ---------------------------------------------------------------------------------------------------------

    def opened(self, way: Way) -> None:
        """Its window has grown: what was parked goes on."""
        parked, sending = way.parked, way.sending
        while parked and sending.take(cost := cost_of(parked[0])):
            way.waiting -= cost
            self._queue(Item(way.to[0], way.came, parked.popleft(), way, cost))

    def closed(self, way: Way) -> None:
        """Nothing will open its window any more: what is parked, or would be, is dropped."""
        if way.parked:
            way.sending.left = 0
        while way.parked:
            self._left(Item(way.to[0], way.came, way.parked.popleft(), way, 0))

    def drop(self, way: Way) -> None:
        """Nothing more of the way is sent."""
        self.closed(way)
        self.held -= way.held
        self.of_circuits -= way.held
        way.held = 0
        way.is_dropped = True
        if (node := way.to[0]) is not None:
            for item in self._queues[node].drop(way.came):
                self._left(item)

    # -- out -------------------------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float | None:
        """When `due` has something; that a link takes cells again is known to whoever blocked it."""
        if self._is_pending:
            return self._last
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: float, blocked: Container[NodeId], turn: int) -> list[tuple[NodeId, Cell]]:
        """What leaves now; of each link about `turn` bytes, the rest at the next call."""
        self._last, self._is_pending = now, False
        while self._waiting and self._waiting[0][0] <= now:
            self._ripe(heappop(self._waiting)[2])
        found: list[tuple[NodeId, Cell]] = []
        spent: dict[NodeId, int] = {}
        # What leaves one link may bring credit onto another.
        while nodes := [node for node in self._ready if node not in blocked and spent.get(node, 0) < turn]:
            for node in nodes:
                spent[node] = self._take(node, spent.get(node, 0), turn, found)
        self._is_pending = any(node not in blocked for node in self._ready)
        return found

    def _ripe(self, item: Item) -> None:
        """The time of a cell has come."""
        _, _, cell, way, cost = item
        if way is None:
            self._queue(item)
        elif cell is None:
            self._gone(way, cost)
        elif way.is_dropped:
            return
        elif not way.parked and way.sending.take(cost):
            way.waiting -= cost
            self._queue(item)
        elif way.is_closed:
            # A later cell that fits would leave a gap.
            way.sending.left = 0
            self._left(item)
        else:
            way.parked.append(cell)

    def _take(self, node: NodeId, spent: int, turn: int, found: list[tuple[NodeId, Cell]]) -> int:
        """Cells for one link, until `turn` bytes are full; how many bytes."""
        queue = self._queues[node]
        while spent < turn:
            item = queue.take()
            if item is None:
                del self._ready[node]
                break
            cell, way = item.cell, item.way
            assert cell is not None
            self._left(item)
            if way is not None:
                self._gone(way, item.cost)
            spent += cell.size
            found.append((node, cell))
        return spent


def _change(counts: dict[_K, int], key: _K, by: int) -> None:
    counts[key] = counts.get(key, 0) + by
    if not counts[key]:
        del counts[key]
