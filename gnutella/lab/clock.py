"""Virtual time: a heap of what happens when.

Two things at one time happen in the order in which they were planned, so a run never depends on anything but its seed.  Time
is in seconds and starts at 0; it only moves when something happens or `run` says so.

    clock = Clock()
    clock.after(2.5, print, "two and a half seconds later")
    clock.run(10.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any

from gnutella.errors import LocalMisuse


class Timer:
    """Something planned that may be called off."""

    __slots__ = ("_arguments", "_call", "is_off")

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._call = call
        self._arguments = arguments
        self.is_off = False

    def cancel(self) -> None:
        """It will not happen."""
        self.is_off = True

    def fire(self) -> None:
        """It is time."""
        if not self.is_off:
            self._call(*self._arguments)


class Clock:
    """See the module text.  `happened` counts what was executed, `planned` what was ever planned.

    `heap` holds (when, number, call, arguments); the network's innermost loop adds to it directly.
    """

    __slots__ = ("happened", "heap", "now", "planned")

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self.planned = 0
        self.heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan `call` for a time that is not past."""
        self.planned += 1
        heappush(self.heap, (when, self.planned, call, arguments))

    def after(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan `call` for `delay_s` from now."""
        self.planned += 1
        heappush(self.heap, (self.now + delay_s, self.planned, call, arguments))

    def timer(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """As `after`, but it may be cancelled."""
        timer = Timer(call, arguments)
        self.after(delay_s, timer.fire)
        return timer

    def run(self, until: float) -> None:
        """Let everything up to and including that time happen; the clock shows `until` afterwards."""
        if until < self.now:
            raise LocalMisuse(f"time does not run back from {self.now} to {until}")
        heap, happened = self.heap, 0
        try:
            while heap and heap[0][0] <= until:
                self.now, _, call, arguments = heappop(heap)
                happened += 1
                call(*arguments)
        finally:
            self.happened += happened
        self.now = until

    def step(self) -> bool:
        """The next thing that happens; False when nothing is planned."""
        if not self.heap:
            return False
        self.now, _, call, arguments = heappop(self.heap)
        self.happened += 1
        call(*arguments)
        return True

    def waiting(self) -> Iterator[tuple[float, Callable[..., object], tuple[Any, ...]]]:
        """What is planned, in no order."""
        return ((when, call, arguments) for when, _, call, arguments in self.heap)

    @property
    def next_at(self) -> float | None:
        """When something happens next."""
        return self.heap[0][0] if self.heap else None
