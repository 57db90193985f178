"""What is to be done later, in one heap, by whoever drives the node: real time and virtual time look the same from in here.

Pure: a time is any float that never goes back; nothing runs before `run` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

#: Cancelled ones stay in the heap until their time; beyond this many, and half of it, they are swept out.
_SWEEP_FROM: Final = 64


class Timer:
    """One thing to do, once."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[float], None]) -> None:
        self._call: Callable[[float], None] | None = call

    @property
    def is_active(self) -> bool:
        return self._call is not None

    def cancel(self) -> None:
        """It will not be done; nothing happens if it was."""
        self._call = None

    def fire(self, now: float) -> None:
        call, self._call = self._call, None
        if call is not None:
            call(now)


class Timers:
    """Those of one node, in the order of their times, and in the order in which they were made where times are equal."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def __len__(self) -> int:
        """Those that are still to be done."""
        return sum(timer.is_active for _, _, timer in self._heap)

    def at(self, when: float, call: Callable[[float], None]) -> Timer:
        """Call it with the time, at or after `when`."""
        timer = Timer(call)
        heappush(self._heap, (when, next(self._order), timer))
        return timer

    @property
    def next_at(self) -> float | None:
        """When `run` has something to do."""
        heap = self._heap
        while heap and not heap[0][2].is_active:
            heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Do what is due; what that plans for now is done as well."""
        while (when := self.next_at) is not None and when <= now:
            heappop(self._heap)[2].fire(now)
        if len(self._heap) > _SWEEP_FROM:
            active = [entry for entry in self._heap if entry[2].is_active]
            if 2 * len(active) < len(self._heap):
                heapify(active)
                self._heap = active
