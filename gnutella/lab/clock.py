"""Virtual time: what happens when.

Two things at one time happen in the order in which they were planned, so a run never depends on anything but its seed.  Time
is in seconds and starts at 0; it only moves when something happens or `run` says so.

    clock = Clock()
    clock.after(2.5, print, "two and a half seconds later")
    clock.run(10.0)

What is planned lies in slots of a millisecond, sorted when their time comes: cheaper than a heap of all when thousands of
messages are under way.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import chain
from typing import Any

from gnutella.errors import LocalMisuse

#: A power of two, so that a time falls into the same slot on every machine.
SLOTS_A_SECOND = 1024.0

#: When, number, call, arguments: numbers differ, so calls are never compared.
Entry = tuple[float, int, Callable[..., object], tuple[Any, ...]]


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
    """See the module text.  `happened` counts what was executed, `planned` what was ever planned."""

    __slots__ = ("_at", "_order", "_slot", "_slots", "_today", "happened", "now", "planned")

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self.planned = 0
        #: What is planned for the slot that is open, in order, and how much of it has happened.
        self._today: list[Entry] = []
        self._at = 0
        self._slot = -1
        #: Later slots, in the order of planning, and their numbers as a heap.
        self._slots: dict[int, list[Entry]] = {}
        self._order: list[int] = []

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan `call` for a time that is not past."""
        self.planned = number = self.planned + 1
        slot = int(when * SLOTS_A_SECOND)
        if slot <= self._slot:
            insort(self._today, (when, number, call, arguments), self._at)
        elif (entries := self._slots.get(slot)) is not None:
            entries.append((when, number, call, arguments))
        else:
            self._slots[slot] = [(when, number, call, arguments)]
            heappush(self._order, slot)

    def after(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan `call` for `delay_s` from now."""
        self.at(self.now + delay_s, call, *arguments)

    def timer(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """As `after`, but it may be cancelled."""
        timer = Timer(call, arguments)
        self.after(delay_s, timer.fire)
        return timer

    def run(self, until: float) -> None:
        """Let everything up to and including that time happen; the clock shows `until` afterwards."""
        if until < self.now:
            raise LocalMisuse(f"time does not run back from {self.now} to {until}")
        last, happened = int(until * SLOTS_A_SECOND), 0
        try:
            while True:
                today = self._today
                while self._at < len(today) and (entry := today[self._at])[0] <= until:
                    self._at += 1
                    self.now, _, call, arguments = entry
                    happened += 1
                    call(*arguments)
                if self._at < len(today) or not self._order or self._order[0] > last:
                    break
                self._open()
        finally:
            self.happened += happened
        self.now = until

    def step(self) -> bool:
        """The next thing that happens; False when nothing is planned."""
        if self._at == len(self._today):
            if not self._order:
                return False
            self._open()
        self.now, _, call, arguments = self._today[self._at]
        self._at += 1
        self.happened += 1
        call(*arguments)
        return True

    def waiting(self) -> Iterator[tuple[float, Callable[..., object], tuple[Any, ...]]]:
        """What is planned, in no order."""
        entries = chain(self._today[self._at :], *self._slots.values())
        return ((when, call, arguments) for when, _, call, arguments in entries)

    @property
    def next_at(self) -> float | None:
        """When something happens next."""
        if self._at < len(self._today):
            return self._today[self._at][0]
        return min(self._slots[self._order[0]])[0] if self._order else None

    def _open(self) -> None:
        """Go on to the next slot in which something is planned."""
        self._slot = heappop(self._order)
        self._today, self._at = self._slots.pop(self._slot), 0
        self._today.sort()
