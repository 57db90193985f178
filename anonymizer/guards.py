"""Guards: the few nodes that own circuits may begin with, kept for weeks and on disk: each change is one more chance for spies.

Three are listed.  The first carries all; the second only when the first has been down for more than ten minutes at a check, and
checks come at random times; the third when both have.  No error and no restart changes the list: one leaves it when its time is
over, or when it refuses to be an edge before it carried anything of ours, or when nobody describes it after a week of its
absence.  Its time is drawn when it is picked, and once more when it is first used: else three that were picked together would
follow each other within days.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from anonymizer.pacing import Chance, exponential

NodeId: TypeAlias = bytes

MAX_GUARDS: Final = 3
#: Self-initiated edges lead to the first so many of them, and to all while one of these is away.
EDGES: Final = 2
DAY_S: Final = 86_400.0
#: How long one is kept: 30 days, 10 more or less.
MIN_KEPT_S, MAX_KEPT_S = 20 * DAY_S, 40 * DAY_S
#: Down for less than this, a guard is waited for; checks after it are a Poisson process with this mean between them.
PATIENCE_S: Final = 600.0
CHECK_S: Final = 300.0
#: As long as the longest descriptor lasts.
GONE_S: Final = 7 * DAY_S


@dataclass(slots=True)
class Guard:
    """One of the list.  `is_used`: it has carried circuits of ours; `down_since` is None while it is an edge with a link."""

    node: NodeId
    until: float
    is_used: bool
    down_since: float | None
    given_up_at: float = 0.0


class Guards:
    """The list, the most used first; see the module text."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._guards: list[Guard] = []
        #: Those that refused, until the list was filled from others.
        self._refused: set[NodeId] = set()
        #: Whether one carries nothing until its owner has said that it is `kept`: another after a crash would see it all, too.
        self.must_keep = False
        self._kept: set[NodeId] = set()

    @property
    def ids(self) -> list[NodeId]:
        """Those listed, in the order of their use."""
        return [guard.node for guard in self._guards]

    @property
    def was_used(self) -> bool | None:
        """Whether one of them has carried anything; None: none is listed."""
        return any(guard.is_used for guard in self._guards) if self._guards else None

    def __contains__(self, node: NodeId) -> bool:
        return any(guard.node == node for guard in self._guards)

    # -- the list --------------------------------------------------------------------------------------------------------

    def fill(self, eligible: Collection[NodeId], now: float) -> None:
        """Drop those whose time is over, and pick as many as are missing from `eligible`, each as likely as any other."""
        self._guards = [
            guard for guard in self._guards if guard.until > now and not self._is_gone(guard, eligible, now)
        ]
        free = sorted(node for node in eligible if node not in self and node not in self._refused)
        while len(self._guards) < MAX_GUARDS and free:
            node = free.pop(self._chance.randrange(len(free)))
            self._add(Guard(node, self._end(now), False, None), now)
        if len(self._guards) < MAX_GUARDS:
            # All were asked: next time they may have room.
            self._refused.clear()

    def _end(self, now: float) -> float:
        return now + MIN_KEPT_S + self._chance.random() * (MAX_KEPT_S - MIN_KEPT_S)

    def _add(self, guard: Guard, now: float) -> None:
        self._guards.append(guard)
        self._is_down(guard, now)

    def _is_gone(self, guard: Guard, eligible: Collection[NodeId], now: float) -> bool:
        return guard.down_since is not None and now - guard.down_since > GONE_S and guard.node not in eligible

    def refused(self, node: NodeId, now: float) -> None:
        """It takes no edges, or cannot be reached.  One that was used is kept: it saw what it saw, and it may come back."""
        if any(guard.node == node and not guard.is_used for guard in self._guards):
            self._guards = [guard for guard in self._guards if guard.node != node]
            self._refused.add(node)

    def rows(self) -> list[tuple[bytes, float, bool]]:
        """What to keep on disk: node, until when, whether it ever was used; in their order."""
        return [(guard.node, guard.until, guard.is_used) for guard in self._guards]

    def kept(self, rows: Iterable[tuple[bytes, float, bool]]) -> None:
        """These rows are on disk."""
        self._kept = {node for node, _, _ in rows}

    def restore(self, rows: Iterable[tuple[bytes, float, bool]], now: float) -> None:
        """What was kept on disk; a time beyond any that is drawn is cut, and all count as down from now on."""
        self._guards = []
        rows = list(rows)
        self.kept(rows)
        for node, until, is_used in rows:
            if len(self._guards) < MAX_GUARDS and node not in self and now < until:
                self._add(Guard(node, min(until, now + MAX_KEPT_S), is_used, None), now)

    # -- which of them ---------------------------------------------------------------------------------------------------

    def up(self, node: NodeId) -> None:
        """It is a self-initiated edge, with a link."""
        for guard in self._guards:
            if guard.node == node:
                guard.down_since = None

    def used(self, node: NodeId, now: float) -> None:
        """Something of ours begins with it."""
        for guard in self._guards:
            if guard.node == node and not guard.is_used:
                guard.is_used, guard.until = True, self._end(now)

    def down(self, node: NodeId, now: float) -> None:
        """It is none any more, or has no link."""
        for guard in self._guards:
            if guard.node == node and guard.down_since is None:
                self._is_down(guard, now)

    def _is_down(self, guard: Guard, now: float) -> None:
        guard.down_since = now
        # Of random checks, the first that finds it down for long enough.
        guard.given_up_at = now + PATIENCE_S + exponential(self._chance, CHECK_S)

    def _is_given_up(self, guard: Guard, now: float) -> bool:
        return guard.down_since is not None and guard.given_up_at <= now

    def current(self, now: float) -> NodeId | None:
        """The one that carries own circuits; None: there is none, or it has to be waited for."""
        for guard in self._guards:
            if guard.until <= now:
                continue
            if not self._is_given_up(guard, now):
                is_kept = not self.must_keep or guard.node in self._kept
                return guard.node if guard.down_since is None and is_kept else None
        return None

    def wanted(self, now: float) -> list[NodeId]:
        """Those that self-initiated edges should lead to: two, and all while one of these is given up."""
        first = self._guards[:EDGES]
        chosen = self._guards if any(self._is_given_up(guard, now) for guard in first) else first
        return [guard.node for guard in chosen]
