"""When to call into the local network by multicast: "who is there?" (LimeWire's group; digest 5.5).

Often at first, then more and more rarely, since the others call too; never while we have all the links that we want.  A node
without any link keeps calling each minute, so that it finds a network that comes up later.
"""

from __future__ import annotations

from gnutella.routing.seams import Chance
from gnutella.units import Address

#: LimeWire's group and port: other servents of the LAN are found too.
GROUP = Address("234.21.81.1", 6347)
#: The first call comes within this many seconds, so that machines switched on together do not call at the same moment.
FIRST_WITHIN_S = 0.5
#: The second call comes after this many seconds; each further wait is twice as long ...
FIRST_WAIT_S = 2.0
#: ... up to ten minutes, or, without a single link, one minute.
MAX_WAIT_S = 600.0
MAX_LONELY_WAIT_S = 60.0
#: An answer to a call waits for up to this long, or all answers of a LAN would meet at the caller (our own number).
MAX_JITTER_S = 0.5


class Calls:
    """Says when the next call is due."""

    def __init__(self, rng: Chance, now: float) -> None:
        self._rng = rng
        self._wait_s = FIRST_WAIT_S
        self._called_at: float | None = None
        self._next_at = now + FIRST_WITHIN_S * rng.random()

    def due(self, now: float, *, wants_links: bool, is_lonely: bool) -> bool:
        """Whether to call now; counts as done.  `is_lonely`: there is no link at all."""
        next_at = self._next_at
        if is_lonely and self._called_at is not None:
            next_at = min(next_at, self._called_at + MAX_LONELY_WAIT_S)
        if not wants_links or now < next_at:
            return False
        self._called_at = now
        self._next_at = now + self._wait_s * (0.9 + 0.2 * self._rng.random())
        self._wait_s = min(MAX_WAIT_S, 2.0 * self._wait_s)
        return True
